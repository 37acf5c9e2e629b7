"""Dollars of a session against risk for retrieval: a line for each amount of training, and how near each comes."""

from __future__ import annotations

from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ctxsim.explore.frontier import EFFORTS, QUANTITIES, RISKS, Frontier, Tried, finding
from ctxsim.explore.store import whole_file
from ctxsim.reporting.figures.style import (
    ACCENT,
    AXIS,
    DISK,
    HBM,
    HOST,
    INK,
    STYLE,
    WIDTH,
    head,
    plain_log,
    standalone,
    svg,
)

COLORS = (INK, HBM, DISK, HOST, ACCENT)
"""Of the amounts of training."""

APART = 0.13
"""Steps of risk between two amounts of training, so that equal points stand side by side."""


def road_figure(found: Frontier) -> Figure:
    """The cheapest stack of every risk allowed; the number beside a point: of the four quantities, those at parity.

    Where more training buys nothing its points are left out.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.8))
        axes = figure.subplots()
        shown: dict[tuple[int, str], Tried] = {}
        for effort in range(len(EFFORTS)):
            _line(axes, found, effort, shown)
        _ends(axes, found)
        head(axes, f"USD a session over {found.session.document_tokens:,} tokens, the cheapest stack")
        axes.set_xticks(range(len(RISKS)), RISKS)
        axes.set_xlim(-0.5, len(RISKS) - 0.2)
        axes.set_xlabel("risk for retrieval that is allowed")
        axes.set_yscale("log")
        plain_log(axes.yaxis)
        figure.legend(loc="outside lower center", ncols=len(EFFORTS), frameon=False)
    return figure


def _line(axes: Axes, found: Frontier, effort: int, shown: dict[tuple[int, str], Tried]) -> None:
    """The cheapest stacks with at most so much training, those that less training buys too left out."""
    levels = [found.level(risk, effort) for risk in range(len(RISKS))]
    stacks = {risk: level.cheapest for risk, level in enumerate(levels) if level is not None}
    new = {risk: one for risk, one in stacks.items() if (risk, one.stack) not in shown}
    shown |= {(risk, one.stack): one for risk, one in new.items()}
    if not new:
        return
    places = [risk + APART * (effort - len(EFFORTS) // 2) for risk in new]
    axes.plot(
        places, [one.usd for one in new.values()], color=COLORS[effort], marker="o", markersize=5,
        label=f"training: {EFFORTS[effort]}",
    )  # fmt: skip
    for place, one in zip(places, new.values(), strict=True):
        number = f"{len(found.at_parity(one))}/{len(QUANTITIES)}"
        axes.annotate(number, (place, one.usd), (4, 4), textcoords="offset points", fontsize=8, color=COLORS[effort])


def _ends(axes: Axes, found: Frontier) -> None:
    """What the session costs over the target's context, and over its own without techniques if it fits."""
    ends = [(found.target, f"{found.target_tokens:,} tokens, no techniques")]
    if found.own.fits:
        ends.append((found.own, f"{found.session.document_tokens:,} tokens, no techniques"))
    for one, words in ends:
        if one.usd > 0:
            axes.axhline(one.usd, color=AXIS, linewidth=1, linestyle="--")
            axes.annotate(
                words, (1, one.usd), (0, 3), xycoords=("axes fraction", "data"), textcoords="offset points",
                color=AXIS, fontsize=8.5, ha="right",
            )  # fmt: skip


def write_road(found: Frontier, path: Path) -> Path:
    """Writes the figure as SVG; returns its place."""
    text = standalone(svg(road_figure(found), "frontier", f"Dollars against risk. {finding(found)}."))
    with whole_file(path) as beside:
        beside.write_text(text, encoding="utf-8")
    return path
