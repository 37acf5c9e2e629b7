"""Work done and cache held, summed over runs of iterations part by part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ctxsim.cost import CostModel
from ctxsim.geometry import BatchTotals
from ctxsim.records import Records, Table


class Parts(Protocol):
    """Rows that can be read some at a time."""

    def parts(self) -> Iterator[Table]:
        """All rows, some at a time."""


@dataclass(frozen=True)
class GroupRuns:
    """The runs of one group of equal replicas, which are numbered from ``first``."""

    runs: Records
    first: int
    replicas: int

    def has(self, rows: Table) -> np.ndarray:
        """Which of the rows are its."""
        number = rows["replica"] - self.first
        found: np.ndarray = (number >= 0) & (number < self.replicas)
        return found

    def parts(self) -> Iterator[Table]:
        """Its rows, some at a time."""
        for part in self.runs.parts():
            mine = self.has(part)
            if mine.all():
                yield part
            elif mine.any():
                yield Table({name: part[name][mine] for name in part.names})


def work_done(cost: CostModel, runs: Parts) -> tuple[float, float]:
    """FLOP and HBM bytes of all runs together; exact, since both are linear within a run."""
    flop, moved_bytes = 0.0, 0.0
    for part in runs.parts():
        n, batch = part["iterations"], mean_batches(cost, part)
        flop += float(np.sum(n * cost.flop(batch)))
        moved_bytes += float(np.sum(n * cost.hbm_bytes(batch)))
    return flop, moved_bytes


def peak_compute_s(cost: CostModel, runs: Parts) -> float:
    """Seconds that the FLOP of all runs take at the peak rates of their number formats, on one replica."""
    total_s = 0.0
    for part in runs.parts():
        batch = mean_batches(cost, part)
        total_s += float(np.sum(part["iterations"] * cost.compute_s(batch)))
    return total_s


def mean_batches(cost: CostModel, runs: Table) -> BatchTotals:
    """Each run's batch at its mean iteration, which is the middle one: arrays, a value a run."""
    middle = (runs["iterations"] - 1) / 2
    spans = range(len(cost.spans))
    return BatchTotals(
        sequences=runs["sequences"],
        new_tokens=runs["new_tokens"],
        decode_tokens=runs["decode_tokens"],
        pairs=[runs[f"pairs_{i}"] + middle * runs[f"pairs_growth_{i}"] for i in spans],
        pairs_growth=[0.0 for _ in spans],
        touched=[runs[f"touched_tokens_{i}"] + middle * runs[f"touched_growth_tokens_{i}"] for i in spans],
        touched_growth=[0.0 for _ in spans],
    )


def mean_decodes(cost: CostModel, runs: Table, batch: BatchTotals) -> BatchTotals:
    """Those alone who decode, of the runs' mean ``batch``: all of it, a part, or none where prompts are computed alone.

    Pairs are the causal half: a new token makes one less a half where the next will touch one more, else as many as it
    touches. So they are touched - growth / 2, in every span.
    """
    middle, decoding, spans = (runs["iterations"] - 1) / 2, runs["decoding"], range(len(cost.spans))
    alone, none = decoding == runs["sequences"], [0.0 for _ in cost.spans]
    growth = [runs[f"decode_touched_growth_tokens_{i}"] for i in spans]
    touched = [runs[f"decode_touched_tokens_{i}"] + middle * growth[i] for i in spans]
    pairs = [np.where(alone, batch.pairs[i], touched[i] - growth[i] / 2) for i in spans]
    touched = [np.where(alone, batch.touched[i], touched[i]) for i in spans]
    return BatchTotals(decoding, decoding, decoding, pairs, none, touched, none)


def run_s(runs: Table) -> np.ndarray:
    """How long each run lasted."""
    n = runs["iterations"]
    lasted: np.ndarray = n * runs["first_s"] + runs["growth_s"] * n * (n - 1) / 2
    return lasted


def kv_used(runs: Parts, capacity_bytes: float, replicas: int, duration_s: float) -> dict[str, float]:
    """Mean over time and replicas, and peak, of the share of the KV pool that is taken."""
    held_byte_s, peak_bytes = 0.0, 0.0
    for part in runs.parts():
        held_byte_s += float(np.sum(run_s(part) * (part["kv_start_bytes"] + part["kv_end_bytes"]) / 2))
        peak_bytes = max(peak_bytes, float(np.max(part["kv_end_bytes"])))
    mean = held_byte_s / (capacity_bytes * replicas * duration_s) if duration_s else 0.0
    return {"mean": mean, "peak": peak_bytes / capacity_bytes if capacity_bytes else 0.0}
