"""Real alert packets through the database: the surveys' own objects, found again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import fastavro
import psycopg
import pytest

from l1db import Client
from l1db.replay import replay_files


def replay(dsn: str, *paths: Path) -> None:
    replay_files(lambda: Client(dsn), paths)


def objects(dsn: str) -> dict[int, int | None]:
    """The DiaObject of each source."""
    with psycopg.connect(dsn) as connection:
        return dict(connection.execute("select dia_source_id, dia_object_id from l1.dia_source").fetchall())


def partition(dsn: str) -> set[frozenset[int]]:
    """The sources of each object, whatever its id; each source without object by itself."""
    groups: dict[object, set[int]] = {}
    for source, its_object in objects(dsn).items():
        groups.setdefault(("alone", source) if its_object is None else its_object, set()).add(source)
    return set(map(frozenset, groups.values()))


def rows(dsn: str) -> dict[str, set[tuple[Any, ...]]]:
    """Every row of every table that ingests write: where it lies, and which transaction put it there."""
    with psycopg.connect(dsn) as connection:
        tables = [
            name
            for (name,) in connection.execute(
                "select relname from pg_class where relnamespace = 'l1'::regnamespace and relkind in ('r', 'p') "
                "and not relispartition and relname <> 'visit_detector'"
            )
        ]
        found = {
            name: set(connection.execute(f"select tableoid, ctid::text, xmin::text from l1.{name}"))  # type: ignore[arg-type]
            for name in tables
        }
        # Of the ledger only the working figures of the last call may differ.
        found["visit_detector"] = set(
            connection.execute(
                "select visit, detector, attempt, content_sha256, n_sources, n_associated, n_new_objects, "
                "n_without_object, n_alerts, time_processed, withdrawn_at from l1.visit_detector"
            )
        )
        return found


def ztf_truth(folder: Path) -> dict[int, tuple[str, int]]:
    """ZTF's own object, and the exposure, of each candidate; read without l1db."""
    truth: dict[int, tuple[str, int]] = {}
    for path in sorted(folder.glob("*.avro")):
        with path.open("rb") as file:
            for packet in fastavro.reader(file):
                assert isinstance(packet, dict)
                for candidate in (packet["candidate"], *(packet["prv_candidates"] or ())):
                    candid = candidate.get("candid")
                    if candid is not None and (candid not in truth or candid == packet["candid"]):
                        truth[candid] = (packet["objectId"], candidate["pid"] // 10_000)
    return truth


@pytest.fixture(scope="module")
def ztf(shared_data: Path) -> Path:
    return shared_data / "alerts" / "ztf"


@pytest.fixture(scope="module")
def whole(ztf: Path, server: Any) -> Iterator[str]:
    """A database with all of ZTF's packets, for all tests here: nothing may change it."""
    dsn = server.clone("ztf")
    replay(dsn, ztf)
    yield dsn
    server.drop(dsn)


def test_ztf_objects_are_found_again_pair_by_pair(ztf: Path, whole: str) -> None:
    """A pair is of two exposures: where ZTF gave an object two candidates of one, either stands for the exposure."""
    truth, found = ztf_truth(ztf), objects(whole)
    assert set(found) == set(truth)

    wrong, common = 0, 0
    possible = {
        (name, *sorted((one, other)))
        for (_, (name, one)), (_, (its_name, other)) in combinations(truth.items(), 2)
        if name == its_name and one != other
    }
    for (a, (name, _)), (b, (its_name, _)) in combinations(truth.items(), 2):
        if found[a] is not None and found[a] == found[b]:
            wrong += name != its_name
            common += name == its_name
    recall = common / len(possible)
    print(f"\nZTF: {len(possible)} pairs, {common} found, {wrong} wrong, recall {recall:.4f}")
    assert len(possible) > 6000
    assert wrong == 0
    assert recall >= 0.999


def test_replay_again_changes_no_row(ztf: Path, whole: str) -> None:
    before = rows(whole)
    replay(whole, ztf)
    after = rows(whole)
    assert {name for name in before if before[name] != after[name]} == set()


def halved(folder: Path, target: Path) -> tuple[Path, Path]:
    """Two folders with every packet: one with every other previous candidate, the other with the rest."""
    halves = target / "even", target / "odd"
    for parity, half in enumerate(halves):
        half.mkdir()
        for path in sorted(folder.glob("*.avro")):
            with path.open("rb") as file:
                reader = fastavro.reader(file)
                packets: list[Any] = list(reader)
                schema: Any = reader.writer_schema
            for packet in packets:
                packet["prv_candidates"] = (packet["prv_candidates"] or [])[parity::2]
            with (half / path.name).open("wb") as file:
                fastavro.writer(file, schema, packets)
    return halves


def test_two_halves_in_either_order_give_the_objects_of_the_whole(
    ztf: Path, whole: str, fresh_database: Callable[..., str], tmp_path: Path
) -> None:
    """The sources of every object are spread over both halves, and half of them come after later ones."""
    even, odd = halved(ztf, tmp_path)
    forward, backward = (fresh_database(profile="ztf") for _ in range(2))
    replay(forward, even)
    assert len(objects(forward)) < 0.7 * len(objects(whole))
    replay(forward, odd)
    replay(backward, odd)
    replay(backward, even)
    # Of two candidates of one object and exposure the first to come in stands for it; which one is left open.
    truth = ztf_truth(ztf)
    seen = Counter(truth.values())
    twins = {source for source, key in truth.items() if seen[key] > 1}
    expected = {group - twins for group in partition(whole)} - {frozenset()}
    for dsn in (forward, backward):
        assert {group - twins for group in partition(dsn)} - {frozenset()} == expected


def test_a_rubin_packet_off_the_wire_goes_in(shared_data: Path, fresh_database: Callable[..., str]) -> None:
    pytest.importorskip("lsst.alert.packet", reason="the packet's schema is in the package lsst-alert-packet")
    dsn = fresh_database(profile="rubin")
    (path,) = (shared_data / "alerts" / "rubin").glob("*.avro")
    replay(dsn, path)
    before = rows(dsn)
    replay(dsn, path)
    assert rows(dsn) == before
    with psycopg.connect(dsn) as connection:
        stored = connection.execute(
            "select s.dia_source_id, s.dia_object_id is not null, s.no_object_reason, o.n_dia_sources "
            "from l1.dia_source s left join l1.dia_object o using (dia_object_id)"
        ).fetchall()
        alerts = connection.execute("select count(*) from l1.alert").fetchone()
    assert stored == [(int(path.stem), True, None, 1)]
    assert alerts == (1,)
