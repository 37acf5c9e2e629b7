"""Values of flags as text, read as the engines read them, and written again."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ctxsim.errors import nearest, shorten
from ctxsim.interop.flags import Flag, Value
from ctxsim.spec.serving import Deployment
from ctxsim.units import exact, parse

_SUFFIXED = re.compile(r"(\d+(?:\.\d+)?)([kKmMgGtT])")
_LETTERS = {"k": "kB", "m": "MB", "g": "GB", "t": "TB", "K": "KiB", "M": "MiB", "G": "GiB", "T": "TiB"}
"""What the letters mean to vLLM's human_readable_int, in the units that mean the same: 1k is 1,000, 1K is 1,024."""


class ValueFaultError(ValueError):
    """A value that the engine would not take; the message says what it would."""


class UnmodelledError(ValueError):
    """A value that the engine takes and ctxsim does not model; the message says why."""


def read_value(flag: Flag, text: str | None, deployment: Deployment) -> Value:
    """What the scenario's field gets; ``deployment``: for amounts that a rank or an engine has of its own."""
    if text is None and flag.kind != "switch":
        raise ValueFaultError(f"expected a value after it, found none; write e.g. {flag.name} {EXAMPLES[flag.kind]}")
    word = "true" if text is None else text.strip()
    if word.lower() in ("true", "false") and flag.kind == "switch":
        word = word.lower()
    if word in flag.unmodelled_words:
        raise UnmodelledError(flag.unmodelled_words[word])
    if flag.words is not None and word in flag.words:
        return flag.words[word]
    if flag.words is not None and flag.kind in ("text", "switch"):
        raise ValueFaultError(_unknown_word(flag, word))
    return READERS[flag.kind](word, deployment)


def write_value(flag: Flag, value: Any, deployment: Deployment) -> str | None:
    """The value as it is typed after the flag; None where the engine has no such value."""
    if flag.words is not None:
        word = next((word for word, meant in flag.words.items() if meant == value), None)
        if word is not None or flag.kind in ("text", "switch"):
            return flag.nearest.get(str(value)) if word is None else word
    write = WRITERS.get(flag.kind)
    return str(value) if write is None else write(value, deployment)


def replicas_on_node(deployment: Deployment) -> float:
    """Replicas that share the host memory of a node; below 1 where a replica spans several."""
    fitting = deployment.accelerators_per_node // deployment.ranks
    if fitting:
        return min(fitting, deployment.replicas)
    return 1 / -(-deployment.ranks // deployment.accelerators_per_node)


def _unknown_word(flag: Flag, word: str) -> str:
    known = [*(flag.words or ()), *flag.unmodelled_words]
    would_do = nearest(word, known) or f"; known: {', '.join(known)}"
    return f'expected one of its words, found "{shorten(word)}"{would_do}'


def _whole(text: str, _: Deployment) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueFaultError(f'expected a whole number, found "{shorten(text)}"; write e.g. 8') from None


def _tokens(text: str, deployment: Deployment) -> int:
    """As vLLM's human_readable_int: 131072, 128k (128,000), 128K (131,072), no fractions of powers of two."""
    match = _SUFFIXED.fullmatch(text)
    if match is None:
        try:
            return _whole(text, deployment)
        except ValueFaultError:
            message = f'expected a whole number, 128k or 128K, found "{shorten(text)}"; write e.g. 131072'
            raise ValueFaultError(message) from None
    number, letter = match.groups()
    if letter.isupper() and "." in number:
        message = (
            f'expected no fraction before {letter}, found "{text}"; write {number}{letter.lower()} or a whole number'
        )
        raise ValueFaultError(message)
    return int(parse(f"{number} {_LETTERS[letter]}", "bytes"))


def _number(text: str, _: Deployment) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueFaultError(f'expected a number, found "{shorten(text)}"; write e.g. 0.9') from None


def _gibibytes(text: str, deployment: Deployment) -> str:
    return _bytes(text, "GiB", deployment, replicas_on_node(deployment))


def _gigabytes(text: str, deployment: Deployment) -> str:
    return _bytes(text, "GB", deployment, replicas_on_node(deployment) * deployment.ranks)


def _bytes(text: str, unit: str, deployment: Deployment, shares: float) -> str:
    """So much of each of the shares of a node, as the scenario writes the node's."""
    amount = _number(text, deployment)
    if amount < 0:
        raise ValueFaultError(f'expected at least zero, found "{shorten(text)}"; write e.g. 64')
    return exact(parse(f"{amount!r} {unit}", "bytes") * shares, "bytes")


def _in(unit: str, node_bytes: float, shares: float) -> float:
    return node_bytes / shares / parse(f"1 {unit}", "bytes")


READERS: Mapping[str, Callable[[str, Deployment], Value]] = {
    "text": lambda text, _: text,
    "list": lambda text, _: text,
    "switch": lambda text, _: _switch(text),
    "whole": _whole,
    "tokens": _tokens,
    "ratio": _number,
    "gibibytes_per_replica": _gibibytes,
    "gigabytes_per_rank": _gigabytes,
}
"""How each kind of value is read."""

WRITERS: Mapping[str, Callable[[Any, Deployment], str]] = {
    "switch": lambda value, _: "true" if value else "false",
    "ratio": lambda value, _: repr(value),
    "gibibytes_per_replica": lambda value, d: f"{_in('GiB', value, replicas_on_node(d)):.15g}",
    "gigabytes_per_rank": lambda value, d: str(int(_in("GB", value, replicas_on_node(d) * d.ranks))),
}
"""How values are written that are not just themselves."""

EXAMPLES: Mapping[str, str] = {
    "text": "NAME",
    "list": "NAME",
    "whole": "8",
    "tokens": "131072",
    "ratio": "0.9",
    "gibibytes_per_replica": "64",
    "gigabytes_per_rank": "64",
}


def _switch(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueFaultError(f'expected true, false or nothing, found "{shorten(text)}"; leave the value out')
    return text == "true"
