"""Where the columns of the database go in a packet, and which are left out.

`l1db.alert.avro.schemas` makes the schemas from this, with the types, units and meanings that the models have.  Each
column of ``dia_source``, ``dia_object``, ``dia_object_band``, ``alert_image`` and ``alert`` stands here; a test reads
them from the catalogue of a database, and fails for one that does not.

A name in a packet is a column's name as `l1db.names.to_packet` spells it, and `l1db.names.to_snake` leads back: so an
old schema tells by itself which columns it wants.
"""

from __future__ import annotations

from l1db.columns import APDB_DIA_SOURCE, L1DB_DIA_SOURCE, Column

# --- LSST 11.1 -------------------------------------------------------------------------------------------------------

LSST_BANDS = ("u", "g", "r", "i", "z", "y")

# LSST's records in LSST's order, by our names.
LSST_DIA_SOURCE = tuple(c.name for c in APDB_DIA_SOURCE if c.name != "ss_object_reassoc_time_mjd_tai")
LSST_DIA_SOURCE_NOT_NULL = (
    "dia_source_id", "visit", "detector", "midpoint_mjd_tai", "ra", "dec", "x", "y", "psf_ndata", "trail_ndata",
    "dipole_ndata", "time_processed", "bbox_size",
)  # fmt: skip

# The forced measurements are rows of dia_source, whose id has another name there.
FORCED_ID = ("diaForcedSourceId", "dia_source_id")
LSST_DIA_FORCED_SOURCE = (
    "dia_object_id", "ra", "dec", "visit", "detector", "psf_flux", "psf_flux_err", "midpoint_mjd_tai", "science_flux",
    "science_flux_err", "band", "time_processed", "time_withdrawn",
)  # fmt: skip
LSST_DIA_FORCED_SOURCE_NOT_NULL = (
    "dia_object_id", "ra", "dec", "visit", "detector", "midpoint_mjd_tai", "time_processed",
)  # fmt: skip

LSST_DIA_OBJECT_HEAD = ("dia_object_id", "validity_start", "ra", "ra_err", "dec", "dec_err", "ra_dec_cov")
# Statistics of bands, group after group, each group band by band.
LSST_DIA_OBJECT_BANDS = (
    ("psf_flux_mean", "psf_flux_mean_err", "psf_flux_sigma", "psf_flux_ndata", "fp_flux_mean", "fp_flux_mean_err"),
    ("science_flux_mean", "science_flux_mean_err"),
    ("psf_flux_min", "psf_flux_max", "psf_flux_max_slope", "psf_flux_err_mean"),
)
LSST_DIA_OBJECT_TAIL = ("first_dia_source_mjd_tai", "last_dia_source_mjd_tai", "n_dia_sources")
LSST_DIA_OBJECT_NOT_NULL = ("dia_object_id", "validity_start", "ra", "dec", "psf_flux_ndata", "n_dia_sources")
# Narrower in LSST's record than in the database.
LSST_REAL = ("psf_flux_max_slope",)

# Records that l1db does not fill yet.  Types by their first letter: int, long, float, double, string, timestamp; what
# has a capital may not be null.
LSST_SS_SOURCE = (
    "L:diaSourceId,ssObjectId s:designation D:eclLambda,eclBeta,galLon,galLat f:elongation,phaseAngle,topoRange,"
    "topoRangeRate,helioRange,helioRangeRate d:ephRa,ephDec f:ephVmag,ephRate,ephRateRa,ephRateDec,ephOffset "
    "d:ephOffsetRa,ephOffsetDec f:ephOffsetAlongTrack,ephOffsetCrossTrack,helio_x,helio_y,helio_z,helio_vx,helio_vy,"
    "helio_vz,helio_vtot,topo_x,topo_y,topo_z,topo_vx,topo_vy,topo_vz,topo_vtot i:diaDistanceRank"
)
LSST_MPC_ORBITS = (
    "I:id S:designation,packed_primary_provisional_designation,unpacked_primary_provisional_designation "
    "s:mpc_orb_jsonb t:created_at,updated_at i:orbit_type_int,u_param,nopp d:arc_length_total,arc_length_sel "
    "i:nobs_total,nobs_total_sel d:a,q,e,i,node,argperi,peri_time,yarkovsky,srp,a1,a2,a3,dt,mean_anomaly,period,"
    "mean_motion,a_unc,q_unc,e_unc,i_unc,node_unc,argperi_unc,peri_time_unc,yarkovsky_unc,srp_unc,a1_unc,a2_unc,a3_unc,"
    "dt_unc,mean_anomaly_unc,period_unc,mean_motion_unc,epoch_mjd,h,g,not_normalized_rms,normalized_rms,earth_moid "
    "t:fitting_datetime"
)

