"""Which rows cannot be put with a visit and detector, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1db.errors import BadRow, InputError
from l1db.rejects import explain
from l1db.table_columns import is_null
from l1db.tables import VisitTable

# A time above this is a Julian date: as an MJD it would lie in the year 8429.
_LEAST_JD = 2_400_000


def ungroupable(
    keys: Mapping[str, NDArray[Any]],
    sound: NDArray[np.bool_],
    visits: VisitTable | None,
    bands: Sequence[str] | None = None,
) -> list[BadRow]:
    """Rows whose visit, detector, band or midpoint is missing or none, or contradicts that of the others.

    Parameters
    ----------
    keys
        Columns ``visit``, ``detector``, ``band`` and ``midpoint_mjd_tai``, each of shape (n,).
    sound
        Rows to look at, shape (n,).
    visits
        What the sources have to agree with; None: with the other sources of their visit.
    bands
        The survey's; None: any.
    """
    found: list[BadRow] = []
    sound = sound.copy()

    def refuse(rows: NDArray[np.bool_], name: str, why: Callable[[int], str]) -> None:
        """Once refused, a row is not looked at again."""
        rows = sound & rows
        found.extend(BadRow(i + 1, name, why(i)) for i in np.flatnonzero(rows).tolist())
        sound[rows] = False

    visit, detector = (np.ma.getdata(keys[name]).astype(np.int64) for name in ("visit", "detector"))
    band, midpoint = keys["band"], keys["midpoint_mjd_tai"]
    for name in ("visit", "detector", "band", "midpoint_mjd_tai"):
        refuse(is_null(keys[name]), name, lambda i: "is missing")
    refuse(midpoint > _LEAST_JD, "midpoint_mjd_tai", lambda i: _is_jd(midpoint[i]))
    if bands is not None:
        refuse(~np.isin(band.astype(str), bands), "band", lambda i: _is_no_band(band[i], bands))
    if visits is None:
        expected = _commonest_band(visit, band, sound)
        refuse(
            band != expected, "band", lambda i: f"{band[i]}, but most sources of visit {visit[i]} are in {expected[i]}"
        )
        return found
    listed = zip(visits.columns["visit"].tolist(), visits.columns["detector"].tolist(), strict=True)
    row_of = {pair: row for row, pair in enumerate(listed)}
    pairs, group = np.unique(np.stack([visit, detector], axis=1), axis=0, return_inverse=True)
    row = np.array([row_of.get((v, d), -1) for v, d in pairs.tolist()], dtype=np.int64)[group.ravel()]
    refuse(row < 0, "detector", lambda i: f"detector {detector[i]} of visit {visit[i]} is not in {visits.path}")
    if len(visits):
        stated = visits.columns["band"][row]
        refuse(band != stated, "band", lambda i: f"{band[i]}, but {visits.path} says {stated[i]}")
    return found


def refuse_listed(visits: VisitTable, bands: Sequence[str] | None) -> None:
    """Refuse a table of visits with a midpoint or a band that is none."""
    bad_rows = []
    stated = zip(visits.columns["midpoint_mjd_tai"].tolist(), visits.columns["band"].tolist(), strict=True)
    for row, (midpoint, band) in enumerate(stated, start=1):
        if midpoint > _LEAST_JD:
            bad_rows.append(BadRow(row, visits.spelling["midpoint_mjd_tai"], _is_jd(midpoint)))
        if bands is not None and band not in bands:
            bad_rows.append(BadRow(row, visits.spelling["band"], _is_no_band(band, bands)))
    if bad_rows:
        raise InputError(explain(bad_rows, lambda row: f"{visits.path}: row {row}"), bad_rows)


def _is_jd(midpoint: float) -> str:
    if midpoint > 2 * _LEAST_JD:
        return f"{midpoint:.10g} is no MJD"
    return f"{midpoint:.10g} is a JD, not an MJD: subtract 2400000.5"


def _is_no_band(band: str, bands: Sequence[str]) -> str:
    return f"{band!r} is not one of the survey's bands {', '.join(bands)}; correct it, or add it with `l1db survey set`"


def _commonest_band(visit: NDArray[np.int64], band: NDArray[Any], sound: NDArray[np.bool_]) -> NDArray[Any]:
    """For each row, the band that most rows of its visit have; shape as given."""
    names, band_index = np.unique(np.where(sound, band, "").astype(str), return_inverse=True)
    ids, visit_index = np.unique(visit, return_inverse=True)
    pair, counts = np.unique((visit_index * len(names) + band_index)[sound], return_counts=True)
    best = np.zeros(len(ids), dtype=np.int64)
    order = np.argsort(counts, kind="stable")
    best[pair[order] // len(names)] = pair[order] % len(names)  # the last assignment wins: the commonest
    return np.asarray(names[best[visit_index]], dtype=object)
