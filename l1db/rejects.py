"""Unusable rows: said in one line, and filed beside the table they are from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import MaskedColumn, Table
from numpy.typing import NDArray

from l1db.columns import DIA_SOURCE, DTYPES
from l1db.errors import BadRow
from l1db.table_columns import is_null, parse
from l1db.table_formats import RawColumn, read_raw

_KNOWN = {name: column for column in DIA_SOURCE for name in (column.name, column.apdb_name)}


def explain(bad_rows: Sequence[BadRow], origin: Callable[[int], str], thing: str = "row") -> str:
    """One line: where the first unusable row is, its column, what is wrong, and how many more there are.

    Parameters
    ----------
    bad_rows
        At least one.
    origin
        Says where a row comes from, by its number.
    thing
        What a row is called.
    """
    first = min(bad_rows, key=lambda bad: bad.row)
    others = len({bad.row for bad in bad_rows}) - 1
    more = f" ({others} more unusable {thing}{'s' if others > 1 else ''})" if others else ""
    return f"{origin(first.row)}, column {first.column}: {first.why}{more}"


def file_rejects(tables: Iterable[tuple[Path, Sequence[BadRow]]]) -> tuple[Path, ...]:
    """File unusable rows in ``<file name>.rejects.ecsv``, with all their columns and what is wrong.

    Columns that the database knows are numbers there, even if they come from a CSV; what is no number is left out, and
    stands in ``rejected_why``.  So the table can be read again.

    Parameters
    ----------
    tables
        Each with its unusable rows, in order.

    Returns
    -------
    paths
        The files written.
    """
    written: list[Path] = []
    for path, bad_rows in tables:
        target = path.with_name(f"{path.name}.rejects.ecsv")
        _rejects(path, bad_rows).write(target, format="ascii.ecsv", overwrite=True)
        written.append(target)
    return tuple(written)


def _rejects(path: Path, bad_rows: Sequence[BadRow]) -> Table:
    by_row = {row: list(bad) for row, bad in groupby(bad_rows, key=lambda bad: bad.row)}
    rows = np.array(list(by_row))
    table = Table()
    for column in read_raw(path).columns:
        table[column.name] = _for_ecsv(_values(column)[rows - 1])
        if column.unit:
            table[column.name].unit = column.unit
    table["rejected_row"] = rows
    table["rejected_column"] = ["; ".join(b.column for b in bad) for bad in by_row.values()]
    table["rejected_why"] = ["; ".join(b.why for b in bad) for bad in by_row.values()]
    return table


def _values(column: RawColumn) -> NDArray[Any]:
    """A column's values; those of a known one as the database has them, but for real, which would round."""
    if not column.text:
        return np.asanyarray(column.values)
    wanted = _KNOWN.get(column.name)
    if wanted is None:
        return np.asarray(column.values.to_numpy(zero_copy_only=False))
    dtype = DTYPES[wanted.sql_type]
    values, _ = parse(column, np.dtype("f8") if dtype.kind == "f" else dtype, wanted)
    return values


def _for_ecsv(values: NDArray[Any]) -> Any:
    """A column that ECSV can hold: objects become text, missing ones masked."""
    if values.dtype.kind != "O":
        return values
    null = is_null(values)
    return MaskedColumn([("" if n else str(v)) for v, n in zip(values, null, strict=True)], mask=null, dtype=str)
