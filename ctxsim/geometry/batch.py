"""What the cost model sees of a batch: totals, never requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class BatchTotals:
    """Totals of one iteration's batch and their growth per repetition.

    sequences: sequences in the batch. new_tokens: tokens computed. decode_tokens: those of sequences with one new
    token. pairs, touched: by span (one per attention kernel), query-key pairs and KV tokens read or written; the
    growths are per repetition of the same plan. Numbers, or numpy arrays of one shape for many batches at once.
    """

    sequences: Any
    new_tokens: Any
    decode_tokens: Any
    pairs: list[Any]
    pairs_growth: list[Any]
    touched: list[Any]
    touched_growth: list[Any]
