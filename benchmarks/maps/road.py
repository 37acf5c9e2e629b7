"""What it would take to bring the four quantities of a long context to those of 4K."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from shown import plain, table

from ctxsim.explore.executors import local
from ctxsim.explore.frontier import EFFORTS, QUANTITIES, RISKS, Frontier, Reach, Tried, frontier
from ctxsim.spec.scenario import scenario_document
from ctxsim.units import tokens
from maps.cells import BASE, LONG, SHORT, Node, bold, context_name, spread

CONTEXTS = ("100k", LONG)
MOST = 3
"""Techniques of a stack: more are searched for by the command."""

KEPT = RISKS.index("kept")


@cache
def _found(node: Node, context: str) -> Frontier:
    document = scenario_document(BASE, node.settings(SHORT, on=context))
    return frontier(document, tokens(SHORT), tokens(context), most=MOST, executor=local(1))


@cache
def reach(node: Node, context: str, quantity: str) -> Reach:
    """What was found for one quantity."""
    return next(one for one in _found(node, context).reaches if one.quantity == quantity)


def _safest(found: Frontier) -> Tried:
    """The stack nearest to parity that is known to keep retrieval; without techniques where there is none."""
    level = found.level(KEPT, len(EFFORTS) - 1)
    return found.own if level is None else level.nearest


def _row(node: Node, context: str) -> list[str]:
    found = _found(node, context)
    return [
        node.model, context_name(context, node),
        *(_reached(reach(node, context, quantity)) for quantity in QUANTITIES),
        *(_at_once(found, stack) for stack in (found.together, _safest(found))),
    ]  # fmt: skip


def _at_once(found: Frontier, stack: Tried) -> str:
    return f"{stack.stack}: {len(found.at_parity(stack))} of {len(QUANTITIES)}, {plain(stack.usd / found.target.usd)}"


def _reached(one: Reach) -> str:
    if one.reached_by is not None:
        return one.reached_by.stack
    return f"short by {plain(one.missing)} ({one.best.stack})"


def roads(nodes: Sequence[Node]) -> str:
    """A row a model and context."""
    heads = ["model", "context", "concurrency", "prefill", "decode", "switching", "at once", "retrieval kept"]
    return table(heads, [_row(node, context) for node in nodes for context in CONTEXTS])


def findings(nodes: Sequence[Node]) -> Iterator[str]:
    """In a sentence each."""
    ranges = [_prefill(nodes, context) for context in CONTEXTS]
    yield (f"With the best techniques prefill stays short of that of 4K by a factor of {ranges[0]}, {ranges[1]}.")
    yield _together(nodes)
    yield _kept(nodes)


def _prefill(nodes: Sequence[Node], context: str) -> str:
    """The range of what is missing at best."""
    return f"{spread(nodes, lambda node: reach(node, context, 'prefill_s').missing)} at {context.upper()}"


def _together(nodes: Sequence[Node]) -> str:
    """The fewest quantities at parity at 1M with the stack that brings the most there at once, and its dollars."""
    found = [_found(node, LONG) for node in nodes]
    number = min(len(one.at_parity(one.together)) for one in found)
    ratios = {node: one.together.usd / one.target.usd for node, one in zip(nodes, found, strict=True)}
    return (
        f"One stack, of any risk, brings at least {bold(str(number))} of {len(QUANTITIES)} quantities of 1M to parity "
        f"at once, and a session still costs {spread(nodes, lambda node: ratios[node])} times one of 4K."
    )


def _kept(nodes: Sequence[Node]) -> str:
    """The most quantities at parity at 1M with techniques known to keep retrieval."""
    found = {node: _found(node, LONG) for node in nodes}
    node = max(nodes, key=lambda one: len(found[one].at_parity(_safest(found[one]))))
    number = len(found[node].at_parity(_safest(found[node])))
    return (
        f"Where techniques, alone and together, are known to keep retrieval, at most {bold(str(number))} of "
        f"{len(QUANTITIES)} quantities of 1M are at parity ({node.model})."
    )
