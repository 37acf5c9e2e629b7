"""The four quantities over context length."""

from __future__ import annotations

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ctxsim.analysis import analyze_grid
from ctxsim.reporting.figures.style import ACCENT, INK, STYLE, WIDTH, head, plain_log
from ctxsim.spec.scenario import Scenario

CONTEXTS = (4_000, 1_000_000)
MARGIN = 2
"""What is marked is no closer to the ends than this, so that there is room for its number."""

POINTS = 200
TICKS = (250, 1_000, 4_000, 16_000, 64_000, 256_000, 1_000_000)

PANELS = (
    ("concurrent_sessions", "Concurrency: sessions in HBM"),
    ("prefill_s", "Prefill of the document, s"),
    ("decode_answer_s", "Decode of one answer, s"),
    ("switch_s", "Context switch (out + in), s"),
)


def four_quantities_figure(scenario: Scenario, document_tokens: int) -> Figure:
    """Concurrency, prefill, decode and switch over context length, the scenario's own marked."""
    low, high = min(CONTEXTS[0], document_tokens / MARGIN), max(CONTEXTS[1], document_tokens * MARGIN)
    contexts = np.geomspace(max(1, low), high, POINTS).round()
    grid = analyze_grid(scenario, document_tokens=contexts)
    here = analyze_grid(scenario, document_tokens=[document_tokens])
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 5.4))
        for axes, (key, title) in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
            axes.loglog(contexts, grid[key], color=INK, linewidth=1.8)
            axes.plot(document_tokens, here[key][0], "o", color=ACCENT, markersize=6)
            axes.annotate(
                f"{here[key][0]:.4g}",
                (document_tokens, here[key][0]),
                (7, 5) if grid[key][0] > grid[key][-1] else (7, -13),
                textcoords="offset points",
                color=ACCENT,
            )
            axes.margins(y=0.12)
            head(axes, title)
            _token_axis(axes)
            plain_log(axes.yaxis)
        axes.figure.supxlabel("context, tokens", fontsize=10)
    return figure


def _token_axis(axes: Axes) -> None:
    low, high = axes.get_xlim()
    axes.set_xticks([tokens for tokens in TICKS if low <= tokens <= high])
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda tokens, _: f"{tokens / 1_000:g}K" if tokens < CONTEXTS[1] else "1M")
    )
    axes.minorticks_off()
