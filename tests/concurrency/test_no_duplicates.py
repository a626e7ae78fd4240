"""However many connections ingest one field at once: one DiaObject per star.

Each mechanism is taken out in a clone, and the same race then shows duplicates: see the tests that end in ``_shows``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from l1db import Client, DetectorData, RefusedError, Visit
from tests.concurrency.gate import Gate, stopping_at
from tests.concurrency.workers import ingest_at_once
from tests.sky_fields import PLACES, SPACING, calls_by_detector, errors_against_truth, field, on_sky
from tests.version.continuity import breaks

LOCK_NOTHING = """
    create or replace function l1_api.lock_sky(p_ra double precision, p_dec double precision,
                                               p_radius double precision) returns integer
    language sql volatile as 'select 0';
"""
ANY_ISOLATION = """
    create or replace function l1_api.refuse_other_isolation() returns void language sql volatile as 'select';
"""

# Another lock of the sky, for the sources of the call, to be put elsewhere than where it belongs.
LOCK = """
    select l1_api.lock_cells(cap.ra, cap.dec, cap.radius + 22 / 3600.0) as n
      from (select array_agg(given.ra) as ra, array_agg(given.dec) as dec from pg_temp.source given) as point
     cross join lateral l1_api.bounding_cap(point.ra, point.dec) as cap
