"""The one place that reads settings: which database l1db talks to, and where the archive of cutouts is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from l1db.errors import SettingsError


def dsn() -> str:
    """The database to use, as a libpq connection string.

    ``L1DB_DSN`` if set; else what ``make setup`` wrote to ``.l1db/dsn`` in this directory or one above it.

    Raises
    ------
    SettingsError
        If neither says.
    """
    if found := os.environ.get("L1DB_DSN", "").strip():
        return found
    for directory in (Path.cwd(), *Path.cwd().parents):
        file = directory / ".l1db" / "dsn"
        if file.is_file():
            return file.read_text().strip()
    raise SettingsError("no database: set L1DB_DSN to a libpq connection string, or run `make setup` in a checkout")


def archive() -> str:
    """The archive of cutouts: a directory, or a URI that fsspec opens.

    ``L1DB_ARCHIVE`` if set; else ``.l1db/archive`` in the checkout that was set up, here or above.  All who publish
    from one database need the same.

    Raises
    ------
    SettingsError
        If neither says.
    """
    if found := os.environ.get("L1DB_ARCHIVE", "").strip():
        return found
    for directory in (Path.cwd(), *Path.cwd().parents):
        if (directory / ".l1db").is_dir():
            return str(directory / ".l1db" / "archive")
    raise SettingsError("no archive of cutouts: set L1DB_ARCHIVE to a directory that all publishers share, or to a URI")


def parameters(dsn: str) -> dict[str, Any]:
    """The parameters that a connection string spells out, by libpq's names.

    Raises
    ------
    SettingsError
        If it is not a connection string.
    """
    try:
        return dict(conninfo_to_dict(dsn))
    except psycopg.ProgrammingError as error:
        why = str(error).strip().partition("\n")[0]
        raise SettingsError(
            f"the DSN is not a libpq connection string ({why}): write 'host=... dbname=...' or postgresql://host/dbname"
        ) from error
