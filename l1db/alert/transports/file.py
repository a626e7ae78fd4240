"""Files: the archive of alerts.

``<directory>/<day_obs>/<visit>/<batch_id>-<hash>.avro`` is an Avro container of the alerts that a batch has of a
visit, uncompressed; beside it ``<batch_id>-<hash>.index.parquet`` tells of each alert what it is about and where in
the container its record is: ``n_bytes`` from ``offset``, without the framing of the packet.

The hash is of the alerts and their schema.  So the same alerts give the same file, however often they come, and a
batch that comes again without those that are recorded already gets a file of its own: no file is ever replaced by one
that holds less.  An alert may be in two files after a crash; its id tells.

A file appears under its name when it is on the disk as a whole, and its index is there before it.  What a crash
leaves behind are files whose names begin with a full stop.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from mmap import ACCESS_READ, mmap
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from l1db.alert import avro
from l1db.alert.transports import Destination, Outcome, Packet, UnreachableError, as_line
from l1db.alert.transports.settings import Setting, read, refuse

FORMATS = ("lsst-11.1", "l1db")
SETTINGS = {"directory": Setting("text", required=True)}

WriteContainer = Callable[[Path, Sequence[bytes]], None]

FRAMING = 5
"""Bytes of Confluent's framing before each record of a packet."""
_INDEX = pa.schema(
    [
        ("alert_id", pa.int64()),
        ("kind", pa.string()),
        ("dia_source_id", pa.int64()),
        ("dia_object_id", pa.int64()),
        ("ss_object_id", pa.int64()),
        ("visit", pa.int64()),
        ("detector", pa.int32()),
        ("band", pa.string()),
        ("midpoint_mjd_tai", pa.float64()),
        ("ra", pa.float64()),
        ("dec", pa.float64()),
        ("offset", pa.int64()),
        ("n_bytes", pa.int64()),
        ("sha256", pa.string()),
    ]
)


class File:
    """An archive in one directory.

    Parameters
    ----------
    destination
        Where to.
    write_container
        Writes framed packets of one schema as an Avro container.
    """

    batch_size = 1000
    interval_s = 0.0

    def __init__(self, destination: Destination, write_container: WriteContainer = avro.write_container) -> None:
        self._directory = Path(read(destination, SETTINGS)["directory"])
        self._write_container = write_container

    def send(self, packets: Sequence[Packet], batch_id: int) -> Iterator[Outcome]:
        """As `Sender.send`."""
        files: dict[tuple[str, int, str | None], list[Packet]] = {}
        for packet in packets:
            files.setdefault((packet.day_obs, packet.visit, packet.schema), []).append(packet)
        for (day_obs, visit, _), of_file in files.items():
            of_file.sort(key=lambda packet: packet.alert_id)
            directory = self._directory / _part(day_obs) / str(visit)
            try:
                path = self._write(directory, of_file, batch_id)
            except OSError as error:
                raise UnreachableError(f"{directory}: {as_line(error)}") from None
            for packet in of_file:
                yield Outcome(packet.alert_id, "delivered", str(path.relative_to(self._directory)))

    def interrupt(self) -> None:
        """There is nobody to wait for."""

    def close(self) -> None:
        """There is nothing to let go of."""

    def _write(self, directory: Path, packets: Sequence[Packet], batch_id: int) -> Path:
        stem = f"{batch_id}-{_hash(packets)}"
        path = directory / f"{stem}.avro"
        if not path.exists():
            directory.mkdir(parents=True, exist_ok=True)
            with _Partial(directory, stem, ".avro") as container, _Partial(directory, stem, ".index.parquet") as index:
                self._write_container(container.path, [packet.content for packet in packets])
                pq.write_table(_index(container.path, packets), index.path)
                index.finish(directory / f"{stem}.index.parquet")
                container.finish(path)
        # Also if it was there: whoever wrote it may have died before this.  The directories above may be new as well.
        for above in (directory, directory.parent, self._directory):
            _sync(above)
        return path


