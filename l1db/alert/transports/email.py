"""E-mail: a digest, one message per batch, and ``interval_s`` (ten minutes) between two of them.

All its alerts are counted, the first ``n_listed`` of them, in order of their ids, are listed.  The Message-ID is made
of the destination, the batch and the alerts: who gets the same digest again sees that it is the same, and no mail
program takes a digest of other alerts for a repetition.

A server's 5xx is about this message and for good: refused.  4xx: failed, another time.  Once one recipient has it, it
is delivered, and ``detail`` names those who were refused: sending again would bore the others.
"""

from __future__ import annotations

import hashlib
import re
import smtplib
import ssl
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime, localtime, parseaddr
from typing import Any

from l1db.alert.transports import Destination, Outcome, Packet, State, UnreachableError, as_line
from l1db.alert.transports.settings import HOST, TIMEOUT, Setting, port, read, refuse, secret

FORMATS = ("lsst-11.1", "l1db", "voevent")
SETTINGS = {
    "host": HOST,
    "port": port(25),
    "sender": Setting("text", required=True),
    "recipients": Setting("texts", required=True),
    "subject_prefix": Setting("text", "[l1db]"),
    "starttls": Setting("flag", False),
    "user": Setting("text"),
    "password_env": Setting("text"),
    "n_listed": Setting("integer", 20, low=0, high=1000),
    "interval_s": Setting("number", 600, low=0, high=86400),
    "timeout_s": TIMEOUT,
}

# An address as SMTP has it; what else RFC 5322 allows, nobody uses.
_ADDRESS = re.compile(r"[^\s@<>()\[\],;:\\\"]+@[^\s@<>()\[\],;:\\\"]+")
_COLUMNS = ("alert", "kind", "object", "ra", "dec", "band", "flux [nJy]", "S/N", "ivorn")


class Email:
    """Digests to the recipients of one destination."""

    batch_size = 2000  # their packets are in memory together

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._values = read(destination, SETTINGS)
        self._password = _password(destination)
        self.interval_s = float(self._values["interval_s"])

    def send(self, packets: Sequence[Packet], batch_id: int) -> Iterator[Outcome]:
        """As `Sender.send`: all packets have the same outcome, that of the message."""
        if packets:
            message = self._message(sorted(packets, key=lambda packet: packet.alert_id), batch_id)
            state, detail = self._deliver(message)
            for packet in packets:
                yield Outcome(packet.alert_id, state, detail)

    def interrupt(self) -> None:
        """There is one message for all packets."""

    def close(self) -> None:
        """There is nothing to let go of: no connection outlives its message."""

    def _message(self, packets: Sequence[Packet], batch_id: int) -> EmailMessage:
        values = self._values
        visits = sorted({packet.visit for packet in packets})
        kinds = Counter(packet.kind for packet in packets)
        nights = sorted({packet.day_obs for packet in packets})
        counted = ", ".join(f"{n} {kind}{'s' if n > 1 else ''}" for kind, n in sorted(kinds.items()))
        listed = packets[: values["n_listed"]]

        message = EmailMessage(policy=policy.SMTP)
        alerts = "1 alert" if len(packets) == 1 else f"{len(packets)} alerts"
        message["Subject"] = as_line(f"{values['subject_prefix']} {self._destination.name}: {alerts}, {_span(nights)}")
        message["From"] = values["sender"]
        message["To"] = ", ".join(values["recipients"])
        message["Date"] = format_datetime(localtime())
        message["Message-ID"] = self._message_id(packets, batch_id)
        message["Auto-Submitted"] = "auto-generated"
        text = [
            f"{alerts} of l1db for {self._destination.name}: {counted}.",
            f"{_plural('Night', nights)} {_span(nights)}, {_plural('visit', visits)} {_span(visits)}.",
        ]
        if listed:
            text += ["", *_table(listed)]
        if len(listed) < len(packets):
            text += ["", f"... and {len(packets) - len(listed)} more."]
        message.set_content("\n".join(text) + "\n")
        return message

    def _message_id(self, packets: Sequence[Packet], batch_id: int) -> str:
        named = "\n".join([self._destination.name, *(packet.key for packet in packets)])
        domain = _address(self._values["sender"]).rpartition("@")[2]
        return f"<{batch_id}.{hashlib.sha256(named.encode()).hexdigest()[:20]}.l1db@{domain}>"

    def _deliver(self, message: EmailMessage) -> tuple[State, str | None]:
        recipients = [_address(recipient) for recipient in self._values["recipients"]]
        with _session(self._values, self._password) as session:
            try:
                refused = session.send_message(message, _address(self._values["sender"]), recipients)
            except smtplib.SMTPRecipientsRefused as error:
                another_time = any(code < 500 for code, _ in error.recipients.values())
                return "failed" if another_time else "refused", _refused(error.recipients)
            except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
                # 421: it is closing down, whatever the message.
                if error.smtp_code in (421, -1):
                    raise
                return "failed" if error.smtp_code < 500 else "refused", _said(error.smtp_code, error.smtp_error)
        return "delivered", _refused(refused) if refused else None


