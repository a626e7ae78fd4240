"""The day's work: partitions for the nights to come, and the statistics and motions that the nights left to the day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

from l1db.connection import connect

# Objects per transaction: their sky is closed to ingests for about a second.
CHUNK = 1000
CHUNK_OF_MOTIONS = 200  # which read all epochs of years

# Of each task: objects that are due, and what measures the next of them.
_LIGHT_CURVES = (
    """
    select count(distinct b.dia_object_id)
      from l1.dia_object_band b
     where b.daily_ndata is distinct from b.psf_flux_ndata
    """,
    "select l1_api.measure_by_day(%s::integer)",
)
_MOTIONS = (
    "select count(*) from l1.dia_object o where o.motion_is_due",
    "select l1_api.measure_motions(%s::integer)",
)


@dataclass(frozen=True)
class Maintained:
    """What was done: times that partitions were made, objects whose light curves were measured, and whose motions."""

    n_partitions: int
    n_objects: int
    n_motions: int


def maintain(dsn: str | None = None, *, report: Callable[[str, int, int], None] | None = None) -> Maintained:
    """Do the day's work, in short transactions beside running ingests.

    It may be stopped anywhere and started again; what is done stays done, and nothing is done twice.

    Parameters
    ----------
    dsn
        libpq connection string; by default `l1db.settings.dsn`.
    report
        Called as ``report("maintain", objects done, objects due)``.

    Raises
    ------
    SettingsError, DatabaseError
        As `l1db.connection.connect`.
    """
    with connect(dsn, application_name="l1db maintain") as connection:
        partitions = _number(connection.execute("select l1_api.prepare_nights()"))
        due = [_number(connection.execute(count)) for count, _ in (_LIGHT_CURVES, _MOTIONS)]
        done = [0, 0]
        for task, ((_, measure), size) in enumerate(((_LIGHT_CURVES, CHUNK), (_MOTIONS, CHUNK_OF_MOTIONS))):
            while done[task] < due[task]:  # what ingests make due meanwhile waits for the next run
                chunk = _number(connection.execute(measure, (size,)))
                if not chunk:
                    break
                done[task] += chunk
                if report:
                    report("maintain", min(sum(done), sum(due)), sum(due))
    return Maintained(partitions, *done)


def _number(cursor: psycopg.Cursor[tuple[Any, ...]]) -> int:
    row = cursor.fetchone()
    return row[0] if row else 0
