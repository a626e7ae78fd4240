"""How fast packets are made, beside fastavro.

``python -m bench.packets`` makes the packets of 1 000 alerts with 50 previous DiaSources each and two cutouts, in
each schema, and prints packets per second of one core: by l1db from columns, and by fastavro from dictionaries, which
were made before the clock started.  It makes up what the alerts say; no database is asked.
"""

from __future__ import annotations

import os

# One core, before numpy starts its threads.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import io
import time
from collections.abc import Callable, Mapping
from typing import Any

import fastavro
import numpy as np
from numpy.typing import NDArray

from l1db.alert import avro
from l1db.alert.avro import mapping
from l1db.alert.content import CUTOUT_KINDS, Content, Rows
from l1db.binary_copy import WireColumn
from l1db.columns import DTYPES
from l1db.models import SCHEMA, metadata
from l1db.models.schema import SQL_TYPES

TEXTS = ["", "r", "naïve", "日本語", "a\tb\n", "x" * 300, "🜨"]
TIME = np.dtype("f8")  # of processing: MJD TAI, as it leaves the database
Present = Callable[[str, int], NDArray[np.bool_]]


def content(
    rng: np.random.Generator,
    n: int,
    previous: NDArray[np.int64] | int,
    *,
    null: float = 0.3,
    at_random: bool = False,
    bands: tuple[str, ...] = ("u", "g", "r", "i", "z", "y"),
    cutout: int = 33_120,
    forced: float = 0.3,
    bare: float = 0.0,
) -> Content:
    """What n alerts say, made up.

    Parameters
    ----------
    rng
        Source of all that is random.
    n
        Number of alerts.
    previous
        Number of previous rows of each.
    null
        Share of the columns that are NULL throughout, as for a survey that does not measure them; with ``at_random``
        that of single values.
    bands
        Bands of the survey.
    cutout
        Size of a cutout in bytes; each alert has two.
    forced
        Share of forced rows among the previous ones.
    bare
        Share of alerts without object, image or cutouts, each.
    """

    def present(name: str, rows: int) -> NDArray[np.bool_]:
        if at_random:
            return rng.uniform(size=rows) >= null
        return np.full(rows, rng.uniform() >= null)

    counts = np.broadcast_to(np.asarray(previous, dtype=np.int64), (n,))
    bounds = np.concatenate([[0], np.cumsum(counts)])
    n_bands = rng.integers(1, len(bands) + 1, n) if bands else np.zeros(n, dtype=np.int64)
    has_object, has_image, has_cutouts = (rng.uniform(size=n) >= bare for _ in range(3))
    n_bands = np.where(has_object, n_bands, 0)
    history = _sources(rng, int(bounds[-1]), present, bands)
    is_forced = rng.uniform(size=len(history)) < forced
    history["is_forced"].values[:] = is_forced
    history["is_precovery"].values[:] = is_forced & (rng.uniform(size=len(history)) < 0.2)
    source = _sources(rng, n, present, bands)
    alert = {
        "alert_id": ("bigint", False),
        "kind": ("text", False),
        "dia_source_id": ("bigint", False),
        "midpoint_mjd_tai": ("double precision", False),
        "visit": ("bigint", False),
        "detector": ("smallint", False),
        "dia_object_id": ("bigint", True),
        "dia_object_version": ("timestamptz", True),
        "ss_object_id": ("bigint", True),
        "ss_object_version": ("timestamptz", True),
        "survey_version": ("integer", False),
        "stamp": ("timestamptz", False),
        "database_id": ("text", False),
        "survey_name": ("text", False),
        "operational": ("boolean", False),
    }
    image = {c.name: (c.sql_type, c.name not in mapping.ALERT_IMAGE_NOT_NULL) for c in mapping.ALERT_IMAGE}
    image |= dict.fromkeys(mapping.OF_IMAGE.values(), ("text", True))
    rows_of_bands = _rows(rng, int(n_bands.sum()), _of_model("dia_object_band"), present, bands)
    rows_of_bands["band"].values[:] = [band for k in n_bands for band in sorted(bands)[:k]]
    pool = rng.bytes(cutout + 99)
    return Content(
        alert=_rows(rng, n, alert, present, bands),
        source=source,
        object=_only(_rows(rng, n, _of_model("dia_object"), present, bands), has_object),
        band=rows_of_bands,
        band_bounds=np.concatenate([[0], np.cumsum(n_bands)]),
        history=history,
        history_bounds=bounds,
        image=_only(_rows(rng, n, image, present, bands), has_image),
        cutouts=[
            {kind: pool[at : at + cutout] for kind, at in zip(CUTOUT_KINDS[::2], (i % 99, i % 98), strict=True)}
            if has_cutouts[i]
            else {}
            for i in range(n)
        ],
        compressed=[{} for _ in range(n)],
    )


