"""A replacement withdraws a source; the same thing, seen by another detector of the visit, then counts in its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg
import pytest

from l1db import Client, DetectorData, IngestResult, Visit
from l1db.database import change_survey
from tests.concurrency.workers import ingest_at_once
from tests.ingest.fingerprint import fingerprint
from tests.sky_fields import calls_by_detector, duplicates, errors_against_truth, field, partition
from tests.version.continuity import breaks

VISIT = Visit(7, "r", 61_000.1, exposure_time=30.0)
ARCSEC = 1 / 3600


def seen(ids: list[int], at: list[float], **columns: Any) -> dict[str, Any]:
    """Sources on a line northwards, ``at`` arcsec from its start."""
    n = len(ids)
    return {
        "dia_source_id": ids,
        "ra": np.full(n, 30.0),
        "dec": -5 + np.array(at) * ARCSEC,
        "ra_err": np.full(n, 0.1 * ARCSEC),
        "dec_err": np.full(n, 0.1 * ARCSEC),
        "psf_flux": np.full(n, 1000.0),
        "psf_flux_err": np.full(n, 50.0),
        **columns,
    }


@pytest.fixture
def look(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def source(look: psycopg.Connection, dia_source_id: int) -> tuple[Any, ...]:
    row = look.execute(
        "select dia_object_id, no_object_reason from l1.dia_source where dia_source_id = %s", (dia_source_id,)
    ).fetchone()
    assert row is not None
    return row


def ledger(look: psycopg.Connection, detector: int) -> tuple[int, ...]:
    row = look.execute(
        "select n_sources, n_associated, n_new_objects, n_without_object, n_alerts from l1.visit_detector"
        " where detector = %s and withdrawn_at is null",
        (detector,),
    ).fetchone()
    assert row is not None
    return row


def empty(client: Client, *detectors: DetectorData) -> IngestResult:
    """Replace detector 0 by one without sources, the others given as they are."""
    return client.ingest(VISIT, [DetectorData(0), *detectors], mode="replace")


def test_the_twin_of_a_withdrawn_founder_takes_its_object_over(database: str, look: psycopg.Connection) -> None:
    """Seen to fail without reopen_twins: the object was retired, and the twin stayed without."""
    with Client(database) as client:
        client.ingest(VISIT, [DetectorData(0, seen([1], [0]))])
        client.ingest(VISIT, [DetectorData(1, seen([11], [0.1]))])
        (founded, _), stored = source(look, 1), source(look, 11)
        assert stored == (None, "duplicate_in_visit")
        result = empty(client)
    assert [d.detector for d in result.detectors] == [0]
    assert source(look, 11) == (founded, None)
    assert ledger(look, 1) == (1, 1, 0, 0, 1)
    assert look.execute("select dia_source_id, kind from l1.alert order by 1, 2").fetchall() == [
        (1, "detection"),
        (1, "retraction"),
        (11, "detection"),
    ]
    assert look.execute("select dia_object_id, n_dia_sources, dec from l1.dia_object").fetchall() == [
        (founded, 1, pytest.approx(-5 + 0.1 * ARCSEC))
    ]
    former = look.execute(
        "select dia_source_id, dia_object_id, closed_reason from l1.dia_source_history order by 1"
    ).fetchall()
    assert former == [(1, founded, "replaced"), (11, None, "revised")]
    stamps = look.execute(
        "select validity_start from l1.dia_object union select validity_start from l1.dia_source"
        " union select validity_end from l1.dia_source_history"
        " union select stamp from l1.alert where dia_source_id = 11"
    ).fetchall()
    assert stamps == [(result.detectors[0].time_processed,)], "one stamp"
    assert breaks(look) == []


def test_the_twin_joins_the_older_object_that_the_withdrawn_had(database: str, look: psycopg.Connection) -> None:
    with Client(database) as client:
        client.ingest(Visit(6, "r", 61_000.0, 30.0), [DetectorData(0, seen([101], [0]))])
        client.ingest(VISIT, [DetectorData(0, seen([1], [0])), DetectorData(1, seen([11], [0.1]))])
        older, _ = source(look, 101)
        assert source(look, 1) == (older, None)
        empty(client)
    assert source(look, 11) == (older, None)
    assert look.execute("select n_dia_sources, dec from l1.dia_object").fetchall() == [
        (2, pytest.approx(-5 + 0.05 * ARCSEC))
    ]
    assert breaks(look) == []


def test_a_twin_whose_other_comes_again_is_left_as_it_is(database: str, look: psycopg.Connection) -> None:
    rows = "select md5(string_agg(s::text, '' order by s)) from l1.dia_source s where detector = 1"
    with Client(database) as client:
        client.ingest(VISIT, [DetectorData(0, seen([1], [0])), DetectorData(1, seen([11], [0.1]))])
        before = look.execute(rows).fetchone()
        again = [DetectorData(0, seen([2], [0.2])), DetectorData(1, seen([11], [0.1]))]
        result = client.ingest(VISIT, again, mode="replace")
    assert [(d.status, d.n_sources, d.n_without_object) for d in result.detectors] == [
        ("replaced", 1, 0),
        ("unchanged", 1, 1),
    ]
    assert look.execute(rows).fetchone() == before
    assert look.execute("select dia_source_id, closed_reason from l1.dia_source_history").fetchall() == [
        (1, "replaced")
    ]
    assert look.execute("select count(*) from l1.dia_object").fetchone() == (1,)


def test_a_twin_given_along_with_the_replacement_is_revised(database: str, look: psycopg.Connection) -> None:
    other = DetectorData(1, seen([11, 12], [0.1, 60]))
    with Client(database) as client:
        client.ingest(VISIT, [DetectorData(0, seen([1], [0])), other])
        result = empty(client, other)
        assert [(d.status, d.n_sources, d.n_associated, d.n_without_object, d.n_alerts) for d in result.detectors] == [
            ("replaced", 0, 0, 0, 0),
            ("revised", 0, 1, -1, 1),
        ]
        assert ledger(look, 1) == (2, 1, 1, 0, 2)
        before = fingerprint(look)
        assert client.ingest(VISIT, [DetectorData(0), other], mode="replace").detectors[1].status == "unchanged"
    assert fingerprint(look) == before


def test_the_twin_of_a_third_detector_stays_a_duplicate(database: str, look: psycopg.Connection) -> None:
    """Detector 0 saw one thing, detectors 1 and 2 another 1.5 arcsec away: near enough to be asked, not to be freed."""
    with Client(database) as client:
        client.ingest(VISIT, [DetectorData(0, seen([1], [0]))])
        client.ingest(VISIT, [DetectorData(1, seen([11], [1.5])), DetectorData(2, seen([21], [1.6]))])
        holder = source(look, 11)
        empty(client)
    assert (source(look, 11), source(look, 21)) == (holder, (None, "duplicate_in_visit"))
    assert look.execute("select dia_source_id from l1.dia_source_history").fetchall() == [(1,)]


def test_of_two_freed_twins_one_takes_the_place(database: str, look: psycopg.Connection) -> None:
    with Client(database) as client:
        client.ingest(VISIT, [DetectorData(0, seen([1], [0]))])
        client.ingest(VISIT, [DetectorData(1, seen([11], [0.1])), DetectorData(2, seen([21], [-0.1]))])
        empty(client)
    assert {source(look, 11)[1], source(look, 21)[1]} == {None, "duplicate_in_visit"}
    assert look.execute("select count(*), max(n_dia_sources) from l1.dia_object").fetchone() == (1, 1)


def test_a_freed_twin_of_poor_quality_may_match(database: str, look: psycopg.Connection) -> None:
    """It may found no object; but the one that the good source founded is still there to be matched."""
    change_survey(look, {"quality_gate": True, "gate_min_snr": 5.0}, "test")
    with Client(database) as client:
        client.ingest(VISIT, [DetectorData(0, seen([1], [0], snr=[20.0]))])
        client.ingest(VISIT, [DetectorData(1, seen([11], [0.1], snr=[3.0]))])
        client.ingest(VISIT, [DetectorData(0, seen([2], [60], snr=[20.0]))], mode="replace")
    assert source(look, 11)[1] is None
    assert breaks(look) == []


def test_a_released_detector_frees_twins_too(database: str, look: psycopg.Connection) -> None:
    """Detector 0 withdraws and stores again what it has; its source stays the one that counts."""
    with Client(database) as client:
        client.ingest(VISIT, [DetectorData(1, seen([11], [0]))])
        change_survey(look, {"max_new_objects": 0}, "test")
        data = DetectorData(0, seen([1, 2], [0.1, 60]))
        client.ingest(VISIT, [data])
        assert (source(look, 1)[1], source(look, 2)[1]) == ("duplicate_in_visit", "breaker")
        client.ingest(VISIT, [data], mode="release")
    assert (source(look, 1)[1], source(look, 2)[1], source(look, 11)[1]) == ("duplicate_in_visit", None, None)
    assert breaks(look) == []


@pytest.mark.parametrize("seed", range(3))
def test_detectors_emptied_one_by_one_leave_what_the_others_alone_would_have_found(
    seed: int, database: str, fresh_database: Any, look: psycopg.Connection
) -> None:
    """Stars in the overlaps lose one of their witnesses after the other."""
    exposures = [field(side=4).expose(v) for v in (1, 2, 3)]
    rng = np.random.default_rng(seed)
    with Client(database) as client:
        for exposure in exposures:
            client.ingest(exposure.visit, exposure.detectors)
        for detector in rng.permutation(4)[:3]:
            middle = exposures[1]
            client.ingest(middle.visit, [replace(middle.detectors[detector], sources={})], mode="replace")
            rest = tuple(replace(d, sources={}) if d.detector == detector else d for d in middle.detectors)
            exposures[1] = replace(middle, detectors=rest)
            left = [replace(e, detectors=tuple(d for d in e.detectors if len(d))) for e in exposures]
            wrong = [line for line in errors_against_truth(look, left) if "alerts" not in line]
            assert wrong == []
            unalerted = look.execute(
                "select count(*) from l1.dia_source s where dia_object_id is not null"
                " and not exists (select from l1.alert a where a.dia_source_id = s.dia_source_id)"
            ).fetchone()
            assert unalerted == (0,)
            assert breaks(look) == []

    other = fresh_database()
    with Client(other) as client, psycopg.connect(other, autocommit=True) as alone:
        for exposure in exposures:
            client.ingest(exposure.visit, exposure.detectors)
        assert partition(look) == partition(alone)
        assert duplicates(look) == duplicates(alone)


def test_replacements_of_overlapping_detectors_at_once_are_as_one_after_the_other(
    database: str, look: psycopg.Connection
) -> None:
    """Eight connections, each detector of a visit anew and many of them empty: no deadlock, one object per star."""
    sky = field(side=4, n_detectors=9)
    exposures = [sky.expose(v) for v in (2, 4)]
    better = [sky.expose(v, seed=90 + v) for v in (2, 4)]
    better = [
        replace(e, detectors=tuple(replace(d, sources={}) if d.detector % 3 == 0 else d for d in e.detectors))
        for e in better
    ]
    with Client(database) as client:
        for exposure in exposures:
            client.ingest(exposure.visit, exposure.detectors)
    ingest_at_once(database, calls_by_detector(better), seed=3, mode="replace")
    left = [replace(e, detectors=tuple(d for d in e.detectors if len(d))) for e in better]
    assert [line for line in errors_against_truth(look, left) if "alerts" not in line] == []
    assert breaks(look) == []


@pytest.mark.parametrize("order", ["one call", "first, then second", "second, then first"])
def test_a_thing_that_the_breaker_stops_on_one_detector_has_its_object_on_the_other(
    order: str, database: str, look: psycopg.Connection
) -> None:
    """Seen to fail with the breaker counting after twins were told apart: in one call nobody held the thing."""
    change_survey(look, {"max_new_objects": 2}, "test")
    many, one = DetectorData(0, seen([1, 2, 3], [0, 60, 120])), DetectorData(1, seen([11], [0.1]))
    calls = {"one call": [[many, one]], "first, then second": [[many], [one]], "second, then first": [[one], [many]]}
    with Client(database) as client:
        for call in calls[order]:
            client.ingest(VISIT, call)
    assert source(look, 11)[1] is None
    assert [source(look, i)[1] for i in (2, 3)] == ["breaker", "breaker"]
    assert source(look, 1)[1] in ("breaker", "duplicate_in_visit")
    assert look.execute("select count(*) from l1.dia_object").fetchone() == (1,)
    with Client(database) as client:
        client.ingest(VISIT, [many], mode="release")
    assert [source(look, i)[1] for i in (1, 2, 3)] == ["duplicate_in_visit", None, None]
    assert look.execute("select count(*) from l1.dia_object").fetchone() == (3,)
