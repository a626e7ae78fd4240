"""The tables: survey, visits and their ledger, sources, objects, and the outbox of alerts.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Columns that a table shares with its history: name, type, comment.

DIA_SOURCE = (
    ("dia_source_id", "bigint not null", "Identifier; given by the survey, or drawn by l1db from 2^62 upwards"),
    ("visit", "bigint not null", "Visit (exposure) on which this source was measured"),
    ("detector", "smallint not null", "Detector on which this source was measured"),
    ("dia_object_id", "bigint", "DiaObject this source belongs to"),
    ("ss_object_id", "bigint", "SSObject this source belongs to"),
    ("parent_dia_source_id", "bigint", "DiaSource this one was deblended from"),
    ("ss_object_reassoc_time_mjd_tai", "double precision", "When this source was moved to an SSObject, MJD TAI [d]"),
    ("midpoint_mjd_tai", "double precision not null", "Effective mid-visit time of this source, MJD TAI [d]"),
    ("exposure_time", "real", "Exposure time of the visit [s]"),
    ("ra", "double precision not null", "Right ascension of the centroid, ICRS, [0, 360) [deg]"),
    ("ra_err", "real", "1-sigma error of ra, including cos(dec) [deg]"),
    ("dec", "double precision not null", "Declination of the centroid, ICRS [deg]"),
    ("dec_err", "real", "1-sigma error of dec [deg]"),
    ("ra_dec_cov", "real", "Covariance of ra (including cos(dec)) and dec [deg**2]"),
    ("x", "real", "Column of the centroid; (0, 0) is the centre of the lower left pixel [pixel]"),
    ("x_err", "real", "1-sigma error of x [pixel]"),
    ("y", "real", "Row of the centroid [pixel]"),
    ("y_err", "real", "1-sigma error of y [pixel]"),
    ("centroid_flag", "boolean", "Centroid measurement failed"),
    ("ap_flux", "real", "Aperture flux on the difference image [nJy]"),
    ("ap_flux_err", "real", "1-sigma error of ap_flux [nJy]"),
    ("ap_flux_flag", "boolean", "Aperture flux failed"),
    ("ap_flux_flag_aperture_truncated", "boolean", "Aperture does not fit on the image"),
    ("is_negative", "boolean", "Source was detected as significantly negative"),
    ("snr", "real", "Signal-to-noise ratio of the detection"),
    ("psf_flux", "real", "PSF flux on the difference image [nJy]"),
    ("psf_flux_err", "real", "1-sigma error of psf_flux [nJy]"),
    ("psf_ln_l", "real", "Natural log likelihood of the data given the PSF model"),
    ("psf_chi2", "real", "Chi-squared of the PSF model fit"),
    ("psf_ndata", "integer", "Number of pixels in the PSF model fit"),
    ("psf_flux_flag", "boolean", "PSF flux failed"),
    ("psf_flux_flag_edge", "boolean", "PSF flux: too close to the edge of the image"),
    ("psf_flux_flag_no_good_pixels", "boolean", "PSF flux: no usable pixels"),
    ("trail_flux", "real", "Flux of the trailed-source model [nJy]"),
    ("trail_flux_err", "real", "1-sigma error of trail_flux [nJy]"),
    ("trail_ra", "double precision", "Right ascension of the centre of the trail, ICRS [deg]"),
    ("trail_ra_err", "real", "1-sigma error of trail_ra, including cos(dec) [deg]"),
    ("trail_dec", "double precision", "Declination of the centre of the trail, ICRS [deg]"),
    ("trail_dec_err", "real", "1-sigma error of trail_dec [deg]"),
    ("trail_length", "real", "Length of the trail [arcsec]"),
    ("trail_length_err", "real", "1-sigma error of trail_length [arcsec]"),
    ("trail_angle", "real", "Position angle of the trail [deg]"),
    ("trail_angle_err", "real", "1-sigma error of trail_angle [deg]"),
    ("trail_chi2", "real", "Chi-squared of the trailed-source fit"),
    ("trail_ndata", "integer", "Number of pixels in the trailed-source fit"),
    ("trail_algorithm", "integer", "How the trail was measured: 1 = SDSSShape, 2 = HSMShape"),
    ("trail_flag_edge", "boolean", "Trail runs over the edge of the image"),
    ("trail_flag", "boolean", "Trail fit failed"),
    ("dipole_mean_flux", "real", "Mean absolute flux of the two lobes of the dipole [nJy]"),
    ("dipole_mean_flux_err", "real", "1-sigma error of dipole_mean_flux [nJy]"),
    ("dipole_flux_diff", "real", "Difference of the absolute fluxes of the two lobes [nJy]"),
    ("dipole_flux_diff_err", "real", "1-sigma error of dipole_flux_diff [nJy]"),
    ("dipole_length", "real", "Separation of the lobes [arcsec]"),
    ("dipole_angle", "real", "Position angle of the dipole, from the negative to the positive lobe [deg]"),
    ("dipole_chi2", "real", "Chi-squared of the dipole fit"),
    ("dipole_ndata", "integer", "Number of pixels in the dipole fit"),
    ("science_flux", "real", "Forced PSF flux on the calibrated (science) image at this position [nJy]"),
    ("science_flux_err", "real", "1-sigma error of science_flux [nJy]"),
    ("forced_psf_flux_flag", "boolean", "Forced PSF flux on the science image failed"),
    ("forced_psf_flux_flag_edge", "boolean", "Forced PSF flux: too close to the edge of the image"),
    ("forced_psf_flux_flag_no_good_pixels", "boolean", "Forced PSF flux: no usable pixels"),
    ("template_flux", "real", "Forced PSF flux on the template at this position [nJy]"),
    ("template_flux_err", "real", "1-sigma error of template_flux [nJy]"),
    ("ixx", "real", "Adaptive second moment of the source, xx [arcsec**2]"),
    ("iyy", "real", "Adaptive second moment of the source, yy [arcsec**2]"),
    ("ixy", "real", "Adaptive second moment of the source, xy [arcsec**2]"),
    ("ixx_psf", "real", "Adaptive second moment of the PSF, xx [arcsec**2]"),
    ("iyy_psf", "real", "Adaptive second moment of the PSF, yy [arcsec**2]"),
    ("ixy_psf", "real", "Adaptive second moment of the PSF, xy [arcsec**2]"),
    ("shape_flag", "boolean", "Shape measurement failed"),
    ("shape_flag_no_pixels", "boolean", "Shape: no pixels to measure"),
    ("shape_flag_not_contained", "boolean", "Shape: centre not contained in the footprint"),
    ("shape_flag_parent_source", "boolean", "Shape: measured on the parent source"),
    ("extendedness", "real", "Extendedness, 0 (point-like) to 1 (extended)"),
    ("reliability", "real", "Probability that the source is astrophysical, 0 to 1"),
    ("reliability_version", "text", "Version of the model behind reliability"),
    ("band", "text not null", "Filter band of the visit"),
    ("is_dipole", "boolean", "Source is well fit by a dipole"),
    ("dipole_fit_attempted", "boolean", "A dipole fit was attempted"),
    ("time_processed", "timestamptz not null", "When this source was stored (database time)"),
    ("time_withdrawn", "timestamptz", "When this source was withdrawn (database time)"),
    ("bbox_size", "integer", "Size of the square that contains the source's footprint [pixel]"),
    ("pixel_flags", "boolean", "Some pixel flag is set"),
    ("pixel_flags_bad", "boolean", "Bad pixel in the footprint"),
    ("pixel_flags_cr", "boolean", "Cosmic ray in the footprint"),
    ("pixel_flags_cr_center", "boolean", "Cosmic ray at the centre"),
    ("pixel_flags_edge", "boolean", "Footprint reaches the edge or a no-data region"),
    ("pixel_flags_nodata", "boolean", "No-data pixel in the footprint"),
    ("pixel_flags_nodata_center", "boolean", "No-data pixel at the centre"),
    ("pixel_flags_interpolated", "boolean", "Interpolated pixel in the footprint"),
    ("pixel_flags_interpolated_center", "boolean", "Interpolated pixel at the centre"),
    ("pixel_flags_offimage", "boolean", "Centre is off the image"),
    ("pixel_flags_saturated", "boolean", "Saturated pixel in the footprint"),
    ("pixel_flags_saturated_center", "boolean", "Saturated pixel at the centre"),
    ("pixel_flags_suspect", "boolean", "Suspect pixel in the footprint"),
    ("pixel_flags_suspect_center", "boolean", "Suspect pixel at the centre"),
    ("pixel_flags_streak", "boolean", "Streak in the footprint"),
    ("pixel_flags_streak_center", "boolean", "Streak at the centre"),
    ("pixel_flags_injected", "boolean", "Synthetic source injected in the footprint"),
    ("pixel_flags_injected_center", "boolean", "Synthetic source injected at the centre"),
    ("pixel_flags_injected_template", "boolean", "Synthetic source injected in the template footprint"),
    ("pixel_flags_injected_template_center", "boolean", "Synthetic source injected at the template's centre"),
    ("glint_trail", "boolean", "Source is part of a glint trail"),
    (
        "is_forced",
        "boolean default false not null",
        "Forced measurement at the position of a DiaObject, not a detection",
    ),
    ("is_precovery", "boolean default false not null", "Forced measurement made after the fact on a cached image"),
    ("snap_diff_flux", "real", "PSF flux on the difference of the snaps, second minus first [nJy]"),
    ("snap_diff_flux_err", "real", "1-sigma error of snap_diff_flux [nJy]"),
    ("no_object_reason", "text", "Why a source has no object: duplicate_in_visit, quality, breaker"),
    ("forced_flags", "integer", "Bit mask of the forced photometry"),
    ("validity_start", "timestamptz not null", "Since when this version of the row holds (database time)"),
)

DIA_OBJECT = (
    ("dia_object_id", "bigint not null", "Identifier; its upper 27 bits are the level-12 q3c cell of the discovery"),
    ("validity_start", "timestamptz not null", "Since when this version holds (database time)"),
    ("ra", "double precision not null", "Right ascension, ICRS: mean of the detections [deg]"),
    ("ra_err", "real", "1-sigma error of ra, including cos(dec) [deg]"),
    ("dec", "double precision not null", "Declination, ICRS: mean of the detections [deg]"),
    ("dec_err", "real", "1-sigma error of dec [deg]"),
    ("ra_dec_cov", "real", "Covariance of ra (including cos(dec)) and dec [deg**2]"),
    ("n_dia_sources", "integer not null", "Number of detections in the history window"),
    ("n_forced", "integer not null", "Number of forced rows in the history window"),
    ("first_dia_source_mjd_tai", "double precision not null", "Midpoint of the earliest detection, MJD TAI [d]"),
    ("last_dia_source_mjd_tai", "double precision not null", "Midpoint of the latest detection, MJD TAI [d]"),
)

DIA_OBJECT_BAND = (
    ("dia_object_id", "bigint not null", "DiaObject"),
    ("band", "text not null", "Filter band"),
    ("validity_start", "timestamptz not null", "Since when this version holds (database time)"),
    ("psf_flux_mean", "real", "Weighted mean of psf_flux [nJy]"),
    ("psf_flux_mean_err", "real", "1-sigma error of psf_flux_mean [nJy]"),
    ("psf_flux_sigma", "real", "Standard deviation of psf_flux; NULL for one epoch [nJy]"),
    ("psf_flux_ndata", "integer not null", "Number of epochs in the statistics"),
    ("psf_flux_min", "real", "Least psf_flux [nJy]"),
    ("psf_flux_max", "real", "Largest psf_flux [nJy]"),
)


def create_table(
    name: str, comment: str, columns: tuple[tuple[str, str, str], ...], *constraints: str, suffix: str = ""
) -> None:
    """Create one table of schema l1 with the comments of its columns."""
    body = ",\n    ".join([*(f"{column} {kind}" for column, kind, _ in columns), *constraints])
    op.execute(f"create table l1.{name} (\n    {body}\n){suffix}")
    for column, _, meaning in columns:
        comment_on(f"column l1.{name}.{column}", meaning)
    comment_on(f"table l1.{name}", comment)


def without_defaults(columns: tuple[tuple[str, str, str], ...]) -> tuple[tuple[str, str, str], ...]:
    """Columns as a history has them: every value was written by the table before."""
    return tuple((name, kind.replace(" default false", ""), meaning) for name, kind, meaning in columns)


def comment_on(what: str, comment: str) -> None:
    """Comment on a table or column."""
    quoted = comment.replace("'", "''")
    op.execute(f"comment on {what} is '{quoted}'")


def upgrade() -> None:
    op.execute("create sequence l1.dia_object_seq start with 1 maxvalue 68719476735 no cycle")
    op.execute("create sequence l1.dia_source_seq start with 4611686018427387904 minvalue 4611686018427387904 no cycle")
    op.execute("create sequence l1.alert_seq start with 1 no cycle")

    create_table(
        "survey",
        "The survey's rules: immutable versions, the highest in force",
        (
            ("survey_version", "integer not null", "Version of the rules; the highest is in force"),
            ("created_at", "timestamptz default now() not null", "When this version was made"),
            ("created_by", "text default SESSION_USER not null", "Database login that made it"),
            ("reason", "text not null", "Why it was made"),
            ("database_id", "uuid not null", "Identity of this Level 1 Database, the same in every version"),
            ("profile", "text not null", "Named set of rules this one started from: seed, rubin or ztf"),
            ("name", "text not null", "Name of the survey"),
            ("operational", "boolean default false not null", "False: alerts are marked as tests"),
            ("ivo_authority", "text not null", "IVOA authority under which alerts are named"),
            ("bands", "text[] not null", "Filter bands, in the order in which they are shown"),
            ("night_offset_hours", "real not null", "day_obs is the date of UTC minus this many hours [h]"),
            (
                "association_radius",
                "double precision not null",
                "Largest separation of a source from its object [arcsec]",
            ),
            ("error_floor", "double precision not null", "Least combined position error used in association [arcsec]"),
            ("outlier_fraction", "double precision not null", "Share of true pairs whose offset no error explains"),
            (
                "calibration_min_pairs",
                "integer not null",
                "Fewest pairs from which a detector's extra variance is measured",
            ),
            (
                "density_min_sources",
                "integer not null",
                "Fewest sources from which the density of new ones is measured",
            ),
            (
                "default_extra_variance",
                "double precision not null",
                "Extra variance where there are too few pairs [arcsec**2]",
            ),
            (
                "default_new_density",
                "double precision not null",
                "Density of new sources where it is not measured [arcsec**-2]",
            ),
            ("history_days", "double precision", "Window of statistics and packets before the trigger [d]; NULL: all"),
            ("stats_include_forced", "boolean not null", "Flux statistics use forced rows as well as detections"),
            ("quality_gate", "boolean not null", "Sources with fatal flags or low reliability found no object"),
            ("gate_min_reliability", "real", "Reliability that a source needs to found an object"),
            ("gate_min_snr", "real", "Signal-to-noise ratio that a source needs to found an object"),
            ("max_new_objects", "integer", "More new objects than this on a detector: none is made; NULL: no limit"),
            ("alert_on", "text not null", "Which sources raise alerts: detections, or all (forced rows too)"),
        ),
        "constraint survey_pkey primary key (survey_version)",
        "constraint survey_alert_on_check check (alert_on IN ('detections', 'all'))",
        "constraint survey_association_radius_check check (association_radius > 0 AND association_radius <= 15)",
        "constraint survey_bands_check check (cardinality(bands) > 0 AND array_position(bands, NULL) IS NULL)",
        "constraint survey_defaults_check check (default_extra_variance >= 0 AND default_new_density > 0)",
        "constraint survey_error_floor_check check (error_floor > 0 AND error_floor <= association_radius)",
        "constraint survey_gate_min_reliability_check check (gate_min_reliability BETWEEN 0 AND 1)",
        "constraint survey_history_days_check check (history_days > 0)",
        "constraint survey_max_new_objects_check check (max_new_objects >= 0)",
        "constraint survey_minima_check check (calibration_min_pairs > 0 AND density_min_sources > 0)",
        "constraint survey_night_offset_check check (night_offset_hours >= 0 AND night_offset_hours < 24)",
        "constraint survey_outlier_fraction_check check (outlier_fraction > 0 AND outlier_fraction < 1)",
        "constraint survey_profile_check check (profile IN ('seed', 'rubin', 'ztf'))",
        "constraint survey_version_check check (survey_version > 0)",
    )
    create_table(
        "visit",
        "One row per exposure, written before its sources",
        (
            ("visit", "bigint not null", "Identifier of the exposure"),
            ("band", "text not null", "Filter band"),
            ("midpoint_mjd_tai", "double precision not null", "Middle of the exposure, MJD TAI [d]"),
            ("exposure_time", "real", "Exposure time [s]"),
            ("boresight_ra", "double precision", "Right ascension of the boresight, ICRS [deg]"),
            ("boresight_dec", "double precision", "Declination of the boresight, ICRS [deg]"),
            ("airmass", "real", "Airmass at the boresight"),
            ("day_obs", "date not null", "Night of the exposure: date of UTC less the survey's offset"),
            ("n_snaps", "smallint", "Number of snaps of the exposure"),
            ("n_detectors", "smallint", "Number of detectors expected to hand in sources"),
            ("reason", "text", "Why the exposure was taken"),
            ("target", "text", "What it was taken of"),
            (
                "opened_at",
                "timestamptz default clock_timestamp() not null",
                "When the visit became known (database time)",
            ),
        ),
        "constraint visit_pkey primary key (visit)",
        "constraint visit_boresight_check check (boresight_ra >= 0 AND boresight_ra < 360 AND boresight_dec BETWEEN -90 AND 90)",
        "constraint visit_exposure_time_check check (exposure_time >= 0 AND exposure_time < 86400)",
        "constraint visit_midpoint_check check (midpoint_mjd_tai > 0 AND midpoint_mjd_tai < 2400000)",
    )
    op.execute("create index visit_day_obs_idx on l1.visit (day_obs)")
    create_table(
        "visit_detector",
        "The ledger: what was ingested, when, from what data, with what result",
        (
            ("visit", "bigint not null", "Exposure"),
            ("detector", "smallint not null", "Detector"),
            ("attempt", "smallint not null", "1 for the first ingest, one more for each replacement"),
            ("survey_version", "integer not null", "Rules under which it was ingested"),
            (
                "footprint",
                "public.geography(Polygon, 4326)",
                "Outline of the image on the sky, longitude = ra, or ra - 360 above 180 [deg]; NULL: not given",
            ),
            ("psf_fwhm", "real", "Full width at half maximum of the PSF [pixel]"),
            ("zero_point", "real", "Magnitude of one count per second [mag]"),
            ("flux_noise", "real", "Noise of a point source's flux [nJy]"),
            ("software", "text", "What produced the sources"),
            ("content_sha256", "bytea not null", "SHA-256 of the given sources and metadata in canonical order"),
            ("n_sources", "integer default 0 not null", "DiaSources stored"),
            ("n_associated", "integer default 0 not null", "of these, with a DiaObject that existed"),
            ("n_new_objects", "integer default 0 not null", "of these, that founded a DiaObject"),
            ("n_without_object", "integer default 0 not null", "of these, without object for a stated reason"),
            ("n_alerts", "integer default 0 not null", "Alerts issued"),
            ("n_calibration_pairs", "integer", "Pairs from which extra_variance was measured"),
            (
                "extra_variance",
                "double precision",
                "Position variance beyond the claimed errors: the detector's astrometric quality [arcsec**2]",
            ),
            ("new_source_density", "double precision", "Density of new sources used in association [arcsec**-2]"),
            ("time_processed", "timestamptz", "Stamp of the transaction that stored it (database time)"),
            ("timings", "jsonb", "Seconds spent in each phase of that transaction"),
            ("withdrawn_at", "timestamptz", "Stamp of the transaction that withdrew it (database time)"),
            ("withdrawn_reason", "text", "Why it was withdrawn"),
        ),
        "constraint visit_detector_pkey primary key (visit, detector, attempt)",
        "constraint visit_detector_survey_version_fkey foreign key (survey_version) references l1.survey (survey_version)",
        "constraint visit_detector_visit_fkey foreign key (visit) references l1.visit (visit)",
        "constraint visit_detector_attempt_check check (attempt > 0)",
        "constraint visit_detector_content_sha256_check check (octet_length(content_sha256) = 32)",
    )
    op.execute("create index visit_detector_footprint_idx on l1.visit_detector using gist (footprint)")
    op.execute(
        "create unique index visit_detector_live_idx on l1.visit_detector (visit, detector) where withdrawn_at IS NULL"
    )
    create_table(
        "dia_source",
        "Live DiaSources, detected and forced, in partitions of 30 nights",
        DIA_SOURCE,
        "constraint dia_source_belongs_check check (dia_object_id IS NOT NULL OR ss_object_id IS NOT NULL OR no_object_reason IS NOT NULL)",
        "constraint dia_source_detection_has_flux_check check (is_forced OR (psf_flux IS NOT NULL AND psf_flux_err > 0))",
        "constraint dia_source_midpoint_check check (midpoint_mjd_tai > 0 AND midpoint_mjd_tai < 2400000)",
        "constraint dia_source_no_object_reason_check check (no_object_reason IN ('duplicate_in_visit', 'quality', 'breaker'))",
        "constraint dia_source_position_check check (ra >= 0 AND ra < 360 AND dec BETWEEN -90 AND 90)",
        suffix=" partition by range (midpoint_mjd_tai)",
    )
    op.execute(
        "create index dia_source_dia_object_id_midpoint_mjd_tai_idx on l1.dia_source (dia_object_id, midpoint_mjd_tai)"
    )
    op.execute(
        "create index dia_source_ss_object_id_midpoint_mjd_tai_idx on l1.dia_source (ss_object_id, midpoint_mjd_tai) where ss_object_id IS NOT NULL"
    )
    create_table(
        "dia_source_history",
        "Former versions of DiaSources: changed or withdrawn",
        (
            ("validity_end", "timestamptz not null", "When this version was changed or withdrawn (database time)"),
            ("closed_reason", "text", "Why"),
            *without_defaults(DIA_SOURCE),
        ),
        "constraint dia_source_history_pkey primary key (dia_source_id, validity_start)",
        "constraint dia_source_history_validity_check check (validity_end > validity_start)",
    )
    op.execute("create index dia_source_history_visit_detector_idx on l1.dia_source_history (visit, detector)")
    create_table(
        "dia_object",
        "The current version of each DiaObject",
        DIA_OBJECT,
        "constraint dia_object_pkey primary key (dia_object_id)",
        "constraint dia_object_counts_check check (n_dia_sources > 0 AND n_forced >= 0)",
        "constraint dia_object_position_check check (ra >= 0 AND ra < 360 AND dec BETWEEN -90 AND 90)",
        suffix=" with (fillfactor = 80)",
    )
    op.execute("create index dia_object_q3c_idx on l1.dia_object (public.q3c_ang2ipix(ra, dec))")
    create_table(
        "dia_object_history",
        "Former versions of DiaObjects",
        (
            ("validity_end", "timestamptz not null", "Until when this version held (database time)"),
            ("retired_reason", "text", "Why no version follows; NULL: one does"),
            ("redirect_to", "bigint", "DiaObject that a retired one became part of"),
            *DIA_OBJECT,
        ),
        "constraint dia_object_history_pkey primary key (dia_object_id, validity_start)",
        "constraint dia_object_history_validity_check check (validity_end > validity_start)",
    )
    create_table(
        "dia_object_band",
        "The current light-curve statistics of each DiaObject in each band",
        DIA_OBJECT_BAND,
        "constraint dia_object_band_pkey primary key (dia_object_id, band)",
        suffix=" with (fillfactor = 70)",
    )
    create_table(
        "dia_object_band_history",
        "Former light-curve statistics",
        (
            ("validity_end", "timestamptz not null", "Until when this version held (database time)"),
            *DIA_OBJECT_BAND,
        ),
        "constraint dia_object_band_history_pkey primary key (dia_object_id, band, validity_start)",
        "constraint dia_object_band_history_validity_check check (validity_end > validity_start)",
    )
    create_table(
        "alert",
        "The outbox, and the record of what was issued; append-only",
        (
            ("alert_id", "bigint default nextval('l1.alert_seq'::regclass) not null", "Identifier of the alert"),
            ("kind", "text not null", "detection, forced or retraction"),
            ("dia_source_id", "bigint not null", "The triggering DiaSource"),
            (
                "midpoint_mjd_tai",
                "double precision not null",
                "Its midpoint, MJD TAI: alerts share the leaf bounds of sources [d]",
            ),
            ("visit", "bigint not null", "Its visit"),
            ("detector", "smallint not null", "Its detector"),
            ("dia_object_id", "bigint", "Its DiaObject"),
            ("dia_object_version", "timestamptz", "validity_start of the version its transaction opened"),
            ("ss_object_id", "bigint", "Its SSObject"),
            ("ss_object_version", "timestamptz", "validity_start of the SSObject's version"),
            ("survey_version", "integer not null", "Rules under which it was issued"),
            ("stamp", "timestamptz not null", "Stamp of the issuing transaction (database time)"),
            (
                "xid",
                "xid8 default pg_current_xact_id() not null",
                "The issuing transaction: consumers tell by it what they have not seen",
            ),
        ),
        "constraint alert_kind_check check (kind IN ('detection', 'forced', 'retraction'))",
        suffix=" partition by range (midpoint_mjd_tai)",
    )
    op.execute("create index alert_xid_alert_id_idx on l1.alert (xid, alert_id)")
    create_table(
        "alert_cursor",
        "Where each consumer of alerts stands",
        (
            ("consumer", "text not null", "Name of the consumer"),
            ("created_at", "timestamptz default clock_timestamp() not null", "When it was added"),
            ("seen", "pg_snapshot not null", "Alerts of transactions visible here have all been cut into batches"),
            ("window_end", "pg_snapshot", "Alerts visible here and not in seen are being cut; NULL: none are"),
            ("after_xid", "xid8", "Within the window: cut up to this transaction"),
            ("after_alert_id", "bigint", "and this alert"),
            ("not_before", "timestamptz", "Within the window: older stamps are passed over"),
        ),
        "constraint alert_cursor_pkey primary key (consumer)",
        "constraint alert_cursor_consumer_check check (consumer ~ '^[A-Za-z0-9_.:-]{1,63}$')",
    )
    create_table(
        "alert_batch",
        "Batches of alerts handed to consumers; the same batch always holds the same alerts",
        (
            ("batch_id", "bigint generated always as identity", "Identifier of the batch"),
            ("consumer", "text not null", "Consumer it was cut for"),
            ("seen", "pg_snapshot not null", "Alerts visible here are not in the batch"),
            ("window_end", "pg_snapshot not null", "Alerts visible here may be"),
            ("after_xid", "xid8", "The batch begins after this transaction"),
            ("after_alert_id", "bigint", "and this alert"),
            ("upto_xid", "xid8 not null", "and ends with this transaction"),
            ("upto_alert_id", "bigint not null", "and this alert"),
            ("not_before", "timestamptz", "Older stamps are not in the batch"),
            ("n_alerts", "integer not null", "Number of alerts in the batch"),
            ("cut_at", "timestamptz default clock_timestamp() not null", "When it was cut"),
            ("leased_by", "text not null", "Who holds it: application_name of the session"),
            ("leased_until", "timestamptz not null", "After this it is handed out again"),
            ("n_leases", "integer default 1 not null", "How often it was handed out"),
            ("acked_at", "timestamptz", "When it was acknowledged; NULL: it is open"),
        ),
        "constraint alert_batch_pkey primary key (batch_id)",
        "constraint alert_batch_consumer_fkey foreign key (consumer) references l1.alert_cursor (consumer) on delete cascade",
        "constraint alert_batch_n_alerts_check check (n_alerts > 0)",
    )
    op.execute("create index alert_batch_open_idx on l1.alert_batch (consumer, leased_until) where acked_at IS NULL")


def downgrade() -> None:
    for table in (
        "alert_batch",
        "alert_cursor",
        "alert",
        "dia_object_band_history",
        "dia_object_band",
        "dia_object_history",
        "dia_object",
        "dia_source_history",
        "dia_source",
        "visit_detector",
        "visit",
        "survey",
    ):
        op.execute(f"drop table l1.{table}")
    for sequence in ("alert_seq", "dia_source_seq", "dia_object_seq"):
        op.execute(f"drop sequence l1.{sequence}")
