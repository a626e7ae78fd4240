"""The sources of a call as the database takes them in: typed, below each other, in an order of their own, and hashed.

Whatever order, types or empty columns the same data come in, the rows that travel and the hash of each detector's
content are the same; so the database can tell whether it has them already.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l1db.binary_copy import WireColumn
from l1db.columns import ASSIGNED, BY_NAME, DTYPES, GIVEN, PER_DETECTOR
from l1db.errors import BadRow, InputError
from l1db.footprint import polygon_wkt
from l1db.visit import DetectorData, Measured, Visit

_GIVEN_ORDER = {column.name: rank for rank, column in enumerate(GIVEN)}
# Enough to tell any two sources apart; rows equal in all of these are put in order by the rest.
_ORDER = ("dia_source_id", "midpoint_mjd_tai", "ra", "dec", "psf_flux", "psf_flux_err")
_FORCED = {
    "dia_object_id": "i8",
    "ra": "f8",
    "dec": "f8",
    "x": "f4",
    "y": "f4",
    "is_on_image": "?",
    "psf_flux": "f4",
    "psf_flux_err": "f4",
    "psf_chi2": "f4",
    "psf_ndata": "i4",
    "science_flux": "f4",
    "science_flux_err": "f4",
    "snap_diff_flux": "f4",
    "snap_diff_flux_err": "f4",
    "forced_flags": "i4",
}
_DETECTOR_FIELDS = ("psf_fwhm", "zero_point", "flux_noise")


class Stack:
    """The rows of all detectors of a call below each other, in the database's types and in canonical order.

    Attributes
    ----------
    detectors, bounds
        The detectors in ascending order; the rows of the k-th are ``bounds[k]:bounds[k + 1]``.
    columns
        The columns of ``stage_source`` to be copied; ordinals count rows from 1.
    row_numbers
        Row of each source in the user's table.
    """

    def __init__(self, visit: Visit, detectors: Sequence[DetectorData]) -> None:
        self.visit = visit
        if not np.isfinite(visit.midpoint_mjd_tai):
            raise InputError(f"visit {visit.visit}: midpoint_mjd_tai {visit.midpoint_mjd_tai} is no time")
        self.detectors = sorted(detectors, key=lambda detector: detector.detector)
        for detector in self.detectors:
            _check_names(visit, detector)
        numbers = [detector.detector for detector in self.detectors]
        if repeated := {number for number in numbers if numbers.count(number) > 1}:
            raise InputError(f"visit {visit.visit}: detector {min(repeated)} is given twice")
        lengths = [len(detector) for detector in self.detectors]
        self.n = sum(lengths)
        self.bounds = np.cumsum([0, *lengths])
        self.row_numbers = np.concatenate(
            [np.empty(0, dtype=np.int64)]
            + [
                np.arange(1, n + 1) if detector.row_numbers is None else np.asarray(detector.row_numbers, np.int64)
                for detector, n in zip(self.detectors, lengths, strict=True)
            ]
        )
        given: list[dict[str, ArrayLike]] = [dict(detector.sources) for detector in self.detectors]
        for one, n in zip(given, lengths, strict=True):
            one.setdefault("midpoint_mjd_tai", np.full(n, visit.midpoint_mjd_tai))
        names = sorted({name for one in given for name in one}, key=_GIVEN_ORDER.__getitem__)
        read = {name: self._gather(name, [one.get(name) for one in given], lengths) for name in names}
        read = {name: column for name, column in read.items() if column.present.any()}
        detector_column = np.repeat(np.array(numbers, dtype=np.int16), lengths)
        order = _canonical_order(detector_column, read)
        self.row_numbers = self.row_numbers[order]
        self.given = [WireColumn(name, c.values[order], c.present[order]) for name, c in read.items()]
        everywhere = np.ones(self.n, dtype=bool)
        self.columns = [
            WireColumn("ordinal", np.arange(1, self.n + 1, dtype=np.int32), everywhere),
            WireColumn("detector", detector_column, everywhere),
            *self.given,
            *self._measured(lengths, order, {column.name for column in self.given}),
        ]

    def _measured(self, lengths: Sequence[int], order: NDArray[np.intp], given: set[str]) -> Iterator[WireColumn]:
        """What was measured at the sources on the images, where their own table does not say it; it is not hashed."""
        measured = [detector.measured.sources if detector.measured else {} for detector in self.detectors]
        for name in sorted({name for one in measured for name in one} - given, key=_GIVEN_ORDER.__getitem__):
            column = self._gather(name, [one.get(name) for one in measured], lengths)
            yield WireColumn(name, column.values[order], column.present[order])

    def _gather(self, name: str, parts: Sequence[ArrayLike | None], lengths: Sequence[int]) -> WireColumn:
        """One column of all detectors; where a detector does not have it, it is NULL."""
        where = f"visit {self.visit.visit}"
        arrays = []
        for detector, part, n in zip(self.detectors, parts, lengths, strict=True):
            array = np.full(n, np.nan) if part is None else part
            array = array if isinstance(array, np.ma.MaskedArray) else np.asarray(array)
            if array.shape != (n,):
                raise InputError(
                    f"{where}, detector {detector.detector}: column {name} has shape {array.shape}, not ({n},)"
                )
            arrays.append(array)
        if len({array.dtype for array in arrays}) == 1 and not any(isinstance(a, np.ma.MaskedArray) for a in arrays):
            return _wire_column(where, name, np.concatenate(arrays), self.row_numbers)
        # Of different types each is converted by itself: together, numpy might make floats of ids.
        columns = [
            _wire_column(where, name, array, self.row_numbers[start:])
            for array, start in zip(arrays, self.bounds, strict=False)
        ]
        return WireColumn(
            name, np.concatenate([c.values for c in columns]), np.concatenate([c.present for c in columns])
        )


def _check_names(visit: Visit, detector: DetectorData) -> None:
    where = f"visit {visit.visit}, detector {detector.detector}"
    if not -(2**15) <= detector.detector < 2**15:
        raise InputError(f"{where}: detector numbers fit in 16 bits")
    for name in sorted(detector.sources.keys() - _GIVEN_ORDER.keys()):
        if name in ASSIGNED or name in PER_DETECTOR:
            raise InputError(f"{where}: column {name} is not given per source; leave it out")
        raise InputError(f"{where}: dia_source has no column {name}")
    missing = [name for name in ("ra", "dec", "psf_flux", "psf_flux_err") if name not in detector.sources]
    if missing and len(detector):
        raise InputError(f"{where}: missing column(s) {', '.join(missing)}")


def _wire_column(where: str, name: str, raw: NDArray[Any], row_numbers: NDArray[np.int64]) -> WireColumn:
    """A column in the database's type; NaN, None and masked values are NULL.  Infinities are refused."""
    dtype = DTYPES[BY_NAME[name].sql_type]
    values = np.ma.getdata(raw)
    present = ~np.ma.getmaskarray(raw) if isinstance(raw, np.ma.MaskedArray) else np.ones(len(raw), dtype=bool)
    if values.dtype.kind == "O":
        # What does not equal itself is NaN, which pandas puts into the holes of any column.
        present &= np.array([value is not None and value == value for value in values], dtype=bool)
        if dtype.kind != "O":
            values = np.where(present, values, 0)
    elif values.dtype.kind == "f":
        present &= ~np.isnan(values)
        if dtype.kind != "f":
            values = np.where(present, values, 0)
    try:
        if dtype.kind == "O":
            texts = values.astype(object)
            wrong = np.array([i for i in np.flatnonzero(present) if not isinstance(texts[i], str)], dtype=np.intp)
            if wrong.size:
                raise _unusable(where, name, wrong, row_numbers, values, "is not a text")
            return WireColumn(name, texts, present)
        with np.errstate(over="ignore", invalid="ignore"):
            converted = values.astype(dtype)
            if dtype.kind == "f":
                converted += dtype.type(0)  # -0.0 is 0.0
        if dtype.kind in "iu" and (wrong := np.flatnonzero(present & (converted != values))).size:
            raise _unusable(where, name, wrong, row_numbers, values, "does not fit the column's type")
        if dtype.kind == "f" and (wrong := np.flatnonzero(present & ~np.isfinite(converted))).size:
            raise _unusable(where, name, wrong, row_numbers, values, "is not finite")
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: column {name} cannot be read as {BY_NAME[name].sql_type}: {error}") from error
    return WireColumn(name, converted, present)


