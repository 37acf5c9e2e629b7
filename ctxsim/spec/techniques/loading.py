"""Techniques by name or path, with the parameters that a scenario gives: ``kv-int4``, ``cla(layers_per_group=4)``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ctxsim.errors import Fault, SpecError, nearest, shorten
from ctxsim.spec.catalog import find
from ctxsim.spec.document import Document, plain_scalar, read_document
from ctxsim.spec.techniques.file import Scalar, TechniqueFile
from ctxsim.spec.validation import shown, validate

_WRITTEN = re.compile(r"(?P<name>[^()=,]+)(\((?P<given>[^()]*)\))?")


@dataclass(frozen=True)
class Technique:
    """A technique as it is used: what was written, its file with every parameter put in, and these parameters."""

    written: str
    file: TechniqueFile
    parameters: Mapping[str, Scalar]


def load_technique(written: str) -> Technique:
    """The technique that is written there, its name a path or one of techniques/; raises SpecError."""
    name, given = parse_written(written)
    document = read_document(find("technique", name))
    parameters = document.data.get("parameters", {})
    known = dict(parameters) if isinstance(parameters, dict) else {}
    for key in given:
        if key not in known:
            would_do = nearest(key, known) or f"; known: {', '.join(known) or 'none'}"
            raise _fault(f'expected a parameter of {name}, found "{shorten(key)}"{would_do}')
    known |= given
    file = validate(TechniqueFile, _filled(document, known, written if given else ""))
    stem = Path(document.path).stem
    if file.name != stem:
        message = f'expected "{stem}", as the file is called, found "{shorten(file.name)}"; rename one of them'
        raise SpecError(document.fault(("name",), message))
    return Technique(written, file, known)


def parse_written(written: str) -> tuple[str, dict[str, Scalar]]:
    """Name and parameters of ``name`` or ``name(key=value,key=value)``; raises SpecError."""
    match = _WRITTEN.fullmatch(written.strip())
    if match is None:
        would_do = 'quote it where it has several: "window(sink_tokens=4,window_tokens=2000)"'
        raise _fault(f'expected name or name(key=value,key=value), found "{shorten(written)}"; {would_do}')
    given: dict[str, Scalar] = {}
    for part in (match["given"] or "").split(",") if match["given"] else ():
        key, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not key or key in given:
            wanted = "each parameter once" if key in given else "key=value"
            raise _fault(f'expected {wanted}, found "{shorten(part.strip())}" in "{shorten(written)}"')
        given[key] = plain_scalar(value)
    return match["name"].strip(), given


def _filled(document: Document, parameters: Mapping[str, Scalar], origin: str) -> Document:
    """The document with the parameters in the places of their names; where a scenario gave some, faults name it."""
    effects = document.data.get("effects")
    faults: list[Fault] = []
    filled = _put(effects, parameters, document, ("effects",), faults)
    if faults:
        raise SpecError(*faults)
    data = document.data | {"effects": filled} if effects is not None else document.data
    overridden = {**document.overridden, ("effects",): origin} if origin else document.overridden
    return replace(document, data=data, overridden=overridden)


def _put(
    value: object, parameters: Mapping[str, Scalar], document: Document, loc: tuple[str | int, ...], faults: list[Fault]
) -> object:
    if isinstance(value, dict):
        return {key: _put(item, parameters, document, (*loc, key), faults) for key, item in value.items()}
    if isinstance(value, list):
        return [_put(item, parameters, document, (*loc, i), faults) for i, item in enumerate(value)]
    if not isinstance(value, str) or not value.startswith("$"):
        return value
    name = value[1:]
    if name not in parameters:
        would_do = nearest(name, parameters) or f"; known: {', '.join(parameters) or 'none'}"
        faults.append(document.fault(loc, f"expected a parameter after $, found {shown(value)}{would_do}"))
        return None
    return parameters[name]


def _fault(message: str) -> SpecError:
    return SpecError(Fault("", None, None, "techniques", message))