def check(destination: Destination) -> None:
    """What `SETTINGS` do not say: addresses, and that user and password come together.

    Raises
    ------
    InputError
        If the settings cannot be used.
    """
    values = read(destination, SETTINGS)
    for address in (values["sender"], *values["recipients"]):
        if not _ADDRESS.fullmatch(_address(address)) or not _address(address).isascii():
            raise refuse(destination, f"{address!r} is no address: write name@host, or Name <name@host>")
    if (values["user"] is None) != (values["password_env"] is None):
        raise refuse(destination, "settings user and password_env go together")
    _password(destination)


def probe(destination: Destination) -> str:
    """Connect, log in, name sender and recipients, and take it back before there is a message."""
    values = read(destination, SETTINGS)
    with _session(values, _password(destination)) as session:
        code, said = session.mail(_address(values["sender"]))
        if code != 250:
            raise UnreachableError(f"{_where(values)} does not take mail of {values['sender']}: {_said(code, said)}")
        refused = {}
        for recipient in values["recipients"]:
            code, said = session.rcpt(_address(recipient))
            if code not in (250, 251):
                refused[_address(recipient)] = (code, said)
        with suppress(smtplib.SMTPException):
            session.rset()
    if len(refused) == len(values["recipients"]):
        raise UnreachableError(f"{_where(values)}: {_refused(refused)}")
    return f"{_where(values)} would take mail for the recipients" + (f"; {_refused(refused)}" if refused else "")


@contextmanager
def _session(values: dict[str, Any], password: str | None) -> Iterator[smtplib.SMTP]:
    """A session ready for mail.  Trouble with the connection, the login or the encryption is UnreachableError."""
    session = None
    try:
        session = smtplib.SMTP(values["host"], values["port"], timeout=values["timeout_s"])
        if values["starttls"]:
            session.starttls(context=ssl.create_default_context())
        if password is not None:
            session.login(values["user"], password)
        session.ehlo_or_helo_if_needed()
        yield session
    except smtplib.SMTPAuthenticationError as error:
        why = f"does not let {values['user']} in: {_said(error.smtp_code, error.smtp_error)}"
        raise UnreachableError(f"{_where(values)} {why}") from None
    except smtplib.SMTPResponseException as error:
        raise UnreachableError(f"{_where(values)}: {_said(error.smtp_code, error.smtp_error)}") from None
    except (smtplib.SMTPException, OSError, UnicodeError) as error:
        raise UnreachableError(f"{_where(values)}: {as_line(error) or type(error).__name__}") from None
    finally:
        if session is not None:
            # A message that was taken stays taken, whatever becomes of the farewell.
            with suppress(smtplib.SMTPException, OSError):
                session.quit()
            session.close()


def _where(values: dict[str, Any]) -> str:
    return f"mail server {values['host']}:{values['port']}"


def _password(destination: Destination) -> str | None:
    variable = destination.settings.get("password_env")
    return None if variable is None else secret(destination, "password_env", variable)


def _address(text: str) -> str:
    return parseaddr(text)[1]


def _said(code: int, text: bytes | str) -> str:
    return as_line(f"{code} {text.decode('utf-8', 'replace') if isinstance(text, bytes) else text}")


def _refused(recipients: dict[str, tuple[int, bytes]]) -> str:
    return as_line("refused: " + "; ".join(f"{who} ({_said(*said)})" for who, said in recipients.items()))


def _span(values: Sequence[object]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _plural(noun: str, values: Sequence[object]) -> str:
    return noun if len(values) == 1 else noun + "s"


def _table(packets: Sequence[Packet]) -> list[str]:
    rows = [_COLUMNS, *(_row(packet) for packet in packets)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(packet: Packet) -> tuple[str, ...]:
    of = packet.dia_object_id if packet.dia_object_id is not None else packet.ss_object_id
    return (
        str(packet.alert_id),
        packet.kind,
        "-" if of is None else str(of),
        f"{packet.ra:.6f}",
        f"{packet.dec:+.6f}",
        packet.band,
        "-" if packet.psf_flux is None else f"{packet.psf_flux:.6g}",
        "-" if packet.snr is None else f"{packet.snr:.1f}",
        packet.ivorn,
    )
