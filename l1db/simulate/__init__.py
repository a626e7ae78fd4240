"""Nights of images whose truth is known: ``l1db simulate``.

The sky is made up (`l1db.simulate.sky`), looked at (`geometry`, `scene`), drawn by galsim (`optics`, `pixels`) with
what detectors do wrong (`artefacts`), and the difference images are searched (`detect`) for what becomes the table of
DiaSources (`sources`).  What is true is written beside it (`truth`).

In DIR
------
=========================  ===========================================================================================
sources.parquet            DiaSources, detected on the difference images; ``l1db ingest DIR/sources.parquet``
visits.ecsv                a row per visit and detector, with the URIs of its images; ``--visits DIR/visits.ecsv``
images/                    ``VISIT_DETECTOR_KIND.fits``: difference, science, template, snap_difference
arrivals/                  with ``arrival``: ``NNN_sources.parquet`` and ``NNN_visits.ecsv``, one visit each, to be
                           ingested in the order of NNN
truth_object.parquet       everything on the sky
truth_lc.parquet           what is not static, in each image it is on or near: place, fluxes, what is usable of it
truth_detection.parquet    which thing each DiaSource is, or what made it
truth_prediction.parquet   where known moving objects are predicted
truth_image.parquet        calibration error, PSF and checksum of the arrays of each image
plan.json                  what was asked for
=========================  ===========================================================================================

The same seed gives the same tables and arrays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from astropy.wcs import WCS

from l1db.errors import InputError
from l1db.images.exposure import MASK_PLANES, Exposure, array_checksum
from l1db.images.fits import write_exposure
from l1db.simulate import artefacts, detect, geometry, optics, pixels, scene, sky, sources, tables, truth
from l1db.simulate.geometry import Pointing
from l1db.simulate.optics import Optics
from l1db.simulate.pixels import Pixels
from l1db.simulate.plan import Plan
from l1db.simulate.sky import Things
from l1db.simulate.truth import Columns
from l1db.visit import IMAGE_KINDS

__all__ = ["Plan", "Simulation", "simulate"]

# Called as progress("simulate", done, total), the numbers being of detectors of visits.
Progress = Callable[[str, int, int], None]

# Names that the simulator gives to the files in its folders; others in there are not its own.
_MADE = {
    "images": re.compile(rf"\d+_\d{{3,}}_({'|'.join(IMAGE_KINDS)})\.fits"),
    "arrivals": re.compile(r"\d{3,}_(sources\.parquet|visits\.ecsv)"),
}

TABLES = ("truth_object", "truth_lc", "truth_detection", "truth_prediction", "truth_image")


@dataclass(frozen=True)
class Simulation:
    """What was written.

    Parameters
    ----------
    directory, sources, visits
        Where; the two tables that ``l1db ingest`` reads.
    n_visits, n_images, n_sources, n_objects
        How many; images of all kinds, and things on the sky that are not static.
    checksums
        SHA-256 of the arrays of each image, by its path in the directory.
    """

    directory: Path
    sources: Path
    visits: Path
    n_visits: int
    n_images: int
    n_sources: int
    n_objects: int
    checksums: dict[str, str]


def simulate(
    directory: Path | str, plan: Plan | None = None, *, overwrite: bool = False, progress: Progress | None = None
) -> Simulation:
    """Simulate nights and write them.

    Parameters
    ----------
    directory
        Made if it is not there.
    plan
        What to simulate; by default three small nights.
    overwrite
        Whether to write over an earlier simulation.
    progress
        Called as ``progress("simulate", done, total)``.

    Raises
    ------
    InputError
        If galsim is not installed, or the directory holds a simulation or anything else, or cannot be written.
    """
    plan = plan or Plan()
    optics.load_galsim()
    directory = Path(directory)
    _prepare(directory, plan, overwrite)
    seen = list(geometry.pointings(plan))
    lasting = sky.lasting(plan)
    by_night = {night: sky.of_night(plan, night, lasting) for night in range(plan.nights)}
    flashes = {pointing.visit: sky.of_visit(plan, pointing) for pointing in seen}
    rows: dict[str, list[Columns]] = {name: [] for name in ("sources", "visits", *TABLES)}
    rows["truth_object"].append(truth.object_rows(sky.joined([lasting, *by_night.values(), *flashes.values()])))
    total, done = len(seen) * plan.detectors, 0
    for pointing in seen:
        # What moves fast has left by the next night, but a kilonova stays.
        past = [by_night[night] for night in range(pointing.night + 1)]
        past[:-1] = [things[things.is_of("kilonova")] for things in past[:-1]]
        things = sky.joined([lasting, *past, flashes[pointing.visit]])
        rows["truth_prediction"].append(truth.prediction_rows(plan, pointing, things))
        for detector in range(plan.detectors):
            for name, columns in _detector(plan, pointing, detector, things, directory).items():
                rows[name].append(columns)
            done += 1
            if progress is not None:
                progress("simulate", done, total)
    written = {name: tables.stacked(parts) for name, parts in rows.items()}
    return _write(plan, directory, seen, written)


def _prepare(directory: Path, plan: Plan, overwrite: bool) -> None:
    """Leave nothing of an earlier simulation, and touch nothing else."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / "plan.json").exists() and any(directory.iterdir()):
            raise InputError(f"{directory}: is not empty and holds no simulation; name another directory")
        if (directory / "sources.parquet").exists():
            if not overwrite:
                raise InputError(f"{directory}: holds a simulation already; name another directory, or --overwrite it")
            (directory / "sources.parquet").unlink()
        (directory / "plan.json").write_text(f"{json.dumps(asdict(plan), indent=1)}\n")
        for folder, made in _MADE.items():
            for old in (directory / folder).glob("*"):
                if made.fullmatch(old.name) and old.is_file():
                    old.unlink()
        (directory / "images").mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"{directory}: cannot be written: {error.strerror or error}") from None


