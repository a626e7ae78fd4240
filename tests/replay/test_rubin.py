"""Rubin packets: made ones for each rule, LSST's own package and a real packet for the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from fastavro.utils import generate_one
from recorder import Recorder

from l1db.columns import DTYPES, GIVEN
from l1db.errors import InputError
from l1db.replay import Collection, read_files, replay_files
from l1db.replay.packets import Packet, read_packets


def source(number: int = 7, **changes: Any) -> dict[str, Any]:
    """A DiaSource of visit 1, detector 2."""
    return {
        "diaSourceId": number, "visit": 1, "detector": 2, "midpointMjdTai": 60000.0, "ra": 1.0, "dec": 60.0,
        "raErr": 1e-4, "decErr": 1e-4, "ra_dec_Cov": 2e-9, "psfFlux": 5.0, "psfFluxErr": 1.0, "band": "r",
        "parentDiaSourceId": 0, "ixxPSF": 0.2, "trailLnL": 3.0, "snr": float("nan"), "psfNdata": 12,
    } | changes  # fmt: skip


def collect(*packets: tuple[tuple[int, int], dict[str, Any]]) -> Collection:
    collection = Collection()
    for version, record in packets:
        collection.add(Path("p.avro"), Packet("rubin", version, record))
    return collection


@pytest.mark.parametrize(("major", "cos_dec"), [(7, 0.5), (8, 0.5), (9, 0.5), (10, 1.0), (11, 1.0)])
def test_ra_err_includes_cos_dec_whatever_the_version(major: int, cos_dec: float) -> None:
    (data,) = collect(((major, 0), {"diaSource": source()})).visits()
    columns = data.detectors[0].sources
    assert columns["ra_err"][0] == pytest.approx(1e-4 * cos_dec)
    assert columns["dec_err"][0] == pytest.approx(1e-4)
    assert columns["ra_dec_cov"][0] == pytest.approx(2e-9 * cos_dec)


@pytest.mark.parametrize("major", [6, 12])
def test_other_versions_are_refused(major: int) -> None:
    with pytest.raises(InputError, match=rf"p\.avro: schema {major}\.0 is not one of 7 to 11"):
        collect(((major, 0), {"diaSource": source()}))


def test_previous_sources_count_once_and_go_to_their_own_visits() -> None:
    older = source(5, visit=0, detector=9, midpointMjdTai=59999.0, band="g", psfNdata=None)
    first = {"diaSource": source(), "prvDiaSources": [older], "observation_reason": "field", "target_name": ""}
    again = {"diaSource": source(8), "prvDiaSources": [older, source(7, snr=None)]}
    data = collect(((11, 0), first), ((11, 0), again)).visits()
    assert [(d.visit.visit, d.visit.band, d.detectors[0].detector) for d in data] == [(0, "g", 9), (1, "r", 2)]
    assert [d.detectors[0].sources["dia_source_id"].tolist() for d in data] == [[5], [7, 8]]
    assert (data[1].visit.reason, data[1].visit.target) == ("field", None)


def test_columns_have_the_databases_names_and_types() -> None:
    (data,) = collect(((11, 0), {"diaSource": source(), "prvDiaSources": [source(6, psfNdata=None)]})).visits()
    columns = data.detectors[0].sources
    given = {column.name: DTYPES[column.sql_type] for column in GIVEN}
    assert {name: values.dtype for name, values in columns.items()} == {name: given[name] for name in columns}
    assert columns["ixx_psf"][0] == pytest.approx(0.2)
    assert "parent_dia_source_id" not in columns
    assert "snr" not in columns
    assert np.ma.getmaskarray(columns["psf_ndata"]).tolist() == [True, False]


@pytest.mark.parametrize("version", ["7.0", "7.4", "8.0", "9.0", "10.0", "11.0", "11.1"])
def test_packets_of_lssts_own_package_are_read(tmp_path: Path, version: str) -> None:
    package = pytest.importorskip("lsst.alert.packet", reason="lsst-alert-packet is not installed")
    major, minor = version.split(".")
    root = Path(package.get_schema_path(major, minor))
    schema = package.Schema.from_file(str(root / f"lsst.v{major}_{minor}.alert.avsc"))
    alert: Any = generate_one(schema.definition)  # random values
    content = b"\0" + (100 * int(major) + int(minor)).to_bytes(4, "big") + schema.serialize(alert)
    (tmp_path / "packet.avro").write_bytes(content)
    (packet,) = read_packets(tmp_path / "packet.avro")
    assert packet.version == (int(major), int(minor))
    given = {source["diaSourceId"] for source in [alert["diaSource"], *(alert["prvDiaSources"] or [])]}
    data = collect((packet.version, packet.record)).visits()
    assert {i for v in data for d in v.detectors for i in d.sources["dia_source_id"].tolist()} == given


def test_the_real_packet_off_the_wire(shared_data: Path) -> None:
    pytest.importorskip("lsst.alert.packet", reason="lsst-alert-packet is not installed")
    collection, _ = read_files([shared_data / "alerts" / "rubin"])
    (data,) = collection.visits()
    assert (data.visit.visit, data.visit.band, data.detectors[0].detector) == (943296, "r", 168)
    columns = data.detectors[0].sources
    assert columns["dia_source_id"].tolist() == [7912941781254298]
    assert columns["ra"][0] == pytest.approx(55.752127610)
    assert columns["dec"][0] == pytest.approx(-32.268478584)


# --- the replay itself; `recorder.Recorder` stands in for the client


def container(path: Path, *numbers: int, psf_flux: float = 5.0) -> Path:
    """Packets with one DiaSource each, on detectors 0, 1, ... of one visit."""
    fields: list[dict[str, Any]] = [
        {"name": "diaSourceId", "type": "long"},
        {"name": "visit", "type": "long"},
        {"name": "detector", "type": "int"},
        {"name": "band", "type": "string"},
        *({"name": n, "type": "double"} for n in ("midpointMjdTai", "ra", "dec", "psfFlux", "psfFluxErr")),
    ]
    record = {"type": "record", "name": "diaSource", "fields": fields}
    schema = fastavro.parse_schema(
        {
            "type": "record",
            "namespace": "lsst.v11_0",
            "name": "alert",
            "fields": [{"name": "diaSource", "type": record}],
        }
    )
    with path.open("wb") as file:
        fastavro.writer(
            file, schema, [{"diaSource": source(n, detector=i, psfFlux=psf_flux)} for i, n in enumerate(numbers)]
        )
    return path


def test_packets_are_supplements_one_call_per_visit(tmp_path: Path) -> None:
    recorder = Recorder()
    result = replay_files(recorder, [container(tmp_path / "a.avro", 1, 2), container(tmp_path / "b.avro", 2, 1, 3)])
    ((visit, detectors, mode),) = recorder.calls
    assert (visit.visit, mode) == (1, "supplement")
    assert [d.detector for d in detectors] == [0, 1, 2]
    assert result.n_sources == 3


def test_a_broken_packet_stores_nothing_of_any_or_is_left_out(tmp_path: Path) -> None:
    good = container(tmp_path / "a.avro", 1, 2)
    bad = container(tmp_path / "b.avro", 3)
    bad.write_bytes(bad.read_bytes()[:-3])
    recorder = Recorder()
    with pytest.raises(InputError, match=r"b\.avro: damaged or truncated"):
        replay_files(recorder, [good, bad])
    assert not recorder.calls
    result = replay_files(recorder, [good, bad], skip_bad=True)
    assert result.n_sources == 2
    assert "b.avro" in result.warnings[0]


def test_an_unusable_source_is_named_by_file_and_id_or_left_out(tmp_path: Path) -> None:
    files = [container(tmp_path / "a.avro", 1, 2), container(tmp_path / "b.avro", 3, psf_flux=2e6)]
    with pytest.raises(InputError, match=r"b\.avro: source 3, column psf_flux: is beyond 1e6"):
        replay_files(Recorder(), files)
    result = replay_files(Recorder(), files, skip_bad=True)
    assert (result.n_sources, result.n_rejected) == (2, 1)
