"""The columns of a DiaSource: APDB schema v10.0.0 in its own order, then l1db's additions.

The models make the table from this list, the reader of input tables checks names, types and units against it, and
the binary COPY encodes by it.  The SQL that inserts DiaSources names the same columns; a test compares them.

Sources: LSST ``sdm_schemas`` ``apdb.yaml`` (ApdbSchema 10.0.0) for names, types and units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from l1db.names import to_snake


@dataclass(frozen=True)
class Column:
    """One column of ``dia_source``: its APDB name, SQL type, unit (as astropy spells it) and meaning."""

    apdb_name: str
    sql_type: str
    unit: str
    description: str

    @property
    def name(self) -> str:
        """The database's name."""
        return to_snake(self.apdb_name)

    @property
    def comment(self) -> str:
        """What ``\\d+`` shows: meaning and unit."""
        return f"{self.description} [{self.unit}]" if self.unit else self.description


# numpy's equivalent of each SQL type in use here; text travels as object arrays of str and None.
DTYPES: dict[str, np.dtype] = {
    "bigint": np.dtype("i8"),
    "integer": np.dtype("i4"),
    "smallint": np.dtype("i2"),
    "double precision": np.dtype("f8"),
    "real": np.dtype("f4"),
    "boolean": np.dtype("?"),
    "text": np.dtype("O"),
}

