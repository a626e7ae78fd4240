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
    that a NULL or a shorter text does not have are dropped in one pass.
    """
    if n_rows == 0:
        return _HEADER + _TRAILER
    fields: list[tuple[str, str]] = [("count", ">i2")]
    cells: list[tuple[NDArray[Any], NDArray[Any]]] = []
    for position, column in enumerate(columns):
        lengths, values = _cell(column)
        cells.append((lengths, values))
        fields += [(f"length{position}", ">i4"), (f"value{position}", values.dtype.str)]
    rows = np.zeros(n_rows, dtype=fields)
    rows["count"] = len(columns)
    keep: NDArray[np.bool_] | None = None
    for position, (lengths, values) in enumerate(cells):
        rows[f"length{position}"] = lengths
        rows[f"value{position}"] = values
        width = values.dtype.itemsize
        if (lengths != width).any():
            if keep is None:
                keep = np.ones((n_rows, rows.dtype.itemsize), dtype=bool)
            offset = rows.dtype.fields[f"value{position}"][1]  # type: ignore[index]
            keep[:, offset : offset + width] = np.arange(width) < lengths[:, None]
    body = rows.tobytes() if keep is None else rows.view(np.uint8).reshape(n_rows, -1)[keep].tobytes()
    return _HEADER + body + _TRAILER


def _cell(column: WireColumn) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Length of each field (-1: NULL) and its bytes at full width."""
    if column.values.dtype == object:
        texts = [
            (value.encode() if isinstance(value, str) else value) if present else b""
            for value, present in zip(column.values, column.present, strict=True)
        ]
        lengths = np.array([len(text) for text in texts], dtype=np.int32)
        values = np.array(texts, dtype=f"S{max(int(lengths.max(initial=0)), 1)}")
    else:
        values = column.values.astype(column.values.dtype.newbyteorder(">"), copy=False)
        lengths = np.full(len(values), values.dtype.itemsize, dtype=np.int32)
    return np.where(column.present, lengths, np.int32(-1)).astype(np.int32), values
