"""Ways of decoding, and divided contexts: jumps are exact, and simulate and analyze agree, as without them."""

from __future__ import annotations

from typing import Any

import pytest
from support.compare import differences
from support.real import closed_requests, scenario_of

from ctxsim.analysis import analyze
from ctxsim.cost import CostModel
from ctxsim.sim import simulate
from ctxsim.sim.cluster import Cluster, Stepping
from ctxsim.sim.journal import Journal
from ctxsim.spec.scenario import Scenario
from ctxsim.workload import make_source

WAYS: dict[str, dict[str, Any]] = {
    "lean": {"serving__decode_attention": "lean_attention"},
    "unsplit": {"serving__decode_attention": "flash_attention_2"},
    "early exit": {"serving__early_exit": {"depth_ratio": 0.4}},
    "first layers": {"serving__speculation": {"draft": {"layers": 8}, "draft_tokens": 3, "acceptance": 0.7}},
    "width": {"serving__speculation": {"draft": {"ffn_ratio": 0.25}, "draft_tokens": 3, "acceptance": 0.7}},
    "budget": {
        "serving__speculation": {
            "draft": {"layers": 32}, "draft_tokens": 5, "acceptance": 0.9, "kv_budget_tokens": 60,
        },
        "serving__decode_attention": "flash_decoding",
    },
    "two groups": {"deployment__context_parallel": 2},
    "two groups, nested draft": {
        "deployment__context_parallel": 2,
        "serving__speculation": {"draft": {"ffn_ratio": 0.5}, "draft_tokens": 2, "acceptance": 0.5},
    },
    "two nodes": {"deployment__tensor_parallel": 16},
    "groups over two nodes, nested draft": {
        "deployment__context_parallel": 4, "deployment__tensor_parallel": 4,
        "serving__speculation": {"draft": {"ffn_ratio": 0.5}, "draft_tokens": 2, "acceptance": 0.5},
    },
    "two groups of two nodes": {"deployment__context_parallel": 2, "deployment__tensor_parallel": 16},
    "other model": {"serving__speculation": {"draft": "gemma-3-27b", "draft_tokens": 2, "acceptance": 0.6}},
}  # fmt: skip


def small(way: dict[str, Any], seed: int) -> Scenario:
    """Prompts and answers that share iterations, on a pool that is too small for all of them."""
    workload = {
        "kind": "requests",
        "prompt_tokens": {"kind": "uniform", "min": 1, "max": 700},
        "output_tokens": {"kind": "lognormal", "mean": 60.0, "p95": 200.0, "min": 1, "max": 300},
        "arrival": {"kind": "closed", "users": 9, "think_time": "0 s"}
        if seed % 2
        else {"kind": "gamma", "rate": "40 /s", "burstiness": 0.3},
        "num_requests": 25,
    }
    return scenario_of(
        "llama-3.1-8b", "a100-80gb-sxm", workload, serving__max_num_seqs=8, run__seed=seed,
        serving__max_num_batched_tokens=(512, 100)[seed % 2], serving__num_gpu_blocks_override=130, **way,
    )  # fmt: skip


def served(scenario: Scenario, stepping: Stepping) -> Journal:
    source = make_source(scenario.workload, scenario.run.seed)
    return Cluster(scenario, CostModel(scenario), source, stepping=stepping, keep_history=True).run()


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_jumps_are_exact(way: dict[str, Any]) -> None:
    for seed in (0, 1):
        scenario = small(way, seed)
        jumped = served(scenario, "macro")
        assert differences(CostModel(scenario), jumped, served(scenario, "single")) == [], seed
        assert len(jumped.finished) == 25


@pytest.mark.parametrize(("ranks", "groups"), [(16, 1), (8, 2), (16, 4)])
def test_sessions_on_several_nodes_swap_over_the_links_of_all(ranks: int, groups: int) -> None:
    """Latent rows on every rank, in a pool for two of four users, to the host memories of two and of eight nodes."""
    talk = {
        "kind": "sessions", "users": 4, "document_tokens": 3_000, "rounds": 3, "question_tokens": 50,
        "answer_tokens": 60, "think_time": "2 s", "num_sessions": 8,
    }  # fmt: skip
    scenario = scenario_of(
        "deepseek-v3", "h200-sxm", talk, deployment__tensor_parallel=ranks, deployment__context_parallel=groups,
        serving__weight_dtype="fp8", serving__num_gpu_blocks_override=450, serving__host_kv_capacity="64 GiB",
    )  # fmt: skip
    assert differences(CostModel(scenario), served(scenario, "macro"), served(scenario, "single")) == []
    summary = simulate(scenario).summary
    assert summary["swap_in_bytes"] > 0
    assert summary["gpu_hours"] == pytest.approx(ranks * groups * summary["duration_s"] / 3600, rel=1e-12)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("lengths", [(1, 1), (2048, 2), (2049, 40), (9_000, 300)])
def test_one_request_alone(way: dict[str, Any], lengths: tuple[int, int]) -> None:
    scenario = closed_requests("llama-3.1-8b", "a100-80gb-sxm", prompt=lengths[0], output=lengths[1], **way)
    keys, requests = analyze(scenario).keys, simulate(scenario).requests
    assert requests["first_token_s"][0] == pytest.approx(keys["first_token_s"], rel=1e-9)
    assert requests["finished_s"][0] == pytest.approx(keys["last_token_s"], rel=1e-9)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_bounds_and_bills_hold(way: dict[str, Any]) -> None:
    workload = {
        "kind": "sessions", "users": 6, "document_tokens": 4_000, "rounds": 2, "question_tokens": 50,
        "answer_tokens": 120, "think_time": "0 s", "num_sessions": 18,
    }  # fmt: skip
    scenario = scenario_of("llama-3.1-8b", "a100-80gb-sxm", workload, serving__max_num_seqs=8, **way)
    summary, keys = simulate(scenario).summary, analyze(scenario).keys
    assert summary["sessions_per_hour"] <= keys["sessions_per_hour_bound"] * (1 + 1e-9)
    assert summary["sessions_per_hour"] >= 0.3 * keys["sessions_per_hour_bound"]
    money = summary["money"]
    assert sum(money["parts_usd"].values()) == pytest.approx(money["bill_usd"], rel=1e-9)
    assert money["parts_usd"]["decode"] > 0
    assert 0 < summary["mfu_ratio"] <= 1
    assert 0 < summary["mbu_ratio"] <= 1
