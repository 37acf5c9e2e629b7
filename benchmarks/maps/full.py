"""Where KV that users want kept between their turns no longer fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from shown import plain, table

from ctxsim.analysis import fleet_working_set
from ctxsim.explore.cliff import Cliff, cliff
from ctxsim.spec.scenario import load_scenario
from maps.cells import BASE, LONG, Node, by_model, spread

CONTEXTS = ("50k", LONG)

MOST_SHOWN = 1.05
"""Simulated loads are shown up to so many times the room."""


@cache
def users(node: Node, context: str) -> tuple[float, float]:
    """How many users' KV fits into HBM, and into HBM and host memory together."""
    found = fleet_working_set(node.scenario(context))
    assert found is not None
    return found.sessions / found.hbm_ratio, found.sessions / found.room_ratio


def places(nodes: Sequence[Node]) -> str:
    """Both, by model and context."""
    return by_model(nodes, CONTEXTS, lambda node, context: " / ".join(map(plain, users(node, context))))


def simulated(found: Cliff) -> str:
    """The running example's loads around its cliff."""
    header = ["users", "working set / HBM", "/ all room", "region", "computed again, %", "sessions/hour", "USD/session"]
    rows = [
        [
            f"{point.load:g}", plain(point.hbm_ratio), plain(point.room_ratio), point.region,
            f"{100 * point.lost_ratio:.0f}", plain(point.sessions_per_hour), plain(point.cost_usd_per_session),
        ]
        for point in found.points
        if point.room_ratio <= MOST_SHOWN
    ]  # fmt: skip
    return table(header, rows)


def of_example() -> Cliff:
    """Located by simulation."""
    return cliff(load_scenario(BASE))


def findings(nodes: Sequence[Node]) -> Iterator[str]:
    """In a sentence each."""
    for context in CONTEXTS:
        in_hbm, in_all = (
            spread(nodes, lambda node, at=(context, place): users(node, at[0])[at[1]]) for place in range(2)
        )
        yield f"At {context.upper()} HBM is full at {in_hbm} users, HBM and host memory at {in_all}."


def found_by_simulation(found: Cliff) -> Iterator[str]:
    """What the running example's simulations say of the closed form."""
    located = found.located
    if located is not None:
        yield (
            f"Simulated, the running example's cliff is between {located.low:g} and {located.high:g} users; by the "
            f"closed form all room is full at {plain(found.room_full)}."
        )
