"""Matrix products with weights that come from memory, which a serving engine makes between everything else."""

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


class Products:
    """Products of so many rows (MOST_ROWS at most), each with weights that no cache has."""

    def __init__(self, device: Device, rows: int = 1) -> None:
        self._rows = noise((min(rows, MOST_ROWS), WIDTH), "fp32", device.torch)
        self._weights = cycle(_weights(device.torch, device.cache_bytes))

    def one(self) -> None:
        """The next product."""
        torch.mm(self._rows, next(self._weights).t())


@cache
def _weights(device: torch.device, cache_bytes: int) -> list[torch.Tensor]:
    """As many as it takes, made once."""
    weight_bytes = float(VALUE_BYTES["fp32"] * WIDTH * WIDTH)
    return in_turn(lambda: noise((WIDTH, WIDTH), "fp32", device), weight_bytes, cache_bytes)
