"""The tables of schema ``l1`` as SQLAlchemy models.

They mirror the Alembic revisions; ``alembic check`` and a comparison of schema dumps keep the two equal.  The unique
rules of the partitioned tables live on their leaves, which ``l1_api.ensure_partitions`` makes.
"""

from __future__ import annotations

from typing import Any

from geoalchemy2 import Geography
from sqlalchemy import (
    ARRAY,
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    event,
    func,
    text,
)
from sqlalchemy import Sequence as SqlSequence
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import REAL, UserDefinedType

from l1db.columns import DIA_SOURCE

SCHEMA = "l1"


class PgSnapshot(UserDefinedType[str]):
    """PostgreSQL's ``pg_snapshot``: which transactions were visible."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "pg_snapshot"


class Xid8(UserDefinedType[str]):
    """PostgreSQL's ``xid8``: a transaction id that never wraps."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "xid8"


ischema_names["pg_snapshot"] = PgSnapshot
ischema_names["xid8"] = Xid8

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    },
)

SQL_TYPES: dict[str, Any] = {
    "bigint": BigInteger(),
    "integer": Integer(),
    "smallint": SmallInteger(),
    "double precision": Double(),
    "real": REAL(),
    "boolean": Boolean(),
    "text": Text(),
    "timestamptz": DateTime(timezone=True),
    "date": Date(),
    "uuid": Uuid(),
    "text[]": ARRAY(Text()),
    "bytea": LargeBinary(),
    "jsonb": JSONB(),
    "pg_snapshot": PgSnapshot(),
    "xid8": Xid8(),
}


def _column(name: str, sql_type: str, comment: str, *, null: bool = False, **kwargs: Any) -> Column[Any]:
    return Column(name, SQL_TYPES[sql_type], nullable=null, comment=comment, **kwargs)


dia_object_seq = SqlSequence("dia_object_seq", metadata=metadata, start=1, maxvalue=2**36 - 1, cycle=False)
dia_source_seq = SqlSequence("dia_source_seq", metadata=metadata, start=2**62, minvalue=2**62, cycle=False)
alert_seq = SqlSequence("alert_seq", metadata=metadata, start=1, cycle=False)

survey = Table(
    "survey",
    metadata,
    _column("survey_version", "integer", "Version of the rules; the highest is in force", autoincrement=False),
    _column("created_at", "timestamptz", "When this version was made", server_default=func.now()),
    _column("created_by", "text", "Database login that made it", server_default=text("SESSION_USER")),
    _column("reason", "text", "Why it was made"),
    _column("database_id", "uuid", "Identity of this Level 1 Database, the same in every version"),
    _column("profile", "text", "Named set of rules this one started from: seed, rubin or ztf"),
    _column("name", "text", "Name of the survey"),
    _column("operational", "boolean", "False: alerts are marked as tests", server_default=text("false")),
    _column("ivo_authority", "text", "IVOA authority under which alerts are named"),
    _column("bands", "text[]", "Filter bands, in the order in which they are shown"),
    _column("night_offset_hours", "real", "day_obs is the date of UTC minus this many hours [h]"),
    _column("association_radius", "double precision", "Largest separation of a source from its object [arcsec]"),
    _column("error_floor", "double precision", "Least combined position error used in association [arcsec]"),
    _column("outlier_fraction", "double precision", "Share of true pairs whose offset no error explains"),
    _column("calibration_min_pairs", "integer", "Fewest pairs from which a detector's extra variance is measured"),
    _column("density_min_sources", "integer", "Fewest sources from which the density of new ones is measured"),
    _column("default_extra_variance", "double precision", "Extra variance where there are too few pairs [arcsec**2]"),
    _column("default_new_density", "double precision", "Density of new sources where it is not measured [arcsec**-2]"),
    _column(
        "history_days",
        "double precision",
        "Window of statistics and packets before the trigger [d]; NULL: all",
        null=True,
    ),
    _column("stats_include_forced", "boolean", "Flux statistics use forced rows as well as detections"),
    _column("quality_gate", "boolean", "Sources with fatal flags or low reliability found no object"),
    _column("gate_min_reliability", "real", "Reliability that a source needs to found an object", null=True),
    _column("gate_min_snr", "real", "Signal-to-noise ratio that a source needs to found an object", null=True),
    _column(
        "max_new_objects",
        "integer",
        "More new objects than this on a detector: none is made; NULL: no limit",
        null=True,
    ),
    _column("alert_on", "text", "Which sources raise alerts: detections, or all (forced rows too)"),
    _column(
        "forced_on", "text", "Which DiaObjects in an image are forced: none, unassociated (with this visit) or all"
    ),
    _column("forced_min_dia_sources", "integer", "Detections that a DiaObject needs to be forced"),
    _column(
        "forced_min_reliability", "real", "Reliability that a detection needs to count for this; NULL: none", null=True
    ),
    _column("forced_margin", "real", "Margin around an image within which objects may matter to it [arcsec]"),
    _column("image_cache_days", "double precision", "How long images are kept for later measurements [d]"),
    PrimaryKeyConstraint("survey_version"),
    CheckConstraint("survey_version > 0", name="version"),
    CheckConstraint("profile IN ('seed', 'rubin', 'ztf')", name="profile"),
    CheckConstraint("cardinality(bands) > 0 AND array_position(bands, NULL) IS NULL", name="bands"),
    CheckConstraint("night_offset_hours >= 0 AND night_offset_hours < 24", name="night_offset"),
    CheckConstraint("association_radius > 0 AND association_radius <= 15", name="association_radius"),
    CheckConstraint("error_floor > 0 AND error_floor <= association_radius", name="error_floor"),
    CheckConstraint("outlier_fraction > 0 AND outlier_fraction < 1", name="outlier_fraction"),
    CheckConstraint("calibration_min_pairs > 0 AND density_min_sources > 0", name="minima"),
    CheckConstraint("default_extra_variance >= 0 AND default_new_density > 0", name="defaults"),
    CheckConstraint("history_days > 0", name="history_days"),
    CheckConstraint("gate_min_reliability BETWEEN 0 AND 1", name="gate_min_reliability"),
    CheckConstraint("max_new_objects >= 0", name="max_new_objects"),
    CheckConstraint("alert_on IN ('detections', 'all')", name="alert_on"),
    CheckConstraint("forced_on IN ('none', 'unassociated', 'all')", name="forced_on"),
    CheckConstraint("forced_min_dia_sources > 0 AND forced_min_reliability BETWEEN 0 AND 1", name="forced_minima"),
    CheckConstraint("forced_margin >= 0 AND forced_margin <= 20", name="forced_margin"),
    CheckConstraint("image_cache_days > 0", name="image_cache_days"),
    comment="The survey's rules: immutable versions, the highest in force",
)

