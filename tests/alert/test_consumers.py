"""Batches of alerts: none lost, none handed out twice but those whose lease ran out, nobody held up."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from l1db import Client
from tests.alert.outbox import Batch, ack, add, drain, fetch, issue
from tests.concurrency.gate import Gate
from tests.concurrency.workers import ingest_at_once
from tests.sky_fields import calls_by_detector, field

SKY = field(side=4)


@pytest.fixture
def survey(database: str) -> str:
    """A database with a partition for `issue`."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("select l1_api.ensure_partitions(61000.1)")
    return database


@pytest.fixture
def one(survey: str) -> Iterator[psycopg.Connection]:
    """A session in autocommit mode."""
    with psycopg.connect(survey, autocommit=True) as connection:
        yield connection


@pytest.fixture
def other(survey: str) -> Iterator[psycopg.Connection]:
    """Another session in autocommit mode."""
    with psycopg.connect(survey, autocommit=True) as connection:
        yield connection


def test_a_batch_tells_what_the_alerts_are_of(client: Client, database: str) -> None:
    exposure = SKY.expose(2)
    with psycopg.connect(database, autocommit=True) as connection:
        add(connection)
        client.ingest(exposure.visit, exposure.detectors)
        rows = connection.execute("select * from l1_api.next_alerts('c')").fetchall()
        expected = connection.execute(
            "select s.dia_source_id, s.midpoint_mjd_tai, s.visit, s.detector, s.dia_object_id, o.validity_start"
            " from l1.dia_source s join l1.dia_object o using (dia_object_id)"
        ).fetchall()
    assert sorted((r[3], r[4], r[5], r[6], r[7], r[8]) for r in rows) == sorted(expected)
    assert {r[2] for r in rows} == {"detection"}


def test_nothing_waits_for_a_new_consumer(one: psycopg.Connection) -> None:
    add(one)
    assert fetch(one) is None


def test_starting_now_gets_what_comes(one: psycopg.Connection) -> None:
    issue(one, 3)
    add(one, start="now")
    assert fetch(one) is None
    assert drain(one) == []
    fresh = issue(one, 2)
    assert drain(one) == fresh


def test_starting_now_gets_what_is_being_written(one: psycopg.Connection, survey: str) -> None:
    with psycopg.connect(survey) as writer:
        fresh = issue(writer, 2)
        add(one, start="now")
        assert fetch(one) is None
        writer.commit()
    assert drain(one) == fresh


def test_starting_at_the_start_gets_all_there_ever_was(one: psycopg.Connection) -> None:
    old = issue(one, 3)
    add(one, start="start")
    fresh = issue(one, 2)
    assert drain(one, limit=2) == old + fresh


def test_starting_at_a_time_gets_what_was_stamped_since(one: psycopg.Connection) -> None:
    issue(one, 2, stamp="timestamptz '2026-01-01 00:00:00Z'")
    noon = issue(one, 2, stamp="timestamptz '2026-01-02 12:00:00Z'")
    later = issue(one, 2, stamp="timestamptz '2026-01-03 00:00:00Z'")
    add(one, start="2026-01-02T12:00:00Z")
    fresh = issue(one, 2)
    assert drain(one, limit=1) == noon + later + fresh


@pytest.mark.parametrize(
    ("start", "says"), [("yesterday-ish", "is no place to start"), ("9999-01-01", "lies in the future")]
)
def test_other_starting_points_are_refused(start: str, says: str, one: psycopg.Connection) -> None:
    with pytest.raises(psycopg.Error, match=says):
        add(one, start=start)


@pytest.mark.parametrize("name", ["", "two words", "x" * 64, "o'brien", "ü"])
def test_names_that_are_none_are_refused(name: str, one: psycopg.Connection) -> None:
    with pytest.raises(psycopg.Error, match="is no name for a consumer"):
        add(one, name)


def test_a_consumer_is_added_once(one: psycopg.Connection) -> None:
    add(one)
    with pytest.raises(psycopg.Error, match="consumer c exists already"):
        add(one)


