"""The ingest client: hands visits to the database.

It encodes columns, copies them into the session's working tables and calls one stored function; every decision about
sources and objects is the database's.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import cached_property
from types import SimpleNamespace, TracebackType
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import psycopg
from numpy.typing import ArrayLike, NDArray

from l1db.binary_copy import WireColumn, encode
from l1db.connection import connect, one_line
from l1db.errors import BadRow, DatabaseError, InputError, RefusedError
from l1db.footprint import polygon_wkt
from l1db.stack import Stack, detector_columns, forced_columns, image_columns, refusal
from l1db.targets import TARGET_ROW, Targets, assign
from l1db.visit import DetectorData, DetectorResult, ImageFile, IngestResult, Visit, refuse_unknown_kinds

if TYPE_CHECKING:
    from l1db.given_cutouts import Archived

Mode = Literal["new", "replace", "release", "supplement"]


class Client:
    """A connection that takes visits in.

    Parameters
    ----------
    dsn
        libpq connection string; by default ``L1DB_DSN``, or what ``make setup`` wrote.
    archive
        Where cutouts go that sources come with; by default `l1db.settings.archive`.

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

    def __init__(self, dsn: str | None = None, *, archive: str | os.PathLike[str] | None = None) -> None:
        self._dsn = dsn
        self._archive = archive
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

    def _reconnect(self) -> None:
        """Go on in a new session.

        PostgreSQL may list a table's partitions at the very moment another session attaches one, and then not learn of
        it any more; a new session lists them anew.
        """
        self._connection.close()
        self._connection = connect(self._dsn, application_name="l1db ingest")
        self._opened.clear()
        self._has_stage = False

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
        SettingsError, ArchiveUnwritableError
            If sources come with cutouts, and there is no archive or it cannot be written.  Nothing is stored.
        """
        clock = _Stopwatch()
        stack: Stack | None = None
        try:
            if any(detector.images and detector.measured is None for detector in detectors):
                from l1db.forced import measure

                detectors = measure(
                    visit, detectors, lambda outlines: self.forced_targets(outlines, visit.midpoint_mjd_tai)
                )
                clock.lap("photometry")
            stack = Stack(visit, detectors)
            stage_detector = detector_columns(stack)
            forced, images = forced_columns(stack), image_columns(stack)
            clock.lap("encode")
            cutouts = self._archive_cutouts(visit, detectors)
            if cutouts is not None:
                clock.lap("cutouts")
            for is_last_try in (False, True):
                self._open(visit)
                clock.lap("open")
                try:
                    with self._connection.transaction():
                        self._copy("stage_detector", stage_detector, len(stack.detectors))
                        self._copy("stage_source", stack.columns, stack.n)
                        self._copy("stage_image", images, len(images[0].values))
                        self._copy("stage_forced", forced, len(forced[0].values) if forced else 0)
                        if cutouts is not None:
                            self._copy("stage_cutout", cutouts.columns, cutouts.n)
                        clock.lap("copy")
                        results = self._connection.execute(
                            "select * from l1_api.ingest(%s, %s)", (visit.visit, mode)
                        ).fetchall()
                        clock.lap("ingest")
                    break
                except psycopg.errors.CheckViolation as error:
                    if is_last_try or "no partition" not in str(error):
                        raise
                    self._reconnect()
            clock.lap("commit")
        except psycopg.Error as error:
            self._opened.pop(visit.visit, None)  # somebody may have corrected it
            raise self._refusal(visit, error, stack.row_numbers if stack else np.empty(0, np.int64)) from None
        timings = results[0][-1] if results else {}
        trouble = {d.detector: d.measured.trouble for d in detectors if d.measured is not None}
        return IngestResult(
            visit=visit.visit,
            detectors=tuple(replace(DetectorResult(*row[:-1]), image_trouble=trouble.get(row[0])) for row in results),
            seconds={**clock.seconds, **timings},
            warnings=() if cutouts is None else cutouts.warnings,
        )

    def forced_targets(
        self, footprints: Mapping[int, ArrayLike], midpoint_mjd_tai: float | None = None
    ) -> Mapping[int, Targets]:
        """The DiaObjects in and around images.

        Parameters
        ----------
        footprints
            Corners of each detector's image, shape (k, 2), degrees.
        midpoint_mjd_tai
            When they were taken: where DiaObjects with a known motion then were.  Without it, their mean positions.

        Returns
        -------
        Mapping[int, Targets]
            For each detector.
        """
        outlines = {
            detector: (np.asarray(corners, dtype=float), polygon_wkt(corners, f"detector {detector}"))
            for detector, corners in footprints.items()
        }
        if not outlines:
            return {}
        # All in one value: a message for each of 10^5 objects would take longer than to find them.
        query = (
            "select string_agg(int8send(t.dia_object_id) || float8send(t.ra) || float8send(t.dec) "
            "|| boolsend(t.is_target), '') from l1_api.forced_targets(%s::text[], %s::float8, true) as t"
        )
        row = self._connection.execute(
            query, ([wkt for _, wkt in outlines.values()], midpoint_mjd_tai), binary=True
        ).fetchone()
        rows = np.frombuffer((row and row[0]) or b"", dtype=TARGET_ROW)
        margin = self.survey.forced_margin / 3600
        return assign({detector: corners for detector, (corners, _) in outlines.items()}, rows, margin)

    def add_images(self, visit: int, detector: int, images: Mapping[str, str]) -> int:
        """Make images known that come after the ingest of their detector.

        Parameters
        ----------
        visit, detector
            A detector that is stored.
        images
            URI of each image, by its kind.

        Returns
        -------
        int
            Forced measurements that were queued for want of these images till now; none if they were known already.

        Raises
        ------
        InputError
            If an image cannot be read, or by its header is of another visit, detector or kind.
        RefusedError
            If the detector is not stored.
        """
        from l1db.forced import describe_image

        where = f"visit {visit}, detector {detector}"
        refuse_unknown_kinds(images, where)
        exposed = self._stored_visit(visit)
        try:
            described = [describe_image(kind, uri, detector, visit, exposed) for kind, uri in images.items()]
        except InputError as error:
            raise InputError(f"{where}: {error}; nothing was registered") from None
        corners = next((corners for _, corners in described if corners is not None), None)
        return self.register_images(visit, detector, [file for file, _ in described], corners)

    def register_images(
        self, visit: int, detector: int, files: Sequence[ImageFile], corners: ArrayLike | None = None
    ) -> int:
        """Make images known that were read and found good; as `add_images`, which reads them.

        Parameters
        ----------
        visit, detector
            A detector that is stored.
        files
            The images.
        corners
            Of the difference image, shape (k, 2), degrees; None if it is not among them.
        """
        footprint = None if corners is None else polygon_wkt(corners, f"visit {visit}, detector {detector}")
        try:
            row = self._connection.execute(
                "select l1_api.add_images(%s::bigint, %s::smallint, %s::text[], %s::text[], %s::bytea[], %s::bigint[], "
                "%s::text[], %s::text)",
                (
                    visit,
                    detector,
                    [file.kind for file in files],
                    [file.uri for file in files],
                    [file.sha256 for file in files],
                    [file.n_bytes for file in files],
                    [file.wcs for file in files],
                    footprint,
                ),
            ).fetchone()
        except psycopg.Error as error:
            state = error.sqlstate or ""
            raise (RefusedError if state.startswith("L1") else DatabaseError)(one_line(error)) from None
        return int(row[0]) if row else 0

    def are_stored(self, visits: ArrayLike, detectors: ArrayLike) -> NDArray[np.bool_]:
        """Whether detectors of visits are stored, shape (n,) as both arguments."""
        asked = np.asarray(visits).tolist(), np.asarray(detectors).tolist()
        rows = self._connection.execute(
            "select exists (select from l1.visit_detector v where v.visit = asked.visit "
            "and v.detector = asked.detector and v.withdrawn_at is null) "
            "from unnest(%s::bigint[], %s::smallint[]) with ordinality as asked(visit, detector, rank) order by rank",
            asked,
        ).fetchall()
        return np.array([row[0] for row in rows], dtype=bool)

    def _stored_visit(self, visit: int) -> Visit | None:
        row = self._connection.execute(
            "select visit, band, midpoint_mjd_tai, exposure_time from l1.visit where visit = %s", (visit,)
        ).fetchone()
        return None if row is None else Visit(*row)

    def _open(self, visit: Visit) -> None:
        if visit.midpoint_mjd_tai >= 2_400_000:
            raise InputError(f"visit {visit.visit}: midpoint_mjd_tai {visit.midpoint_mjd_tai} is a JD, not an MJD")
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

    def _archive_cutouts(self, visit: Visit, detectors: Sequence[DetectorData]) -> Archived | None:
        """Write the cutouts that the sources come with into the archive; those that had their alert keep theirs."""
        if not any(detector.cutouts for detector in detectors):
            return None
        from l1db.alert.cutouts import Archive
        from l1db.given_cutouts import archive_given, given_ids

        ids = given_ids(visit.visit, detectors)
        rows = self._connection.execute(
            "select i from unnest(%s::bigint[]) as i where not exists (select from l1.alert a "
            "where a.kind = 'detection' and a.dia_source_id = i and a.midpoint_mjd_tai >= %s "
            "and a.midpoint_mjd_tai <= %s)",
            (ids.tolist(), visit.midpoint_mjd_tai - 1, visit.midpoint_mjd_tai + 1),
        ).fetchall()
        night = day_obs(visit.midpoint_mjd_tai, self.survey.night_offset_hours)
        return archive_given(Archive(self._archive), night, visit.visit, detectors, {i for (i,) in rows})

    def _copy(self, table: str, columns: Sequence[WireColumn], n_rows: int) -> None:
        if n_rows == 0:
            return
        names = ", ".join(column.name for column in columns)
        with self._connection.cursor().copy(f"copy pg_temp.{table} ({names}) from stdin (format binary)") as copy:
            for piece in encode(columns, n_rows):
                copy.write(piece)

    def _refusal(self, visit: Visit, error: psycopg.Error, row_numbers: NDArray[np.int64]) -> Exception:
        state = error.sqlstate or ""
        if state == "L1B01":
            told = json.loads(error.diag.message_detail or "[]")
            bad = [BadRow(int(row_numbers[entry["ordinal"] - 1]), entry["column"], entry["why"]) for entry in told]
            return refusal(f"visit {visit.visit}", bad)
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
