"""Tables as files: rows gathered over all images, written at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.table import Table

from l1db.columns import BY_NAME
from l1db.simulate.truth import Columns

# Of columns that are none of dia_source's.
_UNITS = {
    "boresight_ra": "deg",
    "boresight_dec": "deg",
    "psf_fwhm": "pixel",
    "zero_point": "mag",
    "flux_noise": "nJy",
}


def stacked(parts: list[Columns]) -> Columns:
    """Rows of several sets of columns, one below the other."""
    return {
        name: (np.ma.concatenate if np.ma.isMaskedArray(parts[0][name]) else np.concatenate)([p[name] for p in parts])
        for name in parts[0]
    }


def chosen(columns: Columns, rows: Any) -> Columns:
    """Some rows of a table."""
    return {name: values[rows] for name, values in columns.items()}


def write_parquet(columns: Columns, path: Path) -> None:
    """Columns of shape (n,); masked values and the NaN of floating point columns are null."""
    arrays = []
    fields = []
    for name, values in columns.items():
        data = np.ma.getdata(values)
        null = np.array(np.ma.getmaskarray(values))
        if data.dtype.kind == "f":
            null |= np.isnan(data)
        array = pa.array(data, mask=null, type=pa.string() if data.dtype.kind == "O" else None)
        unit = BY_NAME[name].unit if name in BY_NAME else ""
        arrays.append(array)
        fields.append(pa.field(name, array.type, metadata={"unit": unit} if unit else None))
    pq.write_table(pa.table(arrays, schema=pa.schema(fields)), path)


def write_visits(columns: Columns, path: Path) -> None:
    """The table of visits, as ECSV with units."""
    table = Table({name: values.astype(str) if values.dtype == object else values for name, values in columns.items()})
    for name in table.colnames:
        unit = _UNITS.get(name) or (BY_NAME[name].unit if name in BY_NAME else "")
        if unit:
            table[name].unit = "pix" if unit == "pixel" else unit
    table.write(path, format="ascii.ecsv", overwrite=True)
