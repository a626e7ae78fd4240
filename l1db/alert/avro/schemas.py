"""The schemas of packets, their names, numbers and versions.

Two formats.  ``lsst-11.1`` is LSST's alert schema 11.1, made in memory from the mapping: LSST's own files have
another licence.  ``l1db`` has versions of its own, each a file in ``l1db/alert/schemas``, which stays for ever:
packets of every version can be read, and made again.  The newest file is what the mapping and the models make today;
a test holds them to that.  When it fails, raise `L1DB_VERSION` (the minor number, if only fields that have a default
have come) and run ``python -m l1db.alert.avro``, which writes the file.

On the wire a schema goes by a number, as Confluent's registry would give it: 100 * major + minor for LSST's; for l1db's
that, above 0x6C310000.
"""

from __future__ import annotations

import copy
import gzip
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib import resources
from typing import Any

from l1db.alert.avro import mapping
from l1db.alert.content import CUTOUT_KINDS
from l1db.columns import Column
from l1db.errors import InputError
from l1db.names import to_packet

L1DB_VERSION = "1.0"
LSST_VERSION = "11.1"

Schema = dict[str, Any]

_L1DB_IDS = 0x6C310000
_SCHEMAS = resources.files("l1db.alert") / "schemas"
_FILE = re.compile(r"l1db\.v(\d+)_(\d+)\.alert\.avsc")

_AVRO = {
    "bigint": "long",
    "integer": "int",
    "smallint": "int",
    "double precision": "double",
    "real": "float",
    "boolean": "boolean",
    "text": "string",
    "timestamptz": "double",
}
_LETTERS: dict[str, Any] = {
    "i": "int",
    "l": "long",
    "f": "float",
    "d": "double",
    "s": "string",
    "t": {"type": "long", "logicalType": "timestamp-micros"},
}


def schema(format: str, version: str | None = None) -> Schema:
    """The schema of a format, as parsed JSON; of ``l1db`` the newest version, unless one is named.

    Raises
    ------
    InputError
        If there is no such format or version.
    """
    return copy.deepcopy(_schema(*_resolve(format, version)))


def schema_version(format: str) -> str:
    """The version that is recorded with an alert, as ``11.1``."""
    return _resolve(format, None)[1]


def schema_name(format: str, version: str | None = None) -> str:
    """Full name of the schema, as ``l1db.v1_0.alert``."""
    return _namespace(*_resolve(format, version)) + ".alert"


def schema_id(format: str, version: str | None = None) -> int:
    """Number of the schema in the framing."""
    family, found = _resolve(format, version)
    major, minor = _numbers(found)
    return (_L1DB_IDS if family == "l1db" else 0) + 100 * major + minor


def versions(format: str) -> list[str]:
    """The versions of a format that can be made and read, oldest first."""
    return list(_versions(_resolve(format, None)[0]))


def header_schema(format: str, version: str | None = None) -> bytes:
    """The schema without its ``doc``, gzipped: small enough for a header of a Kafka message, always the same bytes."""
    bare = _without_doc(_schema(*_resolve(format, version)))
    return gzip.compress(json.dumps(bare, separators=(",", ":")).encode(), mtime=0)


@cache
def by_id(number: int) -> tuple[str, str]:
    """Format and version of a number in the framing.

    Raises
    ------
    InputError
        If it is of no schema that is known here.
    """
    known = {schema_id(family, of): (family, of) for family in ("lsst", "l1db") for of in _versions(family)}
    if number not in known:
        raise InputError(
            f"schema {number:#x} of a packet is not known here, perhaps to a newer l1db; known are "
            + ", ".join(f"{id_:#x} ({_namespace(*of)})" for id_, of in known.items())
        )
    return known[number]


def generate(format: str) -> Schema:
    """The schema of a format as mapping and models make it today."""
    return _lsst() if _family(format) == "lsst" else _l1db()


# --- versions --------------------------------------------------------------------------------------------------------


def _family(format: str) -> str:
    return format.partition("-")[0]


def _resolve(format: str, version: str | None) -> tuple[str, str]:
    family, _, named = format.partition("-")
    if family not in ("lsst", "l1db") or (version and named and version != named):
        raise InputError(f"there is no format {format}; there are lsst-{LSST_VERSION} and l1db")
    known = _versions(family)
    wanted = version or named or known[-1]
    if wanted not in known:
        raise InputError(f"there is no version {wanted} of {family}; there are {', '.join(known)}")
    return family, wanted


