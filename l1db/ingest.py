"""The run of `l1db ingest`: tables in, one call of the client per visit.

Visits go in in the order they were taken, each with all its detectors in one transaction.  With several workers the
detectors of a visit are spread over them, each detector a transaction of its own, and a visit is finished before the
next begins.  Every file is read and checked before anything is stored.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from astropy.table import MaskedColumn, Table
from numpy.typing import NDArray

from l1db.columns import PER_DETECTOR
from l1db.errors import BadRow, InputError, RefusedError
from l1db.table_formats import read_raw
from l1db.tables import (
    PER_VISIT,
    SourceTable,
    VisitTable,
    first_of,
    is_null,
    read_sources,
    read_visits,
)
from l1db.visit import DetectorData, IngestResult, Visit

Mode = Literal["new", "replace", "supplement", "release"]

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
        """DiaSources stored, over all detectors."""
        return sum(result.n_sources for result in self.results)

    @property
    def n_new_objects(self) -> int:
        """DiaObjects founded."""
        return sum(result.n_new_objects for result in self.results)

    @property
    def n_alerts(self) -> int:
        """Alerts issued."""
        return sum(result.n_alerts for result in self.results)

    def by_status(self) -> dict[str, int]:
        """Detectors by what became of them: stored, unchanged, replaced, supplemented, released."""
        counts: dict[str, int] = {}
        for result in self.results:
            for detector in result.detectors:
                counts[detector.status] = counts.get(detector.status, 0) + 1
        return counts


def ingest_files(
    client_factory: ClientFactory,
    sources: Sequence[Path],
    *,
    visits: Path | None = None,
    mode: Mode = "new",
    workers: int = 1,
    strict: bool = False,
    skip_bad: bool = False,
    bands: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Ingest tables of DiaSources.

    Parameters
    ----------
    client_factory
        Opens a client; called once for each worker.
    sources
        Tables with one row per DiaSource.  Files that hold parts of one visit are taken together.
    visits
        Table with one row per (visit, detector).  Without it a visit's band is that of its sources, and its midpoint
        their median midpoint.
    mode
        As in `l1db.Client.ingest`.
    workers
        Connections at work at once.  With more than one, each detector is a transaction of its own.
    strict
        Refuse unknown columns.
    skip_bad
        Set unusable rows aside, into ``<input>.rejects.ecsv`` beside each input, and store the rest.
    bands
        The survey's; rows in others are unusable.  Without it the database refuses the whole visit.
    progress
        Called as ``progress(stage, done, total)``.

    Raises
    ------
    InputError
        If a file cannot be used, or has unusable rows and ``skip_bad`` is off: then nothing of that visit is stored
        (with several workers: nothing of that detector).
    RefusedError
        If the database refuses a visit.
    """
    if not sources:
        raise InputError("no input: name at least one table of sources")
    inputs = Inputs(sources, strict=strict, progress=progress)
    visit_table = read_visits(visits) if visits is not None else None
    if visit_table is not None:
        _refuse_listed(visit_table, bands)
    bad_rows = [*inputs.bad_rows, *inputs.ungroupable(visit_table, bands)]
    if bad_rows and not skip_bad:
        raise InputError(inputs.explain(bad_rows), bad_rows)
    rejected: list[BadRow] = []
    inputs.reject(bad_rows)
    rejected += bad_rows
    warned = [*inputs.warnings, *([visit_table.warning] if visit_table is not None and visit_table.warning else [])]
    try:
        results = ingest_visits(
            client_factory,
            inputs.visits(visit_table),
            n_detectors=inputs.n_detectors(visit_table),
            mode=mode,
            workers=workers,
            explain=inputs.explain,
            origin=inputs.origin,
            reject=rejected.extend if skip_bad else None,
            progress=progress,
        )
    finally:
        files = inputs.write_rejects(rejected)
    return RunResult(results, len({bad.row for bad in rejected}), files, tuple(warned))


