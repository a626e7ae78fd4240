"""``l1db survey show`` and ``set``: the survey's rules, in versions."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

import psycopg
import typer

from l1db.cli import terminal
from l1db.connection import connect, one_line
from l1db.errors import DatabaseError, SettingsError

app = typer.Typer(help="The survey's rules, in immutable versions.", no_args_is_help=True)

_RULES = """
    select a.attname, format_type(a.atttypid, a.atttypmod), col_description(a.attrelid, a.attnum)
      from pg_attribute a
     where a.attrelid = 'l1.survey'::regclass and a.attnum > 0 and not a.attisdropped
     order by a.attnum
"""
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_CAST = re.compile(r"::(double precision|\w+)(\[\])?")
_FIXED = ("profile", "database_id", "survey_version", "created_at", "created_by", "reason")
_NUMBERS: dict[str, type] = {"integer": int, "real": float, "double precision": float}


@app.command()
def show(
    number: Annotated[int | None, typer.Option("--version", help="An older version; by default that in force.")] = None,
) -> None:
    """Show the rules and what they mean."""
    with connect(application_name="l1db survey") as connection:
        rules = connection.execute(_RULES).fetchall()
        row = connection.execute(
            "select to_jsonb(s) from l1.survey s where %(number)s::integer is null or s.survey_version = %(number)s "
            "order by s.survey_version desc limit 1",
            {"number": number},
        ).fetchone()
        if row is None:
            there = connection.execute("select coalesce(max(survey_version), 0) from l1.survey").fetchone()
            newest = there[0] if there else 0
            raise DatabaseError(
                f"there is no version {number} of the survey; there are 1 to {newest}" if newest
                else "the database has no survey: run `l1db init`"
            )  # fmt: skip
    shown = [(name, _shown(row[0][name]), comment) for name, _, comment in rules]
    terminal.output().print(terminal.table(("rule", "value", "meaning"), shown, prose="meaning"))


@app.command(name="set")
def set_(
    changes: Annotated[list[str], typer.Argument(metavar="RULE=VALUE...", help="A list: a,b,c; no value: none.")],
    reason: Annotated[str, typer.Option(help="Why, for those who read it later.")],
) -> None:
    """Make a new version of the rules, with some of them changed."""
    from l1db.database import change_survey

    if not reason.strip():
        raise SettingsError("--reason is empty: say why, for those who read it later")
    with connect(application_name="l1db survey") as connection:
        types = {name: sql_type for name, sql_type, _ in connection.execute(_RULES)}
        wanted: dict[str, Any] = {}
        for change in changes:
            rule, equals, text = change.partition("=")
            if not equals:
                raise SettingsError(f"{change!r} is not RULE=VALUE")
            if rule in wanted:
                raise SettingsError(f"rule {rule} is given twice")
            if rule in _FIXED:
                instead = "; make another database" if rule in ("profile", "database_id") else ""
                raise SettingsError(f"{rule} cannot be changed{instead}")
            wanted[rule] = _value(rule, text, types.get(rule, "text"))
        row = connection.execute("select to_jsonb(s) from l1_api.current_survey() s").fetchone()
        current = row[0] if row else {}
        if wanted and all(rule in current and current[rule] == value for rule, value in wanted.items()):
            print(f"nothing to change: survey version {current['survey_version']} has it so")
            return
        try:
            number = change_survey(connection, wanted, reason)
        except psycopg.errors.CheckViolation as error:
            raise SettingsError(_not_allowed(connection, error, changes)) from error
        except psycopg.errors.NotNullViolation as error:
            raise SettingsError(f"rule {error.diag.column_name} cannot be none; nothing was changed") from error
    print(f"survey version {number} is in force")


def _not_allowed(connection: psycopg.Connection[Any], error: psycopg.Error, changes: list[str]) -> str:
    """Which of the changes a constraint does not allow, and what it does."""
    row = connection.execute(
        "select pg_get_expr(c.conbin, c.conrelid, true), "
        "       (select array_agg(a.attname::text) from pg_attribute a where a.attrelid = c.conrelid "
        "        and a.attnum = any (c.conkey)) "
        "from pg_constraint c where c.conname = %s and c.conrelid = 'l1.survey'::regclass",
        (error.diag.constraint_name,),
    ).fetchone()
    if row is None:
        return f"{one_line(error)}; nothing was changed"
    concerned = ", ".join(change for change in changes if change.partition("=")[0] in (row[1] or ())) or "this"
    return f"{concerned} is not allowed: must satisfy {_CAST.sub('', row[0])}; nothing was changed"


def _value(rule: str, text: str, sql_type: str) -> Any:
    """A rule's new value, as JSON takes it."""
    # "none" is a value of some rules, and no value of the others.
    if text.strip().lower() in ("", "null") or (text.strip().lower() == "none" and sql_type != "text"):
        return None
    try:
        if sql_type.endswith("[]"):
            return [part.strip() for part in text.split(",") if part.strip()]
        if sql_type == "boolean":
            return _TRUTH[text.strip().lower()]
        value = _NUMBERS.get(sql_type, str)(text)
    except (ValueError, KeyError):
        hint = " (true or false)" if sql_type == "boolean" else ""
        raise SettingsError(f"rule {rule}: {text!r} is not of type {sql_type}{hint}") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise SettingsError(f"rule {rule}: {text} is not a finite number")
    return value


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "none" if value is None else str(value)
