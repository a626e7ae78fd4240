"""Comet in a process of its own, on 127.0.0.1 only.  Run by `l1db.demo.broker`, as a script.

Comet's own command binds all interfaces.  Here its services are made by its own functions from its own options, and
told the interface before they listen.  What happens goes to standard output as lines of JSON; standard error is Comet's
log.
The process ends when its standard input does, so none outlives whoever started it.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
from typing import Any

from comet.icomet import IHandler
from comet.service import Options, makeService
from twisted.application.internet import TCPServer
from twisted.application.service import MultiService
from twisted.internet import reactor as twisted_reactor
from twisted.python import log as twisted_log
from zope.interface import implementer

# Twisted does not tell enough of its types.
reactor: Any = twisted_reactor
make_group: Any = MultiService
log: Any = twisted_log


def tell(**what: object) -> None:
    """One line to whoever started this."""
    os.write(1, json.dumps(what).encode() + b"\n")


@implementer(IHandler)
class Teller:
    """A handler of events: passes on what a subscriber received."""

    name = "teller"

    def __init__(self, subscriber: str) -> None:
        self._subscriber = subscriber

    def __call__(self, event: Any) -> None:
        tell(subscriber=self._subscriber, event=base64.b64encode(event.raw_bytes).decode())


def notice_subscriptions(record: dict[str, Any]) -> None:
    """A subscriber is served, and filtered, once it has authenticated: Comet says so in its log."""
    if "Authentication received from" in " ".join(map(str, record["message"])):
        tell(subscribed=True)


def main(nodes: list[dict[str, Any]]) -> None:
    """Run brokers and subscribers: ``name``, ``subscriber`` or not, ``arguments`` of Comet's command."""
    log.startLogging(sys.stderr, setStdout=False)
    log.addObserver(notice_subscriptions)
    all_services = make_group()
    for node in nodes:
        options = Options()
        options.parseOptions(node["arguments"])
        if node["subscriber"]:
            options["handlers"].append(Teller(node["name"]))
        service = makeService(options)
        for part in service:
            if isinstance(part, TCPServer):
                part.kwargs["interface"] = "127.0.0.1"
        service.setServiceParent(all_services)
    all_services.privilegedStartService()
    all_services.startService()
    listening = [part for node in all_services for part in node if isinstance(part, TCPServer)]
    ports: dict[Any, int] = {part.name: part._port.getHost().port for part in listening if part._port is not None}
    tell(listening=ports)

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        reactor.callFromThread(reactor.stop)

    threading.Thread(target=end_with_parent, daemon=True).start()
    reactor.run()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
