"""A small simulation that several tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from l1db.simulate import Plan, Simulation, simulate

pytest.importorskip("galsim")

SMALL = Plan(seed=4, nights=2, visits_per_night=2, detectors=2, size=320, density=6, bogus_density=3)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Two nights of two visits, two overlapping detectors, crowded."""
    directory: Path = tmp_path_factory.mktemp("simulated")
    return simulate(directory, SMALL)
