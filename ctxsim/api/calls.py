"""The calls of the Python interface; each gives a result object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ctxsim import analysis
from ctxsim.api.results import AnalysisResult, SimulationResult
from ctxsim.errors import Fault, SpecError
from ctxsim.spec.scenario import Scenario, load_scenario

if TYPE_CHECKING:
    from ctxsim.sim import Simulation
    from ctxsim.sim.cluster import Progress, Stepping

MOST_SEEDS = 2**63


def load(path: str | Path, overrides: Mapping[str, object] | None = None) -> Scenario:
    """The scenario of that file or shipped name, with ``{"serving.kv_dtype": "fp8"}`` set; raises SpecError."""
    return load_scenario(path, overrides)


def analyze(scenario: Scenario) -> AnalysisResult:
    """The closed-form answer; an infeasible scenario has ``feasible`` False and every other key."""
    return AnalysisResult(analysis.analyze(scenario))


def simulate(
    scenario: Scenario, seed: int | None = None, stepping: Stepping = "macro", progress: Progress | None = None
) -> SimulationResult:
    """The scenario served to its last request.

    seed: replaces the scenario's. stepping: ``macro`` or ``single``, which give the same history. progress: called
    with the number of finished requests. Raises InfeasibleError where nothing can be served.
    """
    from ctxsim import sim  # its event kernel is not needed to analyze

    seeded = scenario if seed is None else with_seed(scenario, seed)
    return simulation_result(sim.simulate(seeded, stepping=stepping, progress=progress))


def with_seed(scenario: Scenario, seed: int) -> Scenario:
    """The scenario with another seed; raises SpecError where it is negative or has more than 63 bits."""
    if not 0 <= seed < MOST_SEEDS:
        message = f"expected a whole number from 0 to 2**63 - 1, found {seed}"
        raise SpecError(Fault("", None, None, "run.seed", message))
    return replace(scenario, run=scenario.run.model_copy(update={"seed": seed}))


def simulation_result(simulation: Simulation) -> SimulationResult:
    """The simulation as users get it: apart from the scenario object, as it can be saved and loaded."""
    return SimulationResult(
        summary=simulation.summary,
        warnings=simulation.warnings,
        scenario_sha256=simulation.scenario.sha256,
        scenario_yaml=simulation.scenario.to_yaml(),
        tables={"requests": simulation.requests, "sessions": simulation.sessions, "runs": simulation.runs},
    )
