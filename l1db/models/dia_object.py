"""DiaObjects and their light-curve statistics: current, and former versions."""

from __future__ import annotations

from typing import Any

from sqlalchemy import DDL, CheckConstraint, Column, Index, PrimaryKeyConstraint, Table, event, func, text
from sqlalchemy import Sequence as SqlSequence

from l1db.models.schema import SCHEMA, column, metadata

dia_object_seq = SqlSequence("dia_object_seq", metadata=metadata, start=1, maxvalue=2**36 - 1, cycle=False)


def _dia_object_columns() -> list[Column[Any]]:
    return [
        column(
            "dia_object_id",
            "bigint",
            "Identifier; its upper 27 bits are the level-12 q3c cell of the discovery",
            autoincrement=False,
        ),
        column("validity_start", "timestamptz", "Since when this version holds (database time)"),
        column("ra", "double precision", "Right ascension, ICRS: mean of the detections [deg]"),
        column("ra_err", "real", "1-sigma error of ra, including cos(dec) [deg]", null=True),
        column("dec", "double precision", "Declination, ICRS: mean of the detections [deg]"),
        column("dec_err", "real", "1-sigma error of dec [deg]", null=True),
        column("ra_dec_cov", "real", "Covariance of ra (including cos(dec)) and dec [deg**2]", null=True),
        column("n_dia_sources", "integer", "Number of detections in the history window"),
        column("n_forced", "integer", "Number of forced rows in the history window"),
        column("first_dia_source_mjd_tai", "double precision", "Midpoint of the earliest detection, MJD TAI [d]"),
        column("last_dia_source_mjd_tai", "double precision", "Midpoint of the latest detection, MJD TAI [d]"),
        column(
            "n_good_dia_sources",
            "integer",
            "Detections in the history window that are reliable enough to have the object forced",
        ),
        column("first_epoch_mjd_tai", "double precision", "Midpoint of the earliest row, forced or not, MJD TAI [d]"),
        column(
            "radec_mjd_tai",
            "double precision",
            "Mean midpoint of the detections that ra and dec are the mean of, MJD TAI [d]",
            null=True,
        ),
        column(
            "earliest_mjd_tai",
            "double precision",
            "No detection is earlier than this, be it before the history window, MJD TAI [d]",
            null=True,
        ),
        column(
            "pm_ra",
            "real",
            "Proper motion in ra, including cos(dec) [mas/yr]; NULL: too few epochs",
            null=True,
        ),
        column("pm_ra_err", "real", "1-sigma error of pm_ra [mas/yr]", null=True),
        column("pm_dec", "real", "Proper motion in dec [mas/yr]", null=True),
        column("pm_dec_err", "real", "1-sigma error of pm_dec [mas/yr]", null=True),
        column("pm_ra_pm_dec_cov", "real", "Covariance of pm_ra and pm_dec [mas**2/yr**2]", null=True),
        column(
            "pm_chi2",
            "real",
            "Chi squared of the detections about the motion, with 2 pm_ndata - 4 degrees of freedom; NULL where some "
            "have no errors",
            null=True,
        ),
        column("pm_ndata", "integer", "Number of detections in the motion", null=True),
        column(
            "drift_ra",
            "real",
            "Motion in ra, including cos(dec), that association follows, be it too young for pm_ra [mas/yr]; "
            "NULL: none",
            null=True,
        ),
        column("drift_dec", "real", "Motion in dec that association follows [mas/yr]", null=True),
        column("drift_err", "real", "1-sigma error of drift_ra and drift_dec, per axis [mas/yr]", null=True),
        column(
            "motion_is_due",
            "boolean",
            "Detections changed since the motion was measured, by day",
            server_default=text("false"),
        ),
    ]


dia_object = Table(
    "dia_object",
    metadata,
    *_dia_object_columns(),
    PrimaryKeyConstraint("dia_object_id"),
    CheckConstraint("ra >= 0 AND ra < 360 AND dec BETWEEN -90 AND 90", name="position"),
    CheckConstraint("n_dia_sources > 0 AND n_forced >= 0", name="counts"),
    CheckConstraint("n_good_dia_sources >= 0", name="good"),
    Index("dia_object_q3c_idx", func.q3c_ang2ipix(text("ra"), text("dec"))),
    # What is to be measured by day, and what association looks for where it is by now: see l1_api.measure_motions.
    Index("dia_object_motion_due_idx", "dia_object_id", postgresql_where=text("motion_is_due")),
    Index(
        "dia_object_mover_idx",
        func.q3c_ang2ipix(text("ra"), text("dec")),
        postgresql_where=text("drift_ra IS NOT NULL"),
    ),
    comment="The current version of each DiaObject",
)

dia_object_history = Table(
    "dia_object_history",
    metadata,
    column("validity_end", "timestamptz", "Until when this version held (database time)"),
    column("retired_reason", "text", "Why no version follows; NULL: one does", null=True),
    column("redirect_to", "bigint", "DiaObject that a retired one became part of", null=True),
    *_dia_object_columns(),
    PrimaryKeyConstraint("dia_object_id", "validity_start"),
    CheckConstraint("validity_end > validity_start", name="validity"),
    comment="Former versions of DiaObjects",
)

