"""Skies to measure: blank, with stars drawn by galsim, and with noise that pixels share."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

FWHM = 4.0
WIDTH = 25
SIGMA = FWHM / 2.3548200450309493


def spaced(n: int, rng: np.random.Generator, step: int = WIDTH) -> tuple[FloatArray, FloatArray, tuple[int, int]]:
    """n x n positions whose stamps do not touch, at random phases, and the shape of an image that holds them."""
    centre = np.arange(n) * step + step // 2
    x, y = (grid.ravel() + rng.uniform(-0.5, 0.499, n * n) for grid in np.meshgrid(centre, centre))
    return x, y, (n * step, n * step)


@cache
def drawn_phases(n: int = 11, fwhm: float = FWHM, size: int = WIDTH) -> tuple[FloatArray, FloatArray]:
    """Phases, shape (n,), and galsim's Gaussian at each pair of them, shape (n in y, n in x, size, size), sum 1."""
    galsim = pytest.importorskip("galsim")
    parameters = galsim.GSParams(kvalue_accuracy=1e-9, maxk_threshold=1e-9, folding_threshold=1e-5)
    star = galsim.Gaussian(fwhm=fwhm, gsparams=parameters)
    phase = np.linspace(-0.5, 0.499, n)
    stamps = np.empty((n, n, size, size))
    for j, dy in enumerate(phase):
        for i, dx in enumerate(phase):
            stamps[j, i] = star.shift(dx, dy).drawImage(nx=size, ny=size, scale=1, dtype=np.float64).array
    return phase, stamps / stamps.sum(axis=(2, 3), keepdims=True)


def drawn(shape: tuple[int, int], x: FloatArray, y: FloatArray, flux: FloatArray, fwhm: float = FWHM) -> FloatArray:
    """An image of Gaussian stars, drawn by galsim wherever they lie, off the image too."""
    galsim = pytest.importorskip("galsim")
    parameters = galsim.GSParams(kvalue_accuracy=1e-8, maxk_threshold=1e-8, folding_threshold=1e-4)
    image = galsim.ImageD(shape[1], shape[0], xmin=0, ymin=0)
    for one_x, one_y, one_flux in zip(x, y, flux, strict=True):
        star = galsim.Gaussian(fwhm=fwhm, flux=one_flux, gsparams=parameters)
        centre = galsim.PositionI(math.floor(one_x + 0.5), math.floor(one_y + 0.5))
        stamp = star.shift(one_x - centre.x, one_y - centre.y).drawImage(nx=45, ny=45, scale=1, dtype=np.float64)
        stamp.setCenter(centre)
        both = stamp.bounds & image.bounds
        if both.isDefined():
            image[both] += stamp[both]
    array: FloatArray = image.array
    return array


def coloured_noise(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """White noise smoothed by a Gaussian kernel and scaled to variance 1, and its autocorrelation, 17 x 17."""
    u = np.arange(-8, 9)
    kernel = np.exp(-(u**2) / 2 / sigma**2)
    kernel /= np.sqrt((kernel**2).sum())
    noise = rng.normal(size=shape)
    for axis in (0, 1):
        smoothed = np.zeros(shape)
        for shift, weight in zip(u, kernel, strict=True):
            smoothed += weight * np.roll(noise, shift, axis)
        noise = smoothed
    row = np.correlate(kernel, kernel, mode="full")[8:25]
    return noise, row[:, None] * row
