"""Association by the database: pair by pair as the brute-force referee's, whatever the order of rows and calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import psycopg
import pytest

from bench.association import Field as SimulatedField
from bench.association import Scatter, simulate, through_database, through_referee
from l1db import Client, DetectorData, Visit
from tests.concurrency.workers import ingest_at_once
from tests.conftest import Server
from tests.sky_fields import (
    PLACES,
    Exposure,
    calls_by_detector,
    duplicates,
    errors_against_truth,
    field,
    on_sky,
    partition,
)

ARCSEC = 1 / 3600
SKY = field(side=4, n_detectors=9)


@pytest.fixture(scope="module")
def simulations(server: Server) -> Iterator[str]:
    """One database for all simulated detectors, each at a place of its own."""
    dsn = server.clone("seed")
    yield dsn
    server.drop(dsn)


@pytest.mark.parametrize("honest", [True, False], ids=["honest errors", "errors understated threefold"])
@pytest.mark.parametrize(("n_objects", "seed"), [(50, 4), (500, 1), (500, 2), (5_000, 3), (20_000, 5)])
def test_every_pair_is_the_referees(n_objects: int, seed: int, honest: bool, simulations: str) -> None:
    """Seen to fail with calibrate's extra variance left at 0."""
    compare(simulate(n_objects, seed, honest, centre=centre(2 * seed + honest)), simulations, 2 * seed + honest)


@pytest.mark.parametrize("honest", [True, False], ids=["honest errors", "errors understated threefold"])
def test_errors_that_differ_widely_are_weighed(honest: bool, simulations: str) -> None:
    """Errors over a factor of ten: the nearest object is not always the likeliest.

    Seen to fail with mutual_best ordered by separation.
    """
    wide = Scatter(sigma=0.1, width=1.0, jitter=0.15)
    compare(simulate(5_000, 3, honest, scatter=wide, centre=centre(20 + honest)), simulations, 20 + honest)


def centre(place: int) -> tuple[float, float]:
    return (10.0 * place + 3, 5.0 * place - 50)


def compare(simulated: SimulatedField, dsn: str, place: int) -> None:
    """The database's pairs with the referee's, source by source."""
    with psycopg.connect(dsn) as connection, Client(dsn) as client:
        stored = through_database(simulated, client, connection, visit=place + 1)
    referee = through_referee(simulated)
    np.testing.assert_array_equal(stored.matches, referee.matches)
    assert stored.extra_variance == pytest.approx(referee.extra_variance, rel=1e-6)
    assert stored.new_source_density == pytest.approx(referee.new_source_density, rel=1e-3)


def ingest_in_order(dsn: str, exposures: list[Exposure], order: Callable[[list[int]], list[int]]) -> None:
    """Detectors in calls of their own; visits stay in order of time, their detectors are put in order."""
    with Client(dsn) as client:
        for exposure in exposures:
            for i in order(list(range(len(exposure.detectors)))):
                client.ingest(exposure.visit, [exposure.detectors[i]])


def shuffled(seed: int) -> Callable[[list[int]], list[int]]:
    return lambda numbers: np.random.default_rng(seed).permutation(numbers).tolist()


ORDERS: dict[str, Callable[[list[int]], list[int]]] = {
    "ascending": lambda numbers: numbers,
    "descending": lambda numbers: numbers[::-1],
    "odd before even": lambda numbers: numbers[1::2] + numbers[::2],
    "at random": shuffled(1),
    "at random again": shuffled(2),
}


@pytest.fixture(scope="module")
def night() -> list[Exposure]:
    """Three visits of nine detectors; stars are seen by one, two and four of them, on their very borders too."""
    return [SKY.expose(v) for v in (2, 3, 4)]


@pytest.fixture(scope="module")
def whole_planes(
    server: Server, night: list[Exposure]
) -> tuple[frozenset[frozenset[tuple[int, int]]], list[tuple[int, int]]]:
    """Partition and duplicates of the night, each visit in one call."""
    dsn = server.clone("seed")
    with Client(dsn) as client, psycopg.connect(dsn) as connection:
        for exposure in night:
            client.ingest(exposure.visit, exposure.detectors)
        assert errors_against_truth(connection, night) == []
        found = partition(connection), duplicates(connection)
    server.drop(dsn)
    return found


