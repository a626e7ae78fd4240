"""Visits, and where their detectors lie on the sky.

Positions are unit vectors, shape (n, 3): nothing happens to them at a pole or at RA 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from astropy.wcs import WCS
from numpy.typing import ArrayLike, NDArray

from l1db.simulate.plan import BANDS, CADENCE, EXPOSURE_TIME, FIRST_MIDPOINT, OVERLAP, PIXEL_SCALE, Plan

Floats = NDArray[np.float64]

ARCSEC = np.pi / 180 / 3600  # radians
_DITHER = 0.05  # of a detector's side, on each axis
_SKY = {"g": 500.0, "r": 900.0, "i": 1500.0}  # electrons per pixel and exposure
_ZERO_POINT = {"g": 28.1, "r": 28.0, "i": 27.7}  # AB magnitude of one count per second
_CLOUDS = 0.01  # of the light comes through


@dataclass(frozen=True)
class Pointing:
    """One visit: where the telescope looked, when, and through what.

    Parameters
    ----------
    visit, night, band
        Number, night counted from 0, filter.
    midpoint_mjd_tai, exposure_time
        Days and seconds.
    ra, dec, rotation
        Boresight, and the position angle of the detectors' columns, degrees.
    fwhm, beta
        Of the Moffat PSF at the boresight, pixels; and its exponent.
    sky
        Electrons per pixel.
    zero_point
        Magnitude of one count per second, clouds included.
    zero_point_error
        What the calibration is wrong by: every calibrated flux of the visit is 1 + zero_point_error times the true one.
    """

    visit: int
    night: int
    band: str
    midpoint_mjd_tai: float
    exposure_time: float
    ra: float
    dec: float
    rotation: float
    fwhm: float
    beta: float
    sky: float
    zero_point: float
    zero_point_error: float

    @property
    def counts_per_njy(self) -> float:
        """True counts of a source of 1 nJy in the whole exposure."""
        return float(10 ** (0.4 * (self.zero_point - 31.4)) * self.exposure_time)

    @property
    def snap_midpoints(self) -> tuple[float, float]:
        """Middles of the two snaps, MJD TAI."""
        quarter = self.exposure_time / 4 / 86400
        return self.midpoint_mjd_tai - quarter, self.midpoint_mjd_tai + quarter


def day_obs(mjd: float) -> int:
    """The night's date as a number, yyyymmdd."""
    return int(f"{date(1858, 11, 17) + timedelta(days=int(np.floor(mjd - 0.5))):%Y%m%d}")


def midpoint(plan: Plan, night: int, number: int) -> float:
    """Middle of a visit, MJD TAI."""
    jitter = plan.random("midpoint", night, number).uniform(-0.1, 0.1)
    return float(FIRST_MIDPOINT + night + (number + jitter) * CADENCE)


def pointings(plan: Plan) -> Iterator[Pointing]:
    """The visits in the order of time; each draws from a stream of its own."""
    for night in range(plan.nights):
        for number in range(plan.visits_per_night):
            yield _pointing(plan, night, number)


def _pointing(plan: Plan, night: int, number: int) -> Pointing:
    random = plan.random("pointing", night, number)
    band = BANDS[(night + number) % len(BANDS)]
    offset = random.uniform(-_DITHER, _DITHER, 2) * plan.size * PIXEL_SCALE * ARCSEC
    ra, dec = sky(on_plane(plan.ra, plan.dec, offset[:1], offset[1:]))
    cloudy = (number >= 1 and number <= plan.cloudy_visits) or plan.cloudy_visits == plan.visits_per_night
    transparency = _CLOUDS if cloudy else random.uniform(0.85, 1.0)
    time = midpoint(plan, night, number)
    return Pointing(
        visit=day_obs(time) * 1000 + number + 1,
        night=night,
        band=band,
        midpoint_mjd_tai=time,
        exposure_time=EXPOSURE_TIME,
        ra=float(ra[0]),
        dec=float(dec[0]),
        rotation=float(random.choice([0.0, 180.0]) + random.normal(0, 1.0)),
        fwhm=float(np.clip(3.8 * np.exp(random.normal(0, 0.15)), 2.8, 6.0)),
        beta=float(random.uniform(2.8, 4.0)),
        sky=float(np.clip(_SKY[band] * np.exp(random.normal(0, 0.2)), 50, 5000)),
        zero_point=float(_ZERO_POINT[band] + 2.5 * np.log10(transparency)),
        zero_point_error=float(plan.zero_point_error * random.normal()),
    )


