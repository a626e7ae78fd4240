"""The listener's promises: each alert once among acknowledged batches, soon, whatever happens to its connection."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from l1db import Client, DatabaseError, DetectorData, Visit, listen

_visits = itertools.count(1)


def ingest(dsn: str, n: int = 3) -> list[int]:
    """Take in a visit of ``n`` sources; their ids."""
    number = next(_visits)
    ids = number * 1000 + np.arange(n)
    columns = {
        "dia_source_id": ids,
        "ra": 10 + np.arange(n) / 100,
        "dec": np.zeros(n),
        "psf_flux": np.full(n, 1000.0),
        "psf_flux_err": np.full(n, 100.0),
    }
    with Client(dsn) as client:
        client.ingest(Visit(number, "r", 61000.0 + number / 100, 30.0), [DetectorData(1, columns)])
    return ids.tolist()


def add_consumer(dsn: str, name: str = "c") -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("select l1_api.add_consumer(%s, 'start')", (name,))


def terminate_listeners(dsn: str) -> int:
    with psycopg.connect(dsn, autocommit=True) as connection:
        return connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'l1db listen %' "
            "and datname = current_database()"
        ).rowcount


def end_leases(dsn: str) -> None:
    """As if their time had run out."""
    with psycopg.connect(dsn) as connection:
        connection.execute("update l1.alert_batch set leased_until = clock_timestamp() where acked_at is null")


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@contextmanager
def background(dsn: str, **options: object) -> Iterator[list[int]]:
    """A listener in a thread: ids of the sources it was told of."""
    stop = threading.Event()
    ids: list[int] = []
    batches = listen("c", dsn=dsn, stop=stop, **options)  # type: ignore[arg-type]

    def receive() -> None:
        for batch in batches:
            ids.extend(alert.dia_source_id for alert in batch)

    thread = threading.Thread(target=receive)
    thread.start()
    try:
        yield ids
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def waiting(dsn: str) -> Callable[[], bool]:
    """Whether a listener of the database waits for the doorbell."""

    def look() -> bool:
        with psycopg.connect(dsn) as connection:
            row = connection.execute(
                "select count(*) from pg_stat_activity where application_name = 'l1db listen c' and state = 'idle' "
                "and query like '%%next_alerts%%' and datname = current_database()"
            ).fetchone()
        return row == (1,)

    return look


def test_each_alert_comes_once_in_batches_of_at_most_limit(database: str) -> None:
    add_consumer(database)
    ids = ingest(database, 7) + ingest(database, 5)
    batches = list(listen("c", dsn=database, limit=5, timeout=0))
    assert [len(batch) for batch in batches] == [5, 5, 2]
    assert [alert.dia_source_id for batch in batches for alert in batch] == ids
    assert list(listen("c", dsn=database, timeout=0)) == []


def test_identifiers_are_numbers_here_and_strings_in_json(database: str) -> None:
    add_consumer(database)
    (source,) = ingest(database, 1)
    ((alert,),) = listen("c", dsn=database, timeout=0)
    assert alert.dia_source_id == source
    assert isinstance(alert.dia_object_id, int)
    assert alert.kind == "detection"
    assert abs((datetime.now(UTC) - alert.stamp).total_seconds()) < 60
    told = json.loads(json.dumps(alert.as_json()))
    assert told["dia_source_id"] == str(source)
    assert told["dia_object_id"] == str(alert.dia_object_id)
    assert told["ss_object_id"] is None
    assert told["detector"] == 1
    assert datetime.fromisoformat(told["dia_object_version"]) == alert.dia_object_version == alert.stamp


def test_an_unknown_consumer_is_refused_at_once_with_those_there_are(database: str) -> None:
    add_consumer(database, "filters")
    with pytest.raises(DatabaseError, match=r"no consumer brokers; there are: filters"):
        listen("brokers", dsn=database)


def test_start_adds_a_missing_consumer_and_leaves_an_existing_one_where_it_was(database: str) -> None:
    early = ingest(database)
    now = listen("late", dsn=database, start="now", timeout=0)
    midnight = datetime.now(UTC)
    ids = ingest(database)
    assert [a.dia_source_id for batch in now for a in batch] == ids
    assert list(listen("late", dsn=database, start="start", timeout=0)) == []
    everything = listen("early", dsn=database, start="start", timeout=0)
    assert [a.dia_source_id for batch in everything for a in batch] == early + ids
    since = listen("since", dsn=database, start=midnight, timeout=0)
    assert [a.dia_source_id for batch in since for a in batch] == ids
    with pytest.raises(DatabaseError, match="no place to start"):
        listen("never", dsn=database, start="yesteryear")


def test_a_batch_is_acknowledged_when_the_next_is_asked_for_and_not_before(database: str) -> None:
    add_consumer(database)
    first, second = ingest(database), ingest(database)
    batches = listen("c", dsn=database, limit=3, timeout=0)
    next(batches)
    lost = next(batches)  # the first is acknowledged, this one dies with its listener
    assert [a.dia_source_id for a in lost] == second
    batches.close()  # type: ignore[attr-defined]
    assert list(listen("c", dsn=database, timeout=0)) == []
    end_leases(database)
    (again,) = listen("c", dsn=database, timeout=0)
    assert again == lost
    assert first  # never came again


def test_the_doorbell_is_answered_at_once(database: str) -> None:
    add_consumer(database)
    with background(database, poll=60) as ids:
        until(waiting(database))
        wanted = ingest(database)
        until(lambda: len(ids) == 3, seconds=30)  # half of what a poll would take
    assert ids == wanted


def test_a_lost_doorbell_costs_time_only(database: str) -> None:
    add_consumer(database)
    with psycopg.connect(database) as connection:
        connection.execute('alter table l1.alert disable trigger "20_ring_doorbell"')
    with background(database, poll=0.3) as ids:
        until(waiting(database))
        wanted = ingest(database)
        until(lambda: len(ids) == 3)
    assert ids == wanted


def test_a_killed_connection_is_made_again_and_nothing_is_lost(database: str, caplog: pytest.LogCaptureFixture) -> None:
    add_consumer(database)
    with background(database, poll=60) as ids:
        until(waiting(database))
        wanted = ingest(database)
        until(lambda: len(ids) == 3)
        until(waiting(database))
        assert terminate_listeners(database) == 1
        wanted += ingest(database)
        until(lambda: len(ids) == 6)
    assert ids == wanted
    assert "connection lost" in caplog.text


def test_a_batch_is_acknowledged_over_a_new_connection_if_the_old_one_is_gone(database: str) -> None:
    add_consumer(database)
    ingest(database)
    batches = listen("c", dsn=database, lease=timedelta(seconds=0.5), timeout=1.0)
    next(batches)
    assert terminate_listeners(database) == 1
    assert list(batches) == []  # waits past the lease
    with psycopg.connect(database) as connection:
        assert connection.execute("select count(*) from l1.alert_batch where acked_at is null").fetchone() == (0,)


def test_a_listener_outlives_a_server_that_turns_it_away(database: str, caplog: pytest.LogCaptureFixture) -> None:
    add_consumer(database)
    name = sql.Identifier(str(conninfo_to_dict(database)["dbname"]))
    with (
        psycopg.connect(make_conninfo(database, dbname="postgres"), autocommit=True) as other,
        background(database, poll=60) as ids,
    ):
        until(waiting(database))
        other.execute(sql.SQL("alter database {} allow_connections false").format(name))
        other.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s",
            (conninfo_to_dict(database)["dbname"],),
        )
        until(lambda: caplog.text.count("connection lost") >= 3)
        other.execute(sql.SQL("alter database {} allow_connections true").format(name))
        wanted = ingest(database)
        until(lambda: len(ids) == 3)
    assert ids == wanted
    pauses = [record.args[-1] for record in caplog.records if record.args]  # type: ignore[index]
    assert pauses[2] >= 0.2  # the third of 0.1 s doubled, less half at most


def test_two_listeners_of_one_consumer_share_its_alerts(database: str) -> None:
    add_consumer(database)
    wanted = [source for _ in range(4) for source in ingest(database, 10)]
    one, other = (listen("c", dsn=database, limit=5, timeout=0) for _ in range(2))
    told: list[list[int]] = [[], []]
    for pair in itertools.zip_longest(one, other):
        for i, batch in enumerate(pair):
            told[i] += [alert.dia_source_id for alert in batch or ()]
    assert len(told[0]) == len(told[1]) == 20
    assert sorted(told[0] + told[1]) == sorted(wanted)


def test_a_dropped_consumer_ends_its_listener_with_the_reason(database: str) -> None:
    add_consumer(database)
    ingest(database)
    batches = listen("c", dsn=database, timeout=0)
    next(batches)
    with psycopg.connect(database) as connection:
        connection.execute("select l1_api.drop_consumer('c')")
    with pytest.raises(DatabaseError, match="no consumer c; there are: none"):
        next(batches)


def test_timeout_counts_from_the_last_alert(database: str) -> None:
    add_consumer(database)
    begun = time.monotonic()
    assert list(listen("c", dsn=database, poll=60, timeout=0.4)) == []
    assert 0.35 < time.monotonic() - begun < 30  # not until the next poll


def test_a_limit_below_one_is_refused(database: str) -> None:
    add_consumer(database)
    with pytest.raises(DatabaseError, match="at least one alert"):
        listen("c", dsn=database, limit=0)