@cache
def _versions(family: str) -> tuple[str, ...]:
    if family == "lsst":
        return (LSST_VERSION,)
    found = (_FILE.fullmatch(file.name) for file in _SCHEMAS.iterdir())
    return tuple(f"{major}.{minor}" for major, minor in sorted((int(name[1]), int(name[2])) for name in found if name))


@cache
def _schema(family: str, version: str) -> Schema:
    if family == "lsst":
        return _lsst()
    file = _SCHEMAS / f"{_namespace(family, version)}.alert.avsc"
    parsed: Schema = json.loads(file.read_text(encoding="utf-8"))
    return parsed


def _namespace(family: str, version: str) -> str:
    return f"{family}.v{version.replace('.', '_')}"


def _numbers(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    return int(major), int(minor)


def _without_doc(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: _without_doc(value) for key, value in part.items() if key != "doc"}
    return [_without_doc(item) for item in part] if isinstance(part, list) else part


# --- generation ------------------------------------------------------------------------------------------------------


def _lsst() -> Schema:
    name = _namespace("lsst", LSST_VERSION)
    models = _Models()
    source = _record(
        f"{name}.diaSource",
        models.fields("dia_source", mapping.LSST_DIA_SOURCE, not_null=mapping.LSST_DIA_SOURCE_NOT_NULL),
    )
    return {
        "namespace": name,
        "type": "record",
        "name": "alert",
        "doc": f"An alert in the fields of LSST's alert schema {LSST_VERSION}, made by l1db",
        "fields": [
            _field("diaSourceId", "long", False, "Identifier of the triggering DiaSource"),
            *_of_image(),
            {"name": "diaSource", "type": source},
            _nullable("prvDiaSources", {"type": "array", "items": f"{name}.diaSource"}),
            _nullable(
                "prvDiaForcedSources",
                {"type": "array", "items": _record(f"{name}.diaForcedSource", models.lsst_forced())},
            ),
            _nullable("diaObject", _record(f"{name}.diaObject", models.lsst_object())),
            *_solar_system(name),
            *_cutouts(),
        ],
    }


def _l1db() -> Schema:
    name = _namespace("l1db", L1DB_VERSION)
    models = _Models()
    source = _record(f"{name}.diaSource", models.fields("dia_source", mapping.DIA_SOURCE))
    forced = [*models.lsst_forced(), *models.fields("dia_source", mapping.DIA_FORCED_SOURCE_EXTRAS)]
    object_ = [*models.lsst_object(), *models.fields("dia_object", mapping.DIA_OBJECT_EXTRAS)]
    band = _record(f"{name}.diaObjectBand", models.fields("dia_object_band", mapping.DIA_OBJECT_BAND))
    image = _record(f"{name}.imageMetadata", _of_columns(mapping.ALERT_IMAGE, mapping.ALERT_IMAGE_NOT_NULL))
    return {
        "namespace": name,
        "type": "record",
        "name": "alert",
        "doc": f"An alert of l1db, version {L1DB_VERSION}",
        "fields": [
            *_of_columns(mapping.ALERT, [column.name for column in mapping.ALERT]),
            *_of_image(),
            {"name": "diaSource", "type": source, "doc": "The triggering DiaSource"},
            {
                "name": "prvDiaSources",
                "type": {"type": "array", "items": f"{name}.diaSource"},
                "doc": "Previous detections, in order of time",
            },
            {
                "name": "prvDiaForcedSources",
                "type": {"type": "array", "items": _record(f"{name}.diaForcedSource", forced)},
                "doc": "Previous forced measurements, precovery included, in order of time",
            },
            _nullable("diaObject", _record(f"{name}.diaObject", object_)),
            {
                "name": "diaObjectBands",
                "type": {"type": "array", "items": band},
                "doc": "Light-curve statistics of diaObject in every band it was seen in",
            },
            *_of_columns(mapping.SS_OBJECT, ()),
            *_solar_system(name),
            _nullable("imageMetadata", image, "The image that the triggering DiaSource was found on"),
            *_cutouts(),
        ],
    }


class _Models:
    """Fields by the types, nullability and comments of the models."""

    def __init__(self) -> None:
        from l1db.models import SCHEMA, metadata
        from l1db.models.schema import SQL_TYPES

        self._tables = {name: metadata.tables[f"{SCHEMA}.{name}"].c for name in mapping.LEFT_OUT if name in _MODELLED}
        self._names = {column.name for table in self._tables.values() for column in table}
        self._sql = {type(of): name for name, of in SQL_TYPES.items()}

    def field(self, table: str, name: str, *, null: bool | None = None, prefix: str = "") -> Schema:
        """One field; whether it may be null as the model says, or as said here.

        Its ``doc`` is the comment of the column, which calls other columns as packets do.
        """
        column = self._tables[table][name]
        avro = "float" if prefix and name in mapping.LSST_REAL else _AVRO[self._sql[type(column.type)]]
        doc = (column.comment or "").replace("(database time)", "(database time), MJD TAI [d]").replace("NULL", "null")
        doc = re.sub(r"\w+", lambda word: to_packet(word[0]) if word[0] in self._names else word[0], doc)
        return _field(prefix + to_packet(name), avro, bool(column.nullable) if null is None else null, doc)

    def fields(self, table: str, names: Iterable[str], not_null: Sequence[str] | None = None) -> list[Schema]:
        """Fields in order; only those of ``not_null`` may not be null, if it is given."""
        return [self.field(table, name, null=None if not_null is None else name not in not_null) for name in names]

    def lsst_forced(self) -> list[Schema]:
        """LSST's 14 fields of a DiaForcedSource."""
        name, _ = mapping.FORCED_ID
        return [
            _field(name, "long", False, "Identifier of this measurement: that of a DiaSource of l1db"),
            *self.fields(
                "dia_source", mapping.LSST_DIA_FORCED_SOURCE, not_null=mapping.LSST_DIA_FORCED_SOURCE_NOT_NULL
            ),
        ]

    def lsst_object(self) -> list[Schema]:
        """LSST's 82 fields of a DiaObject, statistics of six bands among them."""
        must = mapping.LSST_DIA_OBJECT_NOT_NULL
        return [
            *self.fields("dia_object", mapping.LSST_DIA_OBJECT_HEAD, not_null=must),
            *(
                self.field("dia_object_band", name, null=name not in must, prefix=f"{band}_")
                for group in mapping.LSST_DIA_OBJECT_BANDS
                for band in mapping.LSST_BANDS
                for name in group
            ),
            *self.fields("dia_object", mapping.LSST_DIA_OBJECT_TAIL, not_null=must),
        ]


_MODELLED = ("dia_source", "dia_object", "dia_object_band")


def _record(name: str, fields: Iterable[Schema]) -> Schema:
    return {"type": "record", "name": name, "fields": list(fields)}


def _field(name: str, avro: Any, null: bool, doc: str = "") -> Schema:
    field = _nullable(name, avro) if null else {"name": name, "type": avro}
    return {**field, "doc": doc} if doc else field


def _nullable(name: str, avro: Any, doc: str = "") -> Schema:
    field = {"name": name, "type": ["null", avro], "default": None}
    return {**field, "doc": doc} if doc else field


def _of_columns(columns: Iterable[Column], not_null: Sequence[str]) -> Iterator[Schema]:
    for column in columns:
        yield _field(to_packet(column.name), _AVRO[column.sql_type], column.name not in not_null, column.comment)


def _of_image() -> Iterator[Schema]:
    yield _field("observation_reason", "string", True, "Why the exposure was taken")
    yield _field("target_name", "string", True, "What the exposure was taken of")


def _solar_system(namespace: str) -> Iterator[Schema]:
    yield _nullable("ssSource", _record(f"{namespace}.ssSource", _of_letters(mapping.LSST_SS_SOURCE)))
    yield _nullable("mpc_orbits", _record(f"{namespace}.mpc_orbits", _of_letters(mapping.LSST_MPC_ORBITS)))


def _of_letters(text: str) -> list[Schema]:
    groups = (group.split(":") for group in text.split())
    return [_field(name, _LETTERS[of.lower()], of.islower()) for of, names in groups for name in names.split(",")]


def _cutouts() -> Iterator[Schema]:
    for kind in CUTOUT_KINDS:
        yield _field(f"cutout{kind.capitalize()}", "bytes", True, f"Cutout of the {kind} image, FITS")
