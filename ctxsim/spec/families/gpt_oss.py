"""gpt-oss: sliding and full attention in turn, attention sinks, routed experts with biases."""

from __future__ import annotations

from ctxsim.spec.config_reader import ConfigReader
from ctxsim.spec.families.blocks import Linear
from ctxsim.spec.families.decoder import (
    FULL,
    NORMS,
    SLIDING,
    decoder,
    mixers_by_kind,
    read_heads,
    routed,
)
from ctxsim.spec.model import Layer, ModelSpec


def gpt_oss(reader: ConfigReader) -> ModelSpec:
    """The first layer sliding, every second full; the released weights quantise the experts only.

    Source of the latter: ``quantization_config.modules_to_not_convert`` of openai/gpt-oss-120b names attention,
    router, embedding and head. The sinks, one learned logit a query head, are counted with the norms.
    """
    heads = read_heads(reader)
    kinds = reader.layer_kinds((FULL, SLIDING), lambda i: SLIDING if (i + 1) % 2 else FULL)
    bias = reader.flag("attention_bias")
    mixers = mixers_by_kind(reader, heads, kinds, Linear(qkv_bias=bias, out_bias=bias, quantized=False))
    feed_forward = routed(
        reader,
        reader.integer("intermediate_size"),
        router_biases=reader.integer("num_experts"),
        expert_bias=True,
    )
    norms = NORMS * heads.hidden_size + heads.num_heads
    return decoder(reader, [Layer(mixers[kind], feed_forward, norms) for kind in kinds])
