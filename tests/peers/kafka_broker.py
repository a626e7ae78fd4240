"""Apache Kafka, a real broker in KRaft mode, for tests and benchmarks; and librdkafka's mock where there is no Java.

Maven copies the jars into ``.l1db/kafka`` once; from then on only Java is needed.
"""

from __future__ import annotations

import fcntl
import hashlib
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import confluent_kafka

HOST = "127.0.0.1"
_POM = Path(__file__).with_name("kafka-pom.xml")
_JARS = Path(__file__).parents[2] / ".l1db" / "kafka"
# A small heap and quick compilation: the broker lives for a minute.
_JAVA = ["java", "-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
_QUIET = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"


class NoKafkaError(Exception):
    """Why there can be no real broker on this machine."""


def jars() -> str:
    """The class path of a broker, brought by Maven if it is not there yet.

    Raises
    ------
    NoKafkaError
        If Java or Maven is missing, or Maven finds no repository.
    """
    if shutil.which("java") is None:
        raise NoKafkaError("no Java")
    _JARS.mkdir(parents=True, exist_ok=True)
    stamp, wanted = _JARS / "complete", hashlib.sha256(_POM.read_bytes()).hexdigest()
    with (_JARS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            _bring()
            stamp.write_text(wanted)
    return f"{_JARS}/*"


def _bring() -> None:
    if shutil.which("mvn") is None:
        raise NoKafkaError("no Maven")
    for jar in _JARS.glob("*.jar"):
        jar.unlink()
    maven = ["mvn", "--batch-mode", "--quiet", "--file", str(_POM), "dependency:copy-dependencies"]
    try:
        done = subprocess.run(
            [*maven, "-DincludeScope=runtime", f"-DoutputDirectory={_JARS}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
    except subprocess.TimeoutExpired:
        raise NoKafkaError("Maven does not bring Kafka within 5 minutes") from None
    if done.returncode != 0:
        errors = [line for line in done.stdout.splitlines() if "ERROR" in line]
        raise NoKafkaError(f"Maven does not bring Kafka: {(errors or ['it does not say why'])[0]}")


class KafkaBroker:
    """A broker of its own, with its data in a directory.

    Parameters
    ----------
    directory
        For data and log.
    properties
        Further settings of the broker.
    """

    def __init__(self, directory: Path, properties: Mapping[str, object] | None = None) -> None:
        self._directory = directory
        self._class_path = jars()
        self._process: subprocess.Popen[bytes] | None = None
        port, controller = _free_ports(2)
        self.bootstrap = f"{HOST}:{port}"
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{HOST}:{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "log.dirs": directory / "data",
            "num.partitions": 4,
            "message.max.bytes": 10_000_000,
            "offsets.topic.num.partitions": 1,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            # A broker that was killed is let in again when its old session is over.
            "broker.session.timeout.ms": 1000,
            "broker.heartbeat.interval.ms": 200,
        } | dict(properties or {})
        directory.mkdir(parents=True, exist_ok=True)
        self._properties = directory / "server.properties"
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))

    def __enter__(self) -> KafkaBroker:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self, timeout: float = 60) -> None:
        """Start it, at the same address and with the same data each time; returns when it answers."""
        if not (self._directory / "data").exists():
            self._format()
        with (self._directory / "log").open("ab") as log:
            command = [*_JAVA, _QUIET, "-cp", self._class_path, "kafka.Kafka", str(self._properties)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + timeout
        while not answers(self.bootstrap):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"Kafka does not start; see {self._directory / 'log'}")
            time.sleep(0.1)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Shut it down."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def _format(self) -> None:
        tool = ["kafka.tools.StorageTool", "format", "--cluster-id", "l1dbl1dbl1dbl1dbl1dbAA"]
        done = subprocess.run(
            [*_JAVA, _QUIET, "-cp", self._class_path, *tool, "--config", str(self._properties)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode != 0:
            if "UnsupportedClassVersionError" in done.stdout:
                raise NoKafkaError("this Java is too old for Kafka, which wants 17")
            raise RuntimeError(f"Kafka's storage cannot be formatted: {done.stdout}")


class KafkaMock:
    """librdkafka's mock cluster, in this process: the protocol, but not Kafka.  It cannot be killed or configured."""

    def __init__(self) -> None:
        self._holder = confluent_kafka.Producer(
            {"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0}
        )
        (broker,) = self._holder.list_topics(timeout=10).brokers.values()
        self.bootstrap = f"{broker.host}:{broker.port}"


def answers(bootstrap: str) -> bool:
    """Does a broker answer there?  A first look at the port, because clients are loud and slow where nobody listens."""
    host, _, port = bootstrap.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    client = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        return bool(client.list_topics(timeout=2).brokers)
    except confluent_kafka.KafkaException:
        return False


def messages(bootstrap: str, topic: str, n: int, timeout: float = 15) -> list[confluent_kafka.Message]:
    """What is in a topic, from its beginning, partition by partition in order: ``n`` messages, and any that follow at
    once; fewer if that many do not come in time."""
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "tests",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.message.max.bytes": 20_000_000,
            "fetch.max.bytes": 50_000_000,
            "receive.message.max.bytes": 60_000_000,
            "log_level": 0,
        }
    )
    found: list[confluent_kafka.Message] = []
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign(
            [confluent_kafka.TopicPartition(topic, p, confluent_kafka.OFFSET_BEGINNING) for p in partitions]
        )
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            message = consumer.poll(0.5 if len(found) >= n else 1)
            if message is None:
                if len(found) >= n:
                    break
            elif message.error() is None:
                found.append(message)
    finally:
        consumer.close()
    return sorted(found, key=lambda message: (message.partition(), message.offset()))


def _free_ports(n: int) -> list[int]:
    """Below 32768, where outgoing connections take theirs: a broker must find its port free again after a restart."""
    found: list[int] = []
    while len(found) < n:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found
