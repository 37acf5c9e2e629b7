"""Memory for the KV of sessions."""

from __future__ import annotations

import torch

from ctxsim.measure.pages import pages
from ctxsim.measure.transformer import Transformer


def kv_store(model: Transformer, tokens: int, place: torch.device) -> torch.Tensor:
    """Room for so many tokens in all layers.

    Written once, so that all its pages are there, and with values that differ from page to page, as KV does: pages that
    are alike can be kept once by what the machine runs on, and are paid for when first written.
    """
    shape = (model.num_layers, tokens, *model.cache_values())
    return pages(shape, model.dtype, place).normal_()
