"""What it would take to halve the cost: by how much one number would have to be better for half of the replicas."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ctxsim.explore.executors import Executor, answers
from ctxsim.explore.factors import factors_of
from ctxsim.explore.load import with_load, with_replicas
from ctxsim.explore.outcomes import Trial
from ctxsim.explore.plan.goal import Goal, meets
from ctxsim.explore.plan.pilot import among, can_stand_for_fleet
from ctxsim.explore.plan.prune import least_replicas
from ctxsim.explore.plan.search import Fleet
from ctxsim.spec.scenario import Scenario

LEVERS: Mapping[str, bool] = {
    "peak_flop_per_s": True,
    "hbm_bytes": True,
    "hbm_bytes_per_s": True,
    "host_link_bytes_per_s": True,
    "host_kv_capacity_bytes": True,
    "document_tokens": False,
    "prompt_tokens": False,
    "answer_tokens": False,
    "output_tokens": False,
}
"""What could be better, and whether more of it is (else less)."""

STEPS = (1.25, 1.5, 2.0, 3.0, 4.0, 8.0)
"""How much better, in turn."""


@dataclass(frozen=True)
class Lever:
    """factor: by what the number is multiplied; None where not even eight times better suffices."""

    name: str
    factor: float | None


@dataclass(frozen=True)
class _Try:
    """One lever on a scenario under twice its load."""

    scenario: Scenario
    name: str

    def run(self) -> float | None:
        """The least step that suffices, as a factor."""
        if not self._suffices(STEPS[-1]):
            return None
        place = bisect_left(STEPS[:-1], True, key=self._suffices)
        return self._factor(STEPS[place])

    def _suffices(self, step: float) -> bool:
        """Closed form first: where more replicas are needed than there are, nothing has to be simulated."""
        better = factors_of(self.scenario)[self.name].scaled(self.scenario, self._factor(step))
        least, _ = least_replicas(with_replicas(better, 1))
        return least <= better.deployment.replicas and meets(better.slo, Trial(better).run())

    def _factor(self, step: float) -> float:
        return step if LEVERS[self.name] else 1 / step


def levers(goal: Goal, fleet: Fleet, executor: Executor) -> Sequence[Lever]:
    """What each lever needs so that the fleet serves twice the load, as half of it would have to.

    Asked of one replica where that can stand for the fleet. Prices are left out: half the price halves the cost. None
    where the fleet serves twice the load as it is.
    """
    doubled = with_load(fleet.scenario, 2 * goal.load)
    if can_stand_for_fleet(goal.base):
        doubled = with_load(among(fleet.design.scenario, fleet.replicas), -(-2 * goal.load // fleet.replicas))
    if meets(doubled.slo, Trial(doubled).run()):
        return ()
    known = factors_of(doubled)
    names = [name for name in LEVERS if name in known]
    found = answers([_Try(doubled, name) for name in names], executor)
    return [Lever(name, factor) for name, factor in zip(names, found, strict=True)]
