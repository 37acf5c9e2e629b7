"""The four quantities over context length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ctxsim.analysis import analyze_grid
from ctxsim.reporting.figures.style import ACCENT, INK, PANEL, STYLE, WIDTH, head, plain_log
from ctxsim.spec.scenario import Scenario
from ctxsim.units import show

CONTEXTS = (4_000, 1_000_000)
MARGIN = 2
"""What is marked is no closer to the ends than this, so that there is room for its number."""

POINTS = 200
TICKS = (250, 1_000, 4_000, 16_000, 64_000, 256_000, 1_000_000)
MOST_TICKS = 6

PANELS = {
    "concurrent_sessions": "Concurrency: sessions in HBM",
    "prefill_s": "Prefill of the document, s",
    "decode_answer_s": "Decode of one answer, s",
    "switch_s": "Context switch (out + in), s",
}

Grid = Mapping[str, Any]


def quantities_grid(scenario: Scenario, document_tokens: int) -> Grid:
    """The four quantities over context length, under ``document_tokens`` the contexts."""
    low, high = min(CONTEXTS[0], document_tokens / MARGIN), max(CONTEXTS[1], document_tokens * MARGIN)
    contexts = np.geomspace(max(1, low), high, POINTS).round()
    return {"document_tokens": contexts, **analyze_grid(scenario, document_tokens=contexts)}


def four_quantities_figure(scenario: Scenario, document_tokens: int) -> Figure:
    """Concurrency, prefill, decode and switch over context length, the scenario's own marked."""
    grid, here = quantities_grid(scenario, document_tokens), _here(scenario, document_tokens)
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 5.2))
        for axes, key in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
            _panel(axes, key, grid, here)
        figure.supxlabel("context, tokens", fontsize=9)
    return figure


def quantity_figures(scenario: Scenario, document_tokens: int) -> dict[str, Figure]:
    """The same as one figure a quantity."""
    grid, here = quantities_grid(scenario, document_tokens), _here(scenario, document_tokens)
    figures = {}
    for key in PANELS:
        with rc_context(STYLE):
            figures[key] = Figure(figsize=PANEL)
            axes = figures[key].subplots()
            _panel(axes, key, grid, here)
            axes.set_xlabel("context, tokens")
    return figures


def _here(scenario: Scenario, document_tokens: int) -> Grid:
    found = analyze_grid(scenario, document_tokens=[document_tokens])
    return {"document_tokens": document_tokens} | {key: found[key][0] for key in PANELS}


def _panel(axes: Axes, key: str, grid: Grid, here: Grid) -> None:
    contexts, values = grid["document_tokens"], grid[key]
    axes.loglog(contexts, values, color=INK, linewidth=1.8)
    axes.plot(here["document_tokens"], here[key], "o", color=ACCENT, markersize=6)
    axes.annotate(
        show(here[key], "seconds") if key.endswith("_s") else f"{here[key]:.4g}",
        (here["document_tokens"], here[key]),
        (8, 4) if values[0] > values[-1] else (8, -11),
        textcoords="offset points",
        color=ACCENT,
        fontweight="bold",
    )
    axes.margins(y=0.12)
    head(axes, PANELS[key])
    _token_axis(axes)
    plain_log(axes.yaxis, MOST_TICKS)


def _token_axis(axes: Axes) -> None:
    low, high = axes.get_xlim()
    axes.set_xticks([tokens for tokens in TICKS if low <= tokens <= high])
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda tokens, _: f"{tokens / 1_000:g}K" if tokens < CONTEXTS[1] else "1M")
    )
    axes.minorticks_off()
