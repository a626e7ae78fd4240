"""Cutouts: the pixels, masks and positions are those of the exposure, and astropy reads them without a murmur.

Referee for pixels is `astropy.nddata.Cutout2D`, for the files ``fits.open`` and ``CCDData.read``.
"""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import CCDData, Cutout2D, NoOverlapError, VarianceUncertainty
from astropy.wcs import WCS
from images.sky_images import NX, NY, PLACES, exposure, header, wcs

from l1db.cutouts import cutout_fits, cutouts
from l1db.errors import InputError
from l1db.images.exposure import Exposure
from l1db.images.fits import read_exposure
from l1db.images.psf import GaussianPsf, GridPsf, MoffatPsf

FACTS = {"calibration": 2.5, "aperture_correction": 1.03, "kind": "template", "visit": 20241108, "detector": 7,
         "band": "z", "midpoint_mjd_tai": 60000.25, "exposure_time": 30.0}  # fmt: skip


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """What astropy has to say about a cutout is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def opened(cutout: bytes | None) -> fits.HDUList:
    assert cutout is not None
    assert len(cutout) % 2880 == 0
    hdus = fits.open(io.BytesIO(cutout), lazy_load_hdus=False)
    hdus.verify("exception")
    assert [hdu.name for hdu in hdus] == ["PRIMARY", "MASK", "UNCERT", "PSFIMAGE"]
    assert hdus.fileinfo(3)["datLoc"] + hdus.fileinfo(3)["datSpan"] == len(cutout)
    return hdus


def everywhere(n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Pixel positions on the image and around it."""
    return tuple(np.random.default_rng(seed).uniform(-70, [[NX + 70], [NY + 70]], (2, n)))


def test_pixels_are_those_of_the_exposure_padded_with_nan_and_no_data() -> None:
    """At every size, on the image, over its edges and corners, and off it.

    Seen red with edges clipped instead of padded, with x and y swapped, and with the corner rounded instead of up.
    """
    e = exposure()
    x, y = everywhere(150)
    sizes = np.random.default_rng(2).integers(30, 103, len(x))
    n_off = n_padded = 0
    for cutout, at, size in zip(cutouts(e, *e.sky(x, y), sizes), zip(x, y, strict=True), sizes.tolist(), strict=True):
        try:
            image = Cutout2D(e.image, at, size, mode="partial", fill_value=np.nan)
        except NoOverlapError:
            assert cutout is None
            n_off += 1
            continue
        hdus = opened(cutout)
        mask = Cutout2D(e.mask, at, size, mode="partial", fill_value=e.bits("NO_DATA"))
        variance = Cutout2D(e.variance, at, size, mode="partial", fill_value=np.nan)
        np.testing.assert_array_equal(hdus["PRIMARY"].data, image.data)
        np.testing.assert_array_equal(hdus["MASK"].data, mask.data)
        np.testing.assert_array_equal(hdus["UNCERT"].data, variance.data)
        x0, y0 = image.origin_original[0] - image.origin_cutout[0], image.origin_original[1] - image.origin_cutout[1]
        assert (hdus[0].header["CUTMINX"], hdus[0].header["CUTMINY"]) == (x0 - 1, y0 - 1)
        n_padded += np.isnan(variance.data).any()
    assert n_off > 10
    assert n_padded > 30


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("distortion", ["TAN", "SIP", "TPV"])
def test_every_pixel_lies_where_it_does_on_the_exposure(place: str, distortion: str) -> None:
    """Through the WCS that astropy reads in the cutout.  Seen red with CRPIX moved by one."""
    e = exposure(wcs=wcs(place, distortion))
    x, y = everywhere(12)
    for cutout in cutouts(e, *e.sky(x, y), 77):
        if cutout is None:
            continue
        about = opened(cutout)[0].header
        inside = CCDData.read(io.BytesIO(cutout), format="fits").wcs
        i, j = np.random.default_rng(3).uniform(-1, 78, (2, 20))
        on_exposure = i + 1 + about["CUTMINX"], j + 1 + about["CUTMINY"]
        expected = e.sky(*on_exposure)
        ra, dec = inside.all_pix2world(i, j, 0)
        np.testing.assert_allclose((ra - expected[0] + 180) % 360 - 180, 0, atol=1e-10 / np.cos(np.radians(dec)).min())
        np.testing.assert_allclose(dec, expected[1], atol=1e-10)


