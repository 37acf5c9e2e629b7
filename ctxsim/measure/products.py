"""Matrix products with weights that come from memory, which a serving engine makes between everything else.

Between two calls of a kernel a pass reads a whole layer, and more than a cache has. After one product of 16 MiB a
last-level cache of 32 MiB still has much of the code and the data of the call before; after two and more calls of
attention and small kernels take as long as in a pass (eight sequences of 1,750 tokens on a Zen 5: 0.236 ms each after
one product of eight rows, 0.257 after two, 0.260 after three, 0.251 to 0.258 in passes; norms of eight rows 38, 79 and
82 us).
"""

from __future__ import annotations

from functools import cache
from itertools import cycle

import torch

from ctxsim.measure.devices import Device
from ctxsim.measure.operands import in_turn, noise
from ctxsim.measure.points import VALUE_BYTES

WIDTH = 2_048
MOST_ROWS = 8
"""More rows would take longer, and leave the caches no fuller."""

WEIGHT_BYTES = VALUE_BYTES["fp32"] * WIDTH * WIDTH


class Products:
    """Products of so many rows (MOST_ROWS at most), each with weights that no cache has."""

    def __init__(self, device: Device, rows: int = 1) -> None:
        self._rows = noise((min(rows, MOST_ROWS), WIDTH), "fp32", device.torch)
        self._weights = cycle(_weights(device.torch, device.cache_bytes))
        self._count = int(device.cache_bytes // WEIGHT_BYTES) + 1

    def pass_by(self) -> None:
        """The next products, whose weights are together more than the last-level cache has."""
        for _ in range(self._count):
            torch.mm(self._rows, next(self._weights).t())


@cache
def _weights(device: torch.device, cache_bytes: int) -> list[torch.Tensor]:
    """As many as it takes, made once."""
    return in_turn(lambda: noise((WIDTH, WIDTH), "fp32", device), WEIGHT_BYTES, cache_bytes)
