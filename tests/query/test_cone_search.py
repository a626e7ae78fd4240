"""What astronomers ask at psql: cones and light curves, against brute force."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest
from astropy.coordinates import angular_separation

import l1db
from l1db.visit import DetectorData, Visit

CORNER = float(np.degrees(np.arctan(1 / np.sqrt(2))))  # three faces of q3c's cube meet at ra 45, dec CORNER
PLACES = [
    (0.0, 0.0), (359.9999, 0.0), (45.0, CORNER), (315.0, -CORNER), (45.0, 0.0), (0.0, 45.0), (0.0, 90.0), (7.0, -90.0)
]  # fmt: skip


@pytest.fixture
def objects(connection: psycopg.Connection) -> np.ndarray:
    """Objects all over the sky, and dense ones around the awkward places: positions, shape (n, 2), by id."""
    rng = np.random.default_rng(8)
    z = rng.uniform(-1, 1, 5000)
    positions = [np.column_stack([rng.uniform(0, 360, 5000), np.degrees(np.arcsin(z))])]
    for ra, dec in PLACES:
        for size in (0.01, 3.0):
            d = np.clip(dec + rng.uniform(-size, size, 300), -90, 90)
            a = (ra + rng.uniform(-size, size, 300) / np.maximum(np.cos(np.radians(d)), 1e-3)) % 360 % 360
            positions.append(np.column_stack([a, d]))
    found = np.vstack(positions)
    connection.execute(
        """insert into l1.dia_object (dia_object_id, validity_start, ra, dec, n_dia_sources, n_forced,
                                      first_dia_source_mjd_tai, last_dia_source_mjd_tai, n_good_dia_sources,
                                      first_epoch_mjd_tai)
           select id, now(), ra, dec, 1, 0, 61000, 61000, 1, 61000
             from unnest(%s::float8[], %s::float8[]) with ordinality as p(ra, dec, id)""",
        (found[:, 0].tolist(), found[:, 1].tolist()),
    )
    return found


@pytest.mark.parametrize("radius", [1.0, 30.0, 600.0, 3600.0, 3 * 3600.0, 20 * 3600.0])
def test_a_cone_has_all_that_lies_in_it(connection: psycopg.Connection, objects: np.ndarray, radius: float) -> None:
    """Seen red with q3c_radial_query of q3c 2.0.0, which loses objects beside the corners of its cube."""
    inside = 0
    for ra, dec in PLACES:
        separation = 3600 * np.degrees(angular_separation(*np.radians([ra, dec]), *np.radians(objects).T))
        rows = connection.execute(
            "select dia_object_id, separation from l1_api.cone_search(%s::float8, %s::float8, %s::float8)",
            (ra, dec, radius),
        ).fetchall()
        assert {key for key, _ in rows} == set((np.flatnonzero(separation <= radius) + 1).tolist())
        for key, found in rows:
            assert found == pytest.approx(separation[key - 1], abs=1e-5)
        inside += len(rows)
    assert inside > 0 or radius == 1


def test_cones_around_a_table_of_positions(connection: psycopg.Connection, objects: np.ndarray) -> None:
    rows = connection.execute(
        """select given.ra, given.dec, count(c.dia_object_id)
             from unnest(%s::float8[], %s::float8[]) as given(ra, dec)
            cross join lateral l1_api.cone_search(given.ra, given.dec, 60) as c
            group by given.ra, given.dec""",
        ([ra for ra, _ in PLACES], [dec for _, dec in PLACES]),
    ).fetchall()
    for ra, dec, n in rows:
        separation = 3600 * np.degrees(angular_separation(*np.radians([ra, dec]), *np.radians(objects).T))
        assert n == (separation <= 60).sum()
    assert len(rows) > 4


def test_a_light_curve_is_in_order_of_time(client: l1db.Client, database: str) -> None:
    for number, mjd in ((1, 61000.2), (2, 61040.2), (3, 60990.1)):
        sources = {"ra": [10.0], "dec": [5.0], "psf_flux": [100.0 * number], "psf_flux_err": [9.0]}
        client.ingest(Visit(number, "r", mjd), [DetectorData(0, sources)])
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            """select l.visit, l.psf_flux, l.is_forced
                 from l1_api.cone_search(10, 5, 1) as c cross join lateral l1_api.light_curve(c.dia_object_id) as l"""
        ).fetchall()
        assert rows == [(3, 300, False), (1, 100, False), (2, 200, False)]
        assert connection.execute("select count(*) from l1_api.light_curve(null)").fetchone() == (0,)
