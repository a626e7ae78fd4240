"""A visit of objects with long light curves, against the same with short ones: ``python -m bench.light_curves``.

Ten thousand objects over a focal plane, all of them seen again by each visit.  The histories: 2 epochs; 100 epochs
over six bands, of which 17 in the visit's; 100 epochs in the visit's band alone.  Each in a database of its own on the
server of L1DB_DSN, dropped at the end.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from rich.console import Console
from rich.table import Table

from l1db import Client, DetectorData, Visit, database, settings
from l1db.columns import DIA_SOURCE
from l1db.connection import connect

NAME = "l1db_bench_light_curves"
SIDE = 3.1  # degrees
GRID = 14  # detectors along a side
FIRST_NIGHT = 61_000.0
ARCSEC = 1 / 3600
HISTORIES = {"2 epochs": (2, "r"), "100 epochs, six bands": (100, "ugrizy"), "100 epochs, one band": (100, "r")}


def visit(
    number: int, midpoint: float, band: str, sky: np.ndarray, rng: np.random.Generator
) -> tuple[Visit, list[DetectorData]]:
    """All objects, seen once more; ``sky``: their places in degrees from a corner, shape (n, 2)."""
    cell = SIDE / GRID
    detector = (sky[:, 1] // cell).astype(int) * GRID + (sky[:, 0] // cell).astype(int)
    seen = sky + rng.normal(0, 0.1 * ARCSEC, sky.shape)
    detectors = []
    for k in range(GRID**2):
        rows = np.flatnonzero(detector == k)
        low = np.array([k % GRID, k // GRID]) * cell
        corners = [(150 + low[0] + dx, low[1] + dy) for dx, dy in ((0, 0), (cell, 0), (cell, cell), (0, cell))]
        n = len(rows)
        columns = {
            "ra": 150 + seen[rows, 0], "dec": seen[rows, 1],
            "ra_err": np.full(n, 0.1 * ARCSEC), "dec_err": np.full(n, 0.1 * ARCSEC),
            "psf_flux": rng.normal(1000, 100, n), "psf_flux_err": np.full(n, 100.0),
            "science_flux": rng.normal(5000, 100, n), "science_flux_err": np.full(n, 100.0),
            "reliability": np.full(n, 0.9),
        }  # fmt: skip
        detectors.append(DetectorData(k, columns, footprint=corners))
    return Visit(number, band, midpoint, 30.0, n_detectors=GRID**2), detectors


def fill(dsn: str, n_epochs: int, bands: str, sky: np.ndarray, rng: np.random.Generator) -> None:
    """A database with these objects and their histories, an epoch every 0.2 days."""
    with Client(dsn) as client:
        client.ingest(*visit(1, FIRST_NIGHT, bands[0], sky, rng))
    changed = {
        "dia_source_id": "x.dia_source_id + {e}::bigint * 1000000",
        "visit": "1 + {e}",
        "midpoint_mjd_tai": "x.midpoint_mjd_tai + {e} * 0.2",
        "psf_flux": "1000 + 100 * (random() - 0.5)",
        "band": "'{band}'",
    }
    names = [column.name for column in DIA_SOURCE]
    with connect(dsn) as connection:
        connection.execute("select l1_api.ensure_partitions(%s::double precision)", (FIRST_NIGHT + n_epochs * 0.2 + 1,))
        connection.execute("create temp table first_epoch as select * from l1.dia_source")
        for epoch in range(1, n_epochs):
            values = ", ".join(
                changed.get(name, f"x.{name}").format(e=epoch, band=bands[epoch % len(bands)]) for name in names
            )
            connection.execute(
                f"insert into l1.dia_source ({', '.join(names)}) "
                f"select {values} from first_epoch x order by dia_object_id"
            )
    with psycopg.connect(dsn, autocommit=True) as connection:
        for table in ("dia_source", "dia_object", "dia_object_band"):
            connection.execute(sql.SQL("vacuum analyze l1.{}").format(sql.Identifier(table)))
        connection.execute("checkpoint")


def seconds(dsn: str, n_epochs: int, sky: np.ndarray, n_visits: int, rng: np.random.Generator) -> dict[str, float]:
    """Medians over visits in band r, after one that warms up."""
    rows = []
    with Client(dsn) as client:
        for k in range(n_visits + 1):
            given = visit(1000 + k, FIRST_NIGHT + n_epochs * 0.2 + 0.001 * k, "r", sky, rng)
            start = time.perf_counter()
            result = client.ingest(*given)
            rows.append({"visit": time.perf_counter() - start, **result.seconds})
            if result.n_new_objects:
                raise SystemExit(f"{result.n_new_objects} new objects: the fields do not overlap")
    return {key: statistics.median(row[key] for row in rows[1:]) for key in ("visit", "insert", "measure", "version")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--visits", type=int, default=5)
    options = parser.parse_args()
    dsn = settings.dsn()
    own = make_conninfo(dsn, dbname=NAME)
    table = Table("history", "visit s", "insert s", "measure s", "version s", "visit / visit with 2 epochs")
    base = None
    for name, (n_epochs, bands) in HISTORIES.items():
        rng = np.random.default_rng(1)
        sky = rng.uniform(0.001, SIDE - 0.001, (options.objects, 2))
        with psycopg.connect(make_conninfo(dsn, dbname="postgres"), autocommit=True) as connection:
            connection.execute(f"drop database if exists {NAME} with (force)")
            database.init(own)
            try:
                fill(own, n_epochs, bands, sky, rng)
                found = seconds(own, n_epochs, sky, options.visits, rng)
            finally:
                connection.execute(f"drop database if exists {NAME} with (force)")
        base = base or found["visit"]
        table.add_row(name, *(f"{value:.3f}" for value in found.values()), f"{found['visit'] / base:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
