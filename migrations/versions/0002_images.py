"""Images, forced measurements, and what of them is still to be made.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Column, type, comment, and the values of the profiles seed, rubin and ztf for surveys that exist.
SURVEY = (
    ("forced_on", "text", "Which DiaObjects in an image are forced: none, unassociated (with this visit) or all",
     ("'unassociated'", "'all'", "'unassociated'")),
    ("forced_min_dia_sources", "integer", "Detections that a DiaObject needs to be forced", ("1", "2", "1")),
    ("forced_min_reliability", "real", "Reliability that a detection needs to count for this; NULL: none",
     ("null", "0.5", "null")),
    ("forced_margin", "real", "Margin around an image within which objects may matter to it [arcsec]",
     ("20", "20", "20")),
    ("image_cache_days", "double precision", "How long images are kept for later measurements [d]", ("30", "30", "30")),
)  # fmt: skip

DIA_OBJECT = (
    ("n_good_dia_sources", "integer",
     "Detections in the history window that are reliable enough to have the object forced"),
    ("first_epoch_mjd_tai", "double precision", "Midpoint of the earliest row, forced or not, MJD TAI [d]"),
)  # fmt: skip


def upgrade() -> None:
    for name, sql_type, comment, values in SURVEY:
        op.execute(f"alter table l1.survey add column {name} {sql_type}")
        op.execute(f"comment on column l1.survey.{name} is '{comment}'")
        cases = " ".join(
            f"when '{profile}' then {value}" for profile, value in zip(("seed", "rubin", "ztf"), values, strict=True)
        )
        op.execute(f"update l1.survey set {name} = (case profile {cases} end)::{sql_type}")
        if "null" not in values:
            op.execute(f"alter table l1.survey alter column {name} set not null")
    for name, condition in (
        ("forced_on", "forced_on IN ('none', 'unassociated', 'all')"),
        ("forced_minima", "forced_min_dia_sources > 0 AND forced_min_reliability BETWEEN 0 AND 1"),
        ("forced_margin", "forced_margin >= 0 AND forced_margin <= 20"),
        ("image_cache_days", "image_cache_days > 0"),
    ):
        op.execute(f"alter table l1.survey add constraint survey_{name}_check check ({condition})")

    for table, name, sql_type, comment in (
        *((table, *column) for table in ("dia_object", "dia_object_history") for column in DIA_OBJECT),
        ("visit_detector", "n_forced", "integer default 0 not null", "Forced measurements stored"),
        ("visit_detector", "n_forced_queued", "integer default 0 not null",
         "Forced measurements that were expected and could not be made; see precovery_task"),
        ("visit_detector", "image_trouble", "text", "Why its images could not be measured; NULL: they could, or none came"),
    ):  # fmt: skip
        op.execute(f"alter table l1.{table} add column {name} {sql_type}")
        op.execute(f"comment on column l1.{table}.{name} is '{comment}'")
    for table in ("dia_object", "dia_object_history"):
        op.execute(
            f"update l1.{table} set n_good_dia_sources = n_dia_sources, first_epoch_mjd_tai = first_dia_source_mjd_tai"
        )
        for name, *_ in DIA_OBJECT:
            op.execute(f"alter table l1.{table} alter column {name} set not null")
    op.execute("alter table l1.dia_object add constraint dia_object_good_check check (n_good_dia_sources >= 0)")

    op.execute(
        """
        create table l1.image (
            visit bigint not null,
            detector smallint not null,
            kind text not null,
            uri text not null,
            sha256 bytea not null,
            n_bytes bigint not null,
            registered_at timestamptz default clock_timestamp() not null,
            expires_at timestamptz not null,
            constraint image_pkey primary key (visit, detector, kind),
            constraint image_kind_check check (kind IN ('difference', 'science', 'template', 'snap_difference')),
            constraint image_n_bytes_check check (n_bytes >= 0),
            constraint image_sha256_check check (octet_length(sha256) = 32)
        )
        """
    )
    op.execute("create index image_expires_at_idx on l1.image (expires_at)")
    op.execute(
        """
        create table l1.precovery_task (
            visit bigint not null,
            detector smallint not null,
            dia_object_id bigint not null,
            reason text not null,
            queued_at timestamptz default clock_timestamp() not null,
            constraint precovery_task_pkey primary key (visit, detector, dia_object_id),
            constraint precovery_task_reason_check check (reason IN ('new_object', 'no_image', 'late_image'))
        )
        """
    )
    for table, comment in (
        ("image", "The images of each detector of a visit, for measurements and cutouts"),
        ("precovery_task", "Forced measurements still to be made: a DiaObject on an image"),
    ):
        op.execute(f"comment on table l1.{table} is '{comment}'")
    for table, name, comment in (
        ("image", "visit", "Exposure"),
        ("image", "detector", "Detector"),
        ("image", "kind", "difference, science, template or snap_difference (second snap minus first)"),
        ("image", "uri", "Where it is: a path on the machines that measure, or a URI that fsspec opens"),
        ("image", "sha256", "SHA-256 of the file"),
        ("image", "n_bytes", "Size of the file in bytes"),
        ("image", "registered_at", "When it became known (database time)"),
        ("image", "expires_at", "Until when it is kept (database time)"),
        ("precovery_task", "visit", "Exposure"),
        ("precovery_task", "detector", "Detector"),
        ("precovery_task", "dia_object_id", "DiaObject to be measured"),
        ("precovery_task", "reason", "new_object: founded while the images were measured; no_image: an image could not "
         "be read; late_image: it came after the ingest"),
        ("precovery_task", "queued_at", "When it was queued (database time)"),
    ):  # fmt: skip
        op.execute(f"comment on column l1.{table}.{name} is '{comment}'")


def downgrade() -> None:
    op.execute("drop table l1.precovery_task")
    op.execute("drop table l1.image")
    op.execute("alter table l1.dia_object drop constraint dia_object_good_check")
    for table, name in (
        ("visit_detector", "image_trouble"),
        ("visit_detector", "n_forced_queued"),
        ("visit_detector", "n_forced"),
        *((table, name) for table in ("dia_object_history", "dia_object") for name, *_ in reversed(DIA_OBJECT)),
        *(("survey", name) for name, *_ in reversed(SURVEY)),
    ):
        op.execute(f"alter table l1.{table} drop column {name}")
