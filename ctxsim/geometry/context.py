"""From a model's layers to context classes: layers that keep and read context in the same way."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ctxsim.geometry.spans import Phase, Span
from ctxsim.spec.model import Attention, LatentAttention, Layer, ModelSpec, StateMixer


@dataclass(frozen=True, slots=True)
class KvDtype:
    """Bytes of a KV value, with the scales stored beside groups of values.

    ``group_values`` = 0: scales are per tensor and weigh nothing; -1: one group a head.
    """

    value_bytes: float
    group_values: int
    scale_bytes: float

    def bytes_per_value(self, head_dim: int) -> float:
        """Bytes of one value of a head of ``head_dim`` values, its share of the scale included."""
        group = head_dim if self.group_values == -1 else self.group_values
        return self.value_bytes + (self.scale_bytes / group if group else 0.0)


# fp8: per-tensor scale (vLLM --kv-cache-dtype fp8). int8: a float32 scale a token and head (vLLM int8_per_token_head).
# int4: groups of 64 with a bf16 scale and a bf16 zero point (asymmetric, as KIVI, arXiv 2402.02750).
KV_DTYPES: dict[str, KvDtype] = {
    "bf16": KvDtype(2, 0, 0),
    "fp32": KvDtype(4, 0, 0),
    "fp8": KvDtype(1, 0, 0),
    "int8": KvDtype(1, -1, 4),
    "int4": KvDtype(0.5, 64, 4),
}


@dataclass(frozen=True, slots=True)
class ContextClass:
    """Layers that keep and read context alike.

    ``held``: which tokens are kept. ``spans``: the kernels that read them (a latent cache has one for prefill and
    one for decode). ``layers``: how many layers. ``mixer``: their geometry. ``bytes_per_token``: bytes a token takes in
    all these layers of one replica, copies on the ranks of a tensor-parallel group included.
    """

    name: str
    held: Span
    spans: tuple[Span, ...]
    layers: int
    mixer: Attention | LatentAttention
    bytes_per_token: float


def attention_classes(
    model: ModelSpec, kv_dtype: str, tensor_parallel: int = 1, by_phase: bool = False
) -> tuple[ContextClass, ...]:
    """The context classes of a model, in order of first appearance; layers with a constant state have none.

    by_phase: prefill and decode are kernels of their own in every class, as they are where times are measured.
    """
    counts: dict[Attention | LatentAttention, int] = {}
    for layer, number in model.layer_counts.items():
        if not isinstance(layer.mixer, StateMixer):
            counts[layer.mixer] = counts.get(layer.mixer, 0) + number
    classes: list[ContextClass] = []
    for mixer, number in counts.items():
        classes.extend(_classes_of(mixer, number, KV_DTYPES[kv_dtype], tensor_parallel))
    return tuple(_by_phase(c) for c in classes) if by_phase else tuple(classes)


def _by_phase(c: ContextClass) -> ContextClass:
    if any(span.phase != "any" for span in c.spans):
        return c
    phases: tuple[Phase, Phase] = ("prefill", "decode")
    return replace(c, spans=tuple(replace(span, phase=phase) for span in c.spans for phase in phases))


def _classes_of(
    mixer: Attention | LatentAttention, layers: int, dtype: KvDtype, tensor_parallel: int
) -> list[ContextClass]:
    if isinstance(mixer, Attention):
        span = Span(mixer.kind, mixer.window_tokens or 0)
        copies = kv_copies(mixer.num_kv_heads, tensor_parallel)
        values = mixer.num_kv_heads * (
            mixer.qk_head_dim * dtype.bytes_per_value(mixer.qk_head_dim)
            + mixer.v_head_dim * dtype.bytes_per_value(mixer.v_head_dim)
        )
        name = mixer.kind if mixer.window_tokens is None else f"{mixer.kind} {mixer.window_tokens}"
        return [ContextClass(name, span, (span,), layers, mixer, layers * values * copies)]
    return _latent_classes(mixer, layers, dtype, tensor_parallel)


def _latent_classes(mixer: LatentAttention, layers: int, dtype: KvDtype, tensor_parallel: int) -> list[ContextClass]:
    """The latent cache, whole on every rank (it has no heads to split), and the indexer's keys beside it."""
    width = mixer.kv_lora_rank + mixer.qk_rope_head_dim
    row_bytes = width * dtype.bytes_per_value(width)
    kept = Span("full")
    if mixer.index_topk is None:
        spans = (Span("full", 0, "prefill"), Span("full", 0, "decode"))
        return [ContextClass("latent", kept, spans, layers, mixer, layers * row_bytes * tensor_parallel)]
    selected = Span("topk", mixer.index_topk)
    return [
        ContextClass("latent", kept, (selected,), layers, mixer, layers * row_bytes * tensor_parallel),
        ContextClass("index", kept, (kept,), layers, mixer, layers * mixer.index_key_bytes * tensor_parallel),
    ]


def kv_copies(num_kv_heads: int, tensor_parallel: int) -> float:
    """How many times a tensor-parallel group holds each KV head: ranks beyond the heads repeat them."""
    heads_per_rank = -(-num_kv_heads // tensor_parallel)
    return tensor_parallel * heads_per_rank / num_kv_heads


def kv_bytes_per_token(model: ModelSpec, kv_dtype: str, tensor_parallel: int = 1) -> float:
    """Bytes one more token of a long context adds: layers that keep every token (full, latent), in one replica.

    Sliding and chunked layers stop growing at their window, and an indexer's keys are counted apart; both are in
    KvLayout.held_bytes.
    """
    return sum(
        c.bytes_per_token
        for c in attention_classes(model, kv_dtype, tensor_parallel)
        if c.held.kind == "full" and c.name != "index"
    )


def state_bytes_per_sequence(model: ModelSpec) -> int:
    """Bytes of constant state one sequence keeps in the linear and state-space layers."""
    return sum(_state_bytes(layer) * number for layer, number in model.layer_counts.items())


def _state_bytes(layer: Layer) -> int:
    return layer.mixer.state_bytes if isinstance(layer.mixer, StateMixer) else 0
