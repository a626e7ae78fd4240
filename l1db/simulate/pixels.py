"""The four images of a detector: light and noise in electrons, then what a pipeline makes of them.

Two snaps of half the exposure each give the science image, their sum without the sky, and the snap difference, second
minus first.  The template is matched already: it has the visit's own PSF and scale, a tenth of its variance, and noise
of its own in every visit.  The difference is science minus template, pixel by pixel, and so are variance and mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l1db.images.exposure import BAD_PLANES, MASK_PLANES
from l1db.simulate.artefacts import Artefacts
from l1db.simulate.detect import THRESHOLD
from l1db.simulate.geometry import Floats, Pointing
from l1db.simulate.optics import Optics
from l1db.simulate.plan import Plan

GAIN = 1.5  # electrons per count
_READ_NOISE = 5.0  # electrons, per snap
_FULL_WELL = 100_000.0  # electrons, per snap
_SUSPECT = 0.8  # of the full well
_TEMPLATE_DEPTH = 10.0  # exposures in the template
_EDGE = 4  # pixels
_FAINTEST = 0.02  # of the noise: what a star adds to the pixels beyond its stamp is less


@dataclass(frozen=True)
class Light:
    """Points of light on one detector; each array of shape (n,), fluxes in nJy as if they held for a whole exposure.

    What is static cancels in the differences, however roughly it is drawn.
    """

    x: Floats
    y: Floats
    snap1: Floats
    snap2: Floats
    template: Floats
    is_static: NDArray[np.bool_]


@dataclass(frozen=True)
class Pixels:
    """One image: values in counts, float32 but for the int32 mask; and nJy per count."""

    image: NDArray[np.float32]
    variance: NDArray[np.float32]
    mask: NDArray[np.int32]
    calibration: float


def bits(*names: str) -> int:
    """The mask bits of planes."""
    return sum(1 << MASK_PLANES[name] for name in names)


def usable(mask: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which pixels hold light to be measured."""
    return np.asarray((mask & bits(*BAD_PLANES)) == 0)


def draw(pointing: Pointing, optics: Optics, light: Light, side: int) -> Floats:
    """Expected electrons of sources in the two snaps and in the template, shape (3, side, side)."""
    layers = np.zeros((3, side, side))
    electrons = GAIN * pointing.counts_per_njy * np.stack([light.snap1 / 2, light.snap2 / 2, light.template])
    least = _FAINTEST * np.sqrt(pointing.sky)
    for x, y, is_static, charge in zip(
        light.x.tolist(), light.y.tolist(), light.is_static.tolist(), electrons.T, strict=True
    ):
        width = optics.width_for(float(np.abs(charge).max()), least)
        half = width // 2
        left, low = int(np.floor(x + 0.5)) - half, int(np.floor(y + 0.5)) - half
        if left >= side or low >= side or left + width <= 0 or low + width <= 0 or not charge.any():
            continue
        stamp = optics.stamp(x, y, width, coarse=is_static)
        rows, columns = slice(max(low, 0), low + width), slice(max(left, 0), left + width)
        inside = stamp[rows.start - low : side - low, columns.start - left : side - left]
        for layer in np.flatnonzero(charge):
            layers[layer, rows, columns] += charge[layer] * inside
    return layers


