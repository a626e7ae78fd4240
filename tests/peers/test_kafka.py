"""Kafka: on a real broker where Java and Maven are, and on librdkafka's mock."""

from __future__ import annotations

import gzip
import itertools
import json
import os

import fastavro
import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from kafka_broker import KafkaBroker, KafkaMock, messages
from listeners import HOST, HangingServer
from synthetic_packets import DATABASE, avro, destination, event, sent, states

from l1db.alert.transports import Destination, Sender, UnreachableError
from l1db.alert.transports import kafka as transport
from l1db.alert.transports.open import open_sender, probe

Broker = KafkaBroker | KafkaMock

_topics = (f"alerts-{i}" for i in itertools.count())


@pytest.fixture
def topic() -> str:
    return next(_topics)


def to(broker: Broker | str, topic: str, format: str = "lsst-11.1", **settings: object) -> Destination:
    bootstrap = broker if isinstance(broker, str) else broker.bootstrap
    return destination("kafka", format, bootstrap_servers=bootstrap, topic=topic, **settings)


def make(broker: KafkaBroker, topic: str, **config: object) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    made = admin.create_topics([NewTopic(topic, 2, 1, config={k.replace("_", "."): str(v) for k, v in config.items()})])
    made[topic].result(10)


def test_packets_arrive_whole_with_key_and_headers(kafka: Broker, topic: str) -> None:
    packets = [avro(i) for i in range(20)] + [event(20), avro(21, dia_object_id=None, ss_object_id=77)]
    sender = open_sender(to(kafka, topic))
    outcomes = sent(sender, packets)
    sender.close()
    assert states(outcomes) == ["delivered"] * 22
    found = {dict(m.headers())["alert_id"].decode(): m for m in messages(kafka.bootstrap, topic, 22)}
    assert sorted(found, key=int) == [str(i) for i in range(22)]
    for packet in packets:
        message = found[str(packet.alert_id)]
        assert message.value() == packet.content
        assert outcomes[packet.alert_id].detail == f"{topic}[{message.partition()}] {message.offset()}"
    assert found["3"].key() == str(10**17 + 3).encode()
    assert found["21"].key() == b"77"
    assert dict(found["3"].headers()) == {
        "alert_id": b"3",
        "kind": b"detection",
        "key": f"{DATABASE}/3".encode(),
        "schema": b"lsst.v11_1.alert",
        "schema_id": b"1101",
    }
    assert "schema" not in dict(found["20"].headers())


def test_l1db_packets_bring_their_schema(kafka: Broker, topic: str) -> None:
    sent(open_sender(to(kafka, topic, "l1db")), [avro(i, format="l1db") for i in range(2)])
    for message in messages(kafka.bootstrap, topic, 2):
        headers = dict(message.headers())
        schema = fastavro.parse_schema(json.loads(gzip.decompress(headers["l1db.schema"])))
        assert schema["name"].encode() == headers["schema"]


def test_alerts_of_an_object_are_in_one_partition_in_order(kafka: Broker, topic: str) -> None:
    packets = [avro(i, dia_object_id=i % 7) for i in range(140)]
    sender = open_sender(to(kafka, topic))
    for start in range(0, 140, 50):
        sent(sender, packets[start : start + 50])
    found = messages(kafka.bootstrap, topic, 140)
    assert len({message.partition() for message in found}) > 1
    for remainder in range(7):
        of_object = [m for m in found if m.key() == str(remainder).encode()]
        assert len({message.partition() for message in of_object}) == 1
        assert [int(dict(m.headers())["alert_id"]) for m in of_object] == list(range(remainder, 140, 7))


def test_packet_of_3_megabytes_passes(kafka: Broker, topic: str) -> None:
    content = os.urandom(3_000_000)
    sender = open_sender(to(kafka, topic))
    assert states(sent(sender, [avro(1), avro(2, content), avro(3)])) == ["delivered"] * 3
    assert {len(m.value()) for m in messages(kafka.bootstrap, topic, 3)} == {13, 3_000_005}


def test_packet_beyond_message_max_bytes_never_leaves(kafka: Broker, topic: str) -> None:
    sender = open_sender(to(kafka, topic, message_max_bytes=100_000))
    outcomes = sent(sender, [avro(1), avro(2, bytes(100_000)), avro(3)])
    assert states(outcomes) == ["delivered", "refused", "delivered"]
    assert "message_max_bytes" in str(outcomes[2].detail)
    assert len(messages(kafka.bootstrap, topic, 2)) == 2


