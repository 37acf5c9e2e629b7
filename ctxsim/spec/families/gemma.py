"""Gemma 2 and 3: sliding and full attention layers in turn, four norms a layer, tied head."""

from __future__ import annotations

from ctxsim.spec.config_reader import ConfigReader
from ctxsim.spec.families import blocks
from ctxsim.spec.families.decoder import FULL, SLIDING, biased, decoder, mixers_by_kind, read_heads
from ctxsim.spec.model import Layer, ModelSpec

GEMMA_NORMS = 4
"""Norms of a layer: before and after attention, before and after the feed-forward."""


def gemma2(reader: ConfigReader) -> ModelSpec:
    """Every second layer full, the first sliding."""
    return _gemma(reader, period=2, norms_a_head=0)


def gemma3(reader: ConfigReader) -> ModelSpec:
    """Every ``sliding_window_pattern``-th layer full (6 unless given); a norm over query and key heads."""
    return _gemma(reader, period=reader.integer("sliding_window_pattern"), norms_a_head=2)


def _gemma(reader: ConfigReader, period: int, norms_a_head: int) -> ModelSpec:
    heads = read_heads(reader)
    kinds = reader.layer_kinds((FULL, SLIDING), lambda i: SLIDING if (i + 1) % period else FULL)
    mixers = mixers_by_kind(reader, heads, kinds, biased(reader))
    feed_forward = (blocks.mlp(heads.hidden_size, reader.integer("intermediate_size")),)
    norms = GEMMA_NORMS * heads.hidden_size + norms_a_head * heads.head_dim
    return decoder(reader, [Layer(mixers[kind], feed_forward, norms) for kind in kinds])
