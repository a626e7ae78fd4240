"""The images of visits, and the measurements still to be made on them."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Index, PrimaryKeyConstraint, Table, func

from l1db.models.schema import column, metadata

image = Table(
    "image",
    metadata,
    column("visit", "bigint", "Exposure", autoincrement=False),
    column("detector", "smallint", "Detector", autoincrement=False),
    column("kind", "text", "difference, science, template or snap_difference (second snap minus first)"),
    column("uri", "text", "Where it is: a path on the machines that measure, or a URI that fsspec opens"),
    column("sha256", "bytea", "SHA-256 of the file"),
    column("n_bytes", "bigint", "Size of the file in bytes"),
    column(
        "registered_at", "timestamptz", "When it became known (database time)", server_default=func.clock_timestamp()
    ),
    column("expires_at", "timestamptz", "Until when it is kept (database time)"),
    column("wcs", "text", "WCS of the image: FITS cards, one a line; NULL: not read", null=True),
    PrimaryKeyConstraint("visit", "detector", "kind"),
    CheckConstraint("kind IN ('difference', 'science', 'template', 'snap_difference')", name="kind"),
    CheckConstraint("n_bytes >= 0", name="n_bytes"),
    CheckConstraint("octet_length(sha256) = 32", name="sha256"),
    Index(None, "expires_at"),
    comment="The images of each detector of a visit, for measurements and cutouts",
)

precovery_task = Table(
    "precovery_task",
    metadata,
    column("visit", "bigint", "Exposure", autoincrement=False),
    column("detector", "smallint", "Detector", autoincrement=False),
    column("dia_object_id", "bigint", "DiaObject to be measured", autoincrement=False),
    column(
        "reason",
        "text",
        "new_object: founded while the images were measured; no_image: an image could not be read; "
        "late_image: it came after the ingest",
    ),
    column("queued_at", "timestamptz", "When it was queued (database time)", server_default=func.clock_timestamp()),
    PrimaryKeyConstraint("visit", "detector", "dia_object_id"),
    CheckConstraint("reason IN ('new_object', 'no_image', 'late_image')", name="reason"),
    comment="Forced measurements still to be made: a DiaObject on an image",
)
