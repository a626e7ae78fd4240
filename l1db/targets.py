"""The DiaObjects that images are expected to show, as the database lists them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# A row of l1_api.forced_targets, by numpy's types.
TARGET_ROW = {"detector": "i2", "dia_object_id": "i8", "ra": "f8", "dec": "f8", "is_target": "?"}


@dataclass(frozen=True)
class Targets:
    """The DiaObjects in and around an image, each column of shape (n,); degrees.

    Those that are not targets are not to be forced, and may be neighbours of those that are.
    """

    dia_object_id: NDArray[np.int64]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    is_target: NDArray[np.bool_]
