"""Alembic's environment: revisions own schema ``l1``; code belongs to the newest revision.

An upgrade that reaches head removes the code of ``l1_api``, runs the revisions and installs the files of ``sql/``, in
one transaction.  Anything that ends short of head leaves the tables without code.
"""

from __future__ import annotations

from typing import Any

import psycopg
import sqlalchemy as sa
from alembic import context
from geoalchemy2 import alembic_helpers

from l1db import code, settings
from l1db.models import SCHEMA, metadata

config = context.config


def moves() -> bool:
    """Whether this command changes the revision (``current``, ``check`` and ``revision`` do not)."""
    command = getattr(config.cmd_opts, "cmd", (None,))[0]
    return config.attributes.get("moves", False) or getattr(command, "__name__", "") in ("upgrade", "downgrade")


def include_name(name: str | None, type_: str, parent_names: Any) -> bool:
    """Leave alone what is not ours: other schemas, and the leaves of partitioned tables."""
    if type_ == "schema":
        return name == SCHEMA
    if type_ == "table":
        return not (name or "").rpartition("_")[2].isdigit()
    return True


def connect() -> psycopg.Connection:
    """Connect with schema ``l1`` out of the search path: Alembic would take it for the default one and pass it over."""
    connection = psycopg.connect(config.attributes.get("dsn") or settings.dsn(), autocommit=True)
    connection.execute("set search_path = public")
    connection.autocommit = False
    return connection


def run() -> None:
    engine = sa.create_engine("postgresql+psycopg://", creator=connect, poolclass=sa.pool.NullPool)
    with engine.connect() as connection, connection.begin():
        driver: psycopg.Connection = connection.connection.driver_connection  # type: ignore[assignment]
        driver.execute("set local lock_timeout = '10s'")
        driver.execute("set local client_min_messages = warning")
        driver.execute(f"create schema if not exists {SCHEMA}")
        context.configure(
            connection=connection,
            target_metadata=metadata,
            version_table_schema=SCHEMA,
            include_schemas=True,
            include_name=include_name,
            include_object=alembic_helpers.include_object,
            render_item=alembic_helpers.render_item,
            compare_server_default=False,
        )
        head = context.script.get_current_head()
        if not moves():
            context.run_migrations()
            return
        before = context.get_context().get_current_revision()
        if before == head == context.get_revision_argument() and code.installed_stamp(driver) == code.stamp():
            return
        code.remove(driver)
        context.run_migrations()
        if context.get_context().get_current_revision() == head:
            code.install(driver)


if context.is_offline_mode():
    raise SystemExit("l1db upgrades a database, it writes no SQL script: leave out --sql")
run()
