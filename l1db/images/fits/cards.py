"""Header cards: what relates pixels to the sky and to fluxes, and which exposure they are of."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from l1db.errors import InputError
from l1db.images.exposure import Exposure

_WCS_CARD = re.compile(
    r"WCSAXES|(CRPIX|CDELT|CUNIT|CTYPE|CRVAL|CROTA)\d|(PC|CD)\d_\d|(PV|PS)\d_\d+|LONPOLE|LATPOLE|RADESYS|EQUINOX"
    r"|(A|B|AP|BP)_(ORDER|DMAX|\d+_\d+)"
)
# What FITS itself or a part of an exposure has its keyword for.
_NOT_METADATA = re.compile(
    r"SIMPLE|BITPIX|NAXIS\d*|EXTEND|NEXTEND|GROUPS|PCOUNT|GCOUNT|BSCALE|BZERO|BLANK|CHECKSUM|DATASUM|INHERIT|EXTNAME|EXTVER"
    r"|EXTLEVEL|BUNIT|UTYPE|L1KIND|L1CALIB|L1APCOR|VISIT|DETECTOR|BAND|MJD-AVG|TIMESYS|MJDREF|EXPTIME|COMMENT|HISTORY|CONTINUE|END|"
    + _WCS_CARD.pattern
)
_FLOAT_CARD = 20  # characters that astropy cuts a number down to


def card(keyword: str, value: str | int | float | bool, comment: str = "") -> fits.Card:
    """A header card; unlike astropy's own it keeps all digits of a floating point number."""
    if isinstance(value, float | np.floating) and len(repr(float(value))) > _FLOAT_CARD and len(keyword) <= 8:
        return fits.Card.fromstring(f"{keyword:8}= {float(value)!r} / {comment}".replace("e", "E", 1)[:80])
    return fits.Card(keyword if len(keyword) <= 8 and " " not in keyword else f"HIERARCH {keyword}", value, comment)


def wcs_cards(exposure: Exposure) -> list[fits.Card]:
    """The WCS, distortion included, if what a header can say of it leads to the same positions."""
    wcs = exposure.wcs
    cards = [fits.Card(c.keyword, c.value, c.comment) for c in wcs.to_header(relax=True).cards if is_wcs(c.keyword)]
    ny, nx = exposure.shape
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(0, nx - 1, 5), np.linspace(0, ny - 1, 5)))
    told, meant = (w.all_pix2world(x, y, 0, ra_dec_order=True) for w in (WCS(fits.Header(cards)), wcs))
    turn = (np.subtract(told, meant) + 180) % 360 - 180
    turn[0] *= np.cos(np.radians(meant[1]))
    if not np.abs(turn).max() < 1e-8:
        raise InputError("its WCS is not one that a FITS header can tell; give it as SIP or TPV")
    return cards


def wcs_text(exposure: Exposure) -> str | None:
    """The WCS as header cards, one a line; None if a header cannot tell it."""
    try:
        return "\n".join(str(c).rstrip() for c in wcs_cards(exposure))
    except InputError:
        return None


def plane_cards(planes: Mapping[str, int]) -> list[fits.Card]:
    """``MP_<name>`` = bit number, in the order of the bits."""
    for plane in planes:
        if not re.fullmatch(r"[A-Z0-9_-]{1,60}", plane):
            raise InputError(f"mask plane {plane!r} has no keyword; use A to Z, 0 to 9 and _")
    ordered = sorted(planes.items(), key=lambda item: item[1])
    return [card(f"MP_{plane}", bit, "" if len(plane) > 20 else "bit number") for plane, bit in ordered]


def calibration_cards(exposure: Exposure) -> list[fits.Card]:
    """What relates pixel values to fluxes."""
    return [
        card("BUNIT", exposure.unit, "unit of the pixels"),
        card("L1CALIB", float(exposure.calibration), "nJy per unit"),
        card("L1APCOR", float(exposure.aperture_correction), "factor on point-source fluxes"),
    ]


def identity_cards(exposure: Exposure) -> list[fits.Card]:
    """Which exposure it is."""
    facts: list[tuple[str, str | int | float | None, str]] = [
        ("L1KIND", exposure.kind, "what is shown"),
        ("VISIT", exposure.visit, "exposure"),
        ("DETECTOR", exposure.detector, "number of the detector"),
        ("BAND", exposure.band, "filter band"),
        ("MJD-AVG", _float(exposure.midpoint_mjd_tai), "[d] middle of the exposure, TAI"),
        ("TIMESYS", None if exposure.midpoint_mjd_tai is None else "TAI", "time scale"),
        # The default; said, it keeps astropy from warning that it works out DATE-AVG.
        ("MJDREF", None if exposure.midpoint_mjd_tai is None else 0.0, "[d] MJD of fiducial time"),
        ("EXPTIME", _float(exposure.exposure_time), "[s] exposure time"),
    ]
    return [card(keyword, value, comment) for keyword, value, comment in facts if value is not None]


def is_wcs(keyword: str) -> bool:
    """Whether a keyword is one of a WCS, distortion included."""
    return _WCS_CARD.fullmatch(keyword) is not None


def is_metadata(keyword: str) -> bool:
    """Whether a keyword is free for what an exposure has no part for."""
    return _NOT_METADATA.fullmatch(keyword) is None


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)
