"""What changes do to some numbers, in percent of the base, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ctxsim.explore.whatif import Comparison
from ctxsim.reporting.figures.style import INK, STYLE, TEXT, WIDTH, head


def differences_figure(comparisons: Sequence[Comparison], numbers: Sequence[str]) -> Figure:
    """A panel a number, a bar a change; a change that cannot be served, or lacks the number, has none."""
    names = [comparison.change for comparison in comparisons]
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.4 + 0.4 * len(names)))
        panels = figure.subplots(1, len(numbers), sharey=True, squeeze=False)[0]
        for axes, number in zip(panels, numbers, strict=True):
            for place, comparison in enumerate(comparisons):
                difference = comparison.differences.get(number)
                if difference is None or difference.ratio is None:
                    continue
                error = None if difference.half_width is None else difference.half_width / abs(difference.base)
                axes.barh(place, difference.ratio, xerr=error, color=INK, ecolor=TEXT, capsize=3, height=0.6)
            axes.axvline(0, color=TEXT, linewidth=0.8)
            axes.set_yticks(range(len(names)), names, fontsize=8)
            axes.xaxis.set_major_formatter(PercentFormatter(1.0))
            axes.grid(False, axis="y")
            head(axes, number)
        panels[0].invert_yaxis()
    return figure
