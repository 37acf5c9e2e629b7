"""The KV tokens that a decoding sequence touches while runs of iterations follow one another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ctxsim.geometry import Span

Array = np.ndarray


class Stretch(NamedTuple):
    """Stays between two rows of a table of runs, within which they touch ``at_zero`` + growth x steps tokens.

    which: places of the stays; steps: those of the middle iteration of a run.
    """

    which: Array
    first: Array
    end: Array
    at_zero: Array
    growth: float


def stretches(span: Span, steps: Array, first: Array, end: Array, tokens: Array) -> Iterator[Stretch]:
    """All stretches of stays from row ``first`` up to ``end``, in one attention kernel.

    steps: before each row and after the last, rising. tokens: KV of each stay's sequence at step 0, one more each step.
    No sequence crosses a border within a run.
    """
    which = np.arange(len(first))
    if span.phase == "prefill":
        return
    if span.kind == "full":
        yield Stretch(which, first, end, tokens + 1.0, 1.0)
    elif span.kind == "chunked":
        yield _within_chunks(span.tokens, steps, first, end, tokens)
    else:
        filled = np.clip(np.searchsorted(steps, span.tokens - tokens), first, end)
        yield Stretch(which, first, filled, tokens + 1.0, 1.0)
        yield Stretch(which, filled, end, np.full(len(first), float(span.tokens)), 0.0)


def _within_chunks(size: int, steps: Array, first: Array, end: Array, tokens: Array) -> Stretch:
    """A stretch for each chunk of ``size`` tokens that a stay enters: what it touches begins anew in each."""
    entered = np.floor((tokens + steps[first]) / size).astype(np.int64)
    left = np.ceil((tokens + steps[end]) / size).astype(np.int64)
    number = np.maximum(left - entered, 0)
    which = np.repeat(np.arange(len(first)), number)
    chunk = entered[which] + np.arange(len(which)) - np.repeat(np.cumsum(number) - number, number)
    borders = (np.searchsorted(steps, at * size - tokens[which]) for at in (chunk, chunk + 1))
    begin, stop = (np.clip(border, first[which], end[which]) for border in borders)
    return Stretch(which, begin, stop, tokens[which] - chunk * size + 1.0, 1.0)
