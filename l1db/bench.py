"""``l1db bench visit``: how long a visit takes, beside the bare binary COPY of its rows.

The database is filled with live DiaObjects of two epochs; then visits of the size of LSST's come in, half on known
objects and half new.  Every time is taken next to a COPY of the very rows the visit stored into the same indexed
table, so that the ratio holds whatever the machine does otherwise.
"""

from __future__ import annotations

import json
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.conninfo import make_conninfo
from rich.console import Console
from rich.progress import track
from rich.table import Table

from l1db import database
from l1db.binary_copy import WireColumn, encode
from l1db.client import Client
from l1db.columns import DIA_SOURCE, DTYPES, GIVEN
from l1db.connection import connect, no_connection
from l1db.database import change_survey
from l1db.errors import InputError
from l1db.targets import Targets
from l1db.visit import DetectorData, Measured, Visit

# LSST's focal plane: 189 detectors, 9.6 square degrees.
N_DETECTORS = 189
PLANE_DEG2 = 9.6
_GRID = 14
_POSITION_ERROR = 0.1 / 3600
_EPOCHS = (61010.0, 61012.0)
_FIRST_NIGHT = 61014.0
_RA0, _DEC0 = 150.0, -2.0


@dataclass(frozen=True)
class Sky:
    """The objects that are known before the first visit, inside a square around (150, -2).

    Those that ``is_forced`` names are forced wherever a visit does not see them.
    """

    side: float
    ids: NDArray[np.int64]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    is_forced: NDArray[np.bool_]


