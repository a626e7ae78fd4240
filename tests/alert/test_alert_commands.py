"""``l1db alert``: what a user sees of the archive of alerts."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from astropy.io import fits

from l1db import Client, DetectorData, Visit
from l1db.alert import avro
from l1db.alert.cutouts import Archive
from l1db.connection import connect
from l1db.database import change_survey
from tests.alert.small_night import FORMATS, Hashes, alert_ids, build_all, digest, take_in
from tests.command_line import Outcome, l1db
from tests.conftest import Server

ARCSEC = 1 / 3600


class Night:
    """A night whose packets were built, but for its last alert."""

    def __init__(self, dsn: str, directory: Path) -> None:
        take_in(dsn, directory)
        self.dsn, self.archive = dsn, directory / "archive"
        with connect(dsn) as connection:
            *built, self.unbuilt = alert_ids(connection)
            self.first: Hashes = build_all(connection, Archive(self.archive), built)
            rows = connection.execute("select dia_source_id, alert_id from l1.alert").fetchall()
        self.alert_of = dict(rows)

    def show(self, *arguments: object) -> Outcome:
        return l1db("alert", "show", *arguments, dsn=self.dsn)


@pytest.fixture(scope="module")
def night(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    dsn = server.clone("seed")
    yield Night(dsn, tmp_path_factory.mktemp("night"))
    server.drop(dsn)


@pytest.fixture(autouse=True)
def archive(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L1DB_ARCHIVE", str(night.archive))


def without_archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a machine that was never set up."""
    monkeypatch.delenv("L1DB_ARCHIVE")
    monkeypatch.chdir(tmp_path)


# --------------------------------------------------------------------------------------------------------- show


def shown_text(night: Night, tmp_path: Path, *arguments: object) -> str:
    done = night.show(*arguments, "--output", tmp_path / "text")
    assert (done.code, done.out) == (0, "")
    return (tmp_path / "text").read_text(encoding="utf-8")


def test_an_alert_is_shown_as_text_by_its_id_or_its_source(night: Night, tmp_path: Path) -> None:
    alert_id = night.alert_of[3000]
    text = shown_text(night, tmp_path, 3000)
    assert text == shown_text(night, tmp_path, alert_id)
    assert text.startswith(f"alert {alert_id}: detection, issued ")
    assert "survey Sky & Söhne 星, rules 3," in text
    assert re.search(r"^DiaSource 3000\n  .*ra 30\.00", text, re.MULTILINE)
    assert re.search(r"^previous DiaSources: 2\n  MJD 61000\.21.* r .*1010\.00 \+- 50\.00 nJy  detected  1000\n"
                     r"  MJD 61000\.22.* L★ .*1020\.00 .*detected  2000\n", text, re.MULTILINE)  # fmt: skip
    assert re.search(r"  difference: none: the difference image could not be cut: .* is another file than was", text)
    assert re.search(r"  science: \d+ bytes, sha256 [0-9a-f]{64}\n", text)
    assert re.search(r"packets\n  l1db 1.0: \d+ bytes\n  lsst-11.1 11.1: \d+ bytes\n  voevent 1: \d+ bytes\n", text)


