"""What the next iteration runs; a scheduler decides from queues, tokens and blocks, and knows no time."""

from __future__ import annotations

from typing import Protocol

from ctxsim.engine.core import EngineCore, Plan
from ctxsim.engine.request import Request


class Scheduler(Protocol):
    """Turns an engine's state into the plan of its next iteration."""

    def plan(self, core: EngineCore) -> Plan:
        """The next plan; preempts and admits on the way."""
        ...


class Fcfs:
    """Continuous batching with chunked prefill, first come first served, as vLLM V1.

    Running sequences go first: one token each for those that decode, then the half-computed prompt with what is left
    of the token budget, then waiting ones while budget, seats and blocks last. Where blocks run out the last-admitted
    sequence is preempted, and nothing is admitted in that iteration. A prompt is admitted when all its blocks are free.
    """

    def plan(self, core: EngineCore) -> Plan:
        """See Scheduler."""
        plan = Plan()
        while (growth_bytes := core.decodes.demand_bytes(1)) > core.free_bytes:
            plan.preempted.append(core.preempt_last())
        budget = core.limits.max_num_batched_tokens - len(core.decodes)
        if core.partial is not None and budget > 0:
            budget -= self._add_chunk(plan, core.partial, budget)
        if not plan.preempted:
            budget = self._admit(core, plan, budget, growth_bytes)
        self._bound(core, plan, budget)
        return plan

    def _admit(self, core: EngineCore, plan: Plan, budget: int, growth_bytes: float) -> int:
        """Admits from the head of the queue until something runs out; returns the budget left."""
        while core.waiting and budget > 0 and len(core.running) < core.limits.max_num_seqs:
            request = core.waiting[0]
            if core.layout.footprint_bytes(request.prefill_tokens) > core.free_bytes - growth_bytes:
                break
            core.admit(request)
            plan.admitted.append(request)
            budget -= self._add_chunk(plan, request, budget)
        return budget

    def _add_chunk(self, plan: Plan, request: Request, budget: int) -> int:
        tokens = min(request.prefill_tokens - request.computed_tokens, budget)
        plan.chunks.append((request, tokens))
        return tokens

    def _bound(self, core: EngineCore, plan: Plan, budget: int) -> None:
        """Says how long the plan stands: a chunk that takes the whole budget repeats, any other prefill does not."""
        seats = len(core.running) < core.limits.max_num_seqs
        plan.open = budget > 0 and seats and not core.waiting
        if plan.preempted:
            plan.repeats = 1
        elif plan.chunks:
            request, tokens = plan.chunks[0]
            alone = len(plan.chunks) == 1 and budget == 0
            left = request.prefill_tokens - request.computed_tokens
            plan.repeats = left // tokens if alone else 1


SCHEDULERS: dict[str, type[Scheduler]] = {"fcfs": Fcfs}