@pytest.mark.parametrize(
    "call", ["next_alerts('nobody')", "ack_alerts('nobody', 1)", "drop_consumer('nobody')", "next_alerts(null)"]
)
def test_an_unknown_name_is_an_error_that_lists_the_known(call: str, one: psycopg.Connection) -> None:
    with pytest.raises(psycopg.Error, match=r"there is no consumer (nobody|NULL); there are: none"):
        one.execute(f"select l1_api.{call}")
    add(one, "broker")
    add(one, "archive")
    with pytest.raises(psycopg.Error, match=r"there is no consumer (nobody|NULL); there are: archive, broker"):
        one.execute(f"select l1_api.{call}")


@pytest.mark.parametrize("limit", [0, -1, None])
def test_a_batch_holds_at_least_one(limit: int | None, one: psycopg.Connection) -> None:
    add(one)
    with pytest.raises(psycopg.Error, match="a batch holds at least one alert"):
        one.execute("select l1_api.next_alerts('c', %s)", (limit,))


def test_consumers_get_each_alert_each(one: psycopg.Connection) -> None:
    add(one, "a")
    add(one, "b")
    fresh = issue(one, 5)
    assert drain(one, "a") == fresh
    assert drain(one, "b", limit=2) == fresh


def test_a_dropped_consumer_leaves_the_alerts(one: psycopg.Connection) -> None:
    add(one)
    fresh = issue(one, 3)
    fetch(one)
    one.execute("select l1_api.drop_consumer('c')")
    assert one.execute("select count(*) from l1.alert_batch").fetchone() == (0,)
    add(one, start="start")
    assert drain(one) == fresh


def test_the_limit_cuts_within_the_alerts_of_one_transaction(one: psycopg.Connection) -> None:
    add(one)
    fresh = issue(one, 10)
    batches = [fetch(one, limit=3) for _ in range(4)]
    assert [b.alerts for b in batches if b] == [fresh[:3], fresh[3:6], fresh[6:9], fresh[9:]]
    assert fetch(one) is None


def test_what_comes_while_a_window_is_cut_comes_after_it(one: psycopg.Connection) -> None:
    add(one)
    first = issue(one, 4)
    got = fetch(one, limit=3)
    second = issue(one, 4)
    rest = drain(one, limit=3)
    assert got is not None
    assert got.alerts + rest == first + second


def test_workers_of_one_consumer_hold_different_batches_at_once(
    one: psycopg.Connection, other: psycopg.Connection
) -> None:
    add(one)
    fresh = issue(one, 6)
    mine, yours = fetch(one, limit=2), fetch(other, limit=2)
    assert mine is not None
    assert yours is not None
    assert mine.batch_id != yours.batch_id
    assert mine.alerts + yours.alerts == fresh[:4]
    assert one.execute(
        "select count(*) from l1.alert_batch where acked_at is null and leased_until > now()"
    ).fetchone() == (2,)
    assert ack(other, yours)
    assert ack(one, mine)
    assert drain(one) == fresh[4:]


def test_a_consumer_killed_between_fetch_and_ack_gets_the_same_batch_again(
    one: psycopg.Connection, survey: str
) -> None:
    add(one)
    issue(one, 5)
    with psycopg.connect(survey, autocommit=True) as doomed:
        lost = fetch(doomed, limit=3)
        one.execute("select pg_terminate_backend(%s, 10000)", (doomed.info.backend_pid,))
    issue(one, 5)
    rest = fetch(one, limit=100)
    assert lost is not None
    assert rest is not None
    assert not set(rest.alerts) & set(lost.alerts), "its lease has not run out"
    one.execute("update l1.alert_batch set leased_until = clock_timestamp() where batch_id = %s", (lost.batch_id,))
    again = fetch(one, limit=1)
    assert again == lost, "the same alerts under the same batch_id, whatever limit is asked for now"
    assert one.execute("select n_leases from l1.alert_batch where batch_id = %s", (lost.batch_id,)).fetchone() == (2,)


def test_a_fetch_that_is_not_committed_was_none(one: psycopg.Connection, survey: str) -> None:
    """So a consumer whose effects are in this database has them exactly once: effect and ack in one transaction."""
    add(one)
    fresh = issue(one, 3)
    with psycopg.connect(survey) as session:
        batch = fetch(session)
        assert batch is not None
        assert ack(session, batch)
        session.rollback()
    assert drain(one) == fresh


def test_a_batch_ends_once(one: psycopg.Connection) -> None:
    add(one)
    issue(one, 3)
    batch = fetch(one)
    assert batch is not None
    assert ack(one, batch)
    assert not ack(one, batch)


