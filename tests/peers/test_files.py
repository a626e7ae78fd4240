"""The archive of alerts in files."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import fastavro
import pyarrow.parquet as pq
import pytest
from synthetic_packets import avro, destination, sent, states

import l1db.alert.avro as avro_module
from l1db.alert.transports import Packet, UnreachableError
from l1db.alert.transports.file import FRAMING, File, WriteContainer
from l1db.alert.transports.open import probe

SCHEMA = fastavro.parse_schema({"type": "record", "name": "a", "fields": [{"name": "n", "type": "long"}]})


def long(value: int) -> bytes:
    """Avro's zigzag encoding."""
    value = (value << 1) ^ (value >> 63)
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def write_container(path: Path, packets: Sequence[bytes]) -> None:
    """Two records a block, so that there are several blocks."""
    marker = hashlib.md5(b"".join(packets)).digest()
    with path.open("wb") as file:
        file.write(b"Obj\x01" + long(2))
        for key, value in ((b"avro.schema", b'{"type": "record", "name": "a", "fields": '), (b"avro.codec", b"null")):
            if key == b"avro.schema":
                value += b'[{"name": "n", "type": "long"}]}'
            file.write(long(len(key)) + key + long(len(value)) + value)
        file.write(long(0) + marker)
        for i in range(0, len(packets), 2):
            records = [packet[FRAMING:] for packet in packets[i : i + 2]]
            file.write(long(len(records)) + long(sum(map(len, records))) + b"".join(records) + marker)


def packet(i: int, **values: object) -> Packet:
    return avro(i, long(1000 + i), **values)


def archive(directory: Path, write: WriteContainer = write_container) -> File:
    return File(destination("file", "lsst-11.1", directory=str(directory)), write)


def files(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def numbers(path: Path) -> list[int]:
    with path.open("rb") as file:
        return [record["n"] for record in fastavro.reader(file)]


def test_container_of_each_visit_by_night(tmp_path: Path) -> None:
    packets = [packet(i, visit=i % 2, day_obs=f"2026-01-0{1 + i % 2}") for i in range(10)]
    outcomes = sent(archive(tmp_path), reversed(packets), batch_id=5)
    assert states(outcomes) == ["delivered"] * 10
    names = sorted(files(tmp_path))
    assert len(names) == 4
    for visit in (0, 1):
        (path,) = tmp_path.glob(f"2026-01-0{1 + visit}/{visit}/5-*.avro")
        assert numbers(path) == [1000 + i for i in range(10) if i % 2 == visit]
        assert outcomes[visit].detail == str(path.relative_to(tmp_path))


@pytest.mark.parametrize("write", [write_container, avro_module.write_container], ids=["several-blocks", "our-own"])
def test_index_finds_each_record_in_the_container(tmp_path: Path, write: WriteContainer) -> None:
    packets = [packet(i, dia_object_id=None if i == 3 else i, ss_object_id=9 if i == 3 else None) for i in range(7)]
    sent(archive(tmp_path, write), packets)
    (container,) = tmp_path.rglob("*.avro")
    (index,) = tmp_path.rglob("*.index.parquet")
    content = container.read_bytes()
    rows = pq.read_table(index).to_pylist()
    assert [row["alert_id"] for row in rows] == list(range(7))
    for row, given in zip(rows, packets, strict=True):
        record = content[row["offset"] : row["offset"] + row["n_bytes"]]
        assert fastavro.schemaless_reader(io.BytesIO(record), SCHEMA) == {"n": 1000 + row["alert_id"]}
        assert row["sha256"] == hashlib.sha256(record).hexdigest()
        for name in (
            "kind",
            "dia_source_id",
            "dia_object_id",
            "ss_object_id",
            "visit",
            "detector",
            "band",
            "ra",
            "dec",
        ):
            assert row[name] == getattr(given, name)


def test_repeated_batch_gives_the_same_files(tmp_path: Path) -> None:
    packets = [packet(i) for i in range(5)]
    sent(archive(tmp_path / "once"), packets)
    sent(archive(tmp_path / "twice"), packets)
    sent(archive(tmp_path / "twice"), list(reversed(packets)))
    assert files(tmp_path / "twice") == files(tmp_path / "once")


def test_repetition_without_what_is_recorded_loses_nothing(tmp_path: Path) -> None:
    packets = [packet(i) for i in range(5)]
    sent(archive(tmp_path), packets)
    sent(archive(tmp_path), packets[3:])
    assert sorted(numbers(path)[0] for path in tmp_path.rglob("*.avro")) == [1000, 1003]
    assert {n for path in tmp_path.rglob("*.avro") for n in numbers(path)} == {1000 + i for i in range(5)}


def test_batches_of_another_database_or_schema_have_files_of_their_own(tmp_path: Path) -> None:
    packets = [packet(i) for i in range(2)]
    sent(archive(tmp_path), packets)
    sent(archive(tmp_path), [replace(p, key=f"another/{p.alert_id}") for p in packets])
    sent(archive(tmp_path), [replace(p, schema="lsst.v12_0.alert") for p in packets])
    assert len(list(tmp_path.rglob("*.avro"))) == 3


def test_no_container_before_its_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(table: object, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises(UnreachableError, match=f"{tmp_path}.*No space left on device"):
        list(archive(tmp_path).send([packet(1)], 1))
    assert files(tmp_path) == {}
    monkeypatch.undo()
    assert states(sent(archive(tmp_path), [packet(1)])) == ["delivered"]


def test_container_that_is_not_as_it_was_given_does_not_appear(tmp_path: Path) -> None:
    def wrong(path: Path, packets: Sequence[bytes]) -> None:
        write_container(path, [*packets[1:], packets[0]])

    with pytest.raises(ValueError, match="not as it was given"):
        list(archive(tmp_path, wrong).send([packet(i) for i in range(3)], 1))
    assert files(tmp_path) == {}


def test_full_disk_leaves_nothing_and_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(UnreachableError, match="/dev/full"):
        list(archive(full).send([packet(1)], 1))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_directory_that_may_not_be_written_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UnreachableError, match="Permission denied"):
        probe(destination("file", "l1db", directory=str(tmp_path)))


def test_probe_leaves_nothing_behind(tmp_path: Path) -> None:
    assert "can be written" in probe(destination("file", "l1db", directory=str(tmp_path / "new")))
    assert files(tmp_path) == {}
    (tmp_path / "occupied").write_text("")
    with pytest.raises(UnreachableError, match="occupied"):
        probe(destination("file", "l1db", directory=str(tmp_path / "occupied")))
