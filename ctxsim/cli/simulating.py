"""The simulate command's work: check first, run, save, judge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ctxsim.api.calls import simulation_result
from ctxsim.api.storage import prepare_folder
from ctxsim.cli.answer import Answer, StoppedError
from ctxsim.cli.gate import check_slo_given, failure_of, slo_gate
from ctxsim.cli.progress import RunProgress
from ctxsim.errors import InfeasibleError
from ctxsim.sim import Simulation
from ctxsim.sim import simulate as run_simulation
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import Sessions

GATE_FAILED = 4


@dataclass(frozen=True)
class Order:
    """One simulation as it was asked for."""

    scenario: Scenario
    stepping: Literal["macro", "single"]
    out: Path | None
    fail_on_slo: bool
    show_progress: bool


def carry_out(order: Order, as_json: bool) -> Answer:
    """Runs the simulation and saves it where asked; what would only fail at the end is checked before.

    An interrupted run leaves the folder as it was.
    """
    if order.fail_on_slo:
        check_slo_given(order.scenario)
    if order.out is not None:
        prepare_folder(order.out)
    simulation = _run(order)
    if order.out is not None:
        simulation_result(simulation).save(order.out)
    result = dict(simulation.summary)
    gate = None
    if order.fail_on_slo:
        gate = result["slo_gate"] = slo_gate(order.scenario, simulation.requests, simulation.summary["warmup_s"])
    code, failure = _verdict(simulation, gate)

    def text() -> Any:
        from ctxsim.cli.views.simulation import simulation_view

        return simulation_view(simulation, gate, order.out)

    return Answer(
        "simulate",
        result,
        text,
        as_json,
        scenario_sha256=order.scenario.sha256,
        warnings=simulation.warnings,
        exit_code=code,
        failure=failure,
    )


def _run(order: Order) -> Simulation:
    """The simulation; raises StoppedError where the user stops it."""
    with RunProgress(_total(order.scenario), order.show_progress) as progress:
        try:
            return run_simulation(order.scenario, stepping=order.stepping, progress=progress.update)
        except KeyboardInterrupt:
            kept = "" if order.out is None else f"; {order.out} is as it was before"
            raise StoppedError(f"interrupted: {progress}{kept}") from None


def _verdict(simulation: Simulation, gate: dict[str, Any] | None) -> tuple[int, str | None]:
    """The exit code, and why it is not 0."""
    if not simulation.summary["completed_requests"] and simulation.summary["rejected_requests"]:
        return InfeasibleError.exit_code, "infeasible: every request was rejected (the warnings say why)"
    missed = None if gate is None else failure_of(gate)
    return (0, None) if missed is None else (GATE_FAILED, missed)


def _total(scenario: Scenario) -> int | None:
    """The requests of a run, where the scenario says them."""
    workload = scenario.workload
    if not isinstance(workload, Sessions):
        return workload.num_requests
    return None if workload.num_sessions is None else workload.num_sessions * workload.rounds
