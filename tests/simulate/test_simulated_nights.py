"""What `l1db simulate` writes: whole, readable, the same for the same seed, and true."""

from __future__ import annotations

import builtins
import shlex
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import typer
from truth_tables import SMALL, read
from typer.testing import CliRunner

from l1db.cli.simulate import simulate as command
from l1db.columns import GIVEN, PER_DETECTOR
from l1db.errors import InputError
from l1db.images.exposure import array_checksum
from l1db.images.fits import read_exposure, write_exposure
from l1db.photometry import ForcedFlag, forced_photometry
from l1db.simulate import TABLES, Plan, Simulation, arrival_order, geometry, simulate, truth
from l1db.simulate.plan import PIXEL_SCALE
from l1db.tables import read_sources, read_visits

TINY = Plan(seed=7, nights=1, visits_per_night=1, detectors=1, size=192, density=6)
URIS = ("difference", "science", "template", "snap_difference")


def test_the_tables_are_those_that_ingest_reads(small: Simulation) -> None:
    sources = read_sources(small.sources, strict=True)
    assert sources.warning == ""
    assert not sources.bad_rows
    assert len(sources) == small.n_sources > 100
    assert set(sources.columns) <= {*PER_DETECTOR, *(column.name for column in GIVEN)}
    for name in ("ra", "dec", "psf_flux", "psf_flux_err", "ra_err", "dec_err", "snr"):
        assert np.isfinite(sources.columns[name]).all(), name

    visits = read_visits(small.visits)
    assert not set(visits.spelling) & {"detectors"}
    assert len(visits) == 8
    assert "unknown" not in visits.warning
    pairs = set(zip(visits.columns["visit"].tolist(), visits.columns["detector"].tolist(), strict=True))
    assert set(zip(sources.columns["visit"].tolist(), sources.columns["detector"].tolist(), strict=True)) <= pairs
    ids = sources.columns["dia_source_id"]
    assert len(np.unique(ids)) == len(ids)
    assert ids.min() > 0
    assert ids.max() < 2**62


def test_every_image_is_there_and_is_what_the_tables_say(small: Simulation) -> None:
    images = read(small.directory, "truth_image")
    assert len(images["uri"]) == small.n_images == 32
    assert sorted(p.name for p in (small.directory / "images").iterdir()) == sorted(u[7:] for u in images["uri"])
    for i in range(0, 32, 5):
        exposure = read_exposure(small.directory / images["uri"][i])
        assert (exposure.kind, exposure.visit, exposure.detector) == tuple(
            images[name][i] for name in ("kind", "visit", "detector")
        )
        assert exposure.calibration == pytest.approx(images["calibration"][i])
        assert exposure.aperture_correction == pytest.approx(images["aperture_correction"][i])
        assert exposure.psf.fwhm == pytest.approx(images["fwhm"][i], rel=1e-3)
        assert exposure.shape == (320, 320)


def test_truth_lies_on_the_images_where_their_wcs_says(small: Simulation) -> None:
    true = read(small.directory, "truth_lc")
    visit, detector = true["visit"][0], true["detector"][0]
    exposure = read_exposure(small.directory / f"images/{visit}_{detector:03d}_difference.fits")
    here = (true["visit"] == visit) & (true["detector"] == detector)
    x, y = exposure.pixel(true["ra"][here], true["dec"][here])
    np.testing.assert_allclose([x, y], [true["x"][here], true["y"][here]], atol=1e-4)


def test_overlapping_detectors_both_show_what_lies_on_both(small: Simulation) -> None:
    true = read(small.directory, "truth_lc")
    first = {(v, t) for v, d, t in _keys(true, true["is_on_image"]) if d == 0}
    second = {(v, t) for v, d, t in _keys(true, true["is_on_image"]) if d == 1}
    assert first & second


def test_things_leave_no_image_they_lie_on_without_a_row(small: Simulation) -> None:
    """All lasting things, on every image of every visit."""
    objects, true = read(small.directory, "truth_object"), read(small.directory, "truth_lc")
    lasting = np.isin(objects["kind"], ["rr_lyrae", "eclipsing", "agn", "supernova", "faded", "pair"])
    rows = set(_keys(true))
    for pointing in geometry.pointings(SMALL):
        for detector in range(SMALL.detectors):
            wcs = geometry.detector_wcs(SMALL, pointing, detector)
            x, y = wcs.wcs_world2pix(objects["ra"][lasting], objects["dec"][lasting], 0)
            on = (x >= -0.5) & (x < 319.5) & (y >= -0.5) & (y < 319.5)
            assert on.any()
            for thing in objects["truth_id"][lasting][on]:
                assert (pointing.visit, detector, thing) in rows


