"""Container files of packets: read by fastavro, by LSST's package and by l1db's own reader of packets."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from lsst.alert.packet import Schema

from bench.packets import content
from l1db.alert import avro
from l1db.alert.avro import framing
from l1db.errors import InputError
from l1db.replay.packets import read_packets


def packets(format: str, n: int = 20, seed: int = 1) -> list[bytes]:
    rng = np.random.default_rng(seed)
    return avro.build(content(rng, n, rng.integers(0, 9, n), at_random=True, bare=0.2, cutout=700), format)


@pytest.mark.parametrize("format", ["lsst-11.1", "l1db"])
@pytest.mark.parametrize("block", [1, 15_000, 2**22])
def test_fastavro_reads_containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, block: int) -> None:
    """Seen red with a size of blocks that counts the framing."""
    monkeypatch.setattr(framing, "_BYTES_OF_BLOCK", block)
    given = packets(format)
    avro.write_container(tmp_path / "alerts.avro", given)
    with (tmp_path / "alerts.avro").open("rb") as stream:
        reader = fastavro.reader(stream)
        schema: Any = reader.writer_schema
        found = list(reader)
    assert reader.codec == "null"
    assert schema["name"] == avro.schema_name(format)
    assert repr(found) == repr([avro.read_packet(packet) for packet in given])
    with (tmp_path / "alerts.avro").open("rb") as stream:
        blocks = [block.num_records for block in fastavro.block_reader(stream)]
    assert sum(blocks) == len(given)
    assert {1: len(blocks) == len(given), 15_000: 1 < len(blocks) < len(given), 2**22: len(blocks) == 1}[block]


def test_lsst_and_replay_read_lsst_containers_and_packets(tmp_path: Path) -> None:
    given = packets("lsst-11.1")
    file = tmp_path / "alerts.avro"
    avro.write_container(file, given)
    wanted = repr([avro.read_packet(packet) for packet in given])
    with file.open("rb") as stream:
        _, alerts = Schema.from_file().retrieve_alerts(stream)
        assert repr(list(alerts)) == wanted
    found = list(read_packets(file))
    assert {(packet.survey, packet.version) for packet in found} == {("rubin", (11, 1))}
    assert repr([packet.record for packet in found]) == wanted
    (tmp_path / "one.avro").write_bytes(given[0])
    (one,) = read_packets(tmp_path / "one.avro")
    assert repr(one.record) == repr(avro.read_packet(given[0]))


def test_the_same_packets_make_the_same_file(tmp_path: Path) -> None:
    """And others another marker: a marker that is guessed could stand in a packet."""
    given = packets("l1db")
    avro.write_container(tmp_path / "a.avro", given)
    stream = io.BytesIO()
    avro.write_container(stream, given)
    written = stream.getvalue()
    assert (tmp_path / "a.avro").read_bytes() == written
    other = io.BytesIO()
    avro.write_container(other, given[:-1])
    assert other.getvalue()[-16:] != written[-16:]


def test_packets_of_several_schemas_or_none_make_no_container(tmp_path: Path) -> None:
    file = tmp_path / "alerts.avro"
    for given in ([*packets("l1db", 1), *packets("lsst-11.1", 1)], [], [b"no packet"], [b"\0\0\0\x03\x84x"]):
        with pytest.raises(InputError):
            avro.write_container(file, given)
        assert not file.exists()
