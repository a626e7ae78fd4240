"""What is in the tables, in a form that can be compared."""

from __future__ import annotations

import psycopg
from psycopg import sql


def tables(connection: psycopg.Connection) -> list[str]:
    """The tables of schema l1, partitioned ones whole."""
    rows = connection.execute(
        "select relname from pg_class where relnamespace = 'l1'::regnamespace and relkind in ('r', 'p')"
        " and not relispartition order by relname"
    ).fetchall()
    return [name for (name,) in rows]


def fingerprint(connection: psycopg.Connection) -> dict[str, tuple[int, str | None]]:
    """Number of rows and MD5 of all values, for each table."""
    found = {}
    for name in tables(connection):
        query = sql.SQL("select count(*), md5(string_agg(t::text, E'\\n' order by t::text)) from l1.{} t")
        row = connection.execute(query.format(sql.Identifier(name))).fetchone()
        assert row is not None
        found[name] = (row[0], row[1])
    return found


def counts(connection: psycopg.Connection) -> dict[str, int]:
    """Number of rows of each table."""
    return {name: n for name, (n, _) in fingerprint(connection).items()}
