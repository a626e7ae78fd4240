"""Cutouts are cut once, and kept: whoever builds, however often, at once, and whatever becomes of the images."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest

from l1db import Client, DetectorData
from l1db.alert import cut
from l1db.alert.cutouts import Archive, ArchiveError, ArchiveUnwritableError, Place
from l1db.alert.packets import build, regenerate
from l1db.connection import connect
from l1db.cutouts import cutouts
from l1db.database import change_survey
from tests.alert.small_night import (
    FORMATS,
    again,
    alert_ids,
    build_all,
    digest,
    exposed,
    exposure,
    image_file,
    measured_here,
    number,
    sources,
)
from tests.concurrency.gate import poll

DAY = date(2025, 11, 20)
KINDS = ("difference", "template")


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive")


@pytest.fixture
def look(database: str) -> Iterator[psycopg.Connection]:
    with connect(database) as connection:
        yield connection


def take_in(dsn: str, directory: Path, stars: Sequence[int] = (1, 2), *, seed: int = 0, **changed: Any) -> None:
    """Visit 1, with images."""
    files = [image_file(directory, 1, 0, kind, seed) for kind in KINDS]
    with Client(dsn) as client:
        given = sources(1, 0, stars)
        client.ingest(exposed(1), [DetectorData(0, given, measured=measured_here(files))], **changed)


def decisions(look: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Per cutout: source, kind, hash and why there is none."""
    return look.execute(
        "select dia_source_id, kind, encode(sha256, 'hex'), trouble from l1.cutout"
        " where encoding = 'fits' order by 1, 2"
    ).fetchall()


def packs(archive: Archive) -> list[Path]:
    return sorted(path for path in Path(archive.root).rglob("*") if path.is_file())


# -------------------------------------------------------------------------------------------------- the archive


def test_what_is_stored_is_there(archive: Archive) -> None:
    contents = [b"one", b"two" * 1000, b"one", bytes(range(256))]
    places = archive.store(DAY, 2**40, 3, contents)
    assert [archive.load([place])[place] for place in places] == contents
    assert archive.load(reversed(places)) == dict(zip(places, contents, strict=True))
    assert archive.load([]) == {}
    assert archive.store(DAY, 1, 1, []) == []
    (pack,) = packs(archive)
    assert pack.read_bytes() == b"".join(contents)
    assert pack.parent == Path(archive.root) / "2025-11-20" / str(2**40)


def test_the_same_again_is_the_same_pack(archive: Archive) -> None:
    places = archive.store(DAY, 1, 2, [b"one", b"two"])
    (pack,) = packs(archive)
    before = pack.stat()
    assert archive.store(DAY, 1, 2, [b"one", b"two"]) == places
    assert (pack.stat().st_ino, pack.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert archive.store(DAY, 1, 2, [b"onet", b"wo"]) != places


def test_a_damaged_pack_is_mended_by_who_stores_it_again(archive: Archive) -> None:
    """Seen red with every pack taken for good that is there: its cutouts would be lost, and nobody knew."""
    places = archive.store(DAY, 1, 2, [b"one", b"two"])
    (pack,) = packs(archive)
    pack.write_bytes(b"on")
    assert archive.store(DAY, 1, 2, [b"one", b"two"]) == places
    assert archive.load(places) == {places[0]: b"one", places[1]: b"two"}
    assert packs(archive) == [pack]


@pytest.mark.parametrize("content", [b"", b"onetw", b"onetwO", b"twoone"])
def test_a_damaged_pack_is_an_error(content: bytes, archive: Archive) -> None:
    places = archive.store(DAY, 1, 2, [b"one", b"two"])
    (pack,) = packs(archive)
    pack.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"is damaged: 2025-11-20/1/2-\w+\.cutouts .* restore it from a copy"):
        archive.load(places)


def test_a_lost_pack_is_an_error(archive: Archive, tmp_path: Path) -> None:
    places = archive.store(DAY, 1, 2, [b"one"])
    for elsewhere in (Archive(tmp_path / "another"), Archive("memory://another")):
        with pytest.raises(ArchiveError, match=r"does not have 2025-11-20/1/2-.*L1DB_ARCHIVE must name the archive"):
            elsewhere.load(places)


def test_an_archive_elsewhere(tmp_path: Path) -> None:
    archive = Archive("memory://archive")
    places = archive.store(DAY, 1, 2, [b"one", b"two"])
    assert archive.load(places) == {places[0]: b"one", places[1]: b"two"}
    with pytest.raises(ArchiveError, match="is damaged"):
        archive.load([Place(places[0].sha256, 3, places[0].pack, 1)])


def test_an_archive_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArchiveUnwritableError, match=r"the archive .*file cannot be written: Not a directory"):
        Archive(tmp_path / "file").store(DAY, 1, 2, [b"one"])


