"""Tables of sources and of visits, in Parquet, FITS, ECSV or CSV, with the database's names, units and types.

What is checked here is what the database cannot see: whether the file is whole and what it claims to be, which columns
it has, in which units and types, and whether each value fits its type.  Whether a value makes sense is the database's
to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from l1db import units
from l1db.columns import ASSIGNED, BY_NAME, DIA_SOURCE, DTYPES, GIVEN, PER_DETECTOR, REQUIRED, Column
from l1db.errors import BadRow, InputError
from l1db.table_formats import RawColumn, RawTable, read_raw

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
IMAGES = ("difference", "science", "template", "snap_difference")

# A magnitude has no sign: these fluxes, measured on the difference image, take theirs from is_negative.
_SIGNED_BY_IS_NEGATIVE = ("psf_flux", "ap_flux", "trail_flux")
_TRUTH = {"t": True, "true": True, "1": True, "f": False, "false": False, "0": False}


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

    ``footprints`` holds, for each row, the corners of the image on the sky, shape (k, 2), degrees, or None.
    """

    path: Path
    columns: dict[str, NDArray[Any]]
    footprints: tuple[NDArray[np.float64] | None, ...]
    spelling: dict[str, str] = field(default_factory=dict)
    warning: str = ""

    def __len__(self) -> int:
        return len(self.columns["visit"])


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
    chosen, unknown = _choose(raw, known, REQUIRED)
    if strict and unknown:
        raise InputError(f"{path}: unknown column{_s(unknown)} {', '.join(unknown)} (--strict)")
    assigned = [raw_column.name for name, raw_column in chosen.items() if name in ASSIGNED]
    wanted = {*PER_DETECTOR, *(c.name for c in GIVEN)}
    columns, bad_rows = _convert(raw, {n: c for n, c in chosen.items() if n in wanted}, BY_NAME)
    said = []
    if unknown:
        said.append(f"unknown column{_s(unknown)} {', '.join(unknown)}")
    if assigned:
        said.append(f"column{_s(assigned)} assigned by l1db: {', '.join(assigned)}")
    return SourceTable(
        path=Path(path),
        columns=columns,
        spelling={name: c.name for name, c in chosen.items()},
        warning=f"{path}: ignored {'; '.join(said)}" if said else "",
        bad_rows=bad_rows,
    )


def read_visits(path: Path | str) -> VisitTable:
    """Read a table of visits: one row for each visit and detector, in any of the formats of `read_sources`.

    Raises
    ------
    InputError
        If the file, a column or a row cannot be used; ``rows`` lists the rows.
    """
    path = Path(path)
    raw = read_raw(path)
    known = {name: c for c in VISIT_COLUMNS for name in (c.name, c.apdb_name)}
    chosen, unknown = _choose(raw, known, VISIT_REQUIRED)
    columns, found = _convert(raw, chosen, {c.name: c for c in VISIT_COLUMNS})
    spelling = {name: c.name for name, c in chosen.items()}
    bad_rows = list(found)
    for name in VISIT_REQUIRED:
        bad_rows += [BadRow(int(i) + 1, spelling[name], "is missing") for i in np.flatnonzero(is_null(columns[name]))]
    footprints: list[NDArray[np.float64] | None] = []
    for i, wkt in enumerate(columns.pop("footprint", np.full(raw.n_rows, None))):
        try:
            footprints.append(None if wkt is None else _polygon(wkt))
        except ValueError as error:
            footprints.append(None)
            bad_rows.append(BadRow(i + 1, spelling["footprint"], str(error)))
    if not bad_rows:
        bad_rows = _contradictions(columns, spelling)
    if bad_rows:
        raise InputError(first_of(path, bad_rows), bad_rows)
    said = []
    if images := [name for name in unknown if name in IMAGES]:
        said.append(f"image column{_s(images)} {', '.join(images)} (images are not read yet)")
    if rest := [name for name in unknown if name not in IMAGES]:
        said.append(f"unknown column{_s(rest)} {', '.join(rest)}")
    warning = f"{path}: ignored {'; '.join(said)}" if said else ""
    return VisitTable(path, columns, tuple(footprints), spelling, warning)


