"""Which DiaObjects a visit forces, what becomes of those that it cannot, and what a replacement takes back.

The fluxes are made up here; tests/photometry and tests/test_simulated_nights_in_the_database.py measure them on pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg
import pytest

from l1db import Client, DetectorData, Visit
from l1db.database import change_survey
from l1db.footprint import polygon_wkt
from l1db.visit import ImageFile, Measured
from tests.ingest.fingerprint import fingerprint
from tests.version.continuity import breaks

ARCSEC = 1 / 3600
FOOTPRINT = [(29.9, -5.1), (30.3, -5.1), (30.3, -4.9), (29.9, -4.9)]
FILE = ImageFile("difference", "/images/d.fits", bytes(32), 2880)
FLAGGED = 4


def visit(number: int, **changed: Any) -> Visit:
    return replace(Visit(number, "r", 61_000 + number * 0.01, exposure_time=30.0), **changed)


def seen(*stars: int, **columns: Any) -> dict[str, Any]:
    """Sources on stars an arcminute from each other."""
    n = len(stars)
    return {
        "ra": 30 + np.array(stars) / 60,
        "dec": np.full(n, -5.0),
        "ra_err": np.full(n, 0.1 * ARCSEC),
        "dec_err": np.full(n, 0.1 * ARCSEC),
        "psf_flux": np.full(n, 1000.0),
        "psf_flux_err": np.full(n, 50.0),
        **columns,
    }


@pytest.fixture
def look(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def measured(client: Client, *, flux: float = 10.0, left_out: Sequence[int] = (), **changed: Any) -> Measured:
    """As if the images had been measured: one flux for all objects in them."""
    targets = client.forced_targets({0: FOOTPRINT})[0]
    here = targets.is_target & ~np.isin(star_of(targets.ra), left_out)
    n = int(here.sum())
    return replace(
        Measured(
            forced={
                "dia_object_id": targets.dia_object_id[here],
                "ra": targets.ra[here],
                "dec": targets.dec[here],
                "x": np.arange(n, dtype=float),
                "y": np.full(n, 7.0),
                "is_on_image": np.ones(n, dtype=bool),
                "psf_flux": np.full(n, flux),
                "psf_flux_err": np.full(n, 5.0),
                "psf_chi2": np.full(n, 600.0),
                "psf_ndata": np.full(n, 625),
                "science_flux": np.full(n, flux + 100),
                "science_flux_err": np.full(n, 6.0),
                "snap_diff_flux": np.full(n, np.nan),
                "snap_diff_flux_err": np.full(n, np.nan),
                "forced_flags": np.zeros(n, dtype=int),
            },
            footprint=FOOTPRINT,
            files=(FILE,),
        ),
        **changed,
    )


def star_of(ra: Any) -> Any:
    return np.rint((np.asarray(ra) - 30) * 60).astype(int)


def forced_stars(look: psycopg.Connection, number: int) -> list[int]:
    rows = look.execute("select ra from l1.dia_source where visit = %s and is_forced order by ra", (number,)).fetchall()
    return star_of([ra for (ra,) in rows]).tolist()


def test_objects_in_the_image_that_the_visit_did_not_see_are_forced(database: str, look: psycopg.Connection) -> None:
    with Client(database) as client:
        client.ingest(visit(1), [DetectorData(0, seen(0, 1, 2))])
        result = client.ingest(visit(2), [DetectorData(0, seen(1, 5), measured=measured(client))])
    assert (result.n_forced, result.detectors[0].n_forced_queued, result.n_alerts) == (2, 0, 2)
    assert forced_stars(look, 2) == [0, 2]
    row = look.execute(
        "select psf_flux, psf_flux_err, snr, psf_chi2, psf_ndata, science_flux, snap_diff_flux, x, y, dec, band,"
        " midpoint_mjd_tai, exposure_time, is_precovery, forced_flags, psf_flux_flag from l1.dia_source"
        " where visit = 2 and is_forced order by ra limit 1"
    ).fetchone()
    assert row == (10, 5, 2, 600, 625, 110, None, 0, 7, -5, "r", 61_000.02, 30, False, 0, False)
    objects = look.execute(
        "select n_dia_sources, n_forced, last_dia_source_mjd_tai from l1.dia_object order by ra"
    ).fetchall()
    assert objects == [(1, 1, 61_000.01), (2, 0, 61_000.02), (1, 1, 61_000.01), (1, 0, 61_000.02)]
    ledger = look.execute("select n_forced, n_forced_queued, image_trouble from l1.visit_detector order by visit")
    assert ledger.fetchall() == [(0, 0, None), (2, 0, None)]
    assert look.execute("select visit, kind, uri from l1.image").fetchall() == [(2, "difference", "/images/d.fits")]
    assert breaks(look) == []


@pytest.mark.parametrize("profile", ["seed", "rubin"])
def test_forced_rows_count_in_the_statistics_where_the_survey_says_so(profile: str, fresh_database: Any) -> None:
    """And never in the position.  Seen to fail with a window that ends at the latest detection: none counted."""
    dsn = fresh_database(profile)
    with Client(dsn) as client, psycopg.connect(dsn, autocommit=True) as look:
        client.ingest(visit(1), [DetectorData(0, seen(0))])
        client.ingest(visit(2), [DetectorData(0, seen(0))])
        before = look.execute("select ra, dec, ra_err from l1.dia_object").fetchone()
        client.ingest(visit(3), [DetectorData(0, measured=measured(client))])
        assert look.execute("select ra, dec, ra_err from l1.dia_object").fetchone() == before
        assert look.execute("select n_dia_sources, n_forced from l1.dia_object").fetchone() == (2, 1)
        mean, n = look.execute("select psf_flux_mean, psf_flux_ndata from l1.dia_object_band").fetchone() or (0, 0)
        weight = np.array([1 / 50**2, 1 / 50**2, 1 / 5**2])
        if profile == "seed":
            assert (mean, n) == (pytest.approx(weight @ [1000, 1000, 10] / weight.sum(), rel=1e-6), 3)
        else:
            assert (mean, n) == (1000, 2)


def test_an_object_once_seen_is_not_forced_in_profile_rubin(fresh_database: Any) -> None:
    """There two detections are needed, of a reliability of 0.5."""
    dsn = fresh_database("rubin")
    with Client(dsn) as client, psycopg.connect(dsn, autocommit=True) as look:
        client.ingest(visit(1), [DetectorData(0, seen(0, 1, 2, reliability=[0.9, 0.9, 0.9]))])
        assert not client.forced_targets({0: FOOTPRINT})[0].is_target.any()
        client.ingest(visit(2), [DetectorData(0, seen(1, 2, reliability=[0.9, 0.4]))])
        assert look.execute("select n_good_dia_sources from l1.dia_object order by ra").fetchall() == [(1,), (2,), (1,)]
        client.ingest(visit(3), [DetectorData(0, seen(0, reliability=[0.9]), measured=measured(client))])
        assert forced_stars(look, 3) == [1]
        client.ingest(visit(4), [DetectorData(0, seen(0, 1, reliability=[0.9, 0.9]), measured=measured(client))])
        assert forced_stars(look, 4) == [0, 1], "associated objects too"
        client.ingest(visit(5), [DetectorData(0, measured=measured(client))])
        assert forced_stars(look, 5) == [0, 1]


def test_an_object_beside_the_image_is_forced_only_where_seen(fresh_database: Any) -> None:
    dsn = fresh_database("rubin")
    with Client(dsn) as client, psycopg.connect(dsn, autocommit=True) as look:
        for number in (1, 2):
            client.ingest(visit(number), [DetectorData(0, seen(0, 1))])
        about = measured(client)
        off = replace(about, forced={**about.forced, "is_on_image": np.zeros(2, dtype=bool)})
        client.ingest(visit(3), [DetectorData(0, seen(1), measured=off)])
        assert forced_stars(look, 3) == [1]
        assert look.execute("select count(*) from l1.precovery_task").fetchone() == (0,), "it was measured"


def test_an_object_without_a_good_pixel_gets_a_row_that_says_so(database: str, look: psycopg.Connection) -> None:
    with Client(database) as client:
        client.ingest(visit(1), [DetectorData(0, seen(0))])
        about = measured(client)
        nothing = np.array([np.nan])
        about = replace(
            about,
            forced={**about.forced, "psf_flux": nothing, "psf_flux_err": nothing, "forced_flags": np.array([FLAGGED])},
        )
        client.ingest(visit(2), [DetectorData(0, measured=about)])
    assert look.execute(
        "select psf_flux, snr, psf_flux_flag, psf_flux_flag_no_good_pixels, forced_flags from l1.dia_source"
        " where is_forced"
    ).fetchone() == (None, None, True, True, FLAGGED)
    assert look.execute("select n_forced from l1.dia_object").fetchone() == (1,)
    assert look.execute("select psf_flux_ndata from l1.dia_object_band").fetchone() == (1,)


def test_an_object_that_appeared_while_the_images_were_measured_is_queued(
    database: str, look: psycopg.Connection
) -> None:
    with Client(database) as client:
        client.ingest(visit(1), [DetectorData(0, seen(0, 1))])
        about = measured(client, left_out=[1])
        result = client.ingest(visit(2), [DetectorData(0, seen(5), measured=about)])
    assert (result.n_forced, result.detectors[0].n_forced_queued) == (1, 1)
    tasks = look.execute(
        "select t.visit, t.detector, o.ra, t.reason from l1.precovery_task t join l1.dia_object o using (dia_object_id)"
    ).fetchall()
    assert [(*task[:2], star_of(task[2]), task[3]) for task in tasks] == [(2, 0, 1, "new_object")]


def test_on_images_that_cannot_be_read_everything_is_queued(database: str, look: psycopg.Connection) -> None:
    with Client(database) as client:
        client.ingest(visit(1), [DetectorData(0, seen(0, 1, 2))])
        about = Measured(footprint=FOOTPRINT, trouble="d.fits: truncated")
        result = client.ingest(visit(2), [DetectorData(0, seen(1), measured=about)])
    assert (result.n_forced, result.detectors[0].n_forced_queued, result.n_alerts) == (0, 2, 1)
    assert look.execute("select reason, count(*) from l1.precovery_task group by 1").fetchall() == [("no_image", 2)]
    assert look.execute("select image_trouble from l1.visit_detector where visit = 2").fetchone() == (
        "d.fits: truncated",
    )


def test_an_empty_detector_still_forces(database: str, look: psycopg.Connection) -> None:
    with Client(database) as client:
        client.ingest(visit(1), [DetectorData(0, seen(0, 1))])
        assert client.ingest(visit(2), [DetectorData(0, measured=measured(client))]).n_forced == 2


def test_an_object_outside_the_image_is_neither_forced_nor_queued(database: str, look: psycopg.Connection) -> None:
    with Client(database) as client:
        client.ingest(visit(1), [DetectorData(0, seen(0, 30))])
        result = client.ingest(visit(2), [DetectorData(0, measured=measured(client, left_out=[30]))])
    assert forced_stars(look, 2) == [0]
    assert result.detectors[0].n_forced_queued == 0


def test_two_detectors_may_force_one_object_and_one_may_see_it(database: str, look: psycopg.Connection) -> None:
    """What the first detector forced stays, though the second saw it: both rows tell the truth."""
    with Client(database) as client:
        client.ingest(visit(1), [DetectorData(0, seen(0, 1))])
        about = measured(client)
        client.ingest(visit(2), [DetectorData(0, measured=about)])
        client.ingest(visit(2), [DetectorData(1, seen(1), measured=about)])
    rows = look.execute(
        "select detector, is_forced, ra from l1.dia_source where visit = 2 order by detector, is_forced, ra"
    ).fetchall()
    assert [(*row[:2], star_of(row[2])) for row in rows] == [
        (0, True, 0),
        (0, True, 1),
        (1, False, 1),
        (1, True, 0),
    ]
    assert look.execute("select n_dia_sources, n_forced from l1.dia_object order by ra").fetchall() == [(1, 2), (2, 1)]


def test_a_replacement_takes_the_forced_rows_back(database: str, look: psycopg.Connection) -> None:
    """Seen to fail with only detections withdrawn: the unique rule of forced rows refused the second."""
    with Client(database) as client:
        client.ingest(visit(1), [DetectorData(0, seen(0, 1))])
        client.ingest(visit(2), [DetectorData(0, measured=measured(client, left_out=[1]))])
        again = DetectorData(0, seen(1), measured=measured(client, flux=20.0))
        result = client.ingest(visit(2), [again], mode="replace")
    assert (result.n_forced, result.detectors[0].n_forced_queued) == (1, 0)
    live = look.execute("select psf_flux from l1.dia_source where is_forced").fetchall()
    former = look.execute("select psf_flux, closed_reason from l1.dia_source_history where is_forced").fetchall()
    assert (live, former) == ([(20,)], [(10, "replaced")])
    assert look.execute("select n_dia_sources, n_forced from l1.dia_object order by ra").fetchall() == [(1, 1), (2, 0)]
    assert look.execute("select count(*) from l1.precovery_task").fetchone() == (0,)
    assert breaks(look) == []


def test_an_object_that_only_the_next_detector_knew_of_is_queued(database: str, look: psycopg.Connection) -> None:
    """It appeared between the measurements of two detectors, on the first and just off the second."""
    with Client(database) as client:
        client.ingest(visit(1), [DetectorData(0, seen(0, 1))])
        first = measured(client, left_out=[1])
        second = measured(client, left_out=[0])
        second = replace(
            second,
            forced={**second.forced, "is_on_image": np.array([False])},
            footprint=[(30.3, -5.1), (30.7, -5.1), (30.7, -4.9), (30.3, -4.9)],
        )
        result = client.ingest(visit(2), [DetectorData(0, {}, measured=first), DetectorData(1, {}, measured=second)])
    assert [(d.n_forced, d.n_forced_queued) for d in result.detectors] == [(1, 1), (0, 0)]
    assert look.execute("select detector, reason from l1.precovery_task").fetchall() == [(0, "new_object")]


@pytest.mark.parametrize(("flux", "error", "snr"), [(3e38, 1e-6, None), (1e-30, 1e30, None), (0.0, 5.0, 0.0)])
def test_a_flux_that_no_ratio_can_hold_stops_no_visit(
    flux: float, error: float, snr: float | None, database: str, look: psycopg.Connection
) -> None:
    with Client(database) as client:
        client.ingest(visit(1), [DetectorData(0, seen(0, 1))])
        about = measured(client, flux=flux)
        changed = {"psf_flux_err": np.full(2, error), "science_flux": np.full(2, 1.0)}
        about = replace(about, forced={**about.forced, **changed})
        assert client.ingest(visit(2), [DetectorData(0, {}, measured=about)]).n_forced == 2
    assert look.execute("select distinct snr from l1.dia_source where is_forced").fetchall() == [(snr,)]


def test_a_replacement_measures_what_could_not_be_measured(database: str, look: psycopg.Connection) -> None:
    """The same sources again: nothing new, unless their images are others or some measurement still waits."""
    with Client(database) as client:
        client.ingest(visit(1), [DetectorData(0, seen(0, 1))])
        lost = Measured(footprint=FOOTPRINT, trouble="gone.fits: does not exist")
        first = client.ingest(visit(2), [DetectorData(0, seen(0), measured=lost)])
        assert (first.n_forced, first.detectors[0].n_forced_queued) == (0, 1)
        still = client.ingest(visit(2), [DetectorData(0, seen(0), measured=lost)], mode="replace")
        assert still.detectors[0].status == "unchanged"
        mended = client.ingest(visit(2), [DetectorData(0, seen(0), measured=measured(client))], mode="replace")
        assert (mended.detectors[0].status, mended.n_forced) == ("replaced", 1)
        again = client.ingest(visit(2), [DetectorData(0, seen(0), measured=measured(client))], mode="replace")
        assert again.detectors[0].status == "unchanged"
        other = replace(measured(client, flux=11.0), files=(replace(FILE, sha256=bytes(31) + b"x"),))
        redone = client.ingest(visit(2), [DetectorData(0, seen(0), measured=other)], mode="replace")
        assert redone.detectors[0].status == "replaced"
    assert look.execute("select count(*) from l1.precovery_task").fetchone() == (0,)
    rows = look.execute("select psf_flux from l1.dia_source where is_forced").fetchall()
    assert rows == [(11.0,)]


def test_a_replacement_that_retires_an_object_does_not_force_it(database: str, look: psycopg.Connection) -> None:
    with Client(database) as client:
        client.ingest(visit(1), [DetectorData(0, seen(0, 1))])
        result = client.ingest(visit(1), [DetectorData(0, seen(0), measured=measured(client))], mode="replace")
    assert result.n_forced == 0
    assert look.execute("select n_dia_sources, n_forced from l1.dia_object").fetchall() == [(1, 0)]
    assert look.execute("select count(*) from l1.dia_source where is_forced").fetchone() == (0,)
    assert breaks(look) == []


def test_other_fluxes_of_the_same_sources_change_nothing(database: str, look: psycopg.Connection) -> None:
    """What is measured is no part of the content: neither fluxes nor the images' paths nor their outline."""
    with Client(database) as client:
        client.ingest(visit(1), [DetectorData(0, seen(0, 1))])
        about = measured(client)
        sources = seen(1)
        client.ingest(visit(2), [DetectorData(0, sources, measured=about)])
        before = fingerprint(look)
        other = replace(about, footprint=None, files=(), sources={"science_flux": np.array([5.0])})
        assert client.ingest(visit(2), [DetectorData(0, sources, measured=other)]).detectors[0].status == "unchanged"
        assert client.ingest(visit(2), [DetectorData(0, sources)]).detectors[0].status == "unchanged"
    assert fingerprint(look) == before


