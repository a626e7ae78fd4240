"""``l1db listen``: alerts as they are issued."""

from __future__ import annotations

import json
import shlex
import sys
from typing import Annotated

import typer

from l1db.errors import DatabaseError
from l1db.listen import Alert
from l1db.listen import listen as batches

_NO_CONSUMER = "L1A04"


def listen(
    consumer: Annotated[str, typer.Argument(help="Name of the consumer; it remembers how far it is.")],
    start: Annotated[
        str | None, typer.Option(metavar="now|start|TIME", help="Add the consumer, if it is missing, to begin there.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most alerts in a batch.")] = 1000,
    once: Annotated[bool, typer.Option("--once", help="End when there are no more alerts.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per alert; 64-bit ids are strings.")] = False,
) -> None:
    """Print alerts as they are issued, one line each.

    A batch is acknowledged when all of it was printed; what was not comes again.
    """
    try:
        arriving = batches(consumer, limit=limit, start=start, timeout=0 if once else None)
    except DatabaseError as error:
        if getattr(error.__cause__, "sqlstate", None) != _NO_CONSUMER:
            raise
        line = str(error).removesuffix("Add it with l1_api.add_consumer.")
        raise DatabaseError(f"{line}Add it: l1db listen {shlex.quote(consumer)} --start now") from error
    for batch in arriving:
        for alert in batch:
            print(json.dumps(alert.as_json()) if as_json else _line(alert))
        sys.stdout.flush()


def _line(alert: Alert) -> str:
    where = f"object {alert.dia_object_id}" if alert.ss_object_id is None else f"SSObject {alert.ss_object_id}"
    return (
        f"{alert.stamp.isoformat(timespec='milliseconds')}  alert {alert.alert_id}  {alert.kind}  "
        f"visit {alert.visit}  detector {alert.detector}  MJD {alert.midpoint_mjd_tai:.6f}  "
        f"source {alert.dia_source_id}  {where}"
    )