dia_object_former_place = Table(
    "dia_object_former_place",
    metadata,
    column("dia_object_id", "bigint", "DiaObject", autoincrement=False),
    column("left_at", "timestamptz", "End of the last version that lay there (database time)"),
    column("ra", "double precision", "Right ascension of that version, ICRS [deg]"),
    column("dec", "double precision", "Declination of that version, ICRS [deg]"),
    PrimaryKeyConstraint("dia_object_id", "left_at"),
    Index("dia_object_former_place_q3c_idx", func.q3c_ang2ipix(text("ra"), text("dec"))),
    comment="Where DiaObjects last were before they left a small cell of the sky or were retired; append-only",
)


def _dia_object_band_columns() -> list[Column[Any]]:
    return [
        column("dia_object_id", "bigint", "DiaObject", autoincrement=False),
        column("band", "text", "Filter band"),
        column("validity_start", "timestamptz", "Since when this version holds (database time)"),
        column("psf_flux_mean", "real", "Weighted mean of psf_flux [nJy]", null=True),
        column("psf_flux_mean_err", "real", "1-sigma error of psf_flux_mean [nJy]", null=True),
        column("psf_flux_sigma", "real", "Standard deviation of psf_flux; NULL for one epoch [nJy]", null=True),
        column("psf_flux_ndata", "integer", "Number of epochs in the statistics"),
        column("psf_flux_min", "real", "Least psf_flux [nJy]", null=True),
        column("psf_flux_max", "real", "Largest psf_flux [nJy]", null=True),
        column("psf_flux_err_mean", "real", "Mean of psf_flux_err [nJy]", null=True),
        column("psf_flux_chi2", "double precision", "Chi squared of psf_flux about psf_flux_mean", null=True),
        column(
            "psf_flux_max_slope",
            "double precision",
            "Largest ratio of the changes of psf_flux and of time between successive epochs [nJy/d]",
            null=True,
        ),
        column("science_flux_mean", "real", "Weighted mean of science_flux [nJy]", null=True),
        column("science_flux_mean_err", "real", "1-sigma error of science_flux_mean [nJy]", null=True),
        column("science_flux_sigma", "real", "Standard deviation of science_flux [nJy]", null=True),
        column("fp_flux_mean", "real", "Weighted mean of science_flux of the forced rows [nJy]", null=True),
        column("fp_flux_mean_err", "real", "1-sigma error of fp_flux_mean [nJy]", null=True),
        column("fp_flux_sigma", "real", "Standard deviation of science_flux of the forced rows [nJy]", null=True),
        column("psf_flux_percentile05", "real", "5th percentile of psf_flux, interpolated linearly [nJy]", null=True),
        column("psf_flux_percentile25", "real", "25th percentile of psf_flux, interpolated linearly [nJy]", null=True),
        column("psf_flux_percentile50", "real", "Median of psf_flux [nJy]", null=True),
        column("psf_flux_percentile75", "real", "75th percentile of psf_flux, interpolated linearly [nJy]", null=True),
        column("psf_flux_percentile95", "real", "95th percentile of psf_flux, interpolated linearly [nJy]", null=True),
        column(
            "psf_flux_mad",
            "real",
            "Median absolute deviation of psf_flux from its median, not scaled [nJy]",
            null=True,
        ),
        column("psf_flux_skew", "real", "Skewness of psf_flux, of the population; NULL for constant flux", null=True),
        column("psf_flux_stetson_j", "real", "Stetson's J of psf_flux; NULL for one epoch", null=True),
        column(
            "psf_flux_linear_slope",
            "double precision",
            "Slope of the weighted linear fit to psf_flux over time [nJy/d]",
            null=True,
        ),
        column("psf_flux_linear_intercept", "double precision", "Value of that fit at MJD TAI 0 [nJy]", null=True),
        column(
            "daily_ndata",
            "integer",
            "Number of epochs in the statistics that are measured by day, from percentiles to fit; NULL: not yet",
            null=True,
        ),
    ]


dia_object_band = Table(
    "dia_object_band",
    metadata,
    *_dia_object_band_columns(),
    PrimaryKeyConstraint("dia_object_id", "band"),
    # What is to be measured by day: see l1_api.measure_by_day.
    Index(
        "dia_object_band_due_idx",
        "dia_object_id",
        postgresql_where=text("daily_ndata IS DISTINCT FROM psf_flux_ndata"),
    ),
    comment="The current light-curve statistics of each DiaObject in each band",
)

dia_object_band_history = Table(
    "dia_object_band_history",
    metadata,
    column("validity_end", "timestamptz", "Until when this version held (database time)"),
    *_dia_object_band_columns(),
    PrimaryKeyConstraint("dia_object_id", "band", "validity_start"),
    CheckConstraint("validity_end > validity_start", name="validity"),
    comment="Former light-curve statistics",
)

# Storage settings that SQLAlchemy has no word for: room for HOT updates on the pages of what changes at each visit.
for _table, _setting in ((dia_object, "fillfactor = 80"), (dia_object_band, "fillfactor = 70")):
    event.listen(_table, "after_create",
                 DDL(f"ALTER TABLE {SCHEMA}.{_table.name} SET ({_setting})"))  # type: ignore[no-untyped-call]  # fmt: skip
