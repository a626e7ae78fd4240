"""The alerts of a demo on their way out: to a real VOEvent broker with a subscriber behind it, and to files."""

from __future__ import annotations

import shlex
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from lxml import etree
from psycopg.conninfo import make_conninfo
from rich.console import Console

from l1db import settings
from l1db.alert import destinations
from l1db.alert.cutouts import Archive
from l1db.alert.publish import Publisher
from l1db.alert.transports import Destination
from l1db.cli.terminal import count
from l1db.connection import connect
from l1db.demo.broker import HOST, Comet

SUBSCRIBER = "subscriber"
ARCHIVE = "archive"
_PATIENCE = 120.0  # seconds for what was issued to arrive
_INTERVAL = 0.1


@contextmanager
def publishing(dsn: str, directory: Path, console: Console) -> Iterator[None]:
    """Publish what is issued meanwhile, and tell what arrived at the subscriber.

    Parameters
    ----------
    dsn
        The demo's database.
    directory
        The demo's own: for the archive of cutouts (``archive``) and the files of alerts (``alerts``), both made anew.
    console
        Where to tell it.
    """
    files, archive = directory / "alerts", directory / ARCHIVE
    for former in (files, archive):
        shutil.rmtree(former, ignore_errors=True)
    with TemporaryDirectory(prefix="l1db-demo-") as memory, Comet(Path(memory), {SUBSCRIBER: None}) as comet:
        broker = Destination("comet", "vtp", "voevent", {"host": HOST, "port": comet.port})
        kept = Destination("files", "file", "l1db", {"directory": str(files)})
        with connect(dsn, application_name="l1db demo") as connection:
            for destination in (broker, kept):
                destinations.add(connection, destination)
        publisher = Publisher(dsn, archive=Archive(archive), poll=1.0)
        thread = threading.Thread(target=publisher.run, name="publisher", daemon=True)
        thread.start()
        try:
            yield
            _tell(dsn, comet, files, console)
        finally:
            publisher.stop.set()
            thread.join(30)


def _tell(dsn: str, comet: Comet, files: Path, console: Console) -> None:
    with connect(dsn, application_name="l1db demo") as connection:
        ((issued, last),) = connection.execute("select count(*), max(alert_id) from alert").fetchall()
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            ((recorded,),) = connection.execute("select count(*) from delivery where state <> 'failed'").fetchall()
            if recorded == 2 * issued:
                break
            time.sleep(_INTERVAL)
        events = comet.wait_for(SUBSCRIBER, issued, timeout=max(until - time.monotonic(), 1))
        delivered = dict(
            connection.execute(
                "select destination, count(*) from delivery where state = 'delivered' group by 1"
            ).fetchall()
        )
    console.print()
    console.rule("Published")
    console.print(
        f"VOEvents: {delivered.get('comet', 0)} of {issued} accepted by a Comet broker, "
        f"[bold]{len(events)} arrived at a subscriber behind it[/bold]"
    )
    if events:
        console.print(f"  the last: {_about(events[-1])}", soft_wrap=True)
    console.print(
        f"Avro: {count(delivered.get('files', 0), 'packet')} with history and cutouts in "
        f"{count(sum(1 for _ in files.rglob('*.avro')), 'file')} below {files}",
        soft_wrap=True,
    )
    public = make_conninfo("", **{k: v for k, v in settings.parameters(dsn).items() if k != "password"})
    console.print("any of them again, byte for byte:")
    console.print(
        f"L1DB_DSN={shlex.quote(public)} L1DB_ARCHIVE={shlex.quote(str(files.with_name(ARCHIVE)))} \\\n"
        f"  {_command()} alert show {last} --regenerate",
        soft_wrap=True,
        markup=False,
    )


def _command() -> str:
    """How to call l1db from here."""
    return "l1db" if shutil.which("l1db") else shlex.quote(str(Path(sys.executable).with_name("l1db")))


def _about(event: bytes) -> str:
    root = etree.fromstring(event)
    facts = {
        (group.get("name"), param.get("name")): param.get("value")
        for group in root.iter("Group")
        for param in group.iter("Param")
    }
    told = ", ".join(
        f"{label} {facts[key]}"
        for label, key in (
            ("DiaObject", ("dia_object", "dia_object_id")),
            ("band", ("dia_source", "band")),
            ("S/N", ("dia_source", "snr")),
            ("previous sources", ("packet", "n_history")),
        )
        if key in facts
    )
    return f"{root.get('ivorn')}, {len(event)} bytes: {told}"
