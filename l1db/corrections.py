"""Corrections of what is stored: each one transaction, with a reason and who made it.

The work is done by the functions of the same names in the database; see ``sql/README.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import psycopg
from astropy.time import Time
from psycopg.rows import dict_row

from l1db.connection import connect, one_line
from l1db.errors import RefusedError

_DONE = """
    select c.correction_id, c.kind, c.reason, c.operator, c.undoes, c.n_sources, c.n_objects, c.n_retired, c.stamp
      from l1.correction c
"""
_RECORDS = """
    select u.*
      from l1.update_record u
     where u.stamp <= %(upto)s
       and (%(since)s::timestamptz is null or u.stamp > %(since)s)
     order by u.stamp, u.xid, u.update_order
"""


# The arguments of each function, by their types: an id that is none is an error of its own.
_TYPES = {
    "withdraw_sources": ["%s::bigint[]"],
    "withdraw_detectors": ["%s::bigint", "%s::smallint[]"],
    "move_sources": ["%s::bigint[]", "%s::bigint"],
    "merge_objects": ["%s::bigint[]", "%s::bigint"],
    "undo_correction": ["%s::bigint"],
}


@dataclass(frozen=True)
class Correction:
    """A correction as table ``correction`` has it.

    The counts are of DiaSources changed (forced ones too), of DiaObjects measured anew, and of those retired.
    """

    correction_id: int
    kind: str
    reason: str
    operator: str
    undoes: int | None
    n_sources: int
    n_objects: int
    n_retired: int
    stamp: datetime


def withdraw_sources(
    dia_source_ids: Sequence[int], *, reason: str, operator: str | None = None, dsn: str | None = None
) -> Correction:
    """Withdraw DiaSources; their objects are measured anew, or retired if they have no detection left.

    Parameters
    ----------
    dia_source_ids
        The sources, detected or forced.
    reason
        Why; kept with the correction.
    operator
        Who makes it; by default the login.
    dsn
        libpq connection string; by default `l1db.settings.dsn`.

    Raises
    ------
    RefusedError
        If it cannot be done as asked; then nothing was changed.
    SettingsError, DatabaseError
        As `l1db.connection.connect`.
    """
    return _correct("withdraw_sources", [list(dia_source_ids)], reason, operator, dsn)


def withdraw_detectors(
    visit: int,
    detectors: Sequence[int] | None = None,
    *,
    reason: str,
    operator: str | None = None,
    dsn: str | None = None,
) -> Correction:
    """Withdraw all that is stored of some detectors of a visit, or of all.  Parameters else as `withdraw_sources`."""
    given = None if detectors is None else list(detectors)
    return _correct("withdraw_detectors", [visit, given], reason, operator, dsn)


def move_sources(
    dia_source_ids: Sequence[int],
    dia_object_id: int | None,
    *,
    reason: str,
    operator: str | None = None,
    dsn: str | None = None,
) -> Correction:
    """Give DiaSources to another DiaObject, current or retired; None makes a new one.

    Moving them back undoes it.  Parameters else as `withdraw_sources`.
    """
    return _correct("move_sources", [list(dia_source_ids), dia_object_id], reason, operator, dsn)


def merge_objects(
    dia_object_ids: Sequence[int], into: int, *, reason: str, operator: str | None = None, dsn: str | None = None
) -> Correction:
    """Make DiaObjects part of another, to which their ids lead from then on.  Parameters else as `withdraw_sources`."""
    return _correct("merge_objects", [list(dia_object_ids), into], reason, operator, dsn)


def undo(correction_id: int, *, reason: str, operator: str | None = None, dsn: str | None = None) -> Correction:
    """Undo a correction.  Parameters else as `withdraw_sources`."""
    return _correct("undo_correction", [correction_id], reason, operator, dsn)


def corrections(dsn: str | None = None) -> list[Correction]:
    """All corrections, in the order in which they were made."""
    with connect(dsn, application_name="l1db correct") as connection:
        return [Correction(*row) for row in connection.execute(_DONE + " order by c.stamp, c.correction_id")]


def update_records(since: datetime | int | None = None, *, dsn: str | None = None) -> Iterator[dict[str, Any]]:
    """What stores downstream must change in rows that they have, as Rubin's update records.

    Records come in order, and only when none can come before them any more (``safe_asof``): the ``update_time_ns`` of
    the last is where to go on.  A store that follows first takes over all rows with a later ``validity_start``, whether
    their ids are new or known, and then applies the records.

    Parameters
    ----------
    since
        Only of later transactions: database time with time zone, or an ``update_time_ns``.
    dsn
        libpq connection string; by default `l1db.settings.dsn`.

    Yields
    ------
    dict
        ``update_time_ns`` (since 1970 TAI), ``update_order``, and ``update_payload`` with the names of Rubin's
        ``dax_apdb``: ``update_type``, ids as integers, ra and dec [deg], times as MJD TAI [d].
    """
    if isinstance(since, int):
        since = _database_time(since)
    with connect(dsn, application_name="l1db correct") as connection:
        upto = connection.execute("select l1_api.safe_asof()").fetchone()
        with connection.transaction(), connection.cursor("updates", row_factory=dict_row) as cursor:
            cursor.execute(_RECORDS, {"upto": upto and upto[0], "since": since})
            for row in cursor:
                yield _as_rubin(row)


def _as_rubin(row: dict[str, Any]) -> dict[str, Any]:
    mjd, nanoseconds = _tai(row["stamp"])
    kind = row["update_type"]
    payload: dict[str, Any] = {"update_type": kind, "ra": row["ra"], "dec": row["dec"]}
    if kind == "withdraw_diaforcedsource":
        payload |= {"diaObjectId": row["former_dia_object_id"], "visit": row["visit"], "detector": row["detector"]}
        payload |= {"midpointMjdTai": row["midpoint_mjd_tai"], "timeWithdrawnMjdTai": mjd}
    elif row["dia_source_id"] is None:
        payload |= {"diaObjectId": row["dia_object_id"], "nDiaSources": row["n_dia_sources"]}
        if kind == "close_diaobject_validity":
            payload["validityEndMjdTai"] = mjd
    else:
        payload |= {"diaSourceId": row["dia_source_id"], "midpointMjdTai": row["midpoint_mjd_tai"]}
        if kind == "withdraw_diasource":
            payload["timeWithdrawnMjdTai"] = mjd
        elif kind == "reassign_diasource_to_diaobject":
            payload["diaObjectId"] = row["dia_object_id"]
        else:
            payload |= {"ssObjectId": row["ss_object_id"], "ssObjectReassocTimeMjdTai": mjd}
    return {"update_time_ns": nanoseconds, "update_order": row["update_order"], "update_payload": payload}


@lru_cache(maxsize=1)
def _tai(stamp: datetime) -> tuple[float, int]:
    """MJD TAI, and nanoseconds since 1970 TAI, of which the database knows thousands."""
    when = Time(stamp).tai
    return when.mjd, round(when.to_value("unix_tai", subfmt="decimal") * 10**6) * 1000


def _database_time(nanoseconds: int) -> datetime:
    seconds, rest = divmod(nanoseconds, 10**9)
    when = Time(seconds, rest / 1e9, format="unix_tai", precision=6)
    return datetime.fromisoformat(when.utc.isot).replace(tzinfo=UTC)


def _correct(function: str, arguments: list[Any], reason: str, operator: str | None, dsn: str | None) -> Correction:
    placeholders = ", ".join(_TYPES[function])
    with connect(dsn, application_name="l1db correct") as connection:
        try:
            with connection.transaction():
                row = connection.execute(
                    f"select l1_api.{function}({placeholders}, %s, %s)",
                    (*arguments, reason, operator),
                ).fetchone()
        except psycopg.Error as error:
            if (error.sqlstate or "").startswith("L1") or isinstance(error, psycopg.DataError):
                raise RefusedError(one_line(error)) from error
            raise
        assert row is not None
        done = connection.execute(_DONE + " where c.correction_id = %s", row).fetchone()
        assert done is not None
        return Correction(*done)
