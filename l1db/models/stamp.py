"""The writing transactions: a night is a series of them."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Index, PrimaryKeyConstraint, Table, func

from l1db.models.schema import column, metadata

stamp = Table(
    "stamp",
    metadata,
    column("stamp", "timestamptz", "The time that all rows of the transaction carry (database time)"),
    column("xid", "xid8", "The transaction", server_default=func.pg_current_xact_id()),
    column(
        "settled",
        "timestamptz",
        "Whoever sees this row: as-of answers at or before this time are final (database time); NULL: none was",
        null=True,
    ),
    PrimaryKeyConstraint("stamp", "xid"),
    CheckConstraint("settled < stamp", name="settled"),
    Index(None, "xid"),
    Index(None, "settled"),
    comment="The writing transactions, each with its stamp; append-only",
)
