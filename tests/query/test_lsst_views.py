"""DiaObject and DiaForcedSource in LSST's columns."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg
import pytest

from l1db import Client, DetectorData, Visit
from l1db import database as l1db_database
from l1db.database import change_survey
from l1db.names import to_snake

# APDB 10.0.0; what it calls validityEndMjdTai is of former versions.
PER_BAND = (
    "psfFluxMean", "psfFluxMeanErr", "psfFluxSigma", "psfFluxNdata", "fpFluxMean", "fpFluxMeanErr", "scienceFluxMean",
    "scienceFluxMeanErr", "psfFluxMin", "psfFluxMax", "psfFluxMaxSlope", "psfFluxErrMean",
)  # fmt: skip
DIA_OBJECT = (
    "diaObjectId", "validityStartMjdTai", "ra", "raErr", "dec", "decErr", "ra_dec_Cov", "firstDiaSourceMjdTai",
    "lastDiaSourceMjdTai", "nDiaSources",
)  # fmt: skip
DIA_FORCED_SOURCE = (
    "diaForcedSourceId", "diaObjectId", "ra", "dec", "visit", "detector", "psfFlux", "psfFluxErr", "midpointMjdTai",
    "scienceFlux", "scienceFluxErr", "band", "timeProcessedMjdTai", "timeWithdrawnMjdTai",
)  # fmt: skip
VIEW = "l1_api.dia_object_wide"


def columns(connection: psycopg.Connection, view: str = VIEW) -> list[str]:
    return [c.name for c in connection.execute(f"select * from {view} limit 0").description or ()]


def ingest(dsn: str, number: int, band: str, *flux: float) -> None:
    n = len(flux)
    sources = {
        "ra": 10 + np.arange(n) / 100,
        "dec": np.zeros(n),
        "psf_flux": np.array(flux),
        "psf_flux_err": np.full(n, 5.0),
    }
    with Client(dsn) as client:
        client.ingest(Visit(number, band, 61_000 + number / 10, 30.0), [DetectorData(0, sources)])


def test_dia_object_wide_has_the_columns_of_lsst(connection: psycopg.Connection) -> None:
    found = set(columns(connection))
    assert {to_snake(name) for name in DIA_OBJECT} <= found
    assert {to_snake(f"{band}_{name}") for band in "ugrizy" for name in PER_BAND} <= found


def test_dia_object_wide_has_the_columns_of_its_tables(connection: psycopg.Connection) -> None:
    whole = columns(connection, "l1.dia_object")
    narrow = [c for c in columns(connection, "l1.dia_object_band") if c not in whole and c != "band"]
    assert columns(connection) == [*whole, *(f"{band}_{name}" for band in "ugrizy" for name in narrow)]


def test_dia_object_wide_has_one_row_per_object_and_each_value_in_its_band(database: str) -> None:
    ingest(database, 1, "r", 100.0, 200.0)
    ingest(database, 2, "g", 300.0)
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            f"""select r_psf_flux_mean, g_psf_flux_mean, r_psf_flux_ndata, g_psf_flux_ndata, u_psf_flux_ndata,
                       u_psf_flux_mean, n_dia_sources
                  from {VIEW} order by ra"""
        ).fetchall()
    assert rows == [(100, 300, 1, 1, 0, None, 2), (200, None, 1, 0, 0, None, 1)]


def test_dia_forced_source_has_the_columns_of_lsst(connection: psycopg.Connection) -> None:
    wanted = [to_snake(name) for name in DIA_FORCED_SOURCE]
    more = ["is_precovery", "forced_flags", "snap_diff_flux", "snap_diff_flux_err"]
    assert columns(connection, "l1_api.dia_forced_source") == wanted + more


def test_dia_forced_source_has_what_is_forced_and_nothing_else(connection: psycopg.Connection) -> None:
    connection.execute("select l1_api.ensure_partitions(61000.1)")
    connection.execute(
        """insert into l1.dia_source (dia_source_id, visit, detector, dia_object_id, midpoint_mjd_tai, ra, dec, band,
                                      psf_flux, psf_flux_err, science_flux, time_processed, validity_start, is_forced)
           select k, 1, 2, 3 + k, 61000.1, 4, 5, 'r', 6, 7, 8, now(), now(), k = 2 from generate_series(1, 2) as k"""
    )
    rows = connection.execute(
        "select dia_forced_source_id, dia_object_id, visit, detector, psf_flux, science_flux, is_precovery"
        " from l1_api.dia_forced_source"
    ).fetchall()
    assert rows == [(2, 5, 1, 2, 6, 8, False)]


# ------------------------------------------------------------------------------------------- the survey's bands


def test_it_follows_the_bands_of_the_survey_with_its_rights(database: str) -> None:
    """Seen red without the trigger of follow_bands."""
    ingest(database, 1, "r", 100.0)
    rights = "select relacl::text from pg_class where oid = 'l1_api.dia_object_wide'::regclass"
    with psycopg.connect(database, autocommit=True) as connection:
        before = connection.execute(rights).fetchone()
        change_survey(connection, {"bands": ["o", "r", 'L" ü', "R"]}, "other bands")
        assert [c for c in columns(connection) if c.endswith("_psf_flux_mean")] == [
            "o_psf_flux_mean", "r_psf_flux_mean", 'L" ü_psf_flux_mean', "R_psf_flux_mean"
        ]  # fmt: skip
        assert connection.execute(rights).fetchone() == before
        with connection.transaction():
            connection.execute("set local role l1_read")
            row = connection.execute(f'select r_psf_flux_mean, "R_psf_flux_mean" from {VIEW}').fetchone()
        assert row == (100, None)
        row = connection.execute("select obj_description('l1_api.dia_object_wide'::regclass)").fetchone()
        assert row is not None
        assert row[0]


def test_a_band_more_leaves_alone_what_others_built_on_it(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"create view public.mine as select * from {VIEW}")
        change_survey(connection, {"bands": [*"ugrizy", "w"]}, "one more")
        assert "w_psf_flux_mean" in columns(connection)
        with pytest.raises(psycopg.Error, match="views stand on dia_object_wide") as refused:
            change_survey(connection, {"bands": ["r"]}, "fewer")
        assert refused.value.sqlstate == "L1S06"
        assert connection.execute("select (l1_api.current_survey()).bands").fetchone() == ([*"ugrizyw"],)


def test_a_band_too_long_to_name_columns_is_refused(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        with pytest.raises(psycopg.Error, match="is too long to name columns") as refused:
            change_survey(connection, {"bands": ["r", "narrow" * 7]}, "long")
        assert refused.value.sqlstate == "L1S05"


def test_other_rules_do_not_touch_it(database: str) -> None:
    """A view that is made anew would wait for everybody who reads it."""
    oid = "select 'l1_api.dia_object_wide'::regclass::oid, xmin from pg_class where relname = 'dia_object_wide'"
    with psycopg.connect(database, autocommit=True) as connection:
        before = connection.execute(oid).fetchone()
        change_survey(connection, {"max_new_objects": 7}, "another rule")
        assert connection.execute(oid).fetchone() == before
        change_survey(connection, {"bands": ["r"]}, "other bands")
        assert connection.execute(oid).fetchone() != before


def test_it_has_the_bands_again_after_an_upgrade(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        change_survey(connection, {"bands": ["o", "c"]}, "ATLAS")
        before = columns(connection)
        connection.execute("comment on schema l1_api is 'l1db 0.0.1 sha256:0'")
    l1db_database.upgrade(database)
    with psycopg.connect(database) as connection:
        assert columns(connection) == before


# ------------------------------------------------------------------------------------------- plans

N_OBJECTS = 100_000

FILL = f"""
    insert into l1.dia_object
    select (public.q3c_ang2ipix(ra, dec) >> 36 << 36) | g, now(), ra, 2e-5, dec, 2e-5, null, 2, 0, 61000.1, 61040.1, 2,
           61000.1
      from (select g, 145 + 10 * random() as ra, -5 + 10 * random() as dec
              from generate_series(1, {N_OBJECTS}) as g) as place;
    insert into l1.dia_object_band (dia_object_id, band, validity_start, psf_flux_mean, psf_flux_ndata)
    select dia_object_id, band, now(), 1, 2 from l1.dia_object, unnest(array['g', 'r', 'i']) as band
     order by dia_object_id;
    analyze l1.dia_object, l1.dia_object_band;
