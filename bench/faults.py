"""Publishers and peers killed at random while a survey goes on: is every alert delivered everywhere?

``python -m bench.faults --seed 1`` runs a PostgreSQL server of its own, a Comet broker with a subscriber, Apache Kafka,
an HTTP server and an archive of files, and several ``l1db publish``.  While visits with images come in, it kills at
random: publishers (-9, or asked to end), broker, Kafka, HTTP server, sessions of the database, and the database server.
When all are up again and nothing is left to be sent, it holds the ledger against what the peers have: lost must be 0,
and a repetition must have the bytes of the first packet.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import hashlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import psycopg
import pyarrow.parquet as pq

from bench.publish import Survey
from l1db import Client, DatabaseError, Visit, database
from l1db.alert import destinations
from l1db.alert.transports import Destination
from l1db.connection import connect
from l1db.demo.broker import Comet
from tests.peers.kafka_broker import KafkaBroker, messages
from tests.peers.receiver import Receiver

SOURCES = 53  # per detector
LEASE = 5  # seconds


class Server:
    """A PostgreSQL cluster of its own, which may be restarted: nobody else works on it."""

    def __init__(self, directory: Path) -> None:
        self._data = directory / "data"
        self._bin = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        self._as = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.dsn = f"host=127.0.0.1 port={port} user=postgres dbname=faults"
        directory.mkdir()
        if self._as:
            shutil.chown(directory, "postgres")
        self._run(
            "initdb", "--pgdata", str(self._data), "--username", "postgres", "--auth", "trust", "--encoding", "UTF8"
        )
        self._options = (
            f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={directory} -c jit=off"
        )
        self._log = directory / "log"
        self.start()

    def start(self) -> None:
        self._run(
            "pg_ctl", "start", "--pgdata", str(self._data), "--log", str(self._log), "-o", self._options, "--wait"
        )

    def stop(self, mode: str) -> None:
        self._run("pg_ctl", "stop", "--pgdata", str(self._data), "--mode", mode, "--wait")

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [*self._as, str(self._bin / program), *arguments], check=True, stdout=subprocess.DEVNULL, cwd="/"
        )


class Faults:
    """All that can die, and what is done to it."""

    def __init__(self, seed: int, n_publishers: int, directory: Path) -> None:
        self.rng = random.Random(seed)
        self.directory = directory
        self.done: Counter[str] = Counter()
        self.server = Server(directory / "server")
        database.init(self.server.dsn, "seed", {})
        self.comet = Comet(directory / "comet", {"all": None})
        self.comet.start()
        self.kafka = KafkaBroker(directory / "kafka")
        self.kafka.start()
        self.receiver = Receiver()
        there = [
            Destination("vtp", "vtp", "voevent", {"host": "127.0.0.1", "port": self.comet.port, "timeout_s": 5}),
            Destination("kafka", "kafka", "lsst-11.1",
                        {"bootstrap_servers": self.kafka.bootstrap, "topic": "alerts", "timeout_s": 5}),
            Destination("webhook", "webhook", "l1db", {"url": self.receiver.url("webhook"), "timeout_s": 5}),
            Destination("file", "file", "l1db", {"directory": str(directory / "files")}),
        ]  # fmt: skip
        with connect(self.server.dsn) as connection:
            for destination in there:
                destinations.add(connection, destination)
        self._publishers: list[subprocess.Popen[bytes]] = []
        for _ in range(n_publishers):
            self._publishers.append(self._start_publisher())

    def _start_publisher(self) -> subprocess.Popen[bytes]:
        environment = os.environ | {"L1DB_DSN": self.server.dsn, "L1DB_ARCHIVE": str(self.directory / "archive")}
        command = [sys.executable, "-c", "from l1db.cli import main; main()", "publish", "--lease", str(LEASE)]
        with (self.directory / "publishers.log").open("ab") as log:
            return subprocess.Popen([*command, "--poll", "1"], env=environment, stdout=log, stderr=log)

    def strike(self) -> None:
        """One fault, and its end after a while."""
        fault = self.rng.choice(
            [self._kill_publisher, self._kill_publisher, self._kill_publisher, self._end_publisher, self._kill_comet,
             self._kill_kafka, self._kill_receiver, self._kill_receiver, self._cut_sessions, self._cut_sessions,
             self._restart_database]
        )  # fmt: skip
        self.done[fault.__name__.strip("_").replace("_", " ")] += 1
        fault()

    def _a_while(self) -> None:
        time.sleep(self.rng.uniform(0, 2))

    def _kill_publisher(self) -> None:
        self._replace(self.rng.randrange(len(self._publishers)), signal.SIGKILL)

    def _end_publisher(self) -> None:
        self._replace(self.rng.randrange(len(self._publishers)), signal.SIGTERM)

    def _replace(self, i: int, with_signal: int) -> None:
        self._publishers[i].send_signal(with_signal)
        self._publishers[i].wait()
        self._publishers[i] = self._start_publisher()

    def _kill_comet(self) -> None:
        self.comet.kill()
        self._a_while()
        self.comet.start()

    def _kill_kafka(self) -> None:
        self.kafka.kill()
        self._a_while()
        self.kafka.start()

    def _kill_receiver(self) -> None:
        self.receiver.kill()
        self._a_while()
        self.receiver.start()

    def _cut_sessions(self) -> None:
        with psycopg.connect(self.server.dsn, autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'l1db publish%'"
            )

    def _restart_database(self) -> None:
        self.server.stop(self.rng.choice(["fast", "immediate"]))
        self._a_while()
        self.server.start()

    def close(self) -> list[int]:
        """End everything; the exit codes of the publishers."""
        for publisher in self._publishers:
            publisher.terminate()
        codes = [publisher.wait(60) for publisher in self._publishers]
        self.receiver.close()
        self.comet.stop()
        self.kafka.stop()
        self.server.stop("fast")
        return codes


def take_in(dsn: str, survey: Survey, n_visits: int, pause: float) -> None:
    """Visits, detector by detector, each again until it is in: the same data twice change nothing."""
    rng = np.random.default_rng(4)
    for visit in range(1, n_visits + 1):
        for detector in range(survey.n_detectors):
            data = survey.detector(detector, rng, with_images=True)
            while True:
                try:
                    with Client(dsn) as client:
                        client.ingest(Visit(visit, "r", 61000.1 + visit / 100, 30.0), [data])
                    break
                except (DatabaseError, psycopg.Error):
                    time.sleep(0.3)
            time.sleep(pause)


def settle(dsn: str, seconds: float) -> bool:
    """Wait until nothing is left to be sent."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with psycopg.connect(dsn) as connection:
            row = connection.execute("select sum(n_waiting + n_failed) from l1_api.destination_status").fetchone()
        if row == (0,):
            return True
        time.sleep(0.5)
    return False