def _unusable(
    where: str, name: str, wrong: NDArray[np.intp], row_numbers: NDArray[np.int64], values: NDArray[Any], why: str
) -> InputError:
    return refusal(where, [BadRow(int(row_numbers[i]), name, f"{values[i]} {why}") for i in wrong])


def refusal(where: str, bad_rows: Sequence[BadRow]) -> InputError:
    """The error for unusable rows: the first in words, all in its ``rows``."""
    first = bad_rows[0]
    more = f" (and {len(bad_rows) - 1} more)" if len(bad_rows) > 1 else ""
    return InputError(
        f"{where}: row {first.row}, column {first.column}: {first.why}{more}; nothing was stored", bad_rows
    )


def _canonical_order(detector: NDArray[np.int16], columns: dict[str, WireColumn]) -> NDArray[np.intp]:
    """An order of the rows that depends on their values only, not on the order in which they were given."""

    def keys(names: Sequence[str]) -> list[NDArray[Any]]:
        found = []
        for column in (columns[name] for name in names if name in columns):
            zero = "" if column.values.dtype.kind == "O" else column.values.dtype.type(0)
            plain = np.where(column.present, column.values, zero)
            found += [plain.astype(str) if plain.dtype.kind == "O" else plain, column.present]
        return found

    first = [detector, *keys(_ORDER)]
    order = np.lexsort(first[::-1])
    tied = np.ones(max(len(order) - 1, 0), dtype=bool)
    for key in first:
        ordered = key[order]
        tied &= ordered[1:] == ordered[:-1]
    if tied.any():
        order = np.lexsort((first + keys([name for name in columns if name not in _ORDER]))[::-1])
    return order


