"""Making a database and keeping it up to date: ``l1db init``, ``upgrade`` and ``check``."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Literal

import psycopg
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from psycopg import sql
from psycopg.conninfo import make_conninfo

from l1db import code, settings
from l1db.connection import connect, no_connection, one_line
from l1db.errors import DatabaseError
from l1db.profiles import PROFILES

ROLES = ("l1_read", "l1_ingest", "l1_publish", "l1_filter", "l1_admin")
REQUIRED_EXTENSIONS = ("q3c", "postgis")
OPTIONAL_EXTENSIONS = {"pg_sphere": "coverage maps"}

Finding = Literal["ok", "note", "FAIL"]


def init(dsn: str, profile: str | None = None, rules: Mapping[str, Any] | None = None) -> None:
    """Make the database of ``dsn`` ready for a survey; what is there already is left as it is.

    Creates the database, the roles and the extensions where they are missing, upgrades to this version, and enters the
    survey's rules from the named profile (by default ``seed``), with those in ``rules`` instead of the profile's.

    Raises
    ------
    DatabaseError
        If the server cannot be reached, rights or extensions are missing, or the database has another profile.
    """
    if profile is not None and profile not in PROFILES:
        raise DatabaseError(f"no profile {profile!r}; there are: {', '.join(PROFILES)}")
    _create_database(dsn)
    with connect(dsn, application_name="l1db init", check=False) as connection:
        try:
            _create_roles(connection)
            _create_extensions(connection)
            _set_defaults(connection)
        except psycopg.errors.InsufficientPrivilege as error:
            raise DatabaseError(
                f"role {connection.info.user} may not make roles and extensions ({one_line(error)}): "
                "run `l1db init` once as a superuser"
            ) from error
    upgrade(dsn)
    with connect(dsn, application_name="l1db init") as connection:
        _enter_survey(connection, profile, rules or {})


def _create_database(dsn: str) -> None:
    name = settings.parameters(dsn).get("dbname")
    try:
        psycopg.connect(dsn).close()
        return
    except psycopg.OperationalError as error:
        if name is None or f'database "{name}" does not exist' not in str(error):
            raise no_connection(error) from error
    try:
        with psycopg.connect(make_conninfo(dsn, dbname="postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("create database {} encoding 'UTF8' template template0").format(sql.Identifier(str(name)))
            )
    except psycopg.errors.DuplicateDatabase:
        pass
    except psycopg.Error as error:
        raise DatabaseError(f"cannot create database {name}: {one_line(error)}") from error


def _create_roles(connection: psycopg.Connection[Any]) -> None:
    for role in ROLES:
        if connection.execute("select from pg_roles where rolname = %s", (role,)).fetchone() is None:
            # Another database of this server may be in the making at the same time.
            with suppress(psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
                connection.execute(sql.SQL("create role {} nologin").format(sql.Identifier(role)))


def _create_extensions(connection: psycopg.Connection[Any]) -> None:
    for name in (*REQUIRED_EXTENSIONS, *OPTIONAL_EXTENSIONS):
        if _extension_version(connection, name) is not None:
            continue
        try:
            connection.execute(sql.SQL("create extension if not exists {} schema public").format(sql.Identifier(name)))
        except psycopg.errors.InsufficientPrivilege:
            raise
        except psycopg.Error as error:
            if name in REQUIRED_EXTENSIONS:
                raise DatabaseError(
                    f"PostgreSQL has no extension {name} ({one_line(error)}): install its package and repeat"
                ) from error


def _extension_version(connection: psycopg.Connection[Any], name: str) -> str | None:
    row = connection.execute("select extversion from pg_extension where extname = %s", (name,)).fetchone()
    return row[0] if row else None


def _set_defaults(connection: psycopg.Connection[Any]) -> None:
    database = sql.Identifier(connection.info.dbname)
    # The planner's cost of a q3c join is absurd and would have each statement compiled.
    connection.execute(sql.SQL("alter database {} set jit = off").format(database))
    connection.execute(sql.SQL("alter database {} set search_path = l1, l1_api, public").format(database))


def _enter_survey(connection: psycopg.Connection[Any], profile: str | None, rules: Mapping[str, Any]) -> None:
    with connection.transaction():
        connection.execute("lock table l1.survey in exclusive mode")
        row = connection.execute(
            "select to_jsonb(s) from l1_api.current_survey() s where s.profile is not null"
        ).fetchone()
        if row is not None:
            for rule, wanted in {"profile": profile, **rules}.items():
                if wanted is not None and row[0][rule] != wanted:
                    raise DatabaseError(
                        f"database {connection.info.dbname} has {rule} {row[0][rule]}, not {wanted}: "
                        "change rules with `l1db survey set`, or make another database"
                    )
            return
        profile = profile or "seed"
        entered = {
            "survey_version": 1,
            "reason": f"profile {profile}",
            "database_id": uuid.uuid4(),
            "profile": profile,
            **PROFILES[profile],
            **rules,
        }
        connection.execute(
            sql.SQL("insert into l1.survey ({}) values ({})").format(
                sql.SQL(", ").join(map(sql.Identifier, entered)),
                sql.SQL(", ").join(sql.Placeholder() * len(entered)),
            ),
            list(entered.values()),
        )


def upgrade(dsn: str, revision: str = "head") -> None:
    """Bring tables and code to a revision, all or nothing.

    Raises
    ------
    DatabaseError
        If a revision or a file of the stored code fails; the database is then as it was.
    """
    with connect(dsn, application_name="l1db upgrade", check=False) as connection:
        for name in REQUIRED_EXTENSIONS:
            if _extension_version(connection, name) is None:
                raise DatabaseError(
                    f"database {connection.info.dbname} has no extension {name}: run `l1db init`, which makes it"
                )
    _move(dsn, command.upgrade, revision)


def downgrade(dsn: str, revision: str) -> None:
    """Take tables back to an older revision; the code is removed, since it belongs to the newest."""
    _move(dsn, command.downgrade, revision)


def _move(dsn: str, move: Any, revision: str) -> None:
    config = alembic_config(dsn)
    config.attributes["moves"] = True
    try:
        move(config, revision)
    except CommandError as error:
        raise DatabaseError(f"cannot reach revision {revision}: {one_line(error)}") from error
    except Exception as error:
        cause = error if isinstance(error, psycopg.Error) else error.__cause__
        if not isinstance(cause, psycopg.Error):
            raise
        if isinstance(cause, psycopg.errors.DependentObjectsStillExist):
            dependent = "; ".join((cause.diag.message_detail or one_line(cause)).splitlines())
            raise DatabaseError(f"upgrade stopped, nothing was changed: {dependent}: drop it and repeat") from error
        where = " ".join(getattr(error, "__notes__", []))
        raise DatabaseError(f"upgrade failed, nothing was changed: {one_line(cause)} {where}".rstrip()) from error


def alembic_config(dsn: str) -> Config:
    """Alembic's configuration for one database."""
    config = Config()
    config.set_main_option("script_location", str(code.part("migrations")))
    config.set_main_option("path_separator", "os")
    config.attributes["dsn"] = dsn
    return config