def test_sources_get_the_fluxes_that_were_measured_at_them(database: str, look: psycopg.Connection) -> None:
    """In whatever order the rows came; a flux that is given stays."""
    with Client(database) as client:
        about = Measured(
            footprint=FOOTPRINT,
            sources={"science_flux": np.array([1.0, 2.0, np.nan]), "snap_diff_flux": np.array([4.0, 5.0, 6.0])},
        )
        given = seen(2, 0, 1, snap_diff_flux=[7.0, 8.0, 9.0])
        client.ingest(visit(1), [DetectorData(0, given, measured=about)])
    rows = look.execute("select science_flux, snap_diff_flux from l1.dia_source order by ra").fetchall()
    assert rows == [(2, 8), (None, 9), (1, 7)]


def test_forced_rows_raise_alerts_where_the_survey_says_so(database: str, look: psycopg.Connection) -> None:
    change_survey(look, {"alert_on": "all"}, "test")
    with Client(database) as client:
        client.ingest(visit(1), [DetectorData(0, seen(0, 1))])
        client.ingest(visit(2), [DetectorData(0, seen(1), measured=measured(client))])
    kinds = look.execute(
        "select a.kind, s.is_forced, s.dia_object_id = a.dia_object_id, o.validity_start = a.dia_object_version"
        " from l1.alert a join l1.dia_source s using (dia_source_id) join l1.dia_object o"
        " on o.dia_object_id = a.dia_object_id where a.visit = 2 order by 1"
    ).fetchall()
    assert kinds == [("detection", False, True, True), ("forced", True, True, True)]


