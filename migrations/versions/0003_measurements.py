"""The light-curve statistics of DiaObjects, and the index that they are made from.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

LIGHT_CURVE = (
    "band, is_forced, ra, dec, ra_err, dec_err, ra_dec_cov, psf_flux, psf_flux_err, science_flux, science_flux_err, "
    "reliability"
)

BAND = (
    ("psf_flux_err_mean", "real", "Mean of psf_flux_err [nJy]"),
    ("psf_flux_chi2", "double precision", "Chi squared of psf_flux about psf_flux_mean"),
    ("psf_flux_max_slope", "double precision",
     "Largest ratio of the changes of psf_flux and of time between successive epochs [nJy/d]"),
    ("science_flux_mean", "real", "Weighted mean of science_flux [nJy]"),
    ("science_flux_mean_err", "real", "1-sigma error of science_flux_mean [nJy]"),
    ("science_flux_sigma", "real", "Standard deviation of science_flux [nJy]"),
    ("fp_flux_mean", "real", "Weighted mean of science_flux of the forced rows [nJy]"),
    ("fp_flux_mean_err", "real", "1-sigma error of fp_flux_mean [nJy]"),
    ("fp_flux_sigma", "real", "Standard deviation of science_flux of the forced rows [nJy]"),
    ("psf_flux_percentile05", "real", "5th percentile of psf_flux, interpolated linearly [nJy]"),
    ("psf_flux_percentile25", "real", "25th percentile of psf_flux, interpolated linearly [nJy]"),
    ("psf_flux_percentile50", "real", "Median of psf_flux [nJy]"),
    ("psf_flux_percentile75", "real", "75th percentile of psf_flux, interpolated linearly [nJy]"),
    ("psf_flux_percentile95", "real", "95th percentile of psf_flux, interpolated linearly [nJy]"),
    ("psf_flux_mad", "real", "Median absolute deviation of psf_flux from its median, not scaled [nJy]"),
    ("psf_flux_skew", "real", "Skewness of psf_flux, of the population; NULL for constant flux"),
    ("psf_flux_stetson_j", "real", "Stetson''s J of psf_flux; NULL for one epoch"),
    ("psf_flux_linear_slope", "double precision", "Slope of the weighted linear fit to psf_flux over time [nJy/d]"),
    ("psf_flux_linear_intercept", "double precision", "Value of that fit at MJD TAI 0 [nJy]"),
    ("daily_ndata", "integer", "Number of epochs in the statistics that are measured by day, from percentiles to fit; NULL: not yet"),
)  # fmt: skip


def upgrade() -> None:
    for table in ("dia_object_band", "dia_object_band_history"):
        for name, sql_type, comment in BAND:
            op.execute(f"alter table l1.{table} add column {name} {sql_type}")
            op.execute(f"comment on column l1.{table}.{name} is '{comment}'")
    op.execute(
        "create index dia_object_band_due_idx on l1.dia_object_band (dia_object_id) "
        "where daily_ndata is distinct from psf_flux_ndata"
    )
    op.execute("alter table l1.survey add column statistics_at_ingest text not null default 'basic'")
    op.execute("alter table l1.survey alter column statistics_at_ingest drop default")
    op.execute(
        "alter table l1.survey add constraint survey_statistics_at_ingest_check "
        "check (statistics_at_ingest IN ('basic', 'all'))"
    )
    op.execute(
        "comment on column l1.survey.statistics_at_ingest is "
        "'Light-curve statistics an ingest measures: basic (the others by day) or all'"
    )
    op.execute("drop index l1.dia_source_dia_object_id_midpoint_mjd_tai_idx")
    op.execute(
        "create index dia_source_light_curve_idx on l1.dia_source (dia_object_id, midpoint_mjd_tai) "
        f"include ({LIGHT_CURVE})"
    )


def downgrade() -> None:
    op.execute("drop index l1.dia_source_light_curve_idx")
    op.execute(
        "create index dia_source_dia_object_id_midpoint_mjd_tai_idx on l1.dia_source (dia_object_id, midpoint_mjd_tai)"
    )
    op.execute("alter table l1.survey drop column statistics_at_ingest")
    op.execute("drop index l1.dia_object_band_due_idx")
    for table in ("dia_object_band_history", "dia_object_band"):
        for name, *_ in reversed(BAND):
            op.execute(f"alter table l1.{table} drop column {name}")
