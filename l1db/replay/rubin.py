"""Rubin's alert packets (schema versions 7 to 11) as visits, detectors and DiaSources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1db.alert.content import CUTOUT_KINDS
from l1db.columns import DTYPES, GIVEN, PER_DETECTOR, Column
from l1db.ingest.run import VisitData
from l1db.names import to_snake
from l1db.visit import DetectorData, Visit

VERSIONS = range(7, 12)
# Since this version raErr includes cos(dec), as it does in the database.
_COS_DEC_INCLUDED = 10
# Right ascension errors, with the declination whose cosine older versions leave out.
_OLDER_ERRORS = {"ra_err": "dec", "ra_dec_cov": "dec", "trail_ra_err": "trail_dec"}
_GIVEN = {column.name: column for column in GIVEN}
_KNOWN = {*_GIVEN, *PER_DETECTOR}
# Without these a source has no place in the database.
_NEEDED = ("dia_source_id", "visit", "detector", "midpoint_mjd_tai", "ra", "dec")
# Identifiers that Rubin writes as 0 where there is none.
_ZERO_IS_NONE = ("parent_dia_source_id",)


def detections(packet: dict[str, Any], version: tuple[int, int]) -> Iterator[tuple[int, bool, dict[str, Any]]]:
    """The DiaSources in a packet, previous ones too; forced measurements are not among them.

    Yields
    ------
    diaSourceId, is_trigger, record
        Values by their name in ``dia_source``, None and NaN left out; ``reason`` and ``target`` of the exposure, where
        the packet has them, with the trigger.
    """
    trigger = packet["diaSource"]
    for source in (trigger, *(packet.get("prvDiaSources") or ())):
        named = ((to_snake(key), value) for key, value in source.items() if value is not None)
        record = {name: value for name, value in named if name in _KNOWN and value == value}
        if missing := [name for name in _NEEDED if name not in record]:
            raise ValueError(f"DiaSource {source.get('diaSourceId')} has no {', '.join(missing)}")
        for name in _ZERO_IS_NONE:
            if record.get(name) == 0:
                del record[name]
        if version[0] < _COS_DEC_INCLUDED:
            for name, dec in _OLDER_ERRORS.items():
                if name in record and dec in record:
                    record[name] *= np.cos(np.radians(record[dec]))
        if source is trigger:
            record["reason"] = packet.get("observation_reason") or None
            record["target"] = packet.get("target_name") or None
        yield int(source["diaSourceId"]), source is trigger, record


def cutouts(packet: dict[str, Any]) -> dict[str, bytes]:
    """The cutouts of a packet's trigger, FITS files, by kind."""
    found = {kind: packet.get(f"cutout{kind.capitalize()}") for kind in CUTOUT_KINDS}
    return {kind: bytes(content) for kind, content in found.items() if content}


def visits(records: Sequence[dict[str, Any]]) -> list[VisitData]:
    """Visits in time order, from what `detections` yields; records are numbered from 1 in the order given."""
    groups: dict[int, dict[int, list[int]]] = {}
    for i, record in enumerate(records):
        groups.setdefault(record["visit"], {}).setdefault(record["detector"], []).append(i)
    found = []
    for number, detectors in groups.items():
        members = [records[i] for rows in detectors.values() for i in rows]
        visit = Visit(
            number,
            _agreed(members, "band") or "",
            float(np.median([record["midpoint_mjd_tai"] for record in members])),
            exposure_time=_agreed(members, "exposure_time"),
            reason=_agreed(members, "reason"),
            target=_agreed(members, "target"),
        )
        data = []
        for detector, rows in sorted(detectors.items()):
            rows.sort(key=lambda i: records[i]["dia_source_id"])
            sources = _columns([records[i] for i in rows])
            data.append(DetectorData(detector, sources, row_numbers=np.array(rows, dtype=np.int64) + 1))
        found.append(VisitData(visit, tuple(data)))
    return sorted(found, key=lambda v: (v.visit.midpoint_mjd_tai, v.visit.visit))


def _agreed(records: Sequence[dict[str, Any]], name: str) -> Any:
    """The one value that the records have, None if they have none or several."""
    values = {record.get(name) for record in records} - {None}
    return values.pop() if len(values) == 1 else None


def _columns(records: Sequence[dict[str, Any]]) -> dict[str, NDArray[Any]]:
    """Columns that some record has a value in, in table order, each of shape (n,)."""
    return {
        name: _column([record.get(name) for record in records], column)
        for name, column in _GIVEN.items()
        if any(name in record for record in records)
    }


def _column(values: list[Any], column: Column) -> NDArray[Any]:
    dtype = DTYPES[column.sql_type]
    if dtype.kind == "O":
        return np.array(values, dtype=object)
    if dtype.kind == "f":
        return np.array([np.nan if value is None else value for value in values], dtype=dtype)
    null = np.array([value is None for value in values])
    filled = np.array([0 if value is None else value for value in values], dtype=dtype)
    return np.ma.array(filled, mask=null) if null.any() else filled
