"""What the closed form says of a design before anything is simulated: whether it can serve at all, and for how many.

A design is left out where not even one session fits, or where a request that is alone misses a limit that it may not
miss: its first token, where first turns are more than the SLO leaves out; its step with the document as context. Both
only where lengths are constant: of others the percentile is not that of the mean.

What completes is at most what the tightest bound on sessions per second allows, whatever users do (analysis/bounds);
the mean session of a fleet that meets its SLO in the mean takes at most s = rounds x (think + TTFT limit + (answer - 1)
x TPOT limit). Of a run at least the later half of what arrives is counted, w of these sessions long. In it

    closed   of N users each completes w - 2 sessions at least (those at either end may be cut): N (w - 2) / (w s)
    open     n sessions arrive at the rate a; at X a second the j-th is done after j / X at the earliest, so the mean
             takes (n / 2) (1 / X - 1 / a) at least: X >= 1 / (1 / a + 2 s / n), where n arrivals may by chance take
             longer than n / a by three deviations

a second have to complete. Fewer replicas than that takes are never simulated before others have failed to be cheaper.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, inf, sqrt

from ctxsim.analysis import Analysis, analyze
from ctxsim.analysis.bounds import Bound
from ctxsim.analysis.session import TypicalSession
from ctxsim.cost import fleet_usd_per_s
from ctxsim.explore.load import ends_after, gap_variation, has_constant_lengths, is_closed, load_of, with_replicas
from ctxsim.explore.plan.goal import Goal
from ctxsim.explore.vary import Setting
from ctxsim.spec.scenario import Scenario
from ctxsim.units import SECONDS_PER_HOUR, show

PERCENT = 100
TOLERANCE = 1.001
"""Chunk boundaries move a busy request's times by a little; no design is left out for that."""

DEVIATIONS = 3


@dataclass(frozen=True)
class Design:
    """A design that the closed form lets pass. scenario: one replica under the whole load.

    least_replicas: fewer cannot serve the load within the SLO.
    """

    number: int
    setting: Setting
    scenario: Scenario
    least_replicas: int

    def usd_per_hour(self, replicas: int) -> float:
        """Price of the fleet."""
        return fleet_usd_per_s(self.fleet(replicas)) * SECONDS_PER_HOUR

    def fleet(self, replicas: int) -> Scenario:
        """So many replicas under the whole load."""
        return with_replicas(self.scenario, replicas)

    @property
    def machine(self) -> tuple[str, int]:
        """The accelerator, and how many make a replica."""
        return self.scenario.hardware.name, self.scenario.deployment.ranks

    def accelerators(self, replicas: int) -> int:
        """Accelerators of the fleet."""
        return replicas * self.scenario.deployment.ranks

    def most_replicas(self, accelerators: int) -> int:
        """Replicas that so many accelerators make."""
        return accelerators // self.scenario.deployment.ranks


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
    least, binding = least_replicas(scenario)
    design = Design(number, setting, scenario, least)
    if design.accelerators(least) > most_accelerators:
        needed = f"at least {design.accelerators(least)} accelerators are needed ({binding.resource} binds)"
        return Refused(number, setting, f"{needed}, {most_accelerators} may be used")
    return design


def least_replicas(one: Scenario) -> tuple[int, Bound]:
    """How many replicas like this one its whole load takes at least, and what binds."""
    binding, session = _tightest(one)
    share = _least_sessions_per_s(one, session) / binding.sessions_per_s if binding.sessions_per_s else inf
    return max(1, ceil(share / TOLERANCE)), binding


def _tightest(one: Scenario) -> tuple[Bound, TypicalSession]:
    """What binds a replica, of its resources.

    Under ``keep`` nothing is computed again as long as nobody is displaced, which a run that grows may not keep to.
    """
    if one.serving.residency == "keep":
        one = replace(one, serving=one.serving.model_copy(update={"residency": "recompute"}))
    analysis = analyze(one)
    return next(bound for bound in analysis.bounds if bound.resource not in ("users", "arrivals")), analysis.session


def _reasons(scenario: Scenario, analysis: Analysis) -> Iterator[str]:
    """Why a request alone cannot meet the SLO, or be served at all."""
    keys, session, slo = analysis.keys, analysis.session, scenario.slo
    if not keys["feasible"]:
        yield str(keys["infeasible_reason"])
    if not has_constant_lengths(scenario):
        return
    left_out = 1 - slo.percentile / PERCENT
    if slo.ttft is not None and 1 / session.rounds > 2 * left_out and keys["first_token_s"] > slo.ttft * TOLERANCE:
        found, limit = show(keys["first_token_s"], "seconds"), show(slo.ttft, "seconds")
        yield f"a first turn alone takes {found}, the limit of TTFT is {limit} ({keys['prefill_bound']} binds)"
    if slo.tpot is not None and keys["decode_step_s"] > slo.tpot * TOLERANCE:
        found, limit = show(keys["decode_step_s"], "seconds"), show(slo.tpot, "seconds")
        yield f"a step alone takes {found}, the limit of TPOT is {limit} ({keys['decode_bound']} binds)"


def _least_sessions_per_s(one: Scenario, session: TypicalSession) -> float:
    """Sessions a second that must complete; 0 where nothing limits how long one takes."""
    slo, load = one.slo, load_of(one)
    if slo.ttft is None or (slo.tpot is None and session.answer_tokens > 1):
        return 0.0
    answer_s = max(0, session.answer_tokens - 1) * (slo.tpot or 0.0)
    session_s = session.rounds * (session.think_s + slo.ttft + answer_s)
    number, horizon_s = ends_after(one)
    if is_closed(one):
        counted = min(number / load, horizon_s / session_s) / 2
        return load / session_s * max(0.0, 1 - 2 / counted)
    counted = min(number, load * horizon_s) / 2
    late = 1 + DEVIATIONS * gap_variation(one) / sqrt(counted)
    return 1 / (late / load + 2 * session_s / counted)
