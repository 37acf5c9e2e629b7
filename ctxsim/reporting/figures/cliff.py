"""Throughput and time to first token as the working set grows over HBM, and over all room there is for KV."""

from __future__ import annotations

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ctxsim.explore.cliff import Cliff
from ctxsim.reporting.figures.style import ACCENT, GONE, HBM, HOST, INK, STYLE, TEXT, WIDTH, head, quantities

PANELS = {"sessions_per_hour": "Sessions an hour", "ttft_mean_s": "Mean TTFT", "lost_ratio": "Computed again"}
REGIONS = {"safe": HBM, "offload": HOST, "thrash": GONE, "waiting": GONE}
AXIS_WORDS = {"users": "users", "arrivals_per_s": "arrivals a second", "document_tokens": "document, tokens"}
SHADE = 0.22


def cliff_figure(found: Cliff) -> Figure:
    """Both over the load; regions shaded, the predicted cliff dashed, the simulated one with its interval."""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.9))
        for axes, (key, title) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
            _panel(axes, found, key)
            head(axes, title)
            axes.set_xlabel(AXIS_WORDS[found.name])
            if key.endswith("_s"):
                quantities(axes.yaxis, "seconds")
    return figure


def _panel(axes: Axes, found: Cliff, key: str) -> None:
    loads = np.array([point.load for point in found.points])
    values = np.array([getattr(point, key) for point in found.points], dtype=float)
    edges = [0.0, *(edge for edge in (found.hbm_full, found.room_full) if edge is not None), loads.max() * 1.05]
    after = "thrash" if found.room_full != found.hbm_full else "waiting"
    names = ["safe", "offload", after] if found.room_full != found.hbm_full else ["safe", after]
    for low, high, name in zip(edges, edges[1:], names, strict=False):
        axes.axvspan(
            min(low, loads.max() * 1.05), min(high, loads.max() * 1.05), color=REGIONS[name], alpha=SHADE, lw=0
        )
    axes.plot(loads, values, "o-", color=INK, linewidth=1.8, markersize=4)
    if found.room_full is not None:
        axes.axvline(found.room_full, color=TEXT, linewidth=1, linestyle="--")
    if found.located is not None:
        axes.axvspan(found.located.low, found.located.high, color=ACCENT, alpha=0.6)
    axes.set_xlim(0, loads.max() * 1.05)
    axes.set_ylim(0, None)


def cliff_words(found: Cliff) -> str:
    """What the figure says to whoever cannot see it."""
    what = AXIS_WORDS[found.name]
    predicted = "none" if found.room_full is None else f"{found.room_full:.4g} {what}"
    simulated = "none" if found.located is None else f"{found.located.low:.4g} to {found.located.high:.4g}"
    return (
        f"Throughput and time to first token over {what}: the cliff is predicted at {predicted}, simulated {simulated}."
    )
