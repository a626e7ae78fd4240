"""Real alert packets of ZTF or Rubin, replayed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np
from rich.console import Console

from l1db.cli import terminal
from l1db.client import Client
from l1db.demo.arrival import listening
from l1db.demo.publishing import ARCHIVE, publishing
from l1db.demo.score import count_pairs
from l1db.demo.stored import objects_of_sources


def show_packets(
    dsn: str, alerts: Path, make_database: Callable[[str], None], directory: Path, console: Console
) -> None:
    """Replay packets into the database of ``dsn``, which is made, with the profile of their survey, once they are read.

    What comes of them goes below ``directory``.

    Raises
    ------
    InputError
        If the packets cannot be used.
    """
    with TemporaryFile() as store:
        _show(dsn, alerts, make_database, directory, store, console)


def _show(
    dsn: str,
    alerts: Path,
    make_database: Callable[[str], None],
    directory: Path,
    store: IO[bytes],
    console: Console,
) -> None:
    """The same, with a place for the packets' cutouts until they are ingested."""
    from l1db.ingest.run import ingest_visits
    from l1db.replay import read_files
    from l1db.replay.packets import find_files, read_packets
    from l1db.replay.ztf import detections, true_object

    count = terminal.count
    with terminal.progress() as report:
        collection, _ = read_files([alerts], progress=report, store=store)
    truth: dict[int, str] = {}
    surveys = set()
    files = find_files([alerts])
    for path in files:
        for packet in read_packets(path):
            surveys.add(packet.survey)
            if packet.survey == "ztf":
                for source, is_trigger, _ in detections(packet.record):
                    if is_trigger or source not in truth:
                        truth[source] = true_object(packet.record)
    visits = collection.visits()
    make_database(surveys.pop())

    console.rule(f"{count(len(files), 'packet')}: {count(len(visits), 'visit')}, {count(len(collection), 'source')}")
    n_detectors = sum(len(data.detectors) for data in visits)
    begun = time.monotonic()
    with publishing(dsn, directory, console):
        with listening(dsn, console), terminal.progress() as report:
            ingest_visits(
                lambda: Client(dsn, archive=directory / ARCHIVE),
                collection.with_cutouts(visits),
                n_visits=len(visits),
                n_detectors=n_detectors,
                mode="supplement",
                origins=collection,
                progress=report,
            )
            seconds = time.monotonic() - begun
        console.print(f"{count(n_detectors, 'detector')} in {seconds:.1f} s, each visit in one transaction")
        found, n_objects = objects_of_sources(dsn)
        console.print(f"found: {count(n_objects, 'DiaObject')}")
        if truth:
            visit = {
                source: data.visit.visit
                for data in visits
                for detector in data.detectors
                for source in np.asarray(detector.sources["dia_source_id"]).tolist()
            }
            pairs = count_pairs(truth, visit, found)
            console.print(
                f"ZTF's own names: {count(len(set(truth.values())), 'object')}, "
                f"{count(pairs.n_true, 'pair')} of visits; "
                f"[bold]precision {pairs.precision:.4f}, recall {pairs.recall:.4f}[/bold] "
                f"({pairs.n_found - pairs.n_common} wrong, {pairs.n_true - pairs.n_common} missed)"
            )
