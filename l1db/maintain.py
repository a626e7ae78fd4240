"""The day's work: partitions for the nights to come, and the statistics that the nights left to the day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from l1db.connection import connect

# Objects per transaction: their sky is closed to ingests for about a second.
CHUNK = 1000

_DUE = """
    select count(distinct b.dia_object_id)
      from l1.dia_object_band b
     where b.daily_ndata is distinct from b.psf_flux_ndata
"""


@dataclass(frozen=True)
class Maintained:
    """What was done: times that partitions were made, and objects whose light curves were measured."""

    n_partitions: int
    n_objects: int


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
        partitions = connection.execute("select l1_api.prepare_nights()").fetchone()
        row = connection.execute(_DUE).fetchone()
        due = row[0] if row else 0
        done = 0
        while done < due:  # what ingests make due meanwhile waits for the next run
            chunk = connection.execute("select l1_api.measure_by_day(%s::integer)", (CHUNK,)).fetchone()
            if not chunk or not chunk[0]:
                break
            done += chunk[0]
            if report:
                report("maintain", min(done, due), due)
    return Maintained(partitions[0] if partitions else 0, done)
