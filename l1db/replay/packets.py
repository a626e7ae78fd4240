"""Alert packets in files: Avro containers, which carry their schema, and packets off the wire, which do not.

On the wire Rubin frames a packet as Confluent does: a zero byte, the schema's id as four bytes, big-endian, then Avro
without schema.  The id is 100 * major + minor.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import fastavro
import fastavro.schema

from l1db.errors import InputError

Survey = Literal["ztf", "rubin"]


@dataclass(frozen=True)
class Packet:
    """One decoded packet; ``version`` is its schema's, (major, minor)."""

    survey: Survey
    version: tuple[int, int]
    record: dict[str, Any]


def find_files(paths: list[Path]) -> list[Path]:
    """The files named, and every ``*.avro`` below the directories named, each once and in a fixed order."""
    files: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            below = sorted(path.rglob("*.avro"))
            if not below:
                raise InputError(f"{path}: has no *.avro file in it")
            files.update(dict.fromkeys(below))
        else:
            files[path] = None
    return list(files)


def read_packets(path: Path, schema: Path | None = None) -> Iterator[Packet]:
    """Decode the packets in a file.

    Parameters
    ----------
    path
        Avro container with any number of packets, or one packet with Confluent framing.
    schema
        For framed packets: the alert schema (``*.avsc``) or a directory with schemas in it.  By default those of the
        package ``lsst-alert-packet``, if it is installed.

    Raises
    ------
    InputError
        If the file is no packet, or breaks off.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    if not content:
        raise InputError(f"{path}: is empty")
    if content.startswith(b"Obj\x01"):
        yield from _container(path, content)
    elif content[0] == 0 and len(content) > 5:
        yield _framed(path, content, schema)
    else:
        raise InputError(f"{path}: is no alert packet: neither an Avro container nor framed as on the wire")


def _container(path: Path, content: bytes) -> Iterator[Packet]:
    try:
        reader = fastavro.reader(io.BytesIO(content))
        writer_schema: Any = reader.writer_schema
        fields = {field["name"] for field in writer_schema.get("fields", ())}
        records: list[Any] = list(reader)
    except InputError:
        raise
    except Exception as error:  # fastavro raises whatever a wrong byte happens to lead to
        raise InputError(f"{path}: damaged or truncated Avro container: {_first_line(error)}") from error
    for record in records:
        if {"candid", "candidate"} <= fields:
            yield Packet("ztf", _version_of_text(str(record.get("schemavsn"))), record)
        elif "diaSource" in fields:
            yield Packet("rubin", _version_of_schema(path, writer_schema), record)
        else:
            raise InputError(f"{path}: is an Avro file, but a packet of neither ZTF nor Rubin")


def _framed(path: Path, content: bytes, schema: Path | None) -> Packet:
    version = divmod(int.from_bytes(content[1:5], "big"), 100)
    parsed = _schema(path, version, schema)
    stream = io.BytesIO(content)
    stream.seek(5)
    try:
        record: Any = fastavro.schemaless_reader(stream, parsed, None)
    except Exception as error:
        raise InputError(
            f"{path}: damaged or truncated packet of schema {_dotted(version)}: {_first_line(error)}"
        ) from error
    if rest := len(content) - stream.tell():
        raise InputError(f"{path}: {rest} bytes are left over after a packet of schema {_dotted(version)}")
    return Packet("rubin", version, record)


def _schema(path: Path, version: tuple[int, int], schema: Path | None) -> Any:
    """The parsed alert schema of this version."""
    major, minor = version
    name = f"lsst.v{major}_{minor}.alert.avsc"
    if schema is None:
        try:
            from lsst.alert.packet import get_schema_path
        except ImportError:
            raise InputError(
                f"{path}: is a packet off the wire, with schema {_dotted(version)} left out; "
                "pass --schema FILE|DIR with LSST's alert schemas, or install lsst-alert-packet"
            ) from None
        file = Path(get_schema_path(str(major), str(minor))) / name
    elif schema.is_dir():
        file = next(iter(sorted(schema.rglob(name))), schema / name)
    else:
        file = schema
    if not file.is_file():
        raise InputError(f"{path}: schema {_dotted(version)} is needed, and there is no {file}")
    parsed = _load(file)
    stated = _version_of_schema(file, parsed)
    if stated != version:
        raise InputError(f"{path}: needs schema {_dotted(version)}, but {file} is {_dotted(stated)}")
    return parsed


@cache
def _load(file: Path) -> Any:
    try:
        return fastavro.schema.load_schema(str(file))
    except Exception as error:
        raise InputError(f"{file}: cannot be read as an Avro schema: {_first_line(error)}") from error


def _version_of_schema(path: Path, schema: Any) -> tuple[int, int]:
    """Version from a schema's full name, ``lsst.v9_0.alert``."""
    name = f"{schema.get('namespace', '')}.{schema.get('name', '')}"
    found = re.search(r"lsst\.v(\d+)_(\d+)", name)
    if not found:
        raise InputError(f"{path}: the schema {name.strip('.')} does not say which version of LSST's it is")
    return int(found[1]), int(found[2])


def _version_of_text(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return (int(major) if major.isdigit() else 0), (int(minor) if minor.isdigit() else 0)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
