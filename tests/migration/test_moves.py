"""Upgrades and downgrades: all or nothing, there and back again, and nobody else's objects."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from alembic import command
from schema_dump import differences, schema_dump

from l1db import code
from l1db import database as l1db_database
from l1db.errors import DatabaseError

CHECKOUT = Path(__file__).resolve().parents[2]


def alembic(dsn: str, *arguments: str) -> str:
    """Run the real command as a user would, at the top of the checkout."""
    done = subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=CHECKOUT,
        env={**os.environ, "L1DB_DSN": dsn},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def query(dsn: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(statement).fetchall()  # type: ignore[arg-type]


@pytest.fixture
def own_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Path]]:
    """A copy of ``sql/`` and ``migrations/`` that the package uses in place of its own; call it after each change."""
    real = code.part
    for name in ("sql", "migrations"):
        shutil.copytree(real(name), tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "part", lambda name: tmp_path / name)

    def changed() -> Path:
        code.stamp.cache_clear()
        return tmp_path

    yield changed
    code.stamp.cache_clear()


def test_alembics_own_command_moves_up_and_down(database: str) -> None:
    before = schema_dump(database)
    assert "0007 (head)" in alembic(database, "current")
    assert "No new upgrade operations detected" in alembic(database, "check")
    assert not differences(before, schema_dump(database))

    alembic(database, "downgrade", "base")
    assert query(database, "select to_regnamespace('l1_api'), to_regclass('l1.dia_object')") == [(None, None)]
    alembic(database, "upgrade", "head")
    assert not differences(before, schema_dump(database))


def test_destinations_go_down_with_their_consumers(database: str) -> None:
    add = "select l1_api.add_destination('d', 'file', 'l1db', '{}')"
    query(database, add)
    query(database, "select l1_api.add_consumer('c')")
    l1db_database.downgrade(database, "0006")
    assert query(database, "select consumer from l1.alert_cursor") == [("c",)]
    l1db_database.upgrade(database)
    query(database, add)
    assert query(database, "select consumer from l1.alert_cursor order by 1") == [("c",), ("destination:d",)]


def test_check_finds_no_difference_between_models_and_tables(database: str) -> None:
    with l1db_database.connect(database) as connection:
        connection.execute("select l1_api.ensure_partitions(61000.5)")
    assert query(database, "select count(*) from pg_inherits where inhparent = 'l1.dia_source'::regclass") == [(1,)]
    command.check(l1db_database.alembic_config(database))


@pytest.mark.parametrize(
    "drift",
    [
        "alter table l1.dia_object add surplus integer",
        "alter table l1.dia_object_band_history alter psf_flux_sigma type double precision",
        "drop index l1.visit_detector_footprint_idx",
        "drop index l1.dia_object_q3c_idx",
        "comment on column l1.dia_object.ra is 'another'",
        "create table l1.surplus (id integer)",
    ],
)
def test_check_sees_drift(database: str, drift: str) -> None:
    """Guards the test above: a check that looks at no schema finds no difference either."""
    with psycopg.connect(database) as connection:
        connection.execute(drift)  # type: ignore[arg-type]
    with pytest.raises(Exception, match="New upgrade operations detected"):
        command.check(l1db_database.alembic_config(database))


def test_up_down_up_is_identical(database: str) -> None:
    before = schema_dump(database)
    l1db_database.downgrade(database, "base")
    left = query(
        database,
        """select c.relname from pg_class c where c.relnamespace = 'l1'::regnamespace and c.relkind <> 'i'
           union all select typname from pg_type t where t.typnamespace = 'l1'::regnamespace and typrelid = 0
            and typelem = 0""",
    )
    assert left == [("alembic_version",)]
    l1db_database.upgrade(database)
    assert not differences(before, schema_dump(database))
    assert all(ok != "FAIL" for ok, said in l1db_database.check(database) if "survey" not in said)


def test_downgrade_takes_the_code_away_and_clients_say_so(database: str) -> None:
    l1db_database.downgrade(database, "base")
    assert query(database, "select count(*) from pg_namespace where nspname = 'l1_api'") == [(0,)]
    assert query(database, "select count(*) from pg_trigger where not tgisinternal") == [(0,)]
    with pytest.raises(DatabaseError, match="has no l1db code: run `l1db init`"):
        l1db_database.connect(database)


def test_an_upgrade_that_is_not_needed_changes_nothing(database: str) -> None:
    oids = query(database, "select oid from pg_proc where pronamespace = 'l1_api'::regnamespace order by oid")
    l1db_database.upgrade(database)
    assert oids == query(database, "select oid from pg_proc where pronamespace = 'l1_api'::regnamespace order by oid")


@pytest.mark.parametrize(
    ("file", "broken"),
    [
        ("version/open_versions.sql", "create function l1_api.open_versions( returns nothing;"),
        ("query/night_summary.sql", "create view l1_api.night_summary as select no_such_column from l1.visit;"),
        ("grants.sql", "grant execute on function l1_api.no_such_function() to l1_read;"),
    ],
)
def test_a_broken_file_rolls_the_whole_upgrade_back(
    database: str, own_copy: Callable[[], Path], file: str, broken: str
) -> None:
    """Seen red with a commit between ``code.remove`` and the revisions in env.py."""
    before, stamp = schema_dump(database), code.stamp()
    path = own_copy() / "sql" / file
    whole = path.read_text()
    path.write_text(broken)
    own_copy()
    with pytest.raises(DatabaseError, match=rf"^upgrade failed, nothing was changed: .* in sql/{file}$") as refusal:
        l1db_database.upgrade(database)
    assert "\n" not in str(refusal.value)
    assert not differences(before, schema_dump(database))
    with psycopg.connect(database) as connection:
        assert code.installed_stamp(connection) == stamp

    path.write_text(whole + "\n-- repaired\n")
    own_copy()
    l1db_database.upgrade(database)
    with psycopg.connect(database) as connection:
        assert code.installed_stamp(connection) == code.stamp() != stamp
    assert {k for k, _ in before.items()} == set(schema_dump(database))


def test_a_broken_file_leaves_an_empty_database_empty(database: str, own_copy: Callable[[], Path]) -> None:
    l1db_database.downgrade(database, "base")
    (own_copy() / "sql" / "grants.sql").write_text("grant nothing;")
    own_copy()
    with pytest.raises(DatabaseError, match="nothing was changed"):
        l1db_database.upgrade(database)
    assert query(database, "select to_regnamespace('l1_api'), to_regclass('l1.dia_object')") == [(None, None)]
    assert query(database, "select count(*) from l1.alembic_version") == [(0,)]


def test_a_users_view_on_ours_stops_the_upgrade_by_name(database: str, own_copy: Callable[[], Path]) -> None:
    """Seen red with CASCADE in place of RESTRICT: the view was gone."""
    before = code.stamp()
    with psycopg.connect(database) as connection:
        connection.execute("create view public.my_versions as select ra from l1_api.dia_object_version")
    with (own_copy() / "sql" / "grants.sql").open("a") as file:
        file.write("-- a newer version of the code\n")
    own_copy()
    with pytest.raises(DatabaseError, match="my_versions"):
        l1db_database.upgrade(database)
    assert query(database, "select count(*) from public.my_versions") == [(0,)]
    with psycopg.connect(database) as connection:
        assert code.installed_stamp(connection) == before
        connection.execute("drop view public.my_versions")
    l1db_database.upgrade(database)


REVISION = """
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table l1.dia_object_history alter retired_reason type varchar(200)")


