"""``l1db night digest`` and ``diff``: whether two nights are the same, and what differs."""

from __future__ import annotations

import itertools
import json
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from l1db import night as nights
from l1db.cli import terminal
from l1db.errors import InputError

app = typer.Typer(help="Digests of nights: whether two runs gave the same, and what differs.", no_args_is_help=True)

_DIFFERENT = 2  # 1 is an error, as everywhere

Day = Annotated[
    datetime, typer.Argument(metavar="DAY", formats=["%Y-%m-%d", "%Y%m%d"], help="The night: day_obs, 2026-11-23.")
]


@app.command()
def digest(
    day: Day,
    dsn: Annotated[str | None, typer.Option(help="Another database than that of L1DB_DSN.")] = None,
    asof: Annotated[
        str | None, typer.Option(help="As the night was known at this database time; by default as it is known now.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep it, detector by detector, for `l1db night diff`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print a hash of a night's inputs, software, rules and results, part by part.

    Two databases that took in the same data in the same order, by the same rules, print the same, whatever ids they
    made and whenever it was. About a minute for a million sources.
    """
    with terminal.waiting("hashing the night"):
        night = nights.digest(dsn, day.date(), asof=asof)
    if save is not None:
        nights.save(night, save)
    if as_json:
        parts = {part: {"n": h.n, "sha256": h.sha256} for part, h in night.parts.items()}
        print(
            json.dumps({"day": night.day.isoformat(), "database": night.database, "code": night.code, "parts": parts})
        )
        return
    rows = [(part, h.n, h.sha256) for part, h in night.parts.items()]
    terminal.output().print(terminal.table(("part", "rows", "sha256"), rows))


@app.command()
def diff(
    day: Day,
    other: Annotated[
        str,
        typer.Option(
            "--with",
            metavar="DSN_OR_FILE",
            help="What to compare with, the old side: another database, or what `l1db night digest --save` wrote.",
        ),
    ],
    dsn: Annotated[str | None, typer.Option(help="Another database than that of L1DB_DSN, the new side.")] = None,
    limit: Annotated[
        int, typer.Option("--rows", min=0, help="Show at most so many places and values of each part.")
    ] = 5,
) -> None:
    """Compare a night in two databases: parts that differ, then visits and detectors, then rows and values, old -> new.

    Rows and values are shown where both sides are databases. Sources are named by their rank on the detector, objects
    by their first source.

    Exit code 0: the nights are equal; 2: they differ; 1: they could not be compared.
    """
    file = Path(other)
    is_file = _is_file(file)
    if not is_file and "=" not in other and "://" not in other:
        raise InputError(f"--with {other}: there is no such file, and it is no connection string")
    with terminal.waiting("hashing the night, here and there"):
        old = nights.load(file) if is_file else nights.digest(other, day.date())
        if old.day != day.date():
            raise InputError(f"{file} is of night {old.day}, not of {day.date()}")
        new = nights.digest(dsn, day.date())
    if old.parts == new.parts:
        print(f"night {new.day} is equal in both: {new.parts['total'].sha256}")
        return

    places: dict[str, list[nights.Place]] = {}
    for place in nights.differing(old, new):
        places.setdefault(place.part, []).append(place)
    console = terminal.output()
    rows = [
        (
            part,
            old.parts[part].n if part in old.parts else None,
            here.n,
            _verdict(part, old, new, len(places.get(part, ()))),
        )
        for part, here in new.parts.items()
    ]
    console.print(terminal.table(("part", "old rows", "new rows", ""), rows, f"night {new.day}"))
    for part, found in places.items() if limit else ():
        more = f" and {len(found) - limit} more" if len(found) > limit else ""
        console.print(f"{part} in {'; '.join(_told(old, new, place) for place in found[:limit])}{more}", soft_wrap=True)
    if is_file:
        terminal.remark("which rows differ is told of two databases only, not of a file")
    for part, found in places.items() if limit and not is_file else ():
        for c in itertools.islice(nights.changes(other, dsn, found), limit):
            was, now = ("none" if value is None else value for value in (c.old, c.new))
            row = f"{c.place}, {_named(part, c.row)}" if c.row else str(c.place)
            column = f"{c.column}: " if c.column else ""
            console.print(f"{part}: {row}: {column}{was} -> {now}", soft_wrap=True, markup=False)
    raise typer.Exit(_DIFFERENT)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # too long for a name: a connection string
        return False


def _verdict(part: str, old: nights.Night, new: nights.Night, n: int) -> str:
    if old.parts.get(part) == new.parts[part]:
        return "equal"
    return f"differs in {terminal.count(n, 'place')}" if n else "differs"


def _told(old: nights.Night, new: nights.Night, place: nights.Place) -> str:
    if place.visit is None:
        return f"{place} ({old.code[:30]}... -> {new.code[:30]}...)"
    if place in old.places and place in new.places:
        return str(place)
    return f"{place} ({'old' if place in old.places else 'new'} only)"


def _named(part: str, row: str) -> str:
    return f"source {row}" if part in ("sources", "associations", "alerts") and row[:1].isdigit() else row
