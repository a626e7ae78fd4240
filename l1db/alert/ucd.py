"""What the columns of the database mean in the words of the Virtual Observatory: Unified Content Descriptors.

Words of UCD1+.  The same name means the same thing in all tables, so one mapping serves them all.
"""

from __future__ import annotations

_FLUX = "phot.flux.density"
_DIFFERENCE = "phot.flux.density;arith.diff"
_SHAPE = "src.morph.param"
_PSF_SHAPE = "instr.det.psf"
_FLAG = "meta.code.qual"

# Errors, flags and the statistics of fluxes are not listed: `ucd` makes theirs from their names.
_UCDS = {
    # what is what
    "alert_id": "meta.id;meta.main",
    "first_alert_id": "meta.id.assoc",
    "retracted_alert_id": "meta.id.assoc",
    "kind": "meta.code.class",
    "dia_source_id": "meta.id;obs",
    "parent_dia_source_id": "meta.id.parent",
    "dia_object_id": "meta.id;src",
    "ss_object_id": "meta.id;src",
    "dia_object_version": "meta.version;src",
    "ss_object_version": "meta.version;src",
    "survey_version": "meta.version",
    "survey_name": "meta.id;instr.obsty",
    "database_id": "meta.id;meta.table",
    "ivo_authority": "meta.id;meta.curation",
    "operational": "meta.code.status",
    "visit": "meta.id;obs.exposure",
    "detector": "meta.id;instr.det",
    "attempt": "meta.version",
    "band": "instr.bandpass",
    "reason": "meta.note;obs.exposure",
    "target": "meta.id;obs.field",
    "software": "meta.id;meta.software",
    "template": "meta.id;meta.file",
    "template_sha256": "meta.checksum;meta.file",
    "reliability_version": "meta.version",
    "no_object_reason": "meta.note",
    "is_forced": "meta.code",
    "is_precovery": "meta.code",
    "is_negative": "meta.code",
    "is_dipole": "meta.code.class",
    "dipole_fit_attempted": "meta.code",
    "glint_trail": "meta.code.class",
    "motion_is_due": "meta.code.status",
    "trail_algorithm": "meta.code",
    # when
    "midpoint_mjd_tai": "time.epoch",
    "exposure_time": "time.duration;obs.exposure",
    "day_obs": "time.epoch;obs",
    "first_dia_source_mjd_tai": "time.epoch;stat.min",
    "last_dia_source_mjd_tai": "time.epoch;stat.max",
    "first_epoch_mjd_tai": "time.epoch;stat.min",
    "earliest_mjd_tai": "time.epoch;stat.min",
    "radec_mjd_tai": "time.epoch;stat.mean",
    "stamp": "time.processing",
    "time_processed": "time.processing",
    "time_withdrawn": "time.processing",
    "validity_start": "time.start;time.processing",
    "ss_object_reassoc_time_mjd_tai": "time.processing",
    # where
    "ra": "pos.eq.ra;meta.main",
    "dec": "pos.eq.dec;meta.main",
    "ra_err": "stat.error;pos.eq.ra",
    "dec_err": "stat.error;pos.eq.dec",
    "ra_dec_cov": "stat.covariance;pos.eq.ra;pos.eq.dec",
    "x": "pos.cartesian.x;instr.det",
    "y": "pos.cartesian.y;instr.det",
    "trail_ra": "pos.eq.ra",
    "trail_dec": "pos.eq.dec",
    "pm_ra": "pos.pm;pos.eq.ra",
    "pm_dec": "pos.pm;pos.eq.dec",
    "pm_ra_pm_dec_cov": "stat.covariance;pos.pm",
    "pm_chi2": "stat.fit.chi2;pos.pm",
    "pm_ndata": "meta.number;obs",
    "drift_ra": "pos.pm;pos.eq.ra",
    "drift_dec": "pos.pm;pos.eq.dec",
    "drift_err": "stat.error;pos.pm",
    "boresight_ra": "pos.eq.ra;instr.tel",
    "boresight_dec": "pos.eq.dec;instr.tel",
    "airmass": "obs.airMass",
    "footprint": "pos.outline;obs.field",
    "wcs": "pos.wcs",
    # how bright
    "ap_flux": _DIFFERENCE,
    "psf_flux": _DIFFERENCE,
    "trail_flux": _DIFFERENCE,
    "snap_diff_flux": _DIFFERENCE,
    "dipole_flux_diff": _DIFFERENCE,
    "dipole_mean_flux": "phot.flux.density;stat.mean",
    "science_flux": _FLUX,
    "template_flux": _FLUX,
    "zero_point": "arith.zp;phot.mag",
    "flux_noise": "instr.det.noise;phot.flux.density",
    "snr": "stat.snr",
    "psf_ln_l": "stat.likelihood",
    "psf_chi2": "stat.fit.chi2",
    "psf_ndata": "meta.number;instr.pixel",
    # of what shape
    **dict.fromkeys(("ixx", "iyy", "ixy"), _SHAPE),
    **dict.fromkeys(("ixx_psf", "iyy_psf", "ixy_psf"), _PSF_SHAPE),
    "psf_fwhm": "instr.det.psf;stat.fwhm",
    "extendedness": "src.class.starGalaxy",
    "reliability": "stat.probability",
    "bbox_size": "phys.angSize;instr.pixel",
    "trail_length": "phys.angSize",
    "trail_angle": "pos.posAng",
    "trail_chi2": "stat.fit.chi2",
    "trail_ndata": "meta.number;instr.pixel",
    "dipole_length": "pos.angDistance",
    "dipole_angle": "pos.posAng",
    "dipole_chi2": "stat.fit.chi2",
    "dipole_ndata": "meta.number;instr.pixel",
    # how many
    "n_snaps": "meta.number;obs.exposure",
    "n_dia_sources": "meta.number;obs",
    "n_good_dia_sources": "meta.number;obs",
    "n_forced": "meta.number;obs",
    "daily_ndata": "meta.number;obs",
    # of the packet itself
    "n_history": "meta.number;obs",
    "n_history_shown": "meta.number;obs",
    "n_history_omitted": "meta.number;obs",
    "omitted": "meta.note",
    "full_packet": "meta.ref.uri",
    "cutout_difference": "meta.dataset;obs.image",
    "cutout_science": "meta.dataset;obs.image",
    "cutout_template": "meta.dataset;obs.image",
}

