"""Attention kernels at measured times: at fixed batch, times at knots of mean context, linear between them.

A curve may bend as it likes; between two knots the time is affine in the context, so that an iteration that repeats has
a law of affine pieces. Where sequences of a batch differ, their mean context counts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple, Protocol

from ctxsim.cost.curves.mixed import TILE_QUERIES
from ctxsim.geometry import UNBOUNDED, BatchTotals, Span

CONTEXT_KNOTS = (0, *(2**k for k in range(4, 25)))
"""Tokens of context at which a kernel is priced."""


class Stretch(NamedTuple):
    """Seconds at an iteration, their growth with each that follows, and the first iteration where that changes."""

    seconds: float
    growth_s: float
    until: int


NOTHING = Stretch(0.0, 0.0, UNBOUNDED)


class Kernel(Protocol):
    """An operation whose time depends on the context."""

    @property
    def operation(self) -> str:
        """Its name in breakdowns."""
        ...

    @property
    def span(self) -> int:
        """Its place among the batch's pairs and touched tokens."""
        ...

    @property
    def by_pairs(self) -> bool:
        """Whether its context is that of pairs; else that of touched tokens."""
        ...

    def at(self, batch: BatchTotals, start: int) -> Stretch:
        """The time at iteration ``start`` of a batch that repeats."""
        ...


class _Knots:
    """Times at the knots, worked out once for each batch shape."""

    def __init__(self, price: Callable[..., float]) -> None:
        self._price = price
        self._seconds: dict[tuple[float, ...], float] = {}

    def at(self, context: float, growth: float, shape: tuple[float, ...]) -> Stretch:
        """The time of a batch of that shape at a mean context that grows by so much an iteration."""
        knot = min(bisect_right(CONTEXT_KNOTS, context), len(CONTEXT_KNOTS) - 1)
        low, high = CONTEXT_KNOTS[knot - 1], CONTEXT_KNOTS[knot]
        low_s, high_s = self._of(shape, low), self._of(shape, high)
        per_token_s = (high_s - low_s) / (high - low)
        until = UNBOUNDED
        if growth > 0 and knot < len(CONTEXT_KNOTS) - 1:
            until = max(1, ceil((high - context) / growth))
        return Stretch(low_s + per_token_s * (context - low), per_token_s * growth, until)

    def _of(self, shape: tuple[float, ...], knot: int) -> float:
        key = (*shape, knot)
        seconds = self._seconds.get(key)
        if seconds is None:
            seconds = self._seconds[key] = float(self._price(*shape, knot))
        return seconds


@dataclass(frozen=True, slots=True)
class DecodeKernel:
    """One new token for each of a number of sequences; knots price (sequences, mean context).

    beside: what they add to the kernel of chunks in the same batch, by (sequences, tiles of a mean chunk, mean
    context); None where chunks make no difference, or it was not measured.
    """

    operation: str
    span: int
    knots: _Knots
    beside: _Knots | None = None
    by_pairs: bool = field(default=False, init=False)

    def at(self, batch: BatchTotals, start: int) -> Stretch:
        """See Kernel."""
        sequences, touched, growth = batch.decode_tokens, batch.touched[self.span], batch.touched_growth[self.span]
        if not touched:
            return NOTHING
        context, growth = (touched + start * growth) / sequences, growth / sequences
        chunks = batch.sequences - sequences
        if chunks and self.beside is not None:
            tiles = ceil((batch.new_tokens - sequences) / chunks / TILE_QUERIES)
            return _later(self.beside.at(context, growth, (sequences, tiles)), start)
        return _later(self.knots.at(context, growth, (sequences,)), start)


@dataclass(frozen=True, slots=True)
class PrefillKernel:
    """Chunks of prompts after what is there of them; knots price (chunks, mean new tokens, mean past tokens).

    The mean past is that of the query-key pairs, of a window that of the tokens it still reaches.
    """

    operation: str
    span: int
    window: Span
    knots: _Knots

    @property
    def by_pairs(self) -> bool:
        """See Kernel."""
        return self.window.kind == "full"

    def at(self, batch: BatchTotals, start: int) -> Stretch:
        """See Kernel."""
        span, chunks = self.span, batch.sequences - batch.decode_tokens
        new = batch.new_tokens - batch.decode_tokens
        if not new:
            return NOTHING
        each = new / chunks
        if self.by_pairs:
            past = (batch.pairs[span] + start * batch.pairs_growth[span]) / new - each / 2
            growth = batch.pairs_growth[span] / new
        else:
            past = (batch.touched[span] + start * batch.touched_growth[span]) / chunks - each
            growth = batch.touched_growth[span] / chunks
        return _later(self.knots.at(max(0.0, past), growth, (chunks, each)), start)


def _later(stretch: Stretch, start: int) -> Stretch:
    """Counted from the first iteration of the batch."""
    if stretch.until == UNBOUNDED:
        return stretch
    return Stretch(stretch.seconds, stretch.growth_s, start + stretch.until)


def decode_kernel(
    operation: str,
    span: int,
    price: Callable[[float, float], float],
    beside: Callable[[float, float, float], float] | None = None,
) -> DecodeKernel:
    """A kernel priced by seconds of (sequences, mean context tokens), beside chunks by what DecodeKernel says."""
    return DecodeKernel(operation, span, _Knots(price), None if beside is None else _Knots(beside))


def prefill_kernel(
    operation: str, span: int, window: Span, price: Callable[[float, float, float], float]
) -> PrefillKernel:
    """A kernel priced by seconds of (chunks, new tokens of each, past tokens of each)."""
    return PrefillKernel(operation, span, window, _Knots(price))
