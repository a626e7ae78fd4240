"""The stored code is sound: checked line by line, pinned, documented, and leaned on by nothing in schema ``l1``."""

from __future__ import annotations

import re

import psycopg
import pytest

from l1db import code
from l1db.columns import DIA_SOURCE

# Findings that are none, as (function, transition table of new rows, what plpgsql_check says).  A trigger function that
# serves updates and deletes looks at the new rows of updates only, and PL/pgSQL plans a statement when it gets there.
# What shape_dia_object_wide executes is made of names by format's %I and of bands by its %L.
JUSTIFIED = {
    (f"keep_{table}_history()", None, 'relation "present" does not exist')
    for table in ("dia_source", "dia_object", "dia_object_band")
} | {("shape_dia_object_wide()", None, "text type variable is not sanitized")}


@pytest.fixture
def checker(connection: psycopg.Connection) -> psycopg.Connection:
    """``connection`` with ``plpgsql_check``, and with the working tables that the functions name."""
    if connection.execute("select from pg_available_extensions where name = 'plpgsql_check'").fetchone() is None:
        pytest.skip("no plpgsql_check: install its package, such as postgresql-15-plpgsql-check")
    connection.execute("create extension plpgsql_check schema public")
    connection.execute("select l1_api.open_stage()")
    return connection


FINDINGS = """
    with checked as (
        select distinct p.oid, coalesce(t.tgrelid, 0) as relid, t.tgoldtable, t.tgnewtable
          from pg_proc p
          join pg_language l on l.oid = p.prolang and l.lanname = 'plpgsql'
          left join pg_trigger t on t.tgfoid = p.oid and not t.tgisinternal and t.tgparentid = 0
         where p.pronamespace = 'l1_api'::regnamespace
    )
    select c.oid::regprocedure::text, c.tgnewtable, f.message, f.level, f.lineno, f.statement
      from checked c
     cross join lateral plpgsql_check_function_tb(
               c.oid, c.relid, fatal_errors => false, oldtable => c.tgoldtable, newtable => c.tgnewtable,
               performance_warnings => false, extra_warnings => false, security_warnings => true) f
"""


def test_plpgsql_check_finds_nothing(checker: psycopg.Connection) -> None:
    """Seen red with a column misspelt in the body of `measure_objects`."""
    findings = [row for row in checker.execute(FINDINGS).fetchall() if row[:3] not in JUSTIFIED]
    assert not findings, "\n".join(map(str, findings))


def test_plpgsql_check_looks_at_every_function_and_trigger(checker: psycopg.Connection) -> None:
    """Guards the test above: one wrong name in the body of each function is found in each."""
    bodies = checker.execute(
        """select p.oid::regprocedure::text, pg_get_functiondef(p.oid)
             from pg_proc p join pg_language l on l.oid = p.prolang
            where p.pronamespace = 'l1_api'::regnamespace and l.lanname = 'plpgsql'"""
    ).fetchall()
    assert len(bodies) > 30
    for _, definition in bodies:
        checker.execute(re.sub(r"\nbegin\n", "\nbegin\nperform no_such_column from l1.visit;\n", definition, count=1))
    found = {row[0] for row in checker.execute(FINDINGS).fetchall() if "no_such_column" in row[2]}
    assert found == {name for name, _ in bodies}


def test_every_trigger_function_is_a_trigger_of_a_table(connection: psycopg.Connection) -> None:
    assert (
        connection.execute(
            """select p.proname from pg_proc p
            where p.pronamespace = 'l1_api'::regnamespace and p.prorettype = 'trigger'::regtype
              and not exists (select from pg_trigger t where t.tgfoid = p.oid)"""
        ).fetchall()
        == []
    )