APDB_DIA_SOURCE: tuple[Column, ...] = (
    Column("diaSourceId", "bigint", "", "Identifier; given by the survey, or drawn by l1db from 2^62 upwards"),
    Column("visit", "bigint", "", "Visit (exposure) on which this source was measured"),
    Column("detector", "smallint", "", "Detector on which this source was measured"),
    Column("diaObjectId", "bigint", "", "DiaObject this source belongs to"),
    Column("ssObjectId", "bigint", "", "SSObject this source belongs to"),
    Column("parentDiaSourceId", "bigint", "", "DiaSource this one was deblended from"),
    Column("ssObjectReassocTimeMjdTai", "double precision", "d", "When this source was moved to an SSObject, MJD TAI"),
    Column("midpointMjdTai", "double precision", "d", "Effective mid-visit time of this source, MJD TAI"),
    Column("exposureTime", "real", "s", "Exposure time of the visit"),
    Column("ra", "double precision", "deg", "Right ascension of the centroid, ICRS, [0, 360)"),
    Column("raErr", "real", "deg", "1-sigma error of ra, including cos(dec)"),
    Column("dec", "double precision", "deg", "Declination of the centroid, ICRS"),
    Column("decErr", "real", "deg", "1-sigma error of dec"),
    Column("ra_dec_Cov", "real", "deg**2", "Covariance of ra (including cos(dec)) and dec"),
    Column("x", "real", "pixel", "Column of the centroid; (0, 0) is the centre of the lower left pixel"),
    Column("xErr", "real", "pixel", "1-sigma error of x"),
    Column("y", "real", "pixel", "Row of the centroid"),
    Column("yErr", "real", "pixel", "1-sigma error of y"),
    Column("centroid_flag", "boolean", "", "Centroid measurement failed"),
    Column("apFlux", "real", "nJy", "Aperture flux on the difference image"),
    Column("apFluxErr", "real", "nJy", "1-sigma error of ap_flux"),
    Column("apFlux_flag", "boolean", "", "Aperture flux failed"),
    Column("apFlux_flag_apertureTruncated", "boolean", "", "Aperture does not fit on the image"),
    Column("isNegative", "boolean", "", "Source was detected as significantly negative"),
    Column("snr", "real", "", "Signal-to-noise ratio of the detection"),
    Column("psfFlux", "real", "nJy", "PSF flux on the difference image"),
    Column("psfFluxErr", "real", "nJy", "1-sigma error of psf_flux"),
    Column("psfLnL", "real", "", "Natural log likelihood of the data given the PSF model"),
    Column("psfChi2", "real", "", "Chi-squared of the PSF model fit"),
    Column("psfNdata", "integer", "", "Number of pixels in the PSF model fit"),
    Column("psfFlux_flag", "boolean", "", "PSF flux failed"),
    Column("psfFlux_flag_edge", "boolean", "", "PSF flux: too close to the edge of the image"),
    Column("psfFlux_flag_noGoodPixels", "boolean", "", "PSF flux: no usable pixels"),
    Column("trailFlux", "real", "nJy", "Flux of the trailed-source model"),
    Column("trailFluxErr", "real", "nJy", "1-sigma error of trail_flux"),
    Column("trailRa", "double precision", "deg", "Right ascension of the centre of the trail, ICRS"),
    Column("trailRaErr", "real", "deg", "1-sigma error of trail_ra, including cos(dec)"),
    Column("trailDec", "double precision", "deg", "Declination of the centre of the trail, ICRS"),
    Column("trailDecErr", "real", "deg", "1-sigma error of trail_dec"),
    Column("trailLength", "real", "arcsec", "Length of the trail"),
    Column("trailLengthErr", "real", "arcsec", "1-sigma error of trail_length"),
    Column("trailAngle", "real", "deg", "Position angle of the trail"),
    Column("trailAngleErr", "real", "deg", "1-sigma error of trail_angle"),
    Column("trailChi2", "real", "", "Chi-squared of the trailed-source fit"),
    Column("trailNdata", "integer", "", "Number of pixels in the trailed-source fit"),
    Column("trailAlgorithm", "integer", "", "How the trail was measured: 1 = SDSSShape, 2 = HSMShape"),
    Column("trail_flag_edge", "boolean", "", "Trail runs over the edge of the image"),
    Column("trail_flag", "boolean", "", "Trail fit failed"),
    Column("dipoleMeanFlux", "real", "nJy", "Mean absolute flux of the two lobes of the dipole"),
    Column("dipoleMeanFluxErr", "real", "nJy", "1-sigma error of dipole_mean_flux"),
    Column("dipoleFluxDiff", "real", "nJy", "Difference of the absolute fluxes of the two lobes"),
    Column("dipoleFluxDiffErr", "real", "nJy", "1-sigma error of dipole_flux_diff"),
    Column("dipoleLength", "real", "arcsec", "Separation of the lobes"),
    Column("dipoleAngle", "real", "deg", "Position angle of the dipole, from the negative to the positive lobe"),
    Column("dipoleChi2", "real", "", "Chi-squared of the dipole fit"),
    Column("dipoleNdata", "integer", "", "Number of pixels in the dipole fit"),
    Column("scienceFlux", "real", "nJy", "Forced PSF flux on the calibrated (science) image at this position"),
    Column("scienceFluxErr", "real", "nJy", "1-sigma error of science_flux"),
    Column("forced_PsfFlux_flag", "boolean", "", "Forced PSF flux on the science image failed"),
    Column("forced_PsfFlux_flag_edge", "boolean", "", "Forced PSF flux: too close to the edge of the image"),
    Column("forced_PsfFlux_flag_noGoodPixels", "boolean", "", "Forced PSF flux: no usable pixels"),
    Column("templateFlux", "real", "nJy", "Forced PSF flux on the template at this position"),
    Column("templateFluxErr", "real", "nJy", "1-sigma error of template_flux"),
    Column("ixx", "real", "arcsec**2", "Adaptive second moment of the source, xx"),
    Column("iyy", "real", "arcsec**2", "Adaptive second moment of the source, yy"),
    Column("ixy", "real", "arcsec**2", "Adaptive second moment of the source, xy"),
    Column("ixxPSF", "real", "arcsec**2", "Adaptive second moment of the PSF, xx"),
    Column("iyyPSF", "real", "arcsec**2", "Adaptive second moment of the PSF, yy"),
    Column("ixyPSF", "real", "arcsec**2", "Adaptive second moment of the PSF, xy"),
    Column("shape_flag", "boolean", "", "Shape measurement failed"),
    Column("shape_flag_no_pixels", "boolean", "", "Shape: no pixels to measure"),
    Column("shape_flag_not_contained", "boolean", "", "Shape: centre not contained in the footprint"),
    Column("shape_flag_parent_source", "boolean", "", "Shape: measured on the parent source"),
    Column("extendedness", "real", "", "Extendedness, 0 (point-like) to 1 (extended)"),
    Column("reliability", "real", "", "Probability that the source is astrophysical, 0 to 1"),
    Column("reliabilityVersion", "text", "", "Version of the model behind reliability"),
    Column("band", "text", "", "Filter band of the visit"),
    Column("isDipole", "boolean", "", "Source is well fit by a dipole"),
    Column("dipoleFitAttempted", "boolean", "", "A dipole fit was attempted"),
    Column("timeProcessedMjdTai", "timestamptz", "", "When this source was stored (database time)"),
    Column("timeWithdrawnMjdTai", "timestamptz", "", "When this source was withdrawn (database time)"),
    Column("bboxSize", "integer", "pixel", "Size of the square that contains the source's footprint"),
    Column("pixelFlags", "boolean", "", "Some pixel flag is set"),
    Column("pixelFlags_bad", "boolean", "", "Bad pixel in the footprint"),
    Column("pixelFlags_cr", "boolean", "", "Cosmic ray in the footprint"),
    Column("pixelFlags_crCenter", "boolean", "", "Cosmic ray at the centre"),
    Column("pixelFlags_edge", "boolean", "", "Footprint reaches the edge or a no-data region"),
    Column("pixelFlags_nodata", "boolean", "", "No-data pixel in the footprint"),
    Column("pixelFlags_nodataCenter", "boolean", "", "No-data pixel at the centre"),
    Column("pixelFlags_interpolated", "boolean", "", "Interpolated pixel in the footprint"),
    Column("pixelFlags_interpolatedCenter", "boolean", "", "Interpolated pixel at the centre"),
    Column("pixelFlags_offimage", "boolean", "", "Centre is off the image"),
    Column("pixelFlags_saturated", "boolean", "", "Saturated pixel in the footprint"),
    Column("pixelFlags_saturatedCenter", "boolean", "", "Saturated pixel at the centre"),
    Column("pixelFlags_suspect", "boolean", "", "Suspect pixel in the footprint"),
    Column("pixelFlags_suspectCenter", "boolean", "", "Suspect pixel at the centre"),
    Column("pixelFlags_streak", "boolean", "", "Streak in the footprint"),
    Column("pixelFlags_streakCenter", "boolean", "", "Streak at the centre"),
    Column("pixelFlags_injected", "boolean", "", "Synthetic source injected in the footprint"),
    Column("pixelFlags_injectedCenter", "boolean", "", "Synthetic source injected at the centre"),
    Column("pixelFlags_injected_template", "boolean", "", "Synthetic source injected in the template footprint"),
    Column("pixelFlags_injected_templateCenter", "boolean", "", "Synthetic source injected at the template's centre"),
    Column("glint_trail", "boolean", "", "Source is part of a glint trail"),
)