def test_forced_photometry_finds_the_expected_fluxes_and_flags(small: Simulation) -> None:
    """The measuring kernel as the simulator's referee, and the other way round."""
    true = read(small.directory, "truth_lc")
    pulls = []
    known = ForcedFlag(1 | 2 | 4 | 8 | 16 | 64)
    for visit, detector in sorted({(v, d) for v, d, _ in _keys(true)}):
        exposure = read_exposure(small.directory / f"images/{visit}_{detector:03d}_difference.fits")
        here = (true["visit"] == visit) & (true["detector"] == detector) & true["is_on_image"]
        measured = forced_photometry(
            exposure.image,
            exposure.variance,
            true["x"][here],
            true["y"][here],
            exposure.psf,
            mask=exposure.mask,
            bad_bits=exposure.bits("BAD", "SAT", "CR", "NO_DATA", "EDGE"),
        )
        alone = (measured["flags"] & ForcedFlag.BLENDED_JOINT) == 0
        np.testing.assert_allclose(measured["psf_fraction"][alone], true["psf_fraction"][here][alone], atol=2e-3)
        flags = measured["flags"] & int(known)
        assert (flags == true["expected_flags"][here])[alone].mean() > 0.99
        scale = exposure.calibration * exposure.aperture_correction
        pull = (measured["flux"] * scale - true["flux_expected"][here]) / (measured["flux_err"] * scale)
        clean = true["is_point"][here] & (true["nearest_change"][here] > 3) & (true["psf_fraction"][here] > 0.5)
        np.testing.assert_allclose(
            measured["flux_err"][clean & alone] * scale, true["flux_err_expected"][here][clean & alone], rtol=5e-3
        )
        pulls.append(pull[clean])
    pull = np.concatenate(pulls)
    assert len(pull) > 150
    assert abs(pull.mean()) < 4 / np.sqrt(len(pull))
    assert 0.8 < (pull**2).mean() < 1.2


def test_calibration_errors_are_in_what_is_expected_and_not_in_what_is_true(small: Simulation) -> None:
    true, images = read(small.directory, "truth_lc"), read(small.directory, "truth_image")
    wrong = dict(zip(images["visit"], images["zero_point_error"], strict=True))
    assert len(set(wrong.values())) == 4
    ratio = true["science_flux_expected"] / np.where(true["science_flux_true"] == 0, np.nan, true["science_flux_true"])
    expected = 1 + np.array([wrong[visit] for visit in true["visit"]])
    np.testing.assert_allclose(ratio[np.isfinite(ratio)], expected[np.isfinite(ratio)], rtol=1e-12)


def test_predictions_are_as_wrong_as_they_say(tmp_path: Path) -> None:
    plan = replace(TINY, density=60, visits_per_night=6)
    lasting = truth.sky.lasting(plan)
    things = truth.sky.joined([lasting, truth.sky.of_night(plan, 0, lasting)])
    offsets = []
    for pointing in geometry.pointings(plan):
        rows = truth.prediction_rows(plan, pointing, things)
        moving = {int(i): n for n, i in enumerate(things.truth_id)}
        for i, name in enumerate(rows["ss_object_id"].tolist()):
            one = things[np.array([moving[name]])]
            assert one.predicted[0]
            true = truth.sky.position_at(one, float(rows["eph_mjd_tai"][i]))
            predicted = geometry.vectors(rows["ra"][i : i + 1], rows["dec"][i : i + 1])
            east, north = geometry.east_and_north(*geometry.sky(true))
            angle = np.radians(rows["err_pa"][i])
            dx, dy = (((predicted - true) * axis).sum() / geometry.ARCSEC for axis in (east, north))
            along, across = dx * np.sin(angle) + dy * np.cos(angle), dx * np.cos(angle) - dy * np.sin(angle)
            offsets.append((along / rows["err_major"][i], across / rows["err_minor"][i]))
            # Propagated by its own rates, the prediction stays with the object.
            later = truth.sky.position_at(one, float(rows["eph_mjd_tai"][i]) + 0.02)
            moved = (later - true) / geometry.ARCSEC
            assert (moved * east).sum() == pytest.approx(rows["ra_rate_cosdec"][i] * 0.02 * 3600, abs=0.05)
            assert (moved * north).sum() == pytest.approx(rows["dec_rate"][i] * 0.02 * 3600, abs=0.05)
    assert len(offsets) > 60
    np.testing.assert_allclose(np.std(offsets, axis=0), 1, atol=0.25)
    assert (~things.predicted[things.is_of("mover", "slow_mover")]).any()


