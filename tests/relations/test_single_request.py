"""One request alone: the simulator, the closed form and a plain sum over passes give the same two times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.real import closed_requests, scenario_of

from ctxsim.analysis import analyze
from ctxsim.cost import CostModel
from ctxsim.sim import simulate
from ctxsim.spec import catalog
from ctxsim.spec.lengths import ConstantLength
from ctxsim.spec.model import StateMixer
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import Requests

RELATIVE = 1e-9

# A single token; no output; below, at and above one chunk of 2,048; over a window of 1,024 and of 4,096 while
# decoding; over a border of an 8,192-token chunk; several windows, many chunks.
LENGTHS = ((1, 0), (1, 1), (1, 40), (1000, 60), (2048, 2), (2049, 1), (4090, 30), (8190, 10), (20_000, 300))
LONGEST = max(prompt + output for prompt, output in LENGTHS)


def machines(model: str) -> Iterator[Scenario]:
    """The model on growing tensor-parallel groups of H200, in bf16 and then in fp8 and int4."""
    for weight_dtype in ("bf16", "fp8", "int4"):
        for ranks in (1, 2, 4, 8):
            alone = closed_requests(
                model,
                serving__weight_dtype=weight_dtype,
                serving__max_model_len=LONGEST,
                serving__iteration_overhead="0.3 ms",
            )
            heads = {m.num_heads for m in (la.mixer for la in alone.model.layers) if not isinstance(m, StateMixer)}
            if all(number % ranks == 0 for number in heads):
                yield replace(alone, deployment=alone.deployment.model_copy(update={"tensor_parallel": ranks}))


@cache
def fitting(model: str) -> Scenario:
    """The model on the first of its machines that holds the longest request."""
    for scenario in machines(model):
        cost = CostModel(scenario)
        if cost.memory.kv_capacity_bytes >= cost.layout.footprint_bytes(LONGEST):
            return scenario
    raise AssertionError(f"{model} fits on no group of eight H200")


def with_lengths(scenario: Scenario, prompt_tokens: int, output_tokens: int) -> Scenario:
    assert isinstance(scenario.workload, Requests)
    lengths = {
        "prompt_tokens": ConstantLength(tokens=prompt_tokens),
        "output_tokens": ConstantLength(tokens=output_tokens),
    }
    return replace(scenario, workload=scenario.workload.model_copy(update=lengths))


def check(scenario: Scenario) -> None:
    keys = analyze(scenario).keys
    requests = simulate(scenario).requests
    assert requests["first_token_s"][0] == pytest.approx(keys["first_token_s"], rel=RELATIVE)
    assert requests["finished_s"][0] == pytest.approx(keys["last_token_s"], rel=RELATIVE)


@pytest.mark.parametrize("model", catalog.names("model"))
def test_every_model(model: str) -> None:
    for prompt_tokens, output_tokens in LENGTHS:
        check(with_lengths(fitting(model), prompt_tokens, output_tokens))


@settings(max_examples=60)
@given(
    st.sampled_from(["gemma-3-27b", "llama-4-scout", "deepseek-v3", "deepseek-v3.2", "jamba-1.5-mini"]),
    st.integers(1, 15_000),
    st.integers(0, 2_000),
    st.sampled_from([1, 7, 300, 2048, 8192]),
)
def test_any_lengths_and_any_token_budget(model: str, prompt_tokens: int, output_tokens: int, budget: int) -> None:
    scenario = with_lengths(fitting(model), prompt_tokens, output_tokens)
    limits = {"max_num_batched_tokens": budget, "max_num_seqs": 1}
    check(replace(scenario, serving=scenario.serving.model_copy(update=limits)))


@pytest.mark.parametrize("model", catalog.names("model"))
def test_against_a_plain_sum_over_passes(model: str) -> None:
    """Every pass priced on its own, operation by operation: no law, no run of passes."""
    rng = Random(model)
    prompt_tokens, output_tokens = rng.randint(3_000, 6_000), rng.randint(2, 30)
    scenario = with_lengths(fitting(model), prompt_tokens, output_tokens)
    cost = CostModel(scenario)
    budget = scenario.serving.max_num_batched_tokens
    chunks = [(min(budget, prompt_tokens - past), past) for past in range(0, prompt_tokens, budget)]
    steps = [(1, prompt_tokens + k) for k in range(output_tokens - 1)]
    first_token_s = sum(cost.pass_s(cost.batch(new, past)) for new, past in chunks)
    last_token_s = first_token_s + sum(cost.pass_s(cost.batch(new, past)) for new, past in steps)
    requests = simulate(scenario).requests
    assert requests["first_token_s"][0] == pytest.approx(first_token_s, rel=RELATIVE)
    assert requests["finished_s"][0] == pytest.approx(last_token_s, rel=RELATIVE)


@pytest.mark.parametrize("model", ["paper-34b", "gemma-3-27b", "qwen3-next-80b-a3b"])
def test_the_first_turn_of_a_session(model: str) -> None:
    sessions = {
        "kind": "sessions",
        "users": 1,
        "document_tokens": 9_000,
        "rounds": 3,
        "question_tokens": 120,
        "answer_tokens": 80,
        "think_time": "7 s",
        "num_sessions": 1,
    }
    ranks = fitting(model).deployment.tensor_parallel
    scenario = scenario_of(
        model, "h200-sxm", sessions, deployment__tensor_parallel=ranks, serving__residency="recompute"
    )
    keys = analyze(scenario).keys
    requests = simulate(scenario).requests
    assert list(requests["turn"]) == [0, 1, 2]
    assert requests["ttft_s"][0] == pytest.approx(keys["first_token_s"], rel=RELATIVE)
    assert requests["e2e_s"][0] == pytest.approx(keys["last_token_s"], rel=RELATIVE)
    assert requests["arrival_s"][1] == pytest.approx(keys["last_token_s"] + 7.0, rel=RELATIVE)
