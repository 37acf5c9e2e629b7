"""Times of calls: repeated until the median stands still, by the device's own clock where it has one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, pairwise
from typing import Protocol

import numpy as np
import torch

from ctxsim.measure.plan import LEAST_RUNS, WARM_UP_CALLS
from ctxsim.units import parse

Call = Callable[[], object]

MOST_RUNS = 200
STEADY_RATIO = 0.01
"""Half width of the median's 95 % interval, relative to it, at which more runs would add nothing."""

RUN_S = parse("1 ms", "seconds")
"""Calls shorter than this are timed several at once."""

MOST_CALLS_A_RUN = 512

_NOTCH = 1.57
"""Half width of the 95 % interval of a median: this times the interquartile range over the root of the number of runs
(McGill, Tukey and Larsen, Variations of box plots, The American Statistician 32, 1978)."""


class Background(Protocol):
    """Work that keeps the device busy beside what is timed."""

    def fill(self, seconds: float) -> None:
        """Orders at least so many seconds of it."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is timed: calls that do the same to different operands, taken in turn so that no cache has them.

    capturable: whether a graph can hold them, so that short kernels are timed without the host that issues them.
    before: on a CPU, what is called before every timed call, each of which is a run of its own then.
    """

    calls: Sequence[Call]
    capturable: bool = True
    background: Background | None = None
    before: Call | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """Median and interquartile range of one call, and the number of runs."""

    seconds: float
    iqr_s: float
    n_runs: int

    @property
    def steady(self) -> bool:
        """Whether the median would hardly move with more runs."""
        return _NOTCH * self.iqr_s <= STEADY_RATIO * self.seconds * math.sqrt(self.n_runs)


def time_work(work: Work, kind: str, limit_s: float) -> Timing:
    """The time of one call; runs for ``limit_s`` at most once there are enough, less where the median is steady."""
    runs = _runs(work, kind)
    samples: list[float] = []
    ends_s = time.perf_counter() + limit_s
    while True:
        samples += runs.take(LEAST_RUNS)
        found = timing_of(samples)
        if found.steady or len(samples) >= MOST_RUNS or time.perf_counter() >= ends_s:
            return found


def timing_of(samples: Sequence[float]) -> Timing:
    """Median and interquartile range of the samples."""
    low, middle, high = (float(q) for q in np.percentile(samples, (25, 50, 75)))
    return Timing(middle, high - low, len(samples))


class _Runs(Protocol):
    def take(self, count: int) -> list[float]:
        """Seconds of a call in each of so many runs."""


def _runs(work: Work, kind: str) -> _Runs:
    """After the warm-up: on the host's clock, on the device's, or on the device's with the calls in a graph."""
    calls = cycle(work.calls)
    call_s = _warm_up(calls, kind)
    if work.before is not None:
        return _EachAfter(calls, work.before)
    together = math.ceil(RUN_S / max(call_s, RUN_S / MOST_CALLS_A_RUN))
    if kind == "cpu":
        return _HostRuns(calls, together)
    if work.capturable and together > 1:
        together = max(together, len(work.calls))  # a replay must not come back to operands that are in a cache still
        return _DeviceRuns(cycle([_graph(calls, together).replay]), 1, together, work.background, call_s)
    return _DeviceRuns(calls, together, together, work.background, call_s)


def _warm_up(calls: Iterator[Call], kind: str) -> float:
    """Makes the first calls; the seconds that the last of them took, waiting for it included."""
    seconds = 0.0
    for _ in range(WARM_UP_CALLS):
        start_s = time.perf_counter()
        next(calls)()
        if kind == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start_s
    return seconds


class _HostRuns:
    """Runs of a few calls on the host's clock."""

    def __init__(self, calls: Iterator[Call], together: int) -> None:
        self._calls, self._together = calls, together

    def take(self, count: int) -> list[float]:
        return [self._one() for _ in range(count)]

    def _one(self) -> float:
        start_s = time.perf_counter()
        for _ in range(self._together):
            next(self._calls)()
        return (time.perf_counter() - start_s) / self._together


class _EachAfter:
    """Runs of one call on the host's clock, each after something else."""

    def __init__(self, calls: Iterator[Call], before: Call) -> None:
        self._calls, self._before = calls, before

    def take(self, count: int) -> list[float]:
        return [self._one() for _ in range(count)]

    def _one(self) -> float:
        self._before()
        start_s = time.perf_counter()
        next(self._calls)()
        return time.perf_counter() - start_s


class _DeviceRuns:
    """Runs between events on the device, all of them ordered before the first is waited for.

    One more run goes before them: until it has begun the device may be idle, and its wait for the host would count.
    """

    def __init__(
        self, calls: Iterator[Call], ordered: int, together: int, background: Background | None, call_s: float
    ) -> None:
        self._calls, self._ordered, self._together = calls, ordered, together
        self._background, self._call_s = background, call_s

    def take(self, count: int) -> list[float]:
        if self._background is not None:
            self._background.fill(2 * (count + 1) * self._together * self._call_s)
        events = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
        self._order()
        events[0].record()
        for event in events[1:]:
            self._order()
            event.record()
        torch.cuda.synchronize()
        milli_s = parse("1 ms", "seconds")
        return [float(a.elapsed_time(b)) * milli_s / self._together for a, b in pairwise(events)]

    def _order(self) -> None:
        for _ in range(self._ordered):
            next(self._calls)()


def _graph(calls: Iterator[Call], count: int) -> torch.cuda.CUDAGraph:
    """So many calls as one graph."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(count):
            next(calls)()
    return graph
