"""Cutouts are cut once, when the first packet of an alert is built, and archived; what could not be cut then never is.

So an alert that was first built without its images stays without cutouts, and its packets stay the same.  An image that
cannot be read for a reason that may pass, such as a file system that is away, is waited for, but not for long.
"""

from __future__ import annotations

import gzip
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any

import psycopg
from psycopg.rows import class_row

from l1db.alert.cutouts import Archive, Place
from l1db.cutouts import SMALLEST, cutouts
from l1db.errors import InputError, L1dbError, UnreadableError
from l1db.forced import COLUMNS, TURBULENT
from l1db.images.exposure import Exposure
from l1db.images.fits.read import read_exposure
from l1db.images.identity import refuse_other
from l1db.images.psf import MoffatPsf

log = logging.getLogger(__name__)

# Seconds that an alert waits for an image that may be readable again.
_PATIENCE = 300.0

# Advisory locks of this class: who cuts a detector of a visit.
_LOCK = 19508


class ImagesAwayError(L1dbError):
    """Images cannot be read for the present; nothing was decided on."""


@dataclass(frozen=True)
class _Wanted:
    """A row of ``l1_api.wanted_cutouts``, and the age of its alert in seconds."""

    alert_id: int
    dia_source_id: int
    kind: str
    visit: int
    detector: int
    day_obs: date
    ra: float
    dec: float
    bbox_size: int | None
    psf_fwhm: float | None
    uri: str | None
    sha256: bytes | None
    trouble: str | None
    age: float


@dataclass(frozen=True)
class _Cut:
    """What becomes a row of ``l1.cutout``."""

    dia_source_id: int
    kind: str
    encoding: str
    place: Place | None
    trouble: str | None


def cut_out(connection: psycopg.Connection[Any], alert_ids: Sequence[int], archive: Archive) -> int:
    """Cut and archive the cutouts of alerts that nobody has cut yet, each image read once.

    Returns
    -------
    int
        Number of cutouts that were decided on.

    Raises
    ------
    ArchiveError
        If the archive cannot be written; nothing was decided then.
    ImagesAwayError
        If an image cannot be read for a reason that may pass, and the alerts are young enough to wait for it.
    """
    wanted = _wanted(connection, alert_ids)
    decided = 0
    for (visit, detector), group in groupby(wanted, key=lambda one: (one.visit, one.detector)):
        alerts = sorted({one.alert_id for one in group})
        with connection.transaction():
            connection.execute("select pg_advisory_xact_lock(%s, hashtext(%s))", (_LOCK, f"{visit} {detector}"))
            # Look again: somebody else may have cut while this one waited.
            present = _wanted(connection, alerts)
            if not present:
                continue
            contents: list[bytes] = []
            cut: list[tuple[_Wanted, int | None, str | None]] = []
            for members in _by_image(present):
                for one, content, trouble in _cut(members):
                    cut.append((one, None if content is None else len(contents), trouble))
                    contents += [] if content is None else [content]
            places = archive.store(present[0].day_obs, visit, detector, contents)
            decided += _keep(
                connection,
                [
                    _Cut(one.dia_source_id, one.kind, "fits", None if at is None else places[at], trouble)
                    for one, at, trouble in cut
                ],
            )
    return decided


def compress(connection: psycopg.Connection[Any], alert_ids: Sequence[int], archive: Archive) -> None:
    """Archive the gzipped spelling of cutouts that have none yet: compressors change, packets must not."""
    rows = connection.execute(
        """select v.day_obs, a.visit, a.detector, c.dia_source_id, c.kind, c.sha256, c.n_bytes, c.pack, c.start
             from l1.alert a
             join l1.visit v on v.visit = a.visit
             join l1.cutout c on c.dia_source_id = a.dia_source_id and c.encoding = 'fits' and c.trouble is null
            where a.alert_id = any (%s)
              and not exists (select from l1.cutout z where z.dia_source_id = c.dia_source_id and z.kind = c.kind
                                 and z.encoding = 'gzip')
            order by a.visit, a.detector, c.dia_source_id, c.kind""",
        (list(alert_ids),),
        binary=True,
    ).fetchall()
    for (day_obs, visit, detector), group in groupby(rows, key=lambda row: row[:3]):
        members = [(row[3], row[4], Place(*row[5:])) for row in group]
        plain = archive.load(place for _, _, place in members)
        contents = [zipped(plain[place]) for _, _, place in members]
        places = archive.store(day_obs, visit, detector, contents)
        _keep(
            connection,
            [
                _Cut(dia_source_id, kind, "gzip", place, None)
                for (dia_source_id, kind, _), place in zip(members, places, strict=True)
            ],
        )


