"""The publisher: takes alerts from the outbox and sees them delivered, each destination by itself.

Every destination has a consumer of alerts and, in each publisher, a thread and a connection; so a dead one delays
nobody.  A batch is sent packet by packet; what became of each stands in the ledger (``l1.delivery``) before the batch
is acknowledged.  Whoever dies in between leaves a batch whose lease runs out; the next one sends what the ledger does
not have.  Whoever loses the database keeps in mind what was sent until it is back.  So each alert arrives at least
once, and twice only where a publisher died between the peer's answer and the ledger, or was without the database for
longer than its lease.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import psycopg

from l1db.alert import destinations
from l1db.alert.cutouts import Archive
from l1db.alert.worker import Tally, Worker
from l1db.connection import await_doorbell, connect, one_line, patient_dsn
from l1db.errors import DatabaseError

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)

_LOOK_INTERVAL = 5.0  # seconds between looks at which destinations there are


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
        idle = False
        while True:
            try:
                with connect(patient_dsn(self.dsn), application_name="l1db publish") as connection:
                    connection.execute("listen l1_destination")
                    while True:
                        self._see_to(threads, destinations.find(connection))
                        if not threads and not idle:
                            log.warning(
                                "no destination is enabled (l1db destination add, l1db destination enable)%s",
                                "" if self.once else "; waiting for one",
                            )
                            idle = True
                        if self.once or self.stop.is_set():
                            break
                        await_doorbell(connection, _LOOK_INTERVAL, self.stop)
                break
            except (psycopg.Error, DatabaseError) as error:
                log.warning("destinations cannot be listed: %s", one_line(error))
                if self.once or self.stop.wait(_LOOK_INTERVAL):
                    break
        for thread in threads.values():
            thread.join()
        return self.tallies

    def _see_to(self, threads: dict[str, threading.Thread], present: Sequence[destinations.Row]) -> None:
        """Have a thread at work for each destination that is to be served."""
        for row in present:
            name = row.destination.name
            if not row.is_enabled or (self.names and name not in self.names) or self.stop.is_set():
                continue
            if name not in threads or not threads[name].is_alive():
                worker = Worker(self, name, self.tallies.setdefault(name, Tally()))
                threads[name] = threading.Thread(target=worker.run, name=f"publish {name}", daemon=True)
                threads[name].start()
