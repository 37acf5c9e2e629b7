"""How a model keeps context: one truth for capacity, reads and swaps."""

from ctxsim.geometry.batch import BatchTotals
from ctxsim.geometry.context import (
    ContextClass,
    Read,
    attention_classes,
    copies_of,
    geometry_of,
    kv_bytes_per_token,
    state_bytes_per_sequence,
)
from ctxsim.geometry.formats import KV_DTYPES
from ctxsim.geometry.layout import KvLayout
from ctxsim.geometry.sequence import lone_sequence
from ctxsim.geometry.spans import UNBOUNDED, Extent, Span

__all__ = [
    "KV_DTYPES",
    "UNBOUNDED",
    "BatchTotals",
    "ContextClass",
    "Extent",
    "KvLayout",
    "Read",
    "Span",
    "attention_classes",
    "copies_of",
    "geometry_of",
    "kv_bytes_per_token",
    "lone_sequence",
    "state_bytes_per_sequence",
]
