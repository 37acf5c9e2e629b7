"""Passes of a small decoder: what an engine computes beside its copies."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import cycle

import torch

from ctxsim.measure.devices import Device
from ctxsim.measure.operands import DTYPES
from ctxsim.measure.pages import pages
from ctxsim.measure.small_decoder import small_decoder
from ctxsim.measure.transformer import Segment, Transformer
from ctxsim.spec.model import ModelSpec

SEQUENCES = (1, 2, 4, 8)
"""So many decode in passes that follow each other."""

CONTEXT_TOKENS = 256
"""Of each."""

CHUNK_TOKENS = 512

SEED = 0


class Passes:
    """Passes of a model whose weights are together more than a cache has."""

    def __init__(self, device: Device, dtype: str = "fp32") -> None:
        self.spec = small_decoder(hidden=768, mlp=2_048, layers=4, heads=(12, 4), words=32_000)
        self._model, self._kept = _made(self.spec, device.torch, DTYPES[dtype])
        self._sequences = cycle(SEQUENCES)

    def one(self) -> int:
        """The next pass in which sequences decode; of how many it was."""
        sequences = next(self._sequences)
        places = range(0, sequences * CONTEXT_TOKENS, CONTEXT_TOKENS)
        segments = [Segment(place, CONTEXT_TOKENS - 1, [0]) for place in places]
        self._compute(segments)
        return sequences

    def chunk(self) -> None:
        """A pass over the beginning of a prompt."""
        self._compute([Segment(0, 0, [0] * CHUNK_TOKENS)])

    def _compute(self, segments: Sequence[Segment]) -> None:
        self._model.forward(self._kept, segments).argmax(dim=-1).tolist()


@cache
def _made(spec: ModelSpec, device: torch.device, dtype: torch.dtype) -> tuple[Transformer, torch.Tensor]:
    """The model, about 200 MB in fp32, and KV of the sequences (zeros take as long as other values)."""
    model = Transformer(spec, device, dtype, CHUNK_TOKENS, SEED)
    kept = (model.num_layers, max(SEQUENCES) * CONTEXT_TOKENS, *model.cache_values())
    return model, pages(kept, model.dtype, device).zero_()
