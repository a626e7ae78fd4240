"""How fast packets go out, from the outbox to files or to Kafka.

``python -m bench.publish`` makes a database in which every DiaObject has 50 previous sources, takes one more visit in,
with images, and publishes its alerts: two cutouts with variance and mask each.  It prints packets per second, by the
clock and per second of the publisher's processor time.

``python -m bench.publish --latency --detectors 189`` takes ten visits in, one every 39 s, a commit per detector, while
a publisher sends to Kafka; it prints how long packets take from the stamp of their transaction to a consumer.
"""

from __future__ import annotations

import os

# One core, before numpy starts its threads.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psycopg
from astropy.wcs import WCS
from psycopg import sql
from psycopg.conninfo import make_conninfo

from l1db import Client, DetectorData, Visit, database, settings
from l1db.alert import destinations
from l1db.alert.cutouts import Archive
from l1db.alert.publish import Publisher
from l1db.alert.transports import Destination
from l1db.connection import connect
from l1db.images.exposure import MASK_PLANES, Exposure
from l1db.images.fits.write import write_exposure
from l1db.images.psf import MoffatPsf
from l1db.images.uri import describe
from l1db.visit import ImageFile, Measured
from tests.peers.kafka_broker import KafkaBroker, NoKafkaError

SIDE = 600  # pixels of a detector
SCALE = 0.2 / 3600
NAME = "l1db_bench_publish"


