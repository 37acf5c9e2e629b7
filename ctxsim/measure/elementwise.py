"""Small kernels, which read and write activations once: each as the torch engine runs it.

norm: a residual sum and the root-mean-square norm of it. activation: SiLU of gate times up. rotary: queries and keys
turned. kv_store: keys and values put where they stay. embedding: rows looked up. sampling: the likeliest word.
On a CPU every run comes after products, as in a pass (measure.products): the kernel itself, and all that calls it,
comes from memory then (norms of eight rows took 79 to 88 us instead of 11 to 13 on one processor).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import torch
from torch.nn.functional import embedding

from ctxsim.measure.devices import Device
from ctxsim.measure.operands import in_turn, noise
from ctxsim.measure.points import Point
from ctxsim.measure.products import Products
from ctxsim.measure.timing import Call, Work
from ctxsim.measure.transformer import activated, normed, rotate, rotations, store

HEAD_DIM = 64
"""Of rotary embedding: the fewer values a head has, the more calls there are for as many bytes."""

TABLE_ROWS = 8_192
"""Words of the table in which embeddings are looked up."""


def small_kernel(point: Point, device: Device) -> Work:
    """The kernel of the point's variant on m rows of n values."""
    build = _BUILDERS[point.variant]
    calls = in_turn(lambda: build(point, device.torch), point.touched_bytes, device.cache_bytes)
    return Work(calls, before=Products(device, point.m).pass_by if device.kind == "cpu" else None)


def _rows(point: Point, device: torch.device, width: int) -> torch.Tensor:
    return noise((point.m, width), point.dtype, device)


def _norm(point: Point, device: torch.device) -> Call:
    rows, sums = _rows(point, device, point.n), _rows(point, device, point.n)
    weights = torch.ones(point.n, dtype=rows.dtype, device=device)
    return lambda: normed(rows + sums, weights)


def _activation(point: Point, device: torch.device) -> Call:
    gate_up = _rows(point, device, 2 * point.n)
    return lambda: activated(gate_up)


def _rotary(point: Point, device: torch.device) -> Call:
    heads = _rows(point, device, point.n).view(point.m, -1, HEAD_DIM)
    turns = rotations(point.m, HEAD_DIM, device, heads.dtype).unsqueeze(1)
    return lambda: rotate(heads, turns)


def _kv_store(point: Point, device: torch.device) -> Call:
    keys, values = _rows(point, device, point.n).view(point.m, 2, -1, HEAD_DIM).unbind(1)
    kept = torch.zeros(2 * point.m, 2, *keys.shape[1:], dtype=keys.dtype, device=device)
    slots = torch.arange(point.m, device=device)
    return lambda: store(kept, slots, keys, values)


def _embedding(point: Point, device: torch.device) -> Call:
    table = _table(point.n, point.dtype, device)
    words = torch.randint(TABLE_ROWS, (point.m,), device=device)
    return lambda: embedding(words, table)


@lru_cache(maxsize=1)
def _table(width: int, dtype: str, device: torch.device) -> torch.Tensor:
    return noise((TABLE_ROWS, width), dtype, device)


def _sampling(point: Point, device: torch.device) -> Call:
    logits = _rows(point, device, point.n)
    return lambda: logits.argmax(dim=-1)


_BUILDERS: Mapping[str, Callable[[Point, torch.device], Call]] = {
    "norm": _norm, "activation": _activation, "rotary": _rotary, "kv_store": _kv_store, "embedding": _embedding,
    "sampling": _sampling,
}  # fmt: skip