L1DB_DIA_SOURCE: tuple[Column, ...] = (
    Column("is_forced", "boolean", "", "Forced measurement at the position of a DiaObject, not a detection"),
    Column("is_precovery", "boolean", "", "Forced measurement made after the fact on a cached image"),
    Column("snap_diff_flux", "real", "nJy", "PSF flux on the difference of the snaps, second minus first"),
    Column("snap_diff_flux_err", "real", "nJy", "1-sigma error of snap_diff_flux"),
    Column("no_object_reason", "text", "", "Why a source has no object: duplicate_in_visit, quality, breaker"),
    Column("forced_flags", "integer", "", "Bit mask of the forced photometry"),
    Column("validity_start", "timestamptz", "", "Since when this version of the row holds (database time)"),
)

DIA_SOURCE: tuple[Column, ...] = APDB_DIA_SOURCE + L1DB_DIA_SOURCE
BY_NAME: dict[str, Column] = {column.name: column for column in DIA_SOURCE}
APDB_NAMES: dict[str, str] = {column.name: column.apdb_name for column in APDB_DIA_SOURCE}

# What a survey must hand in for each source ...
REQUIRED = ("visit", "detector", "band", "midpoint_mjd_tai", "ra", "dec", "psf_flux", "psf_flux_err")
# ... what is said once for the visit and detector rather than in each row ...
PER_DETECTOR = ("visit", "detector", "band")
# ... and what only l1db itself may decide.
ASSIGNED = (
    "dia_object_id",
    "ss_object_id",
    "ss_object_reassoc_time_mjd_tai",
    "time_processed",
    "time_withdrawn",
    *(column.name for column in L1DB_DIA_SOURCE if not column.name.startswith("snap_diff")),
)
# The columns that may come in per source, in table order.
GIVEN: tuple[Column, ...] = tuple(c for c in DIA_SOURCE if c.name not in ASSIGNED and c.name not in PER_DETECTOR)
