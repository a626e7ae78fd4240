"""``l1db correct``: withdrawing, moving and merging what is stored, and undoing that."""

from __future__ import annotations

import getpass
import json
from datetime import datetime
from typing import Annotated

import typer

from l1db.cli import terminal
from l1db.connection import connect
from l1db.corrections import Correction

app = typer.Typer(
    help="Correct what is stored.  Each correction is one transaction that is recorded, and can be undone.",
    no_args_is_help=True,
)

Sources = Annotated[list[int], typer.Argument(metavar="DIA_SOURCE_ID...", help="DiaSources.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept with the correction.")]
Operator = Annotated[
    str | None,
    typer.Option("--operator", help="Who makes it; by default your name on this machine.", show_default=False),
]


@app.command()
def withdraw_sources(dia_source_ids: Sources, reason: Reason, operator: Operator = None) -> None:
    """Withdraw DiaSources; their objects are measured anew, or retired if they have no detection left."""
    from l1db import corrections

    _tell(corrections.withdraw_sources(dia_source_ids, reason=reason, operator=_name(operator)))


@app.command()
def withdraw_detectors(
    visit: Annotated[int, typer.Argument(help="Visit.")],
    detectors: Annotated[list[int], typer.Argument(help="Its detectors.")],
    reason: Reason,
    operator: Operator = None,
) -> None:
    """Withdraw all that is stored of some detectors of a visit.  They can be ingested again."""
    from l1db import corrections

    _tell(corrections.withdraw_detectors(visit, detectors, reason=reason, operator=_name(operator)))


@app.command()
def withdraw_visit(
    visit: Annotated[int, typer.Argument(help="Visit.")], reason: Reason, operator: Operator = None
) -> None:
    """Withdraw all that is stored of a visit.  It can be ingested again."""
    from l1db import corrections

    _tell(corrections.withdraw_detectors(visit, reason=reason, operator=_name(operator)))


@app.command()
def move_sources(
    to: Annotated[str, typer.Argument(metavar="DIA_OBJECT_ID", help="The DiaObject that gets them, or `new`.")],
    dia_source_ids: Sources,
    reason: Reason,
    operator: Operator = None,
) -> None:
    """Give DiaSources to another DiaObject, or to a new one.  Moving them back undoes it."""
    from l1db import corrections

    if to != "new" and not to.isdecimal():
        raise typer.BadParameter(f"{to!r} is no DiaObject; give its id, or `new`")
    target = None if to == "new" else int(to)
    _tell(corrections.move_sources(dia_source_ids, target, reason=reason, operator=_name(operator)))


@app.command()
def merge_objects(
    into: Annotated[int, typer.Argument(metavar="INTO", help="The DiaObject that remains.")],
    dia_object_ids: Annotated[list[int], typer.Argument(metavar="DIA_OBJECT_ID...", help="Those that end.")],
    reason: Reason,
    operator: Operator = None,
) -> None:
    """Make DiaObjects part of another; their ids lead to it."""
    from l1db import corrections

    _tell(corrections.merge_objects(dia_object_ids, into, reason=reason, operator=_name(operator)))


@app.command()
def undo(
    correction_id: Annotated[int, typer.Argument(help="The correction.")], reason: Reason, operator: Operator = None
) -> None:
    """Undo a correction, if nothing that it changed has changed since."""
    from l1db import corrections

    _tell(corrections.undo(correction_id, reason=reason, operator=_name(operator)))


@app.command(name="list")
def list_() -> None:
    """The corrections that were made."""
    from l1db import corrections

    headers = ("correction", "when", "what", "sources", "objects", "retired", "by", "why")
    rows = [
        (c.correction_id, f"{c.stamp:%Y-%m-%d %H:%M:%S}", c.kind + (f" {c.undoes}" if c.undoes else ""), c.n_sources,
         c.n_objects, c.n_retired, c.operator, c.reason)
        for c in corrections.corrections()
    ]  # fmt: skip
    terminal.output().print(terminal.table(headers, rows, prose="why") if rows else "no corrections")


@app.command()
def coincident(
    radius: Annotated[float, typer.Option(min=0.0, max=20.0, help="Arcsec.")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per pair.")] = False,
) -> None:
    """Report DiaObjects that lie within a radius of each other, and propose merges.  Nothing is merged."""
    with connect(application_name="l1db correct") as connection, terminal.waiting("looking"):
        cursor = connection.execute("select * from l1_api.coincident_objects(%s) order by separation", (radius,))
        names = [column.name for column in cursor.description or ()]
        rows = cursor.fetchall()
    if as_json:
        for row in rows:
            pair = dict(zip(names, row, strict=True))
            print(json.dumps(pair | {name: str(pair[name]) for name in ("dia_object_id", "into_id")}))
        return
    headers = ("object", "into", "arcsec", "sources", "into's", "visits of both", "as two")
    shown = [(str(a), str(b), f"{separation:.2f}", *rest) for a, b, separation, *rest, _ in rows]
    console = terminal.output()
    console.print(terminal.table(headers, shown) if rows else f"no DiaObjects within {radius:g} arcsec of each other")
    if any(row[-1] for row in rows):
        console.print("to merge a pair: l1db correct merge-objects INTO OBJECT --reason WHY", soft_wrap=True)


@app.command()
def updates(
    since: Annotated[
        str | None,
        typer.Option(
            help="Only after this: an update_time_ns, or database time in ISO 8601 with time zone.", show_default=False
        ),
    ] = None,
) -> None:
    """Print Rubin's update records for stores downstream, one JSON object per line."""
    from l1db import corrections

    for record in corrections.update_records(_time(since)):
        print(json.dumps(record))


def _time(given: str | None) -> datetime | int | None:
    if given is None:
        return None
    if given.isdecimal() and len(given) > 8:
        return int(given)
    try:
        when = datetime.fromisoformat(given)
    except ValueError:
        raise typer.BadParameter(f"{given!r} is no time, as 2026-11-23T04:00:00Z is") from None
    if when.tzinfo is None:
        raise typer.BadParameter(f"{given!r} has no time zone: add Z for UTC")
    return when


def _name(operator: str | None) -> str | None:
    if operator is not None:
        return operator
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name on this machine: the login stands for it
        return None


def _tell(done: Correction) -> None:
    count = terminal.count
    print(
        f"correction {done.correction_id}: {count(done.n_sources, 'source')} changed, "
        f"{count(done.n_objects, 'object')} measured anew, {done.n_retired} retired"
    )
