"""Points of a residency map that simulations can be asked about, drawn by a seed.

Where many users are needed for HBM to be wanted at all times (short contexts, long gaps), there are none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, zip_longest
from random import Random

from ctxsim.analysis.session import TypicalSession, typical_session
from ctxsim.cost import CostModel
from ctxsim.cost.gaps import GapPrices
from ctxsim.errors import Fault, SpecError
from ctxsim.explore.residency.choices import Held
from ctxsim.explore.residency.contention import can_be_simulated
from ctxsim.explore.residency.map import ResidencyMap
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import Sessions
from ctxsim.units import SECONDS_PER_HOUR

LONGEST_IDLE_S = 2 * SECONDS_PER_HOUR
"""Longer gaps would take days to simulate."""

SIDE_BY_SIDE = 2
"""Sessions of a sampled context that HBM has room for, at least: with less, nobody is kept while another is served."""

DRAWS = 40
"""Points drawn for each that is taken, so that rare choices are among them."""


@dataclass(frozen=True)
class Point:
    """Context when the first gap begins, idle time, and what all gaps of a session cost by choice, in closed form."""

    context_tokens: int
    idle_s: float
    usd: dict[str, float]

    @property
    def choice(self) -> str:
        """The cheapest, the first of equals."""
        return min(self.usd, key=lambda name: self.usd[name])

    @property
    def margin_ratio(self) -> float:
        """What the second best costs, by the best."""
        best, second = sorted(self.usd.values())[:2]
        return second / best if best else 1.0


def contended_base(scenario: Scenario) -> Scenario:
    """One replica of the scenario, without disk; raises SpecError where nobody of its users comes back."""
    session = typical_session(scenario)
    if not isinstance(scenario.workload, Sessions) or session.rounds == 1:
        message = "expected sessions of two rounds or more to simulate, found none; use kind: sessions"
        raise SpecError(Fault(scenario.path, None, None, "workload.rounds", message))
    first = scenario.fleet[0]
    serving = first.serving.model_copy(update={"disk_kv_capacity": 0.0, "enable_prefix_caching": True})
    return replace(first, serving=serving, deployment=first.deployment.model_copy(update={"replicas": 1}))


def sample(mapped: ResidencyMap, base: Scenario, points: int, seed: int) -> list[Point]:
    """Points drawn evenly by the logarithms of context and idle time; of each choice the first drawn that can be
    simulated, in turn."""
    low, high = _contexts(mapped, base)
    idle_low_s, idle_high_s = mapped.idles_s[0], min(mapped.idles_s[-1], LONGEST_IDLE_S)
    cost, session, random = CostModel(base), typical_session(base), Random(seed)
    prices = GapPrices(base, cost)
    by_choice: dict[str, list[Point]] = {}
    for _ in range(DRAWS * points):
        tokens = round(low * (high / low) ** random.random())
        idle_s = idle_low_s * (idle_high_s / idle_low_s) ** random.random()
        held = [Held.of(cost, prices, session, known) for known in _known(session, tokens)]
        gaps = [one.usd(idle_s) for one in held]
        point = Point(tokens, idle_s, {name: sum(gap[name] for gap in gaps) for name in gaps[0]})
        by_choice.setdefault(point.choice, []).append(point)
    fit = [
        (one for one in drawn if can_be_simulated(base, one.context_tokens, one.idle_s)) for drawn in by_choice.values()
    ]
    return list(islice(_in_turn(fit), points))


def _known(session: TypicalSession, tokens: int) -> Iterator[int]:
    """The contexts at a session's gaps, the first of which has so many tokens."""
    growth = session.question_tokens + session.answer_tokens
    return (tokens + place * growth for place in range(session.rounds - 1))


def _contexts(mapped: ResidencyMap, base: Scenario) -> tuple[int, int]:
    """The shortest and the longest first context that a session of the scenario can have, as far as they are mapped."""
    session, cost = typical_session(base), CostModel(base)
    turn = session.question_tokens + session.answer_tokens
    room_bytes = cost.memory.kv_capacity_bytes / SIDE_BY_SIDE
    fitting = [
        tokens
        for tokens in mapped.contexts
        if tokens + session.rounds * turn <= base.max_model_len
        and cost.layout.held_bytes(tokens + session.rounds * turn) <= room_bytes
    ]
    low, high = max(turn, mapped.contexts[0]), max(fitting, default=0)
    if high < low:
        wanted = f"expected room in HBM for {SIDE_BY_SIDE} sessions of {low:,} tokens"
        raise SpecError(Fault(base.path, None, None, "deployment.tensor_parallel", f"{wanted}, found less; raise it"))
    return low, high


def _in_turn(groups: Sequence[Iterator[Point]]) -> Iterator[Point]:
    """One of each group, as long as there are any."""
    for row in zip_longest(*groups):
        yield from (point for point in row if point is not None)