def test_who_comes_late_is_told(one: psycopg.Connection, other: psycopg.Connection) -> None:
    """The lease of the first ran out, the second has done the work."""
    add(one)
    issue(one, 3)
    slow = fetch(one, lease="0 s")
    fast = fetch(other)
    assert slow == fast
    assert fast is not None
    assert ack(other, fast)
    assert not ack(one, fast)
    assert fetch(one) is None


def test_a_batch_of_another_consumer_is_not_ones_own(one: psycopg.Connection) -> None:
    add(one, "a")
    add(one, "b")
    issue(one, 1)
    batch = fetch(one, "a")
    assert batch is not None
    with pytest.raises(psycopg.Error, match=f"consumer b has no batch {batch.batch_id}"):
        ack(one, batch, "b")
    assert ack(one, batch, "a")


def test_ingests_that_commit_out_of_order_lose_nothing(one: psycopg.Connection, survey: str) -> None:
    """The first to begin, with the lower ids, is the last to commit: a cursor of ids would have passed it by."""
    add(one)
    with psycopg.connect(survey) as slow:
        early = issue(slow, 3)
        late = issue(one, 3)
        assert max(early) < min(late)
        assert drain(one) == late, "and what is there does not wait for it"
        assert fetch(one) is None
        slow.commit()
    assert drain(one) == early


def test_out_of_order_within_an_open_window(one: psycopg.Connection, survey: str) -> None:
    add(one)
    with psycopg.connect(survey) as slow:
        early = issue(slow, 3)
        late = issue(one, 3)
        first = fetch(one, limit=1)
        slow.commit()
        assert first is not None
        assert first.alerts + drain(one, limit=1) == late + early


def test_two_real_ingests_that_commit_out_of_order(database: str) -> None:
    far = field((200.0, 10.0), side=2)
    first, second = SKY.expose(1), far.expose(2)
    with (
        Client(database) as slow,
        Client(database) as fast,
        psycopg.connect(database, autocommit=True) as consumer,
    ):
        add(consumer)
        slow.ingest(first.visit, [])
        with slow._connection.transaction():
            n = slow.ingest(first.visit, first.detectors).n_alerts
            assert len(drain(consumer)) == 0
            m = fast.ingest(second.visit, second.detectors).n_alerts
            assert len(drain(consumer)) == m > 0
        assert len(drain(consumer)) == n > 0


def test_alerts_of_transactions_that_failed_never_come(one: psycopg.Connection, survey: str) -> None:
    add(one)
    with psycopg.connect(survey) as writer:
        issue(writer, 3)
        writer.rollback()
        with writer.transaction():
            kept = issue(writer, 2)
            with writer.transaction(force_rollback=True):
                issue(writer, 2)
            with writer.transaction():
                kept += issue(writer, 2)
        writer.commit()
    assert drain(one) == kept


def test_a_foreign_transaction_stalls_nobody(one: psycopg.Connection, survey: str) -> None:
    with psycopg.connect(survey) as foreign:
        foreign.execute("select pg_current_xact_id()")
        add(one)
        fresh = issue(one, 2)
        assert drain(one) == fresh
        more = issue(one, 2)
        assert drain(one) == more


def test_a_listener_that_was_away_finds_all(client: Client, database: str) -> None:
    """Nobody listens, and the bells are lost; the letters are not."""
    exposures = [SKY.expose(v) for v in (1, 2)]
    with psycopg.connect(database, autocommit=True) as connection:
        add(connection)
    n = sum(client.ingest(e.visit, e.detectors).n_alerts for e in exposures)
    with psycopg.connect(database, autocommit=True) as listener:
        listener.execute("listen l1_alert")
        assert list(listener.notifies(timeout=0.1)) == []
        assert len(drain(listener)) == n > 0


def test_a_slow_consumer_does_not_hold_up_an_ingest(database: str) -> None:
    """It has fetched, and sits in its open transaction; another has locked its cursor and listens."""
    exposures = [SKY.expose(v) for v in (1, 2)]
    impatient = make_conninfo(database, options="-c lock_timeout=500ms")
    with (
        Client(impatient) as client,
        psycopg.connect(database) as slow,
        psycopg.connect(database, autocommit=True) as consumer,
    ):
        add(consumer)
        client.ingest(exposures[0].visit, exposures[0].detectors)
        slow.execute("listen l1_alert")
        slow.commit()
        assert fetch(slow) is not None
        slow.execute("select from l1.alert_cursor for update")
        assert client.ingest(exposures[1].visit, exposures[1].detectors).n_alerts > 0
        slow.rollback()
        assert len(drain(consumer)) == 2 * len(SKY.stars)


