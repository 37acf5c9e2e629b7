"""Arrays of batches, priced one by one: calibrated times are of numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ctxsim.geometry import BatchTotals


def each(price: Callable[[BatchTotals], float], batch: BatchTotals) -> Any:
    """The price of a batch, or of each batch of arrays."""
    amounts = (batch.sequences, batch.new_tokens, batch.decode_tokens, *batch.pairs, *batch.touched)
    shapes = np.broadcast_shapes(*(np.shape(amount) for amount in amounts))
    if not shapes:
        return price(batch)
    spans = len(batch.pairs)
    columns = [np.broadcast_to(amount, shapes).ravel().tolist() for amount in amounts]
    return np.array([price(_one(row, spans)) for row in zip(*columns, strict=True)]).reshape(shapes)


def _one(amounts: tuple[Any, ...], spans: int) -> BatchTotals:
    zeros = [0.0] * spans
    pairs, touched = list(amounts[3 : 3 + spans]), list(amounts[3 + spans :])
    return BatchTotals(amounts[0], amounts[1], amounts[2], pairs, zeros, touched, zeros)
