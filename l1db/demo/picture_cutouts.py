"""The cutouts of the picture: north up and east to the left, however the detector was turned."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from matplotlib.axes import Axes
from matplotlib.colors import AsinhNorm
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from l1db.cutouts import LARGEST, cutout_fits
from l1db.demo.colours import GREY, POINTER
from l1db.errors import InputError
from l1db.images.fits import read_exposure

# What is shown, arcsec: a cutout of 102 pixels of 0.2 arcsec holds this square however it is turned.
_HALF_SIDE = 7.0
_REACH = 5  # pixels from the object that its grey scale is made for
_OFF_IMAGE = "#9DB4C0"
_OUTLINE = [withStroke(linewidth=3, foreground="#00000099")]


@dataclass(frozen=True)
class Cutout:
    """A piece of an image.

    Parameters
    ----------
    kind
        difference, science or template.
    image
        nJy per pixel, shape (n, n).
    east, north
        Of the corners of the pixels from the object, arcsec, shape (n + 1, n + 1).
    """

    kind: str
    image: NDArray[np.float64]
    east: NDArray[np.float64]
    north: NDArray[np.float64]


def cut_out(uri: str, kind: str, ra: float, dec: float) -> Cutout:
    """Cut a piece out of an image around a position, degrees."""
    content = cutout_fits(read_exposure(uri), ra, dec, LARGEST)
    if content is None:
        raise InputError(f"{uri}: does not show ra {ra:.5f}, dec {dec:.5f}")
    with fits.open(io.BytesIO(content)) as hdus:
        header = hdus[0].header
        image = hdus[0].data.astype(float) * header["L1CALIB"]
        wcs = WCS(header)
    y, x = np.indices((image.shape[0] + 1, image.shape[1] + 1)) - 0.5
    corner_ra, corner_dec = wcs.all_pix2world(x, y, 0)
    east = ((corner_ra - ra + 180) % 360 - 180) * np.cos(np.radians(dec)) * 3600
    return Cutout(kind, image, east, (corner_dec - dec) * 3600)


def grey_scales(cutouts: Sequence[Cutout]) -> list[AsinhNorm]:
    """Asinh from three times the noise on; science and template have one scale, the difference's is even about zero."""
    static = [cutout.image for cutout in cutouts if cutout.kind != "difference"]
    norms = []
    for cutout in cutouts:
        if cutout.kind == "difference":
            noise = _noise(cutout.image)
            most = max(float(np.nanmax(np.abs(_middle(cutout.image)))), 5 * noise)
            norms.append(AsinhNorm(3 * noise, -most, most))
        else:
            noise = min(_noise(image) for image in static)
            most = max(float(max(np.nanmax(_middle(image)) for image in static)), 5 * noise)
            norms.append(AsinhNorm(3 * noise, -3 * noise, most))
    return norms


def _middle(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """The pixels around the object, which set the scale: something bright beside it would drown it."""
    low, high = len(image) // 2 - _REACH, len(image) // 2 + _REACH + 1
    return image[low:high, low:high]


def _noise(image: NDArray[np.float64]) -> float:
    """Of a pixel, from the median of the deviations."""
    return float(1.4826 * np.nanmedian(np.abs(image - np.nanmedian(image))))


def draw_cutout(axes: Axes, cutout: Cutout, norm: AsinhNorm) -> None:
    """North up, east to the left; each pixel where it is on the sky, as it is."""
    axes.set_facecolor(_OFF_IMAGE)
    axes.pcolormesh(cutout.east, cutout.north, np.ma.masked_invalid(cutout.image), cmap="gray", norm=norm)
    axes.set(xlim=(_HALF_SIDE, -_HALF_SIDE), ylim=(-_HALF_SIDE, _HALF_SIDE), aspect="equal", xticks=[], yticks=[])
    axes.set_title(cutout.kind, loc="left", fontsize=11, pad=5)
    scale = f"{norm.vmin:.0f} to {norm.vmax:.0f}".replace("-", "\u2212")
    axes.set_title(scale, loc="right", fontsize=9, color=GREY, pad=5)
    for east, north in (([-1.2, -2.6], [0, 0]), ([0, 0], [1.2, 2.6])):
        axes.plot(east, north, color=POINTER, linewidth=2, solid_capstyle="butt")
    bar = _HALF_SIDE - 0.8, -_HALF_SIDE + 0.8
    axes.plot([bar[0], bar[0] - 2], [bar[1], bar[1]], color="white", linewidth=2.5, path_effects=_OUTLINE)
    axes.text(bar[0] - 1, bar[1] + 0.25, "2\u2033", color="white", ha="center", va="bottom", path_effects=_OUTLINE)
    if cutout.kind == "difference":
        _draw_compass(axes)


def _draw_compass(axes: Axes) -> None:
    corner = -_HALF_SIDE + 1.0
    arrow = {"arrowstyle": "-|>", "color": "white", "linewidth": 1.5, "path_effects": _OUTLINE}
    for (east, north), letter in (((2.0, 0.0), "E"), ((0.0, 2.0), "N")):
        axes.annotate("", (corner + east, corner + north), (corner, corner), arrowprops=arrow)
        axes.text(corner + east * 1.3, corner + north * 1.3, letter, color="white", ha="center", va="center",
                  path_effects=_OUTLINE)  # fmt: skip
