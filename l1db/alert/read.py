"""What alerts say, read from the database by their ids: what they said when they were issued, for ever.

What a packet is made from is in the tables that the functions here name (``l1_api.alert_sources`` and its neighbours)
and in ``l1.cutout``: each of them is append-only or keeps its former versions.  Nothing here reads what is current.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from l1db.alert.content import Content, Rows
from l1db.alert.cutouts import Archive, Place
from l1db.binary_copy import WireColumn, decode
from l1db.columns import DIA_SOURCE
from l1db.errors import InputError, L1dbError
from l1db.models.dia_object import dia_object, dia_object_band
from l1db.models.publishing import alert_image
from l1db.models.schema import SQL_TYPES
from l1db.times import mjd_tai

_FACTS = {
    "kind": "text",
    "dia_source_id": "bigint",
    "midpoint_mjd_tai": "double precision",
    "visit": "bigint",
    "detector": "smallint",
    "dia_object_id": "bigint",
    "dia_object_version": "timestamptz",
    "ss_object_id": "bigint",
    "ss_object_version": "timestamptz",
    "survey_version": "integer",
    "stamp": "timestamptz",
    "database_id": "text",
    "survey_name": "text",
    "ivo_authority": "text",
    "operational": "boolean",
}
_CITATIONS = {"first_alert_id": "bigint", "retracted_alert_id": "bigint"}
_SOURCE = {column.name: column.sql_type for column in DIA_SOURCE}
_TYPE_NAMES = {id(sql_type): name for name, sql_type in SQL_TYPES.items()}


def _types(table: Any) -> dict[str, str]:
    return {column.name: _TYPE_NAMES[id(column.type)] for column in table.columns}


_OBJECT, _BAND, _IMAGE = _types(dia_object), _types(dia_object_band), _types(alert_image)


class LostError(L1dbError):
    """The database does not have any more what an alert says: something is wrong, and a packet would be another."""


def read_content(
    connection: psycopg.Connection[Any],
    alert_ids: Sequence[int],
    archive: Archive | None = None,
    *,
    compressed: bool = False,
) -> Content:
    """What alerts say.

    Parameters
    ----------
    connection
        Of a login that may read.
    alert_ids
        The alerts, in any order, none twice.
    archive
        Where their cutouts lie; None: packets are to carry none.
    compressed
        Whether the compressed cutouts are wanted too.

    Returns
    -------
    Content
        In the order of ``alert_ids``.

    Raises
    ------
    InputError
        If there is no such alert.
    LostError
        If the database does not have its source or its object as they were.
    ArchiveError
        If the archive does not have a cutout that it had.
    """
    reader = _Reader(connection, np.asarray(alert_ids, dtype=np.int64))
    alert = reader.rows_of_alerts("alert_facts", None, _FACTS)
    cited = reader.rows_of_alerts("alert_citations", None, _CITATIONS)
    source = reader.rows_of_alerts("alert_sources", "source", _SOURCE)
    found = reader.rows_of_alerts("alert_objects", "object", _OBJECT)
    _refuse_lost(alert, source, found)
    band, band_bounds = reader.rows("alert_bands", "band", _BAND, ("band",))
    history, history_bounds = reader.rows("alert_history", "source", _SOURCE, ("midpoint_mjd_tai", "dia_source_id"))
    return Content(
        alert=Rows(len(alert), {**alert.columns, **cited.columns}),
        source=_withdrawn(alert, source),
        object=found,
        band=band,
        band_bounds=band_bounds,
        history=history,
        history_bounds=history_bounds,
        image=_as_text(reader.rows_of_alerts("alert_images", "image", _IMAGE)),
        cutouts=reader.cutouts("fits", archive),
        compressed=reader.cutouts("gzip", archive if compressed else None),
    )


class _Reader:
    """The rows of some alerts, found by the functions that take their ids and the span of their midpoints."""

    def __init__(self, connection: psycopg.Connection[Any], alert_ids: NDArray[np.int64]) -> None:
        self._connection = connection
        self._alert_ids = alert_ids
        self._order = np.argsort(alert_ids)
        self._sorted = alert_ids[self._order]
        row = connection.execute(
            "select min(a.midpoint_mjd_tai), max(a.midpoint_mjd_tai), count(*) from l1.alert a"
            " where a.alert_id = any (%s)",
            (alert_ids.tolist(),),
            binary=True,  # as text, a session may have them rounded
        ).fetchone()
        assert row is not None
        if row[2] != len(alert_ids):
            known = {
                i
                for (i,) in connection.execute(
                    "select alert_id from l1.alert where alert_id = any (%s)", (alert_ids.tolist(),)
                )
            }
            missing = next((i for i in alert_ids.tolist() if i not in known), None)
            raise InputError(f"there is no alert {missing}" if missing is not None else "an alert is named twice")
        self._arguments = (alert_ids.tolist(), row[0], row[1])

    def rows_of_alerts(self, function: str, composite: str | None, types: Mapping[str, str]) -> Rows:
        """A row per alert; where the function has none, all NULL."""
        ordinals, columns = self._read(function, composite, types)
        n = len(self._alert_ids)
        placed = {}
        for name, column in columns.items():
            values, present = np.zeros(n, dtype=column.values.dtype), np.zeros(n, dtype=bool)
            if values.dtype.kind == "O":
                values[:] = ""
            values[ordinals], present[ordinals] = column.values, column.present
            placed[name] = WireColumn(name, values, present)
        if composite is None:
            placed["alert_id"] = WireColumn("alert_id", self._alert_ids, np.ones(n, dtype=bool))
        return Rows(n, placed)

    def rows(
        self, function: str, composite: str, types: Mapping[str, str], order: Sequence[str]
    ) -> tuple[Rows, NDArray[np.int64]]:
        """Any number of rows per alert, in the order of the alerts and of some columns, and where each begins."""
        ordinals, columns = self._read(function, composite, types)
        keys = [columns[name].values for name in order]
        keys = [key.astype(str) if key.dtype.kind == "O" else key for key in keys]
        arranged = np.lexsort([*reversed(keys), ordinals])
        bounds = np.searchsorted(ordinals[arranged], np.arange(len(self._alert_ids) + 1))
        rows = {
            name: WireColumn(name, column.values[arranged], column.present[arranged])
            for name, column in columns.items()
        }
        return Rows(len(arranged), rows), bounds

    def _read(
        self, function: str, composite: str | None, types: Mapping[str, str]
    ) -> tuple[NDArray[np.intp], dict[str, WireColumn]]:
        """Which alert each row is of, and the columns."""
        fields = [
            sql.Identifier("f", name) if composite is None
            else sql.SQL("({}).{}").format(sql.Identifier("f", composite), sql.Identifier(name))
            for name in types
        ]  # fmt: skip
        statement = sql.SQL("copy (select f.alert_id, {} from {}({}) as f) to stdout (format binary)").format(
            sql.SQL(", ").join(fields),
            sql.Identifier("l1_api", function),
            sql.SQL(", ").join(sql.Literal(argument) for argument in self._arguments),
        )
        with self._connection.cursor().copy(statement) as copy:
            _, columns = decode(copy, {"alert_id": "bigint", **types})
        found = columns.pop("alert_id").values
        ordinals = self._order[np.searchsorted(self._sorted, found)]
        return ordinals, {name: _leaving(column, types[name]) for name, column in columns.items()}

    def cutouts(self, encoding: str, archive: Archive | None) -> list[dict[str, bytes]]:
        """Those that alerts carry by the rules that they were issued under, and that there are."""
        found: list[dict[str, bytes]] = [{} for _ in range(len(self._alert_ids))]
        if archive is None:
            return found
        # A source may have a retraction too, issued under other rules: what that shows, the first alert need not.
        rows = self._connection.execute(
            """select a.alert_id, c.kind, c.sha256, c.n_bytes, c.pack, c.start
                 from l1.alert a
                 join l1.survey r on r.survey_version = a.survey_version
                 join l1.cutout c on c.dia_source_id = a.dia_source_id and c.kind = any (r.cutouts)
                where a.alert_id = any (%s) and a.midpoint_mjd_tai between %s and %s
                  and c.encoding = %s and c.trouble is null
                order by c.kind""",
            (*self._arguments, encoding),
            binary=True,
        ).fetchall()
        contents = archive.load(Place(*place) for _, _, *place in rows)
        for alert_id, kind, *place in rows:
            i = self._order[np.searchsorted(self._sorted, alert_id)]
            found[i][kind] = contents[Place(*place)]
        return found


def _leaving(column: WireColumn, sql_type: str) -> WireColumn:
    """A column as it leaves the database: times of the database are MJD TAI, and all NaN are the same."""
    if column.values.dtype.kind == "f":
        # They have a sign and other bits to spare, which a dump of the database does not keep.
        column.values[np.isnan(column.values)] = np.nan
    if sql_type != "timestamptz":
        return column
    times = np.zeros(len(column.values), dtype=np.float64)
    times[column.present] = mjd_tai(column.values[column.present])
    return WireColumn(column.name, times, column.present)


def _refuse_lost(alert: Rows, source: Rows, found: Rows) -> None:
    """Raise LostError for an alert whose rows are not there: who writes beside l1db's functions can lose them."""
    missing = {
        "survey rules": ~alert["database_id"].present,
        "DiaSource": ~source["dia_source_id"].present,
        "DiaObject version": alert["dia_object_version"].present & ~found["dia_object_id"].present,
    }
    for what, is_missing in missing.items():
        if is_missing.any():
            alert_id = alert["alert_id"].values[is_missing][0]
            raise LostError(
                f"the database does not have the {what} of alert {alert_id} any more: l1db check --deep says what else "
                "is broken; restore it from a copy"
            )


def _as_text(image: Rows) -> Rows:
    """The image metadata with its night and hash as text."""
    columns = dict(image.columns)
    day_obs, sha256 = columns["day_obs"], columns["template_sha256"]
    nights = [
        str(date(2000, 1, 1) + timedelta(days=day)) if there else ""
        for day, there in zip(day_obs.values.tolist(), day_obs.present, strict=True)
    ]
    hashes = [value.hex() if there else "" for value, there in zip(sha256.values, sha256.present, strict=True)]
    columns["day_obs"] = WireColumn("day_obs", np.array(nights, dtype=object), day_obs.present)
    columns["template_sha256"] = WireColumn("template_sha256", np.array(hashes, dtype=object), sha256.present)
    return Rows(len(image), columns)


def _withdrawn(alert: Rows, source: Rows) -> Rows:
    """The triggers; what a retraction takes back was withdrawn at its stamp."""
    retracted = alert["kind"].values == "retraction"
    if not retracted.any():
        return source
    column = source["time_withdrawn"]
    values = np.where(retracted, alert["stamp"].values, column.values)
    withdrawn = WireColumn("time_withdrawn", values, column.present | retracted)
    return Rows(len(source), {**source.columns, "time_withdrawn": withdrawn})
