"""Arrays of batches, priced one by one: calibrated times are of numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ctxsim.geometry import BatchTotals


def each(price: Callable[[BatchTotals], Any], batch: BatchTotals, growth: float = 0.0) -> Any:
    """The price of a batch, or of each batch of arrays; ``growth``: of its pairs, and of what it touches."""
    amounts = (batch.sequences, batch.new_tokens, batch.decode_tokens, *batch.pairs, *batch.touched)
    shapes = np.broadcast_shapes(*(np.shape(amount) for amount in amounts))
    if not shapes:
        return price(_one(amounts, len(batch.pairs), growth))
    spans = len(batch.pairs)
    columns = [np.broadcast_to(amount, shapes).ravel().tolist() for amount in amounts]
    prices = np.array([price(_one(row, spans, growth)) for row in zip(*columns, strict=True)])
    return prices.reshape(shapes + prices.shape[1:])


def _one(amounts: tuple[Any, ...], spans: int, growth: float) -> BatchTotals:
    grows = [growth] * spans
    pairs, touched = list(amounts[3 : 3 + spans]), list(amounts[3 + spans :])
    return BatchTotals(amounts[0], amounts[1], amounts[2], pairs, grows, touched, grows)