class Survey:
    """Detectors side by side, each with its objects on a grid and a difference image and a template on disk."""

    def __init__(self, n_detectors: int, n_sources: int, directory: Path) -> None:
        self.n_detectors, self.n_sources = n_detectors, n_sources
        rng = np.random.default_rng(1)
        self.ra: list[np.ndarray] = []
        self.dec: list[np.ndarray] = []
        self.files: list[tuple[ImageFile, ...]] = []
        for detector in range(n_detectors):
            wcs = WCS(naxis=2)
            wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
            wcs.wcs.crpix, wcs.wcs.cd = [SIDE / 2, SIDE / 2], np.diag([-SCALE, SCALE])
            wcs.wcs.crval = [150 + (detector % 14) * SIDE * SCALE * 1.1, (detector // 14) * SIDE * SCALE * 1.1]
            side = int(np.ceil(np.sqrt(n_sources)))
            grid = np.linspace(20, SIDE - 20, side)
            x, y = (axis.ravel()[:n_sources] for axis in np.meshgrid(grid, grid))
            ra, dec = wcs.all_pix2world(x, y, 0)
            self.ra.append(ra)
            self.dec.append(dec)
            files = []
            for kind in ("difference", "template"):
                image = rng.normal(size=(SIDE, SIDE)).astype(np.float32)
                exposure = Exposure(
                    image, np.ones_like(image), np.zeros(image.shape, dtype=np.int32), MASK_PLANES, wcs,
                    MoffatPsf(4.0, 4.765), kind=kind,
                )  # fmt: skip
                path = directory / f"{detector}-{kind}.fits"
                write_exposure(exposure, path, compress=False)
                sha256, n_bytes = describe(path)
                files.append(ImageFile(kind, str(path), bytes.fromhex(sha256), n_bytes))
            self.files.append(tuple(files))

    def detector(self, detector: int, rng: np.random.Generator, *, with_images: bool) -> DetectorData:
        n = self.n_sources
        return DetectorData(
            detector,
            {
                "ra": self.ra[detector] + rng.normal(0, 0.03, n) / 3600,
                "dec": self.dec[detector] + rng.normal(0, 0.03, n) / 3600,
                **{name: np.full(n, 0.03 / 3600) for name in ("ra_err", "dec_err")},
                **{name: rng.normal(1000, 100, n) for name in ("psf_flux", "science_flux", "ap_flux", "template_flux")},
                **{
                    name: np.full(n, 50.0)
                    for name in ("psf_flux_err", "science_flux_err", "ap_flux_err", "template_flux_err")
                },
                **{name: rng.normal(1, 0.1, n) for name in ("ixx", "iyy", "ixy", "x", "y", "psf_chi2", "extendedness")},
                **{name: rng.uniform(0, 1, n) for name in ("reliability", "snr")},
                "is_negative": np.zeros(n, dtype=bool),
            },
            psf_fwhm=4.0,
            zero_point=27.0,
            measured=Measured(files=self.files[detector]) if with_images else None,
        )


def fill(dsn: str, survey: Survey, n_previous: int) -> None:
    """Every object with its previous sources."""
    rng = np.random.default_rng(2)
    with Client(dsn) as client:
        for visit in range(1, n_previous + 1):
            detectors = [survey.detector(d, rng, with_images=False) for d in range(survey.n_detectors)]
            client.ingest(Visit(visit, "ugrizy"[visit % 6], 61000.1 + 2 * visit, 30.0), detectors)


def make(dsn: str, name: str) -> None:
    drop(dsn, name)
    database.init(make_conninfo(dsn, dbname=name), "seed", {})


def drop(dsn: str, name: str) -> None:
    with psycopg.connect(make_conninfo(dsn, dbname="postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def throughput(dsn: str, survey: Survey, n_previous: int, archive: Path, where: list[Destination]) -> None:
    rng = np.random.default_rng(3)
    with connect(dsn) as connection:
        for destination in where:
            destinations.add(connection, destination)
    with Client(dsn) as client:
        client.ingest(
            Visit(n_previous + 1, "r", 61000.1 + 2 * (n_previous + 1), 30.0),
            [survey.detector(d, rng, with_images=True) for d in range(survey.n_detectors)],
        )
    for destination in where:
        wall, busy = time.perf_counter(), time.process_time()
        tally = Publisher(dsn, [destination.name], Archive(archive), once=True).run()[destination.name]
        wall, busy = time.perf_counter() - wall, time.process_time() - busy
        with connect(dsn) as connection:
            row = connection.execute("select avg(n_bytes)::int from alert_packet").fetchone()
        assert row is not None
        print(
            f"{destination.name}: {tally.delivered} packets, on average {row[0]} bytes: "
            f"{tally.delivered / wall:.0f} /s, {tally.delivered / busy:.0f} per second of processor time; "
            f"load {os.getloadavg()[0]:.1f}"
        )


class Listener(threading.Thread):
    """A consumer of the topic: when each alert came."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        super().__init__(daemon=True)
        self.came: dict[int, float] = {}
        self._servers, self._topic = bootstrap, topic
        self.ends = threading.Event()

    def run(self) -> None:
        from confluent_kafka import Consumer

        consumer = Consumer(
            {"bootstrap.servers": self._servers, "group.id": "bench", "auto.offset.reset": "earliest",
             "topic.metadata.refresh.interval.ms": 500, "fetch.wait.max.ms": 20, "log_level": 0}
        )  # fmt: skip
        consumer.subscribe([self._topic])
        while not self.ends.is_set():
            for message in consumer.consume(500, 0.02):
                if message.error() is None:
                    self.came.setdefault(int(dict(message.headers())["alert_id"]), time.time())
        consumer.close()


def latency(
    dsn: str, survey: Survey, n_previous: int, archive: Path, bootstrap: str, *, n_visits: int, seconds: float, n: int
) -> None:
    """Visits one after the other, a commit per detector, and one visit in one commit; from stamp to consumer."""
    rng = np.random.default_rng(5)
    topic = f"latency-{os.getpid()}"
    with connect(dsn) as connection:
        settings_ = {"bootstrap_servers": bootstrap, "topic": topic}
        destinations.add(connection, Destination("latency", "kafka", "lsst-11.1", settings_))
    listener = Listener(bootstrap, topic)
    listener.start()
    command = [sys.executable, "-c", "from l1db.cli import main; main()", "publish", "latency"]
    environment = os.environ | {"L1DB_DSN": dsn, "L1DB_ARCHIVE": str(archive)}
    publishers = [subprocess.Popen(command, env=environment) for _ in range(n)]
    first = n_previous + 10
    try:
        with Client(dsn) as client, connect(dsn) as connection:
            for visit in range(first, first + n_visits + 1):
                whole = visit == first + n_visits
                exposure = Visit(visit, "r", 61000.1 + 2 * visit, 30.0)
                prepared = [survey.detector(d, rng, with_images=True) for d in range(survey.n_detectors)]
                client.ingest(exposure, prepared if whole else prepared[:1])
                began = time.monotonic()
                for d in range(1, 0 if whole else survey.n_detectors):
                    time.sleep(max(0.0, began + d * seconds / survey.n_detectors - time.monotonic()))
                    client.ingest(exposure, prepared[d : d + 1])
                stamps = dict(
                    connection.execute(
                        "select alert_id, extract(epoch from stamp)::float8 from l1.alert where visit = %s", (visit,)
                    ).fetchall()
                )
                committed = time.time()
                while whole and any(i not in listener.came for i in stamps) and time.time() < committed + 120:
                    time.sleep(0.01)
                time.sleep(0 if whole else max(0.0, seconds / survey.n_detectors))
                report(visit - first + 1, whole, stamps, listener.came, committed)
                if visit == first + n_visits - 1:
                    time.sleep(5)
    finally:
        for publisher in publishers:
            publisher.terminate()
        for publisher in publishers:
            publisher.wait(60)
        listener.ends.set()
        listener.join()


def report(visit: int, whole: bool, stamps: dict[int, float], came: dict[int, float], committed: float) -> None:
    waits = np.array([came[i] - stamp for i, stamp in stamps.items() if i in came])
    if not len(waits):
        waits = np.array([np.nan])
    print(
        f"visit {visit}{' in one commit' if whole else ''}: {len(stamps)} alerts; from stamp to consumer median "
        f"{np.median(waits):.2f} s, 99 % {np.percentile(waits, 99):.2f} s, last {waits.max():.2f} s; "
        f"{sum(i not in came for i in stamps)} still on their way at its end; load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detectors", type=int, default=40)
    parser.add_argument("--sources", type=int, default=53, help="per detector")
    parser.add_argument("--previous", type=int, default=50)
    parser.add_argument("--kafka", metavar="HOST:PORT", help="a broker; by default one is started where that can be")
    parser.add_argument("--latency", action="store_true", help="from commits to Kafka, instead of throughput")
    parser.add_argument("--visits", type=int, default=10, help="with --latency")
    parser.add_argument("--seconds", type=float, default=39, help="with --latency: from visit to visit")
    parser.add_argument("--publishers", type=int, default=1, help="with --latency")
    parser.add_argument("--database", default=NAME, help="made, and dropped at the end")
    arguments = parser.parse_args()
    dsn = settings.dsn()
    directory = Path(tempfile.mkdtemp(prefix="l1db-bench-"))
    own = make_conninfo(dsn, dbname=arguments.database)
    broker = None
    try:
        make(dsn, arguments.database)
        bootstrap = arguments.kafka
        if bootstrap is None:
            with suppress(NoKafkaError):
                broker = KafkaBroker(directory / "kafka")
                broker.start()
                bootstrap = broker.bootstrap
        survey = Survey(arguments.detectors, arguments.sources, directory)
        fill(own, survey, arguments.previous)
        if arguments.latency:
            if bootstrap is None:
                sys.exit("no Kafka: name one with --kafka")
            latency(own, survey, arguments.previous, directory / "archive", bootstrap, n_visits=arguments.visits,
                    seconds=arguments.seconds, n=arguments.publishers)  # fmt: skip
            return
        where = [Destination("first_build_to_file", "file", "lsst-11.1", {"directory": str(directory / "a")}),
                 Destination("again_to_file", "file", "l1db", {"directory": str(directory / "b")})]  # fmt: skip
        if bootstrap is not None:
            where.append(Destination("again_to_kafka", "kafka", "lsst-11.1",
                                     {"bootstrap_servers": bootstrap, "topic": "alerts"}))  # fmt: skip
        throughput(own, survey, arguments.previous, directory / "archive", where)
    finally:
        if broker is not None:
            broker.stop()
        drop(dsn, arguments.database)
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
