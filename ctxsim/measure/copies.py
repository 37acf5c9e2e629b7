"""Copies within a device and between it and the host: whole or in blocks, one way or both, alone or beside a GEMM.

A copy in blocks is issued block by block from the host, as an engine that swaps scattered KV blocks does; its time
has whatever is slower, issuing or moving.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import torch

from ctxsim.measure.devices import Device
from ctxsim.measure.operands import noise
from ctxsim.measure.pages import pages
from ctxsim.measure.plan import LEAST_RUNS
from ctxsim.measure.points import Point
from ctxsim.measure.rotation import rotation
from ctxsim.measure.timing import Call, Work

GEMM_WIDTH = 8_192
"""Rows, columns and inputs of the product that runs beside a copy: it fills a device."""

Ends = tuple[torch.device, torch.device]
Blocks = Sequence[torch.Tensor]


def copy(point: Point, device: Device) -> Work:
    """Copies from and to places taken in turn."""
    host = torch.device("cpu")
    out, back = (device.torch, host), (host, device.torch)
    ends: dict[str, Ends] = {"device": (device.torch, device.torch), "to_host": out, "to_device": back}
    sets = rotation(point.touched_bytes, device.cache_bytes)
    if point.direction == "both":
        ways = (_copies(point, way, sets) for way in (out, back))
        calls = [_both_ways(*pair) for pair in zip(*ways, strict=True)]
    else:
        calls = _copies(point, ends[point.direction], sets)
    return Work(calls, capturable=False, background=_Products(device) if point.beside == "gemm" else None)


def _copies(point: Point, ends: Ends, sets: int) -> list[Call]:
    """So many copies, each of blocks of its own."""
    return [_copy(*pieces) for pieces in piece_sets(point, ends, sets)]


def piece_sets(point: Point, ends: Ends, sets: int) -> list[tuple[Blocks, Blocks]]:
    """Sources and targets of so many copies."""
    sources, targets = (_blocks(point, end, sets) for end in ends)
    count = point.descriptors
    return [(sources[i : i + count], targets[i : i + count]) for i in range(0, sets * count, count)]


def _copy(sources: Sequence[torch.Tensor], targets: Sequence[torch.Tensor]) -> Call:
    """The copy of every block."""
    if len(sources) == 1:
        return lambda: targets[0].copy_(sources[0], non_blocking=True)
    pairs = list(zip(targets, sources, strict=True))

    def every_block() -> None:
        for target, source in pairs:
            target.copy_(source, non_blocking=True)

    return every_block


def _blocks(point: Point, place: torch.device, sets: int) -> Sequence[torch.Tensor]:
    """The blocks of all sets, at every second place of a row of them, so that no two are one piece."""
    shape = (sets * point.descriptors, 1 if point.descriptors == 1 else 2, point.block_bytes)
    pinned = point.pinned and place.type == "cpu"
    row = torch.empty(shape, dtype=torch.uint8, pin_memory=True) if pinned else pages(shape, torch.uint8, place)
    row.fill_(1)  # pages that were never written are not there, and are read from a cache
    blocks: Sequence[torch.Tensor] = row[:, 0].unbind()
    return blocks


def _both_ways(out: Call, back: Call) -> Call:
    """Both at once, each on a stream of its own; done when both are."""
    streams = (torch.cuda.Stream(), torch.cuda.Stream())

    def both() -> None:
        here = torch.cuda.current_stream()
        for stream, way in zip(streams, (out, back), strict=True):
            stream.wait_stream(here)
            with torch.cuda.stream(stream):
                way()
        for stream in streams:
            here.wait_stream(stream)

    return both


class _Products:
    """Matrix products on a stream of their own."""

    def __init__(self, device: Device) -> None:
        shape = (GEMM_WIDTH, GEMM_WIDTH)
        self._left, self._right = (noise(shape, "bf16", device.torch) for _ in range(2))
        self._out = torch.empty_like(self._left)
        self._stream = torch.cuda.Stream()
        self._product_s = min(self._timed_s() for _ in range(LEAST_RUNS))

    def fill(self, seconds: float) -> None:
        """Orders products for at least so many seconds."""
        with torch.cuda.stream(self._stream):
            for _ in range(math.ceil(seconds / self._product_s) + 1):
                torch.mm(self._left, self._right, out=self._out)

    def _timed_s(self) -> float:
        torch.cuda.synchronize()
        start_s = time.perf_counter()
        self.fill(0)
        torch.cuda.synchronize()
        return time.perf_counter() - start_s
