"""A scenario's closed-form answer: every key, whether it fits, what binds it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import floor, isfinite
from typing import Any

from ctxsim.analysis.bounds import Bound, Group, common_bounds, size_bounds, tightest_first
from ctxsim.analysis.course import SessionCourse, session_course
from ctxsim.analysis.gap import Gap, typical_gap
from ctxsim.analysis.quantities import FourQuantities, four_quantities
from ctxsim.analysis.residency import Policy
from ctxsim.analysis.session import TypicalSession, typical_session
from ctxsim.cost import CostModel, OperationCost, fleet_usd_per_s, kept_warnings, unpriced_warnings
from ctxsim.cost.working_set import working_set
from ctxsim.geometry import kv_bytes_per_token
from ctxsim.spec.domains import MOST_DOMAINS, joined
from ctxsim.spec.scenario import Scenario
from ctxsim.units import MILLION, SECONDS_PER_HOUR, show


@dataclass(frozen=True)
class Analysis:
    """The closed-form answer and what it was worked out from. ``keys``: the keys of ``ctxsim analyze``.

    cost, course, gap: of the first group of replicas. by_policy: the tightest bound under each residency policy.
    """

    scenario: Scenario
    keys: dict[str, Any]
    cost: CostModel
    session: TypicalSession
    course: SessionCourse
    gap: Gap | None
    bounds: list[Bound]
    by_policy: dict[Policy, Bound]
    warnings: tuple[str, ...]

    @property
    def feasible(self) -> bool:
        """Whether a whole session fits."""
        return bool(self.keys["feasible"])


UNCERTAIN = (
    "prefill_s", "decode_step_s", "decode_answer_s", "first_token_s", "last_token_s", "session_busy_s",
    "session_wall_s", "sessions_per_hour_bound", "cost_usd_per_session", "cost_usd_per_million_output_tokens",
)  # fmt: skip
"""Keys that follow from times."""


def analyze(scenario: Scenario) -> Analysis:
    """The four quantities, the course of a session alone, bounds and money of a scenario; nothing is simulated.

    Bounds and money are those of the whole fleet, all else of a replica of its first group. At fidelity calibrated the
    key ``intervals`` has, for keys that follow from times, what holds 90 % of each as far as fits are off.
    """
    analysis = _analysis(scenario)
    if scenario.calibration is not None:
        from ctxsim.cost.calibrated.intervals import intervals

        tokens = max(1, analysis.session.document_tokens)
        analysis.keys["intervals"] = intervals(
            scenario, tokens, _uncertain(analysis), lambda one: _uncertain(_analysis(one))
        )
    return analysis


def _uncertain(analysis: Analysis) -> dict[str, float]:
    return {key: float(analysis.keys[key]) for key in UNCERTAIN if analysis.keys[key] is not None}


def _analysis(scenario: Scenario) -> Analysis:
    session = typical_session(scenario)
    groups = [_group(CostModel(kind), session) for kind in scenario.fleet]
    first = groups[0]
    cost, course = first.cost, first.course
    four = four_quantities(cost, session.document_tokens, session.answer_tokens)
    gap = typical_gap(cost, session)
    wanted = working_set(scenario, [group.cost for group in groups])
    common = common_bounds(groups, session)
    sizes = size_bounds(groups, session)
    bounds = tightest_first([*common, sizes[scenario.serving.residency]])
    by_policy = {policy: tightest_first([*common, size])[0] for policy, size in sizes.items()}
    reasons = [(group, infeasible_reason(group.cost, session)) for group in groups]
    reason = next((_of_group(scenario, group, why) for group, why in reasons if why is not None), None)
    keys: dict[str, Any] = {"feasible": reason is None}
    if reason is not None:
        keys["infeasible_reason"] = reason
    keys |= _memory_keys(cost, four)
    keys |= _time_keys(cost, session, course, four)
    keys |= _throughput_keys(scenario, session, bounds)
    keys["residency"] = {policy: _bound_keys(bound) for policy, bound in by_policy.items()}
    keys["gap"] = None if gap is None else gap.keys()
    keys["working_set"] = None if wanted is None else wanted.keys()
    keys["breakdown"] = _breakdown(cost, session, bounds)
    cautions = () if wanted is None else wanted.cautions()
    of_scenario = (*scenario.warnings, *kept_warnings(scenario), *_fleet_warnings(scenario))
    warnings = (*of_scenario, *unpriced_warnings(group.cost for group in groups), *cautions)
    return Analysis(scenario, keys, cost, session, course, gap, bounds, by_policy, warnings)


def _group(cost: CostModel, session: TypicalSession) -> Group:
    capacity_bytes = max(0.0, cost.memory.kv_capacity_bytes)
    concurrent = capacity_bytes / cost.layout.held_bytes(max(1, session.document_tokens - session.found_tokens))
    return Group(cost, session_course(cost, session), concurrent)


def _fleet_warnings(scenario: Scenario) -> Iterable[str]:
    if scenario.others:
        yield (
            f"bounds and prices are those of all {len(scenario.fleet)} groups of replicas; everything else is that of "
            f"a replica of the first, {scenario.deployment.ranks} x {scenario.hardware.name}"
        )


def _of_group(scenario: Scenario, group: Group, reason: str) -> str:
    """The reason, with the machine that it is about where there are several."""
    kind = group.cost.scenario
    return f"on {kind.deployment.ranks} x {kind.hardware.name}, {reason}" if scenario.others else reason


def holds(cost: CostModel, document_tokens: int) -> bool:
    """Whether the weights and one session over a document of so many tokens fit on a replica."""
    return cost.memory.weights_fit and bool(cost.memory.kv_capacity_bytes >= cost.layout.held_bytes(document_tokens))


def infeasible_reason(cost: CostModel, session: TypicalSession) -> str | None:
    """Why not even one session fits on a replica, in one sentence with the remedy; None where one does."""
    memory, kv_bytes = cost.memory, cost.layout.held_bytes(session.document_tokens)
    if holds(cost, session.document_tokens):
        return None
    if not memory.weights_fit:
        need = f"weights need {show(memory.weight_bytes, 'bytes')}, usable HBM is {show(memory.usable_bytes, 'bytes')}"
    else:
        left = show(max(memory.kv_capacity_bytes, 0.0), "bytes")
        need = f"one session needs {show(kv_bytes, 'bytes')} of KV cache, {left} are left for it"
    enough = _accelerators_that_fit(cost.scenario)
    if enough is None:
        return f"{need}: no tensor_parallel of {cost.scenario.hardware.name} is enough"
    return f"{need}: at least {enough * cost.scenario.deployment.context_parallel} accelerators"


def _accelerators_that_fit(scenario: Scenario) -> int | None:
    """The least tensor_parallel that divides the heads, is offered by the machine and holds one session."""
    document_tokens, groups = typical_session(scenario).document_tokens, scenario.deployment.context_parallel
    most = MOST_DOMAINS * scenario.hardware.max_accelerators // groups
    for ranks in range(scenario.deployment.tensor_parallel + 1, most + 1):
        if scenario.model.splits_over(ranks) and joined(ranks, groups, scenario.hardware):
            deployment = scenario.deployment.model_copy(update={"tensor_parallel": ranks})
            if holds(CostModel(replace(scenario, deployment=deployment)), document_tokens):
                return ranks
    return None


def _memory_keys(cost: CostModel, four: FourQuantities) -> dict[str, Any]:
    scenario = cost.scenario
    blocks = floor(four.kv_capacity_bytes / cost.layout.block_bytes) if cost.layout.block_bytes else 0
    return {
        "weight_bytes": cost.memory.weight_bytes,
        "hbm_bytes": cost.memory.hbm_bytes,
        "kv_bytes_per_token": kv_bytes_per_token(
            scenario.model, scenario.serving.kv_dtype, scenario.deployment.tensor_parallel
        ),
        "kv_bytes_per_session": four.kv_bytes_per_session,
        "kv_capacity_bytes": four.kv_capacity_bytes,
        "kv_capacity_tokens": blocks * scenario.serving.block_size,
        "concurrent_sessions": four.concurrent_sessions,
        "concurrent_sessions_whole": floor(four.concurrent_sessions),
    }


def _time_keys(cost: CostModel, session: TypicalSession, course: SessionCourse, four: FourQuantities) -> dict[str, Any]:
    ranks = cost.scenario.deployment.ranks
    prefill, decode = prefill_costs(cost, session), decode_costs(cost, session)
    return {
        "prefill_flop": four.prefill_flop,
        "prefill_s": four.prefill_s,
        "prefill_bound": dominant_bound(prefill),
        "decode_step_s": four.decode_step_s,
        "decode_answer_s": four.decode_answer_s,
        "decode_bound": dominant_bound(decode),
        "first_token_s": course.first_token_s,
        "last_token_s": course.last_token_s,
        "switch_s": four.switch_s,
        "session_busy_s": course.busy_s,
        "session_wall_s": course.busy_s + session.rounds * session.think_s,
        "ridge_flop_per_byte": cost.rates.plain_flop_per_s / ranks / (cost.rates.hbm_bytes_per_s / ranks),
    }


def _throughput_keys(scenario: Scenario, session: TypicalSession, bounds: list[Bound]) -> dict[str, Any]:
    per_s = bounds[0].sessions_per_s if isfinite(bounds[0].sessions_per_s) else 0.0
    usd = fleet_usd_per_s(scenario) / per_s if per_s else None
    outputs = session.rounds * session.answer_tokens
    return {
        **_bound_keys(bounds[0]),
        "cost_usd_per_session": usd,
        "cost_usd_per_million_output_tokens": usd / outputs * MILLION if usd is not None and outputs else None,
    }


def _bound_keys(bound: Bound) -> dict[str, Any]:
    per_s = bound.sessions_per_s if isfinite(bound.sessions_per_s) else 0.0
    return {"sessions_per_hour_bound": per_s * SECONDS_PER_HOUR, "bottleneck": bound.resource}


def prefill_costs(cost: CostModel, session: TypicalSession) -> list[OperationCost]:
    """The operations of the document in one pass."""
    return cost.breakdown(cost.batch(session.document_tokens, 0))


def decode_costs(cost: CostModel, session: TypicalSession) -> list[OperationCost]:
    """The operations of one decode step at the document's KV."""
    return cost.breakdown(cost.batch(1, session.document_tokens - 1))


