"""Stops an ingest at the end of one of its phases, so that something can happen to it there.

Every phase ends with ``l1_api.lap``.  In a clone that function gets a predecessor which waits for an advisory lock, if
the session's setting ``l1test.stop_at`` names the phase; the gate is that lock.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Self

import psycopg
from psycopg.conninfo import make_conninfo

from l1db import IngestResult, code

PHASES = tuple(re.findall(r"lap\(v_timings, '(\w+)'\)", (code.part("sql") / "ingest" / "ingest.sql").read_text()))
BEGIN = "begin"  # of the call: rows are copied, nothing is decided

_INSTALL = """
    alter function l1_api.lap(jsonb, text) rename to lap_without_gate;
    create function l1_api.lap(p_timings jsonb, p_phase text) returns jsonb language plpgsql volatile as $$
    begin
        if coalesce(p_phase, 'begin') = current_setting('l1test.stop_at', true) then
            perform pg_advisory_xact_lock_shared(19599, 0);
        end if;
        return l1_api.lap_without_gate(p_timings, p_phase);
    end
    $$;
"""


def stopping_at(dsn: str, phase: str) -> str:
    """The DSN of sessions that stop at the end of a phase."""
    return make_conninfo(dsn, options=f"-c l1test.stop_at={phase}")


class Gate:
    """Closed on entry, open on exit.  The first gate in a database builds it."""

    def __init__(self, dsn: str) -> None:
        self.connection = psycopg.connect(dsn, autocommit=True)
        row = self.connection.execute("select to_regprocedure('l1_api.lap_without_gate(jsonb, text)')").fetchone()
        if row == (None,):
            self.connection.execute(_INSTALL)

    def __enter__(self) -> Self:
        self.connection.execute("select pg_advisory_lock(19599, 0)")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.connection.close()

    def open(self) -> None:
        """Let those go on who stopped."""
        self.connection.execute("select pg_advisory_unlock(19599, 0)")

    def let_one_through(self) -> None:
        """Let those go on who stopped, and close the gate behind them: the next stop again."""
        self.open()
        self.connection.execute("select pg_advisory_lock(19599, 0)")

    def stopped(self, n: int = 1) -> int:
        """Wait until ``n`` sessions stop here; the process id of one of them."""
        return self._wait(
            "select min(pid) from pg_locks where locktype = 'advisory' and classid = 19599 and not granted"
            " and database = (select oid from pg_database where datname = current_database())"
            f" having count(*) = {n}",
            f"fewer than {n} came to the gate",
        )

    def waits_for_sky_or_ends(self, call: Future[IngestResult]) -> None:
        """Wait until a session waits for a cell of the sky, or the call has ended."""
        query = (
            "select pid from pg_locks where locktype = 'advisory' and classid = 19505 and not granted"
            " and database = (select oid from pg_database where datname = current_database())"
        )
        poll(
            lambda: (0,) if call.done() else self.connection.execute(query).fetchone(),
            "nobody waits for the sky, and the call goes on",
        )

    def waiting(self, n: int) -> None:
        """Wait until ``n`` sessions of this database wait for a lock of any kind, those at the gate included."""
        self._wait(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
            f" having count(*) = {n}",
            f"fewer than {n} sessions wait",
        )

    def kill(self, pid: int) -> None:
        """Terminate a session, and wait until it is gone."""
        self.connection.execute("select pg_terminate_backend(%s, 10000)", (pid,))

    def _wait(self, query: str, complaint: str) -> int:
        return poll(lambda: self.connection.execute(query).fetchone(), complaint)[0]


def poll(look: Callable[[], tuple[int, ...] | None], complaint: str, seconds: float = 20) -> tuple[int, ...]:
    """Look until something is seen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (seen := look()) is not None:
            return seen
        time.sleep(0.005)
    raise AssertionError(complaint)