def test_stars_in_the_overlap_are_seen_by_two_and_four_detectors(
    whole_planes: tuple[object, list[tuple[int, int]]], night: list[Exposure]
) -> None:
    seen = {n: 0 for n in range(5)}
    for key in set(whole_planes[1]):
        seen[whole_planes[1].count(key)] += 1
    assert seen[1] > 10
    assert seen[3] >= len(night), "a corner where four detectors overlap"


@pytest.mark.parametrize("order", ORDERS)
def test_single_calls_in_any_order_decide_as_whole_planes(
    order: str,
    night: list[Exposure],
    whole_planes: tuple[object, object],
    database: str,
) -> None:
    """Seen to fail with find_twins left out of associate: stars in the overlap then have two objects."""
    ingest_in_order(database, night, ORDERS[order])
    with psycopg.connect(database) as connection:
        assert errors_against_truth(connection, night) == []
        assert (partition(connection), duplicates(connection)) == whole_planes


def test_concurrent_calls_decide_as_whole_planes(
    night: list[Exposure], whole_planes: tuple[object, object], database: str
) -> None:
    ingest_at_once(database, calls_by_detector(night), seed=8)
    with psycopg.connect(database) as connection:
        assert errors_against_truth(connection, night) == []
        assert (partition(connection), duplicates(connection)) == whole_planes


def test_visits_in_any_order_give_the_same_objects(
    night: list[Exposure], whole_planes: tuple[object, object], database: str
) -> None:
    with Client(database) as client, psycopg.connect(database) as connection:
        for exposure in night[::-1]:
            client.ingest(exposure.visit, exposure.detectors[::-1])
        assert (partition(connection), duplicates(connection)) == whole_planes


def test_shuffled_rows_give_the_same_objects(
    night: list[Exposure], whole_planes: tuple[object, object], database: str
) -> None:
    rng = np.random.default_rng(3)
    with Client(database) as client, psycopg.connect(database) as connection:
        for exposure in night:
            mixed = []
            for detector in exposure.detectors:
                order = rng.permutation(len(detector))
                rows = {name: np.asarray(column)[order] for name, column in detector.sources.items()}
                mixed.append(DetectorData(detector.detector, rows, footprint=detector.footprint))
            client.ingest(exposure.visit, mixed)
        assert (partition(connection), duplicates(connection)) == whole_planes


@pytest.mark.parametrize("place", list(PLACES)[1:])
def test_the_same_field_elsewhere_gives_the_same_objects(
    place: str, night: list[Exposure], whole_planes: tuple[object, object], database: str
) -> None:
    """The field is rotated across 0h, onto edges and corners of the pixel grid, and to the poles."""
    moved = [field(PLACES[place], side=4, n_detectors=9).expose(e.visit.visit) for e in night]
    with Client(database) as client, psycopg.connect(database) as connection:
        for exposure in moved:
            client.ingest(exposure.visit, exposure.detectors)
        assert (partition(connection), duplicates(connection)) == whole_planes


@pytest.mark.parametrize("place", PLACES)
def test_a_crowded_field_elsewhere_gives_the_same_pairs(place: str, database: str) -> None:
    """500 objects and a visit with errors understated threefold, where decisions are close."""
    here, there = (simulate(500, 6, False, centre=c) for c in ((150.0, 2.0), PLACES[place]))
    with psycopg.connect(database) as connection, Client(database) as client:
        stored = through_database(there, client, connection)
    np.testing.assert_array_equal(stored.matches, through_referee(here).matches)


def close_pair(visit: int, detectors: tuple[int, int], separation: float = 0.8) -> tuple[Visit, list[DetectorData]]:
    """Two sources on the given detectors."""
    found = []
    for detector in sorted(set(detectors)):
        x = separation * np.flatnonzero(np.array(detectors) == detector)
        ra, dec = on_sky(np.stack([x, 0 * x], axis=-1), (30.0, -10.0))
        error = np.full(len(x), 0.1 * ARCSEC)
        columns = {"ra": ra, "dec": dec, "ra_err": error, "dec_err": error,
                   "psf_flux": 0 * x + 1000, "psf_flux_err": 0 * x + 50}  # fmt: skip
        found.append(DetectorData(detector, columns))
    return Visit(visit, "r", 61_000 + visit / 1000), found


