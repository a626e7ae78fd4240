"""Visits, and what was ingested of them."""

from __future__ import annotations

from geoalchemy2 import Geography
from sqlalchemy import CheckConstraint, Column, ForeignKeyConstraint, Index, PrimaryKeyConstraint, Table, func, text

from l1db.models.schema import column, metadata

visit = Table(
    "visit",
    metadata,
    column("visit", "bigint", "Identifier of the exposure", autoincrement=False),
    column("band", "text", "Filter band"),
    column("midpoint_mjd_tai", "double precision", "Middle of the exposure, MJD TAI [d]"),
    column("exposure_time", "real", "Exposure time [s]", null=True),
    column("boresight_ra", "double precision", "Right ascension of the boresight, ICRS [deg]", null=True),
    column("boresight_dec", "double precision", "Declination of the boresight, ICRS [deg]", null=True),
    column("airmass", "real", "Airmass at the boresight", null=True),
    column("day_obs", "date", "Night of the exposure: date of UTC less the survey's offset"),
    column("n_snaps", "smallint", "Number of snaps of the exposure", null=True),
    column("n_detectors", "smallint", "Number of detectors expected to hand in sources", null=True),
    column("reason", "text", "Why the exposure was taken", null=True),
    column("target", "text", "What it was taken of", null=True),
    column(
        "opened_at", "timestamptz", "When the visit became known (database time)", server_default=func.clock_timestamp()
    ),
    PrimaryKeyConstraint("visit"),
    CheckConstraint("midpoint_mjd_tai > 0 AND midpoint_mjd_tai < 2400000", name="midpoint"),
    CheckConstraint("exposure_time >= 0 AND exposure_time < 86400", name="exposure_time"),
    CheckConstraint("boresight_ra >= 0 AND boresight_ra < 360 AND boresight_dec BETWEEN -90 AND 90", name="boresight"),
    Index(None, "day_obs"),
    comment="One row per exposure, written before its sources",
)

visit_detector = Table(
    "visit_detector",
    metadata,
    column("visit", "bigint", "Exposure"),
    column("detector", "smallint", "Detector"),
    column("attempt", "smallint", "1 for the first ingest, one more for each replacement"),
    column("survey_version", "integer", "Rules under which it was ingested"),
    Column(
        "footprint",
        Geography("POLYGON", 4326, spatial_index=False),
        nullable=True,
        comment="Outline of the image on the sky, longitude = ra, or ra - 360 above 180 [deg]; NULL: not given",
    ),
    column("psf_fwhm", "real", "Full width at half maximum of the PSF [pixel]", null=True),
    column("zero_point", "real", "Magnitude of one count per second [mag]", null=True),
    column("flux_noise", "real", "Noise of a point source's flux [nJy]", null=True),
    column("software", "text", "What produced the sources", null=True),
    column("content_sha256", "bytea", "SHA-256 of the given sources and metadata in canonical order"),
    column("n_sources", "integer", "DiaSources stored", server_default=text("0")),
    column("n_associated", "integer", "of these, with a DiaObject that existed", server_default=text("0")),
    column("n_new_objects", "integer", "of these, that founded a DiaObject", server_default=text("0")),
    column("n_without_object", "integer", "of these, without object for a stated reason", server_default=text("0")),
    column("n_alerts", "integer", "Alerts issued", server_default=text("0")),
    column("n_calibration_pairs", "integer", "Pairs from which extra_variance was measured", null=True),
    column(
        "extra_variance",
        "double precision",
        "Position variance beyond the claimed errors: the detector's astrometric quality [arcsec**2]",
        null=True,
    ),
    column(
        "new_source_density", "double precision", "Density of new sources used in association [arcsec**-2]", null=True
    ),
    column("time_processed", "timestamptz", "Stamp of the transaction that stored it (database time)", null=True),
    column("timings", "jsonb", "Seconds spent in each phase of that transaction", null=True),
    column("withdrawn_at", "timestamptz", "Stamp of the transaction that withdrew it (database time)", null=True),
    column("withdrawn_reason", "text", "Why it was withdrawn", null=True),
    column("n_forced", "integer", "Forced measurements stored", server_default=text("0")),
    column(
        "n_forced_queued",
        "integer",
        "Forced measurements that were expected and could not be made; see precovery_task",
        server_default=text("0"),
    ),
    column("image_trouble", "text", "Why its images could not be measured; NULL: they could, or none came", null=True),
    column(
        "n_withdrawn",
        "integer",
        "Of its n_sources, those that corrections have withdrawn since",
        server_default=text("0"),
    ),
    PrimaryKeyConstraint("visit", "detector", "attempt"),
    ForeignKeyConstraint(["visit"], ["l1.visit.visit"]),
    ForeignKeyConstraint(["survey_version"], ["l1.survey.survey_version"]),
    CheckConstraint("attempt > 0", name="attempt"),
    CheckConstraint("octet_length(content_sha256) = 32", name="content_sha256"),
    Index("visit_detector_live_idx", "visit", "detector", unique=True, postgresql_where=text("withdrawn_at IS NULL")),
    Index("visit_detector_footprint_idx", "footprint", postgresql_using="gist"),
    comment="The ledger: what was ingested, when, from what data, with what result",
)
