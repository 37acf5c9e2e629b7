"""Which numbers an outcome follows: a bar a number, from the outcome with it smaller to that with it larger."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ctxsim.explore.sensitivity import OUTCOMES, Effect
from ctxsim.explore.store import whole_file
from ctxsim.reporting.figures.style import ACCENT, INK, STYLE, WIDTH, head, svg

PANELS = 2
"""Sessions an hour and dollars a session, which come first among the outcomes of either method."""

MOST_BARS = 10
TITLES = {
    "sessions_per_hour_bound": "Sessions an hour, at most",
    "sessions_per_hour": "Sessions an hour",
    "cost_usd_per_session": "USD a session",
}


def tornado_figure(effects: Sequence[Effect], by: str, ratio: float) -> Figure:
    """Two tornados, the strongest number on top; what has no effect, or none that could be found, is left out."""
    outcomes = OUTCOMES[by][:PANELS]
    shown = [[e for e in effects if e.outcome == outcome and e.elasticity][:MOST_BARS] for outcome in outcomes]
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.6 + 0.32 * max(1, *map(len, shown))))
        for axes, outcome, bars in zip(figure.subplots(1, PANELS), outcomes, shown, strict=True):
            head(axes, TITLES[outcome])
            _bars(axes, bars)
        words = (f"number / {ratio:g}", f"number x {ratio:g}")
        handles = [Patch(color=color) for color in (ACCENT, INK)]
        figure.legend(handles, words, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _bars(axes: Axes, bars: Sequence[Effect]) -> None:
    """From the outcome as it is to that at either end of each number."""
    for place, effect in enumerate(bars):
        assert effect.base is not None
        for end, color in ((effect.low, ACCENT), (effect.high, INK)):
            assert end is not None
            axes.barh(place, end - effect.base, left=effect.base, height=0.62, color=color)
    axes.set_yticks(range(len(bars)), [effect.factor for effect in bars], fontsize=8)
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    if bars and bars[0].base is not None:
        axes.axvline(bars[0].base, color="black", linewidth=0.8)


def tornado_words(effects: Sequence[Effect], by: str) -> str:
    """What the figure says to whoever cannot see it."""
    strongest = []
    for outcome in OUTCOMES[by][:PANELS]:
        found = [f"{e.factor} ({e.elasticity:+.2f})" for e in effects if e.outcome == outcome and e.elasticity]
        strongest.append(f"{TITLES[outcome]} follow {', '.join(found[:3]) or 'none of the numbers'}")
    return f"Bars a number; elasticities: {'; '.join(strongest)}."


def write_tornado(effects: Sequence[Effect], by: str, ratio: float, path: Path) -> Path:
    """Writes the figure as SVG, the same bytes for the same effects; raises SpecError where that cannot be done."""
    text = svg(tornado_figure(effects, by, ratio), tornado_words(effects, by))
    with whole_file(path) as beside:
        beside.write_text(text, encoding="utf-8")
    return path
