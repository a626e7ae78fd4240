"""Alerts go to each destination by itself, at least once, whatever happens to publishers, peers and the database."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from l1db.alert import destinations, publish, worker
from l1db.alert.transports import Destination, Outcome, Packet, webhook
from tests.alert.publishing import Night, all_of
from tests.peers.listeners import SmtpServer, closed_port
from tests.peers.receiver import Receiver


def test_every_alert_goes_to_every_destination_once(night: Night) -> None:
    for name in ("a", "b"):
        night.webhook(name)
    night.file("c")
    alerts = night.ingest(30)
    publisher = night.publish_once()
    for name in "abc":
        assert night.ledger(name) == all_of(alerts)
        assert publisher.tallies[name].delivered == 30
    assert night.receiver.at("a") == night.receiver.at("b") == dict.fromkeys(alerts, 1)
    assert not night.receiver.differing()
    assert night.publish_once().tallies["a"].delivered == 0
    assert night.receiver.at("a").total() == 30


def test_doorbell_wakes_a_publisher_that_would_not_look(night: Night) -> None:
    night.webhook("a")
    with night.publishing():
        night.wait(lambda: night.backends("a"), "nobody serves the destination")
        first = night.ingest(3)
        night.await_ledger("a", all_of(first))
        night.await_ledger("a", all_of(first + night.ingest(2)))


def test_two_publishers_share(night: Night) -> None:
    """The first has a batch that its peer does not answer; meanwhile the second has the others."""
    night.webhook("a")
    alerts = night.ingest(450)
    night.receiver.hold.clear()
    with night.publishing() as one:
        night.receiver.wait_for(2, "a")
        with night.publishing() as two:
            night.receiver.wait_for(4, "a")
            night.receiver.hold.set()
            night.await_ledger("a", all_of(alerts))
    assert one.tallies["a"].delivered + two.tallies["a"].delivered == 450
    assert min(one.tallies["a"].delivered, two.tallies["a"].delivered) > 0
    assert night.receiver.at("a") == dict.fromkeys(alerts, 1)


def test_dead_and_hanging_destinations_delay_nobody(night: Night) -> None:
    night.webhook("dead", url=f"http://127.0.0.1:{closed_port()}/")
    night.webhook("alive")
    night.webhook("hanging")
    held = Receiver()
    try:
        held.hold.clear()
        night.connection.execute(
            "select l1_api.change_destination('hanging', jsonb_build_object('settings', %s::jsonb))",
            (f'{{"url": "{held.url("hanging")}", "timeout_s": 3600}}',),
        )
        alerts = night.ingest(20)
        with night.publishing():
            night.await_ledger("alive", all_of(alerts))
            held.wait_for(2, "hanging")
            night.wait(lambda: night.status("dead", "trouble"), "nobody says that a destination is dead")
            night.await_ledger("alive", all_of(alerts + night.ingest(5)))
            assert set(night.ledger("dead").values()) <= {"failed"}
            assert night.ledger("hanging") == {}
            held.hold.set()
            night.wait(lambda: len(night.ledger("hanging")) == 25, "what had hung does not go on")
    finally:
        held.close()


def test_failing_alert_is_tried_again_while_others_go_on_and_refused_one_is_not(night: Night) -> None:
    night.webhook("a", connections=1)
    alerts = night.ingest(12)
    failing, refused = alerts[3], alerts[7]
    broken = threading.Event()
    broken.set()

    def status(arrival: Any) -> int:
        if arrival.alert_id == refused:
            return 422
        return 500 if arrival.alert_id == failing and broken.is_set() else 200

    night.receiver.status = status
    expected = all_of(alerts) | {failing: "failed", refused: "refused"}
    night.publish_once()
    assert night.ledger("a") == expected
    assert night.status("a", "n_failed") == 1
    later = night.ingest(4)
    broken.clear()
    with night.publishing():
        night.await_ledger("a", expected | all_of(later) | {failing: "delivered"})
    came = night.receiver.at("a")
    assert came.pop(failing) >= 2
    assert came == dict.fromkeys(set(alerts + later) - {failing}, 1)
    assert not night.receiver.differing()


def test_selection_decides_what_goes(night: Night) -> None:
    night.webhook("a", selection="snr > 14.5 and band in ('r')")
    night.webhook("b")
    alerts = night.ingest(10)
    publisher = night.publish_once()
    bright = night.connection.execute(
        "select a.alert_id from l1.alert a join l1.dia_source s using (dia_source_id) where s.snr > 14.5"
    ).fetchall()
    assert night.ledger("a") == all_of([alert_id for (alert_id,) in bright])
    assert len(bright) == 5
    assert night.ledger("b") == all_of(alerts)
    assert publisher.tallies["a"].passed_over == 5


def test_retraction_goes_where_its_alert_went(night: Night) -> None:
    night.webhook("chosen", selection="kind = 'detection' and snr > 10.5")
    night.webhook("changed", selection="snr > 10.5")
    alerts = night.ingest(3)
    night.publish_once()
    assert night.ledger("chosen") == night.ledger("changed") == all_of(alerts[1:])

    night.connection.execute("""select l1_api.change_destination('changed', '{"selection": "snr > 99"}')""")
    night.connection.execute(
        "select l1_api.withdraw_sources(array_agg(dia_source_id), 'artefacts') from l1.alert where alert_id = any (%s)",
        (alerts,),
    )
    retractions = [
        alert_id
        for (alert_id,) in night.connection.execute(
            "select alert_id from l1.alert where kind = 'retraction' order by dia_source_id"
        )
    ]
    publisher = night.publish_once()
    # The first alert went nowhere: there is nothing to take back.
    assert night.ledger("chosen") == night.ledger("changed") == all_of([*alerts[1:], *retractions[1:]])
    assert publisher.tallies["chosen"].passed_over == 1


def test_selection_that_fails_now_is_the_destination_s_trouble_and_loses_nothing(night: Night) -> None:
    night.webhook("a")
    night.connection.execute("update l1.destination set selection = 'snr > nothing' where destination = 'a'")
    alerts = night.ingest(3)
    assert 'column "nothing" does not exist' in (night.publish_once().tallies["a"].trouble or "")
    night.connection.execute("select l1_api.change_destination('a', '{\"selection\": null}')")
    night.publish_once()
    assert night.ledger("a") == all_of(alerts)


def test_alert_that_a_selection_fails_on_does_not_hold_up_the_others(night: Night) -> None:
    alerts = night.ingest(7)
    night.webhook("a", selection="100 / (snr - 12)::int < 999")
    night.publish_once()
    row = night.connection.execute("select alert_id from l1_api.alert_candidate where snr = 12").fetchone()
    assert row is not None
    assert night.ledger("a") == all_of(alerts) | {row[0]: "refused"}
    assert "division by zero" in night.status("a", "last_failure")
    night.retry("a")
    night.publish_once()
    assert night.ledger("a") == all_of(alerts)


def test_disabled_destination_waits_and_removed_one_keeps_its_ledger(night: Night) -> None:
    for name in "ab":
        night.webhook(name)
    first = night.ingest(4)
    with night.publishing():
        for name in "ab":
            night.await_ledger(name, all_of(first))
        night.connection.execute("select l1_api.change_destination('a', '{\"is_enabled\": false}')")
        night.connection.execute("select l1_api.remove_destination('b')")
        night.wait(lambda: not night.backends("a") + night.backends("b"), "publishers do not let go")
        second = night.ingest(4)
        night.wait(lambda: night.status("a", "n_waiting") == 4, "its alerts do not wait")
        assert night.ledger("a") == night.ledger("b") == all_of(first)
        night.connection.execute("select l1_api.change_destination('a', '{\"is_enabled\": true}')")
        night.await_ledger("a", all_of(first + second))
    assert night.ledger("b") == all_of(first)


def test_destination_that_is_removed_while_packets_are_on_their_way_is_no_trouble(night: Night) -> None:
    night.webhook("a")
    alerts = night.ingest(2)
    night.receiver.hold.clear()
    with night.publishing() as publisher:
        night.receiver.wait_for(2, "a")
        night.connection.execute("select l1_api.remove_destination('a')")
        night.receiver.hold.set()
        night.wait(lambda: not night.backends("a"), "the publisher does not let go")
    assert night.ledger("a") == all_of(alerts)
    assert publisher.tallies["a"].trouble is None


def test_destination_that_is_added_is_served_at_once(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "_LOOK_INTERVAL", 3600)
    night.webhook("b")
    with night.publishing():
        night.wait(lambda: night.backends("b"), "no publisher")
        night.webhook("a")
        night.await_ledger("a", all_of(night.ingest(3)))


def test_settings_that_change_end_the_wait_of_a_destination(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_FIRST_PAUSE", 3600)
    night.webhook("a", url=f"http://127.0.0.1:{closed_port()}/", connections=1)
    alerts = night.ingest(2)
    with night.publishing():
        night.wait(lambda: night.status("a", "trouble"), "no trouble")
        settings = f'{{"settings": {{"url": "{night.receiver.url("a")}"}}}}'
        night.connection.execute("select l1_api.change_destination('a', %s)", (settings,))
        night.wait(lambda: night.receiver.at("a") == dict.fromkeys(alerts, 1), "nothing comes to the new place")
        night.wait(lambda: night.status("a", "trouble") is None, "the trouble stays")


def test_alert_whose_packet_cannot_be_built_does_not_hold_up_the_others(night: Night) -> None:
    """Its cutout is not in the archive any more."""
    night.webhook("a")
    alerts = night.ingest(9)
    night.publish_once("a")
    night.damage(
        """update l1.cutout c
              set trouble = null, sha256 = sha256('x'), n_bytes = 1, pack = 'gone', start = 0
             from l1.alert a
            where a.alert_id = %s and c.dia_source_id = a.dia_source_id and c.kind = 'difference'""",
        alerts[4],
    )
    night.webhook("b")
    night.publish_once("b")
    assert night.ledger("b") == all_of(alerts) | {alerts[4]: "failed"}
    assert "the packet cannot be built: the archive" in night.status("b", "last_failure")
    assert alerts[4] not in night.receiver.at("b")
    assert night.status("b", "trouble") is None


def test_packet_that_the_transport_chokes_on_does_not_hold_up_the_others(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.webhook("a", connections=1)
    alerts = night.ingest(9)
    attempt = webhook.Webhook._attempt

    def choke(self: Any, lane: int, packet: Packet) -> Outcome:
        if packet.alert_id == alerts[4]:
            raise ValueError("no such shape")
        return attempt(self, lane, packet)

    monkeypatch.setattr(webhook.Webhook, "_attempt", choke)
    night.publish_once()
    assert night.ledger("a") == all_of(alerts) | {alerts[4]: "failed"}
    assert night.receiver.at("a") == dict.fromkeys(set(alerts) - {alerts[4]}, 1)


def test_packet_that_is_not_the_first_one_is_never_sent(night: Night) -> None:
    night.webhook("a")
    alerts = night.ingest(6)
    night.publish_once("a")
    night.damage("update l1.alert_packet set sha256 = sha256('x') where alert_id = %s", alerts[2])
    night.webhook("b")
    night.publish_once("b")
    assert night.ledger("b") == all_of(alerts) | {alerts[2]: "failed"}
    assert alerts[2] not in night.receiver.at("b")
    assert "is not the one that was built first" in night.status("b", "last_failure")


def test_lost_database_delays_and_repeats_nothing(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packets have been taken in and not answered when the sessions are cut: their answers are kept in mind."""
    night.webhook("a", connections=2)
    alerts = night.ingest(20)
    night.receiver.hold.clear()
    monkeypatch.setattr(worker, "_FLUSH_INTERVAL", 0)
    with night.publishing() as publisher:
        night.receiver.wait_for(2, "a")
        night.terminate(night.backends("a"))
        night.receiver.hold.set()
        night.await_ledger("a", all_of(alerts))
        night.await_ledger("a", all_of(alerts + night.ingest(3)))
    assert set(night.receiver.at("a").values()) == {1}
    assert publisher.tallies["a"].trouble is None


