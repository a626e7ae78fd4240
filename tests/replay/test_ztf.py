"""ZTF packets: made ones for each rule, real ones for the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.time import Time

from l1db.errors import InputError
from l1db.replay import Collection, read_files, ztf
from l1db.replay.packets import Packet, read_packets

PID = 2475433850415  # night 2475, 0.43385 of the day, readout channel 4


def candidate(candid: int | None = 1, **changes: Any) -> dict[str, Any]:
    """A candidate of 2023-10-12, channel 4."""
    return {
        "candid": candid, "pid": PID, "rcid": 4, "fid": 1, "jd": 2460229.9338542, "exptime": 30.0,
        "ra": 44.8, "dec": 9.29, "xpos": 2556.73, "ypos": 1674.35, "magpsf": 19.75, "sigmapsf": 0.19,
        "magap": 19.79, "sigmagap": 0.168, "isdiffpos": "t", "scorr": 11.55, "drb": 0.96, "drbversion": "d6_m7",
        "rb": 0.49, "rbversion": "t17_f5_c3", "magzpsci": 26.38,
    } | changes  # fmt: skip


def packet(trigger: dict[str, Any], *previous: dict[str, Any]) -> Packet:
    return Packet(
        "ztf",
        (4, 1),
        {
            "objectId": "ZTF23aaaaaaa",
            "candid": trigger["candid"],
            "candidate": trigger,
            "prv_candidates": list(previous) or None,
        },
    )


def collect(*packets: Packet) -> Collection:
    collection = Collection()
    for one in packets:
        collection.add(Path("p.avro"), one)
    return collection


def test_an_exposure_becomes_a_visit_with_tai_midpoint() -> None:
    (data,) = collect(packet(candidate())).visits()
    (detector,) = data.detectors
    assert (data.visit.visit, data.visit.band, data.visit.exposure_time, detector.detector) == (247543385, "g", 30.0, 4)
    # UTC was 37 s behind TAI
    start = 2460229.9338542 - 2400000.5
    assert data.visit.midpoint_mjd_tai == pytest.approx(start + (37 + 15) / 86400, abs=1e-9)
    referee = (Time(2460229.9338542, format="jd", scale="utc").tai + 15 * u.s).mjd
    assert data.visit.midpoint_mjd_tai == pytest.approx(referee, abs=1e-9)


def test_exposure_time_is_30_s_unless_a_packet_says_otherwise() -> None:
    (unsaid,) = collect(packet(candidate(exptime=None))).visits()
    assert unsaid.visit.exposure_time == 30.0
    (long,) = collect(
        packet(candidate(2, pid=PID + 100, rcid=5, exptime=None)), packet(candidate(1, exptime=300.0))
    ).visits()
    assert long.visit.exposure_time == 300.0
    for detector in long.detectors:
        assert detector.sources["midpoint_mjd_tai"] == pytest.approx(long.visit.midpoint_mjd_tai)


@pytest.mark.parametrize(("sign", "negative"), [("t", False), ("1", False), ("f", True), ("0", True)])
def test_magnitudes_become_signed_fluxes(sign: str, negative: bool) -> None:
    (data,) = collect(packet(candidate(isdiffpos=sign))).visits()
    source = data.detectors[0].sources
    flux = (19.75 * u.ABmag).to_value(u.nJy)
    assert source["psf_flux"][0] == pytest.approx(-flux if negative else flux, rel=1e-5)
    assert source["psf_flux_err"][0] == pytest.approx(flux * 0.19 * np.log(10) / 2.5, rel=1e-5)
    assert np.sign(source["ap_flux"][0]) == (-1 if negative else 1)
    assert bool(source["is_negative"][0]) is negative
    assert source["x"][0] == pytest.approx(2555.73)
    assert "ra_err" not in source


def test_sentinels_and_gaps_are_missing_and_rb_stands_in_for_drb() -> None:
    (data,) = collect(packet(candidate(scorr=-999.0, magap=None, drb=None, drbversion=""))).visits()
    source = data.detectors[0].sources
    assert np.isnan(source["snr"][0])
    assert np.isnan(source["ap_flux"][0])
    assert source["reliability"][0] == pytest.approx(0.49)
    assert source["reliability_version"][0] == "t17_f5_c3"


def test_upper_limits_are_no_sources_and_previous_candidates_are() -> None:
    older = candidate(2, pid=PID - 10**9, jd=2460228.9, rcid=None, exptime=None)
    limit = candidate(None, pid=PID - 2 * 10**9, jd=2460227.9)
    data = collect(packet(candidate(), older, limit)).visits()
    assert [d.detectors[0].sources["dia_source_id"].tolist() for d in data] == [[2], [1]]
    assert data[0].detectors[0].detector == 4  # from pid


def test_each_source_comes_once_and_the_triggers_record_wins() -> None:
    full, poor = candidate(1, drb=0.9), candidate(1, drb=None, magzpsci=None)
    later = candidate(3, pid=PID + 10**9, jd=2460230.9)
    for packets in ([packet(full), packet(later, poor)], [packet(later, poor), packet(full)]):
        data = collect(*packets).visits()
        assert [len(d.detectors[0]) for d in data] == [1, 1]
        assert data[0].detectors[0].sources["reliability"][0] == pytest.approx(0.9)


def test_a_candidate_without_position_is_refused() -> None:
    with pytest.raises(InputError, match=r"p\.avro: .*candidate 1 has no ra"):
        collect(packet(candidate(ra=None)))


def test_real_packets_have_one_start_and_band_per_visit_and_one_pid_per_detector(shared_data: Path) -> None:
    starts: dict[int, set[tuple[float, int]]] = {}
    pids: dict[tuple[int, int], set[int]] = {}
    for file in sorted((shared_data / "alerts" / "ztf").glob("*.avro")):
        for one in read_packets(file):
            for c in [one.record["candidate"], *(one.record["prv_candidates"] or [])]:
                visit = int(ztf.exposure(np.array(c["pid"])))
                starts.setdefault(visit, set()).add((c["jd"], c["fid"]))
                pids.setdefault((visit, c["rcid"]), set()).add(c["pid"])
                assert c["pid"] // 100 % 100 == c["rcid"]
    assert {len(s) for s in starts.values()} == {1}
    assert {len(s) for s in pids.values()} == {1}


def test_real_packets_give_each_detection_once_in_time_order(shared_data: Path) -> None:
    folder = shared_data / "alerts" / "ztf"
    truth: dict[int, str] = {}
    for file in folder.glob("*.avro"):
        for one in read_packets(file):
            for candid, _, _ in ztf.detections(one.record):
                assert truth.setdefault(candid, ztf.true_object(one.record)) == ztf.true_object(one.record)
    collection, _ = read_files([folder])
    data = collection.visits()
    ids = np.concatenate([d.sources["dia_source_id"] for v in data for d in v.detectors])
    assert sorted(ids.tolist()) == sorted(truth)
    midpoints = [v.visit.midpoint_mjd_tai for v in data]
    assert midpoints == sorted(midpoints)
    assert len({v.visit.visit for v in data}) == len(data)
    assert {v.visit.band for v in data} <= {"g", "r", "i"}
