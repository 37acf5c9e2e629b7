"""Operations that only move activations: norms, rotary embedding, activation functions, residual sums, look-ups.

seconds = launch + bytes / (hbm_ratio x bandwidth)

Coefficients: ``launch_s`` seconds; ``hbm_ratio`` share of HBM bandwidth (above 1 where on-chip cache serves). A CPU's
have ``lone_launch_s`` too, in place of ``launch_s`` where there is one row: products of several rows leave the caches
so full that what follows comes from memory, code included.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ctxsim.cost.curves.device import Device
from ctxsim.cost.curves.grid import log_ratio
from ctxsim.cost.curves.values import Seconds, Sizes
from ctxsim.spec.calibration import Fit

PASSES: Mapping[str, int] = {
    "norm": 4, "activation": 3, "rotary": 2, "kv_store": 2, "embedding": 2, "sampling": 1,
}  # fmt: skip
"""Values that a small kernel reads or writes for each value of its rows.

norm: with the residual sum before it, reads both and writes both. activation: reads gate and up and writes one.
rotary, kv_store, embedding: read a value and write it. sampling: reads logits.
"""


def small_variant(kernel: str, dtype: str) -> str:
    """What the fit of a small kernel in that format is called: bf16 is not named."""
    return kernel if dtype == "bf16" else f"{kernel}-{dtype}"


def elementwise_s(device: Device, fit: Fit, moved_bytes: Sizes, rows: Sizes) -> Seconds:
    """Seconds of an operation on so many rows that reads and writes ``moved_bytes`` together."""
    moved = np.asarray(moved_bytes, float)
    lone_launch_s = dict(fit.coefficients).get("lone_launch_s", fit["launch_s"])
    seconds = np.where(np.equal(rows, 1), lone_launch_s, fit["launch_s"]) + moved / (
        fit["hbm_ratio"] * device.hbm_bytes_per_s
    )
    return np.asarray(seconds * np.exp(log_ratio(fit, moved_bytes=moved)), float)[()]
