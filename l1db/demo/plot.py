"""A light curve in characters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def plot(points: Sequence[tuple[float, float, str]], width: int = 70, height: int = 10) -> list[str]:
    """Points as lines of text: the letter of the band where the point is; ``*`` where several bands meet.

    Parameters
    ----------
    points
        Time, value and band of each.
    width, height
        Of the field, in characters.
    """
    if not points:
        return []
    x, y = (np.array([point[axis] for point in points], dtype=float) for axis in (0, 1))
    column, row = (_placed(values, cells) for values, cells in ((x, width), (y, height)))
    field = [[" "] * width for _ in range(height)]
    for i, j, (_, _, band) in zip(row, column, points, strict=True):
        cell = field[height - 1 - i]
        cell[j] = band if cell[j] in (" ", band) else "*"
    labels = {0: f"{y.max():.0f}", height - 1: f"{y.min():.0f}"}
    margin = max(map(len, labels.values()))
    lines = [f"{labels.get(i, ''):>{margin}} │{''.join(cells)}" for i, cells in enumerate(field)]
    first, last = f"{x.min():.3f}", f"{x.max():.3f}"
    return [*lines, f"{'':>{margin}} └{'─' * width}", f"{'':>{margin}}  {first}{last:>{width - len(first)}}"]


def _placed(values: NDArray[np.float64], cells: int) -> list[int]:
    """Which of some cells each value falls into, the least in the first and the largest in the last."""
    span = float(np.ptp(values))
    if span == 0:
        return [cells // 2] * len(values)
    return [int(cell) for cell in np.rint((values - values.min()) / span * (cells - 1))]
