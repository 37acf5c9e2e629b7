"""Qwen3-Next and Qwen3.5 with experts: three gated delta-net layers to one of full attention, all sparse.

Gated DeltaNet: arXiv 2412.06464. Layout of the projections: the reference code in transformers.
"""

from __future__ import annotations

from ctxsim.spec.config_reader import ConfigReader
from ctxsim.spec.families import blocks
from ctxsim.spec.families.blocks import Linear
from ctxsim.spec.families.decoder import FULL, LINEAR, NORMS, decoder, read_heads, routed
from ctxsim.spec.families.qwen import sparse_or_dense
from ctxsim.spec.families.states import DELTA_FLOP_PER_VALUE, conv_bytes, recurrent_bytes
from ctxsim.spec.model import Attention, DeltaHeads, Layer, Matrix, ModelSpec, StateMixer


def qwen3_next(reader: ConfigReader) -> ModelSpec:
    """Routed and shared experts by Qwen's sparse-layer rule."""
    return _hybrid(reader, [_feed_forward(reader, i) for i in range(reader.num_layers())])


def qwen3_5_moe(reader: ConfigReader) -> ModelSpec:
    """Routed and shared experts in every layer; the vision tower is not counted."""
    return _hybrid(reader, [_sparse(reader)] * reader.num_layers())


def _hybrid(reader: ConfigReader, feed_forwards: list[tuple[Matrix, ...]]) -> ModelSpec:
    interval = reader.integer("full_attention_interval")
    kinds = reader.layer_kinds((FULL, LINEAR), lambda i: LINEAR if (i + 1) % interval else FULL)
    attention, delta = _gated_attention(reader), _delta_net(reader)
    hidden_size = reader.integer("hidden_size")
    # A norm over each query and key head (attention), or over each value head (delta net).
    head_norms = {FULL: 2 * attention.qk_head_dim, LINEAR: reader.integer("linear_value_head_dim")}
    layers = [
        Layer(attention if kind == FULL else delta, feed_forward, NORMS * hidden_size + head_norms[kind])
        for kind, feed_forward in zip(kinds, feed_forwards, strict=False)
    ]
    return decoder(reader, layers)


def _gated_attention(reader: ConfigReader) -> Attention:
    bias = reader.flag("attention_bias")
    gate = reader.flag("attn_output_gate")
    return blocks.attention(read_heads(reader), linear=Linear(bias, bias, output_gate=gate))


def _delta_net(reader: ConfigReader) -> StateMixer:
    """State: one key-dim x value-dim matrix a value head, and the last inputs of a convolution over Q, K and V."""
    hidden_size = reader.integer("hidden_size")
    key_heads, value_heads = reader.integer("linear_num_key_heads"), reader.integer("linear_num_value_heads")
    key_dim, value_dim = reader.integer("linear_key_head_dim"), reader.integer("linear_value_head_dim")
    kernel = reader.integer("linear_conv_kernel_dim")
    keys, values = key_heads * key_dim, value_heads * value_dim
    channels = 2 * keys + values
    state_values = value_heads * key_dim * value_dim
    return StateMixer(
        "linear",
        recurrent_bytes(reader, state_values) + conv_bytes(channels, kernel),
        DELTA_FLOP_PER_VALUE * state_values,
        (
            # Q and K, with their part of the convolution.
            Matrix("state_in", hidden_size * 2 * keys, 2 * keys * kernel, max_shards=key_heads),
            # V and the output gate, and two gates a value head with their offset and decay rate.
            Matrix(
                "state_in",
                hidden_size * (2 * values + 2 * value_heads),
                values * kernel + 2 * value_heads,
                max_shards=value_heads,
            ),
            Matrix("state_out", values * hidden_size, max_shards=value_heads),
        ),
        DeltaHeads(key_heads, value_heads, key_dim, value_dim),
    )


def _feed_forward(reader: ConfigReader, i: int) -> tuple[Matrix, ...]:
    matrices = sparse_or_dense(reader, i)
    return matrices if matrices[0].operation == "mlp" else _sparse(reader)


def _sparse(reader: ConfigReader) -> tuple[Matrix, ...]:
    """Routed experts and one shared expert behind a gate of its own."""
    shared = blocks.shared_experts(reader.integer("hidden_size"), reader.integer("shared_expert_intermediate_size"))
    return (*routed(reader, reader.integer("moe_intermediate_size"), gates=1), shared)
