"""``l1db status``: what the database holds, and whether anything waits for somebody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

from l1db.cli import terminal
from l1db.connection import connect

_SURVEY = "select s.name, s.profile, s.survey_version from l1_api.current_survey() s"

_LEDGER = """
    select count(distinct d.visit) filter (where d.withdrawn_at is null),
           max(v.day_obs) filter (where d.withdrawn_at is null),
           count(*) filter (where d.withdrawn_at is null),
           count(*) filter (where d.withdrawn_at is null and d.n_sources = 0),
           coalesce(sum(d.n_sources - d.n_withdrawn) filter (where d.withdrawn_at is null), 0),
           coalesce(sum(d.n_without_object) filter (where d.withdrawn_at is null), 0),
           coalesce(sum(d.n_alerts) filter (where d.withdrawn_at is null
                                               or not exists (select
                                                                from l1.visit_detector again
                                                               where again.visit = d.visit
                                                                 and again.detector = d.detector
                                                                 and again.attempt > d.attempt
                                                                 and again.time_processed = d.time_processed)), 0),
           coalesce(sum(d.n_forced) filter (where d.withdrawn_at is null), 0),
           max(d.time_processed)
      from l1.visit_detector d
      join l1.visit v on v.visit = d.visit
"""

# Exact while that is quick; beyond a million as the planner knows it.
_OBJECTS = """
    select case when c.reltuples < 1e6 then (select count(*) from l1.dia_object) else c.reltuples::bigint end,
           c.reltuples >= 1e6
      from pg_class c
     where c.oid = 'l1.dia_object'::regclass
"""

# The breaker leaves a detector without new objects and with more sources without object than the rule allows.
_STOPPED = """
    select d.visit, d.detector, d.n_sources
      from l1.visit_detector d
      join l1.survey s on s.survey_version = d.survey_version
      join l1.visit v on v.visit = d.visit
     where d.withdrawn_at is null
       and d.n_new_objects = 0
       and d.n_without_object > s.max_new_objects
       and exists (select
                     from l1.dia_source x
                    where x.visit = d.visit
                      and x.detector = d.detector
                      and x.no_object_reason = 'breaker'
                      and x.midpoint_mjd_tai between v.midpoint_mjd_tai - 1 and v.midpoint_mjd_tai + 1)
     order by d.visit, d.detector
"""

_WAITING = """
    select t.reason, count(*)
      from l1.precovery_task t
     group by t.reason
     order by t.reason
"""

_DUE = """
    select (select count(*) from l1.dia_object_band b where b.daily_ndata is distinct from b.psf_flux_ndata),
           (select count(*) from l1.dia_object o where o.motion_is_due)
"""

_CORRECTIONS = "select count(*), max(c.stamp) from l1.correction c"

_TROUBLE = """
    select d.visit, d.detector, d.image_trouble
      from l1.visit_detector d
     where d.withdrawn_at is null
       and d.image_trouble is not null
     order by d.visit, d.detector
"""

_CONSUMERS = """
    select c.consumer, c.waiting_alerts, c.open_alerts, c.open_batches, least(c.oldest_waiting, c.oldest_open)
      from l1_api.consumer_status c
     order by c.consumer
"""

_SIZES = """
    select c.relname, sum(pg_total_relation_size(t.relid))::bigint
      from pg_class c
     cross join pg_partition_tree(c.oid) t
     where c.relnamespace = 'l1'::regnamespace and c.relkind = 'p'
     group by c.relname
    union all
    select c.relname, pg_total_relation_size(c.oid)
      from pg_class c
     where c.relnamespace = 'l1'::regnamespace and c.relkind = 'r' and not c.relispartition
     order by 2 desc
     limit 5
"""

_DESTINATIONS = """
    select count(*) filter (where d.is_enabled),
           count(*) filter (where not d.is_enabled),
           (select count(*) from l1.delivery y where y.next_at is not null),
           string_agg(d.destination || ': ' || d.trouble, '; ' order by d.destination)
      from l1.destination d
     where d.removed_at is null