def first_of(path: Path, rows: Sequence[BadRow]) -> str:
    """One line for a file's unusable rows: the first, and how many more there are."""
    first = min(rows, key=lambda bad: bad.row)
    others = len({bad.row for bad in rows}) - 1
    more = f" ({others} more unusable row{_s(range(others))})" if others else ""
    return f"{path}: row {first.row}, column {first.column}: {first.why}{more}"


def is_null(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a column has no value: masked, NaN or None; shape as given."""
    null = np.array(np.ma.getmaskarray(values))
    data = np.ma.getdata(values)
    if data.dtype.kind == "f":
        null |= np.isnan(data)
    elif data.dtype.kind == "O":
        null |= np.equal(data, np.array(None)).astype(bool)
    return null


# --- which columns ---------------------------------------------------------------------------------------------------


def _choose(raw: RawTable, known: dict[str, Column], required: Sequence[str]) -> tuple[dict[str, RawColumn], list[str]]:
    """The columns that the database knows, by its name for them, and the names of the others."""
    chosen: dict[str, RawColumn] = {}
    unknown: list[str] = []
    for column in raw.columns:
        if column.name not in known:
            unknown.append(column.name)
            continue
        name = known[column.name].name
        if name in chosen:
            other = chosen[name].name
            both = f"{other} and {column.name} are the same column"
            which = f"column {other} occurs twice" if other == column.name else both
            raise InputError(f"{raw.path}: {which}; keep one of them")
        chosen[name] = column
    if missing := [name for name in required if name not in chosen]:
        alike = {name.lower().replace("_", ""): name for name in unknown}
        near = [alike[key] for name in missing if (key := name.replace("_", "")) in alike]
        hint = f"; the file has {', '.join(near)}: names are case-sensitive" if near else ""
        raise InputError(f"{raw.path}: missing column{_s(missing)} {', '.join(missing)}{hint}")
    return chosen, unknown


def _convert(
    raw: RawTable, chosen: dict[str, RawColumn], specification: dict[str, Column]
) -> tuple[dict[str, NDArray[Any]], tuple[BadRow, ...]]:
    """Give each column the database's type and unit."""
    columns: dict[str, NDArray[Any]] = {}
    bad_rows: list[BadRow] = []
    magnitudes: dict[str, RawColumn] = {}
    for name, column in chosen.items():
        wanted = specification[name]
        dtype = DTYPES[wanted.sql_type]
        unit = _unit(raw, column)
        floating = dtype.kind == "f"
        values, bad = _typed(raw, column, np.dtype("f8") if floating else dtype, wanted)
        bad_rows += bad
        if floating and unit is not None:
            if wanted.unit == "nJy" and _magnitude_for(raw, column, name, unit):
                magnitudes[name] = column
            elif not (wanted.unit == "mag" and units.is_ab_magnitude(unit)):
                values = _scaled(raw, column, values, unit, wanted)
        columns[name] = values
    _fluxes_of_magnitudes(raw, columns, magnitudes)
    for name, values in columns.items():
        if DTYPES[specification[name].sql_type] == np.dtype("f4"):
            with np.errstate(over="ignore"):
                columns[name] = values.astype(np.float32)
            beyond = np.isinf(columns[name]) & np.isfinite(values)
            bad_rows += [BadRow(int(i) + 1, chosen[name].name, f"{values[i]:g} does not fit a real")
                         for i in np.flatnonzero(beyond)]  # fmt: skip
    return columns, tuple(sorted(bad_rows, key=lambda bad: bad.row))


# --- units -----------------------------------------------------------------------------------------------------------


def _unit(raw: RawTable, column: RawColumn) -> Any:
    try:
        return units.parse(column.unit)
    except (ValueError, TypeError):
        raise InputError(f"{raw.path}: column {column.name}: unit {column.unit!r} is not known") from None


def _scaled(
    raw: RawTable, column: RawColumn, values: NDArray[np.float64], unit: Any, wanted: Column
) -> NDArray[np.float64]:
    try:
        scale = units.factor(unit, wanted.unit)
    except Exception:  # astropy has several classes for "these do not convert"
        hint = "; AB magnitudes are written mag(AB)" if wanted.unit == "nJy" and units.is_magnitude(unit) else ""
        raise InputError(
            f"{raw.path}: column {column.name} is in {column.unit}, "
            f"which cannot be converted to {wanted.unit or 'a number without unit'}{hint}"
        ) from None
    return values if scale == 1 else values * scale


def _magnitude_for(raw: RawTable, column: RawColumn, name: str, unit: Any) -> bool:
    """Whether this column of fluxes, or of their errors, holds magnitudes that can be converted."""
    if name.endswith("_err"):
        return units.is_ab_magnitude(unit) or (units.is_magnitude(unit) and column.unit.strip() == "mag")
    return units.is_ab_magnitude(unit)


def _fluxes_of_magnitudes(raw: RawTable, columns: dict[str, NDArray[Any]], magnitudes: dict[str, RawColumn]) -> None:
    """Replace AB magnitudes by fluxes, then their errors, which need the fluxes."""
    for name in sorted(magnitudes, key=lambda n: n.endswith("_err")):
        if not name.endswith("_err"):
            flux = units.flux_of_magnitude(columns[name])
            if name in _SIGNED_BY_IS_NEGATIVE and "is_negative" in columns:
                flux = np.where(np.ma.filled(columns["is_negative"], False), -flux, flux)
            columns[name] = flux
            continue
        flux_name = name.removesuffix("_err")
        if flux_name not in columns:
            spelt = magnitudes[name].name
            raise InputError(f"{raw.path}: column {spelt} is in mag, which needs the flux {flux_name} to be converted")
        columns[name] = units.flux_error_of_magnitude_error(columns[flux_name], columns[name])


# --- types -----------------------------------------------------------------------------------------------------------


def _typed(raw: RawTable, column: RawColumn, dtype: np.dtype[Any], wanted: Column) -> tuple[NDArray[Any], list[BadRow]]:
    """Values as ``dtype``, missing ones marked, and the rows that do not fit it (left as missing)."""
    if column.text:
        return _parsed(column, dtype, wanted)
    data = np.ma.getdata(column.values)
    null = is_null(column.values)
    kind = data.dtype.kind
    if data.ndim != 1:
        raise InputError(f"{raw.path}: column {column.name} has {data.ndim} dimensions; one value per row is needed")
    if null.all():
        return _all_null(len(data), dtype), []
    fits_kind = {"O": "OUS", "f": "fiu", "b": "biuf", "i": "iuf", "u": "iuf"}[dtype.kind]
    if kind not in fits_kind or (kind == "O" and not all(isinstance(v, str | bytes) for v in data[~null])):
        raise InputError(f"{raw.path}: column {column.name} holds {_kind(kind)}; {wanted.sql_type} is needed")
    if dtype.kind == "O":
        if kind == "O":
            text = np.array([v.decode() if isinstance(v, bytes) else v for v in data], dtype=object)
        else:
            text = (np.char.decode(data) if kind == "S" else data).astype(object)
        text[null] = None
        return text, []
    if dtype.kind == "f":
        values = data.astype(dtype)  # native byte order too
        values[null] = np.nan
        return values, []
    bad = _misfits(data, null, dtype)
    bad_rows = [BadRow(int(i) + 1, column.name, f"{data[i]} does not fit {_a(wanted.sql_type)}")
                for i in np.flatnonzero(bad)]  # fmt: skip
    null |= bad
    values = np.where(null, data.dtype.type(0), data).astype(dtype)
    return (np.ma.array(values, mask=null) if null.any() else values), bad_rows


def _misfits(data: NDArray[Any], null: NDArray[np.bool_], dtype: np.dtype[Any]) -> NDArray[np.bool_]:
    """Which numbers cannot be had as this integer or boolean type."""
    if data.dtype.kind == "b":
        return np.zeros(len(data), dtype=bool)
    if dtype.kind == "b":
        return np.asarray(~null & (data != 0) & (data != 1))
    limits = np.iinfo(dtype)
    if data.dtype.kind == "f":
        # An integer beyond 2^53 may have lost its last digits on its way through floating point.
        largest = min(float(limits.max), 2.0**53)
        whole = np.isfinite(data) & (np.where(np.isfinite(data), data, 0.5) % 1 == 0)
        return np.asarray(~null & ~(whole & (data >= max(float(limits.min), -largest)) & (data <= largest)))
    if np.can_cast(data.dtype, dtype):
        return np.zeros(len(data), dtype=bool)
    return np.asarray(~null & ((data > limits.max) | (data < limits.min)))


def _parsed(column: RawColumn, dtype: np.dtype[Any], wanted: Column) -> tuple[NDArray[Any], list[BadRow]]:
    """Values of a column of strings: at once where all are in order, one by one where some are not."""
    strings: pa.Array = column.values
    null = strings.is_null().to_numpy(zero_copy_only=False)
    if null.all():
        return _all_null(len(null), dtype), []
    if dtype.kind == "O":
        return strings.to_numpy(zero_copy_only=False), []
    try:
        arrow = pc.cast(strings, pa.from_numpy_dtype(dtype))
        filled = arrow.fill_null(np.nan if dtype.kind == "f" else False if dtype.kind == "b" else 0)
        values = np.array(filled.to_numpy(zero_copy_only=False), dtype=dtype)
        bad_rows: list[BadRow] = []
    except pa.ArrowInvalid:
        values = np.full(len(null), np.nan) if dtype.kind == "f" else np.zeros(len(null), dtype=dtype)
        bad_rows = []
        for i in np.flatnonzero(~null):
            text = strings[i].as_py().strip()
            try:
                values[i] = _parse_one(text, dtype)
            except (ValueError, KeyError, OverflowError):
                bad_rows.append(BadRow(int(i) + 1, column.name, f"{text!r} is not {_a(wanted.sql_type)}"))
                null[i] = True
    if dtype.kind == "f" or not null.any():
        return values, bad_rows
    return np.ma.array(values, mask=null), bad_rows


def _parse_one(text: str, dtype: np.dtype[Any]) -> float | int | bool:
    if dtype.kind == "f":
        return float(text)
    if dtype.kind == "b":
        return _TRUTH[text.lower()]
    number = int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    if number % 1 or abs(number) > np.iinfo(dtype).max:
        raise ValueError(text)
    return int(number)


def _all_null(n: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "f":
        return np.full(n, np.nan, dtype=dtype)
    if dtype.kind == "O":
        return np.full(n, None, dtype=object)
    return np.ma.array(np.zeros(n, dtype=dtype), mask=np.ones(n, dtype=bool))


def _kind(kind: str) -> str:
    names = {"i": "integers", "u": "integers", "f": "floating point numbers", "b": "booleans", "O": "text or the like",
             "U": "text", "S": "text"}  # fmt: skip
    return names.get(kind, "something else")


# --- visits ----------------------------------------------------------------------------------------------------------


def _polygon(wkt: str) -> NDArray[np.float64]:
    """Corners of ``POLYGON((ra dec, ra dec, ...))``, shape (k, 2); a first corner repeated at the end is dropped."""
    inside = re.fullmatch(r"\s*POLYGON\s*\(\s*\(([^()]*)\)\s*\)\s*", wkt, flags=re.IGNORECASE)
    try:
        corners = np.array([[float(v) for v in pair.split()] for pair in (inside or ["", ""])[1].split(",")])
        if corners.ndim != 2 or corners.shape[1] != 2:
            raise ValueError
    except ValueError:
        raise ValueError("is not POLYGON((ra dec, ra dec, ...)) in degrees") from None
    if (corners[0] == corners[-1]).all():
        corners = corners[:-1]
    if len(corners) < 3:
        raise ValueError("has fewer than three corners")
    return corners


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


def _s(things: Iterable[Any]) -> str:
    return "s" if len(list(things)) > 1 else ""


def _a(sql_type: str) -> str:
    return f"an {sql_type}" if sql_type[0] in "aeiou" else f"a {sql_type}"
