"""The run of `l1db ingest`: tables in, one call of the client per visit.

Visits go in in the order they were taken, each with all its detectors in one transaction.  With several workers the
detectors of a visit are spread over them, each detector a transaction of its own, and a visit is finished before the
next begins.  Every file is read before anything is stored, and whatever can be checked without the database is checked
then.  A visit that the database refuses ends the run: those before it stay stored, those after it are not tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from threadpoolctl import threadpool_limits

from l1db.client import Mode
from l1db.errors import BadRow, InputError
from l1db.ingest.grouping import refuse_listed
from l1db.ingest.inputs import Inputs
from l1db.ingest.run import ClientFactory, Progress, RunResult, ingest_visits
from l1db.tables import read_visits

__all__ = ["RunResult", "ingest_files"]


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
        Refuse unknown columns, of sources and of visits.
    skip_bad
        Set unusable rows aside, into ``<file name>.rejects.ecsv`` beside each input, and store the rest.
    bands
        The survey's; rows in others are unusable.  Without it the database refuses the whole visit.
    progress
        Called as ``progress(stage, done, total)``.

    Raises
    ------
    InputError
        If a file cannot be used or is named twice: then nothing is stored.  If it has unusable rows and ``skip_bad``
        is off: those that can be told without the database end the run before anything is stored; of what the
        database finds, the visit is not stored (with several workers: the detector), nor the visits after it.
    RefusedError
        If the database refuses a visit; likewise.  The visits before it are stored, and the message says so.
    """
    if not sources:
        raise InputError("no input: name at least one table of sources")
    _refuse_twice(sources)
    inputs = Inputs(sources, strict=strict, progress=progress)
    visit_table = read_visits(visits, strict=strict) if visits is not None else None
    if visit_table is not None:
        refuse_listed(visit_table, bands)
    bad_rows = [*inputs.bad_rows, *inputs.ungroupable(visit_table, bands)]
    if bad_rows and not skip_bad:
        raise InputError(f"{inputs.explain(bad_rows)}; nothing was stored", bad_rows)
    inputs.reject(bad_rows)
    rejected: list[BadRow] = [*bad_rows]
    warnings = list(inputs.warnings)
    if visit_table is not None and visit_table.warning:
        warnings.append(visit_table.warning)
    try:
        # The matrices of joint fits are small: a second thread only burns time, and more yet where cores are busy.
        with threadpool_limits(1, user_api="blas"):
            results = ingest_visits(
                client_factory,
                inputs.visits(visit_table),
                n_visits=inputs.n_visits(visit_table),
                n_detectors=inputs.n_detectors(visit_table),
                mode=mode,
                workers=workers,
                origins=inputs,
                reject=rejected.extend if skip_bad else None,
                progress=progress,
            )
    finally:
        files = inputs.write_rejects(rejected)
    return RunResult(results, len({bad.row for bad in rejected}), files, tuple(warnings))


def _refuse_twice(paths: Sequence[Path]) -> None:
    seen: dict[Path, Path] = {}
    for path in paths:
        file = path.resolve()
        if file in seen:
            which = "is named twice" if seen[file] == path else f"is the same file as {seen[file]}"
            raise InputError(f"{path}: {which}, and would double its sources: name it once")
        seen[file] = path
