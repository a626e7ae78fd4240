"""Puts alerts into the outbox without an ingest, and takes batches out of it."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg


@dataclass(frozen=True)
class Batch:
    """What one call of next_alerts handed out."""

    batch_id: int
    alerts: list[int]


def issue(connection: psycopg.Connection, n: int, *, visit: int = 1, stamp: str = "clock_timestamp()") -> list[int]:
    """``n`` alerts of one statement, for sources that nobody else has; their ids."""
    rows = connection.execute(
        "insert into l1.alert (kind, dia_source_id, midpoint_mjd_tai, visit, detector, dia_object_id, survey_version,"
        f" stamp) select 'detection', nextval('l1.dia_source_seq'), 61000.1, %s, 1, 1, 1, {stamp}"
        " from generate_series(1, %s) returning alert_id",
        (visit, n),
    ).fetchall()
    return [i for (i,) in rows]


def fetch(connection: psycopg.Connection, consumer: str = "c", limit: int = 1000, lease: str = "5 min") -> Batch | None:
    """The next batch; None if there is nothing."""
    rows = connection.execute(
        "select batch_id, alert_id from l1_api.next_alerts(%s, %s, %s::interval)", (consumer, limit, lease)
    ).fetchall()
    if not rows:
        return None
    assert len({batch_id for batch_id, _ in rows}) == 1
    return Batch(rows[0][0], [alert_id for _, alert_id in rows])


def ack(connection: psycopg.Connection, batch: Batch, consumer: str = "c") -> bool:
    """Acknowledge a batch."""
    row = connection.execute("select l1_api.ack_alerts(%s, %s)", (consumer, batch.batch_id)).fetchone()
    assert row is not None
    return bool(row[0])


def add(connection: psycopg.Connection, consumer: str = "c", start: str = "now") -> None:
    """Register a consumer."""
    connection.execute("select l1_api.add_consumer(%s, %s)", (consumer, start))


def drain(connection: psycopg.Connection, consumer: str = "c", limit: int = 1000) -> list[int]:
    """All that waits, acknowledged batch by batch."""
    found = []
    while (batch := fetch(connection, consumer, limit)) is not None:
        found += batch.alerts
        assert ack(connection, batch, consumer)
    return found
