"""Cones as of a time, against cones of the present: ``python -m bench.asof``.

Objects at LSST's density with a hundred versions each, whose positions are refined as means are; some move like stars
of high proper motion, some were moved to another object's place, some are retired.  In a database of its own on the
server of L1DB_DSN, dropped at the end.  Each figure is the median over cones at random places, all in memory: planned
anew each time, as at psql, and as prepared statements.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import psycopg
from psycopg.conninfo import make_conninfo
from rich.console import Console
from rich.table import Table

from l1db import database, settings

NAME = "l1db_bench_asof"
START = "timestamptz '2026-01-01Z'"
STEP = "interval '1 day'"

# Version n is the mean of n positions with an error of 0.1 arcsec per axis, and what moves.
FILL = """
    create temp table truth as
    select (public.q3c_ang2ipix(ra, dec) >> 36 << 36) | k as id, ra, dec, u < {retired} as is_retired,
           case when v < {stars} then 10 * (random() - 0.5) / 3600 / {n} else 0 end as motion_ra,
           case when v < {stars} then 10 * (random() - 0.5) / 3600 / {n} else 0 end as motion_dec,
           case when w < {moved} then 1 + (random() * {n})::int end as leap_at
      from (select k, 150 + {side} * (random() - 0.5) as ra, {side} * (random() - 0.5) as dec,
                   random() as u, random() as v, random() as w
              from generate_series(1, {objects}) as k) as place;

    create temp table version as
    select t.id, n, t.is_retired, {start} + n * {step} as validity_start,
           t.ra + avg(t.x) over so_far + t.motion_ra * n
                + case when n >= t.leap_at then 20.0 / 3600 else 0 end as ra,
           t.dec + avg(t.y) over so_far + t.motion_dec * n as dec
      from (select truth.*, n, 0.34 / 3600 * (random() - 0.5) as x, 0.34 / 3600 * (random() - 0.5) as y
              from truth, generate_series(1, {n}) as n) as t
    window so_far as (partition by t.id order by n);

    insert into l1.dia_object_history
    select validity_start + {step}, case when n = {n} then 'orphaned' end, null, id, validity_start, ra, 3e-5, dec,
           3e-5, null, n, 0, 61000, 61000 + n, n, 61000
      from version
     where n < {n} or is_retired
     order by n, id;
    insert into l1.dia_object
    select id, validity_start, ra, 3e-5, dec, 3e-5, null, n, 0, 61000, 61000 + n, n, 61000
      from version
     where n = {n} and not is_retired
     order by id;
    insert into l1.dia_object_former_place (dia_object_id, left_at, ra, dec)
    select v.id, v.validity_start + {step}, v.ra, v.dec
      from (select version.*, lead(l1_api.small_cell(ra, dec)) over (partition by id order by n) as next
              from version) as v
     where (v.n < {n} or v.is_retired) and l1_api.small_cell(v.ra, v.dec) is distinct from v.next
     order by v.n, v.id;
