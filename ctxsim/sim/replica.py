"""One replica: the engine decides, the law says how long, this moves the clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import simpy

from ctxsim.engine import HBM, EngineCore, Move, Plan, Scheduler
from ctxsim.sim.journal import Journal, Run, ServedRequest
from ctxsim.sim.jump import PLANNING_DELAY_S, TIE_S, iterations_until, run_s
from ctxsim.sim.ledger import Held, Rest
from ctxsim.sim.links import Copy
from ctxsim.sim.stays import Stays
from ctxsim.sim.surroundings import Surroundings

NOTHING: Held = (0.0, 0.0, 0.0)


class Replica:
    """A serving engine in simulated time: at any time it plans, runs until one event, or rests until it is told.

    clock_s is the replica's own time, a boundary between iterations. The next iteration is planned PLANNING_DELAY_S
    later, when all that joins at that boundary has come; the environment's clock only orders events. Where completions
    release requests, a run is finished at its boundary and not only when the next one is planned. outstanding: requests
    it was given that have not ended; waiting_tokens: prompts of those it has not begun to serve. stays: who was in
    which of its runs.
    """

    def __init__(
        self, env: simpy.Environment, number: int, core: EngineCore, scheduler: Scheduler, journal: Journal,
        around: Surroundings,
    ) -> None:  # fmt: skip
        self.number = number
        self.core = core
        self.clock_s = 0.0
        self.outstanding = 0
        self.waiting_tokens = 0
        self.stays = Stays(number, journal)
        self._holdings, self._stores = core.holdings, core.holdings.stores
        self._env = env
        self._scheduler = scheduler
        self._journal = journal
        self._around = around
        self._finish_delay_s = 0.0 if around.releases else PLANNING_DELAY_S
        self._arrived: list[ServedRequest] = []
        self._copied: list[tuple[Copy, Move]] = []
        self._copying = 0
        self._over: list[tuple[float, int]] = []
        self._run: Run | None = None
        self._stalling = False
        self._waiting = False
        self._idle = True
        self._end: simpy.Event | None = None

    def deliver(self, request: ServedRequest) -> None:
        """A request arrives now: it wakes an idle replica, or cuts short a run whose plan it changes."""
        self.outstanding += 1
        self.waiting_tokens += request.prompt_tokens
        if self.core.waiting.by_work:
            self.catch_up()
            self.core.weigh(request)
        self._arrived.append(request)
        if self._run is None or self._run.open:
            self._disturb(request.arrival_s)

    def look_again(self, at_s: float) -> None:
        """Something to do may have come into the queue that this replica shares."""
        if self._run is None or self._run.open:
            self._disturb(at_s)

    def copied(self, copy: Copy, move: Move) -> None:
        """A copy has ended now."""
        self._copied.append((copy, move))
        self._copying -= HBM in (move.source, move.target)
        self._disturb(copy.end_s)

    def forget(self, session: int, at_s: float) -> None:
        """A session is over now."""
        self._over.append((at_s, session))
        self._disturb(at_s)

    def rate_changed(self, at_s: float) -> None:
        """Copies take another share of the HBM bandwidth from now on."""
        if self._run is not None:
            self._disturb(at_s)

    def catch_up(self) -> None:
        """What the run under way has displaced by now is gone, before somebody looks at what is kept here."""
        run = self._run
        if run is not None and run.plan.decoding and self.core.cache.droppable_bytes:
            elapsed_s = self._env.now - self._finish_delay_s - self.clock_s
            done = iterations_until(elapsed_s, run.piece.first_s, run.piece.growth_s)
            if run_s(done, run.piece.first_s, run.piece.growth_s) > elapsed_s:
                done -= 1
            self.core.displace(min(done, run.iterations))

    def _disturb(self, at_s: float) -> None:
        if self._idle:
            self._idle = False
            self._rest_until(max(self.clock_s, at_s))
            self._plan_in_time()
        elif self._run is not None and self._cut(self._run, at_s):
            self._await_end(self._run)

    def _cut(self, run: Run, at_s: float) -> bool:
        """The run ends at the first boundary that is not before that time; returns whether that is sooner."""
        n = iterations_until(at_s - TIE_S - self.clock_s, run.piece.first_s, run.piece.growth_s)
        sooner = n < run.iterations
        if sooner:
            run.iterations = n
        return sooner

    def _plan(self, _: simpy.Event | None = None) -> None:
        """Plans the next iteration, when it is this replica's turn, and sets out with it."""
        turn = self._around.turn()
        if turn is None:
            self._set_out()
        else:
            turn.callbacks.append(self._set_out)

    def _set_out(self, _: simpy.Event | None = None) -> None:
        self._join()
        run = self._next_run()
        if run is None:
            self._rest()
            return
        self._run = run
        if self._arrived or self._copied or self._over:
            self._cut_by_what_came(run)
        self._await_end(run)

    def _await_end(self, run: Run) -> None:
        """The run is finished when it ends, unless it is cut short before."""
        end_s = self.clock_s + run_s(run.iterations, run.piece.first_s, run.piece.growth_s)
        self._end = self._env.timeout(max(0.0, end_s + self._finish_delay_s - self._env.now))
        self._end.callbacks.append(self._end_run)

    def _end_run(self, end: simpy.Event) -> None:
        """The run is over, unless it was cut short since."""
        run = self._run
        if run is None or end is not self._end:
            return
        self._run = None
        self._finish(run)
        if self._around.releases:
            self._plan_in_time()
        else:
            self._plan()

    def _rest(self) -> None:
        """Nothing can run until something comes; what came in the moment after the boundary is the next to do."""
        self._waiting = self._waits_for_copies()
        came_s = min(self._came_s(), default=None)
        self._idle = came_s is None
        if came_s is not None:
            self._rest_until(came_s)
            self._plan()

    def _rest_until(self, at_s: float) -> None:
        """Nothing has been computed up to then."""
        self._around.rested(Rest(self.clock_s, at_s, self.held(), self._waiting))
        self.clock_s = at_s

    def _waits_for_copies(self) -> bool:
        """Whether a copy in or out of HBM is under way, and somebody is here who is served once it has ended."""
        core = self.core
        return self._copying > 0 and bool(core.running or core.held or len(core.waiting))

    def _plan_in_time(self) -> None:
        """The next iteration is planned at its time, whenever in the environment's time the boundary was noticed."""
        planning = self._env.timeout(max(0.0, self.clock_s + PLANNING_DELAY_S - self._env.now))
        planning.callbacks.append(self._plan)

    def _came_s(self) -> Iterable[float]:
        """When each thing happened that no boundary has seen yet."""
        yield from (request.arrival_s for request in self._arrived[:1])
        yield from (copy.end_s for copy, _ in self._copied)
        yield from (at_s for at_s, _ in self._over)

    def _cut_by_what_came(self, run: Run) -> None:
        if self._arrived and run.open:
            self._cut(run, self._arrived[0].arrival_s)
        for copy, _ in self._copied:
            self._cut(run, copy.end_s)
        for at_s, _ in self._over:
            self._cut(run, at_s)

    def _join(self) -> None:
        """Whatever happened by the boundary takes effect; what came in the moment after it waits for the next one."""
        latest_s = self.clock_s + TIE_S
        if self._copied:
            ended = [(copy, move) for copy, move in self._copied if copy.end_s <= latest_s]
            self._copied = [(copy, move) for copy, move in self._copied if copy.end_s > latest_s]
            for copy, move in ended:
                self._end_copy(copy, move)
        if self._over:
            for at_s, session in self._over:
                if at_s <= latest_s:
                    self.core.cache.forget(session)
            self._over = [(at_s, session) for at_s, session in self._over if at_s > latest_s]
        if self._arrived:
            for request in self._arrived:
                if request.arrival_s <= latest_s:
                    self.core.waiting.add(request)
            self._arrived = [request for request in self._arrived if request.arrival_s > latest_s]

    def _end_copy(self, copy: Copy, move: Move) -> None:
        self._around.ended(move)
        for request in self.core.finish_move(move):
            self._journal.fetched(cast(ServedRequest, request), self.clock_s)
        session = ~move.extent.key if move.extent.hashes is None else -1
        asked = -1 if move.request is None else move.request.index
        self._journal.copied(self.number, copy, session, asked, move.tokens, self.held())

    def held(self) -> Held:
        """Bytes that no request being served uses: idle or on their way in HBM, in host memory, on disk."""
        holdings, stores = self._holdings, self._stores
        return holdings.idle_bytes + holdings.arriving_bytes, stores.host.used_bytes, stores.disk.used_bytes

    def _next_run(self) -> Run | None:
        """Plans the next iteration and finds how many like it can run in a row; None where nothing can run."""
        core = self.core
        plan = self._scheduler.plan(core)
        if plan.preempted or plan.paused:
            self._note_pressure(plan)
        if plan.preempted or plan.let_go:
            self._around.put_back()
        for request in plan.admitted:
            self._begin(cast("ServedRequest", request))
        if plan.resumed:
            self.stays.joined(plan.resumed)
        decoding = plan.decoding and len(core.decodes) > 0
        if core.holdings.orders:
            self._send_copies(bool(plan.chunks) or decoding)
        if core.holdings.used:
            self._around.tally(self.held())
        if not (plan.chunks or decoding):
            if not plan.decoding:
                self._note_stall()
            # Where all who ran were preempted, others may run instead, or they again.
            return self._next_run() if plan.preempted else None
        batch, until = core.decodes.totals(plan.chunks, plan.decoding)
        law, undisturbed = self._around.law(), self._around.undisturbed
        alone = piece = next(iter(law(batch)))
        if law is not undisturbed:
            alone = next(iter(undisturbed(batch)))
            until = min(until, alone.until)
        # While someone is paused, any boundary may be the one where its next block is free.
        iterations = 1 if core.paused else min(plan.repeats, until, piece.until)
        if decoding and iterations > 1:
            iterations = min(iterations, core.decodes.iterations_to_event())
            if iterations > 1:
                room_bytes = core.free_bytes + core.cache.droppable_bytes
                iterations = core.decodes.fitting_iterations(room_bytes, iterations)
        run = Run(plan, batch, piece, alone, iterations, core.serving_bytes)
        if self._stalling or plan.resumed or not plan.decoding:
            self._note_stalls(run)
        return run

    def _note_pressure(self, plan: Plan) -> None:
        self.stays.left((*plan.preempted, *plan.paused))
        for request in plan.preempted:
            self._journal.preempted(cast("ServedRequest", request), self.clock_s)
        for request in plan.paused:
            self._journal.paused(cast("ServedRequest", request), self.clock_s)

    def _begin(self, request: ServedRequest) -> None:
        if request.admitted_s < 0:
            self.waiting_tokens -= request.prompt_tokens
        self._journal.admitted(request, self.number, self.clock_s)
        self._around.admitted(request)

    def _send_copies(self, computes: bool) -> None:
        orders = self.core.holdings.orders
        for move in orders:
            self._copying += HBM in (move.source, move.target)
            self._around.send(move, computes)
        orders.clear()

    def _note_stalls(self, run: Run) -> None:
        """Who could make tokens but does not, and who does again, is written down."""
        if not run.plan.decoding:
            self._note_stall()
            return
        self._stalling = False
        token_s = self.clock_s + run.piece.first_s
        run.resumed = sum(self._journal.went_on(request, token_s) for request in self._decoding())

    def _note_stall(self) -> None:
        """Those who decode make no tokens from now on."""
        self._stalling = True
        for request in self._decoding():
            self._journal.stalled(request, self.clock_s)

    def _decoding(self) -> list[ServedRequest]:
        return cast("list[ServedRequest]", self.core.decoding())

    def _finish(self, run: Run) -> None:
        """The run is over: moves clock and engine, writes the journal, releases what depends on completions."""
        start_s, core, journal = self.clock_s, self.core, self._journal
        self.clock_s = start_s + run_s(run.iterations, run.piece.first_s, run.piece.growth_s)
        held = NOTHING
        if core.holdings.used:
            held = self.held()
            self._around.ran(run.slowed_s)
        if run.plan.chunks:
            self.stays.computed(run.plan.chunks)
        decodes = core.decodes.touched() if run.plan.chunks and run.plan.decoding else None
        outcome = core.advance(run.plan, run.iterations)
        if core.holdings.used:
            # What came to host memory and left it with this boundary did not lie there during the run.
            self._around.tally((outcome.idle_bytes, *held[1:]))
            held = self.held()
        waiting = len(core.waiting) + len(core.held) + len(self._arrived)
        self.stays.runs += 1
        if run.plan.decoding and run.batch.sequences > len(run.plan.chunks):
            self.stays.steps += run.iterations
        if outcome.finished:
            self.stays.left(outcome.finished)
        journal.ran(self.number, start_s, run, waiting, outcome.serving_bytes, held, decodes)
        for request in outcome.started:
            journal.started(cast("ServedRequest", request), self.clock_s)
        if outcome.started:
            self.stays.joined(r for r in outcome.started if r.generated_tokens < r.output_tokens)
        for request in outcome.finished:
            self.outstanding -= 1
            journal.ended(cast("ServedRequest", request), self.clock_s)
            self._around.completed(cast("ServedRequest", request))
