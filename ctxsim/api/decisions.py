"""What the calls that compare scenarios give back: tidy frames, a small page, pictures, files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ctxsim.api.rows import Drawn, RowsResult, drawn
from ctxsim.errors import Fault, SpecError
from ctxsim.explore import Comparison, Sweep
from ctxsim.explore.plan import Plan
from ctxsim.explore.plan.goal import design_text
from ctxsim.explore.sensitivity import Effect
from ctxsim.spec.scenario import Scenario


@dataclass(frozen=True, repr=False)
class SweepResult(RowsResult):
    """Every point of a sweep, answered; ``plot.line("ttft_p95_s")``, ``plot.heat("sessions_per_hour")``."""

    sweep: Sweep
    name: str

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """A row a point: its keys, status, reason, and every number."""
        return self.sweep.rows

    @property
    def title(self) -> str:
        """What was swept."""
        return f"sweep of {self.name}"

    @property
    def keys(self) -> list[str]:
        """What was varied."""
        return [key for key, _ in self.sweep.points[0]]

    @property
    def plot(self) -> SweepPlots:
        """Its pictures."""
        return SweepPlots(self)


@dataclass(frozen=True)
class SweepPlots:
    """Pictures of a sweep."""

    result: SweepResult

    def line(self, number: str) -> Drawn:
        """A number over the one key that varies; raises SpecError for other sweeps."""
        from ctxsim.reporting.figures.swept import line_figure

        self._check(number, 1)
        return drawn(line_figure(self.result.rows, self.result.keys[0], number))

    def heat(self, number: str) -> Drawn:
        """A number over the two keys that vary; raises SpecError for other sweeps."""
        from ctxsim.reporting.figures.swept import heat_figure

        self._check(number, 2)
        down, across = self.result.keys
        return drawn(heat_figure(self.result.rows, (down, across), number))

    def _check(self, number: str, keys: int) -> None:
        if len(self.result.keys) != keys:
            found = ", ".join(self.result.keys)
            raise _fault("plot", f"expected {keys} varied keys for this picture, found {found}; use the frame")
        if not any(number in row for row in self.result.rows):
            raise _fault("plot", f'expected a column of the frame, found "{number}"')


@dataclass(frozen=True, repr=False)
class WhatifResult(RowsResult):
    """Changes beside their base; ``plot.differences()``."""

    base: Scenario
    comparisons: Sequence[Comparison]

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """A row a number of a change: base, changed, difference, half_width; units are the number's."""
        return [
            {"change": one.change, "number": name, **asdict(found), "difference_ratio": found.ratio}
            for one in self.comparisons
            for name, found in one.differences.items()
        ]

    @property
    def title(self) -> str:
        """What was changed."""
        return f"changes of {self.base.name}"

    @property
    def why(self) -> dict[str, str]:
        """What each change moves, or why it cannot be served."""
        return {one.change: one.infeasible_reason or one.why for one in self.comparisons}

    @property
    def plot(self) -> WhatifPlots:
        """Its pictures."""
        return WhatifPlots(self)


@dataclass(frozen=True)
class WhatifPlots:
    """Pictures of changes."""

    result: WhatifResult

    def differences(self, *numbers: str) -> Drawn:
        """What each change does to some numbers, dollars per session and sessions per hour unless told."""
        from ctxsim.reporting.figures.differences import differences_figure

        known = {name for one in self.result.comparisons for name in one.differences}
        usual = ("cost_usd_per_session", "sessions_per_hour", "sessions_per_hour_bound")
        chosen = numbers or tuple(name for name in usual if name in known)
        if not chosen or not set(chosen) <= known:
            raise _fault("plot", f"expected numbers of the frame, found {', '.join(chosen) or 'none'}")
        return drawn(differences_figure(self.result.comparisons, chosen))


@dataclass(frozen=True, repr=False)
class PlanResult(RowsResult):
    """A capacity plan: its parts in ``plan``, its fleets in ``frame``; ``plot.front()``."""

    plan: Plan

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """A row a fleet that was simulated whole, with every number."""
        plan = self.plan
        return [
            {
                "fleet": design_text(fleet.design.setting, fleet.design.scenario), "replicas": fleet.replicas,
                "accelerators": fleet.design.accelerators(fleet.replicas), "usd_per_hour": fleet.usd_per_hour,
                "slo_met": fleet.meets, "chosen": fleet is plan.chosen, "in_front": fleet in plan.front, **fleet.row,
            }
            for fleet in plan.fleets
        ]  # fmt: skip

    @property
    def title(self) -> str:
        """What was planned."""
        return f"plan for {self.plan.goal.base.name}"

    @property
    def scenario(self) -> Scenario:
        """The chosen fleet."""
        return self.plan.chosen.scenario

    @property
    def plot(self) -> PlanPlots:
        """Its pictures."""
        return PlanPlots(self)

    def __repr__(self) -> str:
        fleet = self.plan.chosen
        what = design_text(fleet.design.setting, fleet.design.scenario)
        return f"<{self.title}: {fleet.replicas} replicas of {what}, {fleet.usd_per_hour:.2f} USD an hour>"


@dataclass(frozen=True)
class PlanPlots:
    """Pictures of a plan."""

    result: PlanResult

    def front(self) -> Drawn:
        """Price against the latencies that the SLO limits."""
        from ctxsim.reporting.figures.front import front_figure

        return drawn(front_figure(self.result.plan))


@dataclass(frozen=True, repr=False)
class SensitivityResult(RowsResult):
    """How outcomes follow numbers; ``plot.tornado()``."""

    name: str
    effects: Sequence[Effect]
    by: str
    ratio: float

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """A row a number and outcome, the strongest of each outcome first."""
        return [asdict(effect) for effect in self.effects]

    @property
    def title(self) -> str:
        """What was asked."""
        return f"sensitivity of {self.name}"

    @property
    def plot(self) -> SensitivityPlots:
        """Its pictures."""
        return SensitivityPlots(self)


@dataclass(frozen=True)
class SensitivityPlots:
    """Pictures of sensitivities."""

    result: SensitivityResult

    def tornado(self) -> Drawn:
        """Sessions an hour and dollars a session, with each number smaller and larger."""
        from ctxsim.reporting.figures.tornado import tornado_figure

        return drawn(tornado_figure(self.result.effects, self.result.by, self.result.ratio))


def _fault(name: str, message: str) -> SpecError:
    return SpecError(Fault("", None, None, name, message))
