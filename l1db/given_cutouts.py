"""Cutouts that sources come with: into the archive before the ingest, and into the database with the sources' alerts.

A replayed packet has them; no image is needed then, nor cut.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1db.alert.content import CUTOUT_KINDS
from l1db.alert.cutouts import Archive, Place
from l1db.binary_copy import WireColumn
from l1db.errors import InputError
from l1db.visit import DetectorData

_GZIP = b"\x1f\x8b"
_FITS = b"SIMPLE  ="


@dataclass(frozen=True)
class _Given:
    """A cutout in one of its encodings."""

    dia_source_id: int
    kind: str
    encoding: str
    content: bytes


@dataclass(frozen=True)
class Archived:
    """The rows of ``stage_cutout``, and what was left out, a line for each detector."""

    columns: list[WireColumn]
    n: int
    warnings: tuple[str, ...]


def given_ids(visit: int, detectors: Sequence[DetectorData]) -> NDArray[np.int64]:
    """The sources that come with cutouts, shape (n,).

    Raises
    ------
    InputError
        If cutouts are of a kind that alerts do not carry, are not one for each source, or of sources without id.
    """
    return np.array([i for d in detectors if d.cutouts for i in np.unique(_ids(visit, d)).tolist()], dtype=np.int64)


def archive_given(
    archive: Archive, day_obs: date, visit: int, detectors: Sequence[DetectorData], wanted: Collection[int]
) -> Archived:
    """Write the cutouts of some sources into the archive, a pack for each detector.

    Parameters
    ----------
    archive
        Where to.
    day_obs, visit
        What they show.
    detectors
        Those without cutouts are passed over.  What is no FITS file, and no gzipped one, is left out.
    wanted
        The sources that are to get an alert.

    Raises
    ------
    ArchiveUnwritableError
        If the archive cannot be written.
    """
    rows: list[tuple[_Given, Place]] = []
    warnings = []
    for detector in detectors:
        given, unusable = _read(visit, detector, wanted)
        if unusable:
            several = f"{len(unusable)} cutouts are" if len(unusable) > 1 else "a cutout is"
            warnings.append(
                f"visit {visit}, detector {detector.detector}: {several} no FITS file and left out: {unusable[0]}"
            )
        places = archive.store(day_obs, visit, detector.detector, [one.content for one in given])
        rows += zip(given, places, strict=True)
    return Archived(list(_columns(rows)), len(rows), tuple(warnings))


def _ids(visit: int, detector: DetectorData) -> NDArray[np.int64]:
    where = f"visit {visit}, detector {detector.detector}"
    if unknown := [kind for kind in detector.cutouts if kind not in CUTOUT_KINDS]:
        raise InputError(f"{where}: {unknown[0]!r} is no kind of cutout; known are {', '.join(CUTOUT_KINDS)}")
    for kind, contents in detector.cutouts.items():
        if len(contents) != len(detector):
            raise InputError(f"{where}: {len(contents)} {kind} cutouts are given for {len(detector)} sources")
    ids: np.ma.MaskedArray[Any, Any] = np.ma.asarray(detector.sources.get("dia_source_id", []))
    if ids.shape != (len(detector),) or ids.dtype.kind not in "iu" or np.ma.getmaskarray(ids).any():
        raise InputError(f"{where}: cutouts need dia_source_id for every source")
    return np.asarray(np.ma.getdata(ids), dtype=np.int64)


def _read(visit: int, detector: DetectorData, wanted: Collection[int]) -> tuple[list[_Given], list[str]]:
    """The cutouts that can be used, and of each that cannot, which it is and why."""
    given: list[_Given] = []
    unusable: list[str] = []
    if not detector.cutouts:
        return given, unusable
    for i, source in enumerate(_ids(visit, detector).tolist()):
        if source not in wanted:
            continue
        for kind in CUTOUT_KINDS:
            content = detector.cutouts[kind][i] if kind in detector.cutouts else None
            if content is None:
                continue
            try:
                plain = gzip.decompress(content) if content.startswith(_GZIP) else content
                if not plain.startswith(_FITS):
                    raise ValueError("it does not begin like one")
            except (EOFError, OSError, ValueError, zlib.error) as error:
                unusable.append(f"the {kind} cutout of DiaSource {source}: {error}")
                continue
            if plain is not content:
                given.append(_Given(source, kind, "gzip", content))
            given.append(_Given(source, kind, "fits", plain))
    return given, unusable


def _columns(rows: Sequence[tuple[_Given, Place]]) -> Iterator[WireColumn]:
    everywhere = np.ones(len(rows), dtype=bool)
    unlike: dict[str, list[Any]] = {
        "kind": [given.kind for given, _ in rows],
        "encoding": [given.encoding for given, _ in rows],
        "pack": [place.pack for _, place in rows],
        "sha256": [place.sha256 for _, place in rows],
    }
    for name, values in unlike.items():
        yield WireColumn(name, np.array(values, dtype=object), everywhere)
    yield WireColumn("dia_source_id", np.array([given.dia_source_id for given, _ in rows], dtype=np.int64), everywhere)
    yield WireColumn("n_bytes", np.array([place.n_bytes for _, place in rows], dtype=np.int32), everywhere)
    yield WireColumn("start", np.array([place.start for _, place in rows], dtype=np.int64), everywhere)
