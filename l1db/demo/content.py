"""What is in the database after the demo: a light curve, an object's versions, nights, and queries to try."""

from __future__ import annotations

import shlex
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from rich.console import Console

from l1db import settings
from l1db.cli import terminal
from l1db.connection import connect
from l1db.demo.plot import plot


def show_content(dsn: str, configured: str, console: Console) -> None:
    """Show the object with the most sources, the last nights, and how to ask for more than that.

    ``configured`` is the database that other commands open.
    """
    with connect(dsn, application_name="l1db demo") as connection:
        row = connection.execute(
            "select dia_object_id, ra, dec, n_dia_sources from dia_object "
            "order by n_dia_sources desc, dia_object_id limit 1"
        ).fetchone()
        if row is not None:
            number, ra, dec, n = row
            _show_light_curve(connection, console, number, f"ra {ra:.6f}  dec {dec:+.6f}  {n} sources")
            _show_versions(connection, console, number)
        _show_nights(connection, console)
    if row is not None:
        _show_queries(dsn, configured, console, number, ra, dec)


def _show_light_curve(connection: psycopg.Connection[Any], console: Console, number: int, about: str) -> None:
    console.print()
    console.rule(f"Light curve of DiaObject {number}")
    curve = connection.execute(
        "select midpoint_mjd_tai, psf_flux, band from light_curve(%s) where not is_forced", (number,)
    ).fetchall()
    console.print(f"{about}; psf_flux in nJy against MJD TAI", soft_wrap=True)
    for line in plot(curve):
        console.print(line, soft_wrap=True, markup=False)
    console.print("(a point is the letter of its band; a * is where points of several bands meet)")


def _show_versions(connection: psycopg.Connection[Any], console: Console, number: int) -> None:
    console.print()
    console.rule("Its versions: what was known when (errors in arcsec)")
    versions = connection.execute(
        """select to_char(validity_start, 'HH24:MI:SS.US'), coalesce(to_char(validity_end, 'HH24:MI:SS.US'), 'current'),
                  n_dia_sources, round(ra::numeric, 6), round(dec::numeric, 6),
                  round((ra_err * 3600)::numeric, 3), round((dec_err * 3600)::numeric, 3)
             from dia_object_version
            where dia_object_id = %s
            order by validity_start""",
        (number,),
    ).fetchall()
    headers = ("valid from", "until", "sources", "ra", "dec", "ra_err", "dec_err")
    console.print(terminal.table(headers, versions if len(versions) <= 9 else versions[:4] + versions[-4:]))
    if len(versions) > 9:
        console.print(f"(the first and the last 4 of {len(versions)})")


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
    reasons = dict(
        connection.execute(
            "select no_object_reason, count(*) from dia_source where no_object_reason is not null group by 1 order by 1"
        ).fetchall()
    )
    if twice := reasons.pop("duplicate_in_visit", 0):
        console.print(
            f"(without object: {twice} sources are the second of a thing that was seen twice in one visit, where "
            "detectors overlap; both are stored, and the object counts one)"
        )
    for reason, n in reasons.items():
        console.print(f"(without object: {n} sources, {reason.replace('_', ' ')})")


def _show_queries(dsn: str, configured: str, console: Console, number: int, ra: float, dec: float) -> None:
    public = make_conninfo("", **{k: v for k, v in settings.parameters(dsn).items() if k != "password"})
    command = f"psql {shlex.quote(public)}"
    console.print()
    name = settings.parameters(dsn).get("dbname")
    console.rule("Try it")
    console.print(f"These data are in database {name}; `make psql` and `l1db psql` open {configured} instead.")
    for query in (
        f"select * from cone_search({ra:.4f}, {dec:.4f}, 60) order by separation",
        f"select * from light_curve({number})",
        "select dia_object_id, count(*) as versions from dia_object_version group by 1 order by 2 desc limit 5",
    ):
        console.print(f'{command} -c "{query}"', soft_wrap=True, markup=False)
