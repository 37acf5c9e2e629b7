"""Where the extra cost of a long context comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from shown import plain

from ctxsim.explore.explain import QUANTITIES, Explanation, explain
from ctxsim.units import tokens
from maps.cells import LONG, SHORT, Node, bold, by_model, extremes, spread

CAUSES = ("kv_bytes", "quadratic_flop", "rest")
CONTEXTS = ("50k", "128k", LONG)


@cache
def explained(node: Node, context: str) -> Explanation:
    """A session against one over 4K."""
    return explain(node.scenario(context), tokens(SHORT))


def percent(ratio: float | None) -> str:
    """A share in whole percents."""
    return f"{100 * (ratio or 0.0):.0f}"


def cause_ratio(node: Node, context: str, cause: str) -> float:
    """The share of the extra cost that a cause has."""
    return explained(node, context).cause_ratio(cause) or 0.0


def grown(node: Node, context: str, without_kv: bool = False) -> float:
    """What a session costs over one of 4K; or what it costs where KV weighs nothing, over the same one of 4K."""
    found = explained(node, context)
    base = found.base.without_kv if without_kv else found.base.total
    return base.usd / found.against.total.usd


def causes(nodes: Sequence[Node]) -> str:
    """KV bytes, quadratic FLOP and the rest of the extra cost."""
    return by_model(
        nodes, CONTEXTS, lambda node, context: " / ".join(percent(cause_ratio(node, context, one)) for one in CAUSES)
    )


def most_points_last(nodes: Sequence[Node]) -> float:
    """By how many points KV bytes would be more at most if the pairs were left out before them."""
    return max(
        100 * ((explained(node, context).kv_last_ratio or 0.0) - cause_ratio(node, context, "kv_bytes"))
        for context in CONTEXTS
        for node in nodes
    )


def limits(nodes: Sequence[Node]) -> str:
    """How many times 4K a session costs, as it is and where KV weighs nothing."""
    return by_model(
        nodes, (LONG,), lambda node, context: f"{plain(grown(node, context))} → {plain(grown(node, context, True))}"
    )


def items(nodes: Sequence[Node]) -> str:
    """The four quantities of the extra cost."""

    def told(node: Node, context: str) -> str:
        found = explained(node, context)
        return " / ".join(percent(found.ratio(found.extra_by(quantity))) for quantity in QUANTITIES)

    return by_model(nodes, ("50k", LONG), told)


def findings(nodes: Sequence[Node]) -> Iterator[str]:
    """In a sentence each."""
    yield _thesis(nodes)
    for context in CONTEXTS:
        yield _of_causes(nodes, context)
    yield _left(nodes)
    yield _of_prefill(nodes)


def _thesis(nodes: Sequence[Node]) -> str:
    """How much of the extra cost KV bytes are at most, at the shortest and the longest context looked at."""
    tops = []
    for context in (CONTEXTS[0], CONTEXTS[-1]):
        node = max(nodes, key=lambda one, at=context: cause_ratio(one, at, "kv_bytes"))
        tops.append(f"{bold(percent(cause_ratio(node, context, 'kv_bytes')))} % at {context.upper()} ({node.name})")
    return (
        "The thesis that all extra cost of long contexts traces back to the size of KV does not hold for what sessions "
        f"cost: of their extra over 4K KV bytes are at most {tops[0]} and {tops[1]}."
    )


def _of_causes(nodes: Sequence[Node], context: str) -> str:
    """The ranges at one context."""
    kv, quadratic, rest = (
        spread(nodes, lambda node, why=cause: cause_ratio(node, context, why), percent, " %") for cause in CAUSES
    )
    return (
        f"At {context.upper()} the extra is {kv} KV bytes, {quadratic} quadratic FLOP, and {rest} the rest (FLOP and "
        "reads of weights for more tokens)."
    )


def _left(nodes: Sequence[Node]) -> str:
    """What stays where KV weighs nothing."""
    least, most = extremes(nodes, lambda node: grown(node, LONG, without_kv=True))
    low, high = (
        f"{bold(grown(node, LONG, True))} instead of {bold(grown(node, LONG))} times one of 4K ({node.name})"
        for node in (least, most)
    )
    return f"If KV weighed nothing, a session of 1M would still cost {low}, {high}."


def _of_prefill(nodes: Sequence[Node]) -> str:
    def ratio(node: Node) -> float:
        found = explained(node, LONG)
        return found.ratio(found.extra_by("prefill")) or 0.0

    return (
        f"By quantity, prefill is {spread(nodes, ratio, percent, ' %')} of what 1M costs more; concurrency, decode and "
        "switching share the rest."
    )
