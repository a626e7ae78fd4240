"""Files to the database through the command line: what cannot be used is named in one line, and nothing is stored."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from command_line import l1db
from psycopg.conninfo import make_conninfo

from l1db.columns import DTYPES, GIVEN

VISIT, DETECTOR = 5, 2


@pytest.fixture(scope="module")
def stored(server: Any) -> Iterator[str]:
    """A database for the whole module; tests that are refused leave nothing in it."""
    dsn = server.clone("seed")
    yield dsn
    server.drop(dsn)


def contents(dsn: str) -> dict[str, int]:
    """Number of rows in each table, bare visits apart: they are entered before, and bind nobody."""
    with psycopg.connect(dsn) as connection:
        tables = [
            name
            for (name,) in connection.execute(
                "select relname from pg_class where relnamespace = 'l1'::regnamespace and relkind in ('r', 'p') "
                "and not relispartition and relname not in ('visit', 'alembic_version')"
            )
        ]
        return {
            name: connection.execute(f"select count(*) from l1.{name}").fetchone()[0]  # type: ignore[index, arg-type]
            for name in tables
        }


def sources(n: int = 3, visit: int = VISIT, detector: int = DETECTOR) -> Table:
    return Table(
        {
            "visit": np.full(n, visit),
            "detector": np.full(n, detector),
            "band": ["r"] * n,
            "midpointMjdTai": np.full(n, 60000.5),
            "ra": np.linspace(10, 10.1, n),
            "dec": np.linspace(-5, -4.9, n),
            "psfFlux": np.linspace(1000, 2000, n),
            "psfFluxErr": np.full(n, 100.0),
        }
    )


def write(table: Table, path: Path) -> Path:
    table.write(path, format={".ecsv": "ascii.ecsv"}.get(path.suffix))
    return path


def refused(dsn: str, *arguments: object) -> str:
    """The line that `l1db ingest` says no with; checks that it leaves nothing behind."""
    before = contents(dsn)
    line = l1db("ingest", *arguments, dsn=dsn).error
    assert contents(dsn) == before
    return line


def with_value(column: str, row: int, value: object) -> Callable[[], Table]:
    def make() -> Table:
        table = sources()
        if table[column].dtype.kind != "f" and isinstance(value, float):
            table[column] = table[column].astype(float)
        table[column][row - 1] = value
        return table

    return make


def with_column(column: str, values: list[Any], unit: str | None = None) -> Callable[[], Table]:
    def make() -> Table:
        table = sources()
        table[column] = values
        table[column].unit = unit
        return table

    return make


def without(column: str) -> Callable[[], Table]:
    def make() -> Table:
        table = sources()
        table.remove_column(column)
        return table

    return make


def in_unit(column: str, unit: str) -> Callable[[], Table]:
    def make() -> Table:
        table = sources()
        table[column].unit = unit
        return table

    return make


BAD = {
    "ra_nan": (with_value("ra", 2, np.nan), "row 2, column ra: missing is not in [0, 360)"),
    "ra_infinite": (with_value("ra", 2, np.inf), "row 2, column ra: inf"),
    "ra_of_360": (with_value("ra", 3, 360.0), "row 3, column ra: 360 is not in [0, 360)"),
    "ra_negative": (with_value("ra", 1, -0.1), "row 1, column ra: -0.1 is not in [0, 360)"),
    "dec_beyond_the_pole": (with_value("dec", 3, 90.5), "row 3, column dec: 90.5 is not in [-90, 90]"),
    "dec_nan": (with_value("dec", 1, np.nan), "row 1, column dec: missing"),
    "flux_nan": (with_value("psfFlux", 2, np.nan), "row 2, column psfFlux: missing is not a finite flux"),
    "flux_infinite": (with_value("psfFlux", 2, -np.inf), "row 2, column psfFlux: -inf"),
    "flux_error_of_zero": (with_value("psfFluxErr", 2, 0.0), "row 2, column psfFluxErr: 0 is not a positive"),
    "flux_error_negative": (with_value("psfFluxErr", 2, -3.0), "row 2, column psfFluxErr: -3 is not a positive"),
    "position_error_negative": (
        with_column("raErr", [1e-5, 1e-5, -1e-5], "deg"),
        "row 3, column raErr: -1e-05 is not an error",
    ),
    "one_midpoint_far_off": (
        with_value("midpointMjdTai", 2, 60001.5),
        "row 2, column midpointMjdTai: 60001.5 is not within the exposure of visit 5",
    ),
    "one_midpoint_a_jd": (
        with_value("midpointMjdTai", 3, 2460001.0),
        "row 3, column midpointMjdTai: 2460001 is a JD, not an MJD",
    ),
    "midpoint_missing": (with_value("midpointMjdTai", 3, np.nan), "row 3, column midpointMjdTai: is missing"),
    "id_twice": (
        with_column("diaSourceId", [71, 72, 71]),
        "row 3, column diaSourceId: 71 occurs more than once",
    ),
    "id_out_of_range": (
        with_column("diaSourceId", [71, 0, 73]),
        "row 2, column diaSourceId: 0 is not in 1 to 2^62 - 1",
    ),
    "id_not_whole": (with_column("diaSourceId", [71.5, 72, 73]), "row 1, column diaSourceId: 71.5 does not fit"),
    "two_bands": (with_value("band", 2, "g"), "row 2, column band: g, but most sources of visit 5 are in r"),
    "flux_too_large_for_real": (with_value("psfFlux", 2, 1e39), "row 2, column psfFlux: 1e+39 does not fit a real"),
    "detector_out_of_range": (with_value("detector", 2, 40_000), "row 2, column detector: 40000 does not fit"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("suffix", [".ecsv", ".parquet"])
def test_an_unusable_row_is_named_by_file_row_and_column(stored: str, tmp_path: Path, case: str, suffix: str) -> None:
    make, expected = BAD[case]
    path = write(make(), tmp_path / f"night{suffix}")
    line = refused(stored, path)
    assert line.startswith(f"l1db: {path}: {expected}"), line


WHOLE_FILE = {
    "all_midpoints_are_jd": (
        with_column("midpointMjdTai", [2460001.0] * 3),
        ["row 1, column midpointMjdTai: 2460001 is a JD, not an MJD: subtract 2400000.5 (2 more unusable rows)"],
    ),
    "no_flux_column": (without("psfFlux"), ["missing column psf_flux"]),
    "no_visit_column": (without("visit"), ["missing column visit"]),
    "flux_in_degrees": (in_unit("psfFlux", "deg"), ["column psfFlux is in deg", "cannot be converted to nJy"]),
    "ra_in_janskys": (in_unit("ra", "Jy"), ["column ra is in Jy", "cannot be converted to deg"]),
    "unit_unheard_of": (in_unit("ra", "furlongs_per_fortnight"), ["column ra: unit", "not known"]),
    "plain_magnitudes": (in_unit("psfFlux", "mag"), ["column psfFlux is in mag", "AB magnitudes are written mag(AB)"]),
    "both_spellings": (with_column("psf_flux", [1.0, 2.0, 3.0]), ["psfFlux and psf_flux are the same column"]),
    "text_for_numbers": (with_column("ra", ["ten", "eleven", "twelve"]), ["column ra holds text"]),
    "unknown_band": (
        with_column("band", ["L"] * 3),
        ["row 1, column band: 'L' is not one of the survey's bands u, g, r, i, z, y"],
    ),
}


@pytest.mark.parametrize("case", WHOLE_FILE)
def test_an_unusable_file_is_named_with_the_reason(stored: str, tmp_path: Path, case: str) -> None:
    make, expected = WHOLE_FILE[case]
    path = write(make(), tmp_path / "night.ecsv")
    line = refused(stored, path)
    for part in [str(path), *expected]:
        assert part in line, line


def test_a_foreign_a_truncated_and_an_empty_file_are_named(stored: str, tmp_path: Path) -> None:
    whole = write(sources(200), tmp_path / "whole.parquet").read_bytes()
    for name, content, expected in [
        ("cut.parquet", whole[: len(whole) // 2], "truncated"),
        ("notes.parquet", b"Dear diary\n" * 50, "not Parquet as its name says"),
        ("picture.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" * 9, "none of Parquet, FITS, ECSV, CSV"),
        ("empty.csv", b"", "is empty"),
        ("packet.avro", b"Obj\x01" + bytes(100), "l1db replay"),
    ]:
        path = tmp_path / name
        path.write_bytes(content)
        line = refused(stored, path)
        assert line.startswith(f"l1db: {path}: "), line
        assert expected in line
    assert refused(stored, tmp_path / "nowhere.csv").endswith("nowhere.csv: cannot be read: No such file or directory")


def test_the_row_is_that_of_its_own_file(stored: str, tmp_path: Path) -> None:
    good = write(sources(3, visit=51), tmp_path / "a.csv")
    bad = write(with_value("dec", 2, 91.0)(), tmp_path / "b.csv")
    outcome = l1db("ingest", good, bad, dsn=stored)
    assert f"{bad}: row 2, column dec: 91" in outcome.error


def test_a_row_outside_the_footprint_is_named(stored: str, tmp_path: Path) -> None:
    visits = write(
        Table(
            {
                "visit": [VISIT],
                "detector": [DETECTOR],
                "band": ["r"],
                "midpointMjdTai": [60000.5],
                "footprint": ["POLYGON((9.9 -5.1, 10.06 -5.1, 10.06 -4.8, 9.9 -4.8))"],
            }
        ),
        tmp_path / "visits.ecsv",
    )
    path = write(sources(), tmp_path / "night.ecsv")
    line = refused(stored, path, "--visits", visits)
    assert f"{path}: row 3, column ra: (10.1, -4.9) is outside the footprint of detector 2" in line


def test_a_detector_that_the_table_of_visits_lacks_is_named(stored: str, tmp_path: Path) -> None:
    visits = write(
        Table({"visit": [VISIT], "detector": [1], "band": ["r"], "midpointMjdTai": [60000.5]}), tmp_path / "v.csv"
    )
    path = write(sources(), tmp_path / "night.csv")
    assert f"{path}: row 1, column detector: detector 2 of visit 5 is not in {visits}" in refused(
        stored, path, "--visits", visits
    )


def test_a_visit_that_contradicts_the_stored_one_is_refused_and_says_how(database: str, tmp_path: Path) -> None:
    assert l1db("ingest", write(sources(), tmp_path / "first.csv"), dsn=database).code == 0
    table = sources(detector=3)
    table["band"] = "g"
    line = refused(database, write(table, tmp_path / "second.csv"))
    assert "second.csv: visit 5 is stored otherwise: band is r, not g" in line


def test_other_data_for_a_stored_detector_are_refused_until_replace(database: str, tmp_path: Path) -> None:
    first = write(sources(), tmp_path / "first.csv")
    assert "3 sources, 3 new objects, 3 alerts" in l1db("ingest", first, dsn=database).out
    after = contents(database)
    assert "1 visit, 1 detector (1 unchanged): nothing new\n" in l1db("ingest", first, dsn=database).out
    assert contents(database) == after
    second = write(sources(4), tmp_path / "second.csv")
    line = refused(database, second)
    assert re.search(r"second\.csv: visit 5 is stored with other data.* --replace to .* --supplement to ", line)
    assert line.endswith("; nothing of visit 5 was stored")
    assert "1 replaced" in l1db("ingest", second, "--replace", dsn=database).out


def test_an_empty_detector_is_legal(database: str, tmp_path: Path) -> None:
    visits = write(
        Table(
            {
                "visit": [VISIT, VISIT],
                "detector": [DETECTOR, DETECTOR + 1],
                "band": ["r", "r"],
                "midpointMjdTai": [60000.5, 60000.5],
            }
        ),
        tmp_path / "visits.csv",
    )
    outcome = l1db("ingest", write(sources(), tmp_path / "night.csv"), "--visits", visits, dsn=database)
    assert outcome.code == 0, outcome
    assert "1 visit, 2 detectors (2 stored): 3 sources" in outcome.out
    with psycopg.connect(database) as connection:
        ledger = connection.execute("select detector, n_sources from l1.visit_detector order by 1").fetchall()
    assert ledger == [(2, 3), (3, 0)]


@pytest.mark.parametrize("workers", [1, 2])
def test_skip_bad_files_the_rejects_and_stores_the_rest(database: str, tmp_path: Path, workers: int) -> None:
    table = sources(6)
    table["diaSourceId"] = [1, 2, 3, 4, 5, 5]
    table["ra"][1] = 361.0
    table["midpointMjdTai"][3] = 2460001.0
    table["comment"] = [f"remark {i}" for i in range(1, 7)]
    path = write(table, tmp_path / "night.csv")
    assert "row 4, column midpointMjdTai: 2460001 is a JD, not an MJD" in refused(database, path)

    outcome = l1db("ingest", path, "--skip-bad", "--workers", workers, dsn=database)
    assert outcome.code == 0, outcome
    rejects = tmp_path / "night.csv.rejects.ecsv"
    assert (
        f"3 unusable rows set aside to {rejects}: correct them in the input and ingest it again with --replace"
        in outcome.out
    )
    assert "3 sources" in outcome.out
    filed = Table.read(rejects, format="ascii.ecsv")
    assert list(filed["rejected_row"]) == [2, 4, 6]
    assert list(filed["rejected_column"]) == ["ra", "midpointMjdTai", "diaSourceId"]
    assert "not an MJD" in filed["rejected_why"][1]
    assert list(filed["comment"]) == ["remark 2", "remark 4", "remark 6"]
    with psycopg.connect(database) as connection:
        ids = connection.execute("select dia_source_id from l1.dia_source order by 1").fetchall()
    assert ids == [(1,), (3,), (5,)]

    # What was filed can be read again, though all of a CSV is text.
    filed["ra"][0], filed["midpointMjdTai"][1], filed["diaSourceId"][2] = 10.01, 60000.5, 6
    filed.write(tmp_path / "corrected.ecsv", format="ascii.ecsv")
    outcome = l1db("ingest", tmp_path / "corrected.ecsv", "--supplement", dsn=database)
    assert "1 supplemented" in outcome.out, outcome


def test_a_value_that_is_no_number_is_missing_among_the_rejects_and_told(database: str, tmp_path: Path) -> None:
    table = sources()
    table["ra"] = ["10", "ten", "10.1"]
    table["detector"] = ["2", "2", "two"]
    path = write(table, tmp_path / "night.csv")
    assert l1db("ingest", path, "--skip-bad", dsn=database).code == 0
    filed = Table.read(tmp_path / "night.csv.rejects.ecsv", format="ascii.ecsv")
    assert (filed["ra"].dtype.kind, filed["detector"].dtype) == ("f", np.dtype("i2"))
    assert np.isnan(filed["ra"][0])
    assert np.ma.is_masked(filed["detector"][1])
    assert "'ten' is not a double precision" in filed["rejected_why"][0]


def test_a_csv_separated_by_something_else_is_asked_about(stored: str, tmp_path: Path) -> None:
    path = tmp_path / "night.csv"
    path.write_text("visit;detector;ra\n5;2;10\n")
    assert f"{path}: is it separated by commas?" in refused(stored, path)


def test_a_refused_visit_can_be_corrected_and_goes_in(database: str, tmp_path: Path) -> None:
    refused(database, write(with_value("ra", 2, 400.0)(), tmp_path / "night.csv"))
    outcome = l1db("ingest", write(sources(), tmp_path / "corrected.csv"), dsn=database)
    assert outcome.code == 0, outcome


def test_strict_refuses_unknown_columns_which_else_are_remarked_upon(database: str, tmp_path: Path) -> None:
    path = write(with_column("seeing", [1.0, 1.1, 1.2])(), tmp_path / "night.csv")
    assert refused(database, path, "--strict") == f"l1db: {path}: unknown column seeing (--strict)"
    outcome = l1db("ingest", path, dsn=database)
    assert outcome.code == 0
    assert outcome.err == f"l1db: {path}: ignored unknown column seeing\n"
    path = write(sources(), tmp_path / "plain.csv")
    visits = tmp_path / "visits.csv"
    visits.write_text("visit,detector,band,midpointMjdTai,diference\n5,2,r,60000.5,d.fits\n")
    told = f"{visits}: unknown column diference (is it difference?) (--strict)"
    assert refused(database, path, "--visits", visits, "--strict") == f"l1db: {told}"


def test_images_that_cannot_be_measured_are_told_with_their_detectors(database: str, tmp_path: Path) -> None:
    """The summary counts what is forced and what waits.  Seen red with the reason not handed on."""
    first = write(sources(), tmp_path / "first.csv")
    told = l1db("ingest", first, dsn=database)
    assert told.out.endswith("3 sources, 3 new objects, 3 alerts, 0 forced fluxes stored and 0 queued\n")
    border = '"POLYGON((9.9 -5.1, 10.2 -5.1, 10.2 -4.8, 9.9 -4.8))"'
    visits = tmp_path / "visits.csv"
    rows = [f"7,{detector},r,60001.5,30,{border},lost_{detector}.fits\n" for detector in (0, 1, 2)]
    visits.write_text("visit,detector,band,midpointMjdTai,exposureTime,footprint,difference\n" + "".join(rows))
    second = sources(1, visit=7, detector=1)
    second["midpointMjdTai"] = 60001.5
    second = write(second, tmp_path / "second.csv")
    says = (
        f"l1db: visit 7, detector 0: its images were not measured: {tmp_path}/lost_0.fits: does not exist; "
        "likewise on 2 other detectors (see: l1db status)\n"
    )
    told = l1db("ingest", second, "--visits", visits, dsn=database)
    with psycopg.connect(database) as connection:
        (queued,) = connection.execute("select count(*) from l1.precovery_task").fetchone()  # type: ignore[misc]
    assert queued == 2 * 3, "two of three objects were not seen by the visit, and lie on all of its detectors"
    assert (told.code, told.err) == (0, says)
    assert told.out == (
        "1 visit, 3 detectors (3 stored): 1 source, 0 new objects, 1 alert, "
        f"0 forced fluxes stored and {queued} queued\n"
    )
    again = l1db("ingest", second, "--visits", visits, dsn=database)
    assert (again.code, again.err) == (0, says), "the images still cannot be read"
    assert again.out == "1 visit, 3 detectors (3 unchanged): nothing new\n"


def test_another_isolation_level_is_refused(stored: str, tmp_path: Path) -> None:
    path = write(sources(), tmp_path / "night.csv")
    dsn = make_conninfo(stored, options="-c default_transaction_isolation=serializable")
    before = contents(stored)
    line = l1db("ingest", path, dsn=dsn).error
    assert "l1db writes at isolation level read committed only, not serializable" in line
    assert contents(stored) == before


def test_a_server_that_is_down_and_a_database_that_is_none_are_named(stored: str, tmp_path: Path) -> None:
    path = write(sources(), tmp_path / "night.csv")
    down = l1db("ingest", path, dsn="host=127.0.0.1 port=1 dbname=l1db").error
    assert "cannot connect to the database" in down
    assert "start the server" in down
    missing = l1db("ingest", path, dsn=make_conninfo(stored, dbname="l1db_test_nowhere")).error
    assert missing.endswith('database "l1db_test_nowhere" does not exist: run `l1db init`')


def test_a_database_with_other_code_is_refused_until_upgraded(database: str, tmp_path: Path) -> None:
    path = write(sources(), tmp_path / "night.csv")
    with psycopg.connect(database) as connection:
        connection.execute("comment on schema l1_api is 'l1db 0.0.1 sha256:0'")
    assert "run `l1db upgrade`" in refused(database, path)
    assert l1db("upgrade", dsn=database).code == 0
    assert l1db("ingest", path, dsn=database).code == 0


def _all_columns(n: int) -> pa.Table:
    """A visit of ``n`` sources on 189 detectors, with every column that may be given."""
    rng = np.random.default_rng(1)
    detector = np.sort(rng.integers(0, 189, n)).astype(np.int16)
    columns: dict[str, Any] = {
        "visit": np.full(n, 77),
        "detector": detector,
        "band": np.full(n, "r"),
    }
    for column in GIVEN:
        dtype = DTYPES[column.sql_type]
        if dtype.kind == "f":
            columns[column.name] = rng.uniform(1, 2, n).astype(dtype)
        elif dtype.kind == "O":
            columns[column.name] = np.full(n, "model 1.0")
        else:
            columns[column.name] = rng.integers(0, 2, n).astype(dtype)
    columns |= {
        "dia_source_id": np.arange(1, n + 1),
        "midpoint_mjd_tai": np.full(n, 61000.2),
        "exposure_time": np.full(n, 30, dtype=np.float32),
        "ra": 10 + detector % 14 * 0.23 + rng.uniform(0, 0.22, n),
        "dec": detector // 14 * 0.23 + rng.uniform(0, 0.22, n),
        "ra_err": np.full(n, 3e-5, dtype=np.float32),
        "dec_err": np.full(n, 3e-5, dtype=np.float32),
    }
    return pa.table(columns)


def test_40_000_sources_with_all_columns_fit_in_500_MB(database: str, tmp_path: Path) -> None:
    path = tmp_path / "peak.parquet"
    pq.write_table(_all_columns(40_000), path)
    # Not getrusage, which counts what the tests' own process had when it made this one.
    script = (
        "import re; from l1db.cli import main\n"
        "try: main()\n"
        "finally: print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "ingest", str(path)],
        env={**os.environ, "L1DB_DSN": database},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said, memory = done.stdout.splitlines()
    assert said.startswith("1 visit, 189 detectors (189 stored): 40000 sources"), shlex.quote(said)
    megabytes = int(memory) / 1024
    print(f"\n40 000 sources with {len(GIVEN)} columns: {megabytes:.0f} MB in the client")
    assert megabytes < 500


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_ingest_ends_with_130_and_one_line(database: str, tmp_path: Path, workers: int) -> None:
    def heed_interrupts() -> None:
        """Python in the child raises KeyboardInterrupt only if it does not inherit that SIGINT is ignored."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    path = write(sources(), tmp_path / "night.csv")
    with psycopg.connect(database) as blocker:
        blocker.execute("lock table l1.visit in access exclusive mode")
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from l1db.cli import main; main()",
                "ingest",
                str(path),
                f"--workers={workers}",
            ],
            env={**os.environ, "L1DB_DSN": database},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_interrupts,
        )
        waiting = "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        with psycopg.connect(database, autocommit=True) as watcher:
            while process.poll() is None and watcher.execute(waiting).fetchone() is None:
                time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (130, "", "l1db: interrupted\n")
    assert contents(database)["dia_source"] == 0
