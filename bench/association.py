"""How often association errs, on simulated detectors with truth.

``python -m bench.association`` prints the table through the brute-force referee; with ``--dsn`` of a fresh survey
database also through l1db itself, and compares the two source by source.  What is simulated, and which reading of
"an error of 0.1 arcsec" is meant, is told in ``bench/README.md``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tests.referee.association import ARCSEC_PER_DEGREE, NEW, Association, Rules, associate, unit_vectors

if TYPE_CHECKING:
    import psycopg

    from l1db import Client

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SIDE = 13.5 * 60.0  # of the detector, arcsec
FRACTION_DETECTED = 0.3  # of the objects, in this visit
FRACTION_NEW = 0.1  # of the sources of this visit
EPOCHS = 4  # behind each stored object: its error is half that of one source
UNDERSTATED = 3.0  # true over claimed error where errors are not honest
N_OBJECTS = (500, 5_000, 20_000, 60_000)

POINT = np.dtype([("id", "i8"), ("ra", "f8"), ("dec", "f8"), ("ra_err", "f4"), ("dec_err", "f4")])


@dataclass(frozen=True)
class Scatter:
    """How far positions lie from the truth, per axis.

    Parameters
    ----------
    sigma
        Median over the objects of the error of one source, arcsec per axis.
    width
        Standard deviation of ln sigma.
    jitter
        Scatter of the visit that its errors know nothing of, arcsec per axis; applied where errors are not honest.
    """

    sigma: float
    width: float
    jitter: float


# 0.1 and 0.15 arcsec as the root mean square of the two-dimensional offset ...
RADIAL = Scatter(sigma=0.1 / np.sqrt(2), width=0.3, jitter=0.15 / np.sqrt(2))
# ... and, harder, of each of its axes.
PER_AXIS = Scatter(sigma=0.1, width=0.3, jitter=0.15)


@dataclass(frozen=True)
class Field:
    """One detector of one visit, the objects known before it, and the truth.

    Parameters
    ----------
    sources, objects
        Columns ``id, ra, dec, ra_err, dec_err``, degrees; the errors as claimed.  Ids count from 1.
    truth
        Id of the object that each source is, `NEW` for a new one; shape (n_sources,).
    footprint
        Corners of the detector, shape (4, 2), degrees.
    area
        Its solid angle, arcsec^2.
    """

    sources: NDArray[np.void]
    objects: NDArray[np.void]
    truth: IntArray
    footprint: FloatArray
    area: float


@dataclass(frozen=True)
class Score:
    """Per cent: ``wrong`` of all sources, ``split`` of the known and ``swallow`` of the new ones.

    *split*: a known source that founded a second object; *swallow*: a new one given to an old object; *wrong*: both
    of these, and known sources given to another's object.
    """

    wrong: float
    split: float
    swallow: float

    def __str__(self) -> str:
        return f"{self.wrong:6.3f} {self.split:6.3f} {self.swallow:6.2f}"


@dataclass(frozen=True)
class FromDatabase:
    """What l1db made of a field; ``matches`` in the field's own ids, as `Association.matches`."""

    matches: IntArray
    extra_variance: float | None
    new_source_density: float | None
    seconds: float


def simulate(
    n_objects: int,
    seed: int,
    honest: bool,
    *,
    scatter: Scatter = RADIAL,
    fraction_new: float = FRACTION_NEW,
    centre: tuple[float, float] = (150.0, 2.0),
) -> Field:
    """One detector of 13.5 arcmin with known and new sources.

    Parameters
    ----------
    n_objects
        Objects on the detector, uniformly strewn, however close to each other (nothing blends).
    seed
        The same seed gives the same field.
    honest
        If not, the visit's sources claim a third of their errors and have the jitter besides.
    scatter
        Sizes of the errors.
    fraction_new
        Part of the sources that belong to no object.
    centre
        Of the detector, degrees.
    """
    rng = np.random.default_rng(seed)
    known_at = rng.uniform(-SIDE / 2, SIDE / 2, (n_objects, 2))
    sigma = _lognormal(rng, n_objects, scatter)
    stored_at = known_at + sigma[:, None] / np.sqrt(EPOCHS) * rng.standard_normal((n_objects, 2))

    detected = np.flatnonzero(rng.random(n_objects) < FRACTION_DETECTED)
    detected_at = known_at[detected] + sigma[detected, None] * rng.standard_normal((len(detected), 2))
    n_new = round(len(detected) * fraction_new / (1 - fraction_new))
    new_at = rng.uniform(-SIDE / 2, SIDE / 2, (n_new, 2))

    error = np.concatenate([sigma[detected], _lognormal(rng, n_new, scatter)])
    if not honest:
        detected_at += scatter.jitter * rng.standard_normal(detected_at.shape)
        error /= UNDERSTATED
    at = np.concatenate([detected_at, new_at])
    truth = np.concatenate([detected + 1, np.full(n_new, NEW)])

    order = rng.permutation(len(at))
    order = order[(np.abs(at[order]) < SIDE / 2).all(axis=1)]  # what strays off the detector is not seen
    corners = SIDE / 2 * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    footprint = np.stack(_on_sky(corners, centre), axis=-1)
    return Field(
        sources=_points(at[order], error[order], centre),
        objects=_points(stored_at, sigma / np.sqrt(EPOCHS), centre),
        truth=truth[order].astype(np.int64),
        footprint=footprint,
        area=solid_angle(footprint),
    )


