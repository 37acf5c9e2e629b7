"""Attention over the top-k tokens that an indexer selects (DeepSeek sparse attention).

indexer = causal pairs x index_heads x 2 index_dim FLOP / (index_ratio x bf16 peak)
core    = joined(selected x heads x 2 (2 latent + rope) FLOP / (flop_ratio x bf16 peak),
                 selected x (latent + rope) values / (gather_ratio x bandwidth))
selected = query-key pairs with each query bounded by top_k
seconds = (launch + indexer + core + tokens x token_s + tokens x heads x head_s + projections) x exp(grid)

Pairs of new tokens after past ones, so that decode is one new token. Projections: see ctxsim.cost.curves.latent.
Coefficients: ``launch_s``, ``token_s``, ``head_s`` seconds; the others shares of peaks.
"""

from __future__ import annotations

import numpy as np

from ctxsim.cost.curves.device import Device
from ctxsim.cost.curves.grid import log_ratio
from ctxsim.cost.curves.latent import projections_s
from ctxsim.cost.curves.values import HALF_BYTES, JOINED, Seconds, Sizes, causal_pairs, joined_s
from ctxsim.spec.calibration import Fit


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
) -> Seconds:
    """Seconds of one layer: ``batch`` sequences of ``new_tokens`` after ``past_tokens``, heads of one accelerator."""
    tokens = np.asarray(batch, float) * new_tokens
    scored = batch * causal_pairs(new_tokens, past_tokens, None)
    selected = batch * causal_pairs(new_tokens, past_tokens, top_k)
    index_s = scored * index_heads * 2 * index_dim / (fit["index_ratio"] * device.peak("bf16"))
    flop_s = selected * heads * 2 * (2 * latent_dim + rope_dim) / (fit["flop_ratio"] * device.peak("bf16"))
    gathered_bytes = selected * (latent_dim + rope_dim) * kv_bytes_per_value
    core_s = joined_s(flop_s, gathered_bytes / (fit["gather_ratio"] * device.hbm_bytes_per_s), JOINED)
    token_s = tokens * (fit["token_s"] + heads * fit["head_s"])
    seconds = fit["launch_s"] + index_s + core_s + token_s + projections_s(device, fit, tokens, projection_weights)
    left_over = log_ratio(fit, batch=batch, context_tokens=past_tokens + new_tokens, heads=heads)
    return np.asarray(seconds * np.exp(left_over), float)[()]
