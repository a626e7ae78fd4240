"""The ingest client: hands visits to the database.

It encodes columns, copies them into the session's working tables and calls one stored function; every decision about
sources and objects is the database's.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
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

_GIVEN_NAMES = frozenset(column.name for column in GIVEN)
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
        ordered = sorted(detectors, key=lambda detector: detector.detector)
        for one, other in zip(ordered, ordered[1:], strict=False):
            if one.detector == other.detector:
                raise InputError(f"visit {visit.visit}: detector {one.detector} is given twice")
        prepared = [_prepare(visit, detector) for detector in ordered]
        rows = _joined(prepared)
        stage_detector = _detector_columns(visit, prepared)
        clock.lap("encode")
        try:
            self._open(visit)
            clock.lap("open")
            with self._connection.transaction():
                self._copy("stage_detector", stage_detector, len(prepared))
                self._copy("stage_source", rows.columns, rows.n)
                clock.lap("copy")
                results = self._connection.execute(
                    "select * from l1_api.ingest(%s, %s)", (visit.visit, mode)
                ).fetchall()
                clock.lap("ingest")
            clock.lap("commit")
        except psycopg.Error as error:
            raise self._refusal(visit, error, rows) from None
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

    def _refusal(self, visit: Visit, error: psycopg.Error, rows: _Rows) -> Exception:
        state = error.sqlstate or ""
        if state == "L1B01":
            bad = [
                BadRow(int(rows.row_numbers[entry["ordinal"] - 1]), entry["column"], entry["why"])
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
    from astropy.time import Time, TimeDelta

    utc = Time(midpoint_mjd_tai, format="mjd", scale="tai").utc - TimeDelta(night_offset_hours * 3600, format="sec")
    return utc.to_datetime().date()  # type: ignore[no-any-return]


class _Stopwatch:
    def __init__(self) -> None:
        self._last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def lap(self, phase: str) -> None:
        now = time.perf_counter()
        self.seconds[phase] = now - self._last
        self._last = now


@dataclass(frozen=True)
class _Prepared:
    """One detector's data in the database's types and in canonical order."""

    detector: DetectorData
    n: int
    columns: dict[str, WireColumn]
    row_numbers: NDArray[np.int64]
    footprint: str | None


@dataclass(frozen=True)
class _Rows:
    """The rows of all detectors of a call; ordinals count from 1."""

    n: int
    columns: list[WireColumn]
    row_numbers: NDArray[np.int64]


def _prepare(visit: Visit, detector: DetectorData) -> _Prepared:
    where = f"visit {visit.visit}, detector {detector.detector}"
    if not -(2**15) <= detector.detector < 2**15:
        raise InputError(f"{where}: detector numbers fit in 16 bits")
    given = dict(detector.sources)
    for name in given:
        if name in ASSIGNED or name in PER_DETECTOR:
            raise InputError(f"{where}: column {name} is not given per source; leave it out")
        if name not in _GIVEN_NAMES:
            raise InputError(f"{where}: dia_source has no column {name}")
    n = len(detector)
    if n and (missing := [name for name in ("ra", "dec", "psf_flux", "psf_flux_err") if name not in given]):
        raise InputError(f"{where}: missing column(s) {', '.join(missing)}")
    if n and "midpoint_mjd_tai" not in given:
        given["midpoint_mjd_tai"] = np.full(n, visit.midpoint_mjd_tai)
    row_numbers = (
        np.arange(1, n + 1) if detector.row_numbers is None else np.asarray(detector.row_numbers, dtype=np.int64)
    )
    columns = {}
    for name in sorted(given, key=_GIVEN_ORDER.__getitem__):
        column = _wire_column(where, name, given[name], n, row_numbers)
        if column.present.any():
            columns[name] = column
    order = _canonical_order(columns, n)
    return _Prepared(
        detector=detector,
        n=n,
        columns={name: WireColumn(name, c.values[order], c.present[order]) for name, c in columns.items()},
        row_numbers=row_numbers[order],
        footprint=None if detector.footprint is None else polygon_wkt(detector.footprint, where),
    )


def _wire_column(where: str, name: str, given: ArrayLike, n: int, row_numbers: NDArray[np.int64]) -> WireColumn:
    """A column in the database's type; NaN, None and masked values are NULL.  Infinities are refused."""
    dtype = DTYPES[BY_NAME[name].sql_type]
    raw = np.ma.asarray(given) if isinstance(given, np.ma.MaskedArray) else np.asarray(given)
    if raw.shape != (n,):
        raise InputError(f"{where}: column {name} has shape {raw.shape}, not ({n},)")
    present = ~np.ma.getmaskarray(raw)
    values = np.ma.getdata(raw)
    if values.dtype == object:
        present &= np.array([value is not None for value in values], dtype=bool)
        if dtype != object:
            values = np.where(present, values, 0)
    try:
        if dtype == object:
            return WireColumn(name, values.astype(object), present)
        if values.dtype.kind == "f":
            present &= ~np.isnan(values)
            if dtype.kind != "f":
                values = np.where(present, values, 0)
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


