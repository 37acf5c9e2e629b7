"""Element-wise kernels: a root-mean-square norm stands for all that read and write activations once."""

from __future__ import annotations

import torch

from ctxsim.measure.devices import Device
from ctxsim.measure.operands import in_turn, noise
from ctxsim.measure.points import Point
from ctxsim.measure.timing import Call, Work


def norm(point: Point, device: Device) -> Work:
    """The norm of m rows of n values."""

    def one() -> Call:
        rows = noise((point.m, point.n), point.dtype, device.torch)
        weights = torch.ones(point.n, dtype=rows.dtype, device=device.torch)
        return lambda: torch.nn.functional.rms_norm(rows, (point.n,), weights)

    return Work(in_turn(one, point.touched_bytes, device.cache_bytes))
