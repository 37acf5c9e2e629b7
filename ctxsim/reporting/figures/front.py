"""Fleets by price and latency: those that no other beats in all of them, and the one that was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ctxsim.explore.plan import Plan
from ctxsim.explore.plan.search import Fleet
from ctxsim.reporting.figures.style import ACCENT, INK, PANEL, SOFT, STYLE, WIDTH, head, quantities
from ctxsim.units import show

CHOSEN, FRONT, OTHER = "chosen", "front", "other"
LOOKS = {CHOSEN: (ACCENT, ACCENT, 60), FRONT: (INK, INK, 36), OTHER: ("none", SOFT, 36)}
"""Fill, edge and size of a point."""

LINE_POINTS, POINTS_PER_INCH, HEIGHT_RATIO = 12.0, 72, 0.72
"""Height of a line of names; of a panel, how much of its height the axes take."""


class Spot(NamedTuple):
    """One fleet. standing: ``chosen``, ``front`` or ``other``; a number that it has not is None."""

    name: str
    usd_per_hour: float
    ttft_s: float | None
    tpot_s: float | None
    standing: str


TITLES = {"ttft_s": "TTFT", "tpot_s": "TPOT"}

Limits = Mapping[str, float | None]


def front_figure(plan: Plan) -> Figure:
    """Price against each latency that has a limit, at the SLO's percentile, side by side."""
    slo = plan.goal.base.slo
    limits = {"ttft_s": slo.ttft, "tpot_s": slo.tpot}
    spots = [_spot(plan, fleet) for fleet in plan.fleets]
    shown = [key for key, limit in limits.items() if limit is not None]
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, PANEL[1]))
        for axes, key in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            _panel(axes, key, spots, slo.percentile, limits[key])
    return figure


def front_figures(spots: Sequence[Spot], percentile: float, limits: Limits) -> dict[str, Figure]:
    """Price against TTFT and against TPOT, each a figure of its own."""
    figures = {}
    for key in TITLES:
        if any(getattr(spot, key) is not None for spot in spots):
            with rc_context(STYLE):
                figures[key] = Figure(figsize=(WIDTH, PANEL[1]))
                _panel(figures[key].subplots(), key, spots, percentile, limits[key])
    return figures


def _spot(plan: Plan, fleet: Fleet) -> Spot:
    """Where a fleet of the plan stands."""
    hardware, ranks = fleet.design.machine
    standing = CHOSEN if fleet is plan.chosen else FRONT if fleet in plan.front else OTHER
    found = (fleet.row.get("slo_found_ttft_s"), fleet.row.get("slo_found_tpot_s"))
    return Spot(f"{fleet.replicas} x ({ranks} x {hardware})", fleet.usd_per_hour, *found, standing)


def _panel(axes: Axes, key: str, spots: Sequence[Spot], percentile: float, limit: float | None) -> None:
    """One latency, with its limit; fleets that were not served are left out."""
    shown = [(spot, float(getattr(spot, key))) for spot in spots if getattr(spot, key) is not None]
    head(axes, f"{TITLES[key]} p{percentile:g}")
    axes.set_xlabel("price of the fleet, USD an hour")
    quantities(axes.yaxis, "seconds")
    for spot, value in sorted(shown, key=lambda pair: pair[0].standing, reverse=True):
        fill, edge, size = LOOKS[spot.standing]
        axes.scatter([spot.usd_per_hour], [value], s=size, facecolors=fill, edgecolors=edge, linewidths=1.4, zorder=3)
    most_usd, most = max(spot.usd_per_hour for spot, _ in shown), max(value for _, value in shown)
    axes.set_xlim(0, most_usd * 1.15)
    axes.set_ylim(0, max(most, limit or 0.0) * 1.25)
    _name(axes, [(spot, value) for spot, value in shown if spot.standing != OTHER], most_usd)
    if limit is not None:
        axes.axhline(limit, color=ACCENT, linewidth=1, linestyle="--")
        axes.annotate(
            f"SLO {show(limit, 'seconds')}", (1, limit), (0, 3), xycoords=("axes fraction", "data"),
            textcoords="offset points", color=ACCENT, fontsize=9, ha="right",
        )  # fmt: skip


def _name(axes: Axes, named: Sequence[tuple[Spot, float]], most_usd: float) -> None:
    """Names beside their points from the lowest up, each at least a line above the one before."""
    points_each = PANEL[1] * HEIGHT_RATIO * POINTS_PER_INCH / axes.get_ylim()[1]
    last = -LINE_POINTS
    for spot, value in sorted(named, key=lambda pair: pair[1]):
        at = value * points_each
        last = max(at - LINE_POINTS / 2, last + LINE_POINTS)
        left = spot.usd_per_hour > most_usd / 2
        axes.annotate(
            spot.name, (spot.usd_per_hour, value), (-9 if left else 9, last - at), textcoords="offset points",
            ha="right" if left else "left", fontsize=8.5, color=LOOKS[spot.standing][1],
        )  # fmt: skip
