"""The four quantities, and how far a long context's lie from those of 4K."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from shown import plain

from ctxsim.analysis import analyze
from maps.cells import LONG, SHORT, Node, by_model, spread

CONTEXTS = (SHORT, "50k", "100k", LONG)
AWAY = ("100k", LONG)
KEYS = ("concurrent_sessions", "prefill_s", "decode_answer_s", "switch_s")


@cache
def _keys(node: Node, context: str, on: str) -> Mapping[str, Any]:
    return analyze(node.scenario(context, on)).keys


def quantity(node: Node, context: str, key: str, on: str | None = None) -> float:
    """One of the four; ``on``: the context whose replica it is of, its own unless given."""
    found: float = _keys(node, context, on or context)[key]
    return found


def away(node: Node, context: str, key: str) -> float:
    """How many times worse than at 4K on the same replica it is: fewer sessions, more seconds."""
    ratio = quantity(node, context, key) / quantity(node, SHORT, key, on=context)
    return 1 / ratio if key == "concurrent_sessions" else ratio


def quantities(nodes: Sequence[Node]) -> str:
    """Sessions that fit, seconds of a prefill, of an answer, and of a switch."""
    return by_model(
        nodes, CONTEXTS, lambda node, context: " / ".join(plain(quantity(node, context, key)) for key in KEYS)
    )


def factors(nodes: Sequence[Node]) -> str:
    """How many times worse than at 4K each is."""
    return by_model(nodes, AWAY, lambda node, context: " / ".join(plain(away(node, context, key)) for key in KEYS))


def findings(nodes: Sequence[Node]) -> Iterator[str]:
    """In a sentence each: the whole range at both contexts."""
    told = ("HBM holds fewer sessions by", "A prefill takes longer by", "An answer takes longer by", "A switch by")
    for key, what in zip(KEYS, told, strict=True):
        ranges = [_range(nodes, context, key) for context in AWAY]
        yield f"{what} a factor of {ranges[0]}, {ranges[1]}."


def _range(nodes: Sequence[Node], context: str, key: str) -> str:
    return f"{spread(nodes, lambda node: away(node, context, key))} at {context.upper()}"