# --- l1db ------------------------------------------------------------------------------------------------------------

DIA_SOURCE = (
    *(c.name for c in APDB_DIA_SOURCE),
    "is_forced", "is_precovery", "snap_diff_flux", "snap_diff_flux_err", "no_object_reason", "forced_flags",
    "validity_start",
)  # fmt: skip

# After LSST's: what else a forced row carries.
DIA_FORCED_SOURCE_EXTRAS = (
    "is_precovery", "forced_flags", "exposure_time", "x", "y", "snr", "psf_chi2", "psf_ndata", "psf_flux_flag",
    "psf_flux_flag_edge", "psf_flux_flag_no_good_pixels", "snap_diff_flux", "snap_diff_flux_err", "validity_start",
)  # fmt: skip

# After LSST's.
DIA_OBJECT_EXTRAS = (
    "n_forced", "n_good_dia_sources", "first_epoch_mjd_tai", "radec_mjd_tai", "earliest_mjd_tai", "pm_ra", "pm_ra_err",
    "pm_dec", "pm_dec_err", "pm_ra_pm_dec_cov", "pm_chi2", "pm_ndata", "drift_ra", "drift_dec", "drift_err",
)  # fmt: skip

DIA_OBJECT_BAND = (
    "band", "validity_start", "psf_flux_mean", "psf_flux_mean_err", "psf_flux_sigma", "psf_flux_ndata", "psf_flux_min",
    "psf_flux_max", "psf_flux_err_mean", "psf_flux_chi2", "psf_flux_max_slope", "science_flux_mean",
    "science_flux_mean_err", "science_flux_sigma", "fp_flux_mean", "fp_flux_mean_err", "fp_flux_sigma",
    "psf_flux_percentile05", "psf_flux_percentile25", "psf_flux_percentile50", "psf_flux_percentile75",
    "psf_flux_percentile95", "psf_flux_mad", "psf_flux_skew", "psf_flux_stetson_j", "psf_flux_linear_slope",
    "psf_flux_linear_intercept", "daily_ndata",
)  # fmt: skip

# What `Content.image` has; its types are those that leave the database.
ALERT_IMAGE: tuple[Column, ...] = (
    Column("visit", "bigint", "", "Visit (exposure)"),
    Column("detector", "smallint", "", "Detector"),
    Column("stampMjdTai", "double precision", "d", "Stamp of the transaction that stored the visit's sources, MJD TAI"),
    Column("attempt", "smallint", "", "1 for the first ingest of the detector, one more for each replacement"),
    Column("band", "text", "", "Filter band"),
    Column("midpointMjdTai", "double precision", "d", "Middle of the exposure, MJD TAI"),
    Column("exposureTime", "real", "s", "Exposure time"),
    Column("boresightRa", "double precision", "deg", "Right ascension of the boresight, ICRS"),
    Column("boresightDec", "double precision", "deg", "Declination of the boresight, ICRS"),
    Column("airmass", "real", "", "Airmass at the boresight"),
    Column("dayObs", "text", "", "Night of the exposure, YYYY-MM-DD: date of UTC less the survey's offset"),
    Column("nSnaps", "smallint", "", "Number of snaps of the exposure"),
    Column("footprint", "text", "deg", "Outline of the image on the sky: WKT polygon, longitude = ra, or ra - 360"),
    Column("psfFwhm", "real", "pixel", "Full width at half maximum of the PSF"),
    Column("zeroPoint", "real", "mag", "Magnitude of one count per second"),
    Column("fluxNoise", "real", "nJy", "Noise of a point source's flux"),
    Column("software", "text", "", "What produced the sources"),
    Column("wcs", "text", "", "World coordinates of the difference image: cards of a FITS header"),
    Column("template", "text", "", "Name of the template's file"),
    Column("templateSha256", "text", "", "SHA-256 of the template's file, hexadecimal"),
)
ALERT_IMAGE_NOT_NULL = ("visit", "detector", "stamp", "attempt", "band", "midpoint_mjd_tai", "day_obs")

