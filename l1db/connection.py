"""The one place that connects, and makes sure that the database carries the code this package expects."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from l1db import code, settings
from l1db.errors import DatabaseError

# A server that vanished without a word is given up after a minute.
_KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "connect_timeout": 10,
}
_STOP_INTERVAL = 0.25  # seconds between looks at whether to stop


def connect(dsn: str | None = None, *, application_name: str = "l1db", check: bool = True) -> psycopg.Connection[Any]:
    """Open a connection in autocommit mode.

    Parameters
    ----------
    dsn
        libpq connection string; by default `l1db.settings.dsn`.
    application_name
        How the session shows up in ``pg_stat_activity`` and in batches of alerts.
    check
        Compare the stamp of the stored code with this package's.

    Raises
    ------
    SettingsError
        If no DSN is known, or it is not one.
    DatabaseError
        If the server cannot be reached, or the database is not upgraded to this version of l1db.
    """
    dsn = dsn or settings.dsn()
    settings.parameters(dsn)
    try:
        connection = psycopg.connect(dsn, autocommit=True, fallback_application_name=application_name)
    except psycopg.OperationalError as error:
        raise no_connection(error) from error
    connection.execute("set search_path = l1, l1_api, public")
    connection.execute("set datestyle = iso")  # psycopg reads no other
    connection.execute("set client_encoding = 'UTF8'")  # what binary COPY is spelled in here
    connection.execute("set extra_float_digits = 1")  # a login may be set to see numbers rounded
    if check:
        try:
            _check_stamp(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def _check_stamp(connection: psycopg.Connection[Any]) -> None:
    found = code.installed_stamp(connection)
    if found is None:
        raise DatabaseError(
            f"database {connection.info.dbname} has no l1db code: run `l1db init` for a new one, `l1db upgrade` else"
        )
    if found != code.stamp():
        raise DatabaseError(
            f"database {connection.info.dbname} carries {found[:30]}..., this package is {code.stamp()[:30]}...: "
            "run `l1db upgrade`"
        )


def no_connection(error: psycopg.OperationalError) -> DatabaseError:
    """What to raise where the server cannot be reached."""
    why = one_line(error).removeprefix("connection failed: ")
    return DatabaseError(f"cannot connect to the database: {why}{remedy(error)}")


def remedy(error: psycopg.OperationalError) -> str:
    """What to do about a connection that failed, to stand at the end of a line; empty if nobody knows."""
    text = str(error)
    if 'database "' in text and "does not exist" in text:
        return ": run `l1db init`"
    if "Connection refused" in text or "No such file or directory" in text:
        return ": start the server (`make setup` in a checkout), or point L1DB_DSN at another"
    return ""


def one_line(error: BaseException) -> str:
    """The first line of a database error, with its hint."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        hint = f". {error.diag.message_hint}" if error.diag.message_hint else ""
        return error.diag.message_primary + hint
    return str(error).strip().partition("\n")[0]


def patient_dsn(dsn: str) -> str:
    """A connection string for those who wait long: a server that vanished shows itself, what the string says stands."""
    return make_conninfo("", **{**_KEEPALIVE, **settings.parameters(dsn)})


def await_doorbell(connection: psycopg.Connection[Any], seconds: float, stop: threading.Event) -> None:
    """Wait until a notification comes on any channel listened to, and take all that came at once."""
    until = time.monotonic() + seconds
    while not stop.is_set() and (left := until - time.monotonic()) > 0:
        if any(True for _ in connection.notifies(timeout=min(left, _STOP_INTERVAL), stop_after=1)):
            for _ in connection.notifies(timeout=0):
                pass
            return
