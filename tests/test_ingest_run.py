"""The run of `l1db ingest`: what is handed to the client, in which order, and what becomes of unusable rows.

No database here: `recorder.Recorder` stands in for the client.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from recorder import Recorder
from threadpoolctl import threadpool_info, threadpool_limits

from l1db.errors import InputError, RefusedError
from l1db.ingest import RunResult, ingest_files, inputs
from l1db.visit import IngestResult, Visit


def sources(visits: Sequence[int], detectors: Sequence[int]) -> Table:
    """One source per visit and detector, in shuffled order; visit v was taken at MJD 60000 + v, or 60999 - v if odd."""
    pairs = [(v, d) for v in visits for d in detectors]
    np.random.default_rng(3).shuffle(pairs)
    visit, detector = np.array(pairs).T
    return Table(
        {
            "visit": visit,
            "detector": detector,
            "band": np.where(visit % 2 == 1, "g", "r"),
            "midpointMjdTai": np.where(visit % 2 == 1, 60999.0 - visit, 60000.0 + visit),
            "ra": visit + detector / 100.0,
            "dec": np.zeros(len(visit)),
            "psfFlux": np.full(len(visit), 1000.0),
            "psfFluxErr": np.full(len(visit), 100.0),
        }
    )


def ingest(recorder: Recorder, *tables: Path, **options: object) -> RunResult:
    return ingest_files(recorder, tables, **options)  # type: ignore[arg-type]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Visits 101, 102, 103 with detectors 0, 1, 2."""
    path = tmp_path / "s.csv"
    sources([101, 102, 103], [0, 1, 2]).write(path)
    return path


def test_a_visit_is_one_call_and_visits_go_in_time_order(table: Path) -> None:
    recorder = Recorder()
    result = ingest(recorder, table)
    assert [(v.visit, v.band, v.midpoint_mjd_tai) for v, _, _ in recorder.calls] == [
        (102, "r", 60102.0), (103, "g", 60896.0), (101, "g", 60898.0),
    ]  # fmt: skip
    for visit, detectors, mode in recorder.calls:
        assert mode == "new"
        assert [d.detector for d in detectors] == [0, 1, 2]
        for d in detectors:
            np.testing.assert_allclose(d.sources["ra"], visit.visit + d.detector / 100)
            assert not {"visit", "detector", "band"} & set(d.sources)
    assert (result.n_visits, result.n_detectors, result.n_sources) == (3, 9, 9)
    assert result.by_status() == {"stored": 9}


def test_row_numbers_are_those_of_the_file(table: Path) -> None:
    recorder = Recorder()
    ingest(recorder, table)
    ra = np.asarray(Table.read(table)["ra"])
    for _, detectors, _ in recorder.calls:
        for d in detectors:
            assert d.row_numbers is not None
            np.testing.assert_array_equal(ra[d.row_numbers - 1], d.sources["ra"])


@pytest.mark.parametrize("in_memory", [0, 1_000_000])
def test_files_with_parts_of_a_visit_are_taken_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: int
) -> None:
    monkeypatch.setattr(inputs, "ROWS_IN_MEMORY", in_memory)
    first, second = sources([101, 102], [0, 1]), sources([102, 103], [2, 3])
    second["snr"] = 7.0
    first["parentDiaSourceId"] = 5
    first.write(tmp_path / "a.fits")
    second.write(tmp_path / "b.parquet")
    recorder = Recorder()
    ingest(recorder, tmp_path / "a.fits", tmp_path / "b.parquet")
    assert [(v.visit, [d.detector for d in ds]) for v, ds, _ in recorder.calls] == [
        (102, [0, 1, 2, 3]), (103, [2, 3]), (101, [0, 1]),
    ]  # fmt: skip
    by_detector = recorder.calls[0][1]
    assert np.isnan(by_detector[0].sources["snr"]).all()
    assert (by_detector[2].sources["snr"] == 7).all()
    assert np.ma.getmaskarray(by_detector[2].sources["parent_dia_source_id"]).all()
    assert by_detector[0].sources["parent_dia_source_id"].tolist() == [5]


def test_detectors_of_two_files_that_interleave_keep_their_own_rows(tmp_path: Path) -> None:
    sources([101], [1, 3]).write(tmp_path / "a.csv")
    sources([101], [3, 0, 2]).write(tmp_path / "b.csv")
    recorder = Recorder()
    ingest(recorder, tmp_path / "a.csv", tmp_path / "b.csv")
    ((_, detectors, _),) = recorder.calls
    assert [(d.detector, len(d)) for d in detectors] == [(0, 1), (1, 1), (2, 1), (3, 2)]
    for d in detectors:
        np.testing.assert_allclose(d.sources["ra"], 101 + d.detector / 100)


