"""Neighbours, whose light overlaps: found, and fitted together.

Positions closer than ``NEIGHBOUR`` widths of the PSF are neighbours, and up to ``FAR_NEIGHBOUR`` widths also those of
which one is so bright that its light would move the other's flux by more than ``LEAK`` of its error; neighbours of
neighbours make a group.  Its fluxes f solve the normal equations of the unweighted fit over the union of the good
pixels,

    A f = b,   A_jk = sum phi_j phi_k,   b_j = sum phi_j d,   covariance A^-1 (sum phi_j phi_k V) A^-1,

the covariance holding for any V since the weights are not 1/V.  With correlated noise phi_k V becomes rho * phi_k V.

In crowded fields one group may span the image.  Groups beyond ``MAX_CORE`` members are therefore halved along their
longer side until no part is larger, and each part is fitted together with a halo: the members of the group within
``HALO`` widths, whose own results come from their own part.  What lies beyond the halo reaches the part only through a
chain of overlaps, each of which weakens it.  Work is linear in the number of positions, memory does not depend on it.

Two positions closer than ``UNRESOLVED`` widths cannot be told apart: together they would give a meaningless
difference with a huge error.  Each of them is measured as if the other were not there, with all its other neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from l1db.images.psf import Psf
from l1db.photometry import pixels
from l1db.photometry.noise import correlate
from l1db.photometry.pixels import BoolArray, FloatArray, IntArray, Planes

NEIGHBOUR = 2.0  # widths of the PSF
FAR_NEIGHBOUR = 3.0
LEAK = 0.05  # sigma
UNRESOLVED = 0.3
HALO = 4.0
MAX_CORE = 24
MAX_MEMBERS = 160  # of core and halo; where more crowd, the nearest, and the core counts as unresolved

_PIXELS_AT_ONCE = 200_000  # of models: what fits the cache
_STEP = 8  # pixels: squares are of so many different widths
_PAIRS_AT_ONCE = 1_000_000
_DEGENERATE = 1e-8  # eigenvalue of A with unit diagonal: combinations below it cannot be measured


@dataclass(frozen=True)
class Block:
    """Positions fitted together, by index; the first ``n_core`` are those whose results count.

    ``is_cut``: more crowd around the core than are members.
    """

    members: IntArray
    n_core: int
    is_cut: bool = False


@dataclass(frozen=True)
class Fit:
    """Results for the ``members``, by index; ``unresolved`` are those with a neighbour too close, or too many."""

    members: IntArray
    flux: FloatArray
    flux_err: FloatArray
    chi2: FloatArray
    unresolved: IntArray


def blocks(
    x: FloatArray, y: FloatArray, flux: FloatArray, flux_err: FloatArray, among: IntArray, psf: Psf
) -> Iterator[Block]:
    """Groups of positions, whole or in parts with their halo; those that are alone are left out.

    Parameters
    ----------
    x, y
        Pixel coordinates, shape (n,).
    flux, flux_err
        Measured as if each were alone, shape (n,).
    among
        Indices of the positions that count.
    psf
        Its width and its wings decide who is a neighbour.
    """
    if len(among) < 2:
        return
    x, y, fwhm = x[among], y[among], psf.fwhm
    label = _friends_of_friends(len(among), _neighbours(x, y, np.abs(flux[among]), flux_err[among], psf))
    order = np.argsort(label, kind="stable")
    starts = np.flatnonzero(np.diff(label[order], prepend=-1))
    sizes = np.diff(starts, append=len(order))
    for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
        group = order[start : start + size]
        if size <= MAX_CORE:
            yield Block(among[group], size)
            continue
        for core in _parts(x, y, group):
            halo = _halo(x, y, group, core, HALO * fwhm)
            nearest = halo[: MAX_MEMBERS - len(core)]
            yield Block(among[np.concatenate([core, nearest])], len(core), len(nearest) < len(halo))


def _neighbours(
    x: FloatArray, y: FloatArray, brightness: FloatArray, flux_err: FloatArray, psf: Psf
) -> Iterator[tuple[IntArray, IntArray]]:
    (phi,) = psf.stamps(x.mean(), y.mean(), psf.size)
    # What a star of flux 1 adds to the flux of one that is so many pixels away.
    leak = np.array([(phi[:, : psf.size - lag] * phi[:, lag:]).sum() for lag in range(psf.size)]) / (phi**2).sum()
    leak = np.maximum.accumulate(leak[::-1])[::-1]
    for one, other in _pairs(x, y, FAR_NEIGHBOUR * psf.fwhm):
        distance = np.hypot(x[one] - x[other], y[one] - y[other])
        leaked = np.interp(distance, np.arange(psf.size), leak)
        linked = distance < NEIGHBOUR * psf.fwhm
        linked |= leaked * brightness[one] > LEAK * flux_err[other]
        linked |= leaked * brightness[other] > LEAK * flux_err[one]
        yield one[linked], other[linked]


def _friends_of_friends(n: int, pairs: Iterable[tuple[IntArray, IntArray]]) -> IntArray:
    """The lowest index in the group of each of n positions."""
    label: IntArray = np.arange(n)
    for one, other in pairs:
        while True:
            least = np.minimum(label[one], label[other])
            unequal = label[one] != label[other]
            if not unequal.any():
                break
            # The groups' heads, not the positions, get the lower label; then all follow their heads.
            np.minimum.at(label, label[one[unequal]], least[unequal])
            np.minimum.at(label, label[other[unequal]], least[unequal])
            while (label[label] != label).any():
                label = label[label]
    return label


def _pairs(x: FloatArray, y: FloatArray, radius: float) -> Iterator[tuple[IntArray, IntArray]]:
    """All pairs of positions closer than the radius, a bounded number at a time."""
    if len(x) < 2:
        return
    column = np.floor((x - x.min()) / radius).astype(np.int64)
    row = np.floor((y - y.min()) / radius).astype(np.int64)
    width = int(column.max()) + 3  # no cell's right neighbour is the next row's first
    cell = row * width + column
    order = np.argsort(cell, kind="stable")
    in_order = cell[order]
    # Each cell with the rest of itself and its right neighbour, and with the three cells above.
    for ahead, span in ((0, 1), (width - 1, 2)):
        first = np.searchsorted(in_order, in_order + ahead)
        if ahead == 0:
            first = np.arange(len(order)) + 1
        last = np.searchsorted(in_order, in_order + ahead + span, side="right")
        count = last - first
        so_far = np.cumsum(count)
        start = 0
        while start < len(order):
            before = int(so_far[start - 1]) if start else 0
            end = max(int(np.searchsorted(so_far, before + _PAIRS_AT_ONCE, side="right")), start + 1)
            n = count[start:end]
            one = np.repeat(np.arange(start, end), n)
            other = np.arange(int(n.sum())) - np.repeat(np.cumsum(n) - n, n) + np.repeat(first[start:end], n)
            one, other = order[one], order[other]
            close = (x[one] - x[other]) ** 2 + (y[one] - y[other]) ** 2 < radius**2
            yield one[close], other[close]
            start = end


def _parts(x: FloatArray, y: FloatArray, group: IntArray) -> Iterator[IntArray]:
    waiting = [group]
    while waiting:
        part = waiting.pop()
        if len(part) <= MAX_CORE:
            yield part
            continue
        axis = x[part] if np.ptp(x[part]) >= np.ptp(y[part]) else y[part]
        order = np.argsort(axis, kind="stable")
        waiting += [part[order[: len(part) // 2]], part[order[len(part) // 2 :]]]


def _halo(x: FloatArray, y: FloatArray, group: IntArray, core: IntArray, width: float) -> IntArray:
    """Members of the group around the core, the nearest first."""
    gap_x = np.maximum(np.maximum(x[core].min() - x[group], x[group] - x[core].max()), 0.0)
    gap_y = np.maximum(np.maximum(y[core].min() - y[group], y[group] - y[core].max()), 0.0)
    near = group[np.hypot(gap_x, gap_y) < width]
    near = near[~np.isin(near, core)]
    distance = np.hypot(x[near, None] - x[core], y[near, None] - y[core]).min(axis=1, initial=np.inf)
    ordered: IntArray = near[np.argsort(distance, kind="stable")]
    return ordered


def fit_blocks(
    planes: Planes, x: FloatArray, y: FloatArray, psf: Psf, correlation: FloatArray | None, blocks: Iterable[Block]
) -> Iterator[Fit]:
    """The blocks' joint fits, those of equal shape many at a time.

    Positions must have good pixels each.  A ``correlation`` is the noise's, as `measure_noise_correlation` gives it.
    """
    alike: dict[tuple[int, int], list[Block]] = {}
    for block in blocks:
        extent = max(np.ptp(x[block.members]), np.ptp(y[block.members]))
        width = -(-(psf.size + int(np.ceil(extent)) + 1) // _STEP) * _STEP
        alike.setdefault((len(block.members), width), []).append(block)
    for (n_members, width), some in alike.items():
        at_once = max(_PIXELS_AT_ONCE // (n_members * width**2), 1)
        for start in range(0, len(some), at_once):
            yield _fit(planes, x, y, psf, correlation, some[start : start + at_once], width)


def _fit(
    planes: Planes,
    x: FloatArray,
    y: FloatArray,
    psf: Psf,
    correlation: FloatArray | None,
    blocks: list[Block],
    width: int,
) -> Fit:
    """Blocks with equally many members, each within a square of this width."""
    members = np.stack([block.members for block in blocks])
    scene = _scene(planes, x[members], y[members], psf, width)
    n_blocks, n = members.shape
    phi = scene.phi.reshape(n_blocks, n, -1)
    noise = scene.phi * scene.pixels.variance[:, None]
    if correlation is not None:
        noise = correlate(noise.reshape(-1, width, width), correlation)
    overlap = phi @ phi.transpose(0, 2, 1)
    light = (phi @ scene.pixels.values.reshape(n_blocks, -1, 1))[..., 0]
    spread = phi @ noise.reshape(n_blocks, n, -1).transpose(0, 2, 1)
    spread = (spread + spread.transpose(0, 2, 1)) / 2

    core = np.arange(n) < np.array([block.n_core for block in blocks])[:, None]
    distance = np.hypot(x[members][:, :, None] - x[members][:, None], y[members][:, :, None] - y[members][:, None])
    close: BoolArray = (distance < UNRESOLVED * psf.fwhm) & ~np.eye(n, dtype=bool)
    unresolved = core & np.any(close, axis=2)
    solution = _solve(overlap, light, spread)
    flux, flux_err = solution.flux, solution.flux_err
    chi2 = scene.chi2(solution.flux)
    unmeasured = solution.degenerate & ~unresolved
    for block, target in np.argwhere(unresolved):
        kept = np.flatnonzero(~close[block, target])
        if len(kept) == 1:  # alone, it has been measured already
            unmeasured[block, target] = True
            continue
        part = np.ix_([block], kept, kept)
        fluxes = np.zeros((1, n))
        without = _solve(overlap[part], light[block, kept][None], spread[part])
        place = np.searchsorted(kept, target)
        unmeasured[block, target] = without.degenerate[0, place]
        flux[block, target], flux_err[block, target] = without.flux[0, place], without.flux_err[0, place]
        fluxes[0, kept] = without.flux[0]
        chi2[block, target] = scene.only(block).chi2(fluxes)[0, target]
    unresolved |= core & unmeasured
    done = core & ~unmeasured
    crowded = core & np.array([block.is_cut for block in blocks])[:, None]
    return Fit(members[done], flux[done], flux_err[done], chi2[done], members[unresolved | crowded])


@dataclass(frozen=True)
class _Scene:
    """Squares that hold all stamps of a block each.

    ``phi`` has shape (blocks, members, width, width), 0 at pixels that are not good; ``top`` and ``left``, of shape
    (blocks, members), are the lower left corners of the members' stamps in their square.
    """

    pixels: pixels.Stamps
    phi: FloatArray
    top: IntArray
    left: IntArray
    size: int

    def chi2(self, flux: FloatArray) -> FloatArray:
        """Of each member's stamp about the model with these fluxes; all of shape (blocks, members)."""
        n_blocks, n, width, _ = self.phi.shape
        model = (flux[:, None, :] @ self.phi.reshape(n_blocks, n, -1)).reshape(n_blocks, width, width)
        residual = (self.pixels.values - model) ** 2 / self.pixels.variance * self.pixels.good
        stamps = sliding_window_view(residual, (self.size, self.size), axis=(1, 2))
        total: FloatArray = stamps[np.arange(n_blocks)[:, None], self.top, self.left].sum(axis=(2, 3))
        return total

    def only(self, block: int) -> _Scene:
        """One of the squares."""
        one = slice(block, block + 1)
        stamps = replace(
            self.pixels, values=self.pixels.values[one], variance=self.pixels.variance[one], good=self.pixels.good[one]
        )
        return _Scene(stamps, self.phi[one], self.top[one], self.left[one], self.size)


