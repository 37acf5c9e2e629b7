"""A document checked against a pydantic model: every fault at once, each with its place and what would do."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Tag, ValidationError
from pydantic_core import ErrorDetails

from ctxsim.errors import Fault, SpecError, nearest, shorten
from ctxsim.spec.document import Document, Loc

M = TypeVar("M", bound=BaseModel)


class Spec(BaseModel):
    """The base of every description read from a file: frozen, hashable, strict, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class FieldError(ValueError):
    """Raised in a model's validator to put the fault on one of its fields instead of on the whole."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def kind_tag(value: object) -> str | None:
    """The discriminator of a union by its ``kind`` key; the brackets keep a tag apart from any field's name."""
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return f"<{kind}>" if isinstance(kind, str) else None


def validate(model_class: type[M], document: Document) -> M:
    """The document as an instance of the model; raises SpecError with all its faults in the file's order."""
    try:
        return model_class.model_validate(document.data)
    except ValidationError as error:
        raise SpecError(*faults_of(error, model_class, document)) from None


def faults_of(error: ValidationError, model_class: type[BaseModel], document: Document) -> list[Fault]:
    """The faults that pydantic collected, worded, placed and sorted by place."""
    details = error.errors(include_url=False)
    found = [_fault(detail, model_class, document) for detail in details]
    return sorted(dict.fromkeys(found), key=lambda fault: (fault.path, fault.line or 0, fault.column or 0))


def _fault(detail: ErrorDetails, model_class: type[BaseModel], document: Document) -> Fault:
    kind, raw, value = detail["type"], detail["loc"], detail["input"]
    loc = _in_file(raw, document.data, keep_last=kind == "missing")
    context = detail.get("ctx", {})
    if kind == "extra_forbidden":
        known = sorted(_keys_at(model_class, raw[:-1]))
        name = str(raw[-1])
        would_do = nearest(name, known) or f"; known: {', '.join(known)}"
        return document.fault(loc, f'expected a known key, found "{shorten(name)}"{would_do}', at_key=True)
    if kind.startswith("union_tag"):
        return _union_fault(loc, value, context, document)
    if isinstance(context.get("error"), FieldError):
        loc = (*loc, context["error"].field)
    return document.fault(loc, _message(kind, value, context, detail["msg"]))


def _message(kind: str, value: object, context: Mapping[str, Any], fallback: str) -> str:
    """``expected X, found Y`` for one of pydantic's error types; our own ValueErrors come ready worded."""
    if kind == "value_error":
        return str(context["error"])
    if kind == "missing":
        return "expected a value, found nothing; this key is required"
    if kind == "literal_error":
        known = _quoted_words(context["expected"])
        suggestion = nearest(value, known) if isinstance(value, str) else ""
        return f"expected one of {', '.join(known)}, found {shown(value)}{suggestion}"
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind](context)}, found {shown(value)}"
    return f"{fallback[0].lower()}{fallback[1:]}, found {shown(value)}"


_EXPECTED: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "int_type": lambda c: "a whole number",
    "int_from_float": lambda c: "a whole number",
    "float_type": lambda c: "a number",
    "finite_number": lambda c: "a finite number",
    "string_type": lambda c: "text",
    "string_too_short": lambda c: "text that is not empty",
    "bool_type": lambda c: "true or false",
    "model_type": lambda c: "a mapping of keys to values",
    "model_attributes_type": lambda c: "a mapping of keys to values",
    "dict_type": lambda c: "a mapping of keys to values",
    "list_type": lambda c: "a list",
    "tuple_type": lambda c: "a list",
    "greater_than": lambda c: f"a number above {_number(c['gt'])}",
    "greater_than_equal": lambda c: f"a number of at least {_number(c['ge'])}",
    "less_than": lambda c: f"a number below {_number(c['lt'])}",
    "less_than_equal": lambda c: f"a number of at most {_number(c['le'])}",
}


def _number(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)


def _union_fault(loc: Loc, value: object, context: Mapping[str, Any], document: Document) -> Fault:
    """The fault of a mapping whose ``kind`` is missing, unknown, or that is no mapping at all."""
    if not isinstance(value, dict):
        return document.fault(loc, f"expected a mapping with a kind, found {shown(value)}")
    if "kind" not in value:
        return document.fault((*loc, "kind"), "expected a value, found nothing; this key is required")
    known = [word.strip("<>") for word in _quoted_words(context.get("expected_tags", ""))]
    found = value["kind"]
    wanted = f"one of {', '.join(known)}" if known else "a kind as text"
    suggestion = nearest(found, known) if isinstance(found, str) else ""
    return document.fault((*loc, "kind"), f"expected {wanted}, found {shown(found)}{suggestion}")


def _quoted_words(listing: str) -> list[str]:
    """The words of pydantic's listing ``'a', 'b' or 'c'``."""
    return listing.split("'")[1::2]


def _in_file(raw: Loc, data: object, *, keep_last: bool) -> Loc:
    """The way to the value as the file has it: without union tags and parts that the file does not hold."""
    loc: list[str | int] = []
    for i, part in enumerate(raw):
        if _holds(data, part):
            data = data[part]  # type: ignore[index]
        elif not (keep_last and i == len(raw) - 1):
            continue
        loc.append(part)
    return tuple(loc)


def _holds(data: object, part: str | int) -> bool:
    if isinstance(data, list):
        return isinstance(part, int) and part < len(data)
    return isinstance(data, dict) and part in data


def _keys_at(annotation: Any, loc: Loc) -> set[str]:
    """The keys that the model holds at the end of the way."""
    if loc:
        head, rest = loc[0], loc[1:]
        return {key for child in _children(annotation, head) for key in _keys_at(child, rest)}
    return {key for model in _members(annotation) if _is_model(model) for key in model.model_fields}


def _children(annotation: Any, part: str | int) -> Iterator[Any]:
    """What the annotation holds under one part of the way: a field, a mapping's values, a list's items, a tag."""
    for member, tag in _tagged_members(annotation):
        if isinstance(part, str) and tag == part:
            yield member
        elif _is_model(member) and part in member.model_fields:
            yield member.model_fields[part].annotation
        elif get_origin(member) in (dict, Mapping, list, tuple):
            yield get_args(member)[-1 if get_origin(member) is not tuple else 0]


def _members(annotation: Any) -> Iterator[Any]:
    for member, _ in _tagged_members(annotation):
        yield member


def _tagged_members(annotation: Any, tag: str | None = None) -> Iterator[tuple[Any, str | None]]:
    """The types inside unions and annotations, each with its union tag."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *metadata = get_args(annotation)
        tags = [item.tag for item in metadata if isinstance(item, Tag)]
        yield from _tagged_members(inner, tags[0] if tags else tag)
    elif origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _tagged_members(member, tag)
    else:
        yield annotation, tag


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def shown(value: object) -> str:
    """The value as a message quotes it: text in double quotes, mappings and lists by kind, long values cut."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{shorten(value)}"'
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list | tuple) else shorten(repr(value))
