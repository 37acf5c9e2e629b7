"""Effects on settings: number formats and whatever else an engine lets one choose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ValidationError

from ctxsim.errors import nearest
from ctxsim.spec.document import Document
from ctxsim.spec.serving import Deployment, Serving
from ctxsim.spec.techniques.effects import KvFormatEffect, Set, Weights
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
    if effect.setting.startswith(DEPLOYMENT):
        return _changed(subject, "deployment", effect.setting.removeprefix(DEPLOYMENT), effect.value)
    return _changed(subject, "serving", effect.setting, effect.value)


def _changed(subject: Subject, part: str, name: str, value: Any) -> Subject:
    """One setting of a part, where nobody has set it to something else."""
    before: Serving | Deployment = getattr(subject, part)
    fields = type(before).model_fields
    if name not in fields:
        raise RefusalError(f'expected a setting of {part}, found "{name}"{nearest(name, fields)}')
    after = _with(before, part, name, value)
    found, wanted, default = getattr(before, name), getattr(after, name), fields[name].get_default()
    if found not in (default, wanted):
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
