"""Visits go in one after the other, in calls of the client: a visit each, or with several workers a detector each."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from l1db.client import Mode
from l1db.errors import BadRow, DatabaseError, InputError, L1dbError, RefusedError
from l1db.visit import DetectorData, DetectorResult, IngestResult, Visit

# Called as progress(stage, done, total); the stages are "read" (files) and "ingest" (detectors).
Progress = Callable[[str, int, int], None]


class Ingester(Protocol):
    """What a run needs of `l1db.Client`."""

    def ingest(self, visit: Visit, detectors: Sequence[DetectorData], *, mode: Mode = "new") -> IngestResult:
        """Store one or more detectors of a visit in one transaction."""
        ...

    def cancel(self) -> None:
        """End the call that another thread has under way."""
        ...


ClientFactory = Callable[[], AbstractContextManager[Ingester]]


class Origins(Protocol):
    """Where the rows of a run come from, by their numbers; for what is said of them."""

    def origin(self, row: int) -> str:
        """Where a row comes from."""
        ...

    def file(self, row: int) -> str:
        """The file that a row comes from."""
        ...

    def explain(self, bad_rows: Sequence[BadRow]) -> str:
        """One line: where the first unusable row is, what is wrong with it, and how many more there are."""
        ...


@dataclass(frozen=True)
class VisitData:
    """One visit with the detectors that a run hands in."""

    visit: Visit
    detectors: tuple[DetectorData, ...]


@dataclass(frozen=True)
class RunResult:
    """What became of a run.

    Parameters
    ----------
    results
        One for each call of the client, in the order of the visits.
    n_rejected
        Rows set aside.
    rejects
        The files they were written to.
    warnings
        What was ignored, one line per file.
    """

    results: tuple[IngestResult, ...] = ()
    n_rejected: int = 0
    rejects: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def n_visits(self) -> int:
        """Visits gone through."""
        return len({result.visit for result in self.results})

    @property
    def n_detectors(self) -> int:
        """Detectors gone through."""
        return sum(len(result.detectors) for result in self.results)

    @property
    def n_sources(self) -> int:
        """DiaSources stored, over all detectors; none of one that was found unchanged."""
        return sum(detector.n_sources for detector in self._changed())

    @property
    def n_new_objects(self) -> int:
        """DiaObjects founded."""
        return sum(detector.n_new_objects for detector in self._changed())

    @property
    def n_alerts(self) -> int:
        """Alerts issued."""
        return sum(detector.n_alerts for detector in self._changed())

    @property
    def n_forced(self) -> int:
        """Forced fluxes stored."""
        return sum(detector.n_forced for detector in self._changed())

    @property
    def n_forced_queued(self) -> int:
        """Forced measurements that were expected and could not be made."""
        return sum(detector.n_forced_queued for detector in self._changed())

    @property
    def image_troubles(self) -> tuple[tuple[int, int, str], ...]:
        """Visit, detector and reason where images could not be measured, also of detectors found unchanged."""
        return tuple(
            (result.visit, detector.detector, detector.image_trouble)
            for result in self.results
            for detector in result.detectors
            if detector.image_trouble is not None
        )

    def _changed(self) -> Iterator[DetectorResult]:
        """What an unchanged detector counts was done by another call."""
        for result in self.results:
            yield from (detector for detector in result.detectors if detector.status != "unchanged")

    def by_status(self) -> dict[str, int]:
        """Detectors by what became of them: stored, unchanged, replaced, supplemented, released, revised."""
        counts: dict[str, int] = {}
        for result in self.results:
            for detector in result.detectors:
                counts[detector.status] = counts.get(detector.status, 0) + 1
        return counts


def ingest_visits(
    client_factory: ClientFactory,
    visits: Iterable[VisitData],
    *,
    n_visits: int,
    n_detectors: int,
    mode: Mode,
    workers: int = 1,
    origins: Origins,
    reject: Callable[[Sequence[BadRow]], None] | None = None,
    progress: Progress | None = None,
) -> tuple[IngestResult, ...]:
    """Ingest visits one after the other.

    Parameters
    ----------
    client_factory
        Opens a client; called once for each worker.
    visits
        In the order in which they are to go in.
    n_visits, n_detectors
        How many visits these are, to tell what was not tried after a refusal, and how many detectors they have
        together, for ``progress``.
    mode
        As in `l1db.Client.ingest`.
    workers
        With one, a visit is one call; with more, each detector is one.
    origins
        Says where rows are that the database finds unusable, and where a visit is that it refuses.
    reject
        Takes the rows that the database finds unusable, and the call is made again without them; None: they end the
        run.
    progress
        Called as ``progress("ingest", done, n_detectors)``.

    Raises
    ------
    InputError, RefusedError, DatabaseError
        As `l1db.Client.ingest`; the message ends with what of the run was stored.
    """
    results: list[IngestResult] = []
    done = 0
    with ExitStack() as stack:
        clients = [stack.enter_context(client_factory()) for _ in range(max(1, workers))]

        def count(result: IngestResult, detectors: Sequence[DetectorData]) -> None:
            nonlocal done
            results.append(result)
            done += len(detectors)
            if progress is not None:
                progress("ingest", done, n_detectors)

        if workers <= 1:
            for i, data in enumerate(visits):
                try:
                    count(_ingest(clients[0], data.visit, data.detectors, mode, origins, reject), data.detectors)
                except L1dbError as error:
                    raise _with(error, _nothing(data.visit, error) + _around(i, n_visits)) from error
            return tuple(results)

        idle: queue.SimpleQueue[Ingester] = queue.SimpleQueue()
        for client in clients:
            idle.put(client)

        def store(visit: Visit, detectors: Sequence[DetectorData]) -> IngestResult:
            client = idle.get()
            try:
                return _ingest(client, visit, detectors, mode, origins, reject)
            finally:
                idle.put(client)

        pool = stack.enter_context(ThreadPoolExecutor(workers, thread_name_prefix="ingest"))
        for i, data in enumerate(visits):
            calls = [(detector,) for detector in data.detectors]
            pending = [pool.submit(store, data.visit, call) for call in calls]
            try:
                for future, call in zip(pending, calls, strict=True):
                    count(future.result(), call)
            except BaseException as error:
                for future in pending:
                    future.cancel()
                if not isinstance(error, Exception):  # interrupted: what is under way shall not go on
                    for client in clients:
                        client.cancel()
                if not isinstance(error, L1dbError):
                    raise
                wait(pending)
                raise _with(error, _account(data, pending, error) + _around(i, n_visits)) from error
    return tuple(results)


def _ingest(
    client: Ingester,
    visit: Visit,
    detectors: Sequence[DetectorData],
    mode: Mode,
    origins: Origins,
    reject: Callable[[Sequence[BadRow]], None] | None,
) -> IngestResult:
    """One call, made again without the rows that the database cannot use, if these may be set aside."""
    while True:
        try:
            return client.ingest(visit, detectors, mode=mode)
        except RefusedError as error:
            rows = [int(d.row_numbers.min()) for d in detectors if d.row_numbers is not None and len(d.row_numbers)]
            if not rows:
                raise
            raise RefusedError(f"{origins.file(min(rows))}: {error}") from error
        except InputError as error:
            if not error.rows:
                raise
            if reject is None:
                raise InputError(origins.explain(error.rows), error.rows) from error
            bad = np.unique([row.row for row in error.rows])
            kept = [_without(detector, bad) for detector in detectors]
            if sum(map(len, kept)) == sum(map(len, detectors)):
                raise
            reject(error.rows)
            # Of a detector whose every row is unusable nothing is known: not even that nothing was found on it.
            detectors = [after for before, after in zip(detectors, kept, strict=True) if len(after) or not len(before)]
            if not detectors:
                return IngestResult(visit.visit, (), {})


def _with(error: L1dbError, account: str) -> L1dbError:
    """The error, with an account of what was stored at its end."""
    said = str(error).removesuffix("; nothing was stored").rstrip(".")
    message = f"{said}; {account}"
    return InputError(message, error.rows) if isinstance(error, InputError) else type(error)(message)


def _nothing(visit: Visit, error: L1dbError) -> str:
    """Of a call that broke off it is not known whether its last word, commit, was heard."""
    if isinstance(error, DatabaseError):
        return f"visit {visit.visit} was not finished"
    return f"nothing of visit {visit.visit} was stored"


def _account(data: VisitData, calls: Sequence[Future[IngestResult]], error: L1dbError) -> str:
    """Which detectors of a visit were stored, where each was a call of its own."""
    stored: list[int] = []
    missing: list[int] = []
    for detector, call in zip(data.detectors, calls, strict=True):
        well = not call.cancelled() and call.exception() is None
        (stored if well else missing).append(detector.detector)
    if not stored:
        return _nothing(data.visit, error)
    done = "finished" if isinstance(error, DatabaseError) else "stored"
    return f"of visit {data.visit.visit} {_detectors(missing)} not {done}, {_detectors(stored)}"


def _detectors(numbers: Sequence[int]) -> str:
    """``detector 5 was``, or ``detectors 1 to 4, 7 were``."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    shown = ", ".join(
        f"{first} to {last}" if last > first + 1 else ", ".join(map(str, range(first, last + 1)))
        for first, last in ranges
    )
    return f"detector {shown} was" if len(numbers) == 1 else f"detectors {shown} were"


def _around(before: int, n_visits: int) -> str:
    """What became of the visits before and after one that was refused."""
    after = n_visits - before - 1
    told = []
    if before:
        told.append(f"{before} visit{'s' if before > 1 else ''} before it {'are' if before > 1 else 'is'} stored")
    if after > 0:
        visits = "" if told else f" visit{'s' if after > 1 else ''}"
        told.append(f"{after}{visits} after it {'were' if after > 1 else 'was'} not tried")
    return f"; {', '.join(told)}" if told else ""


def _without(detector: DetectorData, rows: NDArray[np.int64]) -> DetectorData:
    if detector.row_numbers is None:
        return detector
    keep = ~np.isin(detector.row_numbers, rows)
    if keep.all():
        return detector
    columns = {name: np.asanyarray(values)[keep] for name, values in detector.sources.items()}
    cutouts = {kind: list(compress(contents, keep)) for kind, contents in detector.cutouts.items()}
    return replace(detector, sources=columns, row_numbers=detector.row_numbers[keep], cutouts=cutouts)
