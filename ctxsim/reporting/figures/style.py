"""What all figures share: their look, their axes, and how they become SVG text."""

from __future__ import annotations

import io
import re
from html import escape
from math import log10
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ctxsim.units import SECONDS_PER_HOUR, show

MOST_TICKS = 7.5
SUBTICKS = ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,))
"""The ticks of each power of ten, from the closest on."""

STYLE: Any = {
    "svg.hashsalt": "ctxsim",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "figure.constrained_layout.use": True,
}
WIDTH = 9
INK, ACCENT, SOFT, PALE = "#2b5c8a", "#c2571a", "#b4bec7", "#7fb1d8"
HBM, HOST, DISK, GONE = "#5f9e6e", "#8d7bb8", "#a6835a", "#d9a79c"
"""Colours of KV that is not being served, by where it lies."""


def svg(figure: Figure, description: str) -> str:
    """The figure as an SVG element for a page, without date, prologue or fixed size.

    description: read out in place of the drawing.
    """
    stream = io.StringIO()
    with rc_context(STYLE):
        figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=True)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"| height="[^"]*"(?=[^>]*xmlns)', r"\1", text, count=2)
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1)


def head(axes: Axes, text: str) -> None:
    """The title of a panel, above its left end."""
    axes.set_title(text, fontsize=10, loc="left")


def keys_above(axes: Axes, columns: int) -> None:
    """The legend, above the right end of a panel."""
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=columns, frameon=False, borderaxespad=0.1)


def plain_log(axis: Axis, most_ticks: float = MOST_TICKS) -> None:
    """Plain numbers at powers of ten, and between them as far as there is room for them."""
    low, high = axis.get_view_interval()
    decades = log10(high / low)
    axis.set_major_locator(LogLocator(subs=next((s for s in SUBTICKS if len(s) * decades < most_ticks), SUBTICKS[-1])))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def quantities(axis: Axis, dimension: str) -> None:
    """Quantities with their unit at the ticks."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: show(value, dimension)))


def time_unit(lasts_s: float) -> tuple[float, str]:
    """The unit of a time axis that covers so much, and what stands below it."""
    return (SECONDS_PER_HOUR, "time, hours") if lasts_s > 2 * SECONDS_PER_HOUR else (1.0, "time, s")
