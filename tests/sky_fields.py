"""Small fields of stars with known true positions, seen by overlapping detectors in many visits.

A field is laid out in the tangent plane of its centre and carried to the sky by a rotation, so the same field can lie
anywhere: on a corner of the pixel grid, across 0h, on a pole.  Every source carries the number of its star in its id,
so that whatever becomes of it in the database can be held against the truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import psycopg
from numpy.typing import NDArray

from l1db import DetectorData, Visit

FloatArray = NDArray[np.float64]

SPACING = 120.0  # of the stars, arcsec: far beyond any confusion
SCATTER = 0.1  # of a source about its star, arcsec per axis
CUT = 4.0  # no source is farther from its star, in units of the scatter
PER_DETECTOR = 1000  # ids of one detector
PER_VISIT = 1000 * PER_DETECTOR
MJD = 61_000.0

# Where things go wrong if they do.  The grid of q3c is a cube: its faces meet at RA 45, 135, ... near the equator and
# three of them at the corners; (0, 0) is the middle of a face, where four cells of every level meet.
PLACES: dict[str, tuple[float, float]] = {
    "a plain place": (52.3, -27.8),
    "a corner of cells, across 0h": (0.0, 0.0),
    "an edge of the cube": (45.0, 3.0),
    "a corner of the cube": (45.0, float(np.degrees(np.arctan(np.sqrt(0.5))))),
    "0h, high up": (0.0, 71.0),
    "the north pole": (0.0, 90.0),
    "the south pole": (0.0, -90.0),
}


@dataclass(frozen=True)
class Exposure:
    """One visit and what its detectors found."""

    visit: Visit
    detectors: tuple[DetectorData, ...]

    @property
    def source_ids(self) -> list[int]:
        """Ids of all its sources, in the order of detectors and rows."""
        return [int(i) for d in self.detectors for i in np.asarray(d.sources["dia_source_id"])]


@dataclass(frozen=True)
class Field:
    """Stars and detectors in the tangent plane, arcsec from the centre; what they are called does not depend on where
    the field lies.

    Parameters
    ----------
    centre
        Right ascension and declination, degrees.
    stars
        True positions, shape (n, 2).
    corners
        Lower left and upper right corner of each detector, shape (n_detectors, 2, 2).
    """

    centre: tuple[float, float]
    stars: FloatArray
    corners: FloatArray

    def expose(self, visit: int, *, seed: int | None = None, band: str = "r", mjd: float | None = None) -> Exposure:
        """One visit.  Each detector sees each of its stars at a place of its own; even visits point exactly at the
        centre, so that stars lie on the very borders of detectors, odd ones beside it.
        """
        rng = np.random.default_rng(visit if seed is None else seed)
        dither = rng.uniform(-0.3, 0.3, 2) * SPACING if visit % 2 else np.zeros(2)
        detectors = []
        for detector, (low, high) in enumerate(self.corners):
            seen_at = self.stars + scatter(rng, len(self.stars))
            star = np.flatnonzero(((seen_at > low + dither) & (seen_at < high + dither)).all(axis=1))
            ra, dec = on_sky(seen_at[star], self.centre)
            outline = np.array([low, [high[0], low[1]], high, [low[0], high[1]]]) + dither
            detectors.append(
                DetectorData(
                    detector=detector,
                    sources={
                        "dia_source_id": source_id(visit, detector, star),
                        "ra": ra,
                        "dec": dec,
                        "ra_err": np.full(len(star), SCATTER / 3600),
                        "dec_err": np.full(len(star), SCATTER / 3600),
                        "psf_flux": rng.normal(1000, 50, len(star)),
                        "psf_flux_err": np.full(len(star), 50.0),
                    },
                    footprint=np.stack(on_sky(outline, self.centre), axis=-1),
                )
            )
        return Exposure(Visit(visit, band, MJD + visit * 0.001 if mjd is None else mjd), tuple(detectors))


def field(centre: tuple[float, float] = PLACES["a plain place"], *, side: int = 6, n_detectors: int = 4) -> Field:
    """``side`` x ``side`` (even) stars on a grid and one in its middle, under 1, 4 or 9 detectors that overlap.

    The detectors reach one spacing over their middle line, so that two columns of stars lie in both of two neighbours,
    stand exactly on their borders, and the star in the middle is seen by four.
    """
    grid = (np.arange(side) - (side - 1) / 2) * SPACING
    stars = np.concatenate([np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2), [[0.02, 0.03]]])
    half = side / 2 * SPACING
    per_axis = round(n_detectors**0.5)
    middle = np.linspace(-half, half, per_axis + 1)
    over = SPACING / 2
    corners = [
        [[middle[i] - over, middle[j] - over], [middle[i + 1] + over, middle[j + 1] + over]]
        for j in range(per_axis)
        for i in range(per_axis)
    ]
    return Field(centre, stars, np.array(corners))


def scatter(rng: np.random.Generator, n: int) -> FloatArray:
    """Offsets of sources from their stars, arcsec, shape (n, 2); none longer than `CUT`."""
    offset = rng.standard_normal((n, 2))
    while (far := (offset**2).sum(axis=1) > CUT**2).any():
        offset[far] = rng.standard_normal((int(far.sum()), 2))
    return SCATTER * offset


def on_sky(at: FloatArray, centre: tuple[float, float]) -> tuple[FloatArray, FloatArray]:
    """From the tangent plane, arcsec, to right ascension and declination, degrees."""
    alpha, delta = np.radians(centre)
    forward = np.array([np.cos(delta) * np.cos(alpha), np.cos(delta) * np.sin(alpha), np.sin(delta)])
    east = np.array([-np.sin(alpha), np.cos(alpha), 0.0])
    north = np.cross(forward, east)
    x, y, z = (forward + np.radians(at[:, :1] / 3600) * east + np.radians(at[:, 1:] / 3600) * north).T
    ra = np.degrees(np.arctan2(y, x)) % 360.0
    return np.where(ra == 360.0, 0.0, ra), np.degrees(np.arctan2(z, np.hypot(x, y)))


def source_id(visit: int, detector: int, star: NDArray[np.intp]) -> NDArray[np.int64]:
    """Ids that tell visit, detector and star."""
    return np.asarray(visit * PER_VISIT + detector * PER_DETECTOR + star + 1, dtype=np.int64)


def star_of(dia_source_id: int) -> int:
    """Number of the star that a source is of."""
    return (dia_source_id - 1) % PER_DETECTOR


def partition(connection: psycopg.Connection) -> frozenset[frozenset[tuple[int, int]]]:
    """The live objects as sets of (visit, star): equal where two runs differ only in which twin is the duplicate."""
    rows = connection.execute(
        "select array_agg(dia_source_id) from l1.dia_source where dia_object_id is not null group by dia_object_id"
    ).fetchall()
    return frozenset(frozenset((i // PER_VISIT, star_of(i)) for i in ids) for (ids,) in rows)


def duplicates(connection: psycopg.Connection) -> list[tuple[int, int]]:
    """(visit, star) of each source that is a duplicate in its visit, sorted."""
    rows = connection.execute(
        "select dia_source_id from l1.dia_source where no_object_reason = 'duplicate_in_visit'"
    ).fetchall()
    return sorted((i // PER_VISIT, star_of(i)) for (i,) in rows)


def errors_against_truth(connection: psycopg.Connection, exposures: Iterable[Exposure]) -> list[str]:
    """All that is wrong with the database after these exposures; empty if it is as the truth demands."""
    given = {i for exposure in exposures for i in exposure.source_ids}
    rows = connection.execute(
        "select dia_source_id, dia_object_id, no_object_reason from l1.dia_source where not is_forced"
    ).fetchall()
    wrong = []
    if lost := given - {row[0] for row in rows}:
        wrong.append(f"{len(lost)} sources lost")
    if len(rows) != len(given):
        wrong.append(f"{len(rows)} sources stored, {len(given)} given")

    objects_of: dict[int, set[int]] = {}
    stars_of: dict[int, set[int]] = {}
    members: dict[int, int] = {}
    holders: dict[tuple[int, int], int] = {}
    for source, dia_object, reason in rows:
        star, seen = star_of(source), (source // PER_VISIT, star_of(source))
        holders.setdefault(seen, 0)
        if dia_object is None:
            if reason != "duplicate_in_visit":
                wrong.append(f"source {source} has no object: {reason}")
            continue
        holders[seen] += 1
        objects_of.setdefault(star, set()).add(dia_object)
        stars_of.setdefault(dia_object, set()).add(star)
        members[dia_object] = members.get(dia_object, 0) + 1
    wrong += [f"star {star} has {len(found)} objects" for star, found in objects_of.items() if len(found) > 1]
    wrong += [f"object {i} has stars {sorted(found)}" for i, found in stars_of.items() if len(found) > 1]
    wrong += [f"star {star} of visit {visit} is held by {n}" for (visit, star), n in holders.items() if n != 1]

    current: dict[int, int] = dict(
        connection.execute("select dia_object_id, n_dia_sources from l1.dia_object").fetchall()
    )
    if current != members:
        wrong.append(f"{len(current)} current objects, {len(members)} with sources, or their counts differ")
    alerted = connection.execute("select dia_source_id from l1.alert").fetchall()
    if sorted(i for (i,) in alerted) != sorted(row[0] for row in rows if row[1] is not None):
        wrong.append(f"{len(alerted)} alerts are not one for each source with an object")
    return wrong


def calls_by_detector(exposures: Sequence[Exposure]) -> list[tuple[Visit, list[DetectorData]]]:
    """Each detector in a call of its own."""
    return [(exposure.visit, [detector]) for exposure in exposures for detector in exposure.detectors]
