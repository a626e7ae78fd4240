"""What the planner makes of the queries that matter, on tables too large to be read whole.

A hundred thousand objects with two epochs each: enough that a sequential scan is never the right way to a visit's few
thousand.  Statements inside the ingest are seen through ``auto_explain``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psycopg
import pytest

import l1db
from l1db.visit import DetectorData, Visit

N_OBJECTS = 100_000  # on 10 x 10 deg around (150, 0)
LARGE = 50_000

FILL = f"""
    select l1_api.ensure_partitions(mjd) from unnest(array[61000.1, 61040.1]) as mjd;

    create temp table truth as
    select (public.q3c_ang2ipix(ra, dec) >> 36 << 36) | g as id, ra, dec, 500 + g % 1000 as flux
      from (select g, 145 + 10 * random() as ra, -5 + 10 * random() as dec
              from generate_series(1, {N_OBJECTS}) as g) as place;
    select setval('l1.dia_object_seq', {N_OBJECTS});

    insert into l1.visit (visit, band, midpoint_mjd_tai, day_obs)
    values (1, 'r', 61000.1, '2025-11-20'), (2, 'r', 61040.1, '2025-12-30');

    insert into l1.dia_source (dia_source_id, visit, detector, dia_object_id, midpoint_mjd_tai, ra, ra_err, dec,
                               dec_err, psf_flux, psf_flux_err, band, time_processed, validity_start)
    select visit * 1000000000 + row_number() over (), visit, 0, id, mjd, ra, 3e-5, dec,
           3e-5, flux, 10, 'r', now(), now()
      from truth, (values (1, 61000.1), (2, 61040.1)) as epoch(visit, mjd)
     order by id;

    -- One in a hundred moves, by no more than it would scatter.
    insert into l1.dia_object
    select id, now(), ra, 2e-5, dec, 2e-5, null, 2, 0, 61000.1, 61040.1, 2, 61000.1, 61020.1, 61000.1, drift, 1, drift,
           1, 0, 1, 2, drift, drift, drift / 5, drift is not null
      from (select *, case when flux % 100 = 0 then 5 end as drift from truth) as t order by id;
    insert into l1.dia_object_history
    select now(), null, null, id, now() - interval '40 days', ra, 3e-5, dec, 3e-5, null, 1, 0, 61000.1, 61000.1,
           1, 61000.1
      from truth order by id;
    insert into l1.dia_object_band
    select id, 'r', now(), flux, 7, 1, 2, flux - 1, flux + 1 from truth order by id;
    insert into l1.dia_object_band_history
    select now(), id, 'r', now() - interval '40 days', flux, 10, null, 1, flux, flux from truth order by id;
    insert into l1.alert (kind, dia_source_id, midpoint_mjd_tai, visit, detector, dia_object_id, survey_version, stamp)
    select 'detection', dia_source_id, midpoint_mjd_tai, visit, detector, dia_object_id, 1, now() from l1.dia_source
     where visit = 2;
    analyze;