def ingest_visits(
    client_factory: ClientFactory,
    visits: Iterable[VisitData],
    *,
    n_detectors: int,
    mode: Mode,
    workers: int = 1,
    explain: Callable[[Sequence[BadRow]], str],
    origin: Callable[[int], str] | None = None,
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
    n_detectors
        How many detectors they have together, for ``progress``.
    mode
        As in `l1db.Client.ingest`.
    workers
        With one, a visit is one call; with more, each detector is one.
    explain
        Says in one line where unusable rows are and what is wrong with the first.
    origin
        Says where a row, by its number, comes from; for what the database says of a whole visit.
    reject
        Takes the rows that the database finds unusable, and the call is made again without them; None: they end the
        run.
    progress
        Called as ``progress("ingest", done, n_detectors)``.
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
            for data in visits:
                count(_ingest(clients[0], data.visit, data.detectors, mode, explain, origin, reject), data.detectors)
            return tuple(results)

        idle: queue.SimpleQueue[Ingester] = queue.SimpleQueue()
        for client in clients:
            idle.put(client)

        def store(visit: Visit, detectors: Sequence[DetectorData]) -> IngestResult:
            client = idle.get()
            try:
                return _ingest(client, visit, detectors, mode, explain, origin, reject)
            finally:
                idle.put(client)

        pool = stack.enter_context(ThreadPoolExecutor(workers, thread_name_prefix="ingest"))
        for data in visits:
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
                raise
    return tuple(results)


def _ingest(
    client: Ingester,
    visit: Visit,
    detectors: Sequence[DetectorData],
    mode: Mode,
    explain: Callable[[Sequence[BadRow]], str],
    origin: Callable[[int], str] | None,
    reject: Callable[[Sequence[BadRow]], None] | None,
) -> IngestResult:
    """One call, made again without the rows that the database cannot use, if these may be set aside."""
    while True:
        try:
            return client.ingest(visit, detectors, mode=mode)
        except RefusedError as error:
            rows = [int(d.row_numbers.min()) for d in detectors if d.row_numbers is not None and len(d.row_numbers)]
            if origin is None or not rows:
                raise
            raise RefusedError(f"{origin(min(rows))}: {error}") from error
        except InputError as error:
            if not error.rows:
                raise
            if reject is None:
                stored = "nothing of this visit was stored" if len(detectors) != 1 else "this detector was not stored"
                raise InputError(f"{explain(error.rows)}; {stored}", error.rows) from error
            bad = np.unique([row.row for row in error.rows])
            kept = [_without(detector, bad) for detector in detectors]
            if sum(map(len, kept)) == sum(map(len, detectors)):
                raise
            reject(error.rows)
            detectors = kept


def _without(detector: DetectorData, rows: NDArray[np.int64]) -> DetectorData:
    if detector.row_numbers is None:
        return detector
    keep = ~np.isin(detector.row_numbers, rows)
    if keep.all():
        return detector
    columns = {name: np.asanyarray(values)[keep] for name, values in detector.sources.items()}
    return replace(detector, sources=columns, row_numbers=detector.row_numbers[keep])


# --- the input of a run ----------------------------------------------------------------------------------------------

# Rows of sources that stay in memory between the check of all files and the ingest of each visit.
ROWS_IN_MEMORY = 1_000_000
# A time above this is a Julian date: as an MJD it would lie in the year 8429.
_LEAST_JD = 2_400_000
# What every file's rows are grouped by; these columns always stay.
_KEYS = ("visit", "detector", "band", "midpoint_mjd_tai", "exposure_time")


@dataclass
class Inputs:
    """All source tables of a run as one, its rows numbered through from 1 over all files.

    The keys of every row stay in memory; the other columns of tables beyond `ROWS_IN_MEMORY` are read again when their
    visits come up.
    """

    paths: Sequence[Path]
    strict: bool = False
    progress: Progress | None = None
    warnings: list[str] = field(default_factory=list)
    bad_rows: list[BadRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._tables: dict[int, SourceTable] = {}
        self._spelling: list[Mapping[str, str]] = []
        first, in_memory, keys = [0], 0, []
        for i, path in enumerate(self.paths):
            table = read_sources(path, strict=self.strict)
            if table.warning:
                self.warnings.append(table.warning)
            if not len(table):
                self.warnings.append(f"{path}: has no rows (an empty detector is told by the table of visits)")
            self._spelling.append(table.spelling)
            self.bad_rows += [replace(bad, row=bad.row + first[i]) for bad in table.bad_rows]
            keys.append({name: table.columns[name] for name in _KEYS if name in table.columns})
            first.append(first[i] + len(table))
            in_memory += len(table)
            if in_memory <= ROWS_IN_MEMORY:
                self._tables[i] = table
            if self.progress is not None:
                self.progress("read", i + 1, len(self.paths))
        self._first = np.array(first)
        self._keys = _joined(keys, [len(k["visit"]) for k in keys])
        self._usable = np.ones(first[-1], dtype=bool)

    def ungroupable(self, visits: VisitTable | None, bands: Sequence[str] | None = None) -> list[BadRow]:
        """Rows whose visit, detector, band or midpoint is missing or none, or contradicts that of the others."""
        faults: list[tuple[NDArray[np.bool_], str, Callable[[int], str]]] = []
        sound = np.ones(len(self._usable), dtype=bool)
        sound[[bad.row - 1 for bad in self.bad_rows]] = False
        for name in ("visit", "detector", "band", "midpoint_mjd_tai"):
            null = is_null(self._keys[name]) & sound
            faults.append((null, name, lambda i: "is missing"))
            sound &= ~null
        julian = sound & (self._keys["midpoint_mjd_tai"] > _LEAST_JD)
        faults.append((julian, "midpoint_mjd_tai", lambda i: _is_jd(self._keys["midpoint_mjd_tai"][i])))
        sound &= ~julian
        if bands is not None:
            unknown = sound & ~np.isin(self._keys["band"].astype(str), bands)
            faults.append((unknown, "band", lambda i: _is_no_band(self._keys["band"][i], bands)))
            sound &= ~unknown
        visit, detector = (np.ma.getdata(self._keys[name]).astype(np.int64) for name in ("visit", "detector"))
        band = self._keys["band"]
        if visits is None:
            expected = _commonest_band(visit, band, sound)
            differs = sound & (band != expected)
            faults.append((differs, "band", lambda i: f"{band[i]}, but most sources of visit {visit[i]} are in "
                           f"{expected[i]}"))  # fmt: skip
        else:
            row = {(int(v), int(d)): i for i, (v, d) in enumerate(zip(visits.columns["visit"],
                   visits.columns["detector"], strict=True))}  # fmt: skip
            pairs, group = np.unique(np.stack([visit, detector], axis=1), axis=0, return_inverse=True)
            index = np.array([row.get((int(v), int(d)), -1) for v, d in pairs], dtype=np.int64)[group.ravel()]
            unlisted = sound & (index < 0)
            faults.append((unlisted, "detector", lambda i: f"detector {detector[i]} of visit {visit[i]} "
                           f"is not in {visits.path}"))  # fmt: skip
            stated = visits.columns["band"]
            differs = sound & ~unlisted & (band != stated[index]) if len(stated) else np.zeros_like(sound)
            faults.append((differs, "band", lambda i: f"{band[i]}, but {visits.path} says {stated[index[i]]}"))
        return [
            BadRow(int(i) + 1, self._spelt(int(i), name), why(int(i)))
            for fault, name, why in faults
            for i in np.flatnonzero(fault)
        ]

    def reject(self, bad_rows: Sequence[BadRow]) -> None:
        """Leave rows out of the visits."""
        self._usable[[bad.row - 1 for bad in bad_rows]] = False

    def explain(self, bad_rows: Sequence[BadRow]) -> str:
        """One line: file, row and column of the first unusable row, and how many more there are."""
        first = min(bad_rows, key=lambda bad: bad.row)
        i = self._file(first.row - 1)
        spelt = [replace(bad, column=self._spelt(bad.row - 1, bad.column)) for bad in bad_rows]
        return first_of(self.paths[i], [replace(bad, row=bad.row - int(self._first[i])) for bad in spelt])

    def origin(self, row: int) -> str:
        """File and row within it."""
        i = self._file(row - 1)
        return f"{self.paths[i]}: row {row - int(self._first[i])}"

    def n_detectors(self, visits: VisitTable | None) -> int:
        """Detectors that `visits` will yield."""
        if visits is not None:
            return len(visits)
        pairs = [np.ma.getdata(self._keys[name])[self._usable].astype(np.int64) for name in ("visit", "detector")]
        return len(np.unique(np.stack(pairs, axis=1), axis=0))

    def visits(self, visits: VisitTable | None) -> Iterator[VisitData]:
        """The visits in the order they were taken, each with all its detectors."""
        rows = np.flatnonzero(self._usable)
        visit, detector = (np.ma.getdata(self._keys[name])[rows].astype(np.int64) for name in ("visit", "detector"))
        order = np.lexsort((rows, detector, visit))
        rows, visit = rows[order], visit[order]
        ids, starts = np.unique(visit, return_index=True)
        rows_of = dict(zip(ids.tolist(), np.split(rows, starts[1:]), strict=True)) if len(ids) else {}
        if visits is None:
            exposures = [self._visit(number, its_rows) for number, its_rows in rows_of.items()]
        else:
            exposures = _listed_visits(visits)
        exposures.sort(key=lambda v: (v.midpoint_mjd_tai, v.visit))
        last_use: dict[int, int] = {}
        for n, exposure in enumerate(exposures):
            files = np.searchsorted(self._first, rows_of.get(exposure.visit, rows[:0]), side="right") - 1
            last_use.update(dict.fromkeys(np.unique(files).tolist(), n))
        for n, exposure in enumerate(exposures):
            its_rows = rows_of.get(exposure.visit, rows[:0])
            yield VisitData(exposure, self._detectors(exposure.visit, its_rows, visits))
            for i in [i for i, last in last_use.items() if last <= n]:
                self._tables.pop(i, None)

    def write_rejects(self, bad_rows: Sequence[BadRow]) -> tuple[Path, ...]:
        """File the rejected rows beside their tables, with every column as it was read, and what is wrong."""
        by_file: dict[int, dict[int, list[BadRow]]] = {}
        for bad in sorted(bad_rows, key=lambda bad: bad.row):
            i = self._file(bad.row - 1)
            by_file.setdefault(i, {}).setdefault(bad.row - 1 - int(self._first[i]), []).append(bad)
        written: list[Path] = []
        for i, rows in by_file.items():
            path = self.paths[i]
            target = path.with_name(f"{path.stem}.rejects.ecsv")
            if target in written:  # two inputs that differ in their suffix only
                target = path.with_name(f"{path.name}.rejects.ecsv")
            index = np.array(list(rows))
            table = Table()
            for column in read_raw(path).columns:
                values = column.values.to_numpy(zero_copy_only=False) if column.text else column.values
                table[column.name] = _for_ecsv(values[index])
                if column.unit:
                    table[column.name].unit = column.unit
            table["rejected_row"] = index + 1
            table["rejected_column"] = [
                "; ".join(self._spelt(b.row - 1, b.column) for b in bad) for bad in rows.values()
            ]
            table["rejected_why"] = ["; ".join(b.why for b in bad) for bad in rows.values()]
            table.write(target, format="ascii.ecsv", overwrite=True)
            written.append(target)
        return tuple(written)

    def _file(self, row: int) -> int:
        """Index of the file that holds a row, counted from 0 over all files."""
        return int(np.searchsorted(self._first, row, side="right")) - 1

    def _spelt(self, row: int, column: str) -> str:
        return self._spelling[self._file(row)].get(column, column)

    def _visit(self, number: int, rows: NDArray[np.int64]) -> Visit:
        """A visit as its sources tell."""
        exposure_time = None
        if "exposure_time" in self._keys:
            times = np.unique(self._keys["exposure_time"][rows])
            exposure_time = float(times[0]) if len(times) == 1 and not np.isnan(times[0]) else None
        midpoint = float(np.median(self._keys["midpoint_mjd_tai"][rows]))
        return Visit(number, str(self._keys["band"][rows[0]]), midpoint, exposure_time)

    def _detectors(self, visit: int, rows: NDArray[np.int64], visits: VisitTable | None) -> tuple[DetectorData, ...]:
        """The sources of one visit by detector; ``rows`` sorted by detector."""
        columns = self._columns(rows)
        numbers, starts = np.unique(np.ma.getdata(self._keys["detector"])[rows], return_index=True)
        parts = {}
        for number, start, end in zip(numbers, starts, np.append(starts, len(rows))[1:], strict=True):
            part = slice(int(start), int(end))
            given = {name: values[part] for name, values in columns.items()}
            parts[int(number)] = DetectorData(int(number), given, row_numbers=rows[part] + 1)
        if visits is None:
            return tuple(parts.values())
        listed = []
        for i in np.flatnonzero(visits.columns["visit"] == visit).tolist():
            number = int(visits.columns["detector"][i])
            listed.append(
                replace(
                    parts.get(number, DetectorData(number)),
                    footprint=visits.footprints[i],
                    psf_fwhm=_value(visits, "psf_fwhm", i),
                    zero_point=_value(visits, "zero_point", i),
                    flux_noise=_value(visits, "flux_noise", i),
                    software=_value(visits, "software", i),
                )
            )
        return tuple(sorted(listed, key=lambda d: d.detector))

    def _columns(self, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """All columns of some rows, in the order given."""
        files = np.searchsorted(self._first, rows, side="right") - 1
        parts, sizes, positions = [], [], []
        for i in np.unique(files).tolist():
            here = np.flatnonzero(files == i)
            table = self._tables.get(i)
            if table is None:
                table = self._tables[i] = read_sources(self.paths[i])
            local = rows[here] - self._first[i]
            parts.append({n: v[local] for n, v in table.columns.items() if n not in PER_DETECTOR})
            sizes.append(len(here))
            positions.append(here)
        if len(parts) <= 1:
            return parts[0] if parts else {}
        back = np.argsort(np.concatenate(positions))
        return {name: values[back] for name, values in _joined(parts, sizes).items()}


def _is_jd(midpoint: float) -> str:
    return f"{midpoint:.10g} is a JD, not an MJD: subtract 2400000.5"


def _is_no_band(band: str, bands: Sequence[str]) -> str:
    return f"{band} is not one of the survey's bands {', '.join(bands)}; correct it, or add it with `l1db survey set`"


def _refuse_listed(visits: VisitTable, bands: Sequence[str] | None) -> None:
    """Refuse a table of visits with a midpoint or a band that is none."""
    bad_rows = []
    for i, (midpoint, band) in enumerate(
        zip(visits.columns["midpoint_mjd_tai"].tolist(), visits.columns["band"].tolist(), strict=True)
    ):
        if midpoint > _LEAST_JD:
            bad_rows.append(BadRow(i + 1, visits.spelling["midpoint_mjd_tai"], _is_jd(midpoint)))
        if bands is not None and band not in bands:
            bad_rows.append(BadRow(i + 1, visits.spelling["band"], _is_no_band(band, bands)))
    if bad_rows:
        raise InputError(first_of(visits.path, bad_rows), bad_rows)


def _joined(parts: Sequence[Mapping[str, NDArray[Any]]], sizes: Sequence[int]) -> dict[str, NDArray[Any]]:
    """Columns of several tables one below the other; a column that a table lacks is missing in its rows."""
    if len(parts) == 1:
        return dict(parts[0])
    joined: dict[str, NDArray[Any]] = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        dtype = next(part[name].dtype for part in parts if name in part)
        pieces = [part[name] if name in part else _nothing(n, dtype) for part, n in zip(parts, sizes, strict=True)]
        masked = any(np.ma.isMaskedArray(piece) for piece in pieces)
        concatenate: Callable[[Any], NDArray[Any]] = np.ma.concatenate if masked else np.concatenate
        joined[name] = concatenate(pieces)
    return joined


def _nothing(n: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind in "fO":
        return np.full(n, np.nan if dtype.kind == "f" else None, dtype=dtype)
    return np.ma.array(np.zeros(n, dtype=dtype), mask=np.ones(n, dtype=bool))


def _commonest_band(visit: NDArray[np.int64], band: NDArray[Any], sound: NDArray[np.bool_]) -> NDArray[Any]:
    """For each row, the band that most rows of its visit have; shape as given."""
    names, band_index = np.unique(np.where(sound, band, "").astype(str), return_inverse=True)
    ids, visit_index = np.unique(visit, return_inverse=True)
    pair, counts = np.unique((visit_index * len(names) + band_index)[sound], return_counts=True)
    best = np.zeros(len(ids), dtype=np.int64)
    order = np.argsort(counts, kind="stable")
    best[pair[order] // len(names)] = pair[order] % len(names)  # the last assignment wins: the commonest
    return np.asarray(names[best[visit_index]], dtype=object)


def _listed_visits(visits: VisitTable) -> list[Visit]:
    _, first = np.unique(np.ma.getdata(visits.columns["visit"]), return_index=True)
    return [
        Visit(int(visits.columns["visit"][i]), **{name: _value(visits, name, int(i)) for name in PER_VISIT})
        for i in first
    ]


def _value(visits: VisitTable, name: str, i: int) -> Any:
    """One value of the table as a plain Python one; None if it is missing."""
    if name not in visits.columns or is_null(visits.columns[name][i : i + 1])[0]:
        return None
    value = visits.columns[name][i]
    return value.item() if isinstance(value, np.generic) else value


def _for_ecsv(values: NDArray[Any]) -> Any:
    """A column that ECSV can hold: objects become text, missing ones masked."""
    if values.dtype.kind != "O":
        return values
    null = is_null(values)
    return MaskedColumn([("" if n else str(v)) for v, n in zip(values, null, strict=True)], mask=null, dtype=str)
