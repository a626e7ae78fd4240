"""One current version per object at most; intervals without overlap or gap; histories that no path can skip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from l1db import Client, DetectorData, RefusedError
from tests.concurrency.workers import ingest_at_once
from tests.conftest import Server
from tests.sky_fields import calls_by_detector, errors_against_truth, field
from tests.version.continuity import breaks

SKY = field(side=4)

# A clock that jumps back and forth by up to two hours, at every look.
WILD_CLOCK = """
    create or replace function l1_api.clock() returns timestamptz language sql volatile as
    $$ select clock_timestamp() - random() * interval '2 hours' $$;
"""
TURNED_BACK = """
    create or replace function l1_api.clock() returns timestamptz language sql volatile as
    $$ select clock_timestamp() - interval '1 hour' $$;
"""
STAMP_IS_CLOCK = """
    create or replace function l1_api.take_stamp() returns timestamptz language sql volatile as
    $$ select set_config('l1.stamp', l1_api.clock()::text, true)::timestamptz $$;
"""


@pytest.fixture(scope="module")
def night_dsn(server: Server) -> Iterator[str]:
    """Three visits in two bands."""
    dsn = server.clone("seed")
    with Client(dsn) as client:
        for exposure in (SKY.expose(1), SKY.expose(2, band="g"), SKY.expose(3)):
            client.ingest(exposure.visit, exposure.detectors)
    yield dsn
    server.drop(dsn)


@pytest.fixture
def night(night_dsn: str) -> Iterator[psycopg.Connection]:
    """A session in that database, rolled back after the test."""
    with psycopg.connect(night_dsn) as connection:
        yield connection
        connection.rollback()


def test_each_visit_opens_one_version_and_closes_one(night: psycopg.Connection) -> None:
    assert breaks(night) == []
    assert night.execute(
        "select distinct n, n_current from (select count(*) as n, count(*) filter (where validity_end is null)"
        " as n_current from l1_api.dia_object_version group by dia_object_id) as v"
    ).fetchall() == [(3, 1)]
    assert night.execute("select band, count(*) from l1.dia_object_band_history group by band").fetchall() == [
        ("r", len(SKY.stars))
    ], "a visit closes versions of its own band only"


def test_all_rows_of_a_transaction_carry_one_stamp(night: psycopg.Connection) -> None:
    """The version that an alert names is the one that its transaction opened."""
    assert (
        night.execute(
            "select count(distinct s.validity_start), count(distinct s.time_processed), count(distinct a.stamp),"
            " bool_and(s.validity_start = a.stamp and a.dia_object_version = a.stamp)"
            " from l1.dia_source s join l1.alert a using (dia_source_id) group by s.visit"
        ).fetchall()
        == [(1, 1, 1, True)] * 3
    )
    assert night.execute(
        "select count(*) from l1.alert a left join l1_api.dia_object_version v on v.dia_object_id = a.dia_object_id"
        " and v.validity_start = a.dia_object_version where v.dia_object_id is null"
    ).fetchone() == (0,)


def test_a_version_tells_what_was_known_then(night: psycopg.Connection) -> None:
    assert night.execute(
        "select distinct n_dia_sources, known from l1_api.dia_object_version v cross join lateral ("
        " select count(*) as known from l1.dia_source s where s.dia_object_id = v.dia_object_id"
        " and s.validity_start <= v.validity_start) as k order by 1"
    ).fetchall() == [(1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize(
    "damage",
    [
        "update {h} set validity_end = validity_end + interval '1 microsecond'",
        "update {h} set validity_end = validity_end - interval '1 microsecond'",
        "delete from {h} where n_dia_sources = 2",
        "delete from l1.dia_object where dia_object_id = (select min(dia_object_id) from l1.dia_object)",
        "update l1.dia_object set validity_start = validity_start - interval '1 hour'",
    ],
    ids=["overlap", "gap", "a version missing", "an end without reason", "current begins before former ends"],
)
def test_the_query_of_these_tests_finds(damage: str, night: psycopg.Connection) -> None:
    """It is held against broken histories, made with all triggers off."""
    night.execute("set local session_replication_role = replica")
    night.execute(damage.format(h="l1.dia_object_history"))
    assert breaks(night) != []


def test_versions_are_in_order_with_a_wild_clock(database: str) -> None:
    exposures = [SKY.expose(v) for v in range(1, 9)]
    with psycopg.connect(database, autocommit=True) as connection, Client(database) as client:
        connection.execute(WILD_CLOCK)
        for exposure in exposures:
            client.ingest(exposure.visit, exposure.detectors)
        assert errors_against_truth(connection, exposures) == []
        assert breaks(connection) == []


def test_versions_are_in_order_with_a_wild_clock_and_eight_connections(database: str) -> None:
    exposures = [SKY.expose(v) for v in range(1, 11)]
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(WILD_CLOCK)
        ingest_at_once(database, calls_by_detector(exposures), seed=9)
        assert errors_against_truth(connection, exposures) == []
        assert breaks(connection) == []


def test_a_stamp_that_only_reads_the_clock_is_refused(database: str) -> None:
    """The counter-test of the two above: with take_stamp reduced to the clock, a CHECK stops the ingest."""
    first, second = SKY.expose(1), SKY.expose(2)
    with psycopg.connect(database, autocommit=True) as connection, Client(database) as client:
        client.ingest(first.visit, first.detectors)
        connection.execute(TURNED_BACK)
        connection.execute(STAMP_IS_CLOCK)
        with pytest.raises(RefusedError, match="dia_object_history_validity_check"):
            client.ingest(second.visit, second.detectors)


def test_a_replacement_while_the_clock_was_turned_back(database: str) -> None:
    exposures = [SKY.expose(1), SKY.expose(2)]
    better = SKY.expose(2, seed=50)
    with psycopg.connect(database, autocommit=True) as connection, Client(database) as client:
        for exposure in exposures:
            client.ingest(exposure.visit, exposure.detectors)
        connection.execute(TURNED_BACK)
        client.ingest(better.visit, better.detectors, mode="replace")
        assert breaks(connection) == []


def test_sources_without_object_can_be_replaced_while_the_clock_was_turned_back(database: str) -> None:
    """No object's version tells how new these rows are."""
    exposure = SKY.expose(1)
    with psycopg.connect(database, autocommit=True) as connection, Client(database) as client:
        connection.execute("""select l1_api.change_survey('{"max_new_objects": 0}', 'test')""")
        client.ingest(exposure.visit, exposure.detectors)
        connection.execute(TURNED_BACK)
        client.ingest(exposure.visit, [DetectorData(d.detector) for d in exposure.detectors], mode="replace")
        assert breaks(connection) == []
        assert connection.execute("select count(*) from l1.dia_source").fetchone() == (0,)


