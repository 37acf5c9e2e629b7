"""The map held against simulation: at sampled points, whose gaps cost least under each policy, and what sessions cost.

Every policy is simulated at every point as ``contention`` says. Two kinds of dollars are found. ``gaps_usd``: what the
gaps of a session cost, at the prices of the simulation's own ledger for what lay where and was computed again, the
quantity that the map shows; a point agrees where the map's choice is the cheapest there, or within 3 % of it.
``session_usd`` tells whether the cheaper gap makes the cheaper session.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ctxsim.explore.executors import Executor, answers, local
from ctxsim.explore.residency.contention import contended, found_of, policies_of
from ctxsim.explore.residency.found import Found
from ctxsim.explore.residency.map import ResidencyMap
from ctxsim.explore.residency.sample import Point, contended_base, sample
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.serving import Residency

CLOSE_RATIO = 1.03
"""Choices that differ by less cost the same."""


@dataclass(frozen=True)
class Checked:
    """One point. expected_usd: of a session's gaps, in closed form, by choice; margin_ratio: second best / best.

    found: by policy. cheapest: whose gaps cost least; agrees: that is the map's choice, or the choice is within 3 % of
    it. cheapest_bill, bill_agrees: the same by what whole sessions cost.
    """

    context_tokens: int
    idle_s: float
    choice: str
    expected_usd: dict[str, float]
    margin_ratio: float
    found: dict[str, Found]
    cheapest: str
    agrees: bool
    cheapest_bill: str
    bill_agrees: bool


@dataclass(frozen=True)
class _Task:
    """One policy at one point of a scenario."""

    base: Scenario
    point: Point
    policy: Residency

    def run(self) -> Found:
        """Simulates it."""
        return found_of(contended(self.base, self.point.context_tokens, self.point.idle_s, self.policy))


def check_map(mapped: ResidencyMap, points: int, seed: int = 0, executor: Executor | None = None) -> list[Checked]:
    """So many points of the map, those of each choice in turn, simulated under keep, swap and recompute.

    Raises SpecError where the scenario's users have no gaps, or HBM has no room for two sessions.
    """
    base = contended_base(mapped.scenario)
    return check_points(base, sample(mapped, base, points, seed), executor)


def check_points(base: Scenario, points: Sequence[Point], executor: Executor | None = None) -> list[Checked]:
    """These points of a scenario as ``contended_base`` makes it."""
    policies = policies_of(base)
    tasks = [_Task(base, point, policy) for point in points for policy in policies]
    found = answers(tasks, executor or local(1))
    return [
        _checked(point, dict(zip(policies, found[place * len(policies) :], strict=False)))
        for place, point in enumerate(points)
    ]


def _checked(point: Point, found: dict[str, Found]) -> Checked:
    gaps = _held_against(point.choice, {name: one.gaps_usd for name, one in found.items()})
    bill = _held_against(point.choice, {name: one.session_usd for name, one in found.items()})
    return Checked(point.context_tokens, point.idle_s, point.choice, point.usd, point.margin_ratio, found, *gaps, *bill)


def _held_against(choice: str, usd: dict[str, float]) -> tuple[str, bool]:
    """The cheapest, and whether the choice is as cheap."""
    cheapest = min(usd, key=lambda name: usd[name])
    return cheapest, usd[choice] <= CLOSE_RATIO * usd[cheapest]
