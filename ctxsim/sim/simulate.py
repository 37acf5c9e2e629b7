"""A simulation from scenario to tables and summary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ctxsim.cost import CostModel
from ctxsim.errors import Fault, InfeasibleError, SpecError
from ctxsim.metrics import History, summarise
from ctxsim.records import REQUEST_COLUMNS, SESSION_COLUMNS, Table, run_columns, table
from ctxsim.sim.cluster import Cluster, Progress, Stepping
from ctxsim.sim.journal import Journal, ServedRequest
from ctxsim.spec.lengths import ConstantLength
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import Requests, Sessions, Trace, Workload
from ctxsim.units import show
from ctxsim.workload.sources import make_source


@dataclass(frozen=True)
class Simulation:
    """What a simulation found: the summary keys, and a row per request, session and run of iterations."""

    scenario: Scenario
    seed: int
    summary: dict[str, Any]
    requests: Table
    sessions: Table
    runs: Table
    warnings: tuple[str, ...]


def simulate(
    scenario: Scenario, seed: int | None = None, stepping: Stepping = "macro", progress: Progress | None = None
) -> Simulation:
    """Serves the scenario's workload to the last request.

    seed: replaces the scenario's. stepping: ``macro`` jumps over runs of equal iterations, ``single`` takes each
    one; both give the same history. progress: called with the number of finished requests.
    Raises InfeasibleError where the KV pool cannot hold the shortest request, and SpecError where nothing would end
    the run.
    """
    check_ends(scenario)
    seed = scenario.run.seed if seed is None else seed
    cost = CostModel(scenario)
    shortest = shortest_request_tokens(scenario.workload)
    if not cost.memory.weights_fit or cost.memory.kv_capacity_bytes < cost.layout.footprint_bytes(shortest):
        raise InfeasibleError(_no_room(cost, shortest))
    source = make_source(scenario.workload, seed)
    journal = Cluster(scenario, cost, source, stepping=stepping, progress=progress).run()
    requests = request_table(journal)
    sessions = session_table(requests)
    history = History(
        requests=requests,
        runs=table(run_columns(len(cost.spans)), journal.runs),
        gaps_s=journal.gaps_s,
        num_requests=journal.arrivals,
        rejected_requests=len(journal.rejected),
        preemptions=journal.preemptions,
        completed_sessions=_completed_sessions(scenario, sessions),
    )
    summary = summarise(scenario, cost, history)
    warnings = (*source.warnings, *warnings_of(scenario, journal))
    return Simulation(scenario, seed, summary, requests, sessions, history.runs, warnings)


def check_ends(scenario: Scenario) -> None:
    """Raises SpecError for sessions that would begin for ever: without a number of them, and without a horizon."""
    workload = scenario.workload
    if isinstance(workload, Sessions) and workload.num_sessions is None and scenario.run.horizon is None:
        message = "expected run.horizon or workload.num_sessions, found neither: the simulation would never end"
        would_do = 'set one of them, e.g. run.horizon="4 hours"'
        raise SpecError(Fault(scenario.path, None, None, "run.horizon", f"{message}; {would_do}"))


def shortest_request_tokens(workload: Workload) -> int:
    """Context tokens of the shortest request that the workload can draw; of a trace, one."""
    if isinstance(workload, Trace):
        return 1
    if isinstance(workload, Requests):
        lengths = [workload.prompt_tokens, workload.output_tokens]
    else:
        lengths = [workload.document_tokens, workload.question_tokens, workload.answer_tokens]
    tokens = sum(length.tokens if isinstance(length, ConstantLength) else length.min for length in lengths)
    # The KV of the last output token is never stored.
    return max(1, tokens - 1)


def request_table(journal: Journal) -> Table:
    """One row a finished request, in order of arrival."""
    order = sorted(journal.finished, key=lambda r: (r.arrival_s, r.index))
    return table(REQUEST_COLUMNS, [_request_row(r) for r in order])


def session_table(requests: Table) -> Table:
    """One row a session, of its finished turns, in order of session number."""
    ids, first, place = np.unique(requests["session"], return_index=True, return_inverse=True)
    end_s = np.zeros(len(ids))
    np.maximum.at(end_s, place, requests["finished_s"])
    columns = (
        ids,
        np.bincount(place, minlength=len(ids)),
        requests["arrival_s"][first],
        end_s,
        np.bincount(place, requests["prompt_tokens"], minlength=len(ids)).astype("int64"),
        np.bincount(place, requests["output_tokens"], minlength=len(ids)).astype("int64"),
    )
    return Table({c.name: values for c, values in zip(SESSION_COLUMNS, columns, strict=True)})


def warnings_of(scenario: Scenario, journal: Journal) -> tuple[str, ...]:
    """What a reader of the results must know: settings that have no effect yet, and requests that were refused."""
    warnings = list(scenario.warnings)
    if scenario.serving.enable_prefix_caching:
        warnings.append(
            "serving.enable_prefix_caching: prefixes are not shared between requests in this version; "
            "every prompt is prefilled in full"
        )
    if isinstance(scenario.workload, Sessions) and scenario.serving.residency != "recompute":
        warnings.append(
            f"serving.residency: {scenario.serving.residency} is not simulated in this version; "
            "every turn prefills its whole context (recompute)"
        )
    if journal.rejected:
        warnings.append(
            f"{len(journal.rejected)} requests are longer than max_model_len ({scenario.max_model_len} tokens) or than "
            f"the KV pool and were rejected; the first is request {journal.rejected[0].index}"
        )
    return tuple(warnings)


def _request_row(r: ServedRequest) -> tuple[float, ...]:
    more = r.output_tokens - 1
    return (
        r.index,
        r.demand.session,
        r.demand.turn,
        r.replica,
        r.prompt_tokens,
        r.output_tokens,
        r.arrival_s,
        r.admitted_s,
        r.first_token_s,
        r.finished_s,
        r.preemptions,
        r.recomputed_tokens,
        r.admitted_s - r.arrival_s,
        r.first_token_s - r.arrival_s,
        (r.finished_s - r.first_token_s) / more if more > 0 else np.nan,
        r.finished_s - r.arrival_s,
    )


def _completed_sessions(scenario: Scenario, sessions: Table) -> int:
    """Sessions with all their rounds; of requests and traces, every session that was served."""
    rounds = scenario.workload.rounds if isinstance(scenario.workload, Sessions) else 1
    return int(np.count_nonzero(sessions["turns"] >= rounds))


def _no_room(cost: CostModel, tokens: int) -> str:
    memory = cost.memory
    taken = show(memory.weight_bytes + memory.activation_bytes + memory.reserve_bytes, "bytes")
    if memory.kv_capacity_bytes <= 0:
        need = f"weights, activations and reserve need {taken}, usable HBM is {show(memory.usable_bytes, 'bytes')}"
    else:
        held, left = cost.layout.footprint_bytes(tokens), memory.kv_capacity_bytes
        need = f"the shortest request ({tokens:,} tokens) needs {show(held, 'bytes')} of KV cache, "
        need += f"{show(left, 'bytes')} are left for it"
    return f"{need}; use more accelerators (deployment.tensor_parallel)"
