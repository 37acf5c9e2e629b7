"""Operations that only move activations: norms, rotary embedding, activation functions, residual sums, look-ups.

seconds = launch + bytes / (hbm_ratio x bandwidth)

Coefficients: ``launch_s`` seconds; ``hbm_ratio`` share of HBM bandwidth (above 1 where on-chip cache serves).
"""

from __future__ import annotations

import numpy as np

from ctxsim.cost.curves.device import Device
from ctxsim.cost.curves.grid import log_ratio
from ctxsim.cost.curves.values import Seconds, Sizes
from ctxsim.spec.calibration import Fit


def elementwise_s(device: Device, fit: Fit, moved_bytes: Sizes) -> Seconds:
    """Seconds of an operation that reads and writes ``moved_bytes`` together."""
    moved = np.asarray(moved_bytes, float)
    seconds = fit["launch_s"] + moved / (fit["hbm_ratio"] * device.hbm_bytes_per_s)
    return np.asarray(seconds * np.exp(log_ratio(fit, moved_bytes=moved)), float)[()]
