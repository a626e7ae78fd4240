"""The digest of a night: equal where two databases took in the same in the same order, and different where anything
else differs, in the parts that it concerns and no others.

The referee is the ingest itself: the same data go into two databases that made other ids, in other order of rows, at
another time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from command_line import l1db
from sky_fields import Exposure, calls_by_detector, field

from l1db import Client, DetectorData, Visit
from l1db import night as nights
from l1db.database import change_survey
from l1db.errors import DatabaseError, InputError
from l1db.maintain import maintain
from l1db.visit import Measured

DAY = date(2025, 11, 21)
NOON = 61000.0  # of DAY: the field's nights are in UTC, whose dates change at the survey's noon
Call = tuple[Visit, list[DetectorData]]
PARTS = ("inputs", "software", "rules", "ledger", "sources", "associations", "forced", "objects", "bands", "alerts")
RESULTS = set(PARTS[3:])


def exposures(n: int = 3, *, first: int = 1, mjd: float = NOON + 0.6, n_detectors: int = 4) -> list[Exposure]:
    """Visits of overlapping detectors, without ids, in a few columns; one source is there twice."""
    made = []
    for number in range(first, first + n):
        exposure = field(n_detectors=n_detectors, side=4).expose(number, mjd=mjd + number / 1000)
        detectors = []
        for detector in exposure.detectors:
            given = {name: np.asarray(values) for name, values in detector.sources.items()}
            seen = given.pop("dia_source_id") % 5 != number % 5  # the others are forced
            columns: dict[str, Any] = {name: values[seen] for name, values in given.items()}
            columns["psf_chi2"] = np.arange(seen.sum(), dtype=float)
            columns["reliability_version"] = np.array(["a\nb"] * seen.sum(), dtype=object)
            if detector.detector == 0:
                columns = {k: np.append(v, v[:1]) for k, v in columns.items()}
            detectors.append(replace(detector, sources=columns, software="isr 1.0"))
        made.append(Exposure(replace(exposure.visit, exposure_time=30.0), tuple(detectors)))
    return made


def whole(exposed: Sequence[Exposure]) -> list[Call]:
    return [(exposure.visit, list(exposure.detectors)) for exposure in exposed]


def shuffled(exposed: Sequence[Exposure]) -> list[Exposure]:
    """The same, the rows in another order."""
    rng = np.random.default_rng(7)

    def other(detector: DetectorData) -> DetectorData:
        order = rng.permutation(len(detector))
        return replace(detector, sources={k: np.asarray(v)[order] for k, v in detector.sources.items()})

    return [replace(exposure, detectors=tuple(map(other, exposure.detectors))) for exposure in exposed]


def changed(exposed: Sequence[Exposure], number: int, detector: int, **columns: float) -> list[Exposure]:
    """The same, with other values in one row of one detector, which no other detector sees."""

    def other(data: DetectorData) -> DetectorData:
        values = {k: np.array(v) for k, v in data.sources.items()}
        for name, value in columns.items():
            values[name][alone(data)] = value
        return replace(data, sources=values) if data.detector == detector else data

    return [replace(e, detectors=tuple(map(other, e.detectors))) if e.visit.visit == number else e for e in exposed]


def empty(data: DetectorData) -> DetectorData:
    """The same detector, with nothing found on it."""
    return replace(data, sources={name: np.asarray(values)[:0] for name, values in data.sources.items()})


def alone(data: DetectorData) -> int:
    """A row of the upper left detector, the farthest from the others."""
    return int(np.argmax(np.asarray(data.sources["ra"]) + np.asarray(data.sources["dec"])))


def take_in(dsn: str, calls: Sequence[Call], *, forced: bool = False, mode: Any = "new") -> None:
    with Client(dsn) as client:
        for visit, detectors in calls:
            if forced:
                detectors = [replace(d, measured=measured(client, d)) for d in detectors]
            client.ingest(visit, detectors, mode=mode)


def measured(client: Client, detector: DetectorData) -> Measured:
    """As if the images had been measured: fluxes that depend on the place only."""
    targets = client.forced_targets({detector.detector: np.asarray(detector.footprint)})[detector.detector]
    low, high = np.asarray(detector.footprint).min(axis=0), np.asarray(detector.footprint).max(axis=0)
    here = targets.is_target & (targets.ra > low[0]) & (targets.ra < high[0])
    here &= (targets.dec > low[1]) & (targets.dec < high[1])
    ra, dec = targets.ra[here], targets.dec[here]
    flux = 100 * (ra % 0.01)
    fluxes = {name: flux for name in ("psf_flux", "science_flux", "snap_diff_flux")}
    return Measured(
        forced={
            "dia_object_id": targets.dia_object_id[here], "ra": ra, "dec": dec, "x": ra, "y": dec,
            "is_on_image": np.ones(len(ra), dtype=bool), "psf_chi2": flux, "psf_ndata": np.full(len(ra), 9),
            "forced_flags": np.zeros(len(ra), dtype=int), **fluxes,
            **{f"{name}_err": np.full(len(ra), 5.0) for name in fluxes},
        },
        footprint=detector.footprint,
    )  # fmt: skip


def burn(dsn: str) -> None:
    """Have the next ids be others than in a new database."""
    with psycopg.connect(dsn) as connection:
        for sequence in ("dia_object_seq", "dia_source_seq", "alert_seq"):
            connection.execute(f"select nextval('l1.{sequence}') from generate_series(1, 1000)")


def parts(where: str | psycopg.Connection, asof: Any = None) -> dict[str, tuple[int, bytes]]:
    query = "select part, n, sha256 from l1_api.night_digest(%s, %s::timestamptz)"
    if isinstance(where, str):
        with psycopg.connect(where) as connection:
            return parts(connection, asof)
    return {part: (n, sha256) for part, n, sha256 in where.execute(query, (DAY, asof)).fetchall()}


def differ(one: Any, other: Any) -> set[str]:
    """The parts that differ; the two summaries must follow from them."""
    one, other = (where if isinstance(where, dict) else parts(where) for where in (one, other))
    assert tuple(one) == tuple(other) == (*PARTS, "results", "total")
    found = {part for part in PARTS if one[part] != other[part]}
    assert (one["results"] != other["results"]) == bool(found & RESULTS)
    assert (one["total"] != other["total"]) == bool(found)
    return found


@pytest.fixture
def two(fresh_database: Callable[..., str]) -> tuple[str, str]:
    """Two databases, the second with other ids to come."""
    one, other = fresh_database(), fresh_database()
    burn(other)
    return one, other


@pytest.fixture
def look(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def test_two_runs_in_the_same_order_are_equal_whatever_ids_times_and_order_of_rows(two: tuple[str, str]) -> None:
    exposed = exposures()
    take_in(two[0], whole(exposed), forced=True)
    take_in(two[1], whole(shuffled(exposed)), forced=True)
    ids = []
    for dsn in two:
        with psycopg.connect(dsn) as connection:
            rows = connection.execute(
                "select dia_source_id from l1.dia_source union select dia_object_id from l1.dia_object"
            )
            ids.append({row[0] for row in rows})
            reasons = connection.execute("select no_object_reason, count(*) from l1.dia_source group by 1").fetchall()
            assert dict(reasons)["duplicate_in_visit"] > 10
    assert not ids[0] & ids[1]
    found = parts(two[0])
    assert all(found[part][0] > 0 for part in PARTS), "every part has something to differ in"
    assert differ(*two) == set()


def test_given_ids_are_hashed_and_drawn_ones_are_not(two: tuple[str, str]) -> None:
    visit, detectors = whole(exposures(1))[0]
    n = len(detectors[1])
    for dsn, ids in zip(two, (np.arange(n) + 10, np.arange(n) + 11), strict=True):
        given = replace(detectors[1], sources={**detectors[1].sources, "dia_source_id": ids})
        take_in(dsn, [(visit, [detectors[0], given])])
    assert differ(*two) == {"inputs", "sources"}


def test_a_call_for_the_plane_and_a_call_for_each_detector_are_equal(two: tuple[str, str]) -> None:
    """Where detectors do not overlap: otherwise a detector may force what the next one sees."""
    apart = []
    for exposure in exposures(3):
        one, *_, last = exposure.detectors
        away = replace(
            last,
            sources={**last.sources, "ra": np.asarray(last.sources["ra"]) + 5},
            footprint=np.asarray(last.footprint) + np.array([5.0, 0.0]),
        )
        apart.append(replace(exposure, detectors=(one, away)))
    take_in(two[0], whole(apart), forced=True)
    take_in(two[1], calls_by_detector(shuffled(apart)), forced=True)
    assert differ(*two) == set()


def test_another_order_of_commits_shows_in_the_results_only(two: tuple[str, str]) -> None:
    exposed = exposures(2)
    take_in(two[0], calls_by_detector(exposed))
    take_in(two[1], [call for e in exposed for call in reversed(calls_by_detector([e]))])
    found = differ(*two)
    assert {"associations", "objects", "alerts"} <= found <= RESULTS - {"sources", "ledger", "forced"}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"psf_chi2": 77.0}, {"inputs", "sources"}),
        ({"psf_flux": 1234.0}, {"inputs", "sources", "bands"}),
    ],
)
def test_one_other_value_shows_where_it_matters(
    two: tuple[str, str], columns: dict[str, float], expected: set[str]
) -> None:
    exposed = exposures(2)
    for dsn, given in zip(two, (exposed, changed(exposed, 2, 3, **columns)), strict=True):
        take_in(dsn, whole(given))
    assert differ(*two) == expected
    old, new = (nights.digest(dsn, DAY) for dsn in two)
    found = nights.differing(old, new)
    assert {(p.part, p.visit, p.detector) for p in found} == {(part, 2, 3) for part in expected}
    assert [p.part for p in found] == [part for part in PARTS if part in expected]


def test_one_other_rule_shows_in_the_rules(two: tuple[str, str]) -> None:
    """And a version that changes none does not: nor do who made it, when and why."""
    with psycopg.connect(two[0], autocommit=True) as connection:
        change_survey(connection, {"forced_margin": 19.0}, "one way")
        change_survey(connection, {"forced_margin": 20.0}, "and back")
    for dsn in two:
        take_in(dsn, whole(exposures(2)))
    assert differ(*two) == set()
    with psycopg.connect(two[1]) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute("update l1.survey set image_cache_days = 29")
        assert differ(parts(two[0]), parts(connection)) == {"rules"}


def test_other_software_shows(two: tuple[str, str]) -> None:
    """That of the survey in the inputs too, since the hash of the content covers it; that of l1db by itself."""
    exposed = exposures(2)
    other = [
        replace(e, detectors=tuple(replace(d, software="isr 1.1") if d.detector == 2 else d for d in e.detectors))
        for e in exposed
    ]
    take_in(two[0], whole(exposed))
    take_in(two[1], whole(other))
    assert differ(*two) == {"inputs", "software"}
    with psycopg.connect(two[0]) as connection:
        before = parts(connection)
        connection.execute("comment on schema l1_api is 'l1db 0.9'")
        assert differ(before, parts(connection)) == {"software"}


def test_later_nights_and_the_days_work_change_nothing(database: str) -> None:
    take_in(database, whole(exposures(2)), forced=True)
    before = parts(database)
    take_in(database, whole(exposures(2, first=10, mjd=NOON + 1.6)), forced=True)
    assert differ(before, database) == set()
    assert maintain(database).n_objects > 0
    assert differ(before, database) == set()


def test_precovery_for_objects_of_later_nights_changes_nothing(database: str, look: psycopg.Connection) -> None:
    take_in(database, whole(exposures(2)), forced=True)
    before = parts(look)
    with look.transaction():
        look.execute("select l1_api.take_stamp()")
        look.execute(
            """
            insert into l1.dia_source (dia_source_id, visit, detector, dia_object_id, midpoint_mjd_tai, ra, dec, band,
                                       time_processed, is_forced, is_precovery, validity_start)
            select nextval('l1.dia_source_seq'), v.visit, 1, o.dia_object_id, v.midpoint_mjd_tai, o.ra, o.dec, v.band,
                   l1_api.stamp_in_force(), true, true, l1_api.stamp_in_force()
              from l1.visit v, l1.dia_object o
             where v.visit = 1
               and not exists (select from l1.dia_source s
                                where s.visit = 1 and s.detector = 1 and s.dia_object_id = o.dia_object_id)
            """
        )
        changed = look.execute(
            "update l1.dia_object set n_forced = n_forced + 1, validity_start = l1_api.stamp_in_force()"
            " where dia_object_id in (select dia_object_id from l1.dia_source where is_precovery)"
        )
    assert changed.rowcount > 10
    assert differ(before, parts(look)) == set()


def test_what_a_replacement_retires_is_among_the_objects(database: str, look: psycopg.Connection) -> None:
    exposed = exposures(1)
    take_in(database, whole(exposed))
    take_in(database, [(exposed[0].visit, [empty(exposed[0].detectors[0])])], mode="replace")
    rows = look.execute(
        "select detector, content from l1_api.night_rows(1, 'infinity', true)"
        " where part = 'objects' and name like '%end'"
    )
    retired = look.execute("select count(*) from l1.dia_object_history where retired_reason = 'orphaned'").fetchone()
    assert retired is not None
    assert retired > (0,)
    assert rows.fetchall() == [(0, 'retired_reason="orphaned"')] * retired[0]


def test_what_the_day_has_measured_does_not_show_in_the_next_night(two: tuple[str, str]) -> None:
    """Later versions carry it along."""
    for dsn in two:
        take_in(dsn, whole(exposures(2, first=10, mjd=NOON - 0.4)))
    maintain(two[0])
    for dsn in two:
        take_in(dsn, whole(exposures(2)))
    with psycopg.connect(two[0]) as connection:
        carried = connection.execute("select count(psf_flux_mad) from l1.dia_object_band where daily_ndata = 2")
        assert carried.fetchone() > (0,)
    assert differ(*two) == set()


def test_statistics_that_the_ingest_measures_all_count(two: tuple[str, str]) -> None:
    for dsn in two:
        with psycopg.connect(dsn, autocommit=True) as connection:
            change_survey(connection, {"statistics_at_ingest": "all"}, "test")
        take_in(dsn, whole(exposures(2)))
    assert differ(*two) == set()
    with psycopg.connect(two[1]) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute("update l1.dia_object_band set psf_flux_mad = 3")
        assert differ(parts(two[0]), parts(connection)) == {"bands"}


def test_a_replacement_made_later_counts_and_as_of_before_does_not(database: str, look: psycopg.Connection) -> None:
    exposed = exposures(2)
    take_in(database, whole(exposed), forced=True)
    before = parts(database)
    moment = look.execute("select max(stamp) from l1.stamp").fetchone()[0]  # type: ignore[index]
    take_in(database, whole(exposures(1, first=10, mjd=NOON + 1.6)))
    take_in(database, [(exposed[1].visit, [empty(exposed[1].detectors[0])])], mode="replace")
    freed = look.execute("select count(*) from l1.dia_source_history where closed_reason = 'revised'").fetchone()
    assert freed > (0,), "a source of before has its alert now"
    assert differ(before, database) >= {"inputs", "ledger", "sources", "alerts"}
    assert differ(before, parts(look, moment)) == set()


def test_a_replaced_attempt_leaves_the_rest_equal(two: tuple[str, str]) -> None:
    """What is live is the same as if the right data had come at once; what the wrong ones did is on record."""
    exposed = exposures(2)
    take_in(two[0], whole(exposed))
    take_in(two[1], whole([exposed[0], *changed(exposed[1:], 2, 3, psf_flux=5.0)]))
    take_in(two[1], [(exposed[1].visit, [exposed[1].detectors[3]])], mode="replace")
    assert differ(*two) - {"alerts"} == {"ledger", "objects", "bands"}


def test_retractions_count_alike(two: tuple[str, str]) -> None:
    """Of detections and of forced measurements, by a replacement and by a correction, whatever ids they have."""
    exposed = exposures(2)
    for dsn in two:
        with psycopg.connect(dsn, autocommit=True) as connection:
            change_survey(connection, {"alert_on": "all"}, "test")
            take_in(dsn, whole(exposed), forced=True)
            before = parts(connection)
            take_in(dsn, [(exposed[0].visit, [empty(exposed[0].detectors[2])])], forced=True, mode="replace")
            connection.execute("select l1_api.withdraw_detectors(2, array[1]::smallint[], 'test')")
            moment = connection.execute("select min(stamp) - interval '1 us' from l1.alert where kind = 'retraction'")
            assert differ(before, parts(connection, *moment.fetchone())) == set()  # type: ignore[misc]
            told = connection.execute(
                "select a.kind, count(*) > 3 from l1.alert r join l1.alert a using (dia_source_id)"
                " where r.kind = 'retraction' and a.kind <> 'retraction' group by 1 order by 1"
            ).fetchall()
            assert told == [("detection", True), ("forced", True)]
            (n,) = connection.execute(
                "select count(*) from l1_api.night_rows(1, 'infinity', true)"
                " where part = 'alerts' and content like '%kind=\"retraction\"%' and content like '%dia_object=%'"
            )
            assert n > (0,)
    assert differ(*two) == set()


def test_it_does_not_depend_on_the_sessions_settings(database: str, look: psycopg.Connection) -> None:
    take_in(database, whole(exposures(1)), forced=True)
    before = parts(look)
    for setting in ("extra_float_digits = -10", "datestyle = 'German, DMY'", "timezone = 'Asia/Kathmandu'",
                    "bytea_output = 'escape'", "work_mem = '64kB'", "search_path = pg_catalog", "enable_hashjoin = off",
                    "lc_numeric = 'C'"):  # fmt: skip
        look.execute(f"set {setting}")
    assert differ(before, parts(look)) == set()


def test_a_new_column_counts_once_it_has_a_value(database: str, look: psycopg.Connection) -> None:
    take_in(database, whole(exposures(2)), forced=True)
    before = parts(look)
    tables = {**PART_OF, "dia_source": {"sources", "forced"}}
    with look.transaction(force_rollback=True):
        look.execute("set local session_replication_role = replica")
        for table in tables:
            look.execute(f"alter table l1.{table} add column later real")
            if table in ("dia_source", "dia_object", "dia_object_band"):
                look.execute(f"alter table l1.{table}_history add column later real")
        assert differ(before, parts(look)) == set()
        for table, expected in tables.items():
            with look.transaction(force_rollback=True):
                look.execute(f"update l1.{table} set later = 1")
                assert differ(before, parts(look)) == expected, table


# Columns that the digest leaves out on purpose, and what changing them changes all the same.
LEFT_OUT = {
    "dia_source": {"time_withdrawn", "ss_object_reassoc_time_mjd_tai"},
    "dia_object": {
        "pm_ra", "pm_ra_err", "pm_dec", "pm_dec_err", "pm_ra_pm_dec_cov", "pm_chi2", "pm_ndata", "drift_ra",
        "drift_dec", "drift_err", "motion_is_due",
    },
    "dia_object_band": {
        "daily_ndata", "psf_flux_percentile05", "psf_flux_percentile25", "psf_flux_percentile50",
        "psf_flux_percentile75", "psf_flux_percentile95",
        "psf_flux_mad", "psf_flux_skew", "psf_flux_stetson_j", "psf_flux_linear_slope",
        "psf_flux_linear_intercept",
    },
    "alert": {"alert_id", "dia_object_version", "ss_object_version", "survey_version", "stamp", "xid"},
    "survey": {"created_at", "created_by", "reason", "database_id"},
    "visit": {"opened_at"},
    "visit_detector": {
        "footprint", "n_sources", "n_associated", "n_new_objects", "n_without_object", "n_alerts", "n_forced",
        "n_forced_queued", "image_trouble", "timings", "n_withdrawn",
    },
}  # fmt: skip
# What holds the rows together: another value makes them another's.
KEYS = {
    "dia_source": {"dia_source_id", "visit", "detector", "is_forced", "is_precovery", "validity_start",
                   "time_processed", "midpoint_mjd_tai"},
    "dia_object": {"dia_object_id", "validity_start"},
    "dia_object_band": {"dia_object_id", "band", "validity_start"},
    "alert": {"dia_source_id", "visit", "detector", "midpoint_mjd_tai"},
    "survey": {"survey_version"},
    "visit": {"visit", "day_obs", "midpoint_mjd_tai"},
    "visit_detector": {"visit", "detector", "survey_version", "withdrawn_at", "time_processed", "withdrawn_reason"},
}  # fmt: skip
OTHER = {
    "bigint": "coalesce({0}, 0) + 1000000", "smallint": "coalesce({0}, 0) + 2", "integer": "coalesce({0}, 0) + 2",
    "real": "coalesce({0}, 0) + 1", "double precision": "coalesce({0}, 0) + 1", "boolean": "{0} is not true",
    "text": "coalesce({0}, '') || 'x'", "text[]": "{0} || array['x']", "bytea": "sha256({0})",
    "timestamp with time zone": "coalesce({0}, '2001-01-01Z') + interval '1 s'", "uuid": "gen_random_uuid()",
    "jsonb": "'{{}}'", "xid8": "'3'", "geography(Polygon,4326)": "null",
}  # fmt: skip
# In which part a column of a table shows; those that name things show wherever they are named.
PART_OF = {
    "dia_source": {"sources"}, "dia_object": {"objects"}, "dia_object_band": {"bands"}, "alert": {"alerts"},
    "survey": {"rules"}, "visit": {"inputs"}, "visit_detector": {"ledger"},
}  # fmt: skip
NAMED = {"associations", "objects", "bands", "alerts"}
ELSEWHERE = {
    ("dia_source", "dia_object_id"): NAMED,
    **{("dia_source", name): {"associations"} for name in ("ss_object_id", "no_object_reason")},
    **{("dia_object", name): NAMED for name in ("ra", "dec", "first_dia_source_mjd_tai")},
    **{("visit_detector", name): {"inputs"} for name in ("content_sha256", "psf_fwhm", "zero_point", "flux_noise")},
    ("visit_detector", "software"): {"software"},
}


@pytest.mark.parametrize("table", LEFT_OUT)
def test_every_column_counts_or_is_left_out_on_purpose(database: str, look: psycopg.Connection, table: str) -> None:
    """A column that somebody adds is hashed, or this fails until it stands in the list above."""
    take_in(database, whole(exposures(1))[:1])
    before = parts(look)
    columns = look.execute(
        """select attname, format_type(atttypid, atttypmod) from pg_attribute
            where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum""",
        (f"l1.{table}",),
    ).fetchall()
    assert LEFT_OUT[table] | KEYS[table] <= {name for name, _ in columns}
    silent = set()
    for name, kind in columns:
        if name in KEYS[table]:
            continue
        with look.transaction(force_rollback=True):
            look.execute("set local session_replication_role = replica")
            for row in look.execute(
                "select conname from pg_constraint where conrelid = %s::regclass and contype = 'c'", (f"l1.{table}",)
            ).fetchall():
                look.execute(f'alter table l1.{table} drop constraint "{row[0]}"')
            other = "{0} + 1000000" if name == "dia_object_id" else OTHER[kind]
            look.execute(f"update l1.{table} set {name} = {other.format(name)}")
            if found := differ(before, parts(look)):
                assert found == ELSEWHERE.get((table, name), PART_OF[table]), name
            else:
                silent.add(name)
    assert silent == LEFT_OUT[table]


def test_an_object_is_named_by_its_first_source_for_ever(database: str, look: psycopg.Connection) -> None:
    exposed = exposures(2)
    take_in(database, whole(exposed)[1:])
    founded = look.execute(
        "select dia_object_id, detector, ra, dec from l1.dia_source where dia_object_id is not null"
    ).fetchall()
    assert len(founded) > 10
    take_in(database, whole(exposed)[:1])
    take_in(database, whole(changed(exposed, 2, 3, psf_flux=5.0))[1:], mode="replace")
    for dia_object_id, detector, ra, dec in founded:
        row = look.execute("select * from l1_api.first_source(%s)", (dia_object_id,)).fetchone()
        assert row is not None
        assert row[:2] == (2, detector)
        given = exposed[1].detectors[detector].sources
        order = np.lexsort([given["psf_flux"], given["dec"], given["ra"]])  # type: ignore[arg-type]
        rank, _, attempt = row[2].partition(" ")
        assert attempt == ("of attempt 1" if detector == 3 else "")
        at = order[int(rank) - 1]
        assert (np.asarray(given["ra"])[at], np.asarray(given["dec"])[at]) == (ra, dec)


def test_readers_may_ask(database: str, look: psycopg.Connection) -> None:
    take_in(database, whole(exposures(1)))
    before = parts(look)
    look.execute("set role l1_read")
    assert differ(before, parts(look)) == set()
    assert look.execute("select count(*) from l1_api.night_rows(1, 'infinity', true)").fetchone() > (50,)


def test_a_night_of_which_nothing_is_stored_is_an_error(database: str, look: psycopg.Connection) -> None:
    look.execute("insert into l1.visit (visit, band, midpoint_mjd_tai, day_obs) values (1, 'r', %s, %s)", (NOON, DAY))
    with pytest.raises(DatabaseError, match=r"nothing is stored of night 2025-11-21.*night_summary"):
        nights.digest(database, DAY)
    assert "nothing is stored of night 2025-11-21" in l1db("night", "digest", DAY, dsn=database).error


def test_a_digest_is_kept_in_a_file(database: str, tmp_path: Path) -> None:
    take_in(database, whole(exposures(1)))
    night = nights.digest(database, DAY)
    nights.save(night, tmp_path / "night")
    assert nights.load(tmp_path / "night") == night
    (tmp_path / "other").write_text("{}")
    for file in (tmp_path / "other", Path("/dev/null")):
        with pytest.raises(InputError, match="is no digest of a night"):
            nights.load(file)


def test_the_command_line_tells_what_differs(two: tuple[str, str], tmp_path: Path) -> None:
    exposed = exposures(2)
    take_in(two[0], whole(exposed))
    take_in(two[1], whole(changed(exposed, 2, 3, psf_chi2=77.0)))
    file = tmp_path / "night.json"
    printed = l1db("night", "digest", DAY, "--save", file, dsn=two[0])
    total = parts(two[0])["total"][1].hex()
    assert printed.code == 0
    assert total in printed.out
    assert total in l1db("night", "digest", DAY, "--json", dsn=two[0]).out

    for other in (file, two[0]):
        assert l1db("night", "diff", DAY, "--with", other, dsn=two[0]).code == 0
    by_file = l1db("night", "diff", DAY, "--with", file, dsn=two[1])
    by_database = l1db("night", "diff", DAY, "--with", two[0], dsn=two[1])
    for told in (by_file, by_database):
        assert told.code == 2
        assert "inputs in visit 2, detector 3\nsources in visit 2, detector 3\n" in told.out
    assert "two databases only" in by_file.err
    given = {k: np.asarray(v) for k, v in exposed[1].detectors[3].sources.items()}
    row = alone(exposed[1].detectors[3])
    rank = int((given["ra"] < given["ra"][row]).sum()) + 1
    assert f"sources: visit 2, detector 3, source {rank}: psf_chi2: {row} -> 77\n" in by_database.out
    assert "there is no such file" in l1db("night", "diff", DAY, "--with", "nowhere", dsn=two[1]).error
    assert "is of night 2025-11-21" in l1db("night", "diff", "2025-11-22", "--with", file, dsn=two[1]).error


def test_the_command_line_names_objects_by_their_first_source(two: tuple[str, str]) -> None:
    exposed = exposures(1)
    take_in(two[0], calls_by_detector(exposed))
    take_in(two[1], calls_by_detector(exposed)[::-1])
    told = l1db("night", "diff", DAY, "--with", two[0], "--rows", "1000", dsn=two[1])
    assert told.code == 2
    lines = [line for line in told.out.splitlines() if line.startswith("associations: ")]
    assert lines
    gained = [line for line in lines if "dia_object: none -> the object of visit 1, detector" in line]
    lost = [line for line in lines if "no_object_reason: none -> duplicate_in_visit" in line]
    assert len(gained) == len(lost) > 3
    assert any(line.startswith("objects: visit 1, detector 3, the object of visit 1, detector 3, source") and
               "none ->" in line for line in told.out.splitlines())  # fmt: skip


def test_a_withdrawal_and_its_undo_leave_one_night(database: str, look: psycopg.Connection) -> None:
    """Each source counts once; and what was so before, between and after them stays so.

    Seen red with the attempt that an undo made counted as there all along.
    """
    take_in(database, whole(exposures(1))[:1])
    kept = []
    for statement in (
        "select 1",
        "select l1_api.withdraw_sources(array(select min(dia_source_id) from l1.dia_source), 'a test')",
        "select l1_api.undo_correction(1, 'a test')",
        "select l1_api.withdraw_visit((select visit from l1.visit), 'a test')",
        "select l1_api.undo_correction(3, 'a test')",
    ):
        look.execute(statement)  # type: ignore[arg-type]
        (now,) = look.execute("select l1_api.safe_asof()").fetchone() or (None,)
        kept.append((now, parts(look, now)))
    for when, then in kept:
        assert parts(look, when) == then
    first, last = kept[0][1], kept[-1][1]
    assert first["inputs"] == last["inputs"]
    assert look.execute(
        "select count(*), count(distinct dia_source_id)"
        " from l1_api.source_names((select visit from l1.visit), 'infinity')"
    ).fetchone() == (first["sources"][0], first["sources"][0])


def test_it_does_not_matter_to_a_night_whether_motions_were_measured_before(fresh_database: Any) -> None:
    """An object of a year and more carries its motion along.  Seen red with motions among what is hashed."""
    digests = []
    for with_motion in (True, False):
        dsn = fresh_database()
        with Client(dsn) as client, psycopg.connect(dsn, autocommit=True) as connection:
            for number in range(13):
                sources = {"ra": [10.0], "dec": [-5 + 3e-6 * number], "ra_err": [1e-5], "dec_err": [1e-5],
                           "psf_flux": [900.0], "psf_flux_err": [30.0]}  # fmt: skip
                if number == 12 and with_motion:
                    maintain(dsn)
                    row = connection.execute("select pm_ndata from l1.dia_object").fetchone()
                    assert row == (12,)
                client.ingest(Visit(number, "r", 61_000.2 + 36 * number), [DetectorData(0, sources)])
            digests.append(
                connection.execute(
                    "select part, n, sha256 from l1_api.night_digest((select day_obs from l1.visit where visit = 12))"
                ).fetchall()
            )
    assert digests[0] == digests[1]
