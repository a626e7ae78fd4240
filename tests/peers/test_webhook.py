"""Webhooks, on a real HTTP server."""

from __future__ import annotations

import hashlib
import hmac
import threading

import pytest
from listeners import HOST, Answer, HangingServer, HttpServer, Request
from synthetic_packets import DATABASE, avro, destination, event, sent, states

from l1db.alert.transports import Destination, UnreachableError
from l1db.alert.transports.open import open_sender, probe


def to(server: HttpServer, format: str = "lsst-11.1", **settings: object) -> Destination:
    return destination("webhook", format, url=server.url, **settings)


def test_packet_is_the_body_and_headers_say_what_it_is(http_server: HttpServer) -> None:
    packets = [avro(1), event(2)]
    assert states(sent(open_sender(to(http_server)), packets)) == ["delivered"] * 2
    by_alert = {request.headers["x-l1db-alert"]: request for request in http_server.requests}
    assert {alert: request.body for alert, request in by_alert.items()} == {
        "1": packets[0].content,
        "2": packets[1].content,
    }
    one, two = by_alert["1"].headers, by_alert["2"].headers
    assert (one["content-type"], two["content-type"]) == ("avro/binary", "application/xml")
    assert one["idempotency-key"] == f"{DATABASE}/1"
    assert one["x-l1db-schema"] == "lsst.v11_1.alert"
    assert "x-l1db-schema" not in two
    assert "x-l1db-signature" not in one


