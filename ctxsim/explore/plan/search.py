"""The search for the cheapest fleet: designs in the order of what they cost at least, as long as one could be cheaper.

Pilots guess how many replicas a design needs; whole fleets then decide, the cheapest guess first. Designs go out in
batches of fixed size, so that the answer does not depend on how many processes work on it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, inf

from ctxsim.explore.executors import Executor, answers
from ctxsim.explore.outcomes import Outcome, Row
from ctxsim.explore.plan.goal import Goal, meets
from ctxsim.explore.plan.pilot import Pilot, Served, among, can_stand_for_fleet, error_users
from ctxsim.explore.plan.prune import Design
from ctxsim.explore.plan.settle import Settling, settled
from ctxsim.spec.scenario import Scenario

PILOTS_TOGETHER = 4
MACHINES_TOGETHER = 2
"""How many designs set out together: more waste work that the first of them would have spared. Of one machine only one
at a time is simulated in whole fleets, since the next has to be cheaper than what it comes to."""

Progress = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is done, and of how much."""


@dataclass(frozen=True)
class Candidate:
    """A design. guess: the replicas that its pilot says it needs, the closed form's least without one; least: fewer
    need not be asked for."""

    design: Design
    guess: int
    least: int

    @property
    def usd_per_hour(self) -> float:
        """Price of the fleet as guessed."""
        return self.design.usd_per_hour(self.guess)


@dataclass(frozen=True)
class Fleet:
    """A fleet that was simulated whole under the whole load, and what became of it."""

    design: Design
    replicas: int
    outcome: Outcome

    @property
    def meets(self) -> bool:
        """Whether it meets the SLO, at its percentile and in the mean."""
        return meets(self.design.scenario.slo, self.outcome)

    @property
    def row(self) -> Row:
        """Its numbers, none where it could not be served."""
        return self.outcome.row

    @property
    def usd_per_hour(self) -> float:
        """Its price."""
        return self.design.usd_per_hour(self.replicas)

    @property
    def scenario(self) -> Scenario:
        """What was simulated."""
        return self.design.fleet(self.replicas)


