"""Capacity plans and sensitivities for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import RenderableType

from ctxsim.cli.views.tables import grid, heading, labelled, paragraph
from ctxsim.explore.plan import NoFleetError, Plan
from ctxsim.explore.plan.goal import design_text
from ctxsim.explore.plan.halving import Lever
from ctxsim.explore.plan.prune import Design, Refused
from ctxsim.explore.plan.search import Fleet
from ctxsim.explore.sensitivity import OUTCOMES, Effect
from ctxsim.human import human
from ctxsim.spec.scenario import Scenario

PERCENT = 100
MOST_FACTORS = 8


def plan_keys(plan: Plan, command: Sequence[str]) -> dict[str, Any]:
    """The plan as JSON, with the words of the command that asks for it again."""
    goal = plan.goal
    return {
        "command": list(command),
        "feasible": True,
        "infeasible_reason": None,
        "load": {"users": int(goal.load)} if goal.closed else {"arrivals_per_s": goal.load},
        "slo": {"ttft_s": goal.base.slo.ttft, "tpot_s": goal.base.slo.tpot, "percentile": goal.base.slo.percentile},
        "chosen": _fleet_keys(plan.chosen) | {"scenario_yaml": plan.chosen.scenario.to_yaml()},
        "runner_up": None if plan.runner_up is None else _fleet_keys(plan.runner_up),
        "confidence": asdict(plan.confidence),
        "saturation": asdict(plan.reach),
        "halving": [asdict(lever) for lever in plan.halving],
        "front": [_fleet_keys(fleet) for fleet in plan.front],
        "simulated_fleets": [_fleet_keys(fleet) for fleet in plan.fleets],
        "designs": _design_keys(plan.refused, plan.short) | {"skipped": plan.skipped},
    }


def no_plan_keys(error: NoFleetError) -> dict[str, Any]:
    """Why there is no plan, as JSON."""
    designs = _design_keys(error.refused, error.short)
    return {"feasible": False, "infeasible_reason": error.reason, "designs": designs}


def _design_keys(refused: Sequence[Refused], short: Sequence[Design]) -> dict[str, Any]:
    return {
        "refused": [{"setting": dict(one.setting), "reason": one.reason} for one in refused],
        "short": [dict(one.setting) for one in short],
    }


def plan_view(plan: Plan) -> Iterator[RenderableType]:
    """The answer in sentences first, then the fleets that were simulated, and what forbids the rest."""
    yield labelled(dict(_answers(plan)))
    yield heading("Fleets that were simulated whole")
    shown = [("*" if fleet in plan.front else "", fleet) for fleet in plan.fleets]
    rows = [(mark, *_cells(fleet)) for mark, fleet in shown]
    heads = ("", "fleet", "USD/h", "TTFT", "TPOT", "sessions/h", "SLO")
    yield grid(heads, rows, ("", "fleet", "SLO"), wrapped=("fleet",))
    percentile = f"p{plan.goal.base.slo.percentile:g}"
    yield paragraph(f"TTFT and TPOT at {percentile}; *: no other is better in price, TTFT and TPOT together")
    if plan.refused or plan.short or plan.skipped:
        yield heading("Designs that were left out")
        yield from (paragraph(line) for line in _left_out(plan))


def sensitivity_view(scenario: Scenario, effects: Sequence[Effect], by: str, ratio: float) -> Iterator[RenderableType]:
    """Elasticities of every outcome, the strongest first."""
    how = "in closed form (of the tightest bound)" if by == "analyze" else "simulated on the same draws"
    yield paragraph(f"{scenario.name}: percent for one percent more of each number, {how}, at +-{ratio:g}x")
    for outcome in OUTCOMES[by]:
        rows = [_effect_cells(effect) for effect in effects if effect.outcome == outcome]
        yield heading(outcome)
        yield grid(("", "smaller", "base", "larger", "elasticity"), rows[:MOST_FACTORS], ("",))


def _answers(plan: Plan) -> Iterator[tuple[str, str]]:
    goal, chosen = plan.goal, plan.chosen
    load = f"{goal.load:g} users" if goal.closed else f"{goal.load:g} arrivals a second"
    yield "Answer", f"{_name(chosen)}: {chosen.usd_per_hour:.2f} USD an hour for {load}"
    yield "It gives", _gives(chosen, goal.base)
    if plan.runner_up is not None:
        more = plan.runner_up.usd_per_hour / chosen.usd_per_hour - 1
        yield "Runner-up", f"{_name(plan.runner_up)}: {more:+.1%} in price; {_gives(plan.runner_up, goal.base)}"
    yield "Confidence", confidence_text(plan)
    yield "Saturation", saturation_text(plan)
    yield "Half the cost", halving_text(plan.halving)


def saturation_text(plan: Plan) -> str:
    """The load that the fleet meets the SLO up to, and the one that it was seen to miss it at."""
    what = "users" if plan.goal.closed else "arrivals a second"
    missed = plan.reach.missed
    beyond = "nothing more was tried" if missed is None else f"it misses it at {missed:g}"
    return f"it meets the SLO up to {plan.reach.load:g} {what}; {beyond}"


def confidence_text(plan: Plan) -> str:
    """How likely the SLO holds, and what that covers."""
    sure = plan.confidence
    covers = "draws and the errors of the calibration's fits are varied"
    if not sure.errors:
        covers = "times are datasheet peaks, a lower bound: calibrate before buying (fidelity: calibrated)"
    if sure.low_ratio is None or sure.high_ratio is None:
        return f"nothing is drawn at random: every run is the same; {covers}"
    low, high = (f"{share * PERCENT:.0f}" for share in (sure.low_ratio, sure.high_ratio))
    return f"{sure.met} of {sure.runs} runs meet the SLO ({low} to {high} % at 95 % confidence); {covers}"


def halving_text(levers: Sequence[Lever]) -> str:
    """What each number would have to be for half of the replicas to do."""
    if not levers:
        return "the fleet would serve twice the load as it is: only cheaper accelerators halve the cost"
    enough = [f"{lever.name} x {lever.factor:g}" for lever in levers if lever.factor is not None]
    never = [lever.name for lever in levers if lever.factor is None]
    words = [f"half of the replicas would do with {' or '.join(enough)}" if enough else "no single number suffices"]
    if never:
        words.append(f"not even eight times better {', '.join(never)} would alone")
    return "; ".join(words)


def _gives(fleet: Fleet, base: Scenario) -> str:
    row, percentile = fleet.row, f"p{base.slo.percentile:g}"
    latencies = [
        f"{name.upper()} {percentile} {human(name + '_s', row[f'slo_found_{name}_s'])}"
        for name in ("ttft", "tpot")
        if f"slo_found_{name}_s" in row
    ]
    per = human("sessions_per_hour", row["sessions_per_hour"]).removesuffix(" /hour")
    cost = human("cost_usd_per_session", row["cost_usd_per_session"])
    return f"{', '.join(latencies)}; {per} sessions an hour at {cost} each"


def _name(fleet: Fleet) -> str:
    replicas = f"{fleet.replicas} replicas of " if fleet.replicas > 1 else "one replica of "
    return f"{replicas}{design_text(fleet.design.setting, fleet.design.scenario)}"


def _cells(fleet: Fleet) -> tuple[str, ...]:
    row, design = fleet.row, fleet.design
    found = [human(f"{name}_s", row.get(f"slo_found_{name}_s")) for name in ("ttft", "tpot")]
    sessions = human("n", row.get("sessions_per_hour"))
    name = f"{fleet.replicas} x ({design_text(design.setting, design.scenario)})"
    met = "met" if fleet.meets else "missed" if row.get("slo_met_ratio") != 1.0 else "missed in the mean"
    return name, f"{fleet.usd_per_hour:.2f}", *found, sessions, met


def _left_out(plan: Plan) -> Iterator[str]:
    counts: dict[str, int] = {}
    for one in plan.refused:
        counts[one.reason] = counts.get(one.reason, 0) + 1
    yield from (f"{count}: {reason}" for reason, count in counts.items())
    if plan.short:
        yield f"{len(plan.short)}: miss the SLO even with all accelerators allowed (simulated)"
    if plan.skipped:
        yield f"{plan.skipped}: cannot be cheaper than the runner-up (closed form, or one replica simulated)"


def _fleet_keys(fleet: Fleet) -> dict[str, Any]:
    return {
        "replicas": fleet.replicas,
        "accelerators": fleet.design.accelerators(fleet.replicas),
        "setting": dict(fleet.design.setting),
        "usd_per_hour": fleet.usd_per_hour,
        "slo_met": fleet.meets,
        "reason": fleet.outcome.reason,
        "found": _without_none(fleet.row),
    }


def _without_none(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


def _effect_cells(effect: Effect) -> tuple[str, ...]:
    values = (human(effect.outcome, value) for value in (effect.low, effect.base, effect.high))
    return effect.factor, *values, "-" if effect.elasticity is None else f"{effect.elasticity:+.3f}"