"""
READ = "from pg_temp.source s\n      join l1.dia_object o"


def lock_in_find_pairs(connection: psycopg.Connection, *, one_statement: bool) -> None:
    """Move the lock from lock_sky to find_pairs: into the statement that reads the objects, or before it."""
    row = connection.execute(
        "select pg_get_functiondef('l1_api.find_pairs(l1.visit, l1.survey)'::regprocedure)"
    ).fetchone()
    assert row is not None
    (text,) = row
    assert text.count(READ) == 1
    assert text.count("\nbegin\n") == 1
    if one_statement:
        text = text.replace(READ, READ.replace("from ", f"from (select count(n) from ({LOCK}) as k) as locked, ", 1))
        text = text.replace("locked, pg_temp.source s\n      join", "locked cross join pg_temp.source s\n      join")
    else:
        text = text.replace("\nbegin\n", f"\nbegin\n    perform n from ({LOCK}) as locked;\n")
    connection.execute(
        "alter function l1_api.lock_sky(double precision, double precision, double precision) rename to lock_cells;"
        "create function l1_api.lock_sky(double precision, double precision, double precision) returns integer"
        " language sql volatile as 'select 0'"
    )
    connection.execute(text)


@pytest.mark.parametrize("place", PLACES)
def test_eight_connections_find_each_star_once(place: str, database: str) -> None:
    """Half of the visits fall into one month and half into another, neither of which has a partition yet."""
    sky = field(PLACES[place])
    n_visits = 52 if place == "a plain place" else 14
    exposures = [sky.expose(v, mjd=61_000 + v % 2 * 40 + v * 0.001) for v in range(1, n_visits + 1)]
    calls = calls_by_detector(exposures)
    ingest_at_once(database, calls, seed=len(place))
    with psycopg.connect(database) as connection:
        assert errors_against_truth(connection, exposures) == []
        assert connection.execute("select count(*) from l1.dia_object").fetchone() == (len(sky.stars),)
        assert breaks(connection) == []
        assert connection.execute(
            "select count(distinct tableoid) from l1.dia_source having count(*) > 0"
        ).fetchone() == (2,)


def test_the_race_without_sky_locks_shows_duplicates(database: str) -> None:
    """The race of above, with a lock_sky that locks nothing: were it green, the test above would prove nothing.

    What then goes wrong besides (versions out of order, sources given twice to an object, deadlocks) the database
    refuses.
    """
    with psycopg.connect(database) as connection:
        connection.execute(LOCK_NOTHING)
    exposures = [field().expose(v) for v in range(1, 11)]
    ingest_at_once(database, calls_by_detector(exposures), seed=1, may_refuse=True)
    with psycopg.connect(database) as connection:
        wrong = errors_against_truth(connection, exposures)
    assert any("objects" in line for line in wrong)


def race(dsn: str, isolation: str = "read committed") -> int:
    """Two visits of five stars: the first stops when it has found no object, and the second comes; objects in the end.

    The second waits for the sky; where nothing makes it wait, it ends before the first goes on.
    """
    first, second = (field(n_detectors=1, side=2).expose(v) for v in (1, 2))
    with Client(dsn) as client:  # both visits and their partition are there: only the sky is left to wait for
        for exposure in (first, second):
            client.ingest(exposure.visit, [DetectorData(9)])
    isolated = make_conninfo(dsn, options="-c default_transaction_isolation=" + isolation.replace(" ", "\\ "))
    with (
        Gate(dsn) as gate,
        Client(stopping_at(dsn, "associate")) as early,
        Client(isolated) as late,
        ThreadPoolExecutor() as pool,
    ):
        one = pool.submit(early.ingest, first.visit, first.detectors)
        gate.stopped()
        other = pool.submit(late.ingest, second.visit, second.detectors)
        gate.waits_for_sky_or_ends(other)
        gate.open()
        one.result(timeout=30)
        other.result(timeout=30)
        row = gate.connection.execute("select count(*) from l1.dia_object").fetchone()
        assert row is not None
        return int(row[0])


def test_the_second_of_two_waits_and_sees_what_the_first_founded(database: str) -> None:
    assert race(database) == 5


def test_two_without_sky_locks_found_twice(database: str) -> None:
    """What the test above guards against, with a lock_sky that locks nothing."""
    with psycopg.connect(database) as connection:
        connection.execute(LOCK_NOTHING)
    assert race(database) == 10


def test_lock_in_a_statement_before_the_reading_one_is_enough(database: str) -> None:
    with psycopg.connect(database) as connection:
        lock_in_find_pairs(connection, one_statement=False)
    assert race(database) == 5


def test_lock_and_read_in_one_statement_found_twice(database: str) -> None:
    """Differs from the test above in nothing but the place of the lock: the snapshot is older than the lock."""
    with psycopg.connect(database) as connection:
        lock_in_find_pairs(connection, one_statement=True)
    assert race(database) == 10


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_other_isolation_levels_are_refused(isolation: str, database: str) -> None:
    with pytest.raises(RefusedError, match=f"read committed only, not {isolation}"):
        race(database, isolation)


def test_repeatable_read_would_found_twice(database: str) -> None:
    """What the refusal guards against, seen with the refusal taken out."""
    with psycopg.connect(database) as connection:
        connection.execute(ANY_ISOLATION)
    assert race(database, "repeatable read") == 10


def test_eight_whole_planes_at_once_fit_the_default_lock_table(database: str) -> None:
    """189 detectors of 13.5 arcmin in each call, one source on each, eight different visits of one place."""
    with psycopg.connect(database) as connection:
        assert connection.execute("show max_locks_per_transaction").fetchone() == ("64",), "not the default lock table"
    ingest_at_once(database, [whole_plane(visit) for visit in range(1, 9)], seed=1)
    with psycopg.connect(database) as connection:
        assert connection.execute("select count(*) from l1.dia_object").fetchone() == (189,)
        assert connection.execute("select count(*) from l1.dia_source").fetchone() == (8 * 189,)


def test_eight_whole_planes_hold_their_locks_side_by_side(database: str) -> None:
    """Eight planes far from each other, so that nobody waits, each stopped when it has all its locks.

    Seen to fail with cells of level 11 (``cell.level < 11`` in sky_cells): "out of shared memory".
    """
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, 8), np.degrees(np.arcsin(rng.uniform(-1, 1, 8)))
    centres = list(zip(ra.tolist(), dec.tolist(), strict=True))
    with Gate(database) as gate, ThreadPoolExecutor(8) as pool:
        clients = [Client(stopping_at(database, "lock")) for _ in centres]
        calls = [
            pool.submit(client.ingest, *whole_plane(visit, centre))
            for visit, (client, centre) in enumerate(zip(clients, centres, strict=True), start=1)
        ]
        gate.stopped(8)
        gate.open()
        assert [call.result(timeout=60).n_new_objects for call in calls] == [189] * 8
        for client in clients:
            client.close()


def whole_plane(visit: int, centre: tuple[float, float] = PLACES["a plain place"]) -> tuple[Visit, list[DetectorData]]:
    """A focal plane of 3.5 deg, 15 x 15 detectors without the corners, with a source in the middle of each."""
    side = 13.5 * 60
    rng = np.random.default_rng(visit)
    places = sorted(((i, j) for i in range(-7, 8) for j in range(-7, 8)), key=lambda at: (np.hypot(*at), at))[:189]
    detectors = []
    for number, place in enumerate(places):
        middle = np.array([place]) * side
        ra, dec = on_sky(middle + 0.1 * rng.uniform(-1, 1, (1, 2)), centre)
        square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * side / 2
        detectors.append(
            DetectorData(
                number,
                {"ra": ra, "dec": dec, "psf_flux": [1000.0], "psf_flux_err": [50.0]},
                footprint=np.stack(on_sky(middle + square, centre), axis=-1),
            )
        )
    return Visit(visit, "r", 61_000 + visit * 0.001), detectors


@pytest.mark.parametrize("place", list(PLACES)[1:])
def test_the_special_places_are_special(place: str, connection: psycopg.Connection) -> None:
    """The stars of the fields above do lie on both sides of what they are named after."""
    ra, dec = on_sky(field().stars / SPACING, PLACES[place])
    row = connection.execute(
        "select count(distinct q3c_ang2ipix(ra, dec) >> 42), count(distinct q3c_ang2ipix(ra, dec) >> 60),"
        " count(*) filter (where ra < 180), count(*) filter (where ra > 180), max(abs(dec))"
        " from unnest(%s::float8[], %s::float8[]) as p(ra, dec)",
        (ra.tolist(), dec.tolist()),
    ).fetchone()
    assert row is not None
    n_cells, n_faces, east, west, highest = row
    match place:
        case "a corner of cells, across 0h":
            assert (n_cells, n_faces, east > 0, west > 0) == (4, 1, True, True)
        case "an edge of the cube":
            assert (n_faces, n_cells) == (2, 2)
        case "a corner of the cube":
            assert n_faces == 3
        case "0h, high up":
            assert east > 0
            assert west > 0
        case _:
            assert n_cells == 4
            assert highest > 89.999
