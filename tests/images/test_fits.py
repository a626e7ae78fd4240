"""Exposures in FITS files: what comes back is what went in, other readers see the same, and bad files are refused.

Referees: `astropy.nddata.CCDData`, ``fits.open`` with its own check of sums, and files written by astropy alone.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty, VarianceUncertainty
from images.sky_images import NX, NY, PLACES, exposure, header, wcs

from l1db.errors import InputError
from l1db.images.exposure import array_checksum
from l1db.images.fits import read_exposure, write_exposure
from l1db.images.psf import GaussianPsf, GridPsf, ImagePsf, MoffatPsf, Psf

FACTS: dict[str, Any] = {
    "calibration": 1.2345678901234567e-05,  # more digits than astropy gives a number in a header
    "aperture_correction": 1.0345678901234567,
    "kind": "difference",
    "visit": 2024110800291,
    "detector": 168,
    "band": "r",
    "midpoint_mjd_tai": 60000.12345678901,
    "exposure_time": 29.2,
}
NOISE = np.array([[0.01, 0.1, 0.02], [0.1, 1.0, 0.1], [0.02, 0.1, 0.01]])


def image_psf(seed: int, shape: tuple[int, int] = (25, 23)) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    star = np.exp(-((x - shape[1] // 2) ** 2 + (y - shape[0] // 2) ** 2) / 18)
    return star * np.random.default_rng(seed).uniform(0.9, 1.1, shape)


PSFS: dict[str, Callable[[], Psf]] = {
    "gaussian": lambda: GaussianPsf(2.345678901234567),
    "gaussian of a size": lambda: GaussianPsf(3.0, 31),
    "moffat": lambda: MoffatPsf(3.1, 2.7182818284590451, 25),
    "image": lambda: ImagePsf(image_psf(1)),
    "oversampled": lambda: ImagePsf(image_psf(2, (75, 75)), 3),
    "drawn": lambda: ImagePsf(image_psf(2, (75, 75)), 3, pixel_integrated=False),
    "grid": lambda: GridPsf(
        [[MoffatPsf(3 + 0.1 * i + 0.01 * j, 2.5) for i in range(3)] for j in range(2)], [0, 60.5, 119], [-3, 99.25]
    ),
    "mixed grid": lambda: GridPsf(
        [[image_psf(3), GaussianPsf(3.3)], [MoffatPsf(3.0, 4.0), image_psf(4)]], [0, 9], [0, 9]
    ),
    "one node": lambda: GridPsf([[GaussianPsf(3.3)]], [60.0], [50.0]),
}


def small_grid() -> GridPsf:
    """Quickly made."""
    return GridPsf([[GaussianPsf(2.0), GaussianPsf(2.2)]], [0.0, 99.0], [50.0])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "image.fits"


def refused(uri: Any, **options: Any) -> str:
    """The refusal, after "FILE: "."""
    with pytest.raises(InputError) as refusal:
        read_exposure(uri, **options)
    message = str(refusal.value)
    assert message.startswith(f"{uri}: ")
    assert "\n" not in message
    return message.removeprefix(f"{uri}: ")


# What goes in comes out


def test_everything_survives_uncompressed(path: Path) -> None:
    metadata = {"OBSERVER": "O'Neill", "AIRMASS": 1.0123456789012345e-07, "NCOMBINE": 3, "LONG NAMED FACT": True}
    given = exposure(metadata=metadata, noise_correlation=NOISE, **FACTS)
    write_exposure(given, path, compress=False)
    found = read_exposure(path)
    for plane in ("image", "variance", "mask", "noise_correlation"):
        np.testing.assert_array_equal(getattr(found, plane), getattr(given, plane))
    assert {name: getattr(found, name) for name in FACTS} == FACTS
    assert found.planes == given.planes
    assert found.metadata == metadata
    assert found.unit == "adu"
    assert found.image.dtype == found.variance.dtype == np.float32
    assert found.mask.dtype == np.int32


def test_everything_but_noise_survives_compression(path: Path) -> None:
    given = exposure(noise_correlation=NOISE, **FACTS)
    write_exposure(given, path)
    found = read_exposure(path)
    np.testing.assert_array_equal(found.mask, given.mask)
    np.testing.assert_array_equal(found.noise_correlation, NOISE)
    np.testing.assert_array_equal(np.isnan(found.image), np.isnan(given.image))
    assert {name: getattr(found, name) for name in FACTS} == FACTS


def test_quantisation_adds_two_per_cent_of_the_noise_and_no_bias(path: Path) -> None:
    rng = np.random.default_rng(8)
    image = rng.normal(0, 10, (400, 500)).astype(np.float32)
    image[100, 100] = 0
    write_exposure(exposure(image=image, variance=image * 0 + 100, mask=image * 0, planes={}), path)
    found = read_exposure(path)
    error = (found.image - image) / 10
    assert 0.015 < error.std() < 0.02
    assert abs(error.mean()) < 4 * error.std() / np.sqrt(error.size)
    assert found.image[100, 100] == 0
    assert (found.variance == 100).all()
    assert path.stat().st_size < 0.3 * image.nbytes * 3


@pytest.mark.parametrize("plane", ["image", "variance"])
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan, 1e30, -1e30])
def test_wild_pixels_survive_compression(path: Path, plane: str, bad: float) -> None:
    given = exposure()
    getattr(given, plane)[10:12, 20] = bad
    getattr(given, plane)[50] = bad
    write_exposure(given, path)
    found = getattr(read_exposure(path), plane)
    np.testing.assert_array_equal(found[50], given.__dict__[plane][50])
    np.testing.assert_allclose(found[10:12, 20], bad, rtol=1e-5)


@pytest.mark.parametrize(("name", "compress"), [*((name, False) for name in PSFS), ("mixed grid", True)])
def test_psf_survives(path: Path, name: str, compress: bool) -> None:
    """Parameters and nodes exactly; images to the last bits, for they are scaled to sum 1 once more.

    Seen red with the fwhm in a header card, which cuts its digits; and with rows and columns of the grid swapped.
    """
    given = PSFS[name]()
    write_exposure(exposure(psf=given), path, compress=compress)
    found = read_exposure(path).psf
    assert type(found) is type(given)
    assert found.size == given.size
    if isinstance(given, GaussianPsf | MoffatPsf):
        assert found == given
    if isinstance(given, GridPsf) and isinstance(found, GridPsf):
        assert (found.x.tolist(), found.y.tolist()) == (given.x.tolist(), given.y.tolist())
    if isinstance(given, ImagePsf) and isinstance(found, ImagePsf):
        np.testing.assert_allclose(found.array, given.array, rtol=1e-15, atol=0)
    x, y = [3.2, 59.9, 118.0], [4.4, 60.1, 95.0]
    np.testing.assert_allclose(found.stamps(x, y), given.stamps(x, y), rtol=0, atol=1e-15)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("distortion", ["TAN", "SIP", "TPV"])
def test_wcs_survives(path: Path, place: str, distortion: str) -> None:
    given = exposure(wcs=wcs(place, distortion))
    write_exposure(given, path, compress=False)
    found = read_exposure(path)
    x, y = np.random.default_rng(5).uniform(-5, 125, (2, 100))
    np.testing.assert_allclose(found.pixel(*given.sky(x, y)), [x, y], atol=1e-5)
    np.testing.assert_allclose(found.corners(), given.corners(), atol=1e-9)


def test_a_second_generation_is_the_first(path: Path) -> None:
    """Keywords do not pile up; uncompressed, the file of what was read is the file read."""
    write_exposure(exposure(metadata={"FOO": "bar"}, **FACTS), path, compress=False)
    again = path.with_name("again.fits")
    assert write_exposure(read_exposure(path), again, compress=False) == hashlib.sha256(path.read_bytes()).hexdigest()


# The same bytes


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("compress", [True, False])
def test_the_same_exposure_gives_the_same_bytes_at_any_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: bool, suffix: str
) -> None:
    """Rows that do not quantise included.  Seen red with the times that gzip leaves in their tiles."""
    given = exposure(psf=small_grid(), noise_correlation=NOISE, **FACTS)
    given.variance[:40] = 100
    first, second = tmp_path / f"a.fits{suffix}", tmp_path / f"b.fits{suffix}"
    checksum = write_exposure(given, first, compress=compress)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1e6)
    assert write_exposure(exposure(psf=small_grid(), noise_correlation=NOISE, **FACTS, variance=given.variance),
                          second, compress=compress) == checksum  # fmt: skip
    assert first.read_bytes() == second.read_bytes()
    assert checksum == hashlib.sha256(first.read_bytes()).hexdigest()
    assert array_checksum(read_exposure(first)) == array_checksum(read_exposure(second))


def test_the_seed_changes_the_dither(path: Path) -> None:
    assert write_exposure(exposure(), path, seed=1) != write_exposure(exposure(), path, seed=2)
    with pytest.raises(InputError, match="seed of the dither is 0"):
        write_exposure(exposure(), path, seed=0)


def test_array_checksum_is_that_of_the_values(path: Path) -> None:
    given = exposure()
    checksum = array_checksum(given)
    write_exposure(given, path, compress=False)
    assert array_checksum(read_exposure(path)) == checksum
    gone = np.isnan(given.image)
    given.image.view(np.int32)[gone] |= 0x1234  # another NaN
    assert np.isnan(given.image[gone]).all()
    assert array_checksum(given) == checksum
    for plane in ("image", "variance", "mask"):
        changed = exposure()
        getattr(changed, plane)[5, 5] += 1
        assert array_checksum(changed) != checksum
    assert array_checksum(exposure(image=given.image.reshape(NX, NY), variance=given.variance.reshape(NX, NY),
                                   mask=given.mask.reshape(NX, NY))) != checksum  # fmt: skip


# Other readers


@pytest.mark.parametrize("compress", [True, False])
def test_astropy_reads_image_mask_uncertainty_psf_unit_and_wcs(path: Path, compress: bool) -> None:
    given = exposure(psf=GaussianPsf(2.5), wcs=wcs("near the pole", "SIP"), **FACTS)
    write_exposure(given, path, compress=compress)
    ccd = CCDData.read(path, hdu="IMAGE") if compress else CCDData.read(path)
    ours = read_exposure(path)
    np.testing.assert_array_equal(ccd.data, ours.image)
    np.testing.assert_array_equal(ccd.mask, given.mask != 0)
    assert isinstance(ccd.uncertainty, VarianceUncertainty)
    np.testing.assert_array_equal(ccd.uncertainty.array, ours.variance)
    np.testing.assert_allclose(ccd.psf, given.psf.stamps([59], [49])[0], atol=1e-16)
    assert ccd.unit == units.adu
    x, y = np.array([0.0, 50.0, 119.0]), np.array([3.0, 99.0, 0.0])
    np.testing.assert_allclose(ccd.wcs.all_pix2world(x, y, 0), given.sky(x, y), atol=1e-9)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", [{}, {"unit": "adu", "hdu_mask": None, "hdu_uncertainty": None}])
def test_astropy_does_not_take_the_psf_for_the_image(path: Path, options: dict[str, str | None]) -> None:
    """It takes the first uncompressed image it finds, if it is not told which.  Seen red with the PSF uncompressed."""
    write_exposure(exposure(noise_correlation=NOISE), path)
    with pytest.raises((TypeError, ValueError)):
        CCDData.read(path, **options)


@pytest.mark.parametrize("compress", [True, False])
def test_file_is_valid_and_its_sums_are_right(path: Path, compress: bool) -> None:
    write_exposure(exposure(psf=small_grid(), noise_correlation=NOISE, **FACTS), path, compress=compress)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(path, checksum=True, disable_image_compression=True) as hdus:
            hdus.verify("exception")
            assert all("DATASUM" in hdu.header for hdu in hdus[1:])
            assert hdus[0].header["NEXTEND"] == len(hdus) - 1
            for hdu in hdus:
                assert hdu.data is None or hdu.data.size
        with fits.open(path) as hdus:
            assert [hdu.name for hdu in hdus] == [
                "PRIMARY",
                "IMAGE",
                "MASK",
                "UNCERT",
                "PSFIMAGE",
                "PSFMODEL",
                "NOISECOR",
            ]
            assert hdus["MASK"].header["MP_DETECTED_NEGATIVE"] == 6
    if compress:
        with fits.open(path, disable_image_compression=True) as hdus:
            assert hdus["IMAGE"].header["ZCMPTYPE"] == hdus["MASK"].header["ZCMPTYPE"] == "RICE_1"
            assert hdus["IMAGE"].header["ZQUANTIZ"] == "SUBTRACTIVE_DITHER_2"
            assert hdus["IMAGE"].header["ZDITHER0"] == 1
            assert "ZQUANTIZ" not in hdus["MASK"].header


# Files of others


@pytest.mark.parametrize(
    ("uncertainty", "power"), [(VarianceUncertainty, 1), (StdDevUncertainty, 2), (InverseVariance, -1)]
)
def test_what_ccddata_writes_is_read(path: Path, uncertainty: Any, power: int) -> None:
    values = np.random.default_rng(2).uniform(1, 4, (NY, NX))
    bad = np.zeros((NY, NX), dtype=bool)
    bad[4, 7] = True
    CCDData(values, unit="nJy", wcs=wcs(), mask=bad, uncertainty=uncertainty(values), psf=image_psf(1)).write(path)
    found = read_exposure(path)
    np.testing.assert_allclose(found.variance, values**power, rtol=1e-6)
    assert np.argwhere(found.mask & found.bits("BAD")).tolist() == [[4, 7]]
    assert isinstance(found.psf, ImagePsf)
    assert (found.calibration, found.unit) == (1.0, "nJy")


def test_ccddata_without_mask_has_nothing_masked(path: Path) -> None:
    CCDData(np.ones((9, 9)), unit="Jy", wcs=wcs(), uncertainty=VarianceUncertainty(np.ones((9, 9)))).write(path)
    found = read_exposure(path, psf=image_psf(1))
    assert not found.mask.any()
    assert found.calibration == pytest.approx(1e9)


def lsst(primary: bool = False, compressed: bool = False, **cards: Any) -> fits.HDUList:
    """Planes, order and cards as LSST's ``ExposureF`` has them."""
    e = exposure()
    kind = fits.CompImageHDU if compressed else fits.ImageHDU
    image_header = header(distortion="SIP") + fits.Header({"BUNIT": "nJy", "LTV1": -3.0} | cards)
    for card in ("CRVAL1A", "CRVAL2A"):
        image_header[card] = 0.0
    mask_header = fits.Header({f"MP_{p}" if len(p) < 6 else f"HIERARCH MP_{p}": bit for p, bit in e.planes.items()})
    planes = [
        fits.PrimaryHDU(e.image, image_header) if primary else kind(e.image, image_header, name="IMAGE"),
        kind(e.mask, mask_header, name="MASK"),
        kind(e.variance, name="VARIANCE"),
    ]
    archive = fits.BinTableHDU.from_columns([fits.Column("id", "J", array=[1, 2])], name="ARCHIVE_INDEX")
    hdus = fits.HDUList([*([] if primary else [fits.PrimaryHDU()]), *planes, archive])
    hdus[0].header["HIERARCH LSST BUTLER DATAID VISIT"] = 2024110800291
    hdus[0].header["HIERARCH LSST BUTLER DATAID DETECTOR"] = 168
    hdus[0].header["HIERARCH LSST BUTLER DATAID BAND"] = "i"
    hdus[0].header["DATE-AVG"], hdus[0].header["TIMESYS"] = "2024-11-09T06:12:35.123", "TAI"
    hdus[0].header["EXPTIME"] = 30.0
    return hdus


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("primary", [False, True])
def test_an_lsst_exposure_is_read_with_a_psf_given(
    tmp_path: Path, primary: bool, compressed: bool, suffix: str
) -> None:
    path = tmp_path / f"visit.fits{suffix}"
    lsst(primary, compressed).writeto(path)
    assert "has no PSF that l1db reads (an LSST archive is none); give psf=" in refused(path)
    found, given = read_exposure(path, psf=GaussianPsf(4.0)), exposure()
    np.testing.assert_array_equal(found.mask, given.mask)
    np.testing.assert_allclose(found.image, given.image, atol=0.0 if primary or not compressed else 3.0)
    assert found.planes == given.planes
    assert found.psf == GaussianPsf(4.0)
    assert (found.visit, found.detector, found.band, found.exposure_time) == (2024110800291, 168, "i", 30.0)
    assert found.midpoint_mjd_tai == pytest.approx(60623.25873984954, abs=1e-9)
    np.testing.assert_allclose(found.sky(3, 4), exposure(wcs=wcs(distortion="SIP")).sky(3, 4), atol=1e-10)