def test_text_needs_no_archive_and_says_so(night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen red where the archive was opened first."""
    expected = shown_text(night, tmp_path, 1000)
    without_archive(monkeypatch, tmp_path)
    text = shown_text(night, tmp_path, 1000)
    (said,) = set(text.splitlines()) - set(expected.splitlines())
    assert said.startswith("  not to be had from here: no archive of cutouts: set L1DB_ARCHIVE")
    for arguments in (["--format", "json"], ["--format", "voevent"], ["--cutouts", tmp_path], ["--regenerate"]):
        assert night.show(1000, *arguments).error.startswith("l1db: no archive of cutouts: set L1DB_ARCHIVE")


def test_text_tells_what_is_not_built_yet(night: Night, tmp_path: Path) -> None:
    text = shown_text(night, tmp_path, night.unbuilt)
    assert "\npackets\n" not in text


@pytest.mark.parametrize("form", [*FORMATS, "avro"])
def test_packets_come_out_byte_for_byte(form: str, night: Night, tmp_path: Path) -> None:
    for alert_id in (night.alert_of[1000], night.alert_of[2050]):
        done = night.show(alert_id, "--format", form, "--output", tmp_path / "packet")
        assert (done.code, done.out, done.err) == (0, "", "")
        expected = night.first[alert_id, "l1db" if form == "avro" else form]
        assert digest((tmp_path / "packet").read_bytes()) == expected


def test_a_packet_goes_to_the_standard_output(night: Night) -> None:
    """Binary, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", "from l1db.cli import main; main()", "alert", "show", "1000", "--format", "avro"],
        env={"L1DB_DSN": night.dsn, "L1DB_ARCHIVE": str(night.archive), "PATH": "", "LC_ALL": "C"},
        cwd=Path(__file__).parents[2], capture_output=True, check=True,
    )  # fmt: skip
    assert digest(done.stdout) == night.first[night.alert_of[1000], "l1db"]
    assert done.stderr == b""


def test_a_packet_that_was_never_built_is_shown_with_a_word(night: Night, tmp_path: Path) -> None:
    done = night.show(night.unbuilt, "--format", "voevent", "--output", tmp_path / "event")
    assert done.code == 0
    assert "this packet has not been built yet" in done.err
    assert (tmp_path / "event").read_bytes().startswith(b"<?xml")
    with connect(night.dsn) as connection:
        stored = connection.execute("select count(*) from l1.alert_packet where alert_id = %s", (night.unbuilt,))
        assert stored.fetchone() == (0,)


def test_json_is_the_packet_with_ids_as_strings(night: Night, tmp_path: Path) -> None:
    night.show(2000, "--format", "json", "--output", tmp_path / "json")
    night.show(2000, "--format", "avro", "--output", tmp_path / "avro")
    told = json.loads((tmp_path / "json").read_text(encoding="utf-8"))
    packet = avro.read_packet((tmp_path / "avro").read_bytes())
    assert told["diaSource"]["diaObjectId"] == str(packet["diaSource"]["diaObjectId"])
    assert told["diaSource"]["visit"] == str(2**40 + 2)
    assert told["diaSource"]["psfFlux"] == packet["diaSource"]["psfFlux"]
    assert base64.b64decode(told["cutoutDifference"]) == packet["cutoutDifference"]
    assert told["cutoutTemplate"] is None
    assert told.keys() == packet.keys()


def test_cutouts_are_written_as_fits_files(night: Night, tmp_path: Path) -> None:
    alert_id = night.alert_of[1000]
    done = night.show(1000, "--cutouts", tmp_path / "new" / "directory", "--output", tmp_path / "text")
    assert done.code == 0
    paths = sorted((tmp_path / "new" / "directory").iterdir())
    assert [path.name for path in paths] == [f"alert-{alert_id}-{kind}.fits" for kind in ("difference", "template")]
    for path in paths:
        assert str(path) in done.err
        with fits.open(io.BytesIO(path.read_bytes())) as hdus:
            assert hdus[0].data.shape == (30, 30)
    done = night.show(2400 + 1, "--cutouts", tmp_path, "--output", tmp_path / "text")
    assert f"alert {night.alert_of[2401]} has no cutouts" in done.err


def test_regenerated_packets_are_compared(night: Night) -> None:
    alert_id = night.alert_of[2050]
    done = night.show(alert_id, "--regenerate")
    assert done.code == 0
    lines = done.out.splitlines()
    assert len(lines) == len(FORMATS)
    for form, line in zip(FORMATS, lines, strict=True):
        assert re.fullmatch(
            rf"alert {alert_id}: {form} \S+: \d+ bytes, sha256 {night.first[alert_id, form]}: the same as first .*",
            line,
        )
    done = night.show(night.unbuilt, "--regenerate")
    assert (done.code, done.out) == (0, f"alert {night.unbuilt}: no packet of it has been built yet\n")


