"""One thing to measure: which kernel or copy, in which shape; what it computes and moves by formula."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Family = Literal[
    "gemm", "prefill_attention", "decode_attention", "copy", "all_reduce", "launch", "elementwise", "host"
]  # fmt: skip
Direction = Literal["", "device", "to_host", "to_device", "both"]
Beside = Literal["", "nothing", "gemm"]

FAMILIES: tuple[Family, ...] = (
    "gemm", "prefill_attention", "decode_attention", "copy", "all_reduce", "launch", "elementwise", "host"
)  # fmt: skip
"""What can be measured."""

VALUE_BYTES: Mapping[str, int] = {"fp8": 1, "bf16": 2, "fp16": 2, "fp32": 4}
"""Bytes of one value of a number format."""


@dataclass(frozen=True, slots=True)
class Point:
    """The key of a row; 0, "" or False where a quantity has no meaning for the family.

    gemm: (m x k) times (k x n). attention: ``new_tokens`` queries a sequence, each of which sees ``past_tokens`` before
    the first of them, itself, and what lies between. copy: ``moved_bytes`` in ``descriptors`` pieces of ``block_bytes``
    that do not touch; ``both``: so many bytes each way at once. all_reduce: ``moved_bytes`` on every accelerator.
    elementwise: the small kernel that ``variant`` names on m rows of n values, which reads and writes ``moved_bytes``.
    launch: see ``launches``. host: the torch engine's loop with ``batch`` sequences, see ``engine_loop``.
    """

    family: Family
    dtype: str = ""
    kv_dtype: str = ""
    m: int = 0
    n: int = 0
    k: int = 0
    batch: int = 0
    heads: int = 0
    kv_heads: int = 0
    head_dim: int = 0
    new_tokens: int = 0
    past_tokens: int = 0
    window_tokens: int = 0
    moved_bytes: int = 0
    block_bytes: int = 0
    descriptors: int = 0
    direction: Direction = ""
    pinned: bool = False
    beside: Beside = ""
    accelerators: int = 0
    variant: str = ""

    @property
    def flop(self) -> float:
        """FLOP of the matrix products (multiply-add = 2): 2 m n k, or 4 a visible query-key pair, head and value."""
        if self.family == "gemm":
            return 2.0 * self.m * self.n * self.k
        return 4.0 * self.batch * self.heads * self.head_dim * self.pairs

    @property
    def pairs(self) -> float:
        """Query-key pairs of one sequence and head that causal attention lets see each other."""
        return self.new_tokens * self.past_tokens + self.new_tokens * (self.new_tokens + 1) / 2

    @property
    def touched_bytes(self) -> float:
        """Bytes that have to be read or written at least once: operands and results."""
        value = VALUE_BYTES.get(self.dtype, 1)
        if self.family == "gemm":
            return float(value * (self.m * self.k + self.n * self.k + self.m * self.n))
        if self.heads:
            queries = self.new_tokens * self.heads
            return 2.0 * value * self.batch * self.head_dim * (queries + self.total_tokens * self.kv_heads)
        return float(self.moved_bytes * (2 if self.direction == "device" else 1))

    @property
    def total_tokens(self) -> int:
        """Tokens of a sequence whose keys and values are read: past and new."""
        return self.past_tokens + self.new_tokens

    def __str__(self) -> str:
        """The family and what is not empty: ``gemm dtype=bf16 m=1 n=4096 k=4096``."""
        named = {name: getattr(self, name) for name in self.__slots__ if name != "family"}
        return " ".join((self.family, *(f"{name}={value}" for name, value in named.items() if value)))
