"""The tables of a simulation as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray


def read(directory: Path, name: str) -> dict[str, NDArray[Any]]:
    """Columns by name; what is missing is NaN in floating point columns, None in others."""
    table = pq.read_table(directory / f"{name}.parquet")
    return {column: table[column].to_numpy() for column in table.column_names}
