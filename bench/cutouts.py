"""How fast cutouts are made, beside astropy's own writer.

``python -m bench.cutouts`` prints cutouts per second of one core, for sides of 30 pixels up to the largest and for a
constant and a varying PSF, and the same through `astropy.nddata.Cutout2D` and ``CCDData.write``.
"""

from __future__ import annotations

import os

# One core, before numpy starts its threads.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import io
import time
from collections.abc import Callable

import numpy as np
from astropy import units
from astropy.nddata import CCDData, Cutout2D, VarianceUncertainty
from astropy.wcs import WCS

from l1db.cutouts import LARGEST, SMALLEST, cutouts
from l1db.images.exposure import MASK_PLANES, Exposure
from l1db.images.psf import GridPsf, MoffatPsf, Psf

SIDE = 4096  # of the detector, pixels
FEW = 200  # cutouts enough for astropy


def exposure(psf: Psf) -> Exposure:
    """Noise, with a WCS that has SIP distortion."""
    rng = np.random.default_rng(1)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    wcs.wcs.crpix, wcs.wcs.crval, wcs.wcs.cd = [SIDE / 2, SIDE / 2], [30.0, -30.0], np.diag([-5.5e-5, 5.5e-5])
    header = wcs.to_header(relax=True)
    header.update({"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-8, "B_0_2": 1e-8})
    image = rng.normal(size=(SIDE, SIDE)).astype(np.float32)
    variance, mask = np.ones_like(image), np.zeros(image.shape, dtype=np.int32)
    return Exposure(
        image, variance, mask, MASK_PLANES, WCS(header), psf, visit=1, detector=1, band="r", kind="difference"
    )


def astropys(exposure: Exposure, ra: np.ndarray, dec: np.ndarray, size: int) -> None:
    """The same through astropy."""
    x, y = exposure.pixel(ra, dec)
    for at in zip(x.tolist(), y.tolist(), strict=True):
        planes = [
            Cutout2D(plane, at, size, wcs=exposure.wcs, mode="partial", fill_value=fill)
            for plane, fill in ((exposure.image, np.nan), (exposure.variance, np.nan), (exposure.mask, 256))
        ]
        CCDData(
            planes[0].data,
            unit=units.nJy,
            wcs=planes[0].wcs,
            uncertainty=VarianceUncertainty(planes[1].data),
            mask=planes[2].data,
            psf=exposure.psf.stamps([round(at[0])], [round(at[1])])[0],
        ).write(io.BytesIO(), format="fits")


def rate(
    cut: Callable[..., object], exposure: Exposure, ra: np.ndarray, dec: np.ndarray, size: int | np.ndarray
) -> float:
    """Cutouts per second of processor time, the best of three."""
    times = []
    for _ in range(3):
        start = time.process_time()
        cut(exposure, ra, dec, size)
        times.append(time.process_time() - start)
    return len(ra) / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=4000, help="cutouts")
    n = parser.parse_args().n
    rng = np.random.default_rng(2)
    x, y = rng.uniform(-10, SIDE + 10, (2, n))
    nodes = np.linspace(0, SIDE - 1, 3)
    varying = GridPsf([[MoffatPsf(3.5 + 0.1 * (i + j), 3.0) for i in range(3)] for j in range(3)], nodes, nodes)
    sizes = {**{str(size): size for size in (SMALLEST, 50, LARGEST)}, "mixed": rng.integers(10, LARGEST + 1, n)}
    for name, psf in (("constant", MoffatPsf(3.5, 3.0)), ("varying", varying)):
        shown = exposure(psf)
        ra, dec = shown.sky(x, y)
        for label, size in sizes.items():
            speed = rate(cutouts, shown, ra, dec, size)
            mean = np.mean([len(cutout) for cutout in cutouts(shown, ra, dec, size) if cutout])
            print(f"{name} PSF, {label:>5} pixels, {mean / 1000:5.1f} kB: {speed:7.0f} per second")
        speed = rate(astropys, shown, ra[:FEW], dec[:FEW], SMALLEST)
        print(f"{name} PSF, {SMALLEST:>5} pixels, CCDData.write: {speed:7.0f} per second")


if __name__ == "__main__":
    main()
