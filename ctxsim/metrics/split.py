"""Whom the time of busy replicas is for: prompts, answers, or copies beside them.

A run that only computes prompts, or only makes tokens, is theirs. An iteration that does both is divided operation by
operation (cost.shares): at the peaks as what binds them, at fidelity calibrated by what prompts and answers each add to
the measured times. Everything is affine within a run of equal iterations, so that a run is divided as its middle
iteration is, whatever its length.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ctxsim.cost import CostModel
from ctxsim.cost.shares import Shares, Slope
from ctxsim.geometry import BatchTotals
from ctxsim.metrics.utilisation import mean_batches, mean_decodes, run_s
from ctxsim.records import Table


@dataclass(frozen=True, slots=True)
class BusyTime:
    """Seconds of replicas that compute: for prompts, for answers, and what copies beside them cost both."""

    prefill_s: float = 0.0
    decode_s: float = 0.0
    slowed_s: float = 0.0

    def __add__(self, other: BusyTime) -> BusyTime:
        """Of both together."""
        return BusyTime(
            self.prefill_s + other.prefill_s, self.decode_s + other.decode_s, self.slowed_s + other.slowed_s
        )


class SplitRuns(NamedTuple):
    """Each run's whole time without copies: for prompts, for answers. slopes: of the kernels, for all its iterations.

    batch, decodes: the middle iteration's, and of those who decode in it.
    """

    prefill: Shares
    decode: Shares
    slopes: list[Slope]
    batch: BatchTotals
    decodes: BatchTotals


def split_runs(cost: CostModel, runs: Table) -> SplitRuns:
    """Arrays, a value a run; prefill and decode sum to what each run lasted, less what copies made it longer."""
    batch = mean_batches(cost, runs)
    decodes = mean_decodes(cost, runs, batch)
    mine, whole, slopes = cost.division(batch, decodes)
    times = (run_s(runs) - runs["slowed_s"]) / whole.seconds
    prompts = np.where(runs["decoding"] < runs["sequences"], times, 0.0)
    answers = np.where(runs["decoding"] > 0, times, 0.0)
    prefill = Shares(
        (whole.fixed_s - mine.fixed_s) * prompts,
        [(all_s - mine_s) * prompts for all_s, mine_s in zip(whole.kernels_s, mine.kernels_s, strict=True)],
    )
    decode = Shares(mine.fixed_s * answers, [mine_s * answers for mine_s in mine.kernels_s])
    slopes = [Slope(slope.per_pair_s * times, slope.per_touched_s * times) for slope in slopes]
    return SplitRuns(prefill, decode, slopes, batch, decodes)


def busy_time(cost: CostModel, parts: Iterable[Table]) -> BusyTime:
    """The time of all runs together; its parts sum to it."""
    total = BusyTime()
    for part in parts:
        total += busy_time_of(split_runs(cost, part), part)
    return total


def busy_time_of(split: SplitRuns, runs: Table) -> BusyTime:
    """The time of these runs, divided."""
    prefill_s, decode_s = float(np.sum(split.prefill.seconds)), float(np.sum(split.decode.seconds))
    return BusyTime(prefill_s, decode_s, float(np.sum(runs["slowed_s"])))
