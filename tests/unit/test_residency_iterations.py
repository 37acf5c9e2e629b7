"""How long iterations last where as many sessions are served as HBM has room for, by hand."""

from __future__ import annotations

import pytest

from ctxsim.analysis.session import TypicalSession, typical_session
from ctxsim.cost import CostModel
from ctxsim.explore.residency.iterations import iteration_s
from ctxsim.spec.scenario import load_scenario


def example(**settings: object) -> tuple[CostModel, TypicalSession]:
    scenario = load_scenario("yi-34b-50k-a100", settings)
    return CostModel(scenario), typical_session(scenario)


def test_chunks_and_answers_by_hand() -> None:
    """Room for 6 sessions of 50,000 tokens: 150 iterations with a chunk of 2,000 tokens, and 1,095 without, of 5 x 249.

    Without: 33.9e9 weights of two bytes, and all KV, once from 2 x 2,039 GB/s. With: two FLOP for each of 33.5e9
    weights of layers, and the attention of 56 heads of 128 over 25,000 tokens in 60 layers, a token of the chunk, on
    2 x 312 TFLOP/s; and all KV.
    """
    cost, session = example()
    kv_s = 6 * 50_000 * 245_760 / (2 * 2.039e12)
    alone_s = 67.9e9 / (2 * 2.039e12) + kv_s
    mixed_s = 2_000 * (2 * 33.5e9 + 60 * 4 * 56 * 128 * 25_000) / (2 * 312e12) + kv_s
    expected = (150 * mixed_s**2 + 1_095 * alone_s**2) / (150 * mixed_s + 1_095 * alone_s)
    assert iteration_s(cost, session, 50_000) == pytest.approx(expected, rel=0.02)


def test_where_prompts_never_end_all_iterations_have_a_chunk() -> None:
    """An answer of one token comes with the prompt: nothing but chunks of half the budget."""
    cost, session = example(**{"workload.answer_tokens": 1, "workload.rounds": 1})
    (served,) = {int(cost.memory.kv_capacity_bytes / cost.layout.held_bytes(1_024))}
    chunk, answers = cost.batch(1_024, 0), cost.batch(1, 1_024, sequences=min(256, served))
    found = iteration_s(cost, session, 1_024)
    assert max(cost.pass_s(chunk), cost.pass_s(answers)) < found < cost.pass_s(chunk) + cost.pass_s(answers)


def test_where_answers_are_long_few_iterations_have_a_chunk() -> None:
    cost, session = example(**{"workload.answer_tokens": 100_000, "workload.rounds": 1})
    alone_s = cost.pass_s(cost.batch(1, 1_000, sequences=256))
    # Long answers: hardly any iteration has a chunk.
    assert iteration_s(cost, session, 1_000) == pytest.approx(alone_s, rel=0.02)
