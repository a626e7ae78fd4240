"""Packets in Avro against two referees: LSST's own schema, read by fastavro, and fastavro's writer, byte for byte."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fastavro
import fastavro.schema
import numpy as np
import pytest
from lsst.alert.packet import Schema, get_schema_path

from bench.packets import content as made_up
from l1db.alert import avro
from l1db.alert.avro import encode, framing, schemas
from l1db.alert.content import Content, Rows
from l1db.binary_copy import WireColumn
from l1db.errors import InputError
from l1db.names import to_snake

FORMATS = ["lsst-11.1", "l1db"]
UNKNOWN = {"int": 0, "long": 0, "float": np.nan, "double": np.nan, "string": "", "boolean": False}


def parsed(format: str) -> Any:
    """What a reader has: of LSST's format their own schema, which knows nothing of l1db."""
    return Schema.from_file().definition if format == "lsst-11.1" else fastavro.parse_schema(avro.schema(format))


def decode(packet: bytes, format: str) -> dict[str, Any]:
    stream = io.BytesIO(packet[5:])
    record: Any = fastavro.schemaless_reader(stream, parsed(format), None)
    assert not stream.read()
    found: dict[str, Any] = record
    return found


def said(content: Content, i: int, format: str) -> dict[str, Any]:
    """What the packet of alert i says, value by value."""
    fields = {field["name"]: field["type"] for field in avro.schema(format)["fields"]}
    forced_fields = _items(fields["prvDiaForcedSources"])["fields"]
    band_rows = [content.band.row(k) for k in range(*content.band_bounds[i : i + 2])]
    history = [content.history.row(k) for k in range(*content.history_bounds[i : i + 2])]
    image, alert = content.image.row(i), content.alert.row(i)
    detected = [_record(fields["diaSource"]["fields"], row) for row in history if not row["is_forced"]]
    forced = [
        _record(forced_fields, row | {"dia_forced_source_id": row["dia_source_id"]})
        for row in history
        if row["is_forced"]
    ]
    object_ = content.object.row(i)
    for row in band_rows:
        object_ |= {f"{row['band']}_{name}": value for name, value in row.items()}
    made: dict[str, Any] = {
        "observation_reason": image["reason"],
        "target_name": image["target"],
        "diaSource": _record(fields["diaSource"]["fields"], content.source.row(i)),
        "prvDiaSources": detected or (None if format == "lsst-11.1" else []),
        "prvDiaForcedSources": forced,
        "diaObject": _record(fields["diaObject"][1]["fields"], object_)
        if object_["dia_object_id"] is not None
        else None,
        "ssSource": None,
        "mpc_orbits": None,
        "cutoutDifference": content.cutouts[i].get("difference"),
        "cutoutScience": content.cutouts[i].get("science"),
        "cutoutTemplate": content.cutouts[i].get("template"),
    }
    if "imageMetadata" in fields:
        known = image["visit"] is not None
        made["imageMetadata"] = _record(fields["imageMetadata"][1]["fields"], image) if known else None
        made["diaObjectBands"] = [_record(_items(fields["diaObjectBands"])["fields"], row) for row in band_rows]
    rest = [{"name": name, "type": kind} for name, kind in fields.items() if name not in made]
    return made | _record(rest, alert)


def _items(kind: Any) -> Any:
    return (kind[1] if isinstance(kind, list) else kind)["items"]


def _record(fields: list[Any], row: dict[str, Any]) -> dict[str, Any]:
    """The fields of a record; LSST's may lack a column: of a band in which nothing was seen."""
    record = {}
    for field in fields:
        value = row.get(to_snake(field["name"]))
        kind = field["type"]
        if value is None:
            value = None if isinstance(kind, list) else UNKNOWN[kind]
        elif "float" in kind:
            with np.errstate(over="ignore"):
                value = float(np.float32(value))
        record[field["name"]] = value
    return record


