"""A few visits with everything that packets can say: images of all kinds of trouble, forced rows, rules that change.

Stars lie an arcminute from each other along a line of constant declination; star n of visit v on detector d has the id
1000 v + 10 n + d.  Detector 0 sees all but the last of them, detector 1 the last two; star 9 lies on both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from astropy.wcs import WCS

from l1db import Client, DetectorData, Visit
from l1db.alert.cutouts import Archive
from l1db.alert.packets import assemble, build, schema_version
from l1db.alert.read import read_content
from l1db.connection import connect
from l1db.database import change_survey
from l1db.images.exposure import MASK_PLANES, Exposure
from l1db.images.fits import write_exposure
from l1db.images.psf import MoffatPsf
from l1db.images.uri import describe
from l1db.visit import ImageFile
from tests.measure.test_forced import measured, seen

FORMATS = ("l1db", "lsst-11.1", "voevent")
FIRST_VISIT = 2**40  # more than 32 bits
SCALE = 3 / 3600  # deg per pixel
NIGHT = ((1, [0, 1, 2, 9], "r"), (2, [0, 1, 5, 9], "L★"), (3, [0, 2, 9], "r"), (4, [1, 2, 9], "g"))
LAST = (9, 40)

Hashes = dict[tuple[int, str], str]


def number(visit: int) -> int:
    return FIRST_VISIT + visit


def exposure(visit: int, detector: int, kind: str, seed: int = 0) -> Exposure:
    """Noise under the stars of detector 0, which reach over ten arcminutes; detector 1 has those from star 9 on."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cd = [30.08, -5.0], [130.0, 20.0], np.diag([SCALE, SCALE])
    rng = np.random.default_rng([visit, detector, len(kind), seed])
    image = rng.normal(0, 10, (40, 260)).astype(np.float32)
    return Exposure(
        image, np.full_like(image, 100), np.zeros(image.shape, dtype=np.int32), dict(MASK_PLANES), wcs,
        MoffatPsf(4.0, 4.765), kind=kind, visit=number(visit), detector=detector,
    )  # fmt: skip


def image_file(directory: Path, visit: int, detector: int, kind: str, seed: int = 0) -> ImageFile:
    path = directory / f"{visit}-{detector}-{kind}-{seed}.fits"
    write_exposure(exposure(visit, detector, kind, seed), path, compress=False)
    sha256, n_bytes = describe(path)
    return ImageFile(kind, str(path), bytes.fromhex(sha256), n_bytes)


def exposed(visit: int, **changed: Any) -> Visit:
    band = {v: band for v, _, band in NIGHT}.get(visit, "r")
    return replace(Visit(number(visit), band, 61_000.2 + 0.01 * visit, exposure_time=30.0), **changed)


def sources(visit: int, detector: int, stars: Sequence[int], **changed: Any) -> dict[str, Any]:
    """What a survey may say: odd numbers, and none."""
    n = len(stars)
    given = seen(
        *stars,
        dia_source_id=[1000 * visit + 10 * star + detector for star in stars],
        psf_flux=[1000.0 + 10 * visit + star for star in stars],
        science_flux=[-0.0] * n,
        science_flux_err=[7.0] * n,
        snr=[1e30, *[20.0 + visit] * n][:n],
        reliability=[np.nan, *[0.9] * n][:n],
        x=[-0.0] * n,
        y=[1e-38] * n,
        is_negative=[False] * n,
        bbox_size=[30] * n,
    )
    # A source is not where its star is: no two visits measure the same.
    given["ra"] = given["ra"] + 1e-5 * np.sin(visit + np.array(stars, dtype=float))
    given["dec"] = given["dec"] + 1e-5 * np.cos(3 * visit + detector)
    return {**given, **changed}


def take_in(dsn: str, directory: Path) -> None:
    """The night.  Of visit 2, detector 0 has no template; of visit 3, its difference image is damaged and the template
    gone; of visit 4 there are no images; detector 1 sees star 40, which is on no image."""
    with connect(dsn) as connection:
        change_survey(
            connection,
            {"alert_on": "all", "name": "Sky & Söhne 星", "bands": ["u", "g", "r", "i", "z", "y", "L★"]},
            "a night",
        )
    with Client(dsn) as client:
        for visit, stars, _ in NIGHT:
            if visit == 3:
                with connect(dsn) as connection:
                    change_survey(
                        connection, {"cutouts": ["difference", "science", "template"], "history_days": 0.035}, "more"
                    )
            detectors = []
            for detector, here in ((0, stars), (1, LAST)):
                kinds = {2: ("difference",), 4: ()}.get(visit, ("difference", "science", "template"))
                files = tuple(image_file(directory, visit, detector, kind) for kind in kinds)
                detectors.append(
                    DetectorData(
                        detector,
                        sources(visit, detector, here),
                        psf_fwhm=3.5,
                        zero_point=31.25,
                        software="pipe “1”",
                        measured=replace(measured(client), files=files) if detector == 0 else measured_here(files),
                    )
                )
            client.ingest(exposed(visit), detectors)
    damaged = directory / "3-0-difference-0.fits"
    damaged.write_bytes(damaged.read_bytes()[:-2880])
    (directory / "3-0-template-0.fits").unlink()


def measured_here(files: Sequence[ImageFile]) -> Any:
    from l1db.visit import Measured

    return Measured(files=tuple(files))


def alert_ids(connection: psycopg.Connection[Any]) -> list[int]:
    return [i for (i,) in connection.execute("select alert_id from l1.alert order by alert_id").fetchall()]


def build_all(connection: psycopg.Connection[Any], archive: Archive, chosen: Sequence[int] | None = None) -> Hashes:
    """Build packets in all formats, and their hashes."""
    found: Hashes = {}
    for form in FORMATS:
        built = build(connection, alert_ids(connection) if chosen is None else chosen, form, archive)
        assert not built.differing
        found |= {(packet.alert_id, form): digest(packet.content) for packet in built.packets}
    return found


def again(
    connection: psycopg.Connection[Any], archive: Archive, chosen: Sequence[int], forms: Sequence[str] = FORMATS
) -> Hashes:
    """The same packets read and put together again, in one go; changes nothing."""
    content = read_content(connection, chosen, archive, compressed=True)
    return {
        (packet.alert_id, form): digest(packet.content)
        for form in forms
        for packet in assemble(content, form, schema_version(form))
    }


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def differing(found: Mapping[tuple[int, str], str], expected: Mapping[tuple[int, str], str]) -> Iterator[str]:
    """Which packets are other ones."""
    assert found.keys() == expected.keys()
    return (f"alert {i}, {form}" for (i, form), sha in sorted(expected.items()) if found[i, form] != sha)
