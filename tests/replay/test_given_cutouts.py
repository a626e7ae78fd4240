"""Cutouts that come with packets: in the archive bit by bit, and with the alert of their trigger, no other."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import psycopg
import pytest
from astropy.io import fits

from l1db import Client, DetectorData, Visit
from l1db.alert.cutouts import Archive, Place
from l1db.errors import BadRow, InputError, SettingsError
from l1db.ingest.run import VisitData, ingest_visits
from l1db.replay import Collection, replay_files
from tests.command_line import l1db

VISIT = Visit(1, "r", 61_000.1)
ARCSEC = 1 / 3600


@pytest.fixture
def look(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive of this test's own."""
    monkeypatch.setenv("L1DB_ARCHIVE", str(tmp_path / "archive"))
    return tmp_path / "archive"


def image(value: float) -> bytes:
    """A small FITS file."""
    file = io.BytesIO()
    fits.PrimaryHDU(np.full((3, 3), value, dtype=np.float32)).writeto(file)
    return file.getvalue()


def sources(*ids: int, **columns: Any) -> dict[str, Any]:
    n = len(ids)
    return {
        "dia_source_id": list(ids), "ra": 30 + np.array(ids) / 60, "dec": np.full(n, -5.0),
        "psf_flux": np.full(n, 900.0), "psf_flux_err": np.full(n, 9.0), **columns,
    }  # fmt: skip


def kept(look: psycopg.Connection) -> dict[tuple[int, str, str], bytes]:
    """The archived bytes of each source, kind and encoding."""
    rows = look.execute(
        "select dia_source_id, kind, encoding, sha256, n_bytes, pack, start from l1.cutout where trouble is null"
    ).fetchall()
    places = {row[:3]: Place(*row[3:]) for row in rows}
    found = Archive().load(places.values())
    return {key: found[place] for key, place in places.items()}


def test_cutouts_are_kept_as_given_and_plain(client: Client, look: psycopg.Connection, root: Path) -> None:
    """Whatever the order of the rows, each is that of its source.  Seen red without keep_given_cutouts."""
    squeezed = gzip.compress(image(2.0))
    given = {"difference": [image(3.0), None, image(1.0)], "template": [None, squeezed, None]}
    result = client.ingest(VISIT, [DetectorData(0, sources(3, 2, 1), cutouts=given)])
    assert result.warnings == ()
    assert kept(look) == {
        (3, "difference", "fits"): image(3.0),
        (1, "difference", "fits"): image(1.0),
        (2, "template", "gzip"): squeezed,
        (2, "template", "fits"): image(2.0),
    }
    (pack,) = root.rglob("*.cutouts")
    assert pack.relative_to(root).parts[:2] == ("2025-11-20", "1")
    assert pack.name.startswith("0-")


def test_only_what_gets_an_alert_keeps_its_cutouts(client: Client, look: psycopg.Connection, root: Path) -> None:
    """Source 2 is the same thing as 1 on another detector; 1 had its alert when its second cutout comes."""
    first = DetectorData(0, sources(1), cutouts={"science": [image(1.0)]})
    twin = DetectorData(1, sources(2, ra=[30 + 1 / 60]), cutouts={"science": [image(2.0)]})
    client.ingest(VISIT, [first, twin])
    assert look.execute("select no_object_reason from l1.dia_source where dia_source_id = 2").fetchone() == (
        "duplicate_in_visit",
    )
    n_bytes = sum(path.stat().st_size for path in root.rglob("*.cutouts"))
    later = DetectorData(
        0, sources(1, 3), cutouts={"science": [image(9.0), image(3.0)], "template": [image(8.0), None]}
    )
    client.ingest(VISIT, [later], mode="supplement")
    assert kept(look) == {(1, "science", "fits"): image(1.0), (3, "science", "fits"): image(3.0)}
    archived = sum(path.stat().st_size for path in root.rglob("*.cutouts")) - n_bytes
    assert archived == len(image(3.0)), "what had its alert is not archived"


