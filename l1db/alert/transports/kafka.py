"""Kafka: an idempotent producer.

The key of a message is the id of its DiaObject, so that all alerts of an object are in one partition, in order (the
SSObject's id where there is none; nothing where there is neither).  Headers: ``alert_id``, ``kind``, ``key``
(``<database_id>/<alert_id>``: an alert that comes again after a crash comes under the same), of Avro ``schema`` and
``schema_id``, and of format ``l1db`` the schema itself, gzipped, in ``l1db.schema``.

librdkafka connects, reconnects and repeats by itself, within ``timeout_s`` of a message.  What has not arrived by
then has no outcome, and the destination is unreachable.  A topic takes messages up to its ``max.message.bytes`` (1 MB
unless somebody raised it), the producer up to ``message_max_bytes``.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from l1db.alert.avro import header_schema
from l1db.alert.transports import Destination, Outcome, Packet, UnreachableError, as_line
from l1db.alert.transports.settings import Setting, read, refuse, secret

FORMATS = ("lsst-11.1", "l1db", "voevent")
SETTINGS = {
    "bootstrap_servers": Setting("text", required=True),
    "topic": Setting("text", required=True),
    "message_max_bytes": Setting("integer", 10_000_000, low=1000, high=1_000_000_000),
    "timeout_s": Setting("number", 30, low=1, high=3600),
    "config": Setting("map", {}),
}

# What `send` relies on.
_FIXED = {
    "enable.idempotence": True,
    "acks": "all",
    "delivery.report.only.error": False,  # else nobody would ever hear of what arrived
    # A peer that is down is asked again soon, but not twenty times a second.
    "reconnect.backoff.ms": 250,
    "reconnect.backoff.max.ms": 2000,
}
_OTHERWISE_SET = {
    "bootstrap.servers": "bootstrap_servers",
    "metadata.broker.list": "bootstrap_servers",
    "message.max.bytes": "message_max_bytes",
    "message.timeout.ms": "timeout_s",
    "delivery.timeout.ms": "timeout_s",
}
# Unless `config` says so: keys partition as they do in Java's producer, packets are not compressed (DMTN-248), and
# librdkafka does not write on standard error what it reports as an error as well.
_DEFAULTS = {"partitioner": "murmur2_random", "compression.type": "none", "client.id": "l1db", "log_level": 0}
_SECRET = re.compile(r"password|secret|ssl\.key\.pem|sasl\.jaas|oauthbearer\.config", re.IGNORECASE)

# Errors that are about the cluster, the topic or our rights, and not about the message.
_UNREACHABLE = (
    "_MSG_TIMED_OUT", "_TRANSPORT", "_ALL_BROKERS_DOWN", "_RESOLVE", "_AUTHENTICATION", "_SSL", "_TIMED_OUT",
    "_TIMED_OUT_QUEUE", "_PURGE_QUEUE", "_PURGE_INFLIGHT", "_DESTROY", "_FATAL", "_STATE", "_UNKNOWN_TOPIC",
    "_UNKNOWN_PARTITION", "UNKNOWN_TOPIC_OR_PART", "TOPIC_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED",
    "SASL_AUTHENTICATION_FAILED", "TOPIC_EXCEPTION",
)  # fmt: skip


class Kafka:
    """A producer for one topic, kept between batches."""

    batch_size = 500
    interval_s = 0.0

    def __init__(self, destination: Destination) -> None:
        values = read(destination, SETTINGS)
        self._destination = destination
        self._topic = values["topic"]
        self._servers = values["bootstrap_servers"]
        self._timeout = values["timeout_s"]
        self._producer: Any = None
        self._trouble: str | None = None
        self._fatal = False

    def send(self, packets: Sequence[Packet], batch_id: int) -> Iterator[Outcome]:
        """As `Sender.send`."""
        if self._producer is None:
            self._fatal = False
            self._producer = _producer(self._destination, self._note)
        refused: list[Packet] = []
        lost: list[str] = []
        yield from self._produce(packets, refused, lost)
        # The broker refuses whole requests: what shared one with others is sent alone, before it is judged.
        for packet in refused:
            too_large: list[Packet] = []
            yield from self._produce([packet], too_large, lost)
            if too_large:
                why = f"{len(packet.content)} bytes are more than the topic takes: raise its max.message.bytes"
                yield Outcome(packet.alert_id, "refused", why)
        if self._fatal:
            self.close()
        if lost:
            raise UnreachableError(f"Kafka at {self._servers}, topic {self._topic}: {self._trouble or lost[0]}")

    def interrupt(self) -> None:
        """All packets are on their way already, and not for longer than ``timeout_s``."""

    def close(self) -> None:
        """Let go of the producer; what it still holds has a moment to arrive."""
        if self._producer is not None:
            if self._producer.flush(min(self._timeout, 5)):
                self._producer.purge()
                self._producer.flush(1)
            self._producer = None

    def _produce(self, packets: Sequence[Packet], refused: list[Packet], lost: list[str]) -> Iterator[Outcome]:
        """Send packets and wait for each; those that the broker finds too large and those that are lost are listed."""
        outcomes: deque[Outcome] = deque()
        waiting = 0

        def report(packet: Packet) -> Callable[[Any, Any], None]:
            def done(error: Any, message: Any) -> None:
                nonlocal waiting
                waiting -= 1
                if error is None:
                    self._trouble = None
                    where = f"{message.topic()}[{message.partition()}] {message.offset()}"
                    outcomes.append(Outcome(packet.alert_id, "delivered", where))
                elif error.name() == "MSG_SIZE_TOO_LARGE":
                    refused.append(packet)
                elif error.fatal() or error.name() in _UNREACHABLE:
                    lost.append(as_line(error.str()))
                else:
                    outcomes.append(Outcome(packet.alert_id, "failed", as_line(error.str())))

            return done

        for packet in packets:
            error = self._enqueue(packet, report(packet))
            if error is None:
                waiting += 1
            elif error.name() == "MSG_SIZE_TOO_LARGE":
                why = f"{len(packet.content)} bytes are more than message_max_bytes of the destination"
                yield Outcome(packet.alert_id, "refused", why)
            else:
                self._fatal = self._fatal or error.fatal()
                lost.append(as_line(error.str()))
                break
            while outcomes:
                yield outcomes.popleft()
        while waiting:
            self._producer.poll(0.1)
            while outcomes:
                yield outcomes.popleft()
        yield from outcomes

    def _enqueue(self, packet: Packet, done: Callable[[Any, Any], None]) -> Any:
        """Hand a packet to librdkafka; its error if it does not take it, None if it does."""
        from confluent_kafka import KafkaException

        of = packet.dia_object_id if packet.dia_object_id is not None else packet.ss_object_id
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    packet.content,
                    None if of is None else str(of).encode(),
                    headers=_headers(packet),
                    on_delivery=done,
                )
            except BufferError:  # its queue is full: what is in it arrives, or times out
                self._producer.poll(0.1)
            except KafkaException as error:
                return error.args[0]
            else:
                self._producer.poll(0)
                return None

    def _note(self, error: Any) -> None:
        # That all brokers are down comes after the reason why each of them is.
        if self._trouble is None or error.name() != "_ALL_BROKERS_DOWN":
            self._trouble = as_line(error.str())
        self._fatal = self._fatal or error.fatal()


def check(destination: Destination) -> None:
    """What `SETTINGS` do not say: the client is there, and takes ``config``.

    Raises
    ------
    InputError
        If the settings cannot be used.
    """
    values = read(destination, SETTINGS)
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", values["topic"]) or values["topic"] in (".", ".."):
        raise refuse(destination, f"{values['topic']!r} is no name of a topic: letters, digits, ., _ and -")
    for server in values["bootstrap_servers"].split(","):
        host, _, port = server.strip().rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise refuse(destination, f"setting bootstrap_servers is host:port[,host:port...], not {server!r}")
    try:
        import confluent_kafka
    except ImportError:
        raise refuse(destination, "the Kafka client is not installed: pip install 'l1db[kafka]'") from None
    try:
        # Without servers, it reads its configuration and waits.
        configuration = _configuration(destination, None)
        del configuration["bootstrap.servers"]
        confluent_kafka.Producer(configuration)
    except confluent_kafka.KafkaException as error:
        raise refuse(destination, f"config: {as_line(error.args[0].str())}") from None
    except (TypeError, ValueError) as error:
        raise refuse(destination, f"config: {as_line(error)}") from None


def probe(destination: Destination) -> str:
    """Ask for the brokers and the topic.  Asking for all topics, because to ask for one may make it."""
    from confluent_kafka import KafkaException

    values = read(destination, SETTINGS)
    where = f"Kafka at {values['bootstrap_servers']}"
    trouble: list[str] = []
    producer = _producer(destination, lambda error: trouble.append(as_line(error.str())))
    deadline = time.monotonic() + values["timeout_s"]
    try:
        while True:
            try:
                known = producer.list_topics(timeout=max(0.1, min(1.0, deadline - time.monotonic())))
                break
            except KafkaException as error:
                producer.poll(0)
                # A refused connection or an unknown name will not mend while we wait; silence may.
                refused = any("refused" in line or "resolve" in line for line in trouble)
                if refused or time.monotonic() >= deadline:
                    why = trouble[0] if trouble else as_line(error.args[0].str())
                    raise UnreachableError(f"{where}: {why}") from None
    finally:
        producer.purge()
    brokers = "1 broker" if len(known.brokers) == 1 else f"{len(known.brokers)} brokers"
    topic = known.topics.get(values["topic"])
    if topic is None:
        return f"{where}: {brokers}; no topic {values['topic']} yet: the first alert makes it if the broker allows that"
    return f"{where}: {brokers}; topic {values['topic']} has {len(topic.partitions)} partitions"


def _producer(destination: Destination, note: Callable[[Any], None]) -> Any:
    from confluent_kafka import Producer

    return Producer(_configuration(destination, note))


def _configuration(destination: Destination, note: Callable[[Any], None] | None) -> dict[str, Any]:
    values = read(destination, SETTINGS)
    configuration: dict[str, Any] = dict(_DEFAULTS)
    for name, value in values["config"].items():
        bare = name.removesuffix("_env")
        if bare == "plugin.library.paths":
            raise refuse(destination, "config: plugin.library.paths would run code of its own in the publisher")
        if bare in _FIXED or bare in _OTHERWISE_SET:
            instead = f"it is setting {_OTHERWISE_SET[bare]}" if bare in _OTHERWISE_SET else "it is l1db's own"
            raise refuse(destination, f"config: {bare} cannot be set here, {instead}")
        if bare != name:
            configuration[bare] = secret(destination, f"config, {name}", str(value))
        elif _SECRET.search(name) and not name.endswith(".location"):
            raise refuse(destination, f"config: {name} is a secret: name its environment variable in {name}_env")
        else:
            configuration[name] = value
    if note is not None:
        configuration["error_cb"] = note
    return (
        configuration
        | _FIXED
        | {
            "bootstrap.servers": values["bootstrap_servers"],
            "message.max.bytes": values["message_max_bytes"],
            "message.timeout.ms": round(1000 * values["timeout_s"]),
        }
    )


def _headers(packet: Packet) -> list[tuple[str, bytes]]:
    headers = [
        ("alert_id", str(packet.alert_id).encode()),
        ("kind", packet.kind.encode()),
        ("key", packet.key.encode()),
    ]
    if packet.schema is not None:
        headers += [("schema", packet.schema.encode()), ("schema_id", str(packet.schema_id).encode())]
        if packet.format == "l1db":
            headers.append(("l1db.schema", _schema(packet.schema)))
    return headers


@cache
def _schema(name: str) -> bytes:
    """The schema of a name as ``l1db.v1_0.alert``, gzipped."""
    version = re.search(r"\.v(\d+)_(\d+)\.", name)
    assert version is not None, name
    return header_schema("l1db", f"{version[1]}.{version[2]}")
