"""The smallest replica that holds a model and one session."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ctxsim.analysis.analyze import holds
from ctxsim.analysis.session import TypicalSession
from ctxsim.cost import CostModel
from ctxsim.spec.decoding_checks import has_states
from ctxsim.spec.domains import MOST_DOMAINS, joined
from ctxsim.spec.scenario import Scenario

NARROWER = "fp8"
"""What weights are stored in where they do not fit as they are."""

WIDE = ("bf16", "fp32")


def fitted(scenario: Scenario, session: TypicalSession) -> Scenario | None:
    """The scenario on the fewest accelerators a replica that hold weights and one session; else None.

    First on as many as the machine's scale-up link joins, a power of two, over several nodes where one has fewer: wide
    weights stay as they are where that is enough, and become fp8 where it is not. Then on 2, 4, 8 such domains, where
    the profile knows the network between them.
    """
    most = scenario.hardware.max_accelerators
    stored = [_with_weights(scenario, dtype) for dtype in _formats(scenario)]
    within = [(one, count) for one in stored for count in _doubled(1, most)]
    beyond = [(one, count) for count in _doubled(2 * most, MOST_DOMAINS * most) for one in stored]
    found = (smallest(one, session, [count]) for one, count in (*within, *beyond))
    return next((one for one in found if one is not None), None)


def smallest(scenario: Scenario, session: TypicalSession, accelerators: Iterable[int]) -> Scenario | None:
    """The scenario on the first of these numbers of accelerators a replica that hold weights and a session; else None.

    Of the ways to cut it over several scale-up domains the one that holds the most sessions: groups that divide
    contexts store weights several times, but no KV, of which tensor parallelism copies latent rows and heads. Within
    one domain the scenario's own number of such groups.
    """
    for count in accelerators:
        costs = [CostModel(one) for one in _cut(scenario, count)]
        held = [cost for cost in costs if holds(cost, session.document_tokens)]
        if held:
            best = max(held, key=lambda cost: _sessions(cost, session))
            return best.scenario
    return None


def why_none(scenario: Scenario, session: TypicalSession) -> str:
    """Why no replica does, in a sentence."""
    formats, hardware = " or ".join(_formats(scenario)), scenario.hardware
    most = hardware.max_accelerators * (1 if hardware.scale_out_bytes_per_s is None else MOST_DOMAINS)
    return (
        f"expected {scenario.model.name} in {formats} and one session of {session.document_tokens:,} tokens to fit "
        f"into a replica of at most {most} {hardware.name}, found none that does; name a larger machine"
    )


def _formats(scenario: Scenario) -> tuple[str, ...]:
    own = scenario.serving.weight_dtype
    return (own, NARROWER) if own in WIDE else (own,)


def _with_weights(scenario: Scenario, dtype: str) -> Scenario:
    return replace(scenario, serving=scenario.serving.model_copy(update={"weight_dtype": dtype}))


def _doubled(first: int, most: int) -> Iterator[int]:
    """The number, and twice that, and so on."""
    while first <= most:
        yield first
        first *= 2


def _cut(scenario: Scenario, accelerators: int) -> Iterator[Scenario]:
    """The ways in which a replica can have so many accelerators, those of the widest tensor-parallel groups first."""
    own, hardware = scenario.deployment.context_parallel, scenario.hardware
    divides = scenario.calibration is None and not has_states(scenario.model)
    most = accelerators if divides and accelerators > hardware.max_accelerators else own
    for groups in _doubled(own, most):
        ranks, left = divmod(accelerators, groups)
        if ranks and not left and scenario.model.splits_over(ranks) and joined(ranks, groups, hardware):
            update = {"tensor_parallel": ranks, "context_parallel": groups}
            yield replace(scenario, deployment=scenario.deployment.model_copy(update=update))


def _sessions(cost: CostModel, session: TypicalSession) -> float:
    return float(cost.memory.kv_capacity_bytes / cost.layout.held_bytes(session.document_tokens))
