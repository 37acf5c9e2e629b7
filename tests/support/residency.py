"""Random small cases of KV that outlives requests: sessions, shared prefixes, tiers, policies, routers, schedulers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from random import Random
from typing import Any

import numpy as np

from ctxsim.spec.scenario import Scenario, load_scenario
from ctxsim.spec.serving import Deployment, Serving
from ctxsim.spec.workload import ConstantTime, ExponentialTime, LognormalTime, Sessions
from ctxsim.workload.demand import Demand
from support.cases import Case, StubCost, StubMemory, engine, operations_of, spans_of, stub_cost
from support.sources import Talk, Turn

POLICIES = ("keep", "swap", "recompute", "cheapest", "clairvoyant")
SCHEDULERS = ("fcfs", "prefill_first", "decode_first", "shortest_prompt_first", "fair")
ROUTERS = ("round_robin", "least_loaded", "session_affinity", "prefix_aware", "central_queue")
SESSIONS = load_scenario("yi-34b-50k-a100").workload


def residency_case(rng: Random) -> Case:
    """A case drawn from ``rng``, most often short of HBM: a policy that the workload allows, tiers small and large."""
    kind = rng.choice(["talks", "talks", "recorded sessions", "hashes"])
    cost = _cost(rng)
    hash_tokens = rng.choice([1, 2, 4, 6]) * rng.choice([1, cost.layout.block_size]) if kind == "hashes" else 0
    scenario = _scenario(rng, kind, cost)
    if kind == "talks":
        talks = _talks(rng)
        return Case(cost, scenario, talks=talks)
    demands = _recorded(rng) if kind == "recorded sessions" else _prefixes(rng, hash_tokens)
    return Case(cost, scenario, demands, hash_tokens=hash_tokens)


def _cost(rng: Random) -> StubCost:
    """A pool for little more than the longest prompt, or for a few of them; windows and states now and then."""
    spans = spans_of(rng)[: rng.choice([1, 1, 1, 4])]
    cost = stub_cost(
        spans,
        block_size=rng.choice([1, 4, 16]),
        operations=operations_of(rng, spans),
        token_bytes=[rng.choice([1.0, 2.5]) for _ in spans],
        state_bytes=rng.choice([0.0, 0.0, 0.0, 0.0, 3.0]),
    )
    capacity_bytes = cost.layout.footprint_bytes(150) * rng.choice([1.05, 1.05, 1.3, 1.3, 2, 4])
    return replace(cost, memory=StubMemory(capacity_bytes), copies_bytes_per_s=rng.choice([inf, 1000.0, 20_000.0]))


def _scenario(rng: Random, kind: str, cost: StubCost) -> Scenario:
    router = rng.choice(ROUTERS)
    policies = [*POLICIES, "swap", "cheapest"] if kind == "talks" else ["keep", "swap", "swap", "recompute", "cheapest"]
    if kind == "hashes":
        policies.remove("keep")
    if router == "central_queue":
        policies = ["swap", "swap", "recompute"]
    seats = rng.choice([1, 4, 8, 8])
    limits = engine(
        max_num_seqs=seats,
        max_num_batched_tokens=max(seats, rng.choice([8, 16, 64])),
        replicas=rng.choice([1, 2, 2, 3]) if router == "central_queue" else rng.choice([1, 1, 2]),
        horizon_s=rng.choice([None, None, 3.0]),
    )
    capacity_bytes = cost.memory.kv_capacity_bytes
    update = {
        "scheduler": rng.choice(["fcfs", *SCHEDULERS]),
        "residency": rng.choice(policies),
        "host_tier": rng.choice(["exclusive", "exclusive", "inclusive"]),
        "host_kv_capacity": capacity_bytes * rng.choice([0.0, 0.5, 0.5, 1, 3]),
        "disk_kv_capacity": capacity_bytes * rng.choice([0.0, 1, 4]),
        "block_size": cost.layout.block_size,
        "copy_descriptor_overhead": rng.choice([0.0, 0.0, 0.004]),
        "copy_descriptors_per_block": rng.choice([1, 3]),
    }
    serving: Serving = limits.serving.model_copy(update=update)
    deployment: Deployment = limits.deployment.model_copy(update={"router": router})
    # Prices at which every way across a gap is the cheapest now and then.
    usd_per_byte_s = limits.price.accelerator_usd_per_s / capacity_bytes
    price = replace(
        limits.price,
        host_memory_usd_per_byte_s=usd_per_byte_s * rng.choice([0.0, 0.01, 0.5]),
        disk_usd_per_byte_s=usd_per_byte_s * rng.choice([0.0, 0.001]),
    )
    return replace(_linked(rng, limits), serving=serving, deployment=deployment, price=price, workload=_workload(rng))


def _linked(rng: Random, scenario: Scenario) -> Scenario:
    """Links on which a prompt takes from a few milliseconds, less than an iteration, to a second."""
    rate = rng.choice([60.0, 300.0, 1000.0, 20_000.0])
    hardware = replace(
        scenario.hardware,
        host_link_bytes_per_s=rate,
        host_link_shared_by=rng.choice([1, 2, 8]),
        host_memory_bytes_per_s=rate * rng.choice([0.7, 1.5, 10]),
        nvme_read_bytes_per_s=rate * rng.choice([0.2, 1.0]),
        nvme_write_bytes_per_s=rate * rng.choice([0.1, 1.0]),
        nvme_latency_s=rng.choice([None, 0.003]),
    )
    return replace(scenario, hardware=hardware)


def _workload(rng: Random) -> Sessions:
    """What the policy believes of think times."""
    believed: Any = rng.choice(
        [
            ConstantTime(value="500 ms"),
            ExponentialTime(kind="exponential", mean="400 ms"),
            LognormalTime(kind="lognormal", mean="500 ms", p95="1500 ms"),
        ]
    )
    assert isinstance(SESSIONS, Sessions)
    return SESSIONS.model_copy(update={"think_time": believed})


def _talks(rng: Random) -> list[list[Talk]]:
    pauses_s = rng.choice([(0.0,), (0.0, 0.3), (0.1, 0.37, 1.0), (2.0,)])
    edits = rng.choice([(0,), (0,), (0, 0, 7, 40)])
    longest = rng.choice([25, 60])

    def turn(document_tokens: int) -> Turn:
        answer_tokens = rng.choice([0, 1, rng.randint(2, 25), rng.randint(20, longest)])
        return Turn(document_tokens + rng.randint(1, 12), answer_tokens, rng.choice(pauses_s), rng.choice(edits))

    def talk() -> Talk:
        first = turn(rng.choice([0, rng.randint(10, 90), rng.randint(10, 90)]))
        return [first, *(turn(0) for _ in range(rng.randint(0, 4)))]

    return [[talk() for _ in range(rng.randint(1, 3))] for _ in range(rng.randint(1, 8))]


def _recorded(rng: Random) -> list[Demand]:
    """Turns of sessions at recorded times, whether or not the turn before is answered."""
    turns: list[tuple[float, int, int, int, int, int, bool]] = []
    for session in range(rng.randint(1, 10)):
        context, at_s, known = rng.randint(5, 70), rng.random() * 2, 0
        rounds = rng.randint(1, 5)
        for number in range(rounds):
            output_tokens = rng.choice([0, 1, rng.randint(2, 20), rng.randint(20, 50)])
            turns.append((at_s, session, number, context, output_tokens, known, number == rounds - 1))
            # As agents do, they send most of the last prompt again, and not always its answer.
            known = max(0, context - rng.choice([0, 0, 0, 3, 20]))
            context = known + rng.randint(1, 15)
            at_s += rng.choice([0.0, 0.1, 0.4, 1.5])
    turns.sort()
    return [
        Demand(i, at_s, prompt, output, session, number, known, last)
        for i, (at_s, session, number, prompt, output, known, last) in enumerate(turns)
    ]


def _prefixes(rng: Random, hash_tokens: int) -> list[Demand]:
    """Prompts along the branches of a random tree of blocks, each with an end of its own."""
    names: dict[tuple[int, ...], int] = {}
    branches: Sequence[int] = range(rng.choice([1, 2, 4]))
    seen: set[int] = set()
    arrival_s, demands = 0.0, []
    for index in range(rng.randint(1, 30)):
        if rng.random() < 0.7:
            arrival_s += rng.choice([0.1, 0.013, 0.4, 1.5])
        blocks = rng.randint(0, max(1, 120 // hash_tokens))
        way, hashes = (), []
        for _ in range(blocks):
            # Mostly the first branch: long common prefixes that now and then part.
            way = (*way, rng.choice([0, 0, 0, rng.choice(branches)]))
            hashes.append(names.setdefault(way, len(names)))
        known = next((i for i, name in enumerate(hashes) if name not in seen), blocks)
        seen.update(hashes)
        prompt_tokens = blocks * hash_tokens + rng.randint(0 if blocks else 1, max(1, hash_tokens - 1))
        demands.append(
            Demand(
                index,
                arrival_s,
                prompt_tokens,
                rng.choice([0, 1, rng.randint(2, 25), rng.randint(20, 60)]),
                session=index,
                turn=0,
                reusable_tokens=min(known * hash_tokens, prompt_tokens),
                last=False,
                hashes=np.array(hashes, dtype=np.int64),
            )
        )
    return demands
