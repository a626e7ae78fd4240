"""An answer as of safe_asof() or before never changes, whoever commits later, and as l1_read may ask.

Each of its mechanisms is taken out once in a clone, and the answer then changes: the tests that end in ``_changes``.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from l1db import Client
from l1db import database as l1db_database
from tests.concurrency.gate import Gate, poll, stopping_at
from tests.concurrency.workers import ingest_at_once
from tests.sky_fields import PLACES, calls_by_detector, field
from tests.version.test_versions import TURNED_BACK, WILD_CLOCK

HERE, THERE = (field(PLACES[place], side=2, n_detectors=1) for place in ("a plain place", "0h, high up"))
Answer = tuple[Any, ...]

# What was known at a time: every version of every table that held then.
ANSWER = """
    select (select md5(string_agg(o::text, ' ' order by o.dia_object_id)) from l1_api.dia_object_asof({t}) o),
           (select count(*) from l1_api.dia_object_asof({t})),
           (select md5(string_agg(b::text, ' ' order by b.dia_object_id, b.band))
              from l1_api.dia_object_band_asof({t}) b),
           (select md5(string_agg(s::text, ' ' order by s.dia_source_id)) from l1_api.dia_source_asof({t}) s)
"""
# The time and its answer in one statement; and with a wait between the snapshot of the statement and the question.
AT_ONCE = (
    "select moment.t, answer.* from (select l1_api.safe_asof() as t offset 0) as moment"
    f" cross join lateral ({ANSWER.format(t='moment.t')}) as answer"
)
LATE = AT_ONCE.replace(
    "as t offset 0", "as t from (select pg_advisory_xact_lock_shared(19599, 1) offset 0) as k offset 0"
)


def ingest(dsn: str, sky: Any, visit: int) -> None:
    exposure = sky.expose(visit)
    with Client(dsn) as client:
        client.ingest(exposure.visit, exposure.detectors)


def reader(dsn: str, isolation: str = "read committed") -> psycopg.Connection:
    """A session that can do no more than l1_read."""
    level = isolation.replace(" ", r"\ ")
    options = f"-c role=l1_read -c default_transaction_isolation={level}"
    return psycopg.connect(make_conninfo(dsn, options=options))


def now_known(dsn: str, t: datetime) -> Answer:
    """The answer as of a time, asked by somebody who comes now."""
    with reader(dsn) as connection:
        row = connection.execute(ANSWER.format(t="%(t)s::timestamptz"), {"t": t}).fetchone()
    assert row is not None
    return row


def newest_stamp(dsn: str) -> datetime:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select max(stamp) from l1.stamp").fetchone()
    assert row is not None
    return row[0]  # type: ignore[no-any-return]


def replace_in(dsn: str, function: str, changes: dict[str, str]) -> None:
    """Change the text of a function."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select pg_get_functiondef(%s::regprocedure)", (f"l1_api.{function}",)).fetchone()
        assert row is not None
        (text,) = row
        for old, new in changes.items():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        connection.execute(text)


@contextmanager
def held(dsn: str, sky: Any, visit: int) -> Iterator[Callable[[], None]]:
    """An ingest that has taken its stamp and not yet committed; call what you get to let it commit."""
    exposure = sky.expose(visit)
    with Client(dsn) as client:  # the visit is open and its partition is there
        client.ingest(exposure.visit, [])
    with Gate(dsn) as gate, Client(stopping_at(dsn, "stamp")) as client, ThreadPoolExecutor() as pool:
        call = pool.submit(client.ingest, exposure.visit, exposure.detectors)
        gate.stopped()

        def commit() -> None:
            gate.open()
            call.result(timeout=30)

        yield commit


@pytest.fixture
def night(database: str) -> str:
    """Two fields, each seen twice."""
    for visit in (1, 2):
        ingest(database, HERE, visit)
        ingest(database, THERE, visit + 10)
    return database


# ------------------------------------------------------------------------------------------------ what it answers


