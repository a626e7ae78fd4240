"""Webhooks: an HTTP POST per alert, signed.

The body is the packet.  Headers:

=====================  ==============================================================================================
``Content-Type``       ``avro/binary`` (Confluent's framing before the record) or ``application/xml``
``X-L1db-Alert``       id of the alert
``Idempotency-Key``    ``<database_id>/<alert_id>``: an alert that comes again, comes under the same
``X-L1db-Schema``      full name of the Avro schema
``X-L1db-Timestamp``   seconds since 1970 at which this attempt was made
``X-L1db-Signature``   ``sha256=`` and the HMAC-SHA256, in hexadecimal, of timestamp, a full stop and the body, by the
                       secret in the environment variable that ``secret_env`` names; absent where none is set
=====================  ==============================================================================================

Whoever receives it checks the signature over the bytes of the body as they came, compares in constant time, and
refuses old timestamps::

    said = request.headers["X-L1db-Signature"]
    text = request.headers["X-L1db-Timestamp"].encode() + b"." + body
    good = hmac.compare_digest(said, "sha256=" + hmac.new(secret, text, "sha256").hexdigest())
    fresh = abs(time.time() - int(request.headers["X-L1db-Timestamp"])) < 300

2xx: delivered.  408, 425, 429 and 5xx: failed, another time.  So are 401, 403, 404 and 407, which are about the
address or our credentials and not about the alert: mended, the same alert is welcome.  Other 4xx: refused.  A
redirect is refused and not followed: nobody is sent to where the settings do not say.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import re
import ssl
import time
from collections.abc import Iterator, Sequence
from urllib.parse import SplitResult, urlsplit

from l1db.alert.transports import Destination, Outcome, Packet, UnreachableError, as_line
from l1db.alert.transports.lanes import Lanes
from l1db.alert.transports.settings import TIMEOUT, Setting, connections, read, refuse, secret

FORMATS = ("lsst-11.1", "l1db", "voevent")
SETTINGS = {
    "url": Setting("text", required=True),
    "secret_env": Setting("text"),
    "timeout_s": TIMEOUT,
    "connections": connections(2),
    "headers": Setting("map of texts", {}),
    "headers_env": Setting("map of texts", {}),
}

_ANOTHER_TIME = {401, 403, 404, 407, 408, 425, 429}
_MAX_ANSWER = 65_536
_OURS = {
    "content-type", "content-length", "transfer-encoding", "host", "connection", "idempotency-key",
    "x-l1db-alert", "x-l1db-schema", "x-l1db-timestamp", "x-l1db-signature",
}  # fmt: skip
_SECRET = re.compile("authorization|cookie|token|secret|password|api-?key", re.IGNORECASE)


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """The value of ``X-L1db-Signature``."""
    return "sha256=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class Webhook:
    """Connections to one URL, kept alive between alerts and batches."""

    batch_size = 500
    interval_s = 0.0

    def __init__(self, destination: Destination) -> None:
        values = read(destination, SETTINGS)
        self._url = urlsplit(values["url"])
        self._timeout = values["timeout_s"]
        self._secret = _secret(destination, values["secret_env"])
        self._headers = _headers(destination)
        # Longest first: one may be part of another.
        told = [*(self._headers[name] for name in values["headers_env"]), (self._secret or b"").decode()]
        parts = {part for text in told for part in (text, *text.split()) if len(part) >= 6}
        self._hushed = sorted(parts, key=len, reverse=True)
        self._connections: list[http.client.HTTPConnection | None] = [None] * values["connections"]
        self._lanes = Lanes(values["connections"], f"webhook {self._url.netloc}", self._attempt)

    def send(self, packets: Sequence[Packet], batch_id: int) -> Iterator[Outcome]:
        """As `Sender.send`."""
        return self._lanes.send(packets)

    def interrupt(self) -> None:
        """As `Sender.interrupt`."""
        self._lanes.interrupt()

    def close(self) -> None:
        """Let go of the connections."""
        for lane in range(len(self._connections)):
            self._drop(lane)

    def _attempt(self, lane: int, packet: Packet) -> Outcome:
        timestamp = str(int(time.time()))
        headers = self._headers | {
            "Content-Type": "application/xml" if packet.format == "voevent" else "avro/binary",
            "X-L1db-Alert": str(packet.alert_id),
            "Idempotency-Key": packet.key,
            "X-L1db-Timestamp": timestamp,
        }
        if packet.schema is not None:
            headers["X-L1db-Schema"] = packet.schema
        if self._secret is not None:
            headers["X-L1db-Signature"] = signature(self._secret, timestamp, packet.content)
        try:
            status, answer, location = self._post(lane, packet.content, headers)
        except TimeoutError:
            return Outcome(packet.alert_id, "failed", f"no answer within {self._timeout:g} s")
        except (OSError, http.client.HTTPException) as error:
            return Outcome(packet.alert_id, "failed", f"no answer: {as_line(error) or type(error).__name__}")
        said = f"HTTP {status}" + (f": {answer}" if answer else "")
        if 200 <= status < 300:
            return Outcome(packet.alert_id, "delivered")
        if 300 <= status < 400:
            where = as_line(location or "elsewhere")
            return Outcome(
                packet.alert_id, "refused", f"HTTP {status}, moved to {where}: set the url to where it is now"
            )
        if status >= 500 or status in _ANOTHER_TIME:
            return Outcome(packet.alert_id, "failed", said)
        return Outcome(packet.alert_id, "refused", said)

    def _post(self, lane: int, body: bytes, headers: dict[str, str]) -> tuple[int, str, str | None]:
        """Status, beginning of the answer, and where a redirect leads to."""
        while True:
            connection = self._connections[lane]
            reused = connection is not None
            if connection is None:
                connection = self._connections[lane] = _connect(self._url, self._timeout)
            try:
                # Who refuses a body by its headers may have answered and hung up before all of it was sent.
                hung_up: OSError | None = None
                try:
                    connection.request("POST", _target(self._url), body, headers)
                except (BrokenPipeError, ConnectionResetError) as error:
                    hung_up = error
                try:
                    response = connection.getresponse()
                except (OSError, http.client.HTTPException) as error:
                    raise hung_up or error from None
                answer = response.read(_MAX_ANSWER)
                if not response.isclosed() or connection.sock is None:
                    self._drop(lane)  # there is more of it than anybody reads, or the peer wants no further request
                location = response.headers.get("Location")
                return (
                    response.status,
                    _first_line(self._hush(answer.decode("utf-8", "replace"))),
                    (location and self._hush(location)),
                )
            except (ConnectionError, http.client.HTTPException) as error:
                self._drop(lane)
                # A connection that had been idle may have been closed meanwhile: that says nothing about the peer.
                if not (reused and isinstance(error, ConnectionError)):
                    raise
            except BaseException:
                self._drop(lane)
                raise

    def _hush(self, text: str) -> str:
        """What a peer said, without our secrets: some repeat what they were sent, and the ledger is for all to read."""
        for secret_ in self._hushed:
            text = text.replace(secret_, "***")
        return text

    def _drop(self, lane: int) -> None:
        connection, self._connections[lane] = self._connections[lane], None
        if connection is not None:
            connection.close()


def check(destination: Destination) -> None:
    """What `SETTINGS` do not say: which URLs, and that secrets are where secrets belong.

    Raises
    ------
    InputError
        If the settings cannot be used.
    """
    values = read(destination, SETTINGS)
    try:
        url = urlsplit(values["url"])
        usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
        usable = usable and values["url"].isascii() and " " not in values["url"]
    except ValueError:
        usable = False
    if not usable:
        raise refuse(destination, "setting url is http://host[:port]/path or https://...")
    if url.username or url.password:
        raise refuse(destination, "setting url holds a user or a password: use headers_env for Authorization")
    for name, value in values["headers"].items():
        if _SECRET.search(name):
            raise refuse(
                destination, f"header {name} looks like a secret: name its environment variable in headers_env"
            )
        _check_header(destination, name, value)
    for name, value in _headers(destination).items():
        _check_header(destination, name, value)
    _secret(destination, values["secret_env"])


def probe(destination: Destination) -> str:
    """HEAD: whatever the answer is, there is one."""
    values = read(destination, SETTINGS)
    url = urlsplit(values["url"])
    connection = _connect(url, values["timeout_s"])
    try:
        connection.request("HEAD", _target(url), headers=_headers(destination))
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(f"webhook {url.netloc}: no answer: {as_line(error) or type(error).__name__}") from None
    finally:
        connection.close()
    return f"{url.netloc} answers HTTP {status} to HEAD"


def _connect(url: SplitResult, timeout: float) -> http.client.HTTPConnection:
    assert url.hostname
    connection = (
        http.client.HTTPSConnection(url.hostname, url.port, timeout=timeout, context=ssl.create_default_context())
        if url.scheme == "https"
        else http.client.HTTPConnection(url.hostname, url.port, timeout=timeout)
    )
    try:
        connection.connect()
    except (OSError, UnicodeError) as error:
        connection.close()
        raise UnreachableError(f"webhook {url.netloc}: {as_line(error)}") from None
    return connection


def _target(url: SplitResult) -> str:
    return (url.path or "/") + (f"?{url.query}" if url.query else "")


def _headers(destination: Destination) -> dict[str, str]:
    values = read(destination, SETTINGS)
    secrets = {
        name: secret(destination, f"headers_env, {name}", variable) for name, variable in values["headers_env"].items()
    }
    return {"User-Agent": "l1db", **values["headers"], **secrets}


def _secret(destination: Destination, variable: str | None) -> bytes | None:
    return None if variable is None else secret(destination, "secret_env", variable).encode()


def _check_header(destination: Destination, name: str, value: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
        raise refuse(destination, f"{name!r} is no name of a header")
    if name.lower() in _OURS:
        raise refuse(destination, f"header {name} is l1db's own")
    if not (value.isascii() and value.isprintable()):
        raise refuse(destination, f"the value of header {name} has characters that a header cannot have")


def _first_line(answer: str) -> str:
    return as_line(answer[:1000].strip().partition("\n")[0])
