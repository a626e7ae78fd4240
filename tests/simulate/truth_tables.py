"""A small simulation's plan, and the tables of a simulation as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from numpy.typing import NDArray

from l1db.simulate import Plan

SMALL = Plan(seed=4, nights=2, visits_per_night=2, detectors=2, size=320, density=6, bogus_density=3)


def read(directory: Path, name: str) -> dict[str, NDArray[Any]]:
    """Columns by name; what is missing is NaN in floating point columns, None in others."""
    table = pq.read_table(directory / f"{name}.parquet")
    return {column: table[column].to_numpy() for column in table.column_names}