# The packet itself: columns of `Content.alert` ...
ALERT: tuple[Column, ...] = (
    Column("alertId", "bigint", "", "Identifier of the alert in its database"),
    Column("kind", "text", "", "detection, forced, or retraction: diaSource was withdrawn"),
    Column("databaseId", "text", "", "Identifier of the database, a UUID; with alertId it names the alert for ever"),
    Column("surveyName", "text", "", "Name of the survey"),
    Column("surveyVersion", "integer", "", "Version of the survey's rules under which the alert was issued"),
    Column("operational", "boolean", "", "False: the survey is being tested"),
    Column("stampMjdTai", "double precision", "d", "When the database was asked, MJD TAI: it says what was known then"),
    Column("diaSourceId", "bigint", "", "Identifier of the triggering DiaSource"),
)
SS_OBJECT: tuple[Column, ...] = (
    Column("ssObjectId", "bigint", "", "SSObject that the triggering DiaSource belongs to"),
    Column("ssObjectVersionMjdTai", "double precision", "d", "Version of the SSObject: when it began to hold, MJD TAI"),
)
# ... and, under the names that LSST gives them, columns of `Content.image`.
OF_IMAGE = {"observation_reason": "reason", "target_name": "target"}

# --- what is not said ------------------------------------------------------------------------------------------------

NOT_IN_LSST: dict[str, tuple[str, ...]] = {
    "dia_source": ("ss_object_reassoc_time_mjd_tai", *(c.name for c in L1DB_DIA_SOURCE)),
    "dia_object": DIA_OBJECT_EXTRAS,
    "dia_object_band": (
        "validity_start", "psf_flux_chi2", "science_flux_sigma", "fp_flux_sigma", "psf_flux_percentile05",
        "psf_flux_percentile25", "psf_flux_percentile50", "psf_flux_percentile75", "psf_flux_percentile95",
        "psf_flux_mad", "psf_flux_skew", "psf_flux_stetson_j", "psf_flux_linear_slope", "psf_flux_linear_intercept",
        "daily_ndata",
    ),
    "alert_image": tuple(c.name for c in ALERT_IMAGE),
    "alert": (*(c.name for c in ALERT if c.name != "dia_source_id"), *(c.name for c in SS_OBJECT)),
}  # fmt: skip
"""What 11.1 has no field for, by table."""

LEFT_OUT: dict[str, dict[str, str]] = {
    "dia_source": {},
    "dia_object": {"motion_is_due": "a note for the work by day, nothing about the object"},
    "dia_object_band": {"dia_object_id": "the records are within those of their object"},
    "alert_image": {},
    "alert": {
        "midpoint_mjd_tai": "in diaSource",
        "visit": "in diaSource",
        "detector": "in diaSource",
        "dia_object_id": "in diaSource",
        "dia_object_version": "validityStartMjdTai of diaObject",
        "xid": "of the outbox: it means nothing outside its cluster",
    },
}
"""What no packet says, by table, and why."""
