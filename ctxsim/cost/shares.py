"""Whom an iteration is for: the seconds of its operations that are those of a part of its batch.

An iteration that computes prompts and makes tokens is divided operation by operation, as what binds it: FLOP where
compute does, bytes where HBM bandwidth does, tokens on the scale-up link, and the host's overhead evenly over the
sequences. FLOP and bytes are those that a sequence causes: its tokens, its pairs, its KV. Weights are read once for
all: what either part alone would have needed is its own, what both would have needed is divided evenly over all
sequences of the iteration.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ctxsim.cost.operations import Operation, Rates
from ctxsim.geometry import BatchTotals


class Shares(NamedTuple):
    """Seconds of an iteration: of operations without context, and of the attention kernels, by span."""

    fixed_s: Any
    kernels_s: Sequence[Any]

    @property
    def seconds(self) -> Any:
        """All of them together."""
        return self.fixed_s + sum(self.kernels_s)


def peak_shares(
    operations: Iterable[Operation], rates: Rates, overhead_s: float, batch: BatchTotals, decodes: BatchTotals
) -> tuple[Shares, Shares]:
    """Seconds of an iteration at the peaks: those that are for ``decodes``, a part of the batch, and all."""
    evenly = decodes.sequences / batch.sequences
    mine_s: list[Any] = [overhead_s * evenly, *(0.0 * evenly for _ in batch.pairs)]
    all_s: list[Any] = [overhead_s + 0.0 * evenly, *mine_s[1:]]
    for op in operations:
        at = 0 if op.span is None else 1 + op.span
        mine, whole = _operation_s(op, rates, batch, decodes, evenly)
        mine_s[at] = mine_s[at] + mine
        all_s[at] = all_s[at] + whole
    return Shares(mine_s[0], mine_s[1:]), Shares(all_s[0], all_s[1:])


def _operation_s(
    op: Operation, rates: Rates, batch: BatchTotals, decodes: BatchTotals, evenly: Any
) -> tuple[Any, Any]:
    compute_s = op.flop(batch) / op.flop_per_s
    hbm_s = op.hbm_bytes(batch) / rates.hbm_bytes_per_s
    mine_compute_s = op.flop(decodes) / op.flop_per_s
    mine_hbm_s = _bytes_of(op, batch, decodes, evenly) / rates.hbm_bytes_per_s
    mine_s, all_s = np.where(compute_s >= hbm_s, mine_compute_s, mine_hbm_s), np.maximum(compute_s, hbm_s)
    if op.link_bytes_per_token and rates.link_bytes_per_s is not None:
        mine_s = mine_s + op.link_bytes(decodes) / rates.link_bytes_per_s
        all_s = all_s + op.link_bytes(batch) / rates.link_bytes_per_s
    return mine_s, all_s


def _bytes_of(op: Operation, batch: BatchTotals, decodes: BatchTotals, evenly: Any) -> Any:
    """HBM bytes of an operation that are the decodes': their own, and an even part of the weights that both need."""
    own = op.hbm_bytes(decodes) - op.streamed_bytes(decodes.new_tokens)
    together = op.streamed_bytes(batch.new_tokens)
    others_alone = op.streamed_bytes(batch.new_tokens - decodes.new_tokens)
    both = op.streamed_bytes(decodes.new_tokens) + others_alone - together
    return own + together - others_alone + both * evenly