def _sources(rng: np.random.Generator, n: int, present: Present, bands: tuple[str, ...]) -> Rows:
    return _rows(rng, n, _of_model("dia_source"), present, bands)


def _of_model(table: str) -> dict[str, tuple[str, bool]]:
    """SQL type of each column, and whether it may be NULL."""
    names = {type(of): name for name, of in SQL_TYPES.items()}
    return {c.name: (names[type(c.type)], bool(c.nullable)) for c in metadata.tables[f"{SCHEMA}.{table}"].c}


def _rows(
    rng: np.random.Generator,
    n: int,
    columns: Mapping[str, tuple[str, bool]],
    present: Present,
    bands: tuple[str, ...],
) -> Rows:
    made = {}
    for name, (sql_type, null) in columns.items():
        there = present(name, n) if null else np.ones(n, dtype=bool)
        made[name] = WireColumn(name, _values(rng, name, DTYPES.get(sql_type, TIME), n, bands), there)
        if made[name].values.dtype == object:
            made[name].values[~there] = None
    return Rows(n, made)


def _values(rng: np.random.Generator, name: str, of: np.dtype[Any], n: int, bands: tuple[str, ...]) -> NDArray[Any]:
    values = np.empty(n, dtype=of)
    if of.kind == "O":
        values[:] = rng.choice(bands if name == "band" and bands else TEXTS, n)
    elif of.kind == "b":
        values[:] = rng.uniform(size=n) < 0.5
    elif of.kind == "f":
        values[:] = rng.normal(size=n) * 10.0 ** rng.integers(-3, 6, n)
    elif name.endswith("_id"):
        values[:] = rng.integers(2**62, 2**63 - 1, n, endpoint=True)
    else:
        edge = np.iinfo(of)
        values[:] = rng.integers(edge.min, edge.max, n, endpoint=True) >> rng.integers(0, edge.bits, n)
    return values


def _only(rows: Rows, there: NDArray[np.bool_]) -> Rows:
    """All NULL where there is none."""
    made = {c.name: WireColumn(c.name, c.values, c.present & there) for c in rows.columns.values()}
    for column in made.values():
        if column.values.dtype == object:
            column.values[~column.present] = None
    return Rows(rows.n, made)


def rate(make: Callable[[], object], n: int) -> float:
    """Packets per second of processor time, the best of three."""
    times = []
    for _ in range(3):
        start = time.process_time()
        make()
        times.append(time.process_time() - start)
    return n / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=1000, help="alerts")
    parser.add_argument("--previous", type=int, default=50, help="previous DiaSources of each")
    parser.add_argument("--few", type=int, default=50, help="alerts enough for fastavro")
    wanted = parser.parse_args()
    for label, at_random in (("columns NULL throughout", False), ("values NULL at random", True)):
        made = content(np.random.default_rng(1), wanted.n, wanted.previous, at_random=at_random)
        for format in ("lsst-11.1", "l1db"):
            packets = avro.build(made, format)
            speed = rate(lambda made=made, format=format: avro.build(made, format), wanted.n)  # type: ignore[misc]
            parsed = fastavro.parse_schema(avro.schema(format))
            records = [avro.read_packet(packet) for packet in packets[: wanted.few]]

            def fastavros(records: list[Any] = records, parsed: Any = parsed) -> None:
                for record in records:
                    fastavro.schemaless_writer(io.BytesIO(), parsed, record)

            size = np.mean([len(packet) for packet in packets])
            print(
                f"30 % of the {label}, {format}: {speed:6.0f} per second, {size / 1000:.0f} kB each; "
                f"fastavro {rate(fastavros, len(records)):4.0f}"
            )


if __name__ == "__main__":
    main()
