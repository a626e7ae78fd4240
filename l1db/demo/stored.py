"""What the database has: the object of each source, forced fluxes, and the light curve that the demo shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg

from l1db.connection import connect


class Point(NamedTuple):
    """One measurement of an object; MJD TAI, nJy."""

    mjd: float
    band: str
    flux: float
    flux_err: float
    is_forced: bool
    visit: int
    detector: int

    @property
    def snr(self) -> float:
        """Without a sign."""
        return abs(self.flux) / self.flux_err


@dataclass(frozen=True)
class LightCurve:
    """An object and its measurements in order of time; degrees."""

    dia_object_id: int
    ra: float
    dec: float
    points: tuple[Point, ...]

    @property
    def detected(self) -> list[Point]:
        """Where a difference image showed it."""
        return [point for point in self.points if not point.is_forced]

    @property
    def forced(self) -> list[Point]:
        """Where it was measured because it was expected."""
        return [point for point in self.points if point.is_forced]

    @property
    def clearest(self) -> Point:
        """The detection of the largest signal-to-noise."""
        return max(self.detected, key=lambda point: point.snr)


class ForcedRow(NamedTuple):
    """A forced flux on a difference image, nJy."""

    visit: int
    detector: int
    dia_object_id: int
    flux: float
    flux_err: float
    flags: int


def objects_of_sources(dsn: str) -> tuple[dict[int, int | None], int]:
    """The object of each detected source, if it has one, and how many objects there are."""
    with connect(dsn) as connection:
        found = dict(
            connection.execute("select dia_source_id, dia_object_id from dia_source where not is_forced").fetchall()
        )
        ((n_objects,),) = connection.execute("select count(*) from dia_object").fetchall()
    return found, n_objects


def forced_rows(dsn: str) -> list[ForcedRow]:
    """All forced fluxes that could be measured."""
    with connect(dsn) as connection:
        rows = connection.execute(
            "select visit, detector, dia_object_id, psf_flux, psf_flux_err, forced_flags from dia_source "
            "where is_forced and psf_flux is not null"
        ).fetchall()
    return [ForcedRow(*row) for row in rows]


# Detections, and forced fluxes beyond twice their errors, that make a light curve worth a look.
_SEVERAL = 3


def chosen_object(connection: psycopg.Connection[Any]) -> LightCurve | None:
    """The object to show: several times detected and several times forced with something to see; of those the clearest.

    Where nothing was forced, the one with the most sources.
    """
    row = connection.execute(
        """select o.dia_object_id, o.ra, o.dec
             from dia_object o
             join dia_source s using (dia_object_id)
            where s.psf_flux is not null
            group by o.dia_object_id, o.ra, o.dec, o.n_dia_sources
            order by least(
                         count(*) filter (where not s.is_forced),
                         count(*) filter (where s.is_forced and abs(s.psf_flux) > 2 * s.psf_flux_err),
                         %s
                     ) desc,
                     case when bool_or(s.is_forced) then max(abs(s.snr)) filter (where not s.is_forced)
                          else o.n_dia_sources
                     end desc nulls last,
                     o.dia_object_id
            limit 1""",
        (_SEVERAL,),
    ).fetchone()
    if row is None:
        return None
    number, ra, dec = row
    points = connection.execute(
        "select midpoint_mjd_tai, band, psf_flux, psf_flux_err, is_forced, visit, detector from light_curve(%s) "
        "where psf_flux is not null",
        (number,),
    ).fetchall()
    return LightCurve(number, ra, dec, tuple(Point(*point) for point in points))


def images_of(connection: psycopg.Connection[Any], point: Point) -> dict[str, str]:
    """URI of each image that a point was measured on, by its kind."""
    return dict(
        connection.execute(
            "select kind, uri from image where visit = %s and detector = %s", (point.visit, point.detector)
        ).fetchall()
    )