"""


@pytest.fixture(scope="module")
def large_dsn(server: Any) -> Any:
    dsn = server.clone("seed")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("select setseed(0.5)")
        connection.execute(FILL)
    yield dsn
    server.drop(dsn)


@pytest.fixture
def plan(large_dsn: str) -> Any:
    """A function that explains a query in the large database, and says what tables are scanned and how."""
    with psycopg.connect(large_dsn) as connection:

        def explain(query: str) -> list[tuple[str, str]]:
            row = connection.execute("explain (format json) " + query).fetchone()  # type: ignore[arg-type]
            assert row is not None
            found: list[tuple[str, str]] = []

            def walk(node: dict[str, Any]) -> None:
                if "Relation Name" in node:
                    found.append((node["Relation Name"], node["Node Type"]))
                for inner in node.get("Plans", ()):
                    walk(inner)

            walk(row[0][0]["Plan"] if isinstance(row[0], list) else json.loads(row[0])[0]["Plan"])
            return found

        explain.connection = connection  # type: ignore[attr-defined]
        yield explain


Plan = Callable[[str], list[tuple[str, str]]]


@pytest.mark.parametrize(
    "query",
    [
        f"select * from {VIEW} where dia_object_id = 4711",
        f"select w.* from l1_api.cone_search(150, 0, 60) c join {VIEW} w using (dia_object_id)",
        f"select * from {VIEW} where public.q3c_join(150, 0, ra, dec, 0.01)",
        f"select * from {VIEW} where dia_object_id = any (array[4711, 4712])",
    ],
)
def test_no_table_is_read_whole_for_a_few_objects(query: str, plan: Plan) -> None:
    scans = plan(query)
    assert len([table for table, _ in scans if table == "dia_object_band"]) == 6
    assert not [scan for scan in scans if scan[1] == "Seq Scan"], scans


def test_no_band_is_read_that_is_not_asked_for(plan: Plan) -> None:
    bands = [t for t, _ in plan(f"select ra, r_psf_flux_mean, r_psf_flux_ndata from {VIEW} where dia_object_id = 4")]
    assert bands.count("dia_object_band") == 1
    assert plan(f"select ra, n_dia_sources from {VIEW} where dia_object_id = 4") == [("dia_object", "Index Scan")]


def test_a_cone_uses_the_indexes_with_more_bands_than_the_planner_joins_at_once(plan: Plan) -> None:
    connection: psycopg.Connection = plan.connection  # type: ignore[attr-defined]
    change_survey(connection, {"bands": [*"ugrizy", *(f"n{k}" for k in range(8))]}, "narrow bands")
    scans = plan(f"select * from {VIEW} where public.q3c_join(150, 0, ra, dec, 0.01)")
    assert len(scans) == 15
    assert not [scan for scan in scans if scan[1] == "Seq Scan"], scans
    connection.rollback()
