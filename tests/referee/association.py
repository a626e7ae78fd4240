"""The association rule of one detector, by brute force.

It shares no code with ``sql/associate/``: every source is compared with every object of its declination band, and
the mutual-best rounds are replaced by what they must amount to, one walk through the pairs from the best to the worst.

The rule: a detector calibrates its own errors before it decides.  A first pass takes every pair within the radius;
its pairs tell how much the claimed errors fall short (the extra variance V), its leftovers how dense new sources are
(rho).  A pair then stands only if it is likelier than "this is a new source", and the standing pairs are handed out
by likelihood.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Table = NDArray[np.void] | Mapping[str, ArrayLike]

ARCSEC_PER_DEGREE = 3600.0
MEDIAN_OF_CHI2 = 2.0 * np.log(2.0)  # of a chi-squared with two degrees of freedom
NEW = -1
CHUNK = 2_000_000  # pairs looked at in one go


@dataclass(frozen=True)
class Rules:
    """What the survey decides about association.

    Parameters
    ----------
    radius
        Largest separation of a pair, arcsec.
    error_floor
        Least error of an offset, source and object together, arcsec.
    outlier_fraction
        Part of the true pairs whose offset no error explains.
    calibration_min_pairs
        Pairs that a detector needs to find its extra variance.
    density_min_sources
        Sources that a detector needs to find its density of new sources.
    default_extra_variance
        Used with fewer pairs, arcsec^2.
    default_density
        Used with fewer sources or without a true footprint, per arcsec^2.
    """

    radius: float = 1.0
    error_floor: float = 0.05
    outlier_fraction: float = 1e-3
    calibration_min_pairs: int = 20
    density_min_sources: int = 20
    default_extra_variance: float = 0.0
    default_density: float = 1e-5


@dataclass(frozen=True)
class Association:
    """What became of the sources of one detector.

    Parameters
    ----------
    matches
        Id of each source's object, `NEW` where it founds one; shape (n_sources,).
    first_pass
        The same after the first pass, which takes any pair within the radius; shape (n_sources,).
    extra_variance
        Variance that the claimed errors lack, arcsec^2.
    new_source_density
        Sources without an object, per arcsec^2.
    n_pairs
        First-pass pairs with errors on both sides, from which the extra variance was (or would have been) found.
    """

    matches: IntArray
    first_pass: IntArray
    extra_variance: float
    new_source_density: float
    n_pairs: int


@dataclass(frozen=True)
class _Pairs:
    """All pairs within the radius: indices, separation in arcsec, variance in arcsec^2 (NaN = unknown)."""

    source: IntArray
    object: IntArray
    distance: FloatArray
    variance: FloatArray

    def __len__(self) -> int:
        return len(self.source)


def associate(sources: Table, objects: Table, rules: Rules | None = None, area: float | None = None) -> Association:
    """Associate the sources of one detector with the current objects around it.

    Parameters
    ----------
    sources, objects
        Columns ``id``, ``ra``, ``dec``, ``ra_err``, ``dec_err``; degrees, ``ra_err`` with cos(dec), NaN = unknown.
        A source's place in the array is its rank in ties.
    rules
        The survey's; the defaults of profile ``seed`` if not given.
    area
        Solid angle of the detector's true footprint, arcsec^2; None if only the hull of its sources is known.
    """
    rules = rules or Rules()
    pairs = _pairs_within(sources, objects, rules)
    object_id = np.asarray(objects["id"], dtype=np.int64)
    n_sources = np.size(sources["ra"])

    first = _hand_out(pairs, first_pass_cost(pairs.distance, pairs.variance, rules), object_id, n_sources)
    taken = first >= 0
    in_first = taken[pairs.source] & (first[pairs.source] == pairs.object)
    calibrating = in_first & ~np.isnan(pairs.variance)
    n_pairs = int(calibrating.sum())
    extra_variance = (
        find_extra_variance(pairs.distance[calibrating], pairs.variance[calibrating])
        if n_pairs >= max(1, rules.calibration_min_pairs)
        else rules.default_extra_variance
    )
    density = (
        (n_sources - int(taken.sum()) + 1) / area
        if area is not None and n_sources >= rules.density_min_sources
        else rules.default_density
    )

    chance = likelihood(pairs.distance, pairs.variance, extra_variance, rules)
    stands = chance > density
    standing = _Pairs(pairs.source[stands], pairs.object[stands], pairs.distance[stands], pairs.variance[stands])
    second = _hand_out(standing, -np.log(chance[stands]), object_id, n_sources)

    return Association(
        _object_ids(second, object_id), _object_ids(first, object_id), float(extra_variance), float(density), n_pairs
    )


def first_pass_cost(distance: FloatArray, variance: FloatArray, rules: Rules) -> FloatArray:
    """Negative log density of the offsets under the claimed errors; that of a uniform disc where they are unknown."""
    with np.errstate(invalid="ignore"):
        claimed = distance**2 / (2 * variance) + np.log(2 * np.pi * variance)
    return np.where(np.isnan(variance), np.log(np.pi * rules.radius**2), claimed)


def find_extra_variance(distance: FloatArray, variance: FloatArray) -> float:
    """The V >= 0 that brings the median of d^2 / (v + V) to its expected 2 ln 2, arcsec^2."""
    return max(0.0, float(np.median(distance**2 / MEDIAN_OF_CHI2 - variance)))


def likelihood(distance: FloatArray, variance: FloatArray, extra_variance: float, rules: Rules) -> FloatArray:
    """Density of the offsets of true pairs, per arcsec^2: a Gaussian with the calibrated errors, and some outliers."""
    uniform = 1 / (np.pi * rules.radius**2)
    total = variance + extra_variance
    with np.errstate(invalid="ignore"):
        gaussian = np.exp(-(distance**2) / (2 * total)) / (2 * np.pi * total)
    mixed = (1 - rules.outlier_fraction) * gaussian + rules.outlier_fraction * uniform
    return np.where(np.isnan(variance), uniform, mixed)


def separation(a: FloatArray, b: FloatArray) -> FloatArray:
    """Great-circle distance of unit vectors of shape (n, 3), arcsec; by the chord, so exact at milliarcseconds."""
    chord = np.sqrt(((a - b) ** 2).sum(axis=-1))
    angle: FloatArray = np.degrees(2 * np.arcsin(np.minimum(chord / 2, 1.0)))
    return angle * ARCSEC_PER_DEGREE


def unit_vectors(ra: ArrayLike, dec: ArrayLike) -> FloatArray:
    """Shape (n, 3) from degrees."""
    alpha, delta = np.radians(np.asarray(ra, dtype=np.float64)), np.radians(np.asarray(dec, dtype=np.float64))
    return np.stack([np.cos(delta) * np.cos(alpha), np.cos(delta) * np.sin(alpha), np.sin(delta)], axis=-1)


def _pairs_within(sources: Table, objects: Table, rules: Rules) -> _Pairs:
    """Each source against all objects of its declination band: |d dec| never exceeds the separation."""
    source_at = unit_vectors(sources["ra"], sources["dec"])
    object_at = unit_vectors(objects["ra"], objects["dec"])
    by_dec = np.argsort(np.asarray(objects["dec"], dtype=np.float64), kind="stable")
    object_dec = np.asarray(objects["dec"], dtype=np.float64)[by_dec]
    source_dec = np.asarray(sources["dec"], dtype=np.float64)
    reach = (rules.radius + 1e-6) / ARCSEC_PER_DEGREE
    low = np.searchsorted(object_dec, source_dec - reach, side="left")
    count = np.searchsorted(object_dec, source_dec + reach, side="right") - low

    found: list[tuple[IntArray, IntArray, FloatArray]] = []
    chunk_of = np.cumsum(count) // CHUNK
    for chunk in np.unique(chunk_of):
        rows = np.flatnonzero(chunk_of == chunk)
        n = count[rows]
        i = np.repeat(rows, n)
        j = by_dec[np.repeat(low[rows] - np.cumsum(n) + n, n) + np.arange(n.sum())]
        d = separation(source_at[i], object_at[j])
        near = d <= rules.radius
        found.append((i[near], j[near], d[near]))
    if not found:
        nothing = np.zeros(0, dtype=np.int64)
        return _Pairs(nothing, nothing, np.zeros(0), np.zeros(0))
    i, j, d = (np.concatenate(column) for column in zip(*found, strict=True))
    variance = _isotropic_variance(sources)[i] + _isotropic_variance(objects)[j]
    return _Pairs(i, j, d, np.maximum(variance, rules.error_floor**2))


def _isotropic_variance(table: Table) -> FloatArray:
    """Mean of the variances of both axes, arcsec^2; NaN if either is unknown."""
    ra_err = np.asarray(table["ra_err"], dtype=np.float64) * ARCSEC_PER_DEGREE
    dec_err = np.asarray(table["dec_err"], dtype=np.float64) * ARCSEC_PER_DEGREE
    return (ra_err**2 + dec_err**2) / 2


def _hand_out(pairs: _Pairs, cost: FloatArray, object_id: IntArray, n_sources: int) -> IntArray:
    """Index of each source's object, -1 without one; shape (n_sources,).

    Under a total order the best pair left is always its source's and its object's best, so taking pairs from the
    best to the worst gives what rounds of mutual bests give.
    """
    order = np.lexsort((pairs.source, object_id[pairs.object], pairs.distance, cost))
    mine = np.full(n_sources, -1, dtype=np.int64)
    free = np.ones(len(object_id), dtype=bool)
    for source, obj in zip(pairs.source[order].tolist(), pairs.object[order].tolist(), strict=True):
        if mine[source] < 0 and free[obj]:
            mine[source] = obj
            free[obj] = False
    return mine


def _object_ids(index: IntArray, object_id: IntArray) -> IntArray:
    if len(object_id) == 0:
        return np.full(len(index), NEW, dtype=np.int64)
    return np.where(index >= 0, object_id[index], NEW)
