"""Simulated nights, from pixels to light curves: what the database has in the end against what was drawn.

The images are drawn by galsim and searched by the simulator; forced fluxes are measured by l1db.photometry inside the
ingest.  Objects are told apart by the truth of most of their detections.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow.parquet as pq
import pytest

from l1db import Client
from l1db.ingest import ingest_files
from l1db.photometry import ForcedFlag
from tests.command_line import l1db
from tests.version.continuity import breaks

pytest.importorskip("galsim")
from l1db.simulate import Plan, Simulation, simulate

PLAN = Plan(seed=5, nights=2, visits_per_night=4, detectors=2, size=512, density=4)
# Things that are not where their objects are, and pairs that no image tells apart.
MOVING = {"mover", "slow_mover", "proper_motion", "pair"}
# Flags that say nothing against a flux.
HARMLESS = int(ForcedFlag.BLENDED_JOINT)


@dataclass(frozen=True)
class Nights:
    """What was simulated, its truth, and the database that took it in."""

    made: Simulation
    dsn: str
    truth: dict[str, np.ndarray]
    truth_of: dict[int, int | None]

    @property
    def row(self) -> dict[tuple[int, int, int], int]:
        """Row of the truth for each visit, detector and thing."""
        keys = zip(self.truth["visit"].tolist(), self.truth["detector"].tolist(), self.truth["truth_id"].tolist(),
                   strict=True)  # fmt: skip
        return {key: i for i, key in enumerate(keys)}


def columns(path: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(path)
    return {name: np.array(table[name].to_pylist()) for name in table.column_names}


@pytest.fixture(scope="module")
def nights(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nights]:
    directory = tmp_path_factory.mktemp("nights")
    made = simulate(directory, PLAN)
    dsn = server.clone("seed")
    ingest_files(lambda: Client(dsn), [made.sources], visits=made.visits)
    found = pq.read_table(directory / "truth_detection.parquet")
    truth_of = dict(zip(found["dia_source_id"].to_pylist(), found["truth_id"].to_pylist(), strict=True))
    yield Nights(made, dsn, columns(directory / "truth_lc.parquet"), truth_of)
    server.drop(dsn)


@pytest.fixture
def look(nights: Nights) -> Iterator[psycopg.Connection]:
    with psycopg.connect(nights.dsn, autocommit=True) as connection:
        yield connection


def owners(nights: Nights, look: psycopg.Connection) -> dict[int, Counter[int | None]]:
    """For each object, which things its detections are of."""
    rows = look.execute(
        "select dia_object_id, dia_source_id from l1.dia_source where not is_forced and dia_object_id > 0"
    )
    votes: dict[int, Counter[int | None]] = {}
    for dia_object, source in rows:
        votes.setdefault(dia_object, Counter())[nights.truth_of[source]] += 1
    return votes


def test_objects_are_pure_and_complete(nights: Nights, look: psycopg.Connection) -> None:
    """Of the detections of things that stay in place; the printed figures are those of this one field."""
    kind = dict(zip(nights.truth["truth_id"].tolist(), nights.truth["kind"].tolist(), strict=True))
    votes = {
        o: Counter({t: n for t, n in v.items() if t is not None and kind.get(t) not in MOVING})
        for o, v in owners(nights, look).items()
    }
    total = sum(sum(v.values()) for v in votes.values())
    pure = sum(max(v.values(), default=0) for v in votes.values())
    largest: Counter[int] = Counter()
    for v in votes.values():
        for t, n in v.items():
            largest[t] = max(largest[t], n)
    seen: Counter[int | None] = sum(votes.values(), Counter())
    complete = sum(largest.values())
    print(f"{total} detections: purity {pure / total:.4f}, completeness {complete / sum(seen.values()):.4f}")
    assert pure / total > 0.99
    assert complete / sum(seen.values()) > 0.99
    assert breaks(look) == []


def test_every_variable_has_a_row_for_every_visit_after_its_first_detection(
    nights: Nights, look: psycopg.Connection
) -> None:
    """Wherever it lies on valid pixels.  Seen to fail with forced work left out."""
    first: dict[int, float] = {}
    rows = look.execute(
        "select s.dia_source_id, s.midpoint_mjd_tai from l1.dia_source s where not is_forced and dia_object_id > 0"
    )
    for source, mjd in rows:
        truth = nights.truth_of[source]
        if truth is not None:
            first[truth] = min(first.get(truth, np.inf), mjd)
    owner = {o: v.most_common(1)[0][0] for o, v in owners(nights, look).items()}
    have = {
        (visit, owner.get(dia_object))
        for visit, dia_object in look.execute("select visit, dia_object_id from l1.dia_source where dia_object_id > 0")
    }
    t = nights.truth
    expected = {
        (int(t["visit"][i]), int(t["truth_id"][i]))
        for i in range(len(t["visit"]))
        if t["kind"][i] in ("rr_lyrae", "eclipsing", "agn", "supernova")
        and t["is_on_image"][i]
        and t["psf_fraction"][i] > 0.5
        and t["nearest_change"][i] > 3
        and t["midpoint_mjd_tai"][i] > first.get(int(t["truth_id"][i]), np.inf)
    }
    assert len(expected) > 200
    assert expected - have == set()


@pytest.mark.parametrize("what", ["forced", "detected"])
@pytest.mark.parametrize("flux", ["psf_flux", "snap_diff_flux"])
def test_fluxes_are_unbiased(what: str, flux: str, nights: Nights, look: psycopg.Connection) -> None:
    """Forced rows of objects with three detections and more; detections at S/N > 10, measured by the simulator, or, for
    the snaps, by us.  Seen to fail with the errors doubled (forced)."""
    votes = owners(nights, look)
    row, t = nights.row, nights.truth
    expected = t["flux_expected" if flux == "psf_flux" else "snap_diff_expected"]
    pulls = []
    rows = look.execute(
        f"select visit, detector, dia_object_id, {flux}, {flux}_err, coalesce(forced_flags, 0), snr, is_forced"
        f" from l1.dia_source where dia_object_id > 0 and {flux} is not null"
    ).fetchall()
    for visit, detector, dia_object, value, error, flags, snr, is_forced in rows:
        members = votes.get(dia_object, Counter())
        if is_forced != (what == "forced") or not members or flags & ~HARMLESS:
            continue
        if (is_forced and members.total() < 3) or (not is_forced and abs(snr) < 10):
            continue
        i = row.get((visit, detector, members.most_common(1)[0][0] or -1))
        if (
            i is None
            or t["kind"][i] in MOVING
            or not (t["is_on_image"][i] and t["is_point"][i] and t["nearest_change"][i] > 3)
        ):
            continue
        if t["psf_fraction"][i] > 0.5:
            pulls.append((value - expected[i]) / error)
    chi2 = np.mean(np.square(pulls))
    spread = np.sqrt(2 / len(pulls))
    print(f"{what} {flux}: {len(pulls)} rows, chi2/dof {chi2:.3f}, mean {np.mean(pulls):.3f}")
    assert len(pulls) > 40
    assert 0.9 - 3 * spread < chi2 < 1.1 + 3 * spread
    assert abs(np.mean(pulls)) < 4 / np.sqrt(len(pulls)) + 0.03


def test_every_image_is_known_and_its_outline_too(nights: Nights, look: psycopg.Connection) -> None:
    n = PLAN.nights * PLAN.visits_per_night * PLAN.detectors
    assert look.execute("select kind, count(*) from l1.image group by 1 order by 1").fetchall() == [
        (kind, n) for kind in ("difference", "science", "snap_difference", "template")
    ]
    area = PLAN.size**2 * 0.2**2
    for (found,) in look.execute("select st_area(footprint, false) from l1.visit_detector"):
        assert found / 30.887522148508772**2 == pytest.approx(area, rel=2e-3)


def test_the_same_nights_again_change_nothing(nights: Nights, look: psycopg.Connection) -> None:
    count = (
        "select count(*), sum(n_forced) from l1.dia_source, (select sum(n_forced) as n_forced from l1.visit_detector) v"
    )
    before = look.execute(count).fetchone()
    result = ingest_files(lambda: Client(nights.dsn), [nights.made.sources], visits=nights.made.visits)
    assert set(result.by_status()) == {"unchanged"}
    assert look.execute(count).fetchone() == before


@pytest.mark.parametrize("harm", ["missing", "truncated"])
def test_an_image_that_cannot_be_read_stops_no_visit(
    harm: str, nights: Nights, fresh_database: Callable[..., str]
) -> None:
    """The detector is marked, its forced work queued, and images that come later are known.

    Seen to fail with the error let through: the run ended at the visit."""
    dsn = fresh_database()
    images = sorted((nights.made.visits.parent / "images").glob("*_[0-9][0-9][0-9]_difference.fits"))
    victim = images[-1]
    whole = victim.read_bytes()
    try:
        victim.unlink() if harm == "missing" else victim.write_bytes(whole[: len(whole) // 2])
        result = ingest_files(lambda: Client(dsn), [nights.made.sources], visits=nights.made.visits)
    finally:
        victim.write_bytes(whole)
    assert result.n_detectors == len(images)
    with psycopg.connect(dsn, autocommit=True) as connection, Client(dsn) as client:
        marked = connection.execute(
            "select visit, detector, n_forced, n_forced_queued, image_trouble from l1.visit_detector"
            " where image_trouble is not null"
        ).fetchall()
        assert len(marked) == 1
        visit, detector, n_forced, n_queued, trouble = marked[0]
        assert victim.name in trouble
        assert (n_forced, n_queued > 0) == (0, True)
        tasks = "select count(*), min(reason) from l1.precovery_task where visit = %s and detector = %s"
        assert connection.execute(tasks, (visit, detector)).fetchone() == (n_queued, "no_image")
        again = client.add_images(visit, detector, {"difference": str(victim)})
        assert again == 0, "the work is queued already"
        assert connection.execute(tasks, (visit, detector)).fetchone() == (n_queued, "no_image")
        known = connection.execute(
            "select count(*) from l1.image where visit = %s and detector = %s", (visit, detector)
        ).fetchone()
        assert known == (4,)


def test_images_that_come_late_queue_their_work(nights: Nights, fresh_database: Callable[..., str]) -> None:
    from l1db.tables import read_visits

    dsn = fresh_database()
    table = read_visits(nights.made.visits)
    ingest_files(lambda: Client(dsn), [nights.made.sources])
    last = len(table) - 1
    visit, detector = int(table.value("visit", last)), int(table.value("detector", last))
    with psycopg.connect(dsn, autocommit=True) as connection, Client(dsn) as client:
        assert connection.execute("select sum(n_forced), count(footprint) from l1.visit_detector").fetchone() == (0, 0)
        n = client.add_images(visit, detector, table.images[last])
        assert n > 20
        assert client.add_images(visit, detector, table.images[last]) == 0
        assert connection.execute("select count(*), min(reason) from l1.precovery_task").fetchone() == (n, "late_image")
        assert connection.execute(
            "select n_forced_queued from l1.visit_detector where footprint is not null"
        ).fetchall() == [(n,)]
        assert connection.execute(
            "select count(*) from l1.precovery_task t join l1.dia_source s using (visit, dia_object_id)"
            " where not s.is_forced"
        ).fetchone() == (0,), "what the visit saw needs no forcing"


def test_the_command_adds_the_images_of_a_table(
    nights: Nights, fresh_database: Callable[..., str], tmp_path: Path
) -> None:
    """Also of a table that names a detector which is not stored, or none at all: one line says so."""
    dsn = fresh_database()
    ingest_files(lambda: Client(dsn), [nights.made.sources])
    first = l1db("images", "add", nights.made.visits, dsn=dsn)
    n = PLAN.nights * PLAN.visits_per_night * PLAN.detectors
    assert (first.code, first.err) == (0, "")
    assert first.out.startswith(f"images of {n} detectors are known; ")
    assert " 0 forced" not in first.out
    assert l1db("images", "add", nights.made.visits, dsn=dsn).out.endswith("; 0 forced measurements queued\n")
    empty = l1db("images", "add", nights.made.visits, dsn=fresh_database())
    assert empty.error == (
        f"l1db: {nights.made.visits}: row 1: visit 20251120001, detector 0 is not stored "
        f"(nor are those of {n - 1} more rows): ingest it, with its images; nothing was registered"
    )
    bare = tmp_path / "bare.csv"
    bare.write_text("visit,detector,band,midpoint_mjd_tai\n1,0,r,61000.1\n")
    assert "bare.csv: names no images" in l1db("images", "add", bare, dsn=dsn).error
