"""``l1db check --deep``: what holds in a sound database, held against all that is in one.

Each promise is a function ``l1_api.broken_...`` that lists what breaks it; ``l1_api.invariant`` lists the functions.
Here they are called one after the other, in pieces, in one snapshot: what running ingests do meanwhile is not seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import psycopg
from psycopg import sql

from l1db.connection import connect
from l1db.errors import InputError

# Size on disk of what one piece reads of the objects' sources: some 10^6 sources, a few seconds.
PIECE_BYTES = 2**29

_LAST_ID = 2**63 - 1
_SIZE = """
    select coalesce(sum(pg_relation_size(c.oid)), 0)::bigint
      from pg_class c
     where c.relnamespace = 'l1'::regnamespace
       and c.relkind = 'r'
       and c.relname ~ '^dia_(source|object)'
"""
# A sample of some hundred ids a piece tells where to cut, without reading the table.
_CUTS = """
    select percentile_disc(%(shares)s::double precision[]) within group (order by o.dia_object_id)
      from l1.dia_object o tablesample system (%(percent)s) repeatable (1)
"""
_LEAVES = """
    select distinct substring(pg_get_expr(c.relpartbound, c.oid) from $$FROM \\('?([^')]+)$$)::double precision as lower
      from pg_inherits i
      join pg_class c
        on c.oid = i.inhrelid
     where i.inhparent in ('l1.dia_source'::regclass, 'l1.alert'::regclass)
     order by lower
"""
# Found all at once and kept apart, on disk where they are many: a count, and the first of them.
_LOOK = """
    with found as materialized (
        select f.thing, f.id, f.found from l1_api.{}({}) as f
    )
    select (select count(*) from found), f.thing, f.id, f.found from found f limit {}
"""
_SETTINGS = (
    "set local jit = off",
    "set local work_mem = '128MB'",
    "set local plan_cache_mode = force_custom_plan",
    # Set against set: where statistics lack, the planner would look up each row.
    "set local enable_nestloop = off",
)


@dataclass(frozen=True)
class Invariant:
    """A promise, and how it is looked at: ``objects`` and ``nights`` in pieces, ``all`` at once."""

    name: str
    promise: str
    taken_by: str


@dataclass
class Verdict:
    """What was found of one invariant.

    Attributes
    ----------
    n_found
        How often it is broken.
    examples
        The first of these, in words.
    seconds
        How long it took to look.
    """

    invariant: Invariant
    n_found: int = 0
    examples: list[str] = field(default_factory=list)
    seconds: float = 0.0


def check_deep(
    dsn: str | None = None,
    *,
    only: Sequence[str] = (),
    limit: int = 10,
    report: Callable[[str, int, int], None] | None = None,
) -> Iterator[Verdict]:
    """Hold the whole database against its promises, in one snapshot; reading is all it does.

    Parameters
    ----------
    dsn
        libpq connection string; by default `l1db.settings.dsn`.  Its login needs role ``l1_read``.
    only
        Names of the invariants to look at; all by default.
    limit
        Most examples of one invariant.
    report
        Called as ``report("check", pieces done, pieces in all)``.

    Yields
    ------
    Verdict
        One for each invariant.

    Raises
    ------
    InputError
        If there is no invariant of a given name.
    SettingsError, DatabaseError
        As `l1db.connection.connect`.
    """
    with connect(dsn, application_name="l1db check") as connection, connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        yield from verdicts(connection, only=only, limit=limit, report=report)


def verdicts(
    connection: psycopg.Connection[Any],
    *,
    only: Sequence[str] = (),
    limit: int = 10,
    report: Callable[[str, int, int], None] | None = None,
    piece_bytes: int = PIECE_BYTES,
) -> Iterator[Verdict]:
    """As `check_deep`, in the open transaction of a connection."""
    wanted = _wanted(connection, only)
    pieces: dict[str, Sequence[tuple[float, ...]]] = {
        "objects": _object_ranges(connection, piece_bytes),
        "nights": _night_ranges(connection),
        "all": [()],
    }
    total = sum(len(pieces[invariant.taken_by]) for invariant in wanted)
    done = 0
    for setting in _SETTINGS:
        connection.execute(setting)
    for invariant in wanted:
        verdict = Verdict(invariant)
        begun = time.monotonic()
        for piece in pieces[invariant.taken_by]:
            rows = connection.execute(
                sql.SQL(_LOOK).format(
                    sql.Identifier(invariant.name),
                    sql.SQL(", ").join(sql.Literal(end) for end in piece),
                    sql.Literal(max(limit - len(verdict.examples), 1)),
                )
            ).fetchall()
            if rows:
                verdict.n_found += rows[0][0]
                verdict.examples += [
                    f"{thing}: {found}" if number is None else f"{thing} {number}: {found}"
                    for _, thing, number, found in rows
                ][: limit - len(verdict.examples)]
            done += 1
            if report:
                report("check", done, total)
        verdict.seconds = time.monotonic() - begun
        yield verdict


def _wanted(connection: psycopg.Connection[Any], only: Sequence[str]) -> list[Invariant]:
    rows = connection.execute("select name, promise, taken_by from l1_api.invariant order by name").fetchall()
    known = {row[0]: Invariant(*row) for row in rows}
    if unknown := [name for name in only if name not in known]:
        raise InputError(f"there is no invariant {unknown[0]}; there are: {', '.join(known)}")
    return [invariant for name, invariant in known.items() if not only or name in only]


def _object_ranges(connection: psycopg.Connection[Any], piece_bytes: int) -> list[tuple[int, int]]:
    """Ranges of ids, both ends included, that together hold every id and each about as many objects."""
    size = _one(connection, _SIZE)
    n = min(1 + size // piece_bytes, 1000)
    cuts: list[int] = []
    if n > 1:
        percent = min(100.0, max(1.0, 100 * 300 * n / max(size // 1000, 1)))
        shares = [i / n for i in range(1, n)]
        cuts = sorted(set(_one(connection, _CUTS, {"shares": shares, "percent": percent}) or []))
    starts = [-_LAST_ID - 1, *(cut + 1 for cut in cuts)]
    return list(zip(starts, [*cuts, _LAST_ID], strict=True))


def _night_ranges(connection: psycopg.Connection[Any]) -> list[tuple[float, float]]:
    """Half-open ranges of MJD, one for each leaf, that together hold all time."""
    lower = [row[0] for row in connection.execute(_LEAVES).fetchall()]
    ends = [float("-inf"), *lower[1:], float("inf")]
    return list(pairwise(ends))


def _one(connection: psycopg.Connection[Any], query: str, parameters: Any = None) -> Any:
    row = connection.execute(query, parameters).fetchone()
    return row[0] if row else None
