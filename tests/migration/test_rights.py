"""Who may do what: the catalogue against grants.sql, and each role at its work and at what it must not do.

The expectation is read from grants.sql statement by statement; what a role may *not* have is stated here once more, by
itself, so that a grant too many in that file is seen too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

import l1db
from l1db import code
from l1db import database as l1db_database
from l1db.errors import RefusedError
from l1db.visit import DetectorData, Visit

Right = tuple[str, str, str, str]  # kind, object, role, privilege

VISIT = Visit(1, "r", 61000.2)
SOURCES = {"ra": [10.0, 10.1], "dec": [5.0, 5.1], "psf_flux": [900.0, 800.0], "psf_flux_err": [9.0, 9.0]}

# Every right that is somebody's by grant; an object without explicit rights stands for its kind's defaults.
GRANTED = """
    with held as (
        select 'schema' as kind, n.nspname::text as object, coalesce(n.nspacl, acldefault('n', n.nspowner)) as acl
          from pg_namespace n where n.nspname in ('l1', 'l1_api')
        union all
        select case c.relkind when 'S' then 'sequence' else 'table' end, format('%s.%s', c.relnamespace::regnamespace,
               c.relname), coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's'::"char" else 'r' end,
               c.relowner))
          from pg_class c
         where c.relnamespace in ('l1'::regnamespace, 'l1_api'::regnamespace) and c.relkind in ('r', 'p', 'v', 'm', 'S')
        union all
        select 'function', format('%s.%s(%s)', p.pronamespace::regnamespace, p.proname,
               pg_get_function_identity_arguments(p.oid)), coalesce(p.proacl, acldefault('f', p.proowner))
          from pg_proc p where p.pronamespace = 'l1_api'::regnamespace
        union all
        select 'column', format('%s.%s', a.attrelid::regclass, a.attname), a.attacl
          from pg_attribute a join pg_class c on c.oid = a.attrelid
         where c.relnamespace in ('l1'::regnamespace, 'l1_api'::regnamespace) and a.attacl is not null
    )
    select held.kind, held.object, coalesce(r.rolname, 'public'), lower(granted.privilege_type)
      from held
     cross join lateral aclexplode(held.acl) as granted
      left join pg_roles r on r.oid = granted.grantee
     where granted.grantee <> granted.grantor
"""
OBJECTS = """
    select case c.relkind when 'S' then 'sequence' else 'table' end, format('%s.%s', c.relnamespace::regnamespace,
           c.relname), c.relnamespace::regnamespace::text
      from pg_class c
     where c.relnamespace in ('l1'::regnamespace, 'l1_api'::regnamespace) and c.relkind in ('r', 'p', 'v', 'm', 'S')
    union all
    select 'function', format('%s.%s(%s)', p.pronamespace::regnamespace, p.proname,
           pg_get_function_identity_arguments(p.oid)), p.pronamespace::regnamespace::text
      from pg_proc p where p.pronamespace = 'l1_api'::regnamespace