VERSIONED = ("dia_object", "dia_object_band", "dia_source")
# A change of anything; the sources' columns hold no arithmetic that all three tables share.
CHANGE = {"dia_object": "ra_err = 0", "dia_object_band": "psf_flux_mean = 0", "dia_source": "snr = 0"}


@pytest.mark.parametrize("table", VERSIONED)
@pytest.mark.parametrize("statement", ["update l1.{table} set {change}", "delete from l1.{table}"])
def test_no_versioned_row_changes_without_a_stamp(statement: str, table: str, night: psycopg.Connection) -> None:
    with pytest.raises(psycopg.Error, match="versioned rows change only under a stamp"):
        night.execute(statement.format(table=table, change=CHANGE[table]))


@pytest.mark.parametrize("table", VERSIONED)
def test_a_changed_row_must_carry_the_stamp(table: str, night: psycopg.Connection) -> None:
    night.execute("select l1_api.take_stamp()")
    with pytest.raises(psycopg.Error, match=f"a changed row of {table} must carry the stamp"):
        night.execute(f"update l1.{table} set {CHANGE[table]}")


@pytest.mark.parametrize("table", VERSIONED)
def test_every_changed_or_deleted_row_goes_to_the_history(table: str, night: psycopg.Connection) -> None:
    night.execute("select l1_api.take_stamp()")
    columns = night.execute(
        "select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute"
        " where attrelid = %s::regclass and attnum > 0 and not attisdropped",
        (f"l1.{table}",),
    ).fetchone()[0]  # type: ignore[index]
    rows = f"select md5(string_agg(t::text, ' ' order by t)), count(*) from (select {columns} from {{}}) as t"
    present = rows.format(f"l1.{table}")
    closed_now = rows.format(f"(select * from l1.{table}_history where validity_end = l1_api.stamp_in_force()) as h")

    before = night.execute(present).fetchone()
    night.execute(f"update l1.{table} set {CHANGE[table]}, validity_start = l1_api.stamp_in_force()")
    assert night.execute(closed_now).fetchone() == before

    night.execute("select l1_api.take_stamp()")
    before = night.execute(present).fetchone()
    night.execute(f"delete from l1.{table}")
    assert night.execute(closed_now).fetchone() == before


