"""A small simulation that several tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest
from truth_tables import SMALL

from l1db.simulate import Simulation, simulate


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Two nights of two visits, two overlapping detectors, crowded."""
    directory: Path = tmp_path_factory.mktemp("simulated")
    return simulate(directory, SMALL)
