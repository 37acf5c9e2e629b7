"""Linear attention with a gated delta rule: every head walks through its tokens with a state in one compute unit.

walk = ceil(batch x value_heads / units) x new x 4 key_dim value_dim FLOP / (unit_ratio x peak / units)
memory = (2 x 4 bytes x states + 2 bytes x activations of new tokens) / (hbm_ratio x bandwidth)
seconds = (launch + joined(walk, memory)) x exp(grid at new_tokens, batch)

States are batch x value_heads x key_dim x value_dim in fp32, read and written; activations are the queries, keys,
values and outputs of the new tokens. The joined form has exponent JOINED.
Coefficients: ``launch_s`` seconds; ``unit_ratio``, ``hbm_ratio`` shares of peaks.
"""

from __future__ import annotations

import numpy as np

from ctxsim.cost.curves.device import Device
from ctxsim.cost.curves.grid import log_ratio
from ctxsim.cost.curves.values import HALF_BYTES, JOINED, Seconds, Sizes, joined_s
from ctxsim.spec.calibration import Fit

_STATE_BYTES = 4


def linear_attention_s(
    device: Device,
    fit: Fit,
    batch: Sizes,
    new_tokens: Sizes,
    key_heads: Sizes,
    value_heads: Sizes,
    key_dim: Sizes,
    value_dim: Sizes,
) -> Seconds:
    """Seconds of one layer in bf16: ``batch`` sequences of ``new_tokens`` each; the past is in the state alone."""
    walks = np.asarray(batch, float) * value_heads
    waves = np.ceil(walks / device.compute_units)
    unit_flop_per_s = fit["unit_ratio"] * device.peak("bf16") / device.compute_units
    walk_s = waves * new_tokens * 4 * key_dim * value_dim / unit_flop_per_s
    state_bytes = 2 * _STATE_BYTES * walks * key_dim * value_dim
    activations = batch * new_tokens * 2 * (key_heads * key_dim + value_heads * value_dim)
    moved = state_bytes + HALF_BYTES * activations
    work_s = joined_s(walk_s, moved / (fit["hbm_ratio"] * device.hbm_bytes_per_s), JOINED)
    left_over = log_ratio(fit, new_tokens=new_tokens, batch=batch)
    return np.asarray((fit["launch_s"] + work_s) * np.exp(left_over), float)[()]
