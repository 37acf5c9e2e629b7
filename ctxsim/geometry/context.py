"""From a model's layers to context classes: layers that keep and read context in the same way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

from ctxsim.geometry.formats import KV_DTYPES, KvDtype
from ctxsim.geometry.spans import Phase, Span
from ctxsim.spec.keeping import Keeping
from ctxsim.spec.model import Attention, LatentAttention, Layer, ModelSpec, StateMixer

Rows = Literal["kv", "pages", "index"]
"""What a class keeps of a token: its KV, a part of the summaries by which decode selects tokens, an indexer's key."""

PHASES: tuple[Phase, Phase] = ("prefill", "decode")


@dataclass(frozen=True, slots=True)
class Read:
    """One kernel that reads the KV of a class, and what of its span's amounts it computes and reads.

    ``pair_ratio``, ``touched_ratio``: that share of the pairs, and of the tokens touched. ``last_query``: of a prompt
    only the last token attends, to all that its span touches.
    """

    span: Span
    pair_ratio: float = 1.0
    touched_ratio: float = 1.0
    last_query: bool = False


@dataclass(frozen=True, slots=True)
class ContextClass:
    """Layers that keep and read context alike.

    ``name``: no other class of the model has it. ``rows``: what is kept of a token. ``held``: which tokens are kept.
    ``reads``: the kernels that read them (a latent cache has one for prefill and one for decode). ``layers``: how many
    layers read. ``mixer``: their geometry. ``bytes_per_token``: bytes that a token takes in all of these layers of one
    replica that keep KV, copies on the ranks of a tensor-parallel group included; ``read_bytes_per_token``: what all of
    them read of one, more where layers share one KV.
    """

    name: str
    held: Span
    reads: tuple[Read, ...]
    layers: int
    mixer: Attention | LatentAttention
    bytes_per_token: float
    read_bytes_per_token: float
    rows: Rows = "kv"

    @property
    def spans(self) -> tuple[Span, ...]:
        """The span of each kernel."""
        return tuple(read.span for read in self.reads)


@dataclass(slots=True)
class _Alike:
    """Layers of one geometry: how many read, and how many of these keep KV."""

    mixer: Attention | LatentAttention
    last_token_only: bool
    layers: int = 0
    storing: int = 0


def attention_classes(
    model: ModelSpec, kv_dtype: str, tensor_parallel: int = 1, by_phase: bool = False
) -> tuple[ContextClass, ...]:
    """The context classes of a model, in order of first appearance; layers with a constant state have none.

    by_phase: prefill and decode are kernels of their own in every class, as they are where times are measured.
    """
    found: dict[tuple[Attention | LatentAttention, bool], _Alike] = {}
    for layer, number in model.layer_counts.items():
        mixer = layer.mixer
        if not isinstance(mixer, StateMixer):
            key = geometry_of(mixer), layer.last_token_only
            alike = found.setdefault(key, _Alike(mixer, layer.last_token_only))
            alike.layers += number
            alike.storing += number if layer.keeps_kv else 0
    classes: list[ContextClass] = []
    for alike in found.values():
        classes.extend(_classes_of(alike, KV_DTYPES[kv_dtype], tensor_parallel))
    apart = _told_apart(classes)
    return tuple(_by_phase(c) for c in apart) if by_phase else tuple(apart)


def _told_apart(classes: list[ContextClass]) -> Iterator[ContextClass]:
    """Each under a name of its own: layers of one kind may differ, as in their KV heads."""
    seen = Counter[str]()
    for c in classes:
        seen[c.name] += 1
        yield c if seen[c.name] == 1 else replace(c, name=f"{c.name} ({seen[c.name]})")


def geometry_of(mixer: Attention | LatentAttention) -> Attention | LatentAttention:
    """The mixer without its weights, and as if it kept KV of its own: what layers that keep context alike share."""
    return replace(mixer, matrices=(), keeping=replace(mixer.keeping, stores=True))


def _by_phase(c: ContextClass) -> ContextClass:
    if any(read.span.phase != "any" for read in c.reads):
        return c
    reads = (replace(read, span=replace(read.span, phase=phase)) for read in c.reads for phase in PHASES)
    return replace(c, reads=tuple(reads))


def _classes_of(alike: _Alike, dtype: KvDtype, tensor_parallel: int) -> Iterator[ContextClass]:
    mixer = alike.mixer
    if isinstance(mixer, LatentAttention):
        yield from _latent_classes(mixer, alike, dtype, tensor_parallel)
        return
    for part in _parts(mixer):
        values = part.num_kv_heads * (
            part.qk_head_dim * dtype.bytes_per_value(part.qk_head_dim)
            + part.v_head_dim * dtype.bytes_per_value(part.v_head_dim)
        )
        row_bytes = values * kv_copies(part.num_kv_heads, tensor_parallel)
        name = part.kind if part.window_tokens is None else f"{part.kind} {part.window_tokens}"
        regions = part.keeping.region_tokens
        whole = Span(part.kind, part.window_tokens or 0) if regions is None else Span("fixed", regions)
        yield from _kept(f"{name} heads" if part.keeping.head_window else name, part, whole, alike, row_bytes)
        yield from _pages(part, part.num_kv_heads, part.qk_head_dim, alike, dtype, tensor_parallel)


