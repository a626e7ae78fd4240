"""The pixels hold the fluxes they should, and noise of the variance they claim.

Referees: aperture photometry by photutils, the closed form of a Moffat's curve of growth, numerical integrals, and the
PSF that the files store.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from photutils.aperture import CircularAperture, aperture_photometry
from scipy.integrate import dblquad

from l1db.simulate import artefacts, geometry, pixels
from l1db.simulate.optics import Optics, make_optics
from l1db.simulate.pixels import GAIN, Light
from l1db.simulate.plan import Plan

PLAN = Plan(seed=2, size=256, bogus_density=0)
POINTING = next(geometry.pointings(PLAN))
LENS = make_optics(PLAN, POINTING, 0)
RNG = np.random.default_rng(0)
X = np.tile(np.linspace(45, 210, 4), 4) + RNG.uniform(-0.5, 0.5, 16)
Y = np.repeat(np.linspace(45, 210, 4), 4) + RNG.uniform(-0.5, 0.5, 16)
FLUX = RNG.uniform(1e4, 1e6, 16)
NOTHING = np.zeros(16)


def light(snap1: np.ndarray, snap2: np.ndarray, template: np.ndarray, *, static: bool = False) -> Light:
    return Light(X, Y, snap1, snap2, template, np.full(16, static))


def clean(plan: Plan = PLAN) -> artefacts.Artefacts:
    """Nothing is wrong with this image."""
    none, no = np.zeros((plan.size, plan.size)), np.zeros((plan.size, plan.size), dtype=bool)
    no_kinds = np.zeros(0, dtype="U1")
    return artefacts.Artefacts(no, no, no, np.stack([none, none]), no, none, no_kinds, np.zeros(0), np.zeros(0), 0)


def exposed(plan: Plan = PLAN, wrong: artefacts.Artefacts | None = None, flux: np.ndarray = FLUX) -> dict:
    layers = pixels.draw(POINTING, LENS, light(flux, flux * 0.8, flux * 0.5), plan.size)
    return pixels.expose(plan, POINTING, 0, layers, wrong or clean(plan))


def test_the_stamp_has_the_light_that_a_moffat_has_there() -> None:
    """galsim's FFT against a numerical integral of the profile."""
    lens = Optics(3.5, 3.0, (0.0, 0.0), 101)
    alpha = 3.5 / 2 / np.sqrt(2 ** (1 / 3.0) - 1)
    stamp = lens.stamp(50.3, 49.8) * lens.aperture_correction  # of sum 1 now
    whole = dblquad(lambda y, x: 2 / np.pi / alpha**2 * (1 + (x**2 + y**2) / alpha**2) ** -3, -12, 12, -12, 12)[0]
    assert 1 / lens.aperture_correction == pytest.approx(whole, rel=0.05)
    half = lens.size // 2
    for row, column in ((half, half), (half + 1, half), (half - 2, half + 3), (half + 5, half)):
        x, y = column - half - 0.3, row - half + 0.2
        light_there = dblquad(
            lambda v, u: 2 / np.pi / alpha**2 * (1 + (u**2 + v**2) / alpha**2) ** -3, x - 0.5, x + 0.5, y - 0.5, y + 0.5
        )[0]
        pixel = stamp[row, column] / lens.aperture_correction
        assert pixel == pytest.approx(light_there, abs=2e-5 * stamp.max(), rel=2e-3)


@pytest.mark.parametrize(("layer", "share"), [(0, 0.5), (1, 0.4), (2, 0.5)])
def test_apertures_find_the_true_fluxes(layer: int, share: float) -> None:
    layers = pixels.draw(POINTING, LENS, light(FLUX, FLUX * 0.8, FLUX * 0.5), PLAN.size)
    radius = 16.0
    seen = aperture_photometry(layers[layer], CircularAperture(np.transpose([X, Y]), radius))["aperture_sum"]
    alpha = np.array([LENS.fwhm_at(x, y) for x, y in zip(X, Y, strict=True)]) / 2 / np.sqrt(2 ** (1 / LENS.beta) - 1)
    inside = 1 - (1 + (radius / alpha) ** 2) ** (1 - LENS.beta)
    truth = FLUX * share * POINTING.counts_per_njy * GAIN
    # The wings of one star are in the apertures of others, and stamps end where they are faint.
    np.testing.assert_allclose(np.asarray(seen) / inside, truth, rtol=0.01)


def test_the_stored_psf_and_aperture_correction_give_the_true_flux() -> None:
    """What is stored is a grid of Moffats, what is drawn varies smoothly: they agree to 1e-4 of the flux."""
    psf = LENS.stored()
    stamps = psf.stamps(X, Y, LENS.size)
    half = LENS.size // 2
    for i in range(16):
        alone = Light(X[i : i + 1], Y[i : i + 1], FLUX[i : i + 1], NOTHING[:1], NOTHING[:1], np.array([False]))
        image = pixels.draw(POINTING, LENS, alone, PLAN.size)[0]
        row, column = int(np.floor(Y[i] + 0.5)), int(np.floor(X[i] + 0.5))
        here = image[row - half : row + half + 1, column - half : column + half + 1]
        flux = (here * stamps[i]).sum() / (stamps[i] ** 2).sum() * LENS.aperture_correction
        assert flux == pytest.approx(FLUX[i] / 2 * POINTING.counts_per_njy * GAIN, rel=1e-4)


