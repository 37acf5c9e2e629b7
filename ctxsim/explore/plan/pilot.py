"""How many replicas a design needs, told by one of them under its share of the load.

Equal replicas whose users stay with them are alike: one of them under its part of the load behaves as the fleet does,
at a fraction of the work. What it says is checked with the whole fleet before anybody relies on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

from ctxsim.explore.load import with_load
from ctxsim.explore.outcomes import Outcome, Row, Trial
from ctxsim.spec.scenario import Scenario

MET = "slo_met_ratio"


@dataclass
class Pilot:
    """The search for one design. scenario: one replica; least, most: replicas between which it looks."""

    scenario: Scenario
    load: float
    closed: bool
    least: int
    most: int
    _seen: dict[float, Outcome] = field(default_factory=dict)

    def run(self) -> Needed:
        """The fewest replicas whose pilot meets the SLO, of those allowed."""
        if self.least > self.most:
            return Needed(None, None)
        below, at = self.least - 1, self.least
        while not self._meets(at):
            if at == self.most:
                return Needed(None, self._row(at))
            below, at = at, min(self.most, max(at + 1, at + at // 2))
        while at - below > 1:
            middle = (below + at) // 2
            below, at = (below, middle) if self._meets(middle) else (middle, at)
        return Needed(at, self._row(at))

    def _meets(self, replicas: int) -> bool:
        outcome = self._outcome(replicas)
        return outcome.status == "ok" and outcome.row[MET] == 1.0

    def _row(self, replicas: int) -> Row | None:
        outcome = self._outcome(replicas)
        return outcome.row if outcome.status == "ok" else None

    def _outcome(self, replicas: int) -> Outcome:
        """Of one replica under the largest part that one of so many gets."""
        share = ceil(self.load / replicas) if self.closed else self.load / replicas
        if share not in self._seen:
            self._seen[share] = Trial(with_load(self.scenario, share)).run()
        return self._seen[share]


@dataclass(frozen=True)
class Needed:
    """replicas: None where those allowed are not enough; row: what one of them, or of the most allowed, gave."""

    replicas: int | None
    row: Row | None


@dataclass(frozen=True)
class Reach:
    """The search for the largest load that a fleet serves within its SLO; whole numbers of users in a closed loop.

    low: a load that it is known to serve; most: beyond which nobody asks.
    """

    scenario: Scenario
    closed: bool
    low: float
    most: float
    steps: int = 8

    def run(self) -> float:
        """The largest load found: doubling until it is missed, then halving the difference."""
        low, high = self.low, self.low * 2
        while high < self.most and self._meets(high):
            low, high = high, high * 2
        high = min(high, self.most)
        for _ in range(self.steps):
            middle = round((low + high) / 2) if self.closed else (low + high) / 2
            if middle in (low, high):
                break
            low, high = (middle, high) if self._meets(middle) else (low, middle)
        return low

    def _meets(self, load: float) -> bool:
        outcome = Trial(with_load(self.scenario, load)).run()
        return outcome.status == "ok" and outcome.row[MET] == 1.0
