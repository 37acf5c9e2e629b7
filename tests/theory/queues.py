"""Replicas as servers: one sequence at a time unless a test says otherwise, each served by one iteration of prefill."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat, starmap
from typing import Any, cast

import numpy as np
from services import Path
from support.cases import engine, stub_cost
from support.laws import ConstantLaw, TokenLaw
from support.sources import ListSource, LoopSource, at

from ctxsim.cost import CostModel, Law
from ctxsim.sim.cluster import Cluster
from ctxsim.sim.journal import Journal
from ctxsim.spec.scenario import Scenario
from ctxsim.workload.demand import Source

SECONDS_PER_TOKEN = 1e-8
"""A service of a second is a prompt of a hundred million tokens: to the nearest token, 5 ns off at most."""
UNLIMITED_TOKENS = 10**12


@dataclass(frozen=True)
class Visits:
    """What was simulated of each request of a path, by number; services are what its tokens took."""

    path: Path
    wait_s: np.ndarray
    sojourn_s: np.ndarray
    end_s: np.ndarray
    replica: np.ndarray
    journal: Journal

    @property
    def arrival_s(self) -> np.ndarray:
        """When each came."""
        return self.path.arrival_s

    @property
    def service_s(self) -> np.ndarray:
        """How long each took alone."""
        return self.path.service_s

    def number_in_system(self, at_s: np.ndarray) -> np.ndarray:
        """How many have come and not ended at each of these times."""
        ended = np.searchsorted(np.sort(self.end_s), at_s, side="right")
        return np.asarray(np.searchsorted(self.arrival_s, at_s, side="right") - ended)

    def mean_number(self) -> float:
        """The mean over the time of the path of the number in the system."""
        until_s = self.path.until_s
        return float(np.sum(np.minimum(self.end_s, until_s) - self.arrival_s)) / until_s


def servers(replicas: int = 1, **knobs: Any) -> Scenario:
    """A scenario of single servers; ``knobs``: of its serving and deployment."""
    scenario = engine(max_num_seqs=1, max_num_batched_tokens=UNLIMITED_TOKENS, replicas=replicas)
    deployment = {"router": knobs.pop("router", "round_robin")}
    return replace(
        scenario,
        serving=scenario.serving.model_copy(update={"max_model_len": UNLIMITED_TOKENS, **knobs}),
        deployment=scenario.deployment.model_copy(update=deployment),
    )


def run(scenario: Scenario, source: Source, law: Law) -> Journal:
    """Serves it all in a pool with room for everything."""
    cost = cast(CostModel, stub_cost(law=law, capacity_bytes=float(UNLIMITED_TOKENS)))
    return Cluster(scenario, cost, source).run()


def serve(path: Path, scenario: Scenario | None = None) -> Visits:
    """Requests without output, of as many tokens as take their service time."""
    tokens = np.maximum(1, np.rint(path.service_s / SECONDS_PER_TOKEN)).astype(int)
    lengths = zip(tokens.tolist(), repeat(0))
    law = TokenLaw(SECONDS_PER_TOKEN)
    return _serve(replace(path, service_s=tokens * SECONDS_PER_TOKEN), lengths, scenario or servers(), law)


def serve_steps(path: Path, scenario: Scenario, step_s: float) -> Visits:
    """Requests of as many iterations as take their service time at ``step_s`` each, whatever runs in them: the first
    is for a prompt of one token."""
    steps = np.rint(path.service_s / step_s).astype(int)
    lengths = zip(repeat(1), steps.tolist())
    return _serve(replace(path, service_s=steps * step_s), lengths, scenario, ConstantLaw(step_s))


def _serve(path: Path, lengths: Iterable[tuple[int, int]], scenario: Scenario, law: Law) -> Visits:
    arrivals = zip(path.arrival_s.tolist(), lengths, strict=False)
    journal = run(scenario, ListSource([at(t, *tokens, index=i) for i, (t, tokens) in enumerate(arrivals)]), law)
    requests = journal.requests.table()
    order = np.argsort(requests["request"])
    assert len(order) == len(path.arrival_s)
    return Visits(path, *(requests[name][order] for name in ("queue_s", "e2e_s", "finished_s", "replica")), journal)


@dataclass(frozen=True)
class Rounds:
    """What users and replicas did until the horizon: for each user and turn, arrival, start and end; and the time in
    which replicas were busy, summed over them."""

    visits: dict[tuple[int, int], tuple[float, ...]]
    busy_s: float


def serve_users(users: Sequence[Iterator[tuple[float, float]]], scenario: Scenario, horizon_s: float) -> Rounds:
    """Users of endless think and service times, whose next thought begins when they are served."""
    scenario = replace(scenario, run=scenario.run.model_copy(update={"horizon": horizon_s}))
    source = LoopSource([starmap(_in_tokens, user) for user in users])
    journal = run(scenario, source, TokenLaw(SECONDS_PER_TOKEN))
    names = ("session", "turn", "arrival_s", "admitted_s", "finished_s")
    visits = {
        (session, turn): tuple(times)
        for session, turn, *times in zip(*(journal.requests[name].tolist() for name in names), strict=True)
    }
    start_s = journal.runs["start_s"]
    end_s = start_s + journal.runs["first_s"] * journal.runs["iterations"]
    busy_s = np.minimum(end_s, horizon_s) - np.minimum(start_s, horizon_s)
    return Rounds(visits, float(np.sum(busy_s)))


def in_tokens(service_s: float) -> float:
    """The time that the nearest number of tokens takes."""
    return _in_tokens(0.0, service_s)[1] * SECONDS_PER_TOKEN


def _in_tokens(think_s: float, service_s: float) -> tuple[float, int, int]:
    return think_s, max(1, round(service_s / SECONDS_PER_TOKEN)), 0
