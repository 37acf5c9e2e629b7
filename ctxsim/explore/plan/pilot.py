"""How many users one replica serves within the SLO: a guess at what a fleet needs, at a fraction of its work.

Where sessions stay with a replica, those of a closed loop are dealt out evenly, so that one replica under its part of
the users, with its part of the node's host memory, behaves about as the fleet does. It is a guess: replicas of a fleet
share links too, and get a session more or less by chance. Whole fleets decide.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, sqrt

from ctxsim.analysis.session import typical_session
from ctxsim.explore.load import ends_after, is_closed, is_drawn, load_of, with_load
from ctxsim.explore.outcomes import Trial
from ctxsim.explore.plan.goal import meets
from ctxsim.spec.scenario import Scenario

MANY_REQUESTS = 10_000
"""Fleets that serve fewer are simulated whole at once, a matter of seconds."""

DEVIATIONS = 3
CLOSE = 20
"""A pilot's answer is as fine as so many parts of it, or one user."""


def can_stand_for_fleet(base: Scenario) -> bool:
    """Whether one replica can tell of many, and is worth asking: sessions stay with it, and a fleet has much to do.

    Where a run ends after so many sessions, or these arrive by themselves, a fleet takes no longer than a replica.
    """
    by_number = ends_after(base)[0] < inf
    if not is_closed(base) or by_number or base.deployment.router != "session_affinity":
        return False
    return load_of(base) * requests_of_user(base) > MANY_REQUESTS


def requests_of_user(scenario: Scenario) -> float:
    """Requests of one user of a closed loop that ends by time, where each takes what the SLO allows."""
    session, slo = typical_session(scenario), scenario.slo
    turn_s = session.think_s + (slo.ttft or 0.0) + max(0, session.answer_tokens - 1) * (slo.tpot or 0.0)
    return ends_after(scenario)[1] / turn_s if turn_s else inf


def error_users(scenario: Scenario, users: int) -> float:
    """How many users more a replica of a fleet may serve than the most that a pilot did.

    One, since sessions are dealt out in whole; and of lengths that are drawn, by what a sample of so many requests is
    off by: three deviations of a count.
    """
    requests = max(1.0, users * requests_of_user(scenario))
    return 1 + (users * DEVIATIONS / sqrt(requests) if is_drawn(scenario) else 0.0)


def among(one: Scenario, replicas: int) -> Scenario:
    """The replica with the host memory and disk that it has where so many, or as many as fit, share a node."""
    deployment, serving = one.deployment, one.serving
    sharing = min(replicas, max(1, deployment.accelerators_per_node // deployment.ranks))
    update = {name: getattr(serving, name) / sharing for name in ("host_kv_capacity", "disk_kv_capacity")}
    return replace(one, serving=serving.model_copy(update=update))


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
