"""``l1db alert``: the archive of alerts, by id, place and time; any of them again, byte for byte."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer

from l1db import settings
from l1db.cli import terminal
from l1db.connection import connect
from l1db.errors import InputError, L1dbError, SettingsError

app = typer.Typer(
    help="Alerts that were issued: show one as it went out, find them, print schemas.", no_args_is_help=True
)

_FORMATS = {"avro": "l1db", "json": "l1db", "l1db": "l1db", "lsst-11.1": "lsst-11.1", "voevent": "voevent"}
# 64-bit identifiers, which JSON readers that know only floating point would round.
_IDS = ("Id", "visit")


@app.command()
def show(
    number: Annotated[int, typer.Argument(metavar="ID", help="alert_id or dia_source_id.")],
    form: Annotated[
        str, typer.Option("--format", help="text, json, voevent, avro (l1db's schema) or lsst-11.1.")
    ] = "text",
    cutouts: Annotated[
        Path | None, typer.Option("--cutouts", metavar="DIR", help="Write its cutouts there, as FITS files.")
    ] = None,
    regenerate: Annotated[
        bool, typer.Option("--regenerate", help="Build its packets again, and compare with those built first.")
    ] = False,
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Write it there.")] = None,
) -> None:
    """Show an alert: what it said when it was issued, whatever has become of its object since."""
    from l1db.alert.cutouts import Archive
    from l1db.alert.packets import regenerate as build_again

    if form not in ("text", *_FORMATS):
        raise InputError(f"{form} is no format: text, {', '.join(_FORMATS)}")
    if regenerate and (output is not None or cutouts is not None):
        raise InputError("--regenerate compares and writes nothing: leave out --output and --cutouts")
    with connect(application_name="l1db alert") as connection:
        alert_id = _alert_id(connection, number)
        if regenerate:
            if not _compare(connection, alert_id, Archive()):
                raise typer.Exit(1)
            return
        if cutouts is not None:
            _write_cutouts(connection, alert_id, Archive(), cutouts)
        if form == "text":
            told = _text(connection, alert_id).encode()
        else:
            packet, first = build_again(connection, alert_id, _FORMATS[form], Archive())
            told = packet.content
            if first is None:
                terminal.remark(
                    f"alert {alert_id}: this packet has not been built yet; what is not cut or not there by then, it "
                    "will never have"
                )
            elif hashlib.sha256(told).digest() != first:
                raise L1dbError(
                    f"alert {alert_id}: this is not the packet that was built first: l1db alert show {alert_id} "
                    "--regenerate compares"
                )
            if form == "json":
                told = _json(told).encode()
    if output is not None:
        output.write_bytes(told)
    elif form in ("avro", "l1db", "lsst-11.1") and sys.stdout.isatty():
        raise InputError(f"a packet of {len(told)} bytes is nothing for a terminal: name --output FILE")
    else:
        sys.stdout.buffer.write(told)
        sys.stdout.flush()


@app.command()
def find(
    at: Annotated[
        tuple[float, float] | None, typer.Option("--at", metavar="RA DEC", help="Near this place, degrees.")
    ] = None,
    radius: Annotated[
        float | None, typer.Option(metavar="ARCSEC", min=0, help="How near to --at; by default 5.", show_default=False)
    ] = None,
    since: Annotated[float | None, typer.Option(metavar="MJD", help="Trigger not before, MJD TAI.")] = None,
    until: Annotated[float | None, typer.Option(metavar="MJD", help="Trigger before, MJD TAI.")] = None,
    dia_object: Annotated[int | None, typer.Option("--object", metavar="DIA_OBJECT_ID", help="Of this object.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most alerts to show, the latest.")] = 100,
) -> None:
    """Find alerts by place, time and object, one line each."""
    ra, dec = at if at is not None else (None, None)
    if ra is not None:
        if not (math.isfinite(ra) and dec is not None and -90 <= dec <= 90):
            raise InputError(f"--at {ra} {dec}: is no place on the sky")
        ra %= 360
    if radius is None:
        radius = 5.0
    elif at is None:
        raise InputError("--radius says how near to --at: name a place, too")
    if not math.isfinite(radius):
        raise InputError(f"--radius {radius}: is not a number of arcseconds")
    with connect(application_name="l1db alert") as connection:
        rows = connection.execute(
            """select a.alert_id, a.kind, a.midpoint_mjd_tai, a.visit, a.detector, a.dia_source_id, a.dia_object_id
                 from l1_api.find_alerts(%s::float8, %s::float8, %s::float8, %s::float8, %s::float8) as a
                where %s::bigint is null or a.dia_object_id = %s
                order by a.midpoint_mjd_tai desc, a.alert_id desc
                limit %s""",
            (ra, dec, radius, since, until, dia_object, dia_object, limit + 1),
        ).fetchall()
    for row in reversed(rows[:limit]):
        print(f"alert {row[0]}  {row[1]}  MJD {row[2]:.6f}  visit {row[3]}  detector {row[4]}  source {row[5]}  "
              f"object {row[6]}")  # fmt: skip
    if len(rows) > limit:
        terminal.remark(f"these are the latest {limit}: --limit shows more")


@app.command()
def schema(
    form: Annotated[str, typer.Option("--format", help="l1db or lsst-11.1.")] = "l1db",
    version: Annotated[str | None, typer.Option(help="Of l1db's; by default the newest.")] = None,
) -> None:
    """Print the Avro schema of packets."""
    from l1db.alert import avro

    if form not in ("l1db", "lsst-11.1"):
        raise InputError(f"{form} has no Avro schema: l1db and lsst-11.1 have")
    print(json.dumps(avro.schema(form, version), indent=2))


def _alert_id(connection: psycopg.Connection[Any], number: int) -> int:
    rows = connection.execute(
        "select alert_id, alert_id = %(n)s, kind from l1.alert"
        " where alert_id = %(n)s or dia_source_id = %(n)s order by alert_id",
        {"n": number},
    ).fetchall()
    if not rows:
        raise InputError(f"there is no alert {number}, nor one of a DiaSource {number}: l1db alert find")
    named, of_source = [row for row in rows if row[1]], [row for row in rows if not row[1]]
    if named and of_source:
        others = ", ".join(str(row[0]) for row in of_source)
        terminal.remark(f"this is alert {number}; of DiaSource {number} are alerts {others}")
    elif len(of_source) > 1:
        others = ", ".join(f"{row[0]} ({row[2]})" for row in of_source[1:])
        terminal.remark(f"of DiaSource {number} there are also alerts {others}")
    return int((named or of_source)[0][0])


def _compare(connection: psycopg.Connection[Any], alert_id: int, archive: Any) -> bool:
    """Build every packet of an alert again that ever was; whether all are as they were."""
    from l1db.alert.packets import regenerate

    built = connection.execute(
        "select format, schema_version, sha256, n_bytes, built_at from l1.alert_packet where alert_id = %s order by 1",
        (alert_id,),
        binary=True,
    ).fetchall()
    if not built:
        print(f"alert {alert_id}: no packet of it has been built yet")
    same = True
    for form, version, sha256, n_bytes, built_at in built:
        packet, _ = regenerate(connection, alert_id, form, archive)
        found = hashlib.sha256(packet.content).digest()
        first = f"first built {built_at.isoformat(timespec='seconds')}"
        if found == sha256:
            print(f"alert {alert_id}: {form} {version}: {n_bytes} bytes, sha256 {sha256.hex()}: the same as {first}")
        else:
            same = False
            print(
                f"alert {alert_id}: {form} {version}: DIFFERS: {len(packet.content)} bytes, sha256 {found.hex()}; "
                f"{first}: {n_bytes} bytes, sha256 {sha256.hex()}"
            )
    return same


def _write_cutouts(connection: psycopg.Connection[Any], alert_id: int, archive: Any, directory: Path) -> None:
    from l1db.alert.read import read_content

    content = read_content(connection, [alert_id], archive)
    directory.mkdir(parents=True, exist_ok=True)
    for kind, file in content.cutouts[0].items():
        path = directory / f"alert-{alert_id}-{kind}.fits"
        path.write_bytes(file)
        terminal.remark(f"{path}: {len(file)} bytes")
    if not content.cutouts[0]:
        terminal.remark(f"alert {alert_id} has no cutouts: l1db alert show {alert_id} says why")


def _text(connection: psycopg.Connection[Any], alert_id: int) -> str:
    """What somebody at a terminal wants to know of an alert."""
    from l1db.alert.read import read_content

    content = read_content(connection, [alert_id])
    alert, source, found = content.alert.row(0), content.source.row(0), content.object.row(0)
    image = content.image.row(0)
    stamp = connection.execute("select stamp from l1.alert where alert_id = %s", (alert_id,)).fetchone()
    lines = [
        f"alert {alert_id}: {alert['kind']}, issued {stamp[0].isoformat() if stamp else ''}",
        f"  survey {alert['survey_name']}, rules {alert['survey_version']}, database {alert['database_id']}",
        f"  visit {alert['visit']}, detector {alert['detector']}, band {source['band']}, "
        f"midpoint MJD {alert['midpoint_mjd_tai']:.6f} TAI",
        f"DiaSource {alert['dia_source_id']}",
        *_columns(source, skip=("dia_source_id", "visit", "detector", "band", "midpoint_mjd_tai", "dia_object_id")),
    ]
    if found["dia_object_id"] is not None:
        lines += [f"DiaObject {alert['dia_object_id']}, the version that its transaction opened",
                  *_columns(found, skip=("dia_object_id",))]  # fmt: skip
    elif alert["dia_object_id"] is not None:
        lines.append(f"DiaObject {alert['dia_object_id']}: retired by its transaction")
    for i in range(len(content.band)):
        row = content.band.row(i)
        lines += [f"  band {row['band']}", *_columns(row, skip=("dia_object_id", "band", "validity_start"), indent=4)]
    lines.append(f"previous DiaSources: {len(content.history)}")
    for i in range(len(content.history)):
        row = content.history.row(i)
        what = "precovery" if row["is_precovery"] else "forced" if row["is_forced"] else "detected"
        flux = (
            "" if row["psf_flux"] is None else f"{row['psf_flux']:12.2f} +- {row['psf_flux_err'] or math.nan:.2f} nJy"
        )
        lines.append(f"  MJD {row['midpoint_mjd_tai']:.6f}  {row['band']}  {flux}  {what}  {row['dia_source_id']}")
    if image["visit"] is not None:
        lines += ["image", *_columns(image, skip=("visit", "detector", "stamp", "wcs", "band", "midpoint_mjd_tai"))]
    lines.append("cutouts")
    cut = connection.execute(
        "select kind, encode(sha256, 'hex'), n_bytes, trouble from l1.cutout"
        " where dia_source_id = %s and encoding = 'fits' order by kind",
        (alert["dia_source_id"],),
    ).fetchall()
    lines += [
        f"  {kind}: {n} bytes, sha256 {sha}" if why is None else f"  {kind}: none: {why}" for kind, sha, n, why in cut
    ]
    lines += [] if cut else ["  not cut yet: they are when its first packet is built"]
    try:
        settings.archive()
    except SettingsError as error:
        lines.append(f"  not to be had from here: {error}")
    built = connection.execute(
        "select p.format, p.schema_version, p.n_bytes from l1.alert_packet p where p.alert_id = %s order by 1",
        (alert_id,),
    ).fetchall()
    lines += ["packets", *(f"  {form} {version}: {n} bytes" for form, version, n in built)] if built else []
    went = connection.execute(
        "select destination, state, n_attempts, last_at, detail from l1.delivery where alert_id = %s order by 1",
        (alert_id,),
    ).fetchall()
    lines += ["deliveries"] if went else []
    lines += [
        f"  {name}: {state} {last.isoformat(timespec='milliseconds')}, attempts {n}" + (f": {detail}" if detail else "")
        for name, state, n, last, detail in went
    ]
    return "\n".join(lines) + "\n"


def _columns(row: dict[str, Any], skip: tuple[str, ...], indent: int = 2) -> list[str]:
    """The columns of a row that have a value, a few to a line."""
    told = [f"{name} {value!s}" for name, value in row.items() if value is not None and name not in skip]
    lines, line = [], ""
    for word in told:
        if line and len(line) + len(word) > 112 - indent:
            lines.append(" " * indent + line)
            line = ""
        line += f"{', ' if line else ''}{word}"
    return [*lines, " " * indent + line] if line else lines


def _json(packet: bytes) -> str:
    """A packet of l1db's schema as JSON: 64-bit ids are strings, cutouts base64, what is not a number null."""
    from l1db.alert import avro

    def plain(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: plain(one, key) for key, one in value.items()}
        if isinstance(value, list):
            return [plain(one, name) for one in value]
        if isinstance(value, bytes):
            return base64.b64encode(value).decode()
        if isinstance(value, datetime):
            return value.isoformat()
        if isinstance(value, float) and not math.isfinite(value):
            return None
        if isinstance(value, int) and not isinstance(value, bool) and name.endswith(_IDS):
            return str(value)
        return value

    return json.dumps(plain(avro.read_packet(packet)), indent=2) + "\n"