def test_without_any_stamp_nothing_is_final(database: str) -> None:
    with reader(database) as connection:
        assert connection.execute("select l1_api.safe_asof()").fetchone() == (None,)
        assert connection.execute("select count(*) from l1_api.dia_object_asof(l1_api.safe_asof())").fetchone() == (0,)


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_with_no_writer_at_work_all_that_is_committed_is_final(isolation: str, night: str) -> None:
    """At repeatable read, if no other database of the server commits between the snapshot and the question."""
    newest = (newest_stamp(night),)
    with reader(night, isolation) as connection:
        for _ in range(20):
            connection.rollback()
            if connection.execute("select l1_api.safe_asof()").fetchone() == newest:
                break
        assert connection.execute("select l1_api.safe_asof()").fetchone() == newest
        for table in ("dia_object", "dia_object_band", "dia_source"):
            current, asof = f"select * from l1.{table}", f"select * from l1_api.{table}_asof(l1_api.safe_asof())"
            assert connection.execute(f"{current} except {asof}").fetchall() == []
            assert connection.execute(f"{asof} except {current}").fetchall() == []


def test_each_writing_transaction_is_listed_with_its_stamp(night: str) -> None:
    with psycopg.connect(night) as connection:
        assert connection.execute(
            "select array_agg(s.stamp order by s.stamp)"
            " = (select array_agg(distinct validity_start) from l1.dia_source), count(*),"
            " bool_and(s.settled is not distinct from s.before)"
            " from (select *, lag(stamp) over (order by stamp) as before from l1.stamp) as s"
        ).fetchone() == (True, 4, True)
        assert connection.execute(
            "select count(*) from l1.stamp s join (select distinct stamp, xid from l1.alert) a using (stamp, xid)"
        ).fetchone() == (4,)


def test_it_rises_again_when_a_writer_is_killed(night: str) -> None:
    with held(night, HERE, 3) as _, psycopg.connect(night, autocommit=True) as connection:
        ingest(night, THERE, 13)
        (t,) = connection.execute("select l1_api.safe_asof()").fetchone()  # type: ignore[misc]
        assert t < newest_stamp(night)
        row = poll(
            lambda: connection.execute(
                "select pid from pg_locks where locktype = 'advisory' and classid = 19599 and not granted"
                " and database = (select oid from pg_database where datname = current_database())"
            ).fetchone(),
            "nobody stops",
        )
        connection.execute("select pg_terminate_backend(%s, 10000)", row)
        assert connection.execute("select l1_api.safe_asof()").fetchone() == (newest_stamp(night),)


def test_a_writer_does_not_take_its_own_rows_for_final(night: str) -> None:
    with psycopg.connect(night) as connection:
        row = connection.execute("select l1_api.safe_asof()").fetchone()
        connection.execute("select l1_api.take_stamp()")
        assert connection.execute("select l1_api.safe_asof()").fetchone() == row
        connection.rollback()


@pytest.mark.parametrize("statement", ["select pg_advisory_lock_shared(1)", "select pg_advisory_lock_shared(-7)",
                                       "select pg_advisory_lock_shared(195, 3)"])  # fmt: skip
def test_foreign_locks_do_not_hold_it_back(statement: str, night: str) -> None:
    with psycopg.connect(night) as other, reader(night) as connection:
        other.execute(statement)  # type: ignore[call-overload]
        assert connection.execute("select l1_api.safe_asof()").fetchone() == (newest_stamp(night),)


def test_a_bound_is_read_as_it_was_announced(connection: psycopg.Connection) -> None:
    for bound in ("2000-01-01 00:00:00.000001+00", "2026-11-23 02:10:38.999999+00", "2999-12-31 23:59:59.999999+00"):
        connection.execute("select pg_advisory_lock_shared(l1_api.stamp_key(%s))", (bound,))
        row = connection.execute("select l1_api.oldest_announced() = %s::timestamptz", (bound,)).fetchone()
        connection.execute("select pg_advisory_unlock_all()")
        assert row == (True,)


# ------------------------------------------------------------------------------------------- two sessions in order

NOT_ANNOUNCED = {"perform pg_advisory_xact_lock_shared(l1_api.stamp_key(v_bound));": "",
                 "v_settled := l1_api.settled_time(pg_current_snapshot());": ""}  # fmt: skip
READ_LOCKS = "v_bound := l1_api.oldest_announced();"
WAIT = "if current_user = 'l1_read' then perform pg_advisory_xact_lock_shared(19599, 1); end if;"
READ_BOTH = re.compile(rf"(?s){re.escape(READ_LOCKS)}.*?(?=\n    v_by_others)")


def first_stamps_late_commit(dsn: str) -> tuple[Answer, Answer]:
    """One takes its stamp; another takes a later one and commits; a reader asks; the first commits.  Both answers."""
    with held(dsn, HERE, 3) as commit:
        ingest(dsn, THERE, 13)
        with reader(dsn) as connection:
            t, *before = connection.execute(AT_ONCE).fetchone()  # type: ignore[misc]
        commit()
    return tuple(before), now_known(dsn, t)