def _scene(planes: Planes, x: FloatArray, y: FloatArray, psf: Psf, width: int) -> _Scene:
    size = psf.size
    row = np.floor(y + 0.5).astype(np.int64) - size // 2
    column = np.floor(x + 0.5).astype(np.int64) - size // 2
    bottom, first = row.min(axis=1), column.min(axis=1)
    stamps = pixels.stamps(planes, bottom, first, width)
    top, left = row - bottom[:, None], column - first[:, None]
    n_blocks, n = x.shape
    phi = np.zeros((n_blocks, n, width, width))
    windows = sliding_window_view(phi, (size, size), axis=(2, 3), writeable=True)
    models = psf.stamps(x.ravel(), y.ravel(), size).reshape(n_blocks, n, size, size)
    windows[np.arange(n_blocks)[:, None], np.arange(n), top, left] = models
    phi *= stamps.good[:, None]
    return _Scene(stamps, phi, top, left, size)


@dataclass(frozen=True)
class _Solution:
    """All of shape (blocks, members)."""

    flux: FloatArray
    flux_err: FloatArray
    degenerate: BoolArray


def _solve(overlap: FloatArray, light: FloatArray, spread: FloatArray) -> _Solution:
    """The normal equations, and which fluxes they leave open (bad pixels may hide what told two stars apart)."""
    scale = 1 / np.sqrt(np.diagonal(overlap, axis1=1, axis2=2))
    scales = scale[:, :, None] * scale[:, None, :]
    value, vector = np.linalg.eigh(overlap * scales)
    open_ = value < _DEGENERATE
    inverse_value = np.where(open_, 0.0, 1 / np.where(open_, 1.0, value))
    inverse = (vector * inverse_value[:, None, :]) @ vector.transpose(0, 2, 1) * scales
    variance = np.diagonal(inverse @ spread @ inverse, axis1=1, axis2=2)
    degenerate: BoolArray = np.any((np.abs(vector) > 1e-3) & open_[:, None, :], axis=2)
    return _Solution((inverse @ light[:, :, None])[..., 0], np.sqrt(np.maximum(variance, 0.0)), degenerate)
