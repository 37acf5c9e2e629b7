"""The simulate command's work: check first, run once or several times, save, judge."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ctxsim import __version__
from ctxsim.api.calls import check_single
from ctxsim.api.replicating import replicated
from ctxsim.api.results import SimulationResult, simulation_result
from ctxsim.api.storage import prepare_folder
from ctxsim.cli.answer import Answer, StoppedError
from ctxsim.cli.gate import check_slo_given, failure_of
from ctxsim.cli.progress import RunProgress
from ctxsim.errors import Fault, InfeasibleError, SpecError
from ctxsim.metrics import slo_gate
from ctxsim.sim import Simulation
from ctxsim.sim import simulate as run_simulation
from ctxsim.sim.intervals import check_calibrated, simulated_intervals
from ctxsim.sim.replications import spooling
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import Sessions
from ctxsim.tracing import TraceOrder, write_trace

GATE_FAILED = 4
LIMITS = ("ttft_s", "tpot_s")


@dataclass(frozen=True)
class Order:
    """One simulation, or several replications, as asked for."""

    scenario: Scenario
    stepping: Literal["macro", "single"]
    out: Path | None
    fail_on_slo: bool
    show_progress: bool
    replications: int | None
    confidence: float
    workers: int
    trace: TraceOrder | None
    intervals: bool = False


def carry_out(order: Order, as_json: bool) -> Answer:
    """Runs what was ordered and saves it where asked; what would only fail at the end is checked before.

    An interrupted run leaves the folder as it was; of replications, those that were done stay there.
    """
    if order.fail_on_slo:
        check_slo_given(order.scenario)
    if order.intervals:
        check_intervals(order.scenario, order.replications)
    found = _once(order) if order.replications is None else _several(order, order.replications)
    result = dict(found.summary)
    code, failure = _verdict(result)

    def text() -> Any:
        from ctxsim.cli.views.simulation import simulation_view

        yield from simulation_view(order.scenario, result, order.out)
        if order.trace is not None:
            yield f"\nTrace written to {order.trace.path}: open it in https://ui.perfetto.dev"

    return Answer(
        "simulate",
        result,
        text,
        as_json,
        scenario_sha256=found.scenario_sha256,
        warnings=found.warnings,
        exit_code=code,
        failure=failure,
    )


def _once(order: Order) -> SimulationResult:
    """The simulation, saved where asked; raises StoppedError where the user stops it."""
    check_single(order.confidence, order.workers)
    if order.out is not None:
        prepare_folder(order.out)
    with spooling(order.out) as spool:
        simulation = _run(order, spool)
        if order.intervals:
            simulation.summary["intervals"] = simulated_intervals(simulation)
        result = simulation_result(simulation)
        if order.out is not None:
            result.save(order.out)
        if order.fail_on_slo:
            result.summary["slo_gate"] = _gate(simulation)
        return result if order.trace is None else _traced(order.trace, simulation, result)


def check_intervals(scenario: Scenario, replications: int | None) -> None:
    """Raises SpecError where the errors of fits cannot be followed."""
    check_calibrated(scenario)
    if replications is not None:
        message = "expected one run, since replications have intervals of their own, found both; leave one out"
        raise SpecError(Fault("", None, None, "intervals", message))


def _traced(order: TraceOrder, simulation: Simulation, result: SimulationResult) -> SimulationResult:
    """Writes the trace; the result with what a reader of it must know."""
    scenario = simulation.scenario
    about = {"version": __version__, "scenario": scenario.name, "seed": simulation.seed}
    about["scenario_sha256"] = result.scenario_sha256
    tables = {"requests": simulation.requests, "runs": simulation.runs, "transfers": simulation.transfers}
    trace = write_trace(order.path, tables, about, order.window)
    return replace(result, warnings=(*result.warnings, *trace.warnings))


def _run(order: Order, spool: Path) -> Simulation:
    with RunProgress(_total(order.scenario), order.show_progress) as progress:
        try:
            return run_simulation(order.scenario, stepping=order.stepping, progress=progress.update, spool=spool)
        except KeyboardInterrupt:
            kept = "" if order.out is None else f"; {order.out} is as it was before"
            raise StoppedError(f"interrupted: {progress}{kept}") from None


def _several(order: Order, replications: int) -> SimulationResult:
    """The means of the replications, each saved where asked; raises StoppedError where the user stops them."""
    total = _total(order.scenario)
    with RunProgress(None if total is None else total * replications, order.show_progress) as progress:
        try:
            result = replicated(
                order.scenario,
                replications,
                stepping=order.stepping,
                confidence=order.confidence,
                workers=order.workers,
                out=order.out,
                progress=progress.update,
                judge=_limits_found if order.fail_on_slo else None,
            )
        except KeyboardInterrupt:
            kept = "" if order.out is None else f"; {order.out} has {_saved(order.out)} of {replications} replications"
            raise StoppedError(f"interrupted: {progress}{kept}") from None
    if order.fail_on_slo:
        result.summary["slo_gate"] = _judged(result.summary["slo_gate"])
    return result


def _limits_found(simulation: Simulation) -> dict[str, Any]:
    """The SLO and what one replication found; whether its limits are met is for the means to say."""
    gate = _gate(simulation)
    limits = {name: {"limit_s": g["limit_s"], "found_s": g["found_s"]} for name, g in gate.items() if name in LIMITS}
    return {"slo_gate": {"percentile": gate["percentile"]} | limits}


def _judged(gate: dict[str, Any]) -> dict[str, Any]:
    """The gate with what the means of its latencies say."""
    judged = {
        name: g | {"met": g["found_s"] is not None and g["found_s"] <= g["limit_s"]}
        for name, g in gate.items()
        if name in LIMITS
    }
    return gate | judged | {"met": all(g["met"] for g in judged.values())}


def _gate(simulation: Simulation) -> dict[str, Any]:
    return slo_gate(simulation.scenario, simulation.requests, simulation.summary["warmup_s"])


def _saved(out: Path) -> int:
    return len(list(out.glob("replication-*")))


def _verdict(summary: dict[str, Any]) -> tuple[int, str | None]:
    """The exit code, and why it is not 0."""
    if not summary["completed_requests"] and summary["rejected_requests"]:
        return InfeasibleError.exit_code, "infeasible: every request was rejected (the warnings say why)"
    missed = failure_of(summary["slo_gate"]) if "slo_gate" in summary else None
    return (0, None) if missed is None else (GATE_FAILED, missed)


def _total(scenario: Scenario) -> int | None:
    """The requests of a run, where the scenario says them."""
    workload = scenario.workload
    if not isinstance(workload, Sessions):
        return workload.num_requests
    return None if workload.num_sessions is None else workload.num_sessions * workload.rounds
