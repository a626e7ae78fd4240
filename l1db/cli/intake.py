"""``l1db ingest`` and ``l1db replay``: files in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from l1db import settings
from l1db.cli import terminal
from l1db.client import Client, Mode
from l1db.errors import SettingsError

if TYPE_CHECKING:
    from l1db.ingest import RunResult


def ingest(
    sources: Annotated[list[Path], typer.Argument(help="Tables with a row per DiaSource: Parquet, FITS, ECSV, CSV.")],
    visits: Annotated[
        Path | None, typer.Option(metavar="TABLE", help="Table with a row per visit and detector.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Connections at work at once, each on a detector.")] = 1,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse unknown columns, of TABLE too.")] = False,
    skip_bad: Annotated[
        bool,
        typer.Option(
            "--skip-bad", help="File unusable rows into INPUT.rejects.ecsv (INPUT with its suffix) and store the rest."
        ),
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Withdraw what is stored of these detectors.")] = False,
    supplement: Annotated[bool, typer.Option("--supplement", help="Add to what is stored; skip known ids.")] = False,
    release: Annotated[bool, typer.Option("--release", help="Redo detectors that the breaker stopped.")] = False,
) -> None:
    """Take tables of DiaSources in: associated, versioned and announced.

    A visit is one transaction; with several workers a detector is.  The same data again change nothing.
    """
    from l1db.ingest import ingest_files

    chosen: list[Mode] = []
    if replace:
        chosen.append("replace")
    if supplement:
        chosen.append("supplement")
    if release:
        chosen.append("release")
    if len(chosen) > 1:
        raise SettingsError(f"--{chosen[0]} and --{chosen[1]} exclude each other: keep one")
    dsn = settings.dsn()
    with Client(dsn) as client:  # rather refused now than after all files were read
        bands = client.survey.bands
    with terminal.progress() as report:
        result = ingest_files(
            lambda: Client(dsn),
            sources,
            visits=visits,
            mode=chosen[0] if chosen else "new",
            workers=workers,
            strict=strict,
            skip_bad=skip_bad,
            bands=bands,
            progress=report,
        )
    _tell(result)


def replay(
    files: Annotated[list[Path], typer.Argument(help="Alert packets of ZTF or Rubin (Avro), or directories of them.")],
    schema: Annotated[
        Path | None, typer.Option(help="Alert schema, or a directory of them, for Rubin's packets off the wire.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Connections at work at once, each on a detector.")] = 1,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out files and sources that are no use.")] = False,
) -> None:
    """Take alert packets in: every DiaSource once, previous ones too.  The same packets again change nothing."""
    from l1db.replay import replay_files

    dsn = settings.dsn()
    Client(dsn).close()
    with terminal.progress() as report:
        result = replay_files(
            lambda: Client(dsn), files, schema=schema, workers=workers, skip_bad=skip_bad, progress=report
        )
    _tell(result)


def _tell(result: RunResult) -> None:
    for warning in result.warnings:
        terminal.remark(warning)
    if result.image_troubles:
        terminal.remark(_images_in_trouble(result.image_troubles))
    statuses = ", ".join(f"{n} {status}" for status, n in sorted(result.by_status().items()))
    count = terminal.count
    new = (
        f"{count(result.n_sources, 'source')}, {count(result.n_new_objects, 'new object')}, "
        f"{count(result.n_alerts, 'alert')}, {count(result.n_forced, 'forced flux', 'forced fluxes')} stored and "
        f"{result.n_forced_queued} queued"
    )
    print(
        f"{count(result.n_visits, 'visit')}, {count(result.n_detectors, 'detector')} ({statuses or 'nothing to do'}): "
        f"{'nothing new' if set(result.by_status()) == {'unchanged'} else new}"
    )
    if result.rejects:
        them = "it" if result.n_rejected == 1 else "them"
        print(
            f"{count(result.n_rejected, 'unusable row')} set aside to {', '.join(map(str, result.rejects))}: "
            f"correct {them} in the input and ingest it again with --replace"
        )
    elif result.n_rejected:
        print(f"{count(result.n_rejected, 'unusable row')} set aside")


def _images_in_trouble(troubles: Sequence[tuple[int, int, str]]) -> str:
    """The first detector whose images could not be measured, with the reason, and how many others there are."""
    visit, detector, why = troubles[0]
    others = f"; likewise on {terminal.count(len(troubles) - 1, 'other detector')}" if len(troubles) > 1 else ""
    return f"visit {visit}, detector {detector}: its images were not measured: {why}{others} (see: l1db status)"