def same(found: Any, wanted: Any, where: str = "packet") -> None:
    """Equal, NaN to NaN."""
    if isinstance(wanted, dict):
        assert sorted(found) == sorted(wanted), where
        for name in wanted:
            same(found[name], wanted[name], f"{where}.{name}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), where
        for k, (one, other) in enumerate(zip(found, wanted, strict=True)):
            same(one, other, f"{where}[{k}]")
    elif isinstance(wanted, float) and np.isnan(wanted):
        assert np.isnan(found), where
    else:
        assert type(found) is type(wanted), where
        assert found == wanted, where


def only(content: Content, i: int) -> Content:
    """The content of alert i alone."""

    def rows(rows: Rows, start: int, end: int) -> Rows:
        return Rows(
            end - start,
            {c.name: WireColumn(c.name, c.values[start:end], c.present[start:end]) for c in rows.columns.values()},
        )

    bands, history = content.band_bounds[i : i + 2], content.history_bounds[i : i + 2]
    return Content(
        **{name: rows(getattr(content, name), i, i + 1) for name in ("alert", "source", "object", "image")},
        band=rows(content.band, *bands),
        band_bounds=bands - bands[0],
        history=rows(content.history, *history),
        history_bounds=history - history[0],
        cutouts=content.cutouts[i : i + 1],
        compressed=content.compressed[i : i + 1],
    )


def replaced(rows: Rows, **columns: Any) -> Rows:
    """Rows with other values in some columns, None for NULL."""
    made = dict(rows.columns)
    for name, values in columns.items():
        present = np.array([value is not None for value in values], dtype=bool)
        of = made[name].values.dtype if name in made else np.dtype("f4")
        filled = [value if there or of.kind == "O" else 0 for value, there in zip(values, present, strict=True)]
        array = np.empty(len(filled), dtype=of)
        array[:] = filled
        made[name] = WireColumn(name, array, present)
    return Rows(rows.n, made)


CASES: list[dict[str, Any]] = [
    {"n": 1, "previous": 0},
    {"n": 1, "previous": 1, "null": 0.0},
    {"n": 7, "previous": 5, "null": 1.0},
    {"n": 40, "previous": None, "at_random": True, "bare": 0.4},
    {"n": 40, "previous": None, "at_random": True, "null": 0.03, "bare": 0.2, "forced": 1.0},
    {"n": 40, "previous": None, "bare": 1.0, "forced": 0.0},
    {"n": 3, "previous": 1500, "at_random": True},
    {"n": 9, "previous": 8, "bands": ("L",)},
    {"n": 9, "previous": 8, "bands": ("c", "g", "o"), "at_random": True},
]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_packets_say_what_the_columns_say_in_the_bytes_of_fastavro(case: dict[str, Any], format: str) -> None:
    """Seen red with a zigzag missing, with -1 in place of 0 for what is unknown, and with a byte too many kept."""
    rng = np.random.default_rng(CASES.index(case))
    previous = rng.integers(0, 30, case["n"]) if case["previous"] is None else case["previous"]
    content = made_up(rng, **case | {"previous": previous, "cutout": 500})
    packets = avro.build(content, format)
    assert len(packets) == case["n"]
    for i, packet in enumerate(packets):
        assert packet[:5] == b"\0" + avro.schema_id(format).to_bytes(4, "big")
        record = decode(packet, format)
        same(record, said(content, i, format))
        again = io.BytesIO()
        fastavro.schemaless_writer(again, parsed(format), record)
        assert again.getvalue() == packet[5:]


@pytest.mark.parametrize("format", FORMATS)
def test_an_alert_has_the_same_bytes_whichever_it_is_built_with(format: str) -> None:
    content = made_up(np.random.default_rng(1), 30, np.arange(30) * 20, at_random=True, bare=0.3, cutout=99)
    together = avro.build(content, format)
    assert together == avro.build(content, format)
    assert together == [packet for i in range(30) for packet in avro.build(only(content, i), format)]


@pytest.mark.parametrize("format", FORMATS)
def test_what_hides_under_a_null_is_not_sent(format: str) -> None:
    content = made_up(np.random.default_rng(2), 8, 20, at_random=True, bare=0.3, cutout=9)

    def scrambled(rows: Rows) -> Rows:
        columns = {}
        for c in rows.columns.values():
            values = c.values.copy()
            junk = {"O": "junk", "f": np.nan}.get(values.dtype.kind, 1)
            values[~c.present] = junk
            columns[c.name] = WireColumn(c.name, values, c.present)
        return Rows(rows.n, columns)

    names = ("source", "object", "band", "history", "image")
    other = dataclasses.replace(content, **{name: scrambled(getattr(content, name)) for name in names})
    assert avro.build(content, format) == avro.build(other, format)


@pytest.mark.parametrize("format", FORMATS)
def test_forced_and_precovery_rows_are_in_prv_dia_forced_sources_only(format: str) -> None:
    """Seen red with all rows in prvDiaSources."""
    content = made_up(np.random.default_rng(3), 1, 5)
    content = dataclasses.replace(
        content,
        history=replaced(
            content.history,
            dia_source_id=[1, 2, 3, 4, 5],
            is_forced=[False, True, True, False, True],
            is_precovery=[False, False, True, False, False],
        ),
    )
    (packet,) = avro.build(content, format)
    record = decode(packet, format)
    assert [row["diaSourceId"] for row in record["prvDiaSources"]] == [1, 4]
    assert [row["diaForcedSourceId"] for row in record["prvDiaForcedSources"]] == [2, 3, 5]
    if format == "l1db":
        assert [row["isPrecovery"] for row in record["prvDiaForcedSources"]] == [False, True, False]


@pytest.mark.parametrize("format", FORMATS)
def test_a_retraction_tells_when_the_source_was_withdrawn(format: str) -> None:
    content = made_up(np.random.default_rng(4), 2, 3)
    content = dataclasses.replace(
        content,
        alert=replaced(content.alert, kind=["detection", "retraction"]),
        source=replaced(content.source, time_withdrawn=[None, 61000.25]),
    )
    records = [decode(packet, format) for packet in avro.build(content, format)]
    assert [record["diaSource"]["timeWithdrawnMjdTai"] for record in records] == [None, 61000.25]
    if format == "l1db":
        assert [record["kind"] for record in records] == ["detection", "retraction"]


def test_no_history_is_told_as_rubin_tells_it() -> None:
    content = made_up(np.random.default_rng(5), 1, 0, bare=1.0)
    (lsst,), (l1db,) = (avro.build(content, format) for format in FORMATS)
    assert (decode(lsst, "lsst-11.1")["prvDiaSources"], decode(lsst, "lsst-11.1")["prvDiaForcedSources"]) == (None, [])
    ours = decode(l1db, "l1db")
    assert (ours["prvDiaSources"], ours["prvDiaForcedSources"], ours["diaObjectBands"]) == ([], [], [])
    assert (ours["diaObject"], ours["imageMetadata"], ours["cutoutDifference"]) == (None, None, None)


def test_what_is_unknown_and_may_not_be_null_in_lsst_is_nan_or_zero() -> None:
    content = made_up(np.random.default_rng(6), 1, 0, null=1.0, bands=("g",))
    (packet,) = avro.build(content, "lsst-11.1")
    record = decode(packet, "lsst-11.1")
    source = record["diaSource"]
    assert np.isnan([source["x"], source["y"]]).all()
    assert [source[name] for name in ("psfNdata", "trailNdata", "dipoleNdata", "bboxSize")] == [0, 0, 0, 0]
    assert [record["diaObject"][f"{band}_psfFluxNdata"] for band in "urizy"] == [0] * 5
    assert source["psfFlux"] is None
    (packet,) = avro.build(content, "l1db")
    assert [decode(packet, "l1db")["diaSource"][name] for name in ("x", "psfNdata", "bboxSize")] == [None] * 3


@pytest.mark.parametrize("format", FORMATS)
def test_ids_of_all_sizes_and_any_text(format: str) -> None:
    ids = [0, 1, -1, 63, 64, -64, -65, 2**31, 2**62, 2**63 - 1, -(2**63)]
    texts = ["", "日本語", "🜨 \n\t", "é", "x" * 64, "x" * 63, "y" * 70_000, None, "a", "b", "c"]
    content = made_up(np.random.default_rng(7), len(ids), 0)
    content = dataclasses.replace(
        content,
        source=replaced(content.source, dia_source_id=ids, dia_object_id=ids, reliability_version=texts),
        image=replaced(content.image, reason=texts, target=texts[::-1]),
    )
    records = [decode(packet, format) for packet in avro.build(content, format)]
    assert [record["diaSource"]["diaSourceId"] for record in records] == ids
    assert [record["diaSource"]["diaObjectId"] for record in records] == ids
    assert [record["diaSource"]["reliabilityVersion"] for record in records] == texts
    assert [record["observation_reason"] for record in records] == texts
    assert [record["target_name"] for record in records] == texts[::-1]


def test_cutouts_are_within_as_they_are() -> None:
    content = made_up(np.random.default_rng(8), 3, 0)
    cutouts = [{"difference": b"", "template": bytes(range(256)) * 900}, {}, {"science": b"\0"}]
    content = dataclasses.replace(content, cutouts=cutouts)
    for format in FORMATS:
        for packet, wanted in zip(avro.build(content, format), cutouts, strict=True):
            record = decode(packet, format)
            found = {kind: record[f"cutout{kind.capitalize()}"] for kind in ("difference", "science", "template")}
            assert found == {"difference": None, "science": None, "template": None} | wanted


@pytest.mark.parametrize("format", FORMATS)
def test_no_alerts_are_no_packets(format: str) -> None:
    assert avro.build(made_up(np.random.default_rng(9), 0, 0), format) == []


def test_a_real_packet_of_rubin_has_null_and_an_empty_array_where_ours_have(shared_data: Path) -> None:
    """It is of a first detection, and framed as ours."""
    real = (shared_data / "alerts" / "rubin" / "7912941781254298.avro").read_bytes()
    assert framing.number_of(real) == 900
    schema = fastavro.schema.load_schema(str(Path(get_schema_path("9", "0")) / "lsst.v9_0.alert.avsc"))
    record: Any = fastavro.schemaless_reader(io.BytesIO(real[5:]), schema, None)
    assert (record["prvDiaSources"], record["prvDiaForcedSources"]) == (None, [])


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_read_packet_needs_nothing_but_the_packet(format: str) -> None:
    for packet in avro.build(made_up(np.random.default_rng(10), 4, 9, at_random=True), format):
        same(avro.read_packet(packet), decode(packet, format))


@pytest.mark.parametrize("format", FORMATS)
def test_damaged_packets_are_refused_in_one_line(format: str) -> None:
    (packet,) = avro.build(made_up(np.random.default_rng(11), 1, 2, cutout=9), format)
    for damaged in (packet[:-1], packet[:100], packet[:6], packet + b"\0", packet[:5], b"", b"Obj\x01" + packet):
        with pytest.raises(InputError) as refusal:
            avro.read_packet(damaged)
        assert "\n" not in str(refusal.value)


def test_a_schema_that_is_not_known_is_refused_with_those_that_are() -> None:
    (packet,) = avro.build(made_up(np.random.default_rng(14), 1, 0), "l1db")
    with pytest.raises(InputError, match=r"schema 0x384 .*; known are 0x44d \(lsst.v11_1\), 0x6c310064 \(l1db.v1_0\)"):
        avro.read_packet(b"\0\0\0\x03\x84" + packet[5:])


# --- versions --------------------------------------------------------------------------------------------------------


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Makes a version 1.1, in which diaSource and imageMetadata have a field more."""

    def forget() -> None:
        for cached in (schemas._versions, schemas._schema, schemas.by_id, framing._parsed, encode._layout):
            cached.cache_clear()

    def make() -> None:
        for version in avro.versions("l1db"):
            name = f"{avro.schema_name('l1db', version)}.avsc"
            shutil.copy(Path(schemas.__file__).parents[1] / "schemas" / name, tmp_path)
        text = json.dumps(avro.schema("l1db", "1.0")).replace("l1db.v1_0", "l1db.v1_1")
        schema = json.loads(text)
        fields = {field["name"]: field["type"] for field in schema["fields"]}
        for record in (fields["diaSource"], fields["imageMetadata"][1]):
            record["fields"].insert(3, {"name": "skyLevel", "type": ["null", "float"], "default": None})
        (tmp_path / "l1db.v1_1.alert.avsc").write_text(json.dumps(schema), encoding="utf-8")
        monkeypatch.setattr(schemas, "_SCHEMAS", tmp_path)
        forget()

    yield make
    monkeypatch.undo()
    forget()


def test_a_column_more_changes_no_byte_of_an_old_version_and_both_are_read(next_version: Callable[[], None]) -> None:
    """Seen red with the newest schema in place of the old one."""
    content = made_up(np.random.default_rng(12), 3, 4)
    before = avro.build(content, "l1db")
    assert avro.schema_version("l1db") == "1.0"
    next_version()
    more = dataclasses.replace(
        content,
        source=replaced(content.source, sky_level=[1.5, None, 2.5]),
        history=replaced(content.history, sky_level=[None, *np.arange(11.0)]),
        image=replaced(content.image, sky_level=[None, 3.5, 4.5]),
    )
    assert (avro.versions("l1db"), avro.schema_version("l1db")) == (["1.0", "1.1"], "1.1")
    assert avro.build(more, "l1db-1.0") == before
    after = avro.build(more, "l1db")
    assert [packet[:5] for packet in after] == [b"\0\x6c\x31\x00\x65"] * 3
    assert [avro.read_packet(packet)["diaSource"]["skyLevel"] for packet in after] == [1.5, None, 2.5]
    for old, new in zip(before, after, strict=True):
        older, newer = avro.read_packet(old), avro.read_packet(new)
        assert "skyLevel" not in older["diaSource"]
        for record in (newer["diaSource"], *newer["prvDiaSources"], newer["imageMetadata"]):
            del record["skyLevel"]
        same(newer, older)


def test_a_reader_of_the_old_version_reads_the_new(next_version: Callable[[], None]) -> None:
    """Avro's own resolution of schemas: what has come has a default, or is passed over."""
    (old,) = avro.build(content := made_up(np.random.default_rng(13), 1, 2), "l1db")
    next_version()
    content = dataclasses.replace(
        content,
        source=replaced(content.source, sky_level=[1.5]),
        history=replaced(content.history, sky_level=[1.5, 2.5]),
        image=replaced(content.image, sky_level=[None]),
    )
    (new,) = avro.build(content, "l1db")

    def read(packet: bytes, written: str, wanted: str) -> Any:
        # Names of records differ by version; readers that resolve go by structure and so by one namespace.
        writer, reader = (
            fastavro.parse_schema(json.loads(json.dumps(avro.schema("l1db", of)).replace("l1db.v1_1", "l1db.v1_0")))
            for of in (written, wanted)
        )
        return fastavro.schemaless_reader(io.BytesIO(packet[5:]), writer, reader)

    same(read(new, "1.1", "1.0"), avro.read_packet(old))
    assert read(old, "1.0", "1.1")["diaSource"]["skyLevel"] is None
