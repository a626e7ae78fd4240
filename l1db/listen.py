"""The alert listener: batches of alerts as they are issued, each acknowledged when the next one is asked for.

The doorbell (``NOTIFY l1_alert``) only says when to look; what there is to get the database knows.  So a lost
notification, a lost connection or an absence of the listener costs time, not alerts.  The protocol stands with
``l1_api.add_consumer``.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from l1db import settings
from l1db.connection import await_doorbell, connect, one_line, patient_dsn
from l1db.errors import DatabaseError

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=5)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 30.0  # seconds between attempts to connect again
# 64-bit identifiers, which JSON readers that know only floating point would round.
_STRINGS_IN_JSON = ("alert_id", "dia_source_id", "visit", "dia_object_id", "ss_object_id")


@dataclass(frozen=True)
class Alert:
    """One alert of the outbox: which source, of which object, and which versions of things it speaks of.

    Parameters
    ----------
    alert_id
        Identifier.
    kind
        ``detection``, ``forced`` or ``retraction``.
    dia_source_id, midpoint_mjd_tai, visit, detector
        The triggering DiaSource.
    dia_object_id, dia_object_version
        Its DiaObject, and the ``validity_start`` of the version that its transaction opened.
    ss_object_id, ss_object_version
        Its SSObject likewise.
    survey_version
        Rules under which it was issued.
    stamp
        Stamp of the issuing transaction (database time).
    """

    alert_id: int
    kind: str
    dia_source_id: int
    midpoint_mjd_tai: float
    visit: int
    detector: int
    dia_object_id: int | None
    dia_object_version: datetime | None
    ss_object_id: int | None
    ss_object_version: datetime | None
    survey_version: int
    stamp: datetime

    def as_json(self) -> dict[str, Any]:
        """The alert as JSON has it: 64-bit ids are strings, times ISO 8601 to the microsecond."""
        fields = asdict(self)
        for name, value in fields.items():
            if value is not None and name in _STRINGS_IN_JSON:
                fields[name] = str(value)
            elif isinstance(value, datetime):
                fields[name] = value.isoformat(timespec="microseconds")
        return fields


@dataclass(frozen=True)
class AlertBatch:
    """Alerts handed out together; the same ``batch_id`` always holds the same alerts."""

    batch_id: int
    consumer: str
    alerts: tuple[Alert, ...]

    def __len__(self) -> int:
        return len(self.alerts)

    def __iter__(self) -> Iterator[Alert]:
        return iter(self.alerts)


def listen(
    consumer: str,
    *,
    dsn: str | None = None,
    limit: int = 1000,
    lease: timedelta = LEASE,
    poll: float = 10.0,
    start: str | datetime | None = None,
    timeout: float | None = None,
    stop: threading.Event | None = None,
) -> Iterator[AlertBatch]:
    """Batches of alerts, for ever; a batch is acknowledged when the next one is asked for.

    A batch whose consumer dies is handed out again, to whoever comes next, when its lease has run out: what must happen
    once only is to be keyed by ``alert_id``.  Several listeners may share the work of one consumer.  A lost connection
    is made again, after 0.1 s at first and 30 s at most, and nothing is lost by it.

    Parameters
    ----------
    consumer
        Name of the consumer.
    dsn
        libpq connection string; by default as `l1db.Client`.
    limit
        Most alerts in a batch.
    lease
        How long a batch may take.
    poll
        Seconds after which to look for alerts even if the doorbell did not ring.
    start
        Where the consumer begins if it does not exist yet: ``now``, ``start`` (with the first alert there is), or a
        time.  An existing consumer goes on where it was.
    timeout
        End after so many seconds without an alert; 0: end when there are none left.
    stop
        End, between batches, when this is set.

    Returns
    -------
    iterator of AlertBatch

    Raises
    ------
    DatabaseError
        If the server cannot be reached at first, or there is no such consumer and no ``start``.

    Examples
    --------
    >>> for batch in listen("my_filter", start="now"):  # doctest: +SKIP
    ...     for alert in batch:
    ...         print(alert.dia_object_id)
    """
    patient = patient_dsn(dsn or settings.dsn())
    _find_consumer(patient, consumer, start, limit)
    return _batches(patient, consumer, limit, lease, poll, timeout, stop)


def _find_consumer(dsn: str, consumer: str, start: str | datetime | None, limit: int) -> None:
    """Add the consumer if it is missing and has a place to start; otherwise be refused."""
    with connect(dsn, application_name=f"l1db listen {consumer}") as connection:
        known = connection.execute("select from l1.alert_cursor where consumer = %s", (consumer,)).fetchone()
        if known is not None and limit > 0:
            return
        try:
            if start is None or limit < 1:
                connection.execute("select from l1_api.next_alerts(%s, %s)", (consumer, limit))  # says what is wrong
            else:
                connection.execute("select l1_api.add_consumer(%s, %s)", (consumer, str(start)))
        except psycopg.Error as error:
            if error.sqlstate != "L1A03":  # somebody else has just added it
                raise DatabaseError(one_line(error)) from error


def _batches(
    dsn: str,
    consumer: str,
    limit: int,
    lease: timedelta,
    poll: float,
    timeout: float | None,
    stop: threading.Event | None,
) -> Iterator[AlertBatch]:
    handed_out: int | None = None
    pause = _FIRST_PAUSE
    stop = stop or threading.Event()
    quiet_since = time.monotonic()
    while True:
        try:
            with connect(dsn, application_name=f"l1db listen {consumer}") as connection:
                connection.execute("listen l1_alert")
                while True:
                    if handed_out is not None:
                        connection.execute("select l1_api.ack_alerts(%s, %s)", (consumer, handed_out))
                        handed_out = None
                    if stop.is_set():
                        return
                    batch = _next_batch(connection, consumer, limit, lease)
                    pause = _FIRST_PAUSE
                    if batch is not None:
                        handed_out = batch.batch_id
                        yield batch
                        quiet_since = time.monotonic()
                        continue
                    left = None if timeout is None else quiet_since + timeout - time.monotonic()
                    if left is not None and left <= 0:
                        return
                    await_doorbell(connection, poll if left is None else min(poll, left), stop)
        except (psycopg.OperationalError, DatabaseError) as error:
            lost = error if isinstance(error, psycopg.Error) else error.__cause__
            if not isinstance(lost, psycopg.OperationalError):
                raise
            wait = pause * random.uniform(0.5, 1.0)
            log.warning("consumer %s: connection lost (%s), next attempt in %.1f s", consumer, one_line(lost), wait)
            pause = min(2 * pause, _LONGEST_PAUSE)
            if stop.wait(wait):
                return
        except psycopg.Error as error:
            raise DatabaseError(one_line(error)) from error


def _next_batch(connection: psycopg.Connection[Any], consumer: str, limit: int, lease: timedelta) -> AlertBatch | None:
    rows = connection.execute("select * from l1_api.next_alerts(%s, %s, %s)", (consumer, limit, lease)).fetchall()
    return AlertBatch(rows[0][0], consumer, tuple(Alert(*row[1:]) for row in rows)) if rows else None
