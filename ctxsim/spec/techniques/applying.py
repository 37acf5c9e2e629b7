"""A stack of techniques applied to a model and its serving: one fixed order, contradictions refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from ctxsim.spec.digest import sha256_of
from ctxsim.spec.techniques import heads, layers, settings, tokens, weights
from ctxsim.spec.techniques.file import DIMENSIONS
from ctxsim.spec.techniques.loading import Technique
from ctxsim.spec.techniques.subject import RefusalError, Subject

Apply = Callable[[Any, Subject], Subject]

EFFECTS: Mapping[str, tuple[Apply, tuple[str, ...]]] = {
    "weights": (settings.weights, ("the format of weights",)),
    "hybrid": (layers.hybrid, ("the mix of layers",)),
    "decoder_decoder": (layers.decoder_decoder, ("which layers share KV", "the mix of layers")),
    "share_layers": (layers.share_layers, ("which layers share KV",)),
    "kv_heads": (heads.kv_heads, ("the KV heads",)),
    "latent": (heads.latent, ("the KV heads",)),
    "split_heads": (heads.split_heads, ("the windows of heads",)),
    "kv_format": (settings.kv_format, ("the format of KV",)),
    "window": (tokens.window, ()),
    "evict": (tokens.evict, ()),
    "select": (tokens.select, ("the selection of tokens",)),
    "ffn_width": (weights.ffn_width, ("the feed-forward",)),
    "hash_layers": (weights.hash_layers, ("the feed-forward",)),
    "light_tokens": (weights.light_tokens, ("the feed-forward",)),
    "attention_pattern": (tokens.attention_pattern, ("the pattern of attention",)),
    "set": (settings.setting, ()),
    "chunk": (settings.chunk, ("the setting max_num_batched_tokens",)),
}
"""Every kind of effect: what applies it, and what two techniques cannot both change.

Effects of one dimension are applied in this order. Of windows and evictions the smaller counts."""


@dataclass(frozen=True, slots=True)
class Applied:
    """A technique that changes a scenario: its name, and a digest of everything that its effects say."""

    name: str
    effects_sha256: str


@dataclass(frozen=True)
class Changed:
    """What techniques make of a model and its serving, and the settings that they set."""

    subject: Subject
    applied: tuple[Applied, ...]
    set_fields: frozenset[tuple[str, str]]


class StackError(Exception):
    """A technique that cannot be applied after those before it; ``place``: where it stands among those written."""

    def __init__(self, place: int, message: str) -> None:
        super().__init__(message)
        self.place = place


def apply_all(techniques: Sequence[Technique], subject: Subject) -> Changed:
    """The subject with every technique applied once, by dimension; raises StackError at the first that cannot be.

    Pure: the same whatever the order in which they are written.
    """
    before = subject
    places = sorted(range(len(techniques)), key=lambda place: _order(techniques[place]))
    for first, following in pairwise(places):
        if techniques[first].file.name == techniques[following].file.name:
            raise StackError(following, "expected each technique once, found it twice; leave one out")
    applied: list[Applied] = []
    for place in places:
        try:
            after = _applied(techniques[place], subject)
        except RefusalError as refusal:
            raise StackError(place, str(refusal)) from None
        applied += [] if after == subject else [_digest(techniques[place])]
        subject = after
    return Changed(subject, tuple(applied), frozenset(_set_fields(before, subject)))


def _order(technique: Technique) -> tuple[int, int, str]:
    kinds = list(EFFECTS)
    first = min(kinds.index(effect.kind) for effect in technique.file.effects)
    return DIMENSIONS.index(technique.file.dimension), first, technique.file.name


def _applied(technique: Technique, subject: Subject) -> Subject:
    kinds = list(EFFECTS)
    for effect in sorted(technique.file.effects, key=lambda effect: kinds.index(effect.kind)):
        subject = _effected(effect, technique.file.name, subject)
    return subject


def _effected(effect: Any, name: str, subject: Subject) -> Subject:
    """The subject with one effect; what it claims must not be another technique's, unless it changes nothing."""
    apply, claims = EFFECTS[effect.kind]
    if effect.kind == "set":
        claims = (f"the setting {effect.setting}",)
    taken = next((claim for claim in claims if subject.claimed.get(claim, name) != name), None)
    after: Subject | None = None
    try:
        after = apply(effect, subject)
    except RefusalError as refusal:
        if taken is None:
            others = ", ".join(dict.fromkeys(subject.claimed.values()))
            raise RefusalError(f"{refusal} (beside {others})" if others else str(refusal)) from None
    if after == subject:
        return subject
    if taken is not None or after is None:
        raise RefusalError(f"{subject.claimed[str(taken)]} changes {taken} already; use one of them")
    return replace(after, claimed={**after.claimed, **dict.fromkeys(claims or (name,), name)})


def _digest(technique: Technique) -> Applied:
    return Applied(
        technique.file.name, sha256_of([effect.model_dump(mode="json") for effect in technique.file.effects])
    )


def _set_fields(before: Subject, after: Subject) -> set[tuple[str, str]]:
    return {
        (part, name)
        for part in ("serving", "deployment")
        for name in type(getattr(before, part)).model_fields
        if getattr(getattr(before, part), name) != getattr(getattr(after, part), name)
    }
