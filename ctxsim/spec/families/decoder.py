"""What every decoder family reads alike: heads, embedding, head, windows, and the routed feed-forward."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ctxsim.spec.config_reader import ConfigReader
from ctxsim.spec.families import blocks
from ctxsim.spec.families.blocks import PLAIN, Heads, Linear
from ctxsim.spec.model import Attention, Layer, Matrix, ModelSpec, Product

FULL, SLIDING, CHUNKED = "full_attention", "sliding_attention", "chunked_attention"
LINEAR, INDEXED = "linear_attention", "indexed_attention"

NORMS = 2
"""Norms of a layer in the usual pre-norm decoder: before attention and before the feed-forward."""


def read_heads(reader: ConfigReader) -> Heads:
    """Attention widths; null KV heads mean as many as query heads, a null head size means hidden size / heads."""
    hidden_size = reader.integer("hidden_size")
    num_heads = reader.integer("num_attention_heads")
    num_kv_heads = reader.optional_integer("num_key_value_heads") or num_heads
    reader.require(
        num_heads % num_kv_heads == 0,
        "num_key_value_heads",
        f"expected a divisor of the {num_heads} attention heads, found {num_kv_heads}",
    )
    head_dim = reader.optional_integer("head_dim") or equal_head_dim(reader, hidden_size, num_heads)
    return Heads(hidden_size, num_heads, num_kv_heads, head_dim)


def equal_head_dim(reader: ConfigReader, hidden_size: int, num_heads: int) -> int:
    """Hidden size over heads; a remainder is a fault."""
    reader.require(
        hidden_size % num_heads == 0,
        "num_attention_heads",
        f"expected a divisor of hidden_size {hidden_size} where head_dim is not given, found {num_heads}",
    )
    return max(1, hidden_size // num_heads)


def window(reader: ConfigReader) -> int | None:
    """The sliding window in tokens, or None where it is off or as long as the model's whole context."""
    tokens = reader.optional_integer("sliding_window")
    return None if tokens is None or tokens >= reader.integer("max_position_embeddings") else tokens


def windowed(reader: ConfigReader, heads: Heads, linear: Linear = PLAIN) -> Attention:
    """Sliding attention where the model's window is on, else full attention."""
    tokens = window(reader)
    return blocks.attention(heads, "full" if tokens is None else "sliding", tokens, linear)


def mixers_by_kind(
    reader: ConfigReader, heads: Heads, kinds: Collection[str], linear: Linear = PLAIN
) -> dict[str, Attention]:
    """The attention of full and of sliding layers; sliding layers without a window are a fault."""
    reader.require(
        SLIDING not in kinds or reader.optional_integer("sliding_window") is not None,
        "sliding_window",
        "expected a number of tokens, as some layers are sliding_attention, found nothing",
    )
    return {FULL: blocks.attention(heads, linear=linear), SLIDING: windowed(reader, heads, linear)}


def biased(reader: ConfigReader) -> Linear:
    """Projections that all have biases where ``attention_bias`` says so."""
    bias = reader.flag("attention_bias")
    return Linear(qkv_bias=bias, out_bias=bias)


def alike(reader: ConfigReader, layer: Layer) -> list[Layer]:
    """That layer as often as the model has layers; a ``layer_types`` list must say full attention throughout."""
    return [layer for _ in reader.layer_kinds((FULL,), lambda i: FULL)]


def decoder(
    reader: ConfigReader,
    layers: Sequence[Layer],
    *,
    final_norm_parameters: int | None = None,
    max_context_tokens: int | None = None,
) -> ModelSpec:
    """The whole model around the layers: token table, final norm (one weight a channel unless told), head."""
    hidden_size, vocab_size = reader.integer("hidden_size"), reader.integer("vocab_size")
    return ModelSpec(
        name=reader.name,
        family=reader.model_type,
        hidden_size=hidden_size,
        vocab_size=vocab_size,
        max_context_tokens=max_context_tokens or reader.integer("max_position_embeddings"),
        layers=tuple(layers),
        embedding_parameters=vocab_size * hidden_size,
        head=Matrix("head", vocab_size * hidden_size, quantized=False, products=(Product(vocab_size, hidden_size),)),
        tied_head=reader.flag("tie_word_embeddings"),
        final_norm_parameters=hidden_size if final_norm_parameters is None else final_norm_parameters,
        defaulted_fields=tuple(reader.defaulted),
    )


def routed(
    reader: ConfigReader, width: int, *, router_biases: int = 0, gates: int = 0, expert_bias: bool = False
) -> tuple[Matrix, Matrix]:
    """Router and routed experts of that width; more experts a token than there are is a fault."""
    hidden_size = reader.integer("hidden_size")
    count, per_token = reader.integer("num_experts"), reader.integer("num_experts_per_tok")
    reader.require(
        per_token <= count, "num_experts_per_tok", f"expected at most the {count} experts, found {per_token}"
    )
    return (
        blocks.router(hidden_size, count, biases=router_biases, gates=gates),
        blocks.experts(hidden_size, width, count, per_token, bias=expert_bias),
    )
