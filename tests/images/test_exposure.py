"""Exposures: the parts fit each other, the footprint follows the WCS, sky and pixels lead to each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from images.sky_images import NX, NY, PLACES, exposure, header, wcs

from l1db.errors import InputError
from l1db.footprint import polygon_wkt

DISTORTIONS = ("TAN", "SIP", "TPV")


def test_bits_of_named_planes() -> None:
    e = exposure()
    assert e.bits("BAD") == 1
    assert e.bits("SAT", "NO_DATA", "SAT") == 2 + 256
    assert e.bits("NO SUCH PLANE") == e.bits() == 0


def test_the_highest_bit_can_be_tested_on_the_mask() -> None:
    """Seen red with 1 << 31, which an int32 does not hold."""
    mask = np.zeros((NY, NX), dtype=np.int32)
    mask[5, 6] = np.iinfo(np.int32).min
    e = exposure(mask=mask, planes={"TOP": 31, "BAD": 0})
    assert np.argwhere(e.mask & e.bits("TOP", "BAD")).tolist() == [[5, 6]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variance": np.ones((NY, NX - 1))}, r"the variance has shape \(100, 119\)"),
        ({"mask": np.zeros((NX, NY))}, "the mask has shape"),
        ({"image": np.zeros(7)}, "the image has shape"),
        ({"planes": {"A": 0, "B": 0}}, "mask planes"),
        ({"planes": {"A": 32}}, "mask planes"),
        ({"calibration": 0.0}, "calibration is 0.0; a positive"),
        ({"aperture_correction": float("nan")}, "aperture_correction is nan"),
        ({"noise_correlation": np.ones((4, 3))}, "noise_correlation has shape"),
        ({"noise_correlation": np.full((3, 3), 0.5)}, "1 at its centre"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        exposure(**changes)


def altered(**cards: Any) -> WCS:
    changed = header()
    changed.update(cards)
    return WCS(changed)


def singular() -> WCS:
    w = WCS(naxis=2)
    w.wcs.ctype, w.wcs.crval, w.wcs.cd = ["RA---TAN", "DEC--TAN"], [1.0, 2.0], [[1e-4, 2e-4], [1e-4, 2e-4]]
    return w


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: WCS(naxis=2), "no celestial WCS"),
        (lambda: altered(CTYPE1="GLON-TAN", CTYPE2="GLAT-TAN"), "WCS in GLON"),
        (lambda: altered(RADESYS="FK4", EQUINOX=1950.0), "WCS in FK4 of 1950"),
        (lambda: altered(RADESYS="FK5", EQUINOX=1975.0), "WCS in FK5 of 1975"),
        (lambda: singular(), "invalid WCS: .*singular"),
    ],
)
def test_a_wcs_that_cannot_serve_is_refused(other: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        exposure(wcs=other())
    assert "\n" not in str(refusal.value)


def test_fk5_of_j2000_is_taken() -> None:
    exposure(wcs=altered(RADESYS="FK5", EQUINOX=2000.0))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_sky_and_pixels_lead_to_each_other(place: str, distortion: str) -> None:
    e = exposure(wcs=wcs(place, distortion))
    rng = np.random.default_rng(3)
    x, y = rng.uniform(-40, NX + 40, 300), rng.uniform(-40, NY + 40, 300)
    ra, dec = e.sky(x, y)
    assert ((ra >= 0) & (ra < 360)).all()
    back = e.pixel(ra, dec)
    np.testing.assert_allclose(back, [x, y], atol=1e-5)


def test_pixels_count_from_the_centre_of_the_first() -> None:
    """The reference pixel of the header counts from 1."""
    np.testing.assert_allclose(exposure().pixel(*PLACES["equator"]), [NX / 2 - 0.3, NY / 2 - 4.3], atol=1e-8)


def test_axes_in_the_other_order_make_no_difference() -> None:
    h = header()
    for card in ("CTYPE", "CRVAL"):
        h[f"{card}1"], h[f"{card}2"] = h[f"{card}2"], h[f"{card}1"]
    for i in "12":
        h[f"CD1_{i}"], h[f"CD2_{i}"] = h[f"CD2_{i}"], h[f"CD1_{i}"]
    np.testing.assert_allclose(exposure(wcs=WCS(h)).sky(3.0, 4.0), exposure().sky(3.0, 4.0), atol=1e-12)


@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_a_position_elsewhere_on_the_sky_has_its_own_pixel_or_none(distortion: str) -> None:
    """Seen red for SIP without the way back: from far off, its inverse stops where it happens to be."""
    e = exposure(wcs=wcs("equator", distortion))
    rng = np.random.default_rng(4)
    near, everywhere = (
        rng.uniform([[148], [0]], [[152], [4]], (2, 3000)),
        rng.uniform([[-180], [-90]], [[180], [90]], (2, 3000)),
    )
    ra, dec = np.concatenate([near, everywhere], axis=1)
    ra %= 360
    x, y = e.pixel(ra, dec)
    found = np.isfinite(x)
    there = SkyCoord(*e.sky(x[found], y[found]), unit="deg")
    assert there.separation(SkyCoord(ra[found], dec[found], unit="deg")).arcsec.max() < 0.001
    away = SkyCoord(ra, dec, unit="deg").separation(SkyCoord(*PLACES["equator"], unit="deg")).deg > 0.1
    assert not ((x > -1) & (x < NX) & (y > -1) & (y < NY))[away].any()
    assert np.isnan(e.pixel(330.0, -2.0)).all()


def test_shapes_are_kept() -> None:
    e = exposure()
    assert e.pixel(150.0, 2.0)[0].shape == e.sky(1, 2)[0].shape == ()
    assert e.pixel(np.full((2, 3), 150.0), 2.0)[1].shape == (2, 3)
    assert e.pixel([], [])[0].shape == (0,)
    assert np.isnan(e.pixel([np.nan, 150.0], [2.0, 2.0])[0]).tolist() == [True, False]


# A detector of 4000 pixels: at this size the distortions bend the border by tens of pixels.
LARGE = {"nx": 4000, "ny": 3600}


def border(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Points on the outer edge of the outermost pixels."""
    x0, x1, y0, y1 = -0.5, LARGE["nx"] - 0.5, -0.5, LARGE["ny"] - 0.5
    t = np.linspace(0, 1, n)
    x = np.concatenate([x0 + t * (x1 - x0), np.full(n, x1), x1 - t * (x1 - x0), np.full(n, x0)])
    y = np.concatenate([np.full(n, y0), y0 + t * (y1 - y0), np.full(n, y1), y1 - t * (y1 - y0)])
    return x, y


