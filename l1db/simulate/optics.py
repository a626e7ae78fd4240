"""The true PSF, drawn by galsim: no code in common with `l1db.images.psf`, which has to measure what is drawn here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from l1db.errors import InputError
from l1db.simulate.geometry import Floats, Pointing
from l1db.simulate.plan import Plan

if TYPE_CHECKING:
    from l1db.images.psf import GridPsf

_GRADIENT = 0.05  # of the FWHM, from one side of the detector to the other
_NODES = 4  # of the stored PSF on each axis
_SMALLEST, _LARGEST = 21, 41  # pixels: the stamps of the stored PSF


def load_galsim() -> Any:
    """galsim, which only the simulator needs.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        import galsim
    except ImportError:
        raise InputError(
            "simulate: galsim draws the pixels and is not installed: pip install 'l1db[simulate]'"
        ) from None
    return galsim


@dataclass(frozen=True)
class Optics:
    """The PSF of one detector in one visit: a Moffat whose width changes evenly across the detector.

    Parameters
    ----------
    fwhm, beta
        At the centre of the detector, pixels; the exponent.
    gradient
        Relative change of the FWHM from one side to the other, along x and y.
    side
        Of the detector, pixels.
    """

    fwhm: float
    beta: float
    gradient: tuple[float, float]
    side: int

    @property
    def size(self) -> int:
        """Width of the stamp on which the stored PSF sums to 1, pixels, odd."""
        return int(np.clip(2 * np.ceil(3 * self.fwhm) + 1, _SMALLEST, _LARGEST))

    @cached_property
    def aperture_correction(self) -> float:
        """All light over the light on the stamp, for a star in the middle of the detector and of a pixel."""
        middle = self.side // 2
        return float(1 / self._drawn(middle, middle, self.size).sum())

    def fwhm_at(self, x: float, y: float) -> float:
        """Pixels."""
        u, v = (x - (self.side - 1) / 2) / self.side, (y - (self.side - 1) / 2) / self.side
        return self.fwhm * (1 + self.gradient[0] * u + self.gradient[1] * v)

    def stamp(self, x: float, y: float, width: int | None = None, *, coarse: bool = False) -> Floats:
        """A star of flux 1 as pixels see it, shape (width, width), the one around (x, y) in the middle.

        Right to within 1e-5 of its peak; coarse, 3e-4.

        One number corrects a whole image for the light beyond the stamp, so it has to hold everywhere: each star is
        scaled (by less than 0.2 %) to have 1 / aperture_correction on the inner ``size`` x ``size`` pixels.
        """
        width = self.size if width is None else width
        wide = self._drawn(x, y, max(width, self.size), coarse=coarse)
        wide /= _inner(wide, self.size).sum() * self.aperture_correction
        return _inner(wide, width)

    def unit_stamp(self, x: float, y: float) -> Floats:
        """The PSF on its own stamp, shape (size, size), of sum 1, as pipelines know it: within 1e-4 of its peak."""
        drawn = self._drawn(x, y, self.size, coarse=True)
        return np.asarray(drawn / drawn.sum())

    def width_for(self, counts: float, least: float) -> int:
        """Width of a stamp outside which a star of these counts adds less than ``least`` to a pixel; odd."""
        alpha = self._alpha(self.fwhm * (1 + 0.5 * float(np.abs(self.gradient).sum())))
        peak = counts * (self.beta - 1) / (np.pi * alpha**2)
        radius = alpha * max(peak / least, 1.0) ** (0.5 / self.beta)
        return max(self.size, 2 * int(min(np.ceil(radius), 300)) + 1)

    def stored(self) -> GridPsf:
        """What the image's file says of the PSF: Moffats on a grid of nodes over the detector."""
        from l1db.images.psf import GridPsf, MoffatPsf

        nodes = np.linspace(-0.5, self.side - 0.5, _NODES)
        models = [[MoffatPsf(self.fwhm_at(x, y), self.beta, self.size) for x in nodes.tolist()] for y in nodes.tolist()]
        return GridPsf(models, nodes, nodes)

    def _alpha(self, fwhm: float) -> float:
        return float(fwhm / 2 / np.sqrt(2 ** (1 / self.beta) - 1))

    def _drawn(self, x: float, y: float, width: int, *, coarse: bool = False) -> Floats:
        galsim = load_galsim()
        profile = galsim.Moffat(beta=self.beta, fwhm=self.fwhm_at(x, y), gsparams=_precision(coarse))
        image = galsim.ImageD(width, width)
        profile.drawImage(image, scale=1.0, offset=(x - np.floor(x + 0.5), y - np.floor(y + 0.5)))
        return np.asarray(image.array)


def make_optics(plan: Plan, pointing: Pointing, detector: int) -> Optics:
    """The PSF of a detector in a visit."""
    random = plan.random("optics", pointing.visit, detector)
    angle = random.uniform(0, 2 * np.pi)
    return Optics(
        fwhm=float(pointing.fwhm * (1 + random.normal(0, 0.02))),
        beta=pointing.beta,
        gradient=(float(_GRADIENT * np.cos(angle)), float(_GRADIENT * np.sin(angle))),
        side=plan.size,
    )


@cache
def _precision(coarse: bool) -> Any:
    """galsim's default lets 0.5 % of the light fold back into the stamp; coarse is three times as fast."""
    return load_galsim().GSParams(
        folding_threshold=1e-3, maxk_threshold=5e-5, minimum_fft_size=32 if coarse else 128, maximum_fft_size=16384
    )


def _inner(stamp: Floats, width: int) -> Floats:
    cut = (len(stamp) - width) // 2
    return stamp[cut : len(stamp) - cut, cut : len(stamp) - cut]
