"""The brute-force referee against cases worked out by hand; it needs no database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from bench.association import PER_AXIS, SIDE, score, simulate, solid_angle, through_referee
from tests.referee.association import (
    NEW,
    Rules,
    associate,
    find_extra_variance,
    first_pass_cost,
    likelihood,
    separation,
    unit_vectors,
)

RULES = Rules()
ARCSEC = 1 / 3600
UNKNOWN = float("nan")
DTYPE = [("id", "i8"), ("ra", "f8"), ("dec", "f8"), ("ra_err", "f8"), ("dec_err", "f8")]


def points(
    *rows: tuple[int, float, float, float | tuple[float, float]], centre: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.void]:
    """From (id, x, y, error or its two components), all in arcsec east and north of ``centre`` in degrees."""
    table = np.zeros(len(rows), dtype=DTYPE)
    for row, (identity, x, y, error) in zip(table, rows, strict=True):
        ra_err, dec_err = error if isinstance(error, tuple) else (error, error)
        dec = centre[1] + y * ARCSEC
        ra = (centre[0] + x * ARCSEC / np.cos(np.radians(dec))) % 360.0
        row["id"], row["ra"], row["dec"] = identity, ra, dec
        row["ra_err"], row["dec_err"] = ra_err * ARCSEC, dec_err * ARCSEC
    return table


def offsets(lengths: Sequence[float], error: float | tuple[float, float]) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Sources without neighbours, each at its own distance from an object without error."""
    n = len(lengths)
    sources = points(*((i, 60.0 * i + length, 0.0, error) for i, length in enumerate(lengths)))
    return sources, points(*((100 + i, 60.0 * i, 0.0, 0.0) for i in range(n)))


