"""How fast packets go out, from the outbox to files or to Kafka.

``python -m bench.publish`` makes a database in which every DiaObject has 50 previous sources, takes one more visit in,
with images, and publishes its alerts: two cutouts with variance and mask each.  It prints packets per second, by the clock
and per second of the publisher's processor time.
"""

from __future__ import annotations

import os

# One core, before numpy starts its threads.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import shutil
import tempfile
import time
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


def make(dsn: str) -> None:
    with psycopg.connect(make_conninfo(dsn, dbname="postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(NAME)))
    database.init(make_conninfo(dsn, dbname=NAME), "seed", {})


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
            f"{destination.name}: {tally.delivered} packets, on average {row[0]} bytes: {tally.delivered / wall:.0f} /s, "
            f"{tally.delivered / busy:.0f} per second of the publisher's processor time"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detectors", type=int, default=40)
    parser.add_argument("--sources", type=int, default=53, help="per detector")
    parser.add_argument("--previous", type=int, default=50)
    parser.add_argument("--kafka", metavar="HOST:PORT", help="a broker to send to as well")
    arguments = parser.parse_args()
    dsn = settings.dsn()
    directory = Path(tempfile.mkdtemp(prefix="l1db-bench-"))
    try:
        make(dsn)
        own = make_conninfo(dsn, dbname=NAME)
        survey = Survey(arguments.detectors, arguments.sources, directory)
        fill(own, survey, arguments.previous)
        where = [Destination("first_build_to_file", "file", "lsst-11.1", {"directory": str(directory / "a")}),
                 Destination("again_to_file", "file", "l1db", {"directory": str(directory / "b")})]  # fmt: skip
        if arguments.kafka:
            where.append(Destination("kafka", "kafka", "lsst-11.1",
                                     {"bootstrap_servers": arguments.kafka, "topic": "alerts"}))  # fmt: skip
        throughput(own, survey, arguments.previous, directory / "archive", where)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
