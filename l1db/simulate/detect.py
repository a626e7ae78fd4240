"""Detection on a difference image by a matched filter.

1. *Filter.*  At each pixel the PSF of the image's centre is fitted, unweighted, to the usable pixels around:
   flux = sum(psf d) / sum(psf^2), variance = sum(psf^2 V) / sum(psf^2)^2 (times what correlated noise adds).  Both are
   convolutions; flux over error is a map of signal-to-noise.
2. *Peaks.*  Local maxima of its absolute value above the threshold, none within a FWHM of a higher one.
3. *Fit.*  Each peak gets the vertex of parabolas through the logarithm of the filtered image for its position, and the
   flux of the PSF at that place; the fitted model is taken off the image.  Then come sweeps over all peaks, each with
   the others' models taken off, in which a linear fit of the PSF and its slopes moves them: a joint fit of blends.
4. *Again* on what is left, for what stood in the light of others.  There a peak must also stand out of what a slightly
   wrong PSF leaves of a bright neighbour.

Neither truth nor `l1db.photometry` is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from l1db.simulate.geometry import Floats
from l1db.simulate.optics import Optics

THRESHOLD = 5.0
_ROUNDS = 3
_SWEEPS = 3
_LEAST_FRACTION = 0.5  # of the PSF's squared sum that must lie on usable pixels
_RESIDUAL = 0.1  # of the light taken off at a place; a new peak must be more
_MOVE = 0.02  # pixels; a stamp is drawn anew if its source moved further


@dataclass(frozen=True)
class Detections:
    """What was found on one image; each array of shape (n,).

    Parameters
    ----------
    x, y
        Pixels.
    x_err, y_err
        1-sigma errors, pixels.
    flux, flux_err
        Counts, of the PSF on its stamp: without aperture correction.
    snr
        Of the flux; negative for negative sources.
    chi2, n_pix
        Of the fit of the PSF.
    bbox_size
        Side of the square, centred on the source, out of which nothing of it is above the threshold, pixels.
    psf
        Stamps, shape (n, size, size).
    """

    x: Floats
    y: Floats
    x_err: Floats
    y_err: Floats
    flux: Floats
    flux_err: Floats
    snr: Floats
    chi2: Floats
    n_pix: NDArray[np.int32]
    bbox_size: NDArray[np.int32]
    psf: Floats

    def __len__(self) -> int:
        return len(self.x)


@dataclass
class _Source:
    """A source while it is fitted."""

    x: float
    y: float
    flux: float
    stamp: Floats


def find_sources(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    usable: NDArray[np.bool_],
    optics: Optics,
    *,
    correlation: Floats | None = None,
    threshold: float = THRESHOLD,
) -> tuple[Detections, Floats]:
    """Find the sources of both signs.

    Parameters
    ----------
    image, variance
        Shape (ny, nx).
    usable
        Pixels to look at; of these, the finite ones of positive variance are.
    optics
        The PSF.
    correlation
        Autocorrelation of the noise, if it is not white.
    threshold
        Least signal-to-noise.

    Returns
    -------
    Detections, and the map of signal-to-noise, shape (ny, nx).
    """
    good = usable & np.isfinite(image) & np.isfinite(variance) & (variance > 0)
    # A margin all around, so that every stamp lies on the arrays.
    margin = optics.size
    good = np.pad(good, margin)
    residual = np.where(good, np.pad(image.astype(float), margin), 0.0)
    noise = np.where(good, np.pad(variance.astype(float), margin), 0.0)
    middle = (optics.side - 1) // 2
    psf = optics.unit_stamp(middle, middle)
    slopes = _slopes(optics)
    scale = noise_scale(optics, correlation)
    filtered = _Filter(psf, good, noise, scale)
    sources: list[_Source] = []
    first: Floats | None = None
    for _ in range(_ROUNDS):
        snr = filtered.snr(residual)
        first = snr if first is None else first
        light = np.zeros_like(residual)
        for source in sources:
            light[_window(source, optics.size, margin)] += abs(source.flux) * source.stamp
        taken_off = filtered.snr(light) if sources else light
        peaks = _peaks(np.where(np.abs(snr) > _RESIDUAL * taken_off, snr, 0.0), threshold, optics.fwhm)
        if not len(peaks):
            break
        for row, column in peaks.tolist():
            sources.append(_Source(column - margin, row - margin, 0.0, np.zeros_like(psf)))
        for sweep in range(_SWEEPS):
            for source in sources:
                _refit(source, residual, good, optics, psf, margin, first=sweep == 0)
    assert first is not None
    found = [_measure(s, residual, noise, good, slopes, scale, margin, first) for s in sources]
    kept = sorted((row for row in found if abs(row["snr"]) >= threshold), key=lambda row: (row["y"], row["x"]))

    def of_all(name: str) -> Floats:
        return np.array([row[name] for row in kept], dtype=float)

    detections = Detections(
        x=of_all("x"),
        y=of_all("y"),
        x_err=of_all("x_err"),
        y_err=of_all("y_err"),
        flux=of_all("flux"),
        flux_err=of_all("flux_err"),
        snr=of_all("snr"),
        chi2=of_all("chi2"),
        n_pix=of_all("n_pix").astype(np.int32),
        bbox_size=of_all("bbox_size").astype(np.int32),
        psf=of_all("psf").reshape(-1, optics.size, optics.size),
    )
    return detections, first[margin:-margin, margin:-margin]


# --- filter and peaks ------------------------------------------------------------------------------------------------


class _Filter:
    """The matched filter on one image; what does not depend on its values is computed once."""

    def __init__(self, psf: Floats, good: NDArray[np.bool_], noise: Floats, scale: float) -> None:
        self._shape = tuple(_fast_length(n + len(psf)) for n in good.shape)
        self._size = len(psf)
        self._psf = self._transform(psf[::-1, ::-1])
        squared = self._transform(psf[::-1, ::-1] ** 2)
        fraction = self._convolved(good.astype(float), squared) / (psf**2).sum()
        sigma = np.sqrt(np.maximum(self._convolved(noise, squared), 0)) * scale
        self._inverse = np.divide(1, sigma, out=np.zeros_like(sigma), where=(fraction > _LEAST_FRACTION) & (sigma > 0))

    def snr(self, image: Floats) -> Floats:
        """Signal-to-noise of a PSF at each pixel; 0 where too little of it is on usable pixels."""
        return self._convolved(image, self._psf) * self._inverse

    def _transform(self, array: Floats) -> NDArray[np.complex128]:
        return np.asarray(np.fft.rfft2(array, self._shape))

    def _convolved(self, image: Floats, kernel: NDArray[np.complex128]) -> Floats:
        whole = np.fft.irfft2(self._transform(image) * kernel, self._shape)
        half = self._size // 2
        return np.asarray(whole[half : half + image.shape[0], half : half + image.shape[1]])


def _fast_length(n: int) -> int:
    """The next number without a prime factor above 5."""
    while True:
        rest = n
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return n
        n += 1


def _peaks(snr: Floats, threshold: float, radius: float) -> NDArray[np.int64]:
    """Local maxima of the absolute value, shape (n, 2), highest first, none within ``radius`` of a higher one."""
    height = np.abs(snr)
    peaks = np.argwhere(height[1:-1, 1:-1] >= threshold) + 1
    around = sliding_window_view(height, (3, 3))[peaks[:, 0] - 1, peaks[:, 1] - 1]
    peaks = peaks[around[:, 1, 1] == around.max(axis=(1, 2))]
    peaks = peaks[np.argsort(-height[peaks[:, 0], peaks[:, 1]], kind="stable")]
    kept: list[NDArray[np.int64]] = []
    for peak in peaks:
        if not kept or (((np.array(kept) - peak) ** 2).sum(axis=1) > radius**2).all():
            kept.append(peak)
    return np.array(kept, dtype=np.int64).reshape(-1, 2)


def _slopes(optics: Optics) -> tuple[Floats, Floats]:
    """What a star in the middle of the image and of a pixel changes by if it moves along x, and along y, per pixel."""
    middle, step = float((optics.side - 1) // 2), 0.1
    along_x = optics.unit_stamp(middle + step, middle) - optics.unit_stamp(middle - step, middle)
    along_y = optics.unit_stamp(middle, middle + step) - optics.unit_stamp(middle, middle - step)
    return along_x / (2 * step), along_y / (2 * step)


def noise_scale(optics: Optics, correlation: Floats | None) -> float:
    """How much larger the error of a PSF flux is than that of white noise of the same variance."""
    if correlation is None:
        return 1.0
    middle = (optics.side - 1) // 2
    psf = optics.unit_stamp(middle, middle)
    # The noise of each pixel goes with that of pixels beyond the stamp too, but these have no weight in the flux.
    smoothed = np.einsum(
        "ijkl,kl->ij", sliding_window_view(np.pad(psf, len(correlation) // 2), correlation.shape), correlation
    )
    return float(np.sqrt((psf * smoothed).sum() / (psf**2).sum()))


# --- fit -------------------------------------------------------------------------------------------------------------


def _window(source: _Source, width: int, margin: int) -> tuple[slice, slice]:
    row, column = int(np.floor(source.y + 0.5)) + margin, int(np.floor(source.x + 0.5)) + margin
    half = width // 2
    return slice(row - half, row + half + 1), slice(column - half, column + half + 1)


def _refit(
    source: _Source,
    residual: Floats,
    good: NDArray[np.bool_],
    optics: Optics,
    psf: Floats,
    margin: int,
    *,
    first: bool,
) -> None:
    """Put a source back on the image, find its place and flux, and take it off again."""
    at = _window(source, optics.size, margin)
    residual[at] += source.flux * source.stamp * good[at]
    if first:
        x, y = _vertices(source, residual, good, psf, margin)
    else:
        x, y = _moved(source, residual[at], good[at])
    x, y = (float(np.clip(value, -0.5, optics.side - 0.5)) for value in (x, y))
    if first or np.hypot(x - source.x, y - source.y) > _MOVE:
        source.x, source.y = x, y
        source.stamp = optics.unit_stamp(x, y)
    at = _window(source, optics.size, margin)
    model = source.stamp * good[at]
    power = (model**2).sum()
    source.flux = float((model * residual[at]).sum() / power) if power > 0 else 0.0
    residual[at] -= source.flux * model


def _moved(source: _Source, image: Floats, good: NDArray[np.bool_]) -> tuple[float, float]:
    """One step of a fit of the PSF's flux and place, half a pixel at most."""
    slope_y, slope_x = np.gradient(source.stamp, axis=0), np.gradient(source.stamp, axis=1)
    columns = np.stack([source.stamp[good], slope_x[good], slope_y[good]], axis=1)
    flux, by_x, by_y = np.linalg.lstsq(columns, image[good], rcond=1e-3)[0].tolist()
    if flux * source.flux <= 0:
        return source.x, source.y
    step_x, step_y = (float(np.clip(-by / flux, -0.5, 0.5)) for by in (by_x, by_y))
    return source.x + step_x, source.y + step_y


