"""Proper motions, measured by day: held against numpy, on simulated stars, and at the borders of the rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from l1db import Client, DetectorData, Visit
from l1db.maintain import maintain
from l1db.visit import Measured
from tests.command_line import l1db
from tests.concurrency.gate import Gate, stopping_at
from tests.version.continuity import breaks

FloatArray = NDArray[np.float64]

YEAR = 365.25
FIRST = 60_000.2
MAS = 1 / 3_600_000  # degrees
PLACES = {
    "a plain place": (52.3, -27.8),
    "0h": (0.0, 3.0),
    "0h from below": (359.9999999, -12.0),
    "the north pole": (0.0, 90.0),
    "beside the north pole": (123.0, 89.9999),
    "the south pole": (77.0, -90.0),
}


@dataclass(frozen=True)
class Track:
    """Detections of one star: degrees, MJD TAI; the errors in mas, with their correlation."""

    mjd: FloatArray
    ra: FloatArray
    dec: FloatArray
    ra_err: FloatArray
    dec_err: FloatArray
    correlation: FloatArray


def frame(ra: FloatArray | float, dec: FloatArray | float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Unit vectors to a place, and from there to the east and to the north, each of shape (..., 3)."""
    a, d = np.radians(ra), np.radians(dec)
    zero = np.zeros_like(a)
    return (
        np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1),
        np.stack([-np.sin(a), np.cos(a), zero], axis=-1),
        np.stack([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)], axis=-1),
    )


def observe(
    rng: np.random.Generator,
    place: tuple[float, float],
    pm: tuple[float, float],
    mjd: FloatArray,
    error: float = 50.0,
    spread: float = 0.5,
) -> Track:
    """A star that is at ``place`` in the middle of the times and moves by ``pm`` (mas/yr), seen with known errors."""
    n = len(mjd)
    ra_err, dec_err = error * np.exp(spread * rng.standard_normal((2, n)))
    correlation = rng.uniform(-0.8, 0.8, n) if spread else np.zeros(n)
    forward, east, north = frame(*place)
    years = (mjd - mjd.mean())[:, None] / YEAR
    path = forward + np.radians(MAS) * years * (pm[0] * east + pm[1] * north)
    path /= np.linalg.norm(path, axis=1)[:, None]
    ra, dec = from_vectors(path)
    _, own_east, own_north = frame(ra, dec)
    one, other = rng.standard_normal((2, n))
    off_east = ra_err * one
    off_north = dec_err * (correlation * one + np.sqrt(1 - correlation**2) * other)
    seen = path + np.radians(MAS) * (off_east[:, None] * own_east + off_north[:, None] * own_north)
    return Track(mjd, *from_vectors(seen), ra_err, dec_err, correlation)


def from_vectors(v: FloatArray) -> tuple[FloatArray, FloatArray]:
    ra = np.degrees(np.arctan2(v[:, 1], v[:, 0])) % 360
    return np.where(ra == 360, 0.0, ra), np.degrees(np.arctan2(v[:, 2], np.hypot(v[:, 0], v[:, 1])))


def referee(track: Track, place: tuple[float, float], *, errors: bool = True) -> tuple[FloatArray, FloatArray, float]:
    """Motion, its covariance (mas, yr) and chi squared, by numpy's least squares of whitened positions.

    Covariances go to space and from there to the plane about ``place``.
    """
    forward, east, north = frame(*place)
    axes = np.stack([east, north])
    seen, own_east, own_north = frame(track.ra, track.dec)
    at = seen @ axes.T / (seen @ forward)[:, None] / np.radians(MAS)
    years = (track.mjd - track.mjd.mean()) / YEAR
    rows, values = [], []
    for i, t in enumerate(years):
        # The database keeps errors in single precision.
        sigma = np.array([track.ra_err[i], track.dec_err[i]])
        covariance = np.outer(sigma, sigma) * np.array([[1, track.correlation[i]], [track.correlation[i], 1]])
        turn = axes @ np.stack([own_east[i], own_north[i]]).T
        whiten = np.linalg.inv(np.linalg.cholesky(turn @ covariance @ turn.T)) if errors else np.eye(2)
        rows.append(whiten @ np.hstack([np.eye(2), t * np.eye(2)]))
        values.append(whiten @ at[i])
    design, value = np.vstack(rows), np.concatenate(values)
    solution, *_ = np.linalg.lstsq(design, value, rcond=None)
    chi2 = float(((value - design @ solution) ** 2).sum())
    covariance = np.linalg.inv(design.T @ design)[2:, 2:]
    return solution[2:], covariance if errors else covariance * chi2 / (len(value) - 4), chi2


