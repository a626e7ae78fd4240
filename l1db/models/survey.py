"""The survey's rules."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, PrimaryKeyConstraint, Table, func, text

from l1db.models.schema import column, metadata

survey = Table(
    "survey",
    metadata,
    column("survey_version", "integer", "Version of the rules; the highest is in force", autoincrement=False),
    column("created_at", "timestamptz", "When this version was made", server_default=func.now()),
    column("created_by", "text", "Database login that made it", server_default=text("SESSION_USER")),
    column("reason", "text", "Why it was made"),
    column("database_id", "uuid", "Identity of this Level 1 Database, the same in every version"),
    column("profile", "text", "Named set of rules this one started from: seed, rubin or ztf"),
    column("name", "text", "Name of the survey"),
    column("operational", "boolean", "False: alerts are marked as tests", server_default=text("false")),
    column("ivo_authority", "text", "IVOA authority under which alerts are named"),
    column("bands", "text[]", "Filter bands, in the order in which they are shown"),
    column("night_offset_hours", "real", "day_obs is the date of UTC minus this many hours [h]"),
    column("association_radius", "double precision", "Largest separation of a source from its object [arcsec]"),
    column("error_floor", "double precision", "Least combined position error used in association [arcsec]"),
    column("outlier_fraction", "double precision", "Share of true pairs whose offset no error explains"),
    column("calibration_min_pairs", "integer", "Fewest pairs from which a detector's extra variance is measured"),
    column("density_min_sources", "integer", "Fewest sources from which the density of new ones is measured"),
    column("default_extra_variance", "double precision", "Extra variance where there are too few pairs [arcsec**2]"),
    column("default_new_density", "double precision", "Density of new sources where it is not measured [arcsec**-2]"),
    column(
        "history_days",
        "double precision",
        "Window of statistics and packets before the trigger [d]; NULL: all",
        null=True,
    ),
    column("stats_include_forced", "boolean", "Flux statistics use forced rows as well as detections"),
    column("quality_gate", "boolean", "Sources with fatal flags or low reliability found no object"),
    column("gate_min_reliability", "real", "Reliability that a source needs to found an object", null=True),
    column("gate_min_snr", "real", "Signal-to-noise ratio that a source needs to found an object", null=True),
    column(
        "max_new_objects",
        "integer",
        "More new objects than this on a detector: none is made; NULL: no limit",
        null=True,
    ),
    column("alert_on", "text", "Which sources raise alerts: detections, or all (forced rows too)"),
    column("forced_on", "text", "Which DiaObjects in an image are forced: none, unassociated (with this visit) or all"),
    column("forced_min_dia_sources", "integer", "Detections that a DiaObject needs to be forced"),
    column(
        "forced_min_reliability", "real", "Reliability that a detection needs to count for this; NULL: none", null=True
    ),
    column("forced_margin", "real", "Margin around an image within which objects may matter to it [arcsec]"),
    column("image_cache_days", "double precision", "How long images are kept for later measurements [d]"),
    column(
        "statistics_at_ingest",
        "text",
        "Light-curve statistics an ingest measures: basic (the others by day) or all",
    ),
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
    CheckConstraint("statistics_at_ingest IN ('basic', 'all')", name="statistics_at_ingest"),
    comment="The survey's rules: immutable versions, the highest in force",
)
