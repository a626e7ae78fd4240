"""What is to be simulated, and where its random numbers come from."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from l1db.errors import InputError

Variance = Literal["data", "model"]
Arrival = Literal["time", "shuffled", "repeated"]

PIXEL_SCALE = 0.2  # arcsec
FIRST_MIDPOINT = 61000.05  # MJD TAI of the first visit, to within its jitter
CADENCE = 0.02  # days from one visit of a night to the next
TEMPLATE_EPOCH = FIRST_MIDPOINT - 400.0  # MJD TAI
EXPOSURE_TIME = 30.0  # seconds, two snaps of half of it
BANDS = ("g", "r", "i")
OVERLAP = 0.03  # of a detector's side, with its neighbour in the focal plane
MOST_VISITS, MOST_NIGHTS, MOST_DETECTORS = 20, 365, 400


@dataclass(frozen=True)
class Plan:
    """What to simulate.

    Parameters
    ----------
    seed
        Of all random numbers.
    nights, visits_per_night, detectors
        How many; at most 365, 20 and 400.  One more of any leaves the pixels of the others as they were, except that
        more detectors are a larger focal plane, with other things on it.
    size
        Side of a detector, pixels of 0.2 arcsec.
    density
        How many things of each kind, as a multiple of the usual; 60 makes 20 000 variables and transients on a
        detector of 4k x 4k.
    star_density
        Static stars, as a multiple of the usual 25 per square arcminute.
    bogus_density
        Unmasked artefacts per square arcminute and visit.
    ra, dec
        Centre of the field, degrees, ICRS.
    zero_point_error
        Standard deviation of the visits' calibration errors, relative.
    noise_sigma
        Width of the Gaussian that correlates the noise of neighbouring pixels, pixels; 0 for white noise.
    variance
        Whether the variance planes are estimated from the ``data``, as pipelines do, or are those of the ``model``.
    cloudy_visits
        How many visits of each night, from its second on, see through clouds that leave 1 % of the light: little but
        artefacts is found.
    arrival
        ``time``: one table of all visits.  ``shuffled`` and ``repeated``: also a table for each visit, in the order in
        which they arrive, which is not that of time; with ``repeated``, every third arrives twice.
    """

    seed: int = 1
    nights: int = 3
    visits_per_night: int = 3
    detectors: int = 2
    size: int = 1024
    density: float = 1.0
    star_density: float = 1.0
    bogus_density: float = 0.7
    ra: float = 150.1
    dec: float = 2.2
    zero_point_error: float = 0.01
    noise_sigma: float = 0.0
    variance: Variance = "data"
    cloudy_visits: int = 0
    arrival: Arrival = "time"

    def __post_init__(self) -> None:
        _within("nights", self.nights, 1, MOST_NIGHTS)
        _within("visits_per_night", self.visits_per_night, 1, MOST_VISITS)
        _within("detectors", self.detectors, 1, MOST_DETECTORS)
        _within("size", self.size, 128, 8192)
        _within("seed", self.seed, 0, 2**63 - 1)
        for name, most in (("density", 1000), ("star_density", 1000), ("bogus_density", 100), ("noise_sigma", 3)):
            _within(name, getattr(self, name), 0, most)
        _within("zero_point_error", self.zero_point_error, 0, 0.2)
        _within("dec", self.dec, -90, 90)
        _within("cloudy_visits", self.cloudy_visits, 0, self.visits_per_night)
        if not 0 <= self.ra < 360:
            raise InputError(f"simulate: ra is {self.ra:g}, not in [0, 360)")
        if self.variance not in ("data", "model"):
            raise InputError(f"simulate: variance is {self.variance!r}, neither 'data' nor 'model'")
        if self.arrival not in ("time", "shuffled", "repeated"):
            raise InputError(f"simulate: arrival is {self.arrival!r}, none of 'time', 'shuffled', 'repeated'")

    @property
    def columns(self) -> int:
        """Detectors side by side in the focal plane."""
        return int(np.ceil(np.sqrt(self.detectors)))

    @property
    def rows(self) -> int:
        """Rows of detectors in the focal plane."""
        return -(-self.detectors // self.columns)

    def random(self, what: str, *key: int) -> np.random.Generator:
        """A stream of random numbers of its own for each purpose and key (night, visit, detector ...)."""
        return np.random.default_rng([self.seed, zlib.crc32(what.encode()), *key])


def _within(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise InputError(f"simulate: {name} is {value:g}, not in {least:g} to {most:g}")
