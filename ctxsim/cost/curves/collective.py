"""All-reduce over a scale-up link: a latency and a bandwidth by protocol.

seconds = (latency_s + hop_s x (g - 1) + sent / (ratio x link)) x exp(grid), of one protocol

g accelerators reduce a buffer that each of them holds. ``small``: each sends its buffer to every other in one step,
sent = (g - 1) x bytes; ``medium`` and ``large``: in parts, sent = 2 (g - 1) / g x bytes, a ring's.
NCCL takes the fastest of the three. vLLM's custom kernels (variant ``custom``) are a one-shot and a two-shot, small and
large here: one-shot for two accelerators, for up to 4 below 512 KiB and for up to 8 below 256 KiB, two-shot else
(csrc/custom_all_reduce.cuh, CustomAllreduce::allreduce, github.com/vllm-project/vllm).
The grid's axes are ``moved_bytes`` and ``accelerators``.
Coefficients, of each protocol: ``<protocol>_latency_s`` and ``<protocol>_hop_s`` seconds, ``<protocol>_ratio`` share of
the link's rate, one way.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ctxsim.cost.curves.device import Device
from ctxsim.cost.curves.grid import log_ratio
from ctxsim.cost.curves.values import Seconds, Sizes
from ctxsim.spec.calibration import Fit
from ctxsim.units import parse

PROTOCOLS = ("small", "medium", "large")
"""By the messages that each is the fastest for."""

CUSTOM = "custom"
"""The variant of vLLM's own kernels."""

_ONE_SHOT_BYTES = {4: parse("512 KiB", "bytes"), 8: parse("256 KiB", "bytes")}  # below these, up to so many ranks


def all_reduce_s(device: Device, fit: Fit, moved_bytes: Sizes, accelerators: Sizes) -> Seconds:
    """Seconds to sum a buffer of ``moved_bytes`` over accelerators that each hold one; none for a single one.

    Raises SpecError where the device has no scale-up link.
    """
    moved_bytes, ranks = np.asarray(moved_bytes, float), np.asarray(accelerators, float)
    if fit.variant == CUSTOM:
        small_s, large_s = (_protocol_s(device, fit, name, moved_bytes, ranks) for name in ("small", "large"))
        taken_s = np.where(_one_shot(moved_bytes, ranks), small_s, large_s)
    else:
        taken_s = np.min([_protocol_s(device, fit, name, moved_bytes, ranks) for name in PROTOCOLS], axis=0)
    seconds = taken_s * np.exp(log_ratio(fit, moved_bytes=moved_bytes, accelerators=ranks))
    return np.asarray(np.where(ranks > 1, seconds, 0.0), float)[()]


def _one_shot(moved_bytes: Seconds, ranks: Seconds) -> npt.NDArray[np.bool_]:
    below = [(ranks <= most) & (moved_bytes < least) for most, least in _ONE_SHOT_BYTES.items()]
    return np.asarray((ranks <= 2) | np.any(below, axis=0))


def _protocol_s(device: Device, fit: Fit, name: str, moved_bytes: Seconds, ranks: Seconds) -> Seconds:
    sent_bytes = (ranks - 1) * moved_bytes * (1.0 if name == "small" else 2.0 / ranks)
    latency_s = fit[f"{name}_latency_s"] + fit[f"{name}_hop_s"] * (ranks - 1)
    return latency_s + sent_bytes / (fit[f"{name}_ratio"] * device.link())