def test_receiver_can_check_the_signature(http_server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L1DB_TEST_SECRET", "s3cret")

    def answer(request: Request) -> Answer:
        """As the documentation tells a receiver to check."""
        text = request.headers["x-l1db-timestamp"].encode() + b"." + request.body
        good = "sha256=" + hmac.new(b"s3cret", text, hashlib.sha256).hexdigest()
        return Answer() if hmac.compare_digest(good, request.headers["x-l1db-signature"]) else Answer(422)

    http_server.answer = answer
    there = to(http_server, secret_env="L1DB_TEST_SECRET")
    assert states(sent(open_sender(there), [avro(1), avro(2)])) == ["delivered"] * 2
    monkeypatch.setenv("L1DB_TEST_SECRET", "another")
    assert states(sent(open_sender(there), [avro(1)])) == ["refused"]


def test_secret_headers_come_from_the_environment(http_server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L1DB_TEST_TOKEN", "Bearer abc")
    there = to(http_server, headers={"X-Survey": "l1db"}, headers_env={"Authorization": "L1DB_TEST_TOKEN"})
    sent(open_sender(there), [avro(1)])
    headers = http_server.requests[0].headers
    assert (headers["x-survey"], headers["authorization"]) == ("l1db", "Bearer abc")


def test_secrets_that_a_peer_repeats_stay_out_of_the_ledger(
    http_server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("L1DB_TEST_TOKEN", "Bearer correct-horse")
    http_server.answer = lambda request: Answer(400, f"no correct-horse, {request.headers['authorization']}".encode())
    there = to(http_server, headers_env={"Authorization": "L1DB_TEST_TOKEN"})
    outcome = sent(open_sender(there), [avro(1)])[1]
    assert outcome.detail == "HTTP 400: no ***, ***"


@pytest.mark.parametrize(
    ("status", "state"),
    [(200, "delivered"), (202, "delivered"), (204, "delivered")]
    + [(400, "refused"), (410, "refused"), (413, "refused"), (422, "refused")]
    + [(s, "failed") for s in (401, 403, 404, 408, 425, 429, 500, 502, 503, 504)],
)
def test_status_decides(http_server: HttpServer, status: int, state: str) -> None:
    body = b"" if status == 204 else b"because\nof more"
    http_server.answer = lambda request: Answer(status, body)
    outcome = sent(open_sender(to(http_server)), [avro(1)])[1]
    assert outcome.state == state
    if state != "delivered":
        assert outcome.detail == f"HTTP {status}: because"


def test_failed_alert_is_delivered_another_time_under_the_same_key(http_server: HttpServer) -> None:
    http_server.answer = lambda request: Answer(500 if len(http_server.requests) == 1 else 200)
    sender = open_sender(to(http_server))
    assert states(sent(sender, [avro(1)])) == ["failed"]
    assert states(sent(sender, [avro(1)])) == ["delivered"]
    assert len({request.headers["idempotency-key"] for request in http_server.requests}) == 1


def test_redirect_is_refused_with_its_target_and_not_followed(http_server: HttpServer) -> None:
    http_server.answer = lambda request: Answer(
        308, headers={"Location": f"http://{HOST}:{http_server.port}/elsewhere"}
    )
    outcome = sent(open_sender(to(http_server)), [avro(1)])[1]
    assert outcome.state == "refused"
    assert f"{http_server.port}/elsewhere" in str(outcome.detail)
    assert [request.path for request in http_server.requests] == ["/alerts"]


def test_alert_that_breaks_the_receiver_does_not_stop_the_others(http_server: HttpServer) -> None:
    http_server.answer = lambda request: Answer(hang_up=request.headers["x-l1db-alert"] == "3")
    outcomes = sent(open_sender(to(http_server)), [avro(i) for i in range(10)])
    assert [i for i, outcome in outcomes.items() if outcome.state == "failed"] == [3]
    assert outcomes[3].state == "failed"


def test_receiver_in_trouble_is_left_in_peace(http_server: HttpServer) -> None:
    http_server.answer = lambda request: Answer(503)
    sender = open_sender(to(http_server, connections=2))
    outcomes = []
    with pytest.raises(UnreachableError, match="HTTP 503"):
        outcomes.extend(sender.send([avro(i) for i in range(100)], 1))
    assert {outcome.state for outcome in outcomes} == {"failed"}
    assert len(outcomes) == len(http_server.requests) <= 4
    with pytest.raises(UnreachableError):
        list(sender.send([avro(i) for i in range(100)], 1))
    assert len(http_server.requests) <= 5
    http_server.answer = lambda request: Answer()
    assert states(sent(sender, [avro(i) for i in range(5)])) == ["delivered"] * 5


def test_connections_are_kept_and_a_stale_one_is_replaced(http_server: HttpServer) -> None:
    sender = open_sender(to(http_server, connections=1))
    sent(sender, [avro(i) for i in range(5)])
    assert len({request.connection for request in http_server.requests}) == 1
    # The server closes what was idle; the sender cannot know before it tries.
    http_server.answer = lambda request: Answer(
        headers={"Connection": "close"} if len(http_server.requests) == 6 else {}
    )
    sent(sender, [avro(5)])
    assert states(sent(sender, [avro(6), avro(7)])) == ["delivered"] * 2
    reached = len(http_server.requests)
    http_server.answer = lambda request: Answer(hang_up=len(http_server.requests) == reached + 1)
    assert states(sent(sender, [avro(8)])) == ["delivered"]
    assert [request.headers["x-l1db-alert"] for request in http_server.requests[reached:]] == ["8", "8"]


def test_alerts_of_an_object_arrive_in_order(http_server: HttpServer) -> None:
    packets = [avro(i, dia_object_id=i % 5) for i in range(60)]

    def answer(request: Request) -> Answer:
        return Answer(delay=0.01 * (int(request.headers["x-l1db-alert"]) // 5 % 2))

    http_server.answer = answer
    sent(open_sender(to(http_server, connections=8)), packets)
    assert len({request.connection for request in http_server.requests}) > 1
    arrived = [int(request.headers["x-l1db-alert"]) for request in http_server.requests]
    for remainder in range(5):
        of_object = [i for i in arrived if i % 5 == remainder]
        assert of_object == sorted(of_object)


def test_who_stops_asking_stops_the_sending(http_server: HttpServer) -> None:
    http_server.answer = lambda request: Answer(delay=0.01)
    outcomes = open_sender(to(http_server, connections=2)).send([avro(i) for i in range(300)], 1)
    assert next(outcomes).state == "delivered"
    outcomes.close()  # type: ignore[attr-defined]
    assert len(http_server.requests) < 300
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("webhook")]


def test_silence_ends_after_the_timeout(hanging_server: HangingServer) -> None:
    there = destination("webhook", "l1db", url=f"http://{HOST}:{hanging_server.port}/", timeout_s=0.2)
    with pytest.raises(UnreachableError, match=r"no answer within 0\.2 s"):
        list(open_sender(there).send([avro(i) for i in range(100)], 1))
    with pytest.raises(UnreachableError, match="no answer"):
        probe(there)


def test_nobody_there_is_unreachable_at_once(closed_port: int) -> None:
    there = destination("webhook", "l1db", url=f"http://{HOST}:{closed_port}/")
    with pytest.raises(UnreachableError, match="refused"):
        list(open_sender(there).send([avro(1)], 1))
    with pytest.raises(UnreachableError, match="refused"):
        probe(there)


def test_server_without_tls_is_unreachable_by_https(http_server: HttpServer) -> None:
    there = destination("webhook", "l1db", url=f"https://{HOST}:{http_server.port}/", timeout_s=2)
    with pytest.raises(UnreachableError):
        list(open_sender(there).send([avro(1)], 1))


def test_probe_asks_without_an_alert(http_server: HttpServer) -> None:
    assert "HTTP 200" in probe(to(http_server))
    assert [request.method for request in http_server.requests] == ["HEAD"]
