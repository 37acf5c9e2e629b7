"""Decode attention called sequence by sequence, as on a CPU, where one call for all would gain nothing.

waves = ceil(kv_heads / units) x units / kv_heads, for units that have no KV head wait
read = KV bytes / (hbm_ratio x bandwidth) + 4 heads head_dim context / (query_ratio x peak)
seconds = batch x (call + waves x read) x exp(grid)
query_ratio = flop_ratio, of multi-head attention (one query head a KV head, a product with a vector) vector_ratio

A core reads and multiplies in turns, so both times add up. The grid's axes are ``context_tokens`` and ``kv_heads``.
Coefficients: ``call_s`` seconds of each sequence; ``hbm_ratio``, ``flop_ratio``, ``vector_ratio`` shares of
peaks.
"""

from __future__ import annotations

import numpy as np

from ctxsim.cost.curves.decode import working_set_bytes
from ctxsim.cost.curves.device import Device
from ctxsim.cost.curves.grid import log_ratio
from ctxsim.cost.curves.values import Seconds, Sizes, activation_bytes
from ctxsim.spec.calibration import Fit

_FLOP_PER_PAIR = 4


def serial_decode_s(
    device: Device,
    fit: Fit,
    dtype: str,
    batch: Sizes,
    context_tokens: Sizes,
    heads: Sizes,
    kv_heads: Sizes,
    head_dim: Sizes,
) -> Seconds:
    """Seconds of one layer in a number format: ``batch`` sequences of ``context_tokens`` each on average.

    Raises SpecError where the device has no peak in that format.
    """
    kv_bytes = working_set_bytes(1, context_tokens, kv_heads, head_dim, activation_bytes(dtype))
    flop = _FLOP_PER_PAIR * np.asarray(heads, float) * head_dim * context_tokens
    waves = np.ceil(np.asarray(kv_heads, float) / device.compute_units) * device.compute_units / kv_heads
    ratio = np.where(np.equal(heads, kv_heads), fit["vector_ratio"], fit["flop_ratio"])
    read_s = kv_bytes / (fit["hbm_ratio"] * device.hbm_bytes_per_s) + flop / (ratio * device.peak(dtype))
    left_over = log_ratio(fit, context_tokens=context_tokens, kv_heads=kv_heads)
    return np.asarray(batch * (fit["call_s"] + waves * read_s) * np.exp(left_over), float)[()]
