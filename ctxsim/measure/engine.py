"""A serving engine in torch: the decisions of ctxsim.engine, a real model, real copies and the wall clock.

Scheduler, admission, KV accounts, residency and the order of copies are the simulator's own code; what the simulator
prices is computed here. One iteration at a time; its tokens are on the host before the next is planned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import cast

from ctxsim.engine import SCHEDULERS, EngineCore, Outcome, Plan, Request
from ctxsim.errors import CtxsimError
from ctxsim.measure.clock import Clock
from ctxsim.measure.sequences import Sequences
from ctxsim.measure.serving_kv import ServedKv
from ctxsim.measure.serving_rows import Held, Tables, TimedRequest
from ctxsim.measure.swapping import Copied
from ctxsim.measure.transformer import Segment, Transformer
from ctxsim.spec.scenario import Scenario
from ctxsim.workload.demand import Demand, Source

Progress = Callable[[int], None]
"""Is told how many requests are finished."""


class Users:
    """Who sends requests and when, until the horizon."""

    def __init__(self, source: Source, horizon_s: float) -> None:
        self._source = source
        self._horizon_s = horizon_s
        self._initial = source.initial()
        self._order = count()
        self._coming: list[tuple[float, int, bool, Demand]] = []
        self._await_initial()

    @property
    def next_s(self) -> float:
        """When the next request comes; infinite where none will."""
        return self._coming[0][0] if self._coming else inf

    def come(self, now_s: float) -> Demand | None:
        """The next request, if it has come by now."""
        if self.next_s > now_s:
            return None
        _, _, initial, demand = heappop(self._coming)
        if initial:
            self._await_initial()
        return demand

    def answered(self, demand: Demand, at_s: float) -> bool:
        """A request is answered, or refused; returns whether its session goes on."""
        following = [d for d in self._source.after(demand, at_s) if d.arrival_s < self._horizon_s]
        for later in following:
            self._await(later, initial=False)
        return any(later.session == demand.session for later in following)

    def _await_initial(self) -> None:
        """There may be endlessly many that wait for no answer: the next one is made when the one before has come."""
        demand = next(self._initial, None)
        if demand is not None and demand.arrival_s < self._horizon_s:
            self._await(demand, initial=True)

    def _await(self, demand: Demand, initial: bool) -> None:
        heappush(self._coming, (demand.arrival_s, next(self._order), initial, demand))


class Server:
    """Serves users on one device.

    tables: what has happened so far. iterations, rejected: passes of the model, and requests that could never be
    served. What has arrived is served to the end.
    """

    def __init__(
        self, scenario: Scenario, users: Users, model: Transformer, core: EngineCore, clock: Clock, tables: Tables,
        progress: Progress | None = None,
    ) -> None:  # fmt: skip
        self.tables = tables
        self.iterations = 0
        self.rejected = 0
        self.sequences = Sequences(scenario.model.vocab_size, scenario.run.seed)
        self._users = users
        self._model = model
        self._core = core
        self._clock = clock
        self._progress = progress
        self._scheduler = SCHEDULERS[scenario.serving.scheduler]()
        self._max_tokens = scenario.max_model_len
        self._caching = scenario.serving.enable_prefix_caching

    def run(self, kv: ServedKv) -> None:
        """Serves everything that comes."""
        while True:
            start_s = self._clock.now_s()
            kv.end_copies()
            self._join(start_s)
            plan = self._scheduler.plan(self._core)
            self._note_admitted(plan, start_s)
            kv.send_copies(plan)
            if plan.chunks or (plan.decoding and len(self._core.decodes)):
                self._iterate(plan, kv, start_s)
            elif not (plan.preempted or self._wait(kv)):
                return

    def copied(self, copied: Copied, ready: list[Request]) -> None:
        """A copy has ended, and these requests have all their KV with it; the engine sees it now."""
        now_s = self._clock.now_s()
        for request in cast("list[TimedRequest]", ready):
            if request.fetched_s < 0 and not request.preemptions:
                request.fetched_s = now_s
        self.tables.copied(copied, self._held())

    def _join(self, now_s: float) -> None:
        """What has come by now waits to be served, or is refused."""
        while (demand := self._users.come(now_s)) is not None:
            request = TimedRequest(demand, self._caching)
            too_long = demand.prompt_tokens + demand.output_tokens > self._max_tokens
            if too_long or not self._core.fits_alone(request):
                self.rejected += 1
                self._go_on(demand, demand.arrival_s)
                continue
            self.sequences.extend(demand.session, demand.prompt_tokens)
            self._core.weigh(request)
            self._core.waiting.add(request)

    def _note_admitted(self, plan: Plan, now_s: float) -> None:
        for request in cast("list[TimedRequest]", plan.admitted):
            if request.admitted_s < 0:
                request.admitted_s = now_s

    def _iterate(self, plan: Plan, kv: ServedKv, start_s: float) -> None:
        """One pass of the model over the plan's batch, and what comes of it."""
        core = self._core
        batch, _ = core.decodes.totals(plan.chunks, plan.decoding)
        if plan.decoding:
            core.displace(1)
        begun_bytes = core.serving_bytes
        parts = [(r, r.computed_tokens, r.computed_tokens + tokens) for r, tokens in plan.chunks]
        if plan.decoding:
            parts += [(r, n - 1, n) for r in core.decoding() for n in [self.sequences.length(r.session)]]
        tokens = self._compute(kv, parts)
        end_s = self._clock.now_s()
        for (request, _, end), token in zip(parts, tokens, strict=True):
            if end == self.sequences.length(request.session) and request.output_tokens:
                self.sequences.append(request.session, token)
        outcome = core.advance(plan, 1)
        self.iterations += 1
        waiting, kv_bytes = len(core.waiting) + len(core.held), (begun_bytes, outcome.serving_bytes)
        self.tables.ran(start_s, end_s, plan, batch, waiting, kv_bytes, self._held())
        self._end(outcome, end_s)

    def _compute(self, kv: ServedKv, parts: Sequence[tuple[Request, int, int]]) -> list[int]:
        """The likeliest next token of each of these parts of sequences, on the host."""
        bases = kv.place([request for request, _, _ in parts])
        segments = [
            Segment(base, start, self.sequences.part(request.session, start, end))
            for base, (request, start, end) in zip(bases, parts, strict=True)
        ]
        tokens: list[int] = self._model.forward(kv.device.store, segments).argmax(dim=-1).tolist()
        return tokens

    def _end(self, outcome: Outcome, now_s: float) -> None:
        for request in cast("list[TimedRequest]", outcome.started):
            if request.first_token_s < 0:
                request.first_token_s = now_s
        for request in cast("list[TimedRequest]", outcome.finished):
            request.finished_s = now_s
            self.tables.ended(request)
            self._go_on(request.demand, now_s)
            if self._progress is not None:
                self._progress(self.tables.finished)

    def _go_on(self, demand: Demand, at_s: float) -> None:
        """The user has an answer, and may ask again; else what was kept of the session is let go."""
        if not self._users.answered(demand, at_s):
            self._core.cache.forget(demand.session)
            self.sequences.forget(demand.session)

    def _held(self) -> Held:
        holdings = self._core.holdings
        return holdings.unused_bytes, holdings.stores.host.used_bytes, holdings.stores.disk.used_bytes

    def _wait(self, kv: ServedKv) -> bool:
        """Nothing can be computed: waits for a copy or a request; False where neither comes any more."""
        if kv.copying:
            kv.wait()
        elif self._users.next_s < inf:
            self._clock.wait_until(self._users.next_s)
        elif self._core.waiting or self._core.held or self._core.running:
            raise CtxsimError("expected every request to be served, found some that wait for nothing: a fault of ours")
        else:
            return False
        return True