def downgrade() -> None:
    op.execute("alter table l1.dia_object_history alter retired_reason type text")
"""


def test_a_revision_may_alter_a_column_under_a_view(database: str, own_copy: Callable[[], Path]) -> None:
    with psycopg.connect(database) as connection, pytest.raises(psycopg.Error, match="used by a view or rule"):
        connection.execute("alter table l1.dia_object_history alter retired_reason type varchar(200)")

    (own_copy() / "migrations" / "versions" / "0007_test.py").write_text(REVISION)
    l1db_database.upgrade(database)
    kind = "select format_type(atttypid, atttypmod) from pg_attribute where attname = 'retired_reason' and attrelid = "
    assert query(database, kind + "'l1.dia_object_history'::regclass") == [("character varying(200)",)]
    assert query(database, "select count(*) from l1_api.dia_object_version") == [(0,)]

    l1db_database.downgrade(database, "0003")
    assert query(database, kind + "'l1.dia_object_history'::regclass") == [("text",)]
    assert query(database, "select to_regnamespace('l1_api')") == [(None,)], "code belongs to the newest revision"
    l1db_database.upgrade(database, "head")
    assert query(database, kind + "'l1_api.dia_object_version'::regclass") == [("character varying",)]


def test_an_upgrade_keeps_the_data(database: str, own_copy: Callable[[], Path]) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("select l1_api.ensure_partitions(61000.5)")
    with (own_copy() / "sql" / "grants.sql").open("a") as file:
        file.write("-- a newer version of the code\n")
    own_copy()
    leaves = "select count(*) from pg_inherits where inhparent = 'l1.dia_source'::regclass"
    assert query(database, leaves) == [(1,)]
    l1db_database.upgrade(database)
    assert query(database, leaves) == [(1,)]
    assert query(database, "select profile from l1_api.current_survey()") == [("seed",)]
    with pytest.raises(DatabaseError, match="cannot reach revision 9999"):
        l1db_database.upgrade(database, "9999")
