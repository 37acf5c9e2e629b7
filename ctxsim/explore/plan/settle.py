"""Whole fleets of one design: the fewest replicas that meet the SLO where one fewer does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ctxsim.explore.outcomes import Outcome, Trial
from ctxsim.explore.plan.goal import meets
from ctxsim.explore.plan.prune import Design

FEW = 8
"""Of so few replicas two in a row have to miss before fewer are not looked at: more replicas are not always better,
since equal users who are dealt out evenly may meet by chance."""


@dataclass
class Settling:
    """The search for one design: begins at ``guess``, goes to ``most`` replicas. seen: outcomes by replicas."""

    design: Design
    guess: int
    most: int
    seen: dict[int, Outcome] = field(default_factory=dict)

    def run(self) -> Mapping[int, Outcome]:
        """Every fleet that was simulated: the answer and one replica fewer are among them, if there is an answer."""
        missing, enough = self._from_guess()
        while enough is not None:
            missing, enough = self._between(missing, enough)
            if not 2 < enough <= FEW or not self._meets(enough - 2):
                break
            missing, enough = 0, enough - 2
        return self.seen

    def _between(self, missing: int, enough: int) -> tuple[int, int]:
        """Neighbours of which the smaller misses the SLO and the larger meets it."""
        while enough - missing > 1:
            middle = (missing + enough) // 2
            missing, enough = (missing, middle) if self._meets(middle) else (middle, enough)
        return missing, enough

    def _from_guess(self) -> tuple[int, int | None]:
        """Replicas that miss the SLO and more that meet it: from the guess on, up or down, by 1, 1, 2, 3, 5, ..."""
        at, step, after, missing = self.guess, 1, 1, 0
        while not self._meets(at):
            if at == self.most:
                return at, None
            missing, at = at, min(self.most, at + step)
            step, after = after, step + after
        if missing:
            return missing, at
        while at - step > 0 and self._meets(at - step):
            at, step, after = at - step, after, step + after
        return max(0, at - step), at

    def _meets(self, replicas: int) -> bool:
        if replicas not in self.seen:
            self.seen[replicas] = Trial(self.design.fleet(replicas)).run()
        return meets(self.design.scenario.slo, self.seen[replicas])


def settled(seen: Mapping[int, Outcome], design: Design) -> int | None:
    """The fewest replicas of those seen that meet the SLO."""
    return min((n for n, outcome in seen.items() if meets(design.scenario.slo, outcome)), default=None)
