"""The digest of a night, and what differs between two: see ``sql/query/night_digest.sql``.

The database hashes; here hashes are kept in files, compared, and what differs is looked up and told.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psycopg

from l1db.connection import connect, one_line
from l1db.errors import DatabaseError, InputError

_FORMAT = "l1db night digest 1"

_HASHES = """
    select h.part, h.visit, h.detector, h.is_whole, h.n, encode(h.sha256, 'hex')
      from l1_api.night_hashes(%s::date, %s::timestamptz) as h
"""

_CODE = "select current_database()::text, obj_description('l1_api'::regnamespace, 'pg_namespace')"

_ROWS = """
    select r.name, r.content, r.dia_object_id
      from l1_api.night_rows(%s::bigint, 'infinity', true) as r
     where r.part = %s
       and r.detector is not distinct from %s::smallint
"""

_FIRST_SOURCE = """
    select n.name, f.visit, f.detector, f.name
      from l1_api.object_names(array[%(id)s::bigint]) as n
     cross join lateral l1_api.first_source(%(id)s::bigint) as f
"""


@dataclass(frozen=True, order=True)
class Place:
    """What a hash is of: a part of a detector, of a visit (detector None) or of the night (visit None, too)."""

    part: str
    visit: int | None
    detector: int | None

    def __str__(self) -> str:
        if self.visit is None:
            return "the stored code of l1db"
        return f"visit {self.visit}" + ("" if self.detector is None else f", detector {self.detector}")


@dataclass(frozen=True)
class Hash:
    """A number of rows, and the SHA-256 of them in hexadecimal digits."""

    n: int
    sha256: str


@dataclass(frozen=True)
class Night:
    """The digest of a night.

    Attributes
    ----------
    day
        The night, as ``day_obs``.
    database, code
        The database's name, and the version and hash of its stored code.
    parts
        The digest proper: a hash for each part, for ``results`` and for ``total``.
    places
        The hashes that these are made of.
    """

    day: date
    database: str
    code: str
    parts: dict[str, Hash]
    places: dict[Place, Hash]


@dataclass(frozen=True)
class Change:
    """One value that differs; None where a row or a value is not there."""

    place: Place
    row: str
    column: str
    old: str | None
    new: str | None


def digest(dsn: str | None, day: date, *, asof: str | None = None) -> Night:
    """The digest of a night.

    Parameters
    ----------
    dsn
        libpq connection string; by default `l1db.settings.dsn`.
    day
        The night, as ``day_obs``.
    asof
        Database time as PostgreSQL reads it: the night as it was known then; by default as it is known now.

    Raises
    ------
    DatabaseError
        If nothing is stored of that night, or as `l1db.connection.connect`.
    """
    with connect(dsn, application_name="l1db night") as connection:
        named = connection.execute(_CODE).fetchone()
        assert named is not None
        try:
            rows = connection.execute(_HASHES, (day, asof)).fetchall()
        except psycopg.errors.DataError as error:
            raise InputError(f"--asof {asof}: {one_line(error)}") from None
        except psycopg.Error as error:
            if error.sqlstate != "L1Q01":
                raise
            raise DatabaseError(f"database {named[0]}: {one_line(error)}") from None
    return Night(
        day,
        database=named[0],
        code=named[1],
        parts={part: Hash(n, sha256) for part, _, _, is_whole, n, sha256 in rows if is_whole},
        places={
            Place(part, visit, detector): Hash(n, sha256)
            for part, visit, detector, is_whole, n, sha256 in rows
            if not is_whole
        },
    )


def save(night: Night, file: Path) -> None:
    """Keep a digest with the hashes of its detectors, for `load`."""
    places = [[p.part, p.visit, p.detector, h.n, h.sha256] for p, h in night.places.items()]
    content = {
        "format": _FORMAT,
        "day": night.day.isoformat(),
        "database": night.database,
        "code": night.code,
        "parts": {part: [h.n, h.sha256] for part, h in night.parts.items()},
        "places": places,
    }
    file.write_text(json.dumps(content) + "\n")


def load(file: Path) -> Night:
    """Read what `save` wrote.

    Raises
    ------
    InputError
        If the file is another.
    """
    try:
        content = json.loads(file.read_text())
        if content["format"] != _FORMAT:
            raise ValueError(content["format"])
        return Night(
            date.fromisoformat(content["day"]),
            content["database"],
            content["code"],
            {part: Hash(*h) for part, h in content["parts"].items()},
            {Place(*row[:3]): Hash(*row[3:]) for row in content["places"]},
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{file} is no digest of a night: make one with `l1db night digest DAY --save FILE`") from None


def differing(old: Night, new: Night) -> list[Place]:
    """The places whose hashes differ, in the order of the parts, then of visits and detectors."""
    order = {part: rank for rank, part in enumerate([*new.parts, *old.parts])}
    return sorted(
        (place for place in old.places.keys() | new.places.keys() if old.places.get(place) != new.places.get(place)),
        key=lambda p: (order.get(p.part, len(order)), p.visit or -1, -1 if p.detector is None else p.detector),
    )


def changes(old_dsn: str, new_dsn: str | None, places: Sequence[Place]) -> Iterator[Change]:
    """What differs in these places, value by value, as two databases have it now.

    Sources are named by their rank on the detector, objects by their first source.  Rows that have the same name and
    differ are taken for the same row.
    """
    with (
        connect(old_dsn, application_name="l1db night") as old,
        connect(new_dsn, application_name="l1db night") as new,
    ):
        for place in places:
            if place.visit is None:
                continue
            sides = [_rows(connection, place) for connection in (old, new)]
            for name in sorted(sides[0].keys() | sides[1].keys(), key=lambda name: (len(name), name)):
                yield from _row_changes(place, name, (old, new), [side.get(name, []) for side in sides])


_Row = tuple[str, int | None]  # content, dia_object_id


def _rows(connection: psycopg.Connection[Any], place: Place) -> dict[str, list[_Row]]:
    rows: dict[str, list[_Row]] = {}
    for name, content, dia_object_id in connection.execute(_ROWS, (place.visit, place.part, place.detector)):
        rows.setdefault(name, []).append((content, dia_object_id))
    return rows


def _row_changes(
    place: Place, name: str, connections: Sequence[psycopg.Connection[Any]], sides: Sequence[list[_Row]]
) -> Iterator[Change]:
    """What differs between the rows of one name; those that are on both sides count for nothing."""
    common = Counter(content for content, _ in sides[0]) & Counter(content for content, _ in sides[1])
    left: list[list[_Row]] = []
    for side in sides:
        seen = Counter[str]()
        left.append([])
        for content, dia_object_id in sorted(side, key=lambda row: row[0]):
            seen[content] += 1
            if seen[content] > common[content]:
                left[-1].append((content, dia_object_id))
    for k in range(max(map(len, left))):
        was, now = (
            _spoken(c, name, rows[k]) if k < len(rows) else None for c, rows in zip(connections, left, strict=True)
        )
        if was is None or now is None:
            row, _ = was or now or (name, {})
            yield Change(place, row, "", was and _abridged(was[1]), now and _abridged(now[1]))
            continue
        for column in sorted(was[1].keys() | now[1].keys()):
            if was[1].get(column) != now[1].get(column):
                yield Change(place, now[0], column, was[1].get(column), now[1].get(column))


def _spoken(connection: psycopg.Connection[Any], name: str, row: _Row) -> tuple[str, dict[str, str]]:
    """A row's name and values, with objects named by visit, detector and rank instead of what is hashed."""
    content, dia_object_id = row
    values = {column: value for column, _, value in (line.partition("=") for line in content.split("\n"))}
    found = dia_object_id and connection.execute(_FIRST_SOURCE, {"id": dia_object_id}).fetchone()
    if found:
        raw, visit, detector, source = found
        spoken = f"the object of visit {visit}, detector {detector}, source {source}"
        name = name.replace(raw, spoken)
        if values.get("dia_object") == raw:
            values["dia_object"] = spoken
    return name, values


_TELLING = ("dia_object", "no_object_reason", "kind", "ra", "dec", "psf_flux", "psf_flux_mean", "retired_reason")


def _abridged(row: dict[str, str]) -> str:
    """Enough of a row to know it again."""
    return ", ".join(f"{column}={row[column]}" for column in _TELLING if column in row) or "there"
