"""The largest load that a fleet serves within its SLO, found with the whole fleet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ctxsim.explore.executors import Executor, answers
from ctxsim.explore.load import is_closed, load_of, with_load
from ctxsim.explore.outcomes import Trial
from ctxsim.explore.plan.goal import meets
from ctxsim.spec.scenario import Scenario

STEPS = 50
"""The answer is as fine as a fiftieth of the load, or one user."""

DOUBLINGS = 10
"""Nobody asks for more than so many doublings of a step, twenty times the load."""


@dataclass(frozen=True)
class Reach:
    """load: the largest that was found to meet the SLO; missed: the smallest above it that misses it, if any."""

    load: float
    missed: float | None


def reach_of(fleet: Scenario, executor: Executor) -> Reach:
    """How far beyond its load a fleet that meets the SLO goes: in steps that double, then between.

    The first step alone, since a fleet that was chosen for its load seldom takes it; the others two at a time.
    """
    load = load_of(fleet)
    step = max(1, round(load / STEPS)) if is_closed(fleet) else load / STEPS
    doublings = [2**n for n in range(DOUBLINGS)]

    def meeting(numbers: Sequence[int]) -> Iterator[bool]:
        trials = [Trial(with_load(fleet, load + n * step)) for n in numbers]
        return (meets(fleet.slo, outcome) for outcome in answers(trials, executor))

    low, high = 0, 0
    for numbers in (doublings[:1], *(doublings[n : n + 2] for n in range(1, DOUBLINGS, 2))):
        for number, met in zip(numbers, list(meeting(numbers)), strict=True):
            if not met:
                high = number
                break
            low = number
        if high:
            break
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if next(meeting((middle,))) else (low, middle)
    return Reach(load + low * step, load + high * step if high else None)
