"""Multi-head latent attention: decode in the latent space, prefill with heads of keys and values written out.

decode:  core = joined(pairs x heads x 2 (2 latent + rope) FLOP / (flop_ratio x peak),
                       pairs x (latent + rope) values / (hbm_ratio x bandwidth)), pairs = batch x context
prefill: core = batch x heads x pairs x 2 (key + value dims) FLOP / (flop_ratio x peak)
seconds = (launch + core + tokens x token_s + tokens x heads x head_s + projections) x exp(grid)
projections = joined(2 tokens x weights FLOP / (projection_flop_ratio x peak),
                     2 weights bytes / (projection_hbm_ratio x bandwidth))

``projection_weights``: of the projections of the module on this accelerator, where a measurement includes them; 0 where
they are priced as matrix products. The joined form has exponent JOINED.
Coefficients: ``launch_s``, ``token_s``, ``head_s`` seconds; the others shares of peaks, bf16.
"""

from __future__ import annotations

import numpy as np

from ctxsim.cost.curves.device import Device
from ctxsim.cost.curves.grid import log_ratio
from ctxsim.cost.curves.values import HALF_BYTES, JOINED, Seconds, Sizes, causal_pairs, joined_s
from ctxsim.spec.calibration import Fit


def latent_decode_s(
    device: Device,
    fit: Fit,
    batch: Sizes,
    context_tokens: Sizes,
    heads: Sizes,
    latent_dim: Sizes,
    rope_dim: Sizes,
    projection_weights: Sizes = 0.0,
    kv_bytes_per_value: Sizes = HALF_BYTES,
) -> Seconds:
    """Seconds of one layer: ``batch`` sequences of ``context_tokens`` each on average, heads of one accelerator."""
    pairs = np.asarray(batch, float) * context_tokens
    flop_s = pairs * heads * 2 * (2 * latent_dim + rope_dim) / (fit["flop_ratio"] * device.peak("bf16"))
    read_bytes = pairs * (latent_dim + rope_dim) * kv_bytes_per_value
    core_s = joined_s(flop_s, read_bytes / (fit["hbm_ratio"] * device.hbm_bytes_per_s), JOINED)
    seconds = _around_s(device, fit, core_s, batch, heads, projection_weights)
    left_over = log_ratio(fit, batch=batch, context_tokens=context_tokens, heads=heads)
    return np.asarray(seconds * np.exp(left_over), float)[()]


def latent_prefill_s(
    device: Device,
    fit: Fit,
    batch: Sizes,
    new_tokens: Sizes,
    past_tokens: Sizes,
    heads: Sizes,
    key_dim: Sizes,
    value_dim: Sizes,
    projection_weights: Sizes = 0.0,
) -> Seconds:
    """Seconds of one layer: ``batch`` sequences of ``new_tokens`` after ``past_tokens``; ``key_dim`` with its rope."""
    pairs = batch * causal_pairs(new_tokens, past_tokens, None)
    core_s = heads * pairs * 2 * (key_dim + value_dim) / (fit["flop_ratio"] * device.peak("bf16"))
    seconds = _around_s(device, fit, core_s, batch * new_tokens, heads, projection_weights)
    return np.asarray(seconds * np.exp(log_ratio(fit, batch=batch, pairs=pairs, heads=heads)), float)[()]


def projections_s(device: Device, fit: Fit, tokens: Sizes, weights: Sizes) -> Seconds:
    """Seconds of a module's projections, all together; weights and activations in bf16."""
    flop_s = 2 * tokens * weights / (fit["projection_flop_ratio"] * device.peak("bf16"))
    read_s = HALF_BYTES * weights / (fit["projection_hbm_ratio"] * device.hbm_bytes_per_s)
    return joined_s(flop_s, read_s, JOINED)


def _around_s(device: Device, fit: Fit, core_s: Sizes, tokens: Sizes, heads: Sizes, weights: Sizes) -> Sizes:
    """A core with launches, what each token costs, and the projections."""
    per_token_s = fit["token_s"] + heads * fit["head_s"]
    return fit["launch_s"] + core_s + tokens * per_token_s + projections_s(device, fit, tokens, weights)