def run(
    dsn: str,
    *,
    objects: int,
    area: float,
    visits: int,
    sources: int,
    forced: int,
    workers: int,
    seed: int,
    as_json: bool,
) -> None:
    """Fill a database beside the one of ``dsn``, measure, print, and drop it.

    Parameters
    ----------
    dsn
        A database on the server to be measured; the bench makes ``l1db_bench`` there.
    objects
        Live DiaObjects at the start, with two epochs each.
    area
        Square degrees over which they lie; at least a focal plane.
    visits
        Whole visits to measure, after two that warm up; as many again come detector by detector.
    sources
        DiaSources per visit, half of them new.
    forced
        About as many forced measurements in each of further whole visits, taken in turn with those without; as if the
        images had been measured.
    workers
        Sessions that share the detectors of a visit.
    seed
        Of the random numbers.
    as_json
        Print one JSON object instead of a table.
    """
    if area < PLANE_DEG2 + 0.1:
        raise InputError(f"--area {area:g} does not hold a focal plane of {PLANE_DEG2} deg2: give 10 or more")
    in_plane = objects * PLANE_DEG2 / area
    if forced > in_plane - sources / 2:
        raise InputError(f"--forced {forced}: about {in_plane - sources / 2:.0f} objects of a visit are not seen")
    own = make_conninfo(dsn, dbname="l1db_bench")
    console = Console(stderr=True)
    rng = np.random.default_rng(seed)
    _drop(dsn)
    try:
        database.init(own)
        with connect(own) as connection:
            change_survey(connection, {"forced_min_dia_sources": 2, "forced_min_reliability": 0.5}, "bench")
        sky = _fill(own, objects, area, forced / (in_plane - sources / 2), rng, console)
        figures = {
            "objects": objects,
            "area_deg2": area,
            "sources": sources,
            **_whole_planes(own, sky, sources, visits, rng, forced=forced > 0),
            "per_detector": _per_detector(own, sky, sources, visits, 1, rng),
            f"per_detector_{workers}_workers": _per_detector(own, sky, sources, visits, workers, rng),
            "client_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }
    finally:
        _drop(dsn)
    if as_json:
        print(json.dumps(figures))
    else:
        _print(figures)


def _drop(dsn: str) -> None:
    try:
        connection = psycopg.connect(make_conninfo(dsn, dbname="postgres"), autocommit=True)
    except psycopg.OperationalError as error:
        raise no_connection(error) from error
    with connection:
        connection.execute("drop database if exists l1db_bench with (force)")


def _fill(dsn: str, n: int, area: float, forced: float, rng: np.random.Generator, console: Console) -> Sky:
    """Objects in order of their ids, that is of the sky, and two epochs of each in all columns.

    A share ``forced`` of them has detections that are reliable enough to have them forced.
    """
    side = float(np.sqrt(area))
    ra = _RA0 + rng.uniform(-side / 2, side / 2, n) / np.cos(np.radians(_DEC0))
    dec = _DEC0 + rng.uniform(-side / 2, side / 2, n)
    with connect(dsn) as connection:
        for midpoint in (*_EPOCHS, _FIRST_NIGHT):
            connection.execute("select l1_api.ensure_partitions(%s::double precision)", (midpoint,))
        connection.execute("create temp table position (good int, ra double precision, dec double precision)")
        _copy(connection, "position", {"good": 2 * (rng.random(n) < forced).astype(np.int32), "ra": ra, "dec": dec})
        connection.execute("analyze position")
        connection.execute(
            """
            insert into l1.dia_object
            select (q3c_ang2ipix(p.ra, p.dec) >> 36 << 36) | nextval('l1.dia_object_seq'),
                   '2026-01-01Z', p.ra, %(err)s, p.dec, %(err)s, 0, 2, 0, %(first)s, %(last)s, p.good, %(first)s
              from (select * from position order by q3c_ang2ipix(ra, dec)) as p
            """,
            {"err": _POSITION_ERROR / np.sqrt(2), "first": _EPOCHS[0], "last": _EPOCHS[1]},
        )
        connection.execute(
            "insert into l1.dia_object_band select dia_object_id, 'r', validity_start, 1000, 70, 100, 2, 900, 1100 "
            "from l1.dia_object order by dia_object_id"
        )
        rows = connection.execute(
            "select dia_object_id, ra, dec, n_good_dia_sources from l1.dia_object order by dia_object_id"
        ).fetchall()
        table = np.array(rows, dtype=[("id", "i8"), ("ra", "f8"), ("dec", "f8"), ("good", "i4")])
        sky = Sky(side, table["id"].copy(), table["ra"].copy(), table["dec"].copy(), table["good"] > 0)
        chunks = [
            (epoch, part) for epoch in range(len(_EPOCHS)) for part in np.array_split(np.arange(n), max(n // 50_000, 1))
        ]
        for epoch, part in track(chunks, "filling", console=console, disable=not console.is_terminal):
            columns = _columns(sky.ra[part], sky.dec[part], rng)
            columns["dia_source_id"] = epoch * n + part + 1
            columns["reliability"] = np.where(sky.is_forced[part], 0.9, 0.1).astype(np.float32)
            _copy(connection, "l1.dia_source", _stored(columns, sky.ids[part], epoch + 1, _EPOCHS[epoch]))
        for table_name in ("dia_source", "dia_object", "dia_object_band"):
            connection.execute(sql.SQL("vacuum analyze l1.{}").format(sql.Identifier(table_name)))
        connection.execute("checkpoint")
    return sky


def _columns(ra: NDArray[np.float64], dec: NDArray[np.float64], rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Sources at these places with a value in every column that a survey may give."""
    n = len(ra)
    columns: dict[str, NDArray[Any]] = {}
    for column in GIVEN:
        dtype = DTYPES[column.sql_type]
        if dtype.kind == "O":
            columns[column.name] = np.full(n, "v1", dtype=object)
        elif dtype.kind == "f":
            columns[column.name] = rng.random(n).astype(dtype)
        elif dtype.kind == "b":
            columns[column.name] = np.zeros(n, dtype=bool)
        else:
            columns[column.name] = rng.integers(1, 1000, n).astype(dtype)
    columns["ra"] = ra + rng.normal(0, _POSITION_ERROR, n) / np.cos(np.radians(dec))
    columns["dec"] = dec + rng.normal(0, _POSITION_ERROR, n)
    columns["ra_err"] = columns["dec_err"] = np.full(n, _POSITION_ERROR, dtype=np.float32)
    columns["psf_flux"] = rng.normal(1000, 100, n).astype(np.float32)
    columns["psf_flux_err"] = np.full(n, 100, dtype=np.float32)
    return columns


def _stored(
    columns: dict[str, NDArray[Any]], object_ids: NDArray[np.int64], visit: int, midpoint: float
) -> dict[str, NDArray[Any]]:
    n = len(object_ids)
    return {
        **columns,
        "dia_object_id": object_ids,
        "visit": np.full(n, visit),
        "detector": np.zeros(n, dtype=np.int16),
        "band": np.full(n, "r", dtype=object),
        "midpoint_mjd_tai": np.full(n, midpoint),
        "time_processed": np.zeros(n, dtype=np.int64),
        "validity_start": np.zeros(n, dtype=np.int64),
    }


def _copy(connection: psycopg.Connection[Any], table: str, columns: dict[str, NDArray[Any]]) -> None:
    n = len(next(iter(columns.values())))
    present = np.ones(n, dtype=bool)
    wire = [WireColumn(name, values, present) for name, values in columns.items()]
    names = ", ".join(columns)
    with connection.cursor().copy(f"copy {table} ({names}) from stdin (format binary)") as copy:
        for piece in encode(wire, n):
            copy.write(piece)


def _plane(sky: Sky, n: int, visit: int, rng: np.random.Generator) -> tuple[Visit, list[DetectorData]]:
    """A visit somewhere inside the square: half of the sources on known objects, half anywhere."""
    cell = float(np.sqrt(PLANE_DEG2 / N_DETECTORS))
    plane = cell * _GRID
    stretch = np.cos(np.radians(_DEC0))
    corner = rng.uniform(-sky.side / 2, max(sky.side / 2 - plane, -sky.side / 2 + 1e-6), 2)
    x = (sky.ra - _RA0) * stretch - corner[0]
    y = sky.dec - _DEC0 - corner[1]
    inside = np.flatnonzero((x > 0) & (x < plane) & (y > 0) & (y < plane))
    detector_of = (y[inside] // cell).astype(int) * _GRID + (x[inside] // cell).astype(int)
    inside = inside[detector_of < N_DETECTORS]
    known = rng.choice(inside, min(n // 2, len(inside)), replace=False)
    n_new = n - len(known)
    flat = rng.uniform(0, N_DETECTORS, n_new)
    new_x = (flat.astype(int) % _GRID + rng.random(n_new)) * cell
    new_y = (flat.astype(int) // _GRID + rng.random(n_new)) * cell
    ra = np.concatenate([sky.ra[known], _RA0 + (new_x + corner[0]) / stretch])
    dec = np.concatenate([sky.dec[known], _DEC0 + corner[1] + new_y])
    columns = _columns(ra, dec, rng)
    columns["dia_source_id"] = np.arange(n) + 10**12 + visit * 10**6
    columns["reliability"] = np.full(n, 0.1, dtype=np.float32)
    del columns["midpoint_mjd_tai"]  # the visit's
    # By the true places: an error that carries a source over the border leaves it within the footprint's margin.
    detector = np.concatenate(
        [
            (y[known] // cell).astype(int) * _GRID + (x[known] // cell).astype(int),
            flat.astype(int),
        ]
    )
    detectors = []
    for number in range(N_DETECTORS):
        rows = np.flatnonzero(detector == number)
        left, low = corner + np.array([number % _GRID, number // _GRID]) * cell
        corners = [(_RA0 + (left + dx) / stretch, _DEC0 + low + dy)
                   for dx, dy in ((0, 0), (cell, 0), (cell, cell), (0, cell))]  # fmt: skip
        detectors.append(
            DetectorData(number, {name: values[rows] for name, values in columns.items()}, footprint=corners)
        )
    midpoint = _FIRST_NIGHT + visit * 39 / 86400
    return Visit(visit, "r", midpoint, 30.0, n_detectors=N_DETECTORS), detectors


def _visit_numbers() -> Iterator[int]:
    number = 10
    while True:
        yield number
        number += 1


_numbers = _visit_numbers()


def _whole_planes(
    dsn: str, sky: Sky, sources: int, visits: int, rng: np.random.Generator, *, forced: bool
) -> dict[str, dict[str, Any]]:
    """Whole visits in one call each, with and without forced measurements in turn, and the bare COPY of their rows."""
    kinds = ("whole_plane", "whole_plane_forced") if forced else ("whole_plane",)
    seconds: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    made: dict[str, dict[str, Any]] = {}
    with Client(dsn) as client, connect(dsn) as bare:
        for index in range(visits + 2):
            for kind in kinds:
                visit, detectors = _plane(sky, sources, next(_numbers), rng)
                if kind == "whole_plane_forced":
                    start = time.perf_counter()
                    targets = client.forced_targets({d.detector: np.asarray(d.footprint) for d in detectors})
                    asked = time.perf_counter() - start
                    detectors = [replace(d, measured=_as_measured(d, targets[d.detector], rng)) for d in detectors]
                else:
                    asked = 0.0
                start = time.perf_counter()
                result = client.ingest(visit, detectors)
                total = time.perf_counter() - start + asked
                copied = _bare_copy(bare, visit.visit)
                made[kind] = {"new_objects": result.n_new_objects, "alerts": result.n_alerts, "forced": result.n_forced}
                if index >= 2:
                    seconds[kind].append(
                        {
                            "total": total,
                            "targets": asked,
                            **result.seconds,
                            "bare_copy": copied,
                            "ratio": total / copied,
                        }
                    )
        del client
    figures = {
        kind: {"visits": visits, **made[kind]}
        | {key: round(statistics.median(entry[key] for entry in entries), 4) for key in entries[0]}
        for kind, entries in seconds.items()
    }
    if forced:
        pairs = zip(seconds["whole_plane_forced"], seconds["whole_plane"], strict=True)
        figures["whole_plane_forced"]["to_without"] = round(
            statistics.median(one["total"] / other["total"] for one, other in pairs), 3
        )
    return figures


def _as_measured(detector: DetectorData, targets: Targets, rng: np.random.Generator) -> Measured:
    """As if the detector's images had been measured at the objects that they show."""
    corners = np.asarray(detector.footprint)
    inside = (
        targets.is_target
        & (targets.ra >= corners[:, 0].min())
        & (targets.ra < corners[:, 0].max())
        & (targets.dec >= corners[:, 1].min())
        & (targets.dec < corners[:, 1].max())
    )
    n = int(inside.sum())
    fluxes = {name: rng.normal(0, 100, n) for name in ("psf_flux", "science_flux", "snap_diff_flux")}
    errors = {f"{name}_err": np.full(n, 100.0) for name in fluxes}
    return Measured(
        forced={
            "dia_object_id": targets.dia_object_id[inside],
            "ra": targets.ra[inside],
            "dec": targets.dec[inside],
            "x": rng.random(n) * 4000,
            "y": rng.random(n) * 4000,
            "is_on_image": np.ones(n, dtype=bool),
            "psf_chi2": np.full(n, 625.0),
            "psf_ndata": np.full(n, 625),
            "forced_flags": np.zeros(n, dtype=int),
            **fluxes,
            **errors,
        },
        footprint=corners,
    )


def _bare_copy(connection: psycopg.Connection[Any], visit: int) -> float:
    """Seconds to COPY the rows of a visit, with other ids, into ``dia_source`` once more; rolled back."""
    names = ", ".join(column.name for column in DIA_SOURCE)
    given = names.replace("dia_source_id", "dia_source_id + 1000000000000000", 1).replace(
        " visit,", " visit + 1000000000,", 1
    )
    with connection.cursor().copy(
        f"copy (select {given} from l1.dia_source where visit = {visit} order by dia_object_id) "
        "to stdout (format binary)"
    ) as out:
        rows = b"".join(out)
    connection.execute("begin")
    start = time.perf_counter()
    with connection.cursor().copy(f"copy l1.dia_source ({names}) from stdin (format binary)") as copy:
        copy.write(rows)
    elapsed = time.perf_counter() - start
    connection.execute("rollback")
    return elapsed


def _per_detector(
    dsn: str, sky: Sky, sources: int, visits: int, workers: int, rng: np.random.Generator
) -> dict[str, Any]:
    """The detectors of a visit in calls of their own, by one session or several."""
    calls: list[float] = []
    totals: list[float] = []
    clients = [Client(dsn) for _ in range(workers)]

    def share(client: Client, visit: Visit, detectors: Sequence[DetectorData]) -> list[float]:
        times = []
        for detector in detectors:
            start = time.perf_counter()
            client.ingest(visit, [detector])
            times.append(time.perf_counter() - start)
        return times

    task: Callable[..., list[float]] = share
    with ThreadPoolExecutor(workers) as pool:
        for index in range(visits + 1):
            visit, detectors = _plane(sky, sources, next(_numbers), rng)
            start = time.perf_counter()
            shares = pool.map(task, clients, [visit] * workers, [detectors[k::workers] for k in range(workers)])
            times = [seconds for part in shares for seconds in part]
            if index:
                calls += times
                totals.append(time.perf_counter() - start)
    for client in clients:
        client.close()
    return {
        "workers": workers,
        "calls": len(calls),
        "sources_per_call": round(sources / N_DETECTORS),
        "call": round(statistics.median(calls), 4),
        "call_90_percent": round(float(np.percentile(calls, 90)), 4),
        "visit": round(statistics.median(totals), 3),
    }


def _print(figures: dict[str, Any]) -> None:
    console = Console()
    console.print(
        f"{figures['objects']:,} objects over {figures['area_deg2']} deg2; visits of {figures['sources']:,} sources; "
        f"client memory {figures['client_memory_mb']} MB"
    )
    for name, part in figures.items():
        if isinstance(part, dict):
            table = Table(title=name.replace("_", " "), show_header=False)
            for key, value in part.items():
                table.add_row(key.replace("_", " "), f"{value:,}", _unit(key, value))
            console.print(table)


def _unit(key: str, value: float) -> str:
    """Counts are whole numbers; whatever else is no ratio is seconds."""
    return {"ratio": "x bare copy", "to_without": "x that without"}.get(key, "" if isinstance(value, int) else "s")
