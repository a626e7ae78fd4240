"""``l1db publish`` and ``l1db destination``: packets on their way to brokers, and where they go."""

from __future__ import annotations

import json
import logging
import signal
import threading
from datetime import timedelta
from typing import Annotated, Any

import typer

from l1db.cli import terminal
from l1db.connection import connect
from l1db.errors import InputError

app = typer.Typer(
    help="Where packets of alerts go: add, try, change and watch destinations.  `l1db publish` sends.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The destination.")]
Settings = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A setting of the transport, as often as needed; VALUE is JSON, or else text; null: as by default.  "
        "KEY_env names an environment variable that holds a secret.",
        default_factory=list,
        show_default=False,
    ),
]
Selection = Annotated[
    str | None,
    typer.Option(
        "--selection",
        metavar="SQL",
        help="Condition on the columns of alert_candidate that alerts must meet, as "
        "\"snr > 10 and band in ('g', 'r')\"; empty: all go.",
    ),
]
GiveUp = Annotated[
    float | None, typer.Option("--give-up-after", metavar="HOURS", min=0.001, max=1e6, help="Do not try older ones.")
]

# Formats that a kind of destination takes if nobody says.
_USUAL = {"vtp": "voevent", "kafka": "lsst-11.1", "webhook": "l1db", "email": "l1db", "file": "l1db"}
_TOLD = 10.0  # seconds between lines on what was sent


def publish(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME]...", help="Destinations; by default all.", default_factory=list, show_default=False
        ),
    ],
    once: Annotated[bool, typer.Option("--once", help="End when nothing is left to be sent.")] = False,
    lease: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=1, max=1e6, help="After so long others take over what a dead publisher had."
        ),
    ] = 60,
    poll: Annotated[float, typer.Option(metavar="SECONDS", min=0.05, help="Look for alerts at least so often.")] = 10,
) -> None:
    """Send alerts to their destinations, until interrupted or terminated; then packets on their way are finished.

    Any number of publishers may run.  What one leaves behind when it dies, another sends.
    """
    from l1db import settings
    from l1db.alert.publish import Publisher

    logging.basicConfig(format="l1db: %(message)s", level=logging.WARNING)
    stop = threading.Event()
    former = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def end(*_: object) -> None:
        # Whoever asks a second time, does not want to wait for a peer that hangs.
        stop.set()
        for number in former:
            signal.signal(number, signal.SIG_DFL)

    for number in former:
        signal.signal(number, end)
    publisher = Publisher(settings.dsn(), names, lease=timedelta(seconds=lease), poll=poll, once=once, stop=stop)
    ended = threading.Event()
    teller = threading.Thread(target=_tell_progress, args=(publisher, ended), daemon=True)
    teller.start()
    try:
        tallies = publisher.run()
    finally:
        ended.set()
        for number, handler in former.items():
            signal.signal(number, handler)
    for name, tally in sorted(tallies.items()):
        print(f"{name}: {_told(tally)}")
    if any(tally.trouble for tally in tallies.values()) and not stop.is_set():
        raise typer.Exit(1)


def _tell_progress(publisher: Any, ended: threading.Event) -> None:
    last: dict[str, str] = {}
    while not ended.wait(_TOLD):
        for name, tally in sorted(publisher.tallies.items()):
            if (told := _told(tally)) != last.get(name):
                terminal.remark(f"{name}: {told}")
                last[name] = told


def _told(tally: Any) -> str:
    counts = {"delivered": tally.delivered, "refused": tally.refused, "failed": tally.failed,
              "not selected": tally.passed_over}  # fmt: skip
    told = ", ".join(f"{n} {what}" for what, n in counts.items() if n or what == "delivered")
    return f"{told}; {tally.trouble}" if tally.trouble else told