def test_a_slow_consumer_does_not_hold_up_another(one: psycopg.Connection, survey: str) -> None:
    add(one, "a")
    add(one, "b")
    fresh = issue(one, 2)
    one.execute("set lock_timeout = '500ms'")
    with psycopg.connect(survey) as slow:
        fetch(slow, "a")
        assert drain(one, "b") == fresh


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_other_isolation_levels_are_refused(isolation: str, one: psycopg.Connection) -> None:
    add(one)
    with one.transaction():
        one.execute(f"set transaction isolation level {isolation}")
        with pytest.raises(psycopg.Error, match="read committed only"):
            fetch(one)


def test_the_status_counts_what_waits_and_what_is_open(one: psycopg.Connection) -> None:
    add(one)
    issue(one, 5)
    fetch(one, limit=2)
    row = one.execute("select open_batches, open_alerts, waiting_alerts from l1_api.consumer_status").fetchone()
    assert row == (1, 2, 3)


# The same function with the cursor's lock and the snapshot in one statement: who waited goes on with the snapshot from
# before the wait.
LOCK = "select c.* into v_cursor from l1.alert_cursor c where c.consumer = p_consumer for update;"
LOCK_WITH_SNAPSHOT = """
    select pg_current_snapshot() into v_stale from l1.alert_cursor c where c.consumer = p_consumer for update;
    select c.* into v_cursor from l1.alert_cursor c where c.consumer = p_consumer;
"""


def lock_and_snapshot_in_one_statement(connection: psycopg.Connection) -> None:
    row = connection.execute(
        "select pg_get_functiondef('l1_api.next_alerts(text, integer, interval)'::regprocedure)"
    ).fetchone()
    assert row is not None
    (text,) = row
    assert text.count(LOCK) == 1
    assert text.count("l1_api.present_snapshot()") == 2
    text = text.replace("l1_api.present_snapshot()", "v_stale").replace(LOCK, LOCK_WITH_SNAPSHOT)
    connection.execute(text.replace("declare\n", "declare\n    v_stale pg_snapshot;\n", 1))


def two_workers_of_whom_one_waits(survey: str) -> tuple[list[int], list[int]]:
    """What was issued, and what all calls together handed out.

    One worker holds the cursor; the other comes and waits; an ingest commits; the first fetches it and goes.
    """
    with (
        psycopg.connect(survey, autocommit=True) as writer,
        psycopg.connect(survey) as first,
        psycopg.connect(survey, autocommit=True) as second,
        Gate(survey) as gate,
        ThreadPoolExecutor() as pool,
    ):
        add(writer)
        first.execute("select from l1.alert_cursor where consumer = 'c' for update")
        waiting = pool.submit(fetch, second)
        gate.waiting(1)
        issued = issue(writer, 3)
        batches = [fetch(first)]
        first.commit()
        batches.append(waiting.result(timeout=20))
        batches += [fetch(second), fetch(second)]
        return issued, [i for batch in batches if batch for i in batch.alerts]


def test_who_waited_for_the_cursor_looks_with_fresh_eyes(survey: str) -> None:
    issued, got = two_workers_of_whom_one_waits(survey)
    assert got == issued


def test_lock_and_snapshot_in_one_statement_hand_out_twice(survey: str) -> None:
    """The counter-test of the above; a random stress run does not show it."""
    with psycopg.connect(survey, autocommit=True) as connection:
        lock_and_snapshot_in_one_statement(connection)
    issued, got = two_workers_of_whom_one_waits(survey)
    assert sorted(got) == sorted(issued * 2)


