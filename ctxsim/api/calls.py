"""The calls of the Python interface; each gives a result object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ctxsim import analysis
from ctxsim.api.results import AnalysisResult, SimulationResult, simulation_result
from ctxsim.errors import Fault, SpecError
from ctxsim.spec.scenario import Scenario, load_scenario

if TYPE_CHECKING:
    from ctxsim.sim.cluster import Progress, Stepping

MOST_SEEDS = 2**63
CONFIDENCE = 0.95


def load(path: str | Path, overrides: Mapping[str, object] | None = None) -> Scenario:
    """The scenario of that file or shipped name, with ``{"serving.kv_dtype": "fp8"}`` set; raises SpecError."""
    return load_scenario(path, overrides)


def analyze(scenario: Scenario) -> AnalysisResult:
    """The closed-form answer; an infeasible scenario has ``feasible`` False and every other key."""
    return AnalysisResult(analysis.analyze(scenario))


def simulate(
    scenario: Scenario, seed: int | None = None, stepping: Stepping = "macro", progress: Progress | None = None, *,
    out: str | Path | None = None, replications: int | None = None, confidence: float = CONFIDENCE, workers: int = 1,
) -> SimulationResult:  # fmt: skip
    """The scenario served to its last request.

    seed: replaces the scenario's. stepping: ``macro`` or ``single``, which give the same history. progress: called
    with the number of finished requests. out: a folder to save the result to, which its tables are then read from, so
    that memory does not grow with them; of replications each as soon as it is done. Raises InfeasibleError where
    nothing can be served.

    replications: runs it so many times, the first with the seed itself and the others with seeds that follow from it,
    in so many worker processes (a script that asks for several must be importable: ``if __name__ == "__main__"``).
    The summary has the means, and ``replications`` the half-widths of their intervals at that confidence.
    """
    seeded = scenario if seed is None else with_seed(scenario, seed)
    if replications is not None:
        from ctxsim.api.replicating import replicated

        return replicated(
            seeded, replications, stepping=stepping, confidence=confidence, workers=workers,
            out=None if out is None else Path(out), progress=progress,
        )  # fmt: skip
    check_single(confidence, workers)
    return _simulated(seeded, stepping, progress, out)


def check_single(confidence: float, workers: int) -> None:
    """Raises SpecError where one run is asked for with what only several can use."""
    given = {"confidence": confidence != CONFIDENCE, "workers": workers != 1}
    message = "expected replications beside it, found one run; ask for some, e.g. 20 replications"
    if faults := [Fault("", None, None, name, message) for name, unused in given.items() if unused]:
        raise SpecError(*faults)


def _simulated(
    scenario: Scenario, stepping: Stepping, progress: Progress | None, out: str | Path | None
) -> SimulationResult:
    from ctxsim import sim  # its event kernel is not needed to analyze

    if out is None:
        return simulation_result(sim.simulate(scenario, stepping=stepping, progress=progress))
    from ctxsim.api.storage import load_result, prepare_folder, save
    from ctxsim.sim.replications import spooling

    with spooling(prepare_folder(out)) as spool:
        simulation = sim.simulate(scenario, stepping=stepping, progress=progress, spool=spool)
        return load_result(save(simulation_result(simulation), out))


def with_seed(scenario: Scenario, seed: int) -> Scenario:
    """The scenario with another seed; raises SpecError where it is negative or has more than 63 bits."""
    if not 0 <= seed < MOST_SEEDS:
        message = f"expected a whole number from 0 to 2**63 - 1, found {seed}"
        raise SpecError(Fault("", None, None, "run.seed", message))
    return replace(scenario, run=scenario.run.model_copy(update={"seed": seed}))
