"""Several connections that ingest at the same time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from queue import Empty, SimpleQueue

import numpy as np

from l1db import Client, DatabaseError, DetectorData, RefusedError, Visit
from l1db.client import Mode

Call = tuple[Visit, list[DetectorData]]


def ingest_at_once(
    dsn: str,
    calls: Sequence[Call],
    *,
    seed: int,
    n_workers: int = 8,
    mode: Mode = "new",
    may_refuse: bool = False,
) -> list[str]:
    """Ingest the calls in random order over ``n_workers`` connections that begin together.

    Raises the first error of any worker; with ``may_refuse`` refusals and deadlocks are returned instead.
    """
    queue: SimpleQueue[Call] = SimpleQueue()
    for i in np.random.default_rng(seed).permutation(len(calls)):
        queue.put(calls[i])
    start = threading.Barrier(n_workers)
    errors: list[BaseException] = []
    refusals: list[str] = []

    def work() -> None:
        try:
            with Client(dsn) as client:
                start.wait(timeout=60)
                while not errors:
                    visit, detectors = queue.get_nowait()
                    try:
                        client.ingest(visit, detectors, mode=mode)
                    except (RefusedError, DatabaseError) as refusal:
                        expected = isinstance(refusal, RefusedError) or "deadlock" in str(refusal)
                        if not (may_refuse and expected):
                            raise
                        refusals.append(str(refusal))
        except Empty:
            pass
        except BaseException as error:
            errors.append(error)
            start.abort()

    threads = [threading.Thread(target=work) for _ in range(n_workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads), "a worker did not end"
    return refusals
