"""A night to be published: sources on a grid without images, destinations, publishers, and the ledger."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from l1db import Client, DetectorData, Visit
from l1db.alert import destinations
from l1db.alert.cutouts import Archive
from l1db.alert.publish import Publisher
from l1db.alert.transports import Destination
from tests.concurrency.gate import poll
from tests.peers.receiver import Receiver

_VISITS = count(1)


class Night:
    """A database, a receiver of webhooks, and an archive of cutouts."""

    def __init__(self, dsn: str, receiver: Receiver, directory: Path) -> None:
        self.dsn, self.receiver, self.directory = dsn, receiver, directory
        self.connection = psycopg.connect(dsn, autocommit=True)

    def clear(self) -> None:
        """Take away destinations and alerts, and let go of the database."""
        for table in ("delivery", "destination", "alert_batch", "alert_cursor", "alert_packet", "cutout", "alert"):
            self.damage(f"delete from l1.{table}")
        self.connection.close()

    def damage(self, statement: str, *values: object) -> None:
        """What no trigger would let happen."""
        with self.connection.transaction():
            self.connection.execute("set local session_replication_role = replica")
            self.connection.execute(statement.encode(), values)

    def ingest(self, n: int) -> list[int]:
        """``n`` sources of one detector of a new visit, always at the same places; their alerts."""
        visit = next(_VISITS)
        side = int(np.ceil(np.sqrt(n)))
        x, y = (axis.ravel()[:n] / 720 for axis in np.meshgrid(np.arange(side), np.arange(side)))
        sources = {
            "ra": 150 + x,
            "dec": 2 + y,
            **{name: np.full(n, 1e-5) for name in ("ra_err", "dec_err")},
            "psf_flux": 1000.0 + np.arange(n),
            "psf_flux_err": np.full(n, 50.0),
            "snr": 10.0 + np.arange(n),
        }
        with Client(self.dsn) as client:
            client.ingest(Visit(visit, "r", 61000.1 + visit / 1000, 30.0), [DetectorData(1, sources)])
        rows = self.connection.execute(
            "select alert_id from l1.alert where visit = %s order by alert_id", (visit,)
        ).fetchall()
        return [alert_id for (alert_id,) in rows]

    def webhook(self, name: str, *, selection: str | None = None, url: str | None = None, **settings: Any) -> None:
        """A destination at the receiver, at the path of its name; all alerts there are go to it."""
        there = {"url": url or self.receiver.url(name), **settings}
        destinations.add(
            self.connection, Destination(name, "webhook", "l1db", there), selection=selection, start="start"
        )

    def file(self, name: str) -> None:
        """A destination of files."""
        there = Destination(name, "file", "l1db", {"directory": str(self.directory / name)})
        destinations.add(self.connection, there, start="start")

    def publisher(self, *names: str, **parameters: Any) -> Publisher:
        """A publisher that does not look unless the doorbell rings."""
        archive = Archive(self.directory / "archive")
        return Publisher(self.dsn, names, archive, **{"poll": 3600, **parameters})

    def publish_once(self, *names: str) -> Publisher:
        """Publish until nothing is left."""
        publisher = self.publisher(*names, once=True)
        publisher.run()
        return publisher

    @contextmanager
    def publishing(self, *names: str, **parameters: Any) -> Iterator[Publisher]:
        """A publisher at work meanwhile."""
        publisher = self.publisher(*names, **parameters)
        thread = threading.Thread(target=publisher.run)
        thread.start()
        try:
            yield publisher
        finally:
            publisher.stop.set()
            self.receiver.hold.set()
            thread.join(60)
            assert not thread.is_alive(), "the publisher does not end"

    def ledger(self, name: str) -> dict[int, str]:
        """What became of each alert."""
        rows = self.connection.execute(
            "select alert_id, state from l1.delivery where destination = %s order by alert_id", (name,)
        ).fetchall()
        return dict(rows)

    def await_ledger(self, name: str, states: dict[int, str]) -> None:
        """Wait until the ledger says so."""
        self.wait(lambda: self.ledger(name) == states, f"the ledger of {name} does not come to be {states}")

    def wait(self, look: Any, complaint: str) -> None:
        """Wait until something is true."""
        poll(lambda: (1,) if look() else None, complaint, 30)

    def status(self, name: str, column: str) -> Any:
        """A column of destination_status."""
        statement = f"select {column} from l1_api.destination_status where destination = %s"
        row = self.connection.execute(statement.encode(), (name,)).fetchone()
        assert row is not None
        return row[0]

    def retry(self, name: str) -> None:
        self.connection.execute("select l1_api.retry_deliveries(%s)", (name,))

    def expire_leases(self) -> None:
        """As if a minute had gone since a publisher died."""
        self.connection.execute("update l1.alert_batch set leased_until = '-infinity' where acked_at is null")
        self.connection.execute("update l1.delivery set next_at = '-infinity' where next_at is not null")

    def backends(self, name: str, *, waiting: bool = False) -> list[int]:
        """Sessions that publish to a destination; only those that wait for a lock, if asked."""
        rows = self.connection.execute(
            "select pid from pg_stat_activity where application_name = %s and datname = current_database()"
            " and (not %s or wait_event_type = 'Lock')",
            (f"l1db publish {name}", waiting),
        ).fetchall()
        return [pid for (pid,) in rows]

    def backends_of_publisher(self) -> list[int]:
        """Sessions of publishers that serve no destination but look for them."""
        rows = self.connection.execute(
            "select pid from pg_stat_activity where application_name = 'l1db publish' and datname = current_database()"
            " and query ~ 'destination'"
        ).fetchall()
        return [pid for (pid,) in rows]

    def terminate(self, pids: Sequence[int]) -> None:
        for pid in pids:
            self.connection.execute("select pg_terminate_backend(%s, 10000)", (pid,))


def all_of(alerts: Sequence[int], state: str = "delivered") -> dict[int, str]:
    """The same of all alerts."""
    return dict.fromkeys(sorted(alerts), state)
