"""The schemas of Avro packets: LSST's is LSST's, and no column of the database is forgotten."""

from __future__ import annotations

import gzip
import io
import json
import re
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import psycopg
import pytest
from lsst.alert.packet import get_schema_path

from bench.packets import content
from l1db import code
from l1db.alert import avro
from l1db.alert.avro import mapping
from l1db.alert.avro.schemas import L1DB_VERSION, generate
from l1db.columns import APDB_DIA_SOURCE, BY_NAME
from l1db.errors import InputError
from l1db.names import to_packet, to_snake

BAND_PREFIXES = [f"{band}_" for band in mapping.LSST_BANDS]
JOINED = {"database_id", "survey_name", "operational"}  # in Content.alert, and in no column of the table
FILLED = ("diaSource", "diaForcedSource", "diaObject", "diaObjectBand", "imageMetadata")


def records(schema: Any) -> dict[str, list[dict[str, Any]]]:
    """The fields of each record, by its name without namespace; what is defined within a field stands there by name."""
    found: dict[str, list[dict[str, Any]]] = {}

    def short(part: Any) -> Any:
        if isinstance(part, str):
            return part.rpartition(".")[2]
        if isinstance(part, list):
            return [short(item) for item in part]
        if part["type"] == "record":
            name = short(part["name"])
            found[name] = []
            found[name] += [{**field, "type": short(field["type"])} for field in part["fields"]]
            return name
        return {key: short(value) if key in ("type", "items") else value for key, value in part.items()}

    short(schema)
    return found


def lsst_records() -> dict[str, list[dict[str, Any]]]:
    """From LSST's own files."""
    folder = Path(get_schema_path("11", "1"))
    found: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(folder.glob("*.avsc")):
        found |= records(json.loads(file.read_text(encoding="utf-8")))
    return found


def structure(fields: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(field["name"], field["type"], "default" in field, field.get("default")) for field in fields]


def test_lsst_11_1_is_lsst_11_1() -> None:
    """Names, types, order and defaults of every record.  Seen red with two columns exchanged, and with x nullable."""
    ours, theirs = records(avro.schema("lsst-11.1")), lsst_records()
    del theirs["ssObject"]  # of older packets; 11.1's alert has none
    assert set(ours) == set(theirs)
    assert [len(ours[name]) for name in ("alert", "diaSource", "diaForcedSource", "diaObject")] == [12, 102, 14, 82]
    for name, fields in ours.items():
        assert structure(fields) == structure(theirs[name]), name
    assert avro.schema_name("lsst-11.1") == "lsst.v11_1.alert"
    assert avro.schema_id("lsst-11.1") == 1101


def columns_of(schema: Any, *, bands: bool) -> dict[str, set[str]]:
    """The columns that a schema tells, by table; ``bands``: statistics of bands stand in diaObject, with a prefix."""
    told = {name: {to_snake(field["name"]) for field in fields} for name, fields in records(schema).items()}
    in_object = {name for name in told["diaObject"] if name[:2] in BAND_PREFIXES}
    of_bands = {name[2:] for name in in_object}
    return {
        "dia_source": told["diaSource"],
        "dia_object": told["diaObject"] - in_object,
        "dia_object_band": of_bands | {"band"} if bands else told["diaObjectBand"],
        "alert_image": told.get("imageMetadata", set()) | set(mapping.OF_IMAGE.values()),
        "alert": {to_snake(f["name"]) for f in records(schema)["alert"] if f["type"] != "diaSource"},
    }


@pytest.mark.parametrize("table", mapping.LEFT_OUT)
def test_every_column_is_in_a_packet_or_left_out_for_a_reason(connection: psycopg.Connection, table: str) -> None:
    """A new column is to be mapped, or named in LEFT_OUT.  Seen red with columns taken out of the mapping."""
    if table == "alert_image" and connection.execute("select to_regclass('l1.alert_image')").fetchone() == (None,):
        pytest.skip("there is no table alert_image")
    stored = {
        name
        for (name,) in connection.execute(
            """select attname from pg_attribute
                where attrelid = %s::regclass and attnum > 0 and not attisdropped""",
            (f"l1.{table}",),
        )
    }
    left_out = set(mapping.LEFT_OUT[table])
    ours = columns_of(generate("l1db"), bands=False)[table] & stored
    theirs = columns_of(generate("lsst-11.1"), bands=True)[table] & stored
    advice = f"map them in l1db/alert/avro/mapping.py, or say in LEFT_OUT why not: columns of {table}"
    assert not stored - ours - left_out, advice
    assert not stored - theirs - left_out - set(mapping.NOT_IN_LSST[table]), advice
    assert not left_out & ours, "left out, and told"
    assert not set(mapping.NOT_IN_LSST[table]) & theirs, "not in LSST's schema, and told there"
    assert not (left_out | set(mapping.NOT_IN_LSST[table])) - stored - JOINED, f"these are no columns of {table}"


def test_image_metadata_are_columns_that_are_stored(connection: psycopg.Connection) -> None:
    if connection.execute("select to_regclass('l1.alert_image')").fetchone() == (None,):
        pytest.skip("there is no table alert_image")
    not_null = dict(
        connection.execute(
            """select attname, attnotnull from pg_attribute
                where attrelid = 'l1.alert_image'::regclass and attnum > 0 and not attisdropped"""
        ).fetchall()
    )
    told = {column.name for column in mapping.ALERT_IMAGE} | set(mapping.OF_IMAGE.values())
    assert told == set(not_null)
    assert all(not_null[name] for name in mapping.ALERT_IMAGE_NOT_NULL), "the schema says that these are never null"


