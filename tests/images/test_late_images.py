"""Images handed in for an exposure that they do not show, and tables of images that come late.

The files say which exposure they are of; they are written by the reader's counterpart, and hold noise only.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from command_line import l1db
from images.sky_images import exposure

from l1db import Client, DetectorData, Visit
from l1db.errors import InputError
from l1db.forced import measure
from l1db.images.fits import read_exposure, write_exposure
from l1db.photometry import ForcedFlag
from l1db.targets import Targets

VISIT = Visit(7, "r", 61_000.1, exposure_time=30.0)
DETECTOR = 3
KINDS = ("difference", "science", "template", "snap_difference")
# What the files of the right image say; the exposure's middle, which is later here by less than the exposure lasted.
SAID = {"visit": 7, "detector": DETECTOR, "band": "r", "midpoint_mjd_tai": 61_000.1 + 20 / 86_400}
OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"visit": 8}, "visit 8, not 7"),
    ({"detector": 4}, "detector 4, not 3"),
    ({"band": "g"}, "band g, not r"),
    ({"kind": "template"}, "kind template, not {kind}"),
    ({"midpoint_mjd_tai": 61_000.1 + 40 / 86_400}, "midpoint 61000.100463 MJD TAI, not 61000.100000 (+40.0 s)"),
    ({"midpoint_mjd_tai": 61_000.1 - 40 / 86_400}, "midpoint 61000.099537 MJD TAI, not 61000.100000 (-40.0 s)"),
    ({"visit": 8, "band": "g"}, "visit 8, not 7; band g, not r"),
]


def images(directory: Path, **changed: dict[str, Any]) -> dict[str, str]:
    """One of each kind; of some kinds with something else said."""
    directory.mkdir(exist_ok=True)
    for kind in KINDS:
        said = SAID | {"kind": kind} | changed.get(kind, {})
        write_exposure(exposure(nx=64, ny=64, **said), directory / f"{kind}.fits")
    return {kind: str(directory / f"{kind}.fits") for kind in KINDS}


def trouble(given: dict[str, str], visit: Visit = VISIT) -> str | None:
    nobody = Targets(*(np.empty(0, dtype) for dtype in ("i8", "f8", "f8", "?")))
    (after,) = measure(visit, [DetectorData(DETECTOR, images=given)], lambda outlines: dict.fromkeys(outlines, nobody))
    assert after.measured is not None
    assert after.measured.forced or after.measured.trouble
    kinds = {file.kind for file in after.measured.files}
    assert after.measured.trouble is not None or kinds == set(KINDS)
    return after.measured.trouble


@pytest.mark.parametrize(
    ("kind", "said", "told"),
    [("science", *OTHERS[0]), ("snap_difference", *OTHERS[3]), *(("difference", *other) for other in OTHERS)],
)
def test_an_image_of_something_else_is_not_measured(tmp_path: Path, kind: str, said: dict[str, Any], told: str) -> None:
    """Seen red, each of them, before the headers were looked at."""
    given = images(tmp_path, **{kind: said})
    assert trouble(given) == f"{given[kind]}: is another image, its header says: {told.format(kind=kind)}"


@pytest.mark.parametrize(("n_on", "is_other"), [(0, True), (2, True), (3, False), (5, False)])
def test_an_image_without_most_of_the_sources_is_another(tmp_path: Path, n_on: int, is_other: bool) -> None:
    """And its outline is not taken for the detector's: the visit would be refused."""
    given = images(tmp_path)
    ra, dec = read_exposure(given["difference"]).corners().mean(axis=0)
    sources = {"ra": np.full(5, ra), "dec": dec + np.where(np.arange(5) < n_on, 0.0, 1.0)}
    nobody = Targets(*(np.empty(0, dtype) for dtype in ("i8", "f8", "f8", "?")))
    detector = DetectorData(DETECTOR, sources, images=given)
    (after,) = measure(VISIT, [detector], lambda outlines: dict.fromkeys(outlines, nobody))
    assert after.measured is not None
    assert (after.measured.footprint is None) == is_other
    expected = f"difference.fits: most of the detector's sources ({5 - n_on}) do not lie on it"
    assert (after.measured.trouble or "").endswith(expected if is_other else "")
    assert (after.measured.trouble is not None) == is_other


def test_a_flux_that_no_real_holds_after_calibration_has_failed(tmp_path: Path) -> None:
    """It fits before, and not after.  Seen to fail with the limit looked at before the calibration only."""
    huge = replace(exposure(nx=64, ny=64, **SAID, kind="difference"), calibration=57.0, unit="adu")
    huge.image[:] = 1e36
    write_exposure(huge, tmp_path / "huge.fits", compress=False)
    ra, dec = huge.corners().mean(axis=0)
    targets = Targets(np.array([1]), np.array([ra]), np.array([dec]), np.array([True]))
    detector = DetectorData(DETECTOR, images={"difference": str(tmp_path / "huge.fits")})
    (after,) = measure(VISIT, [detector], lambda outlines: dict.fromkeys(outlines, targets))
    assert after.measured is not None
    forced = after.measured.forced
    assert np.isnan([forced["psf_flux"][0], forced["psf_flux_err"][0], forced["psf_chi2"][0]]).all()
    assert forced["forced_flags"][0] & ForcedFlag.FAILED