def test_who_has_a_stamp_and_commits_late_changes_nothing(night: str) -> None:
    before, after = first_stamps_late_commit(night)
    assert before == after


def test_without_announcement_the_answer_changes(night: str) -> None:
    replace_in(night, "take_stamp()", NOT_ANNOUNCED)
    before, after = first_stamps_late_commit(night)
    assert before != after


def commit_behind_the_snapshot(dsn: str) -> tuple[Answer, Answer]:
    """As above, but the first commits when the reader's statement has its snapshot, and before it asks for the time."""
    with held(dsn, HERE, 3) as commit, ThreadPoolExecutor() as pool, psycopg.connect(dsn) as gate:
        ingest(dsn, THERE, 13)
        gate.execute("select pg_advisory_lock(19599, 1)")
        with reader(dsn) as connection:
            asked = pool.submit(lambda: connection.execute(LATE).fetchone())
            stopped_there(gate)
            commit()
            gate.execute("select pg_advisory_unlock(19599, 1)")
            t, *before = asked.result(timeout=30)  # type: ignore[misc]
    return tuple(before), now_known(dsn, t)


def stopped_there(gate: psycopg.Connection) -> None:
    """Wait until the reader waits for gate 1."""
    poll(
        lambda: gate.execute(
            "select pid from pg_locks where locktype = 'advisory' and classid = 19599 and objid = 1 and not granted"
            " and database = (select oid from pg_database where datname = current_database())"
        ).fetchone(),
        "the reader does not stop",
    )


def test_who_commits_behind_the_readers_snapshot_changes_nothing(night: str) -> None:
    before, after = commit_behind_the_snapshot(night)
    assert before == after


UNSEEN = ", v_unseen - interval '1 microsecond'"


def test_without_a_look_at_unseen_stamps_the_answer_changes(night: str) -> None:
    replace_in(night, "settled_time(pg_snapshot)", {UNSEEN: ""})
    before, after = commit_behind_the_snapshot(night)
    assert before != after


def read_in_order(dsn: str, *, locks_first: bool) -> tuple[Answer, Answer]:
    """The reader stops between the locks and the stamps, or the stamps and the locks, while the first commits."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "select pg_get_functiondef('l1_api.settled_time(pg_snapshot)'::regprocedure)"
        ).fetchone()
        assert row is not None
        match = READ_BOTH.search(row[0])
        assert match
        stamps = match[0].replace(READ_LOCKS, "")
        order = (READ_LOCKS, WAIT, stamps) if locks_first else (stamps, WAIT, READ_LOCKS)
        connection.execute(row[0].replace(match[0], "\n".join(order)))
    with held(dsn, HERE, 3) as commit, ThreadPoolExecutor() as pool, psycopg.connect(dsn) as gate:
        ingest(dsn, THERE, 13)
        gate.execute("select pg_advisory_lock(19599, 1)")
        with reader(dsn) as connection:
            asked = pool.submit(lambda: connection.execute(AT_ONCE).fetchone())
            stopped_there(gate)
            commit()
            gate.execute("select pg_advisory_unlock(19599, 1)")
            t, *before = asked.result(timeout=30)  # type: ignore[misc]
    return tuple(before), now_known(dsn, t)


def test_locks_then_stamps_leaves_no_gap(night: str) -> None:
    before, after = read_in_order(night, locks_first=True)
    assert before == after


def test_stamps_then_locks_changes(night: str) -> None:
    before, after = read_in_order(night, locks_first=False)
    assert before != after


def in_repeatable_read(dsn: str) -> tuple[Answer, Answer, bool]:
    """The reader's snapshot is from before the first commits; the question comes after."""
    with held(dsn, HERE, 3) as commit, reader(dsn, "repeatable read") as connection:
        ingest(dsn, THERE, 13)
        connection.execute("select 1 from l1.survey")
        commit()
        row = connection.execute(AT_ONCE).fetchone()
        assert row is not None
        t, *before = row
        ingest(dsn, THERE, 14)
        assert connection.execute(AT_ONCE).fetchone() == row, "one transaction has one time"
        connection.rollback()
        fresher = connection.execute("select l1_api.safe_asof() > %s", (t,)).fetchone()
    return tuple(before), now_known(dsn, t), fresher == (True,)


def test_repeatable_read_too(night: str) -> None:
    before, after, fresher = in_repeatable_read(night)
    assert before == after
    assert before[1] == 10, "what was committed before both is in it"
    assert fresher


