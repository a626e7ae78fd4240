"""What is in the database after the demo: a light curve, an object's versions, nights, and queries to try."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from rich.console import Console
from rich.markup import escape

from l1db import settings
from l1db.cli import terminal
from l1db.connection import connect
from l1db.demo.plot import plot
from l1db.demo.stored import LightCurve, chosen_object, images_of

# The last nights that get a row each.
_NIGHTS = 6


def show_content(dsn: str, configured: str, console: Console, *, picture: Path | None = None) -> None:
    """Show one object, the last nights, and how to ask for more than that.

    Parameters
    ----------
    dsn, configured
        The demo's database; the name of the one that other commands open.
    picture
        PNG to draw the object's light curve and cutouts into; None where there are no images.
    """
    with connect(dsn, application_name="l1db demo") as connection:
        curve = chosen_object(connection)
        if curve is not None:
            _show_light_curve(console, curve)
            if picture is not None:
                _draw_picture(connection, console, curve, picture)
            _show_versions(connection, console, curve.dia_object_id)
        _show_nights(connection, console)
    if curve is not None:
        _show_queries(dsn, configured, console, curve)


def _show_light_curve(console: Console, curve: LightCurve) -> None:
    console.print()
    console.rule(f"Light curve of DiaObject {curve.dia_object_id}")
    forced = f" and {terminal.count(len(curve.forced), 'forced flux', 'forced fluxes')}" if curve.forced else ""
    console.print(
        f"ra {curve.ra:.6f}  dec {curve.dec:+.6f}: {terminal.count(len(curve.detected), 'detection')}{forced}; "
        "psf_flux in nJy against MJD TAI"
    )
    for line in plot(curve.points):
        console.print(line, soft_wrap=True, markup=False)
    small = "; small: forced flux" if curve.forced else ""
    console.print(f"(capital letter: detected in that band{small}; *: several meet)")


def _draw_picture(connection: psycopg.Connection[Any], console: Console, curve: LightCurve, picture: Path) -> None:
    from l1db.demo.picture import write_picture
    from l1db.demo.picture_cutouts import cut_out

    uris = images_of(connection, curve.clearest)
    cutouts = [cut_out(uris[kind], kind, curve.ra, curve.dec) for kind in ("difference", "science", "template")]
    write_picture(curve, cutouts, picture)
    console.print(f"[bold]picture, with cutouts:[/bold] {escape(str(picture))}", soft_wrap=True)


def _show_versions(connection: psycopg.Connection[Any], console: Console, number: int) -> None:
    console.print()
    console.rule("Its versions: what was known when (errors in arcsec)")
    versions = connection.execute(
        """select to_char(validity_start, 'HH24:MI:SS.MS'), coalesce(to_char(validity_end, 'HH24:MI:SS.MS'), 'current'),
                  n_dia_sources, n_forced, round(ra::numeric, 6), round(dec::numeric, 6),
                  round((ra_err * 3600)::numeric, 3), round((dec_err * 3600)::numeric, 3)
             from dia_object_version
            where dia_object_id = %s
            order by validity_start""",
        (number,),
    ).fetchall()
    headers = ("valid from", "until", "seen", "forced", "ra", "dec", "ra_err", "dec_err")
    console.print(terminal.table(headers, versions if len(versions) <= 9 else versions[:4] + versions[-4:]))
    if len(versions) > 9:
        console.print(f"(the first and the last 4 of {len(versions)})")


def _show_nights(connection: psycopg.Connection[Any], console: Console) -> None:
    console.print()
    console.rule("Nights")
    rows = connection.execute(
        """select to_char(day_obs, 'YYYY-MM-DD'), string_agg(band, ' ' order by band), sum(n_visits)::int,
                  sum(n_detectors)::int, sum(n_sources)::int, sum(n_associated)::int, sum(n_new_objects)::int,
                  sum(n_without_object)::int, sum(n_alerts)::int,
                  (count(*) over ())::int
             from night_summary
            group by day_obs
            order by day_obs desc
            limit %s""",
        (_NIGHTS,),
    ).fetchall()
    headers = ("night", "bands", "visits", "detectors", "sources", "known", "new", "no object", "alerts")
    console.print(terminal.table(headers, [row[:-1] for row in rows]))
    if rows and rows[0][-1] > len(rows):
        console.print(f"(the last {len(rows)} of {rows[0][-1]} nights)")
    reasons = dict(
        connection.execute(
            "select no_object_reason, count(*) from dia_source where no_object_reason is not null group by 1 order by 1"
        ).fetchall()
    )
    if twice := reasons.pop("duplicate_in_visit", 0):
        console.print(
            f"(no object: {terminal.count(twice, 'source is', 'sources are')} the second of a thing that was seen "
            "twice in one visit, where detectors overlap; both are stored, and the object counts one)"
        )
    for reason, n in reasons.items():
        console.print(f"(no object: {terminal.count(n, 'source')}, {reason.replace('_', ' ')})")


def _show_queries(dsn: str, configured: str, console: Console, curve: LightCurve) -> None:
    public = make_conninfo("", **{k: v for k, v in settings.parameters(dsn).items() if k != "password"})
    command = f"psql {shlex.quote(public)}"
    console.print()
    name = settings.parameters(dsn).get("dbname")
    console.rule("Try it")
    console.print(f"These data are in database {name}; `make psql` and `l1db psql` open {configured} instead.")
    for query in (
        f"select * from cone_search({curve.ra:.4f}, {curve.dec:.4f}, 10) order by separation",
        f"select * from light_curve({curve.dia_object_id})",
        "select dia_object_id, count(*) as versions from dia_object_version\n      group by 1 order by 2 desc limit 5",
    ):
        # The shell takes it in these lines, too; in one it is longer than a terminal is wide.
        console.print(f'{command} \\\n  -c "{query}"', soft_wrap=True, markup=False)
