"""A capacity plan: the cheapest fleet, how sure it is, what comes next, and what forbids the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from ctxsim.analysis import prediction_warnings
from ctxsim.errors import InfeasibleError
from ctxsim.explore.executors import Executor, local
from ctxsim.explore.plan.confidence import Confidence, confidence_of
from ctxsim.explore.plan.goal import Goal, Space, check_prices
from ctxsim.explore.plan.halving import Lever, levers
from ctxsim.explore.plan.prune import Design, Refused, judge
from ctxsim.explore.plan.reach import Reach, reach_of
from ctxsim.explore.plan.search import Fleet, Progress, Search
from ctxsim.spec.scenario import Scenario

ANSWERS = 2
"""The answer and its runner-up."""

CONFIDENCE_RUNS = 20


@dataclass(frozen=True)
class Plan:
    """chosen: the cheapest fleet that meets the SLO, at one price the quicker; runner_up: the cheapest on another
    machine (accelerator and tensor parallelism), if there is one.

    fleets: every whole fleet that was simulated. front: those of them that no other beats in price, TTFT and TPOT.
    reach: the largest load that the chosen fleet serves within the SLO. halving: see halving. refused: what the closed
    form left out, and why; short: designs that miss the SLO with all accelerators allowed; skipped: how many cannot be
    cheaper than the runner-up, and were not simulated.
    """

    goal: Goal
    chosen: Fleet
    runner_up: Fleet | None
    fleets: Sequence[Fleet]
    front: Sequence[Fleet]
    confidence: Confidence
    reach: Reach
    halving: Sequence[Lever]
    refused: Sequence[Refused]
    short: Sequence[Design]
    skipped: int

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is unusual about the chosen fleet."""
        return prediction_warnings(self.chosen.scenario)


def plan(
    goal: Goal, space: Space, *, executor: Executor | None = None, progress: Progress | None = None,
    confidence_runs: int = CONFIDENCE_RUNS,
) -> Plan:  # fmt: skip
    """The plan for a goal; raises NoFleetError with the bounds that forbid every design."""
    check_prices(goal, space)
    run, tell = executor or local(1), progress or (lambda what, done, of: None)
    judged = [judge(goal, number, setting, space.most_accelerators) for number, setting in enumerate(space.designs())]
    refused = [one for one in judged if isinstance(one, Refused)]
    designs = _distinct([one for one in judged if isinstance(one, Design)])
    search = Search(goal, space.most_accelerators, min(ANSWERS, space.machines), run, tell)
    best = search.run(designs)
    if not best:
        raise NoFleetError(_why_none(goal, space, refused, search.short), refused, search.short)
    chosen, *others = sorted(best, key=_merits)
    tell("the answer's confidence, saturation and levers", 0, 3)
    confidence = confidence_of(chosen, confidence_runs, run)
    tell("the answer's saturation and levers", 1, 3)
    reach = reach_of(chosen.scenario, run)
    tell("the answer's levers", 2, 3)
    return Plan(
        goal=goal,
        chosen=chosen,
        runner_up=others[0] if others else None,
        fleets=search.fleets,
        front=front_of(search.fleets),
        confidence=confidence,
        reach=reach,
        halving=levers(goal, chosen, run),
        refused=refused,
        short=search.short,
        skipped=len(designs) - search.settled,
    )


class NoFleetError(InfeasibleError):
    """No fleet that may be bought meets the SLO; refused and short: why not, of each design."""

    def __init__(self, reason: str, refused: Sequence[Refused], short: Sequence[Design]) -> None:
        super().__init__(reason)
        self.refused = refused
        self.short = short


def _distinct(designs: Sequence[Design]) -> list[Design]:
    """The designs without those that come to the same scenario as an earlier one."""
    first: dict[Scenario, Design] = {}
    for design in designs:
        first.setdefault(design.scenario, design)
    return list(first.values())


def front_of(fleets: Sequence[Fleet]) -> list[Fleet]:
    """The fleets that no other beats in price, TTFT and TPOT together, cheapest first; of those that were served."""
    served = [(_merits(fleet), fleet) for fleet in fleets if fleet.outcome.status == "ok"]
    kept = [
        (merits, fleet)
        for merits, fleet in served
        if not any(all(a <= b for a, b in zip(other, merits, strict=True)) and other != merits for other, _ in served)
    ]
    return [fleet for _, fleet in sorted(kept, key=lambda pair: (pair[0], pair[1].design.number))]


def _merits(fleet: Fleet) -> tuple[float, float, float]:
    """Price, and the latencies that the SLO is held against; of one without a limit, what 95 % are within."""
    latencies = (fleet.row.get(f"slo_found_{name}_s", fleet.row[f"{name}_p95_s"]) for name in ("ttft", "tpot"))
    ttft_s, tpot_s = (inf if found is None else found for found in latencies)
    return fleet.usd_per_hour, ttft_s, tpot_s


def _why_none(goal: Goal, space: Space, refused: Sequence[Refused], short: Sequence[Design]) -> str:
    """Every reason once, with how many designs it forbids."""
    counts: dict[str, int] = {}
    for one in refused:
        counts[one.reason] = counts.get(one.reason, 0) + 1
    reasons = [f"{reason} ({count} designs)" for reason, count in counts.items()]
    if short:
        reasons.append(f"{len(short)} designs miss the SLO with all {space.most_accelerators} accelerators, simulated")
    what = "users" if goal.closed else "arrivals a second"
    return f"no fleet meets the SLO for {goal.load:g} {what}: {'; '.join(reasons)}"