def test_nothing_in_l1_depends_on_the_code_but_triggers(connection: psycopg.Connection) -> None:
    query = """
        with code (classid, objid) as (
            select 'pg_proc'::regclass, oid from pg_proc where pronamespace = 'l1_api'::regnamespace
            union all
            select 'pg_class'::regclass, oid from pg_class where relnamespace = 'l1_api'::regnamespace
            union all
            select 'pg_type'::regclass, oid from pg_type where typnamespace = 'l1_api'::regnamespace
            union all
            select 'pg_namespace'::regclass, 'l1_api'::regnamespace::oid
        )
        select pg_describe_object(d.classid, d.objid, d.objsubid)
          from pg_depend d
          join code on code.classid = d.refclassid and code.objid = d.refobjid
         where (d.classid, d.objid) not in (select classid, objid from code)
           and d.classid <> 'pg_trigger'::regclass
           -- the rewrite rules of our own views
           and not exists (select from pg_rewrite r join pg_class v on v.oid = r.ev_class
                            where d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
                              and v.relnamespace = 'l1_api'::regnamespace)
    """
    assert connection.execute(query).fetchall() == []
    connection.execute("create index on l1.visit ((l1_api.mean_dec(midpoint_mjd_tai, 1, 1)))")
    assert len(connection.execute(query).fetchall()) == 1, "the query sees an index on a function of ours"


def test_every_table_column_function_and_view_has_a_comment(connection: psycopg.Connection) -> None:
    silent = connection.execute(
        """select c.oid::regclass::text
             from pg_class c
            where c.relnamespace in ('l1'::regnamespace, 'l1_api'::regnamespace)
              and c.relkind in ('r', 'p', 'v') and c.relname <> 'alembic_version'
              and coalesce(obj_description(c.oid, 'pg_class'), '') = ''
           union all
           select format('%s.%s', c.oid::regclass, a.attname)
             from pg_class c join pg_attribute a on a.attrelid = c.oid
            where c.relnamespace = 'l1'::regnamespace and c.relkind in ('r', 'p') and c.relname <> 'alembic_version'
              and a.attnum > 0 and not a.attisdropped and coalesce(col_description(c.oid, a.attnum), '') = ''
           union all
           select p.oid::regprocedure::text
             from pg_proc p
            where p.pronamespace = 'l1_api'::regnamespace and coalesce(obj_description(p.oid, 'pg_proc'), '') = ''"""
    ).fetchall()
    assert silent == []


# Numbers that carry no unit: names, counts, ratios, flags and versions.
PLAIN = re.compile(
    r"""(^|_)(id|visit|detector|attempt|version|n_\w+|ndata|nforced|n|snr|airmass|chi2|ln_l|fraction|extendedness
        |reliability|forced_flags|batch|leases|pairs|sources|objects|redirect_to|snaps|detectors|xid|skew|stetson_j)$""",
    re.VERBOSE,
)


def test_columns_of_physical_quantities_say_their_unit(connection: psycopg.Connection) -> None:
    columns = connection.execute(
        """select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), col_description(c.oid, a.attnum)
             from pg_class c join pg_attribute a on a.attrelid = c.oid
            where c.relnamespace = 'l1'::regnamespace and c.relkind in ('r', 'p') and c.relname <> 'alembic_version'
              and a.attnum > 0 and not a.attisdropped"""
    ).fetchall()
    without = [
        f"{table}.{name}: {comment}"
        for table, name, kind, comment in columns
        if kind in ("double precision", "real")
        and not PLAIN.search(name)
        and name not in ("gate_min_reliability", "gate_min_snr", "forced_min_reliability")
        and not re.search(r"\[[^\]]+\]", comment)
    ]
    assert not without
    for table, name, kind, comment in columns:
        if kind in ("text", "boolean", "bigint", "uuid"):
            assert not comment.endswith("]"), f"{table}.{name} has a unit: {comment}"


def test_units_are_units() -> None:
    from astropy import units

    for column in DIA_SOURCE:
        if column.unit:
            units.Unit(column.unit)


def test_functions_that_must_pin_their_search_path_do(connection: psycopg.Connection) -> None:
    assert (
        connection.execute(
            """select p.oid::regprocedure::text
             from pg_proc p join pg_language l on l.oid = p.prolang
            where p.pronamespace = 'l1_api'::regnamespace
              and (l.lanname = 'plpgsql' or p.provolatile = 'v' or p.prosecdef)
              and not exists (select from unnest(p.proconfig) as setting where setting ^@ 'search_path=')
            order by 1"""
        ).fetchall()
        == []
    )


