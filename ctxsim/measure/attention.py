"""Attention of new tokens to a KV cache, as the torch engine computes it too.

Keys and values lie token by token (batch, tokens, KV heads, head size), as a cache that grows has them.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import scaled_dot_product_attention

from ctxsim.measure.devices import Device
from ctxsim.measure.operands import in_turn, noise
from ctxsim.measure.points import Point
from ctxsim.measure.timing import Call, Work


def causal_mask(new_tokens: int, total_tokens: int, device: torch.device) -> Any:
    """Which keys each query sees: the last query all of them, each one before it one fewer; one for a whole pass.

    CUDA kernels know this form; a CPU has to be given the mask itself, except for a prompt without a past.
    """
    if device.type == "cuda" or new_tokens == total_tokens:
        return causal_lower_right(new_tokens, total_tokens)
    seen = torch.ones(new_tokens, total_tokens, dtype=torch.bool, device=device)
    return seen.tril(total_tokens - new_tokens)


def prefill_attention(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: Any) -> torch.Tensor:
    """Outputs (batch, new tokens, heads, head size) of queries of that shape over a cache; ``mask``: causal_mask."""
    with kernels(queries.device):
        found: torch.Tensor = scaled_dot_product_attention(
            queries.transpose(1, 2),
            keys.transpose(1, 2),
            values.transpose(1, 2),
            attn_mask=mask,
            enable_gqa=queries.shape[2] != keys.shape[2],
        )
    return found.transpose(1, 2)


def decode_attention(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Outputs (batch, 1, heads, head size) of one new token a sequence, which sees all of the cache.

    Query heads that share a KV head stand in the place of its tokens: nothing is masked for one token, so the cache
    is read once for all of them.
    """
    batch, _, heads, size = queries.shape
    kv_heads = keys.shape[2]
    grouped = queries.view(batch, kv_heads, heads // kv_heads, size)
    with kernels(queries.device):
        found: torch.Tensor = scaled_dot_product_attention(grouped, keys.transpose(1, 2), values.transpose(1, 2))
    return found.reshape(batch, 1, heads, size)


def kernels(device: torch.device) -> AbstractContextManager[None]:
    """On CUDA flash attention or an error, never a kernel that writes out all scores; elsewhere what torch takes."""
    flash: AbstractContextManager[None] = sdpa_kernel([SDPBackend.FLASH_ATTENTION])
    return flash if device.type == "cuda" else nullcontext()


def prefill(point: Point, device: Device) -> Work:
    """A prompt, or a chunk of it after a past; every layer of a pass shares the mask, so making it is not timed."""
    mask = causal_mask(point.new_tokens, point.total_tokens, device.torch)

    def one() -> Call:
        queries, keys, values = _operands(point, device.torch)
        return lambda: prefill_attention(queries, keys, values, mask)

    return Work(in_turn(one, point.touched_bytes, device.cache_bytes))


def decode(point: Point, device: Device) -> Work:
    """One new token of each sequence of the batch."""

    def one() -> Call:
        queries, keys, values = _operands(point, device.torch)
        return lambda: decode_attention(queries, keys, values)

    return Work(in_turn(one, point.touched_bytes, device.cache_bytes))


def _operands(point: Point, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    queries = noise((point.batch, point.new_tokens, point.heads, point.head_dim), point.dtype, device)
    cached = (point.batch, point.total_tokens, point.kv_heads, point.head_dim)
    return queries, noise(cached, point.kv_dtype, device), noise(cached, point.kv_dtype, device)
