"""Publishers as processes, killed, terminated and cut off: nothing is lost, and what comes twice is the same."""

from __future__ import annotations

import multiprocessing
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import fastavro
import psycopg
import pytest

from tests.alert.publishing import Night, all_of
from tests.conftest import Server
from tests.peers import publisher
from tests.peers.receiver import Receiver

# Processes are forked from one that has imported everything, which saves two seconds each.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["l1db.cli", "l1db.alert.publish", "l1db.alert.avro", "tests.peers.publisher"])


class Process:
    """``l1db publish`` in a process of its own."""

    def __init__(self, night: Night, said: Path, *arguments: str) -> None:
        environment = {"L1DB_DSN": night.dsn, "L1DB_ARCHIVE": str(night.directory / "archive")}
        self._said = said
        command = ("publish", "--poll", "600", *arguments)
        self._process = _PROCESSES.Process(target=publisher.run, args=(command, environment, str(said)))
        self._process.start()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def terminate(self) -> None:
        self._process.terminate()

    def ends(self, seconds: float = 60) -> bool:
        self._process.join(seconds)
        return self._process.exitcode is not None

    def end(self) -> tuple[int | None, str]:
        """Exit code and what it said, on standard output and standard error."""
        assert self.ends()
        return self._process.exitcode, self._said.read_text()


@pytest.fixture(scope="module")
def shared_dsn(server: Server) -> Iterator[str]:
    """One database for all tests here: what they leave behind is cleared away."""
    dsn = server.clone("seed")
    yield dsn
    server.drop(dsn)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def night(shared_dsn: str, receiver: Receiver, tmp_path: Path) -> Iterator[Night]:
    night = Night(shared_dsn, receiver, tmp_path)
    yield night
    night.clear()


@pytest.fixture
def start(night: Night) -> Iterator[Callable[..., Process]]:
    """Start publishers; none outlives the test."""
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        started.append(Process(night, night.directory / f"said-{len(started)}", *arguments))
        return started[-1]

    yield start
    for process in started:
        process.kill()


# Where a publisher is when it dies: at a lock that somebody holds on what it needs next, and whether its packets are
# already with their receiver.
PLACES = {
    "before it looks into the ledger": ("lock table l1.delivery in exclusive mode", False),
    "before the cutouts": ("lock table l1.cutout in exclusive mode", False),
    "before the packets are kept": ("lock table l1.alert_packet in exclusive mode", False),
    "before the ledger knows": ("lock table l1.delivery in exclusive mode", True),
    "before the batch is acknowledged": ("select from l1.alert_batch where acked_at is null for update", True),
}


@pytest.mark.parametrize("place", PLACES)
def test_killed_publisher_loses_nothing(place: str, night: Night, start: Callable[..., Process]) -> None:
    lock, sent = PLACES[place]
    night.webhook("a")
    alerts = night.ingest(6)
    with psycopg.connect(night.dsn) as holder:
        if sent:
            night.receiver.hold.clear()
            process = start("a")
            night.receiver.wait_for(2, "a")
            holder.execute(lock.encode())
            night.receiver.hold.set()
        else:
            holder.execute(lock.encode())
            process = start("a")
        night.wait(lambda: night.backends("a", waiting=True), "the publisher does not come to the lock")
        process.kill()
        night.terminate(night.backends("a"))
    came = night.receiver.at("a")
    assert bool(came) == sent
    night.expire_leases()
    night.publish_once()
    assert night.ledger("a") == all_of(alerts)
    assert set(night.receiver.at("a")) == set(alerts)
    assert not night.receiver.differing()
    if "the ledger knows" in place:
        assert any(n == 2 for n in night.receiver.at("a").values()), "nobody was killed where it matters"
    else:
        assert set(night.receiver.at("a").values()) == {1}


def test_terminated_publisher_finishes_what_is_on_its_way(night: Night, start: Callable[..., Process]) -> None:
    night.webhook("a", connections=3)
    alerts = night.ingest(30)
    night.receiver.hold.clear()
    process = start()
    night.receiver.wait_for(3, "a")
    process.terminate()
    # Whoever did not wait for the answers would be gone by now.
    night.wait(lambda: night.backends("a"), "the session is gone")
    assert not process.ends(0.5)
    night.receiver.hold.set()
    code, said = process.end()
    came = night.receiver.at("a")
    assert 3 <= len(came) < 30
    assert (code, said) == (0, f"a: {len(came)} delivered\n")
    assert night.ledger("a") == all_of(came)
    night.publish_once()
    assert night.receiver.at("a") == dict.fromkeys(alerts, 1)


def test_second_signal_ends_a_publisher_at_once(night: Night, start: Callable[..., Process]) -> None:
    night.webhook("a", timeout_s=3600)
    night.ingest(3)
    night.receiver.hold.clear()
    process = start()
    night.receiver.wait_for(2, "a")
    process.terminate()
    night.wait(lambda: not night.backends_of_publisher(), "the publisher does not begin to end")
    process.terminate()
    assert process.end()[0] == -signal.SIGTERM


def test_nothing_is_lost_when_publishers_peer_and_sessions_die_at_random(
    night: Night, start: Callable[..., Process]
) -> None:
    """The small version of ``python -m bench.faults``."""
    rng = random.Random(7)
    night.webhook("a", timeout_s=5)
    night.file("b")
    processes = [start("--lease", "1") for _ in range(2)]
    alerts = []
    for _ in range(3):
        alerts += night.ingest(80)
        night.receiver.wait_for(len(alerts) - rng.randrange(20, 60), "a")
        victim = rng.randrange(2)
        processes[victim].kill()
        night.receiver.kill()
        night.terminate(night.backends("a") + night.backends("b"))
        processes[victim] = start("--lease", "1")
        night.receiver.start()
    for name in "ab":
        night.wait(
            lambda name=name: night.expire_leases() or night.ledger(name) == all_of(alerts), "alerts are missing"
        )
    assert set(night.receiver.at("a")) == set(alerts)
    assert not night.receiver.differing()
    night.wait(lambda: len(night.backends("a")) == 2, "a publisher is missing")
    for process in processes:
        process.terminate()
        assert process.end()[0] == 0
    filed: dict[int, set[bytes]] = {}
    for path in (night.directory / "b").rglob("*.avro"):
        with path.open("rb") as file:
            for record in fastavro.reader(file):
                filed.setdefault(int(record["diaSourceId"]), set()).add(repr(record).encode())
    assert len(filed) == len(alerts)
    assert all(len(kinds) == 1 for kinds in filed.values())
