"""The same id gives the same bytes for ever.

A night's packets are built in all formats.  Then everything happens to the database that may happen to one, and after
each the packets are built again: later visits, corrections, measurements by day, precovery, images that come and go,
other rules, partitions, a dump, a revision.  SSObjects and the catalogue of Level 2 are not
among it yet: they have no tables.

One database for all of it: changes add up.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from l1db import Client, DetectorData, code
from l1db import database as l1db_database
from l1db.alert import read
from l1db.alert.cutouts import Archive
from l1db.alert.packets import regenerate
from l1db.connection import connect
from l1db.database import change_survey
from l1db.maintain import maintain
from l1db.visit import ImageFile
from tests.alert.small_night import (
    FORMATS,
    Hashes,
    again,
    build_all,
    differing,
    digest,
    exposed,
    image_file,
    measured_here,
    number,
    sources,
    take_in,
)
from tests.conftest import Server
from tests.measure.test_forced import measured

WHY = "a test"


@dataclass
class Night:
    """A database whose packets were all built, with their hashes."""

    dsn: str
    directory: Path
    archive: Archive
    first: Hashes

    @property
    def alerts(self) -> list[int]:
        return sorted({alert_id for alert_id, _ in self.first})

    def check(self, dsn: str | None = None) -> None:
        """All packets are what they were, and what the database has of them."""
        with connect(dsn or self.dsn, check=False) as connection:
            found = again(connection, self.archive, self.alerts)
            assert list(differing(found, self.first)) == []
            stored = connection.execute(
                "select alert_id, format, encode(sha256, 'hex') from l1.alert_packet where alert_id = any (%s)",
                (self.alerts,),
            ).fetchall()
            assert {(alert_id, form): sha for alert_id, form, sha in stored} == self.first


@pytest.fixture(scope="module")
def night(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    dsn, directory = server.clone("seed"), tmp_path_factory.mktemp("night")
    take_in(dsn, directory)
    with psycopg.connect(dsn, autocommit=True) as connection:
        # A NaN has a sign, which no dump keeps; visits see it from now on.
        change(connection, "update l1.dia_source set snr = '-nan', trail_ra = '-nan', validity_start = %s"
                           " where dia_source_id = 2000")  # fmt: skip
    with Client(dsn) as client:
        gone = ImageFile("difference", str(directory / "gone.fits"), bytes(32), 2880)
        seen = replace(measured(client), files=(gone,))
        client.ingest(exposed(5), [DetectorData(0, sources(5, 0, [0, 1, 2, 9]), measured=seen)])
    with psycopg.connect(dsn, autocommit=True) as connection:
        correct(connection, "withdraw_sources", [3020])  # so that there are retractions
        correct(connection, "withdraw_sources", [2050])  # with one of an object that is retired
        archive = Archive(directory / "archive")
        first = build_all(connection, archive)
    yield Night(dsn, directory, archive, first)
    server.drop(dsn)


def change(connection: psycopg.Connection, statement: str) -> None:
    with connection.transaction():
        row = connection.execute("select l1_api.take_stamp()").fetchone()
        assert row is not None
        connection.execute(statement, row)  # type: ignore[arg-type]


def correct(connection: psycopg.Connection, function: str, *arguments: Any) -> int:
    placeholders = ", ".join(["%s"] * (len(arguments) + 1))
    row = connection.execute(f"select l1_api.{function}({placeholders})", (*arguments, WHY)).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return int(row[0])


def test_the_night_has_all_that_packets_can_say(night: Night) -> None:
    """Otherwise its packets would be the same for want of what changes."""
    with psycopg.connect(night.dsn, autocommit=True) as connection:
        kinds = dict(connection.execute("select kind, count(*) from l1.alert group by 1").fetchall())
        assert set(kinds) == {"detection", "forced", "retraction"}
        shows_object = connection.execute(
            "select distinct dia_object_version is not null from l1.alert where kind = 'retraction' order by 1"
        ).fetchall()
        assert shows_object == [(False,), (True,)]
        cut = connection.execute("select kind, encoding, trouble is null, count(*) from l1.cutout group by 1, 2, 3")
        assert {row[:3] for row in cut} == {
            *((kind, "fits", there) for kind in ("difference", "science", "template") for there in (True, False)),
            *((kind, "gzip", True) for kind in ("difference", "science", "template")),
        }
        content = read.read_content(connection, night.alerts)
        assert content.image["visit"].present.all()
        assert content.alert["first_alert_id"].present.any()
        assert content.alert["retracted_alert_id"].present.sum() == kinds["retraction"]
        history = content.history
        assert len(history) > 25
        assert {True, False} == set(history["is_forced"].values.tolist())
        assert (np.isnan(history["snr"].values) & history["snr"].present).any()
        assert not np.signbit(history["snr"].values[np.isnan(history["snr"].values)]).any()
    assert len(set(night.first.values())) == len(night.first)


# ------------------------------------------------------------------------------------------------- what happens


def later_visits(night: Night, connection: psycopg.Connection, directory: Path) -> None:
    """One of them earlier in time than the whole night, one between its visits, one at the same midpoint."""
    with Client(night.dsn) as client:
        for visit, midpoint in ((6, 61_000.29), (7, 61_000.05), (8, 61_000.225), (9, 61_000.23)):
            client.ingest(
                exposed(visit, midpoint_mjd_tai=midpoint),
                [DetectorData(0, sources(visit, 0, [0, 1, 2, 5]), measured=measured(client, flux=20.0))],
            )


def corrections(night: Night, connection: psycopg.Connection, directory: Path) -> None:
    """Of each kind, some of them taken back; objects are retired and come back."""
    # Five arcsec beside star 0, so that they may be one thing.
    beside = sources(10, 0, [0], ra=[30 + 5 / 3600])
    with Client(night.dsn) as client:
        client.ingest(exposed(10), [DetectorData(0, beside)])
    objects = dict(
        connection.execute(
            "select dia_source_id, dia_object_id from l1.dia_source where dia_source_id in (1000, 1010, 10000)"
        ).fetchall()
    )
    done = [
        correct(connection, "withdraw_sources", [1000, 4010]),
        correct(connection, "move_sources", [3000], objects[1010]),
        correct(connection, "withdraw_detectors", number(2), [1]),
        correct(connection, "merge_objects", [objects[1000]], objects[10000]),
        correct(connection, "withdraw_visit", number(4)),
    ]
    night.check()
    for correction in reversed(done[1:]):
        correct(connection, "undo_correction", correction)


def a_replaced_detector(night: Night, connection: psycopg.Connection, directory: Path) -> None:
    files = [image_file(directory, 1, 0, kind, seed=1) for kind in ("difference", "template")]
    with Client(night.dsn) as client:
        given = sources(1, 0, [0, 1, 7], psf_flux=[1.0, 2.0, 3.0])
        client.ingest(exposed(1), [DetectorData(0, given, measured=measured_here(files))], mode="replace")


def the_work_by_day(night: Night, connection: psycopg.Connection, directory: Path) -> None:
    with connection.transaction():
        row = connection.execute("select l1_api.take_stamp()").fetchone()
        connection.execute("update l1.dia_object set motion_is_due = true, validity_start = %s", row)
    assert maintain(night.dsn).n_objects > 0


def precovery(night: Night, connection: psycopg.Connection, directory: Path) -> None:
    """Rows before and within the night; what writes them one day will write them under a stamp, as all do."""
    change(
        connection,
        "insert into l1.dia_source (dia_source_id, visit, detector, dia_object_id, midpoint_mjd_tai, ra, dec, band,"
        "                           psf_flux, psf_flux_err, time_processed, is_forced, is_precovery, validity_start)"
        " select nextval('l1.dia_source_seq'), 77 + day, 0, o.dia_object_id, 61000.21 - day, o.ra, o.dec, 'r', 5, 1,"
        "        stamp, true, true, stamp"
        "   from l1.dia_object o, generate_series(0, 3) as day, (select %s::timestamptz as stamp) as given",
    )


def late_images(night: Night, connection: psycopg.Connection, directory: Path) -> None:
    """For detectors that had none, and others for those that had."""
    with Client(night.dsn) as client:
        for visit, kind in ((4, "difference"), (4, "template"), (3, "template"), (2, "template"), (1, "difference")):
            client.register_images(number(visit), 1, [image_file(directory, visit, 1, kind, seed=2)])


def images_expire(night: Night, connection: psycopg.Connection, directory: Path) -> None:
    for file in (*night.directory.glob("*.fits"), *directory.glob("*.fits")):
        file.unlink()
    assert connection.execute("update l1.image set expires_at = '2000-01-01'").rowcount > 0
    connection.execute("delete from l1.image where kind = 'template'")


def facts_of_visits(night: Night, connection: psycopg.Connection, directory: Path) -> None:
    connection.execute(
        "update l1.visit set airmass = 1.5, reason = 'known now', target = 'known now', day_obs = day_obs + 1,"
        " n_snaps = 2, boresight_ra = 30, boresight_dec = -5, exposure_time = 29"
    )
    assert connection.execute(
        "update l1.visit_detector set psf_fwhm = 9, zero_point = 9, flux_noise = 9, software = 'other'"
    ).rowcount


def other_rules(night: Night, connection: psycopg.Connection, directory: Path) -> None:
    rules: dict[str, Any] = {
        "history_days": 0.001, "cutouts": [], "name": "Another", "operational": True, "ivo_authority": "other.example",
        "bands": ["y", "L★", "g", "r"], "alert_on": "detections", "association_radius": 2.0,
        "stats_include_forced": False,
    }  # fmt: skip
    for name, value in rules.items():
        change_survey(connection, {name: value}, WHY)


def partitions(night: Night, connection: psycopg.Connection, directory: Path) -> None:
    for midpoint in (60_000.5, 60_990.5, 61_030.5, 62_000.5):
        connection.execute("select l1_api.ensure_partitions(%s)", (midpoint,))


def everything_is_rewritten(night: Night, connection: psycopg.Connection, directory: Path) -> None:
    tables = connection.execute("select oid::regclass::text from pg_class where relnamespace = 'l1'::regnamespace"
                                " and relkind = 'r'")  # fmt: skip
    names = ", ".join(name for (name,) in tables.fetchall())
    connection.execute(f"vacuum (full, analyze) {names}")  # type: ignore[arg-type]
    connection.execute("cluster l1.dia_object using dia_object_pkey")


CHANGES = (
    later_visits, corrections, a_replaced_detector, the_work_by_day, precovery, late_images, images_expire,
    facts_of_visits, other_rules, partitions, everything_is_rewritten,
)  # fmt: skip


@pytest.mark.parametrize("happens", CHANGES, ids=lambda happens: happens.__name__)
def test_packets_stay_the_same_after(
    happens: Callable[[Night, psycopg.Connection, Path], None], night: Night, tmp_path: Path
) -> None:
    """Seen red with what is current in place of what was: sources, objects, statistics, rules, images."""
    with connect(night.dsn) as connection:
        happens(night, connection, tmp_path)
    night.check()


def test_packets_stay_the_same_after_a_dump_and_its_restoration(night: Night, server: Server) -> None:
    """With the archive kept.  Seen red with a NaN's sign left as it was."""
    name = f"{conninfo_to_dict(night.dsn)['dbname']}_restored"
    restored = make_conninfo(server.dsn, dbname=name)
    with psycopg.connect(make_conninfo(server.dsn, dbname="postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("create database {} template template0").format(sql.Identifier(name)))
    try:
        dump = subprocess.run(["pg_dump", night.dsn], capture_output=True, check=True)
        subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", restored], input=dump.stdout, capture_output=True,
                       check=True)  # fmt: skip
        night.check(restored)
    finally:
        server.drop(restored)


SESSIONS = {
    "text": "-c TimeZone=Asia/Kathmandu -c DateStyle=German -c IntervalStyle=sql_standard -c bytea_output=escape",
    "numbers": "-c extra_float_digits=-15",
    "language": "-c client_encoding=LATIN1 -c lc_messages=C",
    "plans": "-c enable_indexscan=off -c enable_bitmapscan=off -c enable_nestloop=off"
    " -c plan_cache_mode=force_generic_plan",
    "other plans": "-c enable_hashjoin=off -c enable_mergejoin=off -c enable_seqscan=off -c work_mem=64kB",
}


@pytest.mark.parametrize("options", SESSIONS.values(), ids=SESSIONS)
def test_packets_do_not_hang_on_settings_of_the_session(options: str, night: Night) -> None:
    """Seen red with the span of midpoints read as text, and with texts in the client's encoding."""
    night.check(make_conninfo(night.dsn, options=options))
    with connect(make_conninfo(night.dsn, options=options)) as connection:
        assert list(differing(build_all(connection, night.archive, night.alerts), night.first)) == []


def test_packets_do_not_hang_on_the_company_that_they_are_built_in(night: Night) -> None:
    rng = np.random.default_rng(1)
    sizes = (*[1] * 8, 2, 7, len(night.alerts))
    with connect(night.dsn) as connection:
        for size in sizes:
            chosen = [int(i) for i in rng.permutation(night.alerts)[:size]]
            expected = {key: sha for key, sha in night.first.items() if key[0] in chosen}
            assert list(differing(again(connection, night.archive, chosen), expected)) == []
        for form in FORMATS:
            packet, sha256 = regenerate(connection, chosen[0], form, night.archive)
            assert digest(packet.content) == night.first[chosen[0], form]
            assert sha256 is not None
            assert sha256.hex() == night.first[chosen[0], form]


ELSEWHERE = """
import json, sys
import numpy as np
from l1db.alert.cutouts import Archive
from l1db.connection import connect
from tests.alert.small_night import again
with connect(sys.argv[1]) as connection:
    found = again(connection, Archive(sys.argv[2]), json.loads(sys.argv[3]))
print(json.dumps([[*key, sha] for key, sha in found.items()]))
"""


def test_packets_do_not_hang_on_the_process_that_builds_them(night: Night) -> None:
    """Another hash seed, language and time zone."""
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, night.dsn, str(night.archive.root), json.dumps(night.alerts)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": "1", "TZ": "Pacific/Chatham", "LC_ALL": "C", "PGCLIENTENCODING": "LATIN9"},
        capture_output=True,
        check=True,
    )
    found = {(alert_id, form): sha for alert_id, form, sha in json.loads(done.stdout)}
    assert list(differing(found, night.first)) == []


