"""Proper motions of DiaObjects, and the mean epoch of their positions.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

MOTION = (
    ("radec_mjd_tai", "double precision", "Mean midpoint of the detections that ra and dec are the mean of, MJD TAI [d]"),
    ("earliest_mjd_tai", "double precision",
     "No detection is earlier than this, be it before the history window, MJD TAI [d]"),
    ("pm_ra", "real", "Proper motion in ra, including cos(dec) [mas/yr]; NULL: too few epochs"),
    ("pm_ra_err", "real", "1-sigma error of pm_ra [mas/yr]"),
    ("pm_dec", "real", "Proper motion in dec [mas/yr]"),
    ("pm_dec_err", "real", "1-sigma error of pm_dec [mas/yr]"),
    ("pm_ra_pm_dec_cov", "real", "Covariance of pm_ra and pm_dec [mas**2/yr**2]"),
    ("pm_chi2", "real",
     "Chi squared of the detections about the motion, with 2 pm_ndata - 4 degrees of freedom; NULL where some have no errors"),
    ("pm_ndata", "integer", "Number of detections in the motion"),
    ("drift_ra", "real",
     "Motion in ra, including cos(dec), that association follows, be it too young for pm_ra [mas/yr]; NULL: none"),
    ("drift_dec", "real", "Motion in dec that association follows [mas/yr]"),
    ("drift_err", "real", "1-sigma error of drift_ra and drift_dec, per axis [mas/yr]"),
    ("motion_is_due", "boolean not null default false", "Detections changed since the motion was measured, by day"),
)  # fmt: skip


def upgrade() -> None:
    for table in ("dia_object", "dia_object_history"):
        for name, sql_type, comment in MOTION:
            op.execute(f"alter table l1.{table} add column {name} {sql_type}")
            op.execute(f"comment on column l1.{table}.{name} is '{comment}'")

    # Current versions learn both times from their detections; of former ones they are not known.
    op.execute(
        """
        update l1.dia_object o
           set radec_mjd_tai = epoch.mean_mjd_tai,
               earliest_mjd_tai = epoch.earliest_mjd_tai,
               motion_is_due = coalesce(o.last_dia_source_mjd_tai - epoch.earliest_mjd_tai >= 60, false)
          from l1.dia_object p
         cross join lateral (
            select avg(x.midpoint_mjd_tai)
                       filter (where x.midpoint_mjd_tai >= p.first_dia_source_mjd_tai) as mean_mjd_tai,
                   min(x.midpoint_mjd_tai) as earliest_mjd_tai
              from l1.dia_source x
             where x.dia_object_id = p.dia_object_id
               and not x.is_forced
         ) as epoch
         where p.dia_object_id = o.dia_object_id
        """
    )
    op.execute("create index dia_object_motion_due_idx on l1.dia_object (dia_object_id) where motion_is_due")
    op.execute(
        "create index dia_object_mover_idx on l1.dia_object (public.q3c_ang2ipix(ra, dec)) where drift_ra is not null"
    )


def downgrade() -> None:
    op.execute("drop index l1.dia_object_mover_idx")
    op.execute("drop index l1.dia_object_motion_due_idx")
    for table in ("dia_object_history", "dia_object"):
        for name, *_ in reversed(MOTION):
            op.execute(f"alter table l1.{table} drop column {name}")
