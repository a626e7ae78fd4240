"""Images that come after the ingest of their detectors: a table of them, all checked before any is registered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from l1db.client import Client
from l1db.errors import BadRow, InputError, L1dbError, RefusedError
from l1db.forced import describe_image
from l1db.rejects import explain
from l1db.tables import VisitTable
from l1db.visit import IMAGE_KINDS, ImageFile, Visit

# Called as progress("images", done, total), the numbers being of detectors.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Registered:
    """What became of a table: detectors whose images are known, and forced measurements queued for want of them."""

    n_detectors: int
    n_queued: int


@dataclass
class _Late:
    """The images of one row of the table."""

    row: int
    visit: Visit
    detector: int
    files: list[ImageFile] = field(default_factory=list)
    corners: NDArray[np.float64] | None = None

    def __str__(self) -> str:
        return f"visit {self.visit.visit}, detector {self.detector}"


def add_table(client: Client, table: VisitTable, progress: Progress | None = None) -> Registered:
    """Register the images of a table of visits, all of them or none.

    Parameters
    ----------
    client
        Of the database that has their detectors.
    table
        Rows without images are passed over.
    progress
        Called as ``progress("images", done, total)``.

    Raises
    ------
    InputError
        If the table names no images, or one of them cannot be read, or by its header is another than its row says.
    RefusedError
        If a detector is not stored.
    """
    late = [
        _Late(i + 1, Visit(table.value("visit", i), table.value("band", i), table.value("midpoint_mjd_tai", i),
                           table.value("exposure_time", i)), table.value("detector", i))
        for i, images in enumerate(table.images) if images
    ]  # fmt: skip
    if not late:
        raise InputError(f"{table.path}: names no images: {_why_none(table)}")
    _refuse_unstored(client, table, late)
    _read(table, late, progress)
    n_queued = 0
    for done, one in enumerate(late):
        try:
            n_queued += client.register_images(one.visit.visit, one.detector, one.files, one.corners)
        except L1dbError as error:
            before = f"; the images of {done} rows before it are registered, which does no harm" if done else ""
            raise type(error)(f"{table.path}: row {one.row}: {one}: {error}{before}") from None
    return Registered(len(late), n_queued)


def _why_none(table: VisitTable) -> str:
    if any(kind in table.spelling for kind in IMAGE_KINDS):
        return "its columns of images are empty"
    ignored = f"; {table.warning.removeprefix(f'{table.path}: ')}" if table.warning else ""
    return f"it needs a column difference, science, template or snap_difference{ignored}"


def _refuse_unstored(client: Client, table: VisitTable, late: list[_Late]) -> None:
    stored = client.are_stored([one.visit.visit for one in late], [one.detector for one in late])
    missing = [one for one, is_stored in zip(late, stored.tolist(), strict=True) if not is_stored]
    if missing:
        others = f" (nor are those of {len(missing) - 1} more rows)" if len(missing) > 1 else ""
        raise RefusedError(
            f"{table.path}: row {missing[0].row}: {missing[0]} is not stored{others}: ingest it, with its images; "
            "nothing was registered"
        )


def _read(table: VisitTable, late: list[_Late], progress: Progress | None) -> None:
    """Read all images, and raise InputError if one is bad."""
    bad_rows: list[BadRow] = []
    for done, one in enumerate(late, start=1):
        for kind, uri in table.images[one.row - 1].items():
            try:
                file, corners = describe_image(kind, uri, one.detector, one.visit.visit, one.visit)
            except InputError as error:
                bad_rows.append(BadRow(one.row, table.spelling[kind], f"{one}: {error}"))
                continue
            one.files.append(file)
            one.corners = one.corners if corners is None else corners
        if progress is not None:
            progress("images", done, len(late))
    if bad_rows:
        told = explain(bad_rows, lambda row: f"{table.path}: row {row}")
        raise InputError(f"{told}; nothing was registered", bad_rows)
