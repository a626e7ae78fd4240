"""Alerts made up out of nothing, with a value of its own in nearly every column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from l1db.alert.content import Content, Rows
from l1db.binary_copy import WireColumn
from l1db.columns import DIA_SOURCE, DTYPES
from l1db.models import metadata

DATABASE_ID = "3f2a9c1d-5b7e-4a60-9c3d-8e1f2a3b4c5d"

# What has to be there; everything else may be NULL.
_NOT_NULL = {
    "alert_id", "kind", "dia_source_id", "midpoint_mjd_tai", "visit", "detector", "survey_version", "stamp", "band",
    "ra", "dec", "is_forced", "is_precovery", "validity_start", "dia_object_id", "n_dia_sources", "n_forced",
    "psf_flux_ndata",
}  # fmt: skip

_TEXTS = ("r", "two\nlines\tand a tab", "less < more > \"quoted\" & 'so'", "  blanks  ", "Größe 星 🜚", "]]>", "&amp;")

IMAGE = {
    "visit": "bigint", "detector": "smallint", "stamp": "timestamptz", "attempt": "smallint", "band": "text",
    "midpoint_mjd_tai": "double precision", "exposure_time": "real", "boresight_ra": "double precision",
    "boresight_dec": "double precision", "airmass": "real", "day_obs": "text", "n_snaps": "smallint",
    "reason": "text", "target": "text", "footprint": "text", "psf_fwhm": "real", "zero_point": "real",
    "flux_noise": "real", "software": "text", "wcs": "text", "template": "text", "template_sha256": "text",
}  # fmt: skip
_SQLALCHEMY = {"DOUBLE": "double precision", "DATETIME": "timestamptz"}


def table_types(name: str) -> dict[str, str]:
    """SQL types of the columns of a table, by the models."""
    types = {column.name: str(column.type) for column in metadata.tables[f"l1.{name}"].columns}
    return {column: _SQLALCHEMY.get(kind, kind.lower()) for column, kind in types.items()}


DIA_SOURCE_TYPES = {column.name: column.sql_type for column in DIA_SOURCE}
ALERT = {name: kind for name, kind in table_types("alert").items() if name != "xid"} | {
    "database_id": "text", "survey_name": "text", "ivo_authority": "text", "operational": "boolean",
    "first_alert_id": "bigint", "retracted_alert_id": "bigint",
}  # fmt: skip


def _column(name: str, sql_type: str, n: int, rng: np.random.Generator) -> WireColumn:
    dtype = DTYPES["double precision" if sql_type == "timestamptz" else sql_type]
    values: np.ndarray
    if dtype.kind == "O":
        values = np.array([_TEXTS[k] for k in rng.integers(len(_TEXTS), size=n)] + [None], dtype=object)[:-1]
    elif dtype.kind == "b":
        values = rng.random(n) < 0.5
    elif dtype.kind == "i":
        values = rng.integers(0, np.iinfo(dtype).max, n, dtype=dtype)
    else:
        values = (rng.normal(size=n) * 10.0 ** rng.integers(-9, 9, n)).astype(dtype)
    present = np.ones(n, dtype=bool) if name in _NOT_NULL else rng.random(n) < 0.85
    if dtype.kind == "O":
        values[~present] = None
    return WireColumn(name, values, present)


def rows(types: Mapping[str, str], n: int, rng: np.random.Generator, **given: Sequence[Any] | np.ndarray) -> Rows:
    """Rows of random values, and of those given."""
    columns = {name: _column(name, kind, n, rng) for name, kind in types.items()}
    table = Rows(n, columns)
    for name, values in given.items():
        table = with_column(table, name, values)
    return table


def with_column(table: Rows, name: str, values: Sequence[Any] | np.ndarray) -> Rows:
    """The same rows with other values in one column; None where there is to be none."""
    dtype = table[name].values.dtype
    present = np.array([value is not None for value in values], dtype=bool)
    column = np.zeros(table.n, dtype=dtype)
    for i, value in enumerate(values):
        if value is not None:
            column[i] = value
    return replace(table, columns={**table.columns, name: WireColumn(name, column, present)})


def without_values(table: Rows) -> Rows:
    """The same rows, all NULL."""
    columns = {
        name: WireColumn(name, column.values, np.zeros(table.n, dtype=bool)) for name, column in table.columns.items()
    }
    return replace(table, columns=columns)


def select(table: Rows, chosen: np.ndarray | slice) -> Rows:
    """Some of the rows."""
    columns = {
        name: WireColumn(name, column.values[chosen], column.present[chosen]) for name, column in table.columns.items()
    }
    return Rows(len(next(iter(columns.values())).values), columns)


def alone(content: Content, i: int) -> Content:
    """One of the alerts."""
    band = slice(*content.band_bounds[i : i + 2])
    history = slice(*content.history_bounds[i : i + 2])
    return Content(
        *(select(table, slice(i, i + 1)) for table in (content.alert, content.source, content.object)),
        band=select(content.band, band),
        band_bounds=np.array([0, band.stop - band.start]),
        history=select(content.history, history),
        history_bounds=np.array([0, history.stop - history.start]),
        image=select(content.image, slice(i, i + 1)),
        cutouts=content.cutouts[i : i + 1],
        compressed=content.compressed[i : i + 1],
    )


def contents(
    n: int = 1,
    *,
    n_history: int | Sequence[int] = 5,
    bands: Sequence[str] = ("g", "r"),
    compressed: Mapping[str, bytes] | None = None,
    seed: int = 1,
) -> Content:
    """Alerts 1, 2, ... of a survey that is no longer under test, each of an object of its own."""
    rng = np.random.default_rng(seed)
    lengths = np.broadcast_to(np.asarray(n_history, dtype=np.int64), n)
    history_bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    n_bands = len(bands)
    source = rows(
        DIA_SOURCE_TYPES, n, rng,
        dia_source_id=2**62 + np.arange(n), visit=[7] * n, detector=[3] * n, band=["r"] * n,
        midpoint_mjd_tai=61000.1 + rng.random(n), ra=rng.uniform(0, 360, n), dec=rng.uniform(-90, 90, n),
        ra_err=rng.uniform(1e-6, 1e-4, n), dec_err=rng.uniform(1e-6, 1e-4, n),
    )  # fmt: skip
    alert = rows(
        ALERT, n, rng,
        alert_id=1 + np.arange(n), kind=["detection"] * n, dia_source_id=source["dia_source_id"].values,
        midpoint_mjd_tai=source["midpoint_mjd_tai"].values, stamp=61000.6 + rng.random(n),
        database_id=[DATABASE_ID] * n, survey_name=["Sky & Söhne"] * n, ivo_authority=["org.example"] * n,
        operational=[True] * n, first_alert_id=[None] * n, retracted_alert_id=[None] * n,
    )  # fmt: skip
    history = rows(
        DIA_SOURCE_TYPES, int(history_bounds[-1]), rng,
        dia_source_id=2**61 + np.arange(history_bounds[-1]),
        midpoint_mjd_tai=np.concatenate([np.sort(60000 + 1000 * rng.random(k)) for k in lengths] or [[]]),
        ra=rng.uniform(0, 360, history_bounds[-1]), dec=rng.uniform(-90, 90, history_bounds[-1]),
    )  # fmt: skip
    return Content(
        alert=alert,
        source=source,
        object=rows(table_types("dia_object"), n, rng),
        band=rows(table_types("dia_object_band"), n * n_bands, rng, band=[*bands] * n),
        band_bounds=np.arange(n + 1) * n_bands,
        history=history,
        history_bounds=history_bounds,
        image=rows(IMAGE, n, rng),
        cutouts=[{}] * n,
        compressed=[compressed or {}] * n,
    )
