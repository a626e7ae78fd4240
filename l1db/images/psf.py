"""Models of the point spread function, integrated over pixels, at any sub-pixel position.

Every model hands out stamps that sum to 1; what a star has outside the stamp is left to the aperture correction.

A star that moves within its pixel changes each pixel of its stamp smoothly.  So a model is computed with all care at
a few dozen sub-pixel positions only, the Chebyshev nodes, and in between is the polynomial through them: for thousands
of stars one product of matrices.  Polynomials through stamps that sum to 1 sum to 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.polynomial.chebyshev import chebvander
from numpy.typing import ArrayLike, NDArray

from l1db.errors import InputError

FloatArray = NDArray[np.float64]

_SMALLEST, _USUAL, _LARGEST = 21, 41, 201  # pixels: width of a stamp, unless one is asked for
_HELD = 0.999  # of an image's sum, by its stamp
_IMAGE_DEGREE = 12  # of the polynomials in the phase, for a model that is an image
_QUADRATURE = 8  # Gauss-Legendre points per pixel and axis
_FINE = 8  # samples per pixel on which the width of an image is measured


@runtime_checkable
class Psf(Protocol):
    """What l1db asks of a PSF model."""

    @property
    def fwhm(self) -> float:
        """Full width at half maximum, pixels; of a varying model, at the centre of the image."""

    @property
    def size(self) -> int:
        """Width of a stamp unless another is asked for; odd."""

    def stamps(self, x: ArrayLike, y: ArrayLike, size: int | None = None) -> FloatArray:
        """Pixel-integrated model at each position, each on a stamp of its own.

        Parameters
        ----------
        x, y
            Finite pixel coordinates, shape (n,).
        size
            Width of the stamps, odd.

        Returns
        -------
        Shape (n, size, size), [y, x]; each sums to 1, and its central pixel is (floor(x + 1/2), floor(y + 1/2)).
        """


@dataclass(frozen=True)
class GaussianPsf:
    """A round Gaussian.

    Parameters
    ----------
    fwhm
        Pixels, before the integration over pixels.
    size
        Default width of a stamp, odd; 2 ceil(3 fwhm) + 1 within 21 and 201 if not given.
    """

    fwhm: float
    size: int = None  # type: ignore[assignment]  # an int once constructed
    _profiles: dict[int, FloatArray] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _fill_in_size(self)

    def stamps(self, x: ArrayLike, y: ArrayLike, size: int | None = None) -> FloatArray:
        """See `Psf.stamps`."""
        size = _width(self.size if size is None else size)
        if size not in self._profiles:
            self._profiles[size] = self._profile(size)
        coefficients = self._profiles[size]
        phase_x, phase_y = _phases(x, y)
        degree = len(coefficients) - 1
        columns = chebvander(2 * phase_x, degree) @ coefficients
        rows = chebvander(2 * phase_y, degree) @ coefficients
        stamps: FloatArray = rows[:, :, None] * columns[:, None, :]
        return stamps

    def _profile(self, size: int) -> FloatArray:
        """Coefficients in the phase of the profile along one axis, shape (degree + 1, size)."""
        degree = 16 + math.ceil(16 / self.fwhm)
        scale = 2 * math.sqrt(math.log(2)) / self.fwhm  # 1 / (sqrt(2) sigma)
        edges = np.arange(size + 1) - size / 2 - _nodes(degree)[:, None]
        # Each pixel from the nearer tail: far from the centre the difference from 1 has lost its digits.
        below, above = (
            np.array([[math.erfc(sign * scale * edge) / 2 for edge in row] for row in edges.tolist()])
            for sign in (-1, 1)
        )
        pixels = np.where(edges[:, 1:] <= 0, np.diff(below, axis=1), -np.diff(above, axis=1))
        coefficients: FloatArray = _to_coefficients(degree) @ (pixels / pixels.sum(axis=1, keepdims=True))
        return coefficients


@dataclass(frozen=True)
class MoffatPsf:
    """A round Moffat profile, (1 + (r/alpha)^2)^-beta.

    Parameters
    ----------
    fwhm
        Pixels, before the integration over pixels.
    beta
        How steeply the wings fall; above 1.
    size
        Default width of a stamp, odd; 2 ceil(3 fwhm) + 1 within 21 and 201 if not given.
    """

    fwhm: float
    beta: float
    size: int = None  # type: ignore[assignment]  # an int once constructed
    _series: dict[int, _PhaseSeries] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.beta) and self.beta > 1):
            raise InputError(f"a Moffat PSF needs a beta above 1, not {self.beta}")
        _fill_in_size(self)

    def stamps(self, x: ArrayLike, y: ArrayLike, size: int | None = None) -> FloatArray:
        """See `Psf.stamps`."""
        size = _width(self.size if size is None else size)
        if size not in self._series:
            self._series[size] = self._phase_series(size)
        return self._series[size].evaluate(x, y)

    def _phase_series(self, size: int) -> _PhaseSeries:
        degree = 2 * (4 + math.ceil(4 / self.fwhm))  # even: the nodes have a zero, and pair up around it
        nodes = _nodes(degree)
        half = degree // 2 + 1
        points, weights = np.polynomial.legendre.leggauss(_QUADRATURE)
        offset = np.arange(size) - size // 2 - nodes[:half, None]
        alpha = self.fwhm / 2 / math.sqrt(2 ** (1 / self.beta) - 1)
        squared = ((offset[:, :, None] + points / 2) / alpha).reshape(half, -1) ** 2
        quarter = np.empty((half, size, half, size))
        for i in range(half):  # a round profile is the same with x and y exchanged
            profile = (1 + squared[i][:, None] + squared[i:].reshape(-1)) ** -self.beta
            rows = (profile.reshape(-1, _QUADRATURE) @ weights).reshape(size, _QUADRATURE, -1)
            quarter[i, :, i:] = (weights @ rows).reshape(size, half - i, size)
            quarter[i:, :, i] = quarter[i, :, i:].transpose(1, 2, 0)
        upper = np.concatenate([quarter, quarter[-2::-1, ::-1]])  # the other half of the nodes by symmetry
        whole = np.concatenate([upper, upper[:, :, -2::-1, ::-1]], axis=2)
        return _PhaseSeries.through(whole.transpose(0, 2, 1, 3), 1e-10)


@dataclass(frozen=True, eq=False)
class ImagePsf:
    """An image of the PSF, its centre in the centre of the array.

    Between its samples the image is a quintic spline, continued by half a pixel beyond its border and zero further out.

    Parameters
    ----------
    array
        Shape (ny, nx), of any sum above 0.
    oversampling
        Samples per pixel along each axis.
    pixel_integrated
        Whether each sample is what a whole detector pixel centred there would see (PSFEx, Piff, photutils'
        ``ImagePSF``, and every image at native sampling); if not, each is the light in its own small pixel, as an
        optical simulation draws it, and the integration over pixels is done here.

    Attributes
    ----------
    size
        Width of the array in pixels, odd; of one that is wider than 41, what holds 0.999 of its sum.
    """

    array: FloatArray
    oversampling: int = 1
    pixel_integrated: bool = True
    fwhm: float = field(init=False)
    size: int = field(init=False)
    _spline: _Spline = field(init=False, repr=False)
    _series: dict[int, _PhaseSeries] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            array = np.array(self.array, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError("the PSF image does not consist of numbers") from None
        if array.ndim != 2 or 0 in array.shape:
            raise InputError(f"the PSF image must have two dimensions, not shape {array.shape}")
        if not np.isfinite(array).all():
            raise InputError("the PSF image has values that are not finite")
        if self.oversampling < 1 or self.oversampling != int(self.oversampling):
            raise InputError(f"the PSF image's oversampling must be 1, 2, 3 ..., not {self.oversampling}")
        if not array.sum() > 0:
            raise InputError("the PSF image does not sum to a positive number")
        array /= array.sum()
        extent = (max(array.shape) - 1) // self.oversampling + 1
        object.__setattr__(self, "array", array)
        object.__setattr__(self, "_spline", _Spline.through(array, int(self.oversampling), self.pixel_integrated))
        object.__setattr__(self, "size", self._holding(extent - (extent + 1) % 2))
        fine = np.arange(-(self.size * _FINE // 2), self.size * _FINE // 2 + 1) / _FINE
        image = self._spline.at(fine, fine)
        above = np.count_nonzero(image > image.max() / 2) / _FINE**2  # square pixels
        object.__setattr__(self, "fwhm", 2 * math.sqrt(above / math.pi))

    def _holding(self, widest: int) -> int:
        """The usual width, or that which holds nearly all of the image."""
        if widest <= _USUAL:
            return widest
        offset = np.arange(widest, dtype=np.float64) - widest // 2
        pixels = self._spline.at(offset, offset)
        size = _USUAL
        while size < min(widest, _LARGEST) and _central(pixels, size).sum() < _HELD * pixels.sum():
            size += 2
        return size

    def stamps(self, x: ArrayLike, y: ArrayLike, size: int | None = None) -> FloatArray:
        """See `Psf.stamps`."""
        size = _width(self.size if size is None else size)
        if size not in self._series:
            self._series[size] = self._phase_series(size)
        return self._series[size].evaluate(x, y)

    def _phase_series(self, size: int) -> _PhaseSeries:
        nodes = _nodes(_IMAGE_DEGREE)
        offset = (np.arange(size) - size // 2 - nodes[:, None]).reshape(-1)
        n = len(nodes)
        samples = self._spline.at(offset, offset).reshape(n, size, n, size).transpose(0, 2, 1, 3)
        if not (samples.sum(axis=(2, 3)) > 0).all():
            raise InputError(f"the PSF image does not sum to a positive number on a stamp of {size} pixels")
        return _PhaseSeries.through(samples, 1e-8)


@dataclass(frozen=True, eq=False)
class GridPsf:
    """A PSF that varies over the image: models on a grid of nodes, and between them their bilinear mean.

    Outside the grid the model of its border is used; `extrapolated` says where.

    Parameters
    ----------
    psfs
        Models, or arrays as `ImagePsf` takes; one row per node in y, each with one model per node in x.
    x, y
        Pixel coordinates of the nodes, shapes (nx,) and (ny,), ascending.
    """

    psfs: Sequence[Sequence[Psf | ArrayLike]]
    x: FloatArray
    y: FloatArray
    fwhm: float = field(init=False)
    size: int = field(init=False)
    _models: tuple[tuple[Psf, ...], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        x, y = (np.atleast_1d(np.asarray(nodes, dtype=np.float64)) for nodes in (self.x, self.y))
        for name, nodes in (("x", x), ("y", y)):
            if nodes.ndim != 1 or not len(nodes) or not np.isfinite(nodes).all() or not (np.diff(nodes) > 0).all():
                raise InputError(f"the nodes of a PSF grid in {name} must be finite and ascending")
        models = tuple(tuple(as_psf(psf) for psf in row) for row in self.psfs)
        if len(models) != len(y) or any(len(row) != len(x) for row in models):
            raise InputError(
                f"a PSF grid of {len(y)} x {len(x)} nodes needs as many models, in {len(y)} rows of {len(x)}"
            )
        for name, value in (("x", x), ("y", y), ("_models", models)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "size", max(psf.size for row in models for psf in row))
        middle = np.array([(x[0] + x[-1]) / 2]), np.array([(y[0] + y[-1]) / 2])
        widths = [weight[0] * models[row[0]][column[0]].fwhm for row, column, weight in self._corners(*middle)]
        object.__setattr__(self, "fwhm", float(sum(widths)))

    def stamps(self, x: ArrayLike, y: ArrayLike, size: int | None = None) -> FloatArray:
        """See `Psf.stamps`."""
        size = _width(self.size if size is None else size)
        x, y = np.broadcast_arrays(*(np.atleast_1d(np.asarray(axis, dtype=np.float64)) for axis in (x, y)))
        stamps = np.empty((len(x), size, size))
        corners = self._corners(x, y)
        bottom, left, _ = corners[0]
        cell = bottom * len(self.x) + left
        for one in np.unique(cell):  # its stamps are added up side by side, then each goes to its place once
            here = np.flatnonzero(cell == one)
            total = np.zeros((len(here), size, size))
            for row, column, weight in corners:
                if weight[here].any():
                    model = self._models[row[here[0]]][column[here[0]]]
                    total += weight[here, None, None] * model.stamps(x[here], y[here], size)
            stamps[here] = total
        return stamps

    def extrapolated(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.bool_]:
        """Which positions lie outside the grid of nodes, shape (n,); along an axis with a single node, none does."""
        outside = np.zeros(np.broadcast_shapes(np.shape(x), np.shape(y)), dtype=bool)
        for position, nodes in ((np.asarray(x), self.x), (np.asarray(y), self.y)):
            if len(nodes) > 1:
                outside |= (position < nodes[0]) | (position > nodes[-1])
        return outside

    def _corners(self, x: FloatArray, y: FloatArray) -> list[tuple[NDArray[np.intp], NDArray[np.intp], FloatArray]]:
        """Row, column and weight of the four nodes around each position."""
        column, right = _between(self.x, x)
        row, upper = _between(self.y, y)
        next_column = np.minimum(column + 1, len(self.x) - 1)
        next_row = np.minimum(row + 1, len(self.y) - 1)
        return [
            (row, column, (1 - upper) * (1 - right)),
            (row, next_column, (1 - upper) * right),
            (next_row, column, upper * (1 - right)),
            (next_row, next_column, upper * right),
        ]


def as_psf(psf: Psf | ArrayLike) -> Psf:
    """The model itself, or for an array with two dimensions the `ImagePsf` of it, natively sampled."""
    if isinstance(psf, Psf):
        return psf
    return ImagePsf(psf)  # type: ignore[arg-type]  # it makes an array of what it is given


@dataclass(frozen=True)
class _PhaseSeries:
    """Stamps as a polynomial in the phase, the star's position within its central pixel.

    ``coefficients`` has shape (terms, size, size); term t is T_i(2 phase_x) T_j(2 phase_y) with i = ``order_x[t]``,
    j = ``order_y[t]``, and T the Chebyshev polynomials.
    """

    coefficients: FloatArray
    order_x: NDArray[np.intp]
    order_y: NDArray[np.intp]

    @classmethod
    def through(cls, samples: FloatArray, tolerance: float) -> _PhaseSeries:
        """The polynomial through stamps at the nodes, each scaled to sum 1.

        ``samples`` has shape (phases in y, phases in x, size, size).  Terms below ``tolerance`` of the peak are left
        out; all but the first sum to 0 over the stamp, so the sum stays.
        """
        transform = _to_coefficients(len(samples) - 1)
        samples = samples / samples.sum(axis=(2, 3), keepdims=True)
        coefficients = np.einsum("aj,bi,jiyx->abyx", transform, transform, samples, optimize=True)
        size = np.abs(coefficients).max(axis=(2, 3))
        size[0, 0] = np.inf
        order_y, order_x = np.nonzero(size > tolerance * np.abs(coefficients[0, 0]).max())
        # In the order of the product in `evaluate`, which would copy them each time.
        return cls(np.ascontiguousarray(coefficients[order_y, order_x]), order_x, order_y)

    def evaluate(self, x: ArrayLike, y: ArrayLike) -> FloatArray:
        """Stamps at the positions, shape (n, size, size)."""
        phase_x, phase_y = _phases(x, y)
        terms = chebvander(2 * phase_x, int(self.order_x.max()))[:, self.order_x]
        terms *= chebvander(2 * phase_y, int(self.order_y.max()))[:, self.order_y]
        stamps = terms @ self.coefficients.reshape(len(self.coefficients), -1)
        return stamps.reshape(-1, *self.coefficients.shape[1:])


@dataclass(frozen=True)
class _Spline:
    """A PSF image as a quintic spline; offsets from its centre are in detector pixels."""

    coefficients: FloatArray
    shape: tuple[int, int]
    oversampling: int
    pixel_integrated: bool

    @classmethod
    def through(cls, array: FloatArray, oversampling: int, pixel_integrated: bool) -> _Spline:
        # Continued smoothly by an odd reflection, so far that the spline's ends are not felt.
        margin = 12 + 2 * oversampling
        wide = (
            np.pad(array, margin, mode="reflect", reflect_type="odd") if min(array.shape) > 1 else np.pad(array, margin)
        )
        row, column = (
            np.linalg.inv(_quintic(np.arange(n)[:, None] - np.arange(n), np.zeros(1))[..., 0]) for n in wide.shape
        )
        return cls(row @ wide @ column.T, (array.shape[0], array.shape[1]), oversampling, pixel_integrated)

    def at(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """The image at each pair of offsets, shape (len(y), len(x))."""
        rows = self._weights(y, self.shape[0], self.coefficients.shape[0])
        columns = self._weights(x, self.shape[1], self.coefficients.shape[1])
        return rows @ self.coefficients @ columns.T

    def _weights(self, offset: FloatArray, n: int, n_wide: int) -> FloatArray:
        """Of each coefficient in the value at each offset, shape (len(offset), n_wide)."""
        inside = np.abs(offset) <= ((n - 1) / self.oversampling + 1) / 2 + 1e-9
        position = offset * self.oversampling + (n_wide - 1) / 2
        k = self.oversampling
        within = np.zeros(1) if self.pixel_integrated else np.arange(k) - (k - 1) / 2  # what one pixel adds up
        return np.where(inside[:, None], _quintic(position[:, None] - np.arange(n_wide), within).sum(axis=-1), 0.0)


def _quintic(position: ArrayLike, shifts: ArrayLike) -> FloatArray:
    """The quintic B-spline at each position plus each shift."""
    distance = np.minimum(np.abs(np.asarray(position, dtype=np.float64)[..., None] + np.asarray(shifts)), 3.0)
    total: FloatArray = np.zeros(distance.shape)
    for knot, sign in ((3, 1), (2, -6), (1, 15)):
        total += sign * np.maximum(knot - distance, 0.0) ** 5
    return total / 120


def _fill_in_size(psf: GaussianPsf | MoffatPsf) -> None:
    if not (math.isfinite(psf.fwhm) and psf.fwhm > 0):
        raise InputError(f"a PSF's width must be a positive number of pixels, not {psf.fwhm}")
    size = min(max(2 * math.ceil(3 * psf.fwhm) + 1, _SMALLEST), _LARGEST) if psf.size is None else _width(psf.size)
    object.__setattr__(psf, "size", size)


def _central(pixels: FloatArray, size: int) -> FloatArray:
    first = (len(pixels) - size) // 2
    return pixels[first : first + size, first : first + size]


def _width(size: int) -> int:
    if size != int(size) or size < 1 or size % 2 == 0:
        raise InputError(f"the width of a stamp must be an odd number of pixels, not {size}")
    return int(size)


def _phases(x: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Positions within their pixels, each in [-1/2, 1/2)."""
    x, y = (np.atleast_1d(np.asarray(axis, dtype=np.float64)) for axis in (x, y))
    return x - np.floor(x + 0.5), y - np.floor(y + 0.5)


def _nodes(degree: int) -> FloatArray:
    """Phases through which a polynomial of this degree is laid, descending."""
    return np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1)) / 2


def _to_coefficients(degree: int) -> FloatArray:
    """From values at the nodes to Chebyshev coefficients, shape (degree + 1, degree + 1)."""
    matrix = chebvander(2 * _nodes(degree), degree).T * 2 / (degree + 1)
    matrix[0] /= 2
    return matrix


def _between(nodes: FloatArray, position: FloatArray) -> tuple[NDArray[np.intp], FloatArray]:
    """Number of the node before each position, and how far the position is on its way to the next, in [0, 1]."""
    if len(nodes) == 1:
        return np.zeros(len(position), dtype=np.intp), np.zeros(len(position))
    before = np.clip(np.searchsorted(nodes, position, side="right") - 1, 0, len(nodes) - 2)
    return before, np.clip((position - nodes[before]) / (nodes[before + 1] - nodes[before]), 0.0, 1.0)
