"""From a destination to its transport: check what somebody has written, try whether anybody is there, send.

Each transport is a module with ``FORMATS`` and ``SETTINGS``, a class that keeps the protocol of `Sender`, ``check``
and ``probe``.
"""

from __future__ import annotations

from difflib import get_close_matches
from types import ModuleType

from l1db.alert.transports import KINDS, Destination, Sender, email, file, kafka, vtp, webhook
from l1db.alert.transports.settings import read, refuse

_MODULES: dict[str, ModuleType] = {"vtp": vtp, "kafka": kafka, "webhook": webhook, "email": email, "file": file}


def check(destination: Destination) -> None:
    """Hold a destination against what its transport can use.  Nothing is sent and nobody asked.

    Raises
    ------
    InputError
        If kind or format are unknown, or do not go together; if a setting is unknown, missing, of another type or out
        of range; if a secret is not in its environment variable; if a package is missing.
    """
    if destination.kind not in _MODULES:
        near = get_close_matches(destination.kind, KINDS, n=1)
        what = f"did you mean {near[0]}?" if near else f"there are {', '.join(KINDS)}"
        raise refuse(destination, f"unknown kind {destination.kind}: {what}")
    module = _MODULES[destination.kind]
    if destination.format not in module.FORMATS:
        takes = " or ".join(module.FORMATS)
        raise refuse(destination, f"{destination.kind} takes format {takes}, not {destination.format}")
    read(destination, module.SETTINGS)
    module.check(destination)


def probe(destination: Destination) -> str:
    """Reach for the peer without sending it an alert; one line on what answered.

    Raises
    ------
    InputError
        As `check`.
    UnreachableError
        If nobody answers, or not as that kind of peer does.
    """
    check(destination)
    answer: str = _MODULES[destination.kind].probe(destination)
    return answer


def open_sender(destination: Destination) -> Sender:
    """The sender of a destination.  It need not be reachable: connections are made when something is sent.

    Raises
    ------
    InputError
        As `check`.
    """
    check(destination)
    match destination.kind:
        case "vtp":
            return vtp.Vtp(destination)
        case "kafka":
            return kafka.Kafka(destination)
        case "webhook":
            return webhook.Webhook(destination)
        case "email":
            return email.Email(destination)
        case _:
            return file.File(destination)
