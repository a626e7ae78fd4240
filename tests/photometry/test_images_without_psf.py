"""What the ingest measures on images that come without a PSF, of which it knows the width.

galsim draws the stars, as turbulent air shows them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from astropy.io import fits
from images.sky_images import wcs
from numpy.typing import NDArray

from l1db.forced import describe_image, measure
from l1db.images.exposure import MASK_PLANES, Exposure
from l1db.images.fits import write_exposure
from l1db.images.psf import GaussianPsf
from l1db.photometry import ForcedFlag
from l1db.targets import Targets
from l1db.visit import DetectorData, Measured, Visit

FWHM, FLUX = 4.0, 1000.0
N, STEP = 3, 61


@dataclass(frozen=True)
class Sky:
    """Files of one image with N x N stars of equal flux, and the positions of these, degrees."""

    without_psf: str
    with_psf: str
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> Sky:
    galsim = pytest.importorskip("galsim")
    star = galsim.Kolmogorov(fwhm=FWHM, flux=FLUX)
    phase = np.random.default_rng(1).uniform(-0.5, 0.499, (N, N, 2))
    rows = [[star.drawImage(nx=STEP, ny=STEP, scale=1, offset=at).array for at in row] for row in phase]
    image = np.block(rows).astype(np.float32)
    mask = np.zeros(image.shape, dtype=np.int32)
    # A PSF that is far too narrow, to be told from any other.
    drawn = Exposure(image, np.ones_like(image), mask, MASK_PLANES, wcs(nx=N * STEP, ny=N * STEP), GaussianPsf(2.0))
    directory = tmp_path_factory.mktemp("images")
    with_psf, without_psf = directory / "with.fits", directory / "without.fits"
    write_exposure(drawn, with_psf, compress=False)
    with fits.open(with_psf) as hdus:
        bare = fits.HDUList([hdu for hdu in hdus if not hdu.name.startswith("PSF")])
        del bare[0].header["NEXTEND"]
        bare.writeto(without_psf)
    y, x = (np.indices((N, N)) * STEP + STEP // 2) + phase[..., ::-1].transpose(2, 0, 1)
    return Sky(str(without_psf), str(with_psf), *drawn.sky(x.ravel(), y.ravel()))


def measured(sky: Sky, *, difference: str, psf_fwhm: float | None) -> Measured:
    images = {"difference": difference, "science": sky.without_psf, "template": sky.without_psf}
    targets = Targets(np.arange(N * N), sky.ra, sky.dec, np.ones(N * N, dtype=bool))
    detector = DetectorData(0, psf_fwhm=psf_fwhm, images=images)
    (result,) = measure(Visit(1, "r", 61_000.0), [detector], lambda footprints: dict.fromkeys(footprints, targets))
    assert result.measured is not None
    return result.measured


def test_their_fluxes_are_right_to_two_percent_and_flagged(sky: Sky) -> None:
    """Seen red with a Gaussian: 14 % too low; and without the flag."""
    about = measured(sky, difference=sky.without_psf, psf_fwhm=FWHM)
    assert about.trouble is None
    assert [file.kind for file in about.files] == ["difference", "science", "template"]
    for name in ("psf_flux", "science_flux"):
        np.testing.assert_allclose(about.forced[name], FLUX, rtol=0.02)
    assert (about.forced["forced_flags"] & ForcedFlag.ASSUMED_PSF).all()


def test_an_image_with_a_psf_is_measured_with_its_own(sky: Sky) -> None:
    about = measured(sky, difference=sky.with_psf, psf_fwhm=FWHM)
    assert (about.forced["psf_flux"] < 0.6 * FLUX).all()
    np.testing.assert_allclose(about.forced["science_flux"], FLUX, rtol=0.02)
    assert not (about.forced["forced_flags"] & ForcedFlag.ASSUMED_PSF).any()


@pytest.mark.parametrize("psf_fwhm", [None, np.nan, 0.0, -3.0, np.inf])
def test_without_a_width_they_are_trouble_that_says_what_to_give(sky: Sky, psf_fwhm: float | None) -> None:
    about = measured(sky, difference=sky.without_psf, psf_fwhm=psf_fwhm)
    assert not about.forced
    assert about.trouble is not None
    assert about.trouble.startswith(f"{sky.without_psf}: has no PSF")
    assert "psf_fwhm in the table of visits" in about.trouble


def test_they_can_be_made_known_late(sky: Sky) -> None:
    """Nothing is measured then."""
    file, corners = describe_image("difference", sky.without_psf, 0, 1, None)
    assert file.uri == sky.without_psf
    assert corners is not None
    np.testing.assert_array_equal(corners, describe_image("difference", sky.with_psf, 0, 1, None)[1])
