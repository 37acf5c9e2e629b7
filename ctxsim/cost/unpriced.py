"""What a calibration says nothing of, in words: operations that run at other rates than measured ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ctxsim.cost.model import CostModel


def unpriced_warnings(costs: Iterable[CostModel]) -> tuple[str, ...]:
    """What the readers of any outcome of these replicas must know, each sentence once."""
    return tuple(dict.fromkeys(sentence for cost in costs for sentence in _of(cost)))


def _of(cost: CostModel) -> Iterator[str]:
    between = [op.name for op in cost.operations if op.between_domains and op.name in cost.unpriced]
    unfitted = [name for name in cost.unpriced if name not in between]
    if unfitted:
        yield (
            f"{cost.scenario.calibration_name} has no fit for {', '.join(unfitted)}: these run at the shares of "
            "the peaks that the profile gives"
        )
    if between:
        yield (
            f"{cost.scenario.calibration_name} has no times between scale-up domains: {', '.join(between)} take the "
            "rate and latency that the profile gives, and no interval says how far off that is"
        )
