"""What the next iteration runs; a scheduler decides from queues, tokens and blocks, and knows no time."""

from __future__ import annotations

from typing import Protocol

from ctxsim.engine.admission import admit_next
from ctxsim.engine.core import EngineCore, Plan
from ctxsim.engine.pressure import make_growth_fit
from ctxsim.engine.queues import Fifo, Queue, ShortestFirst
from ctxsim.engine.request import Request
from ctxsim.geometry import UNBOUNDED


class Scheduler(Protocol):
    """Turns an engine's state into the plan of its next iteration."""

    def queue(self) -> Queue:
        """A queue in the order in which this scheduler serves."""
        ...

    def plan(self, core: EngineCore) -> Plan:
        """The next plan; preempts and admits on the way."""
        ...


class Fcfs:
    """Continuous batching with chunked prefill, first come first served, as vLLM V1.

    Running sequences go first: one token each for those that decode, then half-computed prompts with what is left of
    the token budget, then waiting ones while budget, seats and blocks last. Where blocks run out the last-admitted
    sequence is preempted, and nothing is admitted in that iteration. A prompt is admitted when all its blocks are free.
    """

    def queue(self) -> Queue:
        """See Scheduler."""
        return Fifo()

    def plan(self, core: EngineCore) -> Plan:
        """See Scheduler."""
        plan = Plan()
        growth_bytes = make_growth_fit(core, plan)
        budget = core.limits.max_num_batched_tokens - len(core.decodes)
        budget = _continue_prompts(core, plan, budget)
        if not (plan.preempted or core.paused):
            budget = _admit_prompts(core, plan, budget, growth_bytes)
        plan.open = budget > 0 and core.takes_arrivals
        _bound(plan, budget)
        return plan


class PrefillFirst(Fcfs):
    """Prompts first: while any prompt is being computed no sequence makes a token (vLLM V0, without chunks mixed in).

    First tokens come soonest; those who are being answered wait.
    """

    def plan(self, core: EngineCore) -> Plan:
        """See Scheduler."""
        plan = Plan()
        budget = _continue_prompts(core, plan, core.limits.max_num_batched_tokens)
        if not core.paused:
            budget = _admit_prompts(core, plan, budget, core.decodes.demand_bytes(1))
        if plan.chunks:
            plan.decoding = False
        else:
            make_growth_fit(core, plan)
        plan.open = budget > 0 and core.takes_arrivals
        _bound(plan, budget)
        return plan


class DecodeFirst(Fcfs):
    """Answers first: nobody is admitted while any sequence decodes (request-level batching, FasterTransformer).

    Whoever waits when the batch is done is admitted as far as seats and blocks go, all prompts are computed once their
    KV has been swapped in, then all answers. Nothing but a lack of blocks disturbs an answer.
    """

    def plan(self, core: EngineCore) -> Plan:
        """See Scheduler."""
        plan = Plan()
        if not (len(core.decodes) or core.paused or core.prefilling):
            while admit_next(core, plan, 0.0) is not None:
                pass
        budget = _continue_prompts(core, plan, core.limits.max_num_batched_tokens)
        if plan.chunks or core.fetching:
            plan.decoding = False
        else:
            make_growth_fit(core, plan)
        plan.open = not core.running
        _bound(plan, budget)
        return plan


class ShortestPromptFirst(Fcfs):
    """As Fcfs, but whichever prompt has the fewest tokens left to compute goes first, admitted before or not.

    What a replica keeps of a waiting prompt counts as it was when the prompt came; in a queue that replicas share it
    does not count. Mean time to first token is least; long prompts wait for as long as shorter ones come.
    """

    def queue(self) -> Queue:
        """See Scheduler."""
        return ShortestFirst()

    def plan(self, core: EngineCore) -> Plan:
        """See Scheduler."""
        plan = Plan()
        growth_bytes = make_growth_fit(core, plan)
        budget = core.limits.max_num_batched_tokens - len(core.decodes)
        begun = sorted(core.prefilling, key=_left)
        may_admit = not (plan.preempted or core.paused)
        while budget > 0:
            if may_admit and _next_tokens(core) < (_left(begun[0]) if begun else UNBOUNDED):
                request = admit_next(core, plan, growth_bytes)
                may_admit = request is not None
                if request in core.prefilling:
                    begun = sorted([*begun, request], key=_left)
            elif begun:
                budget -= _add_chunk(plan, begun.pop(0), budget)
            else:
                break
        plan.open = core.seats > 0
        _bound(plan, budget)
        return plan


