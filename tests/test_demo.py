"""The demo: the main job on one screen, and its own measures of it."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.nddata import Cutout2D
from command_line import l1db
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from rich.console import Console

from l1db.demo.content import _show_nights
from l1db.demo.own import forget_picture, make_directory, usual_directory
from l1db.demo.plot import panels, plot
from l1db.demo.score import Comparison, ForcedComparison, compare, compare_forced, count_pairs
from l1db.demo.stored import ForcedRow, LightCurve, Point, chosen_object, images_of
from l1db.demo.truth import read_truth
from l1db.images.fits import read_exposure
from l1db.photometry import ForcedFlag

pytest.importorskip("galsim")
pytest.importorskip("matplotlib")
from l1db.demo import run
from l1db.demo.picture import make_figure
from l1db.demo.picture_cutouts import Cutout, cut_out
from l1db.simulate import Plan

# Smaller than the command's, and denser, so that there is an object to show.
PLAN = Plan(nights=3, visits_per_night=3, detectors=2, size=320, density=3)
KINDS = ("difference", "science", "template")


@pytest.fixture(scope="module")
def beside(server: Any) -> Iterator[str]:
    """A DSN beside whose database the demo may make its own; the configured one need not be there."""
    dsn = make_conninfo(server.dsn, dbname=f"{server._prefix}beside")
    yield dsn
    server.drop(own(dsn))


def own(dsn: str) -> str:
    return make_conninfo(dsn, dbname=f"{conninfo_to_dict(dsn)['dbname']}_demo")


# --- simulated nights ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """What the demo of small nights printed, the database it made, its directory."""

    out: str
    beside: str
    directory: Path

    def number(self, pattern: str) -> tuple[float, ...]:
        """The numbers in the one place that matches."""
        (found,) = re.findall(pattern, self.out)
        return tuple(map(float, (found,) if isinstance(found, str) else found))


@pytest.fixture(scope="module")
def shown(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    dsn = make_conninfo(server.dsn, dbname=f"{server._prefix}nights")
    directory = tmp_path_factory.mktemp("demo") / "out"
    with redirect_stdout(io.StringIO()) as out:
        run(dsn, output=directory, plan=PLAN)
    yield Shown(out.getvalue(), dsn, directory)
    server.drop(own(dsn))


@pytest.fixture
def look(shown: Shown) -> Iterator[psycopg.Connection]:
    with psycopg.connect(own(shown.beside), autocommit=True) as connection:
        yield connection


@pytest.fixture
def curve(look: psycopg.Connection) -> LightCurve:
    found = chosen_object(look)
    assert found is not None
    return found


def test_every_source_is_stored_and_every_alert_received(shown: Shown, look: psycopg.Connection) -> None:
    n_sources = pq.read_metadata(shown.directory / "nights" / "sources.parquet").num_rows
    assert shown.number(r"(\d+) images simulated in \d+ s; (\d+) sources detected") == (9 * 2 * 4, n_sources)
    assert look.execute("select count(*) from l1.dia_source where not is_forced").fetchone() == (n_sources,)
    issued, received, batches = shown.number(r"alerts: (\d+) issued, (\d+) received by the listener in (\d+) batches")
    assert issued == received > 300
    assert look.execute("select count(*) from l1.alert").fetchone() == (issued,)
    assert shown.out.count(" alerts  visit") == batches
    assert shown.number(r"(\d+) visits ingested in [\d.]+ s, forced photometry included") == (9,)


def test_things_are_found_once_and_the_numbers_say_so(shown: Shown, look: psycopg.Connection) -> None:
    """Counted again in SQL.  Seen red with k duplicates counted for k objects."""
    truth = read_truth(shown.directory / "nights")
    look.execute("create temporary table truth (dia_source_id bigint, thing bigint, is_off boolean)")
    look.cursor().executemany(
        "insert into truth values (%s, %s, %s)", [(s, t, s in truth.out_of_place) for s, t in truth.thing.items()]
    )
    counted = look.execute(
        """select count(distinct t.thing),
                  count(distinct t.thing) - count(distinct t.thing) filter (where s.dia_object_id is not null),
                  count(distinct s.dia_object_id) filter (where not t.is_off),
                  count(distinct t.thing) filter (where not t.is_off and s.dia_object_id is not null),
                  count(distinct (t.thing, s.dia_object_id)) filter (where not t.is_off and s.dia_object_id is not null)
                  - count(distinct t.thing) filter (where not t.is_off and s.dia_object_id is not null)
             from truth t
             left join l1.dia_source s using (dia_source_id)"""
    ).fetchone()
    assert counted is not None
    n_true, n_lost, n_objects, n_judged, n_duplicates = counted
    assert n_true > 60
    unjudged = n_true - n_lost - n_judged
    left_out = re.findall(r"; (\d+) w\w+ only seen cut or blended, and left out below", shown.out)
    assert left_out == ([str(unjudged)] if unjudged else [])
    assert shown.number(r"true things: (\d+) that vary or appear") == (n_true,)
    assert shown.number(r"found: \d+ DiaObjects, (\d+) of the (\d+) true things: duplicates (\d+), lost (\d+),") == (
        n_objects, n_judged, n_duplicates, n_lost,
    )  # fmt: skip
    assert n_objects == n_judged + n_duplicates, "no thing is left to wonder about"
    assert (n_duplicates, n_lost) == (0, 0)
    purity, completeness = shown.number(r"purity ([\d.]+), completeness ([\d.]+)")
    assert min(purity, completeness) > 0.99


def test_every_source_is_of_one_sort(shown: Shown) -> None:
    """What is printed of the truth adds up, and what moves is told by the table of all things."""
    nights = shown.directory / "nights"
    things, cut, moving, close, bogus = shown.number(
        r"true sources: (\d+) of things that vary or appear \((\d+) of these cut by an edge or blended\), "
        r"(\d+) of things that move, (\d+) of close pairs, (\d+) of artefacts or noise"
    )
    truth = read_truth(nights)
    assert (things, cut) == (len(truth.thing), len(truth.out_of_place))
    detections = pq.read_table(nights / "truth_detection.parquet").to_pydict()
    objects = pq.read_table(nights / "truth_object.parquet").to_pydict()
    kind = dict(zip(objects["truth_id"], objects["kind"], strict=True))
    kinds = [kind.get(thing) for thing in detections["truth_id"]]
    assert (kinds.count(None), kinds.count("pair")) == (bogus, close)
    assert sum(kinds.count(k) for k in ("mover", "slow_mover", "proper_motion")) == moving
    assert things + moving + close + bogus == len(kinds)


def test_forced_fluxes_are_those_of_the_database_and_right(shown: Shown, look: psycopg.Connection) -> None:
    n, n_compared = shown.number(r"forced: (\d+) fluxes at objects .*; (\d+) at things with three detections or more")
    assert look.execute("select count(psf_flux) from l1.dia_source where is_forced").fetchone() == (n,)
    assert 15 < n_compared < n
    (chi2,) = shown.number(r"chi2/dof ([\d.]+) against what was drawn")
    spread = np.sqrt(2 / n_compared)
    assert 0.9 - 3 * spread < chi2 < 1.1 + 3 * spread


def test_the_object_shown_has_several_of_both(shown: Shown, curve: LightCurve) -> None:
    assert f"Light curve of DiaObject {curve.dia_object_id} " in shown.out
    assert (len(curve.detected), len(curve.forced)) == shown.number(r": (\d+) detections and (\d+) forced fluxes; psf")
    assert min(len(curve.detected), len(curve.forced)) >= 3
    assert list(curve.points) == sorted(curve.points, key=lambda point: point.mjd)
    assert len(panels([point.mjd for point in curve.points])) == 3
    assert "(capital letter: detected in that band; small: forced flux; *: several meet)" in shown.out
    drawn = "".join(line.partition("│")[2] for line in shown.out.splitlines() if "│" in line)
    assert 0 < sum(map(str.isupper, drawn)) <= len(curve.detected)
    assert 0 < sum(map(str.islower, drawn)) <= len(curve.forced)


def test_printed_queries_run(shown: Shown) -> None:
    names = conninfo_to_dict(own(shown.beside))["dbname"], conninfo_to_dict(shown.beside)["dbname"]
    assert "These data are in database {}; `make psql` and `l1db psql` open {} instead.".format(*names) in shown.out
    commands = re.findall(r'^psql .* \\\n  -c "[^"]*"$', shown.out, re.MULTILINE)
    assert len(commands) == 3
    assert ", 10) order by separation" in commands[0]
    for command in commands:
        assert max(map(len, command.splitlines()[1:])) <= 80
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr
        assert re.search(r"\([1-9]\d* rows?\)", done.stdout)


def test_versions_and_nights_are_shown(shown: Shown, look: psycopg.Connection) -> None:
    assert re.search(r"until +seen +forced +ra +dec", shown.out)
    assert re.findall(r"^(2025-11-\d\d) +g i r +3 +6 ", shown.out, re.MULTILINE) == [
        "2025-11-22", "2025-11-21", "2025-11-20",
    ]  # fmt: skip
    twice = look.execute("select count(*) from l1.dia_source where no_object_reason = 'duplicate_in_visit'").fetchone()
    assert shown.number(r"\(no object: (\d+) sources are the second of a thing") == twice
    assert all(len(line) <= 80 for line in shown.out.splitlines() if re.match(r"[0-9:.]+  batch ", line))


def test_the_picture_is_a_png_where_it_is_said_to_be(shown: Shown) -> None:
    (path,) = re.findall(r"^picture, with cutouts: (.*)$", shown.out, re.MULTILINE)
    assert Path(path) == shown.directory / "light_curve.png"
    content = Path(path).read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    assert min(width, height) > 1000


def test_filled_points_are_detections_and_open_ones_forced(curve: LightCurve, look: psycopg.Connection) -> None:
    """Held against the table, not against what the figure was given.  Seen red with the two exchanged."""
    rows = look.execute(
        "select is_forced, band, midpoint_mjd_tai, psf_flux, psf_flux_err from l1.dia_source "
        "where dia_object_id = %s and psf_flux is not null",
        (curve.dia_object_id,),
    ).fetchall()
    cutouts = [Cutout(kind, np.arange(9.0).reshape(3, 3), *np.mgrid[:4.0, :4.0]) for kind in KINDS]
    figure = make_figure(curve, cutouts)
    colour_of = {entry.get_label(): entry.get_color() for entry in figure.legends[0].legend_handles}  # type: ignore[union-attr]
    drawn = []
    for axes in figure.axes[:3]:
        for container in axes.containers:
            line, _, (bars,) = container
            is_forced = line.get_markerfacecolor() == "white"
            assert is_forced or line.get_markerfacecolor() == line.get_color()
            (band,) = [band for band in "gri" if colour_of[band] == line.get_color()]
            for x, y, bar in zip(*line.get_data(), bars.get_segments(), strict=True):
                drawn.append((is_forced, band, x, y, (bar[1][1] - bar[0][1]) / 2))
    assert [row[:2] for row in sorted(drawn)] == [row[:2] for row in sorted(rows)]
    np.testing.assert_allclose([row[2:] for row in sorted(drawn)], [row[2:] for row in sorted(rows)], rtol=1e-5)
    assert {"detected", "forced"} < set(colour_of)


def test_cutouts_are_the_pixels_of_the_images_where_they_are_on_the_sky(
    curve: LightCurve, look: psycopg.Connection
) -> None:
    """By astropy's cutouts and offsets.  Seen red with x and y swapped, and with the calibration left out."""
    uris = images_of(look, curve.clearest)
    assert set(KINDS) < set(uris)
    cutouts = [cut_out(uris[kind], kind, curve.ra, curve.dec) for kind in KINDS]
    meshes = [axes.collections[0] for axes in make_figure(curve, cutouts).axes[3:]]
    assert len(meshes) == 3
    for cutout, mesh in zip(cutouts, meshes, strict=True):
        exposure = read_exposure(uris[cutout.kind])
        assert (exposure.visit, exposure.detector) == (curve.clearest.visit, curve.clearest.detector)
        at = tuple(map(float, exposure.pixel(curve.ra, curve.dec)))
        piece = Cutout2D(exposure.image, at, cutout.image.shape, wcs=exposure.wcs, mode="partial", fill_value=np.nan)
        np.testing.assert_allclose(np.ma.filled(mesh.get_array(), np.nan), piece.data * exposure.calibration, rtol=1e-6)
        # On the sky: the middles of the pixels, as the mesh has them, by astropy's own offsets.
        corners = mesh.get_coordinates()  # type: ignore[attr-defined]
        middles = (corners[:-1, :-1] + corners[1:, 1:]) / 2
        y, x = np.indices(piece.data.shape)
        east, north = SkyCoord(curve.ra, curve.dec, unit="deg").spherical_offsets_to(piece.wcs.pixel_to_world(x, y))
        np.testing.assert_allclose(middles, np.stack([east.arcsec, north.arcsec], axis=-1), atol=0.01)
    axes = make_figure(curve, cutouts).axes[3]
    assert axes.get_xlim()[0] > 0 > axes.get_xlim()[1], "east is to the left"
    assert axes.get_ylim()[0] < 0 < axes.get_ylim()[1], "north is up"


