"""Packets that say little: what transports are tested with.  Nothing here comes from the database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from l1db.alert.avro import schema_id, schema_name
from l1db.alert.transports import Destination, Outcome, Packet, Sender

DATABASE = "2b6d9a1e-9a63-4b4e-8f0e-0c2f5d4c7a11"
AUTHORITY = "ivo://org.l1db.test"


def event(i: int, *, stream: str = "alerts", snr: float = 10, padding: int = 0, **values: Any) -> Packet:
    """A VOEvent that Comet takes; ``padding`` makes it that many bytes longer."""
    ivorn = f"{AUTHORITY}/{stream}#{i}"
    content = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<voe:VOEvent xmlns:voe="http://www.ivoa.net/xml/VOEvent/v2.0" version="2.0" role="test" '
        f'ivorn="{ivorn}"><Who><AuthorIVORN>{AUTHORITY}</AuthorIVORN><Date>2026-01-01T00:00:00</Date></Who>'
        f'<What><Param name="snr" value="{snr}" unit="" ucd="stat.snr"/></What>'
        f"<Description>{'x' * padding}</Description></voe:VOEvent>"
    ).encode()
    return replace(_packet(i, snr, ivorn), format="voevent", content=content, **values)


def avro(i: int, content: bytes = b"", *, format: str = "lsst-11.1", **values: Any) -> Packet:
    """A framed packet of a schema that it does not keep to: whoever passes it on must not care."""
    name, number = schema_name(format), schema_id(format)
    framed = b"\0" + number.to_bytes(4, "big") + (content or f"record {i}".encode())
    packet = _packet(i, 10, f"{AUTHORITY}/alerts#{i}")
    return replace(packet, format=format, schema=name, schema_id=number, content=framed, **values)


def _packet(i: int, snr: float, ivorn: str) -> Packet:
    return Packet(
        alert_id=i,
        kind="detection",
        dia_source_id=10**15 + i,
        dia_object_id=10**17 + i,
        ss_object_id=None,
        visit=42,
        detector=i % 3,
        band="r",
        midpoint_mjd_tai=61000.1,
        ra=12.3456789 + i / 1000,
        dec=-3.2,
        psf_flux=1234.5,
        snr=snr,
        day_obs="2026-01-01",
        key=f"{DATABASE}/{i}",
        ivorn=ivorn,
        format="voevent",
        schema=None,
        schema_id=None,
        content=b"",
    )


def destination(kind: str, format: str = "voevent", name: str = "there", **settings: Any) -> Destination:
    """A destination."""
    return Destination(name, kind, format, settings)


def sent(sender: Sender, packets: Iterable[Packet], batch_id: int = 1) -> dict[int, Outcome]:
    """Send, and the outcomes by alert; each has one, or `Sender.send` raises."""
    given = list(packets)
    outcomes = list(sender.send(given, batch_id))
    by_alert = {outcome.alert_id: outcome for outcome in outcomes}
    assert len(by_alert) == len(outcomes) == len(given)
    return by_alert


def states(outcomes: dict[int, Outcome]) -> list[str]:
    """The states, in order of alerts."""
    return [outcomes[i].state for i in sorted(outcomes)]
