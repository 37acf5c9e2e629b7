"""One replica: the engine decides, the law says how long, this moves the clock."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import simpy

from ctxsim.cost import Law
from ctxsim.engine import EngineCore, Scheduler
from ctxsim.sim.journal import Journal, Run, ServedRequest
from ctxsim.sim.jump import PLANNING_DELAY_S, TIE_S, iterations_until, run_s

Completion = Callable[[ServedRequest], None]


class Replica:
    """A serving engine in simulated time, as one SimPy process.

    clock_s is the replica's own time, a boundary between iterations. The next iteration is planned PLANNING_DELAY_S
    later, when all that joins at that boundary has come; the environment's clock only orders events. Where completions
    release requests (``releases``), a run is finished at its boundary and not only when the next one is planned.
    """

    def __init__(
        self, env: simpy.Environment, number: int, core: EngineCore, scheduler: Scheduler, law: Law,
        journal: Journal, on_completion: Completion, releases: bool,
    ) -> None:  # fmt: skip
        self.number = number
        self.core = core
        self.clock_s = 0.0
        self._env = env
        self._scheduler = scheduler
        self._law = law
        self._journal = journal
        self._on_completion = on_completion
        self._finish_delay_s = 0.0 if releases else PLANNING_DELAY_S
        self._plan_delay_s = PLANNING_DELAY_S if releases else 0.0
        self._arrived: list[ServedRequest] = []
        self._run: Run | None = None
        self._idle: simpy.Event | None = None
        self._process = env.process(self._serve())

    def deliver(self, request: ServedRequest) -> None:
        """A request arrives now: it wakes an idle replica, or cuts short a run whose plan it changes."""
        self._arrived.append(request)
        if self._idle is not None:
            self.clock_s = max(self.clock_s, request.arrival_s)
            self._idle.succeed()
            self._idle = None
        elif self._run is not None and self._run.open and self._cut(self._run, request.arrival_s):
            self._process.interrupt()

    def _cut(self, run: Run, arrival_s: float) -> bool:
        """The run ends at the first boundary that is not before the arrival; returns whether that is sooner."""
        run.open = False
        elapsed_s = arrival_s - TIE_S - self.clock_s
        n = iterations_until(elapsed_s, run.piece.first_s, run.piece.growth_s)
        sooner = n < run.iterations
        run.iterations = min(run.iterations, n)
        return sooner

    def _serve(self) -> Generator[simpy.Event, Any, None]:
        while True:
            if not self.core.has_work and not self._arrived:
                self._idle = self._env.event()
                yield self._idle
                yield self._env.timeout(PLANNING_DELAY_S)
            if self._arrived:
                self._join()
            run = self._run = self._next_run()
            if self._arrived and run.open:
                self._cut(run, self._arrived[0].arrival_s)
            while True:
                try:
                    end_s = self.clock_s + run_s(run.iterations, run.piece.first_s, run.piece.growth_s)
                    yield self._env.timeout(max(0.0, end_s + self._finish_delay_s - self._env.now))
                    break
                except simpy.Interrupt:
                    pass
            self._run = None
            self._finish(run)
            if self._plan_delay_s:
                yield self._env.timeout(self._plan_delay_s)

    def _join(self) -> None:
        """Whatever arrived by the boundary queues up; what came in the moment after it waits for the next one."""
        latest_s = self.clock_s + TIE_S
        self.core.waiting.extend(r for r in self._arrived if r.arrival_s <= latest_s)
        self._arrived = [r for r in self._arrived if r.arrival_s > latest_s]
        if not self.core.has_work:
            # It is idle at the boundary, and what came just after it is the next to do.
            self.clock_s = self._arrived[0].arrival_s
            self._join()

    def _next_run(self) -> Run:
        """Plans the next iteration and finds how many like it can run in a row."""
        core = self.core
        plan = self._scheduler.plan(core)
        for request in plan.preempted:
            self._journal.preempted(request, self.clock_s)  # type: ignore[arg-type]
        for request in plan.admitted:
            self._journal.admitted(request, self.clock_s)  # type: ignore[arg-type]
        batch, until = core.decodes.totals(plan.chunks)
        piece = self._law(batch)[0]
        iterations = min(plan.repeats, until, piece.until, core.decodes.iterations_to_event())
        if iterations > 1:
            iterations = core.decodes.fitting_iterations(core.free_bytes, iterations)
        return Run(plan, batch, piece, iterations, core.used_bytes)

    def _finish(self, run: Run) -> None:
        """The run is over: moves clock and engine, writes the journal, releases what depends on completions."""
        start_s, core, journal = self.clock_s, self.core, self._journal
        self.clock_s = start_s + run_s(run.iterations, run.piece.first_s, run.piece.growth_s)
        outcome = core.advance(run.plan, run.iterations)
        journal.ran(self.number, start_s, run, len(core.waiting) + len(self._arrived), outcome.used_bytes)
        for request in outcome.started:
            journal.started(request, self.clock_s)  # type: ignore[arg-type]
        for request in outcome.finished:
            journal.ended(request, self.clock_s)  # type: ignore[arg-type]
            self._on_completion(request)  # type: ignore[arg-type]