def test_a_transaction_that_began_last_was_under_way_too(night: str) -> None:
    """The snapshot does not list it if none that began later has ended.  Seen red without the loop over such ids."""
    with psycopg.connect(night) as other, reader(night, "repeatable read") as connection:
        other.execute("select pg_current_xact_id()")
        connection.execute("select 1 from l1.survey")
        other.commit()
        row = connection.execute("select l1_api.has_committed_since(pg_current_snapshot())").fetchone()
        assert row == (True,)


def test_repeatable_read_without_a_look_at_who_was_under_way_changes(night: str) -> None:
    replace_in(night, "settled_time(pg_snapshot)", {"v_newest := null;": "null;"})
    before, after, _ = in_repeatable_read(night)
    assert before != after


# ------------------------------------------------------------------------------------------------- clocks and crowds


def test_a_clock_that_is_turned_back_brings_no_stamp_behind_final_answers(night: str) -> None:
    with reader(night) as connection:
        t, *before = connection.execute(AT_ONCE).fetchone()  # type: ignore[misc]
    with psycopg.connect(night) as connection:
        connection.execute(TURNED_BACK)
    ingest(night, HERE, 3)
    assert now_known(night, t) == tuple(before)
    assert newest_stamp(night) == t + timedelta(microseconds=1)


def test_with_stamps_by_the_clock_alone_the_answer_changes(night: str) -> None:
    """Of objects that no stored version binds: new ones."""
    with reader(night) as connection:
        t, *before = connection.execute(AT_ONCE).fetchone()  # type: ignore[misc]
    with psycopg.connect(night) as connection:
        connection.execute(TURNED_BACK)
    text = "(select max(s.stamp) from l1.stamp s) + interval '1 microsecond');\n"
    replace_in(
        night,
        "take_stamp()",
        {
            f"v_bound := greatest(l1_api.clock(), {text}": "v_bound := l1_api.clock();\n",
            f",\n                        {text}": ");\n",
            "v_settled := l1_api.settled_time(pg_current_snapshot());": "",
        },
    )
    ingest(night, field((200.0, 10.0), side=2, n_detectors=1), 31)
    assert now_known(night, t) != tuple(before)


@pytest.mark.parametrize("clock", ["steady", "wild"])
def test_no_answer_changes_while_eight_connections_ingest(clock: str, database: str) -> None:
    if clock == "wild":
        with psycopg.connect(database) as connection:
            connection.execute(WILD_CLOCK)
    skies = [field(PLACES[place], side=4) for place in ("a plain place", "0h, high up", "the south pole")]
    calls = [
        call
        for k, sky in enumerate(skies)
        for call in calls_by_detector([sky.expose(100 * k + visit) for visit in range(1, 8)])
    ]
    answers: list[tuple[datetime | None, Answer]] = []
    done = threading.Event()

    def ask(isolation: str) -> None:
        with reader(database, isolation) as connection:
            while not done.is_set():
                t, *answer = connection.execute(AT_ONCE).fetchone()  # type: ignore[misc]
                connection.rollback()
                answers.append((t, tuple(answer)))

    with ThreadPoolExecutor() as pool:
        asking = [pool.submit(ask, isolation) for isolation in ("read committed", "repeatable read")]
        try:
            ingest_at_once(database, calls, seed=4)
        finally:
            done.set()
        for future in asking:
            future.result(timeout=30)
    known = {t: answer for t, answer in answers if t is not None}
    assert len(known) > 10
    assert all(answer == known[t] for t, answer in answers if t is not None)
    for t, answer in known.items():
        assert now_known(database, t) == answer


# --------------------------------------------------------------------------------------------------- older databases


def test_a_database_from_before_stamps_knows_its_newest(night: str) -> None:
    with psycopg.connect(night) as connection:
        listed = connection.execute("select array_agg(stamp order by stamp) from l1.stamp").fetchone()
        places = connection.execute("select * from l1.dia_object_former_place order by 1, 2").fetchall()
    l1db_database.downgrade(night, "0003")
    l1db_database.upgrade(night)
    with psycopg.connect(night) as connection:
        assert connection.execute("select array_agg(stamp order by stamp) from l1.stamp").fetchone() == listed
        assert connection.execute("select * from l1.dia_object_former_place order by 1, 2").fetchall() == places
    with reader(night) as connection:
        assert connection.execute("select l1_api.safe_asof()").fetchone() == (newest_stamp(night),)
