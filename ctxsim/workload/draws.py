"""Random lengths, think times and arrivals: endless streams, each with randomness of its own.

Every purpose (and, where the loop is closed, every user) has its own ``SeedSequence``, so that a draw depends on
the seed, the purpose and its place in the stream alone: not on other purposes, other users or the order in which
requests complete. Streams are drawn in blocks, which gives the same values as drawing one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from functools import partial
from itertools import accumulate, count, repeat
from typing import Any

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence
from numpy.typing import NDArray

from ctxsim.spec.lengths import ConstantLength, ExponentialLength, Length, LognormalLength, UniformLength
from ctxsim.spec.workload import (
    ConstantArrival,
    ConstantTime,
    ExponentialTime,
    GammaArrival,
    LognormalTime,
    OpenArrival,
    ThinkTime,
)

Continuous = ExponentialTime | LognormalTime | ExponentialLength | LognormalLength
"""Distributions over the positive real numbers."""

DrawnLength = UniformLength | ExponentialLength | LognormalLength
"""Distributions of whole token counts."""


class Purpose(IntEnum):
    """What a stream is for. The numbers are part of what a seed means: never renumber them."""

    ARRIVALS = 0
    PROMPTS = 1
    OUTPUTS = 2
    DOCUMENTS = 3
    QUESTIONS = 4
    ANSWERS = 5
    THINKING = 6


BLOCK_DRAWS = 4096
"""Draws made in one go for a stream that all requests share."""

USER_BLOCK_DRAWS = 32
"""Draws made in one go for a stream of one user: there may be many users with few requests each."""


def generator(seed: int, purpose: Purpose, user: int | None = None) -> Generator:
    """The random generator of a purpose, or of one user's share of it."""
    key = (int(purpose),) if user is None else (int(purpose), user)
    return Generator(PCG64(SeedSequence(seed, spawn_key=key)))


def length_stream(length: Length, seed: int, purpose: Purpose, user: int | None = None) -> Iterator[int]:
    """Token counts, endlessly."""
    if isinstance(length, ConstantLength):
        return repeat(length.tokens)
    return _one_by_one(partial(draw_lengths, length), seed, purpose, user)


def time_stream(time: ThinkTime, seed: int, purpose: Purpose, user: int | None = None) -> Iterator[float]:
    """Durations in seconds, endlessly."""
    if isinstance(time, ConstantTime):
        return repeat(time.value)
    return _one_by_one(partial(draw_values, time), seed, purpose, user)


def arrival_stream(arrival: OpenArrival, seed: int) -> Iterator[float]:
    """Points in time, endlessly and non-decreasing: one gap from zero on, or from zero itself where gaps are equal."""
    if isinstance(arrival, ConstantArrival):
        return (index / arrival.rate for index in count())
    # A Poisson process is the gamma process of shape 1, and numpy draws the very same numbers for both.
    shape = arrival.burstiness if isinstance(arrival, GammaArrival) else 1.0
    scale_s = 1 / (shape * arrival.rate)
    gaps = _one_by_one(lambda rng, size: rng.standard_gamma(shape, size) * scale_s, seed, Purpose.ARRIVALS, None)
    return accumulate(gaps)


def draw_lengths(length: DrawnLength, rng: Generator, size: int) -> NDArray[np.int64]:
    """``size`` token counts: clipped to the distribution's range, which begins at one, and rounded to whole tokens."""
    if isinstance(length, UniformLength):
        # One uniform number a draw, so that two ranges see the same randomness.
        return length.min + np.floor(rng.random(size) * (length.max - length.min + 1)).astype(np.int64)
    tokens: NDArray[np.int64] = np.rint(np.clip(draw_values(length, rng, size), length.min, length.max)).astype(
        np.int64
    )
    return tokens


def draw_values(drawn: Continuous, rng: Generator, size: int) -> NDArray[np.float64]:
    """``size`` values of the distribution, in the unit of its mean (seconds, or tokens before clipping).

    Lognormal: exp(mu + sigma z) with mu = ln(mean) - sigma**2 / 2, so that the mean is the one asked for.
    """
    if isinstance(drawn, ExponentialTime | ExponentialLength):
        return rng.standard_exponential(size) * drawn.mean
    sigma = drawn.sigma
    spread: NDArray[np.float64] = np.exp(sigma * rng.standard_normal(size) - sigma**2 / 2)
    return spread * drawn.mean


def _one_by_one(
    draw: Callable[[Generator, int], NDArray[Any]], seed: int, purpose: Purpose, user: int | None
) -> Iterator[Any]:
    """The values of a stream one at a time; its generator is made when the first one is asked for."""
    rng = generator(seed, purpose, user)
    size = BLOCK_DRAWS if user is None else USER_BLOCK_DRAWS
    while True:
        yield from draw(rng, size).tolist()
