"""Decoding tokens that leave early: whose layers are read, computed and written, by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.real import closed_requests

from ctxsim.cost import CostModel
from ctxsim.cost.early_exit import staying_shares
from ctxsim.cost.operations import Leaving
from ctxsim.errors import SpecError
from ctxsim.spec.model import StateMixer

MODELS = ("llama-3.1-8b", "mixtral-8x7b", "deepseek-v3", "gemma-3-27b", "jamba-1.5-mini", "qwen3-next-80b-a3b")


def costs(model: str = "llama-3.1-8b", depth_ratio: float | None = None, ranks: int = 1) -> CostModel:
    given = None if depth_ratio is None else {"depth_ratio": depth_ratio}
    return CostModel(closed_requests(model, serving__early_exit=given, deployment__tensor_parallel=ranks))


@given(st.integers(1, 120), st.floats(0.01, 1))
def test_the_mean_depth_is_what_was_asked(layers: int, depth_ratio: float) -> None:
    stays = staying_shares(layers, depth_ratio)
    assert sum(stays) == pytest.approx(max(1.0, depth_ratio * layers), rel=1e-9)
    assert stays[0] == 1
    assert list(stays) == sorted(stays, reverse=True)


def test_a_layer_is_read_if_anyone_is_still_in_it() -> None:
    leaving = Leaving((1.0, 0.5, 0.25, 0.25))
    assert leaving.depth_ratio == 0.5
    assert leaving.read_ratio(0, 1) == 0.5
    assert leaving.read_ratio(0, 2) == (1 + 0.75 + 2 * (1 - 0.75**2)) / 4
    assert leaving.read_ratio(0, 10_000) == pytest.approx(1)
    assert leaving.read_ratio(7, 3) == 1
    assert leaving.read_ratio(0, 0) == 0
    # One of eight experts a token: of two tokens, or of a prompt's and a decoding one.
    assert leaving.read_ratio(0, 2, 1 / 8) == pytest.approx(1 - sum((1 - s / 8) ** 2 for s in leaving.stays) / 4)
    assert leaving.read_ratio(1, 1, 1 / 8) == pytest.approx(1 - 7 / 8 * (1 - 0.5 / 8))


@pytest.mark.parametrize("model", MODELS)
def test_all_layers_are_no_early_exit_to_the_bit(model: str) -> None:
    all_layers, plain = costs(model, 1.0), costs(model)
    assert all_layers.operations == plain.operations
    assert all_layers.spans == plain.spans
    for batch in (plain.batch(1, 5_000), plain.batch(300, 5_000)):
        assert list(all_layers.law(batch)) == list(plain.law(batch))


@pytest.mark.parametrize("model", MODELS)
def test_less_depth_is_never_slower_and_prompts_are_as_ever(model: str) -> None:
    plain = costs(model)
    for sequences in (1, 16):
        seconds = [
            costs(model, r).pass_s(costs(model, r).batch(1, 9_000, sequences=sequences)) for r in (0.3, 0.6, 0.9)
        ]
        assert seconds == sorted(seconds)
        assert seconds[-1] < plain.pass_s(plain.batch(1, 9_000, sequences=sequences))
    half = costs(model, 0.5)
    assert half.pass_s(half.batch(512, 3_000)) == pytest.approx(plain.pass_s(plain.batch(512, 3_000)), rel=1e-12)


def test_half_the_depth_by_hand() -> None:
    """Llama-3.1-8B: half the FLOP and weights of the layers, but for K and V, half the KV read, all of it written."""
    half, plain = costs(depth_ratio=0.5), costs()
    tokens = 10_000
    mine, whole = half.batch(1, tokens - 1), plain.batch(1, tokens - 1)
    by_name = {op.name: op for op in half.operations}
    keys_and_values = 32 * 2 * 1024 * 4096
    attention_out, query, mlp = 32 * 4096 * 4096, 32 * 4096 * 4096, 32 * 3 * 4096 * 14_336
    left = (attention_out + query + mlp) / 2
    head = 128_256 * 4096
    pairs_flop = 2 * 32 * 32 * 256 * (tokens - 0.5)
    assert half.flop(mine) == pytest.approx(2 * (keys_and_values + left + head) + pairs_flop / 2, rel=1e-9)
    assert half.streamed_bytes(mine) == pytest.approx(
        plain.streamed_bytes(whole) - 2 * (attention_out + query + mlp) / 2, rel=1e-9
    )
    kernel = by_name["attention full decode"]
    assert kernel.hbm_bytes(mine) == pytest.approx(131_072 * (tokens / 2 + 1 / 2), rel=1e-9)


def test_latent_rows_are_made_for_all_layers_and_expanded_where_a_token_is() -> None:
    """DeepSeek-V3 at half its depth: the down-projections are computed whole, all else of attention by half."""
    half = costs("deepseek-v3", 0.5)
    batch, flop = half.batch(1, 9_999), {op.name: op.flop(half.batch(1, 9_999)) for op in half.operations}
    assert flop["mla_down"] == pytest.approx(2 * 61 * 7168 * (1536 + 512 + 64), rel=1e-9)
    assert flop["mla_kv_up"] == pytest.approx(2 * 61 * 512 * 128 * 256 / 2, rel=1e-9)
    assert flop["mla_up"] == pytest.approx(2 * 61 * 1536 * 128 * 192 / 2, rel=1e-9)
    assert flop["attention_out"] == pytest.approx(2 * 61 * 128 * 128 * 7168 / 2, rel=1e-9)
    kernel = next(op for op in half.operations if op.name == "attention latent decode")
    assert kernel.hbm_bytes(batch) == pytest.approx(61 * 576 * 2 * (10_000 / 2 + 1 / 2), rel=1e-9)


def test_keys_and_values_of_all_kinds_of_layers_are_made() -> None:
    """Gemma-3-27B at half its depth: 62 layers with windows or without, hidden 5376, heads of 128, 32 of queries."""
    half = costs("gemma-3-27b", 0.5)
    qkv = next(op for op in half.operations if op.name == "qkv")
    queries, keys_and_values = 62 * 5376 * 32 * 128, 62 * 5376 * 2 * 16 * 128
    batch = half.batch(1, 9_999)
    assert qkv.flop(batch) == pytest.approx(2 * (queries / 2 + keys_and_values), rel=1e-9)
    assert qkv.streamed_bytes(1, 1) == pytest.approx(2 * (queries / 2 + keys_and_values), rel=1e-9)


@pytest.mark.parametrize("model", ["jamba-1.5-mini", "qwen3-next-80b-a3b"])
def test_constant_states_are_computed_by_all_layers(model: str) -> None:
    half, plain = costs(model, 0.5), costs(model)
    layers = half.scenario.model.layer_counts
    of_states = {m.operation for la in layers if isinstance(la.mixer, StateMixer) for m in la.mixer.matrices}
    others = {m.operation for la in layers for m in la.matrices if not isinstance(la.mixer, StateMixer)}
    batch, whole = half.batch(1, 9_999), {op.name: op for op in plain.operations}
    alone = [op for op in half.operations if op.name in of_states - others or op.name.startswith("state ")]
    assert len(alone) > 1
    for op in alone:
        assert op.flop(batch) == pytest.approx(whole[op.name].flop(batch), rel=1e-12)
        assert op.hbm_bytes(batch) == pytest.approx(whole[op.name].hbm_bytes(batch), rel=1e-12)


def test_layers_that_are_left_sum_nothing_over_the_ranks() -> None:
    half, plain = costs(depth_ratio=0.5, ranks=4), costs(ranks=4)
    (reduce,) = [op for op in half.operations if op.name == "all_reduce"]
    (whole,) = [op for op in plain.operations if op.name == "all_reduce"]
    assert reduce.link_bytes(half.batch(1, 10)) == pytest.approx(whole.link_bytes(plain.batch(1, 10)) / 2, rel=1e-9)
    assert reduce.link_bytes(half.batch(9, 10)) == whole.link_bytes(plain.batch(9, 10))


def test_less_than_a_layer_is_refused() -> None:
    with pytest.raises(SpecError, match=r"at least one of the 32 layers of llama-3\.1-8b, found 0\.01 of them"):
        costs(depth_ratio=0.01)
