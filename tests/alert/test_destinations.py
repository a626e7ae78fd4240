"""Destinations as an operator has them: the commands, the functions behind them, and who may call which."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.alert.outbox import issue
from tests.alert.publishing import Night, all_of
from tests.command_line import l1db
from tests.peers.listeners import closed_port


def listed(night: Night, name: str) -> dict[str, Any]:
    outcome = l1db("destination", "list", "--json", dsn=night.dsn)
    assert outcome.code == 0
    return next(row for row in json.loads(outcome.out) if row["destination"] == name)


def add(night: Night, name: str = "a", *more: str, url: str | None = None) -> Any:
    url = url or night.receiver.url(name)
    return l1db("destination", "add", name, "--kind", "webhook", "--set", f"url={url}", *more, dsn=night.dsn)


def test_destination_from_its_addition_to_its_removal(night: Night) -> None:
    assert "no destinations" in l1db("destination", "list", dsn=night.dsn).out
    assert add(night).out == f"a: added; 127.0.0.1:{night.receiver.port} answers HTTP 200 to HEAD\n"
    row = listed(night, "a")
    assert (row["format"], row["is_enabled"], row["n_waiting"], row["give_up_after_s"]) == ("l1db", True, 0, 7 * 86400)
    alerts = night.ingest(5)
    night.receiver.status = lambda arrival: 400 if arrival.alert_id == alerts[0] else 200
    assert listed(night, "a")["n_waiting"] == 5
    night.publish_once()
    row = listed(night, "a")
    assert (row["n_delivered"], row["n_refused"], row["n_waiting"], row["trouble"]) == (4, 1, 0, "HTTP 400")
    assert "\na  " in l1db("destination", "list", dsn=night.dsn).out

    (failure,) = json.loads(l1db("destination", "failures", "a", "--json", dsn=night.dsn).out)
    assert (failure["alert_id"], failure["state"], failure["detail"]) == (str(alerts[0]), "refused", "HTTP 400")
    assert "refused" in l1db("destination", "failures", "a", dsn=night.dsn).out

    night.receiver.status = lambda arrival: 200
    assert l1db("destination", "retry", "a", dsn=night.dsn).out == "a: 1 alert to be tried again\n"
    night.publish_once()
    assert night.ledger("a") == all_of(alerts)
    assert l1db("destination", "failures", "a", dsn=night.dsn).out == "a: none\n"

    assert l1db("destination", "disable", "a", dsn=night.dsn).out == "a: disabled\n"
    assert not listed(night, "a")["is_enabled"]
    assert l1db("destination", "enable", "a", dsn=night.dsn).out == "a: enabled\n"
    assert l1db("destination", "remove", "a", dsn=night.dsn).out == "a: removed\n"
    assert "destination a was removed. Its ledger" in l1db("destination", "remove", "a", dsn=night.dsn).error
    assert "there is a destination a already, or there was one. Its ledger is kept under that name" in add(night).error
    assert night.ledger("a") == all_of(alerts)


def test_unreachable_peer_is_refused_unless_asked_for(night: Night) -> None:
    nowhere = f"http://127.0.0.1:{closed_port()}/"
    assert "Connection refused; --unreachable adds it all the same" in add(night, url=nowhere).error
    assert "none" in l1db("destination", "test", "a", dsn=night.dsn).error
    assert add(night, "a", "--unreachable", url=nowhere).code == 0
    assert "Connection refused" in l1db("destination", "test", "a", dsn=night.dsn).error
    settings = f"url={night.receiver.url('a')}"
    assert l1db("destination", "set", "a", "--set", settings, dsn=night.dsn).out == "a: settings changed\n"
    assert "answers HTTP 200" in l1db("destination", "test", "a", dsn=night.dsn).out


def test_one_alert_is_sent_on_trial_and_the_ledger_does_not_change(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("L1DB_ARCHIVE", str(night.directory / "archive"))
    night.webhook("a")
    alerts = night.ingest(2)
    assert l1db("destination", "test", "a", "--alert", alerts[1], dsn=night.dsn).out.endswith(
        f"a: alert {alerts[1]} delivered\n"
    )
    assert night.receiver.at("a") == {alerts[1]: 1}
    assert night.ledger("a") == {}
    night.receiver.status = lambda arrival: 503
    outcome = l1db("destination", "test", "a", "--alert", alerts[0], dsn=night.dsn)
    assert outcome.code == 1
    assert outcome.out.endswith(f"a: alert {alerts[0]} failed: HTTP 503\n")
    assert l1db("destination", "test", "a", "--alert", 10**12, dsn=night.dsn).code == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("--set", "colour=red"), "unknown setting colour"),
        (("--set", "timeout_s=soon"), "setting timeout_s is a number, not 'soon'"),
        (("--set", "timeout_s"), "--set timeout_s: write KEY=VALUE"),
        (("--set", "url=null"), "setting url is missing"),
        (("--selection", "nothing > 1"), "the selection 'nothing > 1' fails: column \"nothing\" does not exist"),
        (("--selection", "snr > 1; drop table l1.alert"), "fails: syntax error at or near"),
        (("--selection", "l1_api.remove_destination('a') is null"), "cannot execute"),
        ((), "nothing to change: name --set, --selection or --give-up-after"),
    ],
)
def test_change_that_cannot_be_is_refused_and_changes_nothing(change: tuple[str, ...], why: str, night: Night) -> None:
    night.ingest(1)
    add(night)
    before = listed(night, "a")
    assert why in l1db("destination", "set", "a", *change, dsn=night.dsn).error
    assert listed(night, "a") == before
    if change[:1] == ("--selection",):
        assert why in add(night, "b", *change).error


def test_change_says_what_it_changed(night: Night) -> None:
    night.webhook("a", timeout_s=3)
    outcome = l1db("destination", "set", "a", "--set", "timeout_s=null", "--set", "connections=7", "--selection",
                   "snr > 10", "--give-up-after", "1.5", dsn=night.dsn)  # fmt: skip
    assert outcome.out == "a: settings, selection, give_up_after changed\n"
    row = listed(night, "a")
    assert row["settings"] == {"url": night.receiver.url("a"), "connections": 7}
    assert (row["selection"], row["give_up_after_s"]) == ("snr > 10", 5400)
    l1db("destination", "set", "a", "--selection", "", dsn=night.dsn)
    assert listed(night, "a")["selection"] is None


@pytest.mark.parametrize("name", ["", "with space", "a" * 51, "../up"])
def test_names_fit_for_files_and_consumers(name: str, night: Night) -> None:
    assert "is no name for a destination" in add(night, name, url=night.receiver.url("x")).error


def test_publish_command_tells_what_it_did(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L1DB_ARCHIVE", str(night.directory / "archive"))
    assert "there is no destination nobody" in l1db("publish", "--once", "nobody", dsn=night.dsn).error
    night.webhook("a", selection="snr > 11.5")
    night.webhook("dead", url=f"http://127.0.0.1:{closed_port()}/")
    night.ingest(4)
    assert l1db("publish", "--once", "a", dsn=night.dsn).out == "a: 2 delivered, 2 not selected\n"
    outcome = l1db("publish", "--once", dsn=night.dsn)
    assert outcome.code == 1
    assert outcome.out.startswith("a: 0 delivered\ndead: 0 delivered")
    assert "Connection refused" in outcome.out


def test_failures_wait_twice_as_long_each_time_up_to_an_hour(connection: psycopg.Connection) -> None:
    alert_id = prepare(connection)
    waits = []
    for _ in range(15):
        record(connection, alert_id, "failed")
        waits += one(connection, "select extract(epoch from next_at - last_at)::int from l1.delivery")
    assert waits == [*(2**i for i in range(12)), 3600, 3600, 3600]
    assert one(connection, "select n_attempts from l1.delivery") == (15,)


def test_what_was_delivered_stays_so(connection: psycopg.Connection) -> None:
    alert_id = prepare(connection)
    for state in ("failed", "delivered", "failed", "refused"):
        record(connection, alert_id, state)
    assert one(connection, "select state, next_at, n_attempts from l1.delivery") == ("delivered", None, 2)


def test_alert_that_is_too_old_is_given_up(connection: psycopg.Connection) -> None:
    old = prepare(connection, stamp="clock_timestamp() - interval '8 days'")
    connection.execute("update l1.destination set created_at = created_at - interval '30 days'")
    (young,) = issue(connection, 1)
    (older,) = issue(connection, 1, stamp="clock_timestamp() - interval '9 days'")
    record(connection, old, "failed")
    assert one(connection, "select state, next_at from l1.delivery") == ("given_up", None)
    open_ = connection.execute("select l1_api.open_deliveries('d', %s)", ([older, young, old],)).fetchall()
    assert open_ == [(young,)]
    assert one(connection, "select state, n_attempts from l1.delivery where alert_id = %s", older) == ("given_up", 0)
    record(connection, older, "delivered")
    assert one(connection, "select state from l1.delivery where alert_id = %s", older) == ("delivered",)


def test_alerts_from_before_the_destination_are_as_old_as_it_is(connection: psycopg.Connection) -> None:
    old = prepare(connection, stamp="clock_timestamp() - interval '8 days'")
    assert one(connection, "select l1_api.open_deliveries('d', %s)", [old]) == (old,)
    record(connection, old, "failed")
    assert one(connection, "select state from l1.delivery") == ("failed",)


def test_patience_may_be_longer_than_there_are_years(connection: psycopg.Connection) -> None:
    alert_id = prepare(connection)
    connection.execute("""select l1_api.change_destination('d', '{"give_up_after": "100000 years"}')""")
    assert one(connection, "select l1_api.open_deliveries('d', %s)", [alert_id]) == (alert_id,)
    record(connection, alert_id, "failed")
    assert one(connection, "select state from l1.delivery") == ("failed",)


@pytest.mark.parametrize("hours", ["inf", "nan", "1e12"])
def test_hours_that_are_none_are_refused_in_a_line(hours: str, night: Night) -> None:
    assert "--give-up-after" in add(night, "a", "--give-up-after", hours).error
    night.webhook("b")
    assert "--give-up-after" in l1db("destination", "set", "b", "--give-up-after", hours, dsn=night.dsn).error
    assert "--lease" in l1db("publish", "--once", "--lease", hours, dsn=night.dsn).error


def test_due_alerts_are_one_publisher_s_for_a_while(connection: psycopg.Connection) -> None:
    alert_id = prepare(connection)
    record(connection, alert_id, "failed")
    take = "select l1_api.due_deliveries('d', 10, '1 h')"
    assert connection.execute(take).fetchall() == []
    assert one(connection, "select l1_api.retry_deliveries('d')") == (1,)
    assert connection.execute(take).fetchall() == [(alert_id,)]
    assert connection.execute(take).fetchall() == []


def test_trouble_keeps_its_beginning(connection: psycopg.Connection) -> None:
    prepare(connection)
    said = "select trouble, trouble_since from l1.destination"
    connection.execute("select l1_api.note_trouble('d', 'one')")
    _, since = one(connection, said)
    connection.execute("select l1_api.note_trouble('d', 'two')")
    assert one(connection, said) == ("two", since)
    connection.execute("select l1_api.note_trouble('d', null)")
    assert one(connection, said) == (None, None)


def test_consumer_of_a_destination_comes_and_goes_with_it(connection: psycopg.Connection) -> None:
    """Who may listen may drop consumers; a destination without its consumer would lose what waits."""
    refused = pytest.raises(psycopg.Error, match="destination:d is a name for the consumer of a destination")
    with refused, connection.transaction():
        connection.execute("select l1_api.add_consumer('destination:d')")
    prepare(connection)
    refused = pytest.raises(psycopg.Error, match="consumer destination:d is that of a destination")
    with refused, connection.transaction():
        connection.execute("select l1_api.drop_consumer('destination:d')")
    assert one(connection, "select consumer from l1.alert_cursor") == ("destination:d",)
    connection.execute("select l1_api.remove_destination('d')")
    assert connection.execute("select consumer from l1.alert_cursor").fetchall() == []


def test_unknown_change_is_refused(connection: psycopg.Connection) -> None:
    prepare(connection)
    with pytest.raises(psycopg.Error, match="a destination's format, kind cannot be changed"):
        connection.execute('select l1_api.change_destination(\'d\', \'{"kind": "vtp", "format": "voevent"}\')')


def prepare(connection: psycopg.Connection, stamp: str = "clock_timestamp()") -> int:
    """A destination and an alert."""
    connection.execute("select l1_api.ensure_partitions(61000.1)")
    connection.execute("select l1_api.add_destination('d', 'file', 'l1db', '{}', p_start => 'start')")
    return issue(connection, 1, stamp=stamp)[0]


def record(connection: psycopg.Connection, alert_id: int, state: str) -> None:
    connection.execute("select l1_api.record_deliveries('d', %s, %s, %s)", ([alert_id], [state], ["why"]))


def one(connection: psycopg.Connection, query: str, *values: object) -> tuple[Any, ...]:
    row = connection.execute(query.encode(), values).fetchone()
    assert row is not None
    return row


def test_who_publishes_may_not_change_destinations_and_is_told_who_may(night: Night) -> None:
    login = "l1db_test_faults_publisher"
    night.webhook("a")
    alerts = night.ingest(2)
    admin, night.dsn = night.dsn, make_conninfo(night.dsn, user=login)
    try:
        night.connection.execute(sql.SQL("create role {} login in role l1_publish").format(sql.Identifier(login)))
        for refused in (
            add(night, "b"),
            *(l1db("destination", command, "a", dsn=night.dsn) for command in ("disable", "remove", "retry")),
        ):
            assert refused.error.endswith("have your login made a member of role l1_admin")
        night.publish_once()
        assert night.ledger("a") == all_of(alerts)
        assert listed(night, "a")["n_delivered"] == 2
    finally:
        night.dsn = admin
        night.connection.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(login)))
