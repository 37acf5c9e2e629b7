"""How latencies are distributed: the share of requests, or of tokens, within a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ctxsim.metrics import QUANTILES
from ctxsim.metrics.gaps import pause_shares, pauses_since
from ctxsim.reporting.figures.style import ACCENT, INK, PANEL, STYLE, head, plain_log, quantities
from ctxsim.sim import Simulation
from ctxsim.units import show

POINTS = 300
MOST_STEPS = 1000
"""Of a curve over requests: of more of them, some are left out, as many between any two that are drawn."""

LEAST_RATIO = 6
"""Axes cover at least this, so that some of their ticks are numbered."""

MOST_TICKS = 5
"""These panels are narrow."""

PERCENT = 100
MIDDLE = 0.5
TOP = 1.1
"""Room above the curves for the names of quantiles."""

TITLES = {
    "ttft_s": "Time to first token",
    "tpot_s": "Time per output token",
    "itl_s": "Inter-token latency",
    "e2e_s": "Whole request",
}


class Curve(NamedTuple):
    """The share of requests, or of tokens, within so many seconds; the SLO's limit; quantiles to be marked."""

    seconds: np.ndarray
    shares: np.ndarray
    of: str
    limit_s: float | None
    marks: Mapping[float, float | None]


def latency_curves(simulation: Simulation) -> dict[str, Curve]:
    """By key of the summary, after the warm-up."""
    begin_s, slo = simulation.summary["warmup_s"], simulation.scenario.slo
    counted = simulation.requests["arrival_s"] >= begin_s
    limits = {"ttft_s": slo.ttft, "tpot_s": slo.tpot}
    curves = {}
    for key in TITLES:
        found = simulation.summary[key]
        marks = {share: found[name] for name, share in QUANTILES.items() if share in (MIDDLE, slo.percentile / PERCENT)}
        if key == "itl_s":
            paused_s = pauses_since(simulation.gaps, begin_s)
            curves[key] = Curve(*pause_shares(simulation.runs, paused_s, POINTS, begin_s), "tokens", None, marks)
        else:
            shares = _shares(simulation.requests[key][counted])
            curves[key] = Curve(*shares, "requests", limits.get(key), marks)
    return curves


def latency_figures(simulation: Simulation) -> dict[str, Figure]:
    """A figure of its own for each latency."""
    figures = {}
    for key, curve in latency_curves(simulation).items():
        with rc_context(STYLE):
            figures[key] = Figure(figsize=PANEL)
            _panel(figures[key].subplots(), TITLES[key], curve, simulation.scenario.slo.percentile)
    return figures


def _shares(seconds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = np.sort(seconds[~np.isnan(seconds)])
    drawn = np.unique(np.linspace(0, len(values) - 1, MOST_STEPS).astype(int)) if len(values) else np.arange(0)
    return values[drawn], (drawn + 1) / max(1, len(values))


def _panel(axes: Axes, title: str, curve: Curve, percentile: float) -> None:
    """A step at each value; on an axis in powers of ten, from the least value that is not 0."""
    head(axes, title)
    axes.set_ylim(0, TOP)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylabel(f"share of {curve.of}")
    shown = curve.seconds > 0
    if not shown.any():
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center")
        return
    axes.set_xscale("log")
    axes.step(curve.seconds[shown], curve.shares[shown], where="post", color=INK, linewidth=1.8)
    _limit(axes, curve, percentile)
    low, high = axes.get_xlim()
    wider = max(1.0, (LEAST_RATIO / (high / low)) ** 0.5)
    axes.set_xlim(low / wider, high * wider)
    for share, seconds in curve.marks.items():
        _name(axes, share, seconds)
    plain_log(axes.xaxis, MOST_TICKS)
    quantities(axes.xaxis, "seconds")


def _limit(axes: Axes, curve: Curve, percentile: float) -> None:
    if curve.limit_s:
        axes.axvline(curve.limit_s, color=ACCENT, linewidth=1, linestyle="--")
        axes.axhline(percentile / PERCENT, color=ACCENT, linewidth=0.8, linestyle=":")
        low, high = axes.get_xlim()
        left = curve.limit_s**2 > low * high
        axes.annotate(
            f"SLO {show(curve.limit_s, 'seconds')}", (curve.limit_s, 0.04), (-4 if left else 4, 0),
            textcoords="offset points", color=ACCENT, ha="right" if left else "left",
        )  # fmt: skip


def _name(axes: Axes, share: float, seconds: float | None) -> None:
    """Marks a quantile and says how long it is: above to the left or below to the right, where no curve can be."""
    if not seconds:
        return
    low, high = axes.get_xlim()
    left = seconds**2 > low * high
    axes.scatter([seconds], [share], s=20, color=INK, zorder=3)
    axes.annotate(
        f"p{share * PERCENT:g} {show(seconds, 'seconds')}", (seconds, share), (-5, 4) if left else (7, -11),
        textcoords="offset points", ha="right" if left else "left", fontsize=9,
    )  # fmt: skip
