"""The pixels of an image around positions, and which of them are good."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from l1db.errors import InputError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Planes:
    """An image with its variance and mask, all of one shape (ny, nx), in whatever number type and byte order they came.

    ``bad`` and ``saturated`` are bits of ``mask``, in its own type.
    """

    image: NDArray[Any]
    variance: NDArray[Any]
    mask: NDArray[Any] | None
    bad: Any
    saturated: Any

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.image.shape[0], self.image.shape[1]


@dataclass(frozen=True)
class Stamps:
    """Pixels around n positions, each array of shape (n, size, size).

    Where ``good`` is False ``values`` is 0 and ``variance`` is 1.  ``inside`` is None where all stamps lie within the
    image.
    """

    values: FloatArray
    variance: FloatArray
    good: BoolArray
    inside: BoolArray | None
    no_variance: BoolArray
    saturated: BoolArray | None


def planes(image: ArrayLike, variance: ArrayLike, mask: ArrayLike | None, bad_bits: int, saturated_bits: int) -> Planes:
    """The arrays as they are, looked over; nothing is copied.

    A boolean mask has one bit.
    """
    image, variance = _numbers("image", image), _numbers("variance", variance)
    if image.ndim != 2:
        raise InputError(f"the image must have two dimensions, not shape {image.shape}")
    if variance.ndim == 0:
        variance = np.broadcast_to(variance, image.shape)
    if variance.shape != image.shape:
        raise InputError(f"the variance has shape {variance.shape}, the image {image.shape}")
    if mask is None:
        return Planes(image, variance, None, None, None)
    bad_bits, saturated_bits = _bits("bad_bits", bad_bits), _bits("saturated_bits", saturated_bits)
    mask = np.asarray(mask)
    if mask.dtype.kind not in "biu":
        raise InputError(f"the mask must hold bits as integers, or be boolean, not {mask.dtype}")
    if mask.shape != image.shape:
        raise InputError(f"the mask has shape {mask.shape}, the image {image.shape}")
    if mask.dtype.kind == "b":
        return Planes(image, variance, mask, np.True_, np.bool_(saturated_bits & 1))
    unsigned = np.dtype(f"u{mask.dtype.itemsize}")  # so that the highest bit is one like the others
    mask = mask.view(unsigned.newbyteorder(mask.dtype.byteorder))
    every = (1 << 8 * unsigned.itemsize) - 1
    return Planes(image, variance, mask, unsigned.type(bad_bits & every), unsigned.type(saturated_bits & every))


def _bits(name: str, given: int) -> int:
    try:
        return operator.index(given)
    except TypeError:
        raise InputError(f"{name} must be an integer whose bits are those of the mask, not {given!r}") from None


def _numbers(name: str, array: ArrayLike) -> NDArray[Any]:
    if isinstance(array, np.ma.MaskedArray):
        raise InputError(f"the {name} is a masked array; hand in its data, and its mask as the mask")
    array = np.asarray(array)
    if array.dtype.kind not in "fiu":
        raise InputError(f"the {name} must hold real numbers, not {array.dtype}")
    return array


def stamps(planes: Planes, row: IntArray, column: IntArray, size: int) -> Stamps:
    """Stamps whose lower left pixels are the given ones; they may reach over the border."""
    n_rows, n_columns = planes.shape
    within = (row >= 0) & (column >= 0) & (row + size <= n_rows) & (column + size <= n_columns)
    inside: BoolArray | None = None
    if within.all() and len(row):

        def cut(plane: NDArray[Any]) -> NDArray[Any]:
            windows: NDArray[Any] = sliding_window_view(plane, (size, size))[row, column]
            return windows
    else:
        rows = row[:, None, None] + np.arange(size)[:, None]
        columns = column[:, None, None] + np.arange(size)
        inside = (rows >= 0) & (rows < n_rows) & (columns >= 0) & (columns < n_columns)
        rows, columns = np.clip(rows, 0, n_rows - 1), np.clip(columns, 0, n_columns - 1)

        def cut(plane: NDArray[Any]) -> NDArray[Any]:
            gathered: NDArray[Any] = plane[rows, columns]
            return gathered

    return _judged(
        planes, cut(planes.image), cut(planes.variance), None if planes.mask is None else cut(planes.mask), inside
    )


def box(planes: Planes, rows: slice, columns: slice) -> Stamps:
    """One rectangle within the image, as arrays of shape (1, height, width)."""
    at = (None, rows, columns)
    return _judged(
        planes, planes.image[at], planes.variance[at], None if planes.mask is None else planes.mask[at], None
    )


def _judged(
    planes: Planes, image: NDArray[Any], variance: NDArray[Any], mask: NDArray[Any] | None, inside: BoolArray | None
) -> Stamps:
    has_variance = (variance > 0) & (variance < np.inf)
    good = np.isfinite(image)
    good &= has_variance
    saturated = None
    if mask is not None:
        good &= (mask & planes.bad) == 0
        if planes.saturated:
            saturated = (mask & planes.saturated) != 0
    no_variance = ~has_variance
    if inside is not None:
        good &= inside
        no_variance &= inside
        saturated = saturated & inside if saturated is not None else None
    bad = ~good
    values = image.astype(np.float64)
    np.copyto(values, 0.0, where=bad)
    variance = variance.astype(np.float64)
    np.copyto(variance, 1.0, where=bad)
    return Stamps(values, variance, good, inside, no_variance, saturated)
