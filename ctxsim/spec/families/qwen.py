"""Qwen2, Qwen2.5 and Qwen3, dense and with routed experts."""

from __future__ import annotations

from ctxsim.spec.config_reader import ConfigReader
from ctxsim.spec.families import blocks
from ctxsim.spec.families.blocks import Heads, Linear
from ctxsim.spec.families.decoder import (
    FULL,
    NORMS,
    SLIDING,
    biased,
    decoder,
    mixers_by_kind,
    read_heads,
    routed,
    windowed,
)
from ctxsim.spec.model import Attention, Layer, Matrix, ModelSpec


def qwen2(reader: ConfigReader) -> ModelSpec:
    """Biases on Q, K and V, none on the output projection."""
    return _dense(reader, read_heads(reader), 0, Linear(qkv_bias=True))


def qwen3(reader: ConfigReader) -> ModelSpec:
    """No biases; a norm over each query head and each key head instead."""
    heads = read_heads(reader)
    return _dense(reader, heads, 2 * heads.head_dim, biased(reader))


def qwen3_moe(reader: ConfigReader) -> ModelSpec:
    """Qwen3 with routed experts in all layers but those named by ``mlp_only_layers`` and ``decoder_sparse_step``.

    Unlike in the dense models an enabled window holds for every layer.
    """
    heads = read_heads(reader)
    attention = windowed if reader.flag("use_sliding_window") else _full
    mixer = attention(reader, heads, biased(reader))
    norms = NORMS * heads.hidden_size + 2 * heads.head_dim
    layers = [Layer(mixer, sparse_or_dense(reader, i), norms) for i in range(reader.num_layers())]
    return decoder(reader, layers)


def sparse_or_dense(reader: ConfigReader, i: int) -> tuple[Matrix, ...]:
    """Routed experts in every ``decoder_sparse_step``-th layer that ``mlp_only_layers`` does not name, else an MLP."""
    dense_only = i in (reader.integers("mlp_only_layers") or ())
    if dense_only or (i + 1) % reader.integer("decoder_sparse_step"):
        return (blocks.mlp(reader.integer("hidden_size"), reader.integer("intermediate_size")),)
    return routed(reader, reader.integer("moe_intermediate_size"))


def _full(reader: ConfigReader, heads: Heads, linear: Linear) -> Attention:
    reader.optional_integer("sliding_window")  # present in most files, without meaning while the window is off
    return blocks.attention(heads, linear=linear)


def _dense(reader: ConfigReader, heads: Heads, head_norms: int, linear: Linear) -> ModelSpec:
    """The window holds from layer ``max_window_layers`` on, and only where ``use_sliding_window`` turns it on."""
    use_window, first = reader.flag("use_sliding_window"), reader.integer("max_window_layers", minimum=0)
    kinds = reader.layer_kinds((FULL, SLIDING), lambda i: SLIDING if use_window and i >= first else FULL)
    mixers = mixers_by_kind(reader, heads, kinds, linear)
    feed_forward = (blocks.mlp(heads.hidden_size, reader.integer("intermediate_size")),)
    norms = NORMS * heads.hidden_size + head_norms
    return decoder(reader, [Layer(mixers[kind], feed_forward, norms) for kind in kinds])
