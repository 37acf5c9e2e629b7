"""Effects on settings: number formats and whatever else an engine lets one choose."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ValidationError

from ctxsim.errors import nearest
from ctxsim.spec.document import Document
from ctxsim.spec.serving import Deployment, Serving
from ctxsim.spec.techniques.effects import Chunk, KvFormatEffect, Set, Weights
from ctxsim.spec.techniques.subject import RefusalError, Subject
from ctxsim.spec.validation import faults_of, shown

PLAIN_FORMAT = "bf16"
DEPLOYMENT = "deployment."


def kv_format(effect: KvFormatEffect, subject: Subject) -> Subject:
    """The number format of KV."""
    return subject if effect.format == PLAIN_FORMAT else _changed(subject, "serving", "kv_dtype", effect.format)


def weights(effect: Weights, subject: Subject) -> Subject:
    """The number format of weights."""
    return subject if effect.format == PLAIN_FORMAT else _changed(subject, "serving", "weight_dtype", effect.format)


def setting(effect: Set, subject: Subject) -> Subject:
    """Any setting of the serving or the deployment."""
    if effect.value is None:
        return subject
    part = "deployment" if effect.setting.startswith(DEPLOYMENT) else "serving"
    # A neutral value is checked as any other, but contradicts nothing.
    neutral = _is_neutral(effect)
    name, gives_way = effect.setting.removeprefix(DEPLOYMENT), (lambda _: True) if neutral else operator.not_
    after = _changed(subject, part, name, effect.value, gives_way)
    return subject if neutral else after


def _is_neutral(effect: Set) -> bool:
    """Whether its value is the neutral one; of several keys, those of the neutral one count."""
    value, neutral = effect.value, effect.neutral
    if isinstance(value, dict) and isinstance(neutral, dict):
        return all(value.get(key) == wanted for key, wanted in neutral.items())
    return neutral is not None and bool(value == neutral)


def chunk(effect: Chunk, subject: Subject) -> Subject:
    """An iteration's budget of tokens (chunked prefill, arXiv 2308.16369); a greater one of the scenario gives way."""
    tokens = effect.iteration_tokens
    if tokens is None:
        return subject
    return _changed(subject, "serving", "max_num_batched_tokens", tokens, lambda found: bool(found > tokens))


def _changed(
    subject: Subject, part: str, name: str, value: Any, gives_way: Callable[[Any], bool] = operator.not_
) -> Subject:
    """One setting of a part, where nobody has set it to something else.

    gives_way: what was set and makes room all the same; what is off or nothing does.
    """
    before: Serving | Deployment = getattr(subject, part)
    fields = type(before).model_fields
    if name not in fields:
        raise RefusalError(f'expected a setting of {part}, found "{name}"{nearest(name, fields)}')
    after = _with(before, part, name, value)
    found, wanted, default = getattr(before, name), getattr(after, name), fields[name].get_default()
    if found not in (default, wanted) and not gives_way(found):
        raise RefusalError(f"{part}.{name} is {shown(found)} already, and it sets {shown(wanted)}; leave one out")
    return replace(subject, serving=after) if isinstance(after, Serving) else replace(subject, deployment=after)


def _with(before: Serving | Deployment, part: str, name: str, value: Any) -> Serving | Deployment:
    data: dict[str, Any] = before.model_dump(mode="json", exclude_none=True) | {name: value}
    kind: type[BaseModel] = type(before)
    try:
        return kind.model_validate(data)  # type: ignore[return-value]
    except ValidationError as error:
        faults = faults_of(error, kind, Document("", data))
        raise RefusalError("; ".join(f"{part}.{fault.field}: {fault.message}" for fault in faults)) from None
