"""Light curves do what their kinds say, and one more night or visit leaves the others as they were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from l1db.simulate import geometry, sky
from l1db.simulate.geometry import ARCSEC
from l1db.simulate.plan import EXPOSURE_TIME, FIRST_MIDPOINT, Plan

PLAN = Plan(nights=3, visits_per_night=3, size=512, density=5)
LASTING = sky.lasting(PLAN)
POINTINGS = list(geometry.pointings(PLAN))


def curve(things: sky.Things, times: np.ndarray, band: str = "r") -> np.ndarray:
    return np.array([sky.flux_at(things, float(time), band, EXPOSURE_TIME) for time in times])


@pytest.mark.parametrize("kind", ["rr_lyrae", "eclipsing"])
def test_periodic_variables_repeat_after_their_period_and_not_before(kind: str) -> None:
    things = LASTING[LASTING.is_of(kind)]
    for i in range(5):
        one = things[np.array([i])]
        times = FIRST_MIDPOINT + np.linspace(0, 1, 300) * one.period[0]
        flux = curve(one, times)
        np.testing.assert_allclose(curve(one, times + 3 * one.period[0]), flux, rtol=1e-5, atol=1e-3 * flux.max())
        assert not np.allclose(curve(one, times + 0.4 * one.period[0]), flux, rtol=0.01)


def test_rr_lyrae_have_their_mean_in_the_template() -> None:
    things = LASTING[LASTING.is_of("rr_lyrae")][np.arange(8)]
    means = [
        curve(things[np.array([i])], things.start[i] + np.arange(200) / 200 * things.period[i]).mean()
        for i in range(len(things))
    ]
    np.testing.assert_allclose(sky.template_flux(things, "r"), means, rtol=3e-3)


def test_supernovae_and_kilonovae_are_dark_before_they_begin() -> None:
    new = sky.joined([LASTING, sky.of_night(PLAN, 1, LASTING)])
    new = new[new.is_of("supernova", "kilonova")]
    for i in range(len(new)):
        one = new[np.array([i])]
        assert (curve(one, one.start[0] - np.array([0.01, 1, 50])) == 0).all()
        assert (curve(one, one.start[0] + np.array([0.5, 2])) > 0).all()
    assert (sky.template_flux(new, "r") == 0).all()


def test_a_flare_shows_in_its_own_visit_only() -> None:
    flares = [things[things.is_of("flare")] for things in (sky.of_visit(PLAN, pointing) for pointing in POINTINGS)]
    middles = np.array([pointing.midpoint_mjd_tai for pointing in POINTINGS])
    for i, things in enumerate(flares):
        seen = curve(things, middles) > 0
        assert len(things)
        assert seen[i].all()
        assert seen.sum() == len(things)


def test_a_flash_shows_in_one_snap_or_differs_between_the_two() -> None:
    for pointing in POINTINGS:
        things = sky.of_visit(PLAN, pointing)
        things = things[things.is_of("flash")]
        snap1, snap2 = curve(things, np.array(pointing.snap_midpoints))
        assert len(things)
        np.testing.assert_allclose(np.minimum(snap1, snap2) / np.maximum(snap1, snap2), things.amplitude)
        assert (np.abs(snap1 - snap2) > 0.1 * (snap1 + snap2)).all()
        assert (curve(things, np.array([pointing.midpoint_mjd_tai + 0.01])) == 0).all()


def test_faded_things_are_negative_for_ever() -> None:
    things = LASTING[LASTING.is_of("faded")]
    assert len(things)
    assert (curve(things, FIRST_MIDPOINT + np.arange(3.0)) == 0).all()
    assert (sky.template_flux(things, "g") > 0).all()


def test_every_night_has_an_object_that_crosses_a_variable() -> None:
    for night in range(PLAN.nights):
        first = sky.of_night(PLAN, night, LASTING)
        first = first[first.is_of("mover")][np.array([0])]
        there = sky.position_at(first, geometry.midpoint(PLAN, night, 0))
        variables = LASTING[LASTING.is_of("rr_lyrae")]
        assert geometry.separation(variables.position, there).min() == pytest.approx(0.3, abs=1e-3)


def test_moving_objects_keep_their_speed() -> None:
    things = LASTING[LASTING.is_of("slow_mover")]
    a, b = (sky.position_at(things, FIRST_MIDPOINT + days) for days in (1.0, 3.5))
    speed = np.linalg.norm(things.motion, axis=1)
    np.testing.assert_allclose(geometry.separation(a, b), 2.5 * speed / ARCSEC, rtol=1e-6)


def test_pairs_are_a_ladder_of_separations() -> None:
    things = sky.lasting(replace(PLAN, density=20))
    things = things[things.is_of("pair")]
    apart = geometry.separation(things.position[::2], things.position[1::2])
    assert 0.29 < apart.min() < 0.31
    assert 2.9 < apart.max() < 3.1


@pytest.mark.parametrize("more", [{"nights": 5}, {"visits_per_night": 6}, {"nights": 1}])
def test_other_nights_and_visits_leave_sky_and_pointing_as_they_were(more: dict[str, int]) -> None:
    other = replace(PLAN, **more)
    again = {pointing.visit: pointing for pointing in geometry.pointings(other)}
    common = [pointing for pointing in POINTINGS if pointing.visit in again]
    assert common
    for pointing in common:
        assert again[pointing.visit] == pointing
        np.testing.assert_array_equal(sky.of_visit(other, pointing).flux, sky.of_visit(PLAN, pointing).flux)
    np.testing.assert_array_equal(sky.lasting(other).position, LASTING.position)
    np.testing.assert_array_equal(sky.of_night(other, 0, LASTING).motion, sky.of_night(PLAN, 0, LASTING).motion)


def test_identifiers_are_unique_over_all_sets() -> None:
    sets = [LASTING]
    sets += [sky.of_night(PLAN, night, LASTING) for night in range(PLAN.nights)]
    sets += [sky.of_visit(PLAN, pointing) for pointing in POINTINGS]
    ids = sky.joined(sets).truth_id
    assert len(np.unique(ids)) == len(ids)