def _canonical_order(columns: dict[str, WireColumn], n: int) -> NDArray[np.intp]:
    """An order of the rows that depends on their values only, not on the order in which they were given."""

    def keys(names: Sequence[str]) -> list[NDArray[Any]]:
        found = []
        for name in names:
            if name in columns:
                values = columns[name].values
                zero = "" if values.dtype == object else values.dtype.type(0)
                plain = np.where(columns[name].present, values, zero)
                found += [plain.astype(str) if plain.dtype == object else plain, columns[name].present]
        return found

    if n < 2:
        return np.arange(n)
    first = keys(_ORDER)
    order = np.lexsort(first[::-1])
    tied = np.ones(n - 1, dtype=bool)
    for key in first:
        tied &= key[order][1:] == key[order][:-1]
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


def _joined(prepared: Sequence[_Prepared]) -> _Rows:
    """All detectors' rows below each other; a column that a detector does not have is NULL there."""
    n = sum(p.n for p in prepared)
    names = sorted({name for p in prepared for name in p.columns}, key=_GIVEN_ORDER.__getitem__)
    everywhere = np.ones(n, dtype=bool)
    columns = [
        WireColumn("ordinal", np.arange(1, n + 1, dtype=np.int32), everywhere),
        WireColumn(
            "detector",
            np.repeat(np.array([p.detector.detector for p in prepared], dtype=np.int16), [p.n for p in prepared]),
            everywhere,
        ),
    ]
    for name in names:
        dtype = DTYPES[BY_NAME[name].sql_type]
        parts = [
            p.columns.get(name) or WireColumn(name, np.zeros(p.n, dtype=dtype), np.zeros(p.n, dtype=bool))
            for p in prepared
        ]
        columns.append(
            WireColumn(
                name, np.concatenate([c.values for c in parts]), np.concatenate([c.present for c in parts])
            )
        )
    return _Rows(n, columns, np.concatenate([p.row_numbers for p in prepared]) if prepared else np.empty(0, np.int64))


def _detector_columns(visit: Visit, prepared: Sequence[_Prepared]) -> list[WireColumn]:
    """The rows of ``stage_detector``."""
    n = len(prepared)
    everywhere = np.ones(n, dtype=bool)
    columns = [
        WireColumn("detector", np.array([p.detector.detector for p in prepared], dtype=np.int16), everywhere),
        WireColumn(
            "content_sha256", _objects([_content_sha256(visit, p) for p in prepared]), everywhere
        ),
    ]
    for name in ("footprint", "software"):
        texts = [p.footprint if name == "footprint" else p.detector.software for p in prepared]
        columns.append(WireColumn(name, _objects(texts), np.array([text is not None for text in texts], dtype=bool)))
    for name in _DETECTOR_FIELDS:
        numbers = [getattr(p.detector, name) for p in prepared]
        present = np.array([number is not None and np.isfinite(number) for number in numbers], dtype=bool)
        plain = [number if ok else 0.0 for number, ok in zip(numbers, present, strict=True)]
        columns.append(WireColumn(name, np.array(plain, dtype=np.float32), present))
    return columns


def _objects(values: Sequence[Any]) -> NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _content_sha256(visit: Visit, prepared: _Prepared) -> bytes:
    """SHA-256 of what was given for a detector: metadata and rows in canonical order, as the database stores them.

    It does not depend on the order of rows, on columns without values, or on what is given for other detectors.
    """
    detector = prepared.detector
    about = {
        "visit": visit.visit,
        "band": visit.band,
        "detector": detector.detector,
        "n": prepared.n,
        "footprint": prepared.footprint,
        "software": detector.software,
        **{
            name: None if getattr(detector, name) is None else float(np.float32(getattr(detector, name)))
            for name in _DETECTOR_FIELDS
        },
    }
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, column in prepared.columns.items():
        digest.update(f"\0{name}\0{column.values.dtype.str}\0".encode())
        digest.update(np.packbits(column.present).tobytes())
        if column.values.dtype == object:
            texts = [str(v) for v, ok in zip(column.values, column.present, strict=True) if ok]
            digest.update(json.dumps(texts).encode())
        else:
            digest.update(column.values[column.present].tobytes())
    return digest.digest()
