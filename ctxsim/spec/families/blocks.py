"""Weight matrices that the families share: attention, feed-forward, experts, latent attention.

Biases are counted with the matrix they belong to. Operation names are those the cost model groups by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ctxsim.spec.model import Attention, AttentionKind, Matrix, Product

GATED = 3
"""Projections of a gated feed-forward: gate, up and down. A plain one has two."""


@dataclass(frozen=True, slots=True)
class Heads:
    """The widths of softmax attention: hidden size, query heads, KV heads, and values a head."""

    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int

    @property
    def width(self) -> int:
        """Values of all query heads of one token."""
        return self.num_heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Values of K, or of V, of one token in one layer."""
        return self.num_kv_heads * self.head_dim


@dataclass(frozen=True, slots=True)
class Linear:
    """How the projections of an attention are built.

    ``output_gate``: the query projection also yields a gate of its own width (Qwen3-Next). ``quantized``: whether
    a quantised checkpoint quantises them.
    """

    qkv_bias: bool = False
    out_bias: bool = False
    output_gate: bool = False
    quantized: bool = True


PLAIN = Linear()


def attention(
    heads: Heads, kind: AttentionKind = "full", window_tokens: int | None = None, linear: Linear = PLAIN
) -> Attention:
    """Softmax attention with projections for Q, K, V and the output."""
    query_width = heads.width * (2 if linear.output_gate else 1)
    return Attention(
        kind,
        heads.num_heads,
        heads.num_kv_heads,
        heads.head_dim,
        heads.head_dim,
        (
            *qkv(heads, query_width, linear),
            projection(
                "attention_out",
                heads.width,
                heads.hidden_size,
                bias=linear.out_bias,
                quantized=linear.quantized,
                cut="inputs",
            ),
        ),
        window_tokens,
    )


def qkv(heads: Heads, query_width: int, linear: Linear) -> tuple[Matrix, Matrix]:
    """The query projection, and the K and V projections that split into no more shards than KV heads."""
    size, bias, quantized = heads.hidden_size, linear.qkv_bias, linear.quantized
    return (
        projection("qkv", size, query_width, bias=bias, quantized=quantized),
        projection("qkv", size, 2 * heads.kv_width, bias=bias, quantized=quantized, max_shards=heads.num_kv_heads),
    )


def projection(
    operation: str,
    inputs: int,
    outputs: int,
    *,
    bias: bool = False,
    quantized: bool = True,
    max_shards: int | None = None,
    cut: Literal["outputs", "inputs"] = "outputs",
) -> Matrix:
    """One linear layer of ``inputs`` x ``outputs`` weights, with one bias an output."""
    biases = outputs if bias else 0
    return Matrix(operation, inputs * outputs, biases, max_shards, quantized, products=(Product(outputs, inputs, cut),))


def mlp(
    hidden_size: int, width: int, *, projections: int = GATED, bias: bool = False, operation: str = "mlp"
) -> Matrix:
    """A dense feed-forward of that width: gate, up and down, or only up and down."""
    biases = (projections - 1) * width + hidden_size if bias else 0
    return Matrix(
        operation, projections * hidden_size * width, biases, products=_feed_forward(hidden_size, width, projections)
    )


def _feed_forward(hidden_size: int, width: int, projections: int) -> tuple[Product, Product]:
    """Gate and up as one product, as engines run them, then down."""
    return Product((projections - 1) * width, hidden_size), Product(hidden_size, width, "inputs")


def router(hidden_size: int, num_experts: int, *, biases: int = 0, gates: int = 0) -> Matrix:
    """The projection that scores the experts; every rank holds it in full.

    ``gates``: further single outputs beside the scores, as the gate of a shared expert.
    """
    outputs = num_experts + gates
    products = (Product(outputs, hidden_size),)
    return Matrix("router", hidden_size * outputs, biases, max_shards=1, quantized=False, products=products)


def experts(hidden_size: int, width: int, num_experts: int, per_token: int, *, bias: bool = False) -> Matrix:
    """The routed experts: gated feed-forwards of that width, ``per_token`` of them used by a token."""
    biases = num_experts * ((GATED - 1) * width + hidden_size) if bias else 0
    return Matrix(
        "experts",
        num_experts * GATED * hidden_size * width,
        biases,
        experts=num_experts,
        experts_per_token=per_token,
        products=_feed_forward(hidden_size, width, GATED),
    )


def shared_experts(hidden_size: int, width: int) -> Matrix:
    """The experts that every token passes, as one gated feed-forward of their summed width."""
    return mlp(hidden_size, width, operation="shared_experts")