def store(
    connection: psycopg.Connection,
    tracks: dict[int, Track],
    places: dict[int, tuple[float, float]],
    *,
    errors: bool = True,
) -> None:
    """Objects at their places, each due, with these detections; and a forced row each, far off, that must not count."""
    rows = []
    for number, t in tracks.items():
        scale = MAS if errors else np.nan
        ra_err, dec_err = t.ra_err * scale, t.dec_err * scale
        columns = (t.mjd, t.ra, ra_err, t.dec, dec_err, t.correlation * ra_err * dec_err)
        rows += [(number, False, *map(float, row)) for row in zip(*columns, strict=True)]
        rows.append((number, True, float(t.mjd[-1]) - 300, 10.0, None, 10.0, None, None))
    for month in sorted({int(row[2] // 20) for row in rows}):
        connection.execute("select l1_api.ensure_partitions(%s::float8)", (20.0 * month,))
        connection.execute("select l1_api.ensure_partitions(%s::float8)", (20.0 * (month + 1),))
    connection.execute(
        "create temp table given (id bigint, is_forced boolean, mjd float8, ra float8, ra_err real, dec float8,"
        " dec_err real, cov real)"
    )
    with connection.cursor().copy("copy given from stdin") as copy:
        for row in rows:
            copy.write_row([None if value != value else value for value in row])
    connection.execute(
        """insert into l1.dia_source (dia_source_id, visit, detector, dia_object_id, midpoint_mjd_tai, ra, ra_err, dec,
                                      dec_err, ra_dec_cov, psf_flux, psf_flux_err, band, time_processed, is_forced,
                                      validity_start)
           select row_number() over (), row_number() over (), 0, id, mjd, ra, ra_err, dec,
                  dec_err, cov, 1, 1, 'r', now(), is_forced, now() from given"""
    )
    for number, (ra, dec) in places.items():
        connection.execute(
            """insert into l1.dia_object (dia_object_id, validity_start, ra, dec, n_dia_sources, n_forced,
                                          n_good_dia_sources, first_dia_source_mjd_tai, last_dia_source_mjd_tai,
                                          first_epoch_mjd_tai, radec_mjd_tai, earliest_mjd_tai, motion_is_due)
               select %s, now(), %s, %s, count(*), 0, 0, min(mjd), max(mjd), min(mjd), avg(mjd), min(mjd), true
                 from given where id = %s and not is_forced""",
            (number, ra, dec, number),
        )
    connection.execute("drop table given")


COLUMNS = "pm_ra, pm_dec, pm_ra_err, pm_dec_err, pm_ra_pm_dec_cov, pm_chi2, pm_ndata, drift_ra, drift_dec, drift_err"


def measured(connection: psycopg.Connection) -> dict[int, tuple[float, ...]]:
    connection.execute("select l1_api.measure_motions(100000)")
    return {row[0]: row[1:] for row in connection.execute(f"select dia_object_id, {COLUMNS} from l1.dia_object")}  # type: ignore[arg-type]


def epochs(rng: np.random.Generator, n: int, years: float = 2.0) -> FloatArray:
    return FIRST + np.sort(np.concatenate([[0, years * YEAR], rng.uniform(0, years * YEAR, n - 2)]))


@pytest.mark.parametrize("errors", [True, False], ids=["with errors", "without errors"])
@pytest.mark.parametrize("place", PLACES)
def test_the_fit_is_the_referees(connection: psycopg.Connection, place: str, errors: bool) -> None:
    """Errors of each detection of its own, correlated, and some twice the others.

    Seen red at the poles without the turn of the weights, and anywhere with ra_dec_cov left out.
    """
    rng = np.random.default_rng(8)
    tracks = {
        number: observe(rng, PLACES[place], (900.0 * np.cos(number), 500.0 * np.sin(number)), epochs(rng, 10 + number))
        for number in range(1, 25)
    }
    for number in range(20, 25):  # these hardly move
        tracks[number] = observe(rng, PLACES[place], (number - 20.0, 2.0), epochs(rng, 10 + number))
    store(connection, tracks, dict.fromkeys(tracks, PLACES[place]), errors=errors)
    n_followed = 0
    for number, (ra, dec, ra_err, dec_err, cov, chi2, n, drift_ra, drift_dec, drift_err) in measured(
        connection
    ).items():
        pm, covariance, expected_chi2 = referee(tracks[number], PLACES[place], errors=errors)
        sigma = np.sqrt(np.diag(covariance))
        np.testing.assert_allclose([ra, dec], pm, rtol=1e-5, atol=1e-3 * sigma.min())
        np.testing.assert_allclose([ra_err, dec_err], sigma, rtol=1e-5)
        assert cov == pytest.approx(covariance[0, 1], abs=1e-5 * sigma.prod())
        assert chi2 == (pytest.approx(expected_chi2, rel=1e-3) if errors else None)
        assert n == 10 + number
        unit = max(1, expected_chi2 / (2 * n - 4)) if errors else 1
        if pm @ np.linalg.inv(covariance) @ pm > 50 * unit:
            n_followed += 1
            assert (drift_ra, drift_dec) == (ra, dec)
            assert drift_err == pytest.approx(np.sqrt((sigma**2).mean() * unit), rel=1e-4)
        else:
            assert (drift_ra, drift_dec, drift_err) == (None, None, None)
    assert 15 <= n_followed <= 20, "both sides are seen"


def test_errors_of_the_motions_are_what_they_claim(connection: psycopg.Connection) -> None:
    """500 stars, 12 to 60 epochs in two to five seasons; and those at rest are not taken to move."""
    rng = np.random.default_rng(3)
    motion = {i: (rng.normal(0, 300), rng.normal(0, 300)) if i % 2 else (0.0, 0.0) for i in range(1, 501)}
    place = (200.0, 40.0)
    tracks = {
        i: observe(rng, place, pm, epochs(rng, int(rng.integers(12, 60)), rng.uniform(1.2, 5)), rng.uniform(30, 100))
        for i, pm in motion.items()
    }
    store(connection, tracks, dict.fromkeys(tracks, place))
    found = measured(connection)
    pulls = np.array([[(found[i][k] - pm[k]) / found[i][2 + k] for k in (0, 1)] for i, pm in motion.items()])
    assert 0.9 < pulls.std() < 1.1
    assert abs(pulls.mean()) < 4 / np.sqrt(pulls.size)
    chi2 = sum(row[5] for row in found.values())
    degrees_of_freedom = sum(2 * row[6] - 4 for row in found.values())
    assert chi2 / degrees_of_freedom == pytest.approx(1, abs=0.05)
    assert not [i for i in motion if i % 2 == 0 and found[i][7] is not None]
    assert sum(found[i][7] is not None for i in motion if i % 2) > 200


NIGHTS = {  # days after FIRST; noon is 0.3 d later
    "enough": ([0, 0.02, 1, 1.02, 2, 2.02, 3, 3.02, 4, 365.26], True),
    "nine epochs": ([0, 1, 1.02, 2, 2.02, 3, 3.02, 4, 365.26], False),
    "four nights": ([0, 0.02, 0.04, 1, 1.02, 1.04, 2, 2.02, 2.04, 365.26], False),
    "less than a year": ([0, 0.02, 1, 1.02, 2, 2.02, 3, 3.02, 4, 365.24], False),
    "a night goes on past midnight": ([-0.3, 0, 0.1, 1, 1.02, 1.04, 2, 2.02, 2.04, 365.26], False),
    "noon parts nights": ([0.2, 0.4, 2, 2.02, 2.04, 3, 3.02, 3.04, 3.06, 365.6], True),
}


@pytest.mark.parametrize("case", NIGHTS)
def test_how_many_epochs_it_takes(connection: psycopg.Connection, case: str) -> None:
    days, enough = NIGHTS[case]
    track = observe(np.random.default_rng(1), (10.0, 10.0), (1000.0, 0.0), FIRST + np.array(days), spread=0)
    store(connection, {1: track}, {1: (10.0, 10.0)})
    ((pm_ra, pm_dec, *errors, chi2, n, _drift, _, _),) = measured(connection).values()
    assert [value is not None for value in (pm_ra, pm_dec, *errors, chi2, n)] == [enough] * 7


@pytest.mark.parametrize(("days", "followed"), [(59.9, False), (60.1, True)])
def test_what_is_too_young_for_a_motion_is_followed_already(
    connection: psycopg.Connection, days: float, followed: bool
) -> None:
    track = observe(np.random.default_rng(1), (10.0, 10.0), (1000.0, 0.0), FIRST + np.linspace(0, days, 20), 10, 0)
    store(connection, {1: track}, {1: (10.0, 10.0)})
    ((pm_ra, *_, drift_ra, _, drift_err),) = measured(connection).values()
    assert pm_ra is None
    assert (drift_ra is not None) == followed
    if followed:
        assert abs(drift_ra - 1000) < 4 * drift_err


def test_errors_that_are_none_break_nothing(connection: psycopg.Connection) -> None:
    """Zero, tiny, huge; and positions that are all the same."""
    mjd = epochs(np.random.default_rng(1), 12)
    still = Track(mjd, np.full(12, 10.0), np.full(12, 10.0), *np.full((2, 12), 50.0), np.zeros(12))
    errors = {1: 0.0, 2: 1e-30, 3: 1e-4, 4: 1e8, 5: 50.0}
    tracks = {}
    for number, error in errors.items():
        ra_err = still.ra_err.copy()
        ra_err[3] = error
        tracks[number] = Track(mjd, still.ra, still.dec, ra_err, still.dec_err, still.correlation)
    store(connection, tracks, dict.fromkeys(tracks, (10.0, 10.0)))
    for pm_ra, pm_dec, *_, drift_ra, _, _ in measured(connection).values():
        assert drift_ra is None
        assert max(abs(pm_ra), abs(pm_dec)) < 1e-3


# ------------------------------------------------------------------------------------------- by ingests


def sighting(number: int, day: float, *, pm: float = 1000.0, ra: float = 10.0, dec: float = 5.0, detector: int = 0,
             error: float = 30.0) -> tuple[Visit, list[DetectorData]]:  # fmt: skip
    """A star that moves north, and one that does not, ten arcsec beside it; without scatter."""
    columns = {
        "ra": [ra, ra + 10 / 3600], "dec": [dec + pm * MAS * day / YEAR, dec],
        "ra_err": [error * MAS] * 2, "dec_err": [error * MAS] * 2, "psf_flux": [900.0] * 2, "psf_flux_err": [9.0] * 2,
    }  # fmt: skip
    return Visit(number, "r", FIRST + day), [DetectorData(detector, columns)]


NOTHING = DetectorData(0, {"ra": [], "dec": [], "psf_flux": [], "psf_flux_err": []})


def ingest(dsn: str, days: Iterable[float], first: int = 1) -> None:
    with Client(dsn) as client:
        for number, day in enumerate(days, first):
            client.ingest(*sighting(number, day))


def motions(look: psycopg.Connection) -> list[tuple[float | None, ...]]:
    """Of both objects, the moving one last: motion and number of epochs."""
    return look.execute("select pm_dec, pm_ndata, drift_dec from l1.dia_object order by dec").fetchall()


def versions(look: psycopg.Connection) -> list[tuple[str, ...]]:
    return look.execute("select v::text from l1_api.dia_object_version v order by 1").fetchall()


DAYS = [*np.linspace(0, 200, 9), 366.0, 380.0, 395.0]


def test_the_day_measures_what_the_nights_made_due(database: str) -> None:
    """An ingest keeps the motion and makes it due again; a second day changes nothing; all versions stay."""
    with psycopg.connect(database, autocommit=True) as look:
        ingest(database, DAYS[:9])
        assert maintain(database).n_motions == 0, "too few"
        ingest(database, DAYS[9:], 10)
        assert motions(look) == [(None, None, None)] * 2
        assert maintain(database).n_motions == 2
        resting, moving = motions(look)
        assert resting == (pytest.approx(0, abs=1e-2), 12, None)
        assert moving == (pytest.approx(1000, rel=1e-4), 12, pytest.approx(1000, rel=1e-4))
        before = versions(look)
        assert maintain(database).n_motions == 0
        assert versions(look) == before

        ingest(database, [410.0], 13)
        assert motions(look) == [resting, moving]
        assert maintain(database).n_motions == 2
        assert [n for _, n, _ in motions(look)] == [13, 13]
        assert look.execute(
            "select a.pm_ndata from l1.dia_object o cross join lateral (select * from"
            " l1_api.dia_object_asof(o.validity_start - interval '1 microsecond') a"
            " where a.dia_object_id = o.dia_object_id) as a"
        ).fetchall() == [(12,), (12,)]
        assert breaks(look) == []


def test_the_mean_epoch_is_that_of_the_mean_position(database: str) -> None:
    epoch = "select distinct radec_mjd_tai from l1.dia_object"
    with psycopg.connect(database, autocommit=True) as look, Client(database) as client:
        ingest(database, DAYS[:1])
        assert look.execute(epoch).fetchall() == [(FIRST,)]
        ingest(database, DAYS[1:3], 2)
        assert look.execute(epoch).fetchall() == [(pytest.approx(FIRST + np.mean(DAYS[:3]), abs=1e-6, rel=0),)]
        client.ingest(Visit(1, "r", FIRST), [NOTHING], mode="replace")
        assert look.execute(epoch).fetchall() == [(pytest.approx(FIRST + np.mean(DAYS[1:3]), abs=1e-6, rel=0),)]


@pytest.mark.parametrize("profile", ["seed", "rubin"])
def test_withdrawn_detections_take_the_motion_with_them(fresh_database: Callable[..., str], profile: str) -> None:
    """Eleven of 370 days are enough; then they are of less than a year, then fewer than ten.

    In profile rubin the history window has forgotten the first by then.
    """
    dsn = fresh_database(profile)
    with psycopg.connect(dsn, autocommit=True) as look, Client(dsn) as client:
        ingest(dsn, DAYS)
        maintain(dsn)
        for number, n, is_followed in ((1, 11, True), (12, None, True), (5, None, False)):
            client.ingest(Visit(number, "r", FIRST + DAYS[number - 1]), [NOTHING], mode="replace")
            maintain(dsn)
            resting, moving = motions(look)
            assert (resting[1], moving[1]) == (n, n)
            assert [value is not None for value in (resting[0], moving[0])] == [n is not None] * 2
            assert (moving[2] is not None) == is_followed
        assert breaks(look) == []


def test_forced_rows_make_no_motion_due(database: str) -> None:
    """They open a version of their object, whose detections are the same.  Seen red with every touched object due."""
    with psycopg.connect(database, autocommit=True) as look, Client(database) as client:
        ingest(database, DAYS)
        maintain(database)
        outline = [(9.9, 4.9), (10.1, 4.9), (10.1, 5.1), (9.9, 5.1)]
        targets = client.forced_targets({0: outline})[0]
        two, on_image = np.ones(2), np.array([True, True])
        forced = {"dia_object_id": targets.dia_object_id, "ra": targets.ra, "dec": targets.dec, "x": two, "y": two,
                  "is_on_image": on_image, "psf_flux": two, "psf_flux_err": two, "psf_chi2": two,
                  "psf_ndata": np.array([9, 9]), "science_flux": two, "science_flux_err": two,
                  "snap_diff_flux": two, "snap_diff_flux_err": two, "forced_flags": np.array([0, 0])}  # fmt: skip
        empty = DetectorData(0, NOTHING.sources, measured=Measured(forced=forced, footprint=outline))
        client.ingest(Visit(99, "r", FIRST + 400), [empty])
        assert look.execute("select sum(n_forced), bool_or(motion_is_due) from l1.dia_object").fetchone() == (2, False)


def test_an_ingest_and_the_day_at_once_lose_nothing(database: str) -> None:
    """The day waits for an ingest that writes a star far from its stored position, and measures what that wrote.

    Seen red without the lock of the cells in measure_motions.
    """
    ingest(database, DAYS)
    maintain(database)
    ingest(database, [420.0], 13)

    def measure() -> None:
        with psycopg.connect(database) as session:
            session.execute("select l1_api.measure_motions(1000)")

    with psycopg.connect(database, autocommit=True) as look, ThreadPoolExecutor() as pool, Gate(database) as gate:
        with Client(stopping_at(database, "measure")) as client:
            call = pool.submit(client.ingest, *sighting(14, 5 * YEAR))
            gate.stopped()
            day = pool.submit(measure)
            gate.waiting(2)
            gate.open()
            call.result(20)
            day.result(20)
        assert [n for _, n, _ in motions(look)] == [14, 14]
        assert look.execute("select bool_or(motion_is_due) from l1.dia_object").fetchone() == (False,)
        assert breaks(look) == []


def test_what_is_due_is_found_by_an_index(connection: psycopg.Connection) -> None:
    connection.execute(
        """insert into l1.dia_object (dia_object_id, validity_start, ra, dec, n_dia_sources, n_forced,
                                      n_good_dia_sources, first_dia_source_mjd_tai, last_dia_source_mjd_tai,
                                      first_epoch_mjd_tai, motion_is_due)
           select n, now(), n / 100.0, 0, 1, 0, 0, 1, 1, 1, n % 1000 = 0 from generate_series(1, 20000) as n"""
    )
    connection.execute("analyze l1.dia_object")
    plan = connection.execute(
        "explain select o.dia_object_id from l1.dia_object o where o.motion_is_due order by o.dia_object_id limit 1000"
    ).fetchall()
    assert "dia_object_motion_due_idx" in str(plan)


def test_one_chunk_per_transaction(database: str) -> None:
    ingest(database, DAYS)
    with psycopg.connect(database) as connection:
        assert connection.execute("select l1_api.measure_motions(1)").fetchone() == (1,)
        with pytest.raises(psycopg.Error, match="this transaction has measured already"):
            connection.execute("select l1_api.measure_motions(1)")


def test_the_command_says_what_it_measured(database: str) -> None:
    ingest(database, DAYS)
    assert l1db("maintain", dsn=database).out.startswith(
        "measured the light curves of 2 objects, the motions of 2 objects; "
    )


def test_forced_photometry_is_asked_for_where_the_star_is(database: str) -> None:
    ingest(database, DAYS)
    maintain(database)
    outline = {0: [(9.9, 4.9), (10.1, 4.9), (10.1, 5.1), (9.9, 5.1)]}
    with Client(database) as client:
        then = client.forced_targets(outline, FIRST + 5 * YEAR)[0]
        mean = client.forced_targets(outline)[0]
    moved = 5 + 5000 * MAS
    assert sorted(then.dec) == [pytest.approx(5, abs=1e-8), pytest.approx(moved, abs=5 * MAS)]
    assert max(mean.dec) == pytest.approx(5 + 1000 * MAS * np.mean(DAYS) / YEAR, abs=1e-8)
