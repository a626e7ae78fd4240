"""The ingest client: hands visits to the database.

It encodes columns, copies them into the session's working tables and calls one stored function; every decision about
sources and objects is the database's.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Sequence
from datetime import date, timedelta
from functools import cached_property
from types import SimpleNamespace, TracebackType
from typing import Any, Literal, Self

import numpy as np
import psycopg
from numpy.typing import ArrayLike, NDArray

from l1db.binary_copy import WireColumn, encode
from l1db.columns import ASSIGNED, BY_NAME, DTYPES, GIVEN, PER_DETECTOR
from l1db.connection import connect, one_line
from l1db.errors import BadRow, DatabaseError, InputError, RefusedError
from l1db.visit import DetectorData, DetectorResult, IngestResult, Visit

Mode = Literal["new", "replace", "release", "supplement"]

_GIVEN_ORDER = {column.name: rank for rank, column in enumerate(GIVEN)}
# Enough to tell any two sources apart; rows equal in all of these are put in order by the rest.
_ORDER = ("dia_source_id", "midpoint_mjd_tai", "ra", "dec", "psf_flux", "psf_flux_err")
_DETECTOR_FIELDS = ("psf_fwhm", "zero_point", "flux_noise")


class Client:
    """A connection that takes visits in.

    Parameters
    ----------
    dsn
        libpq connection string; by default ``L1DB_DSN``, or what ``make setup`` wrote.

    Raises
    ------
    SettingsError, DatabaseError
        As `l1db.connection.connect`.

    Examples
    --------
    >>> with Client() as client:  # doctest: +SKIP
    ...     client.ingest(
    ...         Visit(visit=1, band="r", midpoint_mjd_tai=61000.1),
    ...         [DetectorData(detector=0, sources={"ra": [10.0], "dec": [-5.0], "psf_flux": [900.0],
    ...                                            "psf_flux_err": [90.0]})],
    ...     )
    """

    def __init__(self, dsn: str | None = None) -> None:
        self._connection = connect(dsn, application_name="l1db ingest")
        self._opened: dict[int, Visit] = {}
        self._has_stage = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def cancel(self) -> None:
        """End the call that another thread has under way; it raises `DatabaseError` there, and stores nothing."""
        self._connection.cancel_safe(timeout=5)

    @cached_property
    def survey(self) -> SimpleNamespace:
        """The survey's rules when first asked for: an attribute per column of ``l1.survey``."""
        row = self._connection.execute("select to_jsonb(s) from l1_api.current_survey() s").fetchone()
        if row is None or row[0] is None or row[0]["profile"] is None:
            raise DatabaseError("the database has no survey: run `l1db init`")
        rules = row[0]
        rules["bands"] = tuple(rules["bands"])
        return SimpleNamespace(**rules)

    def ingest(self, visit: Visit, detectors: Sequence[DetectorData], *, mode: Mode = "new") -> IngestResult:
        """Take detectors of a visit in, in one transaction.

        Parameters
        ----------
        visit
            The exposure.
        detectors
            Its sources, detector by detector; one detector or the whole focal plane.
        mode
            ``new``: store, or find the same data stored.  ``replace``: withdraw what is stored first.  ``release``:
            store again, without the breaker, what the breaker stopped.  ``supplement``: add to what is stored;
            sources with known ids are skipped.

        Returns
        -------
        IngestResult
            What became of each detector, and seconds per phase.

        Raises
        ------
        InputError
            If columns or rows cannot be used; ``rows`` lists the rows.  Nothing is stored.
        RefusedError
            If the visit or the data contradict what is stored.  Nothing is stored.
        DatabaseError
            If the connection is lost.  Either all of the call is stored or nothing; repeating it is safe.
        """
        clock = _Stopwatch()
        stack = _Stack(visit, detectors)
        stage_detector = _detector_columns(stack)
        clock.lap("encode")
        try:
            self._open(visit)
            clock.lap("open")
            with self._connection.transaction():
                self._copy("stage_detector", stage_detector, len(stack.detectors))
                self._copy("stage_source", stack.columns, stack.n)
                clock.lap("copy")
                results = self._connection.execute(
                    "select * from l1_api.ingest(%s, %s)", (visit.visit, mode)
                ).fetchall()
                clock.lap("ingest")
            clock.lap("commit")
        except psycopg.Error as error:
            raise self._refusal(visit, error, stack.row_numbers) from None
        timings = results[0][-1] if results else {}
        return IngestResult(
            visit=visit.visit,
            detectors=tuple(DetectorResult(*row[:-1]) for row in results),
            seconds={**clock.seconds, **timings},
        )

    def _open(self, visit: Visit) -> None:
        if not self._has_stage:
            self._connection.execute("select l1_api.open_stage()")
            self._has_stage = True
        if self._opened.get(visit.visit) == visit:
            return
        self._connection.execute(
            "select l1_api.open_visit(%s::bigint, %s::text, %s::double precision, %s::real, %s::double precision, "
            "%s::double precision, %s::real, %s::date, %s::smallint, %s::smallint, %s::text, %s::text)",
            (
                visit.visit,
                visit.band,
                visit.midpoint_mjd_tai,
                visit.exposure_time,
                visit.boresight_ra,
                visit.boresight_dec,
                visit.airmass,
                day_obs(visit.midpoint_mjd_tai, self.survey.night_offset_hours),
                visit.n_snaps,
                visit.n_detectors,
                visit.reason,
                visit.target,
            ),
        )
        self._connection.execute("select l1_api.ensure_partitions(%s::double precision)", (visit.midpoint_mjd_tai,))
        self._opened[visit.visit] = visit

    def _copy(self, table: str, columns: Sequence[WireColumn], n_rows: int) -> None:
        if n_rows == 0:
            return
        names = ", ".join(column.name for column in columns)
        with self._connection.cursor().copy(f"copy pg_temp.{table} ({names}) from stdin (format binary)") as copy:
            copy.write(encode(columns, n_rows))

    def _refusal(self, visit: Visit, error: psycopg.Error, row_numbers: NDArray[np.int64]) -> Exception:
        state = error.sqlstate or ""
        if state == "L1B01":
            bad = [
                BadRow(int(row_numbers[entry["ordinal"] - 1]), entry["column"], entry["why"])
                for entry in json.loads(error.diag.message_detail or "[]")
            ]
            first = bad[0]
            more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            return InputError(
                f"visit {visit.visit}: row {first.row}, column {first.column}: {first.why}{more}; nothing was stored",
                bad,
            )
        if state.startswith("L1"):
            return RefusedError(one_line(error))
        if isinstance(error, psycopg.errors.IntegrityError):
            return RefusedError(f"visit {visit.visit}: {one_line(error)}; nothing was stored")
        return DatabaseError(f"visit {visit.visit}: {one_line(error)}")


