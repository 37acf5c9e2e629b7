"""What becomes of KV while its user thinks: kept, swapped or computed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from shown import plain, table

from ctxsim.explore.residency import Limits, break_even_by_machine
from ctxsim.explore.residency.map import held_at
from ctxsim.spec.scenario import scenario_document
from ctxsim.units import tokens
from maps.cells import BASE, LONG, SHORT, Node, bold, by_model, spread

CONTEXTS = ("50k", LONG)
IDLES_S: Mapping[str, float] = {"10 min": 600.0, "20 min": 1200.0, "1 hour": 3600.0}
MINUTE_S = 60.0


@cache
def limits(node: Node, context: str) -> Limits:
    """Idle times at which choices change."""
    (found,) = held_at(node.scenario(context), [tokens(context)])
    return found.limits(0.0)


@cache
def break_even(node: Node) -> Mapping[str, int | None]:
    """By idle time, the context from which swap costs less than recompute."""
    document = scenario_document(BASE, node.settings(SHORT))
    (found,) = break_even_by_machine(document, [node.hardware], tokens(SHORT), list(IDLES_S.values()))
    return {name: found.break_even_tokens[f"{idle_s:g}"] for name, idle_s in IDLES_S.items()}


def again_minutes(node: Node, context: str) -> float:
    """Minutes of idle time after which computing again costs less than host memory does."""
    swap_s = limits(node, context).swap_until_recompute_s
    return float("inf") if swap_s is None else swap_s / MINUTE_S


def keep_s(node: Node, context: str) -> float:
    """Seconds of idle time up to which HBM costs less than swapping."""
    return limits(node, context).keep_until_swap_s or 0.0


def break_evens(nodes: Sequence[Node]) -> str:
    """A row a model, a column a machine; idle times in a cell."""
    machines = list(dict.fromkeys(node.machine for node in nodes))
    rows = [
        [model, *(" / ".join(map(_tokens, break_even(node).values())) for node in nodes if node.model == model)]
        for model in dict.fromkeys(node.model for node in nodes)
    ]
    return table(["model", *machines], rows)


def _tokens(value: int | None) -> str:
    return "never" if value is None else f"{value:,}"


def choices(nodes: Sequence[Node]) -> str:
    """Seconds up to which KV is best kept, and minutes up to which it is best swapped."""
    return by_model(
        nodes, CONTEXTS, lambda node, context: f"{plain(keep_s(node, context))} / {plain(again_minutes(node, context))}"
    )


def findings(nodes: Sequence[Node]) -> Iterator[str]:
    """In a sentence each."""
    pairs = [(node, context) for context in CONTEXTS for node in nodes]
    node, context = max(pairs, key=lambda pair: keep_s(*pair))
    yield (
        f"Idle KV is worth its place in HBM for {bold(keep_s(node, context))} s at most ({node.name} at "
        f"{context.upper()}), where others want the room: while a user reads, it belongs in host memory."
    )
    for idle in IDLES_S:
        yield from _break_even(nodes, idle)
    for context in CONTEXTS:
        minutes = spread(nodes, lambda one, at=context: again_minutes(one, at), unit=" min")
        yield f"At {context.upper()} computing again costs less than host memory after {minutes} of idling."


def _break_even(nodes: Sequence[Node], idle: str) -> Iterator[str]:
    """From which context on swap wins."""
    known = [node for node in nodes if break_even(node)[idle] is not None]
    if known:
        start = spread(known, lambda node: break_even(node)[idle] or 0, lambda tokens: f"{tokens:,}", " tokens")
        yield f"After {idle} of idling, swapping costs less than computing again from {start} on."
