"""One replica in its place: its engine with cache and policy, its links, its prices, and whom it serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import simpy

from ctxsim.cost import CostModel, Law
from ctxsim.cost.memory import store_bytes
from ctxsim.cost.money import replica_usd_per_s
from ctxsim.cost.transfers import CopySetup
from ctxsim.engine import (
    HBM,
    RESIDENCIES,
    SCHEDULERS,
    DecodeBatch,
    EngineCore,
    KvCache,
    Limits,
    Move,
    Queue,
    Request,
    Tiers,
)
from ctxsim.sim.charges import Charges
from ctxsim.sim.journal import Journal, ServedRequest
from ctxsim.sim.ledger import Held, Ledger, Rest
from ctxsim.sim.links import Copy, Links
from ctxsim.sim.quotes import NextUses, ReplicaQuotes
from ctxsim.sim.replica import Replica
from ctxsim.spec.scenario import Scenario

MOST_LAWS = 64


class Users(Protocol):
    """Whom replicas serve."""

    releases: bool
    next_uses: NextUses
    charges: Charges

    def completed(self, request: ServedRequest) -> None:
        """A request has all its tokens."""
        ...

    def turn(self, station: Station) -> simpy.Event:
        """Comes when it is the replica's turn to plan, of those that share a queue."""
        ...

    def queue_moved(self, station: Station) -> None:
        """A replica has taken a request out of the queue that all share, or put one back."""
        ...


@dataclass(frozen=True)
class Site:
    """Replicas of one kind: their scenario and costs, the links between their nodes' tiers, and the first's number.

    law: takes the place of the cost model's, whatever is copied.
    """

    scenario: Scenario
    cost: CostModel
    links: Links
    first: int
    law: Law | None = None


class Station:
    """A replica and what it asks of what is around it (see sim.surroundings)."""

    def __init__(
        self, env: simpy.Environment, number: int, site: Site, decodes: DecodeBatch, journal: Journal, users: Users,
        waiting: Queue | None, hash_tokens: int,
    ) -> None:  # fmt: skip
        scenario, cost, serving = site.scenario, site.cost, site.scenario.serving
        self.releases = users.releases
        self.undisturbed = site.cost.law if site.law is None else site.law
        self._site = site
        self._local = number - site.first
        self._users = users
        self._journal = journal
        self._setup = CopySetup(scenario)
        self._laws: dict[float, Law] = {}
        self._copy_bytes_per_s = 0.0
        self._moves: dict[Move, None] = {}
        scheduler = SCHEDULERS[serving.scheduler]()
        quotes = ReplicaQuotes(scenario, cost, site.links, self._local, self.now_s, users.next_uses)
        host_bytes, disk_bytes = store_bytes(scenario)
        tiers = Tiers(host_bytes, disk_bytes, serving.host_tier == "inclusive")
        self.ledger = Ledger(quotes, users.charges, replica_usd_per_s(scenario))
        policy = RESIDENCIES[serving.residency](quotes)
        cache = KvCache(cost.layout, policy, tiers, hash_tokens, self.now_s, self.ledger.keeps)
        limits = Limits(serving.max_num_seqs, serving.max_num_batched_tokens, cost.memory.kv_capacity_bytes)
        queue = scheduler.queue() if waiting is None else waiting
        core = EngineCore(limits, cost.layout, decodes, cache, queue, shares_queue=waiting is not None)
        self.replica = Replica(env, number, core, scheduler, journal, self)

    @property
    def core(self) -> EngineCore:
        """Its engine."""
        return self.replica.core

    @property
    def outstanding(self) -> int:
        """See engine.routers.Load."""
        return self.replica.outstanding

    def kept_tokens(self, request: Request) -> int:
        """See engine.routers.Load."""
        self.replica.catch_up()
        return self.core.cache.holdings.tree.kept_tokens(request)

    def waiting_tokens(self) -> int:
        """See engine.routers.Load."""
        return self.replica.waiting_tokens

    def now_s(self) -> float:
        """The replica's clock."""
        return self.replica.clock_s

    def completed(self, request: ServedRequest) -> None:
        """See sim.surroundings."""
        self._users.completed(request)

    def admitted(self, request: ServedRequest) -> None:
        """See sim.surroundings."""
        if self.core.shares_queue and self.core.waiting:
            self._users.queue_moved(self)
        if request.demand.turn:
            self._users.next_uses.asking.discard(request.session)
        if request.demand.reusable_tokens:
            known = request.demand.reusable_tokens
            size = self._site.cost.layout.block_size
            kept_bytes = self._site.cost.layout.extent_bytes(0, known // size * size)
            self.ledger.admitted(request, kept_bytes)

    def turn(self) -> simpy.Event | None:
        """See sim.surroundings."""
        return self._users.turn(self) if self.core.shares_queue else None

    def put_back(self) -> None:
        """See sim.surroundings."""
        if self.core.shares_queue:
            self._users.queue_moved(self)

    def send(self, move: Move, computes: bool) -> None:
        """See sim.surroundings."""
        blocks = -(-move.tokens // self._site.cost.layout.block_size)
        copy = Copy(
            self._local,
            move.source,
            move.target,
            move.moved_bytes,
            self._setup.descriptors(blocks),
            self._setup.seconds(move.source, blocks, move.moved_bytes if computes else 0.0),
            lambda ended: self.replica.copied(ended, move),
        )
        self._moves[move] = None
        if HBM in (move.source, move.target):
            self.ledger.sent(move)
        self._site.links.order(copy, self.replica.clock_s)

    def ended(self, move: Move) -> None:
        """See sim.surroundings."""
        del self._moves[move]
        if HBM in (move.source, move.target):
            self.ledger.ended(move)

    def ran(self, slowed_s: float) -> None:
        """See sim.surroundings."""
        self.ledger.ran(self.replica.clock_s, slowed_s)

    def law(self) -> Law:
        """See sim.surroundings."""
        rate = self._copy_bytes_per_s
        if self._site.law is not None or not rate:
            return self.undisturbed
        law = self._laws.get(rate)
        if law is None:
            if len(self._laws) >= MOST_LAWS:
                self._laws.clear()
            law = self._laws[rate] = self._site.cost.law_beside(rate)
        return law

    def rate_changed(self, at_s: float) -> None:
        """Its copies take another share of the HBM bandwidth from now on."""
        self._copy_bytes_per_s = self._site.links.copy_bytes_per_s(self._local)
        self.replica.rate_changed(at_s)

    def tally(self, held: Held) -> None:
        """See sim.surroundings."""
        self.ledger.tally(self.replica.clock_s, held)

    def rested(self, rest: Rest) -> None:
        """See sim.surroundings."""
        self.ledger.rested(rest)

    def close(self, end_s: float) -> None:
        """Nothing more is asked of the replica: it rests, as it is, up to ``end_s``, the end of the last request."""
        if self.replica.clock_s < end_s:
            self.ledger.rested(Rest(self.replica.clock_s, end_s, self.replica.held(), waited=False))
        self.ledger.end(end_s)
        self.core.cache.holdings.close(self._moves)
        self.ledger.settle()
