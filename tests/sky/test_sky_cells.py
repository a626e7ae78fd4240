"""The cells that the sky locks are made of: none too few, not many too many.

The referee is q3c itself: the cell of a point is the upper 21 bits of its ``q3c_ang2ipix``.
"""

from __future__ import annotations

import numpy as np
import psycopg
from numpy.typing import NDArray

CORNER = float(np.degrees(np.arctan(1 / np.sqrt(2))))  # where three faces of q3c's cube meet, at ra 45, 135, ...
EDGE = 45.0  # ra where two faces meet on the equator
# Awkward centres: middles, edges and corners of the cube's faces, poles, the zero of right ascension.
AWKWARD = [
    (0.0, 0.0),
    (359.99999, -0.001),
    (EDGE, 0.0),
    (EDGE + 1e-9, 10.0),
    (45.0, CORNER),
    (135.0, -CORNER),
    (315.0, CORNER + 1e-7),
    (0.0, 45.0),
    (180.0, -45.0),
    (90.0, 44.9999),
    (0.0, 90.0),
    (123.0, 90.0),
    (0.0, -90.0),
    (77.0, 89.9999),
    (200.0, -89.99),
]


def around(ra: float, dec: float, radius: NDArray[np.float64], angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points at these distances and position angles from a centre, degrees, shape (n, 2)."""
    a, d = np.radians(ra), np.radians(dec)
    north = np.array([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)])
    east = np.array([-np.sin(a), np.cos(a), 0.0])
    centre = np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    r, p = np.radians(radius)[:, None], np.asarray(angle)[:, None]
    x, y, z = (np.cos(r) * centre + np.sin(r) * (np.cos(p) * north + np.sin(p) * east)).T
    return np.column_stack([np.degrees(np.arctan2(y, x)) % 360 % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))])


def listed(connection: psycopg.Connection, ra: float, dec: float, radius: float) -> list[int]:
    rows = connection.execute(
        "select * from l1_api.sky_cells(%s::float8, %s::float8, %s::float8)", (ra, dec, radius)
    ).fetchall()
    return [cell for (cell,) in rows]


def touched(connection: psycopg.Connection, points: NDArray[np.float64]) -> set[int]:
    rows = connection.execute(
        "select distinct (q3c_ang2ipix(ra, dec) >> 42)::integer from unnest(%s::float8[], %s::float8[]) as p(ra, dec)",
        (points[:, 0].tolist(), points[:, 1].tolist()),
    ).fetchall()
    return {cell for (cell,) in rows}


def areas(connection: psycopg.Connection, cells: list[int]) -> NDArray[np.float64]:
    """Areas of cells, square degrees: on its face a cell spans 2/512, which the gnomonic projection foreshortens."""
    rows = connection.execute(
        "select q3c_ipix2ang((c::bigint << 42) | (3::bigint << 40)) from unnest(%s::integer[]) as c", (cells,)
    ).fetchall()
    angles = np.radians([angle for (angle,) in rows])
    x = np.cos(angles[:, 1]) * np.cos(angles[:, 0])
    y = np.cos(angles[:, 1]) * np.sin(angles[:, 0])
    z = np.sin(angles[:, 1])
    return np.degrees(2 / 512) ** 2 * np.max(np.abs([x, y, z]), axis=0) ** 3


def caps() -> list[tuple[float, float, float]]:
    rng = np.random.default_rng(20)
    some = [(ra, dec, float(10 ** rng.uniform(-3, 0.6))) for ra, dec in AWKWARD for _ in range(2)]
    for _ in range(30):
        dec = float(np.degrees(np.arcsin(rng.uniform(-1, 1))))
        some.append((float(rng.uniform(0, 360)), dec, float(10 ** rng.uniform(-3, 0.6))))
    return [*some, (45.0, CORNER, 12.0), (10.0, 90.0, 12.0), (359.0, 0.0, 12.0)]


def test_every_cell_that_a_cap_touches_is_listed(connection: psycopg.Connection) -> None:
    """Points all over the cap, and close together on its rim, where the corners of cells reach in.

    Seen red with the algorithm's sqrt(2) taken for 1.
    """
    rng = np.random.default_rng(21)
    for ra, dec, radius in caps():
        within = around(ra, dec, radius * np.sqrt(rng.uniform(0, 1, 3000)), rng.uniform(0, 2 * np.pi, 3000))
        rim = around(ra, dec, np.full(4000, radius * (1 - 1e-12)), rng.uniform(0, 2 * np.pi, 4000))
        missing = touched(connection, np.vstack([within, rim])) - set(listed(connection, ra, dec, radius))
        assert not missing, (ra, dec, radius)


def test_no_cell_is_listed_twice_and_all_are_cells(connection: psycopg.Connection) -> None:
    for ra, dec, radius in caps():
        cells = listed(connection, ra, dec, radius)
        assert len(cells) == len(set(cells))
        assert min(cells) >= 0
        assert max(cells) < 6 * 4**9


def test_a_cap_of_no_radius_has_the_cell_of_its_centre(connection: psycopg.Connection) -> None:
    for ra, dec in AWKWARD:
        cells = listed(connection, ra, dec, 0.0)
        assert touched(connection, np.array([[ra, dec]])) <= set(cells)
        assert len(cells) <= 24


def test_the_cells_of_a_cap_cover_little_more_than_it(connection: psycopg.Connection) -> None:
    """At most 2.5 times the cap widened by half a cell's diagonal."""
    for ra, dec, radius in caps():
        cells = listed(connection, ra, dec, radius)
        wide = radius + np.degrees(np.sqrt(2) / 512)
        assert areas(connection, cells).sum() <= 2.5 * 2 * np.pi * (1 - np.cos(np.radians(wide))) * np.degrees(1) ** 2


def test_a_focal_plane_takes_a_few_hundred_cells(connection: psycopg.Connection) -> None:
    """9.6 square degrees: below 500 cells on the average of the sky.

    Cells shrink to a fifth towards the corners of the cube.  Even there eight focal planes side by side fit
    PostgreSQL's default lock table: 64 locks for each of 100 connections and 22 processes of the server, 7 808 in all.
    """
    rng = np.random.default_rng(22)
    radius = float(np.sqrt(9.6 / np.pi))
    counts = [
        len(listed(connection, float(ra), float(np.degrees(np.arcsin(z))), radius))
        for ra, z in rng.uniform((0, -1), (360, 1), (60, 2))
    ]
    assert np.mean(counts) < 500
    around_a_corner = {
        cell
        for ra, dec in [(45, CORNER), *around(45, CORNER, np.full(7, 2 * radius), np.arange(7) * 2 * np.pi / 7)]
        for cell in listed(connection, float(ra), float(dec), radius)
    }
    assert max(counts) < 1200
    assert len(around_a_corner) < 7000


def test_no_cap_no_cells(connection: psycopg.Connection) -> None:
    assert connection.execute("select count(*) from l1_api.sky_cells(10, 20, null)").fetchone() == (0,)
