"""Simulated nights: images are drawn and searched, what is found is ingested with forced photometry, and scored."""

from __future__ import annotations

import time
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from l1db.cli import terminal
from l1db.client import Client
from l1db.demo.arrival import listening
from l1db.demo.publishing import publishing
from l1db.demo.score import compare, compare_forced
from l1db.demo.stored import forced_rows, objects_of_sources
from l1db.demo.truth import read_truth
from l1db.errors import InputError
from l1db.ingest import ingest_files

if TYPE_CHECKING:
    from l1db.simulate import Plan, Simulation

_PACKAGES = {
    "galsim": "draws the images",
    "matplotlib": "draws the light curve",
    "comet": "takes the VOEvents",
}


def refuse_missing(packages: Iterable[str] = tuple(_PACKAGES)) -> None:
    """Raise InputError if a package is missing that only the demo and the simulator need."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        why = " and ".join(f"{name}, which {_PACKAGES[name]}," for name in missing)
        raise InputError(
            f"demo: {why} {'is' if len(missing) == 1 else 'are'} not installed: pip install 'l1db[demo]', "
            "or replay packets with --alerts DIR"
        )


def show_nights(dsn: str, directory: Path, plan: Plan | None, console: Console) -> None:
    """Simulate nights in a directory, take them in and say how well they were found again."""
    made = _simulated(directory, plan, console)
    begun = time.monotonic()
    with publishing(dsn, directory.parent, console):
        with listening(dsn, console):
            # Of a visit's detectors together, each visit one transaction: as `l1db ingest SOURCES --visits TABLE`.
            result = ingest_files(lambda: Client(dsn), [made.sources], visits=made.visits)
            seconds = time.monotonic() - begun
        console.print(
            f"{terminal.count(result.n_visits, 'visit')} ingested in {seconds:.1f} s, forced photometry included, "
            f"each in one transaction: {seconds / result.n_visits:.1f} s each"
        )
        _show_score(dsn, directory, console)


def _simulated(directory: Path, plan: Plan | None, console: Console) -> Simulation:
    from l1db.simulate import Plan, simulate

    plan = plan or Plan()
    n_visits = plan.nights * plan.visits_per_night
    count = terminal.count
    console.rule(
        f"{count(plan.nights, 'night')}, {count(n_visits, 'visit')}, {count(plan.detectors, 'detector')} "
        f"of {plan.size} x {plan.size} pixels"
    )
    begun = time.monotonic()
    with terminal.progress() as report:
        made = simulate(directory, plan, overwrite=True, progress=report)
    seconds = time.monotonic() - begun
    console.print(
        f"{count(made.n_images, 'image')} simulated in {seconds:.0f} s; "
        f"{count(made.n_sources, 'source')} detected on the differences"
    )
    return made


def _show_score(dsn: str, directory: Path, console: Console) -> None:
    count = terminal.count
    truth = read_truth(directory)
    found, n_objects = objects_of_sources(dsn)
    result = compare(truth.thing, found, truth.out_of_place)
    console.print(
        f"true sources: {len(truth.thing)} of things that vary or appear ({len(truth.out_of_place)} of these cut by an "
        f"edge or blended), {truth.n_moving} of things that move, {truth.n_close} of close pairs, {truth.n_bogus} of "
        "artefacts or noise"
    )
    unjudged = result.n_unjudged
    left_out = f"; {unjudged} {'was' if unjudged == 1 else 'were'} only seen cut or blended, and left out below"
    console.print(f"true things: {result.n_true} that vary or appear{left_out if unjudged else ''}")
    console.print(
        f"found: {count(n_objects, 'DiaObject')}, {result.n_objects} of the {count(result.n_judged, 'true thing')}: "
        f"[bold]duplicates {result.n_duplicates}, lost {result.n_lost}[/bold], mixed up {result.n_mixed}; "
        f"purity {result.purity:.4f}, completeness {result.completeness:.4f}"
    )
    rows = forced_rows(dsn)
    forced = compare_forced(truth.thing, found, truth.expected, rows)
    console.print(
        f"forced: {count(len(rows), 'flux', 'fluxes')} at objects where a visit did not see them; {forced.n} at things "
        f"with three detections or more: [bold]chi2/dof {forced.chi2:.2f}[/bold] against what was drawn"
    )
