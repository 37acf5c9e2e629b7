"""What the forms take and return, and the sums that several of them share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Sizes = float | npt.NDArray[Any]
"""A number, or numbers of many operations at once; arrays of one call have one shape, or broadcast."""

Seconds = npt.NDArray[np.float64]
"""Times, of the shape that the sizes have together; a numpy float for plain numbers."""

HALF_BYTES = 2
"""Bytes of an activation, and of a key or value in bf16."""

FULL_BYTES = 4
"""Bytes of both in fp32."""

OPERAND_BYTES = {"bf16": HALF_BYTES, "fp32": FULL_BYTES, "fp8": 1, "int8": 1}
"""Bytes of a weight, or of an activation brought into its format, in a matrix product."""

JOINED = 3.0
"""Exponent of the turn from memory to compute, of forms that do not fit it."""


def activation_bytes(dtype: str) -> int:
    """Bytes of an activation beside products in that format: all but fp32 take and give bf16."""
    return FULL_BYTES if dtype == "fp32" else HALF_BYTES


def joined_s(first_s: Sizes, second_s: Sizes, sharpness: float) -> Seconds:
    """(first^p + second^p)^(1/p): the longer of two overlapping times where they differ, more where they are alike."""
    longer, shorter = np.maximum(first_s, second_s), np.minimum(first_s, second_s)
    share = np.divide(shorter, longer, out=np.zeros_like(np.asarray(longer, float)), where=longer > 0)
    return np.asarray(longer * (1.0 + share**sharpness) ** (1.0 / sharpness), float)[()]


def causal_pairs(new_tokens: Sizes, past_tokens: Sizes, window_tokens: Sizes | None) -> Sizes:
    """Query-key pairs of one sequence: new x past + new^2 / 2, each query no more than the window.

    The token itself counts half, as in the area below the diagonal; tiles on the diagonal are a form's own matter.
    """
    full = new_tokens * past_tokens + new_tokens * new_tokens / 2
    if window_tokens is None:
        return full
    # What lies beyond the window is a triangle that ends at the last query; the part before the first is not computed.
    last, first = np.maximum(past_tokens + new_tokens - window_tokens, 0), np.maximum(past_tokens - window_tokens, 0)
    beyond = (last * last - first * first) / 2
    return np.asarray(full - beyond, float)[()]


def touched_tokens(new_tokens: Sizes, past_tokens: Sizes, window_tokens: Sizes | None) -> Sizes:
    """Tokens of one sequence whose keys and values are read: all, or those that some query's window still holds."""
    if window_tokens is None:
        return past_tokens + new_tokens
    return np.minimum(past_tokens, window_tokens) + new_tokens
