"""What each request is charged for the runs that it was in: exactly its part of each, whatever the size of batches.

Each sequence pays for what its context adds to the attention kernels, pair by pair and token by token. What is left is
divided evenly within the answers of an iteration, and by tokens within the prompts. Of a sequence that decodes, tokens
touched grow by one a step or not at all, so that what it pays in a number of runs in a row is affine in its context at
their beginning: the difference of running sums over the runs, read where it came and where it left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ctxsim.cost import CostModel
from ctxsim.cost.money import replica_usd_per_s
from ctxsim.geometry import Span
from ctxsim.metrics.split import BusyTime, SplitRuns, busy_time_of, split_runs
from ctxsim.metrics.touching import stretches
from ctxsim.metrics.utilisation import GroupRuns
from ctxsim.records import Records, Rows, Table

BLOCK_RUNS = 16_384
"""Runs that are accounted for at once, with the stays in them: memory and rounding do not grow with a simulation."""

Array = np.ndarray
Groups = Sequence[tuple[CostModel, GroupRuns]]


@dataclass(frozen=True)
class Presence:
    """Who was in which runs: rows of chunks and stays, and how many there were after each BLOCK_RUNS runs."""

    chunks: Rows
    stays: Rows
    cuts: Sequence[tuple[int, int]]

    def blocks(self) -> Iterator[tuple[Table, Table]]:
        """The chunks and the stays of each block of runs."""
        chunk, stay = 0, 0
        for chunks, stays in (*self.cuts, (len(self.chunks), len(self.stays))):
            yield self.chunks.take(np.arange(chunk, chunks)), self.stays.take(np.arange(stay, stays))
            chunk, stay = chunks, stays


@dataclass
class BusyCharges:
    """USD by request for prompts and for answers; busy: the time of each group of replicas, divided."""

    prefill_usd: Array
    decode_usd: Array
    busy: list[BusyTime]


class _Prices:
    """What the runs of a block cost, in USD, and who pays it.

    prompts: the whole of the time that is for prompts. per_pair, per_touched: by attention kernel, for all iterations
    of a run. per_decoded: the same of a token touched by who decodes, where anyone does; per_sequence: what each of
    them pays beside that.
    """

    def __init__(self, runs: int, spans: int) -> None:
        self.prompts = np.zeros(runs)
        self.per_sequence = np.zeros(runs)
        self.per_pair = np.zeros((spans, runs))
        self.per_touched = np.zeros((spans, runs))
        self.per_decoded = np.zeros((spans, runs))

    def set(self, mine: Array, runs: Table, split: SplitRuns, usd_per_s: float) -> None:
        """Of the runs of one group of replicas. A token that is decoded makes as many pairs as it touches tokens."""
        evenly_s = split.decode.seconds
        for i, (per_pair_s, per_touched_s) in enumerate(split.slopes):
            self.per_pair[i, mine], self.per_touched[i, mine] = usd_per_s * per_pair_s, usd_per_s * per_touched_s
            per_decoded_s = np.where(runs["decoding"] > 0, per_pair_s + per_touched_s, 0.0)
            self.per_decoded[i, mine] = usd_per_s * per_decoded_s
            evenly_s = evenly_s - per_decoded_s * split.decodes.touched[i]
        self.prompts[mine] = usd_per_s * split.prefill.seconds
        self.per_sequence[mine] = usd_per_s * evenly_s / np.maximum(runs["decoding"], 1)


class _Clock:
    """Where the runs of each replica lie in a block that lists them replica by replica, and the steps up to each.

    sums: steps before each row of the block, and after the last; middle: those before its middle iteration.
    """

    def __init__(self, replicas: int) -> None:
        self._replicas = replicas
        self._runs_before = np.zeros(replicas, np.int64)
        self._steps_before = np.zeros(replicas)
        self.begin(None)

    def begin(self, rows: Table | None) -> None:
        """The next block, or the first, before which nothing was."""
        if rows is None:
            self._counts: Array = np.zeros(self._replicas, np.int64)
            self._steps: Array = np.zeros(self._replicas)
            return
        self._runs_before += self._counts
        self._steps_before += self._steps
        replica, steps = rows["replica"], rows["iterations"] * (rows["decoding"] > 0)
        self._counts = np.bincount(replica, minlength=self._replicas)
        self._steps = np.bincount(replica, steps, minlength=self._replicas)
        self._starts = np.cumsum(self._counts) - self._counts
        self.sums = np.concatenate(([0.0], np.cumsum(steps)))
        self.middle = self.sums[:-1] + (rows["iterations"] - 1) / 2

    def row(self, replica: Array, run: Array) -> Array:
        """The row of a replica's run."""
        found: Array = self._starts[replica] + run - self._runs_before[replica]
        return found

    def tokens(self, replica: Array, step_0_tokens: Array) -> Array:
        """KV tokens that a sequence has where ``sums`` are 0, as if it had decoded ever since."""
        found: Array = step_0_tokens + self._steps_before[replica] - self.sums[self._starts[replica]]
        return found


