"""How long ``l1db check --deep`` takes: ``python -m bench.check_deep --sources 1000000``.

Objects of ten epochs in two bands and three months, each epoch with its ledger row, version, alert and stamp, as
ingests and ``l1db maintain`` leave them; filled set-wise, which is faster than ingesting.  In a database of its own on
the server of L1DB_DSN, dropped at the end.
"""

from __future__ import annotations

import argparse
import time

import psycopg
from psycopg.conninfo import make_conninfo

from l1db import database, settings
from l1db.invariants import check_deep

NAME = "l1db_bench_check"
EPOCHS = 10
PER_VISIT = 10_000

FILL = (
    "select l1_api.ensure_partitions(61000 + 10 * k::double precision) from generate_series(0, 8) as k",
    # Each visit sees a stretch of neighbours; a source lies where its object does.
    """
    create temp table truth as
    select (public.q3c_ang2ipix(p.ra, p.dec) >> 36 << 36) | p.k as id, p.ra, p.dec,
           (row_number() over (order by public.q3c_ang2ipix(p.ra, p.dec)) - 1) / {per_visit} as field
      from (select k, 100 + 60 * random() as ra, -30 + 60 * random() as dec
              from generate_series(1, {objects}) as k) as p
    """,
    """
    create temp table exposure as
    select epoch * {fields} + field + 1 as visit, field, epoch, case epoch % 2 when 0 then 'r' else 'g' end as band,
           61000 + epoch * 7 + field * 0.0005 as mjd,
           timestamptz '2026-01-01Z' + (epoch * {fields} + field) * interval '1 second' as stamp,
           timestamptz '2026-01-01Z' + ((epoch + 1) * {fields} + field) * interval '1 second' as next_stamp
      from generate_series(0, {epochs} - 1) as epoch, generate_series(0, {fields} - 1) as field
    """,
    "analyze truth, exposure",
    "insert into l1.stamp (stamp, settled) select stamp, null from exposure",
    "insert into l1.visit (visit, band, midpoint_mjd_tai, exposure_time, day_obs) "
    "select visit, band, mjd, 30, '2025-11-20' from exposure",
    """
    insert into l1.visit_detector (visit, detector, attempt, survey_version, content_sha256, n_sources, n_associated,
                                   n_new_objects, n_alerts, time_processed)
    select e.visit, 0, 1, 1, sha256(''), n, case when epoch > 0 then n else 0 end,
           case when epoch > 0 then 0 else n end, n, e.stamp
      from exposure e join (select field, count(*) as n from truth group by field) as f using (field)
    """,
    """
    insert into l1.dia_source (dia_source_id, visit, detector, dia_object_id, midpoint_mjd_tai, exposure_time, ra,
                               ra_err, dec, dec_err, x, y, snr, psf_flux, psf_flux_err, science_flux, science_flux_err,
                               extendedness, reliability, band, time_processed, validity_start)
    select e.visit * 1000000 + row_number() over (partition by e.visit order by t.id), e.visit, 0, t.id, e.mjd, 30,
           t.ra, 3e-5, t.dec, 3e-5, 1, 2, 20, 1000 + 100 * (random() - 0.5), 50, 5000 + 100 * (random() - 0.5), 50,
           0, 0.9, e.band, e.stamp, e.stamp
      from exposure e join truth t using (field)
     order by e.visit, t.id
    """,
    """
    insert into l1.alert (kind, dia_source_id, midpoint_mjd_tai, visit, detector, dia_object_id, dia_object_version,
                          survey_version, stamp)
    select 'detection', dia_source_id, midpoint_mjd_tai, visit, 0, dia_object_id, validity_start, 1, validity_start
      from l1.dia_source
    """,
    """
    insert into l1.dia_object_history
    select e.next_stamp, null, null, t.id, e.stamp, t.ra, 3e-5 / sqrt(epoch + 1), t.dec, 3e-5 / sqrt(epoch + 1), null,
           epoch + 1, 0, 61000 + t.field * 0.0005, e.mjd, epoch + 1, 61000 + t.field * 0.0005
      from exposure e join truth t using (field)
     where epoch < {epochs} - 1
     order by e.visit, t.id
    """,
    """
    insert into l1.dia_object
    select t.id, e.stamp, t.ra, 3e-5 / sqrt(epoch + 1), t.dec, 3e-5 / sqrt(epoch + 1), null, epoch + 1, 0,
           61000 + t.field * 0.0005, e.mjd, epoch + 1, 61000 + t.field * 0.0005
      from exposure e join truth t using (field)
     where epoch = {epochs} - 1
     order by t.id
    """,
    """
    insert into l1.dia_object_band_history (validity_end, dia_object_id, band, validity_start, psf_flux_ndata)
    select e.next_stamp + {fields} * interval '1 second', t.id, e.band, e.stamp, epoch / 2 + 1
      from exposure e join truth t using (field)
     where epoch < {epochs} - 2
     order by e.visit, t.id
    """,
    "vacuum analyze",
)
# The current statistics as l1db measures them.
MEASURE = (
    "begin",
    "select l1_api.open_stage()",
    """
    insert into pg_temp.touched (dia_object_id, validity_start, first_mjd_tai, all_bands)
    select o.dia_object_id, o.validity_start, o.first_epoch_mjd_tai, true
      from l1.dia_object o where o.dia_object_id > {after} order by o.dia_object_id limit 100000
    """,
    "analyze pg_temp.touched",
    "select l1_api.measure_bands(null, s, 61000) from l1_api.current_survey() as s",
    "analyze pg_temp.measured_band",
    "select l1_api.measure_shapes(s, 61000) from l1_api.current_survey() as s",
    """
    insert into l1.dia_object_band ({columns}, validity_start)
    select {columns}, o.validity_start - case band when 'r' then {fields} else 0 end * interval '1 second'
      from pg_temp.measured_band join l1.dia_object o using (dia_object_id) order by 1
    """,
    "select max(dia_object_id) from pg_temp.touched",
    "commit",
)