def zipped(content: bytes) -> bytes:
    """A cutout as events carry it."""
    return gzip.compress(content, compresslevel=6, mtime=0)


def _wanted(connection: psycopg.Connection[Any], alert_ids: Sequence[int]) -> list[_Wanted]:
    with connection.cursor(binary=True, row_factory=class_row(_Wanted)) as cursor:
        return cursor.execute(
            """select w.*, extract(epoch from clock_timestamp() - issued.stamp)::float8 as age
                 from (select min(a.midpoint_mjd_tai) as lower, max(a.midpoint_mjd_tai) as upper
                         from l1.alert a
                        where a.alert_id = any (%(alerts)s)) as span
                cross join lateral l1_api.wanted_cutouts(%(alerts)s, span.lower, span.upper) as w
                 join l1.alert issued
                   on issued.alert_id = w.alert_id
                order by w.visit, w.detector, w.dia_source_id, w.kind""",
            {"alerts": list(alert_ids)},
        ).fetchall()


def _by_image(wanted: Sequence[_Wanted]) -> list[list[_Wanted]]:
    """Those of one image each: of a detector that was replaced, some may have an image that others have not."""
    groups: dict[tuple[object, ...], list[_Wanted]] = {}
    for one in wanted:
        groups.setdefault((one.kind, one.uri, one.sha256, one.psf_fwhm, one.trouble), []).append(one)
    return sorted(groups.values(), key=lambda members: (members[0].kind, members[0].dia_source_id))


def _cut(wanted: Sequence[_Wanted]) -> list[tuple[_Wanted, bytes | None, str | None]]:
    """The cutouts of one image, each with its content or why there is none."""
    first, kind = wanted[0], wanted[0].kind
    if first.trouble is not None or first.uri is None:
        return [(one, None, one.trouble) for one in wanted]
    try:
        exposure = _exposure(first)
        files = cutouts(
            exposure,
            [one.ra for one in wanted],
            [one.dec for one in wanted],
            [SMALLEST if one.bbox_size is None else one.bbox_size for one in wanted],
        )
    except InputError as error:
        if isinstance(error, UnreadableError) and min(one.age for one in wanted) < _PATIENCE:
            raise ImagesAwayError(f"an image of visit {first.visit}, detector {first.detector}: {error}") from error
        log.warning("visit %s, detector %s: alerts without %s cutout: %s", first.visit, first.detector, kind, error)
        return [(one, None, f"the {kind} image could not be cut: {error}") for one in wanted]
    off = f"the source does not lie on the {kind} image"
    return [(one, file, None if file is not None else off) for one, file in zip(wanted, files, strict=True)]


def _exposure(wanted: _Wanted) -> Exposure:
    assert wanted.uri is not None
    fwhm = wanted.psf_fwhm
    exposure = read_exposure(wanted.uri, default_psf=MoffatPsf(fwhm, TURBULENT) if fwhm else None, sha256=wanted.sha256)
    if wanted.kind in COLUMNS:
        refuse_other(exposure, wanted.uri, wanted.kind, wanted.detector, wanted.visit, None)
    return exposure


def _keep(connection: psycopg.Connection[Any], cut: Sequence[_Cut]) -> int:
    places = [one.place for one in cut]
    row = connection.execute(
        "select l1_api.keep_cutouts(%s::bigint[], %s::text[], %s::text[], %s::bytea[], %s::integer[], %s::text[], "
        "%s::bigint[], %s::text[])",
        (
            [one.dia_source_id for one in cut],
            [one.kind for one in cut],
            [one.encoding for one in cut],
            [place and place.sha256 for place in places],
            [place and place.n_bytes for place in places],
            [place and place.pack for place in places],
            [place and place.start for place in places],
            [one.trouble for one in cut],
        ),
    ).fetchone()
    return int(row[0]) if row else 0
