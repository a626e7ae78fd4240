"""Exposures and celestial WCS for tests: any place on the sky, undistorted or distorted."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from l1db.images.exposure import MASK_PLANES, Exposure
from l1db.images.psf import GaussianPsf

SCALE = 0.2 / 3600  # degrees per pixel
NX, NY = 120, 100
PLACES = {
    "equator": (150.0, 2.0),
    "ra zero": (0.0, -30.0),
    "ra 360": (359.9999, 45.0),
    "pole inside": (77.0, 90.0),
    "near the pole": (200.0, -89.985),
}
# Terms with the size of the distortion they make at 2000 pixels from the centre: tens of pixels.
SIP = {"A_ORDER": 3, "B_ORDER": 3, "A_2_0": 5e-6, "A_0_2": -3e-6, "B_1_1": 4e-6, "B_3_0": 2e-9, "A_0_3": -1e-9}
TPV = {"PV1_1": 1.0, "PV2_1": 1.0, "PV1_4": 2e-3, "PV1_6": -3e-3, "PV1_10": 0.8, "PV2_7": 0.5, "PV2_4": 4e-3}


def header(place: str = "equator", distortion: str = "TAN", nx: int = NX, ny: int = NY) -> fits.Header:
    ra, dec = PLACES[place]
    suffix = {"TAN": "TAN", "SIP": "TAN-SIP", "TPV": "TPV"}[distortion]
    cards: dict[str, Any] = {
        "CTYPE1": f"RA---{suffix}", "CTYPE2": f"DEC--{suffix}", "CRVAL1": ra, "CRVAL2": dec, "RADESYS": "ICRS",
        "CRPIX1": nx / 2 + 0.7, "CRPIX2": ny / 2 - 3.3, "CUNIT1": "deg", "CUNIT2": "deg",
        "CD1_1": -SCALE * np.cos(0.4), "CD1_2": SCALE * np.sin(0.4),
        "CD2_1": SCALE * np.sin(0.4), "CD2_2": SCALE * np.cos(0.4),
    }  # fmt: skip
    return fits.Header(cards | {"TAN": {}, "SIP": SIP, "TPV": TPV}[distortion])


def wcs(place: str = "equator", distortion: str = "TAN", nx: int = NX, ny: int = NY) -> WCS:
    return WCS(header(place, distortion, nx, ny))


def exposure(seed: int = 0, nx: int = NX, ny: int = NY, **changes: Any) -> Exposure:
    """Noise of 10 units, with NaN pixels that are NO_DATA, one row of them whole, and pixels in every mask plane."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 10, (ny, nx)).astype(np.float32)
    variance = rng.uniform(95, 105, (ny, nx)).astype(np.float32)
    mask = np.where(rng.uniform(size=(ny, nx)) < 0.1, 1 << rng.integers(0, 10, (ny, nx)), 0).astype(np.int32)
    gone = rng.uniform(size=(ny, nx)) < 0.01
    gone[ny // 3] = True
    image[gone] = np.nan
    mask[gone] |= 1 << MASK_PLANES["NO_DATA"]
    parts: dict[str, Any] = {
        "image": image, "variance": variance, "mask": mask, "planes": dict(MASK_PLANES), "wcs": wcs(nx=nx, ny=ny),
        "psf": GaussianPsf(3.0),
    }  # fmt: skip
    return Exposure(**(parts | changes))
