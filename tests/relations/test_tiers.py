"""What more memory, faster links and more hits must do, and what must change nothing."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctxsim.records import Table
from ctxsim.sim import simulate
from ctxsim.spec.scenario import Scenario, load_scenario

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import asked_again as asked

TIERS = ("exclusive", "inclusive")


def hit_tokens(requests: Table) -> int:
    """Tokens found in any tier."""
    return sum(int(requests[f"{tier}_hit_tokens"].sum()) for tier in ("hbm", "host", "disk"))


@settings(max_examples=25)
@given(
    which=st.lists(st.integers(0, 7), min_size=5, max_size=60),
    hbm=st.integers(1, 4),
    host=st.integers(0, 6),
    more=st.integers(1, 4),
    host_tier=st.sampled_from(TIERS),
)
def test_more_host_memory_never_lowers_the_hits(
    which: list[int], hbm: int, host: int, more: int, host_tier: str
) -> None:
    """Least recently used, one at a time in a fixed order: what a smaller store holds a larger one holds too."""
    order = asked.Asked(np.arange(len(which)) * 60.0, np.array(which), answer_tokens=1)
    found = [
        hit_tokens(asked.ask(asked.engine(hbm, size, "swap", host_tier), order)[0]) for size in (host, host + more)
    ]
    assert found[1] >= found[0]


def swapping(seed: int, **overrides: object) -> Scenario:
    """Users whose sessions have no room in HBM."""
    return load_scenario(
        "llama-8b-chat",
        {
            "workload": {
                "kind": "sessions", "users": 8, "document_tokens": 8_000, "rounds": 4, "question_tokens": 40,
                "answer_tokens": {"kind": "uniform", "min": 20, "max": 80},
                "think_time": {"kind": "exponential", "mean": "2 s"}, "num_sessions": 24,
            },
            "serving.num_gpu_blocks_override": 1_700, "serving.residency": "swap",
            "serving.host_kv_capacity": "100 GiB",
            "slo": {}, "run.warmup": "none", "run.seed": seed, **overrides,
        },
    )  # fmt: skip


def faster_link(scenario: Scenario, factor: float) -> Scenario:
    link = scenario.hardware.host_link_bytes_per_s * factor
    return replace(scenario, hardware=replace(scenario.hardware, host_link_bytes_per_s=link))


def test_a_faster_link_never_raises_the_mean_swap_wait() -> None:
    """Paired runs on the same draws, mean over seeds: no law of single paths, where order may change."""
    waits_s = []
    for factor in (0.25, 0.5, 1.0, 2.0):
        tables = [simulate(faster_link(swapping(seed), factor)).requests for seed in range(6)]
        swapped = [np.asarray(t["fetch_s"])[np.asarray(t["host_hit_tokens"]) > 0] for t in tables]
        waits_s.append(np.concatenate(swapped).mean())
    assert waits_s == sorted(waits_s, reverse=True)
    assert waits_s[0] > 3 * waits_s[-1]


@cache
def answers(host_documents: int, seed: int) -> tuple[int, float]:
    """Tokens found and mean TTFT of documents asked at random."""
    rng = Random(seed)
    questions = asked.at_random(rng.randint(6, 16), 120, rate_per_s=0.4, seed=seed)
    scenario = asked.engine(4, host_documents, "swap" if host_documents else "recompute")
    requests, _ = asked.ask(scenario, questions)
    return hit_tokens(requests), float(requests["ttft_s"].mean())


@pytest.mark.parametrize("seed", range(6))
def test_hits_move_latency(seed: int) -> None:
    """More hits are other times, and many more are shorter ones (a few may cost more copies than they save)."""
    (few, without_s), (some, with_some_s), (many, with_many_s) = (answers(size, seed) for size in (0, 3, 12))
    assert few < some < many
    assert len({without_s, with_some_s, with_many_s}) == 3
    assert with_many_s < 0.7 * without_s


def times(scenario: Scenario) -> list[np.ndarray]:
    requests = simulate(scenario).requests
    return [np.asarray(requests[name]) for name in ("admitted_s", "first_token_s", "finished_s")]


@pytest.mark.parametrize("policy", ["keep", "swap", "recompute", "cheapest", "clairvoyant"])
def test_policies_are_one_where_there_is_room_for_all(policy: str) -> None:
    roomy = {"serving.num_gpu_blocks_override": 20_000}
    expected = times(swapping(0, **roomy, **{"serving.residency": "recompute"}))
    found = times(swapping(0, **roomy, **{"serving.residency": policy}))
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))


def test_swapping_to_nowhere_is_recomputing() -> None:
    nowhere = {"serving.host_kv_capacity": "0 B"}
    swap, recompute = (times(swapping(1, **nowhere, **{"serving.residency": p})) for p in ("swap", "recompute"))
    assert all(np.array_equal(a, b) for a, b in zip(swap, recompute, strict=True))


def test_without_prefix_caching_nothing_is_found() -> None:
    requests = simulate(swapping(0, **{"serving.enable_prefix_caching": False})).requests
    assert hit_tokens(requests.table() if not isinstance(requests, Table) else requests) == 0


@pytest.mark.parametrize("policy", ["keep", "swap", "recompute", "cheapest", "clairvoyant"])
def test_gaps_cost_what_they_must_at_least(policy: str) -> None:
    costs = simulate(swapping(2, **{"serving.residency": policy})).summary["gap_cost_usd"]
    assert costs["gaps"] == 24 * 3
    assert costs["total_usd"] >= costs["bound_usd"] > 0
    assert costs["regret_usd"] == pytest.approx(costs["total_usd"] - costs["bound_usd"])