"""


@pytest.fixture(scope="module")
def large_dsn(server: Any) -> Iterator[str]:
    """The DSN of a database with many objects."""
    dsn = server.clone("seed")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("select setseed(0.5)")
        connection.execute("set synchronous_commit = off")
        connection.execute(FILL)
    yield dsn
    server.drop(dsn)


@pytest.fixture(scope="module")
def large(large_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(large_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def large_tables(large: psycopg.Connection) -> set[str]:
    rows = large.execute(
        "select relname from pg_class where relnamespace = 'l1'::regnamespace and relkind = 'r' and reltuples > %s",
        (LARGE,),
    ).fetchall()
    names = {name for (name,) in rows}
    assert len(names) == 7, names
    return names


def plan_of(connection: psycopg.Connection, query: str, *parameters: object) -> str:
    return "\n".join(line for (line,) in connection.execute("explain " + query, parameters).fetchall())  # type: ignore[arg-type]


def scans(plan: str, tables: set[str]) -> list[str]:
    """Tables read whole: by sequential scans, and by scans of an index from end to end."""
    found = re.findall(r"Seq Scan on (?:l1\.)?(\w+)", plan)
    for match in re.finditer(r"Index (?:Only )?Scan using \w+ on (?:l1\.)?(\w+).*\n +(.*)", plan):
        if not re.match(r"Index Cond:.*( = |q3c_ang2ipix|xid|dia_source_id >= )", match[2]):
            found.append(match[1])
    return [name for name in found if name in tables]


def test_a_cone_search_is_taken_apart(large: psycopg.Connection, large_tables: set[str]) -> None:
    """Seen red with cone_search STRICT, and with a SET clause: "Function Scan"."""
    plan = plan_of(large, "select * from l1_api.cone_search(150, 0, 60)")
    assert "Function Scan" not in plan
    assert "dia_object_q3c_idx" in plan
    assert not scans(plan, large_tables)


def test_a_cone_search_with_prepared_parameters_uses_the_index(
    large: psycopg.Connection, large_tables: set[str]
) -> None:
    large.execute("set plan_cache_mode = force_generic_plan")
    large.execute(
        "prepare cone(double precision, double precision, double precision) as "
        "select * from l1_api.cone_search($1, $2, $3)"
    )
    plan = plan_of(large, "execute cone(150, 0, 60)")
    large.execute("deallocate cone")
    large.execute("reset plan_cache_mode")
    assert "dia_object_q3c_idx" in plan
    assert not scans(plan, large_tables)


def test_a_cone_search_joins_other_tables_by_their_indexes(large: psycopg.Connection, large_tables: set[str]) -> None:
    plan = plan_of(
        large,
        """select c.dia_object_id, b.psf_flux_mean, s.psf_flux, v.validity_end
             from l1_api.cone_search(150, 0, 30) c
             join l1.dia_object_band b using (dia_object_id)
             join l1.dia_source s using (dia_object_id)
             left join l1.dia_object_history v using (dia_object_id)
            where b.band = 'r' and c.separation < 20""",
    )
    assert "Function Scan" not in plan
    assert "dia_object_q3c_idx" in plan
    assert not scans(plan, large_tables)


def test_cones_and_light_curves_of_a_list_of_positions(large: psycopg.Connection, large_tables: set[str]) -> None:
    plan = plan_of(
        large,
        """select given.n, c.dia_object_id, l.midpoint_mjd_tai
             from (values (1, 150.0, 0.0), (2, 151.0, 1.0)) as given(n, ra, dec)
            cross join lateral l1_api.cone_search(given.ra, given.dec, 5) c
            cross join lateral l1_api.light_curve(c.dia_object_id) l""",
    )
    assert "Function Scan" not in plan
    assert not scans(plan, large_tables)


def test_a_light_curve_is_taken_apart(large: psycopg.Connection, large_tables: set[str]) -> None:
    plan = plan_of(large, "select * from l1_api.light_curve(4711) where band = 'r'")
    assert "Function Scan" not in plan
    assert "dia_object_id_midpoint_mjd_tai" in plan
    assert not scans(plan, large_tables)


def test_a_light_curve_with_bounds_of_time_opens_only_its_leaves(large: psycopg.Connection) -> None:
    plan = plan_of(large, "select * from l1_api.light_curve(4711) where midpoint_mjd_tai between 61000 and 61001")
    assert len(set(re.findall(r"dia_source_\d+", plan.replace("_dia_object", " ")))) == 1, plan


def test_versions_of_an_object_come_by_index(large: psycopg.Connection, large_tables: set[str]) -> None:
    plan = plan_of(large, "select * from l1_api.dia_object_version where dia_object_id = 4711")
    assert not scans(plan, large_tables)


@pytest.mark.parametrize("time", ["now()", "timestamptz '2026-01-01'", "l1_api.safe_asof()"])
@pytest.mark.parametrize(
    ("query", "indexes"),
    [
        ("select * from l1_api.cone_search_asof(150, 0, 60, {t})",
         ["dia_object_q3c_idx", "dia_object_history_pkey"]),
        ("select * from l1_api.dia_object_asof({t}) where dia_object_id = 4711",
         ["dia_object_pkey", "dia_object_history_pkey"]),
        ("select * from l1_api.dia_object_band_asof({t}) where dia_object_id = 4711",
         ["dia_object_band_pkey", "dia_object_band_history_pkey"]),
        ("select * from l1_api.dia_source_asof({t}) where dia_source_id = 4711",
         ["dia_source_60990_dia_source_id_idx", "dia_source_61020_dia_source_id_idx"]),
        ("select a.* from l1_api.cone_search(150, 0, 30) c join l1_api.dia_object_asof({t}) a using (dia_object_id)",
         ["dia_object_q3c_idx", "dia_object_pkey", "dia_object_history_pkey"]),
    ],
)  # fmt: skip
def test_what_was_known_is_looked_up_by_indexes(
    time: str, query: str, indexes: list[str], large: psycopg.Connection, large_tables: set[str]
) -> None:
    plan = plan_of(large, query.format(t=time))
    assert "Function Scan" not in plan
    assert all(index in plan for index in indexes), plan
    assert not scans(plan, large_tables), plan


def test_new_alerts_are_found_without_reading_the_old(large: psycopg.Connection, large_tables: set[str]) -> None:
    plan = plan_of(
        large, "select * from l1_api.alerts_between(pg_current_snapshot(), pg_current_snapshot(), null, null, null)"
    )
    assert not scans(plan, large_tables)


# ------------------------------------------------------------------------------------------- inside the ingest


@pytest.fixture(scope="module")
def plans(large_dsn: str) -> Iterator[Callable[[], str]]:
    """A client whose every statement, nested ones too, is explained; call it for the plans since the last call."""
    said: list[str] = []
    with l1db.Client(large_dsn) as client:
        connection = client._connection
        for statement in (
            "load 'auto_explain'",
            "set auto_explain.log_min_duration = 0",
            "set auto_explain.log_nested_statements = on",
            "set auto_explain.log_level = notice",
        ):
            connection.execute(statement)  # type: ignore[arg-type]
        connection.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))

        def take() -> str:
            taken = "\n".join(said)
            said.clear()
            return taken

        take.client = client  # type: ignore[attr-defined]
        yield take


@pytest.fixture(scope="module")
def known(large: psycopg.Connection) -> np.ndarray:
    """Positions of 2 500 objects of one field."""
    rows = large.execute(
        """select ra, dec from l1.dia_object
            where public.q3c_radial_query(ra, dec, 150, 0, 1.5) order by dia_object_id limit 2500"""
    ).fetchall()
    return np.array(rows)


def detector(positions: np.ndarray, **more: object) -> DetectorData:
    n = len(positions)
    return DetectorData(
        0,
        {
            "ra": positions[:, 0],
            "dec": positions[:, 1],
            "ra_err": np.full(n, 3e-5),
            "dec_err": np.full(n, 3e-5),
            "psf_flux": np.full(n, 900.0),
            "psf_flux_err": np.full(n, 10.0),
            **more,  # type: ignore[dict-item]
        },
        footprint=[(148, -2), (152, -2), (152, 2), (148, 2)],
    )


def test_the_scan_detector_sees_scans(plans: Callable[[], str], large_tables: set[str]) -> None:
    """Guards those below."""
    client = plans.client  # type: ignore[attr-defined]
    client._connection.execute("select count(*) from l1.dia_source s where s.x > 3")
    client._connection.execute("do $$ begin perform from l1.dia_object_history where ra_err > 1; end $$")
    assert {*scans(plans(), large_tables)} == {"dia_source_60990", "dia_source_61020", "dia_object_history"}


def test_an_ingest_reads_no_large_table_whole(
    plans: Callable[[], str], known: np.ndarray, large_tables: set[str]
) -> None:
    """One source, then 5 000, then one, on one connection; then the same in the modes that touch what is stored.

    Seen red without dia_object_q3c_idx (association), and without the setting of seq_page_cost (measure, version).
    """
    client: l1db.Client = plans.client  # type: ignore[attr-defined]
    rng = np.random.default_rng(7)
    fresh = np.column_stack([rng.uniform(149, 151, 2500), rng.uniform(-1, 1, 2500)])
    many = np.vstack([known, fresh])
    plans()
    troubles = []
    for what, number, data, mode in (
        ("one known source", 11, detector(known[:1]), "new"),
        ("5 000 sources", 12, detector(many), "new"),
        ("one source after 5 000", 13, detector(known[1:2]), "new"),
        ("5 000 sources again", 14, detector(many, dia_source_id=np.arange(1, 5001)), "new"),
        ("the same again", 14, detector(many, dia_source_id=np.arange(1, 5001)), "new"),
        ("a supplement", 14, detector(known[:1] + 1, dia_source_id=[9001]), "supplement"),
        ("a replacement", 14, detector(many[:-1], dia_source_id=np.arange(1, 5000)), "replace"),
        ("a replacement of one source", 13, detector(known[2:3]), "replace"),
    ):
        result = client.ingest(Visit(number, "r", 61041.0 + number / 100), [data], mode=mode)  # type: ignore[arg-type]
        said = plans()
        assert said.count("Query Text:") > 20 or what == "the same again"
        assert "dia_object_mover_idx" in said or what == "the same again", "objects that move are looked for"
        assert result.detectors[0].status in ("stored", "unchanged", "supplemented", "replaced")
        for plan in said.split("Query Text:"):
            troubles += [f"{what}: scans {table}\n{plan}" for table in scans(plan, large_tables)]
    assert not troubles, "\n\n".join(troubles)
    assert client.ingest(Visit(15, "r", 61041.5), [detector(known)]).detectors[0].n_associated == len(known)