def score(matches: IntArray, truth: IntArray) -> Score:
    """Hold the matches of a field against its truth."""
    known = truth != NEW
    founded = matches == NEW
    return Score(
        wrong=100 * float(np.mean(matches != truth)),
        split=100 * float(np.mean(founded[known])) if known.any() else 0.0,
        swallow=100 * float(np.mean(~founded[~known])) if not known.all() else 0.0,
    )


def mean_score(scores: Sequence[Score]) -> Score:
    """Mean over seeds."""
    return Score(*(float(np.mean([getattr(s, name) for s in scores])) for name in ("wrong", "split", "swallow")))


def through_referee(field: Field, rules: Rules | None = None) -> Association:
    """Associate a field by brute force."""
    return associate(field.sources, field.objects, rules, field.area)


def through_database(
    field: Field, client: Client, connection: psycopg.Connection[Any], visit: int = 1, band: str = "r"
) -> FromDatabase:
    """Let l1db associate a field, as one visit of one detector.

    The sky around the field must be empty in the database; several fields go into one database at different centres,
    with different visits.  The objects are written straight into ``l1.dia_object``, the sources go through
    `Client.ingest`.

    Parameters
    ----------
    field
        What `simulate` made.
    client
        Connected to the same database.
    connection
        With the right to write ``l1.dia_object``.
    visit
        Number of the visit; its sources get the ids from ``visit * 10**7`` on.
    band
        One of the survey's.
    """
    from l1db.visit import DetectorData, Visit

    object_id = _store_objects(field.objects, connection)
    n = len(field.sources)
    sources: dict[str, NDArray[Any]] = {name: field.sources[name] for name in ("ra", "dec", "ra_err", "dec_err")}
    sources["dia_source_id"] = visit * 10**7 + field.sources["id"]
    sources["psf_flux"] = np.full(n, 1000.0, dtype="f4")
    sources["psf_flux_err"] = np.full(n, 50.0, dtype="f4")

    start = time.perf_counter()
    client.ingest(
        Visit(visit=visit, band=band, midpoint_mjd_tai=61_000.0 + visit / 1440, exposure_time=30.0),
        [DetectorData(detector=0, sources=sources, footprint=field.footprint)],
    )
    seconds = time.perf_counter() - start

    with connection.transaction():
        rows = connection.execute(
            "select dia_source_id, dia_object_id from l1.dia_source where visit = %s order by dia_source_id", [visit]
        ).fetchall()
        ledger = connection.execute(
            "select extra_variance, new_source_density from l1.visit_detector"
            " where visit = %s and detector = 0 and withdrawn_at is null",
            [visit],
        ).fetchone()
    if len(rows) != n or ledger is None:
        raise RuntimeError(f"visit {visit}: {n} sources were handed in, {len(rows)} are stored")
    if any(row[1] is None for row in rows):
        raise RuntimeError(f"visit {visit}: a source was stored without an object")
    field_id = dict(zip(object_id.tolist(), field.objects["id"].tolist(), strict=True))
    matches = np.array([field_id.get(row[1], NEW) for row in rows], dtype=np.int64)
    return FromDatabase(matches, ledger[0], ledger[1], seconds)


def solid_angle(corners: FloatArray) -> float:
    """Of a small convex polygon with great-circle edges, arcsec^2; corners (k, 2) in degrees."""
    at = unit_vectors(corners[:, 0], corners[:, 1])
    a, b, c = at[0], at[1:-1], at[2:]
    volume = np.abs(np.sum(a * np.cross(b - a, c - a), axis=1))
    cosines = 1 + b @ a + c @ a + np.sum(b * c, axis=1)
    return float(np.sum(2 * np.arctan2(volume, cosines)) * (np.degrees(1.0) * ARCSEC_PER_DEGREE) ** 2)


def _lognormal(rng: np.random.Generator, n: int, scatter: Scatter) -> FloatArray:
    return scatter.sigma * np.exp(scatter.width * rng.standard_normal(n))


def _on_sky(at: FloatArray, centre: tuple[float, float]) -> tuple[FloatArray, FloatArray]:
    """From the tangent plane, arcsec, to the sky, degrees; straight lines become great circles."""
    xi, eta = np.radians(at.T / ARCSEC_PER_DEGREE)
    alpha, delta = np.radians(centre)
    down = np.cos(delta) - eta * np.sin(delta)
    up = np.sin(delta) + eta * np.cos(delta)
    ra = np.degrees(alpha + np.arctan2(xi, down)) % 360.0
    return ra, np.degrees(np.arctan2(up, np.hypot(xi, down)))


def _points(at: FloatArray, error: FloatArray, centre: tuple[float, float]) -> NDArray[np.void]:
    points = np.empty(len(at), dtype=POINT)
    points["id"] = np.arange(1, len(at) + 1)
    points["ra"], points["dec"] = _on_sky(at, centre)
    points["ra_err"] = points["dec_err"] = error / ARCSEC_PER_DEGREE
    return points


