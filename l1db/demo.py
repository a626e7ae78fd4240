"""``l1db demo``: the main job on one screen, in a database of its own beside the configured one.

By default a small night is made up, so that the truth is known: stars that vary, transients that appear, sources seen
only once, on four detectors that overlap.  With alert packets of ZTF or Rubin, these are replayed instead.  Either way
a listener receives the alerts while the sources go in.
"""

from __future__ import annotations

import shlex
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.conninfo import make_conninfo
from rich.console import Console

from l1db import database, settings
from l1db.cli import terminal
from l1db.client import Client
from l1db.connection import connect, one_line
from l1db.errors import DatabaseError, L1dbError
from l1db.listen import listen
from l1db.visit import DetectorData, Visit

# A database that carries this comment may be dropped and made anew.
MARK = "l1db demo: dropped and made anew by the next `l1db demo`"
CONSUMER = "demo"
WORKERS = 4
# Batches that get a line each; of more, only some do.
_LINES = 24


def run(dsn: str, alerts: Path | None = None) -> None:
    """Make the demo's database, fill it, and show what is in it.

    Parameters
    ----------
    dsn
        A database on the server to use; the demo's has its name with ``_demo`` at the end.
    alerts
        Alert packets to replay, a directory or a file.  None: a made-up night.

    Raises
    ------
    DatabaseError
        If there is a database of that name that is not a demo's.
    InputError
        If the packets cannot be used.
    """
    console = terminal.output()
    name = f"{settings.parameters(dsn).get('dbname', 'l1db')}_demo"
    own = make_conninfo(dsn, dbname=name)
    if alerts is None:
        _make_database(dsn, name, "seed")
        _show_made_up_night(own, console)
    else:
        _show_packets(dsn, name, alerts, console)
    with connect(own, application_name="l1db demo") as connection:
        _show_object(connection, console)
        _show_nights(connection, console)
        _show_queries(connection, own, console)


# --- its own database ------------------------------------------------------------------------------------------------


def _make_database(dsn: str, name: str, profile: str) -> None:
    try:
        with psycopg.connect(make_conninfo(dsn, dbname="postgres"), autocommit=True) as connection:
            row = connection.execute(
                "select shobj_description(oid, 'pg_database') from pg_database where datname = %s", (name,)
            ).fetchone()
            if row is not None and row[0] != MARK:
                raise DatabaseError(f"database {name} is there and not a demo's: drop or rename it, or change L1DB_DSN")
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
    except psycopg.Error as error:
        raise DatabaseError(f"cannot make database {name}: {one_line(error)}") from error
    own = make_conninfo(dsn, dbname=name)
    with terminal.waiting(f"making database {name}"):
        database.init(own, profile, {"name": "demo"})
    with connect(own) as connection:
        connection.execute(sql.SQL("comment on database {} is {}").format(sql.Identifier(name), MARK))


# --- the night -------------------------------------------------------------------------------------------------------

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


@dataclass(frozen=True)
class Comparison:
    """Objects against the truth.

    Parameters
    ----------
    n_true, n_objects
        Things that were seen, and objects that were made.
    n_duplicates
        Objects too many: a thing with k objects counts k - 1.
    n_lost
        Things without object.
    n_mixed
        Objects with sources of more than one thing.
    """

    n_true: int
    n_objects: int
    n_duplicates: int
    n_lost: int
    n_mixed: int


def compare(truth: Mapping[int, int], found: Mapping[int, int | None]) -> Comparison:
    """Compare which thing (``truth``) and which object (``found``) each source is of."""
    objects_of: dict[int, set[int]] = {thing: set() for thing in truth.values()}
    things_of: dict[int, set[int]] = {}
    for source, thing in truth.items():
        if (its_object := found.get(source)) is not None:
            objects_of[thing].add(its_object)
            things_of.setdefault(its_object, set()).add(thing)
    return Comparison(
        n_true=len(objects_of),
        n_objects=len(things_of),
        n_duplicates=sum(len(objects) - 1 for objects in objects_of.values() if objects),
        n_lost=sum(not objects for objects in objects_of.values()),
        n_mixed=sum(len(things) > 1 for things in things_of.values()),
    )