def _vertices(source: _Source, image: Floats, good: NDArray[np.bool_], psf: Floats, margin: int) -> tuple[float, float]:
    """The vertex of the parabolas through the logarithm of the filtered image around the source's pixel."""
    rows, columns = _window(source, len(psf) + 2, margin)
    power = sliding_window_view(good[rows, columns], psf.shape)
    seen = sliding_window_view(image[rows, columns], psf.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        flux = np.einsum("ijkl,kl->ij", seen, psf) / np.einsum("ijkl,kl->ij", power, psf**2)
        height = np.log(flux * np.sign(flux[1, 1]))
    row, column = np.floor(source.y + 0.5), np.floor(source.x + 0.5)
    x = column + _vertex(height[1, 0], height[1, 1], height[1, 2])
    y = row + _vertex(height[0, 1], height[1, 1], height[2, 1])
    return float(x), float(y)


def _vertex(before: float, here: float, after: float) -> float:
    """Of a parabola through values at -1, 0 and 1; within a pixel, and 0 where there is none."""
    curvature = 2 * here - before - after
    if not (np.isfinite(curvature) and curvature > 0):
        return 0.0
    return float(np.clip((after - before) / (2 * curvature), -0.75, 0.75))


def _measure(
    source: _Source,
    residual: Floats,
    noise: Floats,
    good: NDArray[np.bool_],
    slopes: tuple[Floats, Floats],
    scale: float,
    margin: int,
    snr: Floats,
) -> dict[str, Any]:
    at = _window(source, len(source.stamp), margin)
    model, here = source.stamp * good[at], noise[at]
    power = (model**2).sum()
    flux_err = float(np.sqrt((model**2 * here).sum()) / power * scale) if power > 0 else np.inf
    left, n_pix = residual[at], int(good[at].sum())
    chi2 = float(np.divide(left**2, here, out=np.zeros_like(left), where=good[at] & (here > 0)).sum())
    errors = []
    for slope in slopes:
        steepness = (slope**2 * good[at]).sum()
        error = np.sqrt((slope**2 * here).sum()) / steepness if steepness > 0 else np.inf
        errors.append(float(error / max(abs(source.flux), 1e-30)) * scale)
    return {
        "x": source.x,
        "y": source.y,
        "x_err": errors[0],
        "y_err": errors[1],
        "flux": source.flux,
        "flux_err": flux_err,
        "snr": source.flux / flux_err,
        "chi2": chi2,
        "n_pix": n_pix,
        "bbox_size": _bbox_size(source, snr, margin),
        "psf": source.stamp,
    }


def _bbox_size(source: _Source, snr: Floats, margin: int) -> int:
    """Side of the smallest square around the source with nothing of its sign above the threshold on its border."""
    sign = np.sign(source.flux)
    row, column = int(np.floor(source.y + 0.5)) + margin, int(np.floor(source.x + 0.5)) + margin
    for half in range(2, 51):
        if half >= min(row, column, snr.shape[0] - row, snr.shape[1] - column):
            return 2 * half + 1
        square = sign * snr[row - half : row + half + 1, column - half : column + half + 1]
        border = max(square[0].max(), square[-1].max(), square[:, 0].max(), square[:, -1].max())
        if border < THRESHOLD:
            return 2 * half + 1
    return 101
