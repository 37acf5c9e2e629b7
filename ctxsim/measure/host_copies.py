"""Copies within a CPU's memory as the torch engine makes them: by a thread, while the main one computes or just has.

What goes on beside them is passes: beside products of one row, back to back, copies of 32 MiB went at 11 GB/s in one
process and at 18 in the next. Each run is the only copy, as a session's is.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import torch

from ctxsim.measure.copies import Blocks, piece_sets
from ctxsim.measure.copy_threads import copy_threads
from ctxsim.measure.devices import Device
from ctxsim.measure.passes import Passes, small_passes
from ctxsim.measure.plain_copy import copy_plain
from ctxsim.measure.plan import LEAST_RUNS
from ctxsim.measure.points import Point
from ctxsim.measure.rotation import rotation
from ctxsim.measure.timing import Timing, timing_of

Pieces = tuple[Blocks, Blocks]
"""Sources and targets."""

RUNS = 4 * LEAST_RUNS


def timing(point: Point, device: Device) -> Timing:
    """The time of one copy by a thread, after a pass or (beside) while passes go on."""
    ends = (device.torch, device.torch)
    sets = cycle(piece_sets(point, ends, rotation(point.touched_bytes, device.cache_bytes)))
    passes = small_passes(device)
    one_s = _beside_s if point.beside == "gemm" else _after_s
    with copy_threads(1) as (thread,):
        samples = [one_s(thread, next(sets), passes) for _ in range(RUNS + 1)]
    return timing_of(samples[1:])


def _after_s(thread: ThreadPoolExecutor, pieces: Pieces, passes: Passes) -> float:
    """A copy while nothing is computed."""
    passes.one()
    return thread.submit(copied_s, *pieces).result()


def _beside_s(thread: ThreadPoolExecutor, pieces: Pieces, passes: Passes) -> float:
    """A copy that sets out with a pass, which has others behind it."""
    copied = thread.submit(copied_s, *pieces)
    while not copied.done():
        passes.one()
    return copied.result()


def copied_s(sources: Blocks, targets: Blocks) -> float:
    """Seconds of a copy, piece by piece."""
    with torch.inference_mode():
        start_s = time.perf_counter()
        for target, source in zip(targets, sources, strict=True):
            copy_plain(target, source)
        return time.perf_counter() - start_s
