"""Pauses between tokens: exact mean and quantiles from runs of iterations, without listing tokens or keeping runs.

In a run every decoding sequence makes a token an iteration, so the duration of iteration k counts ``decoding`` times;
that of the first only ``decoding - resumed`` times, since a sequence that was paused ends a pause which is listed
apart. A quantile is the least number that at least that share of all pauses does not exceed.

Three passes over the rows: total and range; the narrow bins between which each quantile lies; the runs that reach into
these bins, and how many pauses lie below. Bisection over those few runs gives the quantile to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ctxsim.metrics.latency import QUANTILES
from ctxsim.records import Records, Table
from ctxsim.units import MILLION

BIN_BITS = 16
PAUSES_AT_ONCE = 65_536

Array = np.ndarray


class _Series(NamedTuple):
    """Series of pauses: first_s + k * growth_s for k < n, each ``weight`` times, but the first ``less`` times fewer.

    last_s: the longest pause of each series.
    """

    first_s: Array
    growth_s: Array
    last_s: Array
    n: Array
    weight: Array
    less: Array

    @property
    def pauses(self) -> Array:
        """How many pauses each series stands for."""
        count: Array = self.weight * self.n - self.less
        return count

    def total_s(self) -> float:
        """The sum of all pauses."""
        series_s = self.n * self.first_s + self.growth_s * (self.n * (self.n - 1.0) / 2)
        return float(np.sum(self.weight * series_s - self.less * self.first_s))

    def up_to(self, pause_s: float) -> int:
        """How many pauses are not longer."""
        steps = (pause_s - self.first_s) / np.where(self.growth_s > 0, self.growth_s, 1.0)
        inside = np.clip(np.floor(steps) + 1, 0, self.n).astype(np.int64)
        counted = np.where(pause_s >= self.last_s, self.n, inside)
        return int(np.sum(np.where(self.first_s <= pause_s, self.weight * counted - self.less, 0)))

    def where(self, chosen: Array) -> _Series:
        """The chosen series."""
        return _Series(*(column[chosen] for column in self))

    def merged(self) -> _Series:
        """The same pauses; all series of one and the same length as one."""
        level = self.first_s == self.last_s
        first_s, place = np.unique(self.first_s[level], return_inverse=True)
        weight = np.zeros(len(first_s), np.int64)
        np.add.at(weight, place, self.pauses[level])
        return _joined([_single(first_s, weight), self.where(~level)])


@dataclass(frozen=True)
class _Pauses:
    """All pauses as series, some rows at a time, as often as they are gone through."""

    runs: Records
    gaps_s: Array
    begin_s: float

    def __iter__(self) -> Iterator[_Series]:
        for part in self.runs.parts():
            yield _of_runs(part, self.begin_s)
        for start in range(0, len(self.gaps_s), PAUSES_AT_ONCE):
            pause_s = self.gaps_s[start : start + PAUSES_AT_ONCE]
            yield _single(pause_s, np.ones(len(pause_s), np.int64))


@dataclass(frozen=True)
class _Bins:
    """Bins of equal width in the bits of a number: where numbers are not negative, their bits are in their order."""

    low_bits: int
    high_bits: int

    @property
    def shift(self) -> int:
        """Bits that numbers of one bin differ in."""
        return max(0, (self.high_bits - self.low_bits).bit_length() - BIN_BITS)

    def of(self, values: Array) -> Array:
        """The bin of each value."""
        return (_bits(values) - self.low_bits) >> self.shift

    def edge_bits(self, bin_number: int) -> int:
        """The bits of the least number in the bin."""
        return self.low_bits + (bin_number << self.shift)


def gap_quantiles(runs: Records, gaps_s: Sequence[float] | Array, begin_s: float = 0.0) -> dict[str, float | None]:
    """Mean and quantiles over tokens of all pauses between tokens, of runs that start at ``begin_s`` or later.

    gaps_s: pauses that no run tells of, from a preemption to the next token. Nulls where there is no pause.
    """
    pauses = _Pauses(runs, np.asarray(gaps_s, dtype=float), begin_s)
    total = sum(int(np.sum(series.pauses)) for series in pauses)
    if not total:
        return dict.fromkeys(("mean", *QUANTILES))
    mean_s = sum(series.total_s() for series in pauses) / total
    bins = _bins(pauses)
    needed = [_needed(share, total) for share in QUANTILES.values()]
    brackets = _brackets(pauses, bins, needed)
    below, kept = _inside(pauses, bins, brackets)
    found = [
        _least(kept, count - less, bins.edge_bits(low) - 1, min(bins.edge_bits(high + 1), bins.high_bits))
        for (low, high), count, less in zip(brackets, needed, below, strict=True)
    ]
    return {"mean": mean_s, **dict(zip(QUANTILES, found, strict=True))}


def pause_shares(
    runs: Records, gaps_s: Sequence[float] | Array, points: int, begin_s: float = 0.0
) -> tuple[Array, Array]:
    """So many pauses from the shortest to the longest, and the share of all pauses that are not longer than each.

    They are spread evenly by their logarithm, over six powers of ten at most below the longest. The arguments are those
    of ``gap_quantiles``; empty where it has nulls.
    """
    pauses = _Pauses(runs, np.asarray(gaps_s, dtype=float), begin_s)
    total = sum(int(np.sum(series.pauses)) for series in pauses)
    if not total:
        return np.empty(0), np.empty(0)
    bins = _bins(pauses)
    longest_s = _number(bins.high_bits)
    if not longest_s:
        return np.zeros(points), np.ones(points)
    shortest_s = max(_number(bins.low_bits), longest_s / MILLION)
    limits_s = np.clip(np.geomspace(shortest_s, longest_s, points), shortest_s, longest_s)
    counts = np.zeros(points, np.int64)
    for series in pauses:
        merged = series.merged()
        counts += [merged.up_to(float(limit_s)) for limit_s in limits_s]
    return limits_s, counts / total


def pauses_since(gaps: Records, begin_s: float) -> Array:
    """Of the pauses that no run tells of, those that end at ``begin_s`` or later."""
    return gaps["pause_s"][gaps["end_s"] >= begin_s]


def _of_runs(part: Table, begin_s: float) -> _Series:
    counted = (part["decoding"] * part["iterations"] > part["resumed"]) & (part["start_s"] >= begin_s)
    names = ("first_s", "growth_s", "iterations", "decoding", "resumed")
    first_s, growth_s, n, decoding, resumed = (part[name][counted] for name in names)
    return _Series(first_s, growth_s, first_s + growth_s * (n - 1), n, decoding, resumed)


def _single(pause_s: Array, weight: Array) -> _Series:
    """Pauses that stand alone, each so many times."""
    return _Series(pause_s, np.zeros(len(pause_s)), pause_s, np.ones_like(weight), weight, np.zeros_like(weight))


def _joined(series: Sequence[_Series]) -> _Series:
    return _Series(*(np.concatenate(columns) for columns in zip(*series, strict=True)))


def _bins(pauses: Iterable[_Series]) -> _Bins:
    """Bins from the shortest pause to the longest."""
    low_s, high_s = np.inf, 0.0
    for series in pauses:
        low_s = min(low_s, float(np.min(series.first_s, initial=np.inf)))
        high_s = max(high_s, float(np.max(series.last_s, initial=0.0)))
    return _Bins(int(_bits(low_s)), int(_bits(high_s)))


def _needed(share: float, total: int) -> int:
    """The least count that is at least that share of the total."""
    count = int(share * total)
    return count if count / total >= share else count + 1


def _brackets(pauses: Iterable[_Series], bins: _Bins, needed: Sequence[int]) -> list[tuple[int, int]]:
    """The bins between which each quantile lies, since all pauses of a series lie between its first and its last."""
    first, last = np.zeros(1 << BIN_BITS, np.int64), np.zeros(1 << BIN_BITS, np.int64)
    for series in pauses:
        np.add.at(first, bins.of(series.first_s), series.pauses)
        np.add.at(last, bins.of(series.last_s), series.pauses)
    most, least = np.cumsum(first), np.cumsum(last)
    return [(int(np.searchsorted(most, count)), int(np.searchsorted(least, count))) for count in needed]


def _inside(pauses: Iterable[_Series], bins: _Bins, brackets: Sequence[tuple[int, int]]) -> tuple[list[int], _Series]:
    """The series that reach into any of the brackets, and for each bracket how many pauses of others lie below it."""
    below, kept = [0] * len(brackets), []
    for series in pauses:
        first, last = bins.of(series.first_s), bins.of(series.last_s)
        inside = np.logical_or.reduce([(first <= high) & (last >= low) for low, high in brackets])
        for i, (low, _) in enumerate(brackets):
            below[i] += int(np.sum(series.pauses[~inside & (last < low)]))
        kept.append(series.where(inside).merged())
    return below, _joined(kept)


def _least(kept: _Series, needed: int, low_bits: int, high_bits: int) -> float:
    """The least number that ``needed`` pauses do not exceed; its bits are above the low and at most the high."""
    while high_bits - low_bits > 1:
        middle = (low_bits + high_bits) // 2
        if kept.up_to(_number(middle)) >= needed:
            high_bits = middle
        else:
            low_bits = middle
    return _number(high_bits)


def _bits(values: float | Array) -> Array:
    return np.asarray(values, np.float64).view(np.int64)


def _number(bits: int) -> float:
    return float(np.int64(bits).view(np.float64))