def detector_columns(stack: Stack) -> list[WireColumn]:
    """The rows of ``stage_detector``."""
    detectors = stack.detectors
    everywhere = np.ones(len(detectors), dtype=bool)
    footprints = [
        None if d.footprint is None else polygon_wkt(d.footprint, f"visit {stack.visit.visit}, detector {d.detector}")
        for d in detectors
    ]
    measured = [d.measured or Measured() for d in detectors]
    outlines = [
        polygon_wkt(m.footprint, f"visit {stack.visit.visit}, detector {d.detector}")
        if given is None and m.footprint is not None
        else given
        for d, m, given in zip(detectors, measured, footprints, strict=True)
    ]
    columns = [
        WireColumn("detector", np.array([d.detector for d in detectors], dtype=np.int16), everywhere),
        WireColumn("content_sha256", _objects(_content_hashes(stack, footprints)), everywhere),
        WireColumn("has_images", np.array([d.measured is not None for d in detectors], dtype=bool), everywhere),
    ]
    for name, texts in (
        ("band", [stack.visit.band for _ in detectors]),
        ("footprint", outlines),
        ("software", [d.software for d in detectors]),
        ("image_trouble", [m.trouble for m in measured]),
    ):
        columns.append(WireColumn(name, _objects(texts), np.array([text is not None for text in texts], dtype=bool)))
    for name in _DETECTOR_FIELDS:
        numbers = [getattr(d, name) for d in detectors]
        present = np.array([number is not None and np.isfinite(number) for number in numbers], dtype=bool)
        plain = [number if ok else 0.0 for number, ok in zip(numbers, present, strict=True)]
        columns.append(WireColumn(name, np.array(plain, dtype=np.float32), present))
    return columns


def image_columns(stack: Stack) -> list[WireColumn]:
    """The rows of ``stage_image``."""
    rows = [(d.detector, file) for d in stack.detectors if d.measured for file in d.measured.files]
    everywhere = np.ones(len(rows), dtype=bool)
    return [
        WireColumn("detector", np.array([detector for detector, _ in rows], dtype=np.int16), everywhere),
        WireColumn("kind", _objects([file.kind for _, file in rows]), everywhere),
        WireColumn("uri", _objects([file.uri for _, file in rows]), everywhere),
        WireColumn("sha256", _objects([file.sha256 for _, file in rows]), everywhere),
        WireColumn("n_bytes", np.array([file.n_bytes for _, file in rows], dtype=np.int64), everywhere),
        WireColumn(
            "wcs",
            _objects([file.wcs for _, file in rows]),
            np.array([file.wcs is not None for _, file in rows], dtype=bool),
        ),
    ]


def forced_columns(stack: Stack) -> list[WireColumn]:
    """The rows of ``stage_forced``."""
    parts = [(d.detector, d.measured.forced) for d in stack.detectors if d.measured and d.measured.forced]
    if not parts:
        return []
    lengths = [len(forced["dia_object_id"]) for _, forced in parts]
    columns = {"detector": np.repeat(np.array([detector for detector, _ in parts], dtype=np.int16), lengths)}
    for name, dtype in _FORCED.items():
        columns[name] = np.concatenate([forced[name].astype(dtype) for _, forced in parts])
    return [
        WireColumn(name, values, np.isfinite(values) if values.dtype.kind == "f" else np.ones(len(values), dtype=bool))
        for name, values in columns.items()
    ]


def _objects(values: Sequence[Any]) -> NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _content_hashes(stack: Stack, footprints: Sequence[str | None]) -> list[bytes]:
    """SHA-256 of what was given for each detector: metadata and rows in canonical order, as the database stores them.

    It does not depend on the order of rows, on columns without values, or on what is given for other detectors.
    """
    plain = [
        (
            f"\0{column.name}\0{column.values.dtype.str}\0".encode(),
            None if column.values.dtype.kind == "O" else np.ascontiguousarray(column.values).data.cast("B"),
            column.values.dtype.itemsize,
            column,
            bool(column.present.all()),
        )
        for column in stack.given
    ]
    hashes = []
    for detector, footprint, start, end in zip(
        stack.detectors, footprints, stack.bounds[:-1].tolist(), stack.bounds[1:].tolist(), strict=True
    ):
        about = {
            "visit": stack.visit.visit,
            "band": stack.visit.band,
            "detector": detector.detector,
            "n": end - start,
            "footprint": footprint,
            "software": detector.software,
            **{
                name: None if getattr(detector, name) is None else float(np.float32(getattr(detector, name)))
                for name in _DETECTOR_FIELDS
            },
        }
        pieces: list[bytes | memoryview] = [json.dumps(about, sort_keys=True).encode()]
        for header, view, size, column, complete in plain:
            present = column.present[start:end]
            if view is not None and (complete or present.all()):
                if end > start:
                    pieces += (header, b"all", view[start * size : end * size])
            elif present.any():
                values = column.values[start:end][present]
                pieces += (header, b"some", np.packbits(present).tobytes())
                pieces.append(json.dumps(values.tolist()).encode() if view is None else values.tobytes())
        hashes.append(hashlib.sha256(b"".join(pieces)).digest())
    return hashes