def received(faults: Faults, alert_of: dict[str, int]) -> dict[str, list[tuple[int, str | None]]]:
    """What the peers have: alert and hash of each packet, in the peers' own words; no hash where a log tells."""
    broker = (faults.directory / "comet" / "broker.log").read_text(errors="replace")
    found: dict[str, list[tuple[int, str | None]]] = {
        "vtp": [(alert_of[ivorn], None) for ivorn in re.findall(r"VOEvent (\S+) received from", broker)],
        "kafka": [
            (int(dict(message.headers())["alert_id"]), hashlib.sha256(message.value()).hexdigest())
            for message in messages(faults.kafka.bootstrap, "alerts", len(alert_of), 60)
        ],
        "webhook": [(arrival.alert_id, arrival.sha256) for arrival in faults.receiver.arrivals],
        "file": [],
    }
    found["subscriber"] = []
    for event in faults.comet.received("all"):
        name = re.search(rb'ivorn="([^"]+)"', event)
        assert name is not None
        found["subscriber"].append((alert_of[name[1].decode()], hashlib.sha256(event).hexdigest()))
    for path in (faults.directory / "files").rglob("*.avro"):
        index = pq.read_table(path.with_suffix(".index.parquet")).to_pylist()
        with path.open("rb") as file:
            records: list[Any] = list(fastavro.reader(file))
        assert [row["dia_source_id"] for row in index] == [int(record["diaSourceId"]) for record in records], path
        found["file"] += [(row["alert_id"], None) for row in index]
    return found


