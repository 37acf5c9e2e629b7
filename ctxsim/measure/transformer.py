"""A dense decoder with random weights: what a pass computes is real, what it says is not.

RMS norms, rotary positions, attention with grouped KV heads (full or over a sliding window) and a gated MLP, in the
geometry of any ModelSpec that has nothing else. Q, K and V are one product, gate and up another, as engines fuse them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import embedding, linear, rms_norm, silu

from ctxsim.errors import Fault, SpecError
from ctxsim.measure.pages import pages
from ctxsim.measure.windows import Masks, Part, Reach, each_attention
from ctxsim.spec.families.blocks import GATED
from ctxsim.spec.model import Attention, Layer, ModelSpec

ROTARY_BASE = 10_000.0
"""Base of the rotary wavelengths (Su et al., RoFormer, arXiv 2104.09864); with random weights any would do."""

EPSILON = 1.0 / 100_000
"""Added to mean squares before their root, as Llama does."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One sequence's part of a pass: these tokens, after ``past`` ones whose KV lies at ``base`` and what follows."""

    base: int
    past: int
    tokens: Sequence[int]

    @property
    def total(self) -> int:
        """Tokens of its context with this pass."""
        return self.past + len(self.tokens)


@dataclass(frozen=True, slots=True)
class Shape:
    """What all layers of a dense decoder have in common, in values."""

    hidden: int
    heads: int
    kv_heads: int
    head: int
    mlp: int

    @property
    def qkv(self) -> int:
        """Outputs of the fused projection of Q, K and V."""
        return (self.heads + 2 * self.kv_heads) * self.head


def shape_of(model: ModelSpec) -> Shape:
    """The shape of a dense decoder; raises SpecError with what this engine cannot compute of a model."""
    shapes = {shape for layer in model.layer_counts if (shape := _layer_shape(model, layer)) is not None}
    if len(shapes) == 1 and all(_layer_shape(model, layer) is not None for layer in model.layer_counts):
        return shapes.pop()
    wanted = "expected a dense decoder with equal layers: full or sliding attention, RMS norms before both parts, a "
    message = f"{wanted}gated MLP, found {model.name} ({model.family}); take one of the Llama, Yi, Mistral or Qwen kind"
    raise SpecError(Fault("", None, None, "model", message))


def _layer_shape(model: ModelSpec, layer: Layer) -> Shape | None:
    """The layer's shape, where its weights are exactly those that this engine would make for it."""
    mixer, hidden = layer.mixer, model.hidden_size
    if not isinstance(mixer, Attention) or mixer.kind == "chunked" or mixer.qk_head_dim != mixer.v_head_dim:
        return None
    if len(layer.feed_forward) != 1 or layer.feed_forward[0].operation != "mlp" or layer.all_reduces == 1:
        return None
    mlp, rest = divmod(layer.feed_forward[0].parameters, GATED * hidden)
    shape = Shape(hidden, mixer.num_heads, mixer.num_kv_heads, mixer.qk_head_dim, mlp)
    norms = (2 * hidden, 2 * hidden + 2 * shape.head)
    sizes = sum(m.parameters for m in mixer.matrices), layer.norm_parameters in norms
    alike = sizes == (hidden * (shape.qkv + shape.heads * shape.head), True)
    return shape if alike and not rest and not layer.feed_forward[0].biases else None


class DecoderLayer:
    """The weights of one layer; rows are outputs."""

    def __init__(self, shape: Shape, layer: Layer, draw: Draw) -> None:
        assert isinstance(layer.mixer, Attention)
        self.reach = Reach(layer.mixer.window_tokens)
        biased = any(m.biases for m in layer.mixer.matrices if m.operation == "qkv")
        self.qkv = draw.matrix(shape.qkv, shape.hidden)
        self.qkv_bias = draw.ones(shape.qkv) if biased else None
        self.out = draw.matrix(shape.hidden, shape.heads * shape.head)
        self.gate_up = draw.matrix(2 * shape.mlp, shape.hidden)
        self.down = draw.matrix(shape.hidden, shape.mlp)
        self.norm = draw.ones(shape.hidden)
        self.mlp_norm = draw.ones(shape.hidden)
        norms_heads = layer.norm_parameters > 2 * shape.hidden
        self.head_norm = draw.ones(shape.head) if norms_heads else None


@dataclass(frozen=True, slots=True)
class Draw:
    """Makes weights on a device."""

    device: torch.device
    dtype: torch.dtype
    source: torch.Generator

    def matrix(self, outputs: int, inputs: int) -> torch.Tensor:
        """Normal values of variance 1 / inputs, so that activations keep their size."""
        empty = pages((outputs, inputs), self.dtype, self.device)
        return empty.normal_(0.0, 1 / math.sqrt(inputs), generator=self.source)

    def ones(self, values: int) -> torch.Tensor:
        """Ones."""
        return torch.ones(values, device=self.device, dtype=self.dtype)