def test_a_packet_that_differs_is_told_and_not_shown(night: Night, tmp_path: Path) -> None:
    """A hash that was damaged by the owner's hand, past the trigger."""
    alert_id = night.alert_of[1010]
    with connect(night.dsn) as connection, connection.transaction():
        connection.execute("set local session_replication_role = replica")
        connection.execute("update l1.alert_packet set sha256 = sha256('x') where alert_id = %s and format = 'voevent'",
                           (alert_id,))  # fmt: skip
    done = night.show(alert_id, "--regenerate")
    assert done.code == 1
    assert [("DIFFERS" in line) for line in done.out.splitlines()] == [False, False, True]
    assert night.first[alert_id, "voevent"] in done.out
    error = night.show(alert_id, "--format", "voevent", "--output", tmp_path / "event").error
    assert f"alert {alert_id}: this is not the packet that was built first" in error
    assert not (tmp_path / "event").exists()


def test_a_lost_archive_is_one_line(night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L1DB_ARCHIVE", str(tmp_path / "another"))
    for arguments in (["--format", "avro"], ["--regenerate"], ["--cutouts", tmp_path]):
        assert re.search("does not have .*L1DB_ARCHIVE must name the archive", night.show(1000, *arguments).error)


@pytest.mark.parametrize("number", [123456, 0, 2**62 + 10**6, 2**63 - 1, 2**70])
def test_an_unknown_id_is_refused(number: int, night: Night) -> None:
    assert night.show(number).error == (
        f"l1db: there is no alert {number}, nor one of a DiaSource {number}: l1db alert find"
    )


def test_an_unknown_format_is_refused_with_those_that_there_are(night: Night) -> None:
    error = night.show(1000, "--format", "xml").error
    assert error == "l1db: xml is no format: text, avro, json, l1db, lsst-11.1, voevent"


def test_an_id_that_is_both_and_a_source_with_two_alerts(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sources 1 and 2; of the second alert 1's source is told."""
    monkeypatch.setenv("L1DB_ARCHIVE", str(tmp_path / "archive"))
    sources = {"dia_source_id": [2, 50], "ra": [10.0, 10.1], "dec": [0.0, 0.0], "psf_flux": [1.0, 1.0],
               "psf_flux_err": [1.0, 1.0]}  # fmt: skip
    with Client(database) as client, connect(database) as connection:
        client.ingest(Visit(1, "r", 61000.2), [DetectorData(0, sources)])
        connection.execute("select l1_api.withdraw_sources(array[50], 'a test')")
    done = l1db("alert", "show", 2, "--output", tmp_path / "text", dsn=database)
    assert (tmp_path / "text").read_text().startswith("alert 2: detection")
    assert "this is alert 2; of DiaSource 2 are alerts 1" in done.err
    done = l1db("alert", "show", 50, "--output", tmp_path / "text", dsn=database)
    assert "of DiaSource 50 there are also alerts 3 (retraction)" in done.err
    done = l1db("alert", "show", 3, "--output", tmp_path / "text", dsn=database)
    assert "retired by its transaction" in (tmp_path / "text").read_text()


# --------------------------------------------------------------------------------------------------------- find


PLACES = (
    ((359.9999, 10.0), [(0.0001, 10), (-0.0001, 10), (359.9999, 10), (720, 10)]),
    ((123.0, 89.99999), [(0, 90), (303, 90), (123, 89.9999)]),
    ((7.0, -90.0), [(7, -90), (187, -89.9999)]),
    ((45.0, 0.0), [(45, 0)]),
)


def test_alerts_are_found_at_the_ends_of_the_sky(database: str) -> None:
    with Client(database) as client:
        for number, ((ra, dec), _) in enumerate(PLACES, start=1):
            sources = {"dia_source_id": [number], "ra": [ra], "dec": [dec], "psf_flux": [1.0], "psf_flux_err": [1.0]}
            client.ingest(Visit(number, "r", 61000.2), [DetectorData(0, sources)])
    for number, (_, asked) in enumerate(PLACES, start=1):
        for ra, dec in asked:
            done = l1db("alert", "find", "--at", ra, dec, "--radius", 1.0, dsn=database)
            assert re.findall(r"source (\d+)", done.out) == [str(number)], (ra, dec)


def test_alerts_are_found_by_time_and_object(night: Night) -> None:
    def found(*arguments: object) -> list[int]:
        done = l1db("alert", "find", *arguments, dsn=night.dsn)
        assert done.code == 0
        return [int(line.split()[1]) for line in done.out.splitlines()]

    with connect(night.dsn) as connection:
        rows = connection.execute("select alert_id, midpoint_mjd_tai, dia_object_id from l1.alert order by 2, 1")
        alerts = rows.fetchall()
    assert found() == [alert_id for alert_id, *_ in alerts]
    assert found("--since", 61000.219, "--until", 61000.221) == [
        i for i, mjd, _ in alerts if abs(mjd - 61000.22) < 1e-6
    ]
    one = alerts[0][2]
    assert found("--object", one) == [i for i, _, of in alerts if of == one]
    at = ("--at", 30 + 1 / 60, -5.0)
    near = found(*at)
    assert len(near) >= 4
    assert found(*at, "--until", 61000.225) == near[:2]
    assert found("--object", 5) == []
    done = l1db("alert", "find", "--limit", 2, dsn=night.dsn)
    assert [int(line.split()[1]) for line in done.out.splitlines()] == [i for i, *_ in alerts][-2:]
    assert "these are the latest 2: --limit shows more" in done.err


def test_alerts_are_found_where_their_object_was(database: str) -> None:
    """A mean position moves a little with every source, and no index has them all.

    Seen red with the places of the index alone.
    """
    with Client(database) as client, connect(database) as connection:
        change_survey(connection, {"association_radius": 3.0}, "a wide one")
        for visit, offset in enumerate([0.0, 2.4, 2.4, 2.4], start=1):
            client.ingest(
                Visit(visit, "r", 61000.2 + 0.01 * visit),
                [DetectorData(0, {"ra": [10.0], "dec": [offset * ARCSEC], "psf_flux": [1.0], "psf_flux_err": [1.0]})],
            )
        assert connection.execute("select count(*) from l1.dia_object").fetchone() == (1,)
        ((dec,),) = connection.execute("select dec from l1.dia_object").fetchall()
    assert dec == pytest.approx(1.8 * ARCSEC, rel=1e-3)
    for where, n in ((0.0, 4), (1.2, 4), (1.8, 4), (0.6, 0), (2.4, 0)):
        done = l1db("alert", "find", "--at", 10, where * ARCSEC, "--radius", 0.3, dsn=database)
        assert len(done.out.splitlines()) == n, where


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--at", "nan", "0"], "--at nan 0.0: is no place on the sky"),
        (["--at", "0", "90.1"], "--at 0.0 90.1: is no place on the sky"),
        (["--at", "0", "0", "--radius", "inf"], "--radius inf: is not a number of arcseconds"),
    ],
)
def test_a_place_that_is_none_is_refused(arguments: list[str], said: str, night: Night) -> None:
    assert l1db("alert", "find", *arguments, dsn=night.dsn).error == f"l1db: {said}"


# ------------------------------------------------------------------------------------------------------- schema


def test_schemas_are_printed() -> None:
    for form in ("l1db", "lsst-11.1"):
        assert json.loads(l1db("alert", "schema", "--format", form, dsn="").out) == avro.schema(form)
    assert l1db("alert", "schema", "--version", "1.0", dsn="").out == l1db("alert", "schema", dsn="").out
    assert "there is no" in l1db("alert", "schema", "--version", "0.1", dsn="").error
    assert "voevent has no Avro schema" in l1db("alert", "schema", "--format", "voevent", dsn="").error


def test_nothing_here_changes_the_database(night: Night) -> None:
    with psycopg.connect(night.dsn) as connection:
        row = connection.execute("select count(*) from l1.alert_packet").fetchone()
    assert row == (len(night.first),)
