"""From what a session costs over one context to what it costs over another, step by step, coloured by cause."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ctxsim.analysis.session_cost import CAUSES
from ctxsim.explore.explain import QUANTITIES, Explanation
from ctxsim.explore.store import whole_file
from ctxsim.reporting.figures.style import ACCENT, HBM, INK, SOFT, STYLE, TEXT, WIDTH, head, standalone, svg

CAUSE_COLORS = dict(zip(CAUSES, (ACCENT, INK, HBM), strict=True))
CAUSE_WORDS = {"kv_bytes": "KV bytes", "quadratic_flop": "quadratic FLOP", "rest": "the rest"}
TITLES = {"usd": "USD a session", "s": "Seconds of a replica a session"}
UNSEEN_RATIO = 0.002
"""Steps below this share of the extra cost are left out of the drawing."""


class _Bar(NamedTuple):
    """One bar: where it begins, how long it is, its colour."""

    name: str
    start: float
    length: float
    color: str


def waterfall_figure(found: Explanation, unit: str = "usd") -> Figure:
    """Bars from the other context's cost down to the scenario's, one a quantity and cause; below, the limit of KV
    that weighs nothing. unit: ``usd`` or ``s``."""
    bars = list(_bars(found, unit))
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.3 + 0.3 * len(bars)))
        axes = figure.subplots()
        _draw(axes, bars)
        head(axes, f"{TITLES[unit]}: {found.scenario.name}")
        handles = [Patch(color=CAUSE_COLORS[cause], label=CAUSE_WORDS[cause]) for cause in CAUSES]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure


def _draw(axes: Axes, bars: list[_Bar]) -> None:
    reach = max(abs(bar.start + bar.length) for bar in bars) or 1.0
    for place, bar in enumerate(bars):
        axes.barh(place, bar.length, left=bar.start, height=0.66, color=bar.color)
        end = max(bar.start, bar.start + bar.length)
        axes.annotate(
            f"{bar.length:+.3g}" if bar.start or bar.color != SOFT else f"{bar.length:.3g}", (end, place), (4, 0),
            textcoords="offset points", va="center", fontsize=8.5, color=TEXT,
        )  # fmt: skip
    axes.set_yticks(range(len(bars)), [bar.name for bar in bars])
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set_xlim(0, 1.18 * reach)


def _bars(found: Explanation, unit: str) -> Iterator[_Bar]:
    """The other context, the steps, the scenario's own, and both without KV bytes."""
    field = {"usd": "usd", "s": "seconds"}[unit]
    against, base = getattr(found.against.total, field), getattr(found.base.total, field)
    yield _Bar(f"at {found.against_tokens:,} tokens", 0.0, against, SOFT)
    at = against
    for name, step, color in _steps(found, unit):
        if abs(step) > UNSEEN_RATIO * abs(base - against):
            yield _Bar(name, at, step, color)
        at += step
    yield _Bar(f"at {found.base_tokens:,} tokens", 0.0, base, SOFT)
    yield _Bar("if KV weighed nothing", 0.0, getattr(found.base.without_kv, field), SOFT)


def _steps(found: Explanation, unit: str) -> Iterator[tuple[str, float, str]]:
    for quantity in QUANTITIES:
        for cause in CAUSES:
            rows = [row for row in found.rows if (row["quantity"], row["cause"]) == (quantity, cause)]
            yield f"{quantity}: {CAUSE_WORDS[cause]}", sum(row[f"extra_{unit}"] for row in rows), CAUSE_COLORS[cause]


def write_waterfall(found: Explanation, path: Path) -> Path:
    """Writes the figure in dollars as SVG (in seconds where accelerators have no price); returns its place."""
    unit = {"usd": "usd", "seconds": "s"}[found.unit]
    text = standalone(svg(waterfall_figure(found, unit), "waterfall", f"A waterfall: {found.finding}."))
    with whole_file(path) as beside:
        beside.write_text(text, encoding="utf-8")
    return path
