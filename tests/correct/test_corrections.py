"""Corrections: what they change, that nothing is forgotten, and that they can be undone.

The measure of a correction is the database that never had what it corrects: `state` is everything of it but ids that
l1db draws and times of the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psycopg
import pytest

from l1db import Client, DetectorData
from l1db.invariants import check_deep
from tests.measure.test_forced import measured, seen, visit
from tests.version.continuity import breaks

FIRST_ID = 1000  # of the sources of visit 1; star n of visit v has id 1000 v + 10 n + detector
WHY = "a test"

_OBJECTS = """
    with name as (
        select distinct on (v.dia_object_id) v.dia_object_id, s.dia_source_id as name
          from l1_api.dia_object_version v
          join (select dia_source_id, dia_object_id, validity_start, midpoint_mjd_tai from l1.dia_source
                 where not is_forced
                union all
                select dia_source_id, dia_object_id, validity_start, midpoint_mjd_tai from l1.dia_source_history
                 where not is_forced) as s
            on s.dia_object_id = v.dia_object_id
         order by v.dia_object_id, s.validity_start, s.midpoint_mjd_tai, s.dia_source_id
    )
"""
_STATE = {
    "sources": """
        select s.visit, s.detector, s.is_forced, case when not s.is_forced then s.dia_source_id end, n.name,
               s.no_object_reason, s.psf_flux, case when not s.is_forced then s.ra end
          from l1.dia_source s left join name n using (dia_object_id)
         order by 1, 2, 3, 4, 5
    """,
    "objects": """
        select n.name, round(o.ra::numeric, 11), round(o.dec::numeric, 11), o.ra_err, o.n_dia_sources,
               o.n_forced, o.first_dia_source_mjd_tai,
               o.last_dia_source_mjd_tai, o.first_epoch_mjd_tai, o.n_good_dia_sources
          from l1.dia_object o join name n using (dia_object_id)
         order by 1
    """,
    "bands": """
        select n.name, to_jsonb(b) - 'dia_object_id' - 'validity_start' - 'daily_ndata'
          from l1.dia_object_band b join name n using (dia_object_id)
         order by 1, b.band
    """,
}


def state(look: psycopg.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """What the database holds now, with objects named by the first source that they ever had."""
    return {what: look.execute(_OBJECTS + query).fetchall() for what, query in _STATE.items()}  # type: ignore[arg-type]


def night(
    client: Client, *, without: Callable[[int, int, int], bool] = lambda v, d, s: False, images: bool = True
) -> None:
    """Four visits in two bands on two detectors that overlap; star 9 lies on both, star 5 was seen once.

    Sources are left out of it where ``without(visit, detector, star)``.  With images, what they do not see is forced.
    """
    for number, stars in ((1, [0, 1, 2, 9]), (2, [0, 1, 5, 9]), (3, [0, 2, 9]), (4, [1, 2, 9])):
        detectors = []
        for detector, here in ((0, stars), (1, [9, 40])):
            kept = [star for star in here if not without(number, detector, star)]
            sources = seen(
                *kept,
                dia_source_id=[FIRST_ID * number + 10 * star + detector for star in kept],
                psf_flux=[1000.0 + 10 * number + star for star in kept],
            )
            # A source is not where its star is: no two visits measure the same.
            sources["ra"] = sources["ra"] + 1e-5 * np.sin(number + np.array(kept, dtype=float))
            sources["dec"] = sources["dec"] + 1e-5 * np.cos(3 * number + detector)
            detectors.append(DetectorData(detector, sources))
        if images:
            detectors[0] = DetectorData(0, detectors[0].sources, measured=measured(client))
        client.ingest(visit(number, band="r" if number < 3 else "g"), detectors)


@pytest.fixture
def look(database: str) -> Iterator[psycopg.Connection]:
    with Client(database) as client:
        night(client)
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection
        assert breaks(connection) == []
    assert [(v.invariant.name, v.examples) for v in check_deep(database) if v.n_found] == []


@pytest.fixture
def never(fresh_database: Callable[..., str]) -> Callable[..., dict[str, list[tuple[Any, ...]]]]:
    """The state of a database that never had some sources."""

    def make(without: Callable[[int, int, int], bool]) -> dict[str, list[tuple[Any, ...]]]:
        dsn = fresh_database()
        with Client(dsn) as client:
            night(client, without=without)
        with psycopg.connect(dsn) as connection:
            return state(connection)

    return make


def object_of(look: psycopg.Connection, dia_source_id: int) -> int | None:
    row = look.execute("select dia_object_id from l1.dia_source where dia_source_id = %s", (dia_source_id,)).fetchone()
    assert row is not None
    return row[0]


def call(look: psycopg.Connection, function: str, *arguments: Any) -> int:
    placeholders = ", ".join(["%s"] * len(arguments))
    row = look.execute(f"select l1_api.{function}({placeholders})", arguments).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return int(row[0])


def records(look: psycopg.Connection, correction: int) -> list[tuple[Any, ...]]:
    return look.execute(
        "select update_type, dia_source_id, dia_object_id, n_dia_sources from l1.update_record"
        " where correction_id = %s order by update_order",
        (correction,),
    ).fetchall()


def undone(look: psycopg.Connection, correction: int, before: dict[str, list[tuple[Any, ...]]]) -> None:
    call(look, "undo_correction", correction, "it was wrong")
    assert state(look) == before


def test_a_withdrawn_source_is_as_if_it_had_never_been(look: psycopg.Connection, never: Any) -> None:
    before = state(look)
    correction = call(look, "withdraw_sources", [2000], WHY, "Ada")
    expected = never(lambda v, d, s: (v, d, s) == (2, 0, 0))
    found = state(look)
    # Visit 2 did not see star 0 now; but it was not forced there.
    forced = [row for row in expected["sources"] if row[0] == 2 and row[2] and row[4] == 1000]
    assert len(forced) == 1
    assert found["sources"] == [row for row in expected["sources"] if row not in forced]
    assert look.execute(
        "select closed_reason, validity_end = c.stamp from l1.dia_source_history h, l1.correction c"
        " where h.dia_source_id = 2000"
    ).fetchall() == [("withdrawn", True)]
    assert look.execute(
        "select kind, reason, operator, login = session_user, n_sources, n_objects, n_retired, given from l1.correction"
    ).fetchall() == [("withdraw_sources", WHY, "Ada", True, 1, 1, 0, {"dia_source_ids": ["2000"]})]
    assert records(look, correction) == [
        ("withdraw_diasource", 2000, None, None),
        ("update_n_dia_sources", None, object_of(look, 1000), 2),
    ]
    assert look.execute(
        "select detector, n_sources, n_withdrawn from l1.visit_detector where visit = 2 order by 1"
    ).fetchall() == [(0, 4, 1), (1, 2, 0)]
    assert look.execute(
        "select sum(n_sources), (select count(*) from l1.dia_source where not is_forced) from l1_api.night_summary"
    ).fetchone() == (21, 21), "the summary of the night counts what is live"
    undone(look, correction, before)
    assert look.execute("select sum(n_withdrawn) from l1.visit_detector").fetchone() == (0,)


@pytest.mark.parametrize("profile", ["seed", "rubin"])
def test_without_images_all_is_as_if_it_had_never_been(profile: str, fresh_database: Callable[..., str]) -> None:
    """Objects and statistics too; profile rubin has a window that moves back with the last source."""
    gone = {(2, 0, 0), (3, 0, 2), (4, 0, 2), (4, 0, 1)}
    states = []
    for leave_out in (True, False):
        dsn = fresh_database(profile)
        with Client(dsn) as client, psycopg.connect(dsn, autocommit=True) as look:
            night(client, without=lambda *s, left_out=gone if leave_out else (): s in left_out, images=False)
            if not leave_out:
                ids = [FIRST_ID * v + 10 * star + detector for v, detector, star in sorted(gone)]
                call(look, "withdraw_sources", ids, WHY)
            states.append(state(look))
            assert breaks(look) == []
    for what in ("sources", "bands", "objects"):
        assert [row[1:] for row in states[0][what]] == [row[1:] for row in states[1][what]], what


def test_a_duplicate_takes_the_place_of_what_is_withdrawn(look: psycopg.Connection) -> None:
    """Star 9 is seen by both detectors.  Seen red without free_twins."""
    before = state(look)
    (kept,) = [i for i in (2090, 2091) if object_of(look, i) is not None]
    twin = 2090 + 2091 - kept
    star = object_of(look, kept)
    correction = call(look, "withdraw_sources", [kept], WHY)
    assert object_of(look, twin) == star
    assert ("reassign_diasource_to_diaobject", twin, star, None) in records(look, correction)
    assert look.execute(
        "select count(*), count(*) filter (where dia_object_version = c.stamp and a.stamp = c.stamp)"
        " from l1.alert a, l1.correction c where dia_source_id = %s", (twin,)
    ).fetchone() == (1, 1)  # fmt: skip
    undone(look, correction, before)


def test_an_object_without_detections_is_retired_and_comes_back(look: psycopg.Connection) -> None:
    """Star 5 was seen once and forced twice since."""
    before = state(look)
    star = object_of(look, 2050)
    correction = call(look, "withdraw_sources", [2050], WHY)
    assert look.execute("select count(*) from l1.dia_object where dia_object_id = %s", (star,)).fetchone() == (0,)
    assert look.execute("select count(*) from l1.dia_source where dia_object_id = %s", (star,)).fetchone() == (0,)
    assert look.execute("select count(*) from l1.dia_object_band where dia_object_id = %s", (star,)).fetchone() == (0,)
    assert look.execute(
        "select retired_reason, redirect_to from l1.dia_object_history where dia_object_id = %s"
        " order by validity_start desc limit 1", (star,)
    ).fetchone() == ("orphaned", None)  # fmt: skip
    kinds = [record[0] for record in records(look, correction)]
    assert kinds == [
        "withdraw_diasource",
        "withdraw_diaforcedsource",
        "withdraw_diaforcedsource",
        "close_diaobject_validity",
    ]
    undone(look, correction, before)
    assert object_of(look, 2050) == star


@pytest.mark.parametrize("whole", [False, True])
def test_a_withdrawn_detector_is_as_if_it_had_never_come(whole: bool, look: psycopg.Connection, never: Any) -> None:
    before = state(look)
    correction = call(look, "withdraw_visit", 4, WHY) if whole else call(look, "withdraw_detectors", 4, [1], WHY)
    if whole:
        assert look.execute("select count(*) from l1.dia_source where visit = 4").fetchone() == (0,)
    else:
        assert look.execute("select count(*) from l1.dia_source where visit = 4 and detector = 1").fetchone() == (0,)
        assert state(look) == never(lambda v, d, s: (v, d) == (4, 1))
    assert look.execute(
        "select count(*), min(withdrawn_reason) from l1.visit_detector where visit = 4 and withdrawn_at is not null"
    ).fetchone() == (2 if whole else 1, "withdrawn")
    undone(look, correction, before)
    assert look.execute(
        "select detector, max(attempt), count(*) filter (where withdrawn_at is null) from l1.visit_detector"
        " where visit = 4 group by 1 order by 1"
    ).fetchall() == [(0, 2 if whole else 1, 1), (1, 2, 1)]


def test_a_withdrawn_visit_can_be_ingested_again(database: str, look: psycopg.Connection) -> None:
    call(look, "withdraw_visit", 4, WHY)
    with Client(database) as client:
        again = client.ingest(visit(4, band="g"), [DetectorData(1, seen(9, 40, dia_source_id=[4091, 4401]))])
    assert (again.detectors[0].status, again.detectors[0].attempt, again.n_sources) == ("stored", 2, 2)
    assert look.execute("select kind from l1.alert where dia_source_id = 4401 order by alert_id").fetchall() == [
        ("detection",),
        ("retraction",),
    ], "it had its alert"


def test_what_is_ingested_again_does_not_bring_back_what_was_withdrawn(database: str, look: psycopg.Connection) -> None:
    call(look, "withdraw_sources", [1000, 2000], WHY)
    before = state(look)
    with Client(database) as client:
        night(client)
    assert state(look) == before
    assert look.execute("select max(attempt) from l1.visit_detector").fetchone() == (1,)


def test_a_supplement_does_not_bring_back_what_was_withdrawn(database: str, look: psycopg.Connection) -> None:
    call(look, "withdraw_sources", [2000], WHY)
    with Client(database) as client:
        sources = seen(0, 7, dia_source_id=[2000, 2070])
        result = client.ingest(visit(2), [DetectorData(0, sources)], mode="supplement")
    assert result.n_sources == 1
    assert look.execute("select count(*) from l1.dia_source where dia_source_id = 2000").fetchone() == (0,)


def test_moving_back_undoes_a_move(look: psycopg.Connection) -> None:
    before = state(look)
    one, other = object_of(look, 1000), object_of(look, 1020)
    correction = call(look, "move_sources", [2000], other, WHY)
    assert object_of(look, 2000) == other
    assert records(look, correction) == [
        ("reassign_diasource_to_diaobject", 2000, other, None),
        *sorted([("update_n_dia_sources", None, one, 2), ("update_n_dia_sources", None, other, 4)], key=lambda r: r[2]),
    ]
    assert state(look) != before
    call(look, "move_sources", [2000], one, "back again")
    assert state(look) == before


def test_moving_all_sources_retires_an_object_and_moving_them_back_opens_it_again(look: psycopg.Connection) -> None:
    """With its forced measurements.  Seen red without bringing these back."""
    before = state(look)
    star, far = object_of(look, 2050), object_of(look, 1020)
    call(look, "move_sources", [2050], far, WHY)
    assert look.execute("select count(*) from l1.dia_object where dia_object_id = %s", (star,)).fetchone() == (0,)
    call(look, "move_sources", [2050], star, "back again")
    assert state(look) == before


def test_sources_may_become_an_object_of_their_own(look: psycopg.Connection) -> None:
    before = state(look)
    star = object_of(look, 1000)
    correction = call(look, "move_sources", [2000, 3000], None, WHY)
    new = object_of(look, 2000)
    assert new not in (None, star)
    assert look.execute(
        "select n_dia_sources, (q3c_ang2ipix(ra, dec) >> 36) = (dia_object_id >> 36) from l1.dia_object"
        " where dia_object_id = %s", (new,)
    ).fetchone() == (2, True)  # fmt: skip
    undone(look, correction, before)
    assert look.execute("select count(*) from l1.dia_object where dia_object_id = %s", (new,)).fetchone() == (0,)


@pytest.fixture
def split(look: psycopg.Connection) -> tuple[int, int]:
    """Star 0 as two objects, the later of which has its visits 2 and 3; and both forced in visit 4."""
    call(look, "move_sources", [2000, 3000], None, "as if it had been split")
    return object_of(look, 1000) or 0, object_of(look, 2000) or 0


def test_a_merged_object_is_one_and_its_id_leads_on(look: psycopg.Connection, split: tuple[int, int]) -> None:
    one, other = split
    before = state(look)
    correction = call(look, "merge_objects", [other], one, WHY)
    assert look.execute("select n_dia_sources from l1.dia_object where dia_object_id = %s", (one,)).fetchone() == (3,)
    assert look.execute("select l1_api.leads_to(%s), l1_api.leads_to(%s)", (one, other)).fetchone() == (one, one)
    curve = "select * from l1_api.light_curve(%s)"
    assert look.execute(curve, (other,)).fetchall() == look.execute(curve, (one,)).fetchall() != []
    cone = "select * from l1_api.cone_search(%s::bigint, 5)"
    assert look.execute(cone, (other,)).fetchall() == look.execute(cone, (one,)).fetchall() != []
    assert look.execute(
        "select retired_reason, redirect_to from l1.dia_object_history where dia_object_id = %s"
        " order by validity_start desc limit 1", (other,)
    ).fetchone() == ("merged", one)  # fmt: skip
    assert [r[0] for r in records(look, correction)] == [
        "reassign_diasource_to_diaobject", "reassign_diasource_to_diaobject", "close_diaobject_validity",
        "update_n_dia_sources",
    ]  # fmt: skip
    undone(look, correction, before)
    assert look.execute("select l1_api.leads_to(%s)", (other,)).fetchone() == (other,)


def test_redirects_lead_through_chains_of_merges(look: psycopg.Connection, split: tuple[int, int]) -> None:
    one, other = split
    call(look, "move_sources", [3000], None, "a third part")
    third = object_of(look, 3000)
    call(look, "merge_objects", [other], third, WHY)
    call(look, "merge_objects", [third], one, WHY)
    assert look.execute("select l1_api.leads_to(%s)", (other,)).fetchone() == (one,)


def test_two_sources_of_one_visit_on_two_detectors_become_one_when_their_objects_do(look: psycopg.Connection) -> None:
    """The one of the remaining object stays.  Its twin had an alert, and gets no second one by the undo."""
    (kept,) = [i for i in (2090, 2091) if object_of(look, i) is not None]
    twin = 2090 + 2091 - kept
    call(look, "move_sources", [twin], None, "as if it had been split")
    one, other = object_of(look, kept), object_of(look, twin)
    before = state(look)
    correction = call(look, "merge_objects", [other], one, WHY)
    assert look.execute(
        "select dia_object_id, no_object_reason from l1.dia_source where dia_source_id = %s", (twin,)
    ).fetchone() == (None, "duplicate_in_visit")
    assert ("withdraw_diasource", twin, None, None) in records(look, correction)
    undone(look, correction, before)
    assert look.execute("select count(*) from l1.alert where dia_source_id = %s", (twin,)).fetchone() == (1,)


def test_forced_measurements_of_merged_objects_are_not_counted_twice(
    database: str, look: psycopg.Connection, split: tuple[int, int]
) -> None:
    """Visit 5 forces both parts of star 0; visit 6 sees one and forces the other."""
    one, other = split
    with Client(database) as client:
        client.ingest(visit(5), [DetectorData(0, measured=measured(client))])
        sources = seen(0, dia_source_id=[6000])
        client.ingest(visit(6), [DetectorData(0, sources, measured=measured(client))])
    before = state(look)
    query = (
        "select visit, is_forced, dia_object_id from l1.dia_source"
        " where visit > 4 and dia_object_id = any(%s) order by 1"
    )
    assert len(look.execute(query, ([one, other],)).fetchall()) == 4
    correction = call(look, "merge_objects", [other], one, WHY)
    assert look.execute(query, ([one, other],)).fetchall() == [(5, True, one), (6, False, one)]
    undone(look, correction, before)


@pytest.mark.parametrize(
    ("statement", "code", "error"),
    [
        ("withdraw_sources(array[1], 'why')", "L1C02", "not all of these are live DiaSources: 1 is unknown"),
        ("withdraw_sources(array[2000], ' ')", "L1C01", "a correction needs a reason"),
        ("withdraw_sources(array[2000], null)", "L1C01", "a correction needs a reason"),
        ("withdraw_sources(array[]::bigint[], 'why')", "L1C02", "no DiaSources are given"),
        ("withdraw_sources(array[2000, null], 'why')", "L1C02", "one is NULL"),
        ("withdraw_detectors(4, array[0, 7]::smallint[], 'why')", "L1C02", "visit 4 has no stored detector 7"),
        ("withdraw_visit(77, 'why')", "L1C02", "visit 77 is unknown"),
        ("move_sources(array[2000], 1, 'why')", "L1C02", "DiaObject 1 is unknown"),
        ("move_sources(array[2000], {one}, 'why')", "L1C02", "belong to DiaObject {one} already"),
        ("move_sources(array[2000], {two}, 'why')", "L1C03", "2000 and 2010 of visit 2 in object {two}"),
        ("merge_objects(array[{one}], {one}, 'why')", "L1C02", "a merge needs DiaObjects that end"),
        ("merge_objects(array[1], {one}, 'why')", "L1C02", "1 is unknown"),
        ("merge_objects(array[{two}], {one}, 'why')", "L1C03", "not one thing"),
        ("undo_correction(7, 'why')", "L1C02", "correction 7 is unknown"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    statement: str, code: str, error: str, look: psycopg.Connection
) -> None:
    names = {"one": object_of(look, 1000), "two": object_of(look, 1010)}
    before = state(look)
    with pytest.raises(psycopg.Error, match=error.format(**names).replace("(", r"\(")) as raised:
        look.execute(f"select l1_api.{statement.format(**names)}")  # type: ignore[arg-type]
    assert raised.value.sqlstate == code
    assert state(look) == before
    assert look.execute("select count(*) from l1.correction").fetchone() == (0,)


def test_objects_seen_as_two_are_not_merged(look: psycopg.Connection, database: str) -> None:
    with Client(database) as client:
        near = seen(20, 20, dia_source_id=[5200, 5201])
        near["dec"][1] += 3 / 3600
        client.ingest(visit(5), [DetectorData(0, near)])
    one, two = object_of(look, 5200), object_of(look, 5201)
    with pytest.raises(psycopg.Error, match="were seen as two at once: visit 5, detector 0"):
        call(look, "merge_objects", [two], one, WHY)
    (row,) = look.execute(
        "select n_common_visits, n_seen_as_two, proposal from l1_api.coincident_objects(5)"
    ).fetchall()
    assert row == (1, 1, None)


def test_an_undo_is_refused_where_something_has_changed_since(look: psycopg.Connection) -> None:
    first = call(look, "move_sources", [2000], object_of(look, 1020), WHY)
    call(look, "withdraw_sources", [2000], WHY)
    with pytest.raises(psycopg.Error, match="cannot be undone any more"):
        call(look, "undo_correction", first, WHY)
    second = call(look, "withdraw_sources", [3090], WHY)
    undo = call(look, "undo_correction", second, WHY)
    with pytest.raises(psycopg.Error, match="has been undone"):
        call(look, "undo_correction", second, WHY)
    with pytest.raises(psycopg.Error, match="is an undo itself"):
        call(look, "undo_correction", undo, WHY)


def test_what_was_known_before_a_correction_stays_known(look: psycopg.Connection, split: tuple[int, int]) -> None:
    one, other = split
    (when,) = look.execute("select l1_api.safe_asof()").fetchone() or (None,)
    queries = [
        ("select * from l1_api.dia_object_asof(%s) order by 1", "object"),
        ("select * from l1_api.dia_object_band_asof(%s) order by 1, 2", "band"),
        ("select * from l1_api.dia_source_asof(%s) order by 1", "source"),
    ]
    before = [look.execute(query, (when,)).fetchall() for query, _ in queries]  # type: ignore[arg-type]
    call(look, "merge_objects", [other], one, WHY)
    call(look, "withdraw_visit", 3, WHY)
    call(look, "undo_correction", 3, WHY)
    call(look, "withdraw_sources", [1010], WHY)
    assert [look.execute(query, (when,)).fetchall() for query, _ in queries] == before  # type: ignore[arg-type]


def test_a_replacement_tells_downstream_what_it_withdrew(database: str, look: psycopg.Connection) -> None:
    """Star 5 of visit 2 does not come again: its object is closed, with its forced rows."""
    star = object_of(look, 2050)
    with Client(database) as client:
        client.ingest(visit(2), [DetectorData(0, seen(0, 1, dia_source_id=[2000, 2010]))], mode="replace")
    found = look.execute(
        "select update_type, dia_source_id, coalesce(dia_object_id, former_dia_object_id) from l1.update_record"
        " where correction_id is null order by update_order"
    ).fetchall()
    assert ("withdraw_diasource", 2050, star) in found
    assert ("close_diaobject_validity", None, star) in found
    assert not any(dia_source_id in (2000, 2010) for _, dia_source_id, _ in found)
    assert len([record for record in found if record[0] == "withdraw_diaforcedsource" and record[2] == star]) == 2


def test_a_duplicate_of_what_stays_does_not_take_another_place(database: str, look: psycopg.Connection) -> None:
    """Two stars 1.5 arcsec apart; the one that stays has a twin.  Seen red without a look at what stays."""
    star, other = -5.0, -5 + 1.5 / 3600
    with Client(database) as client:
        near = seen(30, 30, dia_source_id=[7000, 7010], dec=np.array([star, other]))
        twin = seen(30, dia_source_id=[7011], dec=np.array([other + 0.02 / 3600]))
        client.ingest(visit(7), [DetectorData(0, near), DetectorData(1, twin)])
    assert object_of(look, 7011) is None
    call(look, "withdraw_sources", [7000], WHY)
    assert object_of(look, 7011) is None
    assert look.execute("select count(*) from l1_api.cone_search(30.5, %s, 5)", (star,)).fetchone() == (1,)


def test_an_undo_does_not_bring_back_what_was_merged_since(look: psycopg.Connection, split: tuple[int, int]) -> None:
    """First the merge is undone, then what was before it.  Seen red: the merged object was current again."""
    one, other = split
    before = state(look)
    withdrawn = call(look, "withdraw_sources", [3000], WHY)
    merge = call(look, "merge_objects", [other], one, WHY)
    with pytest.raises(psycopg.Error, match=f"DiaObject {other} of DiaSource 3000 was retired since"):
        call(look, "undo_correction", withdrawn, WHY)
    call(look, "undo_correction", merge, WHY)
    call(look, "undo_correction", withdrawn, WHY)
    assert state(look) == before


def test_forced_measurements_are_not_moved_alone(look: psycopg.Connection) -> None:
    (forced, star) = look.execute(
        "select dia_source_id, dia_object_id from l1.dia_source where is_forced order by 1 limit 1"
    ).fetchone() or (0, 0)
    with pytest.raises(psycopg.Error, match="go with detections of their DiaObject"):
        call(look, "move_sources", [forced], object_of(look, 1010), WHY)
    assert object_of(look, forced) == star


def test_one_transaction_is_not_both_a_correction_and_an_ingest(database: str, look: psycopg.Connection) -> None:
    """The working tables still hold what the first left.  Seen red: the object had two detections and three counted."""
    with psycopg.connect(database) as session:
        call(session, "withdraw_sources", [2000], WHY)
        with pytest.raises(psycopg.Error, match="this transaction has written already"):
            session.execute("select * from l1_api.ingest(2, 'new')")
