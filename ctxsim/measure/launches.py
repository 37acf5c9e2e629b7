"""What a launch costs: issuing it on the host, running it in a graph, and waiting for it.

to_device: the host's time to issue one kernel that has next to nothing to do, many of them in a row and none waited
for (a CPU: to call it). device: the time of one such kernel among many in a graph, nobody issuing. both: the host's
time to issue one and to wait until it has ended.
"""

from __future__ import annotations

import time

import torch

from ctxsim.measure.devices import Device
from ctxsim.measure.plan import LEAST_RUNS
from ctxsim.measure.points import Point
from ctxsim.measure.timing import Timing, Work, timing_of

ISSUED = 512
"""Launches in a row: fewer than a device's queue can hold, so that the host never waits for room."""

RUNS = 8 * LEAST_RUNS


def launch(point: Point, device: Device) -> Work:
    """Adds to one value, again and again."""
    value = torch.zeros(1, device=device.torch)
    return Work([lambda: value.add_(1)])


def host_timing(point: Point, device: Device) -> Timing:
    """The host's time of a launch, by its own clock."""
    (call,) = launch(point, device).calls
    waits = point.direction == "both"
    samples = []
    for _ in range(RUNS + 1):
        _wait(device)
        start_s = time.perf_counter()
        for _ in range(ISSUED):
            call()
            if waits:
                _wait(device)
        samples.append((time.perf_counter() - start_s) / ISSUED)
    return timing_of(samples[1:])


def _wait(device: Device) -> None:
    if device.kind == "cuda":
        torch.cuda.synchronize()