def test_who_comes_second_brings_no_cutouts(client: Client, look: psycopg.Connection, root: Path) -> None:
    """Two sessions archive, one after the other ingests: the packet of the first alert may be out.

    Seen red without the stamp in keep_given_cutouts.
    """
    client.ingest(VISIT, [DetectorData(0, sources(1))])
    look.execute("select l1_api.open_stage()")
    with look.transaction():
        look.execute("insert into pg_temp.stage_detector (detector, band, content_sha256) values (0, 'r', sha256(''))")
        look.execute(
            "insert into pg_temp.stage_source (ordinal, detector, dia_source_id, midpoint_mjd_tai, ra, dec, psf_flux,"
            " psf_flux_err) values (1, 0, 1, 61000.1, 30, -5, 900, 9), (2, 0, 2, 61000.1, 31, -5, 900, 9)"
        )
        look.execute(
            "insert into pg_temp.stage_cutout select id, 'science', 'fits', sha256(''), 2880, 'pack', 0"
            "  from generate_series(1, 2) as id"
        )
        look.execute("select l1_api.ingest(1, 'supplement')")
    assert look.execute("select dia_source_id from l1.cutout").fetchall() == [(2,)]


def test_cutouts_stay_with_their_sources_when_others_are_set_aside(
    client: Client, database: str, look: psycopg.Connection, root: Path
) -> None:
    """Source 1 lies nowhere."""
    data = DetectorData(
        0, sources(1, 2, dec=[200.0, -5.0]), row_numbers=np.array([1, 2]), cutouts={"science": [image(1.0), image(2.0)]}
    )
    rejected: list[BadRow] = []
    ingest_visits(
        lambda: Client(database), [VisitData(VISIT, (data,))], n_visits=1, n_detectors=1, mode="supplement",
        origins=Collection(), reject=rejected.extend,
    )  # fmt: skip
    assert [bad.row for bad in rejected] == [1]
    assert kept(look) == {(2, "science", "fits"): image(2.0)}


def test_cutouts_are_no_part_of_the_content(client: Client, look: psycopg.Connection, root: Path) -> None:
    client.ingest(VISIT, [DetectorData(0, sources(1))])
    again = client.ingest(VISIT, [DetectorData(0, sources(1), cutouts={"difference": [image(1.0)]})])
    assert [d.status for d in again.detectors] == ["unchanged"]
    assert kept(look) == {}


def test_damaged_cutouts_are_left_out_with_a_warning(client: Client, look: psycopg.Connection, root: Path) -> None:
    """Cut off, bent, and no image at all: the sources go in."""
    whole = gzip.compress(image(1.0))
    bent = bytearray(whole)
    bent[-6] ^= 255
    given = [whole[:-20], bytes(bent), gzip.compress(b"no image"), b"GIF89a", b"", whole]
    result = client.ingest(VISIT, [DetectorData(4, sources(*range(1, 7)), cutouts={"science": given})])
    assert result.n_alerts == 6
    assert {key[0] for key in kept(look)} == {6}
    (warning,) = result.warnings
    assert warning.startswith(
        "visit 1, detector 4: 5 cutouts are no FITS file and left out: the science cutout of DiaSource 1: "
    )


@pytest.mark.parametrize(
    ("given", "cutouts", "told"),
    [
        ({"dia_source_id": None}, {"science": [b""]}, "cutouts need dia_source_id for every source"),
        ({"dia_source_id": np.ma.array([1], mask=[True])}, {"science": [b""]}, "cutouts need dia_source_id for every"),
        ({}, {"science": [b"", b""]}, "2 science cutouts are given for 1 sources"),
        ({}, {"sience": [b""]}, "'sience' is no kind of cutout; known are difference, science, template"),
    ],
)
def test_cutouts_of_nothing_are_refused(
    given: dict[str, Any], cutouts: dict[str, Any], told: str, client: Client, look: psycopg.Connection, root: Path
) -> None:
    columns = {name: values for name, values in {**sources(1), **given}.items() if values is not None}
    with pytest.raises(InputError) as error:
        client.ingest(VISIT, [DetectorData(0, columns, cutouts=cutouts)])
    assert str(error.value).startswith(f"visit 1, detector 0: {told}")
    assert look.execute("select count(*) from l1.dia_source").fetchone() == (0,)


