"""Whom an iteration is for: the seconds of its operations that are those of a part of its batch.

An iteration that computes prompts and makes tokens is divided operation by operation, as what binds it: FLOP where
compute does, bytes where HBM bandwidth does, tokens on the scale-up link and between domains, and latencies and the
host's overhead evenly over the sequences. FLOP and bytes are those that a sequence causes: its tokens, its pairs, its
KV. Weights are read once for all: what either part alone would have needed is its own, what both would have needed is
divided evenly over all sequences of the iteration.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ctxsim.cost.operations import Operation, Rates
from ctxsim.cost.speculation import Part
from ctxsim.geometry import BatchTotals


class Shares(NamedTuple):
    """Seconds of an iteration: of operations without context, and of the attention kernels, by span."""

    fixed_s: Any
    kernels_s: Sequence[Any]

    @property
    def seconds(self) -> Any:
        """All of them together."""
        return self.fixed_s + sum(self.kernels_s)


class Slope(NamedTuple):
    """By how much longer a kernel takes for a query-key pair more, and for a token of KV more that is touched."""

    per_pair_s: Any
    per_touched_s: Any


class Division(NamedTuple):
    """An iteration's seconds: those for a part of its batch, and all. slopes: of the attention kernels, by span."""

    mine: Shares
    whole: Shares
    slopes: Sequence[Slope]


def peak_division(
    operations: Iterable[Operation], rates: Rates, overhead_s: float, batch: BatchTotals, decodes: BatchTotals
) -> Division:
    """An iteration at the peaks; the part of its batch is ``decodes``."""
    evenly = _evenly(batch, decodes)
    none = 0.0 * evenly
    mine_s, all_s = [none] * (1 + len(batch.pairs)), [none] * (1 + len(batch.pairs))
    slopes = [Slope(none, none) for _ in batch.pairs]
    mine_s[0], all_s[0] = overhead_s * evenly, overhead_s + none
    for op in operations:
        at = 0 if op.span is None else 1 + op.span
        mine, whole, slope = _divided(op, rates, batch, decodes)
        mine_s[at] = mine_s[at] + mine
        all_s[at] = all_s[at] + whole
        if op.span is not None:
            before = slopes[op.span]
            slopes[op.span] = Slope(before.per_pair_s + slope.per_pair_s, before.per_touched_s + slope.per_touched_s)
    return Division(Shares(mine_s[0], mine_s[1:]), Shares(all_s[0], all_s[1:]), slopes)


def drafted_division(parts: Iterable[Part], rates: Rates, overhead_s: float, decodes: BatchTotals) -> Division:
    """An iteration of several passes, each divided by itself.

    Their kernels are in ``fixed_s`` too, without slopes: answers of a round are divided evenly over its sequences.
    """
    none = 0.0 * decodes.sequences
    mine_s, all_s = none, none
    for part in parts:
        divided = peak_division(part.operations, rates, overhead_s, part.batch, part.decodes or decodes)
        mine_s = mine_s + part.weight * divided.mine.seconds
        all_s = all_s + part.weight * divided.whole.seconds
    nothing = [none for _ in decodes.pairs]
    return Division(Shares(mine_s, nothing), Shares(all_s, nothing), [Slope(none, none) for _ in nothing])


def _evenly(batch: BatchTotals, decodes: BatchTotals) -> Any:
    """The decodes' share of the sequences; none where there are none at all."""
    return decodes.sequences / np.where(np.equal(batch.sequences, 0), 1.0, batch.sequences)


def _divided(op: Operation, rates: Rates, batch: BatchTotals, decodes: BatchTotals) -> tuple[Any, Any, Slope]:
    """Seconds of one operation for the decodes and for all, and its slope, as what binds it."""
    hbm, evenly = op.hbm_bytes_per_s(batch, rates.hbm_bytes_per_s), _evenly(batch, decodes)
    compute_s, hbm_s = op.flop(batch) / op.flop_per_s, op.hbm_bytes(batch) / hbm
    computes = compute_s >= hbm_s
    mine_s = np.where(computes, op.flop(decodes) / op.flop_per_s, _bytes_of(op, batch, decodes, evenly) / hbm)
    all_s = np.maximum(compute_s, hbm_s)
    if op.link_bytes_per_token:
        mine_s = mine_s + rates.sent_s(op, decodes) + evenly * rates.waited_s(op)
        all_s = all_s + rates.sent_s(op, batch) + rates.waited_s(op)
    per_touched_s = np.where(computes, op.flop_per_touched / op.flop_per_s, op.bytes_per_touched / hbm)
    return mine_s, all_s, Slope(np.where(computes, op.flop_per_pair / op.flop_per_s, 0.0), per_touched_s)


def _bytes_of(op: Operation, batch: BatchTotals, decodes: BatchTotals, evenly: Any) -> Any:
    """HBM bytes of an operation that are the decodes': their own, and an even part of the weights that both need."""
    mine, all_rows = op.rows(decodes), op.rows(batch)
    alone = op.streamed_bytes(mine, decodes.decode_tokens)
    together = op.streamed_bytes(all_rows, batch.decode_tokens)
    others_alone = op.streamed_bytes(all_rows - mine, batch.decode_tokens - decodes.decode_tokens)
    own, both = op.hbm_bytes(decodes) - alone, alone + others_alone - together
    return own + together - others_alone + both * evenly
