"""VTP 2.0 (IVOA Recommendation, 2017-03-20): the author of VOEvents, to any broker.

Each event is a connection of its own: four bytes of length, the XML, and as answer a Transport element whose role is
``ack`` or ``nak``.  A broker remembers what it has seen, and says so: after an answer that was lost, that is as good
as an ``ack``.  A broker that dislikes a message may also hang up without a word (Comet does, if it is too long or no
XML).
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lxml import etree

from l1db.alert.transports import Destination, Outcome, Packet, UnreachableError, as_line
from l1db.alert.transports.lanes import Lanes
from l1db.alert.transports.settings import HOST, TIMEOUT, connections, port, read

FORMATS = ("voevent",)
SETTINGS = {"host": HOST, "port": port(8098), "connections": connections(4), "timeout_s": TIMEOUT}

MAX_BYTES = 99_999
"""Longest event: what Comet takes, and many others, whose length limit is Twisted's."""
_MAX_REPLY = 100_000
_NAMESPACE = "http://www.telescope-networks.org/xml/Transport/v1.1"
_PATIENCE_OF_PROBE = 5.0  # seconds


class Vtp:
    """An author to one broker."""

    batch_size = 500
    interval_s = 0.0

    def __init__(self, destination: Destination) -> None:
        values = read(destination, SETTINGS)
        self._host, self._port, self._timeout = values["host"], values["port"], values["timeout_s"]
        self._lanes = Lanes(values["connections"], f"VOEvent broker {self._host}:{self._port}", self._attempt)

    def send(self, packets: Sequence[Packet], batch_id: int) -> Iterator[Outcome]:
        """As `Sender.send`."""
        return self._lanes.send(packets)

    def interrupt(self) -> None:
        """As `Sender.interrupt`."""
        self._lanes.interrupt()

    def close(self) -> None:
        """There is nothing to let go of: no connection outlives its event."""

    def _attempt(self, lane: int, packet: Packet) -> Outcome:
        n_bytes = len(packet.content)
        if n_bytes > MAX_BYTES:
            return Outcome(packet.alert_id, "refused", f"{n_bytes} bytes are too long for VTP ({MAX_BYTES} at most)")
        try:
            reply = _exchange(self._host, self._port, packet.content, self._timeout)
        except _NoAnswerError as error:
            return Outcome(packet.alert_id, "failed", str(error))
        if reply.role == "ack":
            return Outcome(packet.alert_id, "delivered")
        if reply.role != "nak":
            return Outcome(packet.alert_id, "failed", _misdirected(reply))
        if "reviously seen" in reply.reason:
            return Outcome(packet.alert_id, "delivered", f"the broker had it already: {reply.reason}")
        return Outcome(packet.alert_id, "refused", reply.reason or "nak without a reason")


def check(destination: Destination) -> None:
    """Nothing beyond what `SETTINGS` say."""


def probe(destination: Destination) -> str:
    """Connect and say ``iamalive``, which is no event: a broker answers it or hangs up, a hanging one does neither."""
    values = read(destination, SETTINGS)
    host, port_, patience = values["host"], values["port"], min(values["timeout_s"], _PATIENCE_OF_PROBE)
    where = f"{host}:{port_}"
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    alive = (
        f'<trn:Transport xmlns:trn="{_NAMESPACE}" version="1.0" role="iamalive">'
        f"<Origin>ivo://l1db/probe</Origin><TimeStamp>{now}</TimeStamp></trn:Transport>"
    )
    try:
        reply = _exchange(host, port_, alive.encode(), patience)
    except _HungUpError:
        return f"{where} accepts connections, and hangs up on what is no VOEvent, as brokers do"
    except _NoAnswerError as error:
        raise UnreachableError(f"VOEvent broker {where}: {error}") from None
    if reply.role == "authenticate":
        raise UnreachableError(f"VOEvent broker {where}: {_misdirected(reply)}")
    return f"{where} answers {reply.role}" + (f" as {reply.broker}" if reply.broker else "")


@dataclass(frozen=True)
class _Reply:
    """A Transport element."""

    role: str
    reason: str
    broker: str


class _NoAnswerError(Exception):
    """There was a connection, but no answer in the sense of the protocol."""


class _HungUpError(_NoAnswerError):
    """The peer closed the connection without a word."""


def _exchange(host: str, port: int, message: bytes, timeout: float) -> _Reply:
    """Send one message and get the answer, all within ``timeout`` seconds.  The name is resolved anew each time."""
    deadline = time.monotonic() + timeout
    try:
        connection = socket.create_connection((host, port), timeout)
    except (OSError, UnicodeError) as error:
        raise UnreachableError(f"VOEvent broker {host}:{port}: {as_line(error)}") from None
    with connection:
        try:
            connection.settimeout(_left(deadline))
            connection.sendall(struct.pack(">I", len(message)) + message)
            (length,) = struct.unpack(">I", _receive(connection, 4, deadline))
            if length > _MAX_REPLY:
                raise _NoAnswerError("the answer is not VTP: is this the port of a VOEvent broker?")
            return _parse(_receive(connection, length, deadline))
        except TimeoutError:
            raise _NoAnswerError(f"no answer within {timeout:g} s") from None
        except OSError as error:
            raise _HungUpError(f"hung up without an answer: {as_line(error)}") from None


def _receive(connection: socket.socket, n_bytes: int, deadline: float) -> bytes:
    parts = []
    while n_bytes:
        connection.settimeout(_left(deadline))
        part = connection.recv(n_bytes)
        if not part:
            raise _HungUpError("hung up without an answer")
        parts.append(part)
        n_bytes -= len(part)
    return b"".join(parts)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _parse(message: bytes) -> _Reply:
    # The peer may be anybody: no entities, no DTD, nothing fetched.
    parser = etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False)
    try:
        root = etree.fromstring(message, parser)
    except etree.XMLSyntaxError:
        root = None
    if root is None or etree.QName(root).localname != "Transport":
        raise _NoAnswerError("the answer is not VTP: is this the port of a VOEvent broker?")
    texts = {etree.QName(element).localname: as_line(element.text or "") for element in root.iter(etree.Element)}
    return _Reply(root.get("role", ""), texts.get("Result", ""), texts.get("Response", ""))


def _misdirected(reply: _Reply) -> str:
    if reply.role == "authenticate":
        return "this is the broker's port for subscribers; that for authors is another one, usually 8098"
    return f"answers {reply.role or 'nothing known'}, where ack or nak was due"
