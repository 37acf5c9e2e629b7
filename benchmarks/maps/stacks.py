"""What stacks of techniques make of a session's cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from shown import plain, table

from ctxsim.explore.cost_curve import CostPoint, cost_curve
from ctxsim.explore.frontier.scales import EFFORTS, RISKS, effort_of, part_of, risk_of
from ctxsim.spec.scenario import scenario_document
from ctxsim.units import tokens
from maps.cells import BASE, LONG, SHORT, Node, bold

STACKS: tuple[tuple[str, ...], ...] = (
    (),
    ("kv-int4",),
    ("kv-int4", "snapkv"),
    ("kv-int4", "duoattention"),
    ("kv-int4", "gpt-oss-like"),
    ("kv-int4", "qwen3-next-like"),
    ("sliding-window",),
    ("yoco",),
    ("kv-int4", "yoco"),
    ("kv-int4", "weights-fp8", "yoco"),
)
"""From what takes no training to what takes all, for all four quantities or some."""


def _name(stack: Sequence[str]) -> str:
    return "+".join(stack) or "none"


@cache
def _points(node: Node) -> Mapping[tuple[tuple[str, ...], int], CostPoint]:
    document = scenario_document(BASE, node.settings(SHORT, on=LONG))
    points = cost_curve(document, [tokens(SHORT), tokens(LONG)], stacks=STACKS)
    return {(point.series.techniques, point.context_tokens): point for point in points}


def usd(node: Node, stack: tuple[str, ...], context: str) -> float | None:
    """What a session costs; None where the stack is refused, or does not fit."""
    cost = _points(node)[stack, tokens(context)].cost
    return None if cost is None else cost.total.usd


def grown(node: Node, stack: tuple[str, ...]) -> float | None:
    """What a session of 1M with the stack costs over one of 4K without techniques."""
    long, short = usd(node, stack, LONG), usd(node, (), SHORT)
    return None if long is None or short is None else long / short


def costs(nodes: Sequence[Node]) -> str:
    """A row a stack, a column a model."""
    return table(
        ["stack", "training", "retrieval", *(node.model for node in nodes)], [_row(nodes, one) for one in STACKS]
    )


def _row(nodes: Sequence[Node], stack: tuple[str, ...]) -> list[str]:
    parts = [part_of(name) for name in stack]
    ratios = [grown(node, stack) for node in nodes]
    cells = [
        "refused" if ratio is None else f"{plain(usd(node, stack, LONG))} ({plain(ratio)})"
        for node, ratio in zip(nodes, ratios, strict=True)
    ]
    return [_name(stack), EFFORTS[effort_of(parts)], RISKS[risk_of(parts)], *cells]


def findings(nodes: Sequence[Node]) -> Iterator[str]:
    """In a sentence each."""
    node = nodes[0]
    small = ("kv-int4", "snapkv")
    yield (
        f"Almost no KV ({_name(small)}) leaves a session of 1M at {bold(grown(node, small))} times one of 4K without "
        f"techniques, instead of {bold(grown(node, ()))} times ({node.name})."
    )
    best = {one: min((g, stack) for stack in STACKS if (g := grown(one, stack)) is not None) for one in nodes}
    told = [f"{one.model} {bold(ratio)} ({_name(stack)})" for one, (ratio, stack) in best.items()]
    yield f"The cheapest of the stacks below brings 1M to these multiples of 4K: {', '.join(told)}."
