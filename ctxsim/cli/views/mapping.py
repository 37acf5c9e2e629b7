"""Residency maps and cliffs for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import RenderableType

from ctxsim.cli.views.tables import grid, heading, labelled, paragraph
from ctxsim.explore.cliff import Cliff, CliffPoint
from ctxsim.explore.residency import Limits, MachineLimits, ResidencyMap
from ctxsim.explore.residency.answer import ResidencyAnswer
from ctxsim.explore.residency.check import Checked
from ctxsim.explore.residency.contention import POLICIES
from ctxsim.explore.residency.formulas import SYMBOLS
from ctxsim.human import human
from ctxsim.spec.scenario import Scenario
from ctxsim.units import show

SHOWN_IDLES_S = (0.1, 1.0, 10.0, 60.0, 600.0, 1800.0, 3600.0, 86400.0)
"""Idle times of the map that is printed: the nearest of those mapped; all are in the files."""

AXIS_WORDS = {"users": "users", "arrivals_per_s": "arrivals a second", "document_tokens": "tokens of document"}


def residency_view(mapped: ResidencyMap, found: ResidencyAnswer, files: Sequence[Path]) -> Iterator[RenderableType]:
    """The scenario's own gap, the boundaries as formulas, limits by context, the map, machines, and the check."""
    scenario = mapped.scenario.fleet[0]
    ranks = scenario.deployment.tensor_parallel
    yield paragraph(f"{scenario.name}: {scenario.model.name} on {ranks} x {scenario.hardware.name}")
    if found.own_usd is not None and found.own_idle_s is not None:
        costs = ", ".join(f"{name} {usd:.4g} USD" for name, usd in found.own_usd.items())
        idle = show(found.own_idle_s, "seconds")
        yield paragraph(f"A gap of {idle} at {found.own_tokens:,} tokens: {found.own_choice} ({costs})")
    tokens = mapped.own_tokens or mapped.contexts[-1]
    yield heading(f"Boundaries at {tokens:,} tokens, everyone coming back")
    yield labelled({one.what: f"{one.formula} = {one.numbers}" for one in found.formulas})
    yield paragraph(SYMBOLS)
    yield from _limits_view(found.limits)
    yield from _map_view(mapped)
    yield from _crossings_view(found)
    if found.machines:
        yield from _machines_view(found.machines, tokens)
    if found.check:
        yield from _check_view(found.check)
    yield from (f"\nWritten to {', '.join(map(str, files))}",) if files else ()


def _limits_view(limits: Sequence[Limits]) -> Iterator[RenderableType]:
    """How long the KV of each context is best kept where."""
    yield heading("Idle times at which the cheaper choice changes, and the least chance of a return worth keeping for")
    rows = [
        (
            f"{one.context_tokens:,}", f"{one.return_ratio:g}", _time(one.keep_until_swap_s),
            _time(one.swap_until_recompute_s), _time(one.keep_until_recompute_s), show(one.recompute_s, "seconds"),
            f"{one.return_ratio_to_keep_any:.1%}",
        )
        for one in limits
    ]  # fmt: skip
    heads = ("context", "p", "keep\n< swap", "swap\n< recompute", "keep\n< recompute", "recompute\ntakes", "least p")
    yield grid(heads, rows, ())


