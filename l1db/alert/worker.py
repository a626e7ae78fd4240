"""The worker of one destination in a publisher: `l1db.alert.publish` tells what it promises."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import groupby
from typing import Any, Protocol

import psycopg

from l1db.alert import destinations
from l1db.alert.cut import ImagesAwayError
from l1db.alert.cutouts import Archive, ArchiveUnwritableError
from l1db.alert.packets import build
from l1db.alert.transports import Destination, Outcome, Packet, Sender, UnreachableError, as_line
from l1db.alert.transports.open import open_sender
from l1db.connection import await_doorbell, connect, one_line, patient_dsn
from l1db.errors import DatabaseError, InputError, L1dbError

log = logging.getLogger(__name__)

# Seconds between attempts to reach the database or a destination again.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0
_STOP_INTERVAL = 0.25  # seconds between looks at whether to stop
_FLUSH_INTERVAL = 0.5  # seconds after which outcomes are entered into the ledger
_PIECE = 200  # packets that are built at once, and the others of their image
_DIFFERS = "the packet is not the one that was built first: see l1db alert show --regenerate"
_REMOVED = ("L1D01", "L1A04")  # errors of a destination, or its consumer, that is no more


class Orders(Protocol):
    """What a publisher tells its workers; its own parameters, by their names."""

    dsn: str
    archive: Archive
    lease: timedelta
    poll: float
    once: bool
    stop: threading.Event


@dataclass
class Tally:
    """What a publisher did at one destination."""

    delivered: int = 0
    refused: int = 0
    failed: int = 0
    passed_over: int = 0
    trouble: str | None = None


class _GoneError(Exception):
    """The destination was removed or disabled, or the publisher is to stop."""


@dataclass
class _Batch:
    """Alerts that are this worker's for a while: a batch of the outbox or, without an id, what failed and is due again.

    ``packets`` are those that are built and have no outcome yet, ``done`` the alerts that have one; ``images`` tells
    which visit and detector an alert is of.
    """

    batch_id: int | None
    alert_ids: list[int]
    leased_until: float
    images: dict[int, tuple[int, int]] = field(default_factory=dict)
    packets: dict[int, Packet] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    passed_over: int = 0


class _Pause:
    """Twice as long each time, until something works again."""

    def __init__(self) -> None:
        self._next = _FIRST_PAUSE

    def reset(self) -> None:
        self._next = _FIRST_PAUSE

    def take(self) -> float:
        pause, self._next = self._next, min(2 * self._next, _LONGEST_PAUSE)
        return pause * random.uniform(0.5, 1.0)


def _pieces(alert_ids: Sequence[int], images: Mapping[int, tuple[int, int]]) -> Iterator[list[int]]:
    """Alerts in pieces that do not part those of an image, which is to be read once."""
    piece: list[int] = []
    for image, members in groupby(sorted(alert_ids, key=lambda i: images.get(i, (0, 0))), key=images.get):
        if image is None:
            of_image = list(members)
            yield from (of_image[start : start + _PIECE] for start in range(0, len(of_image), _PIECE))
            continue
        piece += members
        if len(piece) >= _PIECE:
            yield piece
            piece = []
    if piece:
        yield piece


class Worker:
    """One destination of one publisher."""

    def __init__(self, orders: Orders, name: str, tally: Tally) -> None:
        self._orders, self._name, self._tally = orders, name, tally
        self._consumer = f"destination:{name}"
        self._lease = orders.lease
        self._sender: tuple[Destination, Sender] | None = None
        self._pause_of_database, self._pause_of_peer = _Pause(), _Pause()
        self._patient = patient_dsn(orders.dsn)
        self._held: _Batch | None = None
        self._unrecorded: list[Outcome] = []
        self._lost: str | None = None
        self._gathers_until = 0.0

    def run(self) -> None:
        orders = self._orders
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
                    if isinstance(error, psycopg.Error) and error.sqlstate in _REMOVED:
                        return
                    why = one_line(error)
                except Exception as error:
                    log.exception("destination %s", self._name)
                    why = f"{type(error).__name__}: {error}"
                self._tally.trouble = self._lost = why
                wait = self._pause_of_database.take()
                if orders.once:
                    log.warning("destination %s: %s", self._name, why)
                    return
                log.warning("destination %s: %s; next attempt in %.1f s", self._name, why, wait)
                if orders.stop.wait(wait):
                    return
        finally:
            self._record_the_last()
            self._close()

    def _record_the_last(self) -> None:
        """At the end, if the database was lost: one more attempt to enter into the ledger what was sent."""
        if not self._unrecorded:
            return
        try:
            with connect(self._patient, application_name=f"l1db publish {self._name}") as connection:
                self._record(connection)
        except (psycopg.Error, DatabaseError) as error:
            log.warning(
                "destination %s: what became of %d alerts is not in the ledger, so they will be sent again: %s",
                self._name, len(self._unrecorded), one_line(error),
            )  # fmt: skip

    def _serve(self, connection: psycopg.Connection[Any]) -> None:
        orders = self._orders
        self._record(connection)
        self._resume(connection)
        while not orders.stop.is_set():
            row = self._row(connection)
            self._pause_of_database.reset()
            if self._tally.trouble == self._lost:
                self._tally.trouble = None
            # In turn, lest one keep the other waiting.
            due = self._due(connection)
            if due is not None:
                self._deliver(connection, row, due)
            gathers = time.monotonic() < self._gathers_until and not orders.once
            batch = None if orders.stop.is_set() or gathers else self._next_batch(connection)
            if batch is not None:
                self._deliver(connection, row, batch)
                if batch.done and self._sender is not None:
                    self._gathers_until = time.monotonic() + self._sender[1].interval_s
            if due is None and batch is None:
                if orders.once:
                    self._say_what_others_have(connection)
                    return
                self._await_doorbell(connection)

    def _say_what_others_have(self, connection: psycopg.Connection[Any]) -> None:
        """Nothing is left for this publisher; but another may be at it, or have died with it."""
        row = connection.execute(
            "select sum(b.n_alerts), max(b.leased_until)::timestamptz(0)::text from l1.alert_batch b"
            " where b.consumer = %s and b.acked_at is null",
            (self._consumer,),
        ).fetchone()
        if row is not None and row[0]:
            self._tally.trouble = f"{row[0]} alerts are in the hands of another publisher, at the latest until {row[1]}"

    def _resume(self, connection: psycopg.Connection[Any]) -> None:
        """Go on with the batch that was on its way when the database was lost, unless others may have it by now."""
        held, self._held = self._held, None
        if held is None or held.batch_id is None or time.monotonic() > held.leased_until:
            return
        if self._extend(connection, held):
            self._deliver(connection, self._row(connection), held)

    def _row(self, connection: psycopg.Connection[Any]) -> destinations.Row:
        present = [row for row in destinations.find(connection) if row.destination.name == self._name]
        if not present or not present[0].is_enabled:
            raise _GoneError
        return present[0]

    def _due(self, connection: psycopg.Connection[Any]) -> _Batch | None:
        until = time.monotonic() + self._lease.total_seconds()
        rows = connection.execute("select l1_api.due_deliveries(%s, 200, %s)", (self._name, self._lease)).fetchall()
        return _Batch(None, [alert_id for (alert_id,) in rows], until) if rows else None

    def _next_batch(self, connection: psycopg.Connection[Any]) -> _Batch | None:
        limit = 200 if self._sender is None else self._sender[1].batch_size
        until = time.monotonic() + self._lease.total_seconds()
        rows = connection.execute(
            "select batch_id, alert_id, visit, detector from l1_api.next_alerts(%s, %s, %s)",
            (self._consumer, limit, self._lease),
        ).fetchall()
        if not rows:
            return None
        images = {alert_id: (visit, detector) for _, alert_id, visit, detector in rows}
        return _Batch(rows[0][0], list(images), until, images)

    def _deliver(self, connection: psycopg.Connection[Any], row: destinations.Row, batch: _Batch) -> None:
        """Send alerts until each has an outcome in the ledger, then acknowledge their batch."""
        self._held = batch
        try:
            while True:
                try:
                    self._attempt(connection, row, batch)
                    break
                except UnreachableError as error:
                    why = as_line(error)
                self._note(connection, why)
                if batch.batch_id is None:
                    # Each of them waits twice as long as before.
                    left = [alert_id for alert_id in batch.alert_ids if alert_id not in batch.done]
                    self._enter(connection, batch, [Outcome(alert_id, "failed", why) for alert_id in left])
                self._rest(why, connection, batch)
                if batch.batch_id is None:
                    break
                row = self._row(connection)
        except _GoneError:
            if batch.batch_id is not None:
                self._extend(connection, batch, timedelta(0))
            self._held = None
            raise
        if batch.batch_id is not None:
            connection.execute("select l1_api.ack_alerts(%s, %s)", (self._consumer, batch.batch_id))
            self._tally.passed_over += batch.passed_over
        self._held = None

    def _attempt(self, connection: psycopg.Connection[Any], row: destinations.Row, batch: _Batch) -> None:
        """Send what has no outcome yet; when it returns, all have."""
        left = batch.alert_ids if batch.batch_id is None else self._open(connection, row, batch)
        unbuilt = [alert_id for alert_id in left if alert_id not in batch.packets]
        for piece in _pieces(unbuilt, batch.images):
            self._keep_lease(connection, batch)
            built, outcomes = self._build(connection, row.destination.format, piece)
            batch.packets |= {packet.alert_id: packet for packet in built}
            self._enter(connection, batch, outcomes)
        self._keep_lease(connection, batch)
        going = [alert_id for alert_id in left if alert_id in batch.packets]
        retracted = self._retracted(connection, [i for i in going if batch.packets[i].kind == "retraction"])
        self._send(connection, row.destination, batch, [alert_id for alert_id in going if alert_id not in retracted])
        if retracted:
            # An alert must not arrive after its retraction.
            failed = self._in_ledger(connection, list(retracted.values()), "failed")
            waiting = [alert_id for alert_id, first in retracted.items() if first in failed]
            for alert_id in waiting:
                del batch.packets[alert_id]
            self._enter(
                connection, batch,
                [Outcome(i, "failed", f"waits for alert {retracted[i]}, which it takes back") for i in waiting],
            )  # fmt: skip
            self._send(connection, row.destination, batch, [i for i in retracted if i in batch.packets])

    def _open(self, connection: psycopg.Connection[Any], row: destinations.Row, batch: _Batch) -> list[int]:
        """The alerts of a batch that are to go to the destination and are not in its ledger.

        A retraction goes wherever the alert goes that it takes back, also if the selection does not choose it itself.
        """
        rows = connection.execute("select l1_api.open_deliveries(%s, %s)", (self._name, batch.alert_ids)).fetchall()
        left = [alert_id for (alert_id,) in rows]
        if row.selection is None or not left:
            return left
        try:
            retracted = self._retracted(connection, left)
            chosen, undecided = self._choose(connection, row.selection, sorted({*left, *retracted.values()}))
        except InputError as error:
            raise UnreachableError(str(error)) from error
        self._enter(connection, batch, [outcome for outcome in undecided if outcome.alert_id in left])
        left = [alert_id for alert_id in left if alert_id not in batch.done]
        # By the ledger, too: the selection may be another since.
        sent = self._in_ledger(connection, list(retracted.values())) if retracted else set()
        going = [
            alert_id for alert_id in left
            if alert_id in chosen or retracted.get(alert_id) in chosen or retracted.get(alert_id) in sent
        ]  # fmt: skip
        batch.passed_over = len(left) - len(going)
        return going

    def _choose(
        self, connection: psycopg.Connection[Any], selection: str, alert_ids: list[int]
    ) -> tuple[set[int], list[Outcome]]:
        """Those of some alerts that meet a selection, and what is to be said of those that it fails on."""
        try:
            return destinations.select(connection, selection, alert_ids), []
        except destinations.UndecidableError as error:
            # One that fails on none at all fails on every one: then it is wrong, and not what an alert says.
            destinations.select(connection, selection, [])
            if len(alert_ids) == 1:
                return set(), [Outcome(alert_ids[0], "refused", str(error))]
            middle = len(alert_ids) // 2
            parts = [self._choose(connection, selection, part) for part in (alert_ids[:middle], alert_ids[middle:])]
            return set().union(*(chosen for chosen, _ in parts)), [o for _, undecided in parts for o in undecided]

    def _retracted(self, connection: psycopg.Connection[Any], alert_ids: list[int]) -> dict[int, int]:
        """Of the retractions among some alerts, the alerts that they take back."""
        if not alert_ids:
            return {}
        rows = connection.execute(
            """select c.alert_id, c.retracted_alert_id
                 from (select min(a.midpoint_mjd_tai) as lower, max(a.midpoint_mjd_tai) as upper,
                              array_agg(a.alert_id) as ids
                         from l1.alert a
                        where a.alert_id = any (%s) and a.kind = 'retraction') as retraction
                cross join lateral l1_api.alert_citations(retraction.ids, retraction.lower, retraction.upper) as c
                where c.retracted_alert_id is not null""",
            (alert_ids,),
        ).fetchall()
        return dict(rows)

    def _in_ledger(
        self, connection: psycopg.Connection[Any], alert_ids: list[int], state: str | None = None
    ) -> set[int]:
        """Those of some alerts that the destination's ledger has, in any state or in one."""
        rows = connection.execute(
            "select y.alert_id from l1.delivery y where y.destination = %(name)s and y.alert_id = any (%(alerts)s)"
            " and (%(state)s::text is null or y.state = %(state)s)",
            {"name": self._name, "alerts": alert_ids, "state": state},
        ).fetchall()
        return {alert_id for (alert_id,) in rows}

    def _build(
        self, connection: psycopg.Connection[Any], form: str, alert_ids: list[int]
    ) -> tuple[list[Packet], list[Outcome]]:
        """The packets of alerts, and what is to be said of those that cannot be built."""
        try:
            built = build(connection, alert_ids, form, self._orders.archive)
        except (ArchiveUnwritableError, ImagesAwayError) as error:
            raise UnreachableError(str(error)) from error
        except Exception as error:
            # Trouble with the database is no fault of an alert, unless it is about values.
            if isinstance(error, psycopg.Error | DatabaseError) and not isinstance(error, psycopg.DataError):
                raise
            if len(alert_ids) == 1:
                said = as_line(error if isinstance(error, L1dbError) else f"{type(error).__name__}: {error}")
                log.error("alert %s: its packet cannot be built: %s", alert_ids[0], said)
                return [], [Outcome(alert_ids[0], "failed", f"the packet cannot be built: {said}")]
            # One of them spoils it for all: halves, until it stands alone.
            middle = len(alert_ids) // 2
            parts = [self._build(connection, form, part) for part in (alert_ids[:middle], alert_ids[middle:])]
            return [p for packets, _ in parts for p in packets], [o for _, failed in parts for o in failed]
        differing = [Outcome(alert_id, "failed", _DIFFERS) for alert_id in sorted(built.differing)]
        return [packet for packet in built.packets if packet.alert_id not in built.differing], differing

    def _send(
        self, connection: psycopg.Connection[Any], destination: Destination, batch: _Batch, alert_ids: Sequence[int]
    ) -> None:
        if not alert_ids:
            return
        sender = self._open_sender(destination)
        stop, lost = self._orders.stop, None
        flushed = time.monotonic()
        named = batch.batch_id if batch.batch_id is not None else alert_ids[0]
        try:
            for outcome in sender.send([batch.packets[alert_id] for alert_id in alert_ids], named):
                self._unrecorded.append(outcome)
                batch.done.add(outcome.alert_id)
                del batch.packets[outcome.alert_id]
                if outcome.state == "delivered":
                    self._pause_of_peer.reset()
                if stop.is_set():
                    sender.interrupt()
                if lost is None and time.monotonic() - flushed > _FLUSH_INTERVAL:
                    flushed = time.monotonic()
                    try:
                        self._record(connection)
                        self._keep_lease(connection, batch)
                    except psycopg.Error as error:
                        # What is on its way has an outcome yet; all of them wait for the database.
                        lost = error
                        sender.interrupt()
        except (L1dbError, psycopg.Error):
            raise
        except Exception as error:
            # A packet that the transport was not made for must not hold up the others: halves, until it stands alone.
            self._close()
            left = [alert_id for alert_id in alert_ids if alert_id in batch.packets]
            if len(left) == 1:
                log.error("destination %s: alert %s: %s", self._name, left[0], error, exc_info=True)
                del batch.packets[left[0]]
                self._enter(connection, batch, [Outcome(left[0], "failed", f"{type(error).__name__}: {error}")])
                return
            middle = len(left) // 2
            for part in (left[:middle], left[middle:]):
                self._send(connection, destination, batch, part)
            return
        finally:
            if lost is None:
                self._record(connection)
        if lost is not None:
            raise lost
        if any(alert_id in batch.packets for alert_id in alert_ids):
            if stop.is_set():
                raise _GoneError
            raise UnreachableError("not every packet had an outcome")
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

    def _enter(self, connection: psycopg.Connection[Any], batch: _Batch, outcomes: Sequence[Outcome]) -> None:
        """Enter outcomes that no peer had a part in."""
        self._unrecorded += outcomes
        batch.done.update(outcome.alert_id for outcome in outcomes)
        self._record(connection)

    def _record(self, connection: psycopg.Connection[Any]) -> None:
        """Enter into the ledger what it does not have yet.  If that fails, it is still to be entered."""
        outcomes = self._unrecorded
        if not outcomes:
            return
        connection.execute(
            "select l1_api.record_deliveries(%s, %s::bigint[], %s::text[], %s::text[])",
            (
                self._name,
                [outcome.alert_id for outcome in outcomes],
                [outcome.state for outcome in outcomes],
                [outcome.detail and as_line(outcome.detail) for outcome in outcomes],
            ),
        )
        self._unrecorded = []
        for outcome in outcomes:
            setattr(self._tally, outcome.state, getattr(self._tally, outcome.state) + 1)

    def _note(self, connection: psycopg.Connection[Any], trouble: str | None) -> None:
        """Enter why the destination cannot be reached, or that it can, if that is news."""
        if trouble != self._tally.trouble or trouble is None:
            connection.execute("select l1_api.note_trouble(%s, %s)", (self._name, trouble))
        self._tally.trouble = trouble

    def _keep_lease(self, connection: psycopg.Connection[Any], batch: _Batch) -> None:
        """Extend a lease of which a third has gone."""
        if batch.batch_id is not None and batch.leased_until - time.monotonic() < self._lease.total_seconds() * 2 / 3:
            self._extend(connection, batch)

    def _extend(self, connection: psycopg.Connection[Any], batch: _Batch, lease: timedelta | None = None) -> bool:
        lease = self._lease if lease is None else lease
        until = time.monotonic() + lease.total_seconds()
        row = connection.execute(
            "select l1_api.extend_lease(%s, %s, %s)", (self._consumer, batch.batch_id, lease)
        ).fetchone()
        batch.leased_until = until
        return row is not None and bool(row[0])

    def _rest(self, why: str, connection: psycopg.Connection[Any], batch: _Batch) -> None:
        """Wait before the next attempt, holding the batch; not for long once somebody changes the destination."""
        orders = self._orders
        if orders.once:
            log.warning("destination %s: %s", self._name, why)
            raise _GoneError
        wait = self._pause_of_peer.take()
        log.warning("destination %s: %s; next attempt in %.1f s", self._name, why, wait)
        until = time.monotonic() + wait
        while (left := until - time.monotonic()) > 0:
            if orders.stop.is_set():
                raise _GoneError
            self._keep_lease(connection, batch)
            for notice in connection.notifies(timeout=min(left, _STOP_INTERVAL)):
                if notice.channel == "l1_destination" and notice.payload == self._name:
                    self._pause_of_peer.reset()
                    return

    def _await_doorbell(self, connection: psycopg.Connection[Any]) -> None:
        """Wait until the doorbell rings, something failed is due again, or it is time to look."""
        row = connection.execute(
            "select extract(epoch from min(y.next_at) - clock_timestamp())::float8 from l1.delivery y"
            " where y.destination = %s and y.next_at is not null",
            (self._name,),
        ).fetchone()
        due = row[0] if row is not None and row[0] is not None else self._orders.poll
        await_doorbell(connection, min(max(due, 0.0), self._orders.poll), self._orders.stop)
