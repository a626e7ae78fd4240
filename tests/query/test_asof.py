"""As-of functions against brute force: a filter over every version that there ever was."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import psycopg
import pytest
from astropy.coordinates import angular_separation, offset_by
from psycopg.conninfo import make_conninfo

from l1db import database as l1db_database
from tests.query.test_cone_search import CORNER

PLACES = [(0.0, 0.0), (45.0, CORNER), (45.0, 0.0), (0.0, 90.0), (7.0, -90.0), (120.0, 33.0)]
N = 150  # objects at each place
N_VERSIONS = 12
# How far a version lies from the one before, arcsec: a refined mean, a moving star, a merge, a great leap.
STEPS = {"refined": 0.05, "star": 1.0, "merged": 6.0, "leaping": 600.0}

CREATE = """
    insert into l1.dia_object (dia_object_id, validity_start, ra, dec, n_dia_sources, n_forced,
                               first_dia_source_mjd_tai, last_dia_source_mjd_tai, n_good_dia_sources,
                               first_epoch_mjd_tai)
    select id, l1_api.stamp_in_force(), ra, dec, 1, 0, 61000, 61000, 1, 61000
      from unnest(%s::bigint[], %s::float8[], %s::float8[]) as p(id, ra, dec)
"""
CHANGE = """
    update l1.dia_object o
       set validity_start = l1_api.stamp_in_force(), ra = p.ra, dec = p.dec, n_dia_sources = n_dia_sources + 1
      from unnest(%s::bigint[], %s::float8[], %s::float8[]) as p(id, ra, dec)
     where o.dia_object_id = p.id
