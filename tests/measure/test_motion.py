"""Proper motions, measured by day: held against numpy, on simulated stars, and at the borders of the rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from l1db import Client, DetectorData, Visit
from l1db.maintain import maintain
from tests.command_line import l1db
from tests.version.continuity import breaks

FloatArray = NDArray[np.float64]

YEAR = 365.25
FIRST = 60_000.2
MAS = 1 / 3_600_000  # degrees
PLACES = {
    "a plain place": (52.3, -27.8),
    "0h": (0.0, 3.0),
    "0h from below": (359.9999999, -12.0),
    "the north pole": (0.0, 90.0),
    "beside the north pole": (123.0, 89.9999),
    "the south pole": (77.0, -90.0),
}


@dataclass(frozen=True)
class Track:
    """Detections of one star: degrees, MJD TAI; the errors in mas, with their correlation."""

    mjd: FloatArray
    ra: FloatArray
    dec: FloatArray
    ra_err: FloatArray
    dec_err: FloatArray
    correlation: FloatArray


def frame(ra: FloatArray | float, dec: FloatArray | float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Unit vectors to a place, and from there to the east and to the north, each of shape (..., 3)."""
    a, d = np.radians(ra), np.radians(dec)
    zero = np.zeros_like(a)
    return (
        np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1),
        np.stack([-np.sin(a), np.cos(a), zero], axis=-1),
        np.stack([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)], axis=-1),
    )


def observe(
    rng: np.random.Generator,
    place: tuple[float, float],
    pm: tuple[float, float],
    mjd: FloatArray,
    error: float = 50.0,
    spread: float = 0.5,
) -> Track:
    """A star that is at ``place`` in the middle of the times and moves by ``pm`` (mas/yr), seen with known errors."""
    n = len(mjd)
    ra_err, dec_err = error * np.exp(spread * rng.standard_normal((2, n)))
    correlation = rng.uniform(-0.8, 0.8, n) if spread else np.zeros(n)
    forward, east, north = frame(*place)
    years = (mjd - mjd.mean())[:, None] / YEAR
    path = forward + np.radians(MAS) * years * (pm[0] * east + pm[1] * north)
    path /= np.linalg.norm(path, axis=1)[:, None]
    ra, dec = from_vectors(path)
    _, own_east, own_north = frame(ra, dec)
    one, other = rng.standard_normal((2, n))
    off_east = ra_err * one
    off_north = dec_err * (correlation * one + np.sqrt(1 - correlation**2) * other)
    seen = path + np.radians(MAS) * (off_east[:, None] * own_east + off_north[:, None] * own_north)
    return Track(mjd, *from_vectors(seen), ra_err, dec_err, correlation)


def from_vectors(v: FloatArray) -> tuple[FloatArray, FloatArray]:
    ra = np.degrees(np.arctan2(v[:, 1], v[:, 0])) % 360
    return np.where(ra == 360, 0.0, ra), np.degrees(np.arctan2(v[:, 2], np.hypot(v[:, 0], v[:, 1])))


def referee(track: Track, place: tuple[float, float], *, errors: bool = True) -> tuple[FloatArray, FloatArray, float]:
    """Motion, its covariance (mas, yr) and chi squared, by numpy's least squares of whitened positions.

    Covariances go to space and from there to the plane about ``place``.
    """
    forward, east, north = frame(*place)
    axes = np.stack([east, north])
    seen, own_east, own_north = frame(track.ra, track.dec)
    at = seen @ axes.T / (seen @ forward)[:, None] / np.radians(MAS)
    years = (track.mjd - track.mjd.mean()) / YEAR
    rows, values = [], []
    for i, t in enumerate(years):
        # The database keeps errors in single precision.
        sigma = np.array([track.ra_err[i], track.dec_err[i]])
        covariance = np.outer(sigma, sigma) * np.array([[1, track.correlation[i]], [track.correlation[i], 1]])
        turn = axes @ np.stack([own_east[i], own_north[i]]).T
        whiten = np.linalg.inv(np.linalg.cholesky(turn @ covariance @ turn.T)) if errors else np.eye(2)
        rows.append(whiten @ np.hstack([np.eye(2), t * np.eye(2)]))
        values.append(whiten @ at[i])
    design, value = np.vstack(rows), np.concatenate(values)
    solution, *_ = np.linalg.lstsq(design, value, rcond=None)
    chi2 = float(((value - design @ solution) ** 2).sum())
    covariance = np.linalg.inv(design.T @ design)[2:, 2:]
    return solution[2:], covariance if errors else covariance * chi2 / (len(value) - 4), chi2


