"""What is on the sky, and its light curves.

There are three sets of things, each with random numbers of its own: those that last (`lasting`), those of one night
(`of_night`: kilonovae, fast moving objects) and those of one visit (`of_visit`: flares, flashes).  So one more visit or
night leaves the others as they were.

==============  ============================  ================================================================
kind            in the template               light curve
==============  ============================  ================================================================
star            all of it                     constant
saturated       all of it                     constant, magnitude 12.5 to 15
rr_lyrae        its mean                      sawtooth of 0.4 to 0.7 d and 0.5 to 1 mag
eclipsing       its light out of eclipse      two eclipses of different depth in 0.3 to 3 d
agn             its mean                      damped random walk in magnitudes, 30 d, 0.2 mag
supernova       nothing                       fireball of 15 d, then decay of 25 d
pair            nothing                       two constant newcomers, 0.3 to 3 arcsec from each other
faded           all it ever had               nothing: a negative source in every visit
proper_motion   itself, 400 d before          constant star, 0.3 to 5 arcsec per year
slow_mover      nothing                       constant; 0.0005 to 0.05 deg per day, through all nights
kilonova        nothing                       there at once, decay of 1 d
mover           nothing                       constant; 0.1 to 2 deg per day; one a night crosses an RR Lyrae
flare           nothing                       one visit
flash           nothing                       one snap of a visit, or none of its template and both, unequally
==============  ============================  ================================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from l1db.simulate import geometry
from l1db.simulate.geometry import ARCSEC, Floats, Pointing
from l1db.simulate.plan import FIRST_MIDPOINT, TEMPLATE_EPOCH, Plan

STATIC = ("star", "saturated")
MOVING = ("slow_mover", "mover")

# Things per square arcminute.
_LASTING = {
    "rr_lyrae": 2.0,
    "eclipsing": 1.5,
    "agn": 1.0,
    "supernova": 1.5,
    "pair": 0.3,
    "faded": 0.4,
    "proper_motion": 0.25,
    "slow_mover": 0.2,
}
_STARS = {"star": 25.0, "saturated": 0.12}
_OF_NIGHT = {"kilonova": 0.08, "mover": 0.4}
_OF_VISIT = {"flare": 0.2, "flash": 0.2}

_PAIR_SEPARATIONS = (0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)  # arcsec
_UNPREDICTED = 1 / 3  # of the moving objects
_WALK_STEP, _WALK_TIME, _WALK_MAGNITUDES = 0.25, 30.0, 0.2  # days, days, magnitudes
_WALK_BEGIN, _WALK_STEPS = FIRST_MIDPOINT - 5.0, 1600
_MINUTE = 1 / 1440  # days
_COLOUR = {"g": -1.0, "r": 0.0, "i": 1.0}  # flux is 10**(0.4 * colour) times more per band redwards


@dataclass(frozen=True)
class Things:
    """Things on the sky; each array has a row per thing.

    Parameters
    ----------
    truth_id
        Identifier, unique over all sets.
    kind
        See the module.
    position
        Unit vectors, shape (n, 3), at `epoch`.
    motion
        Tangent vectors, shape (n, 3), radians per day, at `epoch`.
    epoch
        MJD TAI.
    flux
        nJy in band r: of the constant, the mean, the maximum.
    colour
        Magnitudes per band.
    amplitude
        rr_lyrae: magnitudes; eclipsing: share of light lost; flash: share of it in the other snap.
    period
        rr_lyrae, eclipsing: days.
    start
        Time of phase 0, of the first light, of the flare or of the middle of the flash, MJD TAI.
    walk
        Magnitudes of an agn on a grid of times, shape (n, steps); no columns if there is none.
    predicted
        Whether a moving object has predictions.
    """

    truth_id: NDArray[np.int64]
    kind: NDArray[np.str_]
    position: Floats
    motion: Floats
    epoch: Floats
    flux: Floats
    colour: Floats
    amplitude: Floats
    period: Floats
    start: Floats
    walk: Floats
    predicted: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.truth_id)

    def __getitem__(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Things:
        return Things(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})

    def is_of(self, *kinds: str) -> NDArray[np.bool_]:
        """Which things are of these kinds."""
        return np.isin(self.kind, kinds)


def joined(parts: Iterable[Things]) -> Things:
    """Several sets as one."""
    sets = list(parts)
    steps = max(part.walk.shape[1] for part in sets)
    sets = [p if p.walk.shape[1] == steps else replace(p, walk=np.zeros((len(p), steps))) for p in sets]
    return Things(**{f.name: np.concatenate([getattr(p, f.name) for p in sets]) for f in fields(Things)})


# --- light curves ----------------------------------------------------------------------------------------------------


def flux_at(things: Things, mjd: float, band: str, exposure_time: float) -> Floats:
    """Flux of each thing at an instant, nJy; the exposure time tells how long a flash lasts."""
    flux = things.flux * 1.0
    phase = np.divide(mjd - things.start, things.period, out=np.zeros(len(things)), where=things.period > 0) % 1
    age = mjd - things.start

    at = things.is_of("rr_lyrae")
    flux[at] *= _sawtooth(phase[at], things.amplitude[at])
    at = things.is_of("eclipsing")
    flux[at] *= 1 - things.amplitude[at] * (_eclipse(phase[at]) + 0.5 * _eclipse(phase[at] - 0.5))
    at = things.is_of("agn")
    flux[at] *= _walked(things.walk[at], mjd)
    at = things.is_of("supernova")
    flux[at] *= np.where(
        age[at] < 15, np.clip(age[at] / 15, 0, None) ** 2, np.exp(-np.clip(age[at] - 15, 0, None) / 25)
    )
    at = things.is_of("kilonova")
    flux[at] *= np.where(age[at] < 0, 0, np.exp(-np.clip(age[at], 0, None)))
    at = things.is_of("flare")
    flux[at] *= np.where((age[at] < 0) | (age[at] > 12 * _MINUTE), 0, np.exp(-np.clip(age[at], 0, None) / _MINUTE / 5))
    at = things.is_of("flash")
    snap = exposure_time / 2 / 86400
    flux[at] *= np.where(
        np.abs(age[at]) < snap / 2, 1.0, np.where(np.abs(age[at]) < 1.5 * snap, things.amplitude[at], 0)
    )
    flux[things.is_of("faded")] = 0
    return np.asarray(flux * _in_band(things, band))


def template_flux(things: Things, band: str) -> Floats:
    """Flux of each thing in the template, nJy."""
    flux = np.where(things.is_of("star", "saturated", "eclipsing", "agn", "faded", "proper_motion"), things.flux, 0.0)
    at = things.is_of("rr_lyrae")
    phases = (np.arange(256) + 0.5) / 256
    flux[at] = things.flux[at] * _sawtooth(phases[:, None], things.amplitude[at]).mean(axis=0)
    return np.asarray(flux * _in_band(things, band))


def position_at(things: Things, mjd: float) -> Floats:
    """Unit vectors, shape (n, 3)."""
    position = things.position.copy()
    moves = things.motion.any(axis=1)
    position[moves] = geometry.moved(things.position[moves], things.motion[moves], mjd - things.epoch[moves])
    return position


def template_position(things: Things) -> Floats:
    """Unit vectors at the time of the template, shape (n, 3)."""
    return position_at(things, TEMPLATE_EPOCH)


def _in_band(things: Things, band: str) -> Floats:
    return np.asarray(10 ** (0.4 * things.colour * _COLOUR[band]))


def _sawtooth(phase: Floats, amplitude: Floats) -> Floats:
    """Steep rise in the last tenth of the period, from ``amplitude`` magnitudes below the maximum."""
    return np.asarray(10 ** (-0.4 * amplitude * np.where(phase < 0.9, phase / 0.9, (1 - phase) / 0.1)))


def _eclipse(phase: Floats) -> Floats:
    """1 at phase 0, nothing from 0.06 of the period on."""
    distance = np.abs((phase + 0.5) % 1 - 0.5)
    return np.asarray(np.clip(1.5 * (1 - distance / 0.06), 0, 1))


def _walked(walk: Floats, mjd: float) -> Floats:
    index = np.clip((mjd - _WALK_BEGIN) / _WALK_STEP, 0, max(walk.shape[1] - 1.001, 0))
    i = int(index)
    magnitudes = walk[:, i] + (index - i) * (walk[:, i + 1] - walk[:, i]) if walk.shape[1] > 1 else np.zeros(len(walk))
    return np.asarray(10 ** (-0.4 * magnitudes))


# --- the three sets --------------------------------------------------------------------------------------------------


def lasting(plan: Plan) -> Things:
    """What is there all the time: stars, variables, supernovae, slow movers."""
    counts = _counts(plan, _STARS, plan.star_density) | _counts(plan, _LASTING, plan.density)
    sets, first = [], 1
    for kind, n in counts.items():
        random = plan.random(kind)
        things = _scattered(plan, random, kind, n, first)
        sets.append(_shaped(random, things, kind))
        first += n
    return joined(sets)


def of_night(plan: Plan, night: int, lasting: Things) -> Things:
    """Kilonovae that begin in this night, and objects that move fast; the first of these crosses an RR Lyrae."""
    first = geometry.day_obs(FIRST_MIDPOINT + night) * 1000 + 1
    begin = FIRST_MIDPOINT + night
    sets = []
    for kind, n in _counts(plan, _OF_NIGHT, plan.density).items():
        random = plan.random(kind, night)
        things = _scattered(plan, random, kind, n, first)
        first += n
        if kind == "kilonova":
            things = replace(
                things, flux=_log_uniform(random, 1500, 15000, n), start=begin + random.uniform(-0.5, 0.1, n)
            )
        else:
            flux, epoch = _log_uniform(random, 1000, 30000, n), begin + random.uniform(0, 0.1, n)
            position = things.position.copy()
            motion = _tangent(random, position, _log_uniform(random, 0.1, 2, n) * np.pi / 180)
            variables = lasting[lasting.is_of("rr_lyrae")]
            if n and len(variables):
                target = variables.position[random.integers(len(variables), size=1)]
                position[:1] = geometry.moved(target, _tangent(random, target, np.array([0.3 * ARCSEC])), 1.0)
                motion[:1] = _tangent(random, position[:1], np.array([0.2 * np.pi / 180]))
                epoch[:1] = geometry.midpoint(plan, night, 0)
            predicted = random.uniform(size=n) > _UNPREDICTED
            predicted[:2] = [True, False][:n]
            things = replace(things, position=position, motion=motion, epoch=epoch, flux=flux, predicted=predicted)
        sets.append(things)
    return joined(sets)


def of_visit(plan: Plan, pointing: Pointing) -> Things:
    """Flares that die before the next visit, and flashes of less than a snap."""
    first = pointing.visit * 1000 + 1
    sets = []
    for kind, n in _counts(plan, _OF_VISIT, plan.density).items():
        random = plan.random(kind, pointing.visit)
        things = replace(_scattered(plan, random, kind, n, first), flux=_log_uniform(random, 2000, 40000, n))
        first += n
        if kind == "flare":
            half = pointing.exposure_time / 2 / 86400
            start = pointing.midpoint_mjd_tai - half - random.uniform(0.01, 1, n) * _MINUTE
            things = replace(things, start=start)
        else:
            start = random.choice(np.array(pointing.snap_midpoints), size=n)
            amplitude = np.where(random.uniform(size=n) < 0.25, random.uniform(0.2, 0.8, n), 0.0)
            things = replace(things, start=start, amplitude=amplitude)
        sets.append(things)
    return joined(sets)


def _counts(plan: Plan, per_arcmin2: dict[str, float], multiple: float) -> dict[str, int]:
    """How many of each kind; at least one, unless none are wanted."""
    field = geometry.area(plan) * multiple
    counts = {kind: max(1, round(field * n)) if multiple else 0 for kind, n in per_arcmin2.items()}
    if "pair" in counts:
        counts["pair"] = 2 * -(-counts["pair"] // 2)
    return counts


def _scattered(plan: Plan, random: np.random.Generator, kind: str, n: int, first: int) -> Things:
    """Things of constant flux 1, evenly over the field."""
    width, height = geometry.half_sides(plan)
    xi, eta = random.uniform(-width, width, n), random.uniform(-height, height, n)
    zeros = np.zeros(n)
    return Things(
        truth_id=first + np.arange(n),
        kind=np.full(n, kind, dtype="U16"),
        position=geometry.on_plane(plan.ra, plan.dec, xi, eta),
        motion=np.zeros((n, 3)),
        epoch=zeros + FIRST_MIDPOINT,
        flux=zeros + 1,
        colour=random.normal(0.2, 0.2, n),
        amplitude=zeros,
        period=zeros,
        start=zeros,
        walk=np.zeros((n, 0)),
        predicted=np.zeros(n, dtype=bool),
    )


def _shaped(random: np.random.Generator, things: Things, kind: str) -> Things:
    """With fluxes, periods and motions as befit the kind."""
    n = len(things)
    if kind == "star":
        magnitude = 16.0 + np.log10(1 + random.uniform(size=n) * (10 ** (0.2 * 8.5) - 1)) / 0.2
        return replace(things, flux=10 ** (0.4 * (31.4 - magnitude)))
    if kind == "saturated":
        return replace(things, flux=_log_uniform(random, 3.6e6, 3.6e7, n))
    if kind in ("rr_lyrae", "eclipsing"):
        period = random.uniform(0.4, 0.7, n) if kind == "rr_lyrae" else _log_uniform(random, 0.3, 3, n)
        return replace(
            things,
            flux=_log_uniform(random, 3000, 100_000, n),
            amplitude=random.uniform(0.5, 1.0, n) if kind == "rr_lyrae" else random.uniform(0.1, 0.6, n),
            period=period,
            start=FIRST_MIDPOINT + period * random.uniform(size=n),
        )
    if kind == "agn":
        return replace(things, flux=_log_uniform(random, 3000, 100_000, n), walk=_walks(random, n))
    if kind == "supernova":
        start = FIRST_MIDPOINT + random.uniform(-30, 1, n)
        return replace(things, flux=_log_uniform(random, 1000, 30_000, n), start=start)
    if kind == "pair":
        position = things.position.copy()
        apart = np.resize(_PAIR_SEPARATIONS, n // 2) * ARCSEC
        position[1::2] = geometry.moved(position[::2], _tangent(random, position[::2], apart), 1.0)
        return replace(things, position=position, flux=_log_uniform(random, 3000, 20_000, n))
    if kind == "faded":
        return replace(things, flux=_log_uniform(random, 1000, 20_000, n))
    if kind == "proper_motion":
        speed = _log_uniform(random, 0.3, 5, n) * ARCSEC / 365.25
        motion = _tangent(random, things.position, speed)
        return replace(things, motion=motion, flux=_log_uniform(random, 5000, 200_000, n))
    speed = _log_uniform(random, 0.0005, 0.05, n) * np.pi / 180
    motion = _tangent(random, things.position, speed)
    predicted = random.uniform(size=n) > _UNPREDICTED
    return replace(things, motion=motion, flux=_log_uniform(random, 1000, 20_000, n), predicted=predicted)


def _walks(random: np.random.Generator, n: int) -> Floats:
    """Damped random walks, shape (n, steps), magnitudes."""
    memory = np.exp(-_WALK_STEP / _WALK_TIME)
    kicks = random.normal(size=(n, _WALK_STEPS)) * _WALK_MAGNITUDES
    walk = np.empty_like(kicks)
    walk[:, :1] = kicks[:, :1]
    for i in range(1, _WALK_STEPS):
        walk[:, i] = memory * walk[:, i - 1] + np.sqrt(1 - memory**2) * kicks[:, i]
    return walk


def _tangent(random: np.random.Generator, positions: Floats, lengths: Floats) -> Floats:
    """Tangent vectors of these lengths in random directions, shape (n, 3)."""
    east, north = geometry.east_and_north(*geometry.sky(positions))
    angle = random.uniform(0, 2 * np.pi, len(positions))[:, None]
    return np.asarray(lengths[:, None] * (np.cos(angle) * east + np.sin(angle) * north))


def _log_uniform(random: np.random.Generator, least: float, most: float, n: int) -> Floats:
    return np.asarray(np.exp(random.uniform(np.log(least), np.log(most), n)))
