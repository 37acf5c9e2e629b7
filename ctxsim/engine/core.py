"""The state of one serving engine, and what becomes of it when an iteration has run."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from ctxsim.engine.decoding import Chunk, DecodeBatch
from ctxsim.engine.request import Request
from ctxsim.geometry import UNBOUNDED, KvLayout


@dataclass(slots=True)
class Limits:
    """An engine's settings: sequences at once, tokens an iteration, bytes of KV blocks."""

    max_num_seqs: int
    max_num_batched_tokens: int
    kv_capacity_bytes: float


class Plan:
    """What the next iteration runs: all decoding sequences, and these chunks of prefill.

    repeats: how often this very plan can run in a row if nothing else happens. open: whether an arrival would change
    it. admitted, preempted: what the scheduler did to get here.
    """

    __slots__ = ("admitted", "chunks", "open", "preempted", "repeats")

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.repeats = UNBOUNDED
        self.open = True
        self.admitted: list[Request] = []
        self.preempted: list[Request] = []


class Outcome:
    """What a run of iterations brought: requests with a first token, and requests that finished, oldest first.

    used_bytes: KV blocks taken at its end, before the finished ones let go of theirs.
    """

    __slots__ = ("finished", "started", "used_bytes")

    def __init__(self, used_bytes: float, finished: list[Request]) -> None:
        self.used_bytes = used_bytes
        self.started: list[Request] = []
        self.finished = finished


class EngineCore:
    """Queues, batch and KV pool of one replica.

    waiting: first come first; running: admitted requests, oldest first; partial: the one whose prompt is not yet
    computed (a FCFS engine with chunked prefill never has two); decodes: those that make a token an iteration.
    used_bytes: blocks taken. A prompt's blocks are all taken at admission, so that a half-computed prompt never
    runs dry.
    """

    def __init__(self, limits: Limits, layout: KvLayout, decodes: DecodeBatch) -> None:
        self.limits = limits
        self.layout = layout
        self.decodes = decodes
        self.waiting: deque[Request] = deque()
        self.running: dict[Request, None] = {}
        self.partial: Request | None = None
        self.used_bytes = 0.0

    @property
    def has_work(self) -> bool:
        """Whether anything waits or runs."""
        return bool(self.waiting or self.running)

    @property
    def free_bytes(self) -> float:
        """Bytes of KV blocks not taken."""
        return self.limits.kv_capacity_bytes - self.used_bytes

    def fits_alone(self, request: Request) -> bool:
        """Whether the request could finish with the whole pool to itself."""
        return self.layout.footprint_bytes(request.largest_context) <= self.limits.kv_capacity_bytes

    def admit(self, request: Request) -> None:
        """The head of the queue runs from now on, with the blocks of its prompt."""
        self.waiting.popleft()
        self.running[request] = None
        self.used_bytes += self.layout.footprint_bytes(request.prefill_tokens)

    def preempt_last(self) -> Request:
        """The last-admitted request goes back to the head of the queue; its blocks are free."""
        request, _ = self.running.popitem()
        if request is self.partial:
            self.partial = None
            self.used_bytes -= self.layout.footprint_bytes(request.prefill_tokens)
            request.lose_cache(request.computed_tokens)
        else:
            stored = self.decodes.remove(request)
            self.used_bytes -= self.layout.footprint_bytes(stored)
            request.lose_cache(stored)
        self.waiting.appendleft(request)
        return request

    def advance(self, plan: Plan, iterations: int) -> Outcome:
        """The plan has run that many times in a row; returns what came of it."""
        self.used_bytes += self.decodes.demand_bytes(iterations)
        outcome = Outcome(self.used_bytes, self.decodes.advance(iterations))
        for request in outcome.finished:
            self._release(request, request.largest_context)
        for request, tokens in plan.chunks:
            request.computed_tokens += tokens * iterations
            if request.computed_tokens == request.prefill_tokens:
                self._end_prefill(request, outcome)
            else:
                self.partial = request
        return outcome

    def _end_prefill(self, request: Request, outcome: Outcome) -> None:
        if self.partial is request:
            self.partial = None
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
        self.used_bytes -= self.layout.footprint_bytes(tokens)
