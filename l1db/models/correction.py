"""Corrections of what is stored, and the records that tell stores downstream."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Identity,
    Index,
    PrimaryKeyConstraint,
    Table,
    func,
    text,
)

from l1db.models.schema import column, metadata

correction = Table(
    "correction",
    metadata,
    Column("correction_id", BigInteger(), Identity(always=True), comment="Identifier of the correction"),
    column("kind", "text", "What was done: the function of l1_api that did it"),
    column("reason", "text", "Why"),
    column("operator", "text", "Who made it"),
    column("login", "text", "The login that made it", server_default=text("SESSION_USER")),
    column("given", "jsonb", "What was asked for: the arguments of the function"),
    column("undoes", "bigint", "The correction that this one undoes", null=True),
    column("n_sources", "integer", "DiaSources withdrawn, moved or brought back, forced ones too"),
    column("n_objects", "integer", "DiaObjects measured anew"),
    column("n_retired", "integer", "DiaObjects retired"),
    column("stamp", "timestamptz", "Stamp of the transaction (database time)"),
    PrimaryKeyConstraint("correction_id"),
    ForeignKeyConstraint(["undoes"], ["l1.correction.correction_id"]),
    CheckConstraint("reason ~ '[^[:space:]]'", name="reason"),
    CheckConstraint("operator ~ '[^[:space:]]'", name="operator"),
    Index(None, "undoes", unique=True, postgresql_where=text("undoes IS NOT NULL")),
    comment="Corrections of what is stored, each one transaction; append-only",
)

update_record = Table(
    "update_record",
    metadata,
    column("stamp", "timestamptz", "When it was changed: stamp of the transaction (database time)"),
    column("xid", "xid8", "The transaction", server_default=func.pg_current_xact_id()),
    column("update_order", "integer", "Order within the transaction", autoincrement=False),
    column("update_type", "text", "Rubin's name of what changes"),
    column("correction_id", "bigint", "The correction; NULL: a replacement by the ingest", null=True),
    column("dia_source_id", "bigint", "The DiaSource, forced or not; NULL: the record is of a DiaObject", null=True),
    column("ra", "double precision", "Right ascension of the source or object, ICRS [deg]"),
    column("dec", "double precision", "Declination of the source or object, ICRS [deg]"),
    column("midpoint_mjd_tai", "double precision", "Midpoint of the source, MJD TAI [d]", null=True),
    column("visit", "bigint", "Visit of the source", null=True),
    column("detector", "smallint", "Detector of the source", null=True),
    column(
        "dia_object_id",
        "bigint",
        "The DiaObject; of a source, the one it was given to",
        null=True,
    ),
    column("former_dia_object_id", "bigint", "The DiaObject that the source belonged to before", null=True),
    column("ss_object_id", "bigint", "The SSObject that the source was given to", null=True),
    column("n_dia_sources", "integer", "Number of detections of the DiaObject now", null=True),
    PrimaryKeyConstraint("stamp", "xid", "update_order"),
    CheckConstraint(
        "update_type IN ('reassign_diasource_to_diaobject', 'reassign_diasource_to_ssobject', 'withdraw_diasource',"
        " 'withdraw_diaforcedsource', 'close_diaobject_validity', 'update_n_dia_sources')",
        name="update_type",
    ),
    CheckConstraint(
        "update_type IN ('close_diaobject_validity', 'update_n_dia_sources')"
        " OR dia_source_id IS NOT NULL AND midpoint_mjd_tai IS NOT NULL AND visit IS NOT NULL"
        " AND detector IS NOT NULL",
        name="source",
    ),
    CheckConstraint(
        "CASE update_type WHEN 'withdraw_diaforcedsource' THEN former_dia_object_id IS NOT NULL"
        " WHEN 'withdraw_diasource' THEN true WHEN 'reassign_diasource_to_ssobject' THEN true"
        " ELSE dia_object_id IS NOT NULL END",
        name="object",
    ),
    CheckConstraint("(ss_object_id IS NOT NULL) = (update_type = 'reassign_diasource_to_ssobject')", name="ss_object"),
    Index(None, "correction_id"),
    comment="What stores downstream must change in rows that they have, in Rubin's six types; append-only",
)