def test_a_late_visit_forces_what_was_found_after_it(database: str, look: psycopg.Connection) -> None:
    """Such rows lie before the first detection, which they do not change."""
    with Client(database) as client:
        client.ingest(visit(5), [DetectorData(0, seen(0))])
        client.ingest(visit(1), [DetectorData(0, measured=measured(client))])
        assert look.execute(
            "select n_forced, first_dia_source_mjd_tai, first_epoch_mjd_tai from l1.dia_object"
        ).fetchone() == (1, 61_000.05, 61_000.01)
        client.ingest(visit(6), [DetectorData(0, seen(0))])
    assert look.execute("select n_dia_sources, n_forced, first_dia_source_mjd_tai from l1.dia_object").fetchone() == (
        2,
        1,
        61_000.05,
    )


@pytest.mark.parametrize(("mode", "n"), [("none", 0), ("unassociated", 1), ("all", 2)])
def test_the_survey_says_who_is_forced(mode: str, n: int, database: str, look: psycopg.Connection) -> None:
    with Client(database) as client:
        client.ingest(visit(1), [DetectorData(0, seen(0, 1))])
        about = measured(client)
        change_survey(look, {"forced_on": mode}, "test")
        result = client.ingest(visit(2), [DetectorData(0, seen(1), measured=about)])
    assert (result.n_forced, result.detectors[0].n_forced_queued) == (n, 0)


