"""The DiaObjects that images are expected to show, as the database lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# A row of l1_api.forced_targets as it travels, in network order.
TARGET_ROW = np.dtype([("dia_object_id", ">i8"), ("ra", ">f8"), ("dec", ">f8"), ("is_target", "?")])


_NATIVE = {"dia_object_id": "i8", "ra": "f8", "dec": "f8", "is_target": "?"}


@dataclass(frozen=True)
class Targets:
    """The DiaObjects in and around an image, each column of shape (n,); degrees.

    Those that are not targets are not to be forced, and may be neighbours of those that are.
    """

    dia_object_id: NDArray[np.int64]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    is_target: NDArray[np.bool_]


def assign(footprints: Mapping[int, NDArray[np.float64]], rows: NDArray[np.void], margin: float) -> dict[int, Targets]:
    """For each image, the objects within a cap around it.

    Parameters
    ----------
    footprints
        Corners of each detector's image, shape (k, 2), degrees.
    rows
        The objects around all of them, fields of `TARGET_ROW`, shape (n,).
    margin
        By how much the cap is wider than the image, degrees.
    """
    order = np.argsort(rows["dec"], kind="stable")
    ids, ra, dec, is_target = (np.asarray(rows[name][order], dtype=np.dtype(dtype)) for name, dtype in _NATIVE.items())
    place = _unit_vectors(ra, dec)
    found = {}
    for detector, corners in footprints.items():
        vectors = _unit_vectors(corners[:, 0], corners[:, 1])
        centre = vectors.mean(axis=0)
        centre /= np.linalg.norm(centre)
        reach = np.degrees(np.arccos(np.clip((vectors @ centre).min(), -1, 1))) + margin
        middle = np.degrees(np.arcsin(np.clip(centre[2], -1, 1)))
        start, end = np.searchsorted(dec, [middle - reach, middle + reach])
        near = start + np.flatnonzero(place[start:end] @ centre >= np.cos(np.radians(reach)) - 1e-12)
        found[detector] = Targets(ids[near], ra[near], dec[near], is_target[near])
    return found


def _unit_vectors(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shape (n, 3)."""
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)
