"""Operands of kernels: random values, in as many copies as it takes that no cache still has them when they recur."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeVar

import torch

from ctxsim.measure.pages import pages
from ctxsim.measure.rotation import rotation

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32, "fp8": torch.float8_e4m3fn}

_NOISE_VALUES = 1_000_003
"""Values that are drawn; longer operands repeat them (a prime count, so that rows do not repeat with them)."""

Built = TypeVar("Built")


def noise(shape: Sequence[int], dtype: str, device: torch.device) -> torch.Tensor:
    """Standard normal values of that format: the power a device draws, and so its clock, depends on the values."""
    values = pages(shape, DTYPES[dtype], device)
    # Not every number format can be copied everywhere; bytes can.
    drawn, filled = (tensor.view(-1).view(torch.uint8) for tensor in (_drawn(dtype, device), values))
    for part in filled.split(len(drawn)):
        part.copy_(drawn[: len(part)])
    return values


def in_turn(build: Callable[[], Built], one_bytes: float, cache_bytes: int) -> list[Built]:
    """Calls on as many sets of operands of that size as the rotation takes."""
    return [build() for _ in range(rotation(one_bytes, cache_bytes))]


@cache
def _drawn(dtype: str, device: torch.device) -> torch.Tensor:
    return torch.randn(_NOISE_VALUES, device=device).to(DTYPES[dtype])
