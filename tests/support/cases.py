"""Random small cases: attention of every kind, pools that run dry, ties, several replicas, open and closed loops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from random import Random
from typing import Any, cast

from ctxsim.cost import CostModel, Law
from ctxsim.cost.law import RooflineLaw
from ctxsim.cost.operations import Operation, Rates
from ctxsim.cost.shares import Division, peak_division
from ctxsim.cost.speculation import Part
from ctxsim.geometry import BatchTotals, KvLayout, Span
from ctxsim.sim.cluster import Cluster, Stepping
from ctxsim.sim.journal import Journal
from ctxsim.spec.scenario import Scenario, load_scenario
from ctxsim.workload.demand import Demand, Source
from support.sources import Lengths, ListSource, Talk, TalkSource, UserSource, at

MAX_TOKENS = 10**6
BASE = load_scenario("llama-8b-chat")
RATES = Rates(1.0, 1.0, 1.0, None)
"""One FLOP/s and one byte/s."""


@dataclass(frozen=True)
class StubMemory:
    """A KV pool."""

    kv_capacity_bytes: float


@dataclass(frozen=True)
class StubCost:
    """What a simulation asks of a cost model, from operations alone."""

    spans: tuple[Span, ...]
    layout: KvLayout
    memory: StubMemory
    operations: tuple[Operation, ...]
    law: Law
    copies_bytes_per_s: float = inf
    scenario: Scenario = BASE
    rates: Rates = RATES

    def law_beside(self, copy_bytes_per_s: float) -> Law:
        """Seconds of a batch beside copies: of the one byte/s of HBM they take rate / ``copies_bytes_per_s``.

        A law that is not of operations is the same whatever is copied.
        """
        if not self.operations:
            return self.law
        left = max(1.0 - copy_bytes_per_s / self.copies_bytes_per_s, 0.5)
        return RooflineLaw(self.operations, replace(self.rates, hbm_bytes_per_s=left * self.rates.hbm_bytes_per_s), 0.0)

    def division(self, batch: BatchTotals, decodes: BatchTotals) -> Division:
        """Seconds of an iteration: those that are for ``decodes``, and all."""
        return peak_division(self.operations, self.rates, self.scenario.serving.iteration_overhead, batch, decodes)

    def parts(self, batch: BatchTotals) -> list[Part]:
        """One pass."""
        return [Part(self.operations, batch, None, 1.0)]

    def compute_s(self, batch: BatchTotals) -> Any:
        """Seconds of the FLOP of one pass."""
        return sum(op.flop(batch) / op.flop_per_s for op in self.operations)

    def flop(self, batch: BatchTotals) -> Any:
        """FLOP of one pass."""
        return sum(op.flop(batch) for op in self.operations)

    def hbm_bytes(self, batch: BatchTotals) -> Any:
        """HBM bytes of one pass."""
        return sum(op.hbm_bytes(batch) for op in self.operations)


@dataclass(frozen=True)
class Case:
    """A workload on a small engine.

    Users of a closed loop (``users``), or who hold sessions (``talks``); where there are none, ``demands`` arrive.
    hash_tokens: of one hash of their prompts.
    """

    cost: StubCost
    scenario: Scenario
    demands: Sequence[Demand] = ()
    users: Sequence[Sequence[Lengths]] = ()
    think_s: float = 0.0
    talks: Sequence[Sequence[Talk]] = ()
    hash_tokens: int = 0

    def source(self) -> Source:
        """The workload, fresh."""
        if self.talks:
            return TalkSource(self.talks)
        if self.users:
            return UserSource(self.users, self.think_s)
        return ListSource(self.demands)

    def cluster(self, stepping: Stepping = "macro") -> Cluster:
        """The case ready to run, with its history kept."""
        cost, source = cast(CostModel, self.cost), self.source()
        return Cluster(
            self.scenario, cost, source, stepping=stepping, keep_history=True, hash_tokens=self.hash_tokens
        )  # fmt: skip

    def run(self, stepping: Stepping = "macro") -> Journal:
        """The journal of the case."""
        return self.cluster(stepping).run()


def engine(
    *, max_num_seqs: int = 256, max_num_batched_tokens: int = 2048, replicas: int = 1, horizon_s: float | None = None
) -> Scenario:
    """A scenario with these limits; its model and workload are not looked at by a Cluster."""
    serving = BASE.serving.model_copy(
        update={
            "max_num_seqs": max_num_seqs,
            "max_num_batched_tokens": max_num_batched_tokens,
            "max_model_len": MAX_TOKENS,
        }
    )
    deployment = BASE.deployment.model_copy(update={"replicas": replicas})
    return replace(BASE, serving=serving, deployment=deployment, run=BASE.run.model_copy(update={"horizon": horizon_s}))


def stub_cost(
    spans: Sequence[Span] = (Span("full"),),
    *,
    block_size: int = 16,
    capacity_bytes: float = 1e12,
    law: Law | None = None,
    operations: tuple[Operation, ...] = (),
    token_bytes: Sequence[float] = (1.0,),
    state_bytes: float = 0.0,
) -> StubCost:
    """A cost model of these kernels; without a law, the roofline of its operations at one FLOP/s and one byte/s."""
    held = list(zip((Span(s.kind, s.tokens) for s in spans), token_bytes, strict=False))
    layout = KvLayout(held, state_bytes, block_size)
    law = law or RooflineLaw(operations, Rates(1.0, 1.0, 1.0, None), 0.0)
    return StubCost(tuple(spans), layout, StubMemory(capacity_bytes), operations, law)


def random_case(rng: Random) -> Case:
    """A case drawn from ``rng``: an ordinary one, or one that hypothesis steers and shrinks."""
    spans = spans_of(rng)
    cost = stub_cost(
        spans,
        block_size=rng.choice([1, 4, 16]),
        operations=operations_of(rng, spans),
        token_bytes=[rng.choice([1.0, 2.5]) for _ in spans],
        state_bytes=rng.choice([0.0, 3.0]),
    )
    # A pool too small for some requests, one for little more than one of them (much preemption), or room for all.
    capacity_bytes = cost.layout.footprint_bytes(150) * rng.choice([0.7, 1, 1, 1.3, 1.3, 2, 20])
    seats = rng.choice([1, 4, 8])
    scenario = engine(
        max_num_seqs=seats,
        max_num_batched_tokens=max(seats, rng.choice([8, 16, 64])),
        replicas=rng.choice([1, 1, 2]),
        horizon_s=rng.choice([None, None, 5.0]),
    )
    cost = replace(cost, memory=StubMemory(capacity_bytes))
    if rng.random() < 0.3:
        return Case(cost, scenario, users=_users(rng), think_s=rng.choice([0.0, 0.37]))
    return Case(cost, scenario, demands=_demands(rng))


def spans_of(rng: Random) -> list[Span]:
    """Attention of one kind or several."""
    spans = [Span("full", 0, "prefill"), Span("full", 0, "decode")] if rng.random() < 0.3 else [Span("full")]
    if rng.random() < 0.5:
        spans.append(Span("sliding", rng.choice([5, 16, 33])))
    if rng.random() < 0.4:
        spans.append(Span("chunked", rng.choice([7, 16, 24])))
    if rng.random() < 0.4:
        spans.append(Span("topk", rng.choice([4, 20])))
    return spans


def operations_of(rng: Random, spans: Sequence[Span]) -> tuple[Operation, ...]:
    """Fixed work of some 10 ms, and kernels of a few ms that change sides between compute and memory."""
    fixed = Operation("fixed", flop_per_token=2e-4, bytes_per_pass=0.01, flop_per_sequence=5e-4)
    experts = Operation("experts", expert_bytes=0.02, experts=8, experts_per_token=2)
    kernels = [
        Operation(
            f"kernel {i}",
            span=i,
            flop_per_pair=rng.choice([1e-6, 2e-5]),
            flop_per_touched=rng.choice([0.0, 1e-6]),
            bytes_per_touched=rng.choice([1e-6, 2e-5, 4e-5]),
        )
        for i in range(len(spans))
    ]
    # A weight read that outlasts the kernel until its context is long: the law bends on the way.
    bending = Operation("bending", span=0, bytes_per_pass=rng.choice([0.0, 1e-3]), flop_per_touched=1e-5)
    return (fixed, experts, *kernels, bending)


def _lengths(rng: Random) -> Lengths:
    prompt_tokens = rng.choice([1, rng.randint(1, 40), rng.randint(1, 40), rng.randint(60, 90)])
    return prompt_tokens, rng.choice([0, 1, rng.randint(2, 60), rng.randint(20, 60), rng.randint(20, 60)])


def _demands(rng: Random) -> list[Demand]:
    arrival_s, demands = 0.0, []
    for index in range(rng.randint(1, 30)):
        if rng.random() < 0.7:
            arrival_s += rng.choice([0.1, 0.013, rng.random() * 0.3, 2.0])
        demands.append(at(arrival_s, *_lengths(rng), index=index))
    return demands


def _users(rng: Random) -> list[list[Lengths]]:
    return [[_lengths(rng) for _ in range(rng.randint(1, 8))] for _ in range(rng.randint(1, 6))]