def _show_made_up_night(dsn: str, console: Console) -> None:
    night = make_night()
    visits = {visit.visit for visit, _ in night.calls}
    console.rule(f"A night of {len(visits)} visits, {len(night.calls)} detectors, {len(night.truth)} sources")
    local = threading.local()
    clients: list[Client] = []

    def take_in(call: tuple[Visit, DetectorData]) -> None:
        if not hasattr(local, "client"):
            local.client = Client(dsn)
            clients.append(local.client)
        local.client.ingest(call[0], [call[1]])

    begun = time.monotonic()
    with _listening(dsn, console):
        try:
            with ThreadPoolExecutor(WORKERS) as pool:
                list(pool.map(take_in, night.calls))
        finally:
            for client in clients:
                client.close()
        seconds = time.monotonic() - begun
    console.print(
        f"{len(night.calls)} detectors by {WORKERS} workers at once in {seconds:.1f} s, "
        f"each in one transaction: {1000 * seconds / len(night.calls):.0f} ms each"
    )
    with connect(dsn) as connection:
        found = dict(connection.execute("select dia_source_id, dia_object_id from dia_source").fetchall())
        objects = _one(connection, "select count(*) from dia_object")
    result = compare(night.truth, found)
    seen = Counter(night.kinds[sorted(set(night.truth.values()))].tolist())
    kinds = f"{seen['variable']} variable, {seen['transient']} transient, {seen['once']} seen in one visit only"
    console.print(f"truth: {result.n_true} things in the sky ({kinds})")
    console.print(
        f"found: {objects} DiaObjects, [bold]duplicates {result.n_duplicates}, lost {result.n_lost}[/bold], "
        f"mixed up {result.n_mixed}"
    )


# --- alerts, as they come --------------------------------------------------------------------------------------------


@contextmanager
def _listening(dsn: str, console: Console) -> Iterator[None]:
    """A listener in a thread of its own, a line for each batch, until all alerts that were issued have come."""
    stop = threading.Event()
    arrived = n_batches = 0
    trouble: list[L1dbError] = []
    # The consumer is there before the first alert is; the thread only goes on from here.
    batches = listen(CONSUMER, dsn=dsn, start="now", limit=500, stop=stop)

    def receive() -> None:
        nonlocal arrived, n_batches
        try:
            for batch in batches:
                now = datetime.now(UTC)
                arrived += len(batch)
                n_batches += 1
                if n_batches > _LINES and n_batches % _LINES:
                    continue
                visits = sorted({alert.visit for alert in batch})
                shown = str(visits[0]) if len(visits) == 1 else f"{visits[0]} to {visits[-1]}"
                age = max((now - max(alert.stamp for alert in batch)).total_seconds(), 0)
                console.print(
                    f"[dim]{now:%H:%M:%S.%f}[/dim]  batch {batch.batch_id:>3}  {len(batch):>4} alerts  "
                    f"visit{'s' if len(visits) > 1 else ''} {shown}, {1000 * age:.0f} ms after the stamp of the last"
                )
        except L1dbError as error:
            trouble.append(error)

    thread = threading.Thread(target=receive, name="listener", daemon=True)
    thread.start()
    try:
        yield
        with connect(dsn) as connection:
            issued = _one(connection, "select count(*) from alert")
        until = time.monotonic() + 15
        while arrived < issued and thread.is_alive() and time.monotonic() < until:
            time.sleep(0.02)
    finally:
        stop.set()
        thread.join(15)
    if trouble:
        raise trouble[0]
    console.print(f"alerts: {issued} issued, {arrived} received by the listener in {n_batches} batches")


# --- real packets ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pairs:
    """Pairs of visits that saw one object, by the survey that made the packets and by this database.

    An object has one source of a visit here; where the survey gave it two, either may stand for the visit.
    """

    n_true: int
    n_found: int
    n_common: int

    @property
    def precision(self) -> float:
        """Share of the pairs found that are true."""
        return self.n_common / self.n_found if self.n_found else 1.0

    @property
    def recall(self) -> float:
        """Share of the true pairs that were found."""
        return self.n_common / self.n_true if self.n_true else 1.0