# The statistics of `dia_object_band`: <psf_flux, science_flux or fp_flux>_<what is here>.
_STATISTICS = {
    "mean": "phot.flux.density;stat.mean",
    "mean_err": "stat.error;phot.flux.density;stat.mean",
    "sigma": "stat.stdev;phot.flux.density",
    "ndata": "meta.number;obs",
    "min": "phot.flux.density;stat.min",
    "max": "phot.flux.density;stat.max",
    "err_mean": "stat.error;phot.flux.density",
    "chi2": "stat.fit.chi2;phot.flux.density",
    "max_slope": "arith.rate;phot.flux.density;stat.max",
    "percentile05": "stat.percentile;phot.flux.density",
    "percentile25": "stat.percentile;phot.flux.density",
    "percentile50": "phot.flux.density;stat.median",
    "percentile75": "stat.percentile;phot.flux.density",
    "percentile95": "stat.percentile;phot.flux.density",
    "mad": "stat.mad;phot.flux.density",
    "skew": "stat.skewness;phot.flux.density",
    "stetson_j": "src.var.index;phot.flux.density",
    "linear_slope": "arith.rate;phot.flux.density;stat.fit.param",
    "linear_intercept": "stat.fit.param;phot.flux.density",
}
_UCDS |= {
    f"{flux}_{name}": ucd for flux in ("psf_flux", "science_flux", "fp_flux") for name, ucd in _STATISTICS.items()
}


def ucd(name: str) -> str | None:
    """The UCD of a column by its name in the database; None for a column that is not known.

    >>> ucd("psf_flux"), ucd("psf_flux_err"), ucd("pixel_flags_edge")
    ('phot.flux.density;arith.diff', 'stat.error;phot.flux.density;arith.diff', 'meta.code.qual')
    """
    if name in _UCDS:
        return _UCDS[name]
    if name.endswith("_err") and (measured := _UCDS.get(name.removesuffix("_err"))):
        return f"stat.error;{measured}"
    return _FLAG if "flag" in name else None
