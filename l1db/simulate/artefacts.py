"""What detectors and pipelines add to the sky: bad columns, dead blocks, cosmic rays, and bogus that no mask shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l1db.simulate.geometry import Floats
from l1db.simulate.plan import PIXEL_SCALE, Plan

_MASKED_RAYS = 6e-6  # cosmic rays per pixel and snap that are found and masked
_BAD_COLUMNS = 1.5e-3  # per column
_DEAD_BLOCK, _TEMPLATE_GAP = 0.25, 0.15  # of the images have one
# What the unmasked artefacts are.
_BOGUS = {"cosmic_ray": 0.45, "hot_pixel": 0.1, "dipole": 0.35, "ghost": 0.1}


@dataclass(frozen=True)
class Artefacts:
    """What is wrong with one image; arrays [y, x], electrons.

    Parameters
    ----------
    bad
        Pixels of bad columns, the same in all visits.
    dead
        A block of the detector without data.
    template_gap
        Where the template has no data.
    rays
        Charge of cosmic rays in either snap, shape (2, ny, nx).
    masked_rays
        Pixels of those that were found.
    template_hits
        Charge left in the template.
    kind, x, y
        The artefacts that no mask shows, each array of shape (n,); dipoles are not among them, see ``n_dipoles``.
    n_dipoles
        How many stars are to be misregistered.
    """

    bad: NDArray[np.bool_]
    dead: NDArray[np.bool_]
    template_gap: NDArray[np.bool_]
    rays: Floats
    masked_rays: NDArray[np.bool_]
    template_hits: Floats
    kind: NDArray[np.str_]
    x: Floats
    y: Floats
    n_dipoles: int


def make_artefacts(plan: Plan, visit: int, detector: int, noise: float) -> Artefacts:
    """What is wrong with an image whose pixels have this noise (electrons)."""
    random = plan.random("artefacts", visit, detector)
    side = plan.size
    rays, masked_rays = _cosmic_rays(random, side)
    template_hits = np.zeros((side, side))
    n = int(random.poisson(plan.bogus_density * (side * PIXEL_SCALE / 60) ** 2))
    kind = random.choice(np.array([*_BOGUS]), size=n, p=np.array([*_BOGUS.values()]))
    n_dipoles = int((kind == "dipole").sum())
    kind = kind[kind != "dipole"]
    x, y = random.uniform(3, side - 4, len(kind)), random.uniform(3, side - 4, len(kind))
    for i, what in enumerate(kind):
        charge = noise * float(np.exp(random.uniform(np.log(20), np.log(80))))
        column, row = int(x[i]), int(y[i])
        if what == "ghost":
            x[i] = random.uniform(3, 25)
            _add_ghost(rays, random, x[i], y[i], charge)
        elif what == "hot_pixel":
            x[i], y[i] = column, row
            template_hits[row, column] += charge
        else:
            x[i], y[i] = column + 0.25, row
            rays[random.integers(2), row, column : column + 2] += charge * np.array([0.75, 0.25])
    return Artefacts(
        bad=_bad_columns(plan, detector),
        dead=_block(random, side, _DEAD_BLOCK, side // 16, side // 8),
        template_gap=_block(random, side, _TEMPLATE_GAP, side // 32, side),
        rays=rays,
        masked_rays=masked_rays,
        template_hits=template_hits,
        kind=kind,
        x=x,
        y=y,
        n_dipoles=n_dipoles,
    )


def _bad_columns(plan: Plan, detector: int) -> NDArray[np.bool_]:
    random = plan.random("columns", detector)
    bad = np.zeros((plan.size, plan.size), dtype=bool)
    for column in np.flatnonzero(random.uniform(size=plan.size) < _BAD_COLUMNS):
        whole, start = random.uniform() < 0.5, int(random.integers(plan.size))
        bad[0 if whole else start :, column] = True
    return bad


def _block(random: np.random.Generator, side: int, share: float, height: int, width: int) -> NDArray[np.bool_]:
    """A block against the lower or the upper edge, in this share of all cases."""
    block = np.zeros((side, side), dtype=bool)
    has, upper, left = random.uniform() < share, random.uniform() < 0.5, random.integers(side - width + 1)
    if has:
        block[side - height if upper else 0 : side if upper else height, left : left + width] = True
    return block


def _cosmic_rays(random: np.random.Generator, side: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Straight tracks in both snaps: charge and mask."""
    charge = np.zeros((2, side, side))
    for snap in range(2):
        for _ in range(random.poisson(_MASKED_RAYS * side**2)):
            length, angle = random.uniform(2, 30), random.uniform(0, 2 * np.pi)
            along = np.arange(0, length, 0.5)
            column = np.round(random.uniform(0, side) + along * np.cos(angle)).astype(int)
            row = np.round(random.uniform(0, side) + along * np.sin(angle)).astype(int)
            on = (column >= 0) & (column < side) & (row >= 0) & (row < side)
            charge[snap, row[on], column[on]] += random.uniform(300, 4000)
    return charge, np.asarray((charge > 0).any(axis=0))


def _add_ghost(rays: Floats, random: np.random.Generator, x: float, y: float, charge: float) -> None:
    """A smooth patch near the left edge of the detector, far wider than a star."""
    width = random.uniform(6, 10)
    rows, columns = np.ogrid[: rays.shape[1], : rays.shape[2]]
    patch = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * width**2))
    rays += charge / 80 * patch / 2
