"""Tables of sources and of visits, in Parquet, FITS, ECSV or CSV, with the database's names, units and types.

What is checked here is what the database cannot see: whether the file is whole and what it claims to be, which columns
it has, in which units and types, and whether each value fits its type.  Whether a value makes sense is the database's
to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1db.columns import ASSIGNED, BY_NAME, DIA_SOURCE, GIVEN, PER_DETECTOR, REQUIRED, Column
from l1db.errors import BadRow, InputError
from l1db.footprint import polygon_corners
from l1db.images.uri import resolve
from l1db.rejects import explain
from l1db.table_columns import choose, convert, is_null, unknown_listed
from l1db.table_formats import read_raw
from l1db.visit import IMAGE_KINDS

# One row per (visit, detector) in the table of visits.
VISIT_COLUMNS: tuple[Column, ...] = (
    Column("visit", "bigint", "", "Visit"),
    Column("detector", "smallint", "", "Detector"),
    Column("band", "text", "", "Filter band"),
    Column("midpointMjdTai", "double precision", "d", "Middle of the exposure, MJD TAI"),
    Column("exposureTime", "real", "s", "Exposure time"),
    Column("nSnaps", "smallint", "", "Number of snaps"),
    Column("nDetectors", "smallint", "", "Number of detectors expected to hand in sources"),
    Column("boresightRa", "double precision", "deg", "Boresight"),
    Column("boresightDec", "double precision", "deg", "Boresight"),
    Column("airmass", "real", "", "Airmass"),
    Column("reason", "text", "", "Why the exposure was taken"),
    Column("target", "text", "", "What it was taken of"),
    Column("psfFwhm", "real", "pixel", "Full width at half maximum of the PSF"),
    Column("zeroPoint", "real", "mag", "Magnitude of one count per second"),
    Column("fluxNoise", "real", "nJy", "Noise of a point source's flux"),
    Column("software", "text", "", "What produced the sources"),
    Column("footprint", "text", "", "Border of the image, WKT POLYGON in degrees"),
    Column("difference", "text", "", "Difference image"),
    Column("science", "text", "", "Calibrated image"),
    Column("template", "text", "", "Template"),
    Column("snapDifference", "text", "", "Difference of the snaps, second minus first"),
)
VISIT_REQUIRED = ("visit", "detector", "band", "midpoint_mjd_tai")
# Columns that say something about the exposure: the same in all rows of a visit.
PER_VISIT = (
    "band",
    "midpoint_mjd_tai",
    "exposure_time",
    "n_snaps",
    "n_detectors",
    "boresight_ra",
    "boresight_dec",
    "airmass",
    "reason",
    "target",
)


@dataclass(frozen=True)
class SourceTable:
    """A table of DiaSources, ready for the database.

    Parameters
    ----------
    path
        The file.
    columns
        By their name in ``dia_source``, each of shape (n,), with the database's unit and the dtype of
        `l1db.columns.DTYPES`.  A missing value is NaN in a floating point column, None in a text column and masked
        in any other.
    spelling
        What the file calls each column.
    warning
        What was ignored, in one line; empty if nothing was.
    bad_rows
        Rows with a value that does not fit its type.
    """

    path: Path
    columns: dict[str, NDArray[Any]]
    spelling: dict[str, str]
    warning: str = ""
    bad_rows: tuple[BadRow, ...] = ()

    def __len__(self) -> int:
        return len(self.columns["visit"])


@dataclass(frozen=True)
class VisitTable:
    """A table of visits and detectors, one row each; columns as in `SourceTable`.

    ``footprints`` holds, for each row, the corners of the image on the sky, shape (k, 2), degrees, or None; ``images``
    the URIs of its images by kind, those relative to the table made absolute.
    """

    path: Path
    columns: dict[str, NDArray[Any]]
    footprints: tuple[NDArray[np.float64] | None, ...]
    images: tuple[Mapping[str, str], ...] = ()
    spelling: dict[str, str] = field(default_factory=dict)
    warning: str = ""

    def __len__(self) -> int:
        return len(self.columns["visit"])

    def value(self, name: str, i: int) -> Any:
        """One value as a plain Python one; None if it is missing."""
        if name not in self.columns or is_null(self.columns[name][i : i + 1])[0]:
            return None
        value = self.columns[name][i]
        return value.item() if isinstance(value, np.generic) else value


def read_sources(path: Path | str, *, strict: bool = False) -> SourceTable:
    """Read a table of DiaSources, one per row.

    Parameters
    ----------
    path
        Parquet, FITS binary table, ECSV or CSV.  Columns are named as in ``dia_source`` or as in the APDB;
        `l1db.columns.REQUIRED` must be there.
    strict
        Refuse unknown columns.

    Raises
    ------
    InputError
        If the file or one of its columns cannot be used.  Unusable single rows are listed in ``bad_rows`` instead.
    """
    raw = read_raw(Path(path))
    known = {name: c for c in DIA_SOURCE for name in (c.name, c.apdb_name)}
    chosen, unknown = choose(raw, known, REQUIRED)
    if strict and unknown:
        raise InputError(f"{path}: unknown {unknown_listed(unknown, known, chosen)} (--strict)")
    assigned = [raw_column.name for name, raw_column in chosen.items() if name in ASSIGNED]
    wanted = {*PER_DETECTOR, *(c.name for c in GIVEN)}
    columns, bad_rows = convert(raw, {n: c for n, c in chosen.items() if n in wanted}, BY_NAME)
    said = []
    if unknown:
        said.append(f"unknown {unknown_listed(unknown, known, chosen)}")
    if assigned:
        said.append(f"column{'s' if len(assigned) > 1 else ''} assigned by l1db: {', '.join(assigned)}")
    return SourceTable(
        path=Path(path),
        columns=columns,
        spelling={name: c.name for name, c in chosen.items()},
        warning=f"{path}: ignored {'; '.join(said)}" if said else "",
        bad_rows=bad_rows,
    )


def read_visits(path: Path | str, *, strict: bool = False) -> VisitTable:
    """Read a table of visits: one row for each visit and detector, in any of the formats of `read_sources`.

    Parameters
    ----------
    path
        The table.
    strict
        Refuse unknown columns.

    Raises
    ------
    InputError
        If the file, a column or a row cannot be used; ``rows`` lists the rows.
    """
    path = Path(path)
    raw = read_raw(path)
    known = {name: c for c in VISIT_COLUMNS for name in (c.name, c.apdb_name)}
    chosen, unknown = choose(raw, known, VISIT_REQUIRED)
    ignored = f"unknown {unknown_listed(unknown, known, chosen)}" if unknown else ""
    if strict and ignored:
        raise InputError(f"{path}: {ignored} (--strict)")
    columns, found = convert(raw, chosen, {c.name: c for c in VISIT_COLUMNS})
    spelling = {name: c.name for name, c in chosen.items()}
    bad_rows = list(found)
    for name in VISIT_REQUIRED:
        bad_rows += [BadRow(int(i) + 1, spelling[name], "is missing") for i in np.flatnonzero(is_null(columns[name]))]
    footprints: list[NDArray[np.float64] | None] = []
    for i, wkt in enumerate(columns.pop("footprint", np.full(raw.n_rows, None))):
        try:
            footprints.append(None if wkt is None else polygon_corners(wkt))
        except ValueError as error:
            footprints.append(None)
            bad_rows.append(BadRow(i + 1, spelling["footprint"], str(error)))
    if not bad_rows:
        bad_rows = _contradictions(columns, spelling)
    if bad_rows:
        raise InputError(explain(bad_rows, lambda row: f"{path}: row {row}"), bad_rows)
    named = {kind: columns.pop(kind) for kind in IMAGE_KINDS if kind in columns}
    images = tuple(
        {kind: resolve(uris[i], path) for kind, uris in named.items() if uris[i] is not None} for i in range(raw.n_rows)
    )
    warning = f"{path}: ignored {ignored}" if ignored else ""
    return VisitTable(path, columns, tuple(footprints), images, spelling, warning)


def _contradictions(columns: dict[str, NDArray[Any]], spelling: dict[str, str]) -> list[BadRow]:
    """Rows that repeat a (visit, detector), or say otherwise of a visit than its first row does."""
    visit = np.ma.getdata(columns["visit"])
    pairs = np.stack([visit, np.ma.getdata(columns["detector"]).astype(np.int64)], axis=1)
    _, first_of_pair = np.unique(pairs, axis=0, return_index=True)
    repeated = np.setdiff1d(np.arange(len(pairs)), first_of_pair)
    bad = [
        BadRow(int(i) + 1, spelling["detector"], f"detector {pairs[i, 1]} of visit {pairs[i, 0]} is there twice")
        for i in repeated
    ]
    _, first, group = np.unique(visit, return_index=True, return_inverse=True)
    for name in PER_VISIT:
        if name not in columns:
            continue
        values, null = np.ma.getdata(columns[name]), is_null(columns[name])
        reference = first[group]
        differs = (null != null[reference]) | (~null & ~null[reference] & (values != values[reference]))
        for i in np.flatnonzero(differs):
            here, there = ("nothing" if null[k] else values[k] for k in (i, reference[i]))
            bad.append(
                BadRow(int(i) + 1, spelling[name], f"{here}, but row {reference[i] + 1}, same visit, has {there}")
            )
    return bad
