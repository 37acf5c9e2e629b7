"""What one replica's residency policy may ask: what things cost here and now, and what is known of its users."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import erfc, inf, log, sqrt

from ctxsim.cost import CostModel
from ctxsim.cost.gaps import GapPrices
from ctxsim.engine import HBM
from ctxsim.sim.links import Links
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import ConstantTime, ExponentialTime, LognormalTime, Sessions, ThinkTime

LEAST_TAIL = 1e-300
"""A share of think times below which floats cannot hold a ratio of shares."""


@dataclass(slots=True)
class NextUses:
    """When each idle session asks again, as far as it has been decided, and which of them wait to be served."""

    at_s: dict[int, float] = field(default_factory=dict)
    asking: set[int] = field(default_factory=set)


class ReplicaQuotes(GapPrices):
    """Quotes of one replica (see engine.Quotes): prices of gaps, with the waits at its links and what users will do."""

    def __init__(
        self, scenario: Scenario, cost: CostModel, links: Links, replica: int, clock: Callable[[], float],
        next_uses: NextUses,
    ) -> None:  # fmt: skip
        super().__init__(scenario, cost, replica)
        self.now_s = clock
        self._links = links
        self._next_uses = next_uses
        workload = scenario.workload
        self._think = workload.think_time if isinstance(workload, Sessions) else None

    def copy_usd(self, source: int, target: int, moved_bytes: float, tokens: int) -> float:
        """See engine.Quotes."""
        wait_s = self._links.backlog_s(self._replica, source, target, self.now_s())
        seconds = wait_s + self.copy_s(source, target, moved_bytes, tokens)
        return self.hold_usd(HBM, moved_bytes, seconds)

    def expected_idle_s(self, session: int, idle_s: float) -> float:
        """See engine.Quotes. Of sessions whose think times are not drawn: as long as they have been idle already.

        That is what a Pareto law of exponent 2 expects, whatever its scale.
        """
        if session in self._next_uses.asking:
            return 0.0
        return idle_s if self._think is None else remaining_s(self._think, idle_s)

    def next_use_s(self, session: int) -> float:
        """See engine.Quotes."""
        return self._next_uses.at_s.get(session, inf)


def remaining_s(think: ThinkTime, idle_s: float) -> float:
    """Mean residual think time of a user who has thought for ``idle_s``; 0 where the answer is overdue."""
    if isinstance(think, ConstantTime):
        return max(0.0, think.value - idle_s)
    if isinstance(think, ExponentialTime):
        return think.mean
    return _lognormal_remaining_s(think, idle_s)


def _lognormal_remaining_s(think: LognormalTime, idle_s: float) -> float:
    """E[X - t | X > t] = mean * Q(z - sigma) / Q(z) - t with z = (ln t - mu) / sigma and Q the normal tail."""
    if idle_s <= 0:
        return max(0.0, think.mean - idle_s)
    mu = log(think.mean) - think.sigma**2 / 2
    z = (log(idle_s) - mu) / think.sigma
    longer = _normal_tail(z)
    if longer < LEAST_TAIL:
        # The tail ratio tends to that of its asymptote: t sigma / z beyond t.
        return idle_s * think.sigma / z
    return max(0.0, think.mean * _normal_tail(z - think.sigma) / longer - idle_s)


def _normal_tail(z: float) -> float:
    return erfc(z / sqrt(2)) / 2
