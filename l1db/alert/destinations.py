"""The destinations of packets, as rows of the database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
from psycopg import sql

from l1db.alert.transports import Destination
from l1db.connection import one_line
from l1db.errors import InputError

# A selection that takes longer for one batch of alerts is refused.
_SELECTION_TIMEOUT = "10s"


class UndecidableError(InputError):
    """A selection fails on what an alert says, as by a division by zero."""


@dataclass(frozen=True)
class Row:
    """A row of ``l1.destination``: the destination, and what goes there."""

    destination: Destination
    selection: str | None
    is_enabled: bool


def find(connection: psycopg.Connection[Any], names: Sequence[str] = ()) -> list[Row]:
    """The destinations named, or all there are.

    Raises
    ------
    psycopg.Error
        If one does not exist; it lists those that do.
    """
    for name in names:
        connection.execute("select l1_api.require_destination(%s)", (name,))
    rows = connection.execute(
        "select destination, kind, format, settings, selection, is_enabled from l1.destination"
        " where removed_at is null and (%(names)s::text[] = '{}' or destination = any (%(names)s))"
        " order by destination",
        {"names": list(names)},
    ).fetchall()
    return [Row(Destination(*row[:4]), row[4], row[5]) for row in rows]


def add(
    connection: psycopg.Connection[Any],
    destination: Destination,
    *,
    selection: str | None = None,
    give_up_after: timedelta = timedelta(days=7),
    start: str = "now",
) -> None:
    """Make a destination known, after a look at its selection.

    Raises
    ------
    InputError
        If the selection is no condition on ``alert_candidate``.
    psycopg.Error
        If the database refuses it.
    """
    if selection is not None:
        check_selection(connection, selection)
    connection.execute(
        "select l1_api.add_destination(%s, %s, %s, %s::jsonb, %s, %s, %s)",
        (
            destination.name,
            destination.kind,
            destination.format,
            json.dumps(dict(destination.settings)),
            selection,
            give_up_after,
            start,
        ),
    )


def change(connection: psycopg.Connection[Any], name: str, changes: Mapping[str, Any]) -> None:
    """Change settings, selection, give_up_after (text) or is_enabled of a destination."""
    if changes.get("selection"):
        check_selection(connection, changes["selection"])
    connection.execute("select l1_api.change_destination(%s, %s::jsonb)", (name, json.dumps(dict(changes))))


def check_selection(connection: psycopg.Connection[Any], selection: str) -> None:
    """Raise InputError if a selection is not one SQL condition on ``alert_candidate``, tried on the newest alert."""
    newest = connection.execute("select alert_id from l1.alert order by alert_id desc limit 1").fetchall()
    select(connection, selection, [alert_id for (alert_id,) in newest])


def select(connection: psycopg.Connection[Any], selection: str, alert_ids: Sequence[int]) -> set[int]:
    """Which of some alerts meet a selection.

    It is the word of whoever may add destinations, and run with the rights of whoever may publish: as one expression,
    in a transaction that reads only, and not for long.

    Raises
    ------
    UndecidableError
        If it fails on the values of an alert.
    InputError
        If it fails.
    """
    # Whatever leaves the parentheses, sees these alerts only.
    statement = sql.SQL(
        "with candidate as materialized (select * from l1_api.alert_candidate where alert_id = any (%s))"
        " select candidate.alert_id from candidate where (\n{}\n)"
    )
    try:
        # Rolled back: what a selection sets for the session, is gone with it.
        with connection.transaction(force_rollback=True):
            connection.execute("set transaction read only")
            connection.execute(sql.SQL("set local statement_timeout = {}").format(_SELECTION_TIMEOUT))
            # As a prepared statement, which is one statement only.
            rows = connection.execute(
                statement.format(sql.SQL(selection.replace("%", "%%"))),
                (list(alert_ids),),
                prepare=True,
            ).fetchall()
    except psycopg.DataError as error:
        raise UndecidableError(f"the selection {selection!r} fails: {one_line(error)}") from None
    except psycopg.OperationalError as error:
        if connection.closed:
            raise
        raise InputError(f"the selection {selection!r} fails: {one_line(error)}") from None
    except psycopg.Error as error:
        raise InputError(f"the selection {selection!r} fails: {one_line(error)}") from None
    return {alert_id for (alert_id,) in rows}
