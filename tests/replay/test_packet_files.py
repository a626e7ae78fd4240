"""Files of alert packets: what is read, and what is refused in one line."""

from __future__ import annotations

import json
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest

from l1db.errors import InputError
from l1db.replay.packets import find_files, read_packets

SOURCE = {
    "type": "record",
    "name": "lsst.v9_0.diaSource",
    "fields": [
        {"name": "diaSourceId", "type": "long"},
        {"name": "visit", "type": "long"},
        {"name": "detector", "type": "int"},
        {"name": "midpointMjdTai", "type": "double"},
        {"name": "ra", "type": "double"},
        {"name": "dec", "type": "double"},
    ],
}
ALERT: dict[str, Any] = {
    "type": "record",
    "namespace": "lsst.v9_0",
    "name": "alert",
    "fields": [{"name": "diaSource", "type": "lsst.v9_0.diaSource"}],
}
RECORD = {"diaSource": {"diaSourceId": 7, "visit": 1, "detector": 2, "midpointMjdTai": 60000.0, "ra": 1.0, "dec": 60.0}}


def whole_schema() -> dict[str, Any]:
    """The alert schema with the source's in it."""
    return {**ALERT, "fields": [{"name": "diaSource", "type": SOURCE}]}


def framed(version: int = 900) -> bytes:
    """A packet as on the wire."""
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(whole_schema()), RECORD)
    return b"\0" + version.to_bytes(4, "big") + stream.getvalue()


def container(records: int = 3, schema: dict[str, Any] | None = None, record: Any = RECORD) -> bytes:
    """A container file."""
    stream = BytesIO()
    fastavro.writer(stream, fastavro.parse_schema(schema or whole_schema()), [record] * records)
    return stream.getvalue()


@pytest.fixture
def schemas(tmp_path: Path) -> Path:
    """A directory of schemas as LSST lays it out, one file per record."""
    folder = tmp_path / "schemas" / "9" / "0"
    folder.mkdir(parents=True)
    (folder / "lsst.v9_0.alert.avsc").write_text(json.dumps(ALERT))
    (folder / "lsst.v9_0.diaSource.avsc").write_text(json.dumps(SOURCE))
    return tmp_path / "schemas"


def refusal(tmp_path: Path, content: bytes, schema: Path | None = None) -> str:
    path = tmp_path / "packet.avro"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        list(read_packets(path, schema))
    line = str(error.value)
    assert "\n" not in line
    assert "packet.avro" in line
    return line


def test_containers_and_framed_packets_give_the_same_records(tmp_path: Path, schemas: Path) -> None:
    (tmp_path / "c.avro").write_bytes(container(3))
    (tmp_path / "w.avro").write_bytes(framed())
    packets = [*read_packets(tmp_path / "c.avro")]
    for schema in (schemas, schemas / "9" / "0" / "lsst.v9_0.alert.avsc"):
        packets += read_packets(tmp_path / "w.avro", schema)
    assert len(packets) == 5
    for packet in packets:
        assert (packet.survey, packet.version) == ("rubin", (9, 0))
        assert packet.record == RECORD


def test_damaged_packets_are_refused(tmp_path: Path, schemas: Path) -> None:
    assert "truncated" in refusal(tmp_path, container()[:-5])
    assert "truncated" in refusal(tmp_path, framed()[:-5], schemas)
    assert "3 bytes are left over" in refusal(tmp_path, framed() + b"abc", schemas)
    assert "is empty" in refusal(tmp_path, b"")
    assert "no alert packet" in refusal(tmp_path, b"ra,dec\n1,2\n")
    other = {"type": "record", "name": "other", "fields": [{"name": "a", "type": "int"}]}
    assert "neither ZTF nor Rubin" in refusal(tmp_path, container(1, other, {"a": 1}))


def test_a_schema_of_another_version_is_refused(tmp_path: Path, schemas: Path) -> None:
    assert "schema 10.0 is needed" in refusal(tmp_path, framed(1000), schemas)
    file = schemas / "9" / "0" / "lsst.v9_0.alert.avsc"
    assert "needs schema 10.0, but" in refusal(tmp_path, framed(1000), file)


def test_without_any_schema_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lsst.alert.packet", None)
    line = refusal(tmp_path, framed())
    assert "--schema" in line
    assert "lsst-alert-packet" in line


def test_directories_are_searched_for_packets(tmp_path: Path) -> None:
    (tmp_path / "night").mkdir()
    for name in ("b.avro", "a.avro", "notes.txt"):
        (tmp_path / "night" / name).touch()
    assert [file.name for file in find_files([tmp_path, tmp_path / "night" / "a.avro"])] == ["a.avro", "b.avro"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"has no \*\.avro file"):
        find_files([tmp_path / "empty"])