def test_workers_share_the_detectors_of_a_visit_and_finish_it_before_the_next(table: Path) -> None:
    recorder = Recorder()
    result = ingest(recorder, table, workers=3)
    assert recorder.opened == 3
    assert [v.visit for v, _, _ in recorder.calls] == [102] * 3 + [103] * 3 + [101] * 3
    assert all(len(detectors) == 1 for _, detectors, _ in recorder.calls)
    assert (result.n_visits, result.n_detectors) == (3, 9)


def test_workers_leave_each_other_the_cores_and_nothing_changes_after_the_run(table: Path) -> None:
    """Threads of the linear algebra would wait for each other.  Seen red without the limit."""

    def threads() -> set[int]:
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    class Watching(Recorder):
        def ingest(self, *arguments: Any, **options: Any) -> IngestResult:
            within.append(threads())
            return super().ingest(*arguments, **options)

    within: list[set[int]] = []
    with threadpool_limits(2, user_api="blas"):
        before = threads()
        ingest(Watching(), table, workers=2)
        assert threads() == before == {2}
    assert within == [{1}] * 9


def test_an_unusable_row_is_named_with_the_files_own_column_and_stores_nothing_of_its_visit(tmp_path: Path) -> None:
    table = sources([101, 102], [0, 1])
    table["psfFlux"][table["visit"] == 101] = 2e6
    first = int(np.flatnonzero(table["visit"] == 101)[0]) + 1
    table.write(tmp_path / "s.ecsv")
    recorder = Recorder()
    with pytest.raises(
        InputError,
        match=rf"s\.ecsv: row {first}, column psfFlux: is beyond 1e6 \(1 more unusable row\); "
        "--skip-bad sets them aside in a table; nothing of visit 101 was stored; 1 visit before it is stored$",
    ):
        ingest(recorder, tmp_path / "s.ecsv")
    assert [v.visit for v, _, _ in recorder.calls] == [102]


def test_row_and_file_are_right_in_the_second_of_two_files(tmp_path: Path) -> None:
    sources([101], [0, 1]).write(tmp_path / "a.csv")
    table = sources([101], [2])
    table["psfFlux"] = 2e6
    table.write(tmp_path / "b.csv")
    with pytest.raises(InputError, match=r"b\.csv: row 1, column psfFlux"):
        ingest(Recorder(), tmp_path / "a.csv", tmp_path / "b.csv")


def test_skip_bad_files_unusable_rows_beside_the_input_and_stores_the_rest(tmp_path: Path) -> None:
    table = sources([101, 102], [0, 1, 2])
    table["psfFlux"][[1, 4]] = 2e6
    table["detector"] = table["detector"].astype("i8")
    table["detector"][3] = 70_000
    table["note"] = [f"n{i}" for i in range(6)]
    table["ra"].unit = "deg"
    table.write(tmp_path / "s.fits")
    (tmp_path / "s.fits.rejects.ecsv").write_text("of an earlier run")
    recorder = Recorder()
    result = ingest(recorder, tmp_path / "s.fits", skip_bad=True)
    assert result.n_rejected == 3
    assert result.n_sources == 3
    assert result.rejects == (tmp_path / "s.fits.rejects.ecsv",)
    rejects = Table.read(result.rejects[0])
    assert rejects["rejected_row"].tolist() == [2, 4, 5]
    assert rejects["rejected_column"].tolist() == ["psfFlux", "detector", "psfFlux"]
    assert rejects["rejected_why"][1] == "70000 does not fit a smallint"
    assert rejects["note"].tolist() == ["n1", "n3", "n4"]
    assert rejects.colnames[:-3] == table.colnames
    assert str(rejects["ra"].unit) == "deg"


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("band", "", "row 3, column band: is missing"),
        ("band", "z", r"row 3, column band: z, but most sources of visit \d+ are in [gr]"),
        ("visit", "", "row 3, column visit: is missing"),
        ("detector", "x", "row 3, column detector: 'x' is not a smallint"),
        ("midpointMjdTai", "nan", "row 3, column midpointMjdTai: is missing"),
    ],
)
def test_rows_that_belong_to_no_visit_end_the_run_before_anything_is_stored(
    table: Path, column: str, value: str, says: str
) -> None:
    lines = table.read_text().splitlines()
    cells = lines[3].split(",")
    cells[lines[0].split(",").index(column)] = value
    lines[3] = ",".join(cells)
    table.write_text("\n".join(lines) + "\n")
    recorder = Recorder()
    with pytest.raises(InputError, match=says):
        ingest(recorder, table)
    assert not recorder.calls
    assert ingest(recorder, table, skip_bad=True).n_sources == 8