def test_a_security_definer_searches_nothing_that_its_caller_can_write(connection: psycopg.Connection) -> None:
    """pg_catalog first, no schema public, and pg_temp nowhere but last."""
    rows = connection.execute(
        """select p.oid::regprocedure::text, substr(setting, strpos(setting, '=') + 1)
             from pg_proc p, unnest(p.proconfig) as setting
            where p.pronamespace = 'l1_api'::regnamespace and p.prosecdef and setting ^@ 'search_path='"""
    ).fetchall()
    assert rows
    for function, path in rows:
        schemas = [name.strip() for name in path.split(",")]
        assert schemas[0] == "pg_catalog", function
        assert "public" not in schemas, function
        assert "pg_temp" not in schemas[:-1], function


def test_functions_on_working_tables_name_them_and_run_as_their_caller(connection: psycopg.Connection) -> None:
    for name, body, definer in connection.execute(
        "select proname, prosrc, prosecdef from pg_proc where pronamespace = 'l1_api'::regnamespace"
    ).fetchall():
        if re.search(r"^[^-]*pg_temp\.", body, re.MULTILINE):
            assert not definer, f"{name} reads its caller's working tables and runs as another"
    assert connection.execute(
        "select prosecdef from pg_proc where oid = 'l1_api.ingest(bigint, text)'::regprocedure"
    ).fetchone() == (False,)


@pytest.mark.parametrize(
    "function",
    ["cone_search", "light_curve", "alerts_between", "dia_object_asof", "dia_object_band_asof", "dia_source_asof",
     "cone_search_asof", "coincident_objects"],
)  # fmt: skip
def test_views_with_parameters_can_be_inlined(connection: psycopg.Connection, function: str) -> None:
    rows = connection.execute(
        """select p.proconfig, p.provolatile, p.proisstrict, p.prosecdef, l.lanname
             from pg_proc p join pg_language l on l.oid = p.prolang
            where p.pronamespace = 'l1_api'::regnamespace and p.proname = %s""",
        (function,),
    ).fetchall()
    assert set(rows) == {(None, "s", False, False, "sql")}


def test_each_file_holds_the_object_it_is_named_after(connection: psycopg.Connection) -> None:
    names = {
        name
        for (name,) in connection.execute(
            """select proname from pg_proc where pronamespace = 'l1_api'::regnamespace
               union select relname from pg_class where relnamespace = 'l1_api'::regnamespace"""
        ).fetchall()
    }
    stems = {file.stem for file in code.files()} - {"grants"}
    assert stems == names


def test_insert_sources_names_every_column_of_dia_source(connection: psycopg.Connection) -> None:
    text = (code.part("sql") / "ingest" / "insert_sources.sql").read_text()
    match = re.search(r"insert into l1\.dia_source \(([^)]*)\)", text)
    assert match
    named = [name.strip() for name in match[1].split(",")]
    stored = [
        name
        for (name,) in connection.execute(
            """select attname from pg_attribute
                where attrelid = 'l1.dia_source'::regclass and attnum > 0 and not attisdropped order by attnum"""
        ).fetchall()
    ]
    assert named == stored == [column.name for column in DIA_SOURCE]


def test_a_history_has_the_columns_of_its_table_in_their_order(connection: psycopg.Connection) -> None:
    """Its trigger writes ``former.*`` behind the closing columns."""
    columns = """select attname, atttypid from pg_attribute
                  where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum"""
    for table in ("dia_source", "dia_object", "dia_object_band"):
        live = connection.execute(columns, (f"l1.{table}",)).fetchall()
        kept = connection.execute(columns, (f"l1.{table}_history",)).fetchall()
        assert kept[-len(live) :] == live


def test_no_function_looks_into_the_callers_temporary_schema_first(connection: psycopg.Connection) -> None:
    """A search_path without pg_temp searches it first, for types too: whoever may make temporary objects could plant a
    type whose check runs with the rights of a SECURITY DEFINER function."""
    open_functions = connection.execute(
        """select p.proname
             from pg_proc p
            where p.pronamespace = 'l1_api'::regnamespace
              and (p.prosecdef or exists (select from unnest(p.proconfig) c where c like 'search_path=%'))
              and not exists (select from unnest(p.proconfig) c where c ~ '^search_path=.*pg_temp$')"""
    ).fetchall()
    assert open_functions == []
