"""What shines on one detector in one visit: things on the sky as points of light on its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from l1db.simulate import geometry, sky
from l1db.simulate.artefacts import Artefacts
from l1db.simulate.geometry import Floats, Pointing
from l1db.simulate.pixels import Light
from l1db.simulate.plan import Plan
from l1db.simulate.sky import Things

_TRAIL_STEP = 0.5  # pixels
_REACH = 300  # pixels: how far beyond the edge a saturated star is still seen
_REGISTERED = (3e4, 1e6)  # nJy: stars of which some are misregistered


@dataclass(frozen=True)
class Scene:
    """What is on one detector; rows of the arrays as in ``things``.

    Parameters
    ----------
    things
        Those on the detector or less than a stamp from it that are not static.
    position
        Unit vectors, shape (n, 3).
    x, y, template_x, template_y
        Pixels; where the thing is in the visit and where it was in the template.
    snap1, snap2, template
        Fluxes, nJy.
    trail
        What a thing moves by during the exposure, pixels, shape (n, 2).
    light
        All points of light, those of static stars included.
    star_x, star_y
        Static stars, pixels.
    dipole_x, dipole_y
        Static stars that the template does not have quite where they are.
    """

    things: Things
    position: Floats
    x: Floats
    y: Floats
    template_x: Floats
    template_y: Floats
    snap1: Floats
    snap2: Floats
    template: Floats
    trail: Floats
    light: Light
    star_x: Floats
    star_y: Floats
    dipole_x: Floats
    dipole_y: Floats

    @property
    def flux(self) -> Floats:
        """Mean over the exposure minus the template's, nJy: what the difference image shows of it."""
        return np.asarray((self.snap1 + self.snap2) / 2 - self.template)

    @property
    def is_point(self) -> NDArray[np.bool_]:
        """Whether the difference image has one PSF of that flux at (x, y): nothing that trails or has moved since."""
        return np.asarray((np.hypot(*self.trail.T) < 0.1) & ~self.things.is_of("proper_motion"))


def make_scene(
    plan: Plan, pointing: Pointing, detector: int, wcs: WCS, things: Things, artefacts: Artefacts, reach: float
) -> Scene:
    """What is on a detector; ``reach`` is how far beyond its edge, in pixels, things still count as on it."""
    position = sky.position_at(things, pointing.midpoint_mjd_tai)
    x, y = geometry.pixel(wcs, position)
    static = things.is_of(*sky.STATIC)
    margin = np.where(static, _REACH, reach)
    template_x, template_y = x.copy(), y.copy()
    wandering = things.is_of("proper_motion")
    template_x[wandering], template_y[wandering] = geometry.pixel(wcs, sky.template_position(things[wandering]))

    def inside(px: Floats, py: Floats) -> NDArray[np.bool_]:
        return (px > -margin) & (px < plan.size - 1 + margin) & (py > -margin) & (py < plan.size - 1 + margin)

    here = inside(x, y) | inside(template_x, template_y)
    stars, others = np.flatnonzero(here & static), np.flatnonzero(here & ~static)
    chosen = things[others]
    band, time = pointing.band, pointing.exposure_time
    snap1, snap2 = (sky.flux_at(chosen, mjd, band, time) for mjd in pointing.snap_midpoints)
    template = sky.template_flux(chosen, band)
    exposure = time / 86400
    begin, end = (sky.position_at(chosen, pointing.midpoint_mjd_tai + sign * exposure / 2) for sign in (-1, 1))
    trail = np.stack(geometry.pixel(wcs, end), axis=1) - np.stack(geometry.pixel(wcs, begin), axis=1)

    star_flux = sky.template_flux(things[stars], band)
    dipole = _misregistered(plan, pointing, detector, star_flux, artefacts.n_dipoles)
    x2, y2 = x[others], y[others]
    lights = [
        *_stars(x[stars], y[stars], star_flux, dipole),
        *_points(x2, y2, snap1, snap2, template, trail, template_x[others], template_y[others]),
    ]
    all_x, all_y, light1, light2, light0 = (np.concatenate(column) for column in zip(*lights, strict=True))
    # The first part of the lights is that of the stars which are what and where they were.
    is_static = np.arange(sum(len(part[0]) for part in lights)) < len(lights[0][0])
    at = np.flatnonzero(dipole.any(axis=1))
    return Scene(
        things=chosen,
        position=position[others],
        x=x2,
        y=y2,
        template_x=template_x[others],
        template_y=template_y[others],
        snap1=snap1,
        snap2=snap2,
        template=template,
        trail=trail,
        light=Light(x=all_x, y=all_y, snap1=light1, snap2=light2, template=light0, is_static=is_static),
        star_x=x[stars],
        star_y=y[stars],
        dipole_x=x[stars][at],
        dipole_y=y[stars][at],
    )


def _misregistered(plan: Plan, pointing: Pointing, detector: int, flux: Floats, n: int) -> Floats:
    """What stars are off by in the template, shape (stars, 2), pixels: 0.1 to 0.3 for some, 0 for most."""
    random = plan.random("dipoles", pointing.visit, detector)
    offset = np.zeros((len(flux), 2))
    bright = np.flatnonzero((flux > _REGISTERED[0]) & (flux < _REGISTERED[1]))
    chosen = random.permutation(bright)[:n]
    length, angle = random.uniform(0.1, 0.3, len(chosen)), random.uniform(0, 2 * np.pi, len(chosen))
    offset[chosen] = np.stack([length * np.cos(angle), length * np.sin(angle)], axis=1)
    return offset


def _stars(x: Floats, y: Floats, flux: Floats, dipole: Floats) -> list[tuple[Floats, ...]]:
    off = dipole.any(axis=1)
    none = np.zeros(int(off.sum()))
    still = ~off
    return [
        (x[still], y[still], flux[still], flux[still], flux[still]),
        (x[off], y[off], flux[off], flux[off], none),
        (x[off] + dipole[off, 0], y[off] + dipole[off, 1], none, none, flux[off]),
    ]


def _points(
    x: Floats,
    y: Floats,
    snap1: Floats,
    snap2: Floats,
    template: Floats,
    trail: Floats,
    template_x: Floats,
    template_y: Floats,
) -> list[tuple[Floats, ...]]:
    """Points of light: one for most things, two for those that were elsewhere in the template, many along a trail."""
    moved = (template_x != x) | (template_y != y)
    trails = np.hypot(*trail.T) > 0.02
    none = np.zeros(len(x))
    now, then = ~trails, moved | trails
    lights: list[tuple[Floats, ...]] = [
        (x[now], y[now], snap1[now], snap2[now], np.where(moved, 0.0, template)[now]),
        (template_x[then], template_y[then], none[then], none[then], template[then]),
    ]
    for i in np.flatnonzero(trails):
        n = 2 * int(np.ceil(np.hypot(*trail[i]) / _TRAIL_STEP / 2))
        along = (np.arange(n) + 0.5) / n - 0.5
        early = along < 0
        lights.append(
            (
                x[i] + along * trail[i, 0],
                y[i] + along * trail[i, 1],
                np.where(early, snap1[i] * 2 / n, 0.0),
                np.where(early, 0.0, snap2[i] * 2 / n),
                np.zeros(n),
            )
        )
    return lights
