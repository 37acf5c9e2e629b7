"""Copies within a CPU's memory as the torch engine makes them: by a thread, while the main one has just computed.

Threads that multiply keep their cores for a while when they are done, and a copy that comes right after a product, or
while products go on, is not as fast as one after another copy. Each run is the only copy, as a session's is.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import torch

from ctxsim.measure.copies import Blocks, piece_sets
from ctxsim.measure.devices import Device
from ctxsim.measure.plain_copy import copy_plain
from ctxsim.measure.plan import LEAST_RUNS
from ctxsim.measure.points import Point
from ctxsim.measure.products import Products
from ctxsim.measure.rotation import rotation
from ctxsim.measure.timing import Timing, timing_of

RUNS = 4 * LEAST_RUNS


def timing(point: Point, device: Device) -> Timing:
    """The time of one copy by a thread, after a product or (beside) among them."""
    ends = (device.torch, device.torch)
    sets = cycle(piece_sets(point, ends, rotation(point.touched_bytes, device.cache_bytes)))
    products = Products(device)
    with ThreadPoolExecutor(1) as thread:
        samples = [_one_s(thread, next(sets), products, point.beside == "gemm") for _ in range(RUNS + 1)]
    return timing_of(samples[1:])


def _one_s(thread: ThreadPoolExecutor, pieces: tuple[Blocks, Blocks], products: Products, beside: bool) -> float:
    products.one()
    copied = thread.submit(_copy_s, *pieces)
    while beside and not copied.done():
        products.one()
    return copied.result()


def _copy_s(sources: Blocks, targets: Blocks) -> float:
    with torch.inference_mode():
        start_s = time.perf_counter()
        for target, source in zip(targets, sources, strict=True):
            copy_plain(target, source)
        return time.perf_counter() - start_s
