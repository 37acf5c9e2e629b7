"""Thirty random scenarios under every residency policy: what each costs, and how near ``cheapest`` comes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from math import log10
from random import Random
from typing import Any

from ctxsim.sim import simulate
from ctxsim.spec.scenario import load_scenario

FIXED = ("keep", "swap", "recompute")
POLICIES = (*FIXED, "cheapest", "clairvoyant")
SCENARIOS = 30

# Model, hardware, tensor parallelism, longest context.
MACHINES = (
    ("llama-2-7b", "h100-80gb-sxm", 1, 4_096),
    ("llama-2-7b", "b200-sxm", 1, 4_096),
    ("llama-2-13b", "a100-80gb-sxm", 1, 4_096),
    ("llama-3.1-8b", "a100-80gb-sxm", 1, 60_000),
    ("llama-3.1-8b", "h100-80gb-sxm", 1, 60_000),
    ("llama-3.1-8b", "l40s", 1, 30_000),
    ("yi-34b-200k", "a100-80gb-sxm", 2, 60_000),
    ("yi-34b-200k", "h100-80gb-sxm", 2, 60_000),
    ("qwen3-32b", "h100-80gb-sxm", 2, 30_000),
)


def overrides(seed: int) -> dict[str, Any]:
    """A machine, a document of 1,500 tokens or more, a pool for 2 to 8 sessions, more users than that, think times from
    0.3 to 60 s, host memory or none, and copies with or without a cost per descriptor."""
    rng = Random(seed)
    model, hardware, ranks, longest = rng.choice(MACHINES)
    rounds, question, answer = rng.choice([3, 5, 8]), 50, rng.choice([50, 100, 250])
    talk = rounds * (question + answer)
    document = int(10 ** rng.uniform(log10(1_500), log10(max(1_600, longest - talk))))
    slots = rng.choice([2.3, 4.3, 8.5])
    mean = 10 ** rng.uniform(-0.5, 1.8)
    think = rng.choice(
        [
            {"kind": "constant", "value": f"{mean:.3f} s"},
            {"kind": "exponential", "mean": f"{mean:.3f} s"},
            {"kind": "lognormal", "mean": f"{mean:.3f} s", "p95": f"{3 * mean:.3f} s"},
        ]
    )
    users = max(2, int(slots * rng.choice([1.5, 2, 3])))
    return {
        "model": model,
        "hardware": hardware,
        "deployment.tensor_parallel": ranks,
        "serving.max_model_len": max(longest, document + talk),
        "serving.num_gpu_blocks_override": int(slots * (document + talk) / 16),
        "serving.host_kv_capacity": rng.choice(["0 B", "400 GiB"]),
        "serving.copy_descriptor_overhead": rng.choice(["0 s", "3.5 us"]),
        "workload": {
            "kind": "sessions",
            "document_tokens": document,
            "rounds": rounds,
            "question_tokens": question,
            "answer_tokens": answer,
            "think_time": think,
            "users": users,
            "num_sessions": 40 * users,
        },
        "slo": {},
        "run.warmup": "none",
    }


def run(order: tuple[int, str]) -> dict[str, Any]:
    """The summary of one scenario under one policy."""
    seed, policy = order
    return simulate(load_scenario("yi-34b-50k-a100", {**overrides(seed), "serving.residency": policy})).summary


def results(seeds: Sequence[int], workers: int) -> dict[int, dict[str, dict[str, Any]]]:
    """Summaries by seed and policy."""
    orders = [(seed, policy) for seed in seeds for policy in POLICIES]
    with ProcessPoolExecutor(workers) as pool:
        summaries = list(pool.map(run, orders))
    found: dict[int, dict[str, dict[str, Any]]] = {}
    for (seed, policy), summary in zip(orders, summaries, strict=True):
        found.setdefault(seed, {})[policy] = summary
    return found


def dollars(by_policy: dict[str, dict[str, Any]]) -> dict[str, float]:
    """USD of the fleet per session, by policy."""
    return {policy: summary["cost_usd_per_session"] for policy, summary in by_policy.items()}


def best_fixed(costs: dict[str, float]) -> str:
    """The fixed policy that costs least; swapping with nowhere to swap to is recomputing."""
    return min(("keep", "recompute", "swap"), key=lambda policy: costs[policy])


def describe(seed: int) -> list[str]:
    """A scenario in a few words."""
    drawn = overrides(seed)
    workload = drawn["workload"]
    think = workload["think_time"]
    return [
        str(seed),
        drawn["model"],
        f"{drawn['deployment.tensor_parallel']} x {drawn['hardware']}",
        f"{workload['document_tokens']:,}",
        f"{think['kind']} {think.get('value', think.get('mean'))}",
        str(workload["users"]),
        drawn["serving.host_kv_capacity"],
    ]
