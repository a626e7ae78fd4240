"""What alerts say, held against the tables by queries of another kind; and the tables that it comes from.

These can only be added to, or keep what was: otherwise no packet could be made again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from l1db.alert.cutouts import Archive
from l1db.alert.packets import regenerate
from l1db.alert.read import LostError, read_content
from l1db.errors import InputError
from tests.alert.small_night import FORMATS, again, alert_ids, build_all, digest, take_in
from tests.conftest import Server

ROLES = ("l1_read", "l1_ingest", "l1_publish", "l1_filter", "l1_admin")


@pytest.fixture(scope="module")
def night(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Archive]]:
    """A night with its packets built; nothing is committed in it."""
    dsn, directory = server.clone("seed"), tmp_path_factory.mktemp("night")
    take_in(dsn, directory)
    archive = Archive(directory / "archive")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("set search_path = l1, l1_api, public")
        connection.execute("select l1_api.withdraw_sources(array[3020, 2050], 'a test')")
        build_all(connection, archive)
    yield dsn, archive
    server.drop(dsn)


@pytest.fixture
def look(night: tuple[str, Archive]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(night[0]) as connection:
        yield connection
        connection.rollback()


# -------------------------------------------------------------------------------------------------- which tables

# Roots of the partitioned tables and the tables of schema l1 that this transaction has opened, for any purpose.
OPENED = """
    select distinct 'l1.' || coalesce(pg_partition_root(c.oid), c.oid)::regclass::text
      from pg_locks k
      join pg_class c on c.oid = k.relation
     where k.pid = pg_backend_pid() and k.locktype = 'relation'
       and k.database = (select oid from pg_database where datname = current_database())
       and c.relnamespace = 'l1'::regnamespace and c.relkind in ('r', 'p')
     order by 1
"""
APPEND_ONLY = {"l1.alert", "l1.alert_image", "l1.alert_packet", "l1.cutout", "l1.survey",
               "l1.dia_source_history", "l1.dia_object_history", "l1.dia_object_band_history"}  # fmt: skip
VERSIONED = {"l1.dia_source", "l1.dia_object", "l1.dia_object_band"}


def opened(look: psycopg.Connection, archive: Archive) -> list[str]:
    """The tables that packets of every format are built from, as PostgreSQL's own locks tell."""
    ids = alert_ids(look)
    look.rollback()
    again(look, archive, ids)
    for form in FORMATS:
        regenerate(look, ids[0], form, archive)
    # Names of tables are spelled as the search path demands.
    return [name.replace("l1.l1.", "l1.") for (name,) in look.execute(OPENED).fetchall()]


def refusal(look: psycopg.Connection, statement: str) -> str | None:
    """SQLSTATE of the refusal of a statement, which leaves nothing behind; None if it is done."""
    try:
        with look.transaction(force_rollback=True):
            look.execute(statement)  # type: ignore[arg-type]
    except psycopg.Error as error:
        return error.sqlstate
    return None


def test_all_that_packets_are_built_from_is_append_only_or_versioned(
    look: psycopg.Connection, night: tuple[str, Archive]
) -> None:
    """Seen red with the visit read for a packet, and without the triggers of cutout and of dia_object."""
    tables = opened(look, night[1])
    assert set(tables) == APPEND_ONLY | VERSIONED
    for table in tables:
        rows = look.execute(sql.SQL("select count(*) from {}").format(identifier(table))).fetchone()
        assert rows is not None
        assert rows[0] > 0, f"{table} is empty: nothing would be refused"
        column = next(
            name for (name,) in look.execute(
                "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and atttypid = "
                "any ('{text, timestamptz}'::regtype[]) order by attnum", (table,)
            )
        )  # fmt: skip
        assert refusal(look, f"truncate {table} cascade") == "L1V02"
        if table in APPEND_ONLY:
            assert refusal(look, f"delete from {table}") == "L1V02"
            assert refusal(look, f"update {table} set {column} = {column}") == "L1V02"
        else:
            assert kept(look, table, "delete from {table}")
            assert kept(look, table, "update {table} set validity_start = %s")
            # Without a stamp that all could know of, nothing is changed.
            assert refusal(look, f"update {table} set validity_start = validity_start") == "L1V01"


def identifier(table: str) -> sql.Identifier:
    return sql.Identifier(*table.split("."))


def columns_of(look: psycopg.Connection, table: str) -> list[str]:
    rows = look.execute(
        "select quote_ident(attname) from pg_attribute"
        " where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum",
        (table,),
    )
    return [name for (name,) in rows.fetchall()]