def test_the_table_of_visits_brings_empty_detectors_and_what_is_known_of_each(table: Path, tmp_path: Path) -> None:
    rows = ["visit,detector,band,midpoint_mjd_tai,exposure_time,airmass,psf_fwhm,footprint,software"]
    for visit, band, mjd in ((101, "g", 60898), (102, "r", 60102), (103, "g", 60896), (104, "r", 60050)):
        rows += [f'{visit},{d},{band},{mjd},30,1.2,3.5,"POLYGON((0 0, 1 0, 1 1))",diff 1.0' for d in range(3)]
    (tmp_path / "visits.csv").write_text("\n".join(rows) + "\n")
    recorder = Recorder()
    ingest(recorder, table, visits=tmp_path / "visits.csv")
    assert [v.visit for v, _, _ in recorder.calls] == [104, 102, 103, 101]
    visit, empty, _ = recorder.calls[0]
    assert visit == Visit(104, "r", 60050.0, exposure_time=30.0, airmass=pytest.approx(1.2))
    assert [len(d) for d in empty] == [0, 0, 0]
    detector = recorder.calls[1][1][0]
    assert (len(detector), detector.psf_fwhm, detector.software) == (1, 3.5, "diff 1.0")
    assert np.asarray(detector.footprint).shape == (3, 2)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("103,2,g", "105,2,g", r"detector: detector 2 of visit 103 is not in .*visits\.csv"),
        ("103,0,g,60896\n103,1,g,60896\n103,2,g,60896", "103,0,r,60896\n103,1,r,60896\n103,2,r,60896", r"band: g, but"),
    ],
)
def test_sources_that_contradict_the_table_of_visits_are_refused(
    table: Path, tmp_path: Path, old: str, new: str, says: str
) -> None:
    rows = ["visit,detector,band,midpoint_mjd_tai"]
    for visit, band, mjd in ((101, "g", 60898), (102, "r", 60102), (103, "g", 60896)):
        rows += [f"{visit},{d},{band},{mjd}" for d in range(3)]
    (tmp_path / "visits.csv").write_text("\n".join(rows).replace(old, new) + "\n")
    recorder = Recorder()
    with pytest.raises(InputError, match=says):
        ingest(recorder, table, visits=tmp_path / "visits.csv")
    assert not recorder.calls


@pytest.mark.parametrize("workers", [1, 2])
def test_a_refusal_of_the_database_is_told_with_file_and_row(table: Path, workers: int) -> None:
    recorder = Recorder(refuse=103)
    says = (
        r"s\.csv: visit contradicts the stored one; "
        "nothing of visit 103 was stored; 1 visit before it is stored, 1 after it was not tried$"
    )
    with pytest.raises(RefusedError, match=says):
        ingest(recorder, table, workers=workers)
    assert {v.visit for v, _, _ in recorder.calls} == {102}


def test_after_a_refusal_it_is_told_which_detectors_of_the_visit_were_stored(tmp_path: Path) -> None:
    table = sources([101], [0, 1, 2, 4])
    table["psfFlux"][table["detector"] == 4] = 2e6
    table.write(tmp_path / "s.csv")
    with pytest.raises(InputError, match=r"; of visit 101 detector 4 was not stored, detectors 0 to 2 were$") as told:
        ingest(Recorder(), tmp_path / "s.csv", workers=4)
    assert [row.column for row in told.value.rows] == ["psf_flux"]


def test_a_file_that_is_named_twice_is_refused(table: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    with pytest.raises(InputError, match=r"s\.csv: is named twice, and would double its sources"):
        ingest(recorder, table, table)
    (tmp_path / "other.csv").symlink_to(table)
    with pytest.raises(InputError, match=r"other\.csv: is the same file as .*s\.csv"):
        ingest(recorder, table, tmp_path / "other.csv")
    assert recorder.opened == 0


def test_a_broken_file_ends_the_run_before_anything_is_stored(table: Path, tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and no more")
    recorder = Recorder()
    with pytest.raises(InputError, match=r"t\.parquet"):
        ingest(recorder, table, tmp_path / "t.parquet")
    assert not recorder.calls
    assert recorder.opened == 0


@pytest.mark.parametrize("name", ["s.csv", "s.fits", "s.parquet", "s.ecsv"])
def test_a_table_without_rows_is_legal_and_said(tmp_path: Path, name: str) -> None:
    sources([101], [0])[:0].write(tmp_path / name)
    result = ingest(Recorder(), tmp_path / name)
    assert result.n_visits == 0
    assert "has no rows" in result.warnings[0]


def test_progress_counts_files_and_detectors(table: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    ingest(Recorder(), table, progress=lambda *step: seen.append(step))
    assert seen == [("read", 1, 1), ("ingest", 3, 9), ("ingest", 6, 9), ("ingest", 9, 9)]
