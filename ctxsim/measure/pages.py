"""Weights, KV and operands of a CPU begin where pages of memory begin.

Where an allocator puts them depends on what a process did before, and their place decides what they cost: weights that
began 960 bytes after a page, as they do once a hundred other kernels were timed, took products of one row 12 % longer
than others (7.3 instead of 6.5 ms for the MLPs of cpu-small on a Zen 5; 6.6 to 6.8 at the beginning of pages).
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence

import torch

LEAST_BYTES = 2**17
"""Less than that lies anywhere: many small tensors that all began with a page would share few places of a cache."""


def pages(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """A tensor whose values are not set, in one piece; raises what torch raises where there is no room."""
    size_bytes = math.prod(shape) * dtype.itemsize
    if device.type != "cpu" or size_bytes < LEAST_BYTES:
        return torch.empty(tuple(shape), dtype=dtype, device=device)
    room = torch.empty(size_bytes + mmap.PAGESIZE, dtype=torch.uint8)
    begin = -room.data_ptr() % mmap.PAGESIZE
    return room[begin : begin + size_bytes].view(dtype).view(tuple(shape))
