"""What the commands write to: results on standard output, progress and remarks on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

Report = Callable[[str, int, int], None]

_WIDE = 160  # columns where there is no terminal to ask
_PATIENCE = 1.0  # seconds before a bar shows up
_INTERVAL = 10.0  # seconds between lines where there is no terminal
_WORDS = {
    "read": ("reading", "files"),
    "ingest": ("ingesting", "detectors"),
    "maintain": ("measuring", "objects"),
    "check": ("checking", "pieces"),
    "images": ("reading images", "detectors"),
    "simulate": ("simulating", "detectors"),
}


def output() -> Console:
    """Standard output, whatever its width."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)


def count(number: int, thing: str, things: str | None = None) -> str:
    """A number and what it is of: ``1 source``, ``2 sources``."""
    return f"{number} {thing if number == 1 else things or f'{thing}s'}"


def remark(line: str) -> None:
    """One line beside the results."""
    print(f"l1db: {line}", file=sys.stderr)


@contextmanager
def progress() -> Iterator[Report]:
    """Something to call as ``report(stage, done, total)``: a bar on a terminal, a line now and then elsewhere."""
    console = Console(stderr=True)
    begun = last = time.monotonic()
    if not console.is_terminal:

        def tell(stage: str, done: int, total: int) -> None:
            nonlocal last
            if (now := time.monotonic()) - last >= _INTERVAL:
                last = now
                doing, things = _WORDS.get(stage, (stage, ""))
                remark(f"{doing}: {done} of {total} {things}".rstrip())

        yield tell
        return

    bars: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as display:
        display.stop()

        def draw(stage: str, done: int, total: int) -> None:
            if time.monotonic() - begun < _PATIENCE:
                return
            if not display.live.is_started:
                display.start()
            if stage not in bars:
                bars[stage] = display.add_task(_WORDS.get(stage, (stage,))[0], total=total)
            display.update(bars[stage], completed=done, total=total)

        yield draw


@contextmanager
def waiting(doing: str) -> Iterator[None]:
    """A spinner on a terminal; nothing elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(doing):
        yield


def table(
    headers: Sequence[str], rows: Sequence[Sequence[Any]], title: str | None = None, *, prose: str | None = None
) -> Table:
    """Rows below headers, numbers to the right; only the column ``prose`` may be broken into lines."""
    made = Table(box=None, title=title, title_justify="left", title_style="bold", header_style="dim", pad_edge=False)
    for i, header in enumerate(headers):
        numbers = all(isinstance(row[i], int | float) for row in rows if row[i] is not None)
        made.add_column(
            header, justify="right" if numbers and rows else "left", no_wrap=header != prose, overflow="fold"
        )
    for row in rows:
        made.add_row(*(Text("" if value is None else str(value)) for value in row))  # brackets are no markup
    return made
