"""Which columns the Params of an event have, with type, unit, UCD and description: one file for each version of events.

An event is built by the file of its version, ``schemas/voevent.v<version>.json``, and by nothing that somebody may
reword: neither a new column of the database nor another comment, UCD or type of an old one changes an event that was
issued.  ``python -m l1db.alert.voevent_columns`` writes the file of the version that `VERSION` names, from the models;
a test fails when that would write another.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from l1db.alert.ucd import ucd
from l1db.columns import BY_NAME
from l1db.errors import InputError

# Version of the layout of our events; packets are recorded with it.
VERSION = "1"

_SCHEMAS = Path(__file__).parent / "schemas"

LEFT_OUT: dict[str, dict[str, str]] = {
    "alert": {"xid": "of the outbox: it means nothing outside its cluster"},
    "dia_source": {},
    "dia_object": {"motion_is_due": "a note for the work by day, nothing about the object"},
    "dia_object_band": {},
    "image_metadata": {},
}
"""What no event says, by Group, and why."""

# Of each Group, the table whose columns it has.
_TABLES = {
    "alert": "alert",
    "dia_source": "dia_source",
    "dia_object": "dia_object",
    "dia_object_band": "dia_object_band",
    "image_metadata": "alert_image",
}

# What an alert says besides its own columns.
_JOINED = {
    "database_id": "text",
    "survey_name": "text",
    "ivo_authority": "text",
    "operational": "boolean",
    "first_alert_id": "bigint",
    "retracted_alert_id": "bigint",
}
# How types leave the database.
_LEAVES = {"timestamptz": "double precision", "date": "text", "bytea": "text"}

_HISTORY = (
    "dia_source_id", "visit", "detector", "band", "midpoint_mjd_tai", "ra", "ra_err", "dec", "dec_err",
    "psf_flux", "psf_flux_err", "science_flux", "science_flux_err", "template_flux", "template_flux_err",
    "snap_diff_flux", "snap_diff_flux_err", "snr", "reliability", "is_negative", "is_forced", "is_precovery",
    "forced_flags", "pixel_flags",
)  # fmt: skip
# Params that are no columns.
_OWN = (
    "n_history", "n_history_shown", "n_history_omitted", "omitted", "full_packet",
    "cutout_difference", "cutout_science", "cutout_template",
)  # fmt: skip

# Where neither name nor UCD tell.
_DESCRIPTIONS = {
    "alert_id": "Counted by this database",
    "kind": "detection, forced or retraction",
    "stamp": "As of this time the database says what is said here",
    "dia_object_version": "validity_start of the version that this transaction opened",
    "survey_version": "Rules under which the alert was issued",
    "first_alert_id": "First alert of this DiaObject",
    "retracted_alert_id": "The alert that is withdrawn",
    "midpoint_mjd_tai": "Middle of the exposure, MJD TAI",
    "ra": "ICRS",
    "dec": "ICRS",
    "ra_err": "1 sigma, including cos(dec)",
    "dec_err": "1 sigma",
    "x": "(0, 0) is the centre of the lower left pixel",
    "ap_flux": "Aperture flux on the difference image",
    "psf_flux": "PSF flux on the difference image",
    "science_flux": "PSF flux on the science image, at this position",
    "template_flux": "PSF flux on the template, at this position",
    "snap_diff_flux": "PSF flux on the difference of the snaps, second minus first",
    "reliability": "Probability that the source is astrophysical",
    "is_forced": "Measured at the position of a DiaObject, not detected",
    "is_precovery": "Forced after the fact, on a cached image",
    "time_withdrawn": "When this source was withdrawn",
    "validity_start": "Since when this version holds",
    "n_dia_sources": "Detections in the history window",
    "n_forced": "Forced measurements in the history window",
    "pm_ra": "Including cos(dec)",
    "pm_chi2": "With 2 pm_ndata - 4 degrees of freedom",
    "psf_fwhm": "Full width at half maximum",
    "zero_point": "Magnitude of one count per second",
    "flux_noise": "Noise of a point source's flux",
    "wcs": "FITS cards, one a line",
}


@dataclass(frozen=True)
class Shown:
    """A column as events show it; what is not said of it is empty."""

    name: str
    type: str
    unit: str = ""
    ucd: str = ""
    description: str = ""


@dataclass(frozen=True)
class Version:
    """What the events of a version show: the Params of each Group, the Fields of the history, and UCDs of the rest."""

    groups: Mapping[str, tuple[Shown, ...]]
    history: tuple[Shown, ...]
    own: Mapping[str, str]


@cache
def version(name: str) -> Version:
    """A version of our events.

    Raises
    ------
    InputError
        If this l1db does not know it.
    """
    file = _SCHEMAS / f"voevent.v{name}.json"
    if name not in versions():
        raise InputError(f"there is no version {name} of VOEvents; there are: {', '.join(versions())}: upgrade l1db")
    read = json.loads(file.read_text(encoding="utf-8"))
    groups = {group: tuple(Shown(**column) for column in columns) for group, columns in read["groups"].items()}
    of_source = {column.name: column for column in groups["dia_source"]}
    return Version(groups, tuple(of_source[column] for column in read["history"]), read["own"])


def versions() -> list[str]:
    """The versions that there are, oldest first."""
    found = (re.fullmatch(r"voevent\.v(\d+)\.json", file.name) for file in _SCHEMAS.iterdir())
    return sorted((match[1] for match in found if match), key=int)


def generate() -> str:
    """The file of `VERSION`, as the models make it."""
    groups = {group: [_told(column) for column in _columns(group)] for group in _TABLES}
    listed = ",\n".join(
        f'  "{group}": [\n' + ",\n".join(f"   {_spelled(column)}" for column in columns) + "\n  ]"
        for group, columns in groups.items()
    )
    history = ",\n  ".join(json.dumps(name) for name in _HISTORY)
    own = ",\n  ".join(f'"{name}": {json.dumps(ucd(name))}' for name in _OWN)
    return f'{{\n "groups": {{\n{listed}\n }},\n "history": [\n  {history}\n ],\n "own": {{\n  {own}\n }}\n}}\n'


def _spelled(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _told(column: Shown) -> dict[str, str]:
    return {key: value for key, value in vars(column).items() if value}


def _columns(group: str) -> Iterator[Shown]:
    from sqlalchemy import DateTime  # here, as it takes longer to load than most commands to run

    from l1db.models import metadata
    from l1db.models.schema import SQL_TYPES

    type_names = {id(of): name for name, of in SQL_TYPES.items()}
    for column in metadata.tables[f"l1.{_TABLES[group]}"].columns:
        if column.name in LEFT_OUT[group]:
            continue
        sql_type = type_names[id(column.type)]
        stated = re.search(r" \[([^]]+)\]", column.comment or "")
        unit = stated[1] if stated else ""
        if group == "dia_source":
            unit = BY_NAME[column.name].unit
        is_timestamp = isinstance(column.type, DateTime)  # they leave the database as MJD
        yield Shown(
            column.name,
            _LEAVES.get(sql_type, sql_type),
            "d" if is_timestamp else unit.replace("pixel", "pix"),
            ucd(column.name) or "",
            _DESCRIPTIONS.get(column.name, ""),
        )
    if group == "alert":
        for name, sql_type in _JOINED.items():
            yield Shown(name, sql_type, "", ucd(name) or "", _DESCRIPTIONS.get(name, ""))


if __name__ == "__main__":
    written, path = generate(), _SCHEMAS / f"voevent.v{VERSION}.json"
    if path.exists() and path.read_text(encoding="utf-8") != written:
        sys.exit(f"{path}: version {VERSION} shows something else; raise VERSION")
    path.write_text(written, encoding="utf-8")
    print(path)