APPEND_ONLY = (
    "dia_object_history", "dia_object_band_history", "dia_source_history", "dia_object_former_place", "stamp", "alert",
    "survey",
)  # fmt: skip


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("statement", ["update l1.{table} set {column} = {column}", "delete from l1.{table}"])
def test_what_is_written_stays(statement: str, table: str, night: psycopg.Connection) -> None:
    column = {"alert": "stamp", "survey": "name", "stamp": "stamp", "dia_object_former_place": "left_at"}.get(
        table, "validity_end"
    )
    with pytest.raises(psycopg.Error, match=f"{table} is append-only"):
        night.execute(statement.format(table=table, column=column))


@pytest.mark.parametrize("table", [*APPEND_ONLY, "dia_source", "dia_object", "dia_object_band"])
def test_nothing_written_is_truncated(table: str, night: psycopg.Connection) -> None:
    with pytest.raises(psycopg.Error, match=f"{table} is not truncated"):
        night.execute(f"truncate l1.{table} cascade")


def test_a_stamp_ends_with_its_transaction(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        with connection.transaction():
            connection.execute("select l1_api.take_stamp()")
            connection.execute("select l1_api.stamp_in_force()")
        with pytest.raises(psycopg.Error, match="only under a stamp"):
            connection.execute("select l1_api.stamp_in_force()")


def test_the_stamp_is_later_than_what_it_closes(connection: psycopg.Connection) -> None:
    assert connection.execute("select l1_api.take_stamp() >= now()").fetchone() == (True,)
    connection.execute("insert into l1.stamp (stamp) values ('2999-01-01 00:00:00.123456+00')")
    row = connection.execute("select l1_api.take_stamp() = '2999-01-01 00:00:00.123457+00'").fetchone()
    assert row == (True,)


def test_the_stamp_is_kept_to_the_microsecond_whatever_the_session_shows(connection: psycopg.Connection) -> None:
    connection.execute("set local datestyle = 'German'; set local timezone = 'Asia/Kathmandu'")
    connection.execute("insert into l1.stamp (stamp) values ('2999-01-01 00:00:00.123456+00')")
    row = connection.execute("select l1_api.take_stamp()::text").fetchone()
    assert row == ("01.01.2999 05:45:00.123457 +0545",)
    assert row == connection.execute("select l1_api.stamp_in_force()::text").fetchone()


def test_replaced_versions_of_sources_do_not_overlap(database: str) -> None:
    exposure = SKY.expose(1)
    with Client(database) as client, psycopg.connect(database) as connection:
        client.ingest(exposure.visit, exposure.detectors)
        for k in range(1, 4):
            better = [replace(d, software=f"v{k}") for d in exposure.detectors]
            client.ingest(exposure.visit, better, mode="replace")
        assert breaks(connection) == []
        n = len(exposure.source_ids)
        assert connection.execute("select count(*) from l1.dia_source_history").fetchone() == (3 * n,)
