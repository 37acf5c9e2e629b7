"""The matrix products that each rank runs in one pass, by shape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from ctxsim.spec.model import Layer, Matrix, ModelSpec, Product

Per = Literal["tokens", "sequences"]


@dataclass(frozen=True, slots=True)
class RankProduct:
    """A product of m rows with ``outputs`` x ``inputs`` weights on one rank, ``runs`` times a pass.

    per: whether a row is a new token or a sequence (the output head, where engines sample). quantized: whether the
    weights have the scenario's format or stay bf16. experts, experts_per_token: of a product of routed experts, all of
    which each rank has, cut like any other product. token_ratio: the share of the rows that are multiplied.
    """

    operation: str
    outputs: int
    inputs: int
    runs: int
    per: Per = "tokens"
    quantized: bool = True
    experts: int = 1
    experts_per_token: int = 1
    token_ratio: float = 1.0


def rank_products(model: ModelSpec, ranks: int) -> tuple[RankProduct, ...]:
    """Every product of a pass; those of one operation in one layer that share their inputs run as one."""
    found: list[RankProduct] = []
    for layer, number in model.layer_counts.items():
        found.extend(_of_layer(layer, number, model.hidden_size, ranks))
    if model.head.parameters:
        found.extend(_of_matrix(model.head, 1, model.hidden_size, ranks, "sequences"))
    return tuple(found)


def _of_layer(layer: Layer, number: int, hidden_size: int, ranks: int) -> Iterator[RankProduct]:
    fused: dict[tuple[str, int], list[RankProduct]] = {}
    per: Per = "sequences" if layer.last_token_only else "tokens"
    for matrix in layer.matrices:
        for product in _of_matrix(matrix, number, hidden_size, ranks, per):
            product = replace(product, operation=layer.named(product.operation))
            if matrix.operation == "qkv":
                fused.setdefault((product.operation, product.inputs), []).append(product)
            else:
                yield product
    for parts in fused.values():
        yield replace(parts[0], outputs=sum(part.outputs for part in parts))


def _of_matrix(matrix: Matrix, runs: int, hidden_size: int, ranks: int, per: Per) -> Iterator[RankProduct]:
    """A matrix whose products are not known is taken as one that maps the hidden size to whatever it yields.

    Tables have none.
    """
    known = matrix.products or (Product(-(-matrix.parameters // hidden_size // matrix.experts), hidden_size),)
    shards = ranks if matrix.max_shards is None else min(ranks, matrix.max_shards)
    for product in known if matrix.parameters and not matrix.table_bits else ():
        outputs, inputs = product.outputs, product.inputs
        if product.cut == "outputs":
            outputs = -(-outputs // shards)
        else:
            inputs = -(-inputs // shards)
        yield RankProduct(
            matrix.operation, outputs, inputs, runs, per, matrix.quantized, matrix.experts, matrix.experts_per_token,
            matrix.token_ratio,
        )  # fmt: skip