visit = Table(
    "visit",
    metadata,
    _column("visit", "bigint", "Identifier of the exposure", autoincrement=False),
    _column("band", "text", "Filter band"),
    _column("midpoint_mjd_tai", "double precision", "Middle of the exposure, MJD TAI [d]"),
    _column("exposure_time", "real", "Exposure time [s]", null=True),
    _column("boresight_ra", "double precision", "Right ascension of the boresight, ICRS [deg]", null=True),
    _column("boresight_dec", "double precision", "Declination of the boresight, ICRS [deg]", null=True),
    _column("airmass", "real", "Airmass at the boresight", null=True),
    _column("day_obs", "date", "Night of the exposure: date of UTC less the survey's offset"),
    _column("n_snaps", "smallint", "Number of snaps of the exposure", null=True),
    _column("n_detectors", "smallint", "Number of detectors expected to hand in sources", null=True),
    _column("reason", "text", "Why the exposure was taken", null=True),
    _column("target", "text", "What it was taken of", null=True),
    _column(
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
    _column("visit", "bigint", "Exposure"),
    _column("detector", "smallint", "Detector"),
    _column("attempt", "smallint", "1 for the first ingest, one more for each replacement"),
    _column("survey_version", "integer", "Rules under which it was ingested"),
    Column(
        "footprint",
        Geography("POLYGON", 4326, spatial_index=False),
        nullable=True,
        comment="Outline of the image on the sky, longitude = ra, or ra - 360 above 180 [deg]; NULL: not given",
    ),
    _column("psf_fwhm", "real", "Full width at half maximum of the PSF [pixel]", null=True),
    _column("zero_point", "real", "Magnitude of one count per second [mag]", null=True),
    _column("flux_noise", "real", "Noise of a point source's flux [nJy]", null=True),
    _column("software", "text", "What produced the sources", null=True),
    _column("content_sha256", "bytea", "SHA-256 of the given sources and metadata in canonical order"),
    _column("n_sources", "integer", "DiaSources stored", server_default=text("0")),
    _column("n_associated", "integer", "of these, with a DiaObject that existed", server_default=text("0")),
    _column("n_new_objects", "integer", "of these, that founded a DiaObject", server_default=text("0")),
    _column("n_without_object", "integer", "of these, without object for a stated reason", server_default=text("0")),
    _column("n_alerts", "integer", "Alerts issued", server_default=text("0")),
    _column("n_calibration_pairs", "integer", "Pairs from which extra_variance was measured", null=True),
    _column(
        "extra_variance",
        "double precision",
        "Position variance beyond the claimed errors: the detector's astrometric quality [arcsec**2]",
        null=True,
    ),
    _column(
        "new_source_density", "double precision", "Density of new sources used in association [arcsec**-2]", null=True
    ),
    _column("time_processed", "timestamptz", "Stamp of the transaction that stored it (database time)", null=True),
    _column("timings", "jsonb", "Seconds spent in each phase of that transaction", null=True),
    _column("withdrawn_at", "timestamptz", "Stamp of the transaction that withdrew it (database time)", null=True),
    _column("withdrawn_reason", "text", "Why it was withdrawn", null=True),
    _column("n_forced", "integer", "Forced measurements stored", server_default=text("0")),
    _column(
        "n_forced_queued",
        "integer",
        "Forced measurements that were expected and could not be made; see precovery_task",
        server_default=text("0"),
    ),
    _column("image_trouble", "text", "Why its images could not be measured; NULL: they could, or none came", null=True),
    PrimaryKeyConstraint("visit", "detector", "attempt"),
    ForeignKeyConstraint(["visit"], ["l1.visit.visit"]),
    ForeignKeyConstraint(["survey_version"], ["l1.survey.survey_version"]),
    CheckConstraint("attempt > 0", name="attempt"),
    CheckConstraint("octet_length(content_sha256) = 32", name="content_sha256"),
    Index("visit_detector_live_idx", "visit", "detector", unique=True, postgresql_where=text("withdrawn_at IS NULL")),
    Index("visit_detector_footprint_idx", "footprint", postgresql_using="gist"),
    comment="The ledger: what was ingested, when, from what data, with what result",
)

image = Table(
    "image",
    metadata,
    _column("visit", "bigint", "Exposure", autoincrement=False),
    _column("detector", "smallint", "Detector", autoincrement=False),
    _column("kind", "text", "difference, science, template or snap_difference (second snap minus first)"),
    _column("uri", "text", "Where it is: a path on the machines that measure, or a URI that fsspec opens"),
    _column("sha256", "bytea", "SHA-256 of the file"),
    _column("n_bytes", "bigint", "Size of the file in bytes"),
    _column(
        "registered_at", "timestamptz", "When it became known (database time)", server_default=func.clock_timestamp()
    ),
    _column("expires_at", "timestamptz", "Until when it is kept (database time)"),
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
    _column("visit", "bigint", "Exposure", autoincrement=False),
    _column("detector", "smallint", "Detector", autoincrement=False),
    _column("dia_object_id", "bigint", "DiaObject to be measured", autoincrement=False),
    _column(
        "reason",
        "text",
        "new_object: founded while the images were measured; no_image: an image could not be read; "
        "late_image: it came after the ingest",
    ),
    _column("queued_at", "timestamptz", "When it was queued (database time)", server_default=func.clock_timestamp()),
    PrimaryKeyConstraint("visit", "detector", "dia_object_id"),
    CheckConstraint("reason IN ('new_object', 'no_image', 'late_image')", name="reason"),
    comment="Forced measurements still to be made: a DiaObject on an image",
)

_NOT_NULL = {
    "dia_source_id",
    "visit",
    "detector",
    "midpoint_mjd_tai",
    "ra",
    "dec",
    "band",
    "time_processed",
    "is_forced",
    "is_precovery",
    "validity_start",
}
_DEFAULTS = {"is_forced": text("false"), "is_precovery": text("false")}


def _dia_source_columns(*, with_defaults: bool) -> list[Column[Any]]:
    return [
        _column(
            c.name,
            c.sql_type,
            c.comment,
            null=c.name not in _NOT_NULL,
            server_default=_DEFAULTS.get(c.name) if with_defaults else None,
        )
        for c in DIA_SOURCE
    ]


dia_source = Table(
    "dia_source",
    metadata,
    *_dia_source_columns(with_defaults=True),
    CheckConstraint("ra >= 0 AND ra < 360 AND dec BETWEEN -90 AND 90", name="position"),
    CheckConstraint("midpoint_mjd_tai > 0 AND midpoint_mjd_tai < 2400000", name="midpoint"),
    CheckConstraint("is_forced OR (psf_flux IS NOT NULL AND psf_flux_err > 0)", name="detection_has_flux"),
    CheckConstraint(
        "dia_object_id IS NOT NULL OR ss_object_id IS NOT NULL OR no_object_reason IS NOT NULL", name="belongs"
    ),
    CheckConstraint("no_object_reason IN ('duplicate_in_visit', 'quality', 'breaker')", name="no_object_reason"),
    Index(None, "dia_object_id", "midpoint_mjd_tai"),
    Index(None, "ss_object_id", "midpoint_mjd_tai", postgresql_where=text("ss_object_id IS NOT NULL")),
    postgresql_partition_by="RANGE (midpoint_mjd_tai)",
    comment="Live DiaSources, detected and forced, in partitions of 30 nights",
)

dia_source_history = Table(
    "dia_source_history",
    metadata,
    _column("validity_end", "timestamptz", "When this version was changed or withdrawn (database time)"),
    _column("closed_reason", "text", "Why", null=True),
    *_dia_source_columns(with_defaults=False),
    PrimaryKeyConstraint("dia_source_id", "validity_start"),
    CheckConstraint("validity_end > validity_start", name="validity"),
    Index(None, "visit", "detector"),
    comment="Former versions of DiaSources: changed or withdrawn",
)


def _dia_object_columns() -> list[Column[Any]]:
    return [
        _column(
            "dia_object_id",
            "bigint",
            "Identifier; its upper 27 bits are the level-12 q3c cell of the discovery",
            autoincrement=False,
        ),
        _column("validity_start", "timestamptz", "Since when this version holds (database time)"),
        _column("ra", "double precision", "Right ascension, ICRS: mean of the detections [deg]"),
        _column("ra_err", "real", "1-sigma error of ra, including cos(dec) [deg]", null=True),
        _column("dec", "double precision", "Declination, ICRS: mean of the detections [deg]"),
        _column("dec_err", "real", "1-sigma error of dec [deg]", null=True),
        _column("ra_dec_cov", "real", "Covariance of ra (including cos(dec)) and dec [deg**2]", null=True),
        _column("n_dia_sources", "integer", "Number of detections in the history window"),
        _column("n_forced", "integer", "Number of forced rows in the history window"),
        _column("first_dia_source_mjd_tai", "double precision", "Midpoint of the earliest detection, MJD TAI [d]"),
        _column("last_dia_source_mjd_tai", "double precision", "Midpoint of the latest detection, MJD TAI [d]"),
        _column(
            "n_good_dia_sources",
            "integer",
            "Detections in the history window that are reliable enough to have the object forced",
        ),
        _column("first_epoch_mjd_tai", "double precision", "Midpoint of the earliest row, forced or not, MJD TAI [d]"),
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
    comment="The current version of each DiaObject",
)

dia_object_history = Table(
    "dia_object_history",
    metadata,
    _column("validity_end", "timestamptz", "Until when this version held (database time)"),
    _column("retired_reason", "text", "Why no version follows; NULL: one does", null=True),
    _column("redirect_to", "bigint", "DiaObject that a retired one became part of", null=True),
    *_dia_object_columns(),
    PrimaryKeyConstraint("dia_object_id", "validity_start"),
    CheckConstraint("validity_end > validity_start", name="validity"),
    comment="Former versions of DiaObjects",
)


def _dia_object_band_columns() -> list[Column[Any]]:
    return [
        _column("dia_object_id", "bigint", "DiaObject", autoincrement=False),
        _column("band", "text", "Filter band"),
        _column("validity_start", "timestamptz", "Since when this version holds (database time)"),
        _column("psf_flux_mean", "real", "Weighted mean of psf_flux [nJy]", null=True),
        _column("psf_flux_mean_err", "real", "1-sigma error of psf_flux_mean [nJy]", null=True),
        _column("psf_flux_sigma", "real", "Standard deviation of psf_flux; NULL for one epoch [nJy]", null=True),
        _column("psf_flux_ndata", "integer", "Number of epochs in the statistics"),
        _column("psf_flux_min", "real", "Least psf_flux [nJy]", null=True),
        _column("psf_flux_max", "real", "Largest psf_flux [nJy]", null=True),
    ]


dia_object_band = Table(
    "dia_object_band",
    metadata,
    *_dia_object_band_columns(),
    PrimaryKeyConstraint("dia_object_id", "band"),
    comment="The current light-curve statistics of each DiaObject in each band",
)

dia_object_band_history = Table(
    "dia_object_band_history",
    metadata,
    _column("validity_end", "timestamptz", "Until when this version held (database time)"),
    *_dia_object_band_columns(),
    PrimaryKeyConstraint("dia_object_id", "band", "validity_start"),
    CheckConstraint("validity_end > validity_start", name="validity"),
    comment="Former light-curve statistics",
)

alert = Table(
    "alert",
    metadata,
    _column("alert_id", "bigint", "Identifier of the alert", server_default=text("nextval('l1.alert_seq'::regclass)")),
    _column("kind", "text", "detection, forced or retraction"),
    _column("dia_source_id", "bigint", "The triggering DiaSource"),
    _column(
        "midpoint_mjd_tai", "double precision", "Its midpoint, MJD TAI: alerts share the leaf bounds of sources [d]"
    ),
    _column("visit", "bigint", "Its visit"),
    _column("detector", "smallint", "Its detector"),
    _column("dia_object_id", "bigint", "Its DiaObject", null=True),
    _column("dia_object_version", "timestamptz", "validity_start of the version its transaction opened", null=True),
    _column("ss_object_id", "bigint", "Its SSObject", null=True),
    _column("ss_object_version", "timestamptz", "validity_start of the SSObject's version", null=True),
    _column("survey_version", "integer", "Rules under which it was issued"),
    _column("stamp", "timestamptz", "Stamp of the issuing transaction (database time)"),
    _column(
        "xid",
        "xid8",
        "The issuing transaction: consumers tell by it what they have not seen",
        server_default=func.pg_current_xact_id(),
    ),
    CheckConstraint("kind IN ('detection', 'forced', 'retraction')", name="kind"),
    Index(None, "xid", "alert_id"),
    postgresql_partition_by="RANGE (midpoint_mjd_tai)",
    comment="The outbox, and the record of what was issued; append-only",
)

alert_cursor = Table(
    "alert_cursor",
    metadata,
    _column("consumer", "text", "Name of the consumer"),
    _column("created_at", "timestamptz", "When it was added", server_default=func.clock_timestamp()),
    _column("seen", "pg_snapshot", "Alerts of transactions visible here have all been cut into batches"),
    _column(
        "window_end", "pg_snapshot", "Alerts visible here and not in seen are being cut; NULL: none are", null=True
    ),
    _column("after_xid", "xid8", "Within the window: cut up to this transaction", null=True),
    _column("after_alert_id", "bigint", "and this alert", null=True),
    _column("not_before", "timestamptz", "Within the window: older stamps are passed over", null=True),
    PrimaryKeyConstraint("consumer"),
    CheckConstraint("consumer ~ '^[A-Za-z0-9_.:-]{1,63}$'", name="consumer"),
    comment="Where each consumer of alerts stands",
)

alert_batch = Table(
    "alert_batch",
    metadata,
    Column("batch_id", BigInteger(), Identity(always=True), comment="Identifier of the batch"),
    Column(
        "consumer",
        Text(),
        ForeignKey("l1.alert_cursor.consumer", ondelete="CASCADE"),
        nullable=False,
        comment="Consumer it was cut for",
    ),
    _column("seen", "pg_snapshot", "Alerts visible here are not in the batch"),
    _column("window_end", "pg_snapshot", "Alerts visible here may be"),
    _column("after_xid", "xid8", "The batch begins after this transaction", null=True),
    _column("after_alert_id", "bigint", "and this alert", null=True),
    _column("upto_xid", "xid8", "and ends with this transaction"),
    _column("upto_alert_id", "bigint", "and this alert"),
    _column("not_before", "timestamptz", "Older stamps are not in the batch", null=True),
    _column("n_alerts", "integer", "Number of alerts in the batch"),
    _column("cut_at", "timestamptz", "When it was cut", server_default=func.clock_timestamp()),
    _column("leased_by", "text", "Who holds it: application_name of the session"),
    _column("leased_until", "timestamptz", "After this it is handed out again"),
    _column("n_leases", "integer", "How often it was handed out", server_default=text("1")),
    _column("acked_at", "timestamptz", "When it was acknowledged; NULL: it is open", null=True),
    PrimaryKeyConstraint("batch_id"),
    CheckConstraint("n_alerts > 0", name="n_alerts"),
    Index("alert_batch_open_idx", "consumer", "leased_until", postgresql_where=text("acked_at IS NULL")),
    comment="Batches of alerts handed to consumers; the same batch always holds the same alerts",
)

# Storage settings that SQLAlchemy has no word for: room for HOT updates on the pages of what changes at each visit.
STORAGE = {"dia_object": "fillfactor = 80", "dia_object_band": "fillfactor = 70"}
for _table, _setting in STORAGE.items():
    event.listen(metadata.tables[f"{SCHEMA}.{_table}"], "after_create",
                 DDL(f"ALTER TABLE {SCHEMA}.{_table} SET ({_setting})"))  # type: ignore[no-untyped-call]  # fmt: skip