CORNER = float(np.degrees(np.arctan(1 / np.sqrt(2))))  # three faces of q3c's cube meet at ra 45, dec CORNER


@pytest.mark.parametrize(
    ("ra", "dec"),
    [(0.0, 0.0), (45.0, CORNER), (45.04, CORNER + 0.03), (314.0, -CORNER), (45.0, 1.0), (200.0, 90.0)],
)
@pytest.mark.parametrize("side", [0.2, 3.0])
def test_no_target_is_lost_anywhere(connection: psycopg.Connection, ra: float, dec: float, side: float) -> None:
    """Against brute force, for a plane of sixteen detectors.  Seen red with q3c_radial_query at the cube's corners."""
    rng = np.random.default_rng(3)
    east, north = np.meshgrid(np.linspace(-1, 1, 4), np.linspace(-1, 1, 4))
    outlines = [
        sky_at(ra, dec, side / 2 * (e + np.array([-1, 1, 1, -1]) / 3), side / 2 * (n + np.array([-1, -1, 1, 1]) / 3))
        for e, n in zip(east.ravel(), north.ravel(), strict=True)
    ]
    reach = side * 10 ** rng.uniform(-4, 0, 4000)
    place = sky_at(ra, dec, reach * rng.uniform(-1, 1, 4000), reach * rng.uniform(-1, 1, 4000))
    connection.execute(
        """insert into l1.dia_object (dia_object_id, validity_start, ra, dec, n_dia_sources, n_forced,
                                      first_dia_source_mjd_tai, last_dia_source_mjd_tai, n_good_dia_sources,
                                      first_epoch_mjd_tai)
           select id, now(), ra, dec, 1, 0, 61000, 61000, id %% 2, 61000
             from unnest(%s::float8[], %s::float8[]) with ordinality as p(ra, dec, id)""",
        (place[:, 0].tolist(), place[:, 1].tolist()),
    )
    change_survey(connection, {"forced_min_dia_sources": 1}, "test")
    connection.execute("set local enable_seqscan = off")
    wkt = [polygon_wkt(corners, "detector") for corners in outlines]
    # Whatever lies within the plane: a detector's width is overlapped, so that it has no gaps.
    e, n = plane_at(ra, dec, place)
    inside = np.flatnonzero((abs(e) < side * 0.66) & (abs(n) < side * 0.66)) + 1
    for neighbours in (True, False):
        rows = connection.execute(
            "select dia_object_id, is_target from l1_api.forced_targets(%s::text[], null, %s)", (wkt, neighbours)
        ).fetchall()
        found = {key for key, _ in rows}
        assert len(found) == len(rows)
        assert {key for key, is_target in rows if is_target} == {key for key in found if key % 2}
        assert set(inside.tolist() if neighbours else inside[inside % 2 == 1].tolist()) <= found
        assert neighbours or all(key % 2 for key in found)


