"""Noise that neighbouring pixels share: how to measure it, and what it does to the error of a flux."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from l1db.errors import InputError
from l1db.photometry.pixels import BoolArray, FloatArray, Planes, box, planes

_TILE = 256  # pixels: side of the squares that pairs of pixels are sought in
_MAX_TILES = 64  # 4 million pixels give the correlation to 0.0005
_OUTLIER = 4.0  # sigma; further out, a pixel holds a star, and its neighbours the star's wings
_ALL_BITS = -1


def measure_noise_correlation(
    image: ArrayLike, variance: ArrayLike, mask: ArrayLike | None = None, size: int = 17
) -> FloatArray:
    """Autocorrelation of an image's noise, from its blank pixels.

    Blank is a pixel with data and variance, without any bit of the mask, and not near one that deviates by more than
    4 sigma from the image's median.  Of images beyond 2048 x 2048 an even sample of squares is used.

    Parameters
    ----------
    image, variance
        Shape (ny, nx); the variance in the square of the image's unit.
    mask
        Shape (ny, nx), integer or boolean.
    size
        Width of the result, odd; the noise should be independent at half of it.

    Returns
    -------
    Shape (size, size); element [h + j, h + i] with h = size // 2 is the correlation of two pixels i columns and j rows
    apart, in units of their standard deviation.  The centre is 1.  With too few blank pixels to tell, all else is 0.
    """
    if not isinstance(size, int | np.integer) or size < 1 or size % 2 == 0:
        raise InputError(f"the width of the noise correlation must be an odd number of pixels, not {size}")
    tiles = _tiles(planes(image, variance, mask, _ALL_BITS, 0))
    uncorrelated = np.zeros((size, size))
    uncorrelated[size // 2, size // 2] = 1.0
    pulls = [(values, good) for values, good in tiles if good.any()]
    if not pulls:
        return uncorrelated
    known = np.concatenate([values[good] for values, good in pulls])
    centre = float(np.median(known))
    spread = 1.4826 * float(np.median(np.abs(known - centre)))
    if not spread > 0:
        return uncorrelated
    width = _TILE + size - 1  # products of pixels on opposite borders do not wrap onto close ones
    power, pairs = np.zeros((width, width // 2 + 1)), np.zeros((width, width // 2 + 1))
    for values, good in pulls:
        values = np.where(good, values - centre, 0.0)
        good = good & ~_near(np.abs(values) > _OUTLIER * spread, size // 2)
        power += np.abs(np.fft.rfft2(np.where(good, values, 0.0), (width, width))) ** 2
        pairs += np.abs(np.fft.rfft2(good.astype(np.float64), (width, width))) ** 2
    products, counts = (
        np.roll(np.fft.irfft2(summed, (width, width)), (size // 2, size // 2), (0, 1))[:size, :size]
        for summed in (power, pairs)
    )
    if counts.min() < 10 * size**2 or not products[size // 2, size // 2] > 0:
        return uncorrelated
    correlation = products / counts
    correlation /= correlation[size // 2, size // 2]
    symmetric: FloatArray = (correlation + correlation[::-1, ::-1]) / 2  # it is, but for rounding
    symmetric[size // 2, size // 2] = 1.0
    return symmetric


def _tiles(whole: Planes) -> list[tuple[FloatArray, BoolArray]]:
    """Squares all over the image, at most ``_MAX_TILES``: values in units of their sigma, and which are good."""
    n_rows, n_columns = whole.shape
    corners = [(row, column) for row in range(0, n_rows, _TILE) for column in range(0, n_columns, _TILE)]
    if len(corners) > _MAX_TILES:  # a step of the golden section: no row or column is favoured
        order = np.argsort((np.arange(len(corners)) * 0.6180339887498949) % 1.0)
        corners = [corners[i] for i in order[:_MAX_TILES]]
    tiles = []
    for row, column in corners:
        tile = box(whole, slice(row, row + _TILE), slice(column, column + _TILE))
        tiles.append((tile.values[0] / np.sqrt(tile.variance[0]), tile.good[0]))
    return tiles


def _near(pixels: BoolArray, radius: int) -> BoolArray:
    """Pixels with a True one in the square of this radius around them."""
    for _ in range(2):
        windows = sliding_window_view(np.pad(pixels, ((0, 0), (radius, radius))), 2 * radius + 1, axis=1)
        pixels = np.any(windows, axis=-1).T
    return pixels


def checked_noise_correlation(correlation: ArrayLike | None) -> FloatArray | None:
    """The correlation as float64, or an `InputError`."""
    if correlation is None:
        return None
    try:
        array = np.asarray(correlation, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("the noise correlation does not consist of numbers") from None
    if array.ndim != 2 or array.shape[0] % 2 == 0 or array.shape[1] % 2 == 0:
        raise InputError(f"the noise correlation must have two dimensions of odd length, not shape {array.shape}")
    if not np.isfinite(array).all():
        raise InputError("the noise correlation has values that are not finite")
    if abs(array[array.shape[0] // 2, array.shape[1] // 2] - 1) > 1e-6:
        raise InputError("the noise correlation must be 1 at its centre")
    return array


def correlation_matrix(correlation: FloatArray, size: int) -> FloatArray:
    """The correlation of every two pixels of a stamp, shape (size^2, size^2)."""
    half_y, half_x = correlation.shape[0] // 2, correlation.shape[1] // 2
    wide = np.zeros((2 * size - 1, 2 * size - 1))
    reach_y, reach_x = min(half_y, size - 1), min(half_x, size - 1)
    wide[size - 1 - reach_y : size + reach_y, size - 1 - reach_x : size + reach_x] = correlation[
        half_y - reach_y : half_y + reach_y + 1, half_x - reach_x : half_x + reach_x + 1
    ]
    lag = np.arange(size)[:, None] - np.arange(size) + size - 1
    matrix: FloatArray = wide[lag[:, None, :, None], lag[None, :, None, :]].reshape(size**2, size**2)
    return matrix


def correlate(images: FloatArray, correlation: FloatArray) -> FloatArray:
    """Each image convolved with the correlation, zero outside; shape (n, height, width) as given."""
    height, width = images.shape[1:]
    half_y, half_x = correlation.shape[0] // 2, correlation.shape[1] // 2
    shape = (height + half_y, width + half_x)
    kernel = np.zeros((max(shape[0], correlation.shape[0]), max(shape[1], correlation.shape[1])))
    kernel[: correlation.shape[0], : correlation.shape[1]] = correlation
    kernel = np.roll(kernel, (-half_y, -half_x), (0, 1))
    spectrum = np.fft.rfft2(images, kernel.shape) * np.fft.rfft2(kernel)
    convolved: NDArray[np.float64] = np.fft.irfft2(spectrum, kernel.shape)[:, :height, :width]
    return convolved
