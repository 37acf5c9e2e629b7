"""Multi-head latent attention: decode in the latent space, prefill with heads of keys and values written out.

seconds = module + core
module  = launch + tokens x token_s + tokens x heads x head_s + projections
projections = joined(2 tokens x weights FLOP / (projection_flop_ratio x peak),
                     weights x bytes / (projection_hbm_ratio x bandwidth))
decode:  core = joined(pairs x heads x 2 (2 latent + rope) FLOP / (flop_ratio x bf16 peak),
                       pairs x (latent + rope) values / (hbm_ratio x bandwidth)), pairs = batch x context
         of attention alone: joined(launch, the same with full waves x HEADS instead of pairs x heads) - launch
         full waves = ceil(batch x ceil(heads / HEADS) x SPLITS / units) x units x context / SPLITS
prefill: core = batch x heads x pairs x 2 (key + value dims) FLOP / (flop_ratio x bf16 peak)
                + 2 batch x past x expanded weights FLOP / (projection_flop_ratio x peak)

``weights``: of the projections of the module on this accelerator, as far as a measurement includes them. ``expanded``
ones are applied to past rows again in every chunk; tables have no past tokens, so that this is physics alone. The peak
of projections is that of the weights' number format. The joined form has exponent JOINED.

Attention alone was measured where vLLM has no kernel of the device's own, and takes its Triton kernel: a block of HEADS
query heads walks one of SPLITS parts of a context, one block a unit (grid of _fwd_grouped_kernel_stage1 in
triton_decode_attention.py, num_kv_splits in mla/triton_mla.py, github.com/vllm-project/vllm). It was timed as the host
launches it: what the device computes meanwhile takes no time of its own, until it takes longer than the launches.
Coefficients: ``launch_s``, ``token_s``, ``head_s`` seconds; the others shares of peaks.
"""

from __future__ import annotations

import numpy as np

from ctxsim.cost.curves.device import Device
from ctxsim.cost.curves.values import HALF_BYTES, JOINED, OPERAND_BYTES, Seconds, Sizes, causal_pairs, joined_s
from ctxsim.spec.calibration import Fit

MODULE, ATTENTION = "module", "attention"
"""What a fit's times include, as its variant says: the whole module, or attention with its up-projection alone."""

HEADS, SPLITS = 16, 4
"""Query heads of a block of the Triton kernel, and parts that it cuts every context into."""


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
    weight_dtype: str = "bf16",
) -> Seconds:
    """Seconds of one layer: ``batch`` sequences of ``context_tokens`` each on average, heads of one accelerator."""
    core_s = latent_decode_core_s(device, fit, batch, context_tokens, heads, latent_dim, rope_dim, kv_bytes_per_value)
    return np.asarray(core_s + module_s(device, fit, batch, heads, projection_weights, weight_dtype), float)[()]


def latent_decode_core_s(
    device: Device,
    fit: Fit,
    batch: Sizes,
    context_tokens: Sizes,
    heads: Sizes,
    latent_dim: Sizes,
    rope_dim: Sizes,
    kv_bytes_per_value: Sizes = HALF_BYTES,
) -> Seconds:
    """The part of it that depends on the context."""
    alone = fit.variant.startswith(ATTENTION)
    pairs = np.asarray(batch, float) * context_tokens
    head_pairs = _full_waves(device, batch, heads) * context_tokens if alone else pairs * heads
    flop_s = head_pairs * 2 * (2 * latent_dim + rope_dim) / (fit["flop_ratio"] * device.peak("bf16"))
    read_bytes = pairs * (latent_dim + rope_dim) * kv_bytes_per_value
    work_s = joined_s(flop_s, read_bytes / (fit["hbm_ratio"] * device.hbm_bytes_per_s), JOINED)
    return joined_s(fit["launch_s"], work_s, JOINED) - fit["launch_s"] if alone else work_s


def _full_waves(device: Device, batch: Sizes, heads: Sizes) -> Sizes:
    """Query heads, over the batch, whose work takes as long as what the units do in waves that are not all full."""
    blocks = np.asarray(batch, float) * np.ceil(np.asarray(heads, float) / HEADS) * SPLITS
    return np.ceil(blocks / device.compute_units) * device.compute_units * HEADS / SPLITS


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
    expanded_weights: Sizes = 0.0,
    weight_dtype: str = "bf16",
) -> Seconds:
    """Seconds of one layer: ``batch`` sequences of ``new_tokens`` after ``past_tokens``; ``key_dim`` with its rope."""
    core_s = latent_prefill_core_s(
        device, fit, batch, new_tokens, past_tokens, heads, key_dim, value_dim, expanded_weights, weight_dtype
    )
    tokens = batch * new_tokens
    return np.asarray(core_s + module_s(device, fit, tokens, heads, projection_weights, weight_dtype), float)[()]


def latent_prefill_core_s(
    device: Device,
    fit: Fit,
    batch: Sizes,
    new_tokens: Sizes,
    past_tokens: Sizes,
    heads: Sizes,
    key_dim: Sizes,
    value_dim: Sizes,
    expanded_weights: Sizes = 0.0,
    weight_dtype: str = "bf16",
) -> Seconds:
    """The part of it that depends on the context."""
    pairs = np.asarray(batch, float) * causal_pairs(new_tokens, past_tokens, None)
    core_s = heads * pairs * 2 * (key_dim + value_dim) / (fit["flop_ratio"] * device.peak("bf16"))
    expanded_flop = 2 * batch * past_tokens * expanded_weights
    return np.asarray(core_s + expanded_flop / (fit["projection_flop_ratio"] * device.peak(weight_dtype)), float)[()]


def module_s(
    device: Device, fit: Fit, tokens: Sizes, heads: Sizes, weights: Sizes, weight_dtype: str = "bf16"
) -> Seconds:
    """What surrounds a core: launches, what each token costs, and the projections."""
    per_token_s = fit["token_s"] + heads * fit["head_s"]
    projections_s = _projections_s(device, fit, tokens, weights, weight_dtype)
    return np.asarray(fit["launch_s"] + tokens * per_token_s + projections_s, float)[()]


def _projections_s(device: Device, fit: Fit, tokens: Sizes, weights: Sizes, weight_dtype: str) -> Seconds:
    """Seconds of a module's projections, all together."""
    flop_s = 2 * tokens * weights / (fit["projection_flop_ratio"] * device.peak(weight_dtype))
    read_bytes = OPERAND_BYTES[weight_dtype] * weights
    return joined_s(flop_s, read_bytes / (fit["projection_hbm_ratio"] * device.hbm_bytes_per_s), JOINED)
