"""What costs least with the KV of an idle session, over context length and idle time, with the limits between."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ctxsim.explore.residency import CHOICES, ResidencyMap
from ctxsim.explore.residency.map import Panel
from ctxsim.reporting.figures.style import (
    ACCENT,
    DISK,
    GONE,
    HBM,
    HOST,
    SOFT,
    STYLE,
    WIDTH,
    head,
    quantities,
    whole_numbers,
)
from ctxsim.units import show

COLORS = dict(zip(CHOICES, (HBM, HOST, DISK, GONE, SOFT), strict=True))
WORDS = {"keep": "keep in HBM", "swap": "swap to host", "disk": "to disk", "recompute": "recompute", "drop": "drop"}
ACROSS, DOWN_INCHES = 2, 3.4


def residency_figure(mapped: ResidencyMap) -> Figure:
    """A panel for each link, price and chance of a return; the scenario's own gap as a dot."""
    panels = mapped.panels
    across = min(ACROSS, len(panels))
    down = ceil(len(panels) / across)
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.6 + DOWN_INCHES * down))
        grid = np.atleast_1d(figure.subplots(down, across)).ravel()
        for axes, panel in zip(grid, panels, strict=False):
            _panel(axes, panel, mapped)
        for axes in grid[len(panels) :]:
            axes.remove()
        found = {row["choice"] for row in mapped.rows}
        shown = [choice for choice in CHOICES if choice in found]
        handles = [Patch(color=COLORS[choice]) for choice in shown]
        figure.legend(handles, [WORDS[c] for c in shown], loc="outside lower center", ncols=len(shown), frameon=False)
    return figure


def _panel(axes: Axes, panel: Panel, mapped: ResidencyMap) -> None:
    contexts = [held.tokens for held in panel.held]
    cells = [
        [CHOICES.index(held.least(idle_s, panel.return_ratio)) for held in panel.held] for idle_s in mapped.idles_s
    ]
    colors = ListedColormap(list(COLORS.values()))
    axes.pcolormesh(
        contexts, mapped.idles_s, cells, cmap=colors, vmin=-0.5, vmax=len(CHOICES) - 0.5, shading="nearest",
        rasterized=True,
    )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid(False)
    axes.set_xlabel("context, tokens")
    axes.set_ylabel("idle time")
    quantities(axes.yaxis, "seconds")
    whole_numbers(axes.xaxis)
    if mapped.own_tokens is not None and mapped.own_idle_s:
        axes.plot([mapped.own_tokens], [mapped.own_idle_s], "o", color=ACCENT, markersize=6)
    head(axes, panel_words(panel))


def panel_words(panel: Panel) -> str:
    """What sets a panel apart."""
    parts = [f"link x {panel.link_ratio:g}"] if panel.link_ratio != 1 else []
    parts += [f"accelerator price x {panel.price_ratio:g}"] if panel.price_ratio != 1 else []
    parts.append("everyone comes back" if panel.return_ratio == 1 else f"{panel.return_ratio:.0%} come back")
    return ", ".join(parts)


def residency_words(mapped: ResidencyMap) -> str:
    """What the figure says to whoever cannot see it."""
    return f"Which choice costs least: {_limits_words(mapped)}."


def _limits_words(mapped: ResidencyMap) -> str:
    found: Sequence[str] = [
        f"at {limits.context_tokens:,} tokens swap from {_shown(limits.keep_until_swap_s)} of idle time on, "
        f"recompute from {_shown(limits.swap_until_recompute_s)}"
        for limits in mapped.limits
    ]
    return "; ".join(found)


def _shown(seconds: float | None) -> str:
    return "never" if seconds is None else show(seconds, "seconds")
