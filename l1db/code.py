"""The stored code of schema ``l1_api``: where its files are, and how it is installed, stamped and removed.

Code is not versioned by revisions.  An upgrade that reaches the newest revision removes all of it first and installs
the files of ``sql/`` afterwards, in the same transaction.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.metadata import version
from pathlib import Path

import psycopg
from psycopg import sql

_PACKAGE = Path(__file__).parent


def part(name: str) -> Path:
    """Directory ``sql`` or ``migrations``: inside an installed package, or at the top of a checkout."""
    packaged = _PACKAGE / f"_{name}"
    return packaged if packaged.is_dir() else _PACKAGE.parent / name


def files() -> list[Path]:
    """The files of the stored code in order of installation."""
    listing = (part("sql") / "install.sql").read_text()
    return [part("sql") / name for name in re.findall(r"^\\ir (\S+)$", listing, re.MULTILINE)]


@cache
def stamp() -> str:
    """Version and hash of the code in this package, as the comment on schema ``l1_api`` carries it."""
    digest = hashlib.sha256()
    for file in files():
        digest.update(file.relative_to(part("sql")).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return f"l1db {version('l1db')} sha256:{digest.hexdigest()}"


def installed_stamp(connection: psycopg.Connection) -> str | None:
    """Stamp of the code in the database; None without code."""
    row = connection.execute(
        "select obj_description(n.oid, 'pg_namespace') from pg_namespace n where n.nspname = 'l1_api'"
    ).fetchone()
    return row[0] if row else None


def install(connection: psycopg.Connection) -> None:
    """Install the code in the open transaction.  `remove` must have come before."""
    connection.execute("create schema l1_api")
    connection.execute("comment on schema l1_api is 'l1db code being installed'")
    connection.execute("set local check_function_bodies = off")
    for file in files():
        try:
            connection.execute(file.read_bytes())
        except psycopg.Error as error:
            error.add_note(f"in {file.relative_to(part('sql').parent)}")
            raise
    connection.execute(sql.SQL("comment on schema l1_api is {}").format(stamp()))


# Triggers first, then views, newest first, then functions; RESTRICT throughout, so that a user's own view that hangs on
# ours stops the upgrade by name instead of vanishing.
_OWN_OBJECTS = """
    select format('drop trigger %I on %s', t.tgname, t.tgrelid::regclass)
      from pg_trigger t
      join pg_proc p on p.oid = t.tgfoid
     where p.pronamespace = 'l1_api'::regnamespace
       and not t.tgisinternal
       and t.tgparentid = 0
    union all
    (select format('drop view %s', c.oid::regclass)
       from pg_class c
      where c.relnamespace = 'l1_api'::regnamespace
        and c.relkind = 'v'
      order by c.oid desc)
    union all
    (select format('drop routine %s', p.oid::regprocedure)
       from pg_proc p
      where p.pronamespace = 'l1_api'::regnamespace
      order by p.oid desc)
"""


def remove(connection: psycopg.Connection) -> None:
    """Remove all code in the open transaction."""
    if installed_stamp(connection) is None and not connection.execute("select to_regnamespace('l1_api')").fetchone()[0]:  # type: ignore[index]
        return
    for (statement,) in connection.execute(_OWN_OBJECTS).fetchall():
        connection.execute(statement)
    connection.execute("drop schema l1_api")
