"""Copies within a CPU's memory as the torch engine makes them: by a thread, while the main one has just computed.

Threads that multiply keep their cores for a while when they are done, and a copy that comes right after a product, or
while products go on, is not as fast as one after another copy. Each run is the only copy, as a session's is.

Products beside a copy have several rows, as most passes that sessions are moved beside: of 32 MiB on two cores, copies
went at 17 to 18 GB/s beside them, at 15 to 18 beside whole passes of 1 to 8 sequences or of a chunk of 512 tokens, and
at 9 to 12 beside products of one row and nothing else, which read weights as fast as memory gives them.
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
from ctxsim.measure.products import MOST_ROWS, Products
from ctxsim.measure.rotation import rotation
from ctxsim.measure.timing import Timing, timing_of

RUNS = 4 * LEAST_RUNS


def timing(point: Point, device: Device) -> Timing:
    """The time of one copy by a thread, after a product or (beside) among them."""
    ends = (device.torch, device.torch)
    sets = cycle(piece_sets(point, ends, rotation(point.touched_bytes, device.cache_bytes)))
    products = Products(device, MOST_ROWS if point.beside == "gemm" else 1)
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
