"""Amounts side by side as bars that carry their own names and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ctxsim.reporting.figures.style import ACCENT, STYLE, WIDTH, plain_log

BAR_IN = 0.34
"""Height of a bar with the space around it."""

BAR_HEIGHT = 0.66
ROOM_RATIO = 1.3
"""Axes reach so far beyond the longest bar, so that there is room for its number."""


class Bar(NamedTuple):
    """One amount: its name, its size, how it is written, its colour."""

    name: str
    size: float
    words: str
    color: str


def bars_figure(bars: Sequence[Bar], label: str, log: bool = False, mark: tuple[float, str] | None = None) -> Figure:
    """The bars from the top down; points with ``log``. label: of the axis, with unit. mark: a line across, named."""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.75 + BAR_IN * len(bars) + 0.25 * (mark is not None)))
        axes = figure.subplots()
        rows = range(len(bars))
        _draw(axes, bars, log)
        axes.set_yticks(rows, [bar.name for bar in bars])
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=log)
        axes.set_xlabel(label)
        sizes = [bar.size for bar in bars] + ([] if mark is None else [mark[0]])
        _scale(axes, sizes, log)
        for row, bar in enumerate(bars):
            axes.annotate(
                bar.words, (bar.size, row), (9 if log else 5, 0), textcoords="offset points", va="center", fontsize=9
            )
        if mark is not None:
            _mark(axes, *mark)
    return figure


def _draw(axes: Axes, bars: Sequence[Bar], log: bool) -> None:
    """Bars from zero; points where the axis is in powers of ten, which has no zero to begin at."""
    rows, sizes, colors = range(len(bars)), [bar.size for bar in bars], [bar.color for bar in bars]
    if log:
        axes.scatter(sizes, rows, s=70, color=colors, zorder=3)
        axes.set_ylim(-0.6, len(bars) - 0.4)
    else:
        axes.barh(rows, sizes, height=BAR_HEIGHT, color=colors)


def _scale(axes: Axes, sizes: Sequence[float], log: bool) -> None:
    if not log:
        axes.set_xlim(0, ROOM_RATIO * (max(sizes) or 1.0))
        return
    axes.set_xscale("log")
    axes.set_xlim(min(sizes) / 2, max(sizes) * max(2.0, (max(sizes) / min(sizes)) ** (ROOM_RATIO - 1)))
    plain_log(axes.xaxis)


def _mark(axes: Axes, at: float, words: str) -> None:
    axes.axvline(at, color=ACCENT, linewidth=1.2, linestyle="--")
    axes.annotate(
        words, (at, 1.0), (0, 3), xycoords=("data", "axes fraction"), textcoords="offset points",
        color=ACCENT, ha="center", va="bottom", fontsize=9,
    )  # fmt: skip
