"""Context lengths where swapping a session and computing it again cost the same, for an idle time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ctxsim.cost import CostModel, replica_usd_per_s
from ctxsim.cost.gaps import GapPrices
from ctxsim.explore.residency.choices import Held
from ctxsim.spec.scenario import Scenario


@dataclass(frozen=True)
class Crossing:
    """At an idle time, swap costs less than recompute from ``swap_from_tokens`` on, up to the longest looked at.

    None: at no context. The shortest context looked at: at every one. Below, recompute costs less, down to
    ``recompute_from_tokens`` where there is such an end: the shortest prompts cost a read of all weights.
    """

    idle_s: float
    swap_from_tokens: int | None
    recompute_from_tokens: int | None
    longest_tokens: int


def crossings(scenario: Scenario, contexts: Sequence[int], idles_s: Sequence[float]) -> Iterator[Crossing]:
    """The last crossing at each idle time, to a token; nothing where there is no host memory to swap to."""
    cost = CostModel(scenario)
    prices, usd_per_s = GapPrices(scenario, cost), replica_usd_per_s(scenario)
    if not scenario.serving.host_kv_capacity:
        return
    held = [Held.of(cost, prices, usd_per_s, tokens) for tokens in contexts]
    for idle_s in idles_s:

        def swaps(tokens: int, idle_s: float = idle_s) -> bool:
            return _swaps(Held.of(cost, prices, usd_per_s, tokens), idle_s)

        wins = [_swaps(one, idle_s) for one in held]
        yield _crossing(idle_s, contexts, wins, swaps)


def _swaps(held: Held, idle_s: float) -> bool:
    usd = held.usd(idle_s)
    return usd["swap"] <= usd["recompute"]


def _crossing(idle_s: float, contexts: Sequence[int], wins: Sequence[bool], swaps: Callable[[int], bool]) -> Crossing:
    """From whether swap wins at some contexts: the last change to it, and the last change away from it before that."""
    longest = contexts[-1]
    lost = [place for place, won in enumerate(wins) if not won]
    if not lost:
        return Crossing(idle_s, contexts[0], None, longest)
    last = lost[-1]
    start = _between(contexts[last], contexts[last + 1], swaps) if last + 1 < len(contexts) else None
    before = [place for place in range(last) if wins[place]]
    away = None
    if before:
        low = before[-1]
        away = _between(contexts[low], contexts[low + 1], lambda tokens: not swaps(tokens))
    return Crossing(idle_s, start, away, longest)


def _between(low: int, high: int, there: Callable[[int], bool]) -> int:
    """The least context of those after ``low`` up to ``high`` from which it holds, where it turns once."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if there(middle) else (middle, high)
    return high
