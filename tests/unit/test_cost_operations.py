"""FLOP and bytes of a pass against arithmetic by hand from the published shapes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from cost_scenarios import MODELS, cost_model, most_ranks
from hypothesis import given
from hypothesis import strategies as st

from ctxsim.cost import CostModel, Operation, OperationCost
from ctxsim.cost.compiling import LATENT_UP_PROJECTION
from ctxsim.geometry import BatchTotals

BF16_BYTES = 2

# Llama-3.1-8B: 32 layers, hidden 4096, 32 heads and 8 KV heads of 128, feed-forward 14336, vocabulary 128256.
LLAMA_LAYER = 4096 * 4096 + 2 * 4096 * 1024 + 4096 * 4096 + 3 * 4096 * 14336
LLAMA_HEAD = 4096 * 128256
LLAMA_NORMS = 2 * 4096 * 32 + 4096
LLAMA_FLOP_PER_PAIR = 32 * 2 * 32 * (128 + 128)
LLAMA_KV_BYTES = 131_072

# Mixtral-8x7B: as Llama-3.1-8B but 8 experts of which a token takes 2, their router, and vocabulary 32000.
MIXTRAL_ATTENTION = 4096 * 4096 + 2 * 4096 * 1024 + 4096 * 4096
MIXTRAL_EXPERT = 3 * 4096 * 14336
MIXTRAL_HEAD = 4096 * 32000

# DeepSeek-V3: 61 layers, hidden 7168, 128 heads (128 + 64 and 128 wide), ranks 1536 and 512; 3 dense layers of
# 18432, else 256 experts of 2048 (8 a token) and a shared one; vocabulary 129280.
V3_UP = 512 * 128 * (128 + 128)
V3_ATTENTION = 7168 * 1536 + 1536 * 128 * 192 + 7168 * (512 + 64) + 128 * 128 * 7168
V3_EXPERT = 3 * 7168 * 2048
V3_ROUTER = 7168 * 256
V3_DENSE = 3 * 7168 * 18432
V3_HEAD = 7168 * 129280


def row(costs: list[OperationCost], name: str) -> OperationCost:
    return next(c for c in costs if c.name == name)


@pytest.mark.parametrize("tokens", [1000, 50_000])
def test_flop_of_a_llama_prompt(tokens: int) -> None:
    cost = cost_model("llama-3.1-8b")
    expected = 2 * 32 * LLAMA_LAYER * tokens + LLAMA_FLOP_PER_PAIR * tokens**2 / 2 + 2 * LLAMA_HEAD
    assert cost.flop(cost.batch(tokens, 0)) == expected


@pytest.mark.parametrize("tokens", [1000, 50_000])
def test_flop_of_a_mixtral_prompt(tokens: int) -> None:
    """A token is multiplied with two of eight experts, and with all of the router."""
    cost = cost_model("mixtral-8x7b")
    layer = MIXTRAL_ATTENTION + 4096 * 8 + 2 * MIXTRAL_EXPERT
    expected = 2 * 32 * layer * tokens + LLAMA_FLOP_PER_PAIR * tokens**2 / 2 + 2 * MIXTRAL_HEAD
    assert cost.flop(cost.batch(tokens, 0)) == expected


@pytest.mark.parametrize("tokens", [1000, 50_000])
def test_flop_of_a_deepseek_prompt(tokens: int) -> None:
    """Prefill expands every latent row once and attends on expanded heads of 192 and 128."""
    cost = cost_model("deepseek-v3")
    weights = 61 * (V3_ATTENTION + V3_UP) + 3 * V3_DENSE + 58 * (V3_ROUTER + 9 * V3_EXPERT)
    attention = 61 * 2 * 128 * (192 + 128) * tokens**2 / 2
    assert cost.flop(cost.batch(tokens, 0)) == 2 * weights * tokens + attention + 2 * V3_HEAD


def test_flop_of_a_deepseek_step() -> None:
    """Decode works on the latent rows themselves: rank + rope for the scores, rank for the sum."""
    cost = cost_model("deepseek-v3")
    weights = 61 * (V3_ATTENTION + V3_UP) + 3 * V3_DENSE + 58 * (V3_ROUTER + 9 * V3_EXPERT)
    attention = 61 * 2 * 128 * (512 + 64 + 512) * (49_999 + 0.5)
    assert cost.flop(cost.batch(1, 49_999)) == 2 * weights + attention + 2 * V3_HEAD


def test_flop_of_sparse_attention() -> None:
    """DeepSeek-V3.2: each token attends to 2,048 latent rows, and 64 indexer heads of 128 score all of them."""
    cost = cost_model("deepseek-v3.2")
    costs = cost.breakdown(cost.batch(1, 49_999))
    assert row(costs, "attention latent").flop == 61 * 2 * 128 * (512 + 64 + 512) * 2048
    assert row(costs, "attention index").flop == 61 * 2 * 64 * 128 * (49_999 + 0.5)
    assert row(costs, "attention latent").hbm_bytes == 61 * 576 * BF16_BYTES * 2048
    assert row(costs, "attention index").hbm_bytes == 61 * 132 * 50_000


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("tokens", [2, 777])
def test_a_prompt_multiplies_each_token_with_every_active_weight(name: str, tokens: int) -> None:
    """2 x active matrix weights x tokens, the head once a sequence; norms, biases and tables multiply nothing."""
    cost = cost_model(name)
    model = cost.scenario.model
    active = sum(m.parameters * m.experts_per_token // m.experts for layer in model.layers for m in layer.matrices)
    beside = ("attention", "state ")
    found = sum(c.flop for c in cost.breakdown(cost.batch(tokens, 0)) if not kernel(c.name, beside))
    assert found == pytest.approx(2 * active * tokens + 2 * model.head.parameters, rel=1e-12)


def kernel(name: str, prefixes: tuple[str, ...]) -> bool:
    """Whether an operation is an attention or state kernel, not a projection (attention_out)."""
    return name.startswith(tuple(f"{p.strip()} " for p in prefixes))


@pytest.mark.parametrize("name", MODELS)
def test_chunks_of_a_prompt_cost_its_flop_and_what_is_known_to_come_on_top(name: str) -> None:
    """Each further chunk samples (a head row) and, with latent attention, expands all earlier rows again."""
    cost = cost_model(name)
    sizes = [512, 1024, 100, 3, 2048]
    starts = [0, *np.cumsum(sizes).tolist()]
    chunked = sum(cost.flop(cost.batch(n, p)) for n, p in zip(sizes, starts, strict=False))
    whole = cost.flop(cost.batch(starts[-1], 0))
    head = 2 * cost.scenario.model.head.parameters * (len(sizes) - 1)
    assert chunked - head - expanded_again(cost, starts[1:-1]) == pytest.approx(whole, rel=1e-12)


def expanded_again(cost: CostModel, pasts: list[int]) -> float:
    """FLOP of expanding latent rows that an earlier chunk had expanded already."""
    up = [m for la in cost.scenario.model.layers for m in la.mixer.matrices if m.operation == LATENT_UP_PROJECTION]
    dense = any(span.phase == "prefill" for span in cost.spans)
    return 2.0 * sum(m.parameters for m in up) * sum(pasts) if dense else 0.0


def test_latent_chunks_do_cost_more() -> None:
    assert expanded_again(cost_model("deepseek-v3"), [512]) == 61 * 2 * V3_UP * 512
    assert expanded_again(cost_model("deepseek-v3.2"), [512]) == 0
    assert expanded_again(cost_model("llama-3.1-8b"), [512]) == 0


def test_bytes_of_a_llama_step() -> None:
    """All weights but the input table (one row of it a sequence), and each sequence's own KV."""
    cost = cost_model("llama-3.1-8b")
    weights = BF16_BYTES * (32 * LLAMA_LAYER + LLAMA_HEAD + LLAMA_NORMS)
    moved = cost.hbm_bytes(cost.batch(1, 49_999, sequences=7))
    assert moved == weights + 7 * (50_000 * LLAMA_KV_BYTES + 4096 * BF16_BYTES)


