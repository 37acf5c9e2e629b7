"""How far one layer of the engine looks back: over all of the cache, or a sliding window of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention

from ctxsim.measure.attention import causal_mask, decode_attention, prefill_attention


class Reach:
    """Attention of one layer; ``window_tokens``: a token sees so many, itself included (None: all before it)."""

    def __init__(self, window_tokens: int | None) -> None:
        self._window_tokens = window_tokens

    def attention(self, queries: torch.Tensor, kept: torch.Tensor, masks: Masks) -> torch.Tensor:
        """Outputs like queries (new tokens, heads, head size) over KV (total tokens, 2, KV heads, head size).

        The new tokens are the last ones; their keys and values are there.
        """
        new, total = len(queries), len(kept)
        if self._window_tokens is not None and total > self._window_tokens:
            kept = kept[max(0, total - new - self._window_tokens + 1) :]
            if new > 1:
                return self._in_window(queries, kept, masks)
        keys, values = kept[None, :, 0], kept[None, :, 1]
        if new == 1:
            return decode_attention(queries[None], keys, values)[0]
        return prefill_attention(queries[None], keys, values, masks.causal(new, total))[0]

    def _in_window(self, queries: torch.Tensor, kept: torch.Tensor, masks: Masks) -> torch.Tensor:
        """Every query sees its own window; the kernel is told by a mask, which no flash kernel on CUDA takes."""
        assert self._window_tokens is not None
        keys, values = kept[:, 0].transpose(0, 1), kept[:, 1].transpose(0, 1)
        mask = masks.window(len(queries), len(kept), self._window_tokens)
        found: torch.Tensor = scaled_dot_product_attention(
            queries.transpose(0, 1)[None], keys[None], values[None],
            attn_mask=mask, enable_gqa=queries.shape[1] != kept.shape[2],
        )  # fmt: skip
        return found[0].transpose(0, 1)


class Part(NamedTuple):
    """One sequence's part of a pass: its new tokens, and ``total`` with them, whose KV begins at ``base``."""

    new_tokens: int
    base: int
    total: int


def each_attention(
    reach: Reach, queries: torch.Tensor, kept: torch.Tensor, parts: Sequence[Part], masks: Masks
) -> torch.Tensor:
    """Outputs like queries (new tokens of all parts, heads, head size): of one part after the other."""
    found = [
        reach.attention(mine, kept[part.base : part.base + part.total], masks)
        for mine, part in zip(queries.split_with_sizes([part.new_tokens for part in parts]), parts, strict=True)
    ]
    return found[0] if len(found) == 1 else torch.cat(found)


class Masks:
    """The masks of one pass: made once for all its layers."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._made: dict[tuple[int, int, int], Any] = {}

    def causal(self, new: int, total: int) -> Any:
        """See attention.causal_mask."""
        key = (new, total, 0)
        if key not in self._made:
            self._made[key] = causal_mask(new, total, self._device)
        return self._made[key]

    def window(self, new: int, total: int, window_tokens: int) -> Any:
        """Which of ``total`` keys each of the last ``new`` tokens sees: itself and those before it in its window."""
        key = (new, total, window_tokens)
        if key not in self._made:
            ages = torch.arange(total - new, total, device=self._device)[:, None]
            ages = ages - torch.arange(total, device=self._device)
            self._made[key] = (ages >= 0) & (ages < window_tokens)
        return self._made[key]
