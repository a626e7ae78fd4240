"""A made-up night: what is in the sky is known, so that what the database made of it can be held against the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l1db.visit import DetectorData, Visit

_RA, _DEC = 150.1, 2.2
_SIDE = 0.2  # degrees: side of a detector
_STEP = 0.17  # degrees: from one detector to the next, so that neighbours overlap
_ERROR = 0.1 / 3600  # degrees: position error on each axis
_LARGEST_ERROR = 4  # of these; beyond, whether two sources are one would be a matter of taste
_LEAST_SEPARATION = 5 / 3600  # degrees
_FLUX_ERROR = 150.0  # nJy
_FIRST_MIDPOINT = 61000.05  # MJD TAI
_CADENCE = 0.03  # days
_BANDS = ("g", "r", "i")


@dataclass(frozen=True)
class Night:
    """A made-up night and its truth.

    Parameters
    ----------
    calls
        What is handed in: a visit and one of its detectors at a time.
    truth
        For each ``dia_source_id``, which thing in the sky it is of.
    kinds
        What each thing is: ``variable``, ``transient`` or ``once``, shape (n,).
    """

    calls: tuple[tuple[Visit, DetectorData], ...]
    truth: Mapping[int, int]
    kinds: NDArray[np.str_]


def make_night(
    seed: int = 1, *, n_visits: int = 6, variables: int = 250, transients: int = 40, once: int = 60
) -> Night:
    """Make a night up.

    Things lie at least 5 arcsec apart.  A thing in the overlap of two detectors is on both, measured twice.  Variables
    are missed now and then, transients are there from some visit on, and what is seen once is seen in one visit.

    Parameters
    ----------
    seed
        Of the random numbers.
    n_visits
        Visits, in bands g, r, i in turn.
    variables, transients, once
        Number of things of each kind.
    """
    rng = np.random.default_rng(seed)
    kinds = np.repeat(["variable", "transient", "once"], [variables, transients, once])
    ra, dec = _scatter(rng, len(kinds))
    amplitude = 10 ** rng.uniform(3.5, 4.7, len(kinds))  # nJy
    period, phase = rng.uniform(0.05, 0.4, len(kinds)), rng.uniform(0, 1, len(kinds))
    begin = rng.integers(1, n_visits, len(kinds))

    calls: list[tuple[Visit, DetectorData]] = []
    truth: dict[int, int] = {}
    for number in range(n_visits):
        midpoint = _FIRST_MIDPOINT + number * _CADENCE
        visit = Visit(1001 + number, _BANDS[number % 3], midpoint, 30.0, _RA, _DEC, n_detectors=4, target="demo")
        flux = np.where(
            kinds == "variable",
            amplitude * np.sin(2 * np.pi * (midpoint / period + phase)),
            amplitude * np.sqrt(np.maximum(number - begin + 1, 1)),
        )
        shows = np.select(
            [kinds == "variable", kinds == "transient"],
            [np.abs(flux) > 5 * _FLUX_ERROR, number >= begin],
            number == begin,
        )
        for detector in range(4):
            west, south = (_origin(detector, axis) for axis in (0, 1))
            inside = (np.abs(ra - west - _SIDE / 2) < _SIDE / 2) & (np.abs(dec - south - _SIDE / 2) < _SIDE / 2)
            seen = np.flatnonzero(shows & inside)
            data, ids = _measure(rng, visit, detector, ra[seen], dec[seen], flux[seen])
            truth.update(zip(ids.tolist(), seen.tolist(), strict=True))
            calls.append((visit, data))
    return Night(tuple(calls), truth, kinds)


def _origin(detector: int, axis: int) -> float:
    """The lower edge of a detector on an axis, degrees."""
    index = detector % 2 if axis == 0 else detector // 2
    return (_RA if axis == 0 else _DEC) + (index - 1) * _STEP


def _scatter(rng: np.random.Generator, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions on the four detectors, none too near another."""
    ra, dec = np.empty(0), np.empty(0)
    while len(ra) < n:
        x, y = _RA + rng.uniform(-_STEP, _SIDE, 1), _DEC + rng.uniform(-_STEP, _SIDE, 1)
        if (np.hypot((ra - x) * np.cos(np.radians(_DEC)), dec - y) > _LEAST_SEPARATION).all():
            ra, dec = np.append(ra, x), np.append(dec, y)
    return ra, dec


def _measure(
    rng: np.random.Generator,
    visit: Visit,
    detector: int,
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    flux: NDArray[np.float64],
) -> tuple[DetectorData, NDArray[np.int64]]:
    """What a detector measures of things at (ra, dec): its sources, and their ids."""
    n = len(ra)
    length = np.minimum(_ERROR * rng.rayleigh(size=n), _LARGEST_ERROR * _ERROR)
    angle = rng.uniform(0, 2 * np.pi, n)
    ids = visit.visit * 10_000 + detector * 1000 + np.arange(n)
    west, south = _origin(detector, 0), _origin(detector, 1)
    edge = 1 / 3600
    corners = [(west - edge, south - edge), (west + _SIDE + edge, south - edge),
               (west + _SIDE + edge, south + _SIDE + edge), (west - edge, south + _SIDE + edge)]  # fmt: skip
    sources = {
        "dia_source_id": ids,
        "ra": ra + length * np.cos(angle) / np.cos(np.radians(dec)),
        "dec": dec + length * np.sin(angle),
        "ra_err": np.full(n, _ERROR),
        "dec_err": np.full(n, _ERROR),
        "psf_flux": flux + rng.normal(0, _FLUX_ERROR, n),
        "psf_flux_err": np.full(n, _FLUX_ERROR),
        "snr": np.abs(flux) / _FLUX_ERROR,
        "is_negative": flux < 0,
    }
    return DetectorData(detector, sources, footprint=corners, software="l1db demo"), ids