@app.command()
def add(
    name: Name,
    kind: Annotated[str, typer.Option(help="vtp, kafka, webhook, email or file.")],
    settings: Settings,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="voevent, lsst-11.1 or l1db; by default voevent for vtp, lsst-11.1 for kafka, l1db for the others.",
        ),
    ] = None,
    selection: Selection = None,
    give_up_after: GiveUp = None,
    start: Annotated[str, typer.Option(metavar="now|start|TIME", help="Which alerts are the first to go.")] = "now",
    unreachable: Annotated[
        bool, typer.Option("--unreachable", help="Add it even if nobody answers there yet.")
    ] = False,
) -> None:
    """Add a destination, after a look whether its settings are in order and somebody answers there."""
    from l1db.alert import destinations
    from l1db.alert.transports import Destination, UnreachableError
    from l1db.alert.transports.open import probe

    destination = Destination(name, kind, form or _USUAL.get(kind, "l1db"), _settings(settings))
    with connect(application_name="l1db destination") as connection:
        try:
            answer = probe(destination)
        except UnreachableError as error:
            if not unreachable:
                raise InputError(f"{error}; --unreachable adds it all the same") from error
            answer = str(error)
        destinations.add(
            connection,
            destination,
            selection=selection or None,
            give_up_after=timedelta(days=7) if give_up_after is None else timedelta(hours=give_up_after),
            start=start,
        )
    print(f"{name}: added; {answer}")


@app.command("list")
def list_all(as_json: Annotated[bool, typer.Option("--json", help="JSON, with settings.")] = False) -> None:
    """Show the destinations, what became of the alerts there, and how far behind each is."""
    with connect(application_name="l1db destination") as connection:
        rows = connection.execute(
            """select s.destination, s.kind, s.format, s.is_enabled, s.n_delivered, s.n_refused, s.n_given_up,
                      s.n_failed, s.n_waiting, extract(epoch from clock_timestamp() - s.oldest)::float8,
                      coalesce(s.trouble, s.last_failure), d.settings, d.selection, d.give_up_after
                 from destination_status s
                 join destination d on d.destination = s.destination
                order by s.destination"""
        ).fetchall()
    if as_json:
        keys = ("destination", "kind", "format", "is_enabled", "n_delivered", "n_refused", "n_given_up", "n_failed",
                "n_waiting", "oldest_s", "trouble", "settings", "selection", "give_up_after_s")  # fmt: skip
        print(
            json.dumps([dict(zip(keys, (*row[:13], row[13].total_seconds()), strict=True)) for row in rows], indent=2)
        )
        return
    headers = (
        "destination",
        "kind",
        "format",
        "delivered",
        "refused",
        "given up",
        "failed",
        "waiting",
        "oldest",
        "trouble",
    )
    shown = [
        (row[0] if row[3] else f"{row[0]} (disabled)", *row[1:3], *row[4:9],
         "" if row[9] is None else f"{row[9]:.0f} s", row[10] or "")
        for row in rows
    ]  # fmt: skip
    if not shown:
        print("no destinations: l1db destination add --help")
        return
    terminal.output().print(terminal.table(headers, shown, prose="trouble"))


@app.command()
def failures(
    name: Name,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="At most so many.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="JSON.")] = False,
) -> None:
    """Show the alerts that a destination refused, that failed or were given up, and why; the latest first."""
    with connect(application_name="l1db destination") as connection:
        connection.execute("select l1_api.require_destination(%s)", (name,))
        rows = connection.execute(
            """select y.alert_id::text, y.state, y.n_attempts, y.first_at, y.last_at, y.next_at, y.detail
                 from l1.delivery y
                where y.destination = %s and y.state <> 'delivered'
                order by y.last_at desc, y.alert_id desc
                limit %s""",
            (name, limit),
        ).fetchall()
    headers = ("alert_id", "state", "n_attempts", "first_at", "last_at", "next_at", "detail")
    if as_json:
        print(json.dumps([dict(zip(headers, row, strict=True)) for row in rows], indent=2, default=str))
    elif rows:
        shown = [
            (*row[:3], *("" if at is None else f"{at:%Y-%m-%d %H:%M:%S}" for at in row[3:6]), row[6] or "")
            for row in rows
        ]
        labels = ("alert", "state", "attempts", "first", "last", "next", "why")
        terminal.output().print(terminal.table(labels, shown))
    else:
        print(f"{name}: none")


