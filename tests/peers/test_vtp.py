"""VTP, with Comet as broker and subscribers behind it."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest
import voeventparse
from listeners import HOST, HangingServer
from synthetic_packets import AUTHORITY, destination, event, sent, states

from l1db.alert.transports import Packet, UnreachableError
from l1db.alert.transports.open import open_sender, probe
from l1db.alert.transports.vtp import MAX_BYTES
from l1db.demo.broker import Comet

_streams = (f"stream{i}" for i in itertools.count())


@pytest.fixture
def stream() -> str:
    """Of a name of its own: what the broker remembers of other tests does not matter."""
    return next(_streams)


def author(port: int, **settings: object):  # type: ignore[no-untyped-def]
    return open_sender(destination("vtp", host=HOST, port=port, **settings))


def of_stream(events: list[bytes], stream: str) -> list[str]:
    """The local parts of the names of a stream's events, as an independent reader reads them."""
    names = [voeventparse.loads(event).get("ivorn") for event in events]
    return [name.partition("#")[2] for name in names if name.startswith(f"{AUTHORITY}/{stream}#")]


def await_events(comet: Comet, subscriber: str, stream: str, wanted: set[str]) -> list[str]:
    """What a subscriber has of a stream once it has what is wanted; those of other streams may come meanwhile."""
    events = comet.received(subscriber)
    while not wanted <= set(of_stream(events, stream)):
        n = len(events)
        events = comet.wait_for(subscriber, n + 1)
        assert len(events) > n, f"{sorted(wanted - set(of_stream(events, stream)))} do not arrive"
    return of_stream(events, stream)


def test_comet_acknowledges_and_relays_to_its_subscriber(comet: Comet, stream: str) -> None:
    assert states(sent(author(comet.port), [event(i, stream=stream) for i in range(20)])) == ["delivered"] * 20
    expected = [str(i) for i in range(20)]
    assert sorted(await_events(comet, "all", stream, set(expected)), key=int) == expected


def test_xpath_subscriber_gets_only_what_matches(comet: Comet, stream: str) -> None:
    sent(author(comet.port), [event(i, stream=stream, snr=i) for i in range(10)])
    await_events(comet, "all", stream, {str(i) for i in range(10)})
    assert sorted(await_events(comet, "bright", stream, {"6", "7", "8", "9"})) == ["6", "7", "8", "9"]


def test_event_the_broker_has_counts_as_delivered_and_is_not_relayed_again(comet: Comet, stream: str) -> None:
    packets = [event(i, stream=stream) for i in range(3)]
    sent(author(comet.port), packets)
    again = sent(author(comet.port), [*packets, event(3, stream=stream)])
    assert states(again) == ["delivered"] * 4
    assert "Previously seen" in str(again[0].detail)
    assert again[3].detail is None
    assert sorted(await_events(comet, "all", stream, {"0", "1", "2", "3"})) == ["0", "1", "2", "3"]


def test_nak_is_refused_with_the_brokers_reason(comet: Comet, stream: str) -> None:
    good = event(1, stream=stream)
    bad = with_content(good, good.content.replace(b"Who>", b"Whoo>"))
    outcomes = sent(author(comet.port), [bad, event(2, stream=stream)])
    assert outcomes[1].state == "refused"
    assert "Whoo" in str(outcomes[1].detail)
    assert outcomes[2].state == "delivered"


def test_longest_event_passes_and_a_longer_one_never_leaves(comet: Comet, stream: str) -> None:
    overhead = len(event(1, stream=stream).content)
    longest = event(1, stream=stream, padding=MAX_BYTES - overhead)
    assert len(longest.content) == MAX_BYTES
    assert states(sent(author(comet.port), [longest])) == ["delivered"]

    with Recorder(lambda message: ACK) as broker:
        outcomes = sent(author(broker.port), [event(1, stream=stream, padding=MAX_BYTES + 1 - overhead)])
        assert outcomes[1].state == "refused"
        assert str(MAX_BYTES + 1) in str(outcomes[1].detail)
        assert broker.connections == 0


def test_what_comet_hangs_up_on_fails_alone(comet: Comet, stream: str) -> None:
    outcomes = sent(
        author(comet.port), [with_content(event(1), b"<no xml"), *(event(i, stream=stream) for i in (2, 3))]
    )
    assert states(outcomes) == ["failed", "delivered", "delivered"]
    assert "hung up" in str(outcomes[1].detail)


def test_killed_broker_is_unreachable_and_what_it_missed_arrives_when_it_is_back(comet: Comet, stream: str) -> None:
    sender = author(comet.port)
    packets = [event(i, stream=stream) for i in range(300)]
    outcomes = sender.send(packets, 1)
    for _ in range(10):
        next(outcomes)
    comet.kill()
    with pytest.raises(UnreachableError, match=f"{HOST}:{comet.port}"):
        list(outcomes)

    comet.start()
    again = sent(sender, [*packets, event(300, stream=stream)])
    assert states(again) == ["delivered"] * 301
    # What the broker had taken before it was killed, it says it has seen, and may never relay.  All the rest arrives.
    fresh = {str(i) for i, outcome in again.items() if "Previously seen" not in str(outcome.detail)}
    assert len(fresh) > 100
    await_events(comet, "all", stream, fresh)