def test_an_array_will_do_for_the_psf(path: Path) -> None:
    lsst().writeto(path)
    assert read_exposure(path, psf=image_psf(1)).psf.stamps([3], [4], 25).sum() == pytest.approx(1)


def test_the_default_psf_is_that_of_a_file_without_one(tmp_path: Path) -> None:
    """Seen red with the default before the file's."""
    without, having = tmp_path / "lsst.fits", tmp_path / "ours.fits"
    lsst().writeto(without)
    write_exposure(exposure(psf=GaussianPsf(2.5)), having)
    default, given = GaussianPsf(4.0), GaussianPsf(3.0)
    assert read_exposure(without, default_psf=default).psf is default
    assert read_exposure(having, default_psf=default).psf == GaussianPsf(2.5)
    assert read_exposure(without, psf=given, default_psf=default).psf is given


def test_a_midpoint_in_utc_becomes_tai(path: Path) -> None:
    hdus = lsst()
    hdus[0].header["TIMESYS"] = "UTC"
    hdus.writeto(path)
    assert read_exposure(path, psf=GaussianPsf(3)).midpoint_mjd_tai == pytest.approx(
        60623.25873984954 + 37 / 86400, abs=1e-9
    )


def test_a_remote_file_is_read(path: Path) -> None:
    given = exposure()
    write_exposure(given, path, compress=False)
    with fsspec.open("memory://bucket/night/image.fits", "wb") as file:
        file.write(path.read_bytes())
    assert array_checksum(read_exposure("memory://bucket/night/image.fits")) == array_checksum(given)


