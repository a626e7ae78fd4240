"""Forced photometry of a visit, before its sources are associated: at every DiaObject that its images should show.

What is measured here is decided upon later, by the database: it alone knows which of the objects the visit saw.

Images without a PSF (LSST's keep theirs in an archive that only LSST's software opens) are measured with the detector's
``psf_fwhm``, if it is known, and a profile like that which turbulent air makes.  Of stars with such a profile the flux
is right to 1 %; but optics add wings, and of stars with Moffat profiles of exponents from 4 to 3 it is too low by 3 to
11 %.  (With a Gaussian it would be lower by another 13 % for all of them.)  So `ForcedFlag.ASSUMED_PSF` is set where
the difference image is one of these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l1db.errors import InputError
from l1db.images.exposure import BAD_PLANES, Exposure
from l1db.images.fits import read_exposure
from l1db.images.fits.cards import wcs_text
from l1db.images.identity import refuse_other
from l1db.images.psf import GaussianPsf, MoffatPsf
from l1db.images.uri import describe
from l1db.photometry import ForcedFlag, forced_photometry
from l1db.targets import Targets
from l1db.visit import DetectorData, ImageFile, Measured, Visit

FloatArray = NDArray[np.float64]

# What is measured on each image, and where it goes.
COLUMNS = {
    "difference": ("psf_flux", "psf_flux_err"),
    "science": ("science_flux", "science_flux_err"),
    "snap_difference": ("snap_diff_flux", "snap_diff_flux_err"),
}
# A source nearer to an object than this, in units of the PSF's width, is that object to a fit of neighbours.
SAME = 0.3
# Exponent of the Moffat profile nearest to the PSF of turbulent air: Trujillo et al. 2001, MNRAS 328, 977.
TURBULENT = 4.765

_LARGEST_REAL = float(np.finfo(np.float32).max)

FindTargets = Callable[[Mapping[int, ArrayLike]], Mapping[int, Targets]]


def measure(visit: Visit, detectors: Sequence[DetectorData], find_targets: FindTargets) -> list[DetectorData]:
    """Measure the images of a visit, one detector after the other: together they would fill any memory.

    Parameters
    ----------
    visit
        The exposure.
    detectors
        Its detectors; those without images, or measured already, are returned as they are.
    find_targets
        Returns the DiaObjects in and around images, given their corners by detector.

    Returns
    -------
    list[DetectorData]
        With what was measured.  An image that cannot be used, or by its header is another, ends no ingest:
        ``measured.trouble`` says why, and nothing is measured on that detector.
    """
    return [
        replace(d, measured=_measured(d, _read(visit, d), find_targets)) if d.images and d.measured is None else d
        for d in detectors
    ]


def describe_image(
    kind: str, uri: str, detector: int, visit: int, exposed: Visit | None
) -> tuple[ImageFile, FloatArray | None]:
    """The file of an image that is to be measured later, and if it is the difference image, its corners.

    Parameters
    ----------
    kind, uri
        One of `l1db.visit.IMAGE_KINDS`, and where it is.
    detector, visit
        What it shows.
    exposed
        What is known of the visit.

    Returns
    -------
    file : ImageFile
    corners : ndarray, shape (k, 2), or None
        Degrees.

    Raises
    ------
    InputError
        If the file cannot be read, or by its header is another image.
    """
    file = _file(kind, uri)
    if kind not in COLUMNS:
        return file, None
    # Nothing here depends on the PSF: whether there is one shows when the image is measured.
    exposure = read_exposure(uri, default_psf=GaussianPsf(1.0))
    refuse_other(exposure, uri, kind, detector, visit, exposed)
    return replace(file, wcs=wcs_text(exposure)), exposure.corners() if kind == "difference" else None


def _file(kind: str, uri: str) -> ImageFile:
    sha256, n_bytes = describe(uri)
    return ImageFile(kind, uri, bytes.fromhex(sha256), n_bytes)


@dataclass(frozen=True)
class _Read:
    """The images of a detector that could be read; those without a PSF have the one that is assumed."""

    exposures: Mapping[str, Exposure]
    assumed_psf: MoffatPsf | None
    files: tuple[ImageFile, ...]
    footprint: FloatArray | None
    trouble: str | None


def _read(visit: Visit, detector: DetectorData) -> _Read:
    exposures: dict[str, Exposure] = {}
    files = []
    trouble = None if "difference" in detector.images else "there is no difference image"
    fwhm = detector.psf_fwhm
    assumed = MoffatPsf(fwhm, TURBULENT) if fwhm is not None and 0 < fwhm < np.inf else None
    for kind, uri in detector.images.items():
        try:
            file = _file(kind, uri)
            if kind in COLUMNS:
                exposure = read_exposure(uri, default_psf=assumed)
                refuse_other(exposure, uri, kind, detector.detector, visit.visit, visit)
                exposures[kind] = exposure
                file = replace(file, wcs=wcs_text(exposure))
        except InputError as error:
            trouble = trouble or str(error)
            continue
        files.append(file)
    shown = next((kind for kind in COLUMNS if kind in exposures), None)
    if shown is not None and (n_off := _off(detector, exposures[shown])):
        trouble = trouble or f"{detector.images[shown]}: most of the detector's sources ({n_off}) do not lie on it"
        shown = None
    return _Read(exposures, assumed, tuple(files), None if shown is None else exposures[shown].corners(), trouble)


def _off(detector: DetectorData, exposure: Exposure) -> int:
    """How many of the detector's sources lie off an image, if it is most of them: then it is not its image."""
    x, y = exposure.pixel(*_places(detector))
    ny, nx = exposure.image.shape
    margin = exposure.psf.size
    n_on = int(np.count_nonzero((x > -margin) & (x < nx + margin) & (y > -margin) & (y < ny + margin)))
    return len(x) - n_on if 2 * n_on < len(x) else 0