def _next_tokens(core: EngineCore) -> int:
    """Tokens of the shortest prompt that might be admitted; UNBOUNDED where none waits."""
    waiting = [core.held[0]] if core.held else []
    if core.waiting:
        waiting.append(core.waiting.first())
    return min((request.queued_tokens for request in waiting), default=UNBOUNDED)


class Fair(Fcfs):
    """As Fcfs, but all prompts that are being computed share the token budget equally.

    A short prompt beside a long one waits for as many tokens of the others as it has itself, not for the rest of the
    long one: with m prompts under way, n tokens take about m n / budget iterations however long the others are.
    """

    def plan(self, core: EngineCore) -> Plan:
        """See Scheduler."""
        plan = Plan()
        growth_bytes = make_growth_fit(core, plan)
        budget = core.limits.max_num_batched_tokens - len(core.decodes)
        if not (plan.preempted or core.paused):
            while len(core.prefilling) < budget and admit_next(core, plan, growth_bytes) is not None:
                pass
        for request, tokens in _shares(core, budget).items():
            plan.chunks.append((request, tokens))
        plan.open = core.takes_arrivals
        if plan.preempted or plan.resumed:
            plan.repeats = 1
        elif plan.chunks and not _may_meet(core, plan):
            # The same shares stand until a prompt needs less than its own.
            plan.repeats = max(1, min(_left(request) // tokens for request, tokens in plan.chunks))
        elif plan.chunks:
            plan.repeats = 1
        return plan


def _may_meet(core: EngineCore, plan: Plan) -> bool:
    """Whether prompts are computed that others under way or waiting may have blocks in common with: then it matters
    when each block comes."""
    others = len(plan.chunks) > 1 or core.waiting
    return bool(others) and any(request.hashes is not None for request, _ in plan.chunks)


def _shares(core: EngineCore, budget: int) -> dict[Request, int]:
    """Equal shares of the budget, odd tokens to the oldest; what a prompt does not need goes to the others."""
    shares: dict[Request, int] = {}
    left = {request: _left(request) for request in core.prefilling}
    while left:
        share, odd = divmod(budget, len(left))
        ending = [request for place, request in enumerate(left) if left[request] < share + (place < odd)]
        if not ending:
            shares |= {request: share + (place < odd) for place, request in enumerate(left)}
            break
        for request in ending:
            shares[request] = left.pop(request)
            budget -= shares[request]
    return {request: shares[request] for request in core.prefilling if shares[request]}


def _left(request: Request) -> int:
    return request.prefill_tokens - request.computed_tokens


def _continue_prompts(core: EngineCore, plan: Plan, budget: int) -> int:
    """Half-computed prompts get what the budget gives, oldest first; returns what is left of it."""
    for request in core.prefilling:
        if budget <= 0:
            break
        budget -= _add_chunk(plan, request, budget)
    return budget


def _admit_prompts(core: EngineCore, plan: Plan, budget: int, growth_bytes: float) -> int:
    """Admits until something runs out, the room that decoding sequences grow by included; returns the budget left."""
    while budget > 0 and (core.waiting or core.held) and (request := admit_next(core, plan, growth_bytes)) is not None:
        if request in core.prefilling:
            budget -= _add_chunk(plan, request, budget)
    return budget


def _add_chunk(plan: Plan, request: Request, budget: int) -> int:
    tokens = min(_left(request), budget)
    plan.chunks.append((request, tokens))
    return tokens


def _bound(plan: Plan, budget: int) -> None:
    """Says how long the plan stands: a chunk that takes the whole budget repeats, any other prefill does not."""
    if plan.preempted or plan.resumed:
        plan.repeats = 1
    elif plan.chunks:
        request, tokens = plan.chunks[0]
        alone = len(plan.chunks) == 1 and budget <= 0
        plan.repeats = _left(request) // tokens if alone else 1


SCHEDULERS: dict[str, type[Scheduler]] = {
    "fcfs": Fcfs,
    "prefill_first": PrefillFirst,
    "decode_first": DecodeFirst,
    "shortest_prompt_first": ShortestPromptFirst,
    "fair": Fair,
}
