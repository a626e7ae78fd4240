"""``l1db simulate``: nights of images whose truth is known."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from l1db.cli import terminal
from l1db.simulate.plan import Arrival, Plan, Variance

_DEFAULT = Plan()


def simulate(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; made if it is not there.")],
    nights: Annotated[int, typer.Option(help="Nights.")] = _DEFAULT.nights,
    visits: Annotated[int, typer.Option(help="Visits per night.")] = _DEFAULT.visits_per_night,
    detectors: Annotated[int, typer.Option(help="Detectors, side by side with a small overlap.")] = _DEFAULT.detectors,
    size: Annotated[int, typer.Option(help="Side of a detector, pixels of 0.2 arcsec.")] = _DEFAULT.size,
    seed: Annotated[int, typer.Option(help="Of the random numbers.")] = _DEFAULT.seed,
    density: Annotated[
        float, typer.Option(help="Variables, transients and moving objects, times the usual.")
    ] = _DEFAULT.density,
    star_density: Annotated[float, typer.Option(help="Static stars, times the usual.")] = _DEFAULT.star_density,
    bogus_density: Annotated[
        float, typer.Option(help="Unmasked artefacts per square arcminute and visit.")
    ] = _DEFAULT.bogus_density,
    centre: Annotated[
        tuple[float, float], typer.Option(metavar="RA DEC", help="Of the field, degrees; near 0 or a pole if you like.")
    ] = (_DEFAULT.ra, _DEFAULT.dec),
    zero_point_error: Annotated[
        float, typer.Option(help="Standard deviation of the visits' calibration errors, relative.")
    ] = _DEFAULT.zero_point_error,
    noise_sigma: Annotated[
        float, typer.Option(help="Correlate the noise of pixels over this many of them; 0: white.")
    ] = _DEFAULT.noise_sigma,
    variance: Annotated[
        str, typer.Option(metavar="|".join(get_args(Variance)), help="Variance planes from the data or from the model.")
    ] = _DEFAULT.variance,
    cloudy: Annotated[
        int, typer.Option(help="Visits of each night that are spent on clouds.")
    ] = _DEFAULT.cloudy_visits,
    arrival: Annotated[
        str,
        typer.Option(
            metavar="|".join(get_args(Arrival)),
            help="Unless in the order of time: also a table for each visit as it arrives, in DIR/arrivals.",
        ),
    ] = _DEFAULT.arrival,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write over an earlier simulation.")] = False,
) -> None:
    """Make images up with galsim, search them, and write what `l1db ingest` reads, with the truth beside it."""
    from l1db.simulate import simulate as run

    plan = Plan(
        seed=seed,
        nights=nights,
        visits_per_night=visits,
        detectors=detectors,
        size=size,
        density=density,
        star_density=star_density,
        bogus_density=bogus_density,
        ra=centre[0],
        dec=centre[1],
        zero_point_error=zero_point_error,
        noise_sigma=noise_sigma,
        variance=cast(Variance, variance),
        cloudy_visits=cloudy,
        arrival=cast(Arrival, arrival),
    )
    with terminal.progress() as report:
        made = run(directory, plan, overwrite=overwrite, progress=report)
    count = terminal.count
    print(
        f"{count(made.n_visits, 'visit')}, {count(made.n_images, 'image')}, {count(made.n_sources, 'source')}, "
        f"{count(made.n_objects, 'thing that changes or moves', 'things that change or move')}"
    )
    sources, visits_table = made.sources, made.visits
    if plan.arrival != "time":
        sources, visits_table = (directory / "arrivals" / f"NNN_{name}" for name in ("sources.parquet", "visits.ecsv"))
    print(f"l1db ingest {shlex.quote(str(sources))} --visits {shlex.quote(str(visits_table))}")