def test_what_was_sent_is_entered_although_the_publisher_is_to_stop_without_a_database(night: Night) -> None:
    night.webhook("a", connections=2)
    alerts = night.ingest(20)
    night.receiver.hold.clear()
    with night.publishing() as publisher:
        night.receiver.wait_for(2, "a")
        night.terminate(night.backends("a"))
        publisher.stop.set()
        night.receiver.hold.set()
        night.wait(lambda: not night.backends_of_publisher(), "the publisher does not end")
    came = night.receiver.at("a")
    assert 2 <= len(came) < 20
    assert night.ledger("a") == all_of(came)
    night.expire_leases()
    night.publish_once()
    assert night.receiver.at("a") == dict.fromkeys(alerts, 1)


def test_stop_ends_between_two_packets_and_gives_the_batch_back(night: Night) -> None:
    night.webhook("a", connections=2)
    alerts = night.ingest(20)
    night.receiver.hold.clear()
    with night.publishing() as publisher:
        night.receiver.wait_for(2, "a")
        publisher.stop.set()
    came = night.receiver.at("a")
    assert len(came) < 20
    assert night.ledger("a") == all_of(came)
    night.publish_once()
    assert night.receiver.at("a") == dict.fromkeys(alerts, 1)


def test_statements_do_not_grow_with_alerts(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.file("a")
    statements = []
    for method in ("execute", "copy"):
        real = getattr(psycopg.Cursor, method)

        def counting(self: Any, *arguments: Any, real: Any = real, **keywords: Any) -> Any:
            statements.append(arguments[0])
            return real(self, *arguments, **keywords)

        monkeypatch.setattr(psycopg.Cursor, method, counting)
    counts = []
    for n in (5, 150):
        night.ingest(n)
        statements.clear()
        assert night.publish_once().tallies["a"].delivered == n
        counts.append(len(statements))
    assert counts[0] == counts[1] > 10


def test_publisher_refuses_a_destination_that_there_is_not(night: Night) -> None:
    night.webhook("a")
    with pytest.raises(publish.DatabaseError, match="there is no destination b; there are: a"):
        night.publisher("b").run()


def test_alerts_gather_for_a_digest(night: Night) -> None:
    """What comes after a digest waits for the next one, while others go out at once.  Seen red without the interval."""
    server = SmtpServer()
    try:
        there = {
            "host": "127.0.0.1",
            "port": server.port,
            "sender": "l1db@example.org",
            "recipients": ["a@example.org"],
        }
        destinations.add(night.connection, Destination("mail", "email", "l1db", there), start="start")
        night.webhook("a")
        with night.publishing():
            first = night.ingest(3)
            night.await_ledger("mail", all_of(first))
            second = night.ingest(2) + night.ingest(4)
            night.await_ledger("a", all_of(first + second))
            assert night.ledger("mail") == all_of(first)
        night.publish_once("mail")
        assert night.ledger("mail") == all_of(first + second)
        assert len(server.taken) == 2
    finally:
        server.close()


def test_retraction_waits_for_the_alert_that_it_takes_back(night: Night) -> None:
    """Who gets the alert after its retraction, would take the source for live.  Seen red without the wait."""
    night.webhook("a")
    alerts = night.ingest(3)
    down = threading.Event()
    down.set()
    night.receiver.status = lambda arrival: 503 if down.is_set() and arrival.alert_id == alerts[0] else 200
    night.publish_once()
    row = night.connection.execute("select dia_source_id from l1.alert where alert_id = %s", alerts[:1]).fetchone()
    assert row is not None
    night.connection.execute("select l1_api.withdraw_sources(%s, 'a cosmic ray', 'test')", ([row[0]],))
    (retraction,) = (
        i for (i,) in night.connection.execute("select alert_id from l1.alert where kind = 'retraction'").fetchall()
    )
    night.expire_leases()
    night.publish_once()
    assert night.ledger("a")[alerts[0]] == night.ledger("a")[retraction] == "failed"
    assert retraction not in night.receiver.at("a")
    down.clear()
    for _ in range(2):
        night.expire_leases()
        night.publish_once()
    assert night.ledger("a") == all_of([*alerts, retraction])
