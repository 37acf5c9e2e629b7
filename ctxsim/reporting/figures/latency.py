"""How latencies are distributed: the share of requests, or of tokens, within a time."""

from __future__ import annotations

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ctxsim.metrics.gaps import pause_shares, pauses_since
from ctxsim.reporting.figures.style import ACCENT, INK, STYLE, WIDTH, head, plain_log, quantities
from ctxsim.sim import Simulation

POINTS = 300
MOST_STEPS = 1000
"""Of a curve over requests: of more of them, some are left out, as many between any two that are drawn."""

LEAST_RATIO = 6
"""Axes cover at least this, so that some of their ticks are numbered."""

MOST_TICKS = 5
"""These panels are narrow."""

PERCENT = 100


def latency_figure(simulation: Simulation) -> Figure:
    """Time to first token, time per output token and inter-token latency, after the warm-up, with the SLO."""
    begin_s = simulation.summary["warmup_s"]
    counted = simulation.requests["arrival_s"] >= begin_s
    paused_s = pauses_since(simulation.gaps, begin_s)
    slo = simulation.scenario.slo
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.0))
        first, each, gaps = figure.subplots(1, 3, sharey=True)
        _of_requests(first, "Time to first token", simulation.requests["ttft_s"][counted], slo.ttft)
        _of_requests(each, "Time per output token", simulation.requests["tpot_s"][counted], slo.tpot)
        _curve(gaps, "Inter-token latency", *pause_shares(simulation.runs, paused_s, POINTS, begin_s), None)
        first.set_ylim(0, 1.02)
        first.set_ylabel("share of requests")
        gaps.set_ylabel("share of tokens")
        if slo.ttft is not None or slo.tpot is not None:
            for axes in (first, each):
                axes.axhline(slo.percentile / PERCENT, color=ACCENT, linewidth=0.8, linestyle=":")
    return figure


def _of_requests(axes: Axes, title: str, seconds: np.ndarray, limit_s: float | None) -> None:
    values = np.sort(seconds[~np.isnan(seconds)])
    drawn = np.unique(np.linspace(0, len(values) - 1, MOST_STEPS).astype(int)) if len(values) else np.arange(0)
    _curve(axes, title, values[drawn], (drawn + 1) / max(1, len(values)), limit_s)


def _curve(axes: Axes, title: str, seconds: np.ndarray, shares: np.ndarray, limit_s: float | None) -> None:
    """A step at each value; on an axis in powers of ten, from the least value that is not 0."""
    head(axes, title)
    shown = seconds > 0
    if not shown.any():
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center")
        return
    axes.set_xscale("log")
    axes.step(seconds[shown], shares[shown], where="post", color=INK, linewidth=1.6)
    if limit_s:
        axes.axvline(limit_s, color=ACCENT, linewidth=1, linestyle="--")
    low, high = axes.get_xlim()
    wider = max(1.0, (LEAST_RATIO / (high / low)) ** 0.5)
    axes.set_xlim(low / wider, high * wider)
    if limit_s:
        _name_limit(axes, limit_s, low * high)
    plain_log(axes.xaxis, MOST_TICKS)
    quantities(axes.xaxis, "seconds")
    axes.tick_params(axis="x", labelsize=8)


def _name_limit(axes: Axes, limit_s: float, middle_squared: float) -> None:
    """On the side of the line where there is more room."""
    left = limit_s**2 > middle_squared
    axes.annotate(
        "SLO", (limit_s, 0.04), (-4 if left else 4, 0), textcoords="offset points",
        color=ACCENT, ha="right" if left else "left",
    )  # fmt: skip
