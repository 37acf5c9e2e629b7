"""The same session on several machines: how long KV is worth keeping where, and where swap and recompute break even."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ctxsim.analysis.analyze import infeasible_reason
from ctxsim.analysis.session import typical_session
from ctxsim.cost import CostModel, replica_usd_per_s
from ctxsim.explore.residency.choices import Limits
from ctxsim.explore.residency.crossing import crossings
from ctxsim.explore.residency.map import MARKED_IDLES_S, held_at
from ctxsim.explore.sweep import scenarios_of
from ctxsim.spec.document import Document
from ctxsim.spec.scenario import Scenario
from ctxsim.units import SECONDS_PER_HOUR

LOOKED_AT = 200
"""Contexts between which a crossing is looked for, in equal ratios."""


@dataclass(frozen=True)
class MachineLimits:
    """One machine. reason: why nothing fits there, if so; then there are no limits.

    limits: for the context asked about. break_even_tokens: by idle time in seconds, the context from which swap costs
    less than recompute; None: at none up to ``longest_tokens``. back_s: of the copy into HBM.
    """

    hardware: str
    ranks: int
    usd_per_hour: float
    reason: str | None
    longest_tokens: int
    limits: Limits | None
    break_even_tokens: dict[str, int | None]


def break_even_by_machine(
    document: Document, machines: Sequence[str], tokens: int, idles_s: Sequence[float] = MARKED_IDLES_S
) -> list[MachineLimits]:
    """The scenario's document on each machine, at its own price there; raises SpecError for machines that are none."""
    scenarios = scenarios_of(document, [(("hardware", name),) for name in machines])
    return [_limits(scenario.fleet[0], tokens, idles_s) for scenario in scenarios]


def _limits(scenario: Scenario, tokens: int, idles_s: Sequence[float]) -> MachineLimits:
    cost = CostModel(scenario)
    ranks, usd_per_hour = scenario.deployment.tensor_parallel, replica_usd_per_s(scenario) * SECONDS_PER_HOUR
    room_bytes = cost.memory.kv_capacity_bytes
    if room_bytes < cost.layout.held_bytes(tokens):
        reason = infeasible_reason(cost, typical_session(scenario)) or f"no {tokens:,} tokens fit"
        return MachineLimits(scenario.hardware.name, ranks, usd_per_hour, reason, 0, None, {})
    longest = scenario.max_model_len
    looked_at = sorted({round(longest ** (step / LOOKED_AT)) for step in range(LOOKED_AT + 1)})
    fitting = [one for one in looked_at if one >= cost.layout.block_size and cost.layout.held_bytes(one) <= room_bytes]
    (held,) = held_at(scenario, [tokens])
    found = {f"{one.idle_s:g}": one.swap_from_tokens for one in crossings(scenario, fitting, idles_s)}
    limits = held.limits(idles_s[0])
    return MachineLimits(scenario.hardware.name, ranks, usd_per_hour, None, fitting[-1], limits, found)
