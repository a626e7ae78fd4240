"""``l1db check --deep``: nothing is found in a sound database, and each kind of damage by its own name, and alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg
import pytest

from l1db import Client, DetectorData, Visit, code
from l1db.database import change_survey
from l1db.invariants import Verdict, verdicts
from l1db.visit import ImageFile, Measured
from tests.command_line import l1db
from tests.concurrency.workers import ingest_at_once
from tests.conftest import Server
from tests.sky_fields import calls_by_detector, field

ARCSEC = 1 / 3600
FOOTPRINT = [(29.9, -5.1), (30.3, -5.1), (30.3, -4.9), (29.9, -4.9)]
FILE = ImageFile("difference", "/images/d.fits", bytes(32), 2880)
NAMES = sorted(file.stem for file in code.files() if file.parent.name == "check" and file.stem[:4] in ("brok", "odd_"))
SKY = field((210.0, 12.0), side=4)


def seen(*stars: int, seed: int = 0, **columns: Any) -> dict[str, Any]:
    """Sources on stars an arcminute from each other, scattered by 0.1 arcsec."""
    n, rng = len(stars), np.random.default_rng([seed, *stars])
    return {
        "ra": 30 + np.array(stars) / 60 + rng.normal(0, 0.1, n) * ARCSEC,
        "dec": -5 + rng.normal(0, 0.1, n) * ARCSEC,
        "ra_err": np.full(n, 0.1 * ARCSEC),
        "dec_err": rng.uniform(0.05, 0.15, n) * ARCSEC,
        "ra_dec_cov": np.full(n, 1e-11),
        "psf_flux": rng.normal(1000, 80, n),
        "psf_flux_err": rng.uniform(40, 60, n),
        "science_flux": rng.normal(3000, 80, n),
        "science_flux_err": rng.uniform(40, 60, n),
        "reliability": rng.uniform(0.2, 1, n),
        **columns,
    }


def measured(client: Client, seed: int, *, left_out: int | None = None) -> Measured:
    """As if the images had been measured at all objects in them."""
    targets = client.forced_targets({0: FOOTPRINT})[0]
    star = np.rint((np.asarray(targets.ra) - 30) * 60).astype(int)
    here = targets.is_target & (star != left_out)
    n, rng = int(here.sum()), np.random.default_rng(seed)
    forced = {
        "dia_object_id": targets.dia_object_id[here],
        "ra": targets.ra[here],
        "dec": targets.dec[here],
        "x": np.arange(n, dtype=float),
        "y": np.full(n, 7.0),
        "is_on_image": np.ones(n, dtype=bool),
        "psf_flux": rng.normal(10, 5, n),
        "psf_flux_err": np.full(n, 5.0),
        "psf_chi2": np.full(n, 600.0),
        "psf_ndata": np.full(n, 625),
        "science_flux": rng.normal(2000, 5, n),
        "science_flux_err": np.full(n, 6.0),
        "snap_diff_flux": np.full(n, np.nan),
        "snap_diff_flux_err": np.full(n, np.nan),
        "forced_flags": np.zeros(n, dtype=int),
    }
    return Measured(forced=forced, footprint=FOOTPRINT, files=(FILE,))


def visit(number: int, band: str = "r", mjd: float | None = None) -> Visit:
    return Visit(number, band, 61_000 + number * 0.7 if mjd is None else mjd, exposure_time=30.0)


def live_through(dsn: str) -> None:
    """What a database may go through: bands, months, images, replacements, retirements, supplements, the breaker, days of
    statistics, other rules, several sessions at once, and a consumer.
    """
    with Client(dsn) as client, psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("select l1_api.add_consumer('listener', 'start')")
        for number in range(1, 9):
            stars = [s for s in range(6) if (s + number) % 4]
            images = measured(client, number, left_out=5) if number % 2 == 0 else None
            client.ingest(
                visit(number, "rgi"[number % 3]), [DetectorData(0, seen(*stars, seed=number), measured=images)]
            )
        # An image on which star 9 is forced, which is then taken back, so that its object is retired.
        client.ingest(visit(9), [DetectorData(0, seen(1, 9, seed=9))])
        client.ingest(visit(10), [DetectorData(0, seen(1, 2, seed=10), measured=measured(client, 10))])
        client.ingest(visit(9), [DetectorData(0, seen(1, 4, seed=90))], mode="replace")
        # A place given up for one far off in cells, though within the radius.
        client.ingest(visit(11), [DetectorData(0, seen(20, seed=11, dec=[-5.0]))])
        client.ingest(visit(12), [DetectorData(0, seen(20, seed=12, dec=[-5 + 0.9 * ARCSEC]))])
        client.ingest(visit(13), [DetectorData(0, seen(20, seed=13, dec=[-5 + 0.9 * ARCSEC]))])
        for _ in range(10):
            connection.execute("select l1_api.measure_by_day(4)")
        # Given ids, more of them later, and the same replaced by fewer.
        first = seen(1, 2, 3, seed=14, dia_source_id=[141, 142, 143])
        client.ingest(visit(14, "i"), [DetectorData(0, first)])
        client.ingest(visit(14, "i"), [DetectorData(0, seen(6, seed=14, dia_source_id=[144]))], mode="supplement")
        client.ingest(visit(15, "i"), [DetectorData(0, seen(2, 3, seed=15, dia_source_id=[151, 152]))])
        client.ingest(visit(15, "i"), [DetectorData(0, seen(3, seed=15, dia_source_id=[152]))], mode="replace")
        # The breaker, and its release.
        change_survey(connection, {"max_new_objects": 2}, "breaker")
        many = seen(10, 11, 12, 13, 1, seed=16)
        client.ingest(visit(16), [DetectorData(0, many)])
        client.ingest(visit(17), [DetectorData(0, many)])
        client.ingest(visit(17), [DetectorData(0, many)], mode="release")
        # Half a year later, under a shorter history.
        change_survey(connection, {"history_days": 100.0, "stats_include_forced": False}, "window")
        for number in (18, 19):
            images = measured(client, number)
            data = DetectorData(0, seen(0, 1, seed=number), measured=images)
            client.ingest(visit(number, "g", 61_150.0 + number), [data])
        connection.execute("select l1_api.measure_by_day(5)")
        change_survey(connection, {"alert_on": "all", "bands": ["u", "g", "r", "i", "z", "y", "L"]}, "forced too")
        data = DetectorData(0, seen(3, seed=20), measured=measured(client, 20))
        client.ingest(visit(20, "L", 61_171.0), [data])
        connection.execute("select count(*) from l1_api.next_alerts('listener', 7)")
        connection.execute("select count(*) from l1_api.next_alerts('listener', 7)")

    # Overlapping detectors, by four sessions at once; then half of each visit is replaced, which frees twins.
    exposures = [replace(e, visit=replace(e.visit, visit=100 + e.visit.visit)) for e in map(SKY.expose, range(1, 6))]
    ingest_at_once(dsn, calls_by_detector(exposures), seed=5, n_workers=4)
    with Client(dsn) as client, psycopg.connect(dsn, autocommit=True) as connection:
        for exposure in exposures[:3]:
            fewer = {name: np.asarray(values)[::2] for name, values in exposure.detectors[1].sources.items()}
            client.ingest(exposure.visit, [replace(exposure.detectors[1], sources=fewer)], mode="replace")
        while connection.execute("select l1_api.measure_by_day(1000)").fetchone() != (0,):
            pass


@pytest.fixture(scope="module")
def sound_dsn(server: Server) -> Iterator[str]:
    dsn = server.clone("seed")
    live_through(dsn)
    yield dsn
    server.drop(dsn)


@pytest.fixture
def sound(sound_dsn: str) -> Iterator[psycopg.Connection]:
    """A session in that database in which everything may be damaged; rolled back after the test."""
    with psycopg.connect(sound_dsn) as connection:
        connection.execute("set local session_replication_role = replica")
        yield connection
        connection.rollback()


def broken(connection: psycopg.Connection, **more: Any) -> dict[str, Verdict]:
    """What is reported, by name."""
    return {v.invariant.name: v for v in verdicts(connection, **more) if v.n_found}


def test_a_sound_database_is_found_sound(sound_dsn: str) -> None:
    outcome = l1db("check", "--deep", dsn=sound_dsn)
    assert outcome.code == 0, outcome.out
    assert "FAIL" not in outcome.out
    assert f"{len(NAMES)} invariants: all hold; " in outcome.out.splitlines()[-1]
