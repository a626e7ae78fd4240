"""The matched filter finds what is there, where it is, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from truth_tables import read

from l1db.simulate import Simulation, detect
from l1db.simulate.optics import Optics

LENS = Optics(3.6, 3.2, (0.03, -0.02), 200)
SIZE = 200
GOOD = np.ones((SIZE, SIZE), dtype=bool)


def star(x: float, y: float, flux: float, lens: Optics = LENS) -> np.ndarray:
    image = np.zeros((SIZE + 80, SIZE + 80))
    stamp = lens.unit_stamp(x, y)
    low, left = int(np.floor(y + 0.5)) + 40 - len(stamp) // 2, int(np.floor(x + 0.5)) + 40 - len(stamp) // 2
    image[low : low + len(stamp), left : left + len(stamp)] = flux * stamp
    return image[40:-40, 40:-40]


def search(image: np.ndarray, *, noise: float = 1.0, good: np.ndarray = GOOD, lens: Optics = LENS) -> detect.Detections:
    variance = np.full(image.shape, noise**2, dtype=np.float32)
    return detect.find_sources(image.astype(np.float32), variance, good, lens)[0]


def noise(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(SIZE, SIZE))


def test_blank_sky_has_no_sources() -> None:
    assert sum(len(search(noise(seed))) for seed in range(5)) == 0


def test_the_map_of_signal_to_noise_has_unit_variance() -> None:
    _, snr = detect.find_sources(
        noise().astype(np.float32), np.ones((SIZE, SIZE), dtype=np.float32), GOOD, LENS, threshold=9.0
    )
    assert snr[20:-20, 20:-20].std() == pytest.approx(1, abs=0.04)


@pytest.mark.parametrize("sign", [1, -1])
def test_place_and_flux_are_right_at_any_sub_pixel_phase(sign: int) -> None:
    for dx, dy in ((0.0, 0.0), (0.25, -0.4), (0.49, 0.49), (-0.5, 0.1)):
        found = search(star(90 + dx, 60 + dy, sign * 3000.0))
        assert len(found) == 1
        assert found.x[0] == pytest.approx(90 + dx, abs=0.01)
        assert found.y[0] == pytest.approx(60 + dy, abs=0.01)
        assert found.flux[0] == pytest.approx(sign * 3000, rel=1e-3)


def test_errors_of_place_and_flux_are_those_of_the_scatter() -> None:
    rng = np.random.default_rng(3)
    pulls = []
    for seed in range(12):
        x, y = (grid.ravel() + rng.uniform(-0.5, 0.5, 9) for grid in np.meshgrid([40.0, 100, 160], [40.0, 100, 160]))
        image = noise(seed) + sum(star(a, b, 250.0) for a, b in zip(x, y, strict=True))
        found = search(image)
        nearest = np.hypot(found.x[:, None] - x, found.y[:, None] - y).argmin(axis=1)
        assert sorted(nearest) == list(range(9))
        pulls.append([(found.x - x[nearest]) / found.x_err, (found.y - y[nearest]) / found.y_err,
                      (found.flux - 250) / found.flux_err])  # fmt: skip
    x_pull, y_pull, flux_pull = np.concatenate(pulls, axis=1)
    for pull in (x_pull, y_pull, flux_pull):
        assert abs(pull.mean()) < 0.35
        assert 0.8 < pull.std() < 1.25


def test_a_blend_is_two_sources_with_their_own_fluxes() -> None:
    found = search(star(90, 60, 900.0) + star(95.2, 62, 500.0) + noise())
    assert len(found) == 2
    np.testing.assert_allclose(found.x, [90, 95.2], atol=0.15)
    np.testing.assert_allclose(found.flux, [900, 500], atol=40)


def test_a_dipole_is_one_source_of_each_sign() -> None:
    found = search(star(90, 60, 4000.0) - star(90.3, 60, 4000.0) + noise())
    assert sorted(np.sign(found.flux)) == [-1, 1]
    assert found.x[found.flux > 0][0] < found.x[found.flux < 0][0]


def test_a_bright_star_alone_is_one_source() -> None:
    found = search(star(90.3, 60.2, 2e5) + noise())
    assert len(found) == 1
    assert found.bbox_size[0] > 15


def test_a_column_through_the_core_is_left_out_and_the_flux_stays() -> None:
    good = GOOD.copy()
    good[:, 91] = False
    image = star(90.2, 60.4, 3000.0)
    image[:, 91] = 1e5
    found = search(image + noise(), good=good)
    assert len(found) == 1
    assert found.flux[0] == pytest.approx(3000, rel=0.05)
    assert found.x[0] == pytest.approx(90.2, abs=0.1)
    assert found.n_pix[0] == LENS.size * (LENS.size - 1)


def test_a_star_at_the_edge_is_found_and_unbiased() -> None:
    found = search(star(3.0, 100.3, 3000.0) + noise())
    assert len(found) == 1
    assert found.flux[0] == pytest.approx(3000, rel=0.05)


def test_pixels_that_are_not_numbers_hurt_nothing() -> None:
    image = star(90, 60, 3000.0) + noise()
    image[50:55, 100:140] = np.nan
    image[150, 150] = np.inf
    found = search(image)
    assert len(found) == 1


def test_noise_that_is_correlated_is_not_taken_for_sources() -> None:
    profile = np.exp(-0.5 * (np.arange(-4, 5) / 1.0) ** 2)
    profile /= np.sqrt((profile**2).sum())
    white = np.random.default_rng(0).normal(size=(128, 128))
    for axis in (0, 1):
        white = np.apply_along_axis(np.convolve, axis, white, profile, mode="valid")
    across = np.convolve(profile, profile)
    correlation = np.outer(across, across) / across.max() ** 2
    variance, good = np.ones((120, 120), dtype=np.float32), np.ones((120, 120), dtype=bool)
    with_it, _ = detect.find_sources(white.astype(np.float32), variance, good, LENS, correlation=correlation)
    without, _ = detect.find_sources(white.astype(np.float32), variance, good, LENS)
    assert len(with_it) == 0
    assert len(without) > 10


# --- on simulated images ---------------------------------------------------------------------------------------------


def test_sources_above_8_sigma_are_found_and_what_is_found_is_real_or_an_artefact(small: Simulation) -> None:
    truth, found = read(small.directory, "truth_lc"), read(small.directory, "truth_detection")
    sources = read(small.directory, "sources")
    significance = np.abs(truth["flux_expected"]) / truth["flux_err_expected"]
    findable = (significance > 8) & truth["is_on_image"] & truth["is_point"] & (truth["psf_fraction"] > 0.9)
    findable &= truth["nearest_change"] > 2.5
    seen = set(zip(found["visit"], found["detector"], found["truth_id"], strict=True))
    keys = list(zip(truth["visit"], truth["detector"], truth["truth_id"], strict=True))
    hits = np.array([key in seen for key in keys])
    assert findable.sum() > 100
    assert hits[findable].mean() > 0.985
    dark = (significance < 1) & truth["is_point"] & (truth["nearest_change"] > 2.5)
    assert dark.sum() > 10
    assert hits[dark].mean() < 0.02

    bright = sources["snr"] > 8
    unexplained = np.isin(found["kind"], ["noise", "residual"])
    assert (found["kind"][bright] == "noise").mean() < 0.01
    assert unexplained[bright].mean() < 0.08
    artefact = np.isin(found["kind"], ["cosmic_ray", "hot_pixel", "dipole", "ghost"])
    assert artefact.sum() > 10
    assert sources["reliability"][artefact].mean() < 0.35
    assert sources["reliability"][~artefact & ~unexplained].mean() > 0.7


def test_fluxes_and_positions_of_sources_are_those_of_their_truth(small: Simulation) -> None:
    truth, found = read(small.directory, "truth_lc"), read(small.directory, "truth_detection")
    sources = read(small.directory, "sources")
    row = {key: i for i, key in enumerate(zip(truth["visit"], truth["detector"], truth["truth_id"], strict=True))}
    keys = zip(found["visit"], found["detector"], found["truth_id"], strict=True)
    source, true = np.array([(i, row[key]) for i, key in enumerate(keys) if key in row]).T
    clean = truth["is_point"][true] & (truth["nearest_change"][true] > 3) & (truth["psf_fraction"][true] > 0.9)
    clean &= sources["snr"][source] > 10
    source, true = source[clean], true[clean]
    assert len(source) > 100
    pull = (sources["psf_flux"][source] - truth["flux_expected"][true]) / sources["psf_flux_err"][source]
    assert 0.8 < (pull**2).mean() < 1.25
    assert abs(pull.mean()) < 0.25
    north = (sources["dec"][source] - truth["dec"][true]) / sources["dec_err"][source]
    cos = np.cos(np.radians(truth["dec"][true]))
    east = (sources["ra"][source] - truth["ra"][true]) * cos / sources["ra_err"][source]
    for offset in (north, east):
        assert 0.7 < (offset**2).mean() < 1.4
    assert (sources["is_negative"][source] == (truth["flux_true"][true] < 0)).all()


def test_snap_differences_of_flashes_are_found_in_the_snaps(small: Simulation) -> None:
    truth, found = read(small.directory, "truth_lc"), read(small.directory, "truth_detection")
    sources = read(small.directory, "sources")
    keys = zip(truth["visit"], truth["detector"], truth["truth_id"], strict=True)
    snaps = dict(zip(keys, truth["snap_diff_expected"], strict=True))
    alone = truth["truth_id"][(truth["nearest_change"] > 3) & (truth["psf_fraction"] > 0.9)]
    flashes = np.flatnonzero((found["kind"] == "flash") & np.isin(found["truth_id"], alone))
    assert len(flashes)
    n_significant = 0
    for i in flashes:
        expected = snaps[found["visit"][i], found["detector"][i], found["truth_id"][i]]
        assert abs(sources["snap_diff_flux"][i] - expected) < 5 * sources["snap_diff_flux_err"][i] + 0.05 * abs(
            expected
        )
        if abs(expected) > 8 * sources["snap_diff_flux_err"][i]:
            n_significant += abs(sources["snap_diff_flux"][i]) > 5 * sources["snap_diff_flux_err"][i]
    assert n_significant > 0.5 * len(flashes)
