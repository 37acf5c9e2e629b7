"""The state of one serving engine, and what becomes of it when an iteration has run."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from ctxsim.engine.cache import ROUNDING_BYTES, KvCache
from ctxsim.engine.decoding import Chunk, DecodeBatch
from ctxsim.engine.queues import Fifo, Queue
from ctxsim.engine.request import Request
from ctxsim.engine.tiers import Move
from ctxsim.geometry import UNBOUNDED, KvLayout


@dataclass(slots=True)
class Limits:
    """An engine's settings: sequences at once, tokens an iteration, bytes of KV blocks."""

    max_num_seqs: int
    max_num_batched_tokens: int
    kv_capacity_bytes: float


class Plan:
    """What the next iteration runs: these chunks of prefill and, if ``decoding``, all sequences that decode.

    repeats: how often this very plan can run in a row if nothing else happens. open: whether an arrival would change
    it. admitted, preempted, paused, resumed: what the scheduler did to get here. let_go: whether a request was let go
    that this engine was making room for: another one may take it.
    """

    __slots__ = ("admitted", "chunks", "decoding", "let_go", "open", "paused", "preempted", "repeats", "resumed")

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.decoding = True
        self.repeats = UNBOUNDED
        self.open = True
        self.let_go = False
        self.admitted: list[Request] = []
        self.preempted: list[Request] = []
        self.paused: list[Request] = []
        self.resumed: list[Request] = []


class Outcome:
    """What a run of iterations brought: requests with a first token, and requests that finished, oldest first.

    At its end, before the finished ones let go of theirs: serving_bytes, HBM of KV blocks of requests being served;
    idle_bytes, what no request holds or can use yet.
    """

    __slots__ = ("finished", "idle_bytes", "serving_bytes", "started")

    def __init__(self, serving_bytes: float, idle_bytes: float, finished: list[Request]) -> None:
        self.serving_bytes = serving_bytes
        self.idle_bytes = idle_bytes
        self.started: list[Request] = []
        self.finished = finished


