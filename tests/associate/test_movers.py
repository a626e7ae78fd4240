"""Stars that move stay one object: over years, at any place of the sky, and for concurrent ingests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psycopg
import pytest

from bench.motion import simulate
from l1db import Client, DetectorData, Visit
from l1db.maintain import maintain
from tests.concurrency.gate import Gate, stopping_at
from tests.sky_fields import PLACES, on_sky
from tests.version.continuity import breaks

YEAR = 365.25
FIRST = 45_000.2  # forty years from here there still is a UTC
DAYS = [*np.linspace(0, 200, 9), 366.0, 380.0, 395.0]
LATE = 5 * YEAR  # the star is four arcsec from its mean position then


def test_five_years_of_stars_that_move_and_stars_that_do_not(database: str) -> None:
    """Seasons of seven months, 24 visits each, errors of 0.03 to 0.1 arcsec; the day's work once in four weeks.

    Seen red with list_movers left out of find_pairs: the star of an arcsecond a year has three objects and more.
    """
    found = simulate(database, static=40, motions={100.0: 5, 300.0: 5, 1000.0: 6}, per_year=24, day=28, side=600)
    assert found.objects_of_mover == {100.0: [1] * 5, 300.0: [1] * 5, 1000.0: [1] * 6}
    assert found.split_static[0] <= 1
    assert found.ever_static == 0
    assert 0.8 < found.pull.std() < 1.2
    with psycopg.connect(database) as connection:
        drifting = connection.execute("select count(*) from l1.dia_object where drift_ra is not null").fetchone()
        assert drifting == (16,)
        assert breaks(connection) == []


def sighting(
    number: int, day: float, centre: tuple[float, float], *, detectors: tuple[int, ...] = (0,), pm: float = 1.0
) -> tuple[Visit, list[DetectorData]]:
    """A star that moves by ``pm`` (arcsec/yr) to the north east of the tangent plane, without scatter."""
    ra, dec = on_sky(pm * day / YEAR * np.array([[0.6, 0.8]]) + [[3.0, 1.0]], centre)
    columns = {"ra": ra, "dec": dec, "ra_err": [1e-5], "dec_err": [1e-5], "psf_flux": [900.0], "psf_flux_err": [9.0]}
    return Visit(number, "r", FIRST + day), [DetectorData(detector, columns) for detector in detectors]


def watch(dsn: str, centre: tuple[float, float]) -> None:
    """A year and a month of it, and the day's work."""
    with Client(dsn) as client:
        for number, day in enumerate(DAYS, 1):
            client.ingest(*sighting(number, day, centre))
    maintain(dsn)


def objects(dsn: str) -> list[tuple[int, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            "select count(*) from l1.dia_source where dia_object_id is not null group by dia_object_id"
        ).fetchall()


@pytest.mark.parametrize("place", PLACES)
def test_it_is_found_where_it_is_by_now(place: str, database: str) -> None:
    """Four arcsec from its mean position, across 0h and beside the poles too."""
    watch(database, PLACES[place])
    with Client(database) as client:
        result = client.ingest(*sighting(20, LATE, PLACES[place]))
        assert (result.n_sources, result.n_new_objects) == (1, 0)
    assert objects(database) == [(len(DAYS) + 1,)]


def test_what_is_at_its_mean_position_is_something_else(database: str) -> None:
    watch(database, PLACES["a plain place"])
    with Client(database) as client:
        visit, _ = sighting(20, LATE, PLACES["a plain place"])
        _, there = sighting(20, float(np.mean(DAYS)), PLACES["a plain place"])
        assert client.ingest(visit, there).n_new_objects == 1


@pytest.mark.parametrize("detectors", [(0, 1), (1, 0)])
def test_two_detectors_of_a_visit_in_any_order(detectors: tuple[int, int], database: str) -> None:
    """The second sees the object where it is without this visit.  Seen red with place_without_visit at the mean."""
    centre = PLACES["a plain place"]
    watch(database, centre)
    with Client(database) as client:
        for detector in detectors:
            client.ingest(*sighting(20, LATE, centre, detectors=(detector,)))
        visit, other = sighting(20, LATE, centre, detectors=(detectors[0],))
        other[0].sources["psf_flux"][0] = 950.0  # type: ignore[index]
        client.ingest(visit, other, mode="replace")
    assert objects(database) == [(len(DAYS) + 1,)]
    with psycopg.connect(database) as connection:
        assert connection.execute(
            "select count(*) from l1.dia_source where no_object_reason = 'duplicate_in_visit'"
        ).fetchone() == (1,)


def test_two_ingests_at_once_see_one_star(database: str) -> None:
    """Two visits a year apart: the star is an arcsecond further on in one, and neither founds another."""
    centre = PLACES["a plain place"]
    watch(database, centre)
    with ThreadPoolExecutor() as pool, Gate(database) as gate, Client(stopping_at(database, "ledger")) as first:
        one = pool.submit(first.ingest, *sighting(20, LATE, centre))
        gate.stopped()
        with Client(database) as second:
            other = pool.submit(second.ingest, *sighting(21, LATE - YEAR, centre))
            gate.waits_for_sky_or_ends(other)
            assert not other.done()
            gate.open()
            assert one.result(20).n_new_objects == other.result(20).n_new_objects == 0
    assert objects(database) == [(len(DAYS) + 2,)]
    with psycopg.connect(database) as connection:
        assert breaks(connection) == []


def test_an_ingest_holds_the_cell_that_the_star_is_stored_in(database: str) -> None:
    """Its mean position lies in another cell than all its sources of late: the sky lock must reach that far.

    Twenty arcsec is as far as it is looked for.  Seen red with a margin of two association radii for both the lock
    and the search: the star is lost; and with that margin for the lock alone: as well, since it is looked for in
    locked cells only.
    """
    centre = (0.0, 0.0)  # where four cells meet
    watch(database, (centre[0] - 3.5 / 3600, centre[1] - 2.0 / 3600))
    with psycopg.connect(database) as look:
        assert look.execute("select ra > 359 and dec < 0 from l1.dia_object").fetchone() == (True,)
        (stored,) = look.execute("select (public.q3c_ang2ipix(ra, dec) >> 42)::int from l1.dia_object").fetchone() or (
            None,
        )
        visit, detectors = sighting(20, 15 * YEAR, (centre[0] - 3.5 / 3600, centre[1] - 2.0 / 3600))
        ra, dec = (detectors[0].sources[name][0] for name in ("ra", "dec"))
        (now,) = look.execute(
            "select (public.q3c_ang2ipix(%s, %s) >> 42)::int", (float(ra), float(dec))
        ).fetchone() or (None,)
        assert now != stored
    with ThreadPoolExecutor() as pool, Gate(database) as gate, Client(stopping_at(database, "ledger")) as client:
        call = pool.submit(client.ingest, visit, detectors)
        gate.stopped()
        held = gate.connection.execute("select objid::int from pg_locks where classid = 19505 and granted").fetchall()
        assert (stored,) in held
        gate.open()
        assert call.result(20).n_new_objects == 0


def test_farther_than_the_lock_reaches_nothing_is_looked_for(database: str) -> None:
    centre = PLACES["a plain place"]
    watch(database, centre)
    with Client(database) as client:
        assert client.ingest(*sighting(20, 20 * YEAR, centre)).n_new_objects == 0
        assert client.ingest(*sighting(21, 40 * YEAR, centre)).n_new_objects == 1
