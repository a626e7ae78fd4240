"""Noise that neighbouring pixels share: measured, and put into the errors.

Seen red: with the correlation left out of ``_singly`` the pulls; with ``matrix`` for ``matrix.T`` the brute-force
sums (the correlation there is not symmetric); with ``_near`` returning its input the unmasked field of stars; without
room for the lags in ``correlate`` its comparison with the matrix; with products not divided by their own number of
pairs, or with the image's level left in, the measured correlation.
"""

from __future__ import annotations

import numpy as np
import pytest

from l1db.errors import InputError
from l1db.images.psf import GaussianPsf
from l1db.photometry import ForcedFlag, forced_photometry, measure_noise_correlation
from l1db.photometry.noise import correlate, correlation_matrix
from tests.photometry.scenes import FWHM, WIDTH, FloatArray, coloured_noise, drawn, spaced

PSF = GaussianPsf(FWHM, WIDTH)


@pytest.mark.parametrize("sigma", [0.5, 0.8, 1.0, 1.5])
def test_pulls_in_coloured_noise(sigma: float) -> None:
    rng = np.random.default_rng(1)
    x, y, shape = spaced(60, rng)
    noise, correlation = coloured_noise(shape, sigma, rng)
    image, variance = noise * 7, np.full(shape, 49.0)
    raw = forced_photometry(image, variance, x, y, PSF)
    assert (raw["flux"] / raw["flux_err"]).std() > 1.3
    measured = measure_noise_correlation(image, variance)
    for known in (correlation, measured):
        found = forced_photometry(image, variance, x, y, PSF, noise_correlation=known)
        pull = found["flux"] / found["flux_err"]
        assert 0.95 < pull.std() < 1.05
        assert abs(pull.mean()) < 0.05
        assert (found["flux"] == raw["flux"]).all()


