"""Dollars of a session, and of a thousand tokens more, over the context: a line a machine and stack of techniques."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ctxsim.explore.cost_curve import NONE, CostPoint, Series, findings
from ctxsim.explore.store import whole_file
from ctxsim.reporting.figures.style import (
    ACCENT,
    DISK,
    GONE,
    HBM,
    HOST,
    INK,
    PALE,
    SOFT,
    STYLE,
    TEXT,
    WIDTH,
    head,
    plain_log,
    standalone,
    svg,
    whole_numbers,
)

COLORS = (INK, ACCENT, HBM, HOST, DISK, PALE, GONE, SOFT, TEXT)
DASHES = ("-", "--", ":", "-.")


def cost_curve_figure(points: Sequence[CostPoint]) -> Figure:
    """Both over the context, on logarithms: machines by colour, stacks by dashes. What does not fit is a gap."""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.8))
        whole, marginal = figure.subplots(1, 2)
        for series in dict.fromkeys(point.series for point in points):
            mine = [point for point in points if point.series == series]
            _line(whole, series, points, mine, [None if p.cost is None else p.cost.total.usd for p in mine])
            _line(marginal, series, points, mine, [p.marginal_usd for p in mine])
        for axes, title in ((whole, "USD a session"), (marginal, "USD a thousand tokens more")):
            head(axes, title)
            axes.set_xlabel("tokens of context")
            axes.set_xscale("log")
            axes.set_yscale("log")
            whole_numbers(axes.xaxis)
            plain_log(axes.yaxis)
        handles, names = whole.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=min(3, len(names)), frameon=False)
    return figure


def _line(
    axes: Axes, series: Series, points: Sequence[CostPoint], mine: Sequence[CostPoint], values: list[float | None]
) -> None:
    """One line; what is missing, or below zero where a larger replica is cheaper, is left out."""
    machines = list(dict.fromkeys(point.series.hardware for point in points))
    stacks = list(dict.fromkeys(point.series.stack for point in points))
    shown = [float("nan") if value is None or value <= 0 else value for value in values]
    name = series.hardware if series.stack == NONE else f"{series.hardware}, {series.stack}"
    axes.plot(
        [point.context_tokens for point in mine], shown, marker="o", markersize=3.5, label=name,
        color=COLORS[machines.index(series.hardware) % len(COLORS)],
        linestyle=DASHES[stacks.index(series.stack) % len(DASHES)],
    )  # fmt: skip


def write_cost_curve(points: Sequence[CostPoint], path: Path) -> Path:
    """Writes the figure as SVG; returns its place."""
    words = f"Two panels over tokens of context. {'; '.join(findings(points))}."
    text = standalone(svg(cost_curve_figure(points), "cost-curve", words))
    with whole_file(path) as beside:
        beside.write_text(text, encoding="utf-8")
    return path
