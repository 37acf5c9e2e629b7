"""Hybrids of attention with constant-state layers: Jamba, Granite 4.0 hybrid and MiniMax-01."""

from __future__ import annotations

from ctxsim.spec.config_reader import ConfigReader
from ctxsim.spec.families import blocks
from ctxsim.spec.families.blocks import Heads
from ctxsim.spec.families.decoder import FULL, LINEAR, NORMS, biased, decoder, read_heads, routed, windowed
from ctxsim.spec.families.mamba import mamba1, mamba2
from ctxsim.spec.families.states import FLOP_PER_VALUE, recurrent_bytes
from ctxsim.spec.model import Layer, Matrix, ModelSpec, StateMixer


def jamba(reader: ConfigReader) -> ModelSpec:
    """One attention layer in ``attn_layer_period``, Mamba else; experts in one layer of ``expert_layer_period``."""
    heads = read_heads(reader)
    state, state_norms = mamba1(reader)
    kinds = reader.layer_kinds((FULL, LINEAR), lambda i: FULL if _falls_on(reader, "attn", i) else LINEAR)
    width = reader.integer("intermediate_size")
    sparse, dense = routed(reader, width), (blocks.mlp(heads.hidden_size, width),)
    attention, norms = windowed(reader, heads), NORMS * heads.hidden_size
    layers = []
    for i, kind in enumerate(kinds):
        feed_forward = sparse if _falls_on(reader, "expert", i) else dense
        layers.append(
            Layer(attention, feed_forward, norms) if kind == FULL else Layer(state, feed_forward, norms + state_norms)
        )
    return decoder(reader, layers)


def granite_hybrid(reader: ConfigReader) -> ModelSpec:
    """Mamba-2 layers with a few attention layers; experts (perhaps none) and a shared MLP in every layer."""
    heads = read_heads(reader)
    attention = blocks.attention(heads, linear=biased(reader))
    state, state_norms = mamba2(reader)
    kinds = reader.layer_kinds((FULL, LINEAR), lambda i: LINEAR)
    feed_forward, norms = _granite_feed_forward(reader), NORMS * heads.hidden_size
    by_kind = {
        FULL: Layer(attention, feed_forward, norms),
        LINEAR: Layer(state, feed_forward, norms + state_norms),
    }
    return decoder(reader, [by_kind[kind] for kind in kinds])


def minimax(reader: ConfigReader) -> ModelSpec:
    """Lightning attention (arXiv 2501.08313) with one softmax attention layer in eight; experts in every layer."""
    heads = read_heads(reader)
    attention = windowed(reader, heads)
    shared = reader.integer("shared_intermediate_size", minimum=0)
    feed_forward: tuple[Matrix, ...] = routed(reader, reader.integer("intermediate_size"))
    if shared:
        feed_forward = (*feed_forward, blocks.shared_experts(heads.hidden_size, shared))
    norms = NORMS * heads.hidden_size
    by_kind = {
        FULL: Layer(attention, feed_forward, norms),
        # A norm over the output of all heads before its gate.
        LINEAR: Layer(_lightning(reader, heads), feed_forward, norms + heads.width),
    }
    return decoder(reader, [by_kind[kind] for kind in _minimax_kinds(reader)])


def _falls_on(reader: ConfigReader, what: str, i: int) -> bool:
    """Whether layer ``i`` is the one of its period that has attention, or experts."""
    period = reader.integer(f"{what}_layer_period")
    offset = reader.integer(f"{what}_layer_offset", minimum=0)
    message = f"expected an offset below the period {period}, found {offset}"
    reader.require(offset < period, f"{what}_layer_offset", message)
    return i % period == offset


def _granite_feed_forward(reader: ConfigReader) -> tuple[Matrix, ...]:
    hidden_size, shared = reader.integer("hidden_size"), reader.integer("shared_intermediate_size")
    if reader.integer("num_experts", minimum=0) == 0:
        return (blocks.mlp(hidden_size, shared),)
    experts = routed(reader, reader.integer("intermediate_size"))
    return (*experts, blocks.shared_experts(hidden_size, shared))


def _minimax_kinds(reader: ConfigReader) -> list[str]:
    """``attn_type_list`` of the original release (0 lightning, 1 softmax), or ``layer_types``; one is needed."""
    numbers = reader.integers("attn_type_list")
    if numbers is None:
        listed = reader.words("layer_types")
        message = "expected attn_type_list or layer_types, one entry a layer, found neither"
        reader.require(listed is not None, "attn_type_list", message)
        return reader.layer_kinds((FULL, LINEAR), lambda i: FULL)
    unknown = next((number for number in numbers if number not in (0, 1)), None)
    if unknown is not None:
        reader.unknown_word("attn_type_list", str(unknown), ("0", "1"))
    return reader.per_layer("attn_type_list", [FULL if number else LINEAR for number in numbers])


def _lightning(reader: ConfigReader, heads: Heads) -> StateMixer:
    """Linear attention whose state is one head-size x head-size matrix a head; projections for Q, K, V and a gate."""
    width = heads.num_heads * heads.head_dim
    values = width * heads.head_dim
    return StateMixer(
        "linear",
        recurrent_bytes(reader, values),
        FLOP_PER_VALUE * values,
        (
            Matrix("state_in", 4 * heads.hidden_size * width, max_shards=heads.num_heads),
            Matrix("state_out", width * heads.hidden_size, max_shards=heads.num_heads),
        ),
    )