def rounds_of_mutual_bests(
    cost: NDArray[np.float64], distance: NDArray[np.float64], object_id: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The rule as it is told: pairs that are the best of both their sides go, until none is left.

    ``cost`` and ``distance`` of shape (n_sources, n_objects), infinite where there is no pair.
    """
    matches = np.full(len(cost), NEW, dtype=np.int64)
    live = np.isfinite(cost)

    def key(i: int, j: int) -> tuple[float, float, int, int]:
        return (cost[i, j], distance[i, j], int(object_id[j]), i)

    while live.any():
        best_object = {i: min(np.flatnonzero(live[i]).tolist(), key=lambda j: key(i, j)) for i in _with_pairs(live)}
        best_source = {
            j: min(np.flatnonzero(live[:, j]).tolist(), key=lambda i: key(i, j)) for j in _with_pairs(live.T)
        }
        for i, j in best_object.items():
            if best_source[j] == i:
                matches[i] = object_id[j]
                live[i, :] = live[:, j] = False
    return matches


def _with_pairs(live: NDArray[np.bool_]) -> list[int]:
    return [int(i) for i in np.flatnonzero(live.any(axis=1))]


# --- who gets whom ---------------------------------------------------------------------------------------------------


def test_one_source_one_object() -> None:
    result = associate(points((1, 0.1, 0, 0.1)), points((7, 0, 0, 0.05)))
    assert result.matches.tolist() == [7]
    assert result.first_pass.tolist() == [7]


def test_source_beyond_the_radius_is_new() -> None:
    objects = points((7, 0, 0, 5.0))
    assert associate(points((1, 1.001, 0, 5.0)), objects).matches.tolist() == [NEW]
    assert associate(points((1, 0.999, 0, 5.0)), objects).matches.tolist() == [7]
    assert associate(points((1, 1.4, 0, 5.0)), objects, replace(RULES, radius=1.5)).matches.tolist() == [7]


def test_no_objects_makes_all_sources_new() -> None:
    result = associate(points((1, 0, 0, 0.1), (2, 5, 0, 0.1)), points())
    assert result.matches.tolist() == [NEW, NEW]


def test_no_sources_match_nothing() -> None:
    result = associate(points(), points((7, 0, 0, 0.1)), area=1e6)
    assert len(result.matches) == 0
    assert result.extra_variance == RULES.default_extra_variance
    assert result.new_source_density == RULES.default_density


def test_dictionaries_serve_as_tables() -> None:
    def columns(table: NDArray[np.void]) -> dict[str, ArrayLike]:
        return {name: table[name].tolist() for name, _ in DTYPE}

    sources, objects = points((1, 0.1, 0, 0.1)), points((7, 0, 0, 0.05))
    assert associate(columns(sources), columns(objects)).matches.tolist() == [7]


def test_two_sources_one_object_nearest_wins() -> None:
    sources = points((1, 0.3, 0, 0.1), (2, 0.1, 0, 0.1))
    assert associate(sources, points((7, 0, 0, 0.05))).matches.tolist() == [NEW, 7]


def test_two_objects_one_source_nearest_wins() -> None:
    objects = points((7, 0.3, 0, 0.1), (8, -0.1, 0, 0.1))
    assert associate(points((1, 0, 0, 0.1)), objects).matches.tolist() == [8]


def test_runner_up_is_tried_when_the_best_is_taken() -> None:
    sources = points((1, 0.30, 0, 0.1), (2, 0.05, 0, 0.1))
    objects = points((7, 0, 0, 0.1), (8, 0.65, 0, 0.1))
    result = associate(sources, objects)
    assert result.matches.tolist() == [8, 7]


def test_a_chain_resolves_from_its_tightest_pair() -> None:
    # source 1 - object 7 - source 2 - object 8 - source 3, each link tighter than the one before
    sources = points((1, 0.0, 0, 0.1), (2, 0.75, 0, 0.1), (3, 1.25, 0, 0.1))
    objects = points((7, 0.4, 0, 0.1), (8, 1.05, 0, 0.1))
    assert associate(sources, objects).matches.tolist() == [NEW, 7, 8]


def test_errors_decide_over_distance() -> None:
    # 0.3 arcsec is 6 sigma from the one object and 0.75 sigma from the other, which is farther off.
    objects = points((7, -0.3, 0, 0.03), (8, 0.35, 0, 0.46))
    sources = points((1, 0, 0, 0.04))
    assert associate(sources, objects).matches.tolist() == [8]
    objects["ra_err"] = objects["dec_err"] = 0.1 * ARCSEC
    assert associate(sources, objects).matches.tolist() == [7]


def test_first_pass_prefers_the_likelier_not_the_fewer_sigma() -> None:
    # 1.5 sigma of 0.1 arcsec against 0.4 sigma of 0.9 arcsec: the offset is likelier under the small error.
    objects = points((7, 0.15, 0, 0.1), (8, -0.36, 0, 0.9))
    assert associate(points((1, 0, 0, 0.0)), objects).first_pass.tolist() == [7]


def test_error_floor_keeps_tiny_errors_from_deciding() -> None:
    crowd = replace(RULES, default_density=0.01)
    sources, objects = points((1, 0.1, 0, 0.001)), points((7, 0, 0, 0.001))
    assert associate(sources, objects, crowd).matches.tolist() == [7]
    assert associate(sources, objects, replace(crowd, error_floor=0.01)).matches.tolist() == [NEW]


def test_errors_of_both_axes_count_alike() -> None:
    # 0.2 arcsec on one axis and none on the other: a variance of 0.02 arcsec^2.
    flat, turned, round_ = (
        associate(*offsets([0.3] * 30, error), rules=replace(RULES, error_floor=0.0))
        for error in ((0.2, 0.0), (0.0, 0.2), 0.2 / np.sqrt(2))
    )
    assert flat.extra_variance == pytest.approx(0.3**2 / (2 * np.log(2)) - 0.02)
    assert flat.extra_variance == pytest.approx(turned.extra_variance)
    assert flat.extra_variance == pytest.approx(round_.extra_variance)


def test_costs_and_likelihoods_by_hand() -> None:
    distance, variance = np.array([0.3, 0.3]), np.array([0.04, UNKNOWN])
    cost = first_pass_cost(distance, variance, RULES)
    assert cost.tolist() == pytest.approx([1.125 + np.log(0.08 * np.pi), np.log(np.pi)])
    chance = likelihood(distance, variance, 0.05, replace(RULES, outlier_fraction=0.1, radius=2.0))
    gaussian = np.exp(-0.09 / 0.18) / (0.18 * np.pi)
    assert chance.tolist() == pytest.approx([0.9 * gaussian + 0.1 / (4 * np.pi), 1 / (4 * np.pi)])


@pytest.mark.parametrize("unknown", [UNKNOWN, (UNKNOWN, 0.1), (0.1, UNKNOWN)])
def test_without_errors_only_the_radius_counts(unknown: float | tuple[float, float]) -> None:
    for source_error, object_error in ((unknown, 0.1), (0.1, unknown), (unknown, unknown)):
        sources = points((1, 0.99, 0, source_error), (2, 5.0, 0, source_error))
        assert associate(sources, points((7, 0, 0, object_error))).matches.tolist() == [7, NEW]


def test_without_errors_the_nearer_wins() -> None:
    sources = points((1, 0.5, 0, UNKNOWN), (2, -0.4, 0, UNKNOWN))
    assert associate(sources, points((7, 0, 0, 0.1))).matches.tolist() == [NEW, 7]


def test_ties_go_to_the_lower_object_id_then_to_the_earlier_source() -> None:
    same = points((9, 0.2, 0, 0.1), (8, 0.2, 0, 0.1))
    assert associate(points((1, 0, 0, 0.1)), same).matches.tolist() == [8]
    assert associate(points((5, 0, 0, 0.1), (4, 0, 0, 0.1)), points((7, 0.2, 0, 0.1))).matches.tolist() == [7, NEW]


@pytest.mark.parametrize("seed", range(20))
def test_walking_from_the_best_pair_equals_rounds_of_mutual_bests(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # A coarse grid and few kinds of errors make ties of every sort.
    errors = [0.05, 0.2, UNKNOWN]
    sources = points(*((i, *rng.integers(0, 12, 2) / 4, errors[rng.integers(3)]) for i in range(25)))
    objects = points(*((100 - j, *rng.integers(0, 12, 2) / 4, errors[rng.integers(3)]) for j in range(25)))
    result = associate(sources, objects, replace(RULES, default_density=0.05), None)

    distance = separation(
        unit_vectors(sources["ra"], sources["dec"])[:, None], unit_vectors(objects["ra"], objects["dec"])[None, :]
    )
    squared = (np.hypot(sources["ra_err"], sources["dec_err"])[:, None] / ARCSEC) ** 2 / 2
    squared = squared + (np.hypot(objects["ra_err"], objects["dec_err"])[None, :] / ARCSEC) ** 2 / 2
    variance = np.maximum(squared, RULES.error_floor**2)
    within = distance <= RULES.radius
    first = rounds_of_mutual_bests(
        np.where(within, first_pass_cost(distance, variance, RULES), np.inf), distance, objects["id"]
    )
    assert result.first_pass.tolist() == first.tolist()
    chance = likelihood(distance, variance, result.extra_variance, RULES)
    stands = within & (chance > result.new_source_density)
    second = rounds_of_mutual_bests(np.where(stands, -np.log(chance), np.inf), distance, objects["id"])
    assert result.matches.tolist() == second.tolist()


# --- calibration -----------------------------------------------------------------------------------------------------


def test_extra_variance_brings_the_median_to_two_ln_two() -> None:
    rng = np.random.default_rng(1)
    variance = rng.uniform(0.001, 0.02, 501)
    distance = np.sqrt(2 * (variance + 0.03)) * np.sqrt(rng.exponential(size=501))
    extra = find_extra_variance(distance, variance)
    assert np.median(distance**2 / (variance + extra)) == pytest.approx(2 * np.log(2), rel=1e-12)


def test_extra_variance_of_an_even_number_of_pairs_is_the_mean_of_the_middle_two() -> None:
    distance = np.sqrt(2 * np.log(2) * np.array([1.0, 2.0, 4.0, 9.0]))
    assert find_extra_variance(distance, np.zeros(4)) == pytest.approx(3.0)


def test_calibration_finds_a_known_extra_variance() -> None:
    rng = np.random.default_rng(2)
    lengths = np.hypot(*(0.2 * rng.standard_normal((2, 1500))))
    sources, objects = offsets(lengths[lengths < 1].tolist(), error=0.06)
    result = associate(sources, objects)
    assert result.n_pairs == len(sources)
    assert result.extra_variance == pytest.approx(0.2**2 - 0.06**2, rel=0.1)


def test_overstated_errors_need_no_extra_variance() -> None:
    result = associate(*offsets([0.05] * 30, error=0.2))
    assert result.n_pairs == 30
    assert result.extra_variance == 0.0


@pytest.mark.parametrize(("n", "expected"), [(19, 0.01), (20, 0.3**2 / (2 * np.log(2)) - 0.1**2)])
def test_too_few_pairs_take_the_default_extra_variance(n: int, expected: float) -> None:
    result = associate(*offsets([0.3] * n, error=0.1), rules=replace(RULES, default_extra_variance=0.01))
    assert result.extra_variance == pytest.approx(expected)


def test_pairs_without_errors_do_not_calibrate() -> None:
    sources, objects = offsets([0.3] * 30, error=0.1)
    sources["ra_err"][:15] = UNKNOWN
    result = associate(sources, objects)
    assert result.n_pairs == 15
    assert result.extra_variance == RULES.default_extra_variance
    assert (result.matches != NEW).all()


# --- old or new ------------------------------------------------------------------------------------------------------


def test_density_counts_the_sources_without_object_on_the_footprint() -> None:
    sources, objects = offsets([0.1] * 30, error=0.1)
    assert associate(sources, objects[:25], area=1000.0).new_source_density == pytest.approx(6 / 1000)
    assert associate(sources, objects, area=1000.0).new_source_density == pytest.approx(1 / 1000)


def test_density_needs_a_true_footprint_and_enough_sources() -> None:
    sources, objects = offsets([0.1] * 30, error=0.1)
    rules = replace(RULES, default_density=3e-4)
    assert associate(sources, objects, rules, area=None).new_source_density == 3e-4
    assert associate(sources[:19], objects, rules, area=1000.0).new_source_density == 3e-4
    assert associate(sources[:20], objects, rules, area=1000.0).new_source_density == pytest.approx(1 / 1000)


def test_in_sparse_data_a_pair_stands_at_many_claimed_sigma() -> None:
    assert associate(points((1, 0.9, 0, 0.05)), points((7, 0, 0, 0.05))).matches.tolist() == [7]


def test_in_a_crowd_a_pair_at_many_sigma_is_a_new_source() -> None:
    dense = replace(RULES, default_density=1e-3)
    sources = points((1, 0.9, 0, 0.05), (2, 60.1, 0, 0.05))
    objects = points((7, 0, 0, 0.05), (8, 60, 0, 0.05))
    assert associate(sources, objects, dense).matches.tolist() == [NEW, 8]


def test_a_pair_exactly_as_likely_as_a_new_source_falls() -> None:
    sources, objects = points((1, 0.5, 0, UNKNOWN)), points((7, 0, 0, 0.1))
    uniform = 1 / (np.pi * RULES.radius**2)
    assert associate(sources, objects, replace(RULES, default_density=uniform)).matches.tolist() == [NEW]
    below = np.nextafter(uniform, 0)
    assert associate(sources, objects, replace(RULES, default_density=below)).matches.tolist() == [7]


def test_a_huge_claimed_error_does_not_make_a_close_pair_likely() -> None:
    crowd = replace(RULES, default_density=0.2)
    objects = points((7, 0, 0, 0.0))
    assert associate(points((1, 0.2, 0, 0.9)), objects, crowd).matches.tolist() == [NEW]
    assert associate(points((1, 0.2, 0, 0.3)), objects, crowd).matches.tolist() == [7]


# --- the sky ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("milliarcsec", [0.01, 1.0, 10.0, 900.0])
def test_separation_is_exact_at_milliarcseconds(milliarcsec: float) -> None:
    step = milliarcsec / 1000 * ARCSEC
    for ra, dec in ((0.0, 0.0), (359.9999999, -30.0), (123.4, 89.9)):
        measured = separation(
            unit_vectors(np.array([ra]), np.array([dec])), unit_vectors(np.array([ra]), np.array([dec + step]))
        )
        assert measured[0] * 1000 == pytest.approx(milliarcsec, abs=1e-6)


def test_separation_of_a_right_angle() -> None:
    assert separation(np.array([1.0, 0, 0]), np.array([0, 0, 1.0])) == pytest.approx(90 * 3600)


@pytest.mark.parametrize("centre", [(0.0, 0.0), (359.9999, 40.0), (45.0, 90.0), (200.0, -90.0), (77.0, 89.95)])
def test_the_place_on_the_sky_changes_nothing(centre: tuple[float, float]) -> None:
    here = simulate(2000, 3, honest=False)
    there = simulate(2000, 3, honest=False, centre=centre)
    expected = through_referee(here)
    result = through_referee(there)
    assert result.matches.tolist() == expected.matches.tolist()
    assert result.extra_variance == pytest.approx(expected.extra_variance, rel=1e-6)


def test_the_order_of_rows_changes_nothing() -> None:
    field = simulate(3000, 4, honest=True)
    rng = np.random.default_rng(5)
    i, j = rng.permutation(len(field.sources)), rng.permutation(len(field.objects))
    straight = through_referee(field).matches
    shuffled = associate(field.sources[i], field.objects[j], area=field.area).matches
    assert shuffled.tolist() == straight[i].tolist()


# --- the simulation --------------------------------------------------------------------------------------------------


def test_simulation_is_what_it_says() -> None:
    field = simulate(20_000, 6, honest=True)
    assert field.area == pytest.approx(SIDE**2, rel=1e-4)
    assert np.mean(field.truth == NEW) == pytest.approx(0.1, abs=0.001)
    assert len(field.sources) == pytest.approx(20_000 * 0.3 / 0.9, rel=0.03)
    assert field.truth.max() <= 20_000
    assert len(np.unique(field.truth[field.truth != NEW])) == np.sum(field.truth != NEW)
    again = simulate(20_000, 6, honest=True)
    assert (again.sources == field.sources).all()
    known = field.truth != NEW
    objects = field.objects[field.truth[known] - 1]
    sources = field.sources[known]
    offset = separation(unit_vectors(sources["ra"], sources["dec"]), unit_vectors(objects["ra"], objects["dec"]))
    variance = (sources["ra_err"].astype(float) ** 2 + objects["ra_err"].astype(float) ** 2) / ARCSEC**2
    assert np.mean(offset**2 / variance) == pytest.approx(2.0, abs=0.1)


def test_solid_angle_of_an_octant() -> None:
    octant = np.array([[0.0, 0.0], [90.0, 0.0], [0.0, 90.0]])
    assert solid_angle(octant) == pytest.approx(np.pi / 2 * np.degrees(3600.0) ** 2)


@pytest.mark.parametrize("honest", [True, False], ids=["honest", "understated"])
def test_association_meets_its_bars_at_20000_objects(honest: bool) -> None:
    result = score(through_referee(field := simulate(20_000, 0, honest)).matches, field.truth)
    assert result.wrong <= (0.4 if honest else 0.8)
    assert result.split <= 0.1


def test_believing_understated_errors_would_split_a_quarter_of_the_objects() -> None:
    field = simulate(5000, 0, honest=False, scatter=PER_AXIS)
    credulous = replace(RULES, calibration_min_pairs=10**9, outlier_fraction=0.0)
    assert score(through_referee(field, credulous).matches, field.truth).split > 20
    assert score(through_referee(field).matches, field.truth).split < 0.1
