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
)  # fmt: skip


def upgrade() -> None:
    for table in ("dia_object_band", "dia_object_band_history"):
        for name, sql_type, comment in BAND:
            op.execute(f"alter table l1.{table} add column {name} {sql_type}")
            op.execute(f"comment on column l1.{table}.{name} is '{comment}'")
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
    for table in ("dia_object_band_history", "dia_object_band"):
        for name, *_ in reversed(BAND):
            op.execute(f"alter table l1.{table} drop column {name}")
