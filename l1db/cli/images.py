"""``l1db images``: images that come after the sources."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from l1db import settings
from l1db.cli import terminal
from l1db.client import Client

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
    """Make the images of a table known, and queue the forced measurements that were not made for want of them.

    All images are read first; if one cannot be used, none is made known.
    """
    from l1db.late_images import add_table
    from l1db.tables import read_visits

    visits = read_visits(table)
    with Client(settings.dsn()) as client, terminal.progress() as report:
        added = add_table(client, visits, report)
    if visits.warning:
        terminal.remark(visits.warning)
    count = terminal.count
    print(
        f"images of {count(added.n_detectors, 'detector')} are known; "
        f"{count(added.n_queued, 'forced measurement')} queued"
    )
