"""Sums over several devices of one machine with NCCL, all driven by one process."""

from __future__ import annotations

import torch
from torch.cuda import nccl

from ctxsim.measure.devices import Device
from ctxsim.measure.operands import DTYPES, in_turn
from ctxsim.measure.points import VALUE_BYTES, Point
from ctxsim.measure.timing import Call, Work


def all_reduce(point: Point, device: Device) -> Work:
    """Sums of ``moved_bytes`` on each of the first devices; timed on the first one."""
    values = point.moved_bytes // VALUE_BYTES[point.dtype]

    def one() -> Call:
        parts = [
            torch.ones(values, dtype=DTYPES[point.dtype], device=torch.device("cuda", place))
            for place in range(point.accelerators)
        ]
        return lambda: nccl.all_reduce(parts)

    return Work(in_turn(one, point.moved_bytes, device.cache_bytes), capturable=False)
