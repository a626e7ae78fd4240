"""What a survey hands in: one visit, and for each of its detectors the DiaSources found there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l1db.errors import InputError

Columns = Mapping[str, ArrayLike]

# The images of a detector: what was seen, minus the template; what was seen, calibrated; what it was compared with; and
# what changed between the snaps, second minus first.
IMAGE_KINDS = ("difference", "science", "template", "snap_difference")


def refuse_unknown_kinds(images: Mapping[str, str], where: str) -> None:
    """Raise InputError if images are of kinds that l1db does not know, and would not measure."""
    if unknown := [kind for kind in images if kind not in IMAGE_KINDS]:
        raise InputError(f"{where}: {unknown[0]!r} is no kind of image; known are {', '.join(IMAGE_KINDS)}")


@dataclass(frozen=True)
class ImageFile:
    """An image on its way into the database.

    ``sha256`` and ``n_bytes`` are those of the file at ``uri``; ``wcs`` has the FITS cards of its WCS, one a line,
    and is None if it was not read.
    """

    kind: str
    uri: str
    sha256: bytes
    n_bytes: int
    wcs: str | None = None


@dataclass(frozen=True)
class Measured:
    """What the images of a detector gave, before its sources are associated.

    Parameters
    ----------
    forced
        Columns of ``stage_forced``, each of shape (n,), one row for each DiaObject that was expected in or near the
        image; NaN is NULL.
    sources
        Columns of ``dia_source`` measured at the detector's sources, each of shape (number of sources,).
    footprint
        Corners of the image, shape (k, 2), degrees.
    files
        The images.
    trouble
        Why the images could not be measured, in one line; None if they could.
    """

    forced: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    sources: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    footprint: ArrayLike | None = None
    files: tuple[ImageFile, ...] = ()
    trouble: str | None = None


@dataclass(frozen=True)
class Visit:
    """One exposure.

    Parameters
    ----------
    visit
        Identifier of the exposure.
    band
        Filter band, one of the survey's.
    midpoint_mjd_tai
        Middle of the exposure, MJD TAI.
    exposure_time
        Seconds.
    boresight_ra, boresight_dec
        Degrees, ICRS.
    airmass
        Dimensionless.
    n_snaps
        Number of snaps the exposure consists of.
    n_detectors
        Number of detectors that are expected to hand in sources.
    reason, target
        Why the exposure was taken, and of what.
    """

    visit: int
    band: str
    midpoint_mjd_tai: float
    exposure_time: float | None = None
    boresight_ra: float | None = None
    boresight_dec: float | None = None
    airmass: float | None = None
    n_snaps: int | None = None
    n_detectors: int | None = None
    reason: str | None = None
    target: str | None = None


@dataclass(frozen=True)
class DetectorData:
    """The DiaSources of one detector of a visit.

    Parameters
    ----------
    detector
        Number of the detector.
    sources
        Columns by their name in ``dia_source``, each of shape (n,): ``ra``, ``dec``, ``psf_flux`` and
        ``psf_flux_err`` at least; see `l1db.columns.GIVEN`.  ``midpoint_mjd_tai`` defaults to the visit's.  A masked
        array's masked values, NaN in a floating point column and None in an object array are NULL.  Empty for a
        detector on which nothing was found.
    footprint
        Corners of the image on the sky, shape (k, 2), degrees, ICRS, in order around the border.  Without it the
        hull of the sources is used, padded by 20 arcsec.
    psf_fwhm
        Pixels.  Images without a PSF of their own are measured with a Moffat profile of this width.
    zero_point
        Magnitude of one count per second.
    flux_noise
        Noise of a point source's flux, nJy.
    software
        What produced the sources, with version.
    row_numbers
        Row of each source in the table it came from, shape (n,), counted from 1; used in error messages only.
    images
        URI of each image, by its kind, one of `IMAGE_KINDS`.  At the DiaObjects that are expected in the difference
        image and not seen, its flux is measured, and those on the science image and the snap difference.
    measured
        What was measured on the images already; without it the client measures.
    cutouts
        What the sources' alerts are to show, by kind: ``difference``, ``science``, ``template``; of each a FITS file or
        a gzipped one for every source, None where there is none.  Only with ``dia_source_id``.
    """

    detector: int
    sources: Columns = field(default_factory=dict)
    footprint: ArrayLike | None = None
    psf_fwhm: float | None = None
    zero_point: float | None = None
    flux_noise: float | None = None
    software: str | None = None
    row_numbers: NDArray[np.int64] | None = None
    images: Mapping[str, str] = field(default_factory=dict)
    measured: Measured | None = None
    cutouts: Mapping[str, Sequence[bytes | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        refuse_unknown_kinds(self.images, f"detector {self.detector}")

    def __len__(self) -> int:
        return next((len(column) for column in map(np.asarray, self.sources.values())), 0)


@dataclass(frozen=True)
class DetectorResult:
    """What became of one detector.

    ``status`` is ``stored``, ``unchanged`` (the same data were stored before), ``replaced``, ``supplemented``,
    ``released``, or ``revised`` (the same data were stored before, and a source of them that was the duplicate of a
    replaced one has an object now).  The counts are those of the detector as it is stored; of a supplemented or revised
    one they say what this call added, which for a revised one is a negative number of sources without object.
    ``image_trouble`` says why the images that this call was given could not be measured; None if they could, or none
    came.
    """

    detector: int
    attempt: int
    status: str
    n_sources: int
    n_associated: int
    n_new_objects: int
    n_without_object: int
    n_alerts: int
    n_forced: int
    n_forced_queued: int
    time_processed: datetime
    image_trouble: str | None = None


@dataclass(frozen=True)
class IngestResult:
    """What became of one call of `l1db.Client.ingest`; ``warnings`` tell what was left out, one line each."""

    visit: int
    detectors: tuple[DetectorResult, ...]
    seconds: Mapping[str, float]
    warnings: tuple[str, ...] = ()

    @property
    def n_sources(self) -> int:
        """DiaSources stored, over all detectors."""
        return sum(d.n_sources for d in self.detectors)

    @property
    def n_new_objects(self) -> int:
        """DiaObjects founded, over all detectors."""
        return sum(d.n_new_objects for d in self.detectors)

    @property
    def n_alerts(self) -> int:
        """Alerts issued, over all detectors."""
        return sum(d.n_alerts for d in self.detectors)

    @property
    def n_forced(self) -> int:
        """Forced measurements stored, over all detectors."""
        return sum(d.n_forced for d in self.detectors)

    @property
    def n_forced_queued(self) -> int:
        """Forced measurements that were expected and could not be made, over all detectors."""
        return sum(d.n_forced_queued for d in self.detectors)
