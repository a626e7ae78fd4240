"""PostgreSQL's binary COPY format, from columns of numpy arrays and to them.

Writing rows through text or value by value costs more than all the database does with them; here a table is
laid out, and taken apart, in a few passes over its columns.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
_TRAILER = struct.pack("!h", -1)
_BLOCK = 1024


@dataclass(frozen=True)
class WireColumn:
    """One column on its way into the database.

    ``values`` has shape (n,) and the dtype that `l1db.columns.DTYPES` gives for the SQL type (bytes or str in an object
    array for ``text`` and ``bytea``); where ``present`` is False the value is NULL and not looked at.
    """

    name: str
    values: NDArray[Any]
    present: NDArray[np.bool_]


def encode(columns: Sequence[WireColumn], n_rows: int) -> Iterator[bytes]:
    """Rows in binary COPY format, header and trailer included, piece by piece.

    Every field is first laid out at full width, as four bytes of length and the value in network order; then the bytes
    that a NULL or a shorter text does not have are dropped in one pass.  Done in blocks that stay in the cache, and
    that the database reads while the next is laid out.
    """
    yield _HEADER
    for start in range(0, n_rows, _BLOCK):
        yield _rows([_cell(column, start, min(start + _BLOCK, n_rows)) for column in columns])
    yield _TRAILER


def _rows(cells: Sequence[_Cell]) -> bytes:
    fields: list[tuple[str, str]] = [("count", ">i2")]
    for position, cell in enumerate(cells):
        fields += [(f"length{position}", ">i4"), (f"value{position}", cell.values.dtype.str)]
    layout = np.dtype(fields)
    template = np.zeros(1, dtype=layout)
    template["count"] = len(cells)
    for position, cell in enumerate(cells):
        template[f"length{position}"] = cell.values.dtype.itemsize
    n = len(cells[0].values)
    rows = np.repeat(template, n)
    for position, cell in enumerate(cells):
        rows[f"value{position}"] = cell.values
    if all(cell.lengths is None for cell in cells):
        return rows.tobytes()
    keep = np.ones((n, layout.itemsize), dtype=bool)
    for position, cell in enumerate(cells):
        if cell.lengths is None:
            continue
        rows[f"length{position}"] = cell.lengths
        width = cell.values.dtype.itemsize
        offset = layout.fields[f"value{position}"][1]  # type: ignore[index]
        keep[:, offset : offset + width] = np.arange(width) < cell.lengths[:, None]
    return rows.view(np.uint8).reshape(n, -1)[keep].tobytes()


@dataclass(frozen=True)
class _Cell:
    """A column's fields: their bytes at full width, and their lengths (-1: NULL) if not all are of full width."""

    values: NDArray[Any]
    lengths: NDArray[np.int32] | None


def _cell(column: WireColumn, start: int, end: int) -> _Cell:
    values, present = column.values[start:end], column.present[start:end]
    if values.dtype.kind == "O":
        texts = [
            (value.encode() if isinstance(value, str) else value) if there else b""
            for value, there in zip(values, present, strict=True)
        ]
        lengths = np.array([len(text) for text in texts], dtype=np.int32)
        values = np.array(texts, dtype=f"S{max(int(lengths.max(initial=0)), 1)}")
        return _Cell(values, np.where(present, lengths, np.int32(-1)))
    values = values.astype(values.dtype.newbyteorder(">"), copy=False)
    if present.all():
        return _Cell(values, None)
    return _Cell(values, np.where(present, np.int32(values.dtype.itemsize), np.int32(-1)))


# What travels of each SQL type, in network order; timestamptz are microseconds and dates days since 2000-01-01 UTC.
_TRAVELS = {
    "bigint": ">i8",
    "integer": ">i4",
    "smallint": ">i2",
    "double precision": ">f8",
    "real": ">f4",
    "boolean": "?",
    "timestamptz": ">i8",
    "date": ">i4",
    "text": "O",
    "bytea": "O",
}


def decode(
    messages: Iterable[bytes | bytearray | memoryview], types: Mapping[str, str]
) -> tuple[int, dict[str, WireColumn]]:
    """Columns of rows in binary COPY format.

    Rows with the same fields NULL and texts of the same lengths are laid out alike: they are a matrix of bytes, and a
    field of theirs is some of its columns.  There are few such layouts, however many rows.

    Parameters
    ----------
    messages
        What the server sends: the header with the first row, a row in each of the next, the trailer.
    types
        SQL type of each column by its name, in the order in which they travel.

    Returns
    -------
    n
        Number of rows.
    columns
        By name; values of a type that numpy does not have are bytes or str in an object array, and 0, False or "" where
        they are NULL.
    """
    rows = [bytes(message) for message in messages]
    if rows and rows[0].startswith(_HEADER):
        rows[0] = rows[0][len(_HEADER) :]
    rows = [row for row in rows if len(row) > len(_TRAILER) or not types]
    n = len(rows)
    columns = {}
    for name, sql_type in types.items():
        dtype = np.dtype(_TRAVELS[sql_type]).newbyteorder("=")
        empty = b"" if sql_type == "bytea" else ""
        values = np.full(n, empty, dtype=object) if dtype.kind == "O" else np.zeros(n, dtype=dtype)
        columns[name] = WireColumn(name, values, np.zeros(n, dtype=bool))
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    for length in np.unique(lengths):
        members = np.flatnonzero(lengths == length)
        matrix = np.frombuffer(b"".join([rows[i] for i in members]), dtype=np.uint8).reshape(len(members), length)
        _take_apart(matrix, members, 2, list(types.items()), columns)
    return n, columns


def _take_apart(
    matrix: NDArray[np.uint8],
    members: NDArray[np.intp],
    start: int,
    fields: Sequence[tuple[str, str]],
    columns: Mapping[str, WireColumn],
) -> None:
    """Rows of equal length, field by field from byte ``start`` on; where layouts part, each goes on by itself."""
    for position, (name, sql_type) in enumerate(fields):
        lengths = np.ascontiguousarray(matrix[:, start : start + 4]).view(">i4")[:, 0]
        length = int(lengths[0])
        if (lengths != length).any():
            for other in np.unique(lengths):
                alike = lengths == other
                _take_apart(matrix[alike], members[alike], start, fields[position:], columns)
            return
        start += 4
        if length < 0:
            continue
        field = np.ascontiguousarray(matrix[:, start : start + length])
        columns[name].present[members] = True
        columns[name].values[members] = _values(field, length, sql_type)
        start += length


def _values(field: NDArray[np.uint8], length: int, sql_type: str) -> NDArray[Any]:
    travels = _TRAVELS[sql_type]
    if travels != "O":
        return np.asarray(field.view(travels)[:, 0])
    found = np.empty(len(field), dtype=object)
    if length == 0:
        found[:] = b"" if sql_type == "bytea" else ""
        return found
    if sql_type == "bytea":
        found[:] = [row.tobytes() for row in field]
        return found
    # Few are different: bands, versions, reasons.
    texts, which = np.unique(field.view(f"V{length}")[:, 0], return_inverse=True)
    return np.array([text.tobytes().decode() for text in texts], dtype=object)[which]