def _parts(mixer: Attention) -> Iterator[Attention]:
    """The heads that keep context alike: all of them, or those that keep all and those that keep a window."""
    window = mixer.keeping.head_window
    if window is None:
        yield mixer
        return
    group = mixer.num_heads // mixer.num_kv_heads
    whole = mixer.num_kv_heads - window.kv_heads
    if whole:
        keeping = replace(mixer.keeping, head_window=None)
        yield replace(mixer, num_heads=whole * group, num_kv_heads=whole, keeping=keeping)
    rest = replace(mixer, num_heads=window.kv_heads * group, num_kv_heads=window.kv_heads)
    tokens = window.tokens if mixer.window_tokens is None else min(window.tokens, mixer.window_tokens)
    keeping = replace(mixer.keeping, selection=None)
    if window.whole_prompts:
        fewest = tokens if keeping.tokens is None else min(tokens, keeping.tokens)
        yield replace(rest, keeping=replace(keeping, tokens=fewest))
    else:
        yield replace(rest, kind="sliding", window_tokens=tokens, keeping=keeping)


def _kept(
    name: str, mixer: Attention | LatentAttention, whole: Span, alike: _Alike, row_bytes: float
) -> Iterator[ContextClass]:
    """Layers whose tokens take ``row_bytes`` each and that read as ``whole`` says but for what their keeping changes.

    Of a context they keep ratio x min(context, tokens / ratio).
    """
    keeping = mixer.keeping
    limits = [tokens for tokens in (keeping.tokens, whole.tokens if whole.kind == "sliding" else None) if tokens]
    left = Span("sliding", ceil(min(limits) / keeping.ratio)) if limits else None
    read_bytes = alike.layers * row_bytes
    stored = alike.storing * row_bytes * keeping.ratio
    held = left or (Span("full") if whole.kind == "fixed" else whole)
    yield ContextClass(
        name, held, _reads(keeping, whole, left or whole, alike), alike.layers, mixer, stored, read_bytes
    )


def _reads(keeping: Keeping, whole: Span, seen: Span, alike: _Alike) -> tuple[Read, ...]:
    """Kernels of prompts, which read ``whole``, and of decode, which reads ``seen``: one where these are alike."""
    if keeping.selection is not None:
        seen = Span("topk", ceil(keeping.selection.tokens / keeping.ratio))
    share = keeping.ratio * keeping.query_ratio
    if seen == whole and share == 1.0 and not alike.last_token_only:
        return (Read(whole),)
    prompts = Read(replace(whole, phase="prefill"), keeping.query_ratio, 1.0, alike.last_token_only)
    return prompts, Read(replace(seen, phase="decode"), share, share)


def _latent_classes(
    mixer: LatentAttention, alike: _Alike, dtype: KvDtype, tensor_parallel: int
) -> Iterator[ContextClass]:
    """The latent cache, whole on every rank (it has no heads to split), and the indexer's keys beside it."""
    width = mixer.kv_lora_rank + mixer.qk_rope_head_dim
    row_bytes = width * dtype.bytes_per_value(width) * tensor_parallel
    keeping = mixer.keeping
    whole = Span("sliding", keeping.tokens or 0) if keeping.windowed_prompts else Span("full")
    (c,) = _kept("latent", mixer, whole, alike, row_bytes)
    if mixer.index_topk is None:
        yield _by_phase(c)
        yield from _pages(mixer, 1, width, alike, dtype, tensor_parallel)
        return
    yield replace(c, reads=(Read(Span("topk", mixer.index_topk)),))
    key_bytes = mixer.index_key_bytes * tensor_parallel
    yield ContextClass(
        "index", c.held, (Read(whole),), c.layers, mixer, alike.storing * key_bytes, alike.layers * key_bytes, "index"
    )


def _pages(
    mixer: Attention | LatentAttention, kv_heads: int, head_dim: int, alike: _Alike, dtype: KvDtype,
    tensor_parallel: int,
) -> Iterator[ContextClass]:  # fmt: skip
    """The summaries of pages, of which decode reads all to select tokens."""
    selection, ratio = mixer.keeping.selection, mixer.keeping.ratio
    if selection is not None and selection.values_per_page:
        values = kv_heads * selection.values_per_page / selection.page_tokens
        row_bytes = values * dtype.bytes_per_value(head_dim) * kv_copies(kv_heads, tensor_parallel)
        read = Read(Span("full", 0, "decode"), ratio, ratio)
        stored = alike.storing * row_bytes * ratio
        read_bytes = alike.layers * row_bytes
        yield ContextClass("pages", Span("full"), (read,), alike.layers, mixer, stored, read_bytes, "pages")


def kv_copies(num_kv_heads: int, tensor_parallel: int) -> float:
    """How many times a tensor-parallel group holds each KV head: ranks beyond the heads repeat them."""
    heads_per_rank = -(-num_kv_heads // tensor_parallel)
    return tensor_parallel * heads_per_rank / num_kv_heads


def copies_of(c: ContextClass, tensor_parallel: int) -> float:
    """How many ranks of a tensor-parallel group hold what a class keeps of one head: latent rows lie on all of them."""
    mixer = c.mixer
    return tensor_parallel if isinstance(mixer, LatentAttention) else kv_copies(mixer.num_kv_heads, tensor_parallel)


def kv_bytes_per_token(model: ModelSpec, kv_dtype: str, tensor_parallel: int = 1) -> float:
    """Bytes one more token of a long context adds: layers that keep every token (full, latent), in one replica.

    Sliding and chunked layers stop growing at their window, and an indexer's keys are counted apart; both are in
    KvLayout.held_bytes.
    """
    return sum(
        c.bytes_per_token
        for c in attention_classes(model, kv_dtype, tensor_parallel)
        if c.held.kind == "full" and c.rows != "index"
    )


def state_bytes_per_sequence(model: ModelSpec) -> int:
    """Bytes of constant state one sequence keeps in the linear and state-space layers."""
    return sum(_state_bytes(layer) * number for layer, number in model.layer_counts.items())


def _state_bytes(layer: Layer) -> int:
    return layer.mixer.state_bytes if isinstance(layer.mixer, StateMixer) else 0
