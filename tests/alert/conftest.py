"""A night to be published, with a receiver of webhooks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.alert.publishing import Night
from tests.conftest import Server
from tests.peers.receiver import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="session")
def shared_dsn(server: Server) -> Iterator[str]:
    """One database for all these tests: what they leave behind is cleared away."""
    dsn = server.clone("seed")
    yield dsn
    server.drop(dsn)


@pytest.fixture
def night(shared_dsn: str, receiver: Receiver, tmp_path: Path) -> Iterator[Night]:
    night = Night(shared_dsn, receiver, tmp_path)
    yield night
    night.clear()
