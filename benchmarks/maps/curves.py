"""What a session costs over its context, and which number of the machine that follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from shown import plain

from ctxsim.explore.cost_curve import CostPoint, cost_curve
from ctxsim.spec.scenario import scenario_document
from ctxsim.units import tokens
from maps.cells import BASE, LONG, SHORT, Node, bold, by_model, extremes, spread

CONTEXTS = (SHORT, "50k", "128k", LONG)
ENDS = ("50k", LONG)
CENTS = 100.0

SYMBOLS: Mapping[str, str] = {
    "peak_flop_per_s": "F",
    "hbm_bytes_per_s": "M",
    "hbm_bytes": "S",
    "scale_up_bytes_per_s": "N",
    "scale_out_bytes_per_s": "B",
    "scale_out_latency_s": "L",
    "host_link_bytes_per_s": "C",
}
"""Numbers of a machine, as the table calls them."""

SHOWN_SLOPE = 0.02
"""Elasticities nearer to 0 are left out."""


@cache
def _point(node: Node, context: str) -> CostPoint:
    """On the replica that holds the context, which the margin since the one before is of too."""
    document = scenario_document(BASE, node.settings(context))
    upto = CONTEXTS[: CONTEXTS.index(context) + 1]
    return cost_curve(document, [tokens(one) for one in upto[-2:]])[-1]


def usd(node: Node, context: str) -> float:
    """What a session costs."""
    cost = _point(node, context).cost
    assert cost is not None
    return cost.total.usd


def marginal_cents(node: Node, context: str) -> float | None:
    """US cents of a thousand tokens more, since the context before."""
    marginal_usd = _point(node, context).marginal_usd
    return None if marginal_usd is None else CENTS * marginal_usd


def slope(node: Node, context: str, name: str) -> float:
    """The elasticity of a session's cost to a number of the machine; 0 where it has none."""
    return _point(node, context).elasticities.get(name) or 0.0


def least_price_slope(nodes: Sequence[Node]) -> float:
    """The least elasticity to the accelerator's price; what is missing to 1 is the price of host memory."""
    return min(slope(node, context, "accelerator_usd_per_s") for context in ENDS for node in nodes)


def costs(nodes: Sequence[Node]) -> str:
    """Dollars of a session, and cents of a thousand tokens more."""

    def told(node: Node, context: str) -> str:
        more = marginal_cents(node, context)
        return plain(usd(node, context)) if more is None else f"{plain(usd(node, context))} (+{plain(more)})"

    return by_model(nodes, CONTEXTS, told)


def slopes(nodes: Sequence[Node]) -> str:
    """What the cost follows, the strongest first."""

    def told(node: Node, context: str) -> str:
        found = sorted(((slope(node, context, name), symbol) for name, symbol in SYMBOLS.items()))
        return ", ".join(f"{symbol} {value:.2f}" for value, symbol in found if abs(value) >= SHOWN_SLOPE)

    return by_model(nodes, ENDS, told)


def findings(nodes: Sequence[Node]) -> Iterator[str]:
    """In a sentence each."""
    yield f"A session of 4K costs {spread(nodes, lambda node: usd(node, SHORT), unit=' USD')}."
    yield f"A session of 1M costs {spread(nodes, lambda node: usd(node, LONG), unit=' USD')}."
    yield _cheapest(nodes)
    yield _margins(nodes)
    yield _follows(nodes)


def _cheapest(nodes: Sequence[Node]) -> str:
    """Which machine is cheapest for each model at both ends."""
    told = []
    for model in dict.fromkeys(node.model for node in nodes):
        mine = [node for node in nodes if node.model == model]
        short, long = (min(mine, key=lambda node, at=context: usd(node, at)) for context in (SHORT, LONG))
        told.append(f"{model} {short.machine} ({bold(usd(short, SHORT))}) and {long.machine} ({bold(usd(long, LONG))})")
    return f"Cheapest at 4K and at 1M, in USD: {'; '.join(told)}."


def _margins(nodes: Sequence[Node]) -> str:
    """Where thousand tokens grow most."""
    node = max(nodes, key=lambda one: (marginal_cents(one, LONG) or 0.0) / (marginal_cents(one, "50k") or 1.0))
    first, last = (marginal_cents(node, context) or 0.0 for context in ENDS)
    few, many = map(node.nodes, ENDS)
    where = node.name if few == many else f"{node.name} ({few} nodes, then {many})"
    return (
        f"A thousand tokens more cost {bold(first)} cents up to 50K and {bold(last)} cents up to 1M on {where}, "
        f"{plain(last / first)} times as much: the largest growth of all."
    )


def _follows(nodes: Sequence[Node]) -> str:
    """How strongly the cost at 1M follows FLOP/s and HBM bandwidth."""

    def told(node: Node, name: str) -> str:
        return f"{bold(f'{slope(node, LONG, name):.2f}')} ({node.name})"

    least, most = extremes(nodes, lambda node: -slope(node, LONG, "peak_flop_per_s"))
    band = max(nodes, key=lambda node: -slope(node, LONG, "hbm_bytes_per_s"))
    return (
        f"At 1M one per cent more FLOP/s changes the cost by {told(least, 'peak_flop_per_s')} to "
        f"{told(most, 'peak_flop_per_s')} per cent, HBM bandwidth by at most {told(band, 'hbm_bytes_per_s')}."
    )