def test_a_pack_is_there_whole_or_not_at_all(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file_number: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(ArchiveUnwritableError, match="No space left on device"):
            archive.store(DAY, 1, 2, [b"one"])
    assert packs(archive) == []


# ------------------------------------------------------------------------------------------------ the decision


def test_cutouts_are_those_of_the_images(
    database: str, look: psycopg.Connection, archive: Archive, tmp_path: Path
) -> None:
    take_in(database, tmp_path)
    packets = build(look, alert_ids(look), "l1db", archive).packets
    given = sources(1, 0, [1, 2])
    for kind in KINDS:
        files = cutouts(exposure(1, 0, kind), given["ra"], given["dec"])
        assert [sha for _, of, sha, _ in decisions(look) if of == kind] == [digest(file or b"") for file in files]
        assert all((file or b"") in packet.content for file, packet in zip(files, packets, strict=True))


def test_an_image_that_is_another_by_now_is_not_cut(
    database: str, look: psycopg.Connection, archive: Archive, tmp_path: Path
) -> None:
    """Reprocessed in place, say.  Seen red without the hash: alerts showed what they were not found on."""
    take_in(database, tmp_path)
    (tmp_path / "1-0-difference-0.fits").write_bytes((tmp_path / "1-0-template-0.fits").read_bytes())
    build_all(look, archive)
    troubles = {(kind, trouble and trouble.rpartition(": ")[2]) for _, kind, _, trouble in decisions(look)}
    assert troubles == {("difference", "is another file than was registered"), ("template", None)}


def test_what_was_not_there_never_will_be(
    database: str, look: psycopg.Connection, archive: Archive, tmp_path: Path
) -> None:
    take_in(database, tmp_path)
    for file in tmp_path.glob("*.fits"):
        file.rename(file.with_suffix(".away"))
    first = build_all(look, archive)
    assert len(first) == 2 * len(FORMATS)
    assert packs(archive) == []
    for file in tmp_path.glob("*.away"):
        file.rename(file.with_suffix(".fits"))
    assert build_all(look, archive) == first
    assert all(trouble and "does not exist" in trouble for *_, trouble in decisions(look))


def test_images_that_are_away_are_waited_for_but_not_for_long(
    database: str, look: psycopg.Connection, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that is not mounted decides nothing.  Seen red without the difference from a file that is gone."""
    mounted, away = tmp_path / "images", tmp_path / "away"
    mounted.mkdir()
    take_in(database, mounted)
    mounted.rename(away)
    monkeypatch.setattr(cut, "_PATIENCE", 0.0)
    with look.transaction(force_rollback=True):
        build_all(look, archive)
        assert all(trouble and "nor does its directory" in trouble for *_, trouble in decisions(look))
    monkeypatch.undo()
    with pytest.raises(cut.ImagesAwayError, match=r"nor does its directory"):
        build_all(look, archive)
    assert decisions(look) == []
    away.rename(mounted)
    build_all(look, archive)
    assert {trouble for *_, trouble in decisions(look)} == {None}


@pytest.mark.parametrize("built", [False, True])
def test_a_replaced_detector_is_cut_from_its_own_images(
    built: bool, database: str, look: psycopg.Connection, archive: Archive, tmp_path: Path
) -> None:
    """Alerts of the first attempt that were not built by then go out without; their retractions show the same.

    Seen red with the image of the attempt that a retraction was issued under, and with one image for all of a kind.
    """
    take_in(database, tmp_path)
    first = build_all(look, archive) if built else {}
    take_in(database, tmp_path, [2, 7], seed=1, mode="replace")
    assert look.execute("select kind, dia_source_id from l1.alert order by alert_id").fetchall() == [
        ("detection", 1010), ("detection", 1020), ("retraction", 1010), ("detection", 1070),
    ]  # fmt: skip
    retraction = look.execute("select alert_id from l1.alert where kind = 'retraction'").fetchone()
    assert retraction is not None
    build(look, retraction, "l1db", archive)  # before the alert that it takes back
    found = build_all(look, archive)
    assert {key: sha for key, sha in found.items() if key in first} == first
    expected = None if built else "its detector was withdrawn or replaced before"
    assert {(source, trouble) for source, *_, trouble in decisions(look)} == {
        (1010, expected), (1020, expected), (1070, None),
    }  # fmt: skip


def test_what_a_retraction_shows_by_later_rules_its_alert_does_not(
    database: str, look: psycopg.Connection, archive: Archive, tmp_path: Path
) -> None:
    """Seen red with all the cutouts of a source in every alert of it."""
    change_survey(look, {"cutouts": ["difference"]}, "less")
    take_in(database, tmp_path)
    first = build_all(look, archive)
    change_survey(look, {"cutouts": ["difference", "template"]}, "more")
    look.execute("select l1_api.withdraw_sources(array[1010], 'a test')")
    found = build_all(look, archive)
    assert {key: sha for key, sha in found.items() if key in first} == first
    assert [(source, kind) for source, kind, *_ in decisions(look)] == [
        (1010, "difference"), (1010, "template"), (1020, "difference"),
    ]  # fmt: skip
    change_survey(look, {"cutouts": []}, "none")
    assert build_all(look, archive) == found


# ----------------------------------------------------------------------------------------- accidents, and races


def test_killed_between_archive_and_database(
    database: str, look: psycopg.Connection, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_in(database, tmp_path)

    def killed(*_: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cut, "_keep", killed)
        with pytest.raises(KeyboardInterrupt):
            build(look, alert_ids(look), "voevent", archive)
    assert decisions(look) == []
    written = packs(archive)
    assert len(written) == 1
    first = build_all(look, archive)
    assert set(written) < set(packs(archive))
    assert len(packs(archive)) == 2, "cutouts and their gzipped spelling"
    assert build_all(look, archive) == first


def test_without_the_archive_there_is_an_error_and_no_other_packet(
    database: str, look: psycopg.Connection, archive: Archive, tmp_path: Path
) -> None:
    take_in(database, tmp_path)
    first = build_all(look, archive)
    whole = {pack: pack.read_bytes() for pack in packs(archive)}
    last = alert_ids(look)[-1]
    for harm in ("lost", "damaged", "truncated"):
        for pack, content in whole.items():
            if harm == "lost":
                pack.unlink()
            else:
                pack.write_bytes(content[:-1] + (bytes([content[-1] ^ 1]) if harm == "damaged" else b""))
        for form in FORMATS:
            for _ in range(2):  # what fails leaves nothing behind by which it would succeed
                with pytest.raises(ArchiveError):
                    build(look, [last], form, archive)
                with pytest.raises(ArchiveError):
                    regenerate(look, last, form, archive)
        for pack, content in whole.items():
            pack.write_bytes(content)
        assert build_all(look, archive) == first


def test_an_archive_that_cannot_be_written_decides_nothing(
    database: str, look: psycopg.Connection, tmp_path: Path, archive: Archive
) -> None:
    take_in(database, tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArchiveUnwritableError):
        build(look, alert_ids(look), "l1db", Archive(tmp_path / "file"))
    assert decisions(look) == []
    assert look.execute("select count(*) from l1.alert_packet").fetchone() == (0,)
    build_all(look, archive)
    assert {trouble for *_, trouble in decisions(look)} == {None}


class _Gate(Archive):
    """An archive in which the first who stores waits to be let through; counts what is stored."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.stored: list[int] = []
        self.open = threading.Event()

    def store(self, day_obs: date, visit: int, detector: int, contents: Sequence[bytes]) -> list[Place]:
        self.stored.append(len(contents))
        if len(self.stored) == 1:
            assert self.open.wait(20)
        return super().store(day_obs, visit, detector, contents)


def test_two_builders_cut_once(database: str, look: psycopg.Connection, archive: Archive, tmp_path: Path) -> None:
    """In two formats, of alerts of which some are the same: the second waits, and takes what the first has cut.

    Seen red without the lock, and without the second look behind it.
    """
    take_in(database, tmp_path, [0, 1, 2, 3])
    ids = alert_ids(look)
    gate = _Gate(archive.root)

    def builder(form: str, chosen: Sequence[int]) -> frozenset[int]:
        with connect(database) as connection:
            return build(connection, chosen, form, gate).differing

    with ThreadPoolExecutor() as pool:
        first = pool.submit(builder, "l1db", ids[:3])
        poll(lambda: (1,) if gate.stored else None, "nobody stores")
        second = pool.submit(builder, "lsst-11.1", ids[1:])
        try:
            poll(
                lambda: look.execute(
                    "select 1 from pg_locks where locktype = 'advisory' and not granted and classid = 19508"
                    " and database = (select oid from pg_database where datname = current_database())"
                ).fetchone(),
                "the second does not wait",
            )
        finally:
            gate.open.set()
        assert first.result(20) == second.result(20) == frozenset()
    assert gate.stored == [3 * len(KINDS), 1 * len(KINDS)]
    found = build_all(look, archive)
    assert again(look, archive, ids) == found


def test_a_retraction_shows_the_cutouts_of_its_alert(
    database: str, look: psycopg.Connection, archive: Archive, tmp_path: Path
) -> None:
    take_in(database, tmp_path)
    look.execute("select l1_api.withdraw_visit(%s, 'a test')", (number(1),))
    build_all(look, archive)
    # The images are still those of the withdrawn attempt, but nobody vouches for that.
    assert {trouble for *_, trouble in decisions(look)} == {"its detector was withdrawn or replaced before"}
    assert len(decisions(look)) == 2 * len(KINDS)
