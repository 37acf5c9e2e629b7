"""A capacity plan: the cheapest fleet, how sure it is, what comes next, and what forbids the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ctxsim.errors import InfeasibleError
from ctxsim.explore.executors import Executor, local
from ctxsim.explore.load import with_load
from ctxsim.explore.plan.confidence import Confidence, confidence_of
from ctxsim.explore.plan.goal import Goal, Space
from ctxsim.explore.plan.halving import Lever, levers
from ctxsim.explore.plan.pilot import Reach
from ctxsim.explore.plan.prune import Design, Refused, judge
from ctxsim.explore.plan.search import Fleet, Progress, Search
from ctxsim.spec.scenario import Scenario

ANSWERS = 2
"""The answer and its runner-up."""

CONFIDENCE_RUNS = 20
SATURATION_RATIO = 16.0
"""Nobody asks for more than so many times the load."""


@dataclass(frozen=True)
class Plan:
    """chosen: the cheapest fleet that meets the SLO; runner_up: the cheapest on another
    machine (accelerator and tensor parallelism), if any.

    fleets: every whole fleet that was simulated. front: those of them that no other beats in price, TTFT and TPOT.
    saturation_load: the largest load that the chosen fleet serves within the SLO. halving: see halving. refused: what
    the closed form left out, and why; short: designs whose pilots missed the SLO with all replicas allowed; skipped:
    how many cannot be cheaper than the runner-up, and were not simulated.
    """

    goal: Goal
    chosen: Fleet
    runner_up: Fleet | None
    fleets: Sequence[Fleet]
    front: Sequence[Fleet]
    confidence: Confidence
    saturation_load: float
    halving: Sequence[Lever]
    refused: Sequence[Refused]
    short: Sequence[Design]
    skipped: int

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is unusual about the chosen fleet."""
        return self.chosen.design.scenario.warnings


def plan(
    goal: Goal, space: Space, *, executor: Executor | None = None, progress: Progress | None = None,
    confidence_runs: int = CONFIDENCE_RUNS,
) -> Plan:  # fmt: skip
    """The plan for a goal; raises InfeasibleError with the bounds that forbid every design."""
    run, tell = executor or local(1), progress or (lambda what, done, of: None)
    judged = [judge(goal, number, setting, space.most_accelerators) for number, setting in enumerate(space.designs())]
    refused = [one for one in judged if isinstance(one, Refused)]
    designs = [one for one in judged if isinstance(one, Design)]
    search = Search(goal, space.most_accelerators, run, tell)
    search.pilots(designs)
    best = search.cheapest(ANSWERS)
    if not best:
        raise InfeasibleError(_why_none(goal, space, refused, search.short))
    chosen, *others = best
    fleet = chosen.scenario
    assert isinstance(fleet, Scenario)
    most = SATURATION_RATIO * goal.load
    return Plan(
        goal=goal,
        chosen=chosen,
        runner_up=others[0] if others else None,
        fleets=search.fleets,
        front=front_of(search.fleets),
        confidence=confidence_of(fleet, confidence_runs, run),
        saturation_load=Reach(fleet, goal.closed, goal.load, most).run(),
        halving=levers(with_load(chosen.design.scenario, goal.load), goal.load, goal.closed, chosen.replicas, run),
        refused=refused,
        short=search.short,
        skipped=len(designs) - len(search.candidates) - len(search.short),
    )


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
    row = fleet.row
    return fleet.usd_per_hour, row["ttft_p95_s"] or 0.0, row["tpot_p95_s"] or 0.0


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