def count_pairs(truth: Mapping[int, str], visit: Mapping[int, int], found: Mapping[int, int | None]) -> Pairs:
    """Count pairs, from the true object, the visit and the found object of each source, if it has one."""
    known = {source: its_object for source, its_object in found.items() if its_object is not None and source in truth}
    return Pairs(
        n_true=_pairs(Counter(name for name, _ in {(truth[source], visit[source]) for source in truth})),
        n_found=_pairs(Counter(known.values())),
        n_common=_pairs(Counter((truth[source], its_object) for source, its_object in known.items())),
    )


def _pairs(sizes: Counter[Any]) -> int:
    return sum(n * (n - 1) // 2 for n in sizes.values())


def _show_packets(dsn: str, name: str, alerts: Path, console: Console) -> None:
    from l1db.ingest import ingest_visits
    from l1db.replay import read_files
    from l1db.replay.packets import find_files, read_packets
    from l1db.replay.ztf import detections, true_object

    with terminal.progress() as report:
        collection, _ = read_files([alerts], progress=report)
    truth: dict[int, str] = {}
    surveys = set()
    files = find_files([alerts])
    for path in files:
        for packet in read_packets(path):
            surveys.add(packet.survey)
            if packet.survey == "ztf":
                for source, is_trigger, _ in detections(packet.record):
                    if is_trigger or source not in truth:
                        truth[source] = true_object(packet.record)
    visits = collection.visits()
    _make_database(dsn, name, surveys.pop())
    own = make_conninfo(dsn, dbname=name)

    console.rule(f"{len(files)} packets: {len(visits)} visits, {len(collection)} sources")
    n_detectors = sum(len(data.detectors) for data in visits)
    begun = time.monotonic()
    with _listening(own, console), terminal.progress() as report:
        ingest_visits(
            lambda: Client(own),
            visits,
            n_detectors=n_detectors,
            mode="supplement",
            explain=collection.explain,
            progress=report,
        )
        seconds = time.monotonic() - begun
    console.print(f"{n_detectors} detectors in {seconds:.1f} s, each visit in one transaction")
    with connect(own) as connection:
        found = dict(connection.execute("select dia_source_id, dia_object_id from dia_source").fetchall())
        objects = _one(connection, "select count(*) from dia_object")
    console.print(f"found: {objects} DiaObjects")
    if truth:
        visit = {
            source: data.visit.visit
            for data in visits
            for detector in data.detectors
            for source in np.asarray(detector.sources["dia_source_id"]).tolist()
        }
        pairs = count_pairs(truth, visit, found)
        console.print(
            f"ZTF's own names: {len(set(truth.values()))} objects, {pairs.n_true} pairs of visits; "
            f"[bold]precision {pairs.precision:.4f}, recall {pairs.recall:.4f}[/bold] "
            f"({pairs.n_found - pairs.n_common} wrong, {pairs.n_true - pairs.n_common} missed)"
        )


# --- what is in it now -----------------------------------------------------------------------------------------------


def _show_object(connection: psycopg.Connection[Any], console: Console) -> None:
    """The light curve and the versions of the object with the most sources."""
    row = connection.execute(
        "select dia_object_id, ra, dec, n_dia_sources from dia_object "
        "order by n_dia_sources desc, dia_object_id limit 1"
    ).fetchone()
    if row is None:
        return
    number, ra, dec, n = row
    console.print()
    console.rule(f"Light curve of DiaObject {number}")
    curve = connection.execute(
        "select midpoint_mjd_tai, psf_flux, band from light_curve(%s) where not is_forced", (number,)
    ).fetchall()
    console.print(f"ra {ra:.6f}  dec {dec:+.6f}  {n} sources; psf_flux in nJy against MJD TAI", soft_wrap=True)
    for line in plot(curve):
        console.print(line, soft_wrap=True)

    console.print()
    console.rule("Its versions: what was known when")
    versions = connection.execute(
        """select to_char(validity_start, 'HH24:MI:SS.US'), coalesce(to_char(validity_end, 'HH24:MI:SS.US'), 'current'),
                  n_dia_sources, round(ra::numeric, 6), round(dec::numeric, 6),
                  round((ra_err * 3600)::numeric, 3), round((dec_err * 3600)::numeric, 3)
             from dia_object_version
            where dia_object_id = %s
            order by validity_start""",
        (number,),
    ).fetchall()
    headers = ("valid from", "until", "sources", "ra", "dec", "ra_err/arcsec", "dec_err/arcsec")
    console.print(terminal.table(headers, versions if len(versions) <= 9 else versions[:4] + versions[-4:]))
    if len(versions) > 9:
        console.print(f"(the first and the last 4 of {len(versions)})")


def plot(points: Sequence[tuple[float, float, str]], width: int = 70, height: int = 10) -> list[str]:
    """Points as lines of text: the letter of the band where the point is; ``*`` where several bands meet.

    Parameters
    ----------
    points
        Time, value and band of each.
    width, height
        Of the field, in characters.
    """
    if not points:
        return []
    x, y = (np.array([point[axis] for point in points], dtype=float) for axis in (0, 1))
    column, row = (_placed(values, cells) for values, cells in ((x, width), (y, height)))
    field = [[" "] * width for _ in range(height)]
    for i, j, (_, _, band) in zip(row, column, points, strict=True):
        cell = field[height - 1 - i]
        cell[j] = band if cell[j] in (" ", band) else "*"
    labels = {0: f"{y.max():.0f}", height - 1: f"{y.min():.0f}"}
    margin = max(map(len, labels.values()))
    lines = [f"{labels.get(i, ''):>{margin}} │{''.join(cells)}" for i, cells in enumerate(field)]
    first, last = f"{x.min():.3f}", f"{x.max():.3f}"
    return [*lines, f"{'':>{margin}} └{'─' * width}", f"{'':>{margin}}  {first}{last:>{width - len(first)}}"]


def _placed(values: NDArray[np.float64], cells: int) -> list[int]:
    """Which of some cells each value falls into, the least in the first and the largest in the last."""
    span = float(np.ptp(values))
    if span == 0:
        return [cells // 2] * len(values)
    return [int(cell) for cell in np.rint((values - values.min()) / span * (cells - 1))]


def _show_nights(connection: psycopg.Connection[Any], console: Console) -> None:
    console.print()
    console.rule("Nights")
    rows = connection.execute(
        """select to_char(day_obs, 'YYYY-MM-DD'), band, n_visits, n_detectors, n_sources, n_associated, n_new_objects,
                  n_without_object, n_alerts
             from night_summary
            order by day_obs desc, band
            limit 6"""
    ).fetchall()
    headers = ("night", "band", "visits", "detectors", "sources", "known", "new", "without object", "alerts")
    console.print(terminal.table(headers, rows))


def _show_queries(connection: psycopg.Connection[Any], dsn: str, console: Console) -> None:
    row = connection.execute(
        "select dia_object_id, round(ra::numeric, 4), round(dec::numeric, 4) from dia_object "
        "order by n_dia_sources desc, dia_object_id limit 1"
    ).fetchone()
    if row is None:
        return
    number, ra, dec = row
    public = make_conninfo("", **{k: v for k, v in settings.parameters(dsn).items() if k != "password"})
    command = f"psql {shlex.quote(public)}"
    console.print()
    console.rule("Try it")
    for query in (
        f"select * from cone_search({ra}, {dec}, 60) order by separation",
        f"select * from light_curve({number})",
        "select dia_object_id, count(*) as versions from dia_object_version group by 1 order by 2 desc limit 5",
    ):
        console.print(f'{command} -c "{query}"', soft_wrap=True, markup=False)


def _one(connection: psycopg.Connection[Any], query: str) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])
