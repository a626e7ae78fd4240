"""The demo: the main job on one screen, and its own measures of it."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from command_line import l1db
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from l1db.demo.night import make_night
from l1db.demo.plot import plot
from l1db.demo.score import Comparison, compare, count_pairs


@pytest.fixture
def beside(server: Any) -> Iterator[str]:
    """A DSN beside whose database the demo may make its own; the configured one need not be there."""
    dsn = make_conninfo(server.dsn, dbname=f"{server._prefix}beside")
    yield dsn
    server.drop(make_conninfo(dsn, dbname=f"{conninfo_to_dict(dsn)['dbname']}_demo"))


def own(dsn: str) -> str:
    return make_conninfo(dsn, dbname=f"{conninfo_to_dict(dsn)['dbname']}_demo")


def test_the_made_up_night_is_found_again_and_its_queries_run(beside: str) -> None:
    begun = time.monotonic()
    outcome = l1db("demo", dsn=beside)
    seconds = time.monotonic() - begun
    assert (outcome.code, outcome.err) == (0, "")
    assert seconds < 60
    out = outcome.out

    assert re.search(r"found: (\d+) DiaObjects, duplicates 0, lost 0, mixed up 0", out)
    issued, received = re.findall(r"alerts: (\d+) issued, (\d+) received", out)[0]
    assert issued == received
    assert int(issued) > 1000
    assert out.count(" alerts  visit") >= 12
    assert "Light curve of DiaObject" in out
    assert "a * is where points of several bands meet" in out
    assert re.search(r"\(without object: \d+ sources are the second of a thing that was seen twice in one visit", out)
    names = conninfo_to_dict(own(beside))["dbname"], conninfo_to_dict(beside)["dbname"]
    assert "These data are in database {}; `make psql` and `l1db psql` open {} instead.".format(*names) in out
    assert all(len(line) <= 80 for line in out.splitlines() if re.match(r"[0-9:.]+  batch ", line))
    assert re.search(r"until +sources +ra +dec", out)
    assert len(re.findall(r"^2025-\S+ +[gri] +2 +8 ", out, re.MULTILINE)) == 3

    commands = re.findall(r"^psql .*$", out, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr
        assert not done.stdout.startswith("(0 rows)")
        assert "(0 rows)" not in done.stdout

    # It may be run again, and the truth is no wishful thinking: the database has it all.
    night = make_night()
    with psycopg.connect(own(beside)) as connection:
        found = dict(connection.execute("select dia_source_id, dia_object_id from dia_source").fetchall())
    assert set(found) == set(night.truth)
    assert l1db("demo", dsn=beside).code == 0


def test_a_database_that_is_not_a_demos_is_left_alone(beside: str) -> None:
    assert l1db("init", dsn=own(beside)).code == 0
    name = conninfo_to_dict(own(beside))["dbname"]
    assert f"database {name} is there and not a demo's" in l1db("demo", dsn=beside).error
    assert l1db("status", dsn=own(beside)).code == 0


def test_real_packets_instead(beside: str, shared_data: Path, tmp_path: Path) -> None:
    for path in sorted((shared_data / "alerts" / "ztf").glob("*.avro"))[:6]:
        (tmp_path / path.name).symlink_to(path)
    outcome = l1db("demo", "--alerts", tmp_path, dsn=beside)
    assert (outcome.code, outcome.err) == (0, "")
    assert "6 packets: " in outcome.out
    assert re.search(
        r"ZTF's own names: \d+ objects, \d+ pairs of visits; precision 1\.0000, recall 1\.0000", outcome.out
    )


def test_packets_that_are_none_are_one_line_and_make_no_database(beside: str, tmp_path: Path) -> None:
    (tmp_path / "x.avro").write_bytes(b"nothing of the kind")
    assert "is no alert packet" in l1db("demo", "--alerts", tmp_path, dsn=beside).error
    assert "does not exist" in l1db("status", dsn=own(beside)).error


def test_the_night_has_what_it_says() -> None:
    night = make_night(7, n_visits=4)
    assert len(night.calls) == 16
    assert {visit.band for visit, _ in night.calls} == {"g", "r", "i"}
    ids = [i for _, data in night.calls for i in data.sources["dia_source_id"].tolist()]  # type: ignore[union-attr]
    assert len(ids) == len(set(ids)) == len(night.truth)
    in_visit = [(visit.visit, night.truth[i]) for visit, data in night.calls
                for i in data.sources["dia_source_id"].tolist()]  # type: ignore[union-attr]  # fmt: skip
    assert len(set(in_visit)) < len(in_visit)  # overlaps: some things are on two detectors of a visit
    once = {thing: {v for v, t in in_visit if t == thing} for _, thing in in_visit if night.kinds[thing] == "once"}
    assert once
    assert all(len(visits) == 1 for visits in once.values())


def test_compare_sees_duplicates_losses_and_mixtures() -> None:
    truth = {1: 10, 2: 10, 3: 20, 4: 30, 5: 40}
    found = {1: 100, 2: 101, 3: None, 4: 102, 5: 102}
    assert compare(truth, found) == Comparison(n_true=4, n_objects=3, n_duplicates=1, n_lost=1, n_mixed=1)


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


def test_the_plot_puts_points_where_they_are() -> None:
    lines = plot([(0, 0, "g"), (10, 100, "r"), (10, 100, "i"), (5, 50, "g")], width=11, height=5)
    assert [line.partition("│")[2] for line in lines[:5]] == [
        "          *", "           ", "     g     ", "           ", "g          ",
    ]  # fmt: skip
    assert lines[0].startswith("100 ")
    assert plot([]) == []
    assert sum("g" in line for line in plot([(1, 1, "g")])) == 1
