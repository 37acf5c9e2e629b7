"""Values set from outside a file (``--set serving.kv_dtype=fp8``), kept apart so that faults name them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar, cast

from ctxsim.errors import Fault, SpecError, shorten
from ctxsim.spec.document import Document, Loc, dotted, parse_document, plain_scalar

T = TypeVar("T")


def apply_overrides(document: Document, overrides: Mapping[str, object]) -> Document:
    """The document with ``{"serving.kv_dtype": "fp8"}`` set; missing mappings on the way are made.

    Text is read as an unquoted YAML value (``fp8``, ``20``, ``{kind: poisson, rate: 2 /s}``); other values stay
    as they are. Raises SpecError where the way leads through something that holds no keys.
    """
    data = _copied(document.data)
    overridden = dict(document.overridden)
    faults: list[Fault] = []
    for name, value in overrides.items():
        origin = f"--set {name}={shorten(str(value))}"
        try:
            loc = _set(data, name, _override_value(value, origin))
        except _NoWayError as error:
            faults.append(Fault(origin, None, None, name, str(error)))
        except SpecError as error:
            faults.extend(error.faults)
        else:
            overridden[loc] = origin
    if faults:
        raise SpecError(*faults)
    return replace(document, data=data, overridden=overridden)


class _NoWayError(Exception):
    """A dotted name that leads through something that holds no keys."""


def _copied(value: T) -> T:
    """The value with mappings and lists of its own, which can be changed."""
    copy: object = value
    if isinstance(value, dict):
        copy = {key: _copied(child) for key, child in value.items()}
    elif isinstance(value, list):
        copy = [_copied(child) for child in value]
    return cast(T, copy)


def _override_value(value: object, origin: str) -> object:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if not isinstance(value, str):
        return _copied(value)
    text = value.strip()
    if not text.startswith(("{", "[", '"', "'")):
        return plain_scalar(text)
    try:
        return parse_document(f"value: {text}", origin).data["value"]
    except SpecError as error:
        # The line and column inside the override's own text would only confuse.
        raise SpecError(*(replace(fault, line=None, column=None) for fault in error.faults)) from None


def _set(data: dict[str, object], name: str, value: object) -> Loc:
    """Sets the value at the dotted name and says from which place on the data is no longer the file's."""
    *way, last = name.split(".")
    node: object = data
    loc: Loc = ()
    made: Loc = ()
    for part in way:
        if isinstance(node, dict):
            loc = (*loc, part)
            made = made or (() if part in node else loc)
            node = node.setdefault(part, {})
        elif isinstance(node, list) and part.isdecimal() and int(part) < len(node):
            node = node[int(part)]
            loc = (*loc, int(part))
        else:
            break
    if isinstance(node, dict) and len(loc) == len(way) and last:
        node[last] = value
        return made or (*loc, last)
    if isinstance(node, list) and last.isdecimal() and int(last) < len(node):
        node[int(last)] = value
        return (*loc, int(last))
    raise _NoWayError(_no_way(dotted(loc), node))


def _no_way(place: str, node: object) -> str:
    if not place:
        return "expected a dotted name, found an empty one; write e.g. serving.kv_dtype"
    found = f"a list of {len(node)}" if isinstance(node, list) else "a single value"
    return f"expected a mapping at {place}, found {found}; set {place} whole"
