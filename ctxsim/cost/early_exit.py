"""Decoding tokens that leave the model early (CALM, arXiv 2207.07061).

Papers give the mean depth alone. Taken here: at every layer each sequence leaves with the same probability, whatever
the others do, so that layer l = 0, 1, .. is computed with probability q^l, where q makes the mean depth_ratio x layers:
how deep a token has come says nothing about how much deeper it goes. From it

    FLOP, KV read       depth_ratio of those of all layers, exactly
    weights of a layer  read if any of D decoding sequences is still in it: 1 - (1 - q^l)^D; or any prompt's token is
    routed experts      each read with 1 - (1 - q^l k / experts)^D

Kinds of layers are taken to be spread evenly over the depth. A token that leaves hands its state to all later layers,
whose K and V projections are computed and whose KV is written as ever; so are constant states. Norms are read whole.
Where a model's file has all weights in one sum (explicit models), these projections are not told apart. Deciding where
to leave costs nothing here, and the network between scale-up domains is waited for at every layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ctxsim.cost.operations import Leaving, Operation
from ctxsim.cost.weights import copies, matrix_bytes
from ctxsim.geometry import Span
from ctxsim.spec.model import Layer, Matrix, ModelSpec, StateMixer

# Latent rows and an indexer's keys are made by products that also make queries: counted whole.
_MAKES_CONTEXT = ("mla_down", "indexer")


def staying_shares(layers: int, depth_ratio: float) -> tuple[float, ...]:
    """The share of decoding tokens that computes each layer: q^l, with a mean of ``depth_ratio``."""
    low, high = 0.0, 1.0
    for _ in range(200):
        q = (low + high) / 2
        if sum(q**layer for layer in range(layers)) < depth_ratio * layers:
            low = q
        else:
            high = q
    return tuple(high**layer for layer in range(layers))


def leave_early(
    operations: Sequence[Operation], spans: Sequence[Span], model: ModelSpec, weight_dtype: str, tensor_parallel: int,
    depth_ratio: float,
) -> tuple[Operation, ...]:  # fmt: skip
    """The operations of a model that decoding tokens leave early; spans: told apart by phase."""
    leaving = Leaving(staying_shares(model.num_layers, depth_ratio))
    rest = 1 - leaving.depth_ratio
    flop, stored = _context_products(model, weight_dtype, tensor_parallel)
    products = {matrix.operation for layer in model.layer_counts for matrix in layer.matrices}

    def left(op: Operation) -> Operation:
        if op.name in products:
            spared = op.flop_per_token + op.flop_per_decode_token - flop.get(op.name, 0.0)
            weights = op.bytes_per_pass - stored.get(op.name, 0.0)
            decode = op.flop_per_decode_token - rest * spared
            return replace(op, flop_per_decode_token=decode, leaving=leaving, leaving_bytes=weights)
        if op.span is not None and spans[op.span].phase == "decode":
            return replace(
                op,
                flop_per_pair=op.flop_per_pair * leaving.depth_ratio,
                bytes_per_touched=op.bytes_per_touched * leaving.depth_ratio,
                bytes_per_decode_token=rest * op.bytes_per_touched,
            )
        return replace(op, link_bytes_per_decode_token=-rest * op.link_bytes_per_token)

    return tuple(left(op) for op in operations)


def _context_products(
    model: ModelSpec, weight_dtype: str, tensor_parallel: int
) -> tuple[dict[str, float], dict[str, float]]:
    """FLOP a token and bytes, by operation, of what is computed for the KV of layers that a token has left."""
    flop: dict[str, float] = {}
    stored: dict[str, float] = {}
    for layer, number in model.layer_counts.items():
        for matrix in layer.mixer.matrices:
            if _makes_context(layer, matrix):
                name, ranks = matrix.operation, copies(matrix, tensor_parallel)
                flop[name] = flop.get(name, 0.0) + 2.0 * number * matrix.parameters * ranks
                held = number * matrix_bytes(matrix, weight_dtype, tensor_parallel)
                stored[name] = stored.get(name, 0.0) + held
    return flop, stored


def _makes_context(layer: Layer, matrix: Matrix) -> bool:
    keys_and_values = matrix.operation == "qkv" and matrix.max_shards is not None
    return keys_and_values or matrix.operation in _MAKES_CONTEXT or isinstance(layer.mixer, StateMixer)
