"""What readers are told of prompts that take more KV while they are computed than afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from support.real import scenario_of

from ctxsim.cost import kept_warnings


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


def test_who_drops_nothing_afterwards_is_told_nothing() -> None:
    assert warned(requests(10_000)) == []
    assert warned(requests(10_000), "kv-fp8", "sliding-window") == []
    # Latent rows outside a window that prompts have too are never there.
    assert warned(requests(10_000), "sliding-window", model="deepseek-v3") == []