def expose(plan: Plan, pointing: Pointing, detector: int, layers: Floats, artefacts: Artefacts) -> dict[str, Pixels]:
    """The four images by kind, from the expected electrons of `draw`.

    Detections are not in the masks yet.
    """
    random = plan.random("noise", pointing.visit, detector)
    snaps, variances = [], []
    saturated = np.zeros(layers.shape[1:], dtype=bool)
    suspect = np.zeros_like(saturated)
    for i in (0, 1):
        expected = layers[i] + artefacts.rays[i] + pointing.sky / 2
        seen = _noisy(plan, random, expected, 1.0) + _correlated(plan, random, expected.shape) * _READ_NOISE
        suspect |= seen > _SUSPECT * _FULL_WELL
        full = _bled(seen > _FULL_WELL)
        saturated |= full
        seen = np.where(full, _FULL_WELL, seen)
        seen[artefacts.bad] *= 0.1
        snaps.append(seen)
        variances.append((expected if plan.variance == "model" else np.maximum(seen, 1.0)) + _READ_NOISE**2)
    expected = layers[2] + artefacts.template_hits + pointing.sky
    deep = _noisy(plan, random, expected, _TEMPLATE_DEPTH)
    deep_variance = (expected if plan.variance == "model" else np.maximum(deep, 1.0)) / _TEMPLATE_DEPTH
    deep_saturated = _bled(deep > 2 * _FULL_WELL)
    deep = np.where(deep_saturated, 2 * _FULL_WELL, deep)

    mask = (
        _plane("BAD", artefacts.bad)
        | _plane("SAT", saturated)
        | _plane("CR", artefacts.masked_rays)
        | _plane("SUSPECT", suspect)
        | _plane("NO_DATA", artefacts.dead)
    )
    template_mask = _plane("SAT", deep_saturated) | _plane("NO_DATA", artefacts.template_gap)
    edge = np.ones_like(saturated)
    edge[_EDGE:-_EDGE, _EDGE:-_EDGE] = False
    variance = variances[0] + variances[1]
    njy = (1 + pointing.zero_point_error) / pointing.counts_per_njy
    science, template = snaps[0] + snaps[1] - pointing.sky, deep - pointing.sky
    return {
        "difference": _pixels(
            science - template, variance + deep_variance, mask | template_mask | _plane("EDGE", edge), njy
        ),
        "science": _pixels(science, variance, mask, njy),
        "template": _pixels(template, deep_variance, template_mask, njy),
        "snap_difference": _pixels(snaps[1] - snaps[0], variance, mask, 2 * njy),
    }


def mark_detected(difference: Pixels, snr: Floats) -> None:
    """Put what is above the threshold of detection into the mask, in place."""
    difference.mask[snr > THRESHOLD] |= bits("DETECTED")
    difference.mask[snr < -THRESHOLD] |= bits("DETECTED_NEGATIVE")


def noise_correlation(plan: Plan) -> Floats | None:
    """Autocorrelation of the noise, 1 at its centre; None if the noise is white."""
    if not plan.noise_sigma:
        return None
    kernel = _kernel(plan.noise_sigma)
    profile = np.convolve(kernel, kernel)
    return np.asarray(np.outer(profile, profile) / profile.max() ** 2)


def _pixels(electrons: Floats, variance: Floats, mask: NDArray[np.int32], calibration: float) -> Pixels:
    image, noise = (electrons / GAIN).astype(np.float32), (variance / GAIN**2).astype(np.float32)
    nothing = (mask & bits("NO_DATA")) != 0
    image[nothing] = noise[nothing] = np.nan
    return Pixels(image, noise, mask, calibration)


def _plane(name: str, where: NDArray[np.bool_]) -> NDArray[np.int32]:
    return where.astype(np.int32) << MASK_PLANES[name]


def _bled(full: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Saturated pixels with what they spill along their columns."""
    spilt = full.copy()
    for column in np.flatnonzero(full.any(axis=0)):
        rows = np.flatnonzero(full[:, column])
        further = len(rows)
        spilt[max(rows[0] - further, 0) : rows[-1] + further + 1, column] = True
    return spilt


def _noisy(plan: Plan, random: np.random.Generator, expected: Floats, exposures: float) -> Floats:
    """The mean of some exposures: Poisson noise where it is white, else Gaussian of the same variance."""
    if not plan.noise_sigma:
        return np.asarray(random.poisson(np.maximum(expected, 0) * exposures) / exposures)
    return np.asarray(
        expected + np.sqrt(np.maximum(expected, 0) / exposures) * _correlated(plan, random, expected.shape)
    )


def _correlated(plan: Plan, random: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Gaussian noise of variance 1."""
    if not plan.noise_sigma:
        return random.normal(size=shape)
    kernel = _kernel(plan.noise_sigma)
    half = len(kernel) // 2
    noise = random.normal(size=(shape[0] + 2 * half, shape[1] + 2 * half))
    for axis in (0, 1):
        noise = np.apply_along_axis(np.convolve, axis, noise, kernel, mode="valid")
    return noise


def _kernel(sigma: float) -> Floats:
    """A Gaussian along one axis whose squares sum to 1."""
    half = int(np.ceil(4 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    return np.asarray(kernel / np.sqrt((kernel**2).sum()))
