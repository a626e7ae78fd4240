"""The command line: every command answers, and every error is one line that says what to do."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from command_line import l1db
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from l1db import Client, DetectorData, Visit, code
from l1db import database as l1db_database
from l1db.errors import InputError
from l1db.visit import Measured

COMMANDS = (
    "init",
    "upgrade",
    "check",
    "dsn",
    "psql",
    "status",
    "night",
    "survey",
    "ingest",
    "replay",
    "listen",
    "bench",
    "demo",
)
_visits = itertools.count(1)


def ingest(dsn: str, n: int = 3, detector: int = 1) -> None:
    number = next(_visits)
    columns = {
        "ra": 10 + np.arange(n) / 500,
        "dec": np.zeros(n),
        "psf_flux": np.full(n, 1000.0),
        "psf_flux_err": np.full(n, 100.0),
    }
    with Client(dsn) as client:
        client.ingest(Visit(number, "r", 61000.0 + number / 100, 30.0), [DetectorData(detector, columns)])


@pytest.fixture
def unmade(server: Any) -> Iterator[str]:
    """The DSN of a database that is not there yet."""
    dsn = make_conninfo(server.dsn, dbname=f"{server._prefix}unmade")
    yield dsn
    server.drop(dsn)


def process(*arguments: str, dsn: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from l1db.cli import main; main()", *arguments],
        env={**os.environ, "L1DB_DSN": dsn},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_help_names_every_command_and_each_explains_itself() -> None:
    told = l1db("--help", dsn="x")
    assert told.code == 0
    for command in (*COMMANDS, "bench"):
        assert re.search(rf"│ {command} ", told.out), command
        own = l1db(command, "--help", dsn="x")
        assert own.code == 0
        assert "Usage:" in own.out
    assert l1db(dsn="x").out == told.out


def test_version(database: str) -> None:
    assert re.fullmatch(r"l1db \d+\.\d+\.\d+\n", l1db("--version", dsn=database).out)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nonsense"], "No such command 'nonsense' (see: l1db --help)"),
        (["ingest"], "see: l1db ingest --help"),
        (["ingest", "x.csv", "--fast"], "No such option: --fast (see: l1db ingest --help)"),
        (["ingest", "x.csv", "--workers", "0"], "see: l1db ingest --help"),
        (["init", "--profile", "lsst"], "l1db: Invalid value for '--profile': 'lsst' is not one of 'seed', 'rubin'"),
        (["survey", "set", "name=x"], "see: l1db survey set --help"),
    ],
)
def test_a_wrong_command_line_is_one_line_that_points_to_help(arguments: list[str], says: str) -> None:
    assert says in l1db(*arguments, dsn="x").error


@pytest.mark.parametrize("command", ["init", "upgrade", "check", "dsn", "status", "demo"])
def test_a_malformed_dsn_is_one_line(command: str) -> None:
    line = l1db(command, dsn="x").error
    assert line.startswith("l1db: the DSN is not a libpq connection string (")


@pytest.mark.parametrize(
    "arguments",
    [
        "init",
        "upgrade",
        "check",
        "status",
        "survey show",
        "ingest x.csv",
        "replay x",
        "listen c",
        "demo",
        "psql",
        "bench visit",
    ],
)
def test_a_server_that_is_down_is_one_line(arguments: str) -> None:
    line = l1db(*arguments.split(), dsn="host=127.0.0.1 port=1 dbname=l1db").error
    assert "Connection refused" in line
    if "replay" not in arguments:
        assert line.endswith(": start the server (`make setup` in a checkout), or point L1DB_DSN at another")


@pytest.mark.parametrize(
    "arguments", ["status", "survey show", "survey set name=x --reason y", "ingest x.csv", "replay x", "listen c"]
)
def test_a_database_without_l1db_is_one_line(server: Any, arguments: str) -> None:
    line = l1db(*arguments.split(), dsn=make_conninfo(server.dsn, dbname="postgres")).error
    assert "database postgres has no l1db code: run `l1db init`" in line


def test_no_dsn_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no database: set L1DB_DSN" in l1db("status", dsn="").error


@pytest.mark.parametrize("arguments", [("--debug", "status"), ("status", "--debug")])
def test_debug_shows_the_traceback(arguments: tuple[str, str]) -> None:
    with pytest.raises(l1db_database.DatabaseError):
        l1db(*arguments, dsn="host=127.0.0.1 port=1")


def test_a_defect_is_not_disguised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise KeyError("oops")

    monkeypatch.setattr("l1db.settings.dsn", broken)
    with pytest.raises(KeyError):
        l1db("dsn", dsn="x")


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("l1db.settings.dsn", interrupted)
    outcome = l1db("dsn", dsn="x")
    assert (outcome.code, outcome.out, outcome.err) == (130, "", "l1db: interrupted\n")


def test_an_error_of_several_lines_becomes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise InputError("first\n  second")

    monkeypatch.setattr("l1db.settings.dsn", broken)
    assert l1db("dsn", dsn="x").error == "l1db: first second"


# --- init, upgrade, check --------------------------------------------------------------------------------------------


def test_init_makes_the_database_and_repeats_without_harm(unmade: str) -> None:
    name = conninfo_to_dict(unmade)["dbname"]
    first = l1db("init", "--profile", "ztf", "--name", "Palomar", dsn=unmade)
    assert (first.code, first.err) == (0, "")
    assert f"database {name} is ready" in first.out
    assert l1db("init", dsn=unmade).code == 0
    assert l1db("init", "--profile", "ztf", "--name", "Palomar", dsn=unmade).code == 0
    with psycopg.connect(unmade) as connection:
        rows = connection.execute("select profile, name, survey_version from l1.survey").fetchall()
    assert rows == [("ztf", "Palomar", 1)]

    assert f"database {name} has profile ztf, not rubin" in l1db("init", "--profile", "rubin", dsn=unmade).error
    assert f"database {name} has name Palomar, not Kitt Peak" in l1db("init", "--name", "Kitt Peak", dsn=unmade).error


def test_a_server_without_q3c_is_one_line(unmade: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(l1db_database, "REQUIRED_EXTENSIONS", ("q3c_not_installed", "postgis"))
    line = l1db("init", dsn=unmade).error
    assert "PostgreSQL has no extension q3c_not_installed" in line
    assert "install its package and repeat" in line


def test_upgrade_of_a_database_without_extensions_says_init(server: Any) -> None:
    line = l1db("upgrade", dsn=make_conninfo(server.dsn, dbname="postgres")).error
    assert "database postgres has no extension q3c: run `l1db init`" in line


def test_check_passes_on_a_good_database_and_fails_on_another(database: str, server: Any) -> None:
    good = l1db("check", dsn=database)
    assert (good.code, good.err) == (0, "")
    assert all(line.startswith(("ok  ", "note  ")) for line in good.out.splitlines())
    bad = l1db("check", dsn=make_conninfo(server.dsn, dbname="postgres"))
    assert bad.code == 1
    assert "FAIL  extension q3c is missing: run `l1db init`" in bad.out
    assert "FAIL  there is no stored code: run `l1db init`" in bad.out


def test_an_optional_extension_that_is_missing_is_a_note(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(l1db_database, "OPTIONAL_EXTENSIONS", {"not_there": "coverage maps"})
    outcome = l1db("check", dsn=database)
    assert outcome.code == 0
    assert "note  extension not_there is missing: no coverage maps; all else works" in outcome.out


def test_upgrade_brings_other_code_back(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("comment on schema l1_api is 'l1db 0.0.1 sha256:0'")
    assert "run `l1db upgrade`" in l1db("status", dsn=database).error
    assert code.stamp()[:30] in l1db("upgrade", dsn=database).out
    assert l1db("status", dsn=database).code == 0


def test_dsn_prints_what_psql_takes(database: str) -> None:
    assert l1db("dsn", dsn=database).out == database + "\n"


def test_psql_is_handed_its_arguments_and_finds_the_schemas(database: str) -> None:
    done = process("psql", "--no-psqlrc", "-A", "-t", "-c", "select name from current_survey()", dsn=database)
    assert (done.returncode, done.stdout, done.stderr) == (0, "l1db\n", "")


def test_psql_that_is_not_installed_is_one_line(database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no psql: install" in l1db("psql", dsn=database).error


# --- survey ----------------------------------------------------------------------------------------------------------


def test_survey_set_makes_a_version_with_typed_values(database: str) -> None:
    changes = ["association_radius=1.25", "bands=o, c", "quality_gate=yes", "max_new_objects=50", "name=ATLAS",
               "history_days=365"]  # fmt: skip
    outcome = l1db("survey", "set", *changes, "--reason", "another survey", dsn=database)
    assert outcome.out == "survey version 2 is in force\n"
    assert l1db("survey", "set", "history_days=none", "--reason", "all of it", dsn=database).code == 0
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "select association_radius, bands, quality_gate, max_new_objects, name, history_days, reason "
            "from l1.survey order by survey_version"
        ).fetchall()
    assert rows[1] == (1.25, ["o", "c"], True, 50, "ATLAS", 365.0, "another survey")
    assert rows[2] == (1.25, ["o", "c"], True, 50, "ATLAS", None, "all of it")

    shown = l1db("survey", "show", dsn=database).out
    assert re.search(r"^bands +o,c ", shown, re.MULTILINE)
    assert re.search(r"^history_days +none ", shown, re.MULTILINE)
    assert re.search(r"^bands +u,g,r,i,z,y ", l1db("survey", "show", "--version", 1, dsn=database).out, re.MULTILINE)


def test_none_is_a_value_of_the_rule_that_has_it(database: str) -> None:
    assert l1db("survey", "set", "forced_on=none", "--reason", "no images yet", dsn=database).code == 0
    with psycopg.connect(database) as connection:
        rows = connection.execute("select forced_on from l1.survey order by survey_version desc limit 1").fetchall()
    assert rows == [("none",)]


def test_survey_set_of_what_is_so_already_makes_no_version(rollback_dsn: str) -> None:
    with psycopg.connect(rollback_dsn) as connection:
        row = connection.execute("select history_days, max_new_objects from l1.survey").fetchone()
    assert row is not None
    changes = [f"history_days={row[0]}", "bands=u,g,r,i,z,y", f"max_new_objects={row[1]}"]
    told = l1db("survey", "set", *changes, "--reason", "again", dsn=rollback_dsn).out
    assert told == "nothing to change: survey version 1 has it so\n"


def test_survey_show_keeps_brackets_and_the_names_of_rules_on_80_columns(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert l1db("survey", "set", "name=north [bold]x", "--reason", "[dim] test", dsn=database).code == 0
    monkeypatch.setattr("l1db.cli.terminal._WIDE", 80)
    with psycopg.connect(database) as connection:
        rules = connection.execute(
            "select attname from pg_attribute where attrelid = 'l1.survey'::regclass and attnum > 0"
        ).fetchall()
    shown = l1db("survey", "show", dsn=database).out
    assert {rule for (rule,) in rules} <= set(shown.split())
    assert "north [bold]x" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "north [bold]x" in l1db("status", dsn=database).out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("radius=1", "the survey has no rule radius. l1db survey show lists the rules."),
        ("profile=ztf", "profile cannot be changed; make another database"),
        (
            "association_radius=-1",
            "association_radius=-1 is not allowed: must satisfy association_radius > 0 AND association_radius <= 15; "
            "nothing was changed",
        ),
        ("association_radius=nan", "rule association_radius: nan is not a finite number"),
        ("association_radius=wide", "rule association_radius: 'wide' is not of type double precision"),
        ("quality_gate=maybe", "rule quality_gate: 'maybe' is not of type boolean (true or false)"),
        ("max_new_objects=1.5", "rule max_new_objects: '1.5' is not of type integer"),
        ("bands=none", "rule bands cannot be none"),
        ("ivo_authority=a b", '"a b" is no IVOA authority. It names VOEvents: three or more letters'),
        ("bands", "'bands' is not RULE=VALUE"),
    ],
)
def test_survey_set_refuses_and_changes_nothing(rollback_dsn: str, change: str, says: str) -> None:
    assert says in l1db("survey", "set", change, "--reason", "a try", dsn=rollback_dsn).error
    with psycopg.connect(rollback_dsn) as connection:
        assert connection.execute("select count(*) from l1.survey").fetchone() == (1,)


def test_survey_show_of_a_version_that_is_not_there_tells_which_are(rollback_dsn: str) -> None:
    assert (
        "there is no version 7 of the survey; there are 1 to 1"
        in l1db("survey", "show", "--version", 7, dsn=rollback_dsn).error
    )


# --- status, listen --------------------------------------------------------------------------------------------------


def test_status_tells_what_is_there_and_what_waits(database: str) -> None:
    assert "consumers  none" in l1db("status", dsn=database).out
    l1db("listen", "brokers", "--start", "start", "--once", dsn=database)
    ingest(database, 5)
    ingest(database, 4)
    told = l1db("status", dsn=database).out
    for line in (
        r"database   l1db_test_\S+, \d+ MB",
        "survey     l1db, profile seed, version 1",
        "visits     2, the last night 2025-11-",
        "detectors  2, 0 of them empty; last stored ",
        "sources    9, 0 of them without object",
        "objects    5",
        "alerts     9",
        "doorbell   notification queue 0.0 % full",
        "breaker    stopped no detector",
        "by day     5 light curves and 0 motions due: `l1db maintain`",
        "corrected  0 times",
        "brokers +9 +0 +0 ",
    ):
        assert re.search(f"^{line}", told, re.MULTILINE), (line, told)
    l1db("maintain", dsn=database)
    l1db("correct", "withdraw-visit", 1, "--reason", "clouds", dsn=database)
    l1db("maintain", dsn=database)
    told = l1db("status", dsn=database).out
    assert "by day     0 light curves and 0 motions due\ncorrected  1 time; last 20" in told


def test_status_tells_what_waits_for_images(database: str) -> None:
    """Of what is not withdrawn.  Seen red with withdrawn detectors counted."""
    told = l1db("status", dsn=database).out
    assert re.search(r"^forced     0 rows; no measurement waits\nimages     measured wherever they came$", told, re.M)
    seen = {"ra": [10.0], "dec": [0.0], "psf_flux": [1000.0], "psf_flux_err": [100.0]}
    footprint = [(9.9, -0.1), (10.1, -0.1), (10.1, 0.1), (9.9, 0.1)]
    trouble = Measured(footprint=footprint, trouble="/images/[d].fits: does not exist")
    with Client(database) as client:
        client.ingest(Visit(1, "r", 61000.1, 30.0), [DetectorData(3, seen)])
        client.ingest(Visit(2, "r", 61000.2, 30.0), [DetectorData(4, measured=trouble)])
        client.ingest(Visit(3, "r", 61000.3, 30.0), [DetectorData(5, measured=trouble)])
        client.ingest(
            Visit(3, "r", 61000.3, 30.0),
            [DetectorData(5, software="2", measured=replace(trouble, trouble="no WCS"))],
            mode="replace",
        )
    told = l1db("status", dsn=database).out
    assert "forced     0 rows; 2 measurements wait in precovery_task (2 no_image)\n" in told
    assert "images     not measured on 2 detectors: mend, then `l1db ingest --replace`\n" in told
    rows = re.findall(r"^ +([23]) +([45])  (\S.*?) *$", told, re.MULTILINE)
    assert rows == [("2", "4", "/images/[d].fits: does not exist"), ("3", "5", "no WCS")]


def test_status_names_detectors_that_the_breaker_stopped(database: str) -> None:
    l1db("survey", "set", "max_new_objects=3", "--reason", "test", dsn=database)
    ingest(database, 3, detector=1)
    ingest(database, 9, detector=7)
    told = l1db("status", dsn=database).out
    assert "breaker    stopped 1 detector:" in told
    assert re.search(r"^ *\d+ +7 +9 *$", told, re.MULTILINE), told


def test_listen_prints_a_line_for_each_alert_once(database: str) -> None:
    ingest(database, 3)
    lines = l1db("listen", "c", "--start", "start", "--once", dsn=database).out.splitlines()
    assert len(lines) == 3
    assert all("detection  visit" in line for line in lines)
    assert l1db("listen", "c", "--once", dsn=database).out == ""


def test_listen_in_json_writes_identifiers_as_strings(database: str) -> None:
    ingest(database, 2)
    out = l1db("listen", "c", "--start", "start", "--once", "--json", "--limit", 1, dsn=database).out
    alerts = [json.loads(line) for line in out.splitlines()]
    assert len(alerts) == 2
    assert all(isinstance(alert["dia_object_id"], str) and alert["detector"] == 1 for alert in alerts)


def test_listen_to_an_unknown_consumer_lists_the_known(database: str) -> None:
    l1db("listen", "filters", "--start", "now", "--once", dsn=database)
    line = l1db("listen", "brokers", "--once", dsn=database).error
    assert "there is no consumer brokers; there are: filters" in line
    assert line.endswith("Add it: l1db listen brokers --start now")


def test_a_batch_is_not_acknowledged_if_the_reader_went_away(database: str) -> None:
    ingest(database, 2000)
    listener = subprocess.Popen(
        [sys.executable, "-c", "from l1db.cli import main; main()", "listen", "c", "--start", "start", "--once"],
        env={**os.environ, "L1DB_DSN": database},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert listener.stdout is not None
    assert listener.stderr is not None
    listener.stdout.readline()
    listener.stdout.close()
    said = listener.stderr.read()
    assert listener.wait(20) == 1
    assert said == ""
    with psycopg.connect(database) as connection:
        assert connection.execute("select count(*) from l1.alert_batch where acked_at is null").fetchone() == (1,)


def test_a_login_without_rights_is_one_line(database: str, server: Any) -> None:
    role = sql.Identifier("l1db_test_nobody")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(sql.SQL("drop role if exists {}").format(role))
        connection.execute(sql.SQL("create role {} login").format(role))
        try:
            nobody = make_conninfo(database, user="l1db_test_nobody")
            line = l1db("status", dsn=nobody).error
            listening = l1db("listen", "c", "--start", "now", dsn=nobody).error
            changing = l1db("survey", "set", "name=x", "--reason", "x", dsn=nobody).error
        finally:
            connection.execute(sql.SQL("drop role {}").format(role))
    assert "permission denied" in line
    assert "member of role l1_read" in line
    assert "member of role l1_publish" in listening
    assert "member of role l1_admin" in changing


# --- bench, demo: wiring ---------------------------------------------------------------------------------------------


def test_bench_visit_hands_its_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, dict[str, object]]] = []
    monkeypatch.setattr("l1db.bench.run", lambda dsn, **options: calls.append((dsn, options)))
    outcome = l1db("bench", "visit", "--objects", 1000, "--area", 10, "--json", dsn="dbname=x")
    assert outcome.code == 0, outcome
    ((dsn, options),) = calls
    assert dsn == "dbname=x"
    assert options | {"visits": 0, "sources": 0, "forced": 0, "workers": 0, "seed": 0} == {
        "objects": 1000, "area": 10.0, "as_json": True, "visits": 0, "sources": 0, "forced": 0, "workers": 0,
        "seed": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "alerts", "output"),
    [([], None, None), (["--output", "x"], None, Path("x")), (["--alerts", "packets"], Path("packets"), None)],
)
def test_demo_hands_its_options_on(
    options: list[str], alerts: Path | None, output: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr("l1db.demo.run", lambda dsn, alerts, *, output: calls.append((dsn, alerts, output)))
    assert l1db("demo", *options, dsn="dbname=x").code == 0
    assert calls == [("dbname=x", alerts, output)]


def test_modes_of_ingest_exclude_each_other(database: str) -> None:
    line = l1db("ingest", "x.csv", "--replace", "--release", dsn=database).error
    assert "--replace and --release exclude each other" in line


def test_replay_of_what_is_no_packet_is_one_line(database: str, tmp_path: Path) -> None:
    (tmp_path / "x.avro").write_bytes(b"Obj\x01 nothing")
    line = l1db("replay", tmp_path, dsn=database).error
    assert line.startswith(f"l1db: {tmp_path / 'x.avro'}: damaged or truncated Avro container")
    assert "has no *.avro file in it" in l1db("replay", _empty(tmp_path), dsn=database).error


def _empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"
