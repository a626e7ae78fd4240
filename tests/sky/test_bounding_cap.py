"""The circle around footprints and sources, from which the sky lock is taken."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest
from astropy import units
from astropy.coordinates import angular_separation
from numpy.typing import NDArray
from test_sky_cells import AWKWARD, around


def cap(connection: psycopg.Connection, points: NDArray[np.float64]) -> tuple[float, float, float]:
    row = connection.execute(
        "select ra, dec, radius from l1_api.bounding_cap(%s::float8[], %s::float8[])",
        (points[:, 0].tolist(), points[:, 1].tolist()),
    ).fetchone()
    assert row is not None
    return row


def distance(cap: tuple[float, float, float], points: NDArray[np.float64]) -> NDArray[np.float64]:
    ra, dec, _ = np.radians(cap)
    return np.degrees(angular_separation(ra, dec, *np.radians(points).T))


@pytest.mark.parametrize("size", [1e-4, 0.1, 1.75, 20.0])
def test_it_contains_all_points_wherever_they_lie(connection: psycopg.Connection, size: float) -> None:
    rng = np.random.default_rng(3)
    for ra, dec in [*AWKWARD, *zip(rng.uniform(0, 360, 10), rng.uniform(-90, 90, 10), strict=True)]:
        points = around(ra, dec, size * np.sqrt(rng.uniform(0, 1, 200)), rng.uniform(0, 2 * np.pi, 200))
        found = cap(connection, points)
        beyond = (distance(found, points) - found[2]).max() * units.deg.to(units.mas)
        assert beyond < 0.01
        assert found[2] <= 2 * size


def test_it_is_tight_around_a_footprint(connection: psycopg.Connection) -> None:
    """A square focal plane: no larger than its half diagonal, at RA 0 and at a pole too."""
    for ra, dec in AWKWARD:
        corners = around(ra, dec, np.full(4, 1.75), np.array([0.0, 0.5, 1.0, 1.5]) * np.pi)
        assert cap(connection, corners)[2] == pytest.approx(1.75, abs=1e-6)


def test_longitudes_of_footprints_below_zero_are_right_ascensions(connection: psycopg.Connection) -> None:
    """Footprints are stored with longitude = ra - 360 above 180."""
    given = np.array([[-0.1, 1.0], [0.1, 1.0], [-0.1, 1.2]])
    ra, dec, radius = cap(connection, given)
    assert np.cos(np.radians(ra)) > 0.99999
    assert 0 < radius < 0.2
    assert (distance((ra, dec, radius), given) <= radius + 1e-9).all()


def test_one_point_is_a_cap_without_radius_and_no_point_is_none(connection: psycopg.Connection) -> None:
    ra, dec, radius = cap(connection, np.array([[359.5, -80.0]]))
    assert (ra % 360, dec) == pytest.approx((359.5, -80.0), abs=1e-10)
    assert radius == pytest.approx(0, abs=1e-10)
    row = connection.execute("select ra, dec, radius from l1_api.bounding_cap('{}', '{}')").fetchone()
    assert row in (None, (None, None, None))
    row = connection.execute("select ra, dec, radius from l1_api.bounding_cap(null, null)").fetchone()
    assert row in (None, (None, None, None))
