"""The load curve: what a fleet gives under more and less of its load, and which limit breaks first.

Where one of several equal replicas can tell of all, as a plan's pilots do, it is simulated under its share of the load.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from ctxsim.explore.executors import Executor, answers
from ctxsim.explore.load import is_closed, load_of, with_load, with_replicas
from ctxsim.explore.outcomes import Row, Trial
from ctxsim.explore.plan.pilot import can_stand_for_fleet
from ctxsim.spec.scenario import Scenario

RATIOS = (0.125, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
"""Of the scenario's load, what is tried unless told."""


@dataclass(frozen=True)
class LoadPoint:
    """load: of the whole fleet. ttft_s, tpot_s: at the SLO's percentile, or at the 95th where there is no limit.

    missed: the latencies that miss their limit, at the percentile or in the mean. row: all that was found of what was
    simulated, the whole fleet or one replica; sessions_per_hour is the fleet's.
    """

    load: float
    ttft_s: float | None
    tpot_s: float | None
    sessions_per_hour: float
    missed: tuple[str, ...]
    row: Row

    @property
    def cost_usd_per_session(self) -> float | None:
        """What a session costs."""
        cost: float | None = self.row["cost_usd_per_session"]
        return cost


def replicas_told_by_one(scenario: Scenario) -> int:
    """How many replicas one is simulated for; 1 where the whole fleet is simulated."""
    alike = not scenario.others and can_stand_for_fleet(scenario)
    return scenario.deployment.replicas if alike else 1


def load_curve(scenario: Scenario, executor: Executor, more: Iterable[float] = ()) -> list[LoadPoint]:
    """The points at RATIOS of the load and at those loads too, ascending; loads that cannot be served are left out."""
    closed, load, told = is_closed(scenario), load_of(scenario), replicas_told_by_one(scenario)
    one = with_replicas(scenario, scenario.deployment.replicas // told)
    wanted = {*(ratio * load for ratio in RATIOS), *more}
    # The fullest of the replicas has a little more than the mean where users cannot be divided evenly.
    shares = sorted({ceil(total / told) if closed else total / told for total in wanted} - {0})
    outcomes = answers([Trial(with_load(one, share)) for share in shares], executor)
    own = ceil(load / told) if closed else load / told
    return [
        _point(scenario, load if share == own else share * told, told, outcome.row)
        for share, outcome in zip(shares, outcomes, strict=True)
        if outcome.status == "ok"
    ]


def breaks_first(points: Iterable[LoadPoint]) -> LoadPoint | None:
    """The least load that misses a limit."""
    return next((point for point in points if point.missed), None)


def _point(scenario: Scenario, load: float, told: int, row: Row) -> LoadPoint:
    limits = {"ttft": scenario.slo.ttft, "tpot": scenario.slo.tpot}
    at = {name: row.get(f"slo_found_{name}_s", row.get(f"{name}_p95_s")) for name in limits}
    missed = tuple(
        name
        for name, limit_s in limits.items()
        if limit_s is not None and not _within(limit_s, at[name], row[f"{name}_mean_s"])
    )
    return LoadPoint(load, at["ttft"], at["tpot"], row["sessions_per_hour"] * told, missed, row)


def _within(limit_s: float, found_s: float | None, mean_s: float | None) -> bool:
    return found_s is not None and mean_s is not None and max(found_s, mean_s) <= limit_s