"""


def away(position: np.ndarray, rng: np.random.Generator, by: np.ndarray) -> np.ndarray:
    """Positions (ra, dec) in radians, shape (2, n), moved by so many arcsec in random directions."""
    direction = rng.uniform(0, 2 * np.pi, len(by))
    return np.array([angle.to_value("rad") for angle in offset_by(*position, direction, np.radians(by / 3600))])


@pytest.fixture(scope="module")
def times(history: psycopg.Connection) -> list[datetime]:
    """The stamps, and times before, between and after them."""
    stamps = [row[0] for row in history.execute("select stamp from l1.stamp order by stamp").fetchall()]
    second = timedelta(seconds=1)
    return [stamps[0] - second, *stamps, stamps[3] - timedelta(microseconds=1), stamps[5] + second, stamps[-1] + second]


@pytest.fixture(scope="module")
def history(server) -> psycopg.Connection:  # type: ignore[no-untyped-def, misc]
    """Objects of each kind at each place, in versions under stamps; some are retired, and some come again."""
    dsn = server.clone("seed")
    rng = np.random.default_rng(5)
    place = np.repeat(np.arange(len(PLACES)), N)
    step = np.array(list(STEPS.values()))[rng.integers(0, len(STEPS), len(place))]
    position = away(np.radians(np.array(PLACES)[place].T), rng, 60 * rng.random(len(place)))
    ids = np.arange(1, len(place) + 1)
    present = np.zeros(len(place), bool)
    with psycopg.connect(dsn) as connection:
        for version in range(N_VERSIONS):
            connection.execute("select l1_api.take_stamp()")
            change = present & (rng.random(len(ids)) < 0.8)
            retire = present & ~change & (rng.random(len(ids)) < 0.5)
            create = ~present & (rng.random(len(ids)) < (0.7 if version == 0 else 0.3))
            position = np.where(change, away(position, rng, step * rng.random(len(ids))), position)
            ra, dec = np.degrees(position[0]) % 360 % 360, np.clip(np.degrees(position[1]), -90, 90)
            for which, statement in ((change, CHANGE), (create, CREATE)):
                connection.execute(statement, [column[which].tolist() for column in (ids, ra, dec)])  # type: ignore[arg-type]
            connection.execute("select set_config('l1.closed_reason', 'orphaned', true)")
            connection.execute("delete from l1.dia_object where dia_object_id = any(%s)", (ids[retire].tolist(),))
            connection.execute("select set_config('l1.closed_reason', '', true)")
            present = (present | create) & ~retire
            connection.commit()
        yield connection
    server.drop(dsn)


@pytest.mark.parametrize("radius", [1.0, 10.0, 60.0, 900.0])
def test_a_cone_as_of_a_time_is_a_filter_over_all_versions(
    history: psycopg.Connection, times: list[datetime], radius: float
) -> None:
    """Seen red without former places, with those of retired objects left out, and with a cone that is not wider."""
    rng = np.random.default_rng(6)
    versions = history.execute(
        "select dia_object_id, validity_start, validity_end, ra, dec from l1_api.dia_object_version"
    ).fetchall()
    ids, starts = ([row[k] for row in versions] for k in (0, 1))
    far = datetime.max.replace(tzinfo=starts[0].tzinfo)
    ends = [row[2] or far for row in versions]
    positions = np.array([row[3:] for row in versions])
    found_at_all = 0
    for ra, dec in PLACES:
        for t in times:
            at = np.array([ra, dec]) + rng.uniform(-0.01, 0.01, 2) * (abs(dec) < 89)
            at[0] %= 360
            separation = 3600 * np.degrees(angular_separation(*np.radians(at), *np.radians(positions).T))
            expected = {(ids[k], starts[k]) for k in np.flatnonzero(separation <= radius) if starts[k] <= t < ends[k]}
            rows = history.execute(
                "select dia_object_id, validity_start, separation, ra, dec"
                " from l1_api.cone_search_asof(%s::float8, %s::float8, %s::float8, %s::timestamptz)",
                (*at.tolist(), radius, t),
            ).fetchall()
            assert len(rows) == len(expected)
            assert {row[:2] for row in rows} == expected
            for _, _, found, *where in rows:
                assert found == pytest.approx(
                    3600 * np.degrees(angular_separation(*np.radians(at), *np.radians(where))), abs=1e-5
                )
            found_at_all += len(rows)
    assert found_at_all > 10 or radius < 60


def test_objects_as_of_a_time_are_a_filter_over_all_versions(
    history: psycopg.Connection, times: list[datetime]
) -> None:
    for t in times:
        rows = history.execute(
            "select dia_object_id, validity_start, ra from l1_api.dia_object_asof(%s::timestamptz)", (t,)
        ).fetchall()
        expected = history.execute(
            "select dia_object_id, validity_start, ra from l1_api.dia_object_version"
            " where validity_start <= %(t)s and coalesce(validity_end > %(t)s, true)",
            {"t": t},
        ).fetchall()
        assert sorted(rows) == sorted(expected)


def test_a_cone_as_of_now_is_the_cone(history: psycopg.Connection) -> None:
    current, asof = "select * from l1_api.cone_search(120, 33, 40)", "l1_api.cone_search_asof(120, 33, 40, 'infinity')"
    assert history.execute(f"{current} except select * from {asof}").fetchall() == []
    query = "select count(*) from l1_api.cone_search{}"
    n = history.execute(query.format("(120, 33, 40)")).fetchone()
    assert n == history.execute(query.format("_asof(120, 33, 40, 'infinity')")).fetchone()
    assert n > (20,)


def test_places_that_were_left_are_made_again_from_the_history(history: psycopg.Connection) -> None:
    """By the revision, for databases that have none."""
    dsn = make_conninfo(history.info.dsn, password=history.info.password)
    places = "select * from l1.dia_object_former_place order by 1, 2"
    rows = history.execute(places).fetchall()
    assert len(rows) > 1000
    history.rollback()
    l1db_database.downgrade(dsn, "0003")
    l1db_database.upgrade(dsn)
    assert history.execute(places).fetchall() == rows
    history.rollback()


@pytest.mark.parametrize("level", range(4))
def test_no_small_cell_is_wider_than_the_cone_is_widened(connection: psycopg.Connection, level: int) -> None:
    """At the middle of a face, at its edge, its corner, and anywhere."""
    rng = np.random.default_rng(level)
    centre = [(0.0, 0.0), (45.0, 0.0), (45.0, CORNER), (float(rng.uniform(0, 360)), 50.0)][level]
    n = 40_000
    ra = (centre[0] + rng.uniform(-15, 15, n) / 3600) % 360
    dec = centre[1] + rng.uniform(-15, 15, n) / 3600
    cells = np.array(
        connection.execute(
            "select l1_api.small_cell(ra, dec) from unnest(%s::float8[], %s::float8[]) with ordinality as p(ra, dec, n)"
            " order by n", (ra.tolist(), dec.tolist())
        ).fetchall()
    )[:, 0]  # fmt: skip
    widest = 0.0
    for cell in np.unique(cells):
        k = np.flatnonzero(cells == cell)
        a, d = np.radians(ra[k]), np.radians(dec[k])
        widest = max(widest, angular_separation(a[:, None], d[:, None], a[None], d[None]).max())
    assert 2.0 < 3600 * np.degrees(widest) <= 4.5
