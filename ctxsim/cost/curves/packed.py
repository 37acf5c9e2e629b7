"""Matrix products of a CPU: weights are read, and for more than one row packed, then multiplied.

memory = weight bytes / (hbm_ratio x bandwidth) of one row, / (packed_ratio x bandwidth) of more
compute = 2 m n k / (flop_ratio x peak)
seconds = (launch + activation bytes / (activation_ratio x bandwidth) + (compute^p + memory^p)^(1/p)) x exp(grid)

p near 1: cores read and multiply in turns. The grid's axes are ``m``, ``n`` and ``k``.
Coefficients: ``launch_s`` seconds; ``hbm_ratio``, ``packed_ratio``, ``activation_ratio``, ``flop_ratio`` shares of
peaks; ``sharpness`` p.
"""

from __future__ import annotations

import numpy as np

from ctxsim.cost.curves.device import Device
from ctxsim.cost.curves.grid import log_ratio
from ctxsim.cost.curves.values import Seconds, Sizes, activation_bytes, joined_s
from ctxsim.spec.calibration import Fit


def packed_gemm_s(device: Device, fit: Fit, dtype: str, m: Sizes, n: Sizes, k: Sizes) -> Seconds:
    """Seconds of (m x k) times (k x n) in bf16 or fp32: m tokens, n outputs, k inputs.

    Raises SpecError where the device has no peak in that format.
    """
    m, n, k = (np.asarray(size, float) for size in (m, n, k))
    value_bytes = activation_bytes(dtype)
    read_ratio = np.where(m > 1, fit["packed_ratio"], fit["hbm_ratio"])
    memory_s = value_bytes * n * k / (read_ratio * device.hbm_bytes_per_s)
    compute_s = 2 * m * n * k / (fit["flop_ratio"] * device.peak(dtype))
    moved_s = value_bytes * m * (n + k) / (fit["activation_ratio"] * device.hbm_bytes_per_s)
    seconds = fit["launch_s"] + moved_s + joined_s(compute_s, memory_s, fit["sharpness"])
    return np.asarray(seconds * np.exp(log_ratio(fit, m=m, n=n, k=k)), float)[()]
