"""Llama 4 (text part): chunked attention where a layer uses rotary positions, full attention where it does not."""

from __future__ import annotations

from ctxsim.spec.config_reader import ConfigReader
from ctxsim.spec.families import blocks
from ctxsim.spec.families.decoder import CHUNKED, FULL, NORMS, biased, decoder, read_heads, routed
from ctxsim.spec.model import Layer, Matrix, ModelSpec


def llama4(reader: ConfigReader) -> ModelSpec:
    """Experts in every ``interleave_moe_layer_step``-th layer (or those of ``moe_layers``), one of them shared."""
    heads = read_heads(reader)
    chunk = reader.integer("attention_chunk_size")
    mixers = {
        FULL: blocks.attention(heads, linear=biased(reader)),
        CHUNKED: blocks.attention(heads, "chunked", chunk, biased(reader)),
    }
    sparse, dense = _sparse(reader), _dense(reader)
    has_experts = _sparse_layers(reader)
    norms = NORMS * heads.hidden_size
    layers = [
        Layer(mixers[kind], sparse if i in has_experts else dense, norms) for i, kind in enumerate(_kinds(reader))
    ]
    return decoder(reader, layers)


def _kinds(reader: ConfigReader) -> list[str]:
    """``no_rope_layers``: 1 means the layer does use rotary positions, and is chunked; 0 that it is full."""
    rotary = reader.integers("no_rope_layers")
    interval = reader.integer("no_rope_layer_interval")
    if rotary and len(rotary) < reader.num_layers():
        reader.require(False, "no_rope_layers", f"expected one entry a layer, found {len(rotary)}")
        rotary = None
    if rotary:
        flags = rotary
        return reader.layer_kinds((FULL, CHUNKED), lambda i: CHUNKED if flags[i] else FULL)
    return reader.layer_kinds((FULL, CHUNKED), lambda i: CHUNKED if (i + 1) % interval else FULL)


def _sparse_layers(reader: ConfigReader) -> set[int]:
    listed = reader.integers("moe_layers")
    step = reader.integer("interleave_moe_layer_step")
    return set(range(step - 1, reader.num_layers(), step)) if listed is None else set(listed)


def _sparse(reader: ConfigReader) -> tuple[Matrix, ...]:
    width = reader.integer("intermediate_size")
    return (*routed(reader, width), blocks.shared_experts(reader.integer("hidden_size"), width))


def _dense(reader: ConfigReader) -> tuple[Matrix, ...]:
    return (blocks.mlp(reader.integer("hidden_size"), reader.integer("intermediate_size_mlp")),)
