"""What the closed form says of a design before anything is simulated: whether it can serve at all, and for how many.

A design is left out where not even one session fits, or where a request that is alone misses a limit that it may not
miss: its first token, where first turns are more than the SLO leaves out; its step with the document as context.

How many users a replica serves at most follows from the tightest bound on sessions per second that holds whatever the
users do, and from the longest that a session may take within the SLO: users = rate x rounds x (think + TTFT limit +
(answer - 1) x TPOT limit). It presumes that the mean response is within the limits that its percentile has to meet: a
fleet that starves a few so much that the mean is beyond them is not one to plan for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor, inf

from ctxsim.analysis import Analysis, analyze
from ctxsim.cost import fleet_usd_per_s
from ctxsim.explore.load import with_load, with_replicas
from ctxsim.explore.plan.goal import Goal
from ctxsim.explore.vary import Setting
from ctxsim.spec.scenario import Scenario
from ctxsim.units import SECONDS_PER_HOUR, show

PERCENT = 100
TOLERANCE = 1.001
"""Chunk boundaries move a busy request's times by a little; no design is left out for that."""


@dataclass(frozen=True)
class Design:
    """A design that the closed form lets pass. scenario: one replica under the whole load.

    least_replicas: fewer cannot serve the load within the SLO. most_load: of one replica.
    """

    number: int
    setting: Setting
    scenario: Scenario
    least_replicas: int
    most_load: float

    def usd_per_hour(self, replicas: int) -> float:
        """Price of the fleet."""
        return fleet_usd_per_s(with_replicas(self.scenario, replicas)) * SECONDS_PER_HOUR

    @property
    def machine(self) -> tuple[str, int]:
        """The accelerator, and how many make a replica."""
        return self.scenario.hardware.name, self.scenario.deployment.tensor_parallel

    def accelerators(self, replicas: int) -> int:
        """Accelerators of the fleet."""
        return replicas * self.scenario.deployment.tensor_parallel


@dataclass(frozen=True)
class Refused:
    """A design that cannot meet the goal, and the bound that forbids it."""

    number: int
    setting: Setting
    reason: str


def judge(goal: Goal, number: int, setting: Setting, most_accelerators: int) -> Design | Refused:
    """What the closed form says of the design."""
    scenario = goal.scenario(setting)
    if not isinstance(scenario, Scenario):
        return Refused(number, setting, "; ".join(f"{fault.field}: {fault.message}" for fault in scenario.faults))
    analysis = analyze(scenario)
    reason = next(_reasons(scenario, analysis), None)
    if reason is not None:
        return Refused(number, setting, reason)
    most_load = _most_load(goal, analysis)
    least = max(1, ceil(goal.load / most_load)) if most_load > 0 else 0
    design = Design(number, setting, scenario, least, most_load)
    if not least or design.accelerators(least) > most_accelerators:
        needed = design.accelerators(least) if least else "more"
        binds = analysis.bounds[0].resource if analysis.bounds[0].resource not in ("users", "arrivals") else "load"
        reason = f"at least {needed} accelerators are needed ({binds} binds), {most_accelerators} may be used"
        return Refused(number, setting, reason)
    return design


def _reasons(scenario: Scenario, analysis: Analysis) -> Iterator[str]:
    """Why a request alone cannot meet the SLO, or be served at all."""
    keys, session, slo = analysis.keys, analysis.session, scenario.slo
    if not keys["feasible"]:
        yield str(keys["infeasible_reason"])
    left_out = 1 - slo.percentile / PERCENT
    if slo.ttft is not None and 1 / session.rounds > left_out and keys["first_token_s"] > slo.ttft * TOLERANCE:
        found, limit = show(keys["first_token_s"], "seconds"), show(slo.ttft, "seconds")
        yield f"a first turn alone takes {found}, the limit of TTFT is {limit} ({keys['prefill_bound']} binds)"
    if slo.tpot is not None and keys["decode_step_s"] > slo.tpot * TOLERANCE:
        found, limit = show(keys["decode_step_s"], "seconds"), show(slo.tpot, "seconds")
        yield f"a step alone takes {found}, the limit of TPOT is {limit} ({keys['decode_bound']} binds)"


def _most_load(goal: Goal, analysis: Analysis) -> float:
    """Users, or arrivals a second, that one replica can serve within the SLO at most."""
    session, slo = analysis.session, goal.base.slo
    sessions_per_s = min(
        (bound.sessions_per_s for bound in analysis.bounds if bound.resource not in ("users", "arrivals")), default=inf
    )
    if not goal.closed:
        return sessions_per_s
    if slo.ttft is None or (slo.tpot is None and session.answer_tokens > 1):
        return inf
    answer_s = (session.answer_tokens - 1) * (slo.tpot or 0.0)
    return sessions_per_s * session.rounds * (session.think_s + slo.ttft + max(0.0, answer_s))


def share_of(goal: Goal, replicas: int) -> float:
    """The load of each of so many replicas: the most that one of them gets."""
    return ceil(goal.load / replicas) if goal.closed else goal.load / replicas


def one_of(design: Design, goal: Goal, replicas: int) -> Scenario:
    """One of so many replicas under its share of the load."""
    return with_load(design.scenario, share_of(goal, replicas))


def least_replicas_for(goal: Goal, load: float) -> int:
    """Replicas so that none gets more than that load."""
    return max(1, ceil(goal.load / load)) if load > 0 else 0


def most_replicas(design: Design, most_accelerators: int) -> int:
    """Replicas that so many accelerators make."""
    return floor(most_accelerators / design.scenario.deployment.tensor_parallel)
