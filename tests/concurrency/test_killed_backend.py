"""A backend that is killed in the middle of an ingest leaves nothing of it, wherever it was; and the retry succeeds.

What these tests can see they were shown by calls of one detector each, killed in between: what was committed before the
kill stays, and the tables differ (``test_what_is_committed_in_between_is_seen``).
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import psycopg
import pytest

from l1db import Client, DatabaseError, DetectorData, IngestResult
from tests.concurrency.gate import BEGIN, PHASES, Gate, stopping_at
from tests.conftest import Server
from tests.ingest.fingerprint import counts, fingerprint
from tests.sky_fields import Exposure, calls_by_detector, errors_against_truth, field
from tests.version.continuity import breaks

SKY = field(side=4)
VISITS = count(2)


class Night:
    """A database that has had a few visits, and keeps in mind which."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.connection = psycopg.connect(dsn, autocommit=True)
        self.exposures: list[Exposure] = []

    def take_in(self, exposure: Exposure) -> IngestResult:
        with Client(self.dsn) as client:
            result = client.ingest(exposure.visit, exposure.detectors)
        self.exposures.append(exposure)
        return result

    def open(self, exposure: Exposure) -> None:
        """Make the visit and its partition known, as every ingest does before its transaction."""
        with Client(self.dsn) as client:
            client.ingest(exposure.visit, [])


@pytest.fixture(scope="module")
def night(server: Server) -> Iterator[Night]:
    night = Night(server.clone("seed"))
    night.take_in(SKY.expose(1))
    yield night
    night.connection.close()
    server.drop(night.dsn)


def kill_at(night: Night, phase: str, exposure: Exposure) -> None:
    with (
        Gate(night.dsn) as gate,
        Client(stopping_at(night.dsn, phase)) as client,
        ThreadPoolExecutor() as pool,
    ):
        call = pool.submit(client.ingest, exposure.visit, exposure.detectors)
        gate.kill(gate.stopped())
        with pytest.raises(DatabaseError, match=f"visit {exposure.visit.visit}: terminating connection"):
            call.result(timeout=30)


@pytest.mark.parametrize("phase", [BEGIN, *PHASES])
def test_killed_at_the_end_of(phase: str, night: Night) -> None:
    exposure = SKY.expose(next(VISITS))
    night.open(exposure)
    before = fingerprint(night.connection)

    kill_at(night, phase, exposure)
    assert fingerprint(night.connection) == before

    result = night.take_in(exposure)
    assert {d.status for d in result.detectors} == {"stored"}
    assert errors_against_truth(night.connection, night.exposures) == []
    assert breaks(night.connection) == []


def test_no_phase_is_forgotten_here(night: Night) -> None:
    """The phases that the ledger recorded, and the one that ends after it was written."""
    rows = night.connection.execute("select distinct jsonb_object_keys(timings) from l1.visit_detector").fetchall()
    assert {name for (name,) in rows} == set(PHASES) - {"ledger"}


def test_killed_between_ingest_and_commit(night: Night) -> None:
    exposure = SKY.expose(next(VISITS))
    night.open(exposure)
    before = fingerprint(night.connection)
    with Gate(night.dsn) as gate, Client(night.dsn) as client:
        session = client._connection
        session.execute("begin")  # so that the end of the call is no commit
        assert client.ingest(exposure.visit, exposure.detectors).n_sources == len(exposure.source_ids)
        gate.kill(session.info.backend_pid)
        with pytest.raises(psycopg.OperationalError):
            session.execute("commit")
    assert fingerprint(night.connection) == before
    night.take_in(exposure)
    assert errors_against_truth(night.connection, night.exposures) == []


def test_killed_while_rows_come_in(night: Night) -> None:
    exposure = SKY.expose(next(VISITS))
    night.open(exposure)
    before = fingerprint(night.connection)
    with Gate(night.dsn) as gate, psycopg.connect(night.dsn) as session:
        session.execute("select l1_api.open_stage()")
        with pytest.raises(psycopg.OperationalError):
            copy_and_be_killed(session, gate)
    assert fingerprint(night.connection) == before
    night.take_in(exposure)
    assert errors_against_truth(night.connection, night.exposures) == []


def copy_and_be_killed(session: psycopg.Connection, gate: Gate) -> None:
    with session.cursor().copy("copy pg_temp.stage_source (ordinal) from stdin") as copy:
        copy.write("1\n")
        gate.kill(session.info.backend_pid)


def test_a_killed_replacement_leaves_what_it_would_have_replaced(night: Night) -> None:
    """Killed after the old sources were moved to the history and the new ones stored."""
    stored = night.exposures[0]
    other = DetectorData(
        detector=0,
        sources={name: column[:-1] for name, column in stored.detectors[0].sources.items()},  # type: ignore[index]
        footprint=stored.detectors[0].footprint,
    )
    before = fingerprint(night.connection)
    with (
        Gate(night.dsn) as gate,
        Client(stopping_at(night.dsn, "version")) as client,
        ThreadPoolExecutor() as pool,
    ):
        call = pool.submit(client.ingest, stored.visit, [other], mode="replace")
        gate.kill(gate.stopped())
        with pytest.raises(DatabaseError):
            call.result(timeout=30)
    assert fingerprint(night.connection) == before


def test_the_others_go_on_when_the_one_they_wait_for_is_killed(database: str) -> None:
    """Its cells of the sky are free at once, and its objects never were."""
    first, second = SKY.expose(1), SKY.expose(2)
    with (
        Gate(database) as gate,
        Client(stopping_at(database, "ledger")) as doomed,
        Client(database) as other,
        ThreadPoolExecutor() as pool,
    ):
        other.ingest(second.visit, [])
        killed = pool.submit(doomed.ingest, first.visit, first.detectors)
        pid = gate.stopped()
        waiting = pool.submit(other.ingest, second.visit, second.detectors)
        gate.waits_for_sky_or_ends(waiting)
        assert not waiting.done()
        gate.kill(pid)
        assert waiting.result(timeout=30).n_new_objects == len(SKY.stars)
        assert isinstance(killed.exception(timeout=30), DatabaseError)
        assert errors_against_truth(gate.connection, [second]) == []


def test_a_statement_that_fails_stores_nothing_of_the_call(database: str) -> None:
    """Not a kill but an error, in the last table that is written."""
    exposure = SKY.expose(1)
    with Client(database) as client, psycopg.connect(database, autocommit=True) as connection:
        client.ingest(exposure.visit, [])
        connection.execute(
            "create function public.fail() returns trigger language plpgsql as"
            " $$ begin raise exception 'disk on fire'; end $$;"
            "create trigger fail after insert on l1.alert for each statement execute function public.fail()"
        )
        before = fingerprint(connection)
        with pytest.raises(DatabaseError, match="disk on fire"):
            client.ingest(exposure.visit, exposure.detectors)
        assert fingerprint(connection) == before
        connection.execute("drop trigger fail on l1.alert")
        client.ingest(exposure.visit, exposure.detectors)
        assert errors_against_truth(connection, [exposure]) == []


def test_what_is_committed_in_between_is_seen(database: str) -> None:
    """The counter-test: detectors in a call each, so that something is committed before the session is killed."""
    exposure = SKY.expose(1)
    calls = calls_by_detector([exposure])
    with Gate(database) as gate, Client(database) as client:
        client.ingest(exposure.visit, [])
        before = counts(gate.connection)
        client.ingest(*calls[0])
        gate.kill(client._connection.info.backend_pid)
        with pytest.raises(DatabaseError):
            client.ingest(*calls[1])
        assert counts(gate.connection) != before
