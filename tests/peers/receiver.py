"""A receiver of webhooks that keeps account of what came, holds back its answers, and can be killed."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Arrival:
    """One packet that came: where, which alert, under which key, and the hash of its bytes."""

    path: str
    alert_id: int
    key: str
    sha256: str


class Receiver:
    """Answers on every path.

    ``status`` says with what, ``arrivals`` are all packets that came in order, answered or not.  While ``hold`` is
    clear, requests are taken in and not answered.
    """

    def __init__(self) -> None:
        self.status: Callable[[Arrival], int] = lambda arrival: 200
        self.arrivals: list[Arrival] = []
        self.hold = threading.Event()
        self.hold.set()
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self.port = 0
        self.start()

    def start(self) -> None:
        """Listen, at the same port each time."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                outer._open.add(self.connection)

            def finish(self) -> None:
                outer._open.discard(self.connection)
                with suppress(OSError):
                    super().finish()

            def handle(self) -> None:
                with suppress(OSError):
                    super().handle()

            def do_HEAD(self) -> None:
                self.send_response(200)
                self.end_headers()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                arrival = Arrival(
                    self.path,
                    int(self.headers["X-L1db-Alert"]),
                    self.headers["Idempotency-Key"],
                    hashlib.sha256(body).hexdigest(),
                )
                with outer._changed:
                    outer.arrivals.append(arrival)
                    outer._changed.notify_all()
                outer.hold.wait()
                self.send_response(outer.status(arrival))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 64

        self._server = Server((HOST, self.port), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def kill(self) -> None:
        """Hang up on everybody, whatever is on its way, and listen no more."""
        assert self._server is not None
        assert self._thread is not None
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server = None

    def close(self) -> None:
        self.hold.set()
        if self._server is not None:
            self.kill()

    def url(self, path: str) -> str:
        """Where a destination sends to."""
        return f"http://{HOST}:{self.port}/{path}"

    def at(self, path: str) -> Counter[int]:
        """How often each alert came to a path."""
        return Counter(arrival.alert_id for arrival in self.arrivals if arrival.path == f"/{path}")

    def wait_for(self, n: int, path: str, seconds: float = 30) -> None:
        """Wait until ``n`` different alerts came to a path."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.at(path)) >= n, seconds), (
                f"{len(self.at(path))} alerts of {n} came to {path}"
            )

    def differing(self) -> set[int]:
        """Alerts that came to one path with different bytes or under different keys."""
        seen: dict[tuple[str, int], set[tuple[str, str]]] = {}
        for arrival in self.arrivals:
            seen.setdefault((arrival.path, arrival.alert_id), set()).add((arrival.key, arrival.sha256))
        return {alert_id for (_, alert_id), kinds in seen.items() if len(kinds) > 1}
