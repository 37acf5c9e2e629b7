"""A simulation from scenario to tables and summary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ctxsim.cost import CostModel, kept_warnings, unpriced_warnings
from ctxsim.cost.working_set import working_set
from ctxsim.errors import Fault, InfeasibleError, SpecError
from ctxsim.metrics import History, charge_runs, groups_of, summarise
from ctxsim.metrics.steady import too_short_warning
from ctxsim.records import MONEY_COLUMNS, SESSION_COLUMNS, Records, Table, sorted_by
from ctxsim.sim.cautions import residency_warnings
from ctxsim.sim.cluster import Cluster, Progress, Stepping
from ctxsim.sim.paid import with_costs
from ctxsim.spec.lengths import ConstantLength
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import Requests, Sessions, Trace, Workload
from ctxsim.units import show
from ctxsim.workload.demand import Source
from ctxsim.workload.replay import TraceSource
from ctxsim.workload.sources import make_source


@dataclass(frozen=True)
class Simulation:
    """What a simulation found: the summary keys, and a row per request, session, run of iterations and copy.

    gaps: pauses of requests that were preempted, paused or made to wait for others, which no run tells of.
    """

    scenario: Scenario
    seed: int
    summary: dict[str, Any]
    requests: Records
    sessions: Table
    runs: Records
    transfers: Records
    gaps: Records
    warnings: tuple[str, ...]


def simulate(
    scenario: Scenario, seed: int | None = None, stepping: Stepping = "macro", progress: Progress | None = None,
    spool: Path | None = None,
) -> Simulation:  # fmt: skip
    """Serves the scenario's workload to the last request.

    seed: replaces the scenario's. stepping: ``macro`` jumps over runs of equal iterations, ``single`` takes each
    one; both give the same history. progress: called with the number of finished requests. spool: a folder for rows,
    so that memory does not grow with their number; it must stay for as long as the result is used.
    Raises InfeasibleError where the KV pool cannot hold the shortest request, and SpecError where nothing would end
    the run.
    """
    check_ends(scenario)
    seed = scenario.run.seed if seed is None else seed
    cost, *others = _costs(scenario)
    source = make_source(scenario.workload, seed)
    cluster = Cluster(
        scenario, cost, source, stepping=stepping, progress=progress, hash_tokens=hash_tokens(source), spool=spool,
        others=[(group.scenario, group) for group in others],
    )  # fmt: skip
    journal = cluster.run()
    requests = sorted_by(journal.requests, "arrival_s", "request")
    groups = list(groups_of(scenario, [cost, *others], journal.runs))
    busy = charge_runs(groups, journal.runs, journal.presence, 1 + int(np.max(requests["request"], initial=-1)))
    requests = with_costs(requests, busy, cluster.charges)
    sessions = session_table(requests)
    completed = _completed(scenario, sessions)
    history = History(
        requests=requests,
        runs=journal.runs,
        transfers=journal.transfers,
        gaps=journal.gaps,
        num_requests=journal.arrivals,
        rejected_requests=len(journal.rejected),
        preemptions=journal.preemptions,
        session_usd=sessions["cost_usd"][completed],
        link_busy_s=cluster.link_busy_s(),
        upkeep=cluster.upkeep(),
        busy=busy.busy,
        others=others,
    )
    summary = summarise(scenario, cost, history)
    summary["gap_cost_usd"] = cluster.gap_costs()
    wanted = working_set(scenario, [cost, *others])
    summary["working_set"] = None if wanted is None else wanted.keys()
    too_short = too_short_warning(scenario, requests, history.completed_sessions)
    cautions = () if wanted is None else wanted.cautions()
    unpriced = unpriced_warnings([cost, *others])
    own = (*source.warnings, *warnings_of(scenario, cluster, summary), *unpriced)
    warnings = (*own, *cautions, *filter(None, [too_short]))
    return Simulation(
        scenario, seed, summary, requests, sessions, journal.runs, journal.transfers, journal.gaps, warnings
    )


def _costs(scenario: Scenario) -> list[CostModel]:
    """The costs of every group of replicas; raises InfeasibleError where one cannot hold the shortest request."""
    costs = [CostModel(group) for group in scenario.fleet]
    shortest = shortest_request_tokens(scenario.workload)
    for number, cost in enumerate(costs):
        if not cost.memory.weights_fit or cost.memory.kv_capacity_bytes < cost.layout.footprint_bytes(shortest):
            group = f"groups[{number - 1}]." if number else ""
            raise InfeasibleError(_no_room(cost, shortest, f"deployment.{group}tensor_parallel"))
    return costs


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


def session_table(requests: Records) -> Table:
    """One row a session, of its finished turns, in order of session number; with money where the requests have it."""
    ids, place = np.unique(requests["session"], return_inverse=True)
    end_s, start_s = np.zeros(len(ids)), np.full(len(ids), np.inf)
    np.maximum.at(end_s, place, requests["finished_s"])
    np.minimum.at(start_s, place, requests["arrival_s"])
    columns = (
        ids,
        np.bincount(place, minlength=len(ids)),
        start_s,
        end_s,
        np.bincount(place, requests["prompt_tokens"], minlength=len(ids)).astype("int64"),
        np.bincount(place, requests["output_tokens"], minlength=len(ids)).astype("int64"),
    )
    found = {c.name: values for c, values in zip(SESSION_COLUMNS, columns, strict=True)}
    paid = [c.name for c in MONEY_COLUMNS if c.name in requests.names]
    return Table(found | {name: np.bincount(place, requests[name], minlength=len(ids)) for name in paid})


def warnings_of(scenario: Scenario, cluster: Cluster, summary: dict[str, Any]) -> tuple[str, ...]:
    """What a reader of the results must know: what was refused, what has no effect, and what thrashes."""
    warnings = [*scenario.warnings, *kept_warnings(scenario)]
    rejected = cluster.journal.rejected
    if rejected:
        warnings.append(
            f"{len(rejected)} requests are longer than max_model_len ({scenario.max_model_len} tokens) or than "
            f"the KV pool and were rejected; the first is request {rejected[0].index}"
        )
    return (*warnings, *residency_warnings(scenario, cluster, summary))


def hash_tokens(source: Source) -> int:
    """Prompt tokens that one hash of the source's prompts stands for; 0 where they carry none."""
    return source.table.block_tokens if isinstance(source, TraceSource) else 0


def _completed(scenario: Scenario, sessions: Table) -> np.ndarray:
    """Which sessions had all their rounds; of requests and traces, every session that was served."""
    rounds = scenario.workload.rounds if isinstance(scenario.workload, Sessions) else 1
    completed: np.ndarray = sessions["turns"] >= rounds
    return completed


def _no_room(cost: CostModel, tokens: int, setting: str) -> str:
    memory = cost.memory
    taken = show(memory.weight_bytes + memory.activation_bytes + memory.reserve_bytes, "bytes")
    if memory.kv_capacity_bytes <= 0:
        need = f"weights, activations and reserve need {taken}, usable HBM is {show(memory.usable_bytes, 'bytes')}"
    else:
        held, left = cost.layout.footprint_bytes(tokens), memory.kv_capacity_bytes
        need = f"the shortest request ({tokens:,} tokens) needs {show(held, 'bytes')} of KV cache, "
        need += f"{show(left, 'bytes')} are left for it"
    return f"{need}; use more accelerators ({setting})"