"""


def status() -> None:
    """What is stored, how far the consumers of alerts are, and what waits for somebody."""
    with connect(application_name="l1db status") as connection:
        name, profile, number = _row(connection, _SURVEY)
        visits, night, detectors, empty, sources, orphans, alerts, forced, last = _row(connection, _LEDGER)
        objects, estimated = _row(connection, _OBJECTS)
        (queue,) = _row(connection, "select pg_notification_queue_usage()")
        (size,) = _row(connection, "select pg_database_size(current_database())")
        stopped = connection.execute(_STOPPED).fetchall()
        curves, motions = _row(connection, _DUE)
        corrections, corrected = _row(connection, _CORRECTIONS)
        waiting = dict(connection.execute(_WAITING).fetchall())
        trouble = connection.execute(_TROUBLE).fetchall()
        consumers = connection.execute(_CONSUMERS).fetchall()
        published = _row(connection, _DESTINATIONS)
        sizes = connection.execute(_SIZES).fetchall()
        database = connection.info.dbname

    lines = [
        ("database", f"{database}, {_bytes(size)}"),
        ("", ", ".join(f"{table} {_bytes(n)}" for table, n in sizes)),
        ("survey", f"{name}, profile {profile}, version {number}"),
        ("visits", f"{visits}" + (f", the last night {night}" if night else "")),
        ("detectors", f"{detectors}, {empty} of them empty" + (f"; last stored {last:%Y-%m-%d %H:%M:%S %Z}" if last
                                                               else "")),
        ("sources", f"{sources}, {orphans} of them without object"),
        ("objects", f"{'about ' if estimated else ''}{objects}"),
        ("alerts", f"{alerts}"),
        ("published", _published(*published)),
        ("doorbell", f"notification queue {100 * queue:.1f} % full"
                     + (": a listener does not read; look for sessions idle in transaction" if queue > 0.1 else "")),
        ("forced", f"{terminal.count(forced, 'row')}; " + _waiting(waiting)),
        ("images", "measured wherever they came" if not trouble else
                   f"not measured on {terminal.count(len(trouble), 'detector')}: mend, then `l1db ingest --replace`"),
        ("breaker", f"stopped {terminal.count(len(stopped), 'detector')}: look, then `l1db ingest --release`" if stopped
                    else "stopped no detector"),
        ("by day", f"{terminal.count(curves, 'light curve')} and {terminal.count(motions, 'motion')} due"
                   + (": `l1db maintain`" if curves or motions else "")),
        ("corrected", terminal.count(corrections, "time") + (f"; last {corrected:%Y-%m-%d %H:%M:%S %Z}" if corrected
                                                             else "")),
    ]  # fmt: skip
    console = terminal.output()
    for label, text in lines:
        console.print(f"{label:<10} {text}", soft_wrap=True, markup=False)
    if stopped:
        console.print(terminal.table(("visit", "detector", "sources"), stopped[:20], "stopped by the breaker"))
    if trouble:
        console.print(terminal.table(("visit", "detector", "why"), trouble[:20], "images not measured", prose="why"))
    if consumers:
        rows = [(c, waiting, open_, batches, f"{oldest:%Y-%m-%d %H:%M:%S}" if oldest else "")
                for c, waiting, open_, batches, oldest in consumers]  # fmt: skip
        console.print(terminal.table(("consumer", "waiting", "handed out", "in batches", "oldest"), rows))
    else:
        console.print("consumers  none; add one with `l1db listen NAME --start now`", soft_wrap=True)


def _published(enabled: int, disabled: int, failed: int, trouble: str | None) -> str:
    """Where alerts go, and what is wrong there."""
    if not enabled and not disabled:
        return "to no destination"
    told = f"to {terminal.count(enabled, 'destination')}" + (f", {disabled} disabled" if disabled else "")
    told += f"; {terminal.count(failed, 'delivery', 'deliveries')} to be tried again" if failed else ""
    return f"{told}; {trouble}" if trouble else told


def _waiting(tasks: Mapping[str, int]) -> str:
    """Forced measurements that could not be made, by what was missing."""
    if not tasks:
        return "no measurement waits"
    n = sum(tasks.values())
    reasons = ", ".join(f"{number} {reason}" for reason, number in tasks.items())
    return f"{terminal.count(n, 'measurement')} {'waits' if n == 1 else 'wait'} in precovery_task ({reasons})"


def _row(connection: psycopg.Connection[Any], query: str) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None
    return tuple(row)


def _bytes(n: int) -> str:
    size = float(n)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
