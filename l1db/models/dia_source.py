"""DiaSources: live, and their former versions."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Column, Index, PrimaryKeyConstraint, Table, text
from sqlalchemy import Sequence as SqlSequence

from l1db.columns import DIA_SOURCE
from l1db.models.schema import column, metadata

dia_source_seq = SqlSequence("dia_source_seq", metadata=metadata, start=2**62, minvalue=2**62, cycle=False)

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
# What the measurements of an object are made from: with these in the index its rows need not be fetched, which are wide
# and lie where their visits put them.
LIGHT_CURVE = [
    "band", "is_forced", "ra", "dec", "ra_err", "dec_err", "ra_dec_cov", "psf_flux", "psf_flux_err", "science_flux",
    "science_flux_err", "reliability",
]  # fmt: skip


def _dia_source_columns(*, with_defaults: bool) -> list[Column[Any]]:
    return [
        column(
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
    Index("dia_source_light_curve_idx", "dia_object_id", "midpoint_mjd_tai", postgresql_include=LIGHT_CURVE),
    Index(None, "ss_object_id", "midpoint_mjd_tai", postgresql_where=text("ss_object_id IS NOT NULL")),
    postgresql_partition_by="RANGE (midpoint_mjd_tai)",
    comment="Live DiaSources, detected and forced, in partitions of 30 nights",
)

dia_source_history = Table(
    "dia_source_history",
    metadata,
    column("validity_end", "timestamptz", "When this version was changed or withdrawn (database time)"),
    column("closed_reason", "text", "Why", null=True),
    *_dia_source_columns(with_defaults=False),
    PrimaryKeyConstraint("dia_source_id", "validity_start"),
    CheckConstraint("validity_end > validity_start", name="validity"),
    Index(None, "visit", "detector"),
    Index(None, "dia_object_id", "validity_end"),
    comment="Former versions of DiaSources: changed or withdrawn",
)
