"""Where files are: local paths, or URIs that fsspec opens.

A path or URI in a table of visits is relative to the place of that table, so that a directory with both can be moved.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from l1db.errors import InputError, UnreadableError

# A scheme of one letter is a drive, not a protocol; fsspec chains filesystems with "::".
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+(://|::)")
_CHUNK = 1 << 20


def is_remote(uri: str | os.PathLike[str]) -> bool:
    """Whether this is for fsspec to open, rather than a local path."""
    return _REMOTE.match(os.fspath(uri)) is not None


def resolve(uri: str | os.PathLike[str], table: str | os.PathLike[str]) -> str:
    """A URI as a table gives it, made absolute.

    Parameters
    ----------
    uri
        Absolute path, URI, or path relative to the directory of ``table``.
    table
        Path or URI of the table that names it.

    Returns
    -------
    str
        An absolute local path, or a URI.
    """
    uri, table = os.fspath(uri).strip(), os.fspath(table)
    if not uri:
        raise InputError(f"{table}: the path of an image is empty; give a path or a URI, or leave it NULL")
    if is_remote(uri):
        return uri
    if is_remote(table):
        scheme, _, place = table.partition("://")
        if posixpath.isabs(uri):
            raise InputError(f"{table}: {uri} is a local path in a table that is not; give a URI, or a relative path")
        root, _, path = place.partition("/")
        beside = posixpath.normpath(posixpath.join("/", posixpath.dirname(path), uri))
        return f"{scheme}://{root}{beside}"
    return os.path.normpath(os.path.join(os.path.abspath(os.path.dirname(table)), uri))


def read_bytes(uri: str | os.PathLike[str]) -> bytes:
    """The whole file.

    Raises
    ------
    InputError
        If it cannot be opened or read.
    """
    with _opened(uri) as file:
        return file.read()


def describe(uri: str | os.PathLike[str]) -> tuple[str, int]:
    """SHA-256 (hexadecimal) and size (bytes) of a file, read in pieces.

    Raises
    ------
    InputError
        If it cannot be opened or read.
    """
    digest, size = hashlib.sha256(), 0
    with _opened(uri) as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
            size += len(piece)
    return digest.hexdigest(), size


@contextmanager
def _opened(uri: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """The file opened for reading.  What fails while it is open is told as a failure to read it."""
    uri = os.fspath(uri)
    try:
        if not is_remote(uri):
            with Path(uri).open("rb") as file:
                yield file
            return
        import fsspec

        with fsspec.open(uri, "rb") as remote:
            yield cast(BinaryIO, remote)
    except FileNotFoundError:
        if not is_remote(uri) and not Path(uri).absolute().parent.is_dir():
            raise UnreadableError(f"{uri}: does not exist, nor does its directory") from None
        raise InputError(f"{uri}: does not exist") from None
    except (IsADirectoryError, NotADirectoryError) as error:
        raise InputError(f"{uri}: cannot be read: {error.strerror}") from None
    except OSError as error:
        raise UnreadableError(f"{uri}: cannot be read: {error.strerror or _line(error)}") from None
    except ImportError as error:  # fsspec, or what it needs for this protocol
        raise UnreadableError(f"{uri}: cannot be opened: {_line(error)}") from None
    except Exception as error:  # each of fsspec's file systems has errors of its own
        if not is_remote(uri):
            raise
        raise UnreadableError(f"{uri}: cannot be opened: {_line(error)}") from None


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
