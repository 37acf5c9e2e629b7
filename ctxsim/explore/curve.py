"""The load curve: what a fleet gives under more and less of its load, and which limit breaks first.

A fleet of several equal replicas is told by one of them under its share of the load, as a plan's pilots are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from typing import Any

from ctxsim.explore.executors import Executor
from ctxsim.explore.load import is_closed, load_of, with_load, with_replicas
from ctxsim.explore.outcomes import Outcome, Row, Trial
from ctxsim.spec.scenario import Scenario

RATIOS = (0.125, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
"""Of the scenario's load, what is tried unless told."""


@dataclass(frozen=True)
class LoadPoint:
    """load: of the whole fleet. ttft_s, tpot_s: at the SLO's percentile, or at the 95th; row: all that was found.

    row is of the replicas that were simulated, one or the whole fleet; sessions_per_hour is the fleet's.
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


def load_curve(scenario: Scenario, executor: Executor, more: Iterable[float] = ()) -> list[LoadPoint]:
    """The points at RATIOS of the load and at those loads too, ascending; loads that cannot be served are left out."""
    closed, load, whole = is_closed(scenario), load_of(scenario), bool(scenario.others)
    replicas = 1 if whole else scenario.deployment.replicas
    one = scenario if whole else with_replicas(scenario, 1)
    loads = sorted({*(ratio * load for ratio in RATIOS), *more})
    shares = sorted({_share(wanted, replicas, closed) for wanted in loads} - {0})
    trials = [(number, Trial(with_load(one, share))) for number, share in enumerate(shares)]
    found: dict[int, Any] = dict(executor([[trial] for trial in trials]))
    own = _share(load, replicas, closed)
    # Where users cannot be divided evenly, the fullest replica has a little more than the mean.
    return [
        _point(scenario, load if share == own else share * replicas, replicas, found[number])
        for number, share in enumerate(shares)
        if found[number].status == "ok"
    ]


def breaks_first(points: Iterable[LoadPoint]) -> LoadPoint | None:
    """The least load that misses a limit."""
    return next((point for point in points if point.missed), None)


def _share(load: float, replicas: int, closed: bool) -> float:
    return ceil(load / replicas) if closed else load / replicas


def _point(scenario: Scenario, load: float, replicas: int, outcome: Outcome) -> LoadPoint:
    row, slo = outcome.row, scenario.slo
    limits = {"ttft": slo.ttft, "tpot": slo.tpot}
    at = {name: row.get(f"slo_found_{name}_s", row.get(f"{name}_p95_s")) for name in limits}
    missed = tuple(
        name for name, limit in limits.items() if limit is not None and (at[name] is None or at[name] > limit)
    )
    return LoadPoint(load, at["ttft"], at["tpot"], row["sessions_per_hour"] * replicas, missed, row)
