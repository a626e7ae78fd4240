"""What is true of the images, and which truth each DiaSource is.

Fluxes come twice: ``*_true`` is the thing's own, ``*_expected`` what unbiased photometry of the image finds, which is
wrong by the visit's calibration error.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1db.simulate import geometry, sky
from l1db.simulate.artefacts import Artefacts
from l1db.simulate.detect import Detections
from l1db.simulate.geometry import ARCSEC, Floats, Pointing
from l1db.simulate.optics import Optics
from l1db.simulate.pixels import Pixels, usable
from l1db.simulate.plan import PIXEL_SCALE, Plan
from l1db.simulate.scene import Scene
from l1db.simulate.sky import Things

Columns = dict[str, NDArray[Any]]

MATCH = 1.0  # arcsec
_BELIEVABLE = 1.5  # expected signal-to-noise of what a detection may be
# The bits of l1db.photometry.ForcedFlag that follow from place, mask and variance; written down again, as its referee.
_EDGE_CLIPPED, _OFFIMAGE, _NO_GOOD_PIXELS, _MASKED_CENTRE, _LOW_FRACTION, _NO_VARIANCE = 1, 2, 4, 8, 16, 64
_PREDICTED_WITHIN = 0.2  # degrees from the boresight, beyond the field's own radius


def object_rows(things: Things) -> Columns:
    """``truth_object``: a row for each thing; proper motions with cos(dec), arcsec per year."""
    ra, dec = geometry.sky(things.position)
    east, north = geometry.east_and_north(ra, dec)
    motion = things.motion / ARCSEC * 365.25
    return {
        "truth_id": things.truth_id,
        "kind": things.kind.astype(object),
        "ra": ra,
        "dec": dec,
        "pm_ra": (motion * east).sum(axis=1),
        "pm_dec": (motion * north).sum(axis=1),
        "epoch_mjd_tai": things.epoch,
        "flux_r": things.flux,
        "colour": things.colour,
        "amplitude": things.amplitude,
        "period": things.period,
        "start_mjd_tai": things.start,
        "is_predicted": things.predicted,
    }


def light_curve_rows(
    pointing: Pointing,
    detector: int,
    scene: Scene,
    optics: Optics,
    images: dict[str, Pixels],
    artefacts: Artefacts,
    noise_scale: float,
) -> Columns:
    """``truth_lc``: a row for each thing that is not static on or near an image.

    ``nearest_change`` and ``nearest_star`` are distances, arcsec, to whatever else shows in the difference image and to
    the nearest static star; nothing within a few FWHM means that photometry of one source is to find what is expected.
    """
    difference = images["difference"]
    n = len(scene.x)
    fraction, flux_err = np.zeros(n), np.full(n, np.nan)
    flags = np.zeros(n, dtype=np.int32)
    for i in range(n):
        fraction[i], flux_err[i], flags[i] = _seen(optics, difference, scene.x[i], scene.y[i])
    flux_err *= difference.calibration * optics.aperture_correction * noise_scale
    ra, dec = geometry.sky(scene.position)
    wrong = 1 + pointing.zero_point_error
    whole = (scene.snap1 + scene.snap2) / 2
    shines = (np.abs(scene.flux) > np.nan_to_num(flux_err, nan=0.0)) | ~scene.is_point
    return {
        "truth_id": scene.things.truth_id,
        "kind": scene.things.kind.astype(object),
        "visit": np.full(n, pointing.visit),
        "detector": np.full(n, detector, dtype=np.int16),
        "band": np.full(n, pointing.band, dtype=object),
        "midpoint_mjd_tai": np.full(n, pointing.midpoint_mjd_tai),
        "ra": ra,
        "dec": dec,
        "x": scene.x,
        "y": scene.y,
        "flux_true": scene.flux,
        "science_flux_true": whole,
        "template_flux_true": scene.template,
        "snap_diff_true": scene.snap2 - scene.snap1,
        "flux_expected": scene.flux * wrong,
        "science_flux_expected": whole * wrong,
        "template_flux_expected": scene.template * wrong,
        "snap_diff_expected": (scene.snap2 - scene.snap1) * wrong,
        "flux_err_expected": flux_err,
        "psf_fraction": fraction,
        "expected_flags": flags,
        "is_on_image": (scene.x >= -0.5)
        & (scene.x < optics.side - 0.5)
        & (scene.y >= -0.5)
        & (scene.y < optics.side - 0.5),
        "is_point": scene.is_point,
        "trail_length": np.hypot(*scene.trail.T) * PIXEL_SCALE,
        "nearest_change": _nearest(scene, shines, artefacts),
        "nearest_star": _distance(scene.x, scene.y, scene.star_x, scene.star_y),
    }


def detection_rows(
    pointing: Pointing,
    detector: int,
    ids: NDArray[np.int64],
    found: Detections,
    scene: Scene,
    truth: Columns,
    artefacts: Artefacts,
) -> Columns:
    """``truth_detection``: which thing each DiaSource is, if any, or else what made it.

    Pairs of a detection and a thing within 1 arcsec are formed from the nearest on, each detection and each thing in
    one pair at most; the thing's flux must have the detection's sign and be of some significance.  A star that moved
    since the template is two: positive where it is and negative where it was.  Detections without a thing are a
    ``cosmic_ray``, ``hot_pixel``, ``dipole`` or ``ghost``, a ``residual`` within 2 arcsec of something bright (ends of
    trails, poor blends), or ``noise``.
    """
    significance = np.divide(scene.flux, truth["flux_err_expected"] / (1 + pointing.zero_point_error))
    wandering = scene.things.is_of("proper_motion")
    brightness = (scene.snap1 + scene.snap2) / 2
    index = np.arange(len(scene.x))
    candidates = [
        (index[~wandering], scene.x[~wandering], scene.y[~wandering], significance[~wandering]),
        (index[wandering], scene.x[wandering], scene.y[wandering], brightness[wandering]),
        (index[wandering], scene.template_x[wandering], scene.template_y[wandering], -brightness[wandering]),
    ]
    thing, x, y, strength = (np.concatenate(column) for column in zip(*candidates, strict=True))
    apart = np.hypot(found.x[:, None] - x, found.y[:, None] - y) * PIXEL_SCALE
    fits = (apart <= MATCH) & (np.sign(found.snr)[:, None] == np.sign(strength)) & (np.abs(strength) > _BELIEVABLE)
    truth_id = np.full(len(found), -1, dtype=np.int64)
    kind = np.full(len(found), "noise", dtype=object)
    separation = np.full(len(found), np.nan)
    taken = np.zeros(len(x), dtype=bool)
    pairs = np.argwhere(fits)
    for i, j in pairs[np.argsort(apart[fits], kind="stable")].tolist():
        if truth_id[i] < 0 and not taken[j]:
            taken[j] = True
            truth_id[i], kind[i] = scene.things.truth_id[thing[j]], scene.things.kind[thing[j]]
            separation[i] = apart[i, j]
    bogus_x = np.concatenate([artefacts.x, scene.dipole_x])
    bogus_y = np.concatenate([artefacts.y, scene.dipole_y])
    bogus = np.concatenate([artefacts.kind, np.full(len(scene.dipole_x), "dipole")]).astype(object)
    if len(bogus):
        # A trail is longer than an arcsecond, a ghost wider, and a dipole has two lobes.
        apart = np.hypot(found.x[:, None] - bogus_x, found.y[:, None] - bogus_y) * PIXEL_SCALE
        nearest = apart.argmin(axis=1)
        is_bogus = (truth_id < 0) & (apart.min(axis=1) < np.where(bogus[nearest] == "ghost", 4.0, 1.5))
        kind[is_bogus] = bogus[nearest[is_bogus]]
    if len(x):
        apart = np.hypot(found.x[:, None] - x, found.y[:, None] - y) * PIXEL_SCALE
        beside = (truth_id < 0) & (kind == "noise") & ((apart < 2.0) & (np.abs(strength) > 20)).any(axis=1)
        kind[beside] = "residual"
    return {
        "dia_source_id": ids,
        "visit": np.full(len(found), pointing.visit),
        "detector": np.full(len(found), detector, dtype=np.int16),
        "truth_id": np.ma.array(truth_id, mask=truth_id < 0),
        "kind": kind,
        "separation": separation,
    }


def prediction_rows(plan: Plan, pointing: Pointing, things: Things) -> Columns:
    """``truth_prediction``: where the known moving objects in and around the field are predicted.

    The prediction is for a time up to 15 minutes off the visit's middle and off the truth by a draw from its own error
    ellipse (1-sigma axes in arcsec, position angle of the major one from north through east); rates include cos(dec).
    """
    moving = things[things.is_of(*sky.MOVING) & things.predicted]
    east, north = geometry.east_and_north(pointing.ra, pointing.dec)
    centre = geometry.vectors(pointing.ra, pointing.dec)
    radius = float(np.hypot(*geometry.half_sides(plan))) / ARCSEC + _PREDICTED_WITHIN * 3600
    near = geometry.separation(sky.position_at(moving, pointing.midpoint_mjd_tai), centre) < radius
    moving = moving[near]
    n = len(moving)
    # One stream per object and visit, so that the others' number does not matter.
    draws = np.array(
        [plan.random("prediction", pointing.visit, int(i)).normal(size=5) for i in moving.truth_id]
    ).reshape(n, 5)
    time = pointing.midpoint_mjd_tai + np.clip(draws[:, 0] / 2, -1, 1) * 15 / 1440
    major = 0.15 * np.exp(0.3 * draws[:, 1])
    minor = 0.4 * major
    position = geometry.moved(moving.position, moving.motion, time - moving.epoch)
    later = geometry.moved(moving.position, moving.motion, time - moving.epoch + 1e-3)
    east, north = geometry.east_and_north(*geometry.sky(position))
    rate = (later - position) / 1e-3
    direction = np.arctan2((rate * east).sum(axis=1), (rate * north).sum(axis=1))
    angle = direction + 0.3 * draws[:, 4]
    along = np.sin(angle)[:, None] * east + np.cos(angle)[:, None] * north
    across = np.cos(angle)[:, None] * east - np.sin(angle)[:, None] * north
    error = (major * draws[:, 2])[:, None] * along + (minor * draws[:, 3])[:, None] * across
    ra, dec = geometry.sky(position + error * ARCSEC)
    degrees = 180 / np.pi
    return {
        "visit": np.full(n, pointing.visit),
        "ss_object_id": moving.truth_id,
        "truth_id": moving.truth_id,
        "designation": np.array([f"S{i}" for i in moving.truth_id], dtype=object),
        "eph_mjd_tai": time,
        "ra": ra,
        "dec": dec,
        "ra_rate_cosdec": (rate * east).sum(axis=1) * degrees,
        "dec_rate": (rate * north).sum(axis=1) * degrees,
        "err_major": major,
        "err_minor": minor,
        "err_pa": np.degrees(angle) % 180,
        "vmag": 31.4 - 2.5 * np.log10(moving.flux),
        "source": np.full(n, "l1db simulate", dtype=object),
    }


def _seen(optics: Optics, image: Pixels, x: float, y: float) -> tuple[float, float, int]:
    """Share of the PSF's squared sum on usable pixels, error of the flux in counts, and flags."""
    side, size = optics.side, optics.size
    column, row = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
    low, left = row - size // 2, column - size // 2
    rows, columns = slice(max(low, 0), max(low + size, 0)), slice(max(left, 0), max(left + size, 0))
    flags = 0 if 0 <= row < side and 0 <= column < side else _OFFIMAGE
    if low < 0 or left < 0 or low + size > side or left + size > side:
        flags |= _EDGE_CLIPPED
    psf = optics.unit_stamp(x, y)
    variance = image.variance[rows, columns]
    has_variance = np.isfinite(variance) & (variance > 0)
    good = usable(image.mask[rows, columns]) & np.isfinite(image.image[rows, columns]) & has_variance
    inside = psf[rows.start - low : max(side - low, 0), columns.start - left : max(side - left, 0)]
    light = inside[good]
    power = float((light**2).sum())
    fraction = power / float((psf**2).sum())
    if not has_variance.all():
        flags |= _NO_VARIANCE
    core = slice(max(row - 1, 0), max(row + 2, 0)), slice(max(column - 1, 0), max(column + 2, 0))
    if not (usable(image.mask[core]) & np.isfinite(image.image[core]) & np.isfinite(image.variance[core])).all():
        flags |= _MASKED_CENTRE
    if fraction < 0.5:
        flags |= _LOW_FRACTION
    if power <= 0:
        return 0.0, np.nan, flags | _NO_GOOD_PIXELS
    return fraction, float(np.sqrt((light**2 * variance[good]).sum()) / power), flags


def _nearest(scene: Scene, shines: NDArray[np.bool_], artefacts: Artefacts) -> Floats:
    """Distance of each thing to the nearest other change in the difference image, arcsec; infinite if there is none."""
    x, y = scene.x, scene.y
    others = np.hypot(x[:, None] - x[shines], y[:, None] - y[shines])
    others[np.arange(len(x))[:, None] == np.flatnonzero(shines)] = np.inf
    before = scene.things.is_of("proper_motion")
    more_x = np.concatenate([artefacts.x, scene.dipole_x, scene.template_x[before]])
    more_y = np.concatenate([artefacts.y, scene.dipole_y, scene.template_y[before]])
    distance = others.min(axis=1, initial=np.inf) * PIXEL_SCALE
    return np.asarray(np.minimum(distance, _distance(x, y, more_x, more_y)))


def _distance(x: Floats, y: Floats, other_x: Floats, other_y: Floats) -> Floats:
    """To the nearest of the others, arcsec."""
    apart = np.hypot(x[:, None] - other_x, y[:, None] - other_y)
    return np.asarray(apart.min(axis=1, initial=np.inf) * PIXEL_SCALE)
