"""Whether stars that move stay one object through five years, and what their motions are worth.

``python -m bench.motion --dsn DSN`` with the DSN of a fresh survey database of profile ``seed``.  What is simulated
is told in ``bench/README.md``.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
import psycopg
from numpy.typing import NDArray

from l1db import Client, DetectorData, Visit
from l1db.maintain import maintain

FloatArray = NDArray[np.float64]

SIDE = 13.5 * 60.0  # of the detector, arcsec
YEAR = 365.25
FIRST = 60_000.2
SEASON = 7 / 12 * YEAR
CENTRE = (150.0, -20.0)
PER_VISIT = 100_000  # ids of one visit


@dataclass(frozen=True)
class Outcome:
    """What became of the stars.

    Parameters
    ----------
    objects_of_mover
        Objects that each star of a given motion [mas/yr] was found in: motion to one number per star.
    split_static
        Static stars in more than one object, and their number.
    pull
        Offsets of all measured motions from the truth in units of their errors, both axes.
    followed_static
        Static stars whose motion is followed in the end, and those that have one.
    seconds
        Spent in ingests, of so many visits.
    wrong
        Sources in an object that is mostly another star's.
    ever_static
        Static stars that association ever took to move.
    """

    objects_of_mover: dict[float, list[int]]
    split_static: tuple[int, int]
    pull: FloatArray
    followed_static: tuple[int, int]
    seconds: float
    visits: int
    wrong: int
    ever_static: int


def simulate(
    dsn: str,
    *,
    years: int = 5,
    per_year: int = 40,
    static: int = 300,
    motions: dict[float, int] | None = None,
    error: float | tuple[float, float] = (0.03, 0.1),
    detected: float = 0.9,
    new: float = 0.02,
    day: float = 30.0,
    understated: float = 1.0,
    seed: int = 1,
    centre: tuple[float, float] = CENTRE,
    side: float = SIDE,
) -> Outcome:
    """One detector over years; the day's work every ``day`` days.

    Parameters
    ----------
    motions
        Numbers of stars by their motion, mas/yr.
    error
        Astrometric error of a visit's sources per axis, arcsec: range of the stars' own.
    detected, new
        Share of the stars that a visit sees; sources of nothing, as a share of the stars.
    understated
        True over claimed error.
    side
        Of the detector, arcsec.
    """
    rng = np.random.default_rng(seed)
    speeds = np.concatenate([[0.0] * static, *([pm] * n for pm, n in (motions or {300.0: 10, 1000.0: 10}).items())])
    angle = rng.uniform(0, 2 * np.pi, len(speeds))
    pm = speeds[:, None] / 1000 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    start = rng.uniform(-side / 2 + 15, side / 2 - 15, (len(speeds), 2))
    low, high = error if isinstance(error, tuple) else (error, error)
    sigma = rng.uniform(low, high, len(speeds))
    times = np.concatenate([year * YEAR + np.sort(rng.uniform(0, SEASON, per_year)) for year in range(years)])
    corners = side / 2 * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    footprint = np.stack(_on_sky(corners, centre), axis=-1)

    last_day = seconds = 0.0
    with Client(dsn) as client:
        for number, t in enumerate(times, 1):
            if t - last_day > day:
                maintain(dsn)
                last_day = t
            seen = np.flatnonzero(rng.random(len(speeds)) < detected)
            at = start[seen] + pm[seen] * (t / YEAR) + sigma[seen, None] * rng.standard_normal((len(seen), 2))
            n_new = rng.poisson(new * len(speeds))
            at = np.concatenate([at, rng.uniform(-side / 2, side / 2, (n_new, 2))])
            claimed = np.concatenate([sigma[seen], rng.uniform(low, high, n_new)]) / understated / 3600
            ra, dec = _on_sky(at, centre)
            columns = {
                "dia_source_id": number * PER_VISIT + np.concatenate([seen, len(speeds) + np.arange(n_new)]) + 1,
                "ra": ra, "dec": dec, "ra_err": claimed, "dec_err": claimed,
                "psf_flux": np.full(len(at), 1000.0), "psf_flux_err": np.full(len(at), 50.0),
            }  # fmt: skip
            begin = time.perf_counter()
            client.ingest(Visit(number, "r", FIRST + t, 30.0), [DetectorData(0, columns, footprint=footprint)])
            seconds += time.perf_counter() - begin
    maintain(dsn)

    with psycopg.connect(dsn) as connection:
        rows = np.array(
            connection.execute(
                "select dia_source_id, dia_object_id from l1.dia_source"
                " where dia_object_id is not null and not is_forced"
            ).fetchall()
        )
        drifted = connection.execute(
            "select distinct dia_object_id from l1_api.dia_object_version where drift_ra is not null"
        ).fetchall()
        measured = connection.execute(
            "select dia_object_id, pm_ra, pm_dec, pm_ra_err, pm_dec_err, drift_ra is not null from l1.dia_object"
            " where pm_ra is not null"
        ).fetchall()
    star = (rows[:, 0] - 1) % PER_VISIT
    real = star < len(speeds)
    objects = {s: np.unique(rows[real & (star == s), 1]) for s in range(len(speeds))}
    # The star of an object is that of most of its sources.
    order = np.argsort(rows[:, 1], kind="stable")
    ids, begins = np.unique(rows[order, 1], return_index=True)
    star_of = {}
    wrong = 0
    for i, members in zip(ids, np.split(star[order], begins[1:]), strict=True):
        values, counts = np.unique(members, return_counts=True)
        star_of[i] = values[counts.argmax()]
        wrong += int(counts.sum() - counts.max())
    pulls = []
    followed = has = 0
    for i, pm_ra, pm_dec, ra_err, dec_err, is_followed in measured:
        s = star_of[i]
        if s >= len(speeds):
            continue
        pulls += [(pm_ra - 1000 * pm[s, 0]) / ra_err, (pm_dec - 1000 * pm[s, 1]) / dec_err]
        if speeds[s] == 0:
            has += 1
            followed += is_followed
    ever = len({star_of[i] for (i,) in drifted if star_of[i] < static})
    return Outcome(
        {float(v): [len(objects[s]) for s in np.flatnonzero(speeds == v)] for v in np.unique(speeds) if v > 0},
        (sum(len(objects[s]) > 1 for s in np.flatnonzero(speeds == 0)), int((speeds == 0).sum())),
        np.array(pulls),
        (followed, has),
        seconds,
        len(times),
        wrong,
        ever,
    )


def _on_sky(at: FloatArray, centre: tuple[float, float]) -> tuple[FloatArray, FloatArray]:
    """From the tangent plane, arcsec, to right ascension and declination, degrees."""
    a, d = np.radians(centre)
    forward = np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    east = np.array([-np.sin(a), np.cos(a), 0.0])
    x, y, z = (forward + np.radians(at[:, :1] / 3600) * east + np.radians(at[:, 1:] / 3600) * np.cross(forward, east)).T
    ra = np.degrees(np.arctan2(y, x)) % 360.0
    return np.where(ra == 360.0, 0.0, ra), np.degrees(np.arctan2(z, np.hypot(x, y)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dsn", required=True, help="a freshly initialised database of profile seed")
    parser.add_argument("--static", type=int, default=300, help="stars that do not move")
    parser.add_argument("--years", type=int, default=5)
    parser.add_argument("--per-year", type=int, default=40, help="visits a year, in seven months")
    parser.add_argument(
        "--error", type=float, nargs=2, default=(0.03, 0.1), help="per axis, least and largest [arcsec]"
    )
    parser.add_argument("--understated", type=float, default=1.0, help="true over claimed error")
    parser.add_argument("--day", type=float, default=30.0, help="days between two runs of l1db maintain")
    parser.add_argument("--new", type=float, default=0.02, help="sources of nothing in a visit, per star")
    parser.add_argument("--movers", type=int, default=10, help="stars of each motion")
    parser.add_argument("--side", type=float, default=SIDE, help="of the detector [arcsec]")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    found = simulate(
        given.dsn,
        years=given.years,
        per_year=given.per_year,
        static=given.static,
        motions=dict.fromkeys((100.0, 300.0, 1000.0), given.movers),
        error=tuple(given.error),
        understated=given.understated,
        new=given.new,
        day=given.day,
        seed=given.seed,
        side=given.side,
    )
    for speed, counts in found.objects_of_mover.items():
        print(f"{speed:6.0f} mas/yr: {counts.count(1)} of {len(counts)} stars in one object; objects: {counts}")
    print(f"static: {found.split_static[0]} of {found.split_static[1]} in more than one object")
    followed, measured = found.followed_static
    print(f"static: {followed} of {measured} motions are followed; {found.ever_static} ever were")
    print(f"pulls: {found.pull.mean():+.3f} +- {found.pull.std():.3f} of {len(found.pull)}")
    print(f"sources in another's object: {found.wrong}")
    print(f"{1000 * found.seconds / found.visits:.1f} ms per ingest, {found.visits} visits")


if __name__ == "__main__":
    main()
