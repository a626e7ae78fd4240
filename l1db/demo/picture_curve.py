"""The light curve of the picture: detections filled, forced fluxes open, a panel for each night."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from l1db.demo.colours import BANDS, GREY, POINTER, UNKNOWN_BAND
from l1db.demo.plot import panels
from l1db.demo.stored import LightCurve, Point


def draw_light_curve(axes: Sequence[Axes], curve: LightCurve) -> None:
    """One panel for each night; a day is as wide in all of them."""
    nights = [[curve.points[i] for i in night] for night in panels([point.mjd for point in curve.points])]
    spans = [night[-1].mjd - night[0].mjd for night in nights]
    half = max(max(spans) / 2 * 1.25, 0.005)
    for night, panel in zip(nights, axes, strict=True):
        panel.axhline(0, color="#BBBBBB", linewidth=0.8, zorder=0)
        _draw_points(panel, night)
        middle = (night[0].mjd + night[-1].mjd) / 2
        panel.set_xlim(middle - half, middle + half)
        panel.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        panel.xaxis.set_major_formatter(StrMethodFormatter("{x:.2f}"))
        panel.spines[["top", "right"]].set_visible(False)
        if panel is not axes[0]:
            panel.spines["left"].set_visible(False)
            panel.tick_params(left=False, labelleft=False)
            _mark_break(panel, 0.0)
        if panel is not axes[-1]:
            _mark_break(panel, 1.0)
        if curve.clearest in night:
            at = curve.clearest.mjd, curve.clearest.flux
            panel.plot(*at, "o", markersize=15, fillstyle="none", color=POINTER, markeredgewidth=2, zorder=1)
    axes[0].set_ylabel("flux on the difference image  [nJy]")
    axes[0].margins(y=0.12)


def _draw_points(panel: Axes, points: Sequence[Point]) -> None:
    """Filled where detected, open where forced."""
    for band, is_forced in sorted({(point.band, point.is_forced) for point in points}):
        chosen = [point for point in points if (point.band, point.is_forced) == (band, is_forced)]
        colour, marker = BANDS.get(band, UNKNOWN_BAND)
        panel.errorbar(
            [point.mjd for point in chosen],
            [point.flux for point in chosen],
            [point.flux_err for point in chosen],
            fmt=marker,
            markersize=6.5,
            markeredgewidth=1.4,
            color=colour,
            markerfacecolor="white" if is_forced else colour,
            elinewidth=1.4,
            zorder=2,
        )


def _mark_break(panel: Axes, x: float) -> None:
    """A slanted stroke across the axis of time."""
    panel.plot(
        [x], [0], transform=panel.transAxes, clip_on=False, linestyle="none",
        marker=[(-0.5, -1), (0.5, 1)], markersize=9, color=GREY, markeredgewidth=0.9,
    )  # fmt: skip


def add_legend(figure: Figure, curve: LightCurve) -> None:
    """Bands, what is filled and what is open, and the ring."""

    def entry(label: str, colour: str, marker: str, face: str) -> Line2D:
        return Line2D([], [], linestyle="none", label=label, color=colour, marker=marker, markersize=7,
                      markeredgewidth=1.5, markerfacecolor=face)  # fmt: skip

    seen = {point.band for point in curve.points}
    bands = [band for band in BANDS if band in seen] + sorted(seen - {*BANDS})
    entries = []
    for band in bands:
        colour, marker = BANDS.get(band, UNKNOWN_BAND)
        entries.append(entry(band, colour, marker, colour))
    entries += [entry("detected", GREY, "o", GREY), entry("forced", GREY, "o", "white")]
    entries.append(Line2D([], [], linestyle="none", label="shown below", color=POINTER, marker="o", markersize=11,
                          fillstyle="none", markeredgewidth=2))  # fmt: skip
    figure.legend(
        handles=entries, loc="upper right", bbox_to_anchor=(0.985, 0.928), ncols=len(entries), frameon=False,
        handletextpad=0.1, columnspacing=1.1,
    )  # fmt: skip
