"""``l1db init``, ``upgrade``, ``check``, ``maintain``, ``dsn``, ``psql``."""

from __future__ import annotations

import os
import time
from enum import StrEnum
from typing import Annotated

import psycopg
import typer

from l1db import settings
from l1db.cli import terminal
from l1db.connection import no_connection, remedy
from l1db.errors import SettingsError


class Profile(StrEnum):
    """The sets of rules that a survey may start from."""

    seed = "seed"
    rubin = "rubin"
    ztf = "ztf"


def init(
    profile: Annotated[Profile | None, typer.Option(help="Set of rules to start from; seed by default.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the survey; by default the profile's.")] = None,
) -> None:
    """Make the database: extensions, roles, tables, code, and the survey's rules.

    What is there already is left as it is.  Needs a superuser's login once, for roles and extensions.
    """
    from l1db import database

    dsn = settings.dsn()
    with terminal.waiting("making the database"):
        database.init(dsn, profile and profile.value, {} if name is None else {"name": name})
    print(f"database {_name(dsn)} is ready; next: l1db ingest, l1db listen, l1db psql")


def upgrade() -> None:
    """Bring tables and code to this version of l1db, all or nothing."""
    from l1db import code, database

    dsn = settings.dsn()
    with terminal.waiting("upgrading"):
        database.upgrade(dsn)
    print(f"database {_name(dsn)} carries {code.stamp()[:30]}...")


def check(
    deep: Annotated[
        bool, typer.Option("--deep", help="Hold all that is stored against what it promises: minutes for 10^7 sources.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="With --deep: only this invariant; may be repeated."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="With --deep: how many violations of each to show.")] = 10,
) -> None:
    """Look the database over; exit code 1 if something required is missing, or with --deep is wrong.

    With --deep it reads all that is stored, in one snapshot, beside running ingests.
    """
    from l1db import database

    healthy = True
    for verdict, found in database.check(settings.dsn()):
        print(f"{verdict:<4}  {found}")
        healthy &= verdict != "FAIL"
    if healthy and deep:
        healthy = _check_deep(only or [], limit)
    if not healthy:
        raise typer.Exit(1)


def _check_deep(only: list[str], limit: int) -> bool:
    from l1db.invariants import check_deep

    begun = time.monotonic()
    n_looked = n_broken = n_found = 0
    with terminal.progress() as report:
        for verdict in check_deep(settings.dsn(), only=only, limit=limit, report=report):
            invariant = verdict.invariant
            n_looked += 1
            word = "FAIL" if verdict.n_found else "ok"
            number = f" {verdict.n_found}:" if verdict.n_found else ""
            print(f"{word:<4}  {invariant.name}:{number} {invariant.promise} ({verdict.seconds:.1f} s)")
            for example in verdict.examples:
                print(f"        {example}")
            if verdict.n_found > len(verdict.examples):
                print(f"        and {verdict.n_found - len(verdict.examples)} more")
            n_broken += verdict.n_found > 0
            n_found += verdict.n_found
    counted = terminal.count(n_looked, "invariant")
    found = f"{n_broken} broken, {terminal.count(n_found, 'violation')}" if n_broken else "all hold"
    print(f"{counted}: {found}; {time.monotonic() - begun:.1f} s")
    return n_broken == 0


def maintain() -> None:
    """Do the day's work: partitions for the nights to come, and the statistics and motions the nights left to the day.

    Runs beside ingests. Stopped and started again, it goes on where it was.
    """
    from l1db.maintain import maintain

    with terminal.progress() as report:
        done = maintain(settings.dsn(), report=report)
    partitions = "made partitions for the nights to come" if done.n_partitions else "the next partitions are there"
    curves = f"measured the light curves of {_objects(done.n_objects)}" if done.n_objects else "no light curve was due"
    motions = f", the motions of {_objects(done.n_motions)}" if done.n_motions else ""
    print(f"{curves}{motions}; {partitions}")


def dsn() -> None:
    """Print the connection string: psql "$(l1db dsn)"."""
    found = settings.dsn()
    settings.parameters(found)
    print(found)


def psql(
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...", help="Handed on to psql.")] = None,
) -> None:
    """Open psql on the database; ARGS are psql's: l1db psql -c 'table night_summary'."""
    found = settings.dsn()
    settings.parameters(found)
    try:
        psycopg.connect(found).close()
    except psycopg.OperationalError as error:
        if remedy(error):  # psql, which says the rest, may still be asked for a password
            raise no_connection(error) from error
    try:
        os.execvp("psql", ["psql", "--dbname", found, *(arguments or [])])
    except FileNotFoundError:
        raise SettingsError("there is no psql: install PostgreSQL's client programs") from None


def _objects(n: int) -> str:
    return f"{n} object{'' if n == 1 else 's'}"


def _name(dsn: str) -> str:
    return str(settings.parameters(dsn).get("dbname", "(libpq's default)"))
