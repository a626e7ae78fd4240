"""The command line: ``l1db --help`` says all.

Each command is a thin wrapper around what Python users call; modules that take long to load are imported when their
command runs.  Errors become one line here and nowhere else.
"""

from __future__ import annotations

import re
import sys
import warnings
from importlib.metadata import version
from typing import Annotated, Any, NoReturn

import psycopg
import typer

from l1db.cli import (
    alerts,
    archive,
    correct,
    images,
    intake,
    management,
    measurements,
    night,
    publishing,
    simulate,
    state,
    survey,
)
from l1db.connection import one_line
from l1db.errors import L1dbError, RefusedError

app = typer.Typer(
    name="l1db",
    help="A Level 1 Database and alert system for difference imaging, in PostgreSQL.\n\n"
    "The database is that of L1DB_DSN, a libpq connection string; without it, what `make setup` wrote to .l1db/dsn.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_SET_UP, _DATA, _ALERTS, _TRY = "Setting up", "Data in", "Alerts out", "Trying out"
app.command(rich_help_panel=_SET_UP)(management.init)
app.command(rich_help_panel=_SET_UP)(management.upgrade)
app.command(rich_help_panel=_SET_UP)(management.check)
app.command(rich_help_panel=_SET_UP)(management.dsn)
app.command(
    rich_help_panel=_SET_UP,
    context_settings={
        "ignore_unknown_options": True,
        "help_option_names": ["--help"],
        "allow_interspersed_args": False,
    },
)(management.psql)
app.add_typer(survey.app, name="survey", rich_help_panel=_SET_UP)
app.command(rich_help_panel=_DATA)(intake.ingest)
app.command(rich_help_panel=_DATA)(intake.replay)
app.add_typer(images.app, name="images", rich_help_panel=_DATA)
app.add_typer(correct.app, name="correct", rich_help_panel=_DATA)
app.command(rich_help_panel=_DATA)(management.maintain)
app.command(rich_help_panel=_DATA)(state.status)
app.add_typer(night.app, name="night", rich_help_panel=_DATA)
app.command(rich_help_panel=_ALERTS)(alerts.listen)
app.command(rich_help_panel=_ALERTS)(publishing.publish)
app.add_typer(publishing.app, name="destination", rich_help_panel=_ALERTS)
app.add_typer(archive.app, name="alert", rich_help_panel=_ALERTS)
app.command(rich_help_panel=_TRY)(measurements.demo)
app.command(rich_help_panel=_TRY)(simulate.simulate)
app.add_typer(measurements.bench, name="bench", rich_help_panel=_TRY)

# typer brings its own click, or uses the one installed, by version; these are the classes of whichever it is.
_UsageError = typer.BadParameter.__bases__[0]
_NO_ARGUMENTS = "NoArgsIsHelpError"


# The database's hints name modes of ingest; here they are options.
_MODE = re.compile(r"\b(replace|supplement)(?= to (withdraw|add) )")
# Who may do what a command does; whatever else only reads.
_ROLES = {
    "ingest": "l1_ingest",
    "replay": "l1_ingest",
    "images add": "l1_ingest",
    "maintain": "l1_ingest",
    "listen": "l1_publish",
    "publish": "l1_publish",
    "destination test": "l1_publish",
    "destination add": "l1_admin",
    "destination set": "l1_admin",
    "destination enable": "l1_admin",
    "destination disable": "l1_admin",
    "destination remove": "l1_admin",
    "destination retry": "l1_admin",
    "survey set": "l1_admin",
    "correct withdraw-sources": "l1_admin",
    "correct withdraw-detectors": "l1_admin",
    "correct withdraw-visit": "l1_admin",
    "correct move-sources": "l1_admin",
    "correct merge-objects": "l1_admin",
    "correct undo": "l1_admin",
}


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"l1db {version('l1db')}")
        raise typer.Exit()


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Options of all commands; `main` takes --debug out itself, wherever it stands."""


def main() -> NoReturn:
    """Run the command line and exit: 0, 1 after an error, 130 if interrupted."""
    warnings.filterwarnings("ignore", message="ERFA function")  # of leap seconds in years to come
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        code = app(arguments, prog_name="l1db", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except Exception as error:
        if debug or (line := _in_one_line(error)) is None:
            raise
        if line:
            print(f"l1db: {' '.join(line.split())}", file=sys.stderr)
        code = 0 if not line else 1
    if code == 130:
        print("l1db: interrupted", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


def _needed_role() -> str:
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    if words[:1] in (["init"], ["upgrade"]):
        return "use the login that owns the database, or a superuser's"
    role = next((role for command, role in _ROLES.items() if words[: len(command.split())] == command.split()), None)
    return f"have your login made a member of role {role or 'l1_read'}"


def _in_one_line(error: Exception) -> str | None:
    """What to tell the user; nothing if it was told already, None for what is no user's error but a defect."""
    if isinstance(error, L1dbError):
        line = str(error)
        if isinstance(error, RefusedError):
            line = _MODE.sub(r"--\g<0>", line)
        return f"{line}; {_needed_role()}" if "permission denied for " in line else line
    if isinstance(error, psycopg.errors.InsufficientPrivilege) and "permission denied for " in str(error):
        return f"{one_line(error)}; {_needed_role()}"
    if isinstance(error, psycopg.Error):
        ours = (error.sqlstate or "").startswith("L1")
        return one_line(error) if ours else f"the database says: {one_line(error)}"
    if isinstance(error, _UsageError):
        usage: Any = error
        if type(error).__name__ == _NO_ARGUMENTS:
            print(usage.format_message())
            return ""
        command = usage.ctx.command_path if usage.ctx is not None else "l1db"
        said = usage.format_message().rstrip(".").replace("Value error, ", "")
        return f"{said} (see: {command} --help)"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return None
