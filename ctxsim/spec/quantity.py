"""Field types for quantities: text with a unit in the file, a float in SI after validation."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from ctxsim.spec.validation import shown
from ctxsim.units import DIMENSIONS, UnitError, exact, parse


def _read(value: object, dimension: str, *, positive: bool = False) -> float:
    """The quantity in SI; raises UnitError (a ValueError, which pydantic collects) where it is none."""
    kind = DIMENSIONS[dimension]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UnitError(f'expected {kind.words}, found {shown(value)}; write e.g. "{kind.example}"')
    amount = parse(value if isinstance(value, str) else repr(value), dimension)
    if positive and amount == 0:
        raise UnitError(f'expected {kind.words} above zero, found "{value}"; write e.g. "{kind.example}"')
    return amount


def _read_or(value: object, dimension: str, words: tuple[str, ...]) -> float | str:
    """One of the words, or the quantity in SI."""
    if isinstance(value, str) and value in words:
        return value
    try:
        return _read(value, dimension)
    except UnitError as error:
        raise UnitError(str(error).replace("expected ", f"expected {', '.join(words)} or ", 1)) from None


def _text_or(value: float | str, dimension: str) -> str:
    return value if isinstance(value, str) else exact(value, dimension)


def _schema(dimension: str) -> WithJsonSchema:
    """JSON Schema (draft-07 safe) of a quantity, for editors: a string with a unit, and an example."""
    kind = DIMENSIONS[dimension]
    pattern = r"^\s*\+?[0-9.]+([eE][-+]?[0-9]+)?\s*\S+\s*$"
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [kind.example]})


def _text(dimension: str) -> PlainSerializer:
    return PlainSerializer(partial(exact, dimension=dimension), return_type=str, when_used="json")


Bytes = Annotated[
    float,
    BeforeValidator(partial(_read, dimension="bytes")),
    _text("bytes"),
    _schema("bytes"),
]
"""An amount of bytes, zero or more."""

BytesPerS = Annotated[
    float,
    BeforeValidator(partial(_read, dimension="bytes_per_s", positive=True)),
    _text("bytes_per_s"),
    _schema("bytes_per_s"),
]
"""A bandwidth above zero."""

FlopPerS = Annotated[
    float,
    BeforeValidator(partial(_read, dimension="flop_per_s", positive=True)),
    _text("flop_per_s"),
    _schema("flop_per_s"),
]
"""A rate of arithmetic above zero."""

Seconds = Annotated[
    float,
    BeforeValidator(partial(_read, dimension="seconds")),
    _text("seconds"),
    _schema("seconds"),
]
"""A duration, zero or more."""

PerS = Annotated[
    float,
    BeforeValidator(partial(_read, dimension="per_s", positive=True)),
    _text("per_s"),
    _schema("per_s"),
]
"""A rate of arrivals above zero."""

UsdPerS = Annotated[
    float,
    BeforeValidator(partial(_read, dimension="usd_per_s")),
    _text("usd_per_s"),
    _schema("usd_per_s"),
]
"""A price per time, zero or more."""

UsdPerByteS = Annotated[
    float,
    BeforeValidator(partial(_read, dimension="usd_per_byte_s")),
    _text("usd_per_byte_s"),
    _schema("usd_per_byte_s"),
]
"""A price per byte and time, zero or more."""

UsdPerJoule = Annotated[
    float,
    BeforeValidator(partial(_read, dimension="usd_per_joule")),
    _text("usd_per_joule"),
    _schema("usd_per_joule"),
]
"""A price of energy, zero or more."""

Watts = Annotated[
    float,
    BeforeValidator(partial(_read, dimension="watts")),
    _text("watts"),
    _schema("watts"),
]
"""A power, zero or more."""

BytesOrAuto = Annotated[
    Literal["auto"] | float,
    BeforeValidator(partial(_read_or, dimension="bytes", words=("auto",))),
    PlainSerializer(partial(_text_or, dimension="bytes"), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["auto", DIMENSIONS["bytes"].example]}),
]
"""An amount of bytes, or "auto" for one that is worked out."""

Warmup = Annotated[
    Literal["auto", "none"] | float,
    BeforeValidator(partial(_read_or, dimension="seconds", words=("auto", "none"))),
    PlainSerializer(partial(_text_or, dimension="seconds"), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["auto", "none", DIMENSIONS["seconds"].example]}),
]
"""The beginning of a run that is not counted: a duration, "none", or "auto" for one that is worked out."""