def check(destination: Destination) -> None:
    """What `SETTINGS` do not say: a path that means the same wherever one stands.

    Raises
    ------
    InputError
        If it is not absolute.
    """
    directory = read(destination, SETTINGS)["directory"]
    if not Path(directory).is_absolute():
        raise refuse(destination, f"setting directory is a path from the root, not {directory}")


def probe(destination: Destination) -> str:
    """Make the directory and a file in it, and remove the file."""
    directory = Path(read(destination, SETTINGS)["directory"])
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _Partial(directory, "probe", "") as partial:
            partial.path.write_bytes(b"l1db")
            _sync(partial.path)
        free = os.statvfs(directory)
    except OSError as error:
        raise UnreachableError(f"{directory}: {as_line(error)}") from None
    return f"{directory} can be written, {free.f_bavail * free.f_frsize / 1e9:.1f} GB are free"


class _Partial:
    """A file under a name that begins with a full stop, until it is finished; removed if it never is."""

    def __init__(self, directory: Path, stem: str, suffix: str) -> None:
        # A name of its own: another publisher may be at the same batch after our lease has expired.
        number, name = tempfile.mkstemp(prefix=f".{stem}-", suffix=f"{suffix}.partial", dir=directory)
        os.close(number)
        self.path = Path(name)

    def __enter__(self) -> _Partial:
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def finish(self, path: Path) -> None:
        """Give it its name once it is on the disk."""
        self.path.chmod(0o644)
        _sync(self.path)
        self.path.rename(path)


def _index(container: Path, packets: Sequence[Packet]) -> pa.Table:
    columns: dict[str, list[object]] = {
        name: [getattr(packet, name) for packet in packets]
        for name in _INDEX.names
        if name not in ("offset", "n_bytes", "sha256")
    }
    records = [packet.content[FRAMING:] for packet in packets]
    columns["offset"] = list(_offsets(container, records))
    columns["n_bytes"] = [len(record) for record in records]
    columns["sha256"] = [hashlib.sha256(record).hexdigest() for record in records]
    return pa.table(columns, schema=_INDEX)


def _offsets(container: Path, records: Sequence[bytes]) -> Iterator[int]:
    """Where each record begins, by the blocks of the file itself: it is read once before anybody relies on it.

    See "Object Container Files" in the Avro specification.
    """
    with container.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        at, marker = _skip_header(content)
        i = 0
        while at < len(content):
            n, at = _long(content, at)
            n_bytes, at = _long(content, at)
            for record in records[i : i + n]:
                if content[at : at + len(record)] != record:
                    raise ValueError(f"{container}: record {i} is not as it was given")
                yield at
                at += len(record)
                n_bytes -= len(record)
                i += 1
            if n_bytes or content[at : at + 16] != marker:
                raise ValueError(f"{container}: a block does not end after record {i - 1}")
            at += 16
        if i != len(records):
            raise ValueError(f"{container} holds {i} of {len(records)} records")


def _skip_header(content: mmap) -> tuple[int, bytes]:
    """Where the first block begins, and the marker that ends each block."""
    at = 4
    while True:
        n, at = _long(content, at)
        if n == 0:
            return at + 16, content[at : at + 16]
        if n < 0:  # then the size of these entries comes first
            _, at = _long(content, at)
        for _ in range(2 * abs(n)):
            n_bytes, at = _long(content, at)
            at += n_bytes


def _long(content: mmap, at: int) -> tuple[int, int]:
    """A number in Avro's zigzag encoding, and where it ends."""
    value = shift = 0
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return (value >> 1) ^ -(value & 1), at


def _hash(packets: Sequence[Packet]) -> str:
    names = "\n".join(f"{packet.schema} {packet.key}" for packet in packets)
    return hashlib.sha256(names.encode()).hexdigest()[:12]


def _part(day_obs: str) -> str:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", day_obs):
        raise ValueError(f"{day_obs!r} is no night")
    return day_obs


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