def test_without_archive_the_client_refuses_cutouts(
    client: Client, look: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("L1DB_ARCHIVE")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="no archive of cutouts: set L1DB_ARCHIVE"):
        client.ingest(VISIT, [DetectorData(0, sources(1), cutouts={"science": [image(1.0)]})])
    assert look.execute("select count(*) from l1.dia_source").fetchone() == (0,)


def stamps(paths: list[Path]) -> dict[tuple[int, str], bytes]:
    """The stamps of ZTF's packets, by trigger and kind; read without l1db."""
    found = {}
    for path in paths:
        with path.open("rb") as file:
            for packet in fastavro.reader(file):
                assert isinstance(packet, dict)
                for kind in ("difference", "science", "template"):
                    found[packet["candid"], kind] = packet[f"cutout{kind.capitalize()}"]["stampData"]
    return found


def test_stamps_of_real_ztf_packets_are_kept(shared_data: Path, fresh_database: Callable[..., str], root: Path) -> None:
    """Gzipped as they came, and plain as the format inside says; of triggers alone, and once."""
    paths = sorted((shared_data / "alerts" / "ztf").glob("*.avro"))[:3]
    dsn = fresh_database("ztf")
    result = replay_files(lambda: Client(dsn), paths)
    assert result.warnings == ()
    truth = stamps(paths)
    with psycopg.connect(dsn, autocommit=True) as look:
        found = kept(look)
        assert {(i, kind): content for (i, kind, encoding), content in found.items() if encoding == "gzip"} == truth
        for (i, kind), content in truth.items():
            assert found[i, kind, "fits"] == gzip.decompress(content)
        assert len(found) == 2 * len(truth) == 18
        assert look.execute("select count(*) from l1.alert").fetchone() > (len(paths),)
        files = {path: path.stat().st_mtime_ns for path in root.rglob("*.cutouts")}
        replay_files(lambda: Client(dsn), paths, workers=2)
        assert {path: path.stat().st_mtime_ns for path in root.rglob("*.cutouts")} == files
        assert kept(look) == found


def test_cutouts_of_a_real_rubin_packet_are_kept(
    shared_data: Path, fresh_database: Callable[..., str], root: Path
) -> None:
    """They are plain FITS files there."""
    dsn = fresh_database("rubin")
    replay_files(lambda: Client(dsn), [shared_data / "alerts" / "rubin"])
    with psycopg.connect(dsn) as look:
        found = kept(look)
        latest = look.execute("select dia_source_id from l1.alert order by midpoint_mjd_tai desc limit 1").fetchone()
    assert latest is not None
    assert found.keys() == {(*latest, kind, "fits") for kind in ("difference", "science", "template")}
    for content in found.values():
        with fits.open(io.BytesIO(content)) as hdus:
            assert any(hdu.data is not None and hdu.data.size > 0 for hdu in hdus)


def test_without_archive_packets_are_replayed_without_cutouts(
    shared_data: Path, fresh_database: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one line says so."""
    paths = sorted((shared_data / "alerts" / "ztf").glob("*.avro"))[:2]
    dsn = fresh_database("ztf")
    monkeypatch.delenv("L1DB_ARCHIVE")
    monkeypatch.chdir(tmp_path)
    outcome = l1db("replay", *paths, dsn=dsn)
    assert outcome.code == 0
    assert outcome.err.count("cutouts are left out: no archive of cutouts: set L1DB_ARCHIVE") == 1
    with psycopg.connect(dsn) as look:
        assert look.execute("select count(*) from l1.cutout").fetchone() == (0,)
