"""``l1db images``: images that come after the sources."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from l1db import settings
from l1db.cli import terminal
from l1db.client import Client
from l1db.errors import InputError

app = typer.Typer(help="Images that come after the ingest of their detectors.", no_args_is_help=True)


@app.callback()
def _images() -> None:
    pass


@app.command()
def add(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE", help="Table with a row per visit and detector, as `l1db ingest --visits` reads."
        ),
    ],
) -> None:
    """Make the images of a table known, and queue the forced measurements that were not made for want of them."""
    from l1db.tables import read_visits

    visits = read_visits(table)
    rows = [i for i, images in enumerate(visits.images) if images]
    if not rows:
        raise InputError(
            f"{table}: names no images: it needs a column difference, science, template or snap_difference"
        )
    queued = 0
    with Client(settings.dsn()) as client, terminal.progress() as report:
        for done, i in enumerate(rows, start=1):
            queued += client.add_images(
                int(visits.value("visit", i)), int(visits.value("detector", i)), visits.images[i]
            )
            report("images", done, len(rows))
    count = terminal.count
    print(f"images of {count(len(rows), 'detector')} are known; {count(queued, 'forced measurement')} queued")
