"""Prefill attention: causal attention of new tokens to past ones and to each other.

work = batch x heads x pairs x 4 head_dim FLOP, pairs = new x past + new^2 / 2 + the diagonal's tiles, new x lag
compute = work / rate + tail x (the longest tile's work / one unit's rate), rate = flop_ratio x peak
sustained = compute x (1 + slowdown x compute / (compute + slowdown_s)): clocks fall under long load
seconds = (launch + sustained + batch x new x token_s + query bytes / (query_ratio x bandwidth)
           + KV bytes / (kv_ratio x bandwidth)) x exp(grid)

Past tokens enter by pairs, by the longest tile and by the KV bytes read; tables that have none extrapolate so.
The grid's axes are ``unit_tiles`` (tiles of queries for each unit) and ``longest_tokens`` of a query's keys.
A window bounds the pairs of each query and the tokens read.
Coefficients: ``launch_s``, ``slowdown_s``, ``token_s`` seconds; ``flop_ratio``, ``query_ratio``, ``kv_ratio`` shares of
peaks; ``lag_tokens`` of a tile that are computed beyond the diagonal; ``tail_ratio`` longest tiles that nothing
overlaps; ``slowdown_ratio``.
"""

from __future__ import annotations

import numpy as np

from ctxsim.cost.curves.device import Device
from ctxsim.cost.curves.grid import log_ratio
from ctxsim.cost.curves.values import Seconds, Sizes, activation_bytes, causal_pairs, touched_tokens
from ctxsim.spec.calibration import Fit

TILE_TOKENS = 128
"""Queries of one tile."""

_FLOP_PER_PAIR = 4  # per value of a head: a multiply-add for the score, one for the output


def prefill_attention_s(
    device: Device,
    fit: Fit,
    batch: Sizes,
    new_tokens: Sizes,
    past_tokens: Sizes,
    heads: Sizes,
    kv_heads: Sizes,
    head_dim: Sizes,
    window_tokens: Sizes | None = None,
    dtype: str = "bf16",
) -> Seconds:
    """Seconds of one layer in bf16 or fp32: ``batch`` sequences of ``new_tokens`` each after ``past_tokens``.

    ``heads`` and ``kv_heads`` of one accelerator; ``window_tokens``: None where every query sees its whole past.
    Raises SpecError where the device has no peak in that format.
    """
    rate = fit["flop_ratio"] * device.peak(dtype)
    pairs = causal_pairs(new_tokens, past_tokens, window_tokens) + new_tokens * fit["lag_tokens"]
    read = touched_tokens(new_tokens, past_tokens, window_tokens)
    longest = np.minimum(past_tokens + new_tokens, np.inf if window_tokens is None else window_tokens + TILE_TOKENS)
    head_flop = _FLOP_PER_PAIR * np.asarray(head_dim, float)
    tile_flop = np.minimum(new_tokens, TILE_TOKENS) * (longest + 2 * fit["lag_tokens"]) * head_flop
    compute_s = batch * heads * pairs * head_flop / rate + fit["tail_ratio"] * tile_flop * device.compute_units / rate
    sustained_s = compute_s * (1 + fit["slowdown_ratio"] * compute_s / (compute_s + fit["slowdown_s"]))
    value_bytes = activation_bytes(dtype)
    query_bytes = 2 * value_bytes * batch * new_tokens * heads * head_dim
    kv_bytes = 2 * value_bytes * batch * read * kv_heads * head_dim
    moved_s = (query_bytes / fit["query_ratio"] + kv_bytes / fit["kv_ratio"]) / device.hbm_bytes_per_s
    seconds = fit["launch_s"] + sustained_s + batch * new_tokens * fit["token_s"] + moved_s
    left_over = log_ratio(fit, unit_tiles=unit_tiles(device, batch, new_tokens, heads), longest_tokens=longest)
    return np.asarray(seconds * np.exp(left_over), float)[()]


def unit_tiles(device: Device, batch: Sizes, new_tokens: Sizes, heads: Sizes) -> Sizes:
    """Tiles of queries for each compute unit; a fraction below 1 where some units have none."""
    return batch * heads * np.maximum(np.asarray(new_tokens, float) / TILE_TOKENS, 1.0) / device.compute_units