def test_a_real_rubin_cutout_is_refused_for_its_wcs(tmp_path: Path, shared_data: Path) -> None:
    """It has no CTYPE."""
    fastavro_packets = pytest.importorskip("l1db.replay.packets")
    (packet,) = fastavro_packets.read_packets(shared_data / "alerts" / "rubin" / "7912941781254298.avro")
    path = tmp_path / "cutout.fits"
    path.write_bytes(packet.record["cutoutDifference"])
    assert "no celestial WCS" in refused(path)


# Units


@pytest.mark.parametrize(
    ("cards", "calibration", "unit"),
    [
        ({"BUNIT": "nJy"}, 1.0, "nJy"),
        ({"BUNIT": "nJy", "L1CALIB": 1.0}, 1.0, "nJy"),
        ({"BUNIT": "uJy"}, 1e3, "uJy"),
        ({"BUNIT": "Jy"}, 1e9, "Jy"),
        ({"BUNIT": "adu", "L1CALIB": 3.5}, 3.5, "adu"),
        ({"BUNIT": "ADU", "L1CALIB": 3.5}, 3.5, "adu"),
        ({"BUNIT": "DN", "L1CALIB": 3.5}, 3.5, "adu"),
        ({"BUNIT": "electron", "L1CALIB": 3.5}, 3.5, "electron"),
        ({"BUNIT": "electrons", "L1CALIB": 3.5}, 3.5, "electron"),
        ({"BUNIT": "count", "L1CALIB": 3.5}, 3.5, "ct"),
        ({"BUNIT": "electron/s", "L1CALIB": 3.5}, 3.5, "electron / s"),
        ({"BUNIT": None, "L1CALIB": 3.5}, 3.5, "adu"),
        ({"BUNIT": "adu", "FLUXMAG0": 10 ** (27 / 2.5)}, 10 ** ((31.4 - 27) / 2.5), "adu"),
        ({"BUNIT": "adu", "FLUXMAG0": 1e3, "L1CALIB": 3.5}, 3.5, "adu"),
    ],
)
def test_unit_and_calibration(path: Path, cards: dict[str, Any], calibration: float, unit: str) -> None:
    lsst(**cards).writeto(path)
    found = read_exposure(path, psf=GaussianPsf(3))
    assert found.calibration == pytest.approx(calibration, rel=1e-6)
    assert found.unit == unit
    write_exposure(found, path, compress=False)
    assert read_exposure(path).unit == unit
    assert CCDData.read(path).unit == units.Unit(unit)


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"BUNIT": "adu"}, r"BUNIT is adu, and nothing says how much that is: add L1CALIB \(nJy per adu\)"),
        ({"BUNIT": None}, "has no BUNIT"),
        ({"BUNIT": "furlong"}, "BUNIT 'furlong' is not a unit"),
        ({"BUNIT": "mag", "L1CALIB": 1.0}, "BUNIT 'mag' is no flux"),
        ({"BUNIT": "K", "L1CALIB": 1.0}, "BUNIT 'K' is no flux"),
        ({"BUNIT": "nJy", "L1CALIB": 2.0}, "BUNIT nJy is 1 nJy, but L1CALIB says 2"),
        ({"BUNIT": "adu", "L1CALIB": -1.0}, "calibration is -1.0; a positive number"),
        ({"BUNIT": "adu", "L1CALIB": "one"}, "L1CALIB is 'one'; a number"),
        ({"VISIT": 3.5}, "VISIT is 3.5; an integer"),
        ({"MJD-AVG": 60000.0, "TIMESYS": "LUNAR"}, "TIMESYS LUNAR is no time scale"),
        ({"DATE-AVG": "yesterday"}, "DATE-AVG or MJD-AVG is not a time"),
        ({"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"}, "WCS in GLON"),
        ({"CTYPE1": "", "CTYPE2": ""}, "no celestial WCS"),
        ({"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"}, "WCS"),
        ({"CTYPE1": "RA---TAN", "CTYPE2": "RA---TAN"}, "WCS"),
        ({"CD1_1": 0.0, "CD1_2": 0.0}, "invalid WCS: .*singular"),
        ({"CPDIS1": "LOOKUP"}, "distortion tables"),
    ],
)
def test_a_card_that_makes_no_sense_is_refused(path: Path, cards: dict[str, Any], message: str) -> None:
    lsst(**cards).writeto(path)
    assert re.search(message, refused(path, psf=GaussianPsf(3)))