def test_bytes_of_a_mixtral_step() -> None:
    """One sequence reads two of eight experts."""
    cost = cost_model("mixtral-8x7b")
    layer = MIXTRAL_ATTENTION + 4096 * 8 + 2 * MIXTRAL_EXPERT
    weights = BF16_BYTES * (32 * layer + MIXTRAL_HEAD + LLAMA_NORMS)
    assert cost.hbm_bytes(cost.batch(1, 999)) == pytest.approx(
        weights + 1000 * LLAMA_KV_BYTES + 4096 * BF16_BYTES, rel=1e-15
    )


def test_bytes_of_a_gemma_step_stop_growing_in_the_sliding_layers() -> None:
    """Gemma 3: 52 layers of 8,192 B a token see 1,024 tokens, 10 see all."""
    cost = cost_model("gemma-3-27b")
    costs = cost.breakdown(cost.batch(1, 49_999))
    assert row(costs, "attention sliding 1024").hbm_bytes == 52 * 8192 * 1024
    assert row(costs, "attention full").hbm_bytes == 10 * 8192 * 50_000


def test_bytes_of_a_hybrid_step_read_and_write_the_state() -> None:
    cost = cost_model("jamba-1.5-mini")
    costs = cost.breakdown(cost.batch(1, 49_999, sequences=3))
    assert row(costs, "state ssm").hbm_bytes == 3 * 2 * 28 * (524_288 + 49_152)
    assert row(costs, "state ssm").flop == 3 * 28 * 4 * 8192 * 16


