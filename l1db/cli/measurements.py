"""``l1db demo`` and ``l1db bench``: seeing it work, and measuring it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from l1db import settings

bench = typer.Typer(help="Measure, in a database of its own beside that of L1DB_DSN.", no_args_is_help=True)


@bench.callback()
def _bench() -> None:
    """Keeps ``visit`` a command of its own while it is the only one."""


@bench.command()
def visit(
    objects: Annotated[int, typer.Option(min=1, help="Live DiaObjects at the start, two epochs each.")] = 1_000_000,
    area: Annotated[float, typer.Option(help="Square degrees over which they lie.")] = 100.0,
    visits: Annotated[int, typer.Option(min=1, help="Visits to measure.")] = 5,
    sources: Annotated[int, typer.Option(min=2, help="DiaSources per visit, half of them new.")] = 10_000,
    forced: Annotated[int, typer.Option(min=0, help="Forced measurements in each of further visits, about.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Sessions that share the detectors of a visit.")] = 2,
    seed: Annotated[int, typer.Option(help="Of the random numbers.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Seconds per phase of a visit, beside the bare COPY of its rows."""
    from l1db.bench import run

    run(
        settings.dsn(),
        objects=objects,
        area=area,
        visits=visits,
        sources=sources,
        forced=forced,
        workers=workers,
        seed=seed,
        as_json=as_json,
    )


def demo(
    alerts: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Replay real packets of ZTF or Rubin instead.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where the images and the picture go: 130 MB.  By default .l1db/demo of the checkout, or ./l1db-demo.",
        ),
    ] = None,
) -> None:
    """Three small nights, from pixels to alerts, in a database of its own: a light curve with cutouts, versions."""
    from l1db.demo import run

    run(settings.dsn(), alerts, output=output)