def arcsec_from_polygon(ra: np.ndarray, dec: np.ndarray, corners: np.ndarray, place: str) -> np.ndarray:
    """Distance of each position from the nearest edge, in a gnomonic plane, where great circles are straight lines."""
    plane = WCS(naxis=2)
    plane.wcs.ctype, plane.wcs.crval, plane.wcs.cdelt = ["RA---TAN", "DEC--TAN"], PLACES[place], [1 / 3600, 1 / 3600]
    points = np.stack(plane.wcs_world2pix(ra, dec, 0), axis=1)
    start = np.stack(plane.wcs_world2pix(*corners.T, 0), axis=1)
    edge = np.roll(start, -1, axis=0) - start
    nearest = np.full(len(points), np.inf)
    for a, d in zip(start, edge, strict=True):
        t = np.clip((points - a) @ d / (d @ d), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(points - a - t[:, None] * d, axis=1))
    return nearest


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_footprint_follows_the_border_to_a_tenth_of_an_arcsecond(place: str, distortion: str) -> None:
    """Seen red with the four corners alone, and for TPV and SIP with a fixed number of points."""
    w = wcs(place, distortion, **LARGE)
    zeros = np.zeros((LARGE["ny"], LARGE["nx"]), dtype=np.float32)
    corners = exposure(image=zeros, variance=zeros, mask=zeros, wcs=w).corners()
    polygon_wkt(corners)  # takes [0, 360) x [-90, 90] only
    assert len(corners) == 4 if distortion == "TAN" else len(corners) > 8
    x, y = border(700)
    assert arcsec_from_polygon(*w.all_pix2world(x, y, 0), corners, place).max() < 0.1
    if distortion != "TAN":  # the test would see it
        assert arcsec_from_polygon(*w.all_pix2world(x, y, 0), corners[:: len(corners) // 4], place).max() > 1


def test_an_s_shaped_edge_is_followed() -> None:
    """Its middle lies on the chord.  Seen red with a look at the middle only."""
    h = header(distortion="SIP", **LARGE)
    for keyword in list(h):
        if keyword.startswith(("A_", "B_")):
            del h[keyword]
    h.update({"A_ORDER": 3, "B_ORDER": 3, "B_3_0": 2e-9, "CRPIX1": LARGE["nx"] / 2 + 0.5})
    w = WCS(h)
    zeros = np.zeros((LARGE["ny"], LARGE["nx"]), dtype=np.float32)
    corners = exposure(image=zeros, variance=zeros, mask=zeros, wcs=w).corners()
    x, y = border(700)
    assert arcsec_from_polygon(*w.all_pix2world(x, y, 0), corners, "equator").max() < 0.1


def test_a_wcs_that_does_not_reach_the_border_is_refused() -> None:
    with pytest.raises(InputError, match="no sky position at the border"):
        exposure(
            wcs=altered(CTYPE1="RA---SIN", CTYPE2="DEC--SIN", CD1_1=1.0, CD1_2=0.0, CD2_1=0.0, CD2_2=1.0)
        ).corners()