def test_packet_too_large_for_the_topic_is_refused_and_no_other_with_it(real_kafka: KafkaBroker, topic: str) -> None:
    """The broker refuses whole requests: small packets that travel together exceed its limit as one large one does."""
    make(real_kafka, topic, max_message_bytes=20_000)
    packets = [avro(i, os.urandom(3_000), dia_object_id=1) for i in range(40)]
    packets[20] = avro(20, os.urandom(30_000), dia_object_id=1)
    outcomes = sent(open_sender(to(real_kafka, topic)), packets)
    assert [i for i, outcome in outcomes.items() if outcome.state != "delivered"] == [20]
    assert outcomes[20].state == "refused"
    assert "max.message.bytes" in str(outcomes[20].detail)
    assert len(messages(real_kafka.bootstrap, topic, 39)) == 39


def test_killed_broker_loses_and_repeats_nothing_that_is_sent_across_its_restart(
    real_kafka: KafkaBroker, topic: str
) -> None:
    sender = open_sender(to(real_kafka, topic, timeout_s=60))
    packets = [avro(i, os.urandom(20_000), dia_object_id=i % 9) for i in range(500)]
    outcomes = sender.send(packets, 1)
    first = next(outcomes)
    real_kafka.kill()
    real_kafka.start()
    assert {outcome.state for outcome in [first, *outcomes]} == {"delivered"}
    found = messages(real_kafka.bootstrap, topic, 500)
    ids = [int(dict(message.headers())["alert_id"]) for message in found]
    assert sorted(ids) == list(range(500))
    for remainder in range(9):
        of_object = [i for i in ids if i % 9 == remainder]
        assert of_object == sorted(of_object)


def test_dead_broker_is_unreachable_after_the_timeout_and_the_same_sender_works_when_it_is_back(
    real_kafka: KafkaBroker, topic: str
) -> None:
    sender = open_sender(to(real_kafka, topic, timeout_s=2))
    sent(sender, [avro(1)])
    real_kafka.kill()
    try:
        with pytest.raises(UnreachableError, match=r"topic alerts-\d+: .*refused"):
            list(sender.send([avro(2), avro(3)], 2))
    finally:
        real_kafka.start()
    assert states(sent(sender, [avro(2), avro(3)])) == ["delivered"] * 2
    assert len(messages(real_kafka.bootstrap, topic, 3)) == 3


def test_broker_that_accepts_and_hangs_ends_after_the_timeout(hanging_server: HangingServer) -> None:
    sender = open_sender(to(f"{HOST}:{hanging_server.port}", "alerts", timeout_s=1))
    with pytest.raises(UnreachableError):
        list(sender.send([avro(i) for i in range(10)], 1))
    assert hanging_server.accepted
    sender.close()


def test_topic_that_is_not_there_and_may_not_be_made_is_said(real_kafka: KafkaBroker, topic: str) -> None:
    settings = {"allow.auto.create.topics": False, "topic.metadata.propagation.max.ms": 500}
    sender = open_sender(to(real_kafka, topic, timeout_s=5, config=settings))
    with pytest.raises(UnreachableError, match=f"topic {topic}: .*[Uu]nknown topic"):
        list(sender.send([avro(1)], 1))


def test_senders_have_configuration_and_secrets_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L1DB_TEST_KAFKA_PASSWORD", "correct horse")
    config = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanisms": "PLAIN",
        "sasl.username": "l1db",
        "sasl.password_env": "L1DB_TEST_KAFKA_PASSWORD",
        "compression.type": "zstd",
    }
    there = to("kafka.example:9093", "alerts", config=config)
    made = transport._configuration(there, None)
    assert (made["sasl.password"], made["compression.type"], made["acks"]) == ("correct horse", "zstd", "all")
    assert (made["enable.idempotence"], made["message.timeout.ms"]) == (True, 30_000)
    sender: Sender = open_sender(there)
    assert "correct horse" not in repr(there) + repr(vars(sender))


def test_probe_tells_what_is_there(real_kafka: KafkaBroker, topic: str, hanging_server: HangingServer) -> None:
    assert f"no topic {topic} yet" in probe(to(real_kafka, topic))
    make(real_kafka, topic)
    assert f"topic {topic} has 2 partitions" in probe(to(real_kafka, topic))
    with pytest.raises(UnreachableError):
        probe(to(f"{HOST}:{hanging_server.port}", topic, timeout_s=1))


def test_probe_of_nobody_is_unreachable_at_once(closed_port: int) -> None:
    with pytest.raises(UnreachableError, match="refused"):
        probe(to(f"{HOST}:{closed_port}", "alerts", timeout_s=600))
