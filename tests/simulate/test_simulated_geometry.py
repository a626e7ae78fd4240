"""Detectors lie where they should, at the poles and at RA 0 too."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import SkyCoord, angular_separation

from l1db.simulate import geometry
from l1db.simulate.plan import OVERLAP, PIXEL_SCALE, Plan

PLACES = [(150.1, 2.2), (0.0, -30.0), (359.9999, 60.0), (33.0, 90.0), (200.0, -89.9), (10.0, -90.0)]


@pytest.mark.parametrize(("ra", "dec"), PLACES)
def test_the_field_is_around_its_centre(ra: float, dec: float) -> None:
    plan = Plan(ra=ra, dec=dec, detectors=1, size=400)
    for pointing in geometry.pointings(plan):
        wcs = geometry.detector_wcs(plan, pointing, 0)
        x, y = geometry.pixel(wcs, geometry.vectors([ra], [dec]))
        assert abs(x[0] - 199.5) < 0.1 * 400
        assert abs(y[0] - 199.5) < 0.1 * 400
        assert 0 <= pointing.ra < 360
        away = SkyCoord(pointing.ra, pointing.dec, unit="deg").separation(SkyCoord(ra, dec, unit="deg")).arcsec
        assert away < 0.1 * 400 * PIXEL_SCALE


@pytest.mark.parametrize(("ra", "dec"), PLACES)
def test_positions_go_to_pixels_and_back(ra: float, dec: float) -> None:
    plan = Plan(ra=ra, dec=dec, detectors=4, size=400)
    pointing = next(geometry.pointings(plan))
    for detector in range(4):
        wcs = geometry.detector_wcs(plan, pointing, detector)
        x, y = np.meshgrid([0.0, 200.3, 399.0], [0.0, 150.7, 399.0])
        there = geometry.vectors(*wcs.wcs_pix2world(x.ravel(), y.ravel(), 0))
        back = geometry.pixel(wcs, there)
        np.testing.assert_allclose(back, [x.ravel(), y.ravel()], atol=1e-6)
        scale = geometry.separation(there[:-1], there[1:])[:2] / np.diff(x[0])
        np.testing.assert_allclose(scale, PIXEL_SCALE, rtol=1e-5)


def test_neighbours_overlap_and_share_their_sky() -> None:
    plan = Plan(detectors=4, size=400)
    pointing = next(geometry.pointings(plan))
    west, east = (geometry.detector_wcs(plan, pointing, detector) for detector in (0, 1))
    at = geometry.vectors(*west.wcs_pix2world([398.0], [200.0], 0))
    x, y = geometry.pixel(east, at)
    assert x[0] == pytest.approx(398.0 - 400 * (1 - OVERLAP), abs=1e-6)
    assert y[0] == pytest.approx(200.0, abs=1e-6)


def test_no_footprint_of_a_field_off_the_poles_is_turned_over() -> None:
    """East to the left of north, as the sky is seen."""
    for pointing in geometry.pointings(Plan(detectors=1, size=400)):
        wcs = geometry.detector_wcs(Plan(detectors=1, size=400), pointing, 0)
        assert np.linalg.det(wcs.wcs.cd) < 0


def test_motion_is_along_a_great_circle() -> None:
    start = geometry.vectors([359.9], [80.0])
    east, _ = geometry.east_and_north([359.9], [80.0])
    end = geometry.moved(start, np.radians(0.5) * east, [4.0])
    ra, dec = geometry.sky(end)
    assert np.degrees(angular_separation(*np.radians([359.9, 80.0, ra[0], dec[0]]))) == pytest.approx(2.0)
    assert 0 < ra[0] < 15


def test_nights_have_the_date_of_their_noon() -> None:
    assert geometry.day_obs(60000.6) == 20230225
    assert geometry.day_obs(60001.4) == 20230225
    assert geometry.day_obs(60001.6) == 20230226