def _store_objects(objects: NDArray[np.void], connection: psycopg.Connection[Any]) -> IntArray:
    """Write objects as if earlier visits had founded them; returns their ids, shape (n,)."""
    ra, dec = objects["ra"].tolist(), objects["dec"].tolist()
    with connection.transaction():
        rows = connection.execute(
            "select ((q3c_ang2ipix(o.ra, o.dec) >> 36) << 36) | nextval('l1.dia_object_seq')"
            " from unnest(%b::float8[], %b::float8[]) with ordinality as o (ra, dec, place) order by o.place",
            [ra, dec],
        ).fetchall()
        object_id = np.array([row[0] for row in rows], dtype=np.int64)
        connection.execute(
            "insert into l1.dia_object (dia_object_id, validity_start, ra, ra_err, dec, dec_err, ra_dec_cov,"
            " n_dia_sources, n_forced, first_dia_source_mjd_tai, last_dia_source_mjd_tai, n_good_dia_sources,"
            " first_epoch_mjd_tai)"
            " select o.id, now(), o.ra, o.ra_err, o.dec, o.dec_err, 0, %s, 0, 60990, 60999, %s, 60990"
            " from unnest(%b::int8[], %b::float8[], %b::float8[], %b::float8[], %b::float8[])"
            " as o (id, ra, ra_err, dec, dec_err)",
            [EPOCHS, EPOCHS, object_id.tolist(), ra, _or_null(objects["ra_err"]), dec, _or_null(objects["dec_err"])],
        )
    with connection.transaction():
        connection.execute("analyze l1.dia_object")
    return object_id


def _or_null(column: NDArray[Any]) -> list[float | None]:
    return [None if np.isnan(value) else value for value in column.tolist()]


def _fields(sizes: Sequence[int], n_seeds: int, scatter: Scatter) -> Iterator[tuple[bool, int, list[Field]]]:
    """One list of fields per line of the table, each field at a place of its own."""
    place = 0
    for honest in (True, False):
        for n_objects in sizes:
            fields = []
            for seed in range(n_seeds):
                centre = (2.0 + 3.0 * (place % 118), 15.0 * (place // 118))
                fields.append(simulate(n_objects, seed, honest, scatter=scatter, centre=centre))
                place += 1
            yield honest, n_objects, fields


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.association", description=__doc__.partition("\n")[0])
    parser.add_argument("--objects", type=int, nargs="+", default=N_OBJECTS, help="objects per detector")
    parser.add_argument("--seeds", type=int, default=3, help="fields per line (default 3)")
    parser.add_argument("--per-axis", action="store_true", help="0.1 and 0.15 arcsec per axis instead of radially")
    parser.add_argument("--dsn", help="a fresh survey database: go through l1db as well")
    options = parser.parse_args(arguments)
    scatter = PER_AXIS if options.per_axis else RADIAL

    print("errors     objects  rule          wrong  split swallow [%]  extra [mas]  new [/arcsec^2]   seconds")
    first_visit = 1
    for honest, n_objects, fields in _fields(options.objects, options.seeds, scatter):
        line = f"{'honest' if honest else 'understated':11} {n_objects:7}  "
        start = time.perf_counter()
        referee = [through_referee(field) for field in fields]
        seconds = (time.perf_counter() - start) / len(fields)
        extra = np.mean([np.sqrt(r.extra_variance) for r in referee]) * 1000
        density = np.mean([r.new_source_density for r in referee])
        no_gate = mean_score([score(r.first_pass, f.truth) for r, f in zip(referee, fields, strict=True)])
        ours = mean_score([score(r.matches, f.truth) for r, f in zip(referee, fields, strict=True)])
        print(f"{line}no gate      {no_gate}")
        print(f"{line}referee      {ours}      {extra:11.1f}  {density:15.2e}  {seconds:8.2f}")
        if options.dsn:
            stored = list(_through_dsn(fields, options.dsn, first_visit))
            first_visit += len(fields)
            score_stored = mean_score([score(s.matches, f.truth) for s, f in zip(stored, fields, strict=True)])
            differ = sum(int((s.matches != r.matches).sum()) for s, r in zip(stored, referee, strict=True))
            extra = np.mean([np.sqrt(s.extra_variance or 0.0) for s in stored]) * 1000
            density = np.mean([s.new_source_density or np.nan for s in stored])
            seconds = float(np.mean([s.seconds for s in stored]))
            verdict = "as the referee" if differ == 0 else f"{differ} sources unlike the referee"
            print(f"{line}l1db         {score_stored}      {extra:11.1f}  {density:15.2e}  {seconds:8.2f}  {verdict}")


def _through_dsn(fields: Sequence[Field], dsn: str, first_visit: int) -> Iterator[FromDatabase]:
    import psycopg

    from l1db import Client

    with psycopg.connect(dsn) as connection, Client(dsn) as client:
        for visit, field in enumerate(fields, start=first_visit):
            yield through_database(field, client, connection, visit)


if __name__ == "__main__":
    main()
