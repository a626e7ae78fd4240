"""``l1db demo``: the main job on one screen, in a database of its own beside the configured one.

By default three small nights are simulated from the pixels on, so that the truth is known, and ingested with the forced
photometry.  With alert packets of ZTF or Rubin, these are replayed instead.  Either way a listener receives the alerts
while the sources go in.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from psycopg.conninfo import make_conninfo

from l1db import settings
from l1db.cli import terminal
from l1db.demo.content import show_content
from l1db.demo.nights import refuse_missing, show_nights
from l1db.demo.own import PICTURE, forget_picture, make_database, make_directory, refuse_directory, usual_directory
from l1db.demo.packets import show_packets

if TYPE_CHECKING:
    from l1db.simulate import Plan


def run(dsn: str, alerts: Path | None = None, *, output: Path | None = None, plan: Plan | None = None) -> None:
    """Make the demo's database, fill it, and show what is in it.

    Parameters
    ----------
    dsn
        A database on the server to use; the demo's has its name with ``_demo`` at the end.
    alerts
        Alert packets to replay, a directory or a file.  None: simulated nights.
    output
        Where the simulated nights and the picture go.  None: `usual_directory`.  An earlier demo's picture there goes.
    plan
        What to simulate.  None: three nights of three visits, two detectors.

    Raises
    ------
    DatabaseError
        If there is a database of that name that is not a demo's.
    InputError
        If the packets or the directory cannot be used, or a package is missing.
    """
    console = terminal.output()
    configured = str(settings.parameters(dsn).get("dbname", "l1db"))
    name = f"{configured}_demo"
    own = make_conninfo(dsn, dbname=name)
    directory = output or usual_directory()
    if alerts is not None:

        def make(profile: str) -> None:
            make_database(dsn, name, profile)
            forget_picture(directory)  # the data that it shows have just gone

        refuse_missing(["comet"])
        refuse_directory(directory)
        make_directory(directory)
        show_packets(own, alerts, make, directory, console)
        show_content(own, configured, console)
        return
    refuse_missing()
    refuse_directory(directory)
    make_database(dsn, name, "seed")
    make_directory(directory)
    forget_picture(directory)
    show_nights(own, directory / "nights", plan, console)
    show_content(own, configured, console, picture=directory / PICTURE)
