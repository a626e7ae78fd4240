"""Detections as DiaSources: columns of ``dia_source``."""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from l1db.simulate import geometry
from l1db.simulate.detect import Detections
from l1db.simulate.geometry import Floats, Pointing
from l1db.simulate.optics import Optics
from l1db.simulate.pixels import Pixels, bits, usable
from l1db.simulate.plan import Plan
from l1db.simulate.truth import Columns

# The column for each mask plane, and whether it has one for the centre too.
_FLAGS = {
    "BAD": ("pixel_flags_bad", False),
    "CR": ("pixel_flags_cr", True),
    "EDGE": ("pixel_flags_edge", False),
    "NO_DATA": ("pixel_flags_nodata", True),
    "INTRP": ("pixel_flags_interpolated", True),
    "SAT": ("pixel_flags_saturated", True),
    "SUSPECT": ("pixel_flags_suspect", True),
}
_DIPOLE_RADIUS, _DIPOLE_RATIO = 2.0, 3.0  # FWHM; largest over smaller lobe
_MOST_IDS = 100_000  # DiaSources per detector


def source_ids(pointing: Pointing, detector: int, n: int) -> NDArray[np.int64]:
    """Identifiers of a detector's sources: visit, detector and number in one."""
    return (pointing.visit * 1000 + detector) * _MOST_IDS + np.arange(n, dtype=np.int64)


def source_rows(
    pointing: Pointing,
    detector: int,
    found: Detections,
    optics: Optics,
    images: dict[str, Pixels],
    wcs: WCS,
    noise_scale: float,
) -> Columns:
    """A row for each detection; all but ``reliability``, which knows the truth.

    Parameters
    ----------
    noise_scale
        How much larger errors are than from the variance alone.
    """
    n = len(found)
    difference = images["difference"]
    scale = difference.calibration * optics.aperture_correction
    ra, dec = wcs.wcs_pix2world(found.x, found.y, 0) if n else (np.zeros(0), np.zeros(0))
    ra_err, dec_err, covariance = _sky_errors(wcs, found)
    columns: Columns = {
        "dia_source_id": source_ids(pointing, detector, n),
        "visit": np.full(n, pointing.visit),
        "detector": np.full(n, detector, dtype=np.int16),
        "band": np.full(n, pointing.band, dtype=object),
        "midpoint_mjd_tai": np.full(n, pointing.midpoint_mjd_tai),
        "exposure_time": np.full(n, pointing.exposure_time, dtype=np.float32),
        "ra": np.where(ra % 360 >= 360, 0.0, ra % 360),
        "ra_err": ra_err,
        "dec": dec,
        "dec_err": dec_err,
        "ra_dec_cov": covariance,
        "x": found.x,
        "x_err": found.x_err,
        "y": found.y,
        "y_err": found.y_err,
        "is_negative": found.flux < 0,
        "snr": np.abs(found.snr),
        "psf_flux": found.flux * scale,
        "psf_flux_err": found.flux_err * scale,
        "psf_chi2": found.chi2,
        "psf_ndata": found.n_pix,
    }
    for kind, name in (("science", "science"), ("template", "template"), ("snap_difference", "snap_diff")):
        flux, error = _fluxes(images[kind], found, optics.aperture_correction, noise_scale)
        columns[f"{name}_flux"], columns[f"{name}_flux_err"] = flux, error
    columns["is_dipole"] = _dipoles(found, optics.fwhm)
    columns["bbox_size"] = found.bbox_size
    columns |= _pixel_flags(difference.mask, found)
    for name in ("ra_err", "dec_err", "ra_dec_cov", "x", "x_err", "y", "y_err", "snr", "psf_flux", "psf_flux_err",
                 "psf_chi2", "science_flux", "science_flux_err", "template_flux", "template_flux_err", "snap_diff_flux",
                 "snap_diff_flux_err"):  # fmt: skip
        columns[name] = columns[name].astype(np.float32)
    return columns


def reliability(plan: Plan, pointing: Pointing, detector: int, is_real: NDArray[np.bool_], snr: Floats) -> Floats:
    """A classifier's score, better the brighter a source is; it errs both ways."""
    random = plan.random("reliability", pointing.visit, detector)
    sure = np.clip(np.abs(snr) / 10, 0.6, 2)
    real, bogus = random.beta(6 * sure, 1.3), random.beta(1.3, 6 * sure)
    return np.where(is_real, real, bogus).astype(np.float32)


