"""What each operation of a batch costs at calibrated times."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

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
            seconds = _each(partial(pricing.seconds, name), batch)
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
    return replace(cost, seconds=_each(partial(pricing.seconds, cost.name), batch))


def _each(price: Callable[[BatchTotals], float], batch: BatchTotals) -> Any:
    """The price of a batch, or of each batch of arrays."""
    amounts = (batch.sequences, batch.new_tokens, batch.decode_tokens, *batch.pairs, *batch.touched)
    shapes = np.broadcast_shapes(*(np.shape(amount) for amount in amounts))
    if not shapes:
        return price(batch)
    spans = len(batch.pairs)
    columns = [np.broadcast_to(amount, shapes).ravel() for amount in amounts]
    seconds = [price(_one([column[i].item() for column in columns], spans)) for i in range(columns[0].size)]
    return np.array(seconds).reshape(shapes)


def _one(amounts: list[Any], spans: int) -> BatchTotals:
    zeros = [0.0] * spans
    return BatchTotals(amounts[0], amounts[1], amounts[2], amounts[3 : 3 + spans], zeros, amounts[3 + spans :], zeros)