class Search:
    """The search among designs for the cheapest of ``wanted`` machines.

    best: the cheapest fleet of each machine so far. fleets: all that were simulated whole. short: designs that miss the
    SLO with all accelerators allowed.
    """

    def __init__(self, goal: Goal, most_accelerators: int, wanted: int, executor: Executor, progress: Progress) -> None:
        self.best: dict[tuple[str, int], Fleet] = {}
        self.short: list[Design] = []
        self._limits: dict[int, float] = {}
        self._goal = goal
        self._most = most_accelerators
        self._wanted = wanted
        self._executor = executor
        self._progress = progress
        self._pilots = can_stand_for_fleet(goal.base)
        self._fleets: dict[tuple[int, int], Fleet] = {}

    @property
    def settled(self) -> int:
        """How many designs were simulated as whole fleets, or are short."""
        return len({number for number, _ in self._fleets} | {design.number for design in self.short})

    @property
    def fleets(self) -> list[Fleet]:
        """Every fleet that was simulated whole, in the order of designs and replicas."""
        return [self._fleets[key] for key in sorted(self._fleets)]

    def run(self, designs: Sequence[Design]) -> list[Fleet]:
        """The cheapest fleets, cheapest first; of designs at one price the one that was looked at first."""
        while waiting := self._open(designs):
            candidates: list[Candidate] = []
            for first in range(0, len(waiting), PILOTS_TOGETHER):
                found: list[Fleet | Candidate] = [*self.best.values(), *candidates]
                batch = waiting[first : first + PILOTS_TOGETHER]
                batch = [d for d in batch if self._least_usd(d) < self._limit(found, d.machine)]
                candidates += self._asked(batch, found)
                self._progress("designs", len(self._limits), len(designs))
            self._settle(candidates)
        return sorted(self.best.values(), key=lambda fleet: (fleet.usd_per_hour, fleet.design.number))[: self._wanted]

    def _open(self, designs: Sequence[Design]) -> list[Design]:
        """Designs that could be cheaper than the answers, what they cost at least first; none twice under one limit.

        Guesses limit what others are asked, and may turn out too low: then these are asked again.
        """
        limits = {design.number: self._limit(self.best.values(), design.machine) for design in designs}
        found = [d for d in designs if self._least_usd(d) < limits[d.number] > self._limits.get(d.number, -inf)]
        return sorted(found, key=lambda d: (self._least_usd(d), d.number))

    def _least_usd(self, design: Design) -> float:
        return design.usd_per_hour(design.least_replicas)

    def _limit(self, found: Iterable[Fleet | Candidate], machine: tuple[str, int] | None = None) -> float:
        """What a fleet has to cost less than to be an answer: the dearest answer, and the best of its own machine."""
        prices: dict[tuple[str, int], float] = {}
        for one in found:
            prices[one.design.machine] = min(prices.get(one.design.machine, inf), one.usd_per_hour)
        answers = sorted(prices.values())[: self._wanted]
        dearest = answers[-1] if len(answers) == self._wanted else inf
        return min(dearest, prices.get(machine, inf) if machine is not None else inf)

    def _asked(self, designs: Sequence[Design], found: Sequence[Fleet | Candidate]) -> list[Candidate]:
        """Candidates of the designs: those that could be cheaper than what was found."""
        self._limits |= {design.number: self._limit(found, design.machine) for design in designs}
        if not self._pilots:
            self._limits |= dict.fromkeys((design.number for design in designs), inf)
            return [Candidate(design, design.least_replicas, design.least_replicas) for design in designs]
        load = int(self._goal.load)
        tops = [(design, top) for design in designs if (top := self._top(design, found)) >= design.least_replicas]
        pilots = [
            Pilot(
                among(design.scenario, design.least_replicas),
                max(1, self._least_share(design, top)),
                ceil(load / design.least_replicas),
            )
            for design, top in tops
        ]
        served = answers(pilots, self._executor)
        asked = [self._candidate(*one, users) for one, users in zip(tops, served, strict=True)]
        return [candidate for candidate in asked if candidate is not None]

    def _least_share(self, design: Design, replicas: int) -> int:
        """Users that a pilot has to serve, or else so many replicas cannot serve them all."""
        share = int(self._goal.load) // replicas
        return floor(share - error_users(design.scenario, share))

    def _candidate(self, design: Design, top: int, served: Served) -> Candidate | None:
        """The candidate where a pilot serves so many users; None where it takes more replicas than ``top``."""
        load = int(self._goal.load)
        could = served.missed + error_users(design.scenario, served.missed)
        least = max(design.least_replicas, floor(load / could) + 1)
        if served.users and least <= top:
            self._limits[design.number] = inf
            return Candidate(design, min(top, ceil(load / served.users)), least)
        if served.missed == 1 or least > design.most_replicas(self._most):
            self._limits[design.number] = inf
            self.short.append(design)
        return None

    def _settle(self, candidates: Sequence[Candidate]) -> None:
        """Simulates whole fleets of candidates, the cheapest guess first, as long as one could be an answer."""
        waiting = sorted(candidates, key=lambda c: (c.usd_per_hour, c.design.number))
        while waiting:
            batch = _first_of_machines(waiting)
            waiting = [one for one in waiting if one not in batch]
            best = [*self.best.values()]
            tasks = [(one, top) for one in batch if (top := self._top(one.design, best)) >= one.least]
            found = answers([Settling(one.design, min(one.guess, top), top) for one, top in tasks], self._executor)
            for (one, top), seen in zip(tasks, found, strict=True):
                fleets = {n: Fleet(one.design, n, outcome) for n, outcome in seen.items()}
                self._fleets |= {(one.design.number, n): fleet for n, fleet in fleets.items()}
                self._judge(one.design, settled(seen, one.design), top, fleets)
            self._progress("fleets", len(self._fleets), len(self._fleets))

    def _judge(self, design: Design, enough: int | None, top: int, fleets: dict[int, Fleet]) -> None:
        """Keeps the design's fleet if it is the cheapest of its machine."""
        if enough is None:
            if top == design.most_replicas(self._most):
                self.short.append(design)
        elif fleets[enough].usd_per_hour < self._limit(self.best.values(), design.machine):
            self.best[design.machine] = fleets[enough]

    def _top(self, design: Design, found: Sequence[Fleet | Candidate]) -> int:
        """The most replicas of it that may be bought and could be an answer beside what was found."""
        most, limit = design.most_replicas(self._most), self._limit(found, design.machine)
        return most if limit == inf else bisect_left(range(1, most + 1), limit, key=design.usd_per_hour)


def _first_of_machines(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The first of each machine, of the first few machines."""
    first: dict[tuple[str, int], Candidate] = {}
    for one in candidates:
        first.setdefault(one.design.machine, one)
    return list(first.values())[:MACHINES_TOGETHER]