# --- the same again --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return simulate(tmp_path_factory.mktemp("tiny"), TINY)


def test_the_same_seed_gives_the_same_arrays_and_tables(tiny: Simulation, tmp_path: Path) -> None:
    again = simulate(tmp_path / "again", TINY)
    assert again.checksums == tiny.checksums
    for name in ("sources", *TABLES):
        assert pq.read_table(again.directory / f"{name}.parquet").equals(
            pq.read_table(tiny.directory / f"{name}.parquet")
        ), name
    assert again.visits.read_text() == tiny.visits.read_text()


def test_another_seed_gives_others(tiny: Simulation, tmp_path: Path) -> None:
    other = simulate(tmp_path / "other", replace(TINY, seed=8))
    assert not set(other.checksums.values()) & set(tiny.checksums.values())


def test_one_more_visit_and_night_leave_the_other_images_as_they_were(tiny: Simulation, tmp_path: Path) -> None:
    more = simulate(tmp_path / "more", replace(TINY, nights=2, visits_per_night=2))
    assert len(more.checksums) == 4 * 4
    assert tiny.checksums.items() <= more.checksums.items()


def test_checksums_are_those_of_the_arrays(tiny: Simulation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing that a FITS header may carry, such as a date, is in them: they survive another way of writing."""
    monkeypatch.setattr("l1db.simulate.write_exposure", partial(write_exposure, compress=False))
    plain = simulate(tmp_path / "plain", TINY)
    assert plain.checksums == tiny.checksums
    uri, checksum = next(iter(plain.checksums.items()))
    assert array_checksum(read_exposure(plain.directory / uri)) == checksum


# --- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("centre", [(0.0, -30.0), (80.0, 90.0), (10.0, -90.0)])
def test_fields_across_ra_0_and_around_a_pole(tmp_path: Path, centre: tuple[float, float]) -> None:
    made = simulate(tmp_path, replace(TINY, ra=centre[0], dec=centre[1]))
    sources, found, true = (read(tmp_path, name) for name in ("sources", "truth_detection", "truth_lc"))
    assert ((sources["ra"] >= 0) & (sources["ra"] < 360)).all()
    right_ascensions = true["ra"][true["is_on_image"]]
    assert (right_ascensions < 90).any()
    assert (right_ascensions > 270).any()
    places = {key: (true["ra"][i], true["dec"][i]) for i, key in enumerate(_keys(true))}
    real = [(i, places[key]) for i, key in enumerate(_keys(found)) if key in places and found["kind"][i] == "rr_lyrae"]
    assert real
    for i, (ra, dec) in real:
        apart = geometry.separation(geometry.vectors(sources["ra"][i], sources["dec"][i]), geometry.vectors(ra, dec))
        assert apart < 1
    assert len(read_visits(made.visits)) == 1


def test_shuffled_visits_arrive_out_of_order_and_repeated_ones_twice(tmp_path: Path) -> None:
    plan = replace(TINY, visits_per_night=4, density=1, star_density=0.2, size=128, arrival="repeated")
    simulate(tmp_path, plan)
    arrivals = sorted((tmp_path / "arrivals").glob("*_visits.ecsv"))
    tables = [read_visits(path) for path in arrivals]
    order = [int(table.columns["visit"][0]) for table in tables]
    assert len(order) == 6
    assert len(set(order)) == 4
    assert order != sorted(order)
    for path, visit in zip(arrivals, order, strict=True):
        sources = read_sources(path.with_name(path.name.replace("visits.ecsv", "sources.parquet")), strict=True)
        assert set(sources.columns["visit"].tolist()) <= {visit}
        text = path.read_text()
        for kind in URIS:
            assert f"../images/{visit}_000_{kind}.fits" in text
            assert (path.parent / f"../images/{visit}_000_{kind}.fits").exists()


def test_two_visits_always_arrive_the_other_way_round() -> None:
    for seed in range(10):
        assert arrival_order(replace(TINY, seed=seed, arrival="shuffled"), [1, 2]) == [2, 1]


def test_clouds_and_an_empty_sky_give_rows_without_sources(tmp_path: Path) -> None:
    empty = simulate(tmp_path / "empty", replace(TINY, density=0, star_density=0, bogus_density=0))
    assert empty.n_sources == 0
    assert len(read_sources(empty.sources, strict=True)) == 0
    assert len(read_visits(empty.visits)) == 1
    assert [pq.read_table(empty.directory / f"{name}.parquet").num_rows for name in TABLES] == [0, 0, 0, 0, 4]
    plan = replace(TINY, visits_per_night=2, cloudy_visits=1)
    cloudy = [pointing for pointing in geometry.pointings(plan) if pointing.zero_point < 24]
    assert [pointing.visit % 1000 for pointing in cloudy] == [2]


def test_more_things_in_a_denser_field() -> None:
    counts = [len(truth.sky.lasting(replace(TINY, size=512, density=density))) for density in (0.5, 1, 10)]
    assert counts == sorted(counts)
    assert counts[2] - counts[1] > 8 * (counts[1] - counts[0])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"nights": 0}, "nights is 0"),
        ({"visits_per_night": 21}, "visits_per_night is 21"),
        ({"size": 64}, "size is 64"),
        ({"ra": 360.0}, "ra is 360"),
        ({"dec": -91.0}, "dec is -91"),
        ({"variance": "guess"}, "variance is 'guess'"),
        ({"arrival": "never"}, "arrival is 'never'"),
    ],
)
def test_impossible_plans_are_refused_in_one_line(wrong: Mapping[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        replace(TINY, **wrong)
    assert "\n" not in str(error.value)


def test_nothing_is_written_over_unless_asked_to(tiny: Simulation, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds a simulation already"):
        simulate(tiny.directory, TINY)
    assert tiny.sources.exists()
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "mine.fits").touch()
    for overwrite in (False, True):
        with pytest.raises(InputError, match="is not empty and holds no simulation"):
            simulate(tmp_path, TINY, overwrite=overwrite)
    assert [path.name for path in tmp_path.rglob("*")] == ["images", "mine.fits"]
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        simulate(tmp_path / "file", TINY)


def test_overwriting_deletes_what_the_simulator_made_and_nothing_else(tmp_path: Path) -> None:
    """Seen red: whatever ended in .fits went, and in arrivals whatever had an s or v behind an underscore."""
    directory = tmp_path / "two words"
    plan = replace(TINY, visits_per_night=2, size=128, density=0, star_density=0, arrival="shuffled")
    simulate(directory, plan)
    mine = [
        *("images/mine.fits", "images/20251120001_000_difference.fits.txt", "images/7_000_coadd.fits"),
        *("images/my_000_difference.fits", "images/7_00_science.fits", "arrivals/my_sources.parquet"),
        *("arrivals/001_sources.csv", "arrivals/001_visits.ecsv.bak", "mine.txt"),
    ]
    for name in mine:
        (directory / name).write_text("precious")
    simulate(directory, replace(TINY, visits_per_night=1, size=128, density=0, star_density=0), overwrite=True)
    assert {name for name in mine if (directory / name).read_text() == "precious"} == set(mine)
    left = sorted(path.name for folder in ("images", "arrivals") for path in (directory / folder).iterdir())
    assert len(left) - (len(mine) - 1) == 4, "the images of the one visit"


def test_without_galsim_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    imported = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "galsim":
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'l1db\[simulate\]'"):
        simulate(tmp_path / "none", TINY)
    assert not (tmp_path / "none").exists()


def test_progress_is_told_of_every_detector(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    plan = replace(TINY, visits_per_night=2, size=128, density=0, star_density=0, detectors=2)
    simulate(tmp_path, plan, progress=lambda *what: told.append(what))
    assert told == [("simulate", done, 4) for done in (1, 2, 3, 4)]


def test_the_command_says_how_to_ingest_what_it_made(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(command)
    options = {"nights": 1, "visits": 1, "detectors": 1, "size": 128, "density": 1, "seed": 3}
    arguments = [str(word) for option, value in options.items() for word in (f"--{option}", value)]
    made = tmp_path / "made of pixels"
    result = CliRunner().invoke(app, [str(made), *arguments, "--centre", "0", "-45"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("1 visit, 4 images, ")
    said = shlex.split(result.output.splitlines()[-1])
    assert said == ["l1db", "ingest", f"{made}/sources.parquet", "--visits", f"{made}/visits.ecsv"]
    ra = read_visits(made / "visits.ecsv").columns["boresight_ra"][0]
    assert min(ra, 360 - ra) * 3600 < 0.1 * 128 * PIXEL_SCALE * 2


def _keys(table: Mapping[str, Any], rows: Any = slice(None)) -> list[tuple[int, int, int]]:
    return list(zip(*(table[name][rows] for name in ("visit", "detector", "truth_id")), strict=True))
