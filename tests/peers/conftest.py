"""The peers.

==================  ================================================================================================
``comet``           a Comet broker with the subscribers ``all`` and ``bright`` (XPath: snr > 5); one for all tests
``kafka``           a broker: Apache Kafka where Java and Maven are, and librdkafka's mock, which is not Kafka
``real_kafka``      Apache Kafka, or the test is skipped
``http_server``     an HTTP server that answers as it is told
``smtp_server``     an SMTP server, likewise
``hanging_server``  accepts connections and says nothing
``closed_port``     a port where nobody listens
==================  ================================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator

import listeners
import pytest
from kafka_broker import KafkaBroker, KafkaMock, NoKafkaError

from l1db.demo.broker import Comet


@pytest.fixture(scope="session")
def comet_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comet]:
    with Comet(tmp_path_factory.mktemp("comet"), {"all": None, "bright": "//Param[@name='snr' and @value>5]"}) as comet:
        yield comet


@pytest.fixture
def comet(comet_of_session: Comet) -> Comet:
    """The broker, up again if a test has killed it."""
    comet_of_session.start()
    return comet_of_session


@pytest.fixture(scope="session")
def kafka_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker | NoKafkaError]:
    """One broker for all tests, or why there is none; where it should start and does not, that is an error."""
    try:
        broker = KafkaBroker(tmp_path_factory.mktemp("kafka"))
        broker.start()
    except NoKafkaError as error:
        yield error
        return
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def mock_of_session() -> KafkaMock:
    return KafkaMock()


@pytest.fixture
def real_kafka(kafka_of_session: KafkaBroker | NoKafkaError) -> KafkaBroker:
    if isinstance(kafka_of_session, NoKafkaError):
        pytest.skip(f"no real Kafka ({kafka_of_session}): what the librdkafka mock can do is tested on that")
    return kafka_of_session


@pytest.fixture(params=["real", "librdkafka-mock"])
def kafka(request: pytest.FixtureRequest) -> KafkaBroker | KafkaMock:
    name = "real_kafka" if request.param == "real" else "mock_of_session"
    broker: KafkaBroker | KafkaMock = request.getfixturevalue(name)
    return broker


@pytest.fixture
def http_server() -> Iterator[listeners.HttpServer]:
    server = listeners.HttpServer()
    yield server
    server.close()


@pytest.fixture
def smtp_server() -> Iterator[listeners.SmtpServer]:
    server = listeners.SmtpServer()
    yield server
    server.close()


@pytest.fixture
def hanging_server() -> Iterator[listeners.HangingServer]:
    server = listeners.HangingServer()
    yield server
    server.close()


@pytest.fixture
def closed_port() -> int:
    return listeners.closed_port()