def test_the_newest_file_is_what_mapping_and_models_make() -> None:
    """Seen red with a column less in the mapping, and with another unit."""
    assert avro.schema("l1db") == generate("l1db"), (
        f"packets of l1db would not be of version {L1DB_VERSION} any more: raise L1DB_VERSION in "
        "l1db/alert/avro/schemas.py and run python -m l1db.alert.avro"
    )
    assert avro.schema_version("l1db") == avro.versions("l1db")[-1] == L1DB_VERSION
    for version in avro.versions("l1db"):
        schema = avro.schema("l1db", version)
        assert f"{schema['namespace']}.{schema['name']}" == avro.schema_name("l1db", version)


def test_l1db_has_all_of_lsst_and_more() -> None:
    ours, theirs = records(avro.schema("l1db")), lsst_records()
    for name in ("alert", "diaSource", "diaForcedSource", "diaObject", "ssSource", "mpc_orbits"):
        told = {field["name"] for field in ours[name]}
        assert {field["name"] for field in theirs[name]} <= told
    assert {column.apdb_name for column in APDB_DIA_SOURCE} < {field["name"] for field in ours["diaSource"]}
    # What comes first is in LSST's order: programs written for these fields find their like.
    for name in ("diaForcedSource", "diaObject"):
        n = len(theirs[name])
        assert structure(ours[name])[:n] == structure(theirs[name])


def test_forced_records_have_all_that_a_forced_row_carries() -> None:
    """What `force_objects` writes.  Seen red with psf_chi2 left out."""
    text = (code.part("sql") / "measure" / "force_objects.sql").read_text(encoding="utf-8")
    found = re.search(r"insert into l1\.dia_source \(([^)]*)\)", text)
    assert found
    written = {name.strip() for name in found[1].split(",")}
    told = {to_snake(field["name"]) for field in records(generate("l1db"))["diaForcedSource"]}
    assert {"forced_flags", "snap_diff_flux", "psf_chi2"} < written <= set(BY_NAME)
    assert written - told == {"is_forced", "dia_source_id"}
    assert {"dia_forced_source_id", "is_precovery"} < told


def test_names_lead_back_to_columns() -> None:
    for name, fields in records(avro.schema("l1db")).items():
        if name not in FILLED:
            continue
        for field in fields:
            column = to_snake(field["name"])
            if name == "diaObject" and column[:2] in BAND_PREFIXES:
                column, field = column[2:], {"name": field["name"][2:]}
            assert re.fullmatch("[a-z0-9_]+", column)
            assert to_packet(column) == field["name"]


def test_fields_tell_meaning_and_unit() -> None:
    for format in ("lsst-11.1", "l1db"):
        for name, fields in records(avro.schema(format)).items():
            if name in FILLED:
                assert all(field["doc"] for field in fields)
                units = {field["name"]: field["doc"].rpartition("[")[2] for field in fields if "[" in field["doc"]}
                for field, unit in units.items():
                    if re.search("(?i)flux(Err|Mean|Min|Max|Diff)?$", field):
                        assert unit == "nJy]", field
                    if field.endswith("MjdTai"):
                        assert unit == "d]", field
                assert len(units) > 3
                assert not re.search("NULL|psf_flux|dia_source|pm_ra", " ".join(field["doc"] for field in fields))


def test_ids_and_names_of_versions() -> None:
    assert avro.schema_id("l1db", "1.0") == 0x6C310000 + 100
    assert avro.schema_name("l1db", "1.0") == "l1db.v1_0.alert"
    assert avro.schema_version("lsst-11.1") == "11.1"
    assert avro.schema_version("l1db-1.0") == "1.0"
    assert avro.schema("l1db", "1.0") == avro.schema("l1db-1.0")


@pytest.mark.parametrize(
    ("format", "version"), [("lsst-11.0", None), ("l1db", "0.9"), ("avro", None), ("l1db-1.0", "2.0")]
)
def test_what_there_is_not_is_refused_with_what_there_is(format: str, version: str | None) -> None:
    with pytest.raises(InputError, match=r"there is no .*; there are"):
        avro.schema(format, version)


def test_whoever_changes_a_schema_changes_a_copy() -> None:
    avro.schema("l1db")["fields"].clear()
    avro.schema("lsst-11.1")["fields"].clear()
    assert avro.schema("l1db")["fields"]
    assert avro.schema("lsst-11.1")["fields"]


@pytest.mark.parametrize("format", ["lsst-11.1", "l1db"])
def test_the_schema_in_a_header_decodes_a_packet(format: str) -> None:
    header = avro.header_schema(format)
    assert len(header) < 4096
    assert header[4:8] == bytes(4), "no time in it: always the same bytes"
    (packet,) = avro.build(content(np.random.default_rng(1), 1, 3), format)
    schema = fastavro.parse_schema(json.loads(gzip.decompress(header)))
    stream = io.BytesIO(packet[5:])
    assert repr(fastavro.schemaless_reader(stream, schema, None)) == repr(avro.read_packet(packet))  # NaN is NaN
    assert not stream.read()