def _map_view(mapped: ResidencyMap) -> Iterator[RenderableType]:
    """The cheapest choice at some of the points, a table a panel."""
    idles = sorted({min(mapped.idles_s, key=lambda idle: abs(idle / wanted - 1)) for wanted in SHOWN_IDLES_S})
    step = max(1, len(mapped.contexts) // 10)
    for panel in mapped.panels:
        ratios = f"link x {panel.link_ratio:g}, price x {panel.price_ratio:g}, {panel.return_ratio:.0%} come back"
        yield heading(f"What costs least ({ratios})")
        rows = [
            (f"{held.tokens:,}", *(held.least(idle_s, panel.return_ratio) for idle_s in idles))
            for held in panel.held[::step]
        ]
        yield grid(("context", *(show(idle_s, "seconds") for idle_s in idles)), rows, ())


def _crossings_view(found: ResidencyAnswer) -> Iterator[RenderableType]:
    if found.crossings:
        yield heading("Swap costs less than recompute above")
        rows = [
            (show(one.idle_s, "seconds"), _tokens(one.swap_from_tokens, one.longest_tokens)) for one in found.crossings
        ]
        yield grid(("idle time", "context, tokens"), rows, ())


def _machines_view(machines: Sequence[MachineLimits], tokens: int) -> Iterator[RenderableType]:
    yield heading(f"Machines: limits at {tokens:,} tokens")
    heads = ("", "USD/h", "keep\n< swap", "swap\n< recompute", "keep\n< recompute", "recompute\ntakes")
    yield grid(heads, [(_name(one), f"{one.usd_per_hour:.2f}", *_limits_cells(one)) for one in machines], ("",))
    yield heading("Machines: context from which swap costs less than recompute, by idle time")
    fitting = [one for one in machines if one.limits is not None]
    idles = list(next((one.break_even_tokens for one in fitting), {}))
    rows = [
        (_name(one), *(_tokens(tokens, one.longest_tokens) for tokens in one.break_even_tokens.values()))
        for one in fitting
    ]
    yield grid(("", *(show(float(idle), "seconds") for idle in idles)), rows, ("",))
    yield from (paragraph(f"{_name(one)}: {one.reason}") for one in machines if one.reason is not None)


def _name(one: MachineLimits) -> str:
    return f"{one.ranks} x {one.hardware}"


def _limits_cells(one: MachineLimits) -> tuple[str, ...]:
    if one.limits is None:
        return ("-",) * 4
    limits = one.limits
    times = (limits.keep_until_swap_s, limits.swap_until_recompute_s, limits.keep_until_recompute_s)
    return *map(_time, times), show(limits.recompute_s, "seconds")


def _check_view(points: Sequence[Checked]) -> Iterator[RenderableType]:
    """Every simulated point: the map's choice, and what sessions' gaps and whole sessions cost under each policy."""
    agreed, bills = sum(one.agrees for one in points), sum(one.bill_agrees for one in points)
    yield heading(f"Simulated: of {len(points)} points {agreed} agree by what a session's gaps cost (USD)")
    yield _checked_grid(points, "gaps_usd", "agrees", "cheapest")
    yield heading(f"Simulated: of {len(points)} points {bills} agree by what a whole session costs (USD)")
    yield _checked_grid(points, "session_usd", "bill_agrees", "cheapest_bill")
    yield paragraph(
        "same: the map's choice is the cheapest of the three, or within 3 % of it, else which is; gaps at the ledger's "
        "prices, from when a turn ends until its user is back; newcomers always wait, and returning turns go first"
    )


def _checked_grid(points: Sequence[Checked], dollars: str, agrees: str, cheapest: str) -> RenderableType:
    rows = [
        (
            f"{one.context_tokens:,}", show(one.idle_s, "seconds"), one.choice, f"{one.margin_ratio:.2f}",
            *_dollars(one, dollars), "yes" if getattr(one, agrees) else getattr(one, cheapest),
        )
        for one in points
    ]  # fmt: skip
    heads = ("context", "idle", "map", "second /\nfirst", *POLICIES, "same")
    return grid(heads, rows, ("map", "same"))


def _dollars(one: Checked, name: str) -> Iterator[str]:
    return (f"{getattr(one.found[policy], name):.4g}" if policy in one.found else "-" for policy in POLICIES)


def cliff_view(scenario: Scenario, found: Cliff, files: Sequence[Path]) -> Iterator[RenderableType]:
    """Where it is predicted and where it was found, then every load that was swept."""
    what = AXIS_WORDS[found.name]
    yield paragraph(f"{scenario.name}: {found.own:g} {what}, {REGION_WORDS[found.own_region]}")
    yield labelled(dict(_answers(found, what)))
    yield heading("What was swept")
    heads = (what, "over\nHBM", "over\nroom", "region", "sessions\n/hour", "TTFT\nmean", "TTFT\np95", "again")
    yield grid(heads, [_point_cells(point) for point in found.points], ("region",))
    yield paragraph("over: working set / KV pools, and / all room the policy has for KV; again: computed again")
    yield from (f"\nWritten to {', '.join(map(str, files))}",) if files else ()


REGION_WORDS = {
    "safe": "within HBM",
    "offload": "past HBM, where offload pays",
    "thrash": "past the cliff",
    "waiting": "past HBM, where turns wait",
}


def _answers(found: Cliff, what: str) -> Iterator[tuple[str, str]]:
    def at(load: float | None) -> str:
        return "beyond what is served" if load is None else f"{load:.4g} {what}"

    yield "HBM is full at", f"{at(found.hbm_full)} (closed form)"
    yield "All room is full at", f"{at(found.room_full)} (closed form): the cliff"
    if found.located is None:
        yield "Simulated", f"no cliff: {found.reason}"
        return
    one = found.located
    how = f"95 % interval of {found.runs} replications" if found.runs > 1 else "nothing is drawn: one run, bisected"
    yield "Simulated", f"the cliff lies between {one.low:.4g} and {one.high:.4g} {what} ({how})"


def _point_cells(point: CliffPoint) -> tuple[str, ...]:
    latencies = (human("ttft_s", point.ttft_mean_s), human("ttft_s", point.ttft_p95_s))
    ratios = (f"{point.load:,.5g}", f"{point.hbm_ratio:.2f}", f"{point.room_ratio:.2f}", point.region)
    return *ratios, f"{point.sessions_per_hour:.4g}", *latencies, f"{point.lost_ratio:.1%}"


def _time(seconds: float | None) -> str:
    return "for ever" if seconds is None else show(seconds, "seconds")


def _tokens(tokens: int | None, longest: int) -> str:
    return f"none to {longest:,}" if tokens is None else f"{tokens:,}"
