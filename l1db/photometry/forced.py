"""Forced photometry: the PSF's flux at given positions.

The flux is the unweighted inner product of PSF and pixels, as LSST's ``PsfFlux``; the variance plane speaks in the
error only.  A variance made from the data is smaller where the noise went down, so that weighting with it would favour
low pixels: by 0.2 to 0.6 sigma in blank sky.  Over the good pixels G of a stamp, with PSF phi, data d and variance V:

    a = sum phi^2      flux = sum phi d / a      flux_err^2 = sum phi^2 V / a^2

Bad pixels need no correction, since both sums lose them.  With a noise correlation rho, phi^2 V becomes
phi (rho * phi V), the asterisk being a convolution.  Neighbours closer than two widths of the PSF are fitted together;
see `l1db.photometry.blends`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l1db.errors import InputError
from l1db.images.psf import GridPsf, Psf, as_psf
from l1db.photometry import pixels
from l1db.photometry.blends import blocks, fit_blocks
from l1db.photometry.flags import ForcedFlag
from l1db.photometry.noise import checked_noise_correlation, correlation_matrix
from l1db.photometry.pixels import FloatArray, IntArray, Planes

RESULT = np.dtype(
    [
        ("flux", "f8"),
        ("flux_err", "f8"),
        ("flags", "i4"),
        ("psf_fraction", "f8"),
        ("chi2", "f8"),
        ("n_pix", "i4"),
        ("area", "f8"),
    ]
)
ANY_BIT = -1

_CHUNK_PIXELS = 200_000  # stamps taken at a time: what fits the cache
_SQUARE = 512  # pixels: stamps taken together are from the same square, with few models of a grid and rows of the image
_NOTHING_LEFT = 1e-20  # of the sum of the squared PSF: less than this measures nothing
_LOW_FRACTION = 0.5
_LARGEST_REAL = float(np.finfo(np.float32).max)


def forced_photometry(
    image: ArrayLike,
    variance: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    psf: Psf | ArrayLike,
    *,
    mask: ArrayLike | None = None,
    bad_bits: int = ANY_BIT,
    saturated_bits: int = 0,
    noise_correlation: ArrayLike | None = None,
) -> NDArray[np.void]:
    """Flux of a point source at each position, detected or not.

    Give all that shines, not only what is wanted: positions closer than two widths of the PSF (three, if one is
    bright), and those linked by others in between, are fitted jointly; what is not listed is not known, and its light
    goes to its neighbours.

    Bad pixels never raise.  Where nothing can be measured, flux and error are NaN, and the flags say why.

    Parameters
    ----------
    image, variance
        Shape (ny, nx); real numbers of any type and byte order; the variance, in the square of the image's unit, may
        be one number.
    x, y
        Pixel coordinates, shape (n,); (0, 0) is the centre of the lower left pixel.
    psf
        A model, or an array of shape (k, l) with the PSF at the image's sampling, centred, of any sum above 0.
    mask
        Shape (ny, nx), integer bits or boolean.
    bad_bits
        A pixel with any of these bits in the mask is not used.  Default: any bit.
    saturated_bits
        A pixel with any of these sets `ForcedFlag.SATURATED`; it is used unless it has a bad bit as well.
    noise_correlation
        Autocorrelation of the noise as `measure_noise_correlation` returns it: odd in both dimensions, 1 at the
        centre.  Without it pixels are taken as independent.

    Returns
    -------
    Structured array of shape (n,):

    - ``flux``, ``flux_err``: in the image's unit, of a PSF that sums to 1 on its stamp (before any aperture
      correction); both NaN or both finite;
    - ``flags``: bits of `ForcedFlag`;
    - ``psf_fraction``: of the sum of the squared PSF, what lies on good pixels;
    - ``chi2``: of the good pixels of the stamp, about the model with all neighbours; NaN where nothing was measured;
    - ``n_pix``: number of good pixels;
    - ``area``: (sum phi)^2 / sum phi^2 over good pixels, in pixels.

    Raises
    ------
    InputError
        If shapes do not fit one another, or something is not made of numbers.

    References
    ----------
    LSST ``meas_base``, ``src/PsfFlux.cc``: the same estimator.
    """
    planes = pixels.planes(image, variance, mask, bad_bits, saturated_bits)
    x, y = _positions(x, y)
    psf = as_psf(psf)
    correlation = checked_noise_correlation(noise_correlation)
    result = np.zeros(len(x), dtype=RESULT)
    result["flux"] = result["flux_err"] = result["chi2"] = np.nan
    flags = result["flags"]

    n_rows, n_columns = planes.shape
    half = psf.size // 2
    finite = np.isfinite(x) & np.isfinite(y)
    with np.errstate(invalid="ignore"):
        centred = (x >= -0.5) & (x < n_columns - 0.5) & (y >= -0.5) & (y < n_rows - 0.5)
        touching = finite & (x >= -0.5 - half) & (x < n_columns - 0.5 + half)
        touching &= (y >= -0.5 - half) & (y < n_rows - 0.5 + half)
    flags[~finite] |= ForcedFlag.FAILED
    flags[~centred] |= ForcedFlag.OFFIMAGE_CENTRE
    flags[finite & ~touching] |= ForcedFlag.EDGE_CLIPPED
    if isinstance(psf, GridPsf):
        flags[finite & psf.extrapolated(x, y)] |= ForcedFlag.EXTRAPOLATED_PSF

    if 0 not in planes.shape:
        # First the many stamps that are cut out quickest, then those that reach over the border.
        clear = touching & (x >= half - 0.5) & (x < n_columns - half - 0.5)
        clear &= (y >= half - 0.5) & (y < n_rows - half - 0.5)
        matrix = None if correlation is None else correlation_matrix(correlation, psf.size)
        step = max(_CHUNK_PIXELS // psf.size**2, 1)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            for members in (np.flatnonzero(clear), np.flatnonzero(touching & ~clear)):
                members = members[np.lexsort((x[members] // _SQUARE, y[members] // _SQUARE))]
                for start in range(0, len(members), step):
                    chunk = members[start : start + step]
                    result[chunk] = _singly(planes, x[chunk], y[chunk], psf, matrix, flags[chunk])
            _jointly(planes, x, y, psf, correlation, result)

    failed = ~np.isnan(result["flux"]) & ~(
        (np.abs(result["flux"]) <= _LARGEST_REAL) & (result["flux_err"] > 0) & (result["flux_err"] <= _LARGEST_REAL)
    )
    flags[failed] |= ForcedFlag.FAILED
    nothing = np.isnan(result["flux"])
    flags[nothing & (flags & ForcedFlag.FAILED == 0)] |= ForcedFlag.NO_GOOD_PIXELS
    flags[~finite] |= ForcedFlag.NO_GOOD_PIXELS
    result["flux"][failed | nothing] = np.nan
    result["flux_err"][failed | nothing] = np.nan
    result["chi2"][failed | nothing | ~np.isfinite(result["chi2"])] = np.nan
    flags[result["psf_fraction"] < _LOW_FRACTION] |= ForcedFlag.LOW_PSF_FRACTION
    return result


def _positions(x: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
    axes = []
    for name, given in (("x", x), ("y", y)):
        try:
            axis = np.atleast_1d(np.asarray(np.ma.filled(np.ma.asarray(given, dtype=np.float64), np.nan)))
        except (TypeError, ValueError):
            raise InputError(f"{name} does not consist of numbers") from None
        if axis.ndim != 1:
            raise InputError(f"{name} must have one dimension, not shape {axis.shape}")
        axes.append(axis)
    if axes[0].shape != axes[1].shape:
        raise InputError(f"there are {len(axes[0])} values of x and {len(axes[1])} of y")
    return axes[0], axes[1]


def _singly(
    planes: Planes, x: FloatArray, y: FloatArray, psf: Psf, matrix: FloatArray | None, flags: NDArray[np.int32]
) -> NDArray[np.void]:
    """Each position as if it were alone; ``matrix`` is the correlation of every two pixels of a stamp."""
    n, size = len(x), psf.size
    row = np.floor(y + 0.5).astype(np.int64) - size // 2
    column = np.floor(x + 0.5).astype(np.int64) - size // 2
    stamps = pixels.stamps(planes, row, column, size)
    result = np.zeros(n, dtype=RESULT)
    flags = flags.copy()

    phi = psf.stamps(x, y, size).reshape(n, -1)
    total = np.einsum("ij,ij->i", phi, phi)
    good = stamps.good.reshape(n, -1)
    np.copyto(phi, 0.0, where=~good)
    values = stamps.values.reshape(n, -1)
    variance = stamps.variance.reshape(n, -1)
    information = np.einsum("ij,ij->i", phi, phi)
    fraction = information / total
    measured = fraction > _NOTHING_LEFT
    information[~measured] = np.nan
    flux = np.einsum("ij,ij->i", phi, values) / information
    noise = phi * variance
    if matrix is not None:
        noise = noise @ matrix.T
    error = np.sqrt(np.einsum("ij,ij->i", phi, noise)) / information
    area = np.einsum("ij->i", phi) ** 2 / information

    # What is left beside the star, in its own sigma; the arrays are used up.
    phi *= flux[:, None]
    values -= phi
    values *= values
    values /= variance
    result["flux"], result["flux_err"], result["area"] = flux, error, np.where(measured, area, 0.0)
    result["psf_fraction"] = fraction
    result["chi2"] = np.einsum("ij,ij->i", values, good) if n else 0.0
    result["n_pix"] = np.count_nonzero(good, axis=1)

    half = size // 2
    core = (slice(None), slice(max(half - 1, 0), half + 2), slice(max(half - 1, 0), half + 2))
    unusable = ~stamps.good[core]
    if stamps.inside is not None:
        unusable &= stamps.inside[core]
        flags[~stamps.inside.all(axis=(1, 2))] |= ForcedFlag.EDGE_CLIPPED
    flags[unusable.any(axis=(1, 2))] |= ForcedFlag.MASKED_CENTRE
    flags[stamps.no_variance.any(axis=(1, 2))] |= ForcedFlag.NODATA_VARIANCE
    if stamps.saturated is not None:
        flags[stamps.saturated.any(axis=(1, 2))] |= ForcedFlag.SATURATED
    flags[measured & ~(error > 0)] |= ForcedFlag.FAILED
    result["flags"] = flags
    return result


def _jointly(
    planes: Planes, x: FloatArray, y: FloatArray, psf: Psf, correlation: FloatArray | None, result: NDArray[np.void]
) -> None:
    """Replaces the results of positions that have neighbours."""
    measured: IntArray = np.flatnonzero(np.isfinite(result["flux"]) & np.isfinite(result["flux_err"]))
    groups = blocks(x, y, result["flux"].copy(), result["flux_err"].copy(), measured, psf)
    for fit in fit_blocks(planes, x, y, psf, correlation, groups):
        flags = result["flags"]
        flags[fit.unresolved] |= ForcedFlag.BLENDED_UNRESOLVED
        flags[fit.members] |= ForcedFlag.BLENDED_JOINT
        result["flux"][fit.members] = fit.flux
        result["flux_err"][fit.members] = fit.flux_err
        result["chi2"][fit.members] = fit.chi2
