"""All replicas of a scenario, fed by its workload, run until the last request is done."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from math import inf
from pathlib import Path
from typing import Any, Literal

import simpy

from ctxsim.cost import CostModel, Law
from ctxsim.cost.topology import Fabric
from ctxsim.engine import SCHEDULERS, IncrementalBatch, PlainBatch
from ctxsim.errors import InfeasibleError
from ctxsim.metrics import Upkeep
from ctxsim.sim.charges import Charges
from ctxsim.sim.dispatch import CENTRAL, Dispatch, make_dispatch
from ctxsim.sim.journal import Journal, ServedRequest
from ctxsim.sim.jump import ARRIVAL_MOMENT_S, COMPLETION_MOMENT_S, PLANNING_DELAY_S, TURN_MOMENT_S
from ctxsim.sim.ledger import total
from ctxsim.sim.links import Links
from ctxsim.sim.moment import Moment
from ctxsim.sim.quotes import NextUses
from ctxsim.sim.recorded import Recorded
from ctxsim.sim.station import Site, Station
from ctxsim.spec.scenario import Scenario
from ctxsim.workload.demand import Demand, Source

MOST_REJECTIONS = 100_000

Stepping = Literal["macro", "single"]
Progress = Callable[[int], None]
BATCHES: dict[Stepping, type[IncrementalBatch] | type[PlainBatch]] = {"macro": IncrementalBatch, "single": PlainBatch}


class Cluster:
    """Replicas, what hands requests to them, and a source of requests in one SimPy environment.

    Requests that can never be served (longer than max_model_len, or than the whole KV pool) are rejected on arrival, as
    a server would, and written down. Nothing arrives at or after the horizon; what has arrived is served to the end.
    others: further kinds of replicas, numbered after the scenario's own. hash_tokens: of one hash of a prompt's block.
    """

    def __init__(
        self, scenario: Scenario, cost: CostModel, source: Source, *, stepping: Stepping = "macro",
        law: Law | None = None, keep_history: bool = False, progress: Progress | None = None,
        others: Sequence[tuple[Scenario, CostModel]] = (), hash_tokens: int = 0, spool: Path | None = None,
    ) -> None:  # fmt: skip
        self.journal = Journal(len(cost.spans), keep_history, spool)
        self.releases = source.releases
        self.next_uses = NextUses()
        self.charges = Charges()
        self._env = simpy.Environment()
        self._source = source
        self._progress = progress
        self._max_tokens = scenario.max_model_len
        self._caching = scenario.serving.enable_prefix_caching
        self._horizon_s = inf if scenario.run.horizon is None else scenario.run.horizon
        self._outstanding = 0
        self._last_s = 0.0
        self._drained = self._env.event()
        self._rejected_in_a_row = 0
        self._ended_s: dict[int, float] = {}
        self._pass_on: Callable[[Demand], None] = self._arrive
        self.completed: Callable[[ServedRequest], None] = self._end
        if source.releases:
            # Times are sums of what was served before: those that are equal but for rounding keep a fixed order.
            self._pass_on = Moment[Demand](self._env, ARRIVAL_MOMENT_S, lambda d: d.index, self._arrive).add
            ending = Moment[ServedRequest](self._env, COMPLETION_MOMENT_S, lambda r: r.replica, self._end)
            self.completed = ending.add
        self._turns = Moment[tuple[int, simpy.Event]](
            self._env, TURN_MOMENT_S, lambda turn: turn[0], lambda turn: turn[1].succeed()
        )
        # Replicas at one boundary may have planned or not: all let go at the one after.
        self._recorded = Recorded(lambda session: self._leave(session, self._env.now + PLANNING_DELAY_S))
        self.stations: list[Station] = []
        self._links: list[Links] = []
        self._replicas = [kind.deployment.replicas for kind in (scenario, *(other for other, _ in others))]
        self.journal.on_cut = self._cut
        self._dispatch = self._open([(scenario, cost), *others], stepping, law, hash_tokens)

    def run(self) -> Journal:
        """Serves everything; returns the journal."""
        self._env.process(self._arrivals())
        self._env.run(until=self._drained)
        for station in self.stations:
            station.close(self._last_s)
        return self.journal

    def link_busy_s(self) -> float:
        """Seconds in which a copy over a host link was under way, summed over replicas."""
        return sum(sum(links.replica_busy_s(self._env.now)) for links in self._links)

    def upkeep(self) -> list[Upkeep]:
        """What each kind of replicas held and waited for, kind after kind, summed over its replicas."""
        found, first = [], 0
        for replicas in self._replicas:
            found.append(Upkeep.total([s.ledger.upkeep() for s in self.stations[first : first + replicas]]))
            first += replicas
        return found

    def gap_costs(self) -> dict[str, float | int | None]:
        """What the gaps between turns cost (see ledger), and the contention-free bound where gaps are known."""
        return total([station.ledger.close() for station in self.stations])

    def turn(self, station: Station) -> simpy.Event:
        """See station.Users."""
        turn = self._env.event()
        self._turns.add((station.replica.number, turn))
        return turn

    def queue_moved(self, station: Station) -> None:
        """See station.Users. Those at the same boundary that have had their turn look again at their next one."""
        for other in self.stations:
            if other is not station:
                had_its_turn = other.replica.number < station.replica.number
                other.replica.look_again(station.now_s() + (PLANNING_DELAY_S if had_its_turn else 0.0))

    def _open(
        self, kinds: Sequence[tuple[Scenario, CostModel]], stepping: Stepping, law: Law | None, hash_tokens: int
    ) -> Dispatch:
        """Sets up the replicas of every kind, and what hands requests to them."""
        first = kinds[0][0]
        router = first.deployment.router
        queue = SCHEDULERS[first.serving.scheduler]().queue() if router == CENTRAL else None
        for scenario, cost in kinds:
            number = len(self.stations)
            links = Links(self._env, Fabric.of(scenario), self._rate_changed(number))
            self._links.append(links)
            site = Site(scenario, cost, links, number, law)
            for _ in range(scenario.deployment.replicas):
                decodes = BATCHES[stepping](cost.spans, cost.layout)
                station = Station(self._env, len(self.stations), site, decodes, self.journal, self, queue, hash_tokens)
                self.stations.append(station)
        return make_dispatch(self._env, router, self.stations, queue)

    def _cut(self) -> None:
        for station in self.stations:
            station.replica.stays.cut()

    def _rate_changed(self, first: int) -> Callable[[int, float], None]:
        return lambda replica, at_s: self.stations[first + replica].rate_changed(at_s)

    def _arrivals(self) -> Generator[simpy.Event, Any, None]:
        """Hands over the open-loop requests in order; requests of one instant come together."""
        self._outstanding += 1
        for demand in self._source.initial():
            if demand.arrival_s >= self._horizon_s:
                self._recorded.cut()
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
        if not self.releases:
            self._recorded.came(demand)
        request = ServedRequest(demand, self._caching)
        ended_s = self._ended_s.pop(demand.session, None)
        if ended_s is not None and demand.hashes is None and self._recorded.is_alone(demand.session):
            request.gap_s = max(0.0, demand.arrival_s - ended_s)
        too_long = demand.prompt_tokens + demand.output_tokens > self._max_tokens
        if too_long or not self._dispatch.send(request):
            self._reject(demand)
        else:
            self._rejected_in_a_row = 0
            if demand.turn:
                self.next_uses.asking.add(demand.session)

    def _reject(self, demand: Demand) -> None:
        """The request is refused; where nothing but refusals follows, users who do not think would go on for ever."""
        self.journal.rejected.append(demand)
        self._rejected_in_a_row += 1
        if self._rejected_in_a_row > MOST_REJECTIONS and self._source.releases:
            raise InfeasibleError(f"the last {MOST_REJECTIONS:,} requests are all longer than a replica can ever serve")
        self._follow(demand, demand.arrival_s, served=False)
        self._settle()

    def _end(self, request: ServedRequest) -> None:
        self._last_s = max(self._last_s, request.finished_s)
        if not request.last:
            self._ended_s[request.session] = request.finished_s
        self._follow(request.demand, request.finished_s, served=True)
        self._settle()
        if self._progress is not None:
            self._progress(len(self.journal.requests))

    def _follow(self, demand: Demand, finished_s: float, served: bool) -> None:
        """The end of one request may release the next of its user, at once or after its think time."""
        released = [d for d in self._source.after(demand, finished_s) if d.arrival_s < self._horizon_s]
        for following in released:
            self._release(following)
        if not self.releases:
            self._recorded.went(demand)
        elif demand.turn or not demand.last:
            next_turn = next((d for d in released if d.session == demand.session), None)
            if next_turn is not None:
                self.next_uses.at_s[demand.session] = next_turn.arrival_s
            else:
                self._leave(demand.session, finished_s, everywhere=not (served and demand.last))

    def _leave(self, session: int, at_s: float, everywhere: bool = True) -> None:
        """The session is over, wherever it has left KV; where its last turn was served, it has left none."""
        self.next_uses.at_s.pop(session, None)
        self._ended_s.pop(session, None)
        if everywhere or len(self.stations) > 1:
            for station in self.stations:
                station.replica.forget(session, at_s)

    def _release(self, demand: Demand) -> None:
        delay_s = demand.arrival_s - self._env.now
        if delay_s <= 0:
            self._send(demand)
            return
        self._outstanding += 1
        event = self._env.timeout(delay_s)
        event.callbacks.append(lambda _: self._come(demand))

    def _come(self, demand: Demand) -> None:
        """The wait for a request is over: it sets out."""
        self._send(demand)
        self._settle()

    def _settle(self) -> None:
        """One thing less to wait for."""
        self._outstanding -= 1
        if not self._outstanding:
            self._drained.succeed()