"""

PRESENT = "select * from l1_api.cone_search(%s::float8, %s::float8, %s::float8)"
ASOF = "select * from l1_api.cone_search_asof(%s::float8, %s::float8, %s::float8, {t}::timestamptz)"
# What a plain view with parameters would cost: the cone on every version.
WHOLE = (
    "select v.* from l1_api.dia_object_asof({t}::timestamptz) v"
    " where public.q3c_join(%s::float8, %s::float8, v.ra, v.dec, %s::float8 / 3600)"
)


def milliseconds(
    connection: psycopg.Connection, queries: tuple[str, ...], centres: np.ndarray, radius: float, prepare: bool
) -> list[float]:
    """Median time of each of these queries, taken in turn at each place, after one that warms up."""
    took: list[list[float]] = [[] for _ in queries]
    for ra, dec in centres.tolist():
        for query, times in zip(queries, took, strict=True):
            for warm in (False, True):
                start = time.perf_counter()
                connection.execute(query, (ra, dec, radius), prepare=prepare).fetchall()  # type: ignore[arg-type]
                if warm:
                    times.append(1000 * (time.perf_counter() - start))
    return [statistics.median(times) for times in took]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--objects", type=int, default=20_000)
    parser.add_argument("--versions", type=int, default=100)
    parser.add_argument("--density", type=float, default=90_000, help="objects per square degree")
    parser.add_argument("--cones", type=int, default=60)
    parser.add_argument("--explain", action="store_true", help="print the plan of one cone")
    options = parser.parse_args()
    dsn = settings.dsn()
    own = make_conninfo(dsn, dbname=NAME)
    side = (options.objects / options.density) ** 0.5
    n = options.versions
    shares = {"retired": 0.05, "stars": 0.02, "moved": 0.02}
    console = Console()
    with psycopg.connect(make_conninfo(dsn, dbname="postgres"), autocommit=True) as server:
        server.execute(f"drop database if exists {NAME} with (force)")
        database.init(own)
        try:
            with psycopg.connect(own, autocommit=True) as connection:
                connection.execute("set synchronous_commit = off")
                connection.execute("select setseed(0.5)")
                fill = FILL.format(objects=options.objects, n=n, side=side, start=START, step=STEP, **shares)
                connection.execute(fill)  # type: ignore[arg-type]
                for table in ("dia_object", "dia_object_history", "dia_object_former_place"):
                    connection.execute(f"vacuum analyze l1.{table}")  # type: ignore[arg-type]
                counts = connection.execute(
                    "select (select count(*) from l1.dia_object), (select count(*) from l1.dia_object_history),"
                    " (select count(*) from l1.dia_object_former_place),"
                    " pg_size_pretty(pg_total_relation_size('l1.dia_object_former_place')),"
                    " pg_size_pretty(pg_total_relation_size('l1.dia_object_history'))"
                ).fetchone()
                console.print("{0} objects, {1} former versions ({4}), {2} former places ({3})".format(*counts or ()))
                half = 0.4 * side
                rng = np.random.default_rng(1)
                centres = np.column_stack([150 + rng.uniform(-half, half, options.cones),
                                           rng.uniform(-half, half, options.cones)])  # fmt: skip
                table = Table("r", "time", "rows", "present ms", "as of ms", "ratio", "prepared: present ms",
                              "as of ms", "ratio", "all versions ms")  # fmt: skip
                for radius in (5.0, 60.0, 72.0, 300.0):
                    for name, k in (("first night", 1), ("half way", n // 2), ("now", n + 1)):
                        t = f"({START} + {k} * {STEP} + interval '1 hour')"
                        row = connection.execute(
                            f"select count(*) from ({ASOF.format(t=t)}) as c", (*centres[0].tolist(), radius)
                        ).fetchone()  # type: ignore[arg-type]
                        figures = []
                        for prepare in (False, True):
                            one, other = milliseconds(connection, (PRESENT, ASOF.format(t=t)), centres, radius, prepare)
                            figures += [f"{one:.2f}", f"{other:.2f}", f"{other / one:.2f}"]
                        whole = ""
                        if radius == 60 and k == n // 2:
                            # Without an index on all positions this reads the history whole; few cones will do.
                            whole = (
                                f"{milliseconds(connection, (WHOLE.format(t=t),), centres[:3], radius, False)[0]:.0f}"
                            )
                        table.add_row(f"{radius:.0f}", name, str(row and row[0]), *figures, whole)
                        if options.explain and radius == 60 and k == n // 2:
                            query = "explain (analyze, buffers) " + ASOF.format(t=t)
                            for (line,) in connection.execute(query, (*centres[0].tolist(), radius)).fetchall():  # type: ignore[arg-type]
                                print(line)
                console.print(table)
        finally:
            server.execute(f"drop database if exists {NAME} with (force)")


if __name__ == "__main__":
    main()
