"""Llama 2 and 3, Yi (a Llama by its configuration), Mistral, Mixtral and Phi-3: plain pre-norm decoders."""

from __future__ import annotations

from ctxsim.spec.config_reader import ConfigReader
from ctxsim.spec.families import blocks
from ctxsim.spec.families.decoder import NORMS, alike, biased, decoder, read_heads, routed, windowed
from ctxsim.spec.model import Layer, ModelSpec


def llama(reader: ConfigReader) -> ModelSpec:
    """Full attention and a gated MLP in every layer."""
    heads = read_heads(reader)
    layer = Layer(
        blocks.attention(heads, linear=biased(reader)),
        (blocks.mlp(heads.hidden_size, reader.integer("intermediate_size"), bias=reader.flag("mlp_bias")),),
        NORMS * heads.hidden_size,
    )
    return decoder(reader, alike(reader, layer))


def mistral(reader: ConfigReader) -> ModelSpec:
    """Llama with a sliding window in every layer, unless ``sliding_window`` is null (absent means 4096)."""
    heads = read_heads(reader)
    feed_forward = (blocks.mlp(heads.hidden_size, reader.integer("intermediate_size")),)
    layer = Layer(windowed(reader, heads), feed_forward, NORMS * heads.hidden_size)
    return decoder(reader, [layer] * reader.num_layers())


def mixtral(reader: ConfigReader) -> ModelSpec:
    """Mistral with routed experts instead of the MLP; ``intermediate_size`` is the width of one expert."""
    heads = read_heads(reader)
    feed_forward = routed(reader, reader.integer("intermediate_size"))
    layer = Layer(windowed(reader, heads), feed_forward, NORMS * heads.hidden_size)
    return decoder(reader, [layer] * reader.num_layers())
