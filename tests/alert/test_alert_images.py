"""What an image was as its alerts were issued: written down in the same transaction, and never different since."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from l1db import Client, DetectorData
from l1db.images.fits import read_exposure, write_exposure
from l1db.visit import ImageFile
from tests.correct.test_corrections import WHY, call
from tests.images.sky_images import exposure, wcs
from tests.measure.test_forced import FILE, FOOTPRINT, measured, seen, visit

WCS_TEXT = "CRPIX1  =                  1.0\nCRPIX2  =                  2.0"
TEMPLATE = ImageFile("template", "s3://bucket/deep/coadd_r.fits", bytes(range(32)), 2880)
FILES = (replace(FILE, wcs=WCS_TEXT), TEMPLATE)
COLUMNS = (
    "visit, detector, attempt, band, midpoint_mjd_tai, exposure_time, boresight_ra, boresight_dec, airmass,"
    " day_obs::text, n_snaps, reason, target, footprint, psf_fwhm, zero_point, flux_noise, software, wcs, template,"
    " template_sha256"
)


@pytest.fixture
def look(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def described(look: psycopg.Connection, columns: str = "*") -> list[tuple[Any, ...]]:
    query = f"select {columns} from l1.alert_image order by stamp, visit, detector"
    return look.execute(query).fetchall()  # type: ignore[arg-type]


def detector(client: Client, number: int = 0, **changed: Any) -> DetectorData:
    about: dict[str, Any] = {
        "sources": seen(1, 2, dia_source_id=[1000 + number, 2000 + number]), "footprint": FOOTPRINT, "psf_fwhm": 3.5,
        "zero_point": 31.25, "flux_noise": 42.0, "software": "pipe 1", "measured": measured(client, files=FILES),
    }  # fmt: skip
    return DetectorData(number, **{**about, **changed})


def test_all_that_is_known_of_an_image_is_written_down(client: Client, look: psycopg.Connection) -> None:
    """Once for the visit and detector, however many alerts.  Seen red without describe_images in issue_alerts."""
    one = visit(1, boresight_ra=30.1, boresight_dec=-5.0, airmass=1.25, n_snaps=2, reason="science", target="field 1")
    client.ingest(one, [detector(client), detector(client, 4, measured=None, sources={})])
    (row,) = described(look, COLUMNS)
    outline = "POLYGON((29.9 -5.1,30.3 -5.1,30.3 -4.9,29.9 -4.9,29.9 -5.1))"
    about = (30.0, 30.1, -5.0, 1.25, "2025-11-20", 2, "science", "field 1", outline, 3.5, 31.25, 42.0, "pipe 1")
    assert row == (1, 0, 1, "r", 61_000.01, *about, WCS_TEXT, "coadd_r.fits", bytes(range(32)))
    assert look.execute("select count(*), min(stamp) = max(stamp) from l1.alert").fetchone() == (2, True)
    assert look.execute("select distinct stamp from l1.alert").fetchall() == described(look, "stamp")


def test_what_is_not_known_is_null(client: Client, look: psycopg.Connection) -> None:
    client.ingest(visit(1), [DetectorData(0, seen(1))])
    (row,) = described(look, COLUMNS)
    assert row[:5] == (1, 0, 1, "r", 61_000.01)
    assert [i for i, value in enumerate(row) if value is not None] == [0, 1, 2, 3, 4, 5, 9]


def test_without_alerts_nothing_is_written(client: Client, look: psycopg.Connection) -> None:
    client.ingest(visit(1), [detector(client, sources={})])
    client.ingest(visit(2), [detector(client)])
    before = described(look)
    client.ingest(visit(2), [detector(client)])
    assert described(look) == before
    assert [row[0] for row in before] == [2]


def test_nothing_that_happens_afterwards_changes_it(client: Client, look: psycopg.Connection) -> None:
    """A replacement, late images and a withdrawal say what is the case then, by rows of their own."""
    client.ingest(visit(1), [detector(client)])
    before = described(look)
    client.register_images(1, 0, [replace(FILE, sha256=bytes(31) + b"1", wcs="CRPIX1  =                  9.0")])
    assert described(look) == before

    again = detector(client, sources=seen(2, 5, dia_source_id=[2000, 5000]), psf_fwhm=9.0, software="pipe 2",
                     measured=measured(client, files=(replace(FILE, sha256=b"2" * 32), )))  # fmt: skip
    client.ingest(visit(1), [again], mode="replace")
    look.execute("update l1.visit set airmass = 1.5, target = 'corrected'")
    look.execute("update l1.visit_detector set flux_noise = 1")
    call(look, "withdraw_detectors", 1, [0], WHY)
    rows = described(look)
    assert rows[:1] == before
    assert described(look, "attempt, psf_fwhm, software, flux_noise, airmass, wcs, template")[1:] == [
        (2, 9.0, "pipe 2", 42.0, None, None, None),
        (2, 9.0, "pipe 2", 1.0, 1.5, None, None),
    ]
    assert look.execute(
        "select a.kind, i.attempt from l1.alert a join l1.alert_image i using (visit, detector, stamp)"
        " order by stamp, alert_id"
    ).fetchall() == [("detection", 1)] * 2 + [("retraction", 2), ("detection", 2), *[("retraction", 2)] * 2]
    with pytest.raises(psycopg.Error, match="alert_image is append-only"):
        look.execute("update l1.alert_image set band = 'g'")


def test_where_nothing_is_live_the_last_attempt_counts(client: Client, look: psycopg.Connection) -> None:
    """A correction may retract what is forced on an image beside: each of its images is described.

    Star 1 ends with its detection in visit 1; visit 3, where it was forced, was withdrawn and came again.
    """
    look.execute("select l1_api.change_survey('{\"alert_on\": \"all\"}', 'forced too')")
    client.ingest(visit(1), [detector(client, sources=seen(1, dia_source_id=[10]))])
    client.ingest(visit(3), [detector(client, sources={}, software="pipe 3")])
    call(look, "withdraw_visit", 3, WHY)
    client.ingest(visit(3), [detector(client, sources={}, software="pipe 4")])
    before = len(described(look))
    call(look, "withdraw_sources", [10], WHY)
    rows = described(look, "visit, attempt, software")
    assert rows[:before] == [(1, 1, "pipe 1"), (3, 1, "pipe 3"), (3, 1, "pipe 3"), (3, 2, "pipe 4")]
    assert rows[before:] == [(1, 1, "pipe 1"), (3, 2, "pipe 4")]


def test_the_wcs_is_that_of_the_file(tmp_path: Path, client: Client, look: psycopg.Connection) -> None:
    """Distortion and all, whether the image came with its sources or late."""
    path = tmp_path / "difference.fits"
    write_exposure(exposure(wcs=wcs(distortion="SIP", nx=64, ny=64), nx=64, ny=64, kind="difference"), path)
    shown = read_exposure(path)
    outline = shown.corners()
    ra, dec = (np.array([value]) for value in outline.mean(axis=0))
    given = {"ra": ra, "dec": dec, "psf_flux": [900.0], "psf_flux_err": [9.0]}
    client.ingest(visit(1), [DetectorData(0, given, images={"difference": str(path)})])
    client.ingest(visit(2), [DetectorData(0, given)])
    client.add_images(2, 0, {"difference": str(path)})
    client.ingest(
        visit(2), [DetectorData(0, {**given, "dec": dec + 5 / 3600, "dia_source_id": [7]})], mode="supplement"
    )
    first, without, late = (text for (text,) in described(look, "wcs"))
    assert without is None
    assert first == late
    told = WCS(fits.Header.fromstring(first, sep="\n"))
    x, y = np.meshgrid([0.0, 30.5, 63.0], [0.0, 31.0, 63.0])
    meant = shown.sky(x.ravel(), y.ravel())
    assert np.abs(np.subtract(told.all_pix2world(x.ravel(), y.ravel(), 0), meant)).max() < 1e-9