def test_images_are_calibrated_but_for_the_zero_points_error() -> None:
    """Science in counts of the whole exposure, the snap difference of half of it."""
    plan = replace(PLAN, zero_point_error=0.05)
    pointing = next(geometry.pointings(plan))
    assert abs(pointing.zero_point_error) > 1e-3
    flux = np.full(16, 2e5)
    layers = pixels.draw(pointing, LENS, light(flux, flux * 0.8, flux * 0.5), plan.size)
    images = pixels.expose(plan, pointing, 0, layers, clean())
    aperture = CircularAperture(np.transpose([X, Y]), 14.0)
    for kind, truth in (("science", 0.9), ("template", 0.5), ("difference", 0.4), ("snap_difference", -0.2)):
        image = images[kind]
        seen = aperture_photometry(image.image.astype(float), aperture)["aperture_sum"].mean() * image.calibration
        assert seen == pytest.approx(truth * 2e5 * (1 + pointing.zero_point_error), rel=0.015), kind


@pytest.mark.parametrize("variance", ["data", "model"])
@pytest.mark.parametrize("sigma", [0.0, 0.8])
def test_noise_has_the_variance_it_claims(variance: str, sigma: float) -> None:
    plan = replace(PLAN, variance=variance, noise_sigma=sigma)
    images = exposed(plan, flux=NOTHING)
    for kind, image in images.items():
        ratio = float((image.image.astype(float) ** 2).mean() / image.variance.mean())
        assert ratio == pytest.approx(1, abs=0.05 if sigma else 0.025), kind


def test_noise_is_correlated_as_stored_and_white_where_nothing_is_stored() -> None:
    for sigma in (0.0, 1.0):
        plan = replace(PLAN, noise_sigma=sigma)
        stored = pixels.noise_correlation(plan)
        image = exposed(plan, flux=NOTHING)["difference"].image.astype(float)
        for dy, dx in ((0, 1), (1, 0), (1, 1), (0, 2)):
            here, there = image[: 256 - dy, : 256 - dx], image[dy:, dx:]
            middle = 0 if stored is None else len(stored) // 2
            expected = 0.0 if stored is None else stored[middle + dy, middle + dx]
            assert (here * there).mean() / (image**2).mean() == pytest.approx(expected, abs=0.03)


def test_difference_is_science_minus_template_with_variance_and_mask() -> None:
    wrong = artefacts.make_artefacts(replace(PLAN, bogus_density=3), POINTING.visit, 0, 30.0)
    images = exposed(wrong=wrong)
    difference, science, template = (images[kind] for kind in ("difference", "science", "template"))
    seen = np.isfinite(difference.image)
    np.testing.assert_allclose(difference.image[seen], (science.image - template.image)[seen], atol=0.05)
    np.testing.assert_allclose(difference.variance[seen], (science.variance + template.variance)[seen], rtol=1e-5)
    both = science.mask | template.mask
    assert ((difference.mask & ~pixels.bits("EDGE")) == both).all()
    assert (difference.mask[[0, -1]] & pixels.bits("EDGE")).all()
    assert (np.isnan(difference.image) == ((both & pixels.bits("NO_DATA")) != 0)).all()


def test_saturated_stars_are_masked_with_what_they_spill() -> None:
    flux = NOTHING.copy()
    flux[5] = 3e7
    science = exposed(flux=flux)["science"]
    full = (science.mask & pixels.bits("SAT")) != 0
    rows, columns = np.nonzero(full)
    assert full[int(Y[5]), int(X[5])]
    assert np.ptp(rows) > np.ptp(columns)
    assert science.image.max() <= 2 * 100_000 / GAIN
    assert not full[:, int(X[6])].any()


def test_each_kind_of_artefact_is_where_its_mask_says() -> None:
    plan = replace(PLAN, size=512)
    bad_columns = [artefacts.make_artefacts(plan, visit, 3, 30.0).bad for visit in (1, 2)]
    assert (bad_columns[0] == bad_columns[1]).all(), "columns are the detector's, not the visit's"
    many = [artefacts.make_artefacts(replace(plan, bogus_density=4), visit, 3, 30.0) for visit in range(20)]
    assert 0 < sum(a.dead.any() for a in many) < 20
    assert 0 < sum(a.template_gap.any() for a in many) < 20
    assert all((a.rays[:, a.masked_rays].sum(axis=0) > 0).all() for a in many)
    assert {str(kind) for a in many for kind in a.kind} == {"cosmic_ray", "hot_pixel", "ghost"}
    assert sum(a.n_dipoles for a in many) > 20
    for a in many:
        for kind, x, y in zip(a.kind, a.x, a.y, strict=True):
            charge = a.template_hits if kind == "hot_pixel" else a.rays.sum(axis=0)
            assert charge[round(float(y)), round(float(x))] > 0
