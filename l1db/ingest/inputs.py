"""The source tables of a run as one, and the visits in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1db.columns import PER_DETECTOR
from l1db.errors import BadRow
from l1db.ingest.grouping import ungroupable
from l1db.ingest.run import Progress, VisitData
from l1db.rejects import explain, file_rejects
from l1db.table_columns import all_null
from l1db.tables import PER_VISIT, SourceTable, VisitTable, read_sources
from l1db.visit import DetectorData, Visit

# Rows of sources that stay in memory between the check of all files and the ingest of each visit.
ROWS_IN_MEMORY = 1_000_000
# What every file's rows are grouped by; these columns always stay.
_KEYS = ("visit", "detector", "band", "midpoint_mjd_tai", "exposure_time")


class Inputs:
    """All source tables of a run as one, its rows numbered through from 1 over all files.

    The keys of every row stay in memory; the other columns of tables beyond `ROWS_IN_MEMORY` are read again when their
    visits come up.

    Parameters
    ----------
    paths
        The tables.
    strict
        Refuse unknown columns.
    progress
        Called as ``progress("read", done, len(paths))``.

    Attributes
    ----------
    warnings
        What was ignored, one line per file.
    bad_rows
        Rows with a value that does not fit its type.
    """

    def __init__(self, paths: Sequence[Path], *, strict: bool = False, progress: Progress | None = None) -> None:
        self.paths = paths
        self.warnings: list[str] = []
        self.bad_rows: list[BadRow] = []
        self._tables: dict[int, SourceTable] = {}
        self._spelling: list[Mapping[str, str]] = []
        first, keys = [0], []
        for i, path in enumerate(paths):
            table = read_sources(path, strict=strict)
            if table.warning:
                self.warnings.append(table.warning)
            if not len(table):
                self.warnings.append(f"{path}: has no rows (an empty detector is told by the table of visits)")
            self._spelling.append(table.spelling)
            self.bad_rows += [replace(bad, row=bad.row + first[i]) for bad in table.bad_rows]
            keys.append({name: table.columns[name] for name in _KEYS if name in table.columns})
            first.append(first[i] + len(table))
            if first[-1] <= ROWS_IN_MEMORY:
                self._tables[i] = table
            if progress is not None:
                progress("read", i + 1, len(paths))
        self._first = np.array(first)
        self._keys = _joined(keys, [len(k["visit"]) for k in keys])
        self._usable = np.ones(first[-1], dtype=bool)

    # --- rows, and where they are from

    def origin(self, row: int) -> str:
        """File and row within it."""
        i = self._file(row)
        return f"{self.paths[i]}: row {row - int(self._first[i])}"

    def file(self, row: int) -> str:
        """File of a row."""
        return str(self.paths[self._file(row)])

    def explain(self, bad_rows: Sequence[BadRow]) -> str:
        """One line: file, row and column of the first unusable row, how many more there are, and the way out."""
        them = "them" if len({bad.row for bad in bad_rows}) > 1 else "it"
        return f"{explain(self._spelt(bad_rows), self.origin)}; --skip-bad sets {them} aside in a table"

    def ungroupable(self, visits: VisitTable | None, bands: Sequence[str] | None = None) -> list[BadRow]:
        """Rows that cannot be put with a visit and detector; see `l1db.ingest.grouping.ungroupable`."""
        sound = np.ones(len(self._usable), dtype=bool)
        sound[[bad.row - 1 for bad in self.bad_rows]] = False
        return self._spelt(ungroupable(self._keys, sound, visits, bands))

    def reject(self, bad_rows: Sequence[BadRow]) -> None:
        """Leave rows out of the visits."""
        self._usable[[bad.row - 1 for bad in bad_rows]] = False

    def write_rejects(self, bad_rows: Sequence[BadRow]) -> tuple[Path, ...]:
        """File the rejected rows beside their tables; see `l1db.rejects.file_rejects`."""
        by_file: dict[int, list[BadRow]] = {}
        for bad in sorted(self._spelt(bad_rows), key=lambda bad: bad.row):
            i = self._file(bad.row)
            by_file.setdefault(i, []).append(replace(bad, row=bad.row - int(self._first[i])))
        return file_rejects((self.paths[i], its_rows) for i, its_rows in by_file.items())

    def _file(self, row: int) -> int:
        """Index of the file that holds a row."""
        return int(self._files(np.array(row - 1)))

    def _files(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Index of the file that holds each row, these counted from 0; shape as given."""
        return np.asarray(np.searchsorted(self._first, index, side="right") - 1)

    def _spelt(self, bad_rows: Iterable[BadRow]) -> list[BadRow]:
        """With the columns as their files call them."""
        return [replace(b, column=self._spelling[self._file(b.row)].get(b.column, b.column)) for b in bad_rows]

    # --- visits

    def n_visits(self, visits: VisitTable | None) -> int:
        """Visits that `visits` will yield."""
        numbers = self._integers("visit")[self._usable] if visits is None else np.ma.getdata(visits.columns["visit"])
        return len(np.unique(numbers))

    def n_detectors(self, visits: VisitTable | None) -> int:
        """Detectors that `visits` will yield."""
        if visits is not None:
            return len(visits)
        pairs = [self._integers(name)[self._usable] for name in ("visit", "detector")]
        return len(np.unique(np.stack(pairs, axis=1), axis=0))

    def visits(self, visits: VisitTable | None) -> Iterator[VisitData]:
        """The visits in the order they were taken, each with all its detectors."""
        rows = np.flatnonzero(self._usable)
        visit, detector = (self._integers(name)[rows] for name in ("visit", "detector"))
        order = np.lexsort((rows, detector, visit))
        rows, visit = rows[order], visit[order]
        ids, starts = np.unique(visit, return_index=True)
        rows_of = dict(zip(ids.tolist(), np.split(rows, starts[1:]), strict=True)) if len(ids) else {}
        if visits is None:
            exposures = [self._visit(number, its_rows) for number, its_rows in rows_of.items()]
        else:
            exposures = _listed_visits(visits)
        exposures.sort(key=lambda v: (v.midpoint_mjd_tai, v.visit))
        in_order = [(exposure, rows_of.get(exposure.visit, rows[:0])) for exposure in exposures]
        last_use: dict[int, int] = {}
        for n, (_, its_rows) in enumerate(in_order):
            last_use.update(dict.fromkeys(np.unique(self._files(its_rows)).tolist(), n))
        for n, (exposure, its_rows) in enumerate(in_order):
            yield VisitData(exposure, self._detectors(exposure.visit, its_rows, visits))
            for i in [i for i, last in last_use.items() if last <= n]:
                self._tables.pop(i, None)

    def _integers(self, name: str) -> NDArray[np.int64]:
        return np.asarray(np.ma.getdata(self._keys[name]).astype(np.int64))

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
        numbers, starts = np.unique(self._integers("detector")[rows], return_index=True)
        parts = {}
        ends = np.append(starts, len(rows))[1:]
        for number, start, end in zip(numbers.tolist(), starts.tolist(), ends.tolist(), strict=True):
            given = {name: values[start:end] for name, values in columns.items()}
            parts[number] = DetectorData(number, given, row_numbers=rows[start:end] + 1)
        if visits is None:
            return tuple(parts.values())
        listed = []
        for i in np.flatnonzero(visits.columns["visit"] == visit).tolist():
            number = int(visits.columns["detector"][i])
            said = {name: visits.value(name, i) for name in ("psf_fwhm", "zero_point", "flux_noise", "software")}
            listed.append(
                replace(
                    parts.get(number, DetectorData(number)),
                    footprint=visits.footprints[i],
                    images=visits.images[i],
                    **said,
                )
            )
        return tuple(sorted(listed, key=lambda d: d.detector))

    def _columns(self, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """All columns of some rows, in the order given."""
        files = self._files(rows)
        parts, positions = [], []
        for i in np.unique(files).tolist():
            here = np.flatnonzero(files == i)
            table = self._tables.get(i)
            if table is None:
                table = self._tables[i] = read_sources(self.paths[i])
            local = rows[here] - self._first[i]
            parts.append({n: v[local] for n, v in table.columns.items() if n not in PER_DETECTOR})
            positions.append(here)
        if len(parts) <= 1:
            return parts[0] if parts else {}
        back = np.argsort(np.concatenate(positions))
        return {name: values[back] for name, values in _joined(parts, [len(here) for here in positions]).items()}


def _listed_visits(visits: VisitTable) -> list[Visit]:
    _, first = np.unique(np.ma.getdata(visits.columns["visit"]), return_index=True)
    return [
        Visit(int(visits.columns["visit"][i]), **{name: visits.value(name, i) for name in PER_VISIT})
        for i in first.tolist()
    ]


def _joined(parts: Sequence[Mapping[str, NDArray[Any]]], sizes: Sequence[int]) -> dict[str, NDArray[Any]]:
    """Columns of several tables one below the other; a column that a table lacks is missing in its rows."""
    if len(parts) == 1:
        return dict(parts[0])
    joined: dict[str, NDArray[Any]] = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        dtype = next(part[name].dtype for part in parts if name in part)
        pieces = [part[name] if name in part else all_null(n, dtype) for part, n in zip(parts, sizes, strict=True)]
        masked = any(np.ma.isMaskedArray(piece) for piece in pieces)
        concatenate: Callable[[Any], NDArray[Any]] = np.ma.concatenate if masked else np.concatenate
        joined[name] = concatenate(pieces)
    return joined
