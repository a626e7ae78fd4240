"""The columns of a file with the database's names, units and types."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from l1db import units
from l1db.columns import DTYPES, Column
from l1db.errors import BadRow, InputError
from l1db.table_formats import RawColumn, RawTable

# A magnitude has no sign: these fluxes, measured on the difference image, take theirs from is_negative.
_SIGNED_BY_IS_NEGATIVE = ("psf_flux", "ap_flux", "trail_flux")
# How alike two names are, by difflib's measure, for one to be taken for the other misspelt.
_ALIKE = 0.8
_TRUTH = {"t": True, "true": True, "1": True, "f": False, "false": False, "0": False}


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


def choose(raw: RawTable, known: dict[str, Column], required: Sequence[str]) -> tuple[dict[str, RawColumn], list[str]]:
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
        raise InputError(f"{raw.path}: missing {listed(missing)}{hint}")
    return chosen, unknown


def convert(
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
        return parse(column, dtype, wanted)
    data = np.ma.getdata(column.values)
    null = is_null(column.values)
    kind = data.dtype.kind
    if data.ndim != 1:
        raise InputError(f"{raw.path}: column {column.name} has {data.ndim} dimensions; one value per row is needed")
    if null.all():
        return all_null(len(data), dtype), []
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


def parse(column: RawColumn, dtype: np.dtype[Any], wanted: Column) -> tuple[NDArray[Any], list[BadRow]]:
    """Values of a column of strings: at once where all are in order, one by one where some are not."""
    strings: pa.Array = column.values
    null = strings.is_null().to_numpy(zero_copy_only=False)
    if null.all():
        return all_null(len(null), dtype), []
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


def all_null(n: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A column of shape (n,) without values."""
    if dtype.kind == "f":
        return np.full(n, np.nan, dtype=dtype)
    if dtype.kind == "O":
        return np.full(n, None, dtype=object)
    return np.ma.array(np.zeros(n, dtype=dtype), mask=np.ones(n, dtype=bool))


def _kind(kind: str) -> str:
    names = {"i": "integers", "u": "integers", "f": "floating point numbers", "b": "booleans", "O": "text or the like",
             "U": "text", "S": "text"}  # fmt: skip
    return names.get(kind, "something else")


def listed(names: Sequence[str]) -> str:
    """``column a``, or ``columns a, b``."""
    return f"column{'s' if len(names) > 1 else ''} {', '.join(names)}"


def unknown_listed(unknown: Sequence[str], known: dict[str, Column], chosen: Collection[str]) -> str:
    """``column diference (is it difference?)``: names that are unknown, with the nearest that the file lacks."""
    lacking = {name.lower(): name for name, column in known.items() if column.name not in chosen}
    told = []
    for name in unknown:
        near = get_close_matches(name.lower(), lacking, 1, _ALIKE)
        told.append(f"{name} (is it {lacking[near[0]]}?)" if near else name)
    return listed(told)


def _a(sql_type: str) -> str:
    return f"an {sql_type}" if sql_type[0] in "aeiou" else f"a {sql_type}"
