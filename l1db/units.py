"""Units on the way in: degrees, nJy and whatever else a table's metadata says become the database's.

Linear units go through astropy; AB magnitudes are the one kind that is not linear.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Magnitude of 1 nJy.
AB_ZERO_POINT_NJY = 31.4

# Spellings in use that astropy does not parse, or parses as something else ("AB mag" as a product).
_SPELLINGS = {
    "abmag": "mag(AB)",
    "ab mag": "mag(AB)",
    "mag ab": "mag(AB)",
    "mag_ab": "mag(AB)",
    "degrees": "deg",
    "radians": "rad",
    "arcseconds": "arcsec",
    "pixels": "pixel",
    "days": "d",
    "seconds": "s",
}
_UNITLESS = {"", "none", "-", "--", "unitless", "dimensionless", "1"}


@cache
def parse(text: str) -> Any:
    """The astropy unit that a table's metadata names; None where it names none.

    Raises
    ------
    ValueError
        If nobody knows such a unit.
    """
    text = text.strip()
    if text.lower() in _UNITLESS:
        return None
    return u.Unit(_SPELLINGS.get(text.lower(), text))


def is_ab_magnitude(unit: Any) -> bool:
    """Whether a unit is that of a magnitude in the AB system (a bare ``mag`` does not say so)."""
    return bool(unit == u.ABmag)


def is_magnitude(unit: Any) -> bool:
    """Whether a unit is that of a magnitude of any system, or of a difference of two."""
    return bool(unit == u.mag) or isinstance(unit, u.MagUnit)


def factor(given: Any, wanted: str) -> float:
    """What to multiply a value in unit ``given`` by to have it in ``wanted``.

    Raises
    ------
    astropy.units.UnitConversionError
        If the units measure different things.
    """
    return float(given.to(u.Unit(wanted)))


def flux_of_magnitude(magnitude: Floats) -> Floats:
    """Flux in nJy of an AB magnitude."""
    return np.asarray(10.0 ** ((AB_ZERO_POINT_NJY - magnitude) / 2.5))


def flux_error_of_magnitude_error(flux: Floats, magnitude_error: Floats) -> Floats:
    """Error of a flux, in the flux's own unit, from the 1-sigma error of its magnitude (first order)."""
    return np.asarray(np.abs(flux) * magnitude_error * (np.log(10.0) / 2.5))