def judge(faults: Faults) -> bool:
    """Print what was delivered, received, repeated and lost; True if nothing is wrong."""
    with connect(faults.server.dsn) as connection:
        alerts = {i for (i,) in connection.execute("select alert_id from l1.alert")}
        ledger: dict[str, set[int]] = {name: set() for name in ("vtp", "kafka", "webhook", "file")}
        for name, i in connection.execute("select destination, alert_id from l1.delivery where state = 'delivered'"):
            ledger[name].add(i)
        other = connection.execute(
            "select destination, state, count(*), min(detail) from l1.delivery where state <> 'delivered' group by 1, 2"
        ).fetchall()
        first: dict[tuple[str, int], str] = {
            (form, i): bytes(sha256).hex()
            for form, i, sha256 in connection.execute("select format, alert_id, sha256 from l1.alert_packet")
        }
        row = connection.execute("select ivo_authority, database_id::text from l1.survey limit 1").fetchone()
    assert row is not None
    from l1db.alert.voevent import ivorn

    arrivals = received(faults, {ivorn(row[0], i, row[1]): i for i in alerts})
    forms = {"vtp": "voevent", "kafka": "lsst-11.1", "webhook": "l1db", "file": "l1db", "subscriber": "voevent"}
    print(f"\n{len(alerts)} alerts; {', '.join(f'{what}: {n}' for what, n in sorted(faults.done.items()))}")
    print(f"{'destination':12}{'delivered':>10}{'received':>10}{'repeated':>10}{'differing':>10}{'lost':>6}  ledger")
    good = not other
    for name, ledgered in ledger.items():
        came = Counter(i for i, _ in arrivals[name])
        differing = {i for i, sha256 in arrivals[name] if sha256 is not None and sha256 != first[forms[name], i]}
        lost = alerts - set(came)
        agrees = ledgered == set(came) == alerts
        good = good and agrees and not differing and not lost
        repeated = came.total() - len(came)
        verdict = "agrees" if agrees else "DIFFERS"
        print(f"{name:12}{len(ledgered):10}{len(came):10}{repeated:10}{len(differing):10}{len(lost):6}  {verdict}")
    relayed = Counter(i for i, _ in arrivals["subscriber"])
    differing = {i for i, sha256 in arrivals["subscriber"] if sha256 != first["voevent", i]}
    good = good and not differing
    print(
        f"of those at the broker, {len(relayed)} were relayed to its subscriber ({len(differing)} differing); the "
        "others it had not passed on when it was killed"
    )
    for row in other:
        print("not delivered:", *row)
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--alerts", type=int, default=5300)
    parser.add_argument("--publishers", type=int, default=3)
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between detectors")
    parser.add_argument("--every", type=float, default=2, help="seconds between faults, on average")
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="l1db-faults-"))
    directory.chmod(0o755)
    n_visits = 5
    survey = Survey(-(-arguments.alerts // (n_visits * SOURCES)), SOURCES, directory)
    faults = Faults(arguments.seed, arguments.publishers, directory)
    good = False
    try:
        began = time.monotonic()
        night: Callable[..., None] = take_in
        thread = threading.Thread(target=night, args=(faults.server.dsn, survey, n_visits, arguments.pause))
        thread.start()
        while thread.is_alive():
            time.sleep(faults.rng.expovariate(1 / arguments.every))
            faults.strike()
        thread.join()
        print(f"all taken in after {time.monotonic() - began:.0f} s")
        settled = settle(faults.server.dsn, 900)
        print(f"{'nothing is left' if settled else 'NOT ALL WAS SENT'} after {time.monotonic() - began:.0f} s")
        good = judge(faults) and settled
    finally:
        codes = faults.close()
        print("publishers exit with", *codes)
        if good:
            shutil.rmtree(directory)
        else:
            print(f"see {directory}")
    sys.exit(0 if good and not any(codes) else 1)


if __name__ == "__main__":
    main()