def store(
    connection: psycopg.Connection,
    tracks: dict[int, Track],
    places: dict[int, tuple[float, float]],
    *,
    errors: bool = True,
) -> None:
    """Objects at their places, each due, with these detections; and a forced row each, far off, which must not count."""
    rows = []
    for number, t in tracks.items():
        scale = MAS if errors else np.nan
        columns = (t.mjd, t.ra, t.ra_err * scale, t.dec, t.dec_err * scale, t.correlation * t.ra_err * t.dec_err * scale**2)
        rows += [(number, False, *map(float, row)) for row in zip(*columns, strict=True)]
        rows.append((number, True, float(t.mjd[-1]) - 300, 10.0, None, 10.0, None, None))
    for month in sorted({int(row[2] // 20) for row in rows}):
        connection.execute("select l1_api.ensure_partitions(%s::float8)", (20.0 * month,))
        connection.execute("select l1_api.ensure_partitions(%s::float8)", (20.0 * (month + 1),))
    connection.execute(
        "create temp table given (id bigint, is_forced boolean, mjd float8, ra float8, ra_err real, dec float8,"
        " dec_err real, cov real)"
    )
    with connection.cursor().copy("copy given from stdin") as copy:
        for row in rows:
            copy.write_row([None if value != value else value for value in row])
    connection.execute(
        """insert into l1.dia_source (dia_source_id, visit, detector, dia_object_id, midpoint_mjd_tai, ra, ra_err, dec,
                                      dec_err, ra_dec_cov, psf_flux, psf_flux_err, band, time_processed, is_forced,
                                      validity_start)
           select row_number() over (), row_number() over (), 0, id, mjd, ra, ra_err, dec,
                  dec_err, cov, 1, 1, 'r', now(), is_forced, now() from given"""
    )
    for number, (ra, dec) in places.items():
        connection.execute(
            """insert into l1.dia_object (dia_object_id, validity_start, ra, dec, n_dia_sources, n_forced,
                                          n_good_dia_sources, first_dia_source_mjd_tai, last_dia_source_mjd_tai,
                                          first_epoch_mjd_tai, radec_mjd_tai, earliest_mjd_tai, motion_is_due)
               select %s, now(), %s, %s, count(*), 0, 0, min(mjd), max(mjd), min(mjd), avg(mjd), min(mjd), true
                 from given where id = %s and not is_forced""",
            (number, ra, dec, number),
        )
    connection.execute("drop table given")


COLUMNS = "pm_ra, pm_dec, pm_ra_err, pm_dec_err, pm_ra_pm_dec_cov, pm_chi2, pm_ndata, pm_is_accepted"


def measured(connection: psycopg.Connection) -> dict[int, tuple[float, ...]]:
    connection.execute("select l1_api.measure_motions(100000)")
    return {row[0]: row[1:] for row in connection.execute(f"select dia_object_id, {COLUMNS} from l1.dia_object")}  # type: ignore[arg-type]


def epochs(rng: np.random.Generator, n: int, years: float = 2.0) -> FloatArray:
    return FIRST + np.sort(np.concatenate([[0, years * YEAR], rng.uniform(0, years * YEAR, n - 2)]))


@pytest.mark.parametrize("errors", [True, False], ids=["with errors", "without errors"])
@pytest.mark.parametrize("place", PLACES)
def test_the_fit_is_the_referees(connection: psycopg.Connection, place: str, errors: bool) -> None:
    """Errors of each detection of its own, correlated, up to a factor of ten apart.

    Seen red at the poles without the turn of the weights, and anywhere with ra_dec_cov left out.
    """
    rng = np.random.default_rng(8)
    tracks = {
        number: observe(rng, PLACES[place], (900.0 * np.cos(number), 500.0 * np.sin(number)), epochs(rng, 10 + number))
        for number in range(1, 25)
    }
    store(connection, tracks, dict.fromkeys(tracks, PLACES[place]), errors=errors)
    for number, (ra, dec, ra_err, dec_err, cov, chi2, n, accepted) in measured(connection).items():
        pm, covariance, expected_chi2 = referee(tracks[number], PLACES[place], errors=errors)
        sigma = np.sqrt(np.diag(covariance))
        np.testing.assert_allclose([ra, dec], pm, rtol=1e-5, atol=1e-3 * sigma.min())
        np.testing.assert_allclose([ra_err, dec_err], sigma, rtol=1e-5)
        assert cov == pytest.approx(covariance[0, 1], abs=1e-5 * sigma.prod())
        assert chi2 == (pytest.approx(expected_chi2, rel=1e-3) if errors else None)
        assert n == 10 + number
        assert accepted == (
            pm @ np.linalg.inv(covariance) @ pm > 30 * (max(1, expected_chi2 / (2 * n - 4)) if errors else 1)
        )