@pytest.mark.parametrize("size", [30, 31, 102])
def test_the_position_is_within_half_a_pixel_of_the_middle(size: int) -> None:
    e = exposure(wcs=wcs("pole inside"))
    x, y = np.random.default_rng(4).uniform(0, [[NX - 1], [NY - 1]], (2, 30))
    ra, dec = e.sky(x, y)
    for cutout, position in zip(cutouts(e, ra, dec, size), zip(ra, dec, strict=True), strict=True):
        at = WCS(opened(cutout)[0].header).all_world2pix(*position, 0)
        assert np.abs(np.subtract(at, (size - 1) / 2)).max() <= 0.5 + 1e-6


def test_the_same_position_is_cut_through_each_images_own_wcs() -> None:
    """A star at one position on the sky is in the middle of the cutouts of two images that show it elsewhere."""
    ra, dec = PLACES["equator"]
    for distortion, shift in (("TAN", 0), ("SIP", 17)):
        h = header("equator", distortion)
        h["CRPIX1"] += shift
        e = exposure(wcs=WCS(h))
        x, y = np.rint(np.array(e.pixel(ra, dec))).astype(int)
        e.image[:] = 0
        e.image[y, x] = 1000
        image = opened(cutout_fits(e, ra, dec, 31))[0].data
        assert np.argwhere(image == 1000).tolist() == [[15, 15]]


def test_astropy_reads_image_variance_mask_psf_unit_and_facts() -> None:
    e = exposure(psf=GaussianPsf(2.5), **FACTS)
    cutout = cutout_fits(e, *e.sky(60.2, 50.4), 40)
    assert cutout is not None
    ccd = CCDData.read(io.BytesIO(cutout), format="fits")
    rows, columns = slice(31, 71), slice(41, 81)  # ceil(50.4 - 20), ceil(60.2 - 20)
    np.testing.assert_array_equal(ccd.data, e.image[rows, columns])
    assert isinstance(ccd.uncertainty, VarianceUncertainty)
    np.testing.assert_array_equal(ccd.uncertainty.array, e.variance[rows, columns])
    np.testing.assert_array_equal(ccd.mask, e.mask[rows, columns] != 0)
    np.testing.assert_allclose(ccd.psf, GaussianPsf(2.5).stamps([0], [0])[0], atol=1e-7)
    assert ccd.unit == units.adu
    facts = {"L1CALIB": 2.5, "L1APCOR": 1.03, "L1KIND": "template", "VISIT": 20241108, "DETECTOR": 7, "BAND": "z",
             "EXPTIME": 30.0, "CUTMINX": 40, "CUTMINY": 30}  # fmt: skip
    assert {key: ccd.header[key] for key in facts} == facts
    assert (ccd.wcs.wcs.mjdavg, ccd.wcs.wcs.timesys) == (60000.25, "TAI")


def test_l1db_reads_its_cutouts_as_exposures(tmp_path: Path) -> None:
    e = exposure(psf=MoffatPsf(3.0, 3.0), **FACTS)
    ra, dec = e.sky(3.0, 95.0)
    path = tmp_path / "cutout.fits"
    path.write_bytes(cutout_fits(e, float(ra), float(dec)) or b"")
    found = read_exposure(path)
    assert {name: getattr(found, name) for name in FACTS} == FACTS
    assert found.planes == e.planes
    np.testing.assert_allclose(found.pixel(ra, dec), [14.0, 14.0], atol=1.0)
    assert (np.isnan(found.variance) <= (found.mask == e.bits("NO_DATA"))).all()
    np.testing.assert_allclose(found.psf.stamps([0.0], [0.0], 21), e.psf.stamps([0.0], [0.0], 21), atol=1e-6)


