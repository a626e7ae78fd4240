"""PostgreSQL's binary COPY format, from columns of numpy arrays.

Writing rows through text or value by value costs more than all the database does with them; here a table is
laid out in a few passes over its columns.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
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
