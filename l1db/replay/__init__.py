"""Alert packets as input: what ZTF or Rubin found, gone through again here.

Every DiaSource goes in once, however many packets tell of it: as the trigger of its own, and as a previous source in
those of later nights.  All packets are decoded before anything is stored.  The sources are supplements, so a stream may
be replayed as it grows, and replaying the same files again changes nothing.

The cutouts of a packet go into the archive and belong to the alert of its trigger, if that gets one now: a source that
was told of before as a previous one has its alert.  Till then they wait in a temporary file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from l1db import settings
from l1db.errors import BadRow, InputError, SettingsError
from l1db.ingest.run import ClientFactory, Progress, RunResult, VisitData, ingest_visits
from l1db.rejects import explain
from l1db.replay import rubin, ztf
from l1db.replay.packets import Packet, find_files, read_packets

__all__ = ["Collection", "read_files", "replay_files"]


class Collection:
    """The detections of any number of packets, each once; of two records of one detection a trigger's is the fuller.

    Parameters
    ----------
    store
        A file that is open for reading and writing, for the cutouts of triggers; without it these are passed over.

    Attributes
    ----------
    has_cutouts
        Whether a packet had any.
    """

    def __init__(self, store: IO[bytes] | None = None) -> None:
        self._found: dict[tuple[str, int], tuple[bool, Path, Any]] = {}
        self._store = store
        self._cutouts: dict[int, dict[str, tuple[int, int]]] = {}
        self.has_cutouts = False

    def __len__(self) -> int:
        return len(self._found)

    def add(self, path: Path, packet: Packet) -> None:
        """Take the detections of a packet that was found in a file."""
        if packet.survey == "rubin" and packet.version[0] not in rubin.VERSIONS:
            raise InputError(
                f"{path}: schema {packet.version[0]}.{packet.version[1]} is not one of "
                f"{rubin.VERSIONS[0]} to {rubin.VERSIONS[-1]}"
            )
        try:
            if packet.survey == "ztf":
                found: list[tuple[int, bool, Any]] = list(ztf.detections(packet.record))
                cutouts = ztf.cutouts(packet.record)
            else:
                found = list(rubin.detections(packet.record, packet.version))
                cutouts = rubin.cutouts(packet.record)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: the packet lacks or garbles a field: {error}") from error
        for identifier, is_trigger, fields in found:
            key = (packet.survey, identifier)
            if key not in self._found or (is_trigger and not self._found[key][0]):
                self._found[key] = (is_trigger, path, fields)
                if is_trigger and cutouts:
                    self._keep(identifier, cutouts)

    def _keep(self, identifier: int, cutouts: dict[str, bytes]) -> None:
        self.has_cutouts = True
        if self._store is None:
            return
        places = self._cutouts[identifier] = {}
        try:
            for kind, content in cutouts.items():
                places[kind] = self._store.tell(), len(content)
                self._store.write(content)
        except OSError as error:
            raise SettingsError(
                f"the cutouts of the packets do not fit into {tempfile.gettempdir()} ({error.strerror or error}): "
                "set TMPDIR to a directory with more room"
            ) from None

    def with_cutouts(self, visits: Sequence[VisitData]) -> Iterator[VisitData]:
        """The same visits, one after the other, with cutouts: all of these at once would fill any memory."""
        for data in visits:
            yield replace(
                data,
                detectors=tuple(
                    replace(detector, cutouts=self._read(np.asarray(detector.sources["dia_source_id"]).tolist()))
                    for detector in data.detectors
                ),
            )

    def _read(self, identifiers: Sequence[int]) -> dict[str, list[bytes | None]]:
        found: dict[str, list[bytes | None]] = {}
        for i, identifier in enumerate(identifiers):
            for kind, (start, size) in self._cutouts.get(identifier, {}).items():
                assert self._store is not None
                self._store.seek(start)
                found.setdefault(kind, [None] * len(identifiers))[i] = self._store.read(size)
        return found

    def visits(self) -> list[VisitData]:
        """All visits in time order, each with the detectors that have a source in it."""
        keys = sorted(self._found)
        surveys = {survey for survey, _ in keys}
        if len(surveys) > 1:
            raise InputError("packets of both ZTF and Rubin: replay each survey into a database of its own")
        records = [self._found[key][2] for key in keys]
        return rubin.visits(records) if "rubin" in surveys else ztf.visits(records)

    def explain(self, bad_rows: Sequence[BadRow]) -> str:
        """One line: file, source and column of the first unusable source, and how many more there are."""
        return explain(bad_rows, self.origin, "source")

    def file(self, row: int) -> str:
        """File of a row."""
        return str(self._found[sorted(self._found)[row - 1]][1])

    def origin(self, row: int) -> str:
        """File and source of a row."""
        key = sorted(self._found)[row - 1]
        return f"{self._found[key][1]}: source {key[1]}"


def read_files(
    paths: Sequence[Path],
    *,
    schema: Path | None = None,
    skip_bad: bool = False,
    progress: Progress | None = None,
    store: IO[bytes] | None = None,
) -> tuple[Collection, tuple[str, ...]]:
    """Decode packets; returns their detections and, with ``skip_bad``, a line on each file that could not be used."""
    files = find_files(list(paths))
    collection, skipped = Collection(store), []
    for i, path in enumerate(files):
        try:
            for packet in list(read_packets(path, schema)):
                collection.add(path, packet)
        except InputError as error:
            if not skip_bad:
                raise
            skipped.append(f"skipped {error}")
        if progress is not None:
            progress("read", i + 1, len(files))
    return collection, tuple(skipped)


def replay_files(
    client_factory: ClientFactory,
    paths: Sequence[Path],
    *,
    schema: Path | None = None,
    workers: int = 1,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Ingest the DiaSources of alert packets.

    Parameters
    ----------
    client_factory
        Opens a client; called once for each worker.
    paths
        Files, or directories of ``*.avro`` files, of ZTF (3.x, 4.x) or of Rubin (7 to 11).
    schema
        Alert schema, or a directory of them, for Rubin's packets off the wire; see `l1db.replay.packets`.
    workers
        Connections at work at once.
    skip_bad
        Go on without files that cannot be decoded and without sources that the database finds unusable.
    progress
        Called as ``progress(stage, done, total)``, stage "read" (files) or "ingest" (detectors).

    Raises
    ------
    InputError
        If a file or a source cannot be used: one line naming it.
    RefusedError
        If the database refuses a visit.
    """
    if not paths:
        raise InputError("no input: name at least one file or directory of alert packets")
    rejected: list[BadRow] = []
    with ExitStack() as stack:
        store, why_not = None, ""
        try:
            settings.archive()
            store = stack.enter_context(tempfile.TemporaryFile())
        except SettingsError as error:
            why_not = f"cutouts are left out: {error}"
        collection, warnings = read_files(paths, schema=schema, skip_bad=skip_bad, progress=progress, store=store)
        if collection.has_cutouts and why_not:
            warnings += (why_not,)
        visits = collection.visits()
        results = ingest_visits(
            client_factory,
            collection.with_cutouts(visits),
            n_visits=len(visits),
            n_detectors=sum(len(data.detectors) for data in visits),
            mode="supplement",
            workers=workers,
            origins=collection,
            reject=rejected.extend if skip_bad else None,
            progress=progress,
        )
    warnings += tuple(warning for result in results for warning in result.warnings)
    n_rejected = len({bad.row for bad in rejected})
    if n_rejected:
        warnings += (
            f"skipped {n_rejected} unusable source{'s' if n_rejected > 1 else ''}: {collection.explain(rejected)}",
        )
    return RunResult(results, n_rejected, (), warnings)
