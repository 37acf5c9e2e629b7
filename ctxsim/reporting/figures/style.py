"""What all figures share: their look, their axes, and how they become SVG text whose colours a page can set."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
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

COLORS: Mapping[str, tuple[str, str]] = {
    "text": ("#1c2733", "#dfe6ec"),
    "axis": ("#5b6b7a", "#9fb0bf"),
    "grid": ("#d9e0e6", "#313d49"),
    "ink": ("#1f5f99", "#6fb1e6"),
    "accent": ("#c2500f", "#f59a5f"),
    "soft": ("#aab5bf", "#5f6f7d"),
    "pale": ("#8fbfe0", "#3d709b"),
    "hbm": ("#2b9678", "#4fc3a1"),
    "host": ("#a468a8", "#cf9bd3"),
    "disk": ("#b98a1d", "#e0b64c"),
    "gone": ("#dcb3a6", "#8a6257"),
}
"""Every colour on paper and on a dark screen, told apart by the colour-blind too (after Okabe and Ito, 2008)."""

TEXT, AXIS, GRID, INK, ACCENT, SOFT, PALE, HBM, HOST, DISK, GONE = (light for light, _ in COLORS.values())

STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": TEXT,
    "axes.edgecolor": AXIS,
    "axes.labelcolor": AXIS,
    "axes.labelsize": 9,
    "axes.titlecolor": TEXT,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "xtick.color": AXIS,
    "ytick.color": AXIS,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.fontsize": 9,
    "figure.constrained_layout.use": True,
}
WIDTH = 8.0
"""Inches of a figure that takes the whole width."""

PANEL = (3.9, 2.7)
"""Inches of one of several that stand side by side."""


def svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an SVG element for a page, without date, prologue or fixed size.

    name: keeps its ids apart from those of other figures on the page. description: read out in place of the drawing.
    Colours are CSS variables (``--fig-ink``) with those on paper as defaults, and text takes the page's font.
    """
    stream = io.StringIO()
    with rc_context({**STYLE, "svg.hashsalt": f"ctxsim {name}"}):
        figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=True)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"| height="[^"]*"(?=[^>]*xmlns)', r"\1", text, count=2)
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"font: (?:(bold|\d+) )?([\d.]+px) [^;\"]*", _font, text)
    text = re.sub(r"font-family: [^;\"]*; ?", "", text)
    text = _with_own_ids(text, name)
    for color, (light, _) in COLORS.items():
        text = text.replace(light, f"var(--fig-{color}, {light})")
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1).rstrip() + "\n"


def standalone(image: str) -> str:
    """The SVG element as a file of its own, which follows the reader's light or dark screen."""
    dark = "".join(f"--fig-{name}: {color};" for name, (_, color) in COLORS.items())
    style = f"<style>text {{font-family: system-ui, sans-serif}} @media (prefers-color-scheme: dark) {{svg {{{dark}}}}}"
    head, rest = image.split(">", 1)
    return f"{head}>\n {style}</style>{rest}"


def page_colors(dark: bool) -> str:
    """The variables of all colours, as CSS declarations."""
    return "; ".join(f"--fig-{name}: {pair[dark]}" for name, pair in COLORS.items())


def _font(match: re.Match[str]) -> str:
    weight = f"; font-weight: {match[1]}" if match[1] else ""
    return f"font-size: {match[2]}{weight}"


def _with_own_ids(text: str, name: str) -> str:
    """Only ids that something refers to, each with the figure's name before it."""
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", text)
    return re.sub(r'(url\(#|href="#)', rf"\1{name}-", text)


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


def whole_numbers(axis: Axis) -> None:
    """Ticks as numbers written out."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def quantities(axis: Axis, dimension: str) -> None:
    """Quantities with their unit at the ticks."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: show(value, dimension)))


def time_unit(lasts_s: float) -> tuple[float, str]:
    """The unit of a time axis that covers so much, and what stands below it."""
    return (SECONDS_PER_HOUR, "time, hours") if lasts_s > 2 * SECONDS_PER_HOUR else (1.0, "time, s")
