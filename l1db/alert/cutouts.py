"""The archive of cutouts: bytes that are written once and kept as long as the alerts that show them.

Images expire, cutouts do not.  The cutouts of one detector that are cut together lie in one file, a pack, end to end;
``l1.cutout`` says where in it each begins.  Both are addressed by content: a pack is named by the hash of what is in
it, and a cutout is handed out only if it has the hash that the database has of it.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from uuid import uuid4

import fsspec

from l1db import settings
from l1db.errors import L1dbError
from l1db.images.uri import is_remote


class ArchiveError(L1dbError):
    """The archive of cutouts does not have what the database says it has, or cannot be written."""


class ArchiveUnwritableError(ArchiveError):
    """The archive of cutouts cannot be written."""


@dataclass(frozen=True)
class Place:
    """Where content lies: ``n_bytes`` from byte ``start`` of file ``pack``, with this hash."""

    sha256: bytes
    n_bytes: int
    pack: str
    start: int


class Archive:
    """Packs below a directory, or below a URI that fsspec opens.

    Parameters
    ----------
    root
        By default `l1db.settings.archive`.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self.root = settings.archive() if root is None else os.fspath(root)

    def store(self, day_obs: date, visit: int, detector: int, contents: Sequence[bytes]) -> list[Place]:
        """Write contents into one pack, and return when it is on disk.

        Parameters
        ----------
        day_obs, visit, detector
            What they show: the pack lies below the night and the visit.
        contents
            None of them empty.  The same again write nothing.

        Raises
        ------
        ArchiveUnwritableError
            If the pack cannot be written.
        """
        if not contents:
            return []
        whole = hashlib.sha256()
        for content in contents:
            whole.update(content)
        pack = f"{day_obs}/{visit}/{detector}-{whole.hexdigest()[:32]}.cutouts"
        try:
            if is_remote(self.root):
                with fsspec.open(posixpath.join(self.root, pack), "wb") as file:
                    file.writelines(contents)
            else:
                _write_durably(Path(self.root) / pack, contents)
        except OSError as error:
            raise ArchiveUnwritableError(
                f"the archive {self.root} cannot be written: {error.strerror or error}"
            ) from None
        places, start = [], 0
        for content in contents:
            places.append(Place(hashlib.sha256(content).digest(), len(content), pack, start))
            start += len(content)
        return places

    def load(self, places: Iterable[Place]) -> dict[Place, bytes]:
        """Contents by where they lie.

        Raises
        ------
        ArchiveError
            If one is not there, or is not what was stored.
        """
        by_pack: dict[str, list[Place]] = {}
        for place in places:
            by_pack.setdefault(place.pack, []).append(place)
        found: dict[Place, bytes] = {}
        for pack, wanted in by_pack.items():
            try:
                found |= self._read(pack, wanted)
            except OSError as error:
                raise ArchiveError(
                    f"the archive {self.root} does not have {pack}: {error.strerror or error}; "
                    "L1DB_ARCHIVE must name the archive that it was written to"
                ) from None
        for place, content in found.items():
            if hashlib.sha256(content).digest() != place.sha256:
                raise ArchiveError(
                    f"the archive {self.root} is damaged: {place.pack} has something else from byte {place.start} on; "
                    "restore it from a copy"
                )
        return found

    def _read(self, pack: str, places: Sequence[Place]) -> Mapping[Place, bytes]:
        if is_remote(self.root):
            with fsspec.open(posixpath.join(self.root, pack), "rb") as file:
                content = file.read()
            return {place: content[place.start : place.start + place.n_bytes] for place in places}
        file_number = os.open(Path(self.root) / pack, os.O_RDONLY)
        try:
            return {place: os.pread(file_number, place.n_bytes, place.start) for place in places}
        finally:
            os.close(file_number)


def _write_durably(path: Path, contents: Sequence[bytes]) -> None:
    """A file that is there whole or not at all, whatever happens meanwhile."""
    # One that is there may be damaged, or its name not yet be on disk.
    if path.exists() and path.read_bytes() == b"".join(contents):
        _sync_directories(path.parent)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}-{uuid4().hex}")
    try:
        with unfinished.open("wb") as file:
            file.writelines(contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        _sync_directories(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def _sync_directories(path: Path) -> None:
    """The names of a new file and of the two directories it may be the first in."""
    for directory in (path, path.parent, path.parent.parent):
        file_number = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(file_number)
        finally:
            os.close(file_number)