def brute_force_error(good: FloatArray, variance: FloatArray, correlation: FloatArray, x: float, y: float) -> float:
    """The double sum over pixels, one by one."""
    column, row = (int(np.floor(axis + 0.5)) - WIDTH // 2 for axis in (x, y))
    phi = PSF.stamps(x, y)[0] * good[row : row + WIDTH, column : column + WIDTH]
    noise = phi * variance[row : row + WIDTH, column : column + WIDTH]
    half = np.array(correlation.shape) // 2
    total = 0.0
    for p in np.ndindex(WIDTH, WIDTH):
        for j in range(-half[0], half[0] + 1):
            for i in range(-half[1], half[1] + 1):
                q = p[0] - j, p[1] - i
                if 0 <= q[0] < WIDTH and 0 <= q[1] < WIDTH:
                    total += phi[p] * correlation[half[0] + j, half[1] + i] * noise[q]
    return float(np.sqrt(total) / (phi**2).sum())


def test_correlated_error_is_the_double_sum() -> None:
    """With bad pixels, a variance that differs, and a correlation that is symmetric in nothing."""
    rng = np.random.default_rng(2)
    variance = rng.uniform(1, 9, (60, 60))
    mask = rng.uniform(size=variance.shape) < 0.1
    correlation = rng.uniform(0, 0.5, (5, 7))
    correlation[2, 3] = 1.0
    x, y = [28.3, 20.0], [30.1, 41.4]
    found = forced_photometry(variance, variance, x, y, PSF, mask=mask, noise_correlation=correlation)
    assert (found["flags"] & ForcedFlag.BLENDED_JOINT == 0).all()
    for one, one_x, one_y in zip(found, x, y, strict=True):
        assert one["flux_err"] == pytest.approx(
            brute_force_error(~mask, variance, correlation, one_x, one_y), rel=1e-12
        )


def test_uncorrelated_is_the_same_as_no_correlation() -> None:
    rng = np.random.default_rng(3)
    image, (x, y) = rng.normal(size=(200, 200)), rng.uniform(0, 200, (2, 100))
    white = np.zeros((17, 17))
    white[8, 8] = 1
    one = forced_photometry(image, np.ones_like(image), x, y, PSF)
    for correlation in (white, np.ones((1, 1))):
        other = forced_photometry(image, np.ones_like(image), x, y, PSF, noise_correlation=correlation)
        assert np.allclose(other["flux_err"], one["flux_err"], rtol=1e-9)


def test_matrix_and_convolution_are_the_same() -> None:
    rng = np.random.default_rng(4)
    for shape in ((3, 5), (17, 17), (41, 1)):
        correlation, images = rng.normal(size=shape), rng.normal(size=(4, 11, 11))
        by_matrix = (images.reshape(4, -1) @ correlation_matrix(correlation, 11).T).reshape(images.shape)
        assert np.allclose(correlate(images, correlation), by_matrix, atol=1e-12)


def test_correlation_longer_than_the_stamp() -> None:
    image = np.ones((50, 50))
    u = np.arange(-40, 41)
    correlation = np.exp(-(u[:, None] ** 2 + u**2) / 8)
    small = correlation[32:-32, 32:-32]
    one, other = (
        forced_photometry(image, image, [25.0], [25.0], PSF, noise_correlation=c)["flux_err"]
        for c in (correlation, small)
    )
    assert one == pytest.approx(other, rel=1e-3)


def test_a_correlation_that_no_noise_has_gives_no_error() -> None:
    image = np.ones((50, 50))
    correlation = np.full((5, 5), -1.0)
    correlation[2, 2] = 1
    (found,) = forced_photometry(image, image, [25.0], [25.0], PSF, noise_correlation=correlation)
    assert np.isnan(found["flux"])
    assert np.isnan(found["flux_err"])
    assert found["flags"] == ForcedFlag.FAILED


def test_measured_correlation_is_that_of_the_noise() -> None:
    rng = np.random.default_rng(5)
    noise, truth = coloured_noise((1200, 1500), 1.0, rng)
    variance = rng.uniform(1, 100, noise.shape)
    found = measure_noise_correlation(noise * np.sqrt(variance) + 0.0, variance)
    assert found.shape == (17, 17)
    assert found[8, 8] == 1
    assert (found == found[::-1, ::-1]).all()
    assert np.abs(found - truth).max() < 0.005
    assert (
        np.abs(measure_noise_correlation(noise * 3 + 40, np.full(noise.shape, 9.0), size=5) - truth[6:-6, 6:-6]).max()
        < 0.005
    )


def test_stars_masked_and_unmasked_do_not_count_as_noise() -> None:
    rng = np.random.default_rng(6)
    shape = (800, 800)
    noise, truth = coloured_noise(shape, 0.8, rng)
    x, y = rng.uniform(0, 800, (2, 500))
    image = noise + drawn(shape, x, y, 10 ** rng.uniform(1.5, 3.5, 500))
    detected = drawn(shape, x, y, np.full(500, 1000.0)) > 0.1
    mask = np.where(detected, 1 << 5, 0)
    for one in (mask, detected):
        assert np.abs(measure_noise_correlation(image, np.ones(shape), one) - truth).max() < 0.02
    assert np.abs(measure_noise_correlation(image, np.ones(shape)) - truth).max() < 0.014


def test_measured_on_bad_pixels_or_none_it_is_uncorrelated() -> None:
    white = np.zeros((17, 17))
    white[8, 8] = 1
    ones = np.ones((300, 300))
    noise = np.random.default_rng(7).normal(size=ones.shape)
    for image, variance, mask in [
        (ones * np.nan, ones, None),
        (noise, ones * 0, None),
        (noise, ones, ones.astype(int)),
        (ones, ones, None),
        (ones[:0, :0], ones[:0, :0], None),
        (noise[:20, :20], ones[:20, :20], None),
    ]:
        assert (measure_noise_correlation(image, variance, mask) == white).all()
    assert np.abs(measure_noise_correlation(noise, ones) - white).max() < 0.02


def test_an_image_beyond_the_sample() -> None:
    rng = np.random.default_rng(8)
    noise = rng.normal(size=(2600, 2100)).astype("f4")
    noise += np.roll(noise, 1, axis=1)
    found = measure_noise_correlation(noise, np.full(noise.shape, 2, "f4"), size=3)
    assert np.allclose(found, [[0, 0, 0], [0.5, 1, 0.5], [0, 0, 0]], atol=0.005)


@pytest.mark.parametrize("size", [0, 4])
def test_even_widths_are_refused(size: int) -> None:
    with pytest.raises(InputError, match="odd"):
        measure_noise_correlation(np.ones((9, 9)), np.ones((9, 9)), size=size)
