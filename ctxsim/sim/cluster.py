"""All replicas of a scenario, fed by its workload, run until the last request is done."""

from __future__ import annotations

from collections.abc import Callable, Generator
from math import inf
from typing import Any, Literal

import simpy

from ctxsim.cost import CostModel, Law
from ctxsim.engine import ROUTERS, SCHEDULERS, EngineCore, IncrementalBatch, Limits, PlainBatch
from ctxsim.errors import InfeasibleError
from ctxsim.sim.journal import Journal, ServedRequest
from ctxsim.sim.jump import ARRIVAL_MOMENT_S, COMPLETION_MOMENT_S
from ctxsim.sim.moment import Moment
from ctxsim.sim.replica import Completion, Replica
from ctxsim.spec.scenario import Scenario
from ctxsim.workload.demand import Demand, Source

MOST_REJECTIONS = 100_000

Stepping = Literal["macro", "single"]
Progress = Callable[[int], None]
BATCHES: dict[Stepping, type[IncrementalBatch] | type[PlainBatch]] = {"macro": IncrementalBatch, "single": PlainBatch}


class Cluster:
    """Replicas, a router and a source of requests in one SimPy environment.

    Requests that can never be served (longer than max_model_len, or than the whole KV pool) are rejected on arrival, as
    a server would, and written down. Nothing arrives at or after the horizon; what has arrived is served to the end.
    """

    def __init__(
        self, scenario: Scenario, cost: CostModel, source: Source, *, stepping: Stepping = "macro",
        law: Law | None = None, keep_history: bool = False, progress: Progress | None = None,
    ) -> None:  # fmt: skip
        self.journal = Journal(keep_history)
        self._env = simpy.Environment()
        self._source = source
        self._progress = progress
        self._max_tokens = scenario.max_model_len
        self._horizon_s = inf if scenario.run.horizon is None else scenario.run.horizon
        self._outstanding = 0
        self._drained = self._env.event()
        replicas = scenario.deployment.replicas
        self._rejected_in_a_row = 0
        self._pass_on: Callable[[Demand], None] = self._arrive
        self._on_completion: Completion = self._end
        if source.releases:
            # Times are sums of what was served before: those that are equal but for rounding keep a fixed order.
            self._pass_on = Moment[Demand](self._env, ARRIVAL_MOMENT_S, lambda d: d.index, self._arrive).add
            ending = Moment[ServedRequest](self._env, COMPLETION_MOMENT_S, lambda r: r.replica, self._end)
            self._on_completion = ending.add
        self._router = ROUTERS[scenario.deployment.router](replicas)
        self.replicas = [self._replica(i, scenario, cost, stepping, law) for i in range(replicas)]

    def run(self) -> Journal:
        """Serves everything; returns the journal."""
        self._env.process(self._arrivals())
        self._env.run(until=self._drained)
        return self.journal

    def _replica(
        self, number: int, scenario: Scenario, cost: CostModel, stepping: Stepping, law: Law | None
    ) -> Replica:
        serving = scenario.serving
        limits = Limits(serving.max_num_seqs, serving.max_num_batched_tokens, cost.memory.kv_capacity_bytes)
        core = EngineCore(limits, cost.layout, BATCHES[stepping](cost.spans, cost.layout))
        scheduler = SCHEDULERS[serving.scheduler]()
        return Replica(
            self._env,
            number,
            core,
            scheduler,
            law or cost.law,
            self.journal,
            self._on_completion,
            self._source.releases,
        )

    def _arrivals(self) -> Generator[simpy.Event, Any, None]:
        """Hands over the open-loop requests in order; requests of one instant come together."""
        self._outstanding += 1
        for demand in self._source.initial():
            if demand.arrival_s >= self._horizon_s:
                break
            if demand.arrival_s > self._env.now:
                yield self._env.timeout(demand.arrival_s - self._env.now)
            self._send(demand)
        self._settle()

    def _send(self, demand: Demand) -> None:
        """A request sets out now."""
        self._outstanding += 1
        self._pass_on(demand)

    def _arrive(self, demand: Demand) -> None:
        self.journal.arrivals += 1
        replica = self.replicas[self._router.route(demand.session)]
        request = ServedRequest(demand, replica.number)
        too_long = demand.prompt_tokens + demand.output_tokens > self._max_tokens
        if too_long or not replica.core.fits_alone(request):
            self._reject(demand)
        else:
            self._rejected_in_a_row = 0
            replica.deliver(request)

    def _reject(self, demand: Demand) -> None:
        """The request is refused; where nothing but refusals follows, users who do not think would go on for ever."""
        self.journal.rejected.append(demand)
        self._rejected_in_a_row += 1
        if self._rejected_in_a_row > MOST_REJECTIONS and self._source.releases:
            raise InfeasibleError(f"the last {MOST_REJECTIONS:,} requests are all longer than a replica can ever serve")
        self._follow(demand, demand.arrival_s)
        self._settle()

    def _end(self, request: ServedRequest) -> None:
        self._follow(request.demand, request.finished_s)
        self._settle()
        if self._progress is not None:
            self._progress(len(self.journal.finished))

    def _follow(self, demand: Demand, finished_s: float) -> None:
        """The end of one request may release the next of its user, at once or after its think time."""
        released = self._source.after(demand, finished_s)
        if released is None or released.arrival_s >= self._horizon_s:
            return
        delay_s = released.arrival_s - self._env.now
        if delay_s <= 0:
            self._send(released)
            return
        self._outstanding += 1
        event = self._env.timeout(delay_s)
        event.callbacks.append(lambda _: self._come(released))

    def _come(self, demand: Demand) -> None:
        """The wait for a request is over: it sets out."""
        self._send(demand)
        self._settle()

    def _settle(self) -> None:
        """One thing less to wait for."""
        self._outstanding -= 1
        if not self._outstanding:
            self._drained.succeed()