def dominant_bound(costs: Iterable[OperationCost]) -> str:
    """The resource that binds the operations which together take longest."""
    seconds: dict[str, float] = defaultdict(float)
    for c in costs:
        seconds[c.bound] += c.seconds
    return max(seconds, key=lambda bound: seconds[bound])


def _breakdown(cost: CostModel, session: TypicalSession, bounds: list[Bound]) -> dict[str, Any]:
    memory = cost.memory
    return {
        "prefill": [_row(c) for c in prefill_costs(cost, session)],
        "decode_step": [_row(c) for c in decode_costs(cost, session)],
        "iteration_overhead_s": cost.scenario.serving.iteration_overhead,
        "memory": {
            "hbm_bytes": memory.hbm_bytes,
            "usable_bytes": memory.usable_bytes,
            "weight_bytes": memory.weight_bytes,
            "activation_bytes": memory.activation_bytes,
            "reserve_bytes": memory.reserve_bytes,
            "kv_capacity_bytes": memory.kv_capacity_bytes,
        },
        "sessions_per_hour_bounds": {
            b.resource: b.sessions_per_s * SECONDS_PER_HOUR for b in bounds if isfinite(b.sessions_per_s)
        },
    }


def _row(c: OperationCost) -> dict[str, Any]:
    return {
        "operation": c.name,
        "flop": c.flop,
        "hbm_bytes": c.hbm_bytes,
        "link_bytes": c.link_bytes,
        "seconds": c.seconds,
        "bound": c.bound,
    }
