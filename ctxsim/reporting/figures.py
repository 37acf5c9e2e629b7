"""Figures as SVG text that is the same bytes for the same data."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from ctxsim.analysis import analyze_grid
from ctxsim.records import Table
from ctxsim.sim import Simulation
from ctxsim.spec.scenario import Scenario

CONTEXTS = (4_000, 1_000_000)
POINTS = 200
FEW_DECADES = 300
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
INK, ACCENT = "#2b5c8a", "#c2571a"


def four_quantities_figure(scenario: Scenario, document_tokens: int) -> Figure:
    """Concurrency, prefill, decode and switch over context length, the scenario's own marked."""
    contexts = np.geomspace(*CONTEXTS, POINTS).round()
    grid = analyze_grid(scenario, document_tokens=contexts)
    here = analyze_grid(scenario, document_tokens=[document_tokens])
    panels = (
        ("concurrent_sessions", "Concurrency: sessions in HBM"),
        ("prefill_s", "Prefill of the document, s"),
        ("decode_answer_s", "Decode of one answer, s"),
        ("switch_s", "Context switch (out + in), s"),
    )
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 5.4))
        for axes, (key, title) in zip(figure.subplots(2, 2).flat, panels, strict=True):
            axes.loglog(contexts, grid[key], color=INK, linewidth=1.8)
            axes.plot(document_tokens, here[key][0], "o", color=ACCENT, markersize=6)
            axes.annotate(
                f"{here[key][0]:.4g}",
                (document_tokens, here[key][0]),
                (7, 5) if grid[key][0] > grid[key][-1] else (7, -13),
                textcoords="offset points",
                color=ACCENT,
            )
            axes.set_title(title, fontsize=10, loc="left")
            _token_axis(axes)
            _value_axis(axes)
        axes.figure.supxlabel("context, tokens", fontsize=10)
    return figure


def latency_figure(simulation: Simulation) -> Figure:
    """The share of requests within a time to first token, and within a time per output token."""
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 2.9))
        left, right = figure.subplots(1, 2)
        slo = simulation.scenario.slo
        _distribution(left, simulation.requests["ttft_s"], "Time to first token, s", slo.ttft)
        _distribution(right, simulation.requests["tpot_s"], "Time per output token, s", slo.tpot)
        left.set_ylabel("share of requests")
    return figure


def occupancy_figure(simulation: Simulation, capacity_bytes: float) -> Figure:
    """KV blocks taken over time, by replica, as a share of the pool, and requests waiting."""
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 3.4))
        taken, queue = figure.subplots(2, 1, sharex=True)
        for replica in np.unique(simulation.runs["replica"]):
            start_s, used, waiting = _steps(simulation.runs, int(replica))
            taken.plot(start_s, used / capacity_bytes, drawstyle="steps-post", linewidth=0.7)
            queue.plot(start_s, waiting, drawstyle="steps-post", linewidth=0.7)
        taken.set_ylim(0, 1.02)
        taken.set_title("KV pool taken, share (a line per replica)", fontsize=10, loc="left")
        queue.set_title("requests waiting", fontsize=10, loc="left")
        queue.set_xlabel("time, s")
    return figure


def svg(figure: Figure, transparent: bool = True) -> str:
    """The figure as an SVG element for a page, without date, prologue or fixed size."""
    stream = io.StringIO()
    with rc_context(STYLE):
        figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=transparent)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    return re.sub(r'(<svg[^>]*?) width="[^"]*"| height="[^"]*"(?=[^>]*xmlns)', r"\1", text, count=2)


def _distribution(axes: Axes, seconds: np.ndarray, title: str, limit_s: float | None) -> None:
    values = np.sort(seconds[~np.isnan(seconds)])
    if len(values):
        axes.plot(values, np.arange(1, len(values) + 1) / len(values), color=INK, linewidth=1.6)
    if limit_s is not None:
        axes.axvline(limit_s, color=ACCENT, linewidth=1, linestyle="--")
        axes.annotate("SLO", (limit_s, 0.04), (4, 0), textcoords="offset points", color=ACCENT)
    axes.set_ylim(0, 1.02)
    axes.set_xlim(left=0)
    axes.set_title(title, fontsize=10, loc="left")


def _steps(runs: Table, replica: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mine = runs["replica"] == replica
    return runs["start_s"][mine], runs["kv_start_bytes"][mine], runs["waiting"][mine]


def _token_axis(axes: Axes) -> None:
    axes.set_xticks([4_000, 16_000, 64_000, 256_000, 1_000_000])
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda tokens, _: f"{tokens / 1_000:g}K" if tokens < CONTEXTS[1] else "1M")
    )
    axes.minorticks_off()


def _value_axis(axes: Axes) -> None:
    """Plain numbers, with 2 and 5 between the powers of ten where those alone would be too few to read by."""
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < FEW_DECADES else (1.0,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