"""


def granted(connection: psycopg.Connection) -> set[Right]:
    with connection.transaction():
        connection.execute("set local search_path = pg_catalog")
        return set(connection.execute(GRANTED).fetchall())


def expected(connection: psycopg.Connection) -> set[Right]:
    """What grants.sql says, each statement applied in turn."""
    with connection.transaction():
        connection.execute("set local search_path = pg_catalog")
        objects = connection.execute(OBJECTS).fetchall()
    text = re.sub(r"--.*", "", (code.part("sql") / "grants.sql").read_text())
    text = re.sub(r"do \$\$.*?\$\$;", "", text, flags=re.DOTALL)
    rights: set[Right] = set()
    for statement in filter(None, (" ".join(part.split()) for part in text.split(";"))):
        match = re.fullmatch(r"(grant|revoke) (.+?) on (.+) (?:to|from) (.+)", statement)
        assert match, statement
        verb, privileges, what, roles = match.groups()
        if found := re.fullmatch(r"all (table|sequence|function)s in schema (.+)", what):
            kind, schemas = found[1], found[2].split(", ")
            names = [name for k, name, schema in objects if k == kind and schema in schemas]
        else:
            found = re.fullmatch(r"(?:(schema|sequence|function) )?(.+)", what)
            assert found
            kind = found[1] or "table"
            given = re.split(r", (?![^(]*\))", found[2])
            names = [_function(connection, name) for name in given] if kind == "function" else given
        for name in names:
            for role in roles.split(", "):
                if verb == "revoke":
                    rights -= {r for r in rights if r[:3] == (kind, name, role)}
                else:
                    rights |= {(kind, name, role, privilege) for privilege in privileges.split(", ")}
    return rights


def _function(connection: psycopg.Connection, name: str) -> str:
    with connection.transaction():
        connection.execute("set local search_path = pg_catalog")
        row = connection.execute(
            """select format('%%s.%%s(%%s)', pronamespace::regnamespace, proname,
                             pg_get_function_identity_arguments(oid))
                 from pg_proc where oid = %s::regprocedure""",
            (name,),
        ).fetchone()
    assert row
    return str(row[0])


def reinstall(dsn: str) -> None:
    """Take the code away and put it back, as an upgrade to a newer version does."""
    with psycopg.connect(dsn) as connection:
        code.remove(connection)
        code.install(connection)


def test_the_catalogue_says_what_grants_sql_says(database: str) -> None:
    """Seen red with PUBLIC left out of `revoke all on all functions`."""
    with psycopg.connect(database) as connection:
        rights = granted(connection)
        assert len(rights) > 150
        assert rights == expected(connection)


def test_installing_again_leaves_the_rights_as_they_were(database: str) -> None:
    """Stray grants too go: rights are what the file says, not what somebody added."""
    with psycopg.connect(database) as connection:
        before = granted(connection)
        for stray in (
            "grant insert on l1.survey to l1_read",
            "grant select on all tables in schema l1 to public",
            "grant all on all functions in schema l1_api to l1_filter",
            "grant update on sequence l1.alert_seq to l1_publish",
            "grant create on schema l1_api to l1_ingest",
        ):
            connection.execute(stray)  # type: ignore[arg-type]
        assert granted(connection) != before
    reinstall(database)
    with psycopg.connect(database) as connection:
        assert granted(connection) == before


def test_leaves_give_no_more_than_reading(database: str) -> None:
    with l1db_database.connect(database) as connection:
        connection.execute("select l1_api.ensure_partitions(61000.5)")
    reinstall(database)
    with psycopg.connect(database) as connection:
        assert {r[3] for r in granted(connection) if re.search(r"_\d+$", r[1])} <= {"select"}


def test_public_has_nothing(connection: psycopg.Connection) -> None:
    assert not {right for right in granted(connection) if right[2] == "public"}
    row = connection.execute(
        """select array_agg(privilege_type::text) from pg_database, aclexplode(datacl)
            where datname = current_database() and grantee = 0"""
    ).fetchone()
    assert row is not None
    assert "TEMPORARY" not in (row[0] or [])


def test_only_those_who_ingest_may_make_working_tables(database: str) -> None:
    reinstall(database)
    with psycopg.connect(database) as connection:
        able = {
            role
            for role in l1db_database.ROLES
            if connection.execute("select has_database_privilege(%s, current_database(), 'temp')", (role,)).fetchone()
            == (True,)
        }
    assert able == {"l1_ingest", "l1_admin"}


WRITES = {
    "l1_read": set(),
    "l1_filter": set(),
    "l1_publish": set(),
    "l1_ingest": {
        "l1.dia_source": {"insert", "update", "delete"},
        "l1.dia_object": {"insert", "update", "delete"},
        "l1.dia_object_band": {"insert", "update", "delete"},
        "l1.visit_detector": {"insert", "update"},
        "l1.image": {"insert", "update", "delete"},
        "l1.precovery_task": {"insert", "update", "delete"},
        "l1.alert": {"insert"},
        "l1.alert_image": {"insert"},
        "l1.cutout": {"insert"},
        "l1.stamp": {"insert"},
        "l1.update_record": {"insert"},
    },
}


@pytest.mark.parametrize("role", sorted(WRITES))
def test_a_role_writes_no_more_tables_than_its_work_needs(connection: psycopg.Connection, role: str) -> None:
    wide = WRITES[role]
    assert {
        (name, privilege)
        for kind, name, grantee, privilege in granted(connection)
        if grantee == role and kind in ("table", "column") and privilege != "select"
    } == {(name, privilege) for name in wide for privilege in wide[name]}  # type: ignore[index]


def test_readers_and_filters_call_nothing_that_writes(connection: psycopg.Connection) -> None:
    volatile = connection.execute(
        """select p.oid::regprocedure::text
             from pg_proc p, unnest(array['l1_read', 'l1_filter']) as role
            where p.pronamespace = 'l1_api'::regnamespace and p.provolatile = 'v'
              -- volatile to see what has committed meanwhile; they write no table
              and p.proname not in ('settled_time', 'has_committed_since')
              and has_function_privilege(role, p.oid, 'execute')"""
    ).fetchall()
    assert not volatile
    assert not [right for right in granted(connection) if right[2] == "l1_filter"]


def test_only_the_admin_changes_the_survey_and_roles_are_groups(connection: psycopg.Connection) -> None:
    row = connection.execute(
        """select array_agg(r.rolname order by r.rolname)
             from pg_roles r
            where r.rolname ^@ 'l1_' and has_function_privilege(r.oid, 'l1_api.change_survey(jsonb, text)', 'execute')
              and r.rolname = any(%s)""",
        (list(l1db_database.ROLES),),
    ).fetchone()
    assert row == (["l1_admin"],)
    assert connection.execute(
        """select bool_or(rolcanlogin or rolsuper or rolcreaterole or rolbypassrls)
             from pg_roles where rolname = any(%s)""",
        (list(l1db_database.ROLES),),
    ).fetchone() == (False,)


def denied(connection: psycopg.Connection, role: str, *statements: str) -> None:
    """Each statement is refused to the role for want of rights, not for another reason."""
    for statement in statements:
        attempt = sql.SQL("set local role {}; " + statement).format(sql.Identifier(role))  # type: ignore[arg-type]
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute(attempt)


def test_l1_read_reads_and_cannot_write(connection: psycopg.Connection) -> None:
    with connection.transaction():
        connection.execute("set local role l1_read")
        for statement in (
            "select * from l1_api.cone_search(10, 5, 3)",
            "select * from l1_api.light_curve(1)",
            "select * from l1_api.dia_object_version",
            "select * from l1_api.night_summary",
            "select * from l1_api.consumer_status",
            "select * from l1_api.current_survey()",
            "select * from l1_api.dia_object_asof(l1_api.safe_asof())",
            "select * from l1_api.dia_object_band_asof(now())",
            "select * from l1_api.dia_source_asof(now())",
            "select * from l1_api.cone_search_asof(10, 5, 3, now())",
            "select count(*) from l1.dia_source",
            "select count(*) from l1.dia_object_history",
        ):
            connection.execute(statement)  # type: ignore[arg-type]
    denied(
        connection,
        "l1_read",
        "insert into l1.visit (visit) values (1)",
        "delete from l1.dia_source",
        "update l1.survey set name = 'x'",
        "truncate l1.alert",
        "select nextval('l1.alert_seq')",
        "select l1_api.open_visit(1, 'r', 61000, null, null, null, null, '2025-01-01', null, null, null, null)",
        "select l1_api.ensure_partitions(61000)",
        "select l1_api.ingest(1)",
        "select l1_api.lock_sky(1, 1, 1)",
        "select l1_api.take_stamp()",
        "select l1_api.add_consumer('x')",
        "select l1_api.next_alerts('x')",
        "select l1_api.change_survey('{{}}', 'x')",
        "create table l1.mine (x integer)",
        "create function l1_api.mine() returns integer language sql return 1",
        "create temp table mine (x integer)",
    )


def test_l1_filter_has_nothing(connection: psycopg.Connection) -> None:
    denied(
        connection,
        "l1_filter",
        "select * from l1.survey",
        "select * from l1.alert",
        "select * from l1_api.cone_search(10, 5, 3)",
        "select l1_api.next_alerts('x')",
        "create temp table mine (x integer)",
    )


@pytest.fixture
def login(database: str, request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """Make a login that is member of one role and nothing else; returns the DSN with which it comes to ``database``."""
    made: list[str] = []
    with psycopg.connect(database, autocommit=True) as connection:

        def make(role: str) -> str:
            name = f"l1db_test_{connection.info.backend_pid}_{len(made)}"
            connection.execute(
                sql.SQL("create role {} login password {} in role {}").format(
                    sql.Identifier(name), sql.Literal(name), sql.Identifier(role)
                )
            )
            made.append(name)
            return make_conninfo(database, user=name, password=name)

        yield make
        for name in made:
            connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", (name,))
            connection.execute(sql.SQL("drop owned by {0}; drop role {0}").format(sql.Identifier(name)))


@pytest.mark.parametrize("role", ["l1_ingest", "l1_admin"])
def test_a_member_of_the_role_runs_a_whole_ingest(login: Callable[[str], str], role: str) -> None:
    """Every mode, with the history triggers; seen red with `claim_detectors` left out of the grants."""
    with l1db.Client(login(role)) as client:
        first = client.ingest(VISIT, [DetectorData(0, SOURCES)])
        assert (first.n_sources, first.n_new_objects, first.n_alerts) == (2, 2, 2)
        assert client.ingest(VISIT, [DetectorData(0, SOURCES)]).detectors[0].status == "unchanged"
        assert client.ingest(replace(VISIT, visit=2), [DetectorData(0, SOURCES)]).detectors[0].n_associated == 2
        other = {**SOURCES, "psf_flux": [910.0, 810.0]}
        assert client.ingest(VISIT, [DetectorData(0, other)], mode="replace").detectors[0].status == "replaced"
        more = {**{name: [values[0] + 1.0] for name, values in SOURCES.items()}, "dia_source_id": [77]}
        assert client.ingest(VISIT, [DetectorData(0, more)], mode="supplement").detectors[0].status == "supplemented"
        with pytest.raises(RefusedError, match="stored with other data"):
            client.ingest(VISIT, [DetectorData(0, SOURCES)])


def test_l1_ingest_touches_no_history_no_survey_and_no_consumer(database: str) -> None:
    with l1db.Client(database) as client:
        client.ingest(VISIT, [DetectorData(0, SOURCES)])
        client.ingest(replace(VISIT, visit=2), [DetectorData(0, SOURCES)])
    with psycopg.connect(database, autocommit=True) as connection:
        denied(
            connection,
            "l1_ingest",
            *(
                statement
                for table in ("dia_source_history", "dia_object_history", "dia_object_band_history", "survey", "visit")
                for statement in (
                    f"insert into l1.{table} select * from l1.{table}",
                    f"delete from l1.{table}",
                    f"truncate l1.{table}",
                )
            ),
            "update l1.alert_cursor set after_alert_id = 1",
            "delete from l1.alert_batch",
            "update l1.alert set kind = 'retraction'",
            "delete from l1.alert",
            "delete from l1.visit_detector",
            "delete from l1.stamp",
            "delete from l1.update_record",
            "insert into l1.correction (kind) values ('x')",
            "select l1_api.withdraw_visit(1, 'x')",
            "select l1_api.move_sources(array[1], null, 'x')",
            "select l1_api.undo_correction(1, 'x')",
            "select l1_api.add_consumer('x')",
            "select l1_api.next_alerts('x')",
            "select l1_api.ack_alerts('x', 1)",
            "select l1_api.change_survey('{{}}', 'x')",
            'drop trigger "10_keep_history_of_updated" on l1.dia_object',
            "alter table l1.dia_object disable trigger all",
            "set session_replication_role = replica",
            "create table l1.mine (x integer)",
        )


def test_l1_publish_consumes_and_cannot_ingest(database: str, login: Callable[[str], str]) -> None:
    with l1db.Client(database) as client:
        client.ingest(VISIT, [DetectorData(0, SOURCES)])
    with psycopg.connect(login("l1_publish"), autocommit=True) as connection:
        connection.execute("listen l1_alert")
        connection.execute("select l1_api.add_consumer('mine', 'start')")
        rows = connection.execute("select batch_id, dia_source_id from l1_api.next_alerts('mine', 10)").fetchall()
        assert len(rows) == 2
        assert connection.execute("select open_alerts from l1_api.consumer_status").fetchone() == (2,)
        assert connection.execute("select l1_api.ack_alerts('mine', %s)", (rows[0][0],)).fetchone() == (True,)
        connection.execute("select l1_api.drop_consumer('mine')")
    with psycopg.connect(database, autocommit=True) as connection:
        denied(
            connection,
            "l1_publish",
            "insert into l1.alert_cursor (consumer, seen) values ('x', '1:1:')",
            "update l1.alert_batch set acked_at = now()",
            "delete from l1.alert",
            "insert into l1.alert select * from l1.alert",
            "select l1_api.open_stage()",
            "select l1_api.ensure_partitions(61000)",
            "select l1_api.ingest(1)",
            "create temp table mine (x integer)",
        )
