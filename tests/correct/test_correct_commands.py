"""Corrections from Python and the command line, by a member of l1_admin; and the records for stores downstream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from astropy.time import Time

import l1db
from l1db import Client, corrections
from tests.command_line import Outcome
from tests.command_line import l1db as command
from tests.correct.test_corrections import night, object_of, state
from tests.version.continuity import breaks


@pytest.fixture
def look(database: str) -> Iterator[psycopg.Connection]:
    with Client(database) as client:
        night(client)
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def as_admin(database: str) -> str:
    return f"{database} options='-c role=l1_admin'"


def test_an_admin_corrects_and_undoes_from_python(database: str, look: psycopg.Connection) -> None:
    before = state(look)
    dsn = as_admin(database)
    star = object_of(look, 1000)
    assert star is not None
    done = [
        corrections.withdraw_sources([2000], reason="a cosmic ray", operator="Ada", dsn=dsn),
        corrections.withdraw_detectors(4, [1], reason="a bad flat", dsn=dsn),
        corrections.withdraw_detectors(3, reason="clouds", dsn=dsn),
        corrections.move_sources([2010], None, reason="two stars", dsn=dsn),
    ]
    part = object_of(look, 2010)
    one = object_of(look, 1010)
    assert None not in (part, one)
    done.append(corrections.merge_objects([part or 0], one or 0, reason="one star", dsn=dsn))
    for correction in reversed(done):
        assert (
            corrections.undo(correction.correction_id, reason="all a test", dsn=dsn).undoes == correction.correction_id
        )
    assert state(look) == before
    assert breaks(look) == []
    listed = corrections.corrections(dsn)
    assert [(c.kind, c.reason) for c in listed[:3]] == [
        ("withdraw_sources", "a cosmic ray"), ("withdraw_detectors", "a bad flat"), ("withdraw_detectors", "clouds")
    ]  # fmt: skip
    assert (listed[0].operator, len(listed)) == ("Ada", 10)


def test_update_records_are_in_the_form_of_dax_apdb(database: str, look: psycopg.Connection) -> None:
    star, other = object_of(look, 2050), object_of(look, 1020)
    corrections.move_sources([2050], other, reason="one star", dsn=database)
    corrections.withdraw_sources([2000], reason="a cosmic ray", dsn=database)
    (stamp,) = look.execute("select min(stamp) from l1.correction").fetchone() or (None,)
    assert stamp is not None
    found = list(corrections.update_records(dsn=database))
    kinds = [record["update_payload"]["update_type"] for record in found]
    assert kinds == [
        "reassign_diasource_to_diaobject", "withdraw_diaforcedsource", "withdraw_diaforcedsource",
        "close_diaobject_validity", "update_n_dia_sources", "withdraw_diasource", "update_n_dia_sources",
    ]  # fmt: skip
    first, forced, _, closed, counted, withdrawn, _ = (record["update_payload"] for record in found)
    mjd = Time(stamp).tai.mjd
    assert (first["diaSourceId"], first["diaObjectId"], first["midpointMjdTai"]) == (2050, other, 61_000.02)
    assert (forced["diaObjectId"], forced["visit"], forced["detector"]) == (star, 3, 0)
    assert (closed["diaObjectId"], closed["nDiaSources"], closed["validityEndMjdTai"]) == (star, 0, mjd)
    assert (counted["diaObjectId"], counted["nDiaSources"]) == (other, 4)
    assert withdrawn["timeWithdrawnMjdTai"] > mjd
    assert [record["update_order"] for record in found] == [0, 1, 2, 3, 4, 0, 1]
    # 37 s between UTC and TAI, and the 8.2e-5 s with which astropy's unix_tai begins.
    seconds = found[0]["update_time_ns"] / 1e9 - stamp.timestamp()
    assert seconds == pytest.approx(37, abs=1e-3)
    assert list(corrections.update_records(stamp, dsn=database)) == found[5:]
    assert list(corrections.update_records(found[0]["update_time_ns"], dsn=database)) == found[5:]
    assert list(corrections.update_records(datetime.now(UTC) + timedelta(days=1), dsn=database)) == []


def test_the_command_line_corrects_lists_and_undoes(database: str, look: psycopg.Connection) -> None:
    def correct(*arguments: object) -> Outcome:
        return command("correct", *arguments, dsn=database)

    before = state(look)
    assert "--reason" in correct("withdraw-sources", 2000).error
    done = correct("withdraw-sources", 2000, "--reason", "a cosmic ray", "--operator", "Ada")
    assert done.out == "correction 1: 1 source changed, 1 object measured anew, 0 retired\n"
    assert correct("withdraw-sources", 2000, "--reason", "once more").error == (
        "l1db: not all of these are live DiaSources: 2000 was withdrawn (withdrawn). Nothing was changed."
    )
    assert "'x' is no DiaObject" in correct("move-sources", "x", 2010, "--reason", "why").error
    assert correct("move-sources", "new", 2010, "--reason", "why not").code == 0
    part = object_of(look, 2010)
    (line,) = correct("coincident", "--radius", 5, "--json").out.splitlines()
    pair = json.loads(line)
    assert (pair["dia_object_id"], pair["into_id"]) == (str(part), str(object_of(look, 1010)))
    merged = correct("merge-objects", pair["into_id"], pair["dia_object_id"], "--reason", "one star")
    assert merged.out == "correction 3: 1 source changed, 2 objects measured anew, 1 retired\n"
    assert "no DiaObjects within 5 arcsec" in correct("coincident", "--radius", 5).out
    assert correct("withdraw-visit", 4, "--reason", "clouds").code == 0
    assert correct("withdraw-detectors", 3, 1, "--reason", "a bad flat").code == 0
    listed = correct("list").out
    assert all(word in listed for word in ("withdraw_detectors", "a cosmic ray", "Ada", "merge_objects"))
    lines = [json.loads(line) for line in correct("updates").out.splitlines()]
    assert lines[0]["update_payload"]["diaSourceId"] == 2000
    assert "no time zone" in correct("updates", "--since", "2026-01-01").error
    for correction in (5, 4, 3, 2, 1):
        assert correct("undo", correction, "--reason", "a test").code == 0
    assert state(look) == before


def test_a_refused_correction_is_the_error_of_a_refusal(database: str, look: psycopg.Connection) -> None:
    with pytest.raises(l1db.RefusedError, match="1 is unknown"):
        corrections.withdraw_sources([1], reason="why", dsn=database)
