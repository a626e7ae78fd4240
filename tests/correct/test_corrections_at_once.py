"""Corrections beside each other and beside ingests: behind the same locks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import psycopg
import pytest

from l1db import Client, DetectorData
from l1db.invariants import check_deep
from tests.correct.test_corrections import WHY, call, night, object_of
from tests.measure.test_forced import seen, visit
from tests.version.continuity import breaks


@pytest.fixture
def look(database: str) -> Iterator[psycopg.Connection]:
    with Client(database) as client:
        night(client)
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def wait_for_waiter(look: psycopg.Connection, waiter: Future[Any]) -> None:
    """Until it waits for a lock."""
    while True:
        row = look.execute(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        ).fetchone()
        assert row is not None
        if row[0]:
            return
        assert not waiter.done(), "it waited for nobody"
        time.sleep(0.01)


def test_a_merge_waits_for_who_writes_there_and_then_looks(database: str, look: psycopg.Connection) -> None:
    """Somebody gives the object that ends one more source.  Seen red without lock_places."""
    one = object_of(look, 1000)
    call(look, "move_sources", [2000], None, WHY)
    part = object_of(look, 2000)
    with psycopg.connect(database) as first, ThreadPoolExecutor(1) as pool:
        call(first, "move_sources", [3000], part, WHY)
        merge = pool.submit(lambda: call(psycopg.connect(database, autocommit=True), "merge_objects", [part], one, WHY))
        wait_for_waiter(look, merge)
        first.commit()
        merge.result()
    assert look.execute(
        "select count(*) filter (where dia_object_id = %s), count(*) filter (where dia_object_id = %s)"
        " from l1.dia_source",
        (part, one),
    ).fetchone() == (0, 4)


def test_a_withdrawal_waits_for_a_replacement(database: str, look: psycopg.Connection) -> None:
    """And finds that the source is gone.  Seen red without hold_visit and lock_places."""
    with psycopg.connect(database) as first, ThreadPoolExecutor(1) as pool:
        call(first, "withdraw_visit", 2, WHY)
        second = pool.submit(lambda: call(psycopg.connect(database, autocommit=True), "withdraw_sources", [2000], WHY))
        wait_for_waiter(look, second)
        first.commit()
        with pytest.raises(psycopg.Error, match="2000 was withdrawn"):
            second.result()


def test_corrections_and_ingests_at_once_leave_all_in_order(database: str, look: psycopg.Connection) -> None:
    """Each worker undoes some of what it does.  It may be refused, as others are in its way; no deadlock."""
    refused = 0
    lock = threading.Lock()

    def worker(number: int) -> None:
        nonlocal refused
        rng = np.random.default_rng(number)
        with Client(database) as client, psycopg.connect(database, autocommit=True) as session:
            for step in range(12):
                try:
                    if step % 3 == 0:
                        v = 10 + 20 * number + step
                        stars = [0, 1, 2, 5]
                        client.ingest(
                            visit(v), [DetectorData(0, seen(*stars, dia_source_id=[1000 * v + s for s in stars]))]
                        )
                        continue
                    rows = session.execute(
                        "select dia_source_id, dia_object_id from l1.dia_source where not is_forced"
                        " and dia_object_id is not null order by dia_source_id"
                    ).fetchall()
                    source, mine = rows[rng.integers(len(rows))]
                    other = rows[rng.integers(len(rows))][1]
                    kind = rng.integers(4)
                    if kind == 0:
                        correction = call(session, "withdraw_sources", [source], WHY)
                    elif kind == 1:
                        correction = call(session, "move_sources", [source], other if rng.random() < 0.5 else None, WHY)
                    elif kind == 2:
                        correction = call(session, "withdraw_detectors", source // 1000, [0], WHY)
                    else:
                        correction = call(session, "merge_objects", [mine], other, WHY)
                    if rng.random() < 0.6:
                        call(session, "undo_correction", correction, WHY)
                except psycopg.Error as error:
                    if not (error.sqlstate or "").startswith("L1C"):
                        raise
                    with lock:
                        refused += 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(worker, range(4)))
    assert breaks(look) == []
    assert [(v.invariant.name, v.examples) for v in check_deep(database) if v.n_found] == []
    assert (
        look.execute(
            "select o.dia_object_id from l1.dia_object o cross join lateral ("
            "select count(*) filter (where not is_forced) as n, count(*) filter (where is_forced) as f,"
            " max(midpoint_mjd_tai) filter (where not is_forced) as last"
            " from l1.dia_source s where s.dia_object_id = o.dia_object_id) as c"
            " where (o.n_dia_sources, o.n_forced, o.last_dia_source_mjd_tai)"
            " is distinct from (c.n::int, c.f::int, c.last)"
        ).fetchall()
        == []
    )
    assert look.execute(
        "select count(*) from l1.dia_source s where dia_object_id is not null and not exists"
        " (select from l1.dia_object o where o.dia_object_id = s.dia_object_id)"
    ).fetchone() == (0,)
    ledger = look.execute(
        "select v.visit, v.detector, v.n_sources - v.n_withdrawn, (select count(*) from l1.dia_source s"
        " where s.visit = v.visit and s.detector = v.detector and not s.is_forced)"
        " from l1.visit_detector v where v.withdrawn_at is null"
    ).fetchall()
    assert [row for row in ledger if row[2] != row[3]] == []
    (made,) = look.execute("select count(*) from l1.correction").fetchone() or (0,)
    assert made >= 10, "most were made"


@pytest.mark.parametrize("how", ["withdraw", "replace", "undo"])
def test_objects_far_from_their_sources_are_locked_too(how: str, database: str, look: psycopg.Connection) -> None:
    """A source was given to an object degrees away; who takes it back waits for who writes there.

    Seen red without the places of the objects in withdraw_detectors and in parts_to_lock: it waited for nobody.
    """
    far = seen(300, dia_source_id=[5600])
    with Client(database) as client:
        client.ingest(visit(5), [DetectorData(0, far)])
    star = object_of(look, 5600)
    moved = call(look, "move_sources", [2000], star, WHY)

    def take_back() -> None:
        if how == "replace":
            with Client(database) as client:
                client.ingest(visit(2), [DetectorData(0, seen(1, dia_source_id=[2010]))], mode="replace")
            return
        with psycopg.connect(database, autocommit=True) as session:
            if how == "withdraw":
                call(session, "withdraw_visit", 2, WHY)
            else:
                call(session, "undo_correction", moved, WHY)

    with psycopg.connect(database) as writer, ThreadPoolExecutor(1) as pool:
        row = writer.execute("select ra, dec from l1.dia_object where dia_object_id = %s", (star,)).fetchone()
        writer.execute("select l1_api.lock_sky(%s, %s, 0.001)", row)
        second = pool.submit(take_back)
        wait_for_waiter(look, second)
        assert look.execute(
            "select count(*) from pg_locks where not granted and locktype = 'advisory' and classid = 19505"
        ).fetchone() == (1,)  # fmt: skip
        writer.commit()
        second.result()
    assert look.execute("select n_dia_sources from l1.dia_object where dia_object_id = %s", (star,)).fetchone() == (1,)
    assert [(v.invariant.name, v.examples) for v in check_deep(database) if v.n_found] == []
