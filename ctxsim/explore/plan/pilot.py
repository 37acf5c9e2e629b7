"""How many users one replica serves within the SLO: a guess at what a fleet needs, at a fraction of its work.

Where sessions stay with a replica, those of a closed loop are dealt out evenly, so that one replica under its part of
the users behaves about as the fleet does. It is a guess: replicas of a fleet share the host memory and links of their
node, and get a session more or less by chance. Whole fleets decide.
"""

from __future__ import annotations

from dataclasses import dataclass

from ctxsim.explore.load import ends_after, is_closed, with_load
from ctxsim.explore.outcomes import Trial
from ctxsim.explore.plan.goal import Goal, meets
from ctxsim.spec.scenario import Scenario

CLOSE = 20
"""A pilot's answer is as fine as so many parts of it, or one user."""


def can_stand_for_fleet(goal: Goal) -> bool:
    """Whether one replica can tell of many: sessions stay, users do too, and the run ends by time.

    Where it ends after so many sessions, or these arrive by themselves, a fleet takes no longer to simulate anyway.
    """
    by_number = ends_after(goal.base)[0] < float("inf")
    return is_closed(goal.base) and not by_number and goal.base.deployment.router == "session_affinity"


@dataclass(frozen=True)
class Served:
    """users: the most that one replica was found to serve within the SLO, 0 for none; missed: more that it did not."""

    users: int
    missed: int


@dataclass(frozen=True)
class Pilot:
    """The search for the most users of one replica. least: tried first; most: more are never served."""

    scenario: Scenario
    least: int
    most: int

    def run(self) -> Served:
        """Doubles the users until they are too many, then halves the difference until it is a few percent."""
        low, high = 0, self.least
        while high <= self.most and self._meets(high):
            low, high = high, 2 * high
        high = min(high, self.most + 1)
        while low and high - low > 1 + low // CLOSE:
            middle = (low + high) // 2
            low, high = (middle, high) if self._meets(middle) else (low, middle)
        return Served(low, high)

    def _meets(self, users: int) -> bool:
        return meets(self.scenario.slo, Trial(with_load(self.scenario, users)).run())
