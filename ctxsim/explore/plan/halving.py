"""What it would take to halve the cost: by how much one number would have to be better for half of the replicas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from ctxsim.explore.executors import Executor
from ctxsim.explore.factors import factors_of
from ctxsim.explore.load import with_load
from ctxsim.explore.outcomes import Trial
from ctxsim.explore.plan.pilot import MET
from ctxsim.spec.scenario import Scenario

LEVERS: Mapping[str, bool] = {
    "peak_flop_per_s": True,
    "hbm_bytes": True,
    "hbm_bytes_per_s": True,
    "host_link_bytes_per_s": True,
    "host_kv_capacity_bytes": True,
    "document_tokens": False,
    "answer_tokens": False,
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
    """One lever on one replica under twice the load."""

    scenario: Scenario
    name: str
    more: bool

    def run(self) -> float | None:
        """The least step that suffices; the largest first, since nothing else needs a try where that does not."""
        if not self._suffices(STEPS[-1]):
            return None
        step = next(step for step in STEPS if step == STEPS[-1] or self._suffices(step))
        return self._factor(step)

    def _suffices(self, step: float) -> bool:
        outcome = Trial(factors_of(self.scenario)[self.name](self.scenario, self._factor(step))).run()
        return outcome.status == "ok" and outcome.row[MET] == 1.0

    def _factor(self, step: float) -> float:
        return step if self.more else 1 / step


def levers(one: Scenario, load: float, closed: bool, replicas: int, executor: Executor) -> Sequence[Lever]:
    """What each lever needs so that one replica serves twice its part of the load, as half of the fleet would have to.

    one: a replica of the fleet. Prices are left out: half the price halves the cost.
    """
    share = 2 * load / replicas
    doubled = with_load(one, ceil(share) if closed else share)
    known = factors_of(doubled)
    names = [name for name in LEVERS if name in known]
    tries = [_Try(doubled, name, LEVERS[name]) for name in names]
    found = dict(executor([[(i, attempt)] for i, attempt in enumerate(tries)]))
    return [Lever(name, found[i]) for i, name in enumerate(names)]
