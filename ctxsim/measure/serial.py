"""Attention of several sequences as the torch engine computes it on a CPU: each in a call of its own.

What lies around the calls belongs to them: where a sequence's KV is found, and where its outputs go. Every run comes
after products of as many rows, as in a pass (measure.products).
"""

from __future__ import annotations

from ctxsim.measure.devices import Device
from ctxsim.measure.operands import in_turn, noise
from ctxsim.measure.points import Point
from ctxsim.measure.products import Products
from ctxsim.measure.timing import Call, Work
from ctxsim.measure.windows import Masks, Part, Reach, each_attention


def attention(point: Point, device: Device) -> Work:
    """A prompt, a chunk of one or a new token of each sequence, over KV that lies as the engine keeps it.

    Every layer of a pass shares the masks, so making them is not timed.
    """
    total, new = point.total_tokens, point.new_tokens
    parts = [Part(new, sequence * total, total) for sequence in range(point.batch)]
    masks, reach = Masks(device.torch), Reach(None)
    shape = (point.batch, new, point.heads, point.head_dim)

    def one() -> Call:
        queries = noise((point.batch * new, point.heads, point.head_dim), point.dtype, device.torch)
        kept = noise((point.batch * total, 2, point.kv_heads, point.head_dim), point.kv_dtype, device.torch)
        return lambda: each_attention(reach, queries, kept, parts, masks).view(shape)

    products = Products(device, point.batch * new)
    return Work(in_turn(one, point.touched_bytes, device.cache_bytes), before=products.pass_by)