def objects_and_duplicates(dsn: str) -> tuple[int, int]:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "select count(distinct dia_object_id), count(no_object_reason) from l1.dia_source"
        ).fetchone()
    assert row is not None
    return row


def test_two_sources_of_one_detector_close_together_both_found_objects(client: Client, database: str) -> None:
    client.ingest(*close_pair(1, (0, 0)))
    assert objects_and_duplicates(database) == (2, 0)


def test_two_sources_of_two_detectors_close_together_are_one(client: Client, database: str) -> None:
    client.ingest(*close_pair(1, (0, 1)))
    assert objects_and_duplicates(database) == (1, 1)


def test_two_sources_of_one_detector_match_two_objects_again(client: Client, database: str) -> None:
    for visit in (1, 2, 3):
        client.ingest(*close_pair(visit, (0, 0)))
    assert objects_and_duplicates(database) == (2, 0)


def test_nearer_than_the_error_floor_one_detector_saw_one_thing_twice(client: Client, database: str) -> None:
    """The floor of profile seed is 0.05 arcsec.  Without the rule the second founds an object that takes later sources
    from the first: seen in ZTF's packets, where it lost one pair in 37."""
    for visit in (1, 2, 3):
        client.ingest(*close_pair(visit, (0, 0), separation=0.04))
    assert objects_and_duplicates(database) == (1, 3)
    client.ingest(*close_pair(4, (0, 0), separation=0.06))
    assert objects_and_duplicates(database) == (2, 3)


def test_nearer_than_the_error_floor_in_a_supplement_too(client: Client, database: str) -> None:
    visit, (both,) = close_pair(1, (0, 0), separation=0.04)
    for k in (0, 1):
        one = {name: column[[k]] for name, column in both.sources.items()} | {"dia_source_id": [k + 1]}
        client.ingest(visit, [DetectorData(0, one)], mode="supplement")
    assert objects_and_duplicates(database) == (1, 1)


def test_beyond_the_radius_two_detectors_saw_two(client: Client, database: str) -> None:
    client.ingest(*close_pair(1, (0, 1), separation=1.05))
    assert objects_and_duplicates(database) == (2, 0)


@pytest.mark.parametrize("first", [0, 1])
def test_close_pair_on_one_detector_and_one_of_them_on_another(first: int, client: Client, database: str) -> None:
    """The other detector's source is the twin of the nearer; the farther stays an object of its own."""
    visit, (pair,) = close_pair(1, (0, 0))
    _, (_, single) = close_pair(1, (0, 1), separation=0.9)
    calls = [[pair], [single]]
    client.ingest(visit, calls[first])
    client.ingest(visit, calls[1 - first])
    assert objects_and_duplicates(database) == (2, 1)


def test_the_database_refuses_a_second_detection_of_a_visit_for_one_object(client: Client, database: str) -> None:
    """By itself, past all functions of ours: the unique index of the leaf.  Forced rows may be there besides."""
    client.ingest(*close_pair(1, (0, 0)))
    again = (
        "insert into l1.dia_source (dia_source_id, visit, detector, dia_object_id, midpoint_mjd_tai, ra, dec, band,"
        " psf_flux, psf_flux_err, time_processed, validity_start, is_forced)"
        " select {id}, visit, {detector}, dia_object_id, midpoint_mjd_tai, ra, dec, band, psf_flux, psf_flux_err,"
        " now(), now(), {forced} from l1.dia_source where not is_forced order by dia_source_id limit 1"
    )
    with psycopg.connect(database, autocommit=True) as connection:
        for detector in (0, 1):
            with pytest.raises(psycopg.errors.UniqueViolation, match="visit_dia_object_id"):
                connection.execute(again.format(id=77, detector=detector, forced=False))
        connection.execute(again.format(id=78, detector=0, forced=True))
        with pytest.raises(psycopg.errors.UniqueViolation, match="visit_detector_dia_object_id"):
            connection.execute(again.format(id=79, detector=0, forced=True))
        connection.execute(again.format(id=79, detector=1, forced=True))
        with pytest.raises(psycopg.errors.UniqueViolation, match="dia_source_id"):
            connection.execute(again.format(id=79, detector=2, forced=True))
