"""A real VOEvent broker, Comet, and subscribers behind it: on loopback, as processes of their own."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from l1db.errors import L1dbError

HOST = "127.0.0.1"
_NODE = Path(__file__).with_name("comet_node.py")


class Comet:
    """A broker for authors at ``HOST`` and `port`, and subscribers that it relays events to.

    Parameters
    ----------
    directory
        For what broker and subscribers remember of events, and their logs.
    filters
        The subscribers by name, and of each the XPath expression that an event must match; None: it gets all.
    """

    def __init__(self, directory: Path, filters: Mapping[str, str | None]) -> None:
        self._directory = directory
        self._filters = dict(filters)
        self._ports = {"Receiver": 0, "Broadcaster": 0}
        self._broker: _Process | None = None
        self._subscribers: _Process | None = None
        self._received: dict[str, list[bytes]] = {name: [] for name in filters}
        self._listening = False
        self._subscriptions = 0
        self._changed = threading.Condition()

    @property
    def port(self) -> int:
        """Where authors connect to; the same after a restart."""
        return self._ports["Receiver"]

    def __enter__(self) -> Comet:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self, timeout: float = 30) -> None:
        """Start what is not running.  When it returns, all subscribers are subscribed and their filters in place.

        Raises
        ------
        L1dbError
            If that takes longer than ``timeout`` seconds; with the end of the log.
        """
        deadline = time.monotonic() + timeout
        if self._broker is None:
            self._subscriptions = 0
            self._listening = False
            broker = [
                "--verbose",
                "--local-ivo=ivo://org.l1db/broker",
                "--receive",
                f"--receive-port={self._ports['Receiver']}",
                "--broadcast",
                f"--broadcast-port={self._ports['Broadcaster']}",
                "--broadcast-test-interval=0",
                f"--author-whitelist={HOST}/32",
                f"--subscriber-whitelist={HOST}/32",
                f"--eventdb={self._directory / 'broker'}",
            ]
            self._broker = self._launch("broker", [{"name": "broker", "subscriber": False, "arguments": broker}])
            self._wait(lambda: self._listening, deadline, self._broker)
        if self._subscribers is None and self._filters:
            nodes: list[dict[str, object]] = []
            for name, xpath in self._filters.items():
                arguments = [
                    f"--local-ivo=ivo://org.l1db/{name}",
                    f"--remote={HOST}:{self._ports['Broadcaster']}",
                    f"--eventdb={self._directory / name}",
                ]
                if xpath is not None:
                    arguments.append(f"--filter={xpath}")
                nodes.append({"name": name, "subscriber": True, "arguments": arguments})
            self._subscribers = self._launch("subscribers", nodes)
        self._wait(lambda: self._subscriptions >= len(self._filters), deadline, self._broker)

    def kill(self) -> None:
        """Kill the broker, as a power cut would; `start` brings it back, at the same ports."""
        if self._broker is not None:
            self._broker.kill()
            self._broker = None

    def stop(self) -> None:
        """End broker and subscribers."""
        for process in (self._subscribers, self._broker):
            if process is not None:
                process.stop()
        self._subscribers = self._broker = None

    def received(self, subscriber: str) -> list[bytes]:
        """The events that a subscriber has got so far, in the order in which they came."""
        with self._changed:
            return list(self._received[subscriber])

    def wait_for(self, subscriber: str, n: int, timeout: float = 10) -> list[bytes]:
        """The same, as soon as there are ``n``, and after ``timeout`` seconds however many there are."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._received[subscriber]) >= n, timeout)
            return list(self._received[subscriber])

    def _launch(self, name: str, nodes: list[dict[str, object]]) -> _Process:
        self._directory.mkdir(parents=True, exist_ok=True)
        return _Process(json.dumps(nodes), self._directory / f"{name}.log", self._hear)

    def _hear(self, said: dict[str, object]) -> None:
        with self._changed:
            if "event" in said:
                self._received[str(said["subscriber"])].append(base64.b64decode(str(said["event"])))
            elif "subscribed" in said:
                self._subscriptions += 1
            elif said.get("listening"):
                self._ports.update(said["listening"])  # type: ignore[call-overload]
                self._listening = True
            self._changed.notify_all()

    def _wait(self, done: Callable[[], bool], deadline: float, process: _Process) -> None:
        with self._changed:
            while not done():
                if time.monotonic() > deadline or not process.runs():
                    raise L1dbError(f"Comet does not start; see {process.log}")
                self._changed.wait(0.2)


class _Process:
    """One process that runs Comet nodes and tells what happens."""

    def __init__(self, nodes: str, log: Path, hear: Callable[[dict[str, object]], None]) -> None:
        self.log = log
        with log.open("ab") as file:
            # -P: the directory of the script, which is this package's, is no place to import from.
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_NODE), nodes],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
            )
        self._listener = threading.Thread(target=self._listen, args=(hear,), name=log.stem, daemon=True)
        self._listener.start()

    def runs(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._end()

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._end()

    def _end(self) -> None:
        self._process.wait()
        self._listener.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _listen(self, hear: Callable[[dict[str, object]], None]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            hear(json.loads(line))
