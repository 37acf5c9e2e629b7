"""Decode attention: one new token a sequence reads its keys and values.

seconds = (launch + ramp x KV bytes / (KV bytes + ramp_ratio x cache) + read
           + query bytes / (query_ratio x bandwidth) + batch x kv_heads x kv_head_s) x exp(grid)
read: split over all units, KV bytes / (hbm_ratio x bandwidth); else a block for each KV head of a sequence, in waves of
2 x units, each wave (hbm^p + unit^p)^(1/p) with p = 8: hbm of its KV bytes as above, unit = ceil(blocks / units) x KV
bytes of one / (unit_ratio x bandwidth / units)

Contexts are not split for multi-head attention (one query head a KV head), nor where blocks fill 0.8 of a wave, as in
FlashAttention 2 (csrc/flash_attn/flash_api.cpp, num_splits_heuristic and mha_varlen_fwd, github.com/vllm-project/
flash-attention). Devices whose kernels schedule otherwise show it by a unit_ratio beside which waves do not matter.

KV bytes are of context_tokens, or of least_tokens where those are more. At fixed batch and heads a function of the mean
context alone. The grid's axes are ``context_tokens``, ``streams`` (batch x kv_heads) and ``group`` (query heads of a KV
head).
Coefficients: ``launch_s``; ``ramp_s`` that splitting contexts and joining their parts adds, half of it at
``ramp_ratio`` x the on-chip cache; ``kv_head_s`` of each context and KV head, seconds; ``least_tokens`` that a block
reads; ``hbm_ratio``, ``query_ratio`` shares of HBM bandwidth; ``unit_ratio`` of one unit's part of it (above 1: a few
units can fill the bandwidth).
"""

from __future__ import annotations

import numpy as np

from ctxsim.cost.curves.device import Device
from ctxsim.cost.curves.grid import log_ratio
from ctxsim.cost.curves.values import HALF_BYTES, Seconds, Sizes, joined_s
from ctxsim.spec.calibration import Fit

_SHARPNESS = 8.0  # of the turn from few units to all bandwidth, as sharp as a fit can follow
_UNIT_BLOCKS = 2  # that share a unit: of heads of 128, the query and two tiles of K and V take 80 KB of an SM's 164 KB
_FULL_WAVE = 0.8  # of a wave: from so many blocks on contexts are not split


def decode_attention_s(
    device: Device,
    fit: Fit,
    batch: Sizes,
    context_tokens: Sizes,
    heads: Sizes,
    kv_heads: Sizes,
    head_dim: Sizes,
    kv_bytes_per_value: Sizes = HALF_BYTES,
    query_bytes_per_value: Sizes = HALF_BYTES,
) -> Seconds:
    """Seconds of one layer: ``batch`` sequences of ``context_tokens`` each on average, the new one among them.

    ``heads`` and ``kv_heads`` of one accelerator; ``kv_bytes_per_value`` 2 for bf16, 1 for fp8, as much as
    ``query_bytes_per_value`` for fp32.
    """
    read_tokens = np.maximum(context_tokens, fit["least_tokens"])
    kv_bytes = working_set_bytes(batch, read_tokens, kv_heads, head_dim, kv_bytes_per_value)
    read_s = _read_s(device, fit, kv_bytes, batch * kv_heads, np.equal(heads, kv_heads))
    query_bytes = 2 * query_bytes_per_value * batch * heads * head_dim
    seconds = (
        fit["launch_s"]
        + fit["ramp_s"] * kv_bytes / (kv_bytes + fit["ramp_ratio"] * device.on_chip_cache_bytes)
        + read_s
        + query_bytes / (fit["query_ratio"] * device.hbm_bytes_per_s)
        + batch * kv_heads * fit["kv_head_s"]
    )
    group = np.asarray(heads, float) / kv_heads
    left_over = log_ratio(fit, context_tokens=context_tokens, streams=batch * kv_heads, group=group)
    return np.asarray(seconds * np.exp(left_over), float)[()]


def _read_s(device: Device, fit: Fit, kv_bytes: Sizes, blocks: Sizes, multi_head: Sizes) -> Seconds:
    """Seconds to read keys and values; ``blocks``: KV heads of all sequences."""
    wave = _UNIT_BLOCKS * device.compute_units
    block_s = kv_bytes / blocks / (fit["hbm_ratio"] * device.hbm_bytes_per_s)
    unit_s = kv_bytes / blocks * device.compute_units / (fit["unit_ratio"] * device.hbm_bytes_per_s)

    def wave_s(blocks: Sizes) -> Seconds:
        return joined_s(blocks * block_s, np.ceil(blocks / device.compute_units) * unit_s, _SHARPNESS)

    waves_s = np.floor(blocks / wave) * wave_s(wave) + wave_s(blocks % wave)
    alone = np.logical_or(multi_head, blocks >= _FULL_WAVE * wave)
    return np.where(alone, waves_s, blocks * block_s)


def working_set_bytes(
    batch: Sizes, context_tokens: Sizes, kv_heads: Sizes, head_dim: Sizes, kv_bytes_per_value: Sizes = HALF_BYTES
) -> Sizes:
    """Keys and values that one layer reads."""
    return 2 * kv_bytes_per_value * batch * context_tokens * kv_heads * head_dim