def fill(dsn: str, sources: int) -> None:
    """Fill the database; ``sources`` in all, in whole visits."""
    fields = max(sources // EPOCHS // PER_VISIT, 1)
    objects = fields * PER_VISIT
    words = {"objects": objects, "per_visit": PER_VISIT, "fields": fields, "epochs": EPOCHS}
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("set synchronous_commit = off")
        connection.execute("set work_mem = '256MB'")
        connection.execute("select setseed(0.5)")
        for statement in FILL:
            connection.execute(statement.format(**words))  # type: ignore[arg-type]
        row = connection.execute(
            "select string_agg(attname, ', ') from pg_attribute where attrelid = 'l1.dia_object_band'::regclass"
            " and attnum > 0 and not attisdropped and attname <> 'validity_start'"
        ).fetchone()
        assert row is not None
        after = -1
        for _ in range(0, objects, 100_000):
            for statement in MEASURE:
                done = connection.execute(
                    statement.format(**words, columns=row[0], after=after)  # type: ignore[arg-type]
                )
                if statement.startswith("select max"):
                    after = done.fetchone()[0]  # type: ignore[index]
        connection.execute("vacuum analyze")


def backend_peak(dsn: str, seen: list[int]) -> None:
    """Peak memory of the server's own process, where it is on this machine: /proc tells it."""
    with psycopg.connect(dsn) as connection:
        for (pid,) in connection.execute(
            "select pid from pg_stat_activity where application_name = 'l1db check' and pid <> pg_backend_pid()"
        ).fetchall():
            try:
                with open(f"/proc/{pid}/status") as status:
                    fields = dict(line.split(":", 1) for line in status)
                seen.append(int(fields["RssAnon"].split()[0]) // 1024)
            except OSError:
                pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=int, default=1_000_000)
    parser.add_argument("--keep", action="store_true", help="keep the database, or use the one that was kept")
    given = parser.parse_args()
    dsn = make_conninfo(settings.dsn(), dbname=NAME)
    maintenance = make_conninfo(dsn, dbname="postgres")
    with psycopg.connect(maintenance, autocommit=True) as connection:
        known = bool(connection.execute("select 1 from pg_database where datname = %s", (NAME,)).fetchone())
        if known and not given.keep:
            connection.execute(f"drop database {NAME} with (force)")
            known = False
    begun = time.monotonic()
    database.init(dsn)
    if not known:
        fill(dsn, given.sources)
        print(f"filled in {time.monotonic() - begun:.0f} s")
    memory: list[int] = []
    begun = time.monotonic()
    for verdict in check_deep(dsn, report=lambda *_: backend_peak(dsn, memory)):
        print(f"{verdict.invariant.name:24} {verdict.n_found:8} {verdict.seconds:7.1f} s", *verdict.examples[:2])
    print(
        f"{time.monotonic() - begun:.0f} s; memory of its session after a piece, at most: {max(memory, default=0)} MB"
    )
    if not given.keep:
        with psycopg.connect(maintenance, autocommit=True) as connection:
            connection.execute(f"drop database {NAME} with (force)")


if __name__ == "__main__":
    main()
