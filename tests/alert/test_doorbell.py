"""One notification per statement that made alerts, at its commit, and for nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from l1db import Client, DatabaseError, DetectorData, Visit
from tests.alert.outbox import issue
from tests.concurrency.gate import Gate, stopping_at
from tests.sky_fields import field

SKY = field(side=4)


class Listener:
    """Hears what rings on l1_alert."""

    def __init__(self, dsn: str) -> None:
        self.connection = psycopg.connect(dsn, autocommit=True)
        self.connection.execute("listen l1_alert")

    def heard(self) -> list[dict[str, Any]]:
        """All that rang since the last look: delivered before anything that is notified now."""
        self.connection.execute("notify l1_alert, 'end'")
        payloads: list[dict[str, Any]] = []
        for notification in self.connection.notifies(timeout=20):
            if notification.payload == "end":
                return payloads
            assert len(notification.payload.encode()) < 8000
            payloads.append(json.loads(notification.payload))
        raise AssertionError("the listener hears nothing at all")


@pytest.fixture
def listener(database: str) -> Iterator[Listener]:
    listener = Listener(database)
    yield listener
    listener.connection.close()


def test_one_call_rings_once_and_says_for_what(listener: Listener, client: Client) -> None:
    exposure = SKY.expose(2)
    result = client.ingest(exposure.visit, exposure.detectors)
    assert listener.heard() == [{"visit": "2", "detectors": [0, 1, 2, 3], "n": result.n_alerts}]
    assert result.n_alerts == len(SKY.stars)


def test_each_call_rings(listener: Listener, client: Client) -> None:
    exposure = SKY.expose(2)
    for detector in exposure.detectors:
        client.ingest(exposure.visit, [detector])
    assert [bell["detectors"] for bell in listener.heard()] == [[0], [1], [2], [3]]


def test_ids_beyond_53_bits_survive(listener: Listener, client: Client) -> None:
    visit = 2**62 + 1
    columns = {"ra": [1.0], "dec": [1.0], "psf_flux": [1.0], "psf_flux_err": [1.0]}
    client.ingest(Visit(visit, "r", 61_000.1), [DetectorData(0, columns)])
    assert listener.heard() == [{"visit": str(visit), "detectors": [0], "n": 1}]


def test_nothing_rings_where_no_alert_is_made(listener: Listener, client: Client) -> None:
    exposure = SKY.expose(2)
    client.ingest(exposure.visit, [DetectorData(9)])
    assert listener.heard() == []
    client.ingest(exposure.visit, exposure.detectors)
    assert len(listener.heard()) == 1
    client.ingest(exposure.visit, exposure.detectors)
    assert listener.heard() == [], "the same data again"


def test_nothing_rings_for_sources_without_object(listener: Listener, client: Client) -> None:
    listener.connection.execute("""select l1_api.change_survey('{"max_new_objects": 0}', 'test')""")
    exposure = SKY.expose(2)
    assert client.ingest(exposure.visit, exposure.detectors).n_alerts == 0
    assert listener.heard() == []


def test_nothing_rings_before_the_commit_or_after_a_rollback(listener: Listener, database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("select l1_api.ensure_partitions(61000.1)")
        connection.commit()
        issue(connection, 3)
        assert listener.heard() == []
        connection.rollback()
        assert listener.heard() == []
        issue(connection, 3)
        connection.commit()
        assert [bell["n"] for bell in listener.heard()] == [3]


def test_nothing_rings_for_a_killed_ingest(listener: Listener, database: str) -> None:
    exposure = SKY.expose(2)
    with Gate(database) as gate, Client(stopping_at(database, "ledger")) as client, ThreadPoolExecutor() as pool:
        call = pool.submit(client.ingest, exposure.visit, exposure.detectors)
        gate.kill(gate.stopped())
        assert isinstance(call.exception(timeout=30), DatabaseError)
    assert listener.heard() == []


@pytest.mark.parametrize(("n_detectors", "are_named"), [(1000, True), (1400, True), (3000, False)])
def test_detectors_are_left_out_where_they_do_not_fit(n_detectors: int, are_named: bool, listener: Listener) -> None:
    listener.connection.execute("select l1_api.ensure_partitions(61000.1)")
    listener.connection.execute(
        "insert into l1.alert (kind, dia_source_id, midpoint_mjd_tai, visit, detector, survey_version, stamp)"
        " select 'detection', i, 61000.1, 5, i, 1, now() from generate_series(1, %s) as i",
        (n_detectors,),
    )
    (bell,) = listener.heard()
    assert (bell["visit"], bell["n"]) == ("5", n_detectors)
    assert bell.get("detectors") == (list(range(1, n_detectors + 1)) if are_named else None)


def test_at_the_very_limit_the_longest_payload_that_fits_is_sent(listener: Listener) -> None:
    """Byte by byte around it: PostgreSQL takes 7 999 bytes."""
    listener.connection.execute("select l1_api.ensure_partitions(61000.1)")
    detectors = list(range(1, 1511))
    lengths = []
    for digits in range(1, 19):
        whole = {"n": len(detectors), "visit": "7" * digits, "detectors": detectors}
        lengths.append(len(json.dumps(whole)))
        listener.connection.execute(
            "insert into l1.alert (kind, dia_source_id, midpoint_mjd_tai, visit, detector, survey_version, stamp)"
            " select 'detection', nextval('l1.dia_source_seq'), 61000.1, %s, i, 1, now() from unnest(%s::int[]) as i",
            (int("7" * digits), detectors),
        )
        (bell,) = listener.heard()
        assert bell == (whole if lengths[-1] < 8000 else {"n": whole["n"], "visit": whole["visit"]})
    assert {7999, 8000} <= set(lengths)


def test_a_statement_for_several_visits_names_none(listener: Listener) -> None:
    listener.connection.execute("select l1_api.ensure_partitions(61000.1)")
    listener.connection.execute(
        "insert into l1.alert (kind, dia_source_id, midpoint_mjd_tai, visit, detector, survey_version, stamp)"
        " select 'retraction', i, 61000.1, i, 1, 1, now() from generate_series(1, 2) as i"
    )
    assert listener.heard() == [{"n": 2}]


def test_an_insert_of_no_rows_does_not_ring(listener: Listener) -> None:
    listener.connection.execute("select l1_api.ensure_partitions(61000.1)")
    assert issue(listener.connection, 0) == []
    assert listener.heard() == []
