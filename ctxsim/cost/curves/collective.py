"""All-reduce over a scale-up link: the fastest of three protocols, each a latency and a bandwidth.

seconds = the least over protocols of (latency_s + hop_s x (g - 1) + sent / (ratio x link)) x exp(grid)

g accelerators reduce a buffer that each of them holds. ``small``: each sends its buffer to every other in one step,
sent = (g - 1) x bytes; ``medium`` and ``large``: in parts, sent = 2 (g - 1) / g x bytes, a ring's.
The grid's axes are ``moved_bytes`` and ``accelerators``.
Coefficients, of each protocol: ``<protocol>_latency_s`` and ``<protocol>_hop_s`` seconds, ``<protocol>_ratio`` share of
the link's rate, one way.
"""

from __future__ import annotations

import numpy as np

from ctxsim.cost.curves.device import Device
from ctxsim.cost.curves.grid import log_ratio
from ctxsim.cost.curves.values import Seconds, Sizes
from ctxsim.spec.calibration import Fit

PROTOCOLS = ("small", "medium", "large")
"""By the messages that each is the fastest for."""


def all_reduce_s(device: Device, fit: Fit, moved_bytes: Sizes, accelerators: Sizes) -> Seconds:
    """Seconds to sum a buffer of ``moved_bytes`` over accelerators that each hold one; none for a single one.

    Raises SpecError where the device has no scale-up link.
    """
    moved_bytes, ranks = np.asarray(moved_bytes, float), np.asarray(accelerators, float)
    least = np.min([_protocol_s(device, fit, name, moved_bytes, ranks) for name in PROTOCOLS], axis=0)
    seconds = least * np.exp(log_ratio(fit, moved_bytes=moved_bytes, accelerators=ranks))
    return np.asarray(np.where(ranks > 1, seconds, 0.0), float)[()]


def _protocol_s(device: Device, fit: Fit, name: str, moved_bytes: Seconds, ranks: Seconds) -> Seconds:
    sent_bytes = (ranks - 1) * moved_bytes * (1.0 if name == "small" else 2.0 / ranks)
    latency_s = fit[f"{name}_latency_s"] + fit[f"{name}_hop_s"] * (ranks - 1)
    return latency_s + sent_bytes / (fit[f"{name}_ratio"] * device.link())
