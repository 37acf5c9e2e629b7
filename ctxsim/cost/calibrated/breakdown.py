"""What each operation of a batch costs at calibrated times."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from ctxsim.cost.calibrated.each import each
from ctxsim.cost.calibrated.pricing import Pricing
from ctxsim.cost.operations import OperationCost
from ctxsim.geometry import BatchTotals

SMALL_KERNEL = "hbm"
"""What binds the small kernels that fidelity peak does not know: they only move activations."""


def calibrated_costs(
    pricing: Pricing, peaks: Iterable[OperationCost], batch: BatchTotals, maximum: Callable[..., Any]
) -> list[OperationCost]:
    """The costs at the peaks with their seconds replaced by calibrated ones, then those of operations beside them.

    Amounts and what binds are those of the peaks. Products that were measured as part of a module have their amounts
    in their own row, and their time in the module's. An array of batches is priced one by one.
    """
    found = [_replaced(pricing, cost, batch, maximum) for cost in peaks]
    known = {cost.name for cost in found}
    for name in pricing.named:
        if name not in known:
            seconds = each(partial(pricing.seconds, name), batch)
            bound = "host" if name.startswith("host") else _bound(pricing.covers[name], found)
            found.append(OperationCost(name, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, seconds, bound))
    return found


def _bound(covered: tuple[str, ...], costs: list[OperationCost]) -> str:
    """What binds an operation that fidelity peak knows as others: that of these which is longest at the peaks."""
    of = [cost for cost in costs if cost.name in covered and cost.bound]
    return max(of, key=lambda cost: max(cost.compute_s, cost.hbm_s)).bound if of else SMALL_KERNEL


def _replaced(pricing: Pricing, cost: OperationCost, batch: BatchTotals, maximum: Callable[..., Any]) -> OperationCost:
    if cost.name in pricing.unpriced:
        return replace(cost, seconds=pricing.rest_s(cost, maximum))
    return replace(cost, seconds=each(partial(pricing.seconds, cost.name), batch))
