"""Revisions, models and stored code say the same."""

from __future__ import annotations

import re

import psycopg
import sqlalchemy as sa
from schema_dump import differences, schema_dump

from l1db import code
from l1db import database as l1db_database
from l1db.models import metadata


def test_revisions_make_what_the_models_say(database: str) -> None:
    by_revisions = schema_dump(database)
    l1db_database.downgrade(database, "base")
    engine = sa.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(database), poolclass=sa.NullPool)
    with engine.begin() as connection:
        metadata.create_all(connection)
        code.install(connection.connection.driver_connection)  # type: ignore[arg-type]
    by_models = schema_dump(database)
    assert len(by_models) > 200
    assert not differences(by_revisions, by_models)


BODIES = """
    select p.oid::regprocedure::text, md5(pg_get_functiondef(p.oid))
      from pg_proc p
     where p.pronamespace = 'l1_api'::regnamespace
    union all
    select c.oid::regclass::text, md5(pg_get_viewdef(c.oid))
      from pg_class c
     where c.relnamespace = 'l1_api'::regnamespace
    union all
    select format('%s on %s', t.tgname, t.tgrelid::regclass), md5(pg_get_triggerdef(t.oid))
      from pg_trigger t
     where not t.tgisinternal
"""


def test_a_fresh_install_makes_the_bodies_that_the_database_has(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("select l1_api.ensure_partitions(61000.5)")
        connection.commit()
        upgraded = dict(connection.execute(BODIES).fetchall())
        code.remove(connection)
        assert not connection.execute(BODIES.replace("'l1_api'::regnamespace", "to_regnamespace('l1_api')")).fetchall()
        code.install(connection)
        assert upgraded == dict(connection.execute(BODIES).fetchall())
        connection.rollback()
        assert upgraded == dict(connection.execute(BODIES).fetchall())


def test_every_file_is_installed_and_nothing_else_is_there(connection: psycopg.Connection) -> None:
    folder = code.part("sql")
    listed = code.files()
    assert sorted(listed) == sorted(file for file in folder.rglob("*.sql") if file.name != "install.sql")
    created = re.findall(
        r"^create (?:or replace )?(?:function|view|procedure) l1_api\.(\w+)",
        "\n".join(file.read_text() for file in listed),
        re.MULTILINE,
    )
    found = connection.execute(
        """select p.proname from pg_proc p where p.pronamespace = 'l1_api'::regnamespace
           union all
           select c.relname from pg_class c where c.relnamespace = 'l1_api'::regnamespace"""
    ).fetchall()
    assert sorted(created) == sorted(name for (name,) in found)