def _detector(plan: Plan, pointing: Pointing, detector: int, things: Things, directory: Path) -> dict[str, Columns]:
    """Draw, search and write one detector of a visit; returns its rows of the tables."""
    wcs = geometry.detector_wcs(plan, pointing, detector)
    lens = optics.make_optics(plan, pointing, detector)
    wrong = artefacts.make_artefacts(plan, pointing.visit, detector, float(np.sqrt(pointing.sky)))
    here = scene.make_scene(plan, pointing, detector, wcs, things, wrong, lens.size / 2)
    images = pixels.expose(plan, pointing, detector, pixels.draw(pointing, lens, here.light, plan.size), wrong)
    difference = images["difference"]
    correlation = pixels.noise_correlation(plan)
    scale = detect.noise_scale(lens, correlation)
    found, snr = detect.find_sources(
        difference.image, difference.variance, pixels.usable(difference.mask), lens, correlation=correlation
    )
    pixels.mark_detected(difference, snr)
    rows = sources.source_rows(pointing, detector, found, lens, images, wcs, scale)
    true = truth.light_curve_rows(pointing, detector, here, lens, images, wrong, scale)
    ids = rows["dia_source_id"]
    detection = truth.detection_rows(pointing, detector, ids, found, here, true, wrong)
    is_real = ~np.ma.getmaskarray(detection["truth_id"])
    rows["reliability"] = sources.reliability(plan, pointing, detector, is_real, found.snr)
    rows["reliability_version"] = np.full(len(found), "simulated", dtype=object)
    uris, image_rows = _store(plan, pointing, detector, images, lens, wcs, directory)
    return {
        "sources": rows,
        "visits": _visit_row(plan, pointing, detector, lens, sources.flux_noise(lens, difference, scale), uris),
        "truth_lc": true,
        "truth_detection": detection,
        "truth_image": image_rows,
    }


def _store(
    plan: Plan,
    pointing: Pointing,
    detector: int,
    images: dict[str, Pixels],
    lens: Optics,
    wcs: WCS,
    directory: Path,
) -> tuple[dict[str, str], Columns]:
    """Write the images; returns the URI of each kind, and their rows of ``truth_image``."""
    psf = lens.stored()
    uris, checksums = {}, []
    for kind, image in images.items():
        exposure = Exposure(
            image=image.image,
            variance=image.variance,
            mask=image.mask,
            planes=MASK_PLANES,
            wcs=wcs,
            psf=psf,
            calibration=image.calibration,
            aperture_correction=lens.aperture_correction,
            noise_correlation=pixels.noise_correlation(plan),
            unit="adu",
            kind=kind,
            visit=pointing.visit,
            detector=detector,
            band=pointing.band,
            midpoint_mjd_tai=pointing.midpoint_mjd_tai,
            exposure_time=pointing.exposure_time,
        )
        uris[kind] = f"images/{pointing.visit}_{detector:03d}_{kind}.fits"
        write_exposure(exposure, directory / uris[kind])
        checksums.append(array_checksum(exposure))
    n = len(images)
    return uris, {
        "visit": np.full(n, pointing.visit),
        "detector": np.full(n, detector, dtype=np.int16),
        "kind": np.array(list(images), dtype=object),
        "uri": np.array([uris[kind] for kind in images], dtype=object),
        "array_sha256": np.array(checksums, dtype=object),
        "calibration": np.array([image.calibration for image in images.values()]),
        "zero_point_error": np.full(n, pointing.zero_point_error),
        "aperture_correction": np.full(n, lens.aperture_correction),
        "fwhm": np.full(n, lens.fwhm),
        "beta": np.full(n, lens.beta),
        "fwhm_gradient_x": np.full(n, lens.gradient[0]),
        "fwhm_gradient_y": np.full(n, lens.gradient[1]),
    }


