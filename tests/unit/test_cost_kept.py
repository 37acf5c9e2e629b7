"""What readers are told of prompts that take more KV while they are computed than afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from support.real import scenario_of

from ctxsim.cost import kept_warnings
from ctxsim.spec.scenario import load_scenario


def warned(workload: Mapping[str, Any], *techniques: str, model: str = "llama-3.1-8b") -> list[str]:
    return list(kept_warnings(scenario_of(model, "h200-sxm", workload, techniques=list(techniques))))


def sessions(rounds: int) -> dict[str, Any]:
    return {
        "kind": "sessions", "users": 1, "document_tokens": 9_000, "question_tokens": 1_000, "answer_tokens": 10,
        "rounds": rounds, "think_time": "1 s",
    }  # fmt: skip


def requests(prompt: int | Mapping[str, Any]) -> dict[str, Any]:
    arrival = {"kind": "closed", "users": 1, "think_time": "0 s"}
    return {"kind": "requests", "prompt_tokens": prompt, "output_tokens": 1, "arrival": arrival, "num_requests": 1}


def test_both_amounts_are_those_of_the_prompt() -> None:
    """Llama-3.1-8B keeps 131,072 B a token: of 10,000 tokens, and of the half that an eviction leaves."""
    said = "a prompt of 10,000 tokens takes 1.311 GB of KV while it is computed, and 655.4 MB from then on"
    later = "; later rounds attend to the whole context while their prompts are computed"
    evicting = "h2o(keep_ratio=0.5)"
    for workload, more in ((sessions(1), ""), (sessions(2), later), (requests(10_000), "")):
        (warning,) = warned(workload, evicting)
        assert warning == f"{said}: capacity, swaps and prices count what is kept{more}"


def test_of_drawn_lengths_the_nearest_token_counts() -> None:
    (warning,) = warned(requests({"kind": "lognormal", "mean": 1000.6, "p95": 3000}), "h2o(keep_ratio=0.5)")
    assert warning.startswith("a prompt of 1,001 tokens")
    (warning,) = warned(sessions(1) | {"document_tokens": {"kind": "lognormal", "mean": 99.6, "p95": 300}}, "h2o")
    assert warning.startswith("a prompt of 1,100 tokens")


def test_what_prompts_have_is_told_apart_from_what_stays() -> None:
    """131,072 B a token: sinks and a window of 2,004 stay; or all tokens on 3 of 8 heads, and 564 on the others."""
    (sinks,) = warned(requests(10_000), "streaming-llm")
    assert "takes 1.311 GB of KV while it is computed, and 262.7 MB from then on" in sinks
    kept_bytes = 131_072 / 8 * (3 * 10_000 + 5 * 564)
    assert f"{kept_bytes / 1e6:.4g}" == "537.7"
    (heads,) = warned(requests(10_000), "razorattention(full_ratio=0.375,sink_tokens=64,window_tokens=500)")
    assert "takes 1.311 GB of KV while it is computed, and 537.7 MB from then on" in heads


def test_of_a_trace_the_longest_prompt_counts() -> None:
    (warning,) = kept_warnings(load_scenario("mooncake-replay", {"techniques": ["h2o"]}))
    assert warning.startswith(f"a prompt of {load_scenario('mooncake-replay').max_model_len:,} tokens")


def test_who_drops_nothing_afterwards_is_told_nothing() -> None:
    assert warned(requests(10_000)) == []
    assert warned(requests(10_000), "kv-fp8", "sliding-window") == []
    assert warned(requests(10_000), "duoattention") == []
    # Latent rows outside a window that prompts have too are never there.
    assert warned(requests(10_000), "sliding-window", model="deepseek-v3") == []
