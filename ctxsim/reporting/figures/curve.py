"""What becomes of latency and throughput as the load grows, against the SLO."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ctxsim.explore.curve import LoadPoint
from ctxsim.reporting.figures.style import ACCENT, INK, PANEL, STYLE, head, quantities
from ctxsim.spec.serving import Slo
from ctxsim.units import show

BEYOND_RATIO = 6.0
"""Latencies beyond so many times their limit are cut off, if they are not those of the scenario's own load."""

ROOM_RATIO = 1.25


def curve_figures(points: Sequence[LoadPoint], load: float, unit: str, slo: Slo) -> dict[str, Figure]:
    """TTFT, TPOT, sessions per hour and dollars per session over the load. load: the scenario's own; unit: of loads."""
    panels = {
        "ttft_s": (f"TTFT p{slo.percentile:g}", slo.ttft),
        "tpot_s": (f"TPOT p{slo.percentile:g}", slo.tpot),
        "sessions_per_hour": ("Sessions an hour", None),
        "cost_usd_per_session": ("USD a session", None),
    }
    figures = {}
    for key, (title, limit) in panels.items():
        values = [getattr(point, key) for point in points]
        if all(value is None for value in values):
            continue
        with rc_context(STYLE):
            figures[key] = Figure(figsize=PANEL)
            axes = figures[key].subplots()
            own = next((getattr(point, key) for point in points if point.load == load), None)
            _panel(axes, np.array([point.load for point in points]), np.array(values, dtype=float), limit, own)
            if own is not None:
                axes.scatter([load], [own], s=44, color=ACCENT, zorder=3)
            head(axes, title)
            axes.set_xlabel(unit)
            if key.endswith("_s"):
                quantities(axes.yaxis, "seconds")
    return figures


def _panel(axes: Axes, loads: np.ndarray, values: np.ndarray, limit: float | None, own: float | None) -> None:
    axes.plot(loads, values, "o-", color=INK, linewidth=1.8, markersize=4)
    axes.set_xlim(0, loads.max() * 1.05)
    top = np.nanmax(values) * 1.12
    if limit is not None:
        axes.axhline(limit, color=ACCENT, linewidth=1, linestyle="--")
        axes.annotate(
            f"SLO {show(limit, 'seconds')}", (1, limit), (0, 3), xycoords=("axes fraction", "data"),
            textcoords="offset points", color=ACCENT, fontsize=9, ha="right",
        )  # fmt: skip
        top = max(limit * ROOM_RATIO, min(top, max(limit * BEYOND_RATIO, (own or 0.0) * ROOM_RATIO)))
    axes.set_ylim(0, top)