@app.command("test")
def try_out(
    name: Name,
    alert: Annotated[
        int | None, typer.Option(metavar="ALERT_ID", min=1, max=2**63 - 1, help="Send this alert, too.")
    ] = None,
) -> None:
    """Try a destination: does somebody answer, and if --alert names one, is it taken?  The ledger does not change."""
    from l1db.alert import destinations
    from l1db.alert.cutouts import Archive
    from l1db.alert.packets import build
    from l1db.alert.transports.open import open_sender, probe

    with connect(application_name="l1db destination") as connection:
        destination = destinations.find(connection, [name])[0].destination
        print(f"{name}: {probe(destination)}")
        if alert is None:
            return
        built = build(connection, [alert], destination.format, Archive())
    if built.differing:
        raise InputError(f"alert {alert}: its packet is not the one that was built first; it is not sent")
    sender = open_sender(destination)
    try:
        outcome = next(iter(sender.send(built.packets, alert)))
    finally:
        sender.close()
    print(f"{name}: alert {alert} {outcome.state}" + (f": {outcome.detail}" if outcome.detail else ""))
    if outcome.state != "delivered":
        raise typer.Exit(1)


@app.command("set")
def change(name: Name, settings: Settings, selection: Selection = None, give_up_after: GiveUp = None) -> None:
    """Change settings, selection or patience of a destination; alerts that wait go by the new ones."""
    from l1db.alert import destinations
    from l1db.alert.transports import Destination
    from l1db.alert.transports.open import check

    changes: dict[str, Any] = {}
    with connect(application_name="l1db destination") as connection:
        present = destinations.find(connection, [name])[0].destination
        if settings:
            changes["settings"] = {**present.settings, **_settings(settings)}
            changes["settings"] = {key: value for key, value in changes["settings"].items() if value is not None}
            check(Destination(name, present.kind, present.format, changes["settings"]))
        if selection is not None:
            changes["selection"] = selection or None
        if give_up_after is not None:
            changes["give_up_after"] = f"{give_up_after} hours"
        if not changes:
            raise InputError("nothing to change: name --set, --selection or --give-up-after")
        destinations.change(connection, name, changes)
    print(f"{name}: {', '.join(changes)} changed")


@app.command()
def enable(name: Name) -> None:
    """Send to a destination again."""
    _switch(name, True)


@app.command()
def disable(name: Name) -> None:
    """Let a destination's alerts wait."""
    _switch(name, False)


@app.command()
def remove(name: Name) -> None:
    """Remove a destination for good; its ledger stays, and with it its name."""
    with connect(application_name="l1db destination") as connection:
        connection.execute("select l1_api.remove_destination(%s)", (name,))
    print(f"{name}: removed")


@app.command()
def retry(name: Name) -> None:
    """Try everything again that a destination refused, that failed, or that was given up."""
    with connect(application_name="l1db destination") as connection:
        row = connection.execute("select l1_api.retry_deliveries(%s)", (name,)).fetchone()
    assert row is not None
    print(f"{name}: {terminal.count(row[0], 'alert')} to be tried again")


def _switch(name: str, on: bool) -> None:
    from l1db.alert import destinations

    with connect(application_name="l1db destination") as connection:
        destinations.change(connection, name, {"is_enabled": on})
    print(f"{name}: {'enabled' if on else 'disabled'}")


def _settings(given: list[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for item in given:
        key, is_there, value = item.partition("=")
        if not is_there or not key:
            raise InputError(f"--set {item}: write KEY=VALUE")
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    return settings