# --- its own database and directory ----------------------------------------------------------------------------------


def test_a_database_that_is_not_a_demos_is_left_alone(beside: str, tmp_path: Path) -> None:
    assert l1db("init", dsn=own(beside)).code == 0
    name = conninfo_to_dict(own(beside))["dbname"]
    assert f"database {name} is there and not a demo's" in l1db("demo", "--output", tmp_path, dsn=beside).error
    assert l1db("status", dsn=own(beside)).code == 0


def test_a_directory_that_is_not_a_demos_is_left_alone(server: Any, tmp_path: Path) -> None:
    """And no database is made."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "mine.fits").write_text("precious")
    dsn = make_conninfo(server.dsn, dbname=f"{server._prefix}elsewhere")
    line = l1db("demo", "--output", tmp_path, dsn=dsn).error
    assert line == f"l1db: {tmp_path}: is not empty and not a demo's; name another directory with --output"
    assert (tmp_path / "images" / "mine.fits").read_text() == "precious"
    assert "does not exist" in l1db("status", dsn=own(dsn)).error
    file = tmp_path / "file"
    file.touch()
    assert "cannot be used: Not a directory" in l1db("demo", "--output", file, dsn=dsn).error


def test_a_server_that_is_down_leaves_no_directory(tmp_path: Path) -> None:
    down = "host=127.0.0.1 port=1 dbname=x"
    assert "Connection refused" in l1db("demo", "--output", tmp_path / "out", dsn=down).error
    assert not (tmp_path / "out").exists()


def test_it_may_be_run_again_and_starts_from_nothing(server: Any, tmp_path: Path) -> None:
    dsn = make_conninfo(server.dsn, dbname=f"{server._prefix}again")
    try:
        for seed in (2, 3):
            plan = Plan(seed=seed, nights=1, visits_per_night=1, detectors=1, size=256, density=4)
            with redirect_stdout(io.StringIO()) as out:
                run(dsn, output=tmp_path, plan=plan)
            assert "duplicates 0, lost 0" in out.getvalue()
            for one in ("1 night, 1 visit, 1 detector of 256 x 256", "in 1 batch\n", "1 visit ingested"):
                assert one in out.getvalue()
            with psycopg.connect(own(dsn)) as connection:
                stored = connection.execute(
                    "select count(distinct visit), count(*) from l1.dia_source where not is_forced"
                ).fetchone()
            assert stored == (1, pq.read_metadata(tmp_path / "nights" / "sources.parquet").num_rows)
    finally:
        server.drop(own(dsn))


def test_the_usual_directory_is_the_checkouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "checkout" / "tests"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    assert usual_directory() == inside / "l1db-demo"
    (tmp_path / "checkout" / ".l1db").mkdir()
    assert usual_directory() == tmp_path / "checkout" / ".l1db" / "demo"


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        (["galsim"], "galsim, which draws the images, is not installed"),
        (["matplotlib"], "matplotlib, which draws the light curve, is not installed"),
        (["galsim", "matplotlib"], "the images, and matplotlib, which draws the light curve, are not installed"),
    ],
)
def test_missing_packages_are_one_line_and_make_nothing(
    missing: list[str], says: str, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    dsn = make_conninfo(server.dsn, dbname=f"{server._prefix}without")
    line = l1db("demo", "--output", tmp_path / "out", dsn=dsn).error
    assert says in line
    assert "pip install 'l1db[demo]'" in line
    assert not (tmp_path / "out").exists()
    assert "does not exist" in l1db("status", dsn=own(dsn)).error


# --- real packets ----------------------------------------------------------------------------------------------------


def test_real_packets_instead(server: Any, shared_data: Path, tmp_path: Path) -> None:
    dsn = make_conninfo(server.dsn, dbname=f"{server._prefix}packets")
    packets, output = tmp_path / "packets", tmp_path / "out"
    packets.mkdir()
    make_directory(output)
    (output / "light_curve.png").write_text("of other data")
    for path in sorted((shared_data / "alerts" / "ztf").glob("*.avro"))[:6]:
        (packets / path.name).symlink_to(path)
    try:
        outcome = l1db("demo", "--alerts", packets, "--output", output, dsn=dsn)
    finally:
        server.drop(own(dsn))
    assert (outcome.code, outcome.err) == (0, "")
    assert "6 packets: " in outcome.out
    assert re.search(
        r"ZTF's own names: \d+ objects, \d+ pairs of visits; precision 1\.0000, recall 1\.0000", outcome.out
    )
    assert re.search(r"^ra .* detections; psf_flux in nJy", outcome.out, re.MULTILINE)
    assert "picture" not in outcome.out
    assert [path.suffix for path in packets.iterdir()] == [".avro"] * 6
    assert not (output / "light_curve.png").exists(), "its data are gone"


def test_packets_that_are_none_are_one_line_and_make_no_database(server: Any, tmp_path: Path) -> None:
    dsn = make_conninfo(server.dsn, dbname=f"{server._prefix}none")
    (tmp_path / "x.avro").write_bytes(b"nothing of the kind")
    make_directory(tmp_path / "out")
    (tmp_path / "out" / "light_curve.png").write_text("of the data that stay")
    packet = tmp_path / "x.avro"
    assert "is no alert packet" in l1db("demo", "--alerts", packet, "--output", tmp_path / "out", dsn=dsn).error
    assert (tmp_path / "out" / "light_curve.png").exists()
    assert "does not exist" in l1db("status", dsn=own(dsn)).error


# --- its measures ----------------------------------------------------------------------------------------------------


def test_compare_sees_duplicates_losses_and_mixtures() -> None:
    truth = {1: 10, 2: 10, 3: 20, 4: 30, 5: 40, 6: 10}
    found = {1: 100, 2: 101, 3: None, 4: 102, 5: 102, 6: 100}
    assert compare(truth, found) == Comparison(
        n_true=4, n_objects=3, n_judged=3, n_duplicates=1, n_lost=1, n_mixed=1, purity=4 / 5, completeness=4 / 5
    )


def test_a_source_out_of_place_is_no_duplicate_but_keeps_its_thing() -> None:
    """Its thing may be known by nothing else; what is not stored at all is lost all the same."""
    truth = {1: 10, 2: 10, 3: 20, 4: 20, 5: 30}
    found = {1: 100, 2: 101, 3: 102, 4: None}
    assert compare(truth, found, {2, 3, 5}) == Comparison(
        n_true=3, n_objects=1, n_judged=1, n_duplicates=0, n_lost=1, n_mixed=0, purity=1.0, completeness=1.0
    )


def test_forced_fluxes_count_where_the_truth_holds() -> None:
    truth = {1: 10, 2: 10, 3: 10, 4: 20}
    found = {1: 100, 2: 100, 3: 100, 4: 101}
    expected = {(7, 0, 10): 500.0, (8, 0, 10): 600.0, (7, 0, 20): 0.0}
    rows = [
        ForcedRow(7, 0, 100, 530.0, 10.0, 0),
        ForcedRow(8, 0, 100, 590.0, 10.0, int(ForcedFlag.BLENDED_JOINT)),
        ForcedRow(8, 0, 100, 9000.0, 10.0, int(ForcedFlag.MASKED_CENTRE)),  # not to be trusted
        ForcedRow(9, 0, 100, 9000.0, 10.0, 0),  # nothing to hold it against
        ForcedRow(7, 0, 101, 9000.0, 10.0, 0),  # detected once
        ForcedRow(7, 0, 102, 9000.0, 10.0, 0),  # an object of nothing known
    ]
    assert compare_forced(truth, found, expected, rows) == ForcedComparison(n=2, chi2=(3**2 + 1) / 2)
    assert compare_forced(truth, found, expected, []).n == 0


def test_pairs_are_those_of_a_count_by_hand() -> None:
    rng = np.random.default_rng(2)
    truth = {i: f"o{rng.integers(5)}" for i in range(60)}
    visit = {i: i for i in truth}
    found: dict[int, int | None] = {i: int(rng.integers(6)) or None for i in truth}
    pairs = count_pairs(truth, visit, found)
    both = list(combinations(truth, 2))
    same = [truth[a] == truth[b] for a, b in both]
    together = [found[a] is not None and found[a] == found[b] for a, b in both]
    assert (pairs.n_true, pairs.n_found) == (sum(same), sum(together))
    assert pairs.n_common == sum(s and t for s, t in zip(same, together, strict=True))
    twice = count_pairs({1: "a", 2: "a", 3: "a"}, {1: 7, 2: 7, 3: 8}, {1: 5, 2: None, 3: 5})
    assert (twice.n_true, twice.n_found, twice.n_common) == (1, 1, 1)


def points(*given: tuple[float, float, str]) -> list[Point]:
    """Times, fluxes, and the letter expected: small if forced."""
    return [Point(mjd, letter.lower(), flux, 1.0, letter.islower(), 1, 0) for mjd, flux, letter in given]


def test_the_plot_puts_points_where_they_are() -> None:
    lines = plot(points((0.0, 0, "G"), (0.1, 100, "R"), (0.1, 100, "I"), (0.05, 50, "g")), width=13, height=5)
    assert [line.partition("│")[2] for line in lines[:5]] == ["           *", "", "      g", "", " G"]
    assert lines[0].startswith("100 ")
    assert plot([]) == []
    assert sum("G" in line for line in plot(points((1, 1, "G")))) == 1
    # A detection is not hidden by a forced flux of its band, nor by the order.
    for both in (points((0, 0, "G"), (0, 0, "g")), points((0, 0, "g"), (0, 0, "G"))):
        assert sum("G" in line for line in plot(both)) == 1


def test_zero_is_marked_where_fluxes_change_sign_and_nowhere_else() -> None:
    lines = plot(points((0.0, -50, "G"), (0.1, 50, "R"), (0.05, 0, "i")), width=13, height=5)
    assert lines[:5] == [" 50 │           R", "    │", "  0 │······i······", "    │", "-50 │ G"]
    assert not any("·" in line for line in plot(points((0.0, 0, "G"), (0.1, 100, "R"))))
    assert not any("·" in line for line in plot(points((0.0, -5, "G"), (0.1, 0, "R"))))
    # Where zero falls into the row of the least or the largest flux, that one is told.
    assert plot(points((0.0, -1, "G"), (0.1, 100, "R")), width=13, height=5)[4] == " -1 │·G···········"


def test_the_nights_that_are_not_shown_are_told(connection: psycopg.Connection) -> None:
    connection.execute(
        "create temporary view night_summary as select date '2025-11-01' + n as day_obs, 'r'::text as band,"
        " 1 as n_visits, 1 as n_detectors, 1 as n_sources, 1 as n_associated, 1 as n_new_objects,"
        " 0 as n_without_object, 1 as n_alerts from generate_series(1, 8) as n"
    )
    out = io.StringIO()
    _show_nights(connection, Console(file=out, width=80))
    assert "(the last 6 of 8 nights)" in out.getvalue()
    assert re.findall(r"^2025-11-0\d", out.getvalue(), re.MULTILINE) == [f"2025-11-0{n}" for n in (9, 8, 7, 6, 5, 4)]


def test_a_picture_goes_only_from_a_directory_of_the_demos(tmp_path: Path) -> None:
    (tmp_path / "light_curve.png").write_text("precious")
    forget_picture(tmp_path)
    forget_picture(tmp_path / "none")
    assert (tmp_path / "light_curve.png").exists()


def test_nights_stand_side_by_side_unless_they_are_many() -> None:
    times = [61002.05, 61000.05, 61000.09, 61001.05, 61000.07]
    assert [night.tolist() for night in panels(times)] == [[1, 4, 2], [3], [0]]
    lines = plot(points(*((t, 1.0, "R") for t in times)), width=62, height=3)
    assert [field.strip() for field in lines[1].partition("│")[2].split("┊")] == ["R       R        R", "R", "R"]
    assert lines[-1].split() == ["61000.050", "61000.090", "61001.050", "61002.050"]
    many = [61000.0 + 3 * i for i in range(9)]
    assert [night.tolist() for night in panels(many)] == [list(range(9))]
    assert not any("┊" in line for line in plot(points(*((t, 1.0, "R") for t in many))))
