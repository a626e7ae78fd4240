"""What is the demo's own, and made anew each time: a database, and a directory."""

from __future__ import annotations

from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from l1db import database
from l1db.cli import terminal
from l1db.connection import connect, no_connection, one_line
from l1db.errors import DatabaseError, InputError

# A database that carries this comment, or a directory with it in a file, may be overwritten.
MARK = "l1db demo: dropped and made anew by the next `l1db demo`"
_MARK_FILE = "l1db-demo"
PICTURE = "light_curve.png"


def make_database(dsn: str, name: str, profile: str) -> None:
    """Make the demo's database, empty, in place of an earlier one.

    Parameters
    ----------
    dsn
        Any database on the server.
    name, profile
        Of the database to make, and the survey's rules in it.

    Raises
    ------
    DatabaseError
        If there is a database of that name that is not a demo's.
    """
    try:
        with psycopg.connect(make_conninfo(dsn, dbname="postgres"), autocommit=True) as connection:
            row = connection.execute(
                "select shobj_description(oid, 'pg_database') from pg_database where datname = %s", (name,)
            ).fetchone()
            if row is not None and row[0] != MARK:
                raise DatabaseError(f"database {name} is there and not a demo's: drop or rename it, or change L1DB_DSN")
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
    except psycopg.OperationalError as error:
        raise no_connection(error) from error
    except psycopg.Error as error:
        raise DatabaseError(f"cannot make database {name}: {one_line(error)}") from error
    own = make_conninfo(dsn, dbname=name)
    with terminal.waiting(f"making database {name}"):
        database.init(own, profile, {"name": "demo"})
    with connect(own) as connection:
        connection.execute(sql.SQL("comment on database {} is {}").format(sql.Identifier(name), MARK))


def refuse_directory(directory: Path) -> None:
    """Raise InputError if a directory holds something and is not a demo's; one that is not there is none."""
    try:
        if directory.exists() and not (directory / _MARK_FILE).exists() and any(directory.iterdir()):
            raise InputError(f"{directory}: is not empty and not a demo's; name another directory with --output")
    except OSError as error:
        raise _unusable(directory, error) from None


def make_directory(directory: Path) -> None:
    """Make the demo's directory, if it is not there.

    Raises
    ------
    InputError
        As `refuse_directory`, or if it cannot be written.
    """
    refuse_directory(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / _MARK_FILE).write_text(f"{MARK}\n")
    except OSError as error:
        raise _unusable(directory, error) from None


def forget_picture(directory: Path) -> None:
    """Remove the picture of earlier data from a demo's directory, and nothing from any other."""
    try:
        if (directory / _MARK_FILE).exists():
            (directory / PICTURE).unlink(missing_ok=True)
    except OSError as error:
        raise _unusable(directory, error) from None


def _unusable(directory: Path, error: OSError) -> InputError:
    return InputError(f"{directory}: cannot be used: {error.strerror or error}; name another directory with --output")


def usual_directory() -> Path:
    """``.l1db/demo`` in a checkout that was set up, from anywhere inside it; elsewhere ``l1db-demo``, here."""
    for directory in (Path.cwd(), *Path.cwd().parents):
        if (directory / ".l1db").is_dir():
            return directory / ".l1db" / "demo"
    return Path.cwd() / "l1db-demo"
