"""Memory for the KV of sessions."""

from __future__ import annotations

import torch

from ctxsim.measure.pages import pages
from ctxsim.measure.transformer import Transformer, shape_of
from ctxsim.spec.model import ModelSpec


def token_bytes(model: ModelSpec, dtype: torch.dtype) -> float:
    """What all layers keep of a token: keys and values of every KV head."""
    shape = shape_of(model)
    return float(model.num_layers * 2 * shape.kv_heads * shape.head * dtype.itemsize)


def kv_store(model: Transformer, tokens: int, place: torch.device) -> torch.Tensor:
    """Room for so many tokens in all layers.

    Written once, so that all its pages are there, and with values that differ from page to page, as KV does: pages that
    are alike can be kept once by what the machine runs on, and are paid for when first written.
    """
    shape = (model.num_layers, tokens, *model.cache_values())
    return pages(shape, model.dtype, place).normal_()