def test_a_varying_psf_is_that_at_the_position() -> None:
    psf = GridPsf([[GaussianPsf(2.0), GaussianPsf(5.0)]], [0.0, NX - 1.0], [50.0])
    e = exposure(psf=psf)
    x, y = np.array([4.2, 60.0, 118.3]), np.array([9.0, 50.0, 88.0])
    for cutout, at in zip(cutouts(e, *e.sky(x, y)), zip(x, y, strict=True), strict=True):
        stamp = opened(cutout)["PSFIMAGE"].data
        assert stamp.sum() == pytest.approx(1, abs=1e-5)
        assert np.unravel_index(stamp.argmax(), stamp.shape) == (psf.size // 2, psf.size // 2)
        np.testing.assert_allclose(stamp, psf.stamps([round(at[0])], [50.0])[0], atol=1e-7)


def test_sizes_are_at_least_30_and_at_most_102() -> None:
    e = exposure()
    ra, dec = e.sky(np.full(5, 60.0), np.full(5, 50.0))
    sides = [opened(cutout)[0].data.shape for cutout in cutouts(e, ra, dec, [0, 29, 55, 102, 500])]
    assert sides == [(30, 30), (30, 30), (55, 55), (102, 102), (102, 102)]


def test_where_the_exposure_has_no_pixel_there_is_no_cutout() -> None:
    """One pixel further in there is one, with that pixel in its corner."""
    e = exposure()
    x, y = (
        np.array([-15.2, -14.8, NX + 14.2, NX + 13.8, 60.0]),
        np.array([-14.8, -14.8, NY + 13.8, NY + 13.8, NY + 99.0]),
    )
    off, corner, off_too, far_corner, above = cutouts(e, *e.sky(x, y))
    assert off is off_too is above is None
    for cutout, place, pixel in ((corner, (-1, -1), (0, 0)), (far_corner, (0, 0), (-1, -1))):
        variance = opened(cutout)["UNCERT"].data
        assert np.isfinite(variance).sum() == 1
        assert variance[place] == e.variance[pixel]
    assert cutouts(e, [330.0, np.nan], [-2.0, 2.0]) == [None, None]
    assert cutouts(e, [], []) == []


def test_a_mask_without_no_data_gets_that_plane() -> None:
    e = exposure(planes={"BAD": 0, "SAT": 1, "CR": 3})
    hdus = opened(cutout_fits(e, *e.sky(1.0, 1.0)))
    assert {k: v for k, v in hdus["MASK"].header.items() if k.startswith("MP_")} == {
        "MP_BAD": 0, "MP_SAT": 1, "MP_CR": 3, "MP_NO_DATA": 2
    }  # fmt: skip
    assert hdus["MASK"].data[0, 0] == 4
    top = exposure(planes={"NO_DATA": 31})
    assert opened(cutout_fits(top, *top.sky(1.0, 1.0)))["MASK"].data[0, 0] == np.iinfo(np.int32).min
    full = exposure(planes={f"P{i}": i for i in range(32)})
    with pytest.raises(InputError, match="no bit left for NO_DATA"):
        cutout_fits(full, *full.sky(1.0, 1.0))


def test_cutouts_are_the_same_one_by_one_and_together() -> None:
    e = exposure(psf=GridPsf([[GaussianPsf(2.0), GaussianPsf(5.0)]], [0.0, NX - 1.0], [50.0]), **FACTS)
    x, y = everywhere(40)
    ra, dec = e.sky(x, y)
    sizes = np.random.default_rng(3).integers(20, 60, 40)
    together = cutouts(e, ra, dec, sizes)
    alone = [cutout_fits(e, a, d, s) for a, d, s in zip(ra, dec, sizes, strict=True)]
    assert [c is None for c in together] == [c is None for c in alone]
    for one, other in zip(together, alone, strict=True):
        if one and other:
            for a, b in zip(opened(one), opened(other), strict=True):
                assert a.header == b.header
                np.testing.assert_allclose(a.data, b.data, atol=1e-7, equal_nan=True)


def test_a_reference_pixel_far_away_keeps_its_digits() -> None:
    """As in the patches of a tract."""
    e = exposure()
    w = e.wcs.deepcopy()
    w.wcs.crpix = [-34567.123456789, 1234567.123456789]
    w.wcs.crval = [150.0, 30.0]
    e = exposure(wcs=w)
    about = opened(cutout_fits(e, *e.sky(60.4, 50.4)))[0].header
    assert about["CRPIX1"] == pytest.approx(-34567.123456789 - 46, abs=1e-9)
    assert about["CRPIX2"] == pytest.approx(1234567.123456789 - 36, abs=1e-9)


def test_two_thousand_a_second() -> None:
    """bench/cutouts.py measures; here is only the promise."""
    e = large()
    x, y = np.random.default_rng(5).uniform(-10, 1010, (2, 1000))
    ra, dec = e.sky(x, y)
    cutouts(e, ra[:10], dec[:10])
    start = time.process_time()
    made = cutouts(e, ra, dec)
    assert len(made) / (time.process_time() - start) > 2000


def large() -> Exposure:
    nodes = np.linspace(0, 999, 3)
    psf = GridPsf([[MoffatPsf(3 + 0.1 * (i + j), 3.0) for i in range(3)] for j in range(3)], nodes, nodes)
    return exposure(nx=1000, ny=1000, wcs=wcs("equator", "SIP", 1000, 1000), psf=psf, **FACTS)