def kept(look: psycopg.Connection, table: str, statement: str) -> bool:
    """Whether the rows that a statement changes go into the table's history as they were."""
    summed = "select count(*), md5(string_agg(t::text, '|' order by t::text)) from ({}) t"
    with look.transaction(force_rollback=True):
        columns = ", ".join(f"h.{name}" for name in columns_of(look, table))
        history = f"select {columns} from {table}_history h where h.validity_end = %s"
        before = look.execute(summed.format(f"table {table}")).fetchone()  # type: ignore[arg-type]
        stamp = look.execute("select l1_api.take_stamp()").fetchone()
        look.execute(statement.format(table=table), stamp if "%s" in statement else ())  # type: ignore[arg-type]
        after = look.execute(summed.format(history), stamp).fetchone()  # type: ignore[arg-type]
    return before == after


@pytest.mark.parametrize("role", ROLES)
def test_no_role_can_pass_by_what_keeps_them(role: str, look: psycopg.Connection, night: tuple[str, Archive]) -> None:
    """Not by switching triggers off, nor by going to partitions themselves, nor by writing into histories."""
    leaves = look.execute(
        "select 'l1.' || c.relname from pg_class c where c.relnamespace = 'l1'::regnamespace and c.relispartition"
        " and c.relkind = 'r'"
    ).fetchall()
    look.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
    denied = ("42501", "42P01")  # who may not look into the schema finds no table there
    for table in (*APPEND_ONLY, *VERSIONED, *(leaf for (leaf,) in leaves)):
        assert refusal(look, f"alter table {table} disable trigger all") in denied
        assert refusal(look, f"truncate {table}") in denied
        if table not in VERSIONED:
            assert refusal(look, f"delete from {table}") in denied
            assert refusal(look, f"update {table} set ctid = ctid") in (*denied, "0A000")
        if table.endswith("_history"):
            assert refusal(look, f"insert into {table} select * from {table}") in denied
    assert refusal(look, "set session_replication_role = replica") in denied


