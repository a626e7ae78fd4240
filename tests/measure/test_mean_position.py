"""Mean positions to a hundredth of a milliarcsecond everywhere, against extended precision."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest

LONG = np.longdouble
DEGREE = LONG("3.14159265358979323846264338327950288") / 180


def mean_direction(ra: np.ndarray, dec: np.ndarray) -> tuple[np.longdouble, np.longdouble, np.longdouble]:
    """Sum of unit vectors, in extended precision."""
    a, d = np.asarray(ra, LONG) * DEGREE, np.asarray(dec, LONG) * DEGREE
    return (np.cos(d) * np.cos(a)).mean(), (np.cos(d) * np.sin(a)).mean(), np.sin(d).mean()


def off_by_mas(ra: float, dec: float, vector: tuple[np.longdouble, np.longdouble, np.longdouble]) -> float:
    """Angle between a position and a direction."""
    a, d = LONG(ra) * DEGREE, LONG(dec) * DEGREE
    unit = np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    mean = np.array(vector)
    return float(np.linalg.norm(np.cross(unit, mean).astype(LONG)) / np.sqrt((mean**2).sum()) / DEGREE * 3_600_000)


MEAN = """
    select l1_api.mean_ra(avg(cosd(dec) * cosd(ra)), avg(cosd(dec) * sind(ra))),
           l1_api.mean_dec(avg(cosd(dec) * cosd(ra)), avg(cosd(dec) * sind(ra)), avg(sind(dec)))
      from unnest(%s::float8[], %s::float8[]) as p(ra, dec)
"""


@pytest.mark.parametrize("dec0", [0.0, -30.0, 45.0, 60.0, 89.0, 89.99999, -89.9999999, 90.0, -90.0])
@pytest.mark.parametrize("ra0", [0.0, 1e-9, 45.0, 179.99999, 180.0, 359.9999999, 270.0])
def test_mean_of_detections_within_an_arcsec(connection: psycopg.Connection, ra0: float, dec0: float) -> None:
    rng = np.random.default_rng(5)
    for n in (1, 2, 30):
        dec = np.clip(dec0 + rng.normal(0, 0.3 / 3600, n), -90, 90)
        ra = (ra0 + rng.normal(0, 0.3 / 3600, n) / np.maximum(np.cos(np.radians(dec)), 1e-9)) % 360 % 360
        row = connection.execute(MEAN, (ra.tolist(), dec.tolist())).fetchone()
        assert row is not None
        assert 0 <= row[0] < 360
        assert -90 <= row[1] <= 90
        assert off_by_mas(*row, mean_direction(ra, dec)) < 0.01


def test_detections_around_zero_do_not_average_to_180(connection: psycopg.Connection) -> None:
    row = connection.execute(MEAN, ([359.9999, 0.0001], [10.0, 10.0])).fetchone()
    assert row is not None
    assert min(row[0], 360 - row[0]) < 1e-9


@pytest.mark.parametrize("y", [-0.0, -1e-320, -1e-300, -1e-18, -1e-17, -2e-16, -1e-14])
def test_right_ascension_just_below_360_stays_below(connection: psycopg.Connection, y: float) -> None:
    """Adding 360 to a tiny negative angle rounds to 360, which no column takes."""
    row = connection.execute("select l1_api.mean_ra(1, %s::float8)", (y,)).fetchone()
    assert row is not None
    assert 0 <= row[0] < 360


def test_no_detections_no_position(connection: psycopg.Connection) -> None:
    row = connection.execute("select l1_api.mean_dec(null, null, null), l1_api.mean_ra(null, null)").fetchone()
    assert row is not None
    assert row[0] is None