# --- detectors -------------------------------------------------------------------------------------------------------


def detector_wcs(plan: Plan, pointing: Pointing, detector: int) -> WCS:
    """The detector's gnomonic projection; north is up and east to the left where the rotation is 0.

    Detectors fill the focal plane row by row and overlap their neighbours a little, so that a thing can be on several.
    """
    step = plan.size * (1 - OVERLAP)
    column, row = detector % plan.columns, detector // plan.columns
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.crval = [pointing.ra, pointing.dec]
    wcs.wcs.lonpole = 180.0
    wcs.wcs.crpix = [
        (plan.size + 1) / 2 - (column - (plan.columns - 1) / 2) * step,
        (plan.size + 1) / 2 - (row - (plan.rows - 1) / 2) * step,
    ]
    angle, scale = np.radians(pointing.rotation), PIXEL_SCALE / 3600
    wcs.wcs.cd = scale * np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    wcs.wcs.set()
    return wcs


def pixel(wcs: WCS, vectors: Floats) -> tuple[Floats, Floats]:
    """Pixel coordinates of unit vectors, each of shape (n,)."""
    ra, dec = sky(vectors)
    x, y = wcs.wcs_world2pix(ra, dec, 0)
    return np.asarray(x, dtype=float), np.asarray(y, dtype=float)


def half_sides(plan: Plan) -> tuple[float, float]:
    """Half the sides of the field that any visit may see, on the tangent plane, radians."""
    side = plan.size * PIXEL_SCALE * ARCSEC
    return (plan.columns / 2 + 2 * _DITHER) * side, (plan.rows / 2 + 2 * _DITHER) * side


def area(plan: Plan) -> float:
    """Square arcminutes of that field."""
    width, height = half_sides(plan)
    return float(4 * width * height / (60 * ARCSEC) ** 2)


# --- the sphere ------------------------------------------------------------------------------------------------------


def vectors(ra: ArrayLike, dec: ArrayLike) -> Floats:
    """Unit vectors, shape (n, 3), of positions in degrees."""
    a, d = np.radians(np.asarray(ra, dtype=float)), np.radians(np.asarray(dec, dtype=float))
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)


def sky(vectors: Floats) -> tuple[Floats, Floats]:
    """Right ascension in [0, 360) and declination of vectors of any length, degrees."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    ra = np.degrees(np.arctan2(y, x)) % 360
    return np.where(ra >= 360, 0.0, ra), np.degrees(np.arctan2(z, np.hypot(x, y)))


def east_and_north(ra: ArrayLike, dec: ArrayLike) -> tuple[Floats, Floats]:
    """The directions of increasing right ascension and declination, shape (n, 3)."""
    a, d = np.radians(np.asarray(ra, dtype=float)), np.radians(np.asarray(dec, dtype=float))
    east = np.stack([-np.sin(a), np.cos(a), np.zeros_like(a)], axis=-1)
    north = np.stack([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)], axis=-1)
    return east, north


def on_plane(ra: float, dec: float, xi: Floats, eta: Floats) -> Floats:
    """Unit vectors of points of the plane that touches the sphere at (ra, dec); xi to the east, eta north, radians."""
    east, north = east_and_north(ra, dec)
    points = vectors(ra, dec) + xi[:, None] * east + eta[:, None] * north
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))


def moved(positions: Floats, motions: Floats, days: ArrayLike) -> Floats:
    """Positions after some days on great circles; motions are tangent vectors, radians per day, shape (n, 3)."""
    speed = np.linalg.norm(motions, axis=1, keepdims=True)
    angle = speed * np.reshape(np.asarray(days, dtype=float), (-1, 1))
    direction = np.divide(motions, speed, out=np.zeros_like(motions), where=speed > 0)
    return np.asarray(np.cos(angle) * positions + np.sin(angle) * direction)


def separation(a: Floats, b: Floats) -> Floats:
    """Angle between unit vectors, arcsec; arrays are broadcast."""
    return np.asarray(2 * np.arcsin(np.minimum(np.linalg.norm(a - b, axis=-1) / 2, 1)) / ARCSEC)