def _visit_row(
    plan: Plan, pointing: Pointing, detector: int, lens: Optics, flux_noise: float, uris: dict[str, str]
) -> Columns:
    """The row of the table of visits; zero point and flux noise as the pipeline believes them to be."""
    row: dict[str, int | float | str] = {
        "visit": pointing.visit,
        "detector": detector,
        "band": pointing.band,
        "midpoint_mjd_tai": pointing.midpoint_mjd_tai,
        "exposure_time": pointing.exposure_time,
        "n_snaps": 2,
        "n_detectors": plan.detectors,
        "boresight_ra": pointing.ra,
        "boresight_dec": pointing.dec,
        "target": "simulated",
        "psf_fwhm": lens.fwhm,
        "zero_point": pointing.zero_point - 2.5 * np.log10(1 + pointing.zero_point_error),
        "flux_noise": flux_noise,
        "software": f"l1db simulate {version('l1db')}",
        **uris,
    }
    return {name: np.array([value], dtype=object if isinstance(value, str) else None) for name, value in row.items()}


def _write(plan: Plan, directory: Path, seen: list[Pointing], written: dict[str, Columns]) -> Simulation:
    """All tables; the sources last, so that they are there only if all else is."""
    for name in TABLES:
        tables.write_parquet(written[name], directory / f"{name}.parquet")
    if plan.arrival != "time":
        _write_arrivals(plan, directory, seen, written)
    visits, source_table = directory / "visits.ecsv", directory / "sources.parquet"
    tables.write_visits(written["visits"], visits)
    tables.write_parquet(written["sources"], source_table)
    images = written["truth_image"]
    return Simulation(
        directory=directory,
        sources=source_table,
        visits=visits,
        n_visits=len(seen),
        n_images=len(images["uri"]),
        n_sources=len(written["sources"]["visit"]),
        n_objects=int((~np.isin(written["truth_object"]["kind"].astype(str), sky.STATIC)).sum()),
        checksums=dict(zip(images["uri"].tolist(), images["array_sha256"].tolist(), strict=True)),
    )


def _write_arrivals(plan: Plan, directory: Path, seen: list[Pointing], written: dict[str, Columns]) -> None:
    """A table of sources and one of visits for each visit, numbered in the order of arrival."""
    (directory / "arrivals").mkdir(exist_ok=True)
    for i, visit in enumerate(arrival_order(plan, [pointing.visit for pointing in seen])):
        of_visit = tables.chosen(written["visits"], written["visits"]["visit"] == visit)
        for kind in IMAGE_KINDS:
            of_visit[kind] = np.array([f"../{uri}" for uri in of_visit[kind]], dtype=object)
        tables.write_visits(of_visit, directory / "arrivals" / f"{i + 1:03d}_visits.ecsv")
        of_sources = tables.chosen(written["sources"], written["sources"]["visit"] == visit)
        tables.write_parquet(of_sources, directory / "arrivals" / f"{i + 1:03d}_sources.parquet")


def arrival_order(plan: Plan, visits: list[int]) -> list[int]:
    """Visits in an order that is not that of time, if there are two or more; some of them twice, if so planned."""
    order: list[int] = plan.random("arrival").permutation(visits).tolist()
    if order == sorted(order):
        order.reverse()
    if plan.arrival == "repeated":
        order = [visit for i, visit in enumerate(order) for visit in ([visit] * 2 if i % 3 == 0 else [visit])]
    return order
