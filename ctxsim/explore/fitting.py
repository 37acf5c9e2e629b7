"""The smallest replica that holds a model and one session."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ctxsim.analysis.analyze import infeasible_reason
from ctxsim.analysis.session import TypicalSession
from ctxsim.cost import CostModel
from ctxsim.spec.scenario import Scenario

NARROWER = "fp8"
"""What weights are stored in where they do not fit as they are."""

WIDE = ("bf16", "fp32")


def fitted(scenario: Scenario, session: TypicalSession) -> Scenario | None:
    """The scenario on the fewest accelerators a replica (a power of two) that hold weights and one session; else None.

    As many as the machine's scale-up link joins, over several nodes where one has fewer. Wide weights stay as they are
    where that is enough, and become fp8 where it is not.
    """
    return next((one for one in _candidates(scenario) if infeasible_reason(CostModel(one), session) is None), None)


def why_none(scenario: Scenario, session: TypicalSession) -> str:
    """Why no replica does, in a sentence."""
    formats = " or ".join(_formats(scenario))
    most = scenario.hardware.max_accelerators
    return (
        f"expected {scenario.model.name} in {formats} and one session of {session.document_tokens:,} tokens to fit "
        f"into a replica of at most {most} {scenario.hardware.name}, found none that does; name a larger machine"
    )


def _formats(scenario: Scenario) -> tuple[str, ...]:
    own = scenario.serving.weight_dtype
    return (own, NARROWER) if own in WIDE else (own,)


def _candidates(scenario: Scenario) -> Iterator[Scenario]:
    for dtype in _formats(scenario):
        ranks = 1
        while ranks <= scenario.hardware.max_accelerators:
            if scenario.model.splits_over(ranks):
                deployment = scenario.deployment.model_copy(update={"tensor_parallel": ranks})
                serving = scenario.serving.model_copy(update={"weight_dtype": dtype})
                yield replace(scenario, deployment=deployment, serving=serving)
            ranks *= 2
