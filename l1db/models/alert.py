"""Alerts, and where their consumers stand."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    PrimaryKeyConstraint,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy import Sequence as SqlSequence

from l1db.models.schema import column, metadata

alert_seq = SqlSequence("alert_seq", metadata=metadata, start=1, cycle=False)

alert = Table(
    "alert",
    metadata,
    column("alert_id", "bigint", "Identifier of the alert", server_default=text("nextval('l1.alert_seq'::regclass)")),
    column("kind", "text", "detection, forced or retraction"),
    column("dia_source_id", "bigint", "The triggering DiaSource"),
    column(
        "midpoint_mjd_tai", "double precision", "Its midpoint, MJD TAI: alerts share the leaf bounds of sources [d]"
    ),
    column("visit", "bigint", "Its visit"),
    column("detector", "smallint", "Its detector"),
    column("dia_object_id", "bigint", "Its DiaObject", null=True),
    column("dia_object_version", "timestamptz", "validity_start of the version its transaction opened", null=True),
    column("ss_object_id", "bigint", "Its SSObject", null=True),
    column("ss_object_version", "timestamptz", "validity_start of the SSObject's version", null=True),
    column("survey_version", "integer", "Rules under which it was issued"),
    column("stamp", "timestamptz", "Stamp of the issuing transaction (database time)"),
    column(
        "xid",
        "xid8",
        "The issuing transaction: consumers tell by it what they have not seen",
        server_default=func.pg_current_xact_id(),
    ),
    CheckConstraint("kind IN ('detection', 'forced', 'retraction')", name="kind"),
    Index(None, "xid", "alert_id"),
    Index(None, "alert_id"),
    Index(None, "dia_object_id"),
    postgresql_partition_by="RANGE (midpoint_mjd_tai)",
    comment="The outbox, and the record of what was issued; append-only",
)

alert_cursor = Table(
    "alert_cursor",
    metadata,
    column("consumer", "text", "Name of the consumer"),
    column("created_at", "timestamptz", "When it was added", server_default=func.clock_timestamp()),
    column("seen", "pg_snapshot", "Alerts of transactions visible here have all been cut into batches"),
    column("window_end", "pg_snapshot", "Alerts visible here and not in seen are being cut; NULL: none are", null=True),
    column("after_xid", "xid8", "Within the window: cut up to this transaction", null=True),
    column("after_alert_id", "bigint", "and this alert", null=True),
    column("not_before", "timestamptz", "Within the window: older stamps are passed over", null=True),
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
    column("seen", "pg_snapshot", "Alerts visible here are not in the batch"),
    column("window_end", "pg_snapshot", "Alerts visible here may be"),
    column("after_xid", "xid8", "The batch begins after this transaction", null=True),
    column("after_alert_id", "bigint", "and this alert", null=True),
    column("upto_xid", "xid8", "and ends with this transaction"),
    column("upto_alert_id", "bigint", "and this alert"),
    column("not_before", "timestamptz", "Older stamps are not in the batch", null=True),
    column("n_alerts", "integer", "Number of alerts in the batch"),
    column("cut_at", "timestamptz", "When it was cut", server_default=func.clock_timestamp()),
    column("leased_by", "text", "Who holds it: application_name of the session"),
    column("leased_until", "timestamptz", "After this it is handed out again"),
    column("n_leases", "integer", "How often it was handed out", server_default=text("1")),
    column("acked_at", "timestamptz", "When it was acknowledged; NULL: it is open", null=True),
    PrimaryKeyConstraint("batch_id"),
    CheckConstraint("n_alerts > 0", name="n_alerts"),
    Index("alert_batch_open_idx", "consumer", "leased_until", postgresql_where=text("acked_at IS NULL")),
    comment="Batches of alerts handed to consumers; the same batch always holds the same alerts",
)