# Damage


def without(name: str) -> fits.HDUList:
    return fits.HDUList([hdu for hdu in lsst() if hdu.name != name])


def replaced(name: str, hdu: Any) -> fits.HDUList:
    hdu.name = name
    return fits.HDUList([hdu if old.name == name else old for old in lsst()])


@pytest.mark.parametrize(
    ("hdus", "message"),
    [
        (lambda: without("IMAGE"), "neither an extension IMAGE nor an image in the primary"),
        (lambda: without("MASK"), "has no MASK"),
        (lambda: without("VARIANCE"), "has no variance"),
        (lambda: replaced("MASK", fits.ImageHDU(np.zeros((NY, NX - 1), "i4"))), "MASK has 119 x 100 pixels, IMAGE 120"),
        (lambda: replaced("VARIANCE", fits.ImageHDU(np.ones((NX, NY)))), "VARIANCE has 100 x 120 pixels"),
        (lambda: replaced("VARIANCE", fits.ImageHDU(np.ones((2, NY, NX)))), "VARIANCE is not an image"),
        (lambda: replaced("IMAGE", fits.BinTableHDU()), "IMAGE is not an image"),
        (lambda: replaced("MASK", fits.ImageHDU(np.ones((NY, NX)))), "MASK consists of float64"),
        (lambda: replaced("MASK", fits.ImageHDU(np.full((NY, NX), 6, "i4"))), "MASK has bits but no MP_<name> cards"),
        (lambda: without_utype(), "UNCERT has UTYPE None"),
        (lambda: fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU()]), "neither an extension IMAGE"),
    ],
)  # fmt: skip
def test_a_missing_or_misshapen_extension_is_named(path: Path, hdus: Any, message: str) -> None:
    hdus().writeto(path)
    assert message in refused(path, psf=GaussianPsf(3))


