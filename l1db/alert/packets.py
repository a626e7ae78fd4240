"""Packets of alerts, built from what alerts say, and held against what the first build of each produced."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import psycopg

from l1db.alert import avro, voevent, voevent_columns
from l1db.alert.content import Content
from l1db.alert.cut import compress, cut_out, zipped
from l1db.alert.cutouts import Archive
from l1db.alert.read import read_content
from l1db.alert.transports import Packet


@dataclass(frozen=True)
class Built:
    """Packets, and the alerts whose packet is not the one that was built first: these must not be sent."""

    packets: tuple[Packet, ...]
    differing: frozenset[int]


def build(connection: psycopg.Connection[Any], alert_ids: Sequence[int], form: str, archive: Archive) -> Built:
    """Build the packets of alerts, for the first time or again.

    What the first build decides is kept for ever: the cutouts, the version of the schema, the hash.

    Parameters
    ----------
    connection
        Of a login that may publish; not inside a transaction.
    alert_ids
        The alerts, none twice.
    form
        One of `l1db.alert.transports.FORMATS`.
    archive
        Of cutouts.

    Returns
    -------
    Built
        Packets in the order of ``alert_ids``.

    Raises
    ------
    InputError
        If there is no such alert.
    ArchiveError
        If the archive cannot be used.
    """
    cut_out(connection, alert_ids, archive)
    if form == "voevent":
        compress(connection, alert_ids, archive)
    recorded = {
        alert_id: version
        for alert_id, version, _ in _recorded(connection, alert_ids, form)
    }  # fmt: skip
    newest = schema_version(form)
    by_version: dict[str, list[int]] = {}
    for alert_id in alert_ids:
        by_version.setdefault(recorded.get(alert_id, newest), []).append(alert_id)
    packets: dict[int, Packet] = {}
    differing: set[int] = set()
    for version, members in by_version.items():
        content = read_content(connection, members, archive, compressed=form == "voevent")
        made = assemble(content, form, version)
        packets |= {packet.alert_id: packet for packet in made}
        differing |= _keep(connection, made, form, version)
    return Built(tuple(packets[alert_id] for alert_id in alert_ids), frozenset(differing))


def regenerate(
    connection: psycopg.Connection[Any], alert_id: int, form: str, archive: Archive
) -> tuple[Packet, bytes | None]:
    """Build one packet again, changing nothing; and the hash of its first build, None if there was none.

    Without a first build the packet is what that would make if it found no images: cutouts are cut then.

    Raises
    ------
    InputError
        If there is no such alert.
    ArchiveError
        If the archive does not have its cutouts.
    """
    recorded = _recorded(connection, [alert_id], form)
    version, sha256 = (recorded[0][1], recorded[0][2]) if recorded else (schema_version(form), None)
    content = read_content(connection, [alert_id], archive, compressed=form == "voevent")
    if form == "voevent" and sha256 is None:
        given, spelled = content.cutouts[0], content.compressed[0]
        content = replace(content, compressed=[{kind: spelled.get(kind) or zipped(given[kind]) for kind in given}])
    return assemble(content, form, version)[0], sha256


def schema_version(form: str) -> str:
    """The version of a format's schema that new packets are built by."""
    return voevent_columns.VERSION if form == "voevent" else avro.schema_version(form)


def assemble(content: Content, form: str, version: str) -> list[Packet]:
    """Packets of one format and version, a packet for each alert of the content."""
    if form == "voevent":
        contents = voevent.build(content, version=version)
        schema = schema_id = None
    else:
        contents = avro.build(content, f"{form.partition('-')[0]}-{version}")
        schema, schema_id = avro.schema_name(form, version), avro.schema_id(form, version)
    alerts, sources, images = content.alert, content.source, content.image
    made = []
    for i, packet in enumerate(contents):
        alert, source = alerts.row(i), _trigger(sources, i)
        made.append(
            Packet(
                alert_id=alert["alert_id"],
                kind=alert["kind"],
                dia_source_id=alert["dia_source_id"],
                dia_object_id=alert["dia_object_id"],
                ss_object_id=alert["ss_object_id"],
                visit=alert["visit"],
                detector=alert["detector"],
                midpoint_mjd_tai=alert["midpoint_mjd_tai"],
                day_obs=images["day_obs"].values[i] or _night(alert["midpoint_mjd_tai"]),
                key=f"{alert['database_id']}/{alert['alert_id']}",
                ivorn=voevent.ivorn(alert["ivo_authority"], alert["alert_id"], alert["database_id"]),
                format=form,
                schema=schema,
                schema_id=schema_id,
                content=packet,
                **source,
            )
        )
    return made


def _night(midpoint_mjd_tai: float) -> str:
    """The night of an alert that was issued before images were described with alerts; by the usual offset."""
    return str(date(1858, 11, 17) + timedelta(days=math.floor(midpoint_mjd_tai - 0.5)))


def _trigger(sources: Any, i: int) -> dict[str, Any]:
    """What a transport may want to know of the triggering DiaSource."""
    found = {}
    for name in ("band", "ra", "dec", "psf_flux", "snr"):
        column = sources[name]
        value = column.values[i] if column.present[i] else None
        found[name] = value if value is None or isinstance(value, str) else float(value)
    return found


def _recorded(connection: psycopg.Connection[Any], alert_ids: Sequence[int], form: str) -> list[tuple[int, str, bytes]]:
    return connection.execute(
        "select p.alert_id, p.schema_version, p.sha256 from l1.alert_packet p"
        " where p.alert_id = any (%s) and p.format = %s",
        (list(alert_ids), form),
        binary=True,
    ).fetchall()


def _keep(connection: psycopg.Connection[Any], packets: Sequence[Packet], form: str, version: str) -> set[int]:
    rows = connection.execute(
        "select l1_api.keep_packets(%s::bigint[], %s, %s, %s::bytea[], %s::integer[])",
        (
            [packet.alert_id for packet in packets],
            form,
            version,
            [hashlib.sha256(packet.content).digest() for packet in packets],
            [len(packet.content) for packet in packets],
        ),
    ).fetchall()
    return {alert_id for (alert_id,) in rows}
