"""Digests by e-mail, on a real SMTP server."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

import pytest
from aiosmtpd.smtp import Envelope
from listeners import HOST, HangingServer, SmtpServer
from synthetic_packets import DATABASE, destination, event, sent, states

from l1db.alert.transports import Destination, UnreachableError
from l1db.alert.transports.open import open_sender, probe

A, B = "a@example.org", "b@example.org"


def to(server: SmtpServer, *recipients: str, **settings: object) -> Destination:
    return destination(
        "email", host=HOST, port=server.port, sender="l1db@example.org", recipients=list(recipients or (A,)), **settings
    )


def read(envelope: Envelope) -> EmailMessage:
    assert isinstance(envelope.content, bytes)
    message = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def test_one_message_counts_all_and_lists_the_first(smtp_server: SmtpServer) -> None:
    packets = [event(i, kind="forced" if i % 4 == 0 else "detection", psf_flux=None) for i in range(1, 31)]
    there = to(smtp_server, A, f"Bea <{B}>", n_listed=5)
    assert states(sent(open_sender(there), reversed(packets))) == ["delivered"] * 30
    (envelope,) = smtp_server.taken
    assert envelope.rcpt_tos == [A, B]
    message = read(envelope)
    text = message.get_content()
    assert "30 alerts" in message["Subject"]
    assert "23 detections, 7 forced" in text.replace("forceds", "forced")
    assert [packet.alert_id for packet in packets if packet.ivorn in text] == [1, 2, 3, 4, 5]
    assert "and 25 more" in text
    first = next(line for line in text.splitlines() if packets[0].ivorn in line).split()
    assert first == ["1", "detection", str(10**17 + 1), "12.346679", "-3.200000", "r", "-", "10.0", packets[0].ivorn]


def test_repeated_digest_has_the_same_message_id_and_no_other_has(smtp_server: SmtpServer) -> None:
    packets = [event(i) for i in range(3)]
    elsewhere = [event(i, key=f"another-database/{i}") for i in range(3)]
    there = to(smtp_server)
    other = Destination("other", there.kind, there.format, there.settings)
    sent(open_sender(there), packets, 7)
    sent(open_sender(there), reversed(packets), 7)
    sent(open_sender(there), packets[1:], 7)
    sent(open_sender(there), packets, 8)
    sent(open_sender(other), packets, 7)
    sent(open_sender(there), elsewhere, 7)
    ids = [read(envelope)["Message-ID"] for envelope in smtp_server.taken]
    assert ids[0] == ids[1]
    assert len(set(ids[1:])) == 5


def test_one_recipient_is_enough_and_the_refused_are_named(smtp_server: SmtpServer) -> None:
    smtp_server.refuse = {B: "550 no such user"}
    outcome = sent(open_sender(to(smtp_server, A, B)), [event(1)])[1]
    assert outcome.state == "delivered"
    assert outcome.detail == f"refused: {B} (550 no such user)"
    assert "b@example.org (550 no such user)" in probe(to(smtp_server, A, B))


@pytest.mark.parametrize(
    ("refuse", "state"),
    [
        ({A: "550 no such user", B: "550 no such user"}, "refused"),
        ({A: "550 no such user", B: "451 another time"}, "failed"),
    ],
)
def test_no_recipient_left(smtp_server: SmtpServer, refuse: dict[str, str], state: str) -> None:
    smtp_server.refuse = refuse
    outcome = sent(open_sender(to(smtp_server, A, B)), [event(1)])[1]
    assert outcome.state == state
    assert "no such user" in str(outcome.detail)
    with pytest.raises(UnreachableError, match="no such user"):
        probe(to(smtp_server, A, B))


@pytest.mark.parametrize(("answer", "state"), [("554 spam", "refused"), ("451 full", "failed")])
def test_answer_to_the_message_decides(smtp_server: SmtpServer, answer: str, state: str) -> None:
    smtp_server.data = answer
    outcome = sent(open_sender(to(smtp_server)), [event(1)])[1]
    assert (outcome.state, outcome.detail) == (state, answer)


def test_login(smtp_server: SmtpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    there = to(smtp_server, user=smtp_server.user, password_env="L1DB_TEST_PASSWORD")
    monkeypatch.setenv("L1DB_TEST_PASSWORD", smtp_server.password)
    assert states(sent(open_sender(there), [event(1)])) == ["delivered"]
    monkeypatch.setenv("L1DB_TEST_PASSWORD", "wrong")
    with pytest.raises(UnreachableError, match="does not let l1db in"):
        list(open_sender(there).send([event(1)], 1))
    assert len(smtp_server.taken) == 1


def test_server_without_starttls_gets_nothing_in_the_clear(smtp_server: SmtpServer) -> None:
    with pytest.raises(UnreachableError, match="STARTTLS"):
        list(open_sender(to(smtp_server, starttls=True)).send([event(1)], 1))
    assert smtp_server.taken == []


def test_nothing_in_a_packet_becomes_a_header(smtp_server: SmtpServer) -> None:
    evil = "x\r\nBcc: victim@example.org\r\n\r\n.\r\nQUIT"
    packets = [event(1, band=evil, day_obs=evil, kind=evil, ivorn=evil, key=f"{DATABASE}\r\nBcc: v@e.org/1")]
    sent(open_sender(to(smtp_server)), packets)
    (envelope,) = smtp_server.taken
    assert envelope.rcpt_tos == [A]
    headers = {name.lower() for name in read(envelope).keys()}  # noqa: SIM118
    assert headers == {
        *("subject", "from", "to", "date", "message-id", "auto-submitted"),
        *("content-type", "content-transfer-encoding", "mime-version"),
    }


def test_nobody_there_and_silence_are_unreachable(closed_port: int, hanging_server: HangingServer) -> None:
    for port, why in ((closed_port, "refused"), (hanging_server.port, "timed out")):
        there = destination("email", host=HOST, port=port, sender=A, recipients=[B], timeout_s=0.2)
        with pytest.raises(UnreachableError, match=why):
            list(open_sender(there).send([event(1)], 1))
        with pytest.raises(UnreachableError, match=why):
            probe(there)


def test_probe_takes_it_back_before_there_is_a_message(smtp_server: SmtpServer) -> None:
    assert "would take mail" in probe(to(smtp_server))
    assert smtp_server.taken == []
