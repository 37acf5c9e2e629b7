"""How many sets of operands are taken in turn, so that none is in a cache when its turn comes again."""

from __future__ import annotations

import math

CACHE_MULTIPLE = 4
"""Bytes that pass between two uses of an operand, in sizes of the last-level cache."""

MOST_SETS = 512


def rotation(one_bytes: float, cache_bytes: int) -> int:
    """Sets of that size: two at least, and enough to pass the cache by (tiny ones as many as there may be)."""
    return min(MOST_SETS, max(2, math.ceil(CACHE_MULTIPLE * cache_bytes / max(one_bytes, 1)) + 1))