@pytest.mark.parametrize("name", MODELS)
def test_pass_bytes_are_streamed_weights_and_each_sequence_s_own(name: str) -> None:
    """What seven sequences add to a batch beyond shared weights is seven times what one adds."""
    cost = cost_model(name)
    one, seven = (cost.batch(1, 4_999, sequences=n) for n in (1, 7))
    own = cost.hbm_bytes(one) - cost.streamed_bytes(one)
    assert cost.hbm_bytes(seven) - cost.streamed_bytes(seven) == pytest.approx(7 * own, rel=1e-9)


@pytest.mark.parametrize("name", [m for m in MODELS if cost_model(m).scenario.model.family != "explicit"])
def test_a_step_of_a_dense_model_streams_all_weights_but_the_input_table(name: str) -> None:
    cost = cost_model(name)
    model = cost.scenario.model
    stored = cost.memory.weight_bytes - BF16_BYTES * model.embedding_parameters
    stored += BF16_BYTES * model.head.parameters if model.tied_head else 0
    streamed = cost.streamed_bytes(cost.batch(1, 10))
    biases = BF16_BYTES * model.head.biases
    if any(m.experts > 1 for layer in model.layers for m in layer.matrices):
        assert streamed < stored
        streamed = cost.streamed_bytes(cost.batch(100_000, 0))
    assert streamed == pytest.approx(stored - biases, rel=1e-9)


@pytest.mark.parametrize(
    ("experts", "per_token", "tokens", "distinct"),
    [
        (8, 2, 1, 2),
        (8, 2, 2, 8 * 7 / 16),
        (8, 2, 8, 8 * (1 - 6561 / 65536)),
        (8, 2, 256, 8),
        (256, 8, 1, 8),
        (256, 8, 8, 57.420831),  # (31 / 32)^8 = 0.7756999
        (256, 8, 256, 255.924414),  # (31 / 32)^256 = 0.000295236
        (128, 4, 8, 28.710415),
        (16, 1, 1, 1),
        (8, 8, 1, 8),
    ],
)
def test_distinct_experts(experts: int, per_token: int, tokens: int, distinct: float) -> None:
    operation = Operation("experts", expert_bytes=1.0, experts=experts, experts_per_token=per_token)
    assert experts * operation.distinct_expert_ratio(tokens) == pytest.approx(distinct, rel=1e-6)


def test_distinct_experts_are_the_mean_of_random_routing() -> None:
    """A token picks 4 different experts of 32; ten thousand batches of 8 tokens."""
    rng = np.random.default_rng(0)
    picks = rng.random((10_000, 8, 32)).argpartition(4, axis=2)[:, :, :4].reshape(10_000, 32)
    distinct = np.array([len(np.unique(p)) for p in picks])
    operation = Operation("experts", expert_bytes=1.0, experts=32, experts_per_token=4)
    error = distinct.std() / np.sqrt(len(distinct))
    assert abs(32 * operation.distinct_expert_ratio(8) - distinct.mean()) < 4 * error


@given(st.integers(1, 512), st.integers(1, 16), st.integers(0, 5000))
def test_more_tokens_never_read_fewer_experts(experts: int, per_token: int, tokens: int) -> None:
    k = min(per_token, experts)
    operation = Operation("experts", expert_bytes=1.0, experts=experts, experts_per_token=k)
    ratios = [operation.distinct_expert_ratio(t) for t in (tokens, tokens + 1, 10**9)]
    assert all(a <= b <= 1 for a, b in pairwise(ratios))
    assert ratios[2] == pytest.approx(1)
    assert ratios[0] * experts <= k * tokens * (1 + 1e-12)