@dataclass(frozen=True, slots=True)
class _Pass:
    """What all layers of one pass are told: its sequences, and where each token's position and its KV's place are."""

    parts: Sequence[Part]
    turns: torch.Tensor
    slots: torch.Tensor
    masks: Masks


class Transformer:
    """A model on a device; ``cache`` of a pass is (layers, tokens, 2, KV heads, head size): keys, then values.

    max_tokens: the longest context. Equal seeds give equal weights on one kind of device.
    """

    def __init__(self, model: ModelSpec, device: torch.device, dtype: torch.dtype, max_tokens: int, seed: int) -> None:
        self.shape = shape_of(model)
        self.device, self.dtype = device, dtype
        draw = Draw(device, dtype, torch.Generator(device).manual_seed(seed))
        self._table = draw.matrix(model.vocab_size, model.hidden_size)
        self._head = self._table if model.tied_head else draw.matrix(model.vocab_size, model.hidden_size)
        self._norm = draw.ones(model.hidden_size)
        self.num_layers = model.num_layers
        self._layers = [DecoderLayer(self.shape, layer, draw) for layer in model.layers]
        self._turns = rotations(max_tokens, self.shape.head, device, dtype)

    def cache_values(self) -> tuple[int, int, int]:
        """Values that one layer keeps of a token: keys and values, KV heads, head size."""
        return 2, self.shape.kv_heads, self.shape.head

    def forward(self, cache: torch.Tensor, segments: Sequence[Segment]) -> torch.Tensor:
        """Logits (sequences, vocabulary) after the last token of each segment; writes the KV of all its tokens."""
        with torch.inference_mode():
            batch, tokens = self._batch(segments)
            hidden = embedding(tokens, self._table)
            for layer, kept in zip(self._layers, cache, strict=True):
                hidden = hidden + self._attend(layer, hidden, kept, batch)
                hidden = hidden + self._mlp(layer, hidden)
            ends = torch.tensor([len(s.tokens) for s in segments]).cumsum(0) - 1
            return linear(normed(hidden[ends.to(self.device)], self._norm), self._head)

    def _batch(self, segments: Sequence[Segment]) -> tuple[_Pass, torch.Tensor]:
        """What all layers are told, and the ids of all tokens."""
        steps = [s.past + i for s in segments for i in range(len(s.tokens))]
        places = [s.base + s.past + i for s in segments for i in range(len(s.tokens))]
        ids = [token for s in segments for token in s.tokens]
        tokens, positions, slots = torch.tensor([ids, steps, places]).to(self.device).unbind()
        parts = [Part(len(s.tokens), s.base, s.total) for s in segments]
        return _Pass(parts, self._turns[positions].unsqueeze(1), slots, Masks(self.device)), tokens

    def _attend(self, layer: DecoderLayer, hidden: torch.Tensor, kept: torch.Tensor, batch: _Pass) -> torch.Tensor:
        shape, (heads, kv_heads) = self.shape, (self.shape.heads, self.shape.kv_heads)
        mixed = linear(normed(hidden, layer.norm), layer.qkv, layer.qkv_bias)
        mixed = mixed.view(len(hidden), heads + 2 * kv_heads, shape.head)
        turning = mixed[:, : heads + kv_heads]
        if layer.head_norm is not None:
            turning = normed(turning, layer.head_norm)
        turned = rotate(turning, batch.turns)
        keys, values = turned[:, heads:], mixed[:, heads + kv_heads :]
        store(kept, batch.slots, keys, values)
        found = each_attention(layer.reach, turned[:, :heads], kept, batch.parts, batch.masks)
        return linear(found.view(len(hidden), -1), layer.out)

    def _mlp(self, layer: DecoderLayer, hidden: torch.Tensor) -> torch.Tensor:
        return linear(activated(linear(normed(hidden, layer.mlp_norm), layer.gate_up)), layer.down)


def normed(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Values over the root of their mean square, times weights."""
    return rms_norm(values, weights.shape, weights, EPSILON)


def activated(gate_up: torch.Tensor) -> torch.Tensor:
    """SiLU of the first half of each row times the second."""
    gate, up = gate_up.chunk(2, dim=-1)
    return silu(gate) * up


def store(kept: torch.Tensor, slots: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> None:
    """Puts keys and values (tokens, KV heads, head size) where they stay in a layer's cache."""
    kept.index_copy_(0, slots, torch.stack((keys, values), dim=1))


def rotations(positions: int, head: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Cosines, then sines (positions, 2 x head / 2) by which pairs of values of a head are turned at each position."""
    wavelengths = ROTARY_BASE ** (-torch.arange(0, head, 2, dtype=torch.float64) / head)
    angles = torch.outer(torch.arange(positions, dtype=torch.float64), wavelengths)
    return torch.cat((angles.cos(), angles.sin()), dim=1).to(device, dtype)


def rotate(values: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Values (tokens, heads, head size) with each one of the first half turned together with its like in the second."""
    (left, right), (cosines, sines) = values.chunk(2, dim=-1), turns.chunk(2, dim=-1)
    return torch.cat((left * cosines - right * sines, right * cosines + left * sines), dim=-1)
