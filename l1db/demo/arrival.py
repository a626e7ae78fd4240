"""Alerts as they come: a listener of the demo's own, a line for each batch."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console

from l1db.cli.terminal import count
from l1db.connection import connect
from l1db.errors import L1dbError
from l1db.listen import listen

CONSUMER = "demo"
# Batches that get a line each; of more, only some do.
_LINES = 24


@contextmanager
def listening(dsn: str, console: Console) -> Iterator[None]:
    """A listener in a thread of its own, a line for each batch, until all alerts that were issued have come."""
    stop = threading.Event()
    arrived = n_batches = 0
    trouble: list[L1dbError] = []
    # The consumer is there before the first alert is; the thread only goes on from here.
    batches = listen(CONSUMER, dsn=dsn, start="now", limit=500, stop=stop)

    def receive() -> None:
        nonlocal arrived, n_batches
        try:
            for batch in batches:
                now = datetime.now(UTC)
                arrived += len(batch)
                n_batches += 1
                if n_batches > _LINES and n_batches % _LINES:
                    continue
                visits = sorted({alert.visit for alert in batch})
                shown = str(visits[0]) if len(visits) == 1 else f"{visits[0]} to {visits[-1]}"
                age = max((now - max(alert.stamp for alert in batch)).total_seconds(), 0)
                alerts = "alert " if len(batch) == 1 else "alerts"
                console.print(
                    f"[dim]{now:%H:%M:%S.%f}[/dim]  batch {batch.batch_id:>3}  {len(batch):>4} {alerts}  "
                    f"visit{'s' if len(visits) > 1 else ''} {shown}, +{1000 * age:.0f} ms"
                )
        except L1dbError as error:
            trouble.append(error)

    thread = threading.Thread(target=receive, name="listener", daemon=True)
    thread.start()
    try:
        yield
        with connect(dsn) as connection:
            ((issued,),) = connection.execute("select count(*) from alert").fetchall()
        until = time.monotonic() + 15
        while arrived < issued and thread.is_alive() and time.monotonic() < until:
            time.sleep(0.02)
    finally:
        stop.set()
        thread.join(15)
    if trouble:
        raise trouble[0]
    console.print(
        f"alerts: {issued} issued, {arrived} received by the listener in {count(n_batches, 'batch', 'batches')}"
    )
    console.print("(+ ms: how long after the stamp of its last alert a batch was there)")
