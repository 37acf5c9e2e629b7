"""Passes of a decoder: what an engine computes, without an engine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import cycle

from ctxsim.measure.devices import Device
from ctxsim.measure.operands import DTYPES
from ctxsim.measure.small_decoder import small_decoder
from ctxsim.measure.stores import kv_store
from ctxsim.measure.transformer import Segment, Transformer
from ctxsim.spec.model import ModelSpec

SEQUENCES = (1, 2, 4, 8)
"""So many decode together."""

CONTEXT_TOKENS = 256
"""Of each that decodes beside copies."""

CHUNK_TOKENS = 512

SEED = 0


class Passes:
    """Passes of a model whose weights are together more than a cache has.

    longest_tokens: the longest context of a sequence.
    """

    def __init__(self, spec: ModelSpec, device: Device, dtype: str, longest_tokens: int) -> None:
        self._longest_tokens = longest_tokens
        self.model = Transformer(spec, device.torch, DTYPES[dtype], longest_tokens, SEED)
        self._kept = kv_store(self.model, max(SEQUENCES) * longest_tokens, device.torch)
        self._sequences = cycle(SEQUENCES)

    def one(self) -> None:
        """The next pass in which sequences decode, of another number than the one before."""
        self.decode(next(self._sequences), CONTEXT_TOKENS)

    def decode(self, sequences: int, context_tokens: int) -> None:
        """A pass that makes a token of each sequence; the context counts it."""
        places = range(0, sequences * self._longest_tokens, self._longest_tokens)
        self._compute([Segment(place, context_tokens - 1, [0]) for place in places])

    def chunk(self, past_tokens: int) -> None:
        """A pass over a part of a prompt."""
        self._compute([Segment(0, past_tokens, [0] * CHUNK_TOKENS)])

    def _compute(self, segments: Sequence[Segment]) -> None:
        self.model.forward(self._kept, segments).argmax(dim=-1).tolist()


@cache
def small_passes(device: Device) -> Passes:
    """Those of a small decoder, about 200 MB in fp32."""
    spec = small_decoder(hidden=768, mlp=2_048, layers=4, heads=(12, 4), words=32_000)
    return Passes(spec, device, "fp32", CONTEXT_TOKENS)
