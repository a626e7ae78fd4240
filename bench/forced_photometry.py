"""How long forced photometry takes, and how much memory.

``OPENBLAS_NUM_THREADS=1 python -m bench.forced_photometry`` measures 10 000 positions on an image of 4096 x 4096
pixels, on stamps of 25 x 25, once per model of the PSF: the best of five runs, and the peak of what is allocated
meanwhile, in units of the image (float32, 67 MB), the inputs left out.  ``--density N`` measures N positions
instead, for crowded fields.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc

import numpy as np

from l1db.images.psf import GaussianPsf, GridPsf, ImagePsf, MoffatPsf, Psf
from l1db.photometry import forced_photometry

SIDE = 4096
WIDTH = 25
FWHM = 4.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--density", type=int, default=10_000, metavar="N", help="positions on the image")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()

    rng = np.random.default_rng(1)
    variance = np.full((SIDE, SIDE), 100.0, dtype=np.float32)
    image = rng.normal(0.0, 10.0, (SIDE, SIDE)).astype(np.float32)
    mask = (rng.uniform(size=(SIDE, SIDE)) < 0.005).astype(np.int32)
    x, y = rng.uniform(-5, SIDE + 5, (2, arguments.density))
    lag = np.arange(-8, 9)
    correlation = np.exp(-(lag[:, None] ** 2 + lag**2) / 4)
    nodes = np.linspace(0, SIDE, 3)
    grid = [[MoffatPsf(FWHM + 0.1 * (i + j), 3.0, WIDTH) for i in range(3)] for j in range(3)]
    bare = MoffatPsf(FWHM, 3.0, WIDTH).stamps(0, 0)[0]
    cases: list[tuple[str, object, np.ndarray | None]] = [
        ("Gaussian", GaussianPsf(FWHM, WIDTH), None),
        ("Moffat", MoffatPsf(FWHM, 3.0, WIDTH), None),
        ("bare array", bare, None),
        ("grid of 3 x 3 Moffats", GridPsf(grid, nodes, nodes), None),
        ("Gaussian, correlated noise", GaussianPsf(FWHM, WIDTH), correlation),
    ]
    print(f"{arguments.density} positions, {WIDTH} x {WIDTH}, on {SIDE} x {SIDE}")
    for name, psf, noise in cases:
        seconds = []
        for _ in range(arguments.runs):
            start = time.perf_counter()
            forced_photometry(image, variance, x, y, _fresh(psf), mask=mask, noise_correlation=noise)
            seconds.append(time.perf_counter() - start)
        tracemalloc.start()
        forced_photometry(image, variance, x, y, _fresh(psf), mask=mask, noise_correlation=noise)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        print(f"{name:28s} {min(seconds):6.3f} s   memory {peak / image.nbytes:5.2f} x the image")


def _fresh(psf: object) -> Psf:
    """The same model without what it has computed already: making it is part of the price."""
    match psf:
        case GaussianPsf():
            return GaussianPsf(psf.fwhm, psf.size)
        case MoffatPsf():
            return MoffatPsf(psf.fwhm, psf.beta, psf.size)
        case GridPsf():
            return GridPsf([[_fresh(one) for one in row] for row in psf.psfs], psf.x, psf.y)
        case _:
            return ImagePsf(psf)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
