"""Packets of alerts: what they are built from beside the rows, what was built, where it goes, and what became of it."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, PrimaryKeyConstraint, Table, func, text

from l1db.models.schema import column, metadata

alert_image = Table(
    "alert_image",
    metadata,
    column("visit", "bigint", "Exposure", autoincrement=False),
    column("detector", "smallint", "Detector", autoincrement=False),
    column("stamp", "timestamptz", "Stamp of the transaction that issued the alerts (database time)"),
    column("attempt", "smallint", "Attempt of the ledger that it was then"),
    column("band", "text", "Filter band"),
    column("midpoint_mjd_tai", "double precision", "Middle of the exposure, MJD TAI [d]"),
    column("exposure_time", "real", "Exposure time [s]", null=True),
    column("boresight_ra", "double precision", "Right ascension of the boresight, ICRS [deg]", null=True),
    column("boresight_dec", "double precision", "Declination of the boresight, ICRS [deg]", null=True),
    column("airmass", "real", "Airmass at the boresight", null=True),
    column("day_obs", "date", "Night of the exposure: date of UTC less the survey's offset"),
    column("n_snaps", "smallint", "Number of snaps of the exposure", null=True),
    column("reason", "text", "Why the exposure was taken", null=True),
    column("target", "text", "What it was taken of", null=True),
    column(
        "footprint",
        "text",
        "Outline of the image on the sky, WKT polygon, in degrees, longitude = ra, or ra - 360 above 180",
        null=True,
    ),
    column("psf_fwhm", "real", "Full width at half maximum of the PSF [pixel]", null=True),
    column("zero_point", "real", "Magnitude of one count per second [mag]", null=True),
    column("flux_noise", "real", "Noise of a point source's flux [nJy]", null=True),
    column("software", "text", "What produced the sources", null=True),
    column("wcs", "text", "WCS of the difference image: FITS cards, one a line", null=True),
    column("template", "text", "Name of the file that the template came in", null=True),
    column("template_sha256", "bytea", "SHA-256 of that file", null=True),
    PrimaryKeyConstraint("visit", "detector", "stamp"),
    comment="What an image was as alerts on it were issued, and stays in their packets; append-only",
)

cutout = Table(
    "cutout",
    metadata,
    column("dia_source_id", "bigint", "The DiaSource that is shown", autoincrement=False),
    column("kind", "text", "What is shown: difference, science or template"),
    column("encoding", "text", "fits: a FITS file; gzip: the same, compressed"),
    column("sha256", "bytea", "SHA-256 of the bytes; NULL: there is no cutout", null=True),
    column("n_bytes", "integer", "Their number", null=True),
    column("pack", "text", "File of the archive that they lie in", null=True),
    column("start", "bigint", "Their first byte in it, from 0", null=True),
    column("trouble", "text", "Why there is no cutout; NULL: there is one", null=True),
    column("kept_at", "timestamptz", "When they were archived (database time)", server_default=func.clock_timestamp()),
    PrimaryKeyConstraint("dia_source_id", "kind", "encoding"),
    CheckConstraint("kind IN ('difference', 'science', 'template')", name="kind"),
    CheckConstraint("encoding IN ('fits', 'gzip')", name="encoding"),
    CheckConstraint("octet_length(sha256) = 32", name="sha256"),
    CheckConstraint(
        "CASE WHEN trouble IS NULL THEN sha256 IS NOT NULL AND n_bytes > 0 AND pack IS NOT NULL AND start >= 0"
        " ELSE coalesce(sha256::text, n_bytes::text, pack, start::text) IS NULL END",
        name="place",
    ),
    comment="The archive of cutouts: where the bytes of each lie, once and for all; append-only",
)

alert_packet = Table(
    "alert_packet",
    metadata,
    column("alert_id", "bigint", "The alert", autoincrement=False),
    column("format", "text", "lsst-11.1, l1db or voevent"),
    column("schema_version", "text", "Version of the format's schema"),
    column("sha256", "bytea", "SHA-256 of the packet"),
    column("n_bytes", "integer", "Its size in bytes"),
    column("built_at", "timestamptz", "When it was first built (database time)", server_default=func.clock_timestamp()),
    PrimaryKeyConstraint("alert_id", "format"),
    CheckConstraint("format IN ('lsst-11.1', 'l1db', 'voevent')", name="format"),
    CheckConstraint("octet_length(sha256) = 32", name="sha256"),
    comment="What the first build of each packet produced: every later one must produce the same; append-only",
)

destination = Table(
    "destination",
    metadata,
    column("destination", "text", "Name"),
    column("kind", "text", "Transport: vtp, kafka, webhook, email or file"),
    column("format", "text", "Format of the packets: lsst-11.1, l1db or voevent"),
    column("settings", "jsonb", "What the transport needs to know; secrets only as names of environment variables"),
    column(
        "selection",
        "text",
        "SQL condition on l1_api.alert_candidate that alerts must meet; NULL: all go",
        null=True,
    ),
    column("give_up_after", "interval", "Alerts older than this are not tried any more"),
    column("is_enabled", "boolean", "False: its alerts wait", server_default=text("true")),
    column("created_at", "timestamptz", "When it was added (database time)", server_default=func.clock_timestamp()),
    column("created_by", "text", "Database login that added it", server_default=text("SESSION_USER")),
    column("trouble", "text", "Why it cannot be reached; NULL: it answered when it was last tried", null=True),
    column("trouble_since", "timestamptz", "Since when (database time)", null=True),
    column("removed_at", "timestamptz", "When it was removed (database time); its ledger stays", null=True),
    PrimaryKeyConstraint("destination"),
    CheckConstraint("destination ~ '^[A-Za-z0-9_.-]{1,50}$'", name="destination"),
    CheckConstraint("kind IN ('vtp', 'kafka', 'webhook', 'email', 'file')", name="kind"),
    CheckConstraint("format IN ('lsst-11.1', 'l1db', 'voevent')", name="format"),
    CheckConstraint("jsonb_typeof(settings) = 'object'", name="settings"),
    CheckConstraint("give_up_after > interval '0'", name="give_up_after"),
    CheckConstraint("(trouble IS NULL) = (trouble_since IS NULL)", name="trouble"),
    comment="Where packets go",
)

delivery = Table(
    "delivery",
    metadata,
    column("destination", "text", "Destination"),
    column("alert_id", "bigint", "Alert", autoincrement=False),
    column(
        "state",
        "text",
        "delivered; refused: the peer will never take it; failed: to be tried again; given_up: too old",
    ),
    column("n_attempts", "integer", "How often it was tried"),
    column("first_at", "timestamptz", "When it was first tried (database time)"),
    column("last_at", "timestamptz", "When it was last tried (database time)"),
    column("next_at", "timestamptz", "When it is to be tried again (database time); NULL: never", null=True),
    column("detail", "text", "What the peer said, or what went wrong", null=True),
    PrimaryKeyConstraint("destination", "alert_id"),
    ForeignKeyConstraint(["destination"], ["l1.destination.destination"]),
    CheckConstraint("state IN ('delivered', 'refused', 'failed', 'given_up')", name="state"),
    CheckConstraint("(next_at IS NOT NULL) = (state = 'failed')", name="next_at"),
    Index("delivery_due_idx", "destination", "next_at", postgresql_where=text("next_at IS NOT NULL")),
    Index(None, "alert_id"),
    comment="The ledger: what became of each alert at each destination",
)
