"""Falcon and Cohere (Command R): attention and feed-forward side by side on one input, so one all-reduce a layer."""

from __future__ import annotations

from ctxsim.spec.config_reader import ConfigReader
from ctxsim.spec.families import blocks
from ctxsim.spec.families.blocks import Heads, Linear
from ctxsim.spec.families.decoder import alike, biased, decoder, equal_head_dim, read_heads
from ctxsim.spec.model import Layer, ModelSpec

FALCON_WIDTH_RATIO = 4
"""``ffn_hidden_size`` where the file has none: four times the hidden size."""

LAYER_NORM = 2
"""Parameters of a layer norm a channel: weight and bias."""


def cohere(reader: ConfigReader) -> ModelSpec:
    """One norm a layer (weights only), tied head, and a norm a head over Q and K where ``use_qk_norm`` says so."""
    heads = read_heads(reader)
    head_norms = heads.width + heads.kv_width if reader.flag("use_qk_norm") else 0
    layer = Layer(
        blocks.attention(heads, linear=biased(reader)),
        (blocks.mlp(heads.hidden_size, reader.integer("intermediate_size")),),
        heads.hidden_size + head_norms,
        all_reduces=1,
    )
    served = reader.optional_integer("model_max_length")
    return decoder(reader, alike(reader, layer), max_context_tokens=served)


def falcon(reader: ConfigReader) -> ModelSpec:
    """A plain two-matrix feed-forward; layer norms with biases; head tied to the token table."""
    heads, bias = _falcon_heads(reader), reader.flag("bias")
    parallel = reader.flag("parallel_attn") or reader.flag("new_decoder_architecture")
    width = reader.optional_integer("intermediate_size") or FALCON_WIDTH_RATIO * heads.hidden_size
    layer = Layer(
        blocks.attention(heads, linear=Linear(bias, bias)),
        (blocks.mlp(heads.hidden_size, width, projections=2, bias=bias),),
        _falcon_norms(reader, parallel) * LAYER_NORM * heads.hidden_size,
        all_reduces=1 if parallel else 2,
    )
    final_norm = LAYER_NORM * heads.hidden_size
    return decoder(reader, alike(reader, layer), final_norm_parameters=final_norm)


def _falcon_heads(reader: ConfigReader) -> Heads:
    """KV heads: ``num_kv_heads`` in the newer decoder, one in the older with ``multi_query``, else all heads."""
    hidden_size, num_heads = reader.integer("hidden_size"), reader.integer("num_attention_heads")
    stated = reader.optional_integer("num_key_value_heads") or num_heads
    old_multi_query = reader.flag("multi_query") and not reader.flag("new_decoder_architecture")
    num_kv_heads = 1 if old_multi_query else stated
    message = f"expected a divisor of the {num_heads} attention heads, found {num_kv_heads}"
    reader.require(num_heads % num_kv_heads == 0, "num_key_value_heads", message)
    return Heads(hidden_size, num_heads, num_kv_heads, equal_head_dim(reader, hidden_size, num_heads))


def _falcon_norms(reader: ConfigReader, parallel: bool) -> int:
    """Norms of a layer: two in sequence, and side by side one, or two in the newer decoder."""
    if not parallel:
        return 2
    newer = 2 if reader.flag("new_decoder_architecture") else 1
    return reader.optional_integer("num_ln_in_parallel_attn") or newer
