"""Whom the time of busy replicas is for: prompts, answers, or copies beside them.

A run that only computes prompts, or only makes tokens, is theirs. An iteration that does both is divided operation by
operation, as what binds it: FLOP where compute does, bytes where HBM bandwidth does, tokens on the scale-up link, and
the host's overhead evenly over the sequences. FLOP and bytes are those that a sequence causes: its tokens, its pairs,
its KV. Weights are read once for all: what prompts or answers alone would have needed is theirs, what both would have
needed is divided evenly over all sequences of the iteration. Everything is affine within a run of equal iterations, so
that a run is divided as its middle iteration is, whatever its length.

Operations are those at the peaks. At fidelity calibrated an iteration lasts as long as calibrated operations do, and
is divided in the same proportions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ctxsim.cost import CostModel, Operation
from ctxsim.geometry import BatchTotals
from ctxsim.metrics.utilisation import Parts, mean_batches, mean_decodes, run_s
from ctxsim.records import Table


@dataclass(frozen=True, slots=True)
class BusyTime:
    """Seconds of replicas that compute: for prompts, for answers, and what copies beside them cost both."""

    prefill_s: float
    decode_s: float
    slowed_s: float


def busy_time(cost: CostModel, runs: Parts) -> BusyTime:
    """The time of all runs together; its parts sum to it."""
    prefill_s, decode_s, slowed_s = 0.0, 0.0, 0.0
    for part in runs.parts():
        undisturbed_s = run_s(part) - part["slowed_s"]
        of_decodes_s = undisturbed_s * _decode_share(cost, part)
        decode_s += float(np.sum(of_decodes_s))
        prefill_s += float(np.sum(undisturbed_s - of_decodes_s))
        slowed_s += float(np.sum(part["slowed_s"]))
    return BusyTime(prefill_s, decode_s, slowed_s)


def _decode_share(cost: CostModel, runs: Table) -> np.ndarray:
    """The share of each run's time that is its answers'."""
    share = np.where(runs["decoding"] > 0, 1.0, 0.0)
    mixed = np.flatnonzero((runs["decoding"] > 0) & (runs["decoding"] < runs["sequences"]))
    if len(mixed):
        rows = Table({name: runs[name][mixed] for name in runs.names})
        mine_s, all_s = decode_seconds(cost, mean_batches(cost, rows), mean_decodes(cost, rows))
        share[mixed] = mine_s / all_s
    return share


def decode_seconds(cost: CostModel, batch: BatchTotals, decodes: BatchTotals) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of an iteration at the peaks: those that are for ``decodes``, a part of the batch, and all."""
    mine_s, all_s = 0.0 * batch.sequences, 0.0 * batch.sequences
    for part in cost.parts(batch):
        mine = decodes if part.decodes is None else part.decodes
        of_part_s = _part_seconds(cost, part.operations, part.batch, mine)
        mine_s, all_s = mine_s + part.weight * of_part_s[0], all_s + part.weight * of_part_s[1]
    return mine_s, all_s


def _part_seconds(
    cost: CostModel, operations: Sequence[Operation], batch: BatchTotals, decodes: BatchTotals
) -> tuple[np.ndarray, np.ndarray]:
    """The same of one pass over a batch that ``decodes`` are part of."""
    rates, overhead_s = cost.rates, cost.scenario.serving.iteration_overhead
    evenly = decodes.sequences / batch.sequences
    mine_s, all_s = overhead_s * evenly, overhead_s + 0.0 * evenly
    for op in operations:
        compute_s = op.flop(batch) / op.flop_per_s
        hbm_bytes_per_s = op.hbm_bytes_per_s(batch, rates.hbm_bytes_per_s)
        hbm_s = op.hbm_bytes(batch) / hbm_bytes_per_s
        mine_compute_s = op.flop(decodes) / op.flop_per_s
        mine_hbm_s = _bytes_of(op, batch, decodes, evenly) / hbm_bytes_per_s
        mine_s = mine_s + np.where(compute_s >= hbm_s, mine_compute_s, mine_hbm_s)
        all_s = all_s + np.maximum(compute_s, hbm_s)
        if op.link_bytes_per_token and rates.link_bytes_per_s is not None:
            mine_s = mine_s + op.link_bytes(decodes) / rates.link_bytes_per_s
            all_s = all_s + op.link_bytes(batch) / rates.link_bytes_per_s
    return mine_s, all_s


def _bytes_of(op: Operation, batch: BatchTotals, decodes: BatchTotals, evenly: np.ndarray) -> np.ndarray:
    """HBM bytes of an operation that are the decodes': their own, and an even part of the weights that both need."""
    mine, all_rows = op.rows(decodes), op.rows(batch)
    alone = op.streamed_bytes(mine, decodes.decode_tokens)
    own = op.hbm_bytes(decodes) - alone
    together = op.streamed_bytes(all_rows, batch.decode_tokens)
    others_alone = op.streamed_bytes(all_rows - mine, batch.decode_tokens - decodes.decode_tokens)
    both = alone + others_alone - together
    found: np.ndarray = own + together - others_alone + both * evenly
    return found
