"""Effects on the tokens that are kept and read: windows, eviction, selection, patterns."""

from __future__ import annotations

from dataclasses import replace

from ctxsim.spec.keeping import Selection
from ctxsim.spec.model import Attention, LatentAttention, Layer, Mixer, StateMixer
from ctxsim.spec.techniques.effects import AttentionPattern, Evict, Select, Window
from ctxsim.spec.techniques.subject import RefusalError, Subject, keeps_whole, refuse_unless


def window(effect: Window, subject: Subject) -> Subject:
    """Layers keep sinks and the last tokens: those with a window already, the smaller of both."""
    tokens = effect.sink_tokens + effect.window_tokens
    if tokens >= subject.longest_tokens:
        return subject
    _refuse_unless_there_is_kv(subject)
    return subject.with_layers(lambda layer: _windowed(layer, tokens, effect.prefill == "windowed"))


def _windowed(layer: Layer, tokens: int, windowed_prompts: bool) -> Layer:
    mixer = layer.mixer
    if isinstance(mixer, StateMixer):
        return layer
    _refuse_indexer(mixer)
    if isinstance(mixer, Attention) and mixer.window_tokens is not None and mixer.window_tokens <= tokens:
        return layer
    refuse_unless(not _is_chunked(mixer), "chunked layers keep no last tokens of a window across their chunks")
    if windowed_prompts and isinstance(mixer, Attention):
        return replace(layer, mixer=replace(mixer, kind="sliding", window_tokens=tokens))
    fewest = tokens if mixer.keeping.tokens is None else min(tokens, mixer.keeping.tokens)
    both = windowed_prompts or mixer.keeping.windowed_prompts
    return replace(layer, mixer=replace(mixer, keeping=replace(mixer.keeping, tokens=fewest, windowed_prompts=both)))


def evict(effect: Evict, subject: Subject) -> Subject:
    """After a prompt a share of the context stays, or so many tokens at most: of both, the smaller."""
    ratio, budget = effect.keep_ratio or 1.0, effect.budget_tokens
    if ratio == 1.0 and (budget is None or budget >= subject.longest_tokens):
        return subject
    _refuse_unless_there_is_kv(subject)
    return subject.with_layers(lambda layer: _evicted(layer, ratio, budget))


def _evicted(layer: Layer, ratio: float, budget: int | None) -> Layer:
    mixer = layer.mixer
    if isinstance(mixer, StateMixer) or _is_chunked(mixer):
        return layer
    _refuse_indexer(mixer)
    if isinstance(mixer, Attention) and mixer.window_tokens is not None and budget is not None:
        budget = min(budget, mixer.window_tokens)
    keeping = mixer.keeping
    limits = [tokens for tokens in (budget, keeping.tokens) if tokens is not None]
    kept = replace(keeping, ratio=min(ratio, keeping.ratio), tokens=min(limits, default=None))
    return replace(layer, mixer=replace(mixer, keeping=kept))


def select(effect: Select, subject: Subject) -> Subject:
    """Layers that keep everything read a chosen part of it in decode; those with windows stay as they are."""
    if effect.top_k_tokens >= subject.longest_tokens:
        return subject
    mixers = [layer.mixer for layer in subject.model.layer_counts]
    for mixer in mixers:
        _refuse_indexer(mixer)
    refuse_unless(
        any(keeps_whole(mixer) for mixer in mixers),
        f"no layer of {subject.model.name} keeps everything here, and what keeps a window has nothing to select from",
    )
    selection = Selection(effect.top_k_tokens, effect.page_tokens, effect.metadata_values_per_page)
    return subject.with_layers(lambda layer: _selecting(layer, selection))


def _selecting(layer: Layer, selection: Selection) -> Layer:
    mixer = layer.mixer
    if isinstance(mixer, StateMixer) or not keeps_whole(mixer):
        return layer
    return replace(layer, mixer=replace(mixer, keeping=replace(mixer.keeping, selection=selection)))


def attention_pattern(effect: AttentionPattern, subject: Subject) -> Subject:
    """Full attention through abstractions of regions (Combiner, arXiv 2107.05768); KV is kept as before."""
    if effect.region_tokens >= subject.longest_tokens:
        return subject
    mixers = [layer.mixer for layer in subject.model.layer_counts]
    full = [mixer for mixer in mixers if isinstance(mixer, Attention) and mixer.kind == "full"]
    refuse_unless(bool(full), f"{subject.model.name} has no layer of full attention")
    return subject.with_layers(lambda layer: _patterned(layer, effect.region_tokens))


def _patterned(layer: Layer, region_tokens: int) -> Layer:
    mixer = layer.mixer
    if not isinstance(mixer, Attention) or mixer.kind != "full":
        return layer
    keeping = mixer.keeping
    refuse_unless(
        keeping.tokens is None and keeping.ratio == 1.0 and keeping.selection is None and keeping.head_window is None,
        "regions are of a whole context, and here some of it is dropped or skipped",
    )
    return replace(layer, mixer=replace(mixer, keeping=replace(keeping, region_tokens=region_tokens)))


def _refuse_unless_there_is_kv(subject: Subject) -> None:
    holds = any(not isinstance(layer.mixer, StateMixer) for layer in subject.model.layer_counts)
    refuse_unless(holds, f"no layer of {subject.model.name} has a KV cache")


def _refuse_indexer(mixer: Mixer) -> None:
    if isinstance(mixer, LatentAttention) and mixer.index_topk is not None:
        raise RefusalError("its layers have an indexer, which chooses from the whole context")


def _is_chunked(mixer: Mixer) -> bool:
    return isinstance(mixer, Attention) and mixer.kind == "chunked"