class EngineCore:
    """Queues, batch and KV pool of one replica.

    waiting: not yet looked at, perhaps the same queue for several replicas; held: newcomers that the residency policy
    keeps waiting, first come first. running: admitted requests, oldest first, each of which is one of: fetching (its KV
    is being swapped in), prefilling, decoding (in ``decodes``), or paused with the tokens it has stored (its next block
    is being made free).
    tried: the first of the queue when it had to wait last, and the holdings' version then; claimant: the one of the
    queue that holds its prefix while room is being made for it.
    own_bytes: blocks of running requests that are theirs alone; the other blocks are the cache's. A prompt's blocks
    are all taken at admission, so that a half-computed prompt never runs dry.
    """

    def __init__(
        self, limits: Limits, layout: KvLayout, decodes: DecodeBatch, cache: KvCache | None = None,
        waiting: Queue | None = None, shares_queue: bool = False,
    ) -> None:  # fmt: skip
        self.limits = limits
        self.layout = layout
        self.decodes = decodes
        self.cache = cache or KvCache(layout)
        self.holdings = self.cache.holdings
        self.waiting: Queue = Fifo() if waiting is None else waiting
        self.shares_queue = shares_queue
        self.held: deque[Request] = deque()
        self.held_version = -1
        self.tried: tuple[Request | None, int] = (None, -1)
        self.claimant: Request | None = None
        self.running: dict[Request, None] = {}
        self.fetching: dict[Request, None] = {}
        self.prefilling: dict[Request, None] = {}
        self.paused: dict[Request, int] = {}
        self.own_bytes = 0.0

    @property
    def used_bytes(self) -> float:
        """HBM of KV blocks that are taken, by requests or by what is kept for later."""
        return self.own_bytes + self.holdings.hbm_bytes

    @property
    def serving_bytes(self) -> float:
        """HBM of KV blocks of requests being served, without what is still on its way in."""
        holdings = self.holdings
        return self.own_bytes + holdings.hbm_bytes - (holdings.idle_bytes + holdings.arriving_bytes)

    @property
    def free_bytes(self) -> float:
        """Bytes of KV blocks not taken."""
        return self.limits.kv_capacity_bytes - self.own_bytes - self.holdings.hbm_bytes

    @property
    def seats(self) -> int:
        """How many requests more may run."""
        return self.limits.max_num_seqs - len(self.running)

    def decoding(self) -> list[Request]:
        """The running requests that are in the batch of decodes, oldest first."""
        others = (self.fetching, self.prefilling, self.paused)
        return [request for request in self.running if not any(request in other for other in others)]

    def fits_alone(self, request: Request) -> bool:
        """Whether the request could finish with the whole pool to itself."""
        return self.layout.footprint_bytes(request.largest_context) <= self.limits.kv_capacity_bytes

    @property
    def takes_arrivals(self) -> bool:
        """Whether a request that came now might run: there is a seat, and nobody waits before it.

        Of a queue that replicas share, another may take the first.
        """
        return self.seats > 0 and (self.shares_queue or not self.waiting)

    def start(self, request: Request) -> None:
        """A claimed request, out of its queue and with room made for it, runs from now on."""
        self.own_bytes += self.cache.admit(request)
        self.running[request] = None
        if request.pending:
            self.fetching[request] = None
        else:
            self.prefilling[request] = None

    def finish_move(self, move: Move) -> list[Request]:
        """A copy between tiers has ended; returns the requests whose KV is complete with it."""
        ready = self.holdings.finish(move)
        for request in ready:
            del self.fetching[request]
            self.prefilling[request] = None
        return ready

    def pause(self, request: Request) -> None:
        """A decoding request makes no tokens until its next block is free."""
        self.paused[request] = self.decodes.remove(request)

    def resume(self, request: Request) -> None:
        """A paused request decodes again."""
        self.decodes.add(request, self.paused.pop(request))

    def preempt(self, request: Request) -> None:
        """A running request goes back to the head of the queue; what it has computed is swapped out or dropped."""
        del self.running[request]
        if request in self.prefilling:
            del self.prefilling[request]
            stored, held = request.computed_tokens, request.prefill_tokens
        elif request in self.paused:
            stored = held = self.paused.pop(request)
        else:
            stored = held = self.decodes.remove(request)
        offload = request.hashes is None and self.cache.offloads_running(request, stored)
        self.own_bytes -= self.cache.release(request, held, stored if offload else 0)
        if offload:
            request.known_tokens = max(request.known_tokens, stored)
            self.cache.offload_idle(request.session)
        request.preempt(stored)
        self.weigh(request)
        self.unclaim()
        self.waiting.put_back(request)

    def weigh(self, request: Request) -> None:
        """How much of a request is left to compute, before it is queued where that counts."""
        if self.waiting.by_work and not self.shares_queue:
            request.queued_tokens = request.prefill_tokens - self.holdings.tree.kept_tokens(request)

    def unclaim(self) -> bool:
        """Who waits while room is being made lets go of the prefix it holds; returns whether there was someone."""
        request, self.claimant = self.claimant, None
        if request is not None:
            self.cache.unclaim(request)
        return request is not None

    def advance(self, plan: Plan, iterations: int) -> Outcome:
        """The plan has run that many times in a row; returns what came of it."""
        finished: list[Request] = []
        if plan.chunks and iterations > 1:
            # What was computed before the last of them is there before that one displaces what it needs, and before
            # those who end with it leave theirs.
            if plan.decoding:
                self.displace(iterations - 1)
            self._share(plan, iterations - 1)
        if plan.decoding:
            self.own_bytes += self.displace(iterations)
            finished = self.decodes.advance(iterations)
        outcome = Outcome(self.serving_bytes, self.holdings.unused_bytes, finished)
        for request in finished:
            self._release(request, request.largest_context)
        self._share(plan, 1)
        for request, _ in plan.chunks:
            if request.computed_tokens == request.prefill_tokens:
                self._end_prefill(request, outcome)
        return outcome

    def displace(self, iterations: int) -> float:
        """Idle KV makes room for what decoding sequences take in so many iterations; returns how much that is."""
        demand_bytes = self.decodes.demand_bytes(iterations)
        excess_bytes = demand_bytes - self.free_bytes
        if excess_bytes > ROUNDING_BYTES:
            self.cache.drop_oldest(excess_bytes)
        return demand_bytes

    def _share(self, plan: Plan, iterations: int) -> None:
        """So many more chunks of prompts are computed."""
        for request, tokens in plan.chunks:
            request.computed_tokens += tokens * iterations
            if request.hashes is not None:
                self.own_bytes -= self.cache.share(request, request.computed_tokens)

    def _end_prefill(self, request: Request, outcome: Outcome) -> None:
        del self.prefilling[request]
        if request.output_tokens:
            request.generated_tokens += 1
        outcome.started.append(request)
        if request.generated_tokens == request.output_tokens:
            outcome.finished.append(request)
            self._release(request, request.prefill_tokens)
        else:
            self.decodes.add(request, request.prefill_tokens)

    def _release(self, request: Request, tokens: int) -> None:
        del self.running[request]
        self.own_bytes -= self.cache.release(request, tokens, 0 if request.last else tokens)
        if request.last:
            self.cache.forget(request.session)
        elif self.held:
            self._call_back(request.session)

    def _call_back(self, session: int) -> None:
        """Of the held, those whose session has KV now are newcomers no longer."""
        called = [request for request in self.held if request.session == session]
        for request in reversed(called):
            if request.home is not None:
                self.cache.unclaim(request)
            self.held.remove(request)
            self.waiting.put_back(request)
