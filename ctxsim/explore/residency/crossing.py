"""Context lengths where swapping a session and computing it again cost the same, for an idle time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ctxsim.analysis.session import typical_session
from ctxsim.cost import CostModel
from ctxsim.cost.gaps import GapPrices
from ctxsim.explore.residency.choices import Held
from ctxsim.spec.scenario import Scenario


@dataclass(frozen=True)
class Crossing:
    """At an idle time, swap costs less than recompute from ``swap_from_tokens`` on, up to the longest looked at.

    None: at no context. The shortest context looked at: at every one. Below, recompute costs less, down to
    ``recompute_from_tokens`` where there is such an end: a few tokens more may make a prompt read most experts.
    """

    idle_s: float
    swap_from_tokens: int | None
    recompute_from_tokens: int | None
    longest_tokens: int


def crossings(scenario: Scenario, contexts: Sequence[int], idles_s: Sequence[float]) -> Iterator[Crossing]:
    """The last crossing at each idle time, to a block; nothing where there is no host memory to swap to."""
    cost = CostModel(scenario)
    prices, session = GapPrices(scenario, cost), typical_session(scenario)
    if not scenario.serving.host_kv_capacity:
        return
    # Of part of a block nothing is kept, but all of it is computed again: between whole blocks prices jump.
    size = cost.layout.block_size
    blocks = sorted({max(1, tokens // size) for tokens in contexts})
    for idle_s in idles_s:

        def swaps(block: int, idle_s: float = idle_s) -> bool:
            usd = Held.of(cost, prices, session, block * size).usd(idle_s)
            return usd["swap"] <= usd["recompute"]

        start, away = _turns(blocks, swaps)
        yield Crossing(
            idle_s, None if start is None else start * size, None if away is None else away * size, blocks[-1] * size
        )


def _turns(blocks: Sequence[int], swaps: Callable[[int], bool]) -> tuple[int | None, int | None]:
    """Where swap begins to win for good, and where it lost before that; None where it does not."""
    wins = [swaps(block) for block in blocks]
    lost = [place for place, won in enumerate(wins) if not won]
    if not lost:
        return blocks[0], None
    last = lost[-1]
    start = _between(blocks[last], blocks[last + 1], swaps) if last + 1 < len(blocks) else None
    before = [place for place in range(last) if wins[place]]
    if not before:
        return start, None
    low = before[-1]
    return start, _between(blocks[low], blocks[low + 1], lambda block: not swaps(block))


def _between(low: int, high: int, there: Callable[[int], bool]) -> int:
    """The least of those after ``low`` up to ``high`` from which it holds, where it turns once."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if there(middle) else (middle, high)
    return high
