"""Bytes a sequence of a given length holds: exactly (capacity, swaps), and in blocks (what an engine allocates)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ctxsim.geometry.context import attention_classes, state_bytes_per_sequence
from ctxsim.geometry.spans import Span
from ctxsim.spec.model import ModelSpec

GRAIN_BYTES = 2.0**-8
"""Blocks take whole multiples of it, so that sums of them are exact in floats whatever the order: an engine's pool is
as full after a jump as after single steps."""


class KvLayout:
    """Bytes and blocks of sequences of one model in one replica.

    ``block_size``: tokens a block. A window layer keeps its window in whole blocks plus one (the window straddles
    block borders), as vLLM's hybrid allocator does.
    """

    def __init__(self, held: Sequence[tuple[Span, float]], state_bytes: float = 0, block_size: int = 16) -> None:
        self.held = tuple(held)
        self.state_bytes = state_bytes
        self.block_size = block_size
        growing = [b for span, b in self.held if span.keeps_all]
        self._full_block_bytes = _grained(sum(growing) * block_size)
        self._windows = [
            (-(-span.tokens // block_size) + 1, _grained(b * block_size))
            for span, b in self.held
            if b and not span.keeps_all
        ]

    @classmethod
    def of(cls, model: ModelSpec, kv_dtype: str, tensor_parallel: int = 1, block_size: int = 16) -> KvLayout:
        """The layout of a model; every rank of a replica keeps its share of state."""
        classes = attention_classes(model, kv_dtype, tensor_parallel)
        held = [(c.held, c.bytes_per_token) for c in classes]
        return cls(held, state_bytes_per_sequence(model), block_size)

    def held_bytes(self, tokens: Any, minimum: Callable[..., Any] = min) -> Any:
        """Bytes a context of ``tokens`` needs, without block rounding (arrays with numpy.minimum)."""
        return self.state_bytes + sum(b * span.held_tokens(tokens, minimum) for span, b in self.held)

    def footprint_bytes(self, tokens: int) -> float:
        """Bytes of the blocks that hold a context of ``tokens``."""
        blocks = -(-tokens // self.block_size)
        taken = self.state_bytes + blocks * self._full_block_bytes
        for most, block_bytes in self._windows:
            taken += min(blocks, most) * block_bytes
        return taken

    def extent_bytes(self, start: int, end: int) -> float:
        """Bytes that the blocks of tokens [start, end) add to those of the ``start`` tokens before; whole blocks."""
        return self.footprint_bytes(end) - (self.footprint_bytes(start) if start else 0.0)

    @property
    def divisible(self) -> bool:
        """Whether the KV of a prefix lies within that of the whole; window and state layers keep the end only."""
        return not self._windows and not self.state_bytes

    def next_block_bytes(self, tokens: int) -> float:
        """Bytes a sequence of ``tokens`` takes when it next crosses into a new block."""
        if not self._windows:
            return self._full_block_bytes
        blocks = -(-tokens // self.block_size)
        return self._full_block_bytes + sum(b for most, b in self._windows if blocks < most)

    def tokens_until_cheaper(self, tokens: int) -> int:
        """Tokens a sequence of ``tokens`` grows by until some window layer has all its blocks; 0: none will."""
        if not self._windows:
            return 0
        blocks = -(-tokens // self.block_size)
        limits = [most for most, _ in self._windows if blocks < most]
        return (min(limits) - 1) * self.block_size + 1 - tokens if limits else 0

    @property
    def block_bytes(self) -> float:
        """Bytes of one block in every class at once: what one entry of a server's block count holds."""
        return self._full_block_bytes + sum(b for _, b in self._windows)


def _grained(block_bytes: float) -> float:
    return round(block_bytes / GRAIN_BYTES) * GRAIN_BYTES
