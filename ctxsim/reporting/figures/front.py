"""The fleets that a plan simulated: price against both latencies, and those that no other beats."""

from __future__ import annotations

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ctxsim.explore.plan import Plan
from ctxsim.explore.plan.search import Fleet
from ctxsim.reporting.figures.style import ACCENT, INK, SOFT, STYLE, WIDTH, head, plain_log, quantities

PANELS = {"ttft": "Time to first token", "tpot": "Time per output token"}
MARGIN = 1.3


def front_figure(plan: Plan) -> Figure:
    """Price and latency at the SLO's percentile: dots are fleets on the front, crosses others; dashed is the SLO."""
    slo = plan.goal.base.slo
    limits = {"ttft": slo.ttft, "tpot": slo.tpot}
    shown = [name for name in PANELS if limits[name] is not None]
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.8))
        for axes, name in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            for fleet in (*(one for one in plan.fleets if one is not plan.chosen), plan.chosen):
                _mark(axes, fleet, name, fleet in plan.front, fleet is plan.chosen)
            limit_s = limits[name]
            assert limit_s is not None
            axes.axhline(limit_s, color="black", linestyle="--", linewidth=1)
            axes.set_yscale("log")
            low, high = axes.get_ylim()
            axes.set_ylim(low / MARGIN, high * MARGIN)
            plain_log(axes.yaxis)
            quantities(axes.yaxis, "seconds")
            axes.set_xlabel("USD an hour")
            head(axes, f"{PANELS[name]}, p{slo.percentile:g}")
    return figure


def _mark(axes: Axes, fleet: Fleet, name: str, in_front: bool, chosen: bool) -> None:
    """A fleet, if it was served at all; the answer in the accent colour, with its size and machine."""
    found_s = fleet.row.get(f"slo_found_{name}_s")
    if found_s is None:
        return
    color = ACCENT if chosen else INK if in_front else SOFT
    axes.plot(fleet.usd_per_hour, found_s, "o" if in_front else "x", color=color, markersize=7)
    if chosen:
        hardware, ranks = fleet.design.machine
        words = f"{fleet.replicas} x {ranks} {hardware}"
        low, high = axes.get_xlim()
        left = fleet.usd_per_hour > (low + high) / 2
        axes.annotate(
            words, (fleet.usd_per_hour, found_s), (-8 if left else 8, 6), textcoords="offset points", color=ACCENT,
            horizontalalignment="right" if left else "left",
        )  # fmt: skip
