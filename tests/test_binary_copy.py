"""The encoder of binary COPY against two referees: psycopg's own writers, and the server's own binary COPY out.

What comes out of the server after going in through psycopg, value by value, must be what the encoder wrote, byte for
byte; and what goes in through the encoder must come out as it went in.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import psycopg
import pytest

from l1db import binary_copy
from l1db.binary_copy import WireColumn


def encode(columns: list[WireColumn], n_rows: int) -> bytes:
    return b"".join(binary_copy.encode(columns, n_rows))


TYPES: dict[str, tuple[str, str]] = {  # column: SQL type, numpy's
    "a_bigint": ("bigint", "i8"),
    "an_integer": ("integer", "i4"),
    "a_smallint": ("smallint", "i2"),
    "a_double": ("double precision", "f8"),
    "a_real": ("real", "f4"),
    "a_boolean": ("boolean", "?"),
    "a_text": ("text", "O"),
    "a_bytea": ("bytea", "O"),
}
TEXTS = ["", "r", "ü", "日本語", "a\tb\nc\\N", "x" * 300, "\\.", " ", "NULL", "🜨"]
BYTES = [b"", b"\0", b"\0\0\0", b"abc\0", bytes(range(256)), b"\xff" * 32]


def random_columns(rng: np.random.Generator, n: int, names: list[str], null: float) -> list[WireColumn]:
    columns = []
    for name in names:
        kind = np.dtype(TYPES[name][1])
        values: Any
        if kind.kind == "i":
            edge = np.iinfo(kind)
            values = rng.integers(edge.min, edge.max, n, dtype=kind, endpoint=True)
            values[: min(n, 3)] = [edge.min, edge.max, 0][: min(n, 3)]
        elif kind.kind == "f":
            values = (rng.normal(size=n) * 10.0 ** rng.integers(-30, 30, n)).astype(kind)
            special = np.array([np.inf, -np.inf, -0.0, np.finfo(kind).tiny / 8, np.finfo(kind).max], kind)
            values[: min(n, 5)] = special[:n]
        elif kind.kind == "b":
            values = rng.uniform(size=n) < 0.5
        else:
            pool = TEXTS if name == "a_text" else BYTES
            values = np.empty(n, dtype=object)
            values[:] = [pool[i] for i in rng.integers(0, len(pool), n)]
        columns.append(WireColumn(name, values, rng.uniform(size=n) >= null))
    return columns


def python_rows(columns: list[WireColumn], n: int) -> list[tuple[Any, ...]]:
    return [
        tuple(
            (c.values[i] if c.values.dtype == object else c.values[i].item()) if c.present[i] else None for c in columns
        )
        for i in range(n)
    ]


def copy_out(connection: psycopg.Connection, table: str, names: list[str]) -> bytes:
    with connection.cursor().copy(f"copy {table} ({', '.join(names)}) to stdout (format binary)") as copy:
        return b"".join(map(bytes, copy))


@pytest.fixture
def tables(connection: psycopg.Connection) -> psycopg.Connection:
    columns = ", ".join(f"{name} {sql}" for name, (sql, _) in TYPES.items())
    for table in ("ours", "theirs"):
        connection.execute(f"create temp table {table} ({columns})")
    return connection


@pytest.mark.parametrize("n", [0, 1, 2, 257])
@pytest.mark.parametrize("null", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("format", ["binary", "text"])
def test_any_columns_are_encoded_as_psycopg_and_the_server_do(
    tables: psycopg.Connection, n: int, null: float, format: str
) -> None:
    """Seen red with 0 in place of -1 for the length of a NULL."""
    rng = np.random.default_rng(n + int(10 * null))
    for names in ([name] for name in TYPES):
        _compare(tables, random_columns(rng, n, names, null), n, format)
    for _ in range(3):
        names = list(rng.permutation(list(TYPES))[: rng.integers(2, len(TYPES) + 1)])
        _compare(tables, random_columns(rng, n, [str(name) for name in names], null), n, format)


def _compare(connection: psycopg.Connection, columns: list[WireColumn], n: int, format: str) -> None:
    names = [column.name for column in columns]
    rows = python_rows(columns, n)
    encoded = encode(columns, n)
    with connection.cursor().copy(f"copy theirs ({', '.join(names)}) from stdin (format {format})") as copy:
        if format == "binary":
            copy.set_types([TYPES[name][0] for name in names])
        for row in rows:
            copy.write_row(row)
    with connection.cursor().copy(f"copy ours ({', '.join(names)}) from stdin (format binary)") as copy:
        copy.write(encoded)
    assert connection.execute("select count(*) from ours").fetchone() == (n,)
    assert encoded == copy_out(connection, "theirs", names) == copy_out(connection, "ours", names)
    connection.execute("truncate ours, theirs")


@pytest.mark.parametrize("order", ["<", ">", "="])
def test_byte_order_of_the_input_does_not_matter(order: str) -> None:
    """FITS tables come big-endian."""
    everywhere = np.ones(3, dtype=bool)
    for kind in ("i2", "i4", "i8", "f4", "f8"):
        native = np.array([1, -2, 100], dtype=kind)
        assert encode([WireColumn("x", native.astype(order + kind), everywhere)], 3) == encode(
            [WireColumn("x", native, everywhere)], 3
        )


def test_strided_input_does_not_matter() -> None:
    table = np.arange(12, dtype="f8").reshape(6, 2)
    ok = np.ones(6, dtype=bool)
    assert encode([WireColumn("x", table[:, 1], ok)], 6) == encode([WireColumn("x", table[:, 1].copy(), ok)], 6)
    assert encode([WireColumn("x", table[::-1, 0], ok)], 6) == encode(
        [WireColumn("x", np.ascontiguousarray(table[::-1, 0]), ok)], 6
    )


def test_what_hides_under_a_null_is_not_sent() -> None:
    """Nor are two encodings of the same rows different for it."""
    absent = np.zeros(2, dtype=bool)
    for kind, values in (("f8", [1.0, np.nan]), ("i8", [7, 8]), ("?", [True, False])):
        one = encode([WireColumn("x", np.array(values, kind), absent)], 2)
        other = encode([WireColumn("x", np.zeros(2, kind), absent)], 2)
        assert one == other
        assert one.count(struct.pack("!hi", 1, -1)) == 2


def by_column(columns: dict[str, WireColumn]) -> dict[str, list[Any]]:
    """Values as Python has them, floating point by its bits; None where there is none."""
    found = {}
    for name, column in columns.items():
        values = column.values
        plain = values.view(f"i{values.dtype.itemsize}").tolist() if values.dtype.kind == "f" else values.tolist()
        found[name] = [value if there else None for value, there in zip(plain, column.present.tolist(), strict=True)]
    return found


def copied_out(connection: psycopg.Connection, table: str, types: dict[str, str]) -> tuple[int, dict[str, WireColumn]]:
    with connection.cursor().copy(f"copy {table} ({', '.join(types)}) to stdout (format binary)") as copy:
        return binary_copy.decode(copy, types)


@pytest.mark.parametrize("n", [0, 1, 2, 257])
@pytest.mark.parametrize("null", [0.0, 0.4, 1.0])
def test_what_comes_out_of_the_server_is_what_went_in(tables: psycopg.Connection, n: int, null: float) -> None:
    """Rows whose fields lie elsewhere in each, -0.0 and NaN of any bits.

    Seen red with rows of the same length taken for rows of the same layout.
    """
    rng = np.random.default_rng(7 * n + int(10 * null))
    for names in (*([name] for name in TYPES), *(rng.permutation(list(TYPES)).tolist() for _ in range(3))):
        columns = random_columns(rng, n, names, null)
        for column in columns:
            if column.values.dtype.kind == "f" and n > 6:
                bits = column.values.view(f"i{column.values.dtype.itemsize}")
                bits[6] = np.array(np.nan, column.values.dtype).view(bits.dtype) | 1  # not the NaN that Python has
                column.values[5] = -np.array(np.nan, column.values.dtype)
        with tables.cursor().copy(f"copy ours ({', '.join(names)}) from stdin (format binary)") as copy:
            copy.write(encode(columns, n))
        types = {name: TYPES[name][0] for name in names}
        rows, found = copied_out(tables, "ours", types)
        assert rows == n
        assert list(found) == names
        assert by_column(found) == by_column({column.name: column for column in columns})
        for name, column in found.items():
            assert column.values.dtype == np.dtype(TYPES[name][1])
        tables.execute("truncate ours")


def test_times_and_dates_come_out_as_the_server_counts_them(connection: psycopg.Connection) -> None:
    connection.execute(
        "create temp table moments as select t, t::date as d from unnest(array['2000-01-01 00:00:00.000001+00', null,"
        " '1999-12-31 23:59:59.5+00', '2025-11-20 05:00:00+00', 'infinity']::timestamptz[]) as t"
    )
    connection.execute("set local timezone = 'Asia/Kathmandu'")
    _, found = copied_out(connection, "moments", {"t": "timestamptz", "d": "date"})
    day = 86_400 * 10**6
    assert by_column(found)["t"] == [1, None, -500_000, 9455 * day + 5 * 3600 * 10**6, 2**63 - 1]
    assert by_column(found)["d"] == [0, None, -1, 9455, 2**31 - 1]


def test_no_rows_are_a_header_and_a_trailer() -> None:
    assert encode([], 0) == b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\xff\xff"