def test_who_may_only_read_can_build_packets_again(look: psycopg.Connection, night: tuple[str, Archive]) -> None:
    ids = alert_ids(look)
    look.execute("set local role l1_read")
    for form in FORMATS:
        for alert_id in ids[:: len(ids) // 4]:
            packet, sha256 = regenerate(look, alert_id, form, night[1])
            assert sha256 is not None
            assert digest(packet.content) == sha256.hex()


# --------------------------------------------------------------------------------------------------- what they say


def rows_of(look: psycopg.Connection, table: str, alert_id: int, where: str) -> list[dict[str, Any]]:
    """Current and former rows that held at the stamp of an alert, not by `dia_source_asof` and its like."""
    columns = ", ".join(f"h.{name}" for name in columns_of(look, f"l1.{table}"))
    query = f"""
        select to_jsonb(row) from (
            select t.*, null::timestamptz as upto from l1.{table} t
            union all
            select {columns}, h.validity_end from l1.{table}_history h) as row, l1.alert a
         where a.alert_id = %s and row.validity_start <= a.stamp and coalesce(row.upto > a.stamp, true) and {where}
    """
    return [row for (row,) in look.execute(query, (alert_id,)).fetchall()]  # type: ignore[arg-type]


def same(value: Any, stored: Any) -> bool:
    if isinstance(value, np.floating | float) and isinstance(stored, str):
        return math.isnan(value) if stored == "NaN" else True  # a time, which is MJD here
    if isinstance(value, np.float32) and stored is not None:
        return bool(value == np.float32(stored))
    return bool(value == stored)


def agrees(row: dict[str, Any], stored: dict[str, Any]) -> list[str]:
    return [name for name, value in row.items() if not same(value, stored[name])]


def test_alerts_say_what_was_known_when_they_were_issued(look: psycopg.Connection) -> None:
    ids = alert_ids(look)
    content = read_content(look, ids)
    n_history = 0
    for i, alert_id in enumerate(ids):
        alert = content.alert.row(i)
        history = range(*content.history_bounds[i : i + 2].tolist())
        stored = rows_of(look, "dia_source", alert_id, "row.dia_object_id = a.dia_object_id")
        before = [row for row in stored if row["midpoint_mjd_tai"] < alert["midpoint_mjd_tai"]]
        if alert["survey_version"] == 3:
            before = [row for row in before if row["midpoint_mjd_tai"] >= alert["midpoint_mjd_tai"] - 0.035]
        before.sort(key=lambda row: (row["midpoint_mjd_tai"], row["dia_source_id"]))
        assert [content.history["dia_source_id"].values[k] for k in history] == [row["dia_source_id"] for row in before]
        for k, row in zip(history, before, strict=True):
            assert agrees(content.history.row(k), row) == []
        n_history += len(before)
        if alert["kind"] == "retraction":
            assert content.source["time_withdrawn"].values[i] == alert["stamp"]
        else:
            (trigger,) = (row for row in stored if row["dia_source_id"] == alert["dia_source_id"])
            assert agrees(content.source.row(i), trigger) == []
        bands = range(*content.band_bounds[i : i + 2].tolist())
        shown = rows_of(look, "dia_object_band", alert_id, "row.dia_object_id = a.dia_object_id")
        if alert["dia_object_version"] is None:
            assert (len(bands), content.object.row(i)["dia_object_id"]) == (0, None)
            continue
        (found,) = rows_of(look, "dia_object", alert_id, "row.dia_object_id = a.dia_object_id")
        assert agrees(content.object.row(i), found) == []
        assert [content.band["band"].values[k] for k in bands] == sorted(row["band"] for row in shown)
        for k, row in zip(bands, sorted(shown, key=lambda row: str(row["band"])), strict=True):
            assert agrees(content.band.row(k), row) == []
    assert n_history > 15


def test_alerts_in_any_order(look: psycopg.Connection) -> None:
    ids = alert_ids(look)
    forwards, backwards = read_content(look, ids), read_content(look, ids[::-1])
    for rows in ("alert", "source", "object", "image"):
        one, other = getattr(forwards, rows), getattr(backwards, rows)
        for i in range(len(ids)):
            assert str(one.row(i)) == str(other.row(len(ids) - 1 - i))


def test_an_alert_that_there_is_not_is_named(look: psycopg.Connection) -> None:
    ids = alert_ids(look)
    with pytest.raises(InputError, match="there is no alert 123456"):
        read_content(look, [ids[0], 123456, ids[1]])
    with pytest.raises(InputError, match="an alert is named twice"):
        read_content(look, [ids[0], ids[0]])


@pytest.mark.parametrize(
    ("table", "missing"),
    [("dia_source", "DiaSource"), ("dia_object_history", "DiaObject version"), ("dia_object", "DiaObject version")],
)
def test_rows_that_are_lost_are_an_error_and_no_packet(table: str, missing: str, look: psycopg.Connection) -> None:
    """Lost by the owner's hand, past all triggers.  Seen red without the look at them: a packet full of nulls."""
    ids = alert_ids(look)
    look.execute("set local session_replication_role = replica")
    look.execute(sql.SQL("delete from {}").format(sql.Identifier("l1", table)))
    with pytest.raises(LostError, match=f"does not have the {missing} of alert"):
        read_content(look, ids)


def test_a_retraction_takes_back_the_same_alert_in_any_company(look: psycopg.Connection) -> None:
    """Though its source came again with another midpoint since.  Seen red with the batch's midpoints as bounds."""
    (first,) = look.execute(
        "select alert_id from l1.alert where dia_source_id = 1000 and kind = 'detection'"
    ).fetchall()
    stamp = look.execute("select l1_api.take_stamp()").fetchone()
    moved = "midpoint_mjd_tai = midpoint_mjd_tai + 0.0001"
    look.execute(f"update l1.dia_source set {moved}, validity_start = %s where dia_source_id = 1000", stamp)  # type: ignore[arg-type]
    (retraction,) = look.execute(
        "insert into l1.alert (kind, dia_source_id, midpoint_mjd_tai, visit, detector, dia_object_id, survey_version,"
        " stamp) select 'retraction', s.dia_source_id, s.midpoint_mjd_tai, s.visit, s.detector, s.dia_object_id, 3,"
        " s.validity_start + interval '1 second' from l1.dia_source s where s.dia_source_id = 1000 returning alert_id"
    ).fetchall()
    for company in ([], first, tuple(i for i in alert_ids(look) if i not in retraction)):
        content = read_content(look, [*company, *retraction])
        assert content.alert.row(len(company))["retracted_alert_id"] == first[0]


def test_a_login_that_sees_numbers_rounded_reads_all_of_them(
    look: psycopg.Connection, night: tuple[str, Archive]
) -> None:
    """Midpoints bound the search: rounded, they would leave alerts out.  Seen red with their span read as text."""
    (alert_id, *_) = alert_ids(look)
    expected = read_content(look, [alert_id])
    with psycopg.connect(make_conninfo(night[0], options="-c extra_float_digits=-15")) as connection:
        assert str(read_content(connection, [alert_id]).source.row(0)) == str(expected.source.row(0))
