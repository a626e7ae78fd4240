"""The statistics of whole light curves, from percentiles to the fit: against a referee, at ingest and by day."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from l1db import Client, DetectorData, Visit
from l1db.maintain import maintain
from tests.command_line import l1db
from tests.concurrency.gate import Gate, poll, stopping_at
from tests.sky_fields import field
from tests.version.continuity import breaks

NAMES = (
    "psf_flux_percentile05", "psf_flux_percentile25", "psf_flux_percentile50", "psf_flux_percentile75",
    "psf_flux_percentile95", "psf_flux_mad", "psf_flux_skew", "psf_flux_stetson_j", "psf_flux_linear_slope",
    "psf_flux_linear_intercept", "daily_ndata",
)  # fmt: skip
N_CURVES = 300
ROW = np.dtype([("object", "i8"), ("band", "U1"), ("mjd", "f8"), ("forced", "?"), ("flux", "f4"), ("err", "f4")])
Rows = NDArray[np.void]
Statistics = dict[str, float | None]

TURNED_BACK = """
    create or replace function l1_api.clock() returns timestamptz language sql volatile as
    $$ select clock_timestamp() - interval '1 hour' $$;
"""


def light_curves(rng: np.random.Generator) -> Rows:
    """One epoch, two, many; equal times; constant, bright and quiet, and negative fluxes; forced rows, some failed."""
    curves = []
    for number in range(1, N_CURVES + 1):
        n = int(rng.choice([1, 2, 3, 30]))
        rows = np.zeros(n, ROW)
        rows["object"] = number
        rows["band"] = rng.choice(["g", "r"], n)
        times = rng.random()
        rows["mjd"] = 61_000 + (
            17.25 if times < 0.15 else rng.integers(0, 5, n) if times < 0.4 else rng.uniform(0, 400, n)
        )
        rows["forced"] = (rng.random(n) < 0.3) & (np.arange(n) > 0)
        level, scatter = 10 ** rng.uniform(-1, 5), 10 ** rng.uniform(-2, 2)
        constant, variable = rng.random() < 0.1, rng.random() < 0.3
        spread = 0 if constant else scatter * (rng.exponential(9, n) if variable else rng.normal(size=n))
        rows["flux"] = level * rng.choice([-1, 1]) + spread
        rows["err"] = scatter * rng.uniform(0.5, 2, n)
        failed = rows["forced"] & (rng.random(n) < 0.2)
        rows["flux"][failed] = rows["err"][failed] = np.nan
        curves.append(rows)
    return np.concatenate(curves)


def stetson_j(flux: NDArray[np.float64], err: NDArray[np.float64]) -> float | None:
    """As LSST's plug-in words it: the change over the mean, whatever the mean's sign."""
    n = len(flux)
    if n < 2:
        return None
    factor = math.sqrt(n / (n - 1))
    mean = np.average(flux, weights=err**-2)
    for _ in range(20):
        chi = np.abs(factor * (flux - mean) / err)
        new = np.average(flux, weights=err**-2 / (1 + (chi / 2) ** 2))
        change, mean = abs(new - mean), new
        if change / mean < 1e-6 and change < 1e-6:
            break
    p = (factor * (flux - mean) / err) ** 2 - 1
    return float(np.mean(np.sign(p) * np.sqrt(np.abs(p))))


def linear_fit(
    mjd: NDArray[np.float64], flux: NDArray[np.float64], err: NDArray[np.float64]
) -> tuple[float, float] | tuple[None, None]:
    """Normal equations in absolute times, in fractions: nothing is rounded."""
    w = [1 / Fraction(float(e)) ** 2 for e in err]
    t, f = ([Fraction(float(v)) for v in values] for values in (mjd, flux))
    s, st, sf = sum(w), sum(map(lambda a, b: a * b, w, t)), sum(map(lambda a, b: a * b, w, f))
    stt = sum(a * b * b for a, b in zip(w, t, strict=True))
    stf = sum(a * b * c for a, b, c in zip(w, t, f, strict=True))
    if (determinant := s * stt - st * st) == 0:
        return None, None
    slope = (s * stf - st * sf) / determinant
    return float(slope), float((sf - slope * st) / s)


def referee(rows: Rows, include_forced: bool) -> Statistics:
    used = rows[(~rows["forced"] | include_forced) & ~np.isnan(rows["flux"])]
    flux, err = used["flux"].astype(float), used["err"].astype(float)
    found: Statistics = dict.fromkeys(NAMES)
    found["daily_ndata"] = len(flux)
    if len(flux) == 0:
        return found
    for q in (5, 25, 50, 75, 95):
        found[f"psf_flux_percentile{q:02d}"] = float(np.percentile(flux, q))
    found["psf_flux_mad"] = float(np.median(np.abs(flux - np.median(flux))))
    if flux.min() < flux.max():
        deviation = flux - flux.mean()
        found["psf_flux_skew"] = float((deviation**3).mean() / (deviation**2).mean() ** 1.5)
    found["psf_flux_stetson_j"] = stetson_j(flux, err)
    found["psf_flux_linear_slope"], found["psf_flux_linear_intercept"] = linear_fit(used["mjd"], flux, err)
    return found


def same(found: Statistics, expected: Statistics, key: object, scatter: float = 0) -> None:
    """Relative to 1e-5; what is a small difference of large numbers, relative to the scatter of the fluxes."""
    for name, value in expected.items():
        assert (found[name] is None) == (value is None), (key, name, found[name], value)
        if value is not None:
            noise = {"psf_flux_mad": 1e-6 * scatter, "psf_flux_skew": 1e-6, "psf_flux_stetson_j": 1e-6,
                     "psf_flux_linear_slope": 1e-9 * scatter, "psf_flux_linear_intercept": 1e-5 * scatter}  # fmt: skip
            assert found[name] == pytest.approx(value, rel=1e-5, abs=noise.get(name, 1e-10)), (key, name)


def store(connection: psycopg.Connection, rows: Rows) -> None:
    connection.execute("select l1_api.ensure_partitions(mjd::float8) from generate_series(61000, 61420, 10) as mjd")
    with connection.cursor() as cursor:
        cursor.executemany(
            """insert into l1.dia_source (dia_source_id, visit, detector, dia_object_id, midpoint_mjd_tai, ra, dec,
                                          band, is_forced, psf_flux, psf_flux_err, time_processed, validity_start)
               values (%s, %s, 0, %s, %s, 10, 5, %s, %s, %s, %s, now(), now())""",
            [
                (k + 1, k + 1, int(r["object"]), float(r["mjd"]), str(r["band"]), bool(r["forced"]),
                 *(None if np.isnan(r[name]) else float(r[name]) for name in ("flux", "err")))
                for k, r in enumerate(rows)
            ],
        )  # fmt: skip


def stored(connection: psycopg.Connection) -> dict[tuple[int, str], Statistics]:
    rows = connection.execute(f"select dia_object_id, band, {', '.join(NAMES)} from l1.dia_object_band").fetchall()
    return {(row[0], row[1]): dict(zip(NAMES, row[2:], strict=True)) for row in rows}


@pytest.mark.parametrize("include_forced", [True, False])
def test_statistics_are_those_of_the_referee(connection: psycopg.Connection, include_forced: bool) -> None:
    """By day, of objects whose bands the rows below say nothing of yet: also those of the ingest are filled in.

    Seen to fail with an intercept at another epoch, with Stetson's mean after one step or stopped otherwise than
    LSST's, with deviations about the mean for the median's, with forced rows always in, and, by a division by zero,
    without the guards for equal times and constant flux.
    """
    rows = light_curves(np.random.default_rng(4))
    store(connection, rows)
    if not include_forced:
        connection.execute("""select l1_api.change_survey('{"stats_include_forced": false}', 'test')""")
    connection.execute(
        """insert into l1.dia_object (dia_object_id, validity_start, ra, dec, n_dia_sources, n_forced,
                                      first_dia_source_mjd_tai, last_dia_source_mjd_tai, n_good_dia_sources,
                                      first_epoch_mjd_tai)
           select dia_object_id, '2020-01-01', 10, 5, 1, 0, min(midpoint_mjd_tai), max(midpoint_mjd_tai), 1,
                  min(midpoint_mjd_tai)
             from l1.dia_source group by dia_object_id"""
    )
    connection.execute(
        """insert into l1.dia_object_band (dia_object_id, band, validity_start, psf_flux_ndata)
           select distinct dia_object_id, band, '2020-01-01'::timestamptz, 999 from l1.dia_source"""
    )
    assert connection.execute("select l1_api.measure_by_day(100000)").fetchone() == (N_CURVES,)
    found = stored(connection)
    seen = 0
    for number in range(1, N_CURVES + 1):
        for band in ("g", "r"):
            curve = rows[(rows["object"] == number) & (rows["band"] == band)]
            expected = referee(curve, include_forced)
            if expected["daily_ndata"]:
                scatter = float(np.nanmax(curve["flux"]) - np.nanmin(curve["flux"]) + np.nanmax(curve["err"]))
                same(found.pop((number, band)), expected, (number, band), scatter)
                seen += 1
    assert not found, "bands without epochs are closed"
    assert seen > N_CURVES
    assert connection.execute(
        "select count(*) from l1.dia_object_band where psf_flux_ndata <> daily_ndata or psf_flux_mean is null"
    ).fetchone() == (0,)


@pytest.mark.parametrize(
    ("flux", "err", "expected"),
    [
        ([5.0], [1.0], None),
        ([5.0, None], [1.0, None], None),
        ([0.0, 0.0], [1.0, 1.0], -1.0),
        ([1.0, 3.0, 7.0], [1.0, None, 1.0], None),
    ],
)
def test_stetson_j_of_few_epochs(
    connection: psycopg.Connection, flux: list[float], err: list[float], expected: float | None
) -> None:
    """An epoch without an error does not count; a mean of zero is no division."""
    if expected is None and sum(e is not None for e in err) > 1:
        keep = [i for i, e in enumerate(err) if e is not None]
        expected = stetson_j(np.array(flux)[keep], np.array([err[i] for i in keep]))
    (found,) = connection.execute("select l1_api.stetson_j(%s::float8[], %s::float8[])", (flux, err)).fetchone() or ()
    assert found == pytest.approx(expected) if expected is not None else found is None


@pytest.mark.parametrize("value", [0.0, 1e-46, 1.17e-38, 3.39e38, 3.5e38, -1e300])
def test_no_number_is_too_large_or_small_to_be_stored(connection: psycopg.Connection, value: float) -> None:
    (found,) = connection.execute("select l1_api.as_real(%s::float8)", (value,)).fetchone() or ()
    assert found is None if abs(value) > 3.4e38 else found == pytest.approx(value, rel=1e-6, abs=1.2e-38)


def visit(number: int, mjd: float, flux: float, *, band: str = "r", n: int = 3) -> tuple[Visit, list[DetectorData]]:
    columns = {"ra": [10 + 0.01 * i for i in range(n)], "dec": [5.0] * n, "psf_flux": [flux + i for i in range(n)],
               "psf_flux_err": [9.0] * n}  # fmt: skip
    return Visit(number, band, mjd), [DetectorData(0, columns)]


def history(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    """All there is of bands and objects."""
    return [
        tuple(connection.execute(f"select t::text from l1.{table} t order by 1").fetchall())
        for table in ("dia_object", "dia_object_history", "dia_object_band", "dia_object_band_history")
    ]


def curves(connection: psycopg.Connection) -> dict[tuple[int, str], Statistics]:
    """What the referee says of all that is stored."""
    rows = connection.execute(
        "select dia_object_id, band, midpoint_mjd_tai, is_forced, psf_flux, psf_flux_err from l1.dia_source"
        " where dia_object_id is not null"
    ).fetchall()
    table = np.array([tuple(np.nan if v is None else v for v in row) for row in rows], ROW)
    keys = {(int(r["object"]), str(r["band"])) for r in table}
    return {
        key: referee(table[(table["object"] == key[0]) & (table["band"] == key[1])], include_forced=True)
        for key in keys
    }


def all_right(connection: psycopg.Connection) -> None:
    found, expected = stored(connection), curves(connection)
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        same(found[key], values, key, 10)
    assert breaks(connection) == []


def test_an_ingest_leaves_them_to_the_day_and_a_second_day_changes_nothing(database: str) -> None:
    with Client(database) as client, psycopg.connect(database, autocommit=True) as look:
        client.ingest(*visit(1, 61000.2, 900))
        assert all(value is None for row in stored(look).values() for value in row.values())
        assert maintain(database).n_objects == 3
        all_right(look)
        client.ingest(*visit(2, 61001.2, 950))
        assert {row["daily_ndata"] for row in stored(look).values()} == {1}
        objects = look.execute("select * from l1.dia_object order by 1").fetchall()
        assert maintain(database).n_objects == 3
        all_right(look)
        assert look.execute("select * from l1.dia_object order by 1").fetchall() == objects
        before = history(look)
        assert maintain(database).n_objects == 0
        assert history(look) == before


def test_with_all_an_ingest_measures_everything(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as look:
        look.execute("""select l1_api.change_survey('{"statistics_at_ingest": "all"}', 'test')""")
        with Client(database) as client:
            for number, (mjd, band) in enumerate([(61000.2, "r"), (61001.2, "g"), (61002.2, "r"), (61000.9, "r")]):
                client.ingest(*visit(1 + number, mjd, 900 + 31 * number**2, band=band))
                all_right(look)
            client.ingest(*visit(3, 61002.2, 500), mode="replace")
            all_right(look)
        before = history(look)
        assert maintain(database).n_objects == 0
        assert history(look) == before


def test_late_epochs_come_out_right(database: str) -> None:
    with Client(database) as client, psycopg.connect(database, autocommit=True) as look:
        for number, mjd in enumerate([61010.2, 61012.2, 61001.2, 61011.2]):
            client.ingest(*visit(1 + number, mjd, 900 + 17 * number**2))
            if number % 2:
                maintain(database)
                all_right(look)


@pytest.mark.parametrize("flux", [500.0, 900.0])
def test_a_replacement_with_as_many_epochs_is_due(database: str, flux: float) -> None:
    """Seen to fail, and to stay wrong for ever, where the count alone says what is due."""
    with Client(database) as client, psycopg.connect(database, autocommit=True) as look:
        for number in range(3):
            client.ingest(*visit(1 + number, 61000.2 + number, 900 + 10 * number))
        maintain(database)
        given, detectors = visit(2, 61001.2, flux)
        client.ingest(given, detectors, mode="replace")
        assert {row["daily_ndata"] for row in stored(look).values()} == {None}
        assert maintain(database).n_objects == 3
        all_right(look)


def test_a_replacement_at_other_times_is_due(database: str) -> None:
    """Epochs of an hour each: the fit changes, and nothing that an ingest measures.

    Seen to stay wrong where only a changed statistic makes a band due.
    """
    with Client(database) as client, psycopg.connect(database, autocommit=True) as look:

        def ingest(number: int, flux: float, late: float = 0, mode: Literal["new", "replace"] = "new") -> None:
            mjd = 61000.2 + number
            columns = {"ra": [10.0], "dec": [5.0], "psf_flux": [flux], "psf_flux_err": [9.0],
                       "midpoint_mjd_tai": [mjd + late]}  # fmt: skip
            client.ingest(Visit(number, "r", mjd, 3600), [DetectorData(0, columns)], mode=mode)

        for number, flux in enumerate([900, 960, 910, 900]):
            ingest(1 + number, flux)
        maintain(database)
        ingest(3, 910, late=0.015, mode="replace")
        assert maintain(database).n_objects == 1
        all_right(look)


def test_a_count_that_comes_back_to_the_daily_one_is_due(database: str) -> None:
    """Two epochs, measured; one more; then one of the first two is withdrawn: two again, but others."""
    with Client(database) as client, psycopg.connect(database, autocommit=True) as look:
        for number in range(2):
            client.ingest(*visit(1 + number, 61000.2 + number, 900 + 100 * number))
        maintain(database)
        client.ingest(*visit(3, 61003.2, 300))
        client.ingest(Visit(1, "r", 61000.2), [DetectorData(0, {"ra": [], "dec": [], "psf_flux": [],
                                                                "psf_flux_err": []})], mode="replace")  # fmt: skip
        assert maintain(database).n_objects == 3
        all_right(look)


def test_changed_rules_do_not_keep_it_going_for_ever(database: str) -> None:
    """The counts of the ingest are of older rules: they are measured anew, and the object is done with.

    One object was seen last at another time than the others.  Seen to fail with one window for all.
    """
    with Client(database) as client, psycopg.connect(database, autocommit=True) as look:
        for number in range(3):
            client.ingest(*visit(1 + number, 61000.2 + 30 * number, 900 + 10 * number))
        client.ingest(*visit(4, 61090.2, 900, n=1))
        look.execute("""select l1_api.change_survey('{"history_days": 40}', 'test')""")
        assert maintain(database).n_objects == 3
        assert [row["daily_ndata"] for row in stored(look).values()] == [2, 2, 2]
        assert maintain(database).n_objects == 0


def test_an_ingest_after_a_day_of_a_faster_clock(database: str) -> None:
    """Bands may be newer than their objects.  Seen refused with a stamp that is only later than the objects."""
    with Client(database) as client, psycopg.connect(database, autocommit=True) as look:
        client.ingest(*visit(1, 61000.2, 900))
        client.ingest(*visit(2, 61000.3, 900, band="g"))
        maintain(database)
        look.execute(TURNED_BACK)
        client.ingest(*visit(3, 61001.2, 950))
        maintain(database)
        client.ingest(*visit(2, 61000.3, 800, band="g"), mode="replace")
        maintain(database)
        all_right(look)


@pytest.mark.parametrize("first", ["ingest", "day"])
def test_an_ingest_and_the_day_at_once_lose_nothing(database: str, first: str) -> None:
    """Whoever comes second waits for the sky, and then sees what the other wrote.

    Seen to fail without the lock of the cells: then nobody waits.
    """
    with Client(database) as client:
        client.ingest(*visit(1, 61000.2, 900))
    with psycopg.connect(database, autocommit=True) as look, ThreadPoolExecutor(1) as pool, Gate(database) as gate:
        if first == "ingest":
            with Client(stopping_at(database, "measure")) as client:
                call = pool.submit(client.ingest, *visit(2, 61001.2, 950))
                gate.stopped()
                day = threading.Thread(target=maintain, args=(database,))
                day.start()
                gate.waiting(2)
                gate.open()
                call.result(20)
                day.join(20)
        else:
            with psycopg.connect(database) as day_session:
                day_session.execute("select l1_api.measure_by_day(1000)")
                with Client(database) as client:
                    call = pool.submit(client.ingest, *visit(2, 61001.2, 950))
                    gate.waits_for_sky_or_ends(call)  # type: ignore[arg-type]
                    assert not call.done()
                    day_session.commit()
                    call.result(20)
        assert look.execute("select distinct psf_flux_ndata from l1.dia_object_band").fetchall() == [(2,)]
        maintain(database)
        all_right(look)


def test_two_days_at_once_measure_each_object_once(database: str) -> None:
    with Client(database) as client:
        client.ingest(*visit(1, 61000.2, 900))
    with psycopg.connect(database, autocommit=True) as look, psycopg.connect(database) as one:
        one.execute("select l1_api.measure_by_day(1000)")
        other = threading.Thread(target=maintain, args=(database,))
        other.start()
        poll(
            lambda: look.execute("select 1 from pg_locks where classid = 19505 and not granted limit 1").fetchone(),
            "the second does not wait",
        )
        one.commit()
        other.join(20)
        all_right(look)
        assert look.execute("select count(*) from l1.dia_object_band_history").fetchone() == (3,)


def test_a_killed_day_is_taken_up_again(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("l1db.maintain.CHUNK", 1)
    with Client(database) as client, psycopg.connect(database, autocommit=True) as look:
        client.ingest(*visit(1, 61000.2, 900))

        def kill(stage: str, done: int, due: int) -> None:
            assert (stage, due) == ("maintain", 3)
            if done == 2:
                look.execute(
                    "select pg_terminate_backend(pid, 10000) from pg_stat_activity"
                    " where application_name = 'l1db maintain' and datname = current_database()"
                )

        with pytest.raises(psycopg.OperationalError):
            maintain(database, report=kill)
        assert sorted(row["daily_ndata"] is None for row in stored(look).values()) == [False, False, True]
        assert maintain(database).n_objects == 1
        all_right(look)


def test_in_a_whole_night_the_day_measures_all(database: str) -> None:
    """Objects over a field, in chunks, while further visits come in."""
    sky = field(side=4)
    exposures = [sky.expose(1), sky.expose(2, band="g"), sky.expose(3), sky.expose(4)]
    with Client(database) as client, psycopg.connect(database, autocommit=True) as look:
        for exposure in exposures[:3]:
            client.ingest(exposure.visit, exposure.detectors)
        day = threading.Thread(target=maintain, args=(database,))
        day.start()
        client.ingest(exposures[3].visit, exposures[3].detectors)
        day.join(60)
        maintain(database)
        assert breaks(look) == []
        found, expected = stored(look), curves(look)
        assert found.keys() == expected.keys()
        assert {key: row["daily_ndata"] for key, row in found.items()} == {
            key: row["daily_ndata"] for key, row in expected.items()
        }


def test_what_is_due_is_found_by_an_index(connection: psycopg.Connection) -> None:
    connection.execute(
        """insert into l1.dia_object_band (dia_object_id, band, validity_start, psf_flux_ndata, daily_ndata)
           select n, 'r', now(), 2, nullif(2, case when n % 1000 = 0 then 2 end) from generate_series(1, 20000) as n"""
    )
    connection.execute("analyze l1.dia_object_band")
    plan = connection.execute(
        """explain select distinct b.dia_object_id from l1.dia_object_band b
            where b.daily_ndata is distinct from b.psf_flux_ndata order by b.dia_object_id limit 1000"""
    ).fetchall()
    assert "dia_object_band_due_idx" in str(plan)


def test_one_chunk_per_transaction(database: str) -> None:
    with Client(database) as client:
        client.ingest(*visit(1, 61000.2, 900))
    with psycopg.connect(database) as connection:
        connection.execute("select l1_api.measure_by_day(1)")
        with pytest.raises(psycopg.Error, match="this transaction has measured already"):
            connection.execute("select l1_api.measure_by_day(1)")


def test_the_command(fresh_database: Callable[..., str]) -> None:
    dsn = fresh_database("rubin")
    told = l1db("maintain", dsn=dsn)
    assert (told.code, told.out) == (0, "no light curve was due; the next partitions are there\n")
    with Client(dsn) as client:
        client.ingest(*visit(1, 61000.2, 900, n=1))
    assert l1db("maintain", dsn=dsn).out == (
        "measured the light curves of 1 object; made partitions for the nights to come\n"
    )
    assert l1db("maintain", dsn=dsn).out == "no light curve was due; the next partitions are there\n"
    with psycopg.connect(dsn) as connection:
        assert connection.execute("select to_regclass('l1.dia_source_' || floor(lower)::int) is not null"
                                  " from l1_api.leaf_bounds(61030.2)").fetchone() == (True,)  # fmt: skip