# --------------------------------------------------------------------------------------------------- a revision

REVISION = """
from alembic import op

revision = "novelty"
down_revision = {down!r}
branch_labels = None
depends_on = None
TABLES = ("dia_source", "dia_source_history", "dia_object", "dia_object_history", "dia_object_band",
          "dia_object_band_history", "alert_image", "survey", "alert")


def upgrade() -> None:
    for table in TABLES:
        op.execute(f"alter table l1.{{table}} add column novelty real default 1.5")


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"alter table l1.{{table}} drop column novelty")
"""


def test_packets_stay_the_same_after_a_revision_that_adds_columns(
    night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All have values in them, and the reader reads them as a later version would.  The last test of this database.

    Seen red with VOEvents that show all columns there are.
    """
    real = code.part
    for name in ("sql", "migrations"):
        shutil.copytree(real(name), tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    revisions = sorted(file.name for file in (tmp_path / "migrations" / "versions").glob("*.py"))
    down = revisions[-1].partition("_")[0]
    (tmp_path / "migrations" / "versions" / "novelty.py").write_text(REVISION.format(down=down))
    for file, column in (("dia_source", "validity_start"), ("dia_object", "motion_is_due"),
                         ("dia_object_band", "daily_ndata")):  # fmt: skip
        path = tmp_path / "sql" / "query" / f"{file}_asof.sql"
        text = path.read_text()
        head, *rest = text.rsplit(f".{column}", 4 if column == "validity_start" else 3)
        if column == "validity_start":  # the last of them is the condition on the time
            head, rest = f"{head}", rest
            text = (f"{head}.validity_start, v.novelty{rest[0]}.validity_start, s.novelty{rest[1]}.validity_start,"
                    f" h.novelty{rest[2]}.validity_start{rest[3]}")  # fmt: skip
        else:
            last = "b" if file.endswith("band") else "o"
            text = (f"{head}.{column}, v.novelty{rest[0]}.{column}, {last}.novelty{rest[1]}.{column},"
                    f" h.novelty{rest[2]}")  # fmt: skip
        path.write_text(text)
    monkeypatch.setattr(code, "part", lambda name: tmp_path / name)
    code.stamp.cache_clear()
    try:
        l1db_database.upgrade(night.dsn)
    finally:
        code.stamp.cache_clear()
    night.check()
    for types in (read._SOURCE, read._OBJECT, read._BAND, read._IMAGE):
        monkeypatch.setitem(types, "novelty", "real")
    night.check()
    with psycopg.connect(night.dsn) as connection:
        content = read.read_content(connection, night.alerts)
        for rows in (content.source, content.object, content.band, content.image, content.history):
            assert set(rows["novelty"].values[rows["novelty"].present].tolist()) == {1.5}