def test_what_a_file_does_not_state_is_taken_on_trust(tmp_path: Path) -> None:
    nothing = {name: None for name in (*SAID, "kind")}
    assert trouble(images(tmp_path, **dict.fromkeys(KINDS, nothing))) is None
    assert trouble(images(tmp_path)) is None


def test_a_template_may_be_of_any_time_and_a_midpoint_is_not_held_to_an_unknown_exposure_time(tmp_path: Path) -> None:
    coadd = {"visit": 1, "midpoint_mjd_tai": 60_000.0}
    assert trouble(images(tmp_path, template=coadd)) is None
    late = {"midpoint_mjd_tai": 61_001.0}
    given = images(tmp_path, difference=late)
    assert trouble(given, replace(VISIT, exposure_time=None)) is None
    given = images(tmp_path, difference=late | {"exposure_time": 30.0})
    assert "midpoint" in (trouble(given, replace(VISIT, exposure_time=None)) or "")


# --- l1db images add


@pytest.fixture
def stored(database: str) -> str:
    """A database with visits 7 and 8, two detectors each; nothing on them."""
    with Client(database) as client:
        for number in (7, 8):
            visit = replace(VISIT, visit=number, midpoint_mjd_tai=61_000.1 + number - 7)
            client.ingest(visit, [DetectorData(DETECTOR), DetectorData(DETECTOR + 1)])
    return database


def table(directory: Path, *, bad: str = "", last: str = "8,4,r,61001.1") -> Path:
    """Visits 7 and 8, detectors 3 and 4; with ``bad``, an image of the third row, and the one of the last, are bad."""
    path = directory / "late.csv"
    images(directory / "a")
    images(directory / "b", **{kind: {"visit": 8, "midpoint_mjd_tai": 61_001.1} for kind in KINDS})
    path.write_text(
        "visit,detector,band,midpointMjdTai,exposureTime,difference,snapDifference\n"
        "7,3,r,61000.1,30,a/difference.fits,a/snap_difference.fits\n"
        "7,4,r,61000.1,30,,\n"
        f"8,3,r,61001.1,30,b/difference.fits,{bad or 'b/snap_difference.fits'}\n"
        f"{last},30,{'c/lost.fits' if bad else ''},\n"
    )
    return path


def registered(dsn: str) -> list[tuple[int, int, str]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute("select visit, detector, kind from l1.image order by 1, 2, 3").fetchall()


def test_a_table_of_late_images_is_registered_whole(stored: str, tmp_path: Path) -> None:
    told = l1db("images", "add", table(tmp_path), dsn=stored)
    assert (told.code, told.err) == (0, "")
    assert told.out == "images of 2 detectors are known; 0 forced measurements queued\n"
    assert registered(stored) == [(v, 3, kind) for v in (7, 8) for kind in ("difference", "snap_difference")]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("b/lost.fits", "does not exist"),
        ("late.csv", "is not a FITS file"),
        ("b/science.fits", "is another image, its header says: kind science, not snap_difference"),
        (
            "a/snap_difference.fits",
            "is another image, its header says: visit 7, not 8; "
            "midpoint 61000.100231 MJD TAI, not 61001.100000 (-86380.0 s)",
        ),
    ],
)
def test_nothing_is_registered_if_one_image_is_bad(stored: str, tmp_path: Path, bad: str, why: str) -> None:
    """And its table, row, visit and detector are named.  Seen red with each row registered as it was read."""
    path = table(tmp_path, bad=bad)
    assert l1db("images", "add", path, dsn=stored).error == (
        f"l1db: {path}: row 3, column snapDifference: visit 8, detector 3: {tmp_path}/{bad}: {why} "
        "(1 more unusable row); nothing was registered"
    )
    assert registered(stored) == []


def test_nothing_is_registered_if_one_detector_is_not_stored(stored: str, tmp_path: Path) -> None:
    path = table(tmp_path, bad="b/lost.fits", last="9,4,r,61002.1")
    assert l1db("images", "add", path, dsn=stored).error == (
        f"l1db: {path}: row 4: visit 9, detector 4 is not stored: ingest it, with its images; nothing was registered"
    )
    assert registered(stored) == []


def test_a_table_that_names_no_image_is_refused_and_says_why(stored: str, tmp_path: Path) -> None:
    path = tmp_path / "bare.csv"
    needs = "it needs a column difference, science, template or snap_difference"
    for column, told in (
        ("airmass", needs),
        ("diference", f"{needs}; ignored unknown column diference (is it difference?)"),
        ("difference", "its columns of images are empty"),
    ):
        path.write_text(f"visit,detector,band,midpointMjdTai,{column}\n7,3,r,61000.1,\n")
        assert l1db("images", "add", path, dsn=stored).error == f"l1db: {path}: names no images: {told}"


def test_from_python_images_are_held_against_the_stored_visit(stored: str, tmp_path: Path) -> None:
    given = images(tmp_path, science={"band": "g", "midpoint_mjd_tai": 61_002.0})
    with Client(stored) as client:
        with pytest.raises(InputError) as error:
            client.add_images(7, 3, given)
        assert registered(stored) == []
        assert client.add_images(7, 3, images(tmp_path)) == 0
    assert str(error.value) == (
        f"visit 7, detector 3: {given['science']}: is another image, its header says: band g, not r; "
        "midpoint 61002.000000 MJD TAI, not 61000.100000 (+164160.0 s); nothing was registered"
    )
    assert len(registered(stored)) == 4
