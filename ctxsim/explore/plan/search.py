"""The search for the cheapest fleet: designs in the order of what they cost at least, as long as one could be cheaper.

For each, a pilot says how many replicas it needs; the cheapest few are then simulated whole, and given or taken
replicas until one fewer would miss the SLO. Designs go out in batches of fixed size, so that the answer does not depend
on how many processes work on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from ctxsim.explore.executors import Executor
from ctxsim.explore.load import with_replicas
from ctxsim.explore.outcomes import Outcome, Row, Trial
from ctxsim.explore.plan.goal import Goal
from ctxsim.explore.plan.pilot import MET, Pilot
from ctxsim.explore.plan.prune import Design, most_replicas

EXACT_REPLICAS = 2
"""Of so many replicas a pilot is sure: one fewer was simulated whole, by a pilot that had all of the load."""

BATCH = 8
"""Pilots that set out together."""

Progress = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is done, and of how much."""


@dataclass(frozen=True)
class Candidate:
    """A design with the replicas that its pilot says it needs."""

    design: Design
    replicas: int

    @property
    def usd_per_hour(self) -> float:
        """Price of that fleet."""
        return self.design.usd_per_hour(self.replicas)

    @property
    def least_usd_per_hour(self) -> float:
        """Price with one replica fewer, which the whole fleet may turn out to need; a pilot of one is the fleet."""
        return self.design.usd_per_hour(self.replicas - 1 if self.replicas > EXACT_REPLICAS else self.replicas)


@dataclass(frozen=True)
class Fleet:
    """A fleet that was simulated whole under the whole load. row: its numbers; None where it could not be served."""

    design: Design
    replicas: int
    outcome: Outcome

    @property
    def meets(self) -> bool:
        """Whether it meets the SLO."""
        return self.outcome.status == "ok" and self.outcome.row[MET] == 1.0

    @property
    def row(self) -> Row:
        """Its numbers, none where it could not be served."""
        return self.outcome.row

    @property
    def usd_per_hour(self) -> float:
        """Its price."""
        return self.design.usd_per_hour(self.replicas)

    @property
    def scenario(self) -> object:
        """What was simulated."""
        return with_replicas(self.design.scenario, self.replicas)


class Search:
    """What has been found so far. candidates: by pilots, cheapest first. fleets: every one that was simulated whole."""

    def __init__(self, goal: Goal, most_accelerators: int, executor: Executor, progress: Progress) -> None:
        self.candidates: list[Candidate] = []
        self.short: list[Design] = []
        self._goal = goal
        self._most = most_accelerators
        self._executor = executor
        self._progress = progress
        self._fleets: dict[tuple[int, int], Fleet] = {}

    @property
    def fleets(self) -> list[Fleet]:
        """Every fleet that was simulated whole, in the order of designs and replicas."""
        return [self._fleets[key] for key in sorted(self._fleets)]

    def pilots(self, designs: Sequence[Design]) -> None:
        """Asks the designs in turn, as long as one could be the answer or the runner-up."""
        waiting = sorted(designs, key=lambda d: (d.usd_per_hour(d.least_replicas), d.number))
        done = 0
        while waiting:
            limit = self._second_price()
            batch = [d for d in waiting[:BATCH] if limit is None or d.usd_per_hour(d.least_replicas) < limit]
            if not batch:
                break
            self._ask(batch)
            waiting, done = waiting[len(batch) :], done + len(batch)
            self._progress("designs", done, len(designs))

    def fleet(self, design: Design, replicas: int) -> Fleet:
        """The whole fleet, simulated once."""
        key = (design.number, replicas)
        if key not in self._fleets:
            outcome = Trial(with_replicas(design.scenario, replicas)).run()
            self._fleets[key] = Fleet(design, replicas, outcome)
            self._progress("fleets", len(self._fleets), len(self._fleets))
        return self._fleets[key]

    def settle(self, candidate: Candidate) -> Fleet | None:
        """The smallest whole fleet of the design, near what its pilot says, that meets the SLO and one fewer does not.

        None where not even the most replicas do.
        """
        design, replicas = candidate.design, candidate.replicas
        while not self.fleet(design, replicas).meets:
            replicas += 1
            if replicas > most_replicas(design, self._most):
                return None
        while replicas > 1 and self.fleet(design, replicas - 1).meets:
            replicas -= 1
        return self.fleet(design, replicas)

    def cheapest(self, wanted: int) -> list[Fleet]:
        """The cheapest fleet of each of the so many cheapest machines, simulated whole, cheapest first.

        Of designs at one price the one that was named first.
        """
        best: dict[tuple[str, int], Fleet] = {}
        for candidate in sorted(self.candidates, key=lambda c: (c.usd_per_hour, c.design.number)):
            machine = candidate.design.machine
            prices = sorted(fleet.usd_per_hour for fleet in best.values())
            limit = min(
                best[machine].usd_per_hour if machine in best else inf,
                prices[wanted - 1] if len(prices) >= wanted else inf,
            )
            if candidate.least_usd_per_hour >= limit:
                continue
            fleet = self.settle(candidate)
            if fleet is not None and fleet.usd_per_hour < limit:
                best[machine] = fleet
        return sorted(best.values(), key=lambda fleet: (fleet.usd_per_hour, fleet.design.number))[:wanted]

    def _ask(self, designs: Sequence[Design]) -> None:
        goal = self._goal
        pilots = [
            Pilot(d.scenario, goal.load, goal.closed, d.least_replicas, most_replicas(d, self._most)) for d in designs
        ]
        found = dict(self._executor([[(i, pilot)] for i, pilot in enumerate(pilots)]))
        for i, design in enumerate(designs):
            if found[i].replicas is None:
                self.short.append(design)
            else:
                self.candidates.append(Candidate(design, found[i].replicas))

    def _second_price(self) -> float | None:
        """What the second cheapest machine costs: dearer designs can be neither the answer nor the runner-up."""
        prices: dict[tuple[str, int], float] = {}
        for candidate in self.candidates:
            machine = candidate.design.machine
            prices[machine] = min(prices.get(machine, inf), candidate.usd_per_hour)
        return sorted(prices.values())[1] if len(prices) > 1 else None
