"""The truth of simulated nights, as far as the demo asks for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

# Things that are not where their object is, and pairs that no image tells apart.
_MOVING, _CLOSE = ("mover", "slow_mover", "proper_motion"), ("pair",)
# No place is measured to its error with less of the PSF's squared sum on good pixels, or another change this near.
_LEAST_FRACTION = 0.5
_BLENDED = 1.0  # arcsec
# No flux is held to its error with another change this near, arcsec.
_ISOLATED = 3.0


@dataclass(frozen=True)
class Truth:
    """What is true of the sources of simulated nights.

    Parameters
    ----------
    thing
        Which thing on the sky a source is of, by ``dia_source_id``: things that stay in their place, away from others.
    out_of_place
        Those of them that are cut by the edge of an image or by bad pixels, or blended with another change.
    n_moving, n_close, n_bogus
        The other sources: of things that move; of close pairs; artefacts, residuals and noise.
    expected
        Flux on the difference image, nJy, by visit, detector and thing; where forced photometry has to find it.
    """

    thing: dict[int, int]
    out_of_place: set[int]
    n_moving: int
    n_close: int
    n_bogus: int
    expected: dict[tuple[int, int, int], float]


def read_truth(directory: Path) -> Truth:
    """Read the truth that `l1db.simulate` wrote."""
    clear: set[tuple[int, int, int]] = set()
    expected: dict[tuple[int, int, int], float] = {}
    for row in _rows(
        directory / "truth_lc.parquet",
        *("visit", "detector", "truth_id", "kind", "flux_expected"),
        *("is_on_image", "is_point", "psf_fraction", "nearest_change"),
    ):
        visit, detector, thing, kind, flux, is_on_image, is_point, fraction, nearest = row
        if fraction <= _LEAST_FRACTION or kind in _MOVING + _CLOSE:
            continue
        if nearest > _BLENDED:
            clear.add((visit, detector, thing))
        if is_on_image and is_point and nearest > _ISOLATED:
            expected[visit, detector, thing] = flux

    things: dict[int, int] = {}
    out_of_place: set[int] = set()
    others: Counter[str] = Counter()
    for source, visit, detector, thing, kind in _rows(
        directory / "truth_detection.parquet", "dia_source_id", "visit", "detector", "truth_id", "kind"
    ):
        if thing is None or kind in _MOVING + _CLOSE:
            others["bogus" if thing is None else "moving" if kind in _MOVING else "close"] += 1
            continue
        things[source] = thing
        if (visit, detector, thing) not in clear:
            out_of_place.add(source)
    return Truth(things, out_of_place, others["moving"], others["close"], others["bogus"], expected)


def _rows(path: Path, *names: str) -> list[tuple[Any, ...]]:
    table = pq.read_table(path, columns=list(names))
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))