def _sky_errors(wcs: WCS, found: Detections) -> tuple[Floats, Floats, Floats]:
    """Errors of ra (with cos(dec)) and dec, degrees, and their covariance, by the WCS at each source."""
    if not len(found):
        return np.zeros(0), np.zeros(0), np.zeros(0)
    here = geometry.vectors(*wcs.wcs_pix2world(found.x, found.y, 0))
    east, north = geometry.east_and_north(*geometry.sky(here))
    jacobian = np.empty((len(found), 2, 2))
    for axis, (dx, dy) in enumerate(((1.0, 0.0), (0.0, 1.0))):
        step = geometry.vectors(*wcs.wcs_pix2world(found.x + dx, found.y + dy, 0)) - here
        jacobian[:, 0, axis] = np.degrees((step * east).sum(axis=1))
        jacobian[:, 1, axis] = np.degrees((step * north).sum(axis=1))
    errors = np.stack([found.x_err, found.y_err], axis=1) ** 2
    covariance = np.einsum("nik,nk,njk->nij", jacobian, errors, jacobian)
    return np.sqrt(covariance[:, 0, 0]), np.sqrt(covariance[:, 1, 1]), covariance[:, 0, 1]


def _fluxes(image: Pixels, found: Detections, aperture_correction: float, noise_scale: float) -> tuple[Floats, Floats]:
    """PSF flux and its error at the detections on another image, nJy; NaN where nothing is to be had."""
    flux, error = np.full(len(found), np.nan), np.full(len(found), np.nan)
    side = len(image.image)
    for i, psf in enumerate(found.psf):
        half = len(psf) // 2
        low, left = int(np.floor(found.y[i] + 0.5)) - half, int(np.floor(found.x[i] + 0.5)) - half
        rows, columns = slice(max(low, 0), low + len(psf)), slice(max(left, 0), left + len(psf))
        values, variance = image.image[rows, columns], image.variance[rows, columns]
        model = psf[rows.start - low : side - low, columns.start - left : side - left]
        good = usable(image.mask[rows, columns]) & np.isfinite(values) & np.isfinite(variance)
        if power := float((model[good] ** 2).sum()):
            flux[i] = (model[good] * values[good]).sum() / power
            error[i] = np.sqrt((model[good] ** 2 * variance[good]).sum()) / power * noise_scale
    scale = image.calibration * aperture_correction
    return flux * scale, error * scale


def _dipoles(found: Detections, fwhm: float) -> NDArray[np.bool_]:
    """Which detections have one of the other sign and of similar flux beside them."""
    apart = np.hypot(found.x[:, None] - found.x, found.y[:, None] - found.y)
    ratio = np.abs(found.flux[:, None] / found.flux) if len(found) else apart
    opposite = np.sign(found.flux)[:, None] != np.sign(found.flux)
    alike = (ratio < _DIPOLE_RATIO) & (ratio > 1 / _DIPOLE_RATIO)
    return np.asarray((opposite & alike & (apart < _DIPOLE_RADIUS * fwhm)).any(axis=1))


def _pixel_flags(mask: NDArray[np.int32], found: Detections) -> Columns:
    """What the mask says in the square of each detection, and in its central 3 x 3 pixels."""
    n, side = len(found), len(mask)
    flags: Columns = {}
    for name, centre in _FLAGS.values():
        flags[name] = np.zeros(n, dtype=bool)
        if centre:
            flags[f"{name}_center"] = np.zeros(n, dtype=bool)
    flags["pixel_flags_offimage"] = np.zeros(n, dtype=bool)
    for i in range(n):
        row, column = int(np.floor(found.y[i] + 0.5)), int(np.floor(found.x[i] + 0.5))
        half = max(int(found.bbox_size[i]) // 2, 1)
        near = _or(mask[max(row - half, 0) : row + half + 1, max(column - half, 0) : column + half + 1])
        core = _or(mask[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2])
        for plane, (name, centre) in _FLAGS.items():
            flags[name][i] = near & bits(plane)
            if centre:
                flags[f"{name}_center"][i] = core & bits(plane)
        flags["pixel_flags_edge"][i] |= min(row, column) < half or max(row, column) >= side - half
    flags["pixel_flags"] = np.logical_or.reduce([flags[name] for name in flags])
    return flags


def _or(mask: NDArray[np.int32]) -> int:
    return int(np.bitwise_or.reduce(mask, axis=None)) if mask.size else 0


def flux_noise(optics: Optics, image: Pixels, noise_scale: float) -> float:
    """Error of a faint point source's flux, nJy."""
    middle = (optics.side - 1) // 2
    power = float((optics.unit_stamp(middle, middle) ** 2).sum())
    variance = float(np.nanmedian(image.variance))
    return float(np.sqrt(variance / power) * image.calibration * optics.aperture_correction * noise_scale)
