"""The picture: an object's light curve, and cutouts of its clearest detection.

Without pyplot, whose figures are global, and whatever the user's own matplotlibrc says.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib import style
from matplotlib.figure import Figure

from l1db.cli.terminal import count
from l1db.demo.colours import GREY, INK
from l1db.demo.picture_curve import add_legend, draw_light_curve
from l1db.demo.picture_cutouts import Cutout, draw_cutout, grey_scales
from l1db.demo.plot import panels
from l1db.demo.stored import LightCurve
from l1db.errors import InputError

_STYLE = {
    "font.size": 10,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.labelcolor": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}


def write_picture(curve: LightCurve, cutouts: Sequence[Cutout], path: Path) -> None:
    """Draw the picture into a PNG.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    with style.context(["default", _STYLE]):
        try:
            make_figure(curve, cutouts).savefig(path, format="png", dpi=130)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None


def make_figure(curve: LightCurve, cutouts: Sequence[Cutout]) -> Figure:
    """The light curve above, a panel for each night, and the cutouts of its clearest detection below."""
    figure = Figure(figsize=(10.5, 9.0), facecolor="white")
    n_nights = len(panels([point.mjd for point in curve.points]))
    figure.text(0.02, 0.966, f"DiaObject {curve.dia_object_id}", fontsize=15, fontweight="bold")
    figure.text(
        0.02,
        0.938,
        f"ra {curve.ra:.6f}°, dec {curve.dec:+.6f}° (ICRS):  {count(len(curve.detected), 'detection')} and "
        f"{count(len(curve.forced), 'forced flux', 'forced fluxes')}",
        color=INK,
    )
    grid = figure.add_gridspec(1, n_nights, left=0.085, right=0.98, bottom=0.56, top=0.875, wspace=0.05)
    draw_light_curve(list(grid.subplots(sharey=True, squeeze=False)[0]), curve)
    figure.text(0.5325, 0.503, "MJD TAI  [d]", ha="center", color=INK)
    add_legend(figure, curve)

    shown = curve.clearest
    figure.text(0.02, 0.455, "Its clearest detection", fontsize=12, fontweight="bold")
    figure.text(
        0.02,
        0.428,
        f"visit {shown.visit}, detector {shown.detector}, band {shown.band}, MJD {shown.mjd:.3f}, "
        f"S/N {shown.snr:.0f};  grey scales in nJy per pixel, asinh",
        color=INK,
    )
    grid = figure.add_gridspec(1, len(cutouts), left=0.02, right=0.98, bottom=0.015, top=0.38, wspace=0.04)
    for axes, cutout, norm in zip(grid.subplots(squeeze=False)[0], cutouts, grey_scales(cutouts), strict=True):
        draw_cutout(axes, cutout, norm)
    return figure