def check(dsn: str) -> Iterator[tuple[Finding, str]]:
    """Look a database over.

    Yields
    ------
    tuple of Finding and str
        ``ok``; ``note``, which hurts nothing that l1db needs; or ``FAIL``; and what was found.
    """
    with connect(dsn, application_name="l1db check", check=False) as connection:
        version = connection.info.server_version
        yield _ok(version >= 150000), f"PostgreSQL {version // 10000}.{version % 10000}"
        for name in REQUIRED_EXTENSIONS:
            found = _extension_version(connection, name)
            yield _ok(found is not None), f"extension {name} {found or 'is missing: run `l1db init`'}"
        for name, purpose in OPTIONAL_EXTENSIONS.items():
            found = _extension_version(connection, name)
            yield "ok" if found else "note", f"extension {name} {found or f'is missing: no {purpose}; all else works'}"
        stamp = code.installed_stamp(connection)
        yield (
            _ok(stamp == code.stamp()),
            f"stored code {stamp}" if stamp == code.stamp() else
            "there is no stored code: run `l1db init`" if stamp is None else
            f"stored code is {stamp}, not {code.stamp()}: run `l1db upgrade`",
        )  # fmt: skip
        if stamp is None:
            return
        row = connection.execute("select to_jsonb(s) from l1_api.current_survey() s").fetchone()
        rules = row[0] if row else None
        if rules is None or rules["profile"] is None:
            yield "FAIL", "there is no survey: run `l1db init`"
        else:
            yield "ok", f"survey {rules['name']}, profile {rules['profile']}, version {rules['survey_version']}"
        row = connection.execute("select current_setting('jit')").fetchone()
        yield (
            _ok(row == ("off",)),
            f"jit is {row[0] if row else '?'}" + ("" if row == ("off",) else ": run `l1db init`"),
        )


def _ok(fine: bool) -> Finding:
    return "ok" if fine else "FAIL"


def change_survey(connection: psycopg.Connection[Any], changes: dict[str, Any], reason: str) -> int:
    """Make a new version of the survey's rules and return its number."""
    row = connection.execute("select l1_api.change_survey(%s, %s)", (json.dumps(changes), reason)).fetchone()
    assert row is not None
    return int(row[0])
