"""What a report is about: a scenario with everything that is worked out of it before the first word is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ctxsim.analysis import Analysis, analyze
from ctxsim.explore.curve import LoadPoint, breaks_first, load_curve
from ctxsim.explore.executors import Executor, local
from ctxsim.explore.load import is_closed, load_of
from ctxsim.explore.outcomes import By
from ctxsim.explore.sensitivity import Effect, sensitivity
from ctxsim.metrics import slo_gate
from ctxsim.reporting.planned import Planned
from ctxsim.sim import Simulation, simulate
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import Trace


@dataclass(frozen=True)
class Subject:
    """A scenario, analysed; simulation: None where it does not fit; curve: None where its load cannot be changed.

    effects: of each number, in closed form or simulated, as ``effects_by`` says. plan: where the scenario is the fleet
    that a plan chose. command: the words that make the report again.
    """

    analysis: Analysis
    simulation: Simulation | None
    effects: Sequence[Effect]
    effects_by: By
    curve: Sequence[LoadPoint] | None
    plan: Planned | None
    command: Sequence[str]

    @property
    def scenario(self) -> Scenario:
        """What was analysed and simulated."""
        return self.analysis.scenario

    @property
    def summary(self) -> dict[str, Any]:
        """The keys of the simulation, none where there is none."""
        return {} if self.simulation is None else self.simulation.summary

    @property
    def served(self) -> bool:
        """Whether the simulation served anything."""
        return self.simulation is not None and len(self.simulation.requests) > 0

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is unusual about the scenario or its simulation."""
        return self.analysis.warnings if self.simulation is None else self.simulation.warnings

    @property
    def gate(self) -> dict[str, Any]:
        """The SLO held against the simulation: percentile, met, and by limit what was found."""
        assert self.simulation is not None
        return slo_gate(self.scenario, self.simulation.requests, self.summary["warmup_s"])

    @property
    def has_slo(self) -> bool:
        """Whether there is a limit to meet."""
        return self.scenario.slo.ttft is not None or self.scenario.slo.tpot is not None

    @property
    def load_words(self) -> str:
        """The load: ``20 users``, ``2 arrivals a second``, ``a recorded trace``."""
        if isinstance(self.scenario.workload, Trace):
            return "a recorded trace"
        return f"{load_of(self.scenario):,g} {self.load_unit}"

    @property
    def load_unit(self) -> str:
        """What the load is a number of."""
        return "users" if is_closed(self.scenario) else "arrivals a second"

    @property
    def breaks(self) -> LoadPoint | None:
        """The least load of the curve that misses the SLO."""
        return breaks_first(self.curve or ())


def study(
    scenario: Scenario, command: Sequence[str], *, simulation: Simulation | None = None, plan: Planned | None = None,
    other_loads: bool = True, effects_by: By = "analyze", executor: Executor | None = None,
) -> Subject:  # fmt: skip
    """The scenario with all that a report needs of it.

    simulation: of the scenario, made here where there is none and it fits. other_loads: simulates the load curve too.
    effects_by: how the effects of single numbers are found; simulated, they take two simulations each.
    """
    analysis = analyze(scenario)
    if simulation is None and analysis.feasible:
        simulation = simulate(scenario)
    curve = None
    if other_loads and simulation is not None and not isinstance(scenario.workload, Trace):
        curve = load_curve(scenario, executor or local(1), _more(plan))
    effects = sensitivity(scenario, by=effects_by, executor=executor if effects_by == "simulate" else None)
    return Subject(analysis, simulation, effects, effects_by, curve, plan, command)


def _more(plan: Planned | None) -> list[float]:
    """The last load that a plan's fleet serves within its SLO, and the one beyond."""
    loads = () if plan is None else (plan.saturation_load, plan.missed_load)
    return [load for load in loads if load is not None]
