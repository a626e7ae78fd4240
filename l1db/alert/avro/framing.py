"""Packets on the wire, framed as Confluent does, and in the archive, in Avro's container files.

A framed packet is a zero byte, the number of its schema in four bytes, big-endian, and Avro without schema.  A
container holds the same Avro, block by block behind the schema: so packets go from one to the other as they are.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import fastavro

from l1db.alert.avro.schemas import by_id, schema
from l1db.errors import InputError

_HEAD = 5
_BYTES_OF_BLOCK = 2**22  # a reader holds a block at once


def frame(number: int) -> bytes:
    """What stands before the Avro of a packet whose schema has this number."""
    return b"\0" + number.to_bytes(4, "big")


def number_of(packet: bytes) -> int:
    """The number of a framed packet's schema.

    Raises
    ------
    InputError
        If it is no framed packet.
    """
    if len(packet) <= _HEAD or packet[0] != 0:
        raise InputError("this is no packet off the wire: it does not begin with a zero byte and a schema's number")
    return int.from_bytes(packet[1:_HEAD], "big")


def read_packet(packet: bytes) -> dict[str, Any]:
    """Decode a framed packet of any version of both formats.

    Raises
    ------
    InputError
        If its schema is not known, or it breaks off, or goes on behind its end.
    """
    format, version = by_id(number_of(packet))
    stream = io.BytesIO(packet)
    stream.seek(_HEAD)
    try:
        record: Any = fastavro.schemaless_reader(stream, _parsed(format, version), None)
    except Exception as error:  # fastavro raises whatever a wrong byte happens to lead to
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise InputError(f"damaged or truncated packet of schema {format} {version}: {reason}") from error
    if rest := len(packet) - stream.tell():
        raise InputError(f"{rest} bytes are left over after a packet of schema {format} {version}")
    found: dict[str, Any] = record
    return found


@cache
def _parsed(format: str, version: str) -> Any:
    return fastavro.parse_schema(schema(format, version))


def write_container(file: Path | BinaryIO, packets: Sequence[bytes]) -> None:
    """Write framed packets of one schema as an Avro container, which carries the schema and is not compressed.

    They are not decoded.  The marker between blocks comes from what is written, so the same packets make the same file.

    Raises
    ------
    InputError
        If there are no packets, or they are of several schemas: a container has one.
    """
    numbers = {number_of(packet) for packet in packets}
    if len(numbers) != 1:
        raise InputError(
            "a container holds packets of one schema; these are of "
            + (", ".join(f"{number:#x}" for number in sorted(numbers)) or "none: there are no packets")
        )
    head = _container_head(*by_id(numbers.pop()))
    digest = hashlib.sha256(head)
    for packet in packets:
        digest.update(packet)
    marker = digest.digest()[:16]
    if isinstance(file, Path):
        with file.open("wb") as stream:
            _write(stream, head, marker, packets)
    else:
        _write(file, head, marker, packets)


def _write(stream: BinaryIO, head: bytes, marker: bytes, packets: Sequence[bytes]) -> None:
    stream.write(head + marker)
    start = 0
    while start < len(packets):
        end, size = start, 0
        while end < len(packets) and (end == start or size + len(packets[end]) <= _BYTES_OF_BLOCK):
            size += len(packets[end]) - _HEAD
            end += 1
        stream.write(long(end - start) + long(size))
        for packet in packets[start:end]:
            stream.write(memoryview(packet)[_HEAD:])
        stream.write(marker)
        start = end


@cache
def _container_head(format: str, version: str) -> bytes:
    text = json.dumps(schema(format, version), separators=(",", ":"), ensure_ascii=False).encode()
    pairs = ((b"avro.codec", b"null"), (b"avro.schema", text))
    return b"".join(
        (b"Obj\x01", long(len(pairs)), *(long(len(part)) + part for pair in pairs for part in pair), long(0))
    )


def long(value: int) -> bytes:
    """A count or a length: Avro's long, of one that is not negative."""
    value <<= 1
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)
