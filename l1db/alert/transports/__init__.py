"""Where packets go.

A transport is a module with a class that keeps the protocol of `Sender`.  It neither reads the database nor decides
when to try again: it says what became of each packet, or that the peer cannot be reached at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from l1db.errors import L1dbError

KINDS = ("vtp", "kafka", "webhook", "email", "file")
FORMATS = ("lsst-11.1", "l1db", "voevent")

State = Literal["delivered", "refused", "failed"]


class UnreachableError(L1dbError):
    """The peer is down, hangs, or its name or port is wrong: nothing can be delivered for the present."""


@dataclass(frozen=True)
class Destination:
    """A row of ``l1.destination``.

    Parameters
    ----------
    name
        Its name, fit for a file name.
    kind
        One of `KINDS`.
    format
        One of `FORMATS`.
    settings
        What its transport needs to know.  Secrets are named, never told: the value of a setting that ends in ``_env``
        is the name of an environment variable.
    """

    name: str
    kind: str
    format: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Packet:
    """One alert, ready to go.

    Parameters
    ----------
    alert_id, kind, dia_source_id, dia_object_id, ss_object_id, visit, detector, band, midpoint_mjd_tai, ra, dec
        The alert; position of the triggering DiaSource in degrees.
    psf_flux, snr
        Of the trigger [nJy]; None where unknown.
    day_obs
        Night of the visit, YYYY-MM-DD.
    key
        Identity of the alert for whoever must tell a repetition: ``<database_id>/<alert_id>``.
    ivorn
        The name of its VOEvent.
    format
        One of `FORMATS`.
    schema
        Full name of its schema, as ``l1db.v1_0.alert``; None for VOEvent.
    schema_id
        Number of the schema in the framing; None for VOEvent.
    content
        The bytes as they travel: Avro with Confluent's framing, or XML.
    """

    alert_id: int
    kind: str
    dia_source_id: int
    dia_object_id: int | None
    ss_object_id: int | None
    visit: int
    detector: int
    band: str
    midpoint_mjd_tai: float
    ra: float
    dec: float
    psf_flux: float | None
    snr: float | None
    day_obs: str
    key: str
    ivorn: str
    format: str
    schema: str | None
    schema_id: int | None
    content: bytes


@dataclass(frozen=True)
class Outcome:
    """What became of one packet.

    ``delivered``: the peer has it.  ``refused``: the peer will never take it, for the reason in ``detail``.
    ``failed``: it may take it another time.  ``detail`` is one line.
    """

    alert_id: int
    state: State
    detail: str | None = None


def as_line(text: object) -> str:
    """What a peer said, or an error, as one line that fits a ledger."""
    if isinstance(text, OSError) and text.strerror:
        text = text.strerror
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= 300 else line[:297] + "..."


class Sender(Protocol):
    """A connection, or several, to one destination; used by one thread at a time."""

    batch_size: int
    """Most packets that `send` is given at once."""

    interval_s: float
    """Seconds to wait between two batches, so that more comes together; 0: as they come."""

    def send(self, packets: Sequence[Packet], batch_id: int) -> Iterator[Outcome]:
        """Send packets, and say what became of each as soon as it is known, each once, in any order.

        Packets of one DiaObject arrive in the order given, unless one fails.  ``batch_id`` names this set of alerts for
        ever: if it comes again, it is a repetition.

        Raises
        ------
        UnreachableError
            If the peer cannot be reached; packets without outcome were not delivered, as far as is known.
        """
        ...

    def interrupt(self) -> None:
        """Begin no further packet: `send`, which is under way, ends when those that are begun have their outcome."""
        ...

    def close(self) -> None:
        """Let go of connections.  Packets that were told delivered are."""
        ...