def test_expert_bytes_of_a_deepseek_batch() -> None:
    cost = cost_model("deepseek-v3")
    for tokens in (1, 8, 256):
        costs = cost.breakdown(cost.batch(1, 999, sequences=tokens))
        distinct = 256 * (1 - (1 - 8 / 256) ** tokens)
        assert row(costs, "experts").hbm_bytes == pytest.approx(58 * distinct * V3_EXPERT * BF16_BYTES, rel=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_ranks_together_do_no_less_work_than_one(name: str) -> None:
    """Tensor parallelism repeats what it cannot split, and never loses any."""
    alone, group = cost_model(name), cost_model(name, deployment__tensor_parallel=most_ranks(name))
    for new, past in ((1000, 0), (1, 49_999)):
        assert group.flop(group.batch(new, past)) >= alone.flop(alone.batch(new, past)) * (1 - 1e-12)
        assert group.hbm_bytes(group.batch(new, past)) >= alone.hbm_bytes(alone.batch(new, past)) * (1 - 1e-12)


def test_work_that_ranks_repeat() -> None:
    """16 ranks hold each of 8 KV heads twice; every rank computes latent down-projections and routers whole."""
    alone, group = (cost_model("llama-3.1-70b", "tpu-v5e", deployment__tensor_parallel=g) for g in (1, 16))
    kv_projection = 2 * 80 * 2 * 8192 * 1024
    assert group.flop(group.batch(1, 0)) - alone.flop(alone.batch(1, 0)) == kv_projection
    alone, group = (cost_model("deepseek-v3", deployment__tensor_parallel=g) for g in (1, 8))
    repeated = 2 * (61 * (7168 * 1536 + 7168 * 576) + 58 * V3_ROUTER)
    assert group.flop(group.batch(1, 0)) - alone.flop(alone.batch(1, 0)) == 7 * repeated


def test_every_rank_runs_the_whole_indexer() -> None:
    """An indexer's keys have no heads to split, so 8 ranks score the context eight times; attention is split."""
    alone, group = (cost_model("deepseek-v3.2", deployment__tensor_parallel=g) for g in (1, 8))
    one, eight = (cost.breakdown(cost.batch(1, 49_999)) for cost in (alone, group))
    assert row(eight, "attention index").flop == 8 * row(one, "attention index").flop
    assert row(eight, "attention index").hbm_bytes == 8 * row(one, "attention index").hbm_bytes
    assert row(eight, "attention latent").flop == row(one, "attention latent").flop
    assert row(eight, "indexer").flop == 8 * row(one, "indexer").flop


def test_merged_operations_lose_nothing() -> None:
    one = Operation("mlp", 2.0, 1, 2, 3, 4, 5, 6, 7, 8, 2, None, 0, 9, 0, 10, 11, 12)
    batch = BatchTotals(3, 17, 2, [11.0], [0.0], [13.0], [0.0])
    both = one.merged(one)
    for amount in (Operation.flop, Operation.hbm_bytes, Operation.link_bytes):
        assert amount(both, batch) == 2 * amount(one, batch) > 0


TWO_SHAPES = """
name: two-shapes
source: a test
num_parameters: 1e9
hidden_size: 4096
max_context_tokens: 200000
layers:
  - {count: 3, attention: {kind: full, num_heads: 32, num_kv_heads: 32, head_dim: 128}}
  - {count: 5, attention: {kind: full, num_heads: 32, num_kv_heads: 8, head_dim: 64}}
"""


def test_layers_of_one_kind_and_two_shapes_are_all_counted(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("models") / "two-shapes.yaml"
    path.write_text(TWO_SHAPES)
    cost = cost_model(str(path))
    per_pair = 3 * 2 * 32 * 256 + 5 * 2 * 32 * 128
    assert cost.flop(cost.batch(1000, 0)) == 2e9 * 1000 + per_pair * 1000**2 / 2
    assert cost.hbm_bytes(cost.batch(1, 999)) == 2e9 + 1000 * 2 * (3 * 2 * 32 * 128 + 5 * 2 * 8 * 64)
    batch = cost.batch(1, 999)
    assert cost.law(batch)[0].first_s == pytest.approx(cost.pass_s(batch), rel=1e-12)
