"""A light curve in characters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l1db.demo.stored import Point

# Days without a visit, after which the axis of time is broken; panels that fit side by side.
_GAP = 0.4
_MOST_PANELS = 4


def panels(times: ArrayLike) -> list[NDArray[np.intp]]:
    """Which times go side by side on a broken axis: those of each night, or all, if there are many nights.

    Returns
    -------
    list of ndarray
        Indices into ``times``, MJD, in order of time.
    """
    times = np.asarray(times, dtype=float)
    order = np.argsort(times, kind="stable")
    nights = np.split(order, np.flatnonzero(np.diff(times[order]) > _GAP) + 1)
    return nights if len(nights) <= _MOST_PANELS else [order]


def plot(points: Sequence[Point], width: int = 70, height: int = 10) -> list[str]:
    """Fluxes against time as lines of text.

    A detection is the capital letter of its band, a forced flux the small one; ``*`` where several bands meet.  Nights
    stand side by side, each with its first and last time, if they are few.  Where fluxes of both signs are shown, dots
    mark zero.

    Parameters
    ----------
    points
        At least one band letter each.
    width, height
        Of the field, in characters.
    """
    if not points:
        return []
    fluxes = np.array([point.flux for point in points])
    row = height - 1 - _placed(fluxes, height)
    changes_sign = fluxes.min() < 0 < fluxes.max()
    zero = height - 1 - int(_placed(np.append(fluxes, 0), height)[-1]) if changes_sign else None
    times = np.array([point.mjd for point in points])
    shown = panels(times)
    inner = (width - len(shown) + 1) // len(shown)
    fields = [_field([points[i] for i in night], row[night], inner, height, zero) for night in shown]
    labels = {} if zero is None else {zero: "0"}
    labels |= {0: f"{fluxes.max():.0f}", height - 1: f"{fluxes.min():.0f}"}
    margin = max(map(len, labels.values()))
    lines = [f"{labels.get(i, ''):>{margin}} │{'┊'.join(field[i] for field in fields)}".rstrip() for i in range(height)]
    axis = "┴".join("─" * inner for _ in shown)
    spans = " ".join(_span(times[night].min(), times[night].max(), inner) for night in shown)
    return [*lines, f"{'':>{margin}} └{axis}", f"{'':>{margin}}  {spans}".rstrip()]


def _field(points: Sequence[Point], row: NDArray[np.intp], width: int, height: int, zero: int | None) -> list[str]:
    """The characters of one panel; dots in the row ``zero``, if there is one."""
    column = 1 + _placed(np.array([point.mjd for point in points]), width - 2)
    cells = [[" "] * width for _ in range(height)]
    for i, j, point in zip(row.tolist(), column.tolist(), points, strict=True):
        letter, before = point.band[0].lower(), cells[i][j]
        if before.lower() not in (" ", letter):
            cells[i][j] = "*"
        elif before != letter.upper():
            cells[i][j] = letter if point.is_forced else letter.upper()
    lines = ["".join(line) for line in cells]
    return [line.replace(" ", "·") if i == zero else line for i, line in enumerate(lines)]


def _placed(values: NDArray[np.float64], cells: int) -> NDArray[np.intp]:
    """Which of some cells each value falls into, the least in the first and the largest in the last."""
    span = float(np.ptp(values))
    if span == 0:
        return np.full(len(values), cells // 2, dtype=np.intp)
    placed: NDArray[np.intp] = np.rint((values - values.min()) / span * (cells - 1)).astype(np.intp)
    return placed


def _span(first: float, last: float, width: int) -> str:
    """Where a panel begins and, if there is room, where it ends."""
    begin, end = f"{first:.3f}", f"{last:.3f}"
    fits = begin != end and len(begin) + len(end) < width
    return f"{begin}{end:>{width - len(begin)}}" if fits else f"{begin:<{width}}"[:width]
