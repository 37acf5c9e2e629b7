"""Bytes of weights by hand: number formats with their scales, what stays in bf16, and what ranks repeat."""

from __future__ import annotations

import pytest
from cost_scenarios import MODELS, cost_model, most_ranks

from ctxsim.cost.weights import WEIGHT_DTYPES, model_bytes
from ctxsim.spec.models import load_model

BF16_BYTES = 2

# Bytes of one weight with its share of scales: a float32 a block of 128 x 128; a float32 a channel of 4,096; a
# 16-bit scale and a 4-bit zero point a group of 128.
BYTES = {"bf16": 2, "fp32": 4, "fp8": 1 + 4 / 16_384, "int8": 1 + 4 / 4_096, "int4": 0.5 + 2.5 / 128}

# Llama-3.1-8B: 32 layers of attention and a gated feed-forward are quantised; table, head and norms are not.
LLAMA_QUANTISED = 32 * (4096 * (2 * 4096 + 2 * 1024) + 3 * 4096 * 14336)
LLAMA_PLAIN = 2 * 128256 * 4096 + (2 * 32 + 1) * 4096

# Mixtral-8x7B: the router stays in bf16 too.
MIXTRAL_QUANTISED = 32 * (4096 * (2 * 4096 + 2 * 1024) + 8 * 3 * 4096 * 14336)
MIXTRAL_PLAIN = 2 * 32000 * 4096 + (2 * 32 + 1) * 4096 + 32 * 8 * 4096

# gpt-oss-120b as released: only the experts are quantised, not their biases.
GPT_OSS_QUANTISED = 36 * 128 * 3 * 2880 * 2880


@pytest.mark.parametrize("dtype", ["bf16", "fp32", "fp8", "int8", "int4"])
@pytest.mark.parametrize(
    ("name", "quantised", "plain"),
    [
        ("llama-3.1-8b", LLAMA_QUANTISED, LLAMA_PLAIN),
        ("mixtral-8x7b", MIXTRAL_QUANTISED, MIXTRAL_PLAIN),
        ("gpt-oss-120b", GPT_OSS_QUANTISED, 116_829_156_672 - GPT_OSS_QUANTISED),
        ("paper-34b", 34_000_000_000, 0),
    ],
)
def test_bytes_in_every_format(name: str, quantised: int, plain: int, dtype: str) -> None:
    model = load_model(name)
    assert model.num_parameters == quantised + plain
    plain_bytes = BYTES["fp32"] if dtype == "fp32" else BF16_BYTES
    assert model_bytes(model, dtype, 1) == pytest.approx(quantised * BYTES[dtype] + plain * plain_bytes, rel=1e-12)


def test_formats_tested_are_the_formats_there_are() -> None:
    assert set(WEIGHT_DTYPES) == set(BYTES)


@pytest.mark.parametrize("name", MODELS)
def test_bf16_bytes_are_twice_the_parameters(name: str) -> None:
    model = load_model(name)
    assert model_bytes(model, "bf16", 1) == BF16_BYTES * model.num_parameters


@pytest.mark.parametrize("name", MODELS)
def test_fewer_bits_are_fewer_bytes(name: str) -> None:
    model = load_model(name)
    sizes = [model_bytes(model, dtype, 1) for dtype in ("bf16", "int8", "fp8", "int4")]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[3] < sizes[0]


@pytest.mark.parametrize("name", MODELS)
def test_ranks_store_at_least_one_copy_and_at_most_one_each(name: str) -> None:
    model, ranks = load_model(name), most_ranks(name)
    alone, group = model_bytes(model, "bf16", 1), model_bytes(model, "bf16", ranks)
    assert alone <= group <= ranks * alone
    assert group < 1.5 * alone  # only norms, routers, latent down-projections and scarce KV heads are repeated


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_ranks_repeat_norms_only_where_the_heads_suffice(ranks: int) -> None:
    model = load_model("llama-3.1-8b")
    norms = (2 * 32 + 1) * 4096 * BF16_BYTES
    assert model_bytes(model, "bf16", ranks) - model_bytes(model, "bf16", 1) == (ranks - 1) * norms


def test_sixteen_ranks_hold_eight_kv_heads_twice() -> None:
    model = load_model("llama-3.1-70b")
    norms = (2 * 80 + 1) * 8192
    kv_projections = 80 * 2 * 8192 * 1024
    extra = 15 * norms + kv_projections
    assert model_bytes(model, "bf16", 16) - model_bytes(model, "bf16", 1) == BF16_BYTES * extra


def test_every_rank_holds_the_latent_down_projections() -> None:
    """DeepSeek-V3: the down-projections, routers with their biases and norms on each of 8 ranks."""
    model = load_model("deepseek-v3")
    down = 61 * 7168 * (1536 + 512 + 64)
    routers = 58 * (7168 * 256 + 256)
    norms = 61 * (2 * 7168 + 1536 + 512) + 7168
    extra = 7 * (down + routers + norms)
    assert model_bytes(model, "bf16", 8) - model_bytes(model, "bf16", 1) == BF16_BYTES * extra


@pytest.mark.parametrize(
    ("hardware", "dtype", "tflop_per_s"),
    [
        ("h100-80gb-sxm", "bf16", 989),
        ("h100-80gb-sxm", "fp8", 1979),
        ("a100-80gb-sxm", "fp8", 312),  # no fp8 rate: weights are widened
        ("a100-80gb-sxm", "int8", 624),
        ("h100-80gb-sxm", "int4", 989),  # int4 is for memory, products run in bf16
    ],
)
def test_products_run_at_the_rate_of_their_format(hardware: str, dtype: str, tflop_per_s: float) -> None:
    """Quantised weights at the format's rate; the head and attention always at bf16's."""
    cost = cost_model("llama-3.1-8b", hardware, serving__weight_dtype=dtype)
    rates = {op.name: op.flop_per_s for op in cost.operations}
    assert rates["mlp"] == pytest.approx(tflop_per_s * 1e12)
    assert rates["head"] == rates["attention full"] == cost.scenario.hardware.peak_flop_per_s("bf16")
