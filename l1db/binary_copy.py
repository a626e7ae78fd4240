"""PostgreSQL's binary COPY format, from columns of numpy arrays.

Writing rows through text or value by value costs more than all the database does with them; here a whole table becomes
one byte string in a few passes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
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


def encode(columns: Sequence[WireColumn], n_rows: int) -> bytes:
    """Rows in binary COPY format, header and trailer included.

    Every field is first laid out at full width, as four bytes of length and the value in network order; then the bytes
    that a NULL or a shorter text does not have are dropped in one pass.  Done in blocks that stay in the cache.
    """
    cells = [_cell(column) for column in columns]
    fields: list[tuple[str, str]] = [("count", ">i2")]
    for position, cell in enumerate(cells):
        fields += [(f"length{position}", ">i4"), (f"value{position}", cell.values.dtype.str)]
    layout = np.dtype(fields)
    template = np.zeros(1, dtype=layout)
    template["count"] = len(columns)
    for position, cell in enumerate(cells):
        template[f"length{position}"] = cell.values.dtype.itemsize
    varying = [(position, cell) for position, cell in enumerate(cells) if cell.lengths is not None]

    pieces = [_HEADER]
    for start in range(0, n_rows, _BLOCK):
        end = min(start + _BLOCK, n_rows)
        rows = np.repeat(template, end - start)
        for position, cell in enumerate(cells):
            rows[f"value{position}"] = cell.values[start:end]
        if not varying:
            pieces.append(rows.tobytes())
            continue
        keep = np.ones((end - start, layout.itemsize), dtype=bool)
        for position, cell in varying:
            lengths = cell.lengths[start:end]  # type: ignore[index]
            rows[f"length{position}"] = lengths
            width = cell.values.dtype.itemsize
            offset = layout.fields[f"value{position}"][1]  # type: ignore[index]
            keep[:, offset : offset + width] = np.arange(width) < lengths[:, None]
        pieces.append(rows.view(np.uint8).reshape(end - start, -1)[keep].tobytes())
    pieces.append(_TRAILER)
    return b"".join(pieces)


@dataclass(frozen=True)
class _Cell:
    """A column's fields: their bytes at full width, and their lengths (-1: NULL) if not all are of full width."""

    values: NDArray[Any]
    lengths: NDArray[np.int32] | None


def _cell(column: WireColumn) -> _Cell:
    if column.values.dtype.kind == "O":
        texts = [
            (value.encode() if isinstance(value, str) else value) if present else b""
            for value, present in zip(column.values, column.present, strict=True)
        ]
        lengths = np.array([len(text) for text in texts], dtype=np.int32)
        values = np.array(texts, dtype=f"S{max(int(lengths.max(initial=0)), 1)}")
        return _Cell(values, np.where(column.present, lengths, np.int32(-1)))
    values = column.values.astype(column.values.dtype.newbyteorder(">"), copy=False)
    if column.present.all():
        return _Cell(values, None)
    return _Cell(values, np.where(column.present, np.int32(values.dtype.itemsize), np.int32(-1)))