def _places(detector: DetectorData) -> tuple[FloatArray, FloatArray]:
    """Of the detector's sources, degrees."""
    ra, dec = (np.asarray(detector.sources.get(name, []), dtype=float) for name in ("ra", "dec"))
    return ra, dec


def _measured(detector: DetectorData, read: _Read, find_targets: FindTargets) -> Measured:
    about = Measured(footprint=read.footprint, files=read.files, trouble=read.trouble)
    if read.trouble is not None or read.footprint is None:
        return about
    targets = find_targets({detector.detector: read.footprint})[detector.detector]
    ra, dec = _places(detector)
    at_sources = {name: values for kind in read.exposures for name, values in _at(read.exposures[kind], kind, ra, dec)
                  if kind != "difference"}  # fmt: skip
    forced = _at_objects(read.exposures, targets, ra, dec)
    if read.exposures["difference"].psf is read.assumed_psf:
        forced["forced_flags"] |= ForcedFlag.ASSUMED_PSF
    return replace(about, forced=forced, sources=at_sources)


def _at(exposure: Exposure, kind: str, ra: FloatArray, dec: FloatArray) -> list[tuple[str, FloatArray]]:
    """Flux and error at positions on the sky, in nJy."""
    fluxes = _fluxes(exposure, *exposure.pixel(ra, dec))
    return [(name, fluxes[field]) for name, field in zip(COLUMNS[kind], ("flux", "flux_err"), strict=True)]


def _at_objects(
    exposures: Mapping[str, Exposure], targets: Targets, source_ra: FloatArray, source_dec: FloatArray
) -> dict[str, NDArray[Any]]:
    """The columns of ``stage_forced``."""
    difference = exposures["difference"]
    x, y = difference.pixel(targets.ra, targets.dec)
    ny, nx = difference.image.shape
    margin = difference.psf.size / 2
    near = (x > -0.5 - margin) & (x < nx - 0.5 + margin) & (y > -0.5 - margin) & (y < ny - 0.5 + margin)
    chosen = np.flatnonzero(near & targets.is_target)
    others = np.flatnonzero(near & ~targets.is_target)
    n = len(chosen)

    # What may take flux from a target: the other objects, and sources that are none of them.
    source_x, source_y = difference.pixel(source_ra, source_dec)
    alone = _alone(source_x, source_y, x[near], y[near], SAME * difference.psf.fwhm)
    ra = np.concatenate([targets.ra[chosen], targets.ra[others], source_ra[alone]])
    dec = np.concatenate([targets.dec[chosen], targets.dec[others], source_dec[alone]])

    columns: dict[str, NDArray[Any]] = {
        "dia_object_id": targets.dia_object_id[chosen],
        "ra": targets.ra[chosen],
        "dec": targets.dec[chosen],
        "x": x[chosen],
        "y": y[chosen],
        "is_on_image": (x >= -0.5) & (x < nx - 0.5) & (y >= -0.5) & (y < ny - 0.5),
    }
    columns["is_on_image"] = columns["is_on_image"][chosen]
    for kind, names in COLUMNS.items():
        if kind not in exposures:
            columns.update({name: np.full(n, np.nan) for name in names})
            continue
        exposure = exposures[kind]
        fluxes = _fluxes(exposure, *exposure.pixel(ra, dec))[:n]
        columns[names[0]], columns[names[1]] = fluxes["flux"], fluxes["flux_err"]
        if kind == "difference":
            columns["psf_chi2"], columns["psf_ndata"] = fluxes["chi2"], fluxes["n_pix"]
            columns["forced_flags"] = fluxes["flags"]
    return columns


def _fluxes(exposure: Exposure, x: FloatArray, y: FloatArray) -> NDArray[np.void]:
    """Forced photometry in nJy."""
    measured = forced_photometry(
        exposure.image,
        exposure.variance,
        x,
        y,
        exposure.psf,
        mask=exposure.mask,
        bad_bits=exposure.bits(*BAD_PLANES),
        saturated_bits=exposure.bits("SAT"),
        noise_correlation=exposure.noise_correlation,
    )
    scale = exposure.calibration * exposure.aperture_correction
    measured["flux"] *= scale
    measured["flux_err"] *= scale
    flux, error = np.abs(measured["flux"]), measured["flux_err"]
    unknown = ~((flux <= _LARGEST_REAL) & (error > 0) & (error <= _LARGEST_REAL))
    measured["flux"][unknown] = measured["flux_err"][unknown] = np.nan
    measured["flags"][unknown] |= ForcedFlag.FAILED
    measured["chi2"][unknown | ~(measured["chi2"] <= _LARGEST_REAL)] = np.nan
    return measured


def _alone(x: FloatArray, y: FloatArray, other_x: FloatArray, other_y: FloatArray, radius: float) -> NDArray[np.bool_]:
    """Which positions have none of the others within the radius; shape (n,)."""
    if len(x) == 0 or len(other_x) == 0:
        return np.ones(len(x), dtype=bool)
    order = np.argsort(other_y)
    other_x, other_y = other_x[order], other_y[order]
    start, end = np.searchsorted(other_y, y - radius), np.searchsorted(other_y, y + radius, side="right")
    alone = np.ones(len(x), dtype=bool)
    for i in np.flatnonzero(end > start):
        strip = slice(start[i], end[i])
        alone[i] = not ((other_x[strip] - x[i]) ** 2 + (other_y[strip] - y[i]) ** 2 <= radius**2).any()
    return alone