def test_silent_broker_ends_after_the_timeout(hanging_server: HangingServer) -> None:
    sender = author(hanging_server.port, timeout_s=0.2, connections=2)
    outcomes = []
    with pytest.raises(UnreachableError, match=r"no answer within 0\.2 s"):
        outcomes.extend(sender.send([event(i) for i in range(100)], 1))
    # Three in a row, and what was on its way with them.
    assert {outcome.state for outcome in outcomes} == {"failed"}
    assert len(outcomes) <= 4
    # After that, one goes ahead alone.
    before = hanging_server.accepted
    with pytest.raises(UnreachableError):
        list(sender.send([event(i) for i in range(100)], 1))
    assert hanging_server.accepted == before + 1


def test_nobody_there_is_unreachable_at_once(closed_port: int) -> None:
    with pytest.raises(UnreachableError, match="Connection refused"):
        list(author(closed_port).send([event(1)], 1))


def test_reply_by_drops_still_ends_after_the_timeout() -> None:
    def drip(connection: socket.socket) -> None:
        for byte in struct.pack(">I", len(ACK)) + ACK:
            connection.sendall(bytes([byte]))
            stop.wait(0.05)

    stop = threading.Event()
    with Recorder(None, drip) as broker:
        outcome = sent(author(broker.port, timeout_s=0.3), [event(1)])[1]
        stop.set()
    assert (outcome.state, outcome.detail) == ("failed", "no answer within 0.3 s")


def test_entities_in_a_reply_are_not_followed(tmp_path) -> None:  # type: ignore[no-untyped-def]
    secret = tmp_path / "secret"
    secret.write_text("for nobody")
    nak = (
        f'<!DOCTYPE t [<!ENTITY e SYSTEM "{secret.as_uri()}">]>'
        f'<trn:Transport xmlns:trn="{NAMESPACE}" role="nak"><Meta><Result>so: &e;</Result></Meta></trn:Transport>'
    ).encode()
    with Recorder(lambda message: nak) as broker:
        outcome = sent(author(broker.port), [event(1)])[1]
    assert outcome.state == "refused"
    assert "for nobody" not in str(outcome.detail)


def test_something_else_at_the_port_is_no_broker() -> None:
    with Recorder(None, lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        outcome = sent(author(server.port), [event(1)])[1]
    assert outcome.state == "failed"
    assert "not VTP" in str(outcome.detail)


def test_events_of_an_object_arrive_in_order(stream: str) -> None:
    """Several connections, a broker that is slow with every other event: within each object nothing overtakes."""
    packets = [event(i, stream=stream, dia_object_id=i % 5) for i in range(60)]

    def answer(message: bytes) -> bytes:
        i = int(voeventparse.loads(message).get("ivorn").partition("#")[2])
        threading.Event().wait(0.01 * (i // 5 % 2))
        with broker.lock:
            arrived.append(i)
        return ACK

    arrived: list[int] = []
    with Recorder(answer) as broker:
        assert states(sent(author(broker.port, connections=8), packets)) == ["delivered"] * 60
    assert broker.most_at_once > 1
    for remainder in range(5):
        of_object = [i for i in arrived if i % 5 == remainder]
        assert of_object == sorted(of_object)


def test_probe_tells_a_broker_from_its_other_port_and_from_silence(
    comet: Comet, hanging_server: HangingServer, closed_port: int
) -> None:
    assert str(comet.port) in probe(destination("vtp", host=HOST, port=comet.port))
    with pytest.raises(UnreachableError, match="port for subscribers"):
        probe(destination("vtp", host=HOST, port=comet._ports["Broadcaster"]))
    with pytest.raises(UnreachableError, match="no answer"):
        probe(destination("vtp", host=HOST, port=hanging_server.port, timeout_s=0.2))
    with pytest.raises(UnreachableError, match="refused"):
        probe(destination("vtp", host=HOST, port=closed_port))


# --- a broker that does as it is told --------------------------------------------------------------------------------

NAMESPACE = "http://www.telescope-networks.org/xml/Transport/v1.1"
ACK = f'<trn:Transport xmlns:trn="{NAMESPACE}" version="1.0" role="ack"><Origin>ivo://a/b</Origin></trn:Transport>'.encode()


def with_content(packet: Packet, content: bytes) -> Packet:
    return Packet(**{**packet.__dict__, "content": content})


class Recorder:
    """Takes messages one per connection, and answers; or does with the connection what it is told."""

    def __init__(
        self, answer: Callable[[bytes], bytes] | None, handle: Callable[[socket.socket], None] | None = None
    ) -> None:
        self._answer, self._handle = answer, handle
        self._socket = socket.create_server((HOST, 0))
        self.port: int = self._socket.getsockname()[1]
        self.lock = threading.Lock()
        self.connections = self.most_at_once = self._now = 0
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Recorder:
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in (self._acceptor, *self._threads):
            thread.join()

    def _accept(self) -> None:
        for connection in self._incoming():
            self.connections += 1
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _incoming(self) -> Iterator[socket.socket]:
        while True:
            try:
                yield self._socket.accept()[0]
            except OSError:
                return

    def _serve(self, connection: socket.socket) -> None:
        with self.lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        with connection, connection.makefile("rb") as file:
            try:
                (length,) = struct.unpack(">I", file.read(4))
                message = file.read(length)
                if self._answer is not None:
                    answer = self._answer(message)
                    connection.sendall(struct.pack(">I", len(answer)) + answer)
                elif self._handle is not None:
                    self._handle(connection)
            except (OSError, struct.error):
                pass
        with self.lock:
            self._now -= 1