class Workers:
    """Workers of a few consumers that fetch, die and acknowledge at random.

    Of each consumer's batches the first few die, however fast or slow the machine is.
    """

    SURE_DEATHS = 8

    def __init__(self, dsn: str, consumers: list[str], workers: int) -> None:
        self.done: dict[str, Counter[int]] = {name: Counter() for name in consumers}
        self.died: Counter[str] = Counter()
        self.producing = True
        self.errors: list[BaseException] = []
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, args=(dsn, name, seed)) for name in consumers for seed in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Wait until nothing is left."""
        self.producing = False
        for thread in self._threads:
            thread.join(timeout=60)
        if self.errors:
            raise self.errors[0]

    def _work(self, dsn: str, consumer: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            with psycopg.connect(dsn, autocommit=True) as connection:
                while True:
                    # Read before the fetch: what was committed until then is in sight of it.
                    producing = self.producing
                    doomed = self.died[consumer] < self.SURE_DEATHS
                    lease = timedelta(seconds=float(rng.choice([0.0, 0.02] if doomed else [0.0, 0.02, 5.0])))
                    batch = fetch(connection, consumer, int(rng.integers(1, 12)), f"{lease.total_seconds()} s")
                    if batch is None:
                        if not producing and self._all_acked(connection, consumer):
                            return
                        time.sleep(0.01)
                        continue
                    dies = doomed or (rng.random() < 0.3 and lease < timedelta(seconds=1))
                    self._treat(connection, consumer, batch, rng, dies)
        except BaseException as error:
            self.errors.append(error)

    def _treat(
        self, connection: psycopg.Connection, consumer: str, batch: Batch, rng: np.random.Generator, dies: bool
    ) -> None:
        if not dies and rng.random() < 0.3:
            time.sleep(0.03)  # longer than the short leases: another may have it by now
        acked = not dies and ack(connection, batch, consumer)
        with self._lock:
            self.died[consumer] += dies
            if acked:
                self.done[consumer].update(batch.alerts)

    def _all_acked(self, connection: psycopg.Connection, consumer: str) -> bool:
        row = connection.execute(
            "select open_batches + waiting_alerts from l1_api.consumer_status where consumer = %s", (consumer,)
        ).fetchone()
        return row == (0,)


def test_each_alert_exactly_once_per_consumer_among_acknowledged_batches(database: str) -> None:
    """Concurrent ingests, two consumers of three workers each, who die, come late and lose their leases."""
    exposures = [SKY.expose(v) for v in range(1, 9)]
    with psycopg.connect(database, autocommit=True) as connection:
        add(connection, "a")
        add(connection, "b", "start")
        workers = Workers(database, ["a", "b"], 3)
        ingest_at_once(database, calls_by_detector(exposures), seed=11, n_workers=4)
        workers.finish()
        issued = Counter(i for (i,) in connection.execute("select alert_id from l1.alert").fetchall())
    assert workers.done == {"a": issued, "b": issued}
    assert issued.total() == len(exposures) * len(SKY.stars)
    assert all(workers.died[name] >= Workers.SURE_DEATHS for name in ("a", "b"))


def test_a_lease_is_as_long_as_asked_for(one: psycopg.Connection) -> None:
    add(one)
    issue(one, 1)
    before = datetime.now(UTC)
    fetch(one, lease="1 hour")
    row = one.execute("select leased_until, leased_by from l1.alert_batch").fetchone()
    assert row is not None
    assert timedelta(minutes=59) < row[0] - before < timedelta(minutes=61)


def test_alerts_of_the_transaction_that_fetched_are_not_lost(survey: str) -> None:
    """PostgreSQL's own snapshot does not list its owner: with it the alerts below would count as seen (seen red)."""
    with psycopg.connect(survey, autocommit=True) as other, psycopg.connect(survey) as own:
        add(other)
        own.execute("select pg_current_xact_id()")
        other.execute("select pg_current_xact_id()")
        assert fetch(own) is None
        issue(own, 3)
        own.commit()
        other.execute("select pg_current_xact_id()")
        batch = fetch(other)
        assert batch is not None
        assert len(batch.alerts) == 3


def test_an_older_transaction_that_is_open_while_one_fetches_is_not_lost(survey: str) -> None:
    """Both above the snapshot's xmax, since nothing younger has ended: raising xmax over the fetching transaction would
    count the writer as seen (seen red)."""
    with psycopg.connect(survey, autocommit=True) as reader, psycopg.connect(survey) as writer:
        add(reader)
        issue(writer, 3)
        assert fetch(reader) is None
        writer.commit()
        batch = fetch(reader)
        assert batch is not None
        assert len(batch.alerts) == 3
