"""The publisher: takes alerts from the outbox and sees them delivered, each destination by itself.

Every destination has a consumer of alerts and, in each publisher, a thread and a connection; so a dead one delays
nobody.  A batch is sent packet by packet; what became of each stands in the ledger (``l1.delivery``) before the batch
is acknowledged.  Whoever dies in between leaves a batch whose lease runs out; the next one sends what the ledger does
not have.  So each alert arrives at least once, and twice only where a publisher died, or lost the database, between the
peer's answer and the ledger.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg

from l1db.alert import destinations
from l1db.alert.cutouts import Archive, ArchiveUnwritableError
from l1db.alert.packets import build
from l1db.alert.transports import Destination, Outcome, Packet, Sender, UnreachableError
from l1db.alert.transports.open import open_sender
from l1db.connection import await_doorbell, connect, one_line, patient_dsn
from l1db.errors import DatabaseError, InputError, L1dbError

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)

# Seconds between attempts to reach the database or a destination again.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0
_STOP_INTERVAL = 0.25  # seconds between looks at whether to stop
_FLUSH_INTERVAL = 0.5  # seconds after which outcomes are entered into the ledger
_LOOK_INTERVAL = 5.0  # seconds between looks at which destinations there are
_DIFFERS = "the packet is not the one that was built first: see l1db alert show --regenerate"
_DETAIL = 500  # characters of what a peer said that are kept


@dataclass
class Tally:
    """What a publisher did at one destination."""

    delivered: int = 0
    refused: int = 0
    failed: int = 0
    passed_over: int = 0
    trouble: str | None = None


@dataclass
class Publisher:
    """Publishes to some destinations, or to all there are, until it is told to stop.

    Parameters
    ----------
    dsn
        libpq connection string of a login that may publish.
    names
        Destinations; none: all, those too that are added meanwhile.
    archive
        Of cutouts.
    lease
        How long a batch is this publisher's; it is extended while work on it goes on.
    poll
        Seconds after which to look for alerts even if the doorbell did not ring.
    once
        End when nothing is left to be sent.
    stop
        Set it to have every destination finish the packets it is sending, and end.
    """

    dsn: str
    names: Sequence[str] = ()
    archive: Archive = field(default_factory=Archive)
    lease: timedelta = LEASE
    poll: float = 10.0
    once: bool = False
    stop: threading.Event = field(default_factory=threading.Event)
    tallies: dict[str, Tally] = field(default_factory=dict)

    def run(self) -> dict[str, Tally]:
        """Publish; returns what was done, by destination.

        Raises
        ------
        DatabaseError
            If the database cannot be reached at the start, or a name is not that of a destination.
        """
        with connect(self.dsn, application_name="l1db publish") as connection:
            try:
                destinations.find(connection, self.names)
            except psycopg.Error as error:
                raise DatabaseError(one_line(error)) from error
        threads: dict[str, threading.Thread] = {}
        for name in self._present():
            if name in threads and (threads[name].is_alive() or self.once):
                continue
            tally = self.tallies.setdefault(name, Tally())
            worker = _Worker(self, name, tally)
            threads[name] = threading.Thread(target=worker.run, name=f"publish {name}", daemon=True)
            threads[name].start()
        for thread in threads.values():
            thread.join()
        return self.tallies

    def _present(self) -> Iterator[str]:
        """The destinations there are, again and again, until the publisher is to stop; with ``once``, once."""
        while True:
            try:
                with connect(self.dsn, application_name="l1db publish") as connection:
                    present = destinations.find(connection)
                yield from (
                    row.destination.name
                    for row in present
                    if row.is_enabled and (not self.names or row.destination.name in self.names)
                )
            except (psycopg.Error, DatabaseError) as error:
                log.warning("destinations cannot be listed: %s", one_line(error))
            if self.once or self.stop.wait(_LOOK_INTERVAL):
                return


class _GoneError(Exception):
    """The destination was removed or disabled."""


class _Worker:
    """One destination of one publisher."""

    def __init__(self, publisher: Publisher, name: str, tally: Tally) -> None:
        self._publisher, self._name, self._tally = publisher, name, tally
        self._consumer = f"destination:{name}"
        self._sender: tuple[Destination, Sender] | None = None
        self._pause = _FIRST_PAUSE
        self._patient = patient_dsn(publisher.dsn)

    def run(self) -> None:
        try:
            while True:
                try:
                    with connect(self._patient, application_name=f"l1db publish {self._name}") as connection:
                        connection.execute("listen l1_alert")
                        connection.execute("listen l1_destination")
                        self._serve(connection)
                    return
                except _GoneError:
                    return
                except (psycopg.Error, DatabaseError) as error:
                    why = one_line(error)
                except Exception as error:
                    log.exception("destination %s", self._name)
                    why = f"{type(error).__name__}: {error}"
                self._tally.trouble = why
                if not self._rest(why):
                    return
        finally:
            self._close()

    def _serve(self, connection: psycopg.Connection[Any]) -> None:
        publisher = self._publisher
        while not publisher.stop.is_set():
            row = self._row(connection)
            due = self._due(connection)
            if due:
                self._deliver(connection, row, due, None)
                continue
            batch = self._next_batch(connection)
            if batch is not None:
                self._deliver(connection, row, batch[1], batch[0])
            elif publisher.once:
                return
            else:
                self._await_doorbell(connection)

    def _row(self, connection: psycopg.Connection[Any]) -> destinations.Row:
        present = [row for row in destinations.find(connection) if row.destination.name == self._name]
        if not present or not present[0].is_enabled:
            raise _GoneError
        return present[0]

    def _due(self, connection: psycopg.Connection[Any]) -> list[int]:
        rows = connection.execute(
            "select l1_api.due_deliveries(%s, 200, %s)", (self._name, self._publisher.lease)
        ).fetchall()
        return [alert_id for (alert_id,) in rows]

    def _next_batch(self, connection: psycopg.Connection[Any]) -> tuple[int, list[int]] | None:
        limit = 200 if self._sender is None else self._sender[1].batch_size
        rows = connection.execute(
            "select batch_id, alert_id from l1_api.next_alerts(%s, %s, %s)",
            (self._consumer, limit, self._publisher.lease),
        ).fetchall()
        return (rows[0][0], [alert_id for _, alert_id in rows]) if rows else None

    def _deliver(
        self, connection: psycopg.Connection[Any], row: destinations.Row, alert_ids: list[int], batch_id: int | None
    ) -> None:
        """Send alerts until each has an outcome in the ledger, then acknowledge their batch."""
        done: set[int] = set()
        try:
            while True:
                try:
                    self._attempt(connection, row, alert_ids, batch_id, done)
                    break
                except UnreachableError as error:
                    self._note(connection, str(error))
                    if batch_id is None:
                        # Each of them waits twice as long as before.
                        left = [alert_id for alert_id in alert_ids if alert_id not in done]
                        self._record(connection, [Outcome(alert_id, "failed", str(error)) for alert_id in left], done)
                    if not self._rest(str(error), connection, batch_id):
                        raise _GoneError from None
                    if batch_id is None:
                        return
                    row = self._row(connection)
        except _GoneError:
            if batch_id is not None:
                self._extend(connection, batch_id, timedelta(0))
            raise
        if batch_id is not None:
            connection.execute("select l1_api.ack_alerts(%s, %s)", (self._consumer, batch_id))

    def _attempt(
        self,
        connection: psycopg.Connection[Any],
        row: destinations.Row,
        alert_ids: list[int],
        batch_id: int | None,
        done: set[int],
    ) -> None:
        """Send what has no outcome yet; those that have are ``done``."""
        left = alert_ids if batch_id is None else self._open(connection, row, alert_ids)
        packets, unbuilt = self._packets(connection, row.destination.format, left)
        self._record(connection, unbuilt, done)
        self._send(connection, row.destination, packets, batch_id, done)

    def _open(self, connection: psycopg.Connection[Any], row: destinations.Row, alert_ids: list[int]) -> list[int]:
        """The alerts of a batch that are to go to the destination and are not in its ledger."""
        rows = connection.execute("select l1_api.open_deliveries(%s, %s)", (self._name, alert_ids)).fetchall()
        left = [alert_id for (alert_id,) in rows]
        if row.selection is None or not left:
            return left
        try:
            chosen = destinations.select(connection, row.selection, left)
        except InputError as error:
            raise UnreachableError(str(error)) from error
        self._tally.passed_over += len(left) - len(chosen)
        return [alert_id for alert_id in left if alert_id in chosen]

    def _packets(
        self, connection: psycopg.Connection[Any], form: str, alert_ids: list[int]
    ) -> tuple[list[Packet], list[Outcome]]:
        """The packets of alerts, and what is to be said of those that cannot be built."""
        if not alert_ids:
            return [], []
        try:
            built = build(connection, alert_ids, form, self._publisher.archive)
        except (psycopg.Error, DatabaseError):
            raise
        except ArchiveUnwritableError as error:
            raise UnreachableError(str(error)) from error
        except Exception as error:
            if len(alert_ids) == 1:
                said = str(error) if isinstance(error, L1dbError) else f"{type(error).__name__}: {error}"
                log.error("alert %s: its packet cannot be built: %s", alert_ids[0], said)
                return [], [Outcome(alert_ids[0], "failed", f"the packet cannot be built: {said}")]
            # One of them spoils it for all: halves, until it stands alone.
            middle = len(alert_ids) // 2
            parts = [self._packets(connection, form, part) for part in (alert_ids[:middle], alert_ids[middle:])]
            return [p for packets, _ in parts for p in packets], [o for _, failed in parts for o in failed]
        differing = [Outcome(alert_id, "failed", _DIFFERS) for alert_id in sorted(built.differing)]
        return [packet for packet in built.packets if packet.alert_id not in built.differing], differing

    def _send(
        self,
        connection: psycopg.Connection[Any],
        destination: Destination,
        packets: Sequence[Packet],
        batch_id: int | None,
        done: set[int],
    ) -> None:
        if not packets:
            return
        sender = self._open_sender(destination)
        outcomes: list[Outcome] = []
        flushed = time.monotonic()
        named = batch_id if batch_id is not None else packets[0].alert_id
        try:
            for outcome in sender.send(packets, named):
                outcomes.append(outcome)
                if time.monotonic() - flushed > _FLUSH_INTERVAL:
                    self._record(connection, outcomes, done)
                    outcomes = []
                    if batch_id is not None:
                        self._extend(connection, batch_id, self._publisher.lease)
                    flushed = time.monotonic()
        finally:
            if not connection.closed:
                self._record(connection, outcomes, done)
        self._pause = _FIRST_PAUSE
        self._note(connection, None)

    def _open_sender(self, destination: Destination) -> Sender:
        if self._sender is not None and self._sender[0] != destination:
            self._close()
        if self._sender is None:
            try:
                self._sender = (destination, open_sender(destination))
            except UnreachableError:
                raise
            except L1dbError as error:  # a setting is wrong, a secret is missing: somebody may mend it
                raise UnreachableError(str(error)) from error
        return self._sender[1]

    def _close(self) -> None:
        if self._sender is not None:
            try:
                self._sender[1].close()
            except Exception as error:
                log.warning("destination %s: %s", self._name, error)
            self._sender = None

    def _record(self, connection: psycopg.Connection[Any], outcomes: Sequence[Outcome], done: set[int]) -> None:
        if not outcomes:
            return
        connection.execute(
            "select l1_api.record_deliveries(%s, %s::bigint[], %s::text[], %s::text[])",
            (
                self._name,
                [outcome.alert_id for outcome in outcomes],
                [outcome.state for outcome in outcomes],
                [outcome.detail and outcome.detail[:_DETAIL] for outcome in outcomes],
            ),
        )
        done.update(outcome.alert_id for outcome in outcomes)
        for outcome in outcomes:
            setattr(self._tally, outcome.state, getattr(self._tally, outcome.state) + 1)

    def _note(self, connection: psycopg.Connection[Any], trouble: str | None) -> None:
        """Enter why the destination cannot be reached, or that it can, if that is news."""
        if trouble != self._tally.trouble or trouble is None:
            connection.execute("select l1_api.note_trouble(%s, %s)", (self._name, trouble and trouble[:_DETAIL]))
        self._tally.trouble = trouble

    def _extend(self, connection: psycopg.Connection[Any], batch_id: int, lease: timedelta) -> None:
        connection.execute("select l1_api.extend_lease(%s, %s, %s)", (self._consumer, batch_id, lease))

    def _rest(self, why: str, connection: psycopg.Connection[Any] | None = None, batch_id: int | None = None) -> bool:
        """Wait before the next attempt, holding a batch meanwhile; False if there is to be none."""
        publisher = self._publisher
        if publisher.once:
            log.warning("destination %s: %s", self._name, why)
            return False
        wait = self._pause * random.uniform(0.5, 1.0)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        log.warning("destination %s: %s; next attempt in %.1f s", self._name, why, wait)
        until = time.monotonic() + wait
        while not publisher.stop.is_set() and (left := until - time.monotonic()) > 0:
            publisher.stop.wait(min(left, publisher.lease.total_seconds() / 3))
            if connection is not None and batch_id is not None:
                self._extend(connection, batch_id, publisher.lease)
        return not publisher.stop.is_set()

    def _await_doorbell(self, connection: psycopg.Connection[Any]) -> None:
        """Wait until the doorbell rings, something failed is due again, or it is time to look."""
        row = connection.execute(
            "select extract(epoch from min(y.next_at) - clock_timestamp())::float8 from l1.delivery y"
            " where y.destination = %s and y.next_at is not null",
            (self._name,),
        ).fetchone()
        due = row[0] if row is not None and row[0] is not None else self._publisher.poll
        await_doorbell(connection, min(max(due, 0.0), self._publisher.poll), self._publisher.stop)