def without_utype() -> fits.HDUList:
    return fits.HDUList([*without("VARIANCE"), fits.ImageHDU(np.ones((NY, NX)), name="UNCERT")])


@pytest.mark.parametrize("content", [b"", b"not FITS", b"\x1f\x8bno", b"SIMPLE  = no", b"<html>404</html>" * 1000])
def test_a_foreign_file_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused(path)


@pytest.fixture(scope="module", params=[True, False], ids=["compressed", "plain"])
def content(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "image.fits"
    small = {"nx": 40, "ny": 30}
    given = exposure(noise_correlation=NOISE, psf=small_grid(), **small, **FACTS)
    write_exposure(given, path, compress=request.param)
    return path.read_bytes()


def test_a_truncated_file_is_refused_wherever_it_ends(path: Path, content: bytes) -> None:
    """At every block, and beside it.  Seen red without NEXTEND, where the file ends between two extensions."""
    blocks = range(2880, len(content), 2880)
    for end in {1, 79, *itertools.chain.from_iterable((b - 1, b, b + 1) for b in blocks), len(content) - 1}:
        path.write_bytes(content[:end])
        refused(path)


def test_a_truncated_file_of_others_is_refused_too(path: Path) -> None:
    """Without sums and numbers of extensions.  Seen red without a look at the spans, and at what follows the last."""
    lsst().writeto(path)
    content = path.read_bytes()
    with fits.open(io.BytesIO(content)) as hdus:
        needed = data_spans(hdus)[2].stop
    for end in itertools.chain.from_iterable((b - 1, b, b + 1) for b in range(2880, len(content), 5760)):
        if end != needed:
            path.write_bytes(content[:end])
            refused(path, psf=GaussianPsf(3))


@pytest.mark.parametrize("keep", [0.2, 0.9, 0.999])
def test_a_truncated_gzip_is_refused(tmp_path: Path, content: bytes, keep: float) -> None:
    zipped = gzip.compress(content)
    path = tmp_path / "image.fits.gz"
    path.write_bytes(zipped[: int(keep * len(zipped))])
    assert refused(path) == "is a truncated or damaged gzip file"


def test_a_damaged_pixel_is_found(path: Path, content: bytes) -> None:
    """Seen red without DATASUM."""
    rng = np.random.default_rng(1)
    with fits.open(io.BytesIO(content), disable_image_compression=True) as hdus:
        places = [(i.start, i.stop) for i in data_spans(hdus)]
    for start, stop in places:
        for at in rng.integers(start, stop, 5).tolist():
            damaged = bytearray(content)
            damaged[at] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            assert "DATASUM" in refused(path)


def data_spans(hdus: fits.HDUList) -> list[range]:
    spans = [hdus.fileinfo(i) for i in range(1, len(hdus))]
    return [range(s["datLoc"], s["datLoc"] + s["datSpan"]) for s in spans]


def test_a_damaged_header_is_refused_or_harmless(path: Path, content: bytes) -> None:
    """Whatever astropy makes of it, nothing but a refusal comes out."""
    rng = np.random.default_rng(2)
    with fits.open(io.BytesIO(content), disable_image_compression=True) as hdus:
        data = {at for span in data_spans(hdus) for at in span}
    headers = np.array([at for at in range(len(content)) if at not in data and content[at] != 32])
    for at in rng.choice(headers, 25).tolist():
        damaged = bytearray(content)
        damaged[at] = int(rng.integers(33, 127))
        path.write_bytes(damaged)
        try:
            read_exposure(path)
        except InputError:
            refused(path)


# Writing


class NoPsf:
    fwhm, size = 3.0, 21

    def stamps(self, x: Any, y: Any, size: int | None = None) -> np.ndarray:
        return GaussianPsf(3.0).stamps(x, y, size)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"psf": NoPsf()}, "a PSF of type NoPsf has no place in a file"),
        ({"planes": {"not a keyword": 1}}, "mask plane 'not a keyword'"),
        ({"metadata": {"NAXIS1": 3}}, "metadata NAXIS1 has a place of its own"),
        ({"metadata": {"FOO": [1, 2]}}, "metadata FOO is list"),
        ({"metadata": {"FOO": "grün"}}, "metadata FOO cannot be written"),
        ({"metadata": {"FOO": "a\nb"}}, "metadata FOO cannot be written"),
    ],
)
def test_what_fits_cannot_hold_is_refused_and_nothing_written(
    path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as refusal:
        write_exposure(exposure(**changes), path)
    assert str(refusal.value).startswith(f"{path}: {message}")
    assert list(path.parent.iterdir()) == []


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written: No such file"):
        write_exposure(exposure(), tmp_path / "none" / "image.fits")
    (tmp_path / "image.fits").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_exposure(exposure(), tmp_path / "image.fits")
    assert [entry.name for entry in tmp_path.iterdir()] == ["image.fits"]