def charge_runs(groups: Groups, runs: Records, presence: Presence, requests: int) -> BusyCharges:
    """What each of so many requests pays for the runs of all groups of replicas."""
    found = BusyCharges(np.zeros(requests), np.zeros(requests), [BusyTime() for _ in groups])
    spans = groups[0][0].spans
    clock = _Clock(sum(of_group.replicas for _, of_group in groups))
    for block, (chunks, stays) in zip(_blocks(runs), presence.blocks(), strict=False):
        rows = block if np.all(block["replica"] == 0) else _by_replica(block)
        clock.begin(rows)
        prices = _priced(groups, rows, found.busy)
        np.add.at(found.prefill_usd, chunks["request"], _of_chunks(chunks, clock, prices, rows, spans))
        np.add.at(found.decode_usd, stays["request"], _of_stays(stays, clock, prices, spans))
    return found


def _by_replica(block: Table) -> Table:
    order = np.argsort(block["replica"], kind="stable")
    return Table({name: block[name][order] for name in block.names})


def _blocks(runs: Records) -> Iterator[Table]:
    for part in runs.parts():
        for start in range(0, len(part), BLOCK_RUNS):
            yield Table({name: part[name][start : start + BLOCK_RUNS] for name in part.names})


def _priced(groups: Groups, rows: Table, busy: list[BusyTime]) -> _Prices:
    """What the rows cost; adds their time to that of their groups."""
    prices = _Prices(len(rows), len(groups[0][0].spans))
    for i, (cost, of_group) in enumerate(groups):
        mine = np.flatnonzero(of_group.has(rows))
        if len(mine):
            runs = Table({name: rows[name][mine] for name in rows.names})
            split = split_runs(cost, runs)
            busy[i] += busy_time_of(split, runs)
            prices.set(mine, runs, split, replica_usd_per_s(cost.scenario))
    return prices


def _of_chunks(chunks: Table, clock: _Clock, prices: _Prices, runs: Table, spans: Sequence[Span]) -> Array:
    """USD of each chunk of a prompt: its part of the time that its run spent on prompts."""
    row = clock.row(chunks["replica"], chunks["run"])
    usd: Array = prices.prompts[row]
    several = np.flatnonzero(np.bincount(row, minlength=len(runs))[row] > 1)
    if len(several):
        at = row[several]
        new, past = chunks["new_tokens"][several], chunks["past_tokens"][several]
        own_usd = _own(
            new, past, (runs["iterations"][at] - 1) / 2, prices.per_pair[:, at], prices.per_touched[:, at], spans
        )
        rest_usd = prices.prompts - np.bincount(at, own_usd, minlength=len(runs))
        usd[several] = own_usd + rest_usd[at] * new / np.bincount(at, new, minlength=len(runs))[at]
    return usd


def _own(
    new: Array, past: Array, middle: Array, per_pair_usd: Array, per_touched_usd: Array, spans: Sequence[Span]
) -> Array:
    """USD of the attention that chunks cause, in the middle iteration of their runs."""
    usd = np.zeros(len(new))
    for i, span in enumerate(spans):
        seen = (span.phase == "any") | ((span.phase == "decode") == (new == 1))
        pairs, touched = (np.where(seen, of(new, past, np.minimum), 0.0) for of in (span.pairs, span.touched))
        for at in np.flatnonzero(seen & (middle > 0)):
            extent = span.extent(int(new[at]), int(past[at]))
            pairs[at] += middle[at] * extent.pairs_growth
            touched[at] += middle[at] * extent.touched_growth
        usd += per_pair_usd[i] * pairs + per_touched_usd[i] * touched
    return usd


def _of_stays(stays: Table, clock: _Clock, prices: _Prices, spans: Sequence[Span]) -> Array:
    """USD of each stay among those who decode: its parts of what its runs spent on answers."""
    replica = stays["replica"]
    first, end = clock.row(replica, stays["first_run"]), clock.row(replica, stays["end_run"])
    tokens = clock.tokens(replica, stays["step_0_tokens"])
    usd = _between(prices.per_sequence, first, end)
    for i, span in enumerate(spans):
        flat, rising = prices.per_decoded[i], prices.per_decoded[i] * clock.middle
        if flat.any():
            for which, a, b, at_zero, growth in stretches(span, clock.sums, first, end, tokens):
                part = at_zero * _between(flat, a, b) + growth * _between(rising, a, b)
                np.add.at(usd, which, part)
    return usd


def _between(amounts: Array, first: Array, end: Array) -> Array:
    """The sum of amounts from one row up to another, which is not counted."""
    sums = np.concatenate(([0.0], np.cumsum(amounts)))
    between: Array = sums[end] - sums[first]
    return between
