"""Retractions: whoever was told of a source is told that it was withdrawn, once, and in the transaction of that.

The night is that of the corrections: star n of visit v has id 1000 v + 10 n + detector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from l1db import Client, DetectorData
from l1db.database import change_survey
from l1db.invariants import check_deep
from tests.correct.test_corrections import WHY, call, night
from tests.measure.test_forced import measured, seen, visit

Row = tuple[Any, ...]


@pytest.fixture
def look(database: str) -> Iterator[psycopg.Connection]:
    """A session beside that night, which ends sound."""
    with Client(database) as client:
        night(client)
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection
    assert [(v.invariant.name, v.examples) for v in check_deep(database) if v.n_found] == []


def retractions(look: psycopg.Connection) -> list[Row]:
    """Source, visit, detector, and whether the alert shows a version of its object: that of its transaction."""
    return look.execute(
        "select dia_source_id, visit, detector, dia_object_version = stamp from l1.alert where kind = 'retraction'"
        " order by stamp, dia_source_id"
    ).fetchall()


def stamp(look: psycopg.Connection) -> list[Row]:
    return look.execute("select distinct stamp from l1.alert where kind = 'retraction'").fetchall()


def live(look: psycopg.Connection, *where: str) -> list[int]:
    conditions = " and ".join(("not is_forced", *where))
    rows = look.execute(f"select dia_source_id from l1.dia_source where {conditions} order by 1").fetchall()  # type: ignore[arg-type]
    return [i for (i,) in rows]


def test_a_withdrawn_source_is_retracted_in_the_same_transaction(look: psycopg.Connection) -> None:
    """Seen red without retract_alerts in apply_correction."""
    before = look.execute("select dia_object_id from l1.dia_source where dia_source_id = 2000").fetchall()
    correction = call(look, "withdraw_sources", [2000], WHY)
    assert retractions(look) == [(2000, 2, 0, True)]
    assert look.execute("select dia_object_id from l1.alert where kind = 'retraction'").fetchall() == before
    assert look.execute(
        "select a.stamp = c.stamp, a.midpoint_mjd_tai = h.midpoint_mjd_tai, h.validity_end = c.stamp"
        "  from l1.alert a, l1.correction c, l1.dia_source_history h"
        " where a.kind = 'retraction' and c.correction_id = %s and h.dia_source_id = 2000", (correction,)
    ).fetchall() == [(True, True, True)]  # fmt: skip


def test_of_a_retired_object_no_version_is_shown(look: psycopg.Connection) -> None:
    """Star 5 was seen once.  Its forced measurements had no alerts, and are not retracted."""
    assert look.execute("select n_forced > 0 from l1.dia_object o join l1.dia_source s using (dia_object_id)"
                        " where s.dia_source_id = 2050").fetchall() == [(True,)]  # fmt: skip
    call(look, "withdraw_sources", [2050], WHY)
    assert retractions(look) == [(2050, 2, 0, None)]


@pytest.mark.parametrize("whole", [True, False])
def test_a_withdrawn_detector_retracts_all_of_its_alerts(whole: bool, look: psycopg.Connection) -> None:
    alerts = {i for (i,) in look.execute("select dia_source_id from l1.alert where visit = 4")}
    gone = [i for i in live(look, "visit = 4", "true" if whole else "detector = 1") if i in alerts]
    if whole:
        call(look, "withdraw_visit", 4, WHY)
    else:
        call(look, "withdraw_detectors", 4, [1], WHY)
    assert [row[0] for row in retractions(look)] == gone
    assert len(gone) == (4 if whole else 1)


def test_a_night_counts_its_alerts_once(look: psycopg.Connection) -> None:
    """Those of its ingests, whatever was withdrawn and undone since.  Seen red: an undo makes another ledger row."""
    (n,) = (n for (n,) in look.execute("select count(*) from l1.alert"))
    for _ in range(2):
        call(look, "undo_correction", call(look, "withdraw_visit", 4, WHY), WHY)
    assert len(retractions(look)) == 4
    assert look.execute("select sum(n_alerts) from l1_api.night_summary").fetchone() == (n,)


def test_a_duplicate_that_never_had_an_alert_is_not_retracted(look: psycopg.Connection) -> None:
    (twin,) = live(look, "visit = 3", "dia_object_id is null")
    call(look, "withdraw_sources", [twin], WHY)
    assert retractions(look) == []


def test_a_move_is_no_retraction(look: psycopg.Connection) -> None:
    """To another object, into one, and back."""
    moved = call(look, "move_sources", [2000], None, WHY)
    call(look, "undo_correction", moved, WHY)
    two = look.execute(
        "select array_agg(dia_object_id order by dia_source_id) from l1.dia_source where dia_source_id in (1000, 4010)"
    ).fetchone()
    assert two is not None
    call(look, "move_sources", live(look, f"dia_object_id = {two[0][0]}", "visit = 1"), None, WHY)
    assert retractions(look) == []


def test_what_comes_back_and_is_withdrawn_again_is_retracted_once(look: psycopg.Connection) -> None:
    """And has its one alert of a detection.  Seen red with another retraction each time: it is refused."""
    for _ in range(2):
        correction = call(look, "withdraw_sources", [2000, 2050], WHY)
        call(look, "undo_correction", correction, WHY)
    call(look, "withdraw_sources", [2000], WHY)
    assert retractions(look) == [(2000, 2, 0, True), (2050, 2, 0, None)]
    assert len(stamp(look)) == 1
    assert look.execute("select count(*) from l1.alert where dia_source_id in (2000, 2050)").fetchone() == (4,)


def test_an_undone_detachment_withdraws_nothing(database: str, look: psycopg.Connection) -> None:
    """What the undo of a move takes from a new object goes back; the object ends, its source does not."""
    moved = call(look, "move_sources", [2000], None, WHY)
    call(look, "undo_correction", moved, WHY)
    assert look.execute("select count(*) from l1.dia_object_history where retired_reason = 'orphaned'").fetchone() == (
        1,
    )
    assert retractions(look) == []


def test_a_replacement_retracts_what_does_not_come_again(database: str, look: psycopg.Connection) -> None:
    """Star 0 comes again, with another flux and midpoint; star 2 is gone, star 6 is new.

    Seen red without retract_alerts in issue_alerts.
    """
    sources = seen(0, 6, dia_source_id=[3000, 3060], psf_flux=[1500.0, 700.0])
    sources["midpoint_mjd_tai"] = [visit(3).midpoint_mjd_tai + 1e-5] * 2
    with Client(database) as client:
        client.ingest(visit(3, band="g"), [DetectorData(0, sources)], mode="replace")
    told = [row[0] for row in retractions(look)]
    assert told == [i for i in (3020, 3090) if (i, "detection") in alerts(look)]
    assert 3020 in told
    assert sum(i == 3000 for i, _ in alerts(look)) == 1
    # Another midpoint than its alert's does not hide the alert.
    call(look, "withdraw_sources", [3000], WHY)
    assert 3000 in [row[0] for row in retractions(look)]


def alerts(look: psycopg.Connection) -> list[tuple[int, str]]:
    return look.execute("select dia_source_id, kind from l1.alert order by alert_id").fetchall()


def test_a_source_that_comes_again_without_object_is_not_retracted(fresh_database: Callable[..., str]) -> None:
    """It is there, for the database knows why it has no object."""
    dsn = fresh_database()
    with Client(dsn) as client, psycopg.connect(dsn, autocommit=True) as look:
        client.ingest(visit(1), [DetectorData(0, seen(0, 1, dia_source_id=[10, 11]))])
        change_survey(look, {"quality_gate": True, "gate_min_reliability": 0.5}, "gate")
        changed = seen(0, 5, dia_source_id=[10, 11], reliability=[0.9, 0.1])
        client.ingest(visit(1), [DetectorData(0, changed)], mode="replace")
        assert look.execute("select no_object_reason from l1.dia_source order by dia_source_id").fetchall() == [
            (None,),
            ("quality",),
        ]
        assert retractions(look) == []
    assert [v for v in check_deep(dsn) if v.n_found] == []


def test_ids_that_the_database_drew_are_retracted_with_the_data_they_were_of(
    fresh_database: Callable[..., str],
) -> None:
    """A replacement without ids brings other sources, as far as anybody can tell.

    So does it with forced measurements that are made again; those of a retired object end, those of other nights too.
    """
    dsn = fresh_database()
    with Client(dsn) as client, psycopg.connect(dsn, autocommit=True) as look:
        change_survey(look, {"alert_on": "all"}, "forced too")
        client.ingest(visit(1), [DetectorData(0, seen(0))])
        client.ingest(visit(2), [DetectorData(0, seen(1), measured=measured(client))])
        client.ingest(visit(40, midpoint_mjd_tai=61_050.0), [DetectorData(0, seen(2), measured=measured(client))])
        client.ingest(visit(50, midpoint_mjd_tai=60_950.0), [DetectorData(0, seen(1, 2), measured=measured(client))])
        kinds = [(2, "forced"), (40, "forced"), (40, "forced"), (50, "forced")]
        assert (
            look.execute("select visit, kind from l1.alert where kind <> 'detection' order by visit").fetchall()
            == kinds
        )

        # Star 0 is forced again in visit 2, star 2 for the first time; star 1 is replaced by itself.
        client.ingest(visit(2), [DetectorData(0, seen(1, psf_flux=[7.0]), measured=measured(client))], mode="replace")
        told = look.execute(
            "select r.visit, a.kind, r.dia_object_version = r.stamp"
            "  from l1.alert r join l1.alert a using (dia_source_id)"
            " where r.kind = 'retraction' and a.kind <> 'retraction' order by 2"
        ).fetchall()
        assert told == [(2, "detection", True), (2, "forced", True)]
        assert sum(kind == "forced" for _, kind in alerts(look)) == 6

        # Star 0 ends with its only detection, and with it what was forced there months before and after.
        before = len(retractions(look))
        client.ingest(visit(1), [DetectorData(0, seen(7))], mode="replace")
        assert sorted(row[1:] for row in retractions(look)[before:]) == [(number, 0, None) for number in (1, 2, 40, 50)]
    assert [(v.invariant.name, v.examples) for v in check_deep(dsn) if v.n_found] == []


def test_of_a_merge_only_what_is_measured_twice_is_retracted(fresh_database: Callable[..., str]) -> None:
    dsn = fresh_database()
    with Client(dsn) as client, psycopg.connect(dsn, autocommit=True) as look:
        change_survey(look, {"alert_on": "all"}, "forced too")
        client.ingest(visit(1), [DetectorData(0, seen(0, dia_source_id=[10]))])
        client.ingest(visit(2), [DetectorData(0, seen(0, dec=[-5 + 3 / 3600], dia_source_id=[20]))])
        client.ingest(visit(3), [DetectorData(0, measured=measured(client))])
        one, other = (
            i for (i,) in look.execute("select dia_object_id from l1.dia_source where not is_forced order by 1")
        )
        call(look, "merge_objects", [other], one, WHY)
        assert [row[1:] for row in retractions(look)] == [(3, 0, None)]
    assert [(v.invariant.name, v.examples) for v in check_deep(dsn) if v.n_found] == []


def test_listeners_are_told_of_a_retraction(look: psycopg.Connection) -> None:
    look.execute("listen l1_alert")
    look.execute("select l1_api.add_consumer('c', 'now')")
    call(look, "withdraw_sources", [2000], WHY)
    bells = list(look.notifies(timeout=5, stop_after=1))
    assert [bell.payload for bell in bells] == ['{"n": 1, "visit": "2", "detectors": [0]}']
    assert [(r[2], r[3]) for r in look.execute("select * from l1_api.next_alerts('c')")] == [("retraction", 2000)]