def sky_at(ra: float, dec: float, east: np.ndarray, north: np.ndarray) -> np.ndarray:
    """Positions from offsets in the tangent plane, degrees; shape (n, 2)."""
    x, y = np.radians(east), np.radians(north)
    d = np.radians(dec)
    out_ra = ra + np.degrees(np.arctan2(x, np.cos(d) - y * np.sin(d)))
    out_dec = np.degrees(np.arcsin((np.sin(d) + y * np.cos(d)) / np.sqrt(1 + x**2 + y**2)))
    return np.column_stack([out_ra % 360 % 360, out_dec])


def plane_at(ra: float, dec: float, sky: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offsets in the tangent plane, degrees."""
    a, d, d0 = np.radians(sky[:, 0] - ra), np.radians(sky[:, 1]), np.radians(dec)
    inward = np.sin(d0) * np.sin(d) + np.cos(d0) * np.cos(d) * np.cos(a)
    north = np.cos(d0) * np.sin(d) - np.sin(d0) * np.cos(d) * np.cos(a)
    return np.degrees(np.cos(d) * np.sin(a) / inward), np.degrees(north / inward)


def test_forced_targets_are_found_across_0h_and_at_the_pole(database: str) -> None:
    with Client(database) as client:
        sources = {**seen(0, 0, 0), "ra": np.array([359.999, 0.001, 123.0]), "dec": np.array([10.0, 10.0, 89.999])}
        client.ingest(visit(1), [DetectorData(0, sources)])
        across = [(359.9, 9.9), (0.1, 9.9), (0.1, 10.1), (359.9, 10.1)]
        pole = [(45.0, 89.9), (135.0, 89.9), (225.0, 89.9), (315.0, 89.9)]
        targets = client.forced_targets({3: across, 2: pole})
    assert sorted(targets[3].ra.tolist()) == [0.001, 359.999]
    assert targets[2].dec.tolist() == [89.999]
