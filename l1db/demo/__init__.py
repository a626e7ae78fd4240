"""``l1db demo``: the main job on one screen, in a database of its own beside the configured one.

By default a small night is made up, so that the truth is known: stars that vary, transients that appear, sources seen
only once, on four detectors that overlap.  With alert packets of ZTF or Rubin, these are replayed instead.  Either way
a listener receives the alerts while the sources go in.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from rich.console import Console

from l1db import database, settings
from l1db.cli import terminal
from l1db.client import Client
from l1db.connection import connect, no_connection, one_line
from l1db.demo.arrival import listening
from l1db.demo.content import show_content
from l1db.demo.night import make_night
from l1db.demo.score import compare, count_pairs
from l1db.errors import DatabaseError
from l1db.visit import DetectorData, Visit

# A database that carries this comment may be dropped and made anew.
MARK = "l1db demo: dropped and made anew by the next `l1db demo`"
WORKERS = 4


def run(dsn: str, alerts: Path | None = None) -> None:
    """Make the demo's database, fill it, and show what is in it.

    Parameters
    ----------
    dsn
        A database on the server to use; the demo's has its name with ``_demo`` at the end.
    alerts
        Alert packets to replay, a directory or a file.  None: a made-up night.

    Raises
    ------
    DatabaseError
        If there is a database of that name that is not a demo's.
    InputError
        If the packets cannot be used.
    """
    console = terminal.output()
    configured = str(settings.parameters(dsn).get("dbname", "l1db"))
    name = f"{configured}_demo"
    own = make_conninfo(dsn, dbname=name)
    if alerts is None:
        _make_database(dsn, name, "seed")
        _show_made_up_night(own, console)
    else:
        _show_packets(dsn, name, alerts, console)
    show_content(own, configured, console)


def _make_database(dsn: str, name: str, profile: str) -> None:
    try:
        with psycopg.connect(make_conninfo(dsn, dbname="postgres"), autocommit=True) as connection:
            row = connection.execute(
                "select shobj_description(oid, 'pg_database') from pg_database where datname = %s", (name,)
            ).fetchone()
            if row is not None and row[0] != MARK:
                raise DatabaseError(f"database {name} is there and not a demo's: drop or rename it, or change L1DB_DSN")
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
    except psycopg.OperationalError as error:
        raise no_connection(error) from error
    except psycopg.Error as error:
        raise DatabaseError(f"cannot make database {name}: {one_line(error)}") from error
    own = make_conninfo(dsn, dbname=name)
    with terminal.waiting(f"making database {name}"):
        database.init(own, profile, {"name": "demo"})
    with connect(own) as connection:
        connection.execute(sql.SQL("comment on database {} is {}").format(sql.Identifier(name), MARK))


def _show_made_up_night(dsn: str, console: Console) -> None:
    night = make_night()
    visits = {visit.visit for visit, _ in night.calls}
    console.rule(f"A night of {len(visits)} visits, {len(night.calls)} detectors, {len(night.truth)} sources")
    local = threading.local()
    clients: list[Client] = []

    def take_in(call: tuple[Visit, DetectorData]) -> None:
        if not hasattr(local, "client"):
            local.client = Client(dsn)
            clients.append(local.client)
        local.client.ingest(call[0], [call[1]])

    begun = time.monotonic()
    with listening(dsn, console):
        try:
            with ThreadPoolExecutor(WORKERS) as pool:
                list(pool.map(take_in, night.calls))
        finally:
            for client in clients:
                client.close()
        seconds = time.monotonic() - begun
    console.print(
        f"{len(night.calls)} detectors by {WORKERS} workers at once in {seconds:.1f} s, "
        f"each in one transaction: {1000 * seconds / len(night.calls):.0f} ms each"
    )
    found, n_objects = _found(dsn)
    result = compare(night.truth, found)
    seen = Counter(night.kinds[sorted(set(night.truth.values()))].tolist())
    kinds = f"{seen['variable']} variable, {seen['transient']} transient, {seen['once']} seen in one visit only"
    console.print(f"truth: {result.n_true} things in the sky ({kinds})")
    console.print(
        f"found: {n_objects} DiaObjects, [bold]duplicates {result.n_duplicates}, lost {result.n_lost}[/bold], "
        f"mixed up {result.n_mixed}"
    )


def _show_packets(dsn: str, name: str, alerts: Path, console: Console) -> None:
    from l1db.ingest.run import ingest_visits
    from l1db.replay import read_files
    from l1db.replay.packets import find_files, read_packets
    from l1db.replay.ztf import detections, true_object

    with terminal.progress() as report:
        collection, _ = read_files([alerts], progress=report)
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
    _make_database(dsn, name, surveys.pop())
    own = make_conninfo(dsn, dbname=name)

    console.rule(f"{len(files)} packets: {len(visits)} visits, {len(collection)} sources")
    n_detectors = sum(len(data.detectors) for data in visits)
    begun = time.monotonic()
    with listening(own, console), terminal.progress() as report:
        ingest_visits(
            lambda: Client(own),
            visits,
            n_visits=len(visits),
            n_detectors=n_detectors,
            mode="supplement",
            origins=collection,
            progress=report,
        )
        seconds = time.monotonic() - begun
    console.print(f"{n_detectors} detectors in {seconds:.1f} s, each visit in one transaction")
    found, n_objects = _found(own)
    console.print(f"found: {n_objects} DiaObjects")
    if truth:
        visit = {
            source: data.visit.visit
            for data in visits
            for detector in data.detectors
            for source in np.asarray(detector.sources["dia_source_id"]).tolist()
        }
        pairs = count_pairs(truth, visit, found)
        console.print(
            f"ZTF's own names: {len(set(truth.values()))} objects, {pairs.n_true} pairs of visits; "
            f"[bold]precision {pairs.precision:.4f}, recall {pairs.recall:.4f}[/bold] "
            f"({pairs.n_found - pairs.n_common} wrong, {pairs.n_true - pairs.n_common} missed)"
        )


def _found(dsn: str) -> tuple[dict[int, int | None], int]:
    """The object of each source, and how many objects there are."""
    with connect(dsn) as connection:
        found = dict(connection.execute("select dia_source_id, dia_object_id from dia_source").fetchall())
        ((n_objects,),) = connection.execute("select count(*) from dia_object").fetchall()
    return found, n_objects
