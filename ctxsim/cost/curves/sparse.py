"""Attention over the top-k tokens that an indexer selects (DeepSeek sparse attention).

seconds = module + indexer + core
indexer = joined(causal pairs x index_heads x 2 index_dim FLOP / (index_ratio x bf16 peak),
                 keys x (index_dim + scale) bytes / (index_hbm_ratio x bandwidth))
core    = joined(joined(selected x heads x 2 (2 latent + rope) FLOP / (flop_ratio x bf16 peak),
                        selected x (latent + rope) values / (gather_ratio x bandwidth)), walk)
walk    = waves x selected of a query x HEADS x 2 (2 latent + rope) FLOP / (unit_ratio x bf16 peak / units)
selected = query-key pairs with each query bounded by top_k; keys = batch x (past + new)
waves   = ceil(queries x ceil(heads / HEADS) / units): a block of query heads walks what one query selected

Keys of the indexer are one byte a value and a scale for each key (indexer cache of DeepSeek-V3.2 in vLLM), whatever the
format of the latent rows: with one new token a sequence, reading them is most of the indexer's work. Kernels that split
what a query selected over units show it by a unit_ratio beside which waves do not matter.

Pairs of new tokens after past ones, so that decode is one new token. The module, its projections and its coefficients:
see ctxsim.cost.curves.latent. The others are shares of peaks.
"""

from __future__ import annotations

import numpy as np

from ctxsim.cost.curves.device import Device
from ctxsim.cost.curves.latent import module_s
from ctxsim.cost.curves.values import HALF_BYTES, JOINED, Seconds, Sizes, causal_pairs, joined_s
from ctxsim.spec.calibration import Fit

HEADS = 64
"""Query heads of a block (FlashMLA's sparse kernels, github.com/deepseek-ai/FlashMLA: B_H)."""

_KEY_SCALE_BYTES = 4


def sparse_attention_s(
    device: Device,
    fit: Fit,
    batch: Sizes,
    new_tokens: Sizes,
    past_tokens: Sizes,
    heads: Sizes,
    top_k: Sizes,
    latent_dim: Sizes,
    rope_dim: Sizes,
    index_heads: Sizes,
    index_dim: Sizes,
    projection_weights: Sizes = 0.0,
    kv_bytes_per_value: Sizes = HALF_BYTES,
    weight_dtype: str = "bf16",
) -> Seconds:
    """Seconds of one layer: ``batch`` sequences of ``new_tokens`` after ``past_tokens``, heads of one accelerator."""
    index_s = sparse_index_s(device, fit, batch, new_tokens, past_tokens, index_heads, index_dim)
    core_s = sparse_core_s(
        device, fit, batch, new_tokens, past_tokens, heads, top_k, latent_dim, rope_dim, kv_bytes_per_value
    )
    around_s = module_s(device, fit, batch * new_tokens, heads, projection_weights, weight_dtype)
    return np.asarray(index_s + core_s + around_s, float)[()]


def sparse_index_s(
    device: Device,
    fit: Fit,
    batch: Sizes,
    new_tokens: Sizes,
    past_tokens: Sizes,
    index_heads: Sizes,
    index_dim: Sizes,
) -> Seconds:
    """The part of it that scores the whole context."""
    scored = batch * causal_pairs(new_tokens, past_tokens, None)
    flop_s = scored * index_heads * 2 * index_dim / (fit["index_ratio"] * device.peak("bf16"))
    key_bytes = batch * (new_tokens + past_tokens) * (index_dim + _KEY_SCALE_BYTES)
    return joined_s(flop_s, key_bytes / (fit["index_hbm_ratio"] * device.hbm_bytes_per_s), JOINED)


def sparse_core_s(
    device: Device,
    fit: Fit,
    batch: Sizes,
    new_tokens: Sizes,
    past_tokens: Sizes,
    heads: Sizes,
    top_k: Sizes,
    latent_dim: Sizes,
    rope_dim: Sizes,
    kv_bytes_per_value: Sizes = HALF_BYTES,
) -> Seconds:
    """The part of it that attends to the selected tokens."""
    each = causal_pairs(new_tokens, past_tokens, top_k)
    selected, head_flop = batch * each, 2 * (2 * latent_dim + rope_dim)
    flop_s = selected * heads * head_flop / (fit["flop_ratio"] * device.peak("bf16"))
    gathered_bytes = selected * (latent_dim + rope_dim) * kv_bytes_per_value
    work_s = joined_s(flop_s, gathered_bytes / (fit["gather_ratio"] * device.hbm_bytes_per_s), JOINED)
    blocks = np.asarray(batch, float) * new_tokens * np.ceil(np.asarray(heads, float) / HEADS)
    walked = np.ceil(blocks / device.compute_units) * device.compute_units * each / new_tokens
    return joined_s(work_s, walked * HEADS * head_flop / (fit["unit_ratio"] * device.peak("bf16")), JOINED)