def day_obs(midpoint_mjd_tai: float, night_offset_hours: float) -> date:
    """The night of an exposure: the date of UTC less the survey's offset."""
    from astropy.time import Time

    # Calendar days are subtracted, not seconds: the moment half a day before may lie inside a leap second.
    utc = float(Time(midpoint_mjd_tai, format="mjd", scale="tai").utc.mjd)
    return date(1858, 11, 17) + timedelta(days=math.floor(utc - night_offset_hours / 24))


class _Stopwatch:
    def __init__(self) -> None:
        self._last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def lap(self, phase: str) -> None:
        now = time.perf_counter()
        self.seconds[phase] = now - self._last
        self._last = now


class _Stack:
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
        ]

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
    for name in detector.sources:
        if name in ASSIGNED or name in PER_DETECTOR:
            raise InputError(f"{where}: column {name} is not given per source; leave it out")
        if name not in _GIVEN_ORDER:
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
    rows = [BadRow(int(row_numbers[i]), name, f"{values[i]} {why}") for i in wrong]
    more = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
    return InputError(f"{where}: row {rows[0].row}, column {name}: {rows[0].why}{more}; nothing was stored", rows)


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


def polygon_wkt(corners: ArrayLike, where: str = "footprint") -> str:
    """An outline on the sky as WKT with longitudes in (-180, 180].

    Parameters
    ----------
    corners
        Right ascension and declination, shape (k, 2), k >= 3, degrees; the first may be repeated at the end.
    where
        What the outline belongs to, for the error.

    Raises
    ------
    InputError
        If these are not the corners of an outline.
    """
    points = np.asarray(corners, dtype=float)
    if points.ndim != 2 or points.shape[1:] != (2,) or not np.isfinite(points).all():
        raise InputError(f"{where}: a footprint is an array of finite (ra, dec), shape (k, 2)")
    if (points[:, 0] < 0).any() or (points[:, 0] >= 360).any() or (np.abs(points[:, 1]) > 90).any():
        raise InputError(f"{where}: a corner of the footprint is not in [0, 360) x [-90, 90]")
    if len(points) > 1 and (points[0] == points[-1]).all():
        points = points[:-1]
    if len(points) < 3:
        raise InputError(f"{where}: a footprint needs three corners or more")
    longitude = np.where(points[:, 0] > 180, points[:, 0] - 360, points[:, 0])
    ring = [f"{lon!r} {lat!r}" for lon, lat in zip(longitude.tolist(), points[:, 1].tolist(), strict=True)]
    return f"POLYGON(({', '.join([*ring, ring[0]])}))"


def _detector_columns(stack: _Stack) -> list[WireColumn]:
    """The rows of ``stage_detector``."""
    detectors = stack.detectors
    everywhere = np.ones(len(detectors), dtype=bool)
    footprints = [
        None
        if d.footprint is None
        else polygon_wkt(d.footprint, f"visit {stack.visit.visit}, detector {d.detector}")
        for d in detectors
    ]
    columns = [
        WireColumn("detector", np.array([d.detector for d in detectors], dtype=np.int16), everywhere),
        WireColumn("content_sha256", _objects(_content_hashes(stack, footprints)), everywhere),
    ]
    for name, texts in (("footprint", footprints), ("software", [d.software for d in detectors])):
        columns.append(WireColumn(name, _objects(texts), np.array([text is not None for text in texts], dtype=bool)))
    for name in _DETECTOR_FIELDS:
        numbers = [getattr(d, name) for d in detectors]
        present = np.array([number is not None and np.isfinite(number) for number in numbers], dtype=bool)
        plain = [number if ok else 0.0 for number, ok in zip(numbers, present, strict=True)]
        columns.append(WireColumn(name, np.array(plain, dtype=np.float32), present))
    return columns


def _objects(values: Sequence[Any]) -> NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _content_hashes(stack: _Stack, footprints: Sequence[str | None]) -> list[bytes]:
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
                    pieces += (header, view[start * size : end * size])
            elif present.any():
                values = column.values[start:end][present]
                pieces += (header, np.packbits(present).tobytes())
                pieces.append(json.dumps(values.tolist()).encode() if view is None else values.tobytes())
        hashes.append(hashlib.sha256(b"".join(pieces)).digest())
    return hashes
