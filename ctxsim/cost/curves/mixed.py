"""Decode in the kernel of a prefill: what sequences with one new token add to a kernel that also computes a chunk.

Such a kernel is made for prompts: every query head of a decoding sequence has a tile of queries of its own, which walks
the whole context alone. Contexts are not split, and query heads share what they read of a KV head by the cache alone.

seconds = (joined(waves x (tile_s + walk), read) + empty x empty_s / units) x exp(grid)
waves   = tiles / units + tail_ratio, at least 1; tiles = batch x heads
walk    = context x TILE_QUERIES x 4 head_dim FLOP / (flop_ratio x peak / units), one tile's
read    = KV bytes x (1 + (rounds - 1) x missed) / (hbm_ratio x bandwidth)
rounds  = batch x group / units, from 1 to group: query heads of a KV head (group) that run one after another
missed  = s^8 / (1 + s^8), s = KV bytes of one KV head over the batch / (cache_ratio x on-chip cache)
empty   = tiles x (ceil(chunk / TILE_QUERIES) - 1): tiles that find nothing to do

Tiles of one query head run over the whole batch before those of the next (group of them a KV head), so that these find
the context in the cache only where it holds the rows of one KV head of all sequences.
The grid's axes are ``context_tokens``, ``tiles`` and ``chunk_tokens``.
Coefficients: ``tile_s``, ``empty_s`` seconds; ``tail_ratio`` of a wave that is not full; ``flop_ratio``, ``hbm_ratio``
shares of peaks; ``cache_ratio`` of the cache; ``sharpness`` of the turn from walks to reads.
"""

from __future__ import annotations

import numpy as np

from ctxsim.cost.curves.device import Device
from ctxsim.cost.curves.grid import log_ratio
from ctxsim.cost.curves.values import HALF_BYTES, Seconds, Sizes, joined_s
from ctxsim.spec.calibration import Fit

TILE_QUERIES = 64
"""Rows of a tile in FlashAttention 2's kernel for paged keys (kBlockM of its split-KV dispatch)."""

_FLOP_PER_PAIR = 4  # per value of a head: a multiply-add for the score, one for the output
_CACHE_SHARPNESS = 8.0  # of the turn from a cache that holds all to one that holds nothing by the time it is needed


def mixed_attention_s(
    device: Device,
    fit: Fit,
    batch: Sizes,
    context_tokens: Sizes,
    chunk_tokens: Sizes,
    heads: Sizes,
    kv_heads: Sizes,
    head_dim: Sizes,
    kv_bytes_per_value: Sizes = HALF_BYTES,
) -> Seconds:
    """Seconds of one layer that ``batch`` sequences of ``context_tokens`` on average add to a chunk's own kernel.

    ``heads`` and ``kv_heads`` of one accelerator. Raises SpecError where the device has no bf16 peak.
    """
    units, tiles = device.compute_units, np.asarray(batch, float) * heads
    walk_flop = TILE_QUERIES * _FLOP_PER_PAIR * head_dim * np.asarray(context_tokens, float)
    walk_s = walk_flop / (fit["flop_ratio"] * device.peak("bf16") / units)
    head_bytes = 2 * kv_bytes_per_value * batch * context_tokens * head_dim
    fill = (head_bytes / (fit["cache_ratio"] * device.on_chip_cache_bytes)) ** _CACHE_SHARPNESS
    rounds = np.maximum(1.0, np.minimum(tiles / units, heads) / kv_heads)
    read_bytes = kv_heads * head_bytes * (1 + (rounds - 1) * fill / (1 + fill))
    read_s = read_bytes / (fit["hbm_ratio"] * device.hbm_bytes_per_s)
    empty = tiles * (np.ceil(np.asarray(chunk_tokens, float) / TILE_QUERIES) - 1)
    waves = np.maximum(1.0, tiles / units + fit["tail_ratio"])
    work_s = joined_s(waves * (fit["tile_s"] + walk_s), read_s, fit["sharpness"])
    seconds = work_s + empty * fit["empty_s"] / units
    left_over = log_ratio(fit, context_tokens=context_tokens, tiles=tiles, chunk_tokens=chunk_tokens)
    return np.asarray(seconds * np.exp(left_over), float)[()]
