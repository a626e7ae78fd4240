"""Peers that a test can tell what to do: an HTTP server, an SMTP server, and one that accepts and says nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Request:
    """What came over HTTP; ``connection`` is the client's port."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass(frozen=True)
class Answer:
    """What to answer; ``hang_up``: close the connection instead."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hang_up: bool = False
    delay: float = 0


class HttpServer:
    """A real HTTP server; ``answer`` decides on each request, ``requests`` are those that came, in order."""

    def __init__(self) -> None:
        self.answer: Callable[[Request], Answer] = lambda request: Answer()
        self.requests: list[Request] = []
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, self.path, headers, body, self.client_address[1])
                with lock:
                    outer.requests.append(request)
                    answer = outer.answer(request)
                time.sleep(answer.delay)
                if answer.hang_up:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)

            do_HEAD = do_POST

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

        self._server = Server((HOST, 0), Handler)
        self.port: int = self._server.server_address[1]
        self.url = f"http://{HOST}:{self.port}/alerts"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class SmtpServer:
    """A real SMTP server.

    ``taken`` are the messages it took; ``refuse`` maps recipients to what they are refused with, ``data`` is its answer
    to a message.  It lets in who logs in as ``user`` with ``password``, and anybody who does not log in.
    """

    user, password = "l1db", "correct horse"

    def __init__(self) -> None:
        self.taken: list[Envelope] = []
        self.refuse: dict[str, str] = {}
        self.data = "250 OK"
        for _ in range(20):
            with socket.socket() as probe:
                probe.bind((HOST, 0))
                self.port: int = probe.getsockname()[1]
            self._controller = Controller(
                self,
                hostname=HOST,
                port=self.port,
                auth_require_tls=False,
                authenticator=self._authenticate,
            )
            try:
                self._controller.start()
            except OSError:
                continue  # somebody else was quicker
            return
        raise RuntimeError("no free port")

    def _authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        good = (data.login, data.password) == (self.user.encode(), self.password.encode())
        return AuthResult(success=good, handled=False)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Envelope, address: str, options: list[str]) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        if self.data.startswith("250"):
            self.taken.append(envelope)
        return self.data

    def close(self) -> None:
        self._controller.stop()


class HangingServer:
    """Accepts connections and says nothing; ``accepted`` of them so far."""

    def __init__(self) -> None:
        self._socket = socket.create_server((HOST, 0))
        self.port: int = self._socket.getsockname()[1]
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def accepted(self) -> int:
        return len(self._held)

    def _accept(self) -> None:
        while True:
            try:
                self._held.append(self._socket.accept()[0])
            except OSError:
                return

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()
        for connection in self._held:
            connection.close()


def closed_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
