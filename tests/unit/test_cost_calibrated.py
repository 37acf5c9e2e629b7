"""Iterations at calibrated times: which products run, knots and their lines, law and breakdown, what is left over."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from math import exp, log

import numpy as np
import pytest
from cost_scenarios import scenario
from support.calibrations import calibrated, calibration, fit

from ctxsim.cost import CostModel, course_s, repetitions
from ctxsim.cost.calibrated.attention import attention_fit
from ctxsim.cost.calibrated.bands import GUESS_FACTOR, beyond, family_spreads, spread_ratio
from ctxsim.cost.calibrated.intervals import TWO_SIDED_90, intervals
from ctxsim.cost.calibrated.kernels import CONTEXT_KNOTS, decode_kernel, prefill_kernel
from ctxsim.cost.calibrated.products import RankProduct, rank_products
from ctxsim.cost.curves import Device, decode_attention_s, elementwise_s, gemm_s
from ctxsim.cost.topology import HBM
from ctxsim.cost.transfers import CopySetup
from ctxsim.geometry import UNBOUNDED, BatchTotals, Span
from ctxsim.spec.calibration import load_calibration
from ctxsim.spec.catalog import names
from ctxsim.spec.models import load_model
from ctxsim.spec.scenario import Scenario, load_scenario

MODELS = names("model")
A100 = "a100-80gb-sxm"


def cost_of(model: str, ranks: int = 1, *left_out: str) -> CostModel:
    of = scenario(model, A100, deployment__tensor_parallel=ranks)
    return CostModel(calibrated(of, *left_out))


def decode_batch(sequences: int, touched: float, growth: float) -> BatchTotals:
    return BatchTotals(sequences, sequences, sequences, [touched], [growth], [touched], [growth])


def test_products_of_a_rank_by_hand() -> None:
    """Llama-3.1-8B on two ranks: 4,096 wide, 32 + 2 x 8 heads of 128, feed-forwards of 14,336, 128,256 words."""
    found = set(rank_products(load_model("llama-3.1-8b"), 2))
    assert found == {
        RankProduct("qkv", (32 + 2 * 8) * 128 // 2, 4096, 32),
        RankProduct("attention_out", 4096, 2048, 32),
        RankProduct("mlp", 2 * 14336 // 2, 4096, 32),
        RankProduct("mlp", 4096, 14336 // 2, 32),
        RankProduct("head", 128256 // 2, 4096, 1, "sequences", quantized=False),
    }


@pytest.mark.parametrize("model", MODELS)
def test_products_have_all_the_weights_of_a_model(model: str) -> None:
    """On one rank, outputs x inputs x runs is every weight matrix, each expert counted."""
    spec = load_model(model)
    weights = sum(p.outputs * p.inputs * p.runs * p.experts for p in rank_products(spec, 1))
    expected = spec.head.parameters + sum(
        matrix.parameters * number for layer, number in spec.layer_counts.items() for matrix in layer.matrices
    )
    # Matrices of unknown shape are rounded up to whole outputs.
    assert weights == pytest.approx(expected, rel=1e-4)


def test_a_kernel_is_priced_at_knots_and_evenly_between_them() -> None:
    """Price 5 + context^2 of two sequences: between 1,024 and 2,048 the chord."""
    kernel = decode_kernel("decode", 0, lambda sequences, context: 5 + context**2)
    stretch = kernel.at(decode_batch(2, 2 * 1280, 2), 0)
    slope = 1024 + 2048
    assert stretch.seconds == pytest.approx(5 + 1024**2 + slope * 256)
    assert stretch.growth_s == pytest.approx(slope)
    assert stretch.until == 2048 - 1280
    later = kernel.at(decode_batch(2, 2 * 1280, 2), 1000)
    assert later.seconds == pytest.approx(5 + 2048**2 + (2048 + 4096) * (1280 + 1000 - 2048))
    assert later.until == 4096 - 1280


def test_beyond_the_last_knot_the_line_goes_on() -> None:
    kernel = decode_kernel("decode", 0, lambda sequences, context: 3 * context)
    stretch = kernel.at(decode_batch(1, 2.0 * CONTEXT_KNOTS[-1], 1), 0)
    assert stretch == pytest.approx((6 * CONTEXT_KNOTS[-1], 3, UNBOUNDED))


def test_decode_beside_chunks_has_a_price_of_its_own() -> None:
    """Two sequences at 1,024 beside two chunks of 150 each: three tiles of 64 queries; alone as ever."""
    kernel = decode_kernel(
        "decode", 0, lambda sequences, context: 1.0, lambda *key: 100 * key[0] + 10 * key[1] + key[2]
    )
    beside = BatchTotals(4, 302, 2, [0.0], [0.0], [2.0 * 1024], [2.0])
    assert kernel.at(beside, 0) == pytest.approx((200 + 30 + 1024, 1, 2048 - 1024))
    assert kernel.at(decode_batch(2, 2 * 1024, 2), 0).seconds == 1
    unmeasured = decode_kernel("decode", 0, lambda sequences, context: 1.0)
    assert unmeasured.at(beside, 0).seconds == 1


def test_everything_measured_of_the_rtx_pro_6000_has_a_price() -> None:
    """The sampler too, once a pass by the logits of its sequences, in bf16."""
    of = load_scenario("rtx-pro-6000-chat")
    assert of.calibration is not None
    cost, sampling = CostModel(of), of.calibration.fit("elementwise", "sampling")
    assert cost.unpriced == ()
    assert sampling is not None
    seconds = {row.name: row.seconds for row in cost.breakdown(cost.batch(1, 1000, sequences=8))}
    assert seconds["sampling"] == elementwise_s(Device.of(of.hardware), sampling, 8 * 128_256 * 2, 8)


def test_kernels_of_the_other_phase_take_no_time() -> None:
    decode = decode_kernel("decode", 0, lambda *_: 1.0)
    prefill = prefill_kernel("prefill", 0, Span("full", 0, "prefill"), lambda *_: 1.0)
    chunk = BatchTotals(1, 100, 0, [5000.0], [0.0], [0.0], [0.0])
    assert decode.at(chunk, 0) == (0, 0, UNBOUNDED)
    assert prefill.at(decode_batch(3, 300, 3), 0) == (0, 0, UNBOUNDED)


@pytest.mark.parametrize(("kind", "tokens"), [("full", 0), ("sliding", 4096)])
def test_a_prompt_is_priced_by_what_it_reaches_back_to(kind: str, tokens: int) -> None:
    """A chunk of 512 after 3,000: the price is that of 3,000 past tokens, between the knots 2,048 and 4,096."""
    span = Span(kind, tokens, "prefill")  # type: ignore[arg-type]
    kernel = prefill_kernel("prefill", 0, span, lambda chunks, new, past: 10 * chunks + new + 2 * past)
    e = span.extent(512, 3000)
    batch = BatchTotals(1, 512, 0, [e.pairs], [e.pairs_growth], [e.touched], [e.touched_growth])
    assert kernel.at(batch, 0).seconds == pytest.approx(10 + 512 + 2 * 3000)
    assert kernel.at(batch, 0).growth_s == pytest.approx(2 * 512)


@pytest.mark.parametrize("model", MODELS)
def test_a_pass_is_what_the_law_says(model: str) -> None:
    cost = cost_of(model)
    for new, past in ((1, 5000), (512, 0), (512, 30_000)):
        batch = cost.batch(new, past)
        assert next(iter(cost.law(batch))).first_s == pytest.approx(float(cost.pass_s(batch)), rel=1e-12)


@pytest.mark.parametrize("model", ["llama-3.1-8b", "gemma-2-27b", "deepseek-v3", "deepseek-v3.2", "qwen3-next-80b-a3b"])
@pytest.mark.parametrize(("tokens", "past", "new"), [(3000, 500, 1), (40 * 512, 0, 512)])
def test_pieces_add_up_to_single_iterations(model: str, tokens: int, past: int, new: int) -> None:
    cost = cost_of(model)
    jumped = sum(course_s(cost.law(b), n) for b, n in repetitions(cost.spans, tokens, past, new))
    single = sum(next(iter(cost.law(cost.batch(new, at)))).first_s for at in range(past, past + tokens, new))
    assert jumped == pytest.approx(single, rel=1e-9)


def test_operations_are_priced_by_their_curves_times_their_runs() -> None:
    """One token after 4,095 on one A100: the feed-forward's two products, and attention at the knot of 4,096."""
    cost = cost_of("llama-3.1-8b")
    device, batch = Device.of(cost.scenario.hardware), cost.batch(1, 4095)
    found = {c.name: float(c.seconds) for c in cost.breakdown(batch)}
    mlp = [gemm_s(device, fit("gemm"), "bf16", 1, *shape) for shape in ((28672, 4096), (4096, 14336))]
    attention = decode_attention_s(device, fit("decode_attention"), 1, 4096, 32, 8, 128)
    assert found["mlp"] == pytest.approx(32 * sum(map(float, mlp)), rel=1e-12)
    assert found["attention full decode"] == pytest.approx(32 * float(attention), rel=1e-12)
    assert found["attention full prefill"] == 0
    assert found["host engine"] == pytest.approx(1e-3 + 1e-5)
    assert set(found) >= {"norms", "rotary", "activation", "head", "qkv", "attention_out"}


def test_what_has_no_fit_runs_at_the_profile_s_shares_of_the_peaks() -> None:
    cost = cost_of("llama-3.1-8b", 1, "gemm")
    hardware, batch = cost.scenario.hardware, cost.batch(2048, 0)
    found = {c.name: float(c.seconds) for c in cost.breakdown(batch)}
    assert hardware.matmul_ratio is not None
    flop = 2 * 2048 * 32 * 3 * 4096 * 14336
    assert found["mlp"] == pytest.approx(flop / (312e12 * hardware.matmul_ratio), rel=1e-12)


def test_ranks_reduce_what_they_have_computed() -> None:
    """Two sums a layer of 100 tokens x 4,096 values: 10 us and 1 us, and half of it twice at 70 % of the link."""
    cost = cost_of("llama-3.1-8b", 2)
    found = {c.name: float(c.seconds) for c in cost.breakdown(cost.batch(100, 0))}
    each = 1e-5 + 1e-6 + 100 * 4096 * 2 / (0.7 * 300e9)
    assert found["all_reduce"] == pytest.approx(64 * each, rel=1e-12)


@pytest.mark.parametrize("model", ["llama-3.1-8b", "qwen3-next-80b-a3b"])
def test_copies_beside_it_never_make_an_iteration_faster(model: str) -> None:
    cost = cost_of(model, 2)
    batch = cost.batch(1, 100_000)
    seconds = [next(iter(cost.law_beside(rate)(batch))).first_s for rate in (0.0, 1e11, 1e12, 1e14)]
    assert seconds == sorted(seconds)
    assert seconds[0] < seconds[-1]


def test_arrays_are_priced_one_by_one() -> None:
    cost = cost_of("llama-3.1-8b")
    contexts = np.array([1000, 5000, 50_000])
    found = cost.pass_s(cost.batch(1, contexts, np.minimum), np.maximum)
    assert found == pytest.approx([float(cost.pass_s(cost.batch(1, int(past)))) for past in contexts], rel=1e-12)


def test_beyond_the_measured_range_the_band_grows() -> None:
    decode = fit("decode_attention")
    assert beyond(decode, context_tokens=131_072, m=1) == 0
    assert beyond(decode, context_tokens=131_072 * exp(2), m=8192 * exp(1)) == pytest.approx(3)
    assert spread_ratio(decode, context_tokens=131_072 * exp(2)) == pytest.approx(0.05 + 2 * 0.02)


def test_the_band_is_that_of_the_nearest_size_that_was_measured() -> None:
    spreads = ((16_384.0, 0.01), (1024.0, 0.1))
    decode = replace(fit("decode_attention"), size="context_tokens", size_spreads=spreads)
    found = [spread_ratio(decode, context_tokens=tokens) for tokens in (16_384, 16_383, 100, 131_072 * exp(1))]
    assert found == pytest.approx([0.01, 0.1, 0.1, 0.01 + 0.02])
    assert spread_ratio(decode, batch=1) == 0.05  # no size is asked for: that of all together


def test_a_past_widens_fits_of_whole_prompts_alone() -> None:
    """By the growth of chunks of that length, for every factor of e that past and new are of the new tokens."""
    seen, whole = fit("prefill_attention"), replace(fit("prefill_attention"), past_growths=((512, 0.03), (0, 0.2)))
    past = 1024 * (exp(2) - 1)
    assert spread_ratio(whole, new_tokens=1024, past_tokens=past) == pytest.approx(0.05 + 2 * 0.03)
    assert spread_ratio(whole, new_tokens=256, past_tokens=past / 4) == pytest.approx(0.05 + 2 * 0.2)
    assert spread_ratio(whole, new_tokens=1024, past_tokens=0) == 0.05
    assert spread_ratio(seen, new_tokens=1024, past_tokens=past) == 0.05


def test_chunked_prompts_have_wider_intervals_than_whole_ones() -> None:
    of = calibrated(scenario("llama-3.1-8b", A100))
    assert of.calibration is not None
    fits = tuple(replace(f, past_growths=((512, 0.03), (0, 0.2))) for f in of.calibration.fits)
    of = replace(of, calibration=replace(of.calibration, fits=fits))
    found = []
    for chunk in (50_000, 8192, 256):
        served = replace(of, serving=of.serving.model_copy(update={"max_num_batched_tokens": chunk}))
        found.append(family_spreads(served, 50_000)["prefill_attention"])
    assert found[0] == 0.05
    assert found[1:] == pytest.approx([0.05 + 0.03 * log(50_000 / 8192), 0.05 + 0.2 * log(50_000 / 256)])


def test_spreads_are_those_of_the_widest_shape_and_double_for_a_guess() -> None:
    of = calibrated(scenario("llama-3.1-8b", A100))
    assert of.calibration is not None
    spreads = family_spreads(of, 50_000)
    attention = ("decode_attention", "prefill_attention", "mixed_attention")
    assert spreads == dict.fromkeys(("gemm", *attention, "elementwise", "host"), 0.05)
    guess = replace(of, calibration=calibration(hardware="h200-sxm"))
    assert family_spreads(guess, 50_000) == dict.fromkeys(spreads, GUESS_FACTOR * 0.05)


def test_intervals_add_up_the_families_as_independent_errors() -> None:
    """An outcome that is the product of two families' scales squared: their spreads twice, at right angles."""
    of = calibrated(scenario("llama-3.1-8b", A100))

    def outcome(one: Scenario) -> dict[str, float]:
        assert one.calibration is not None
        scales = {f.family: f.scale for f in one.calibration.fits}
        return {"product": 7 * scales["gemm"] ** 2 * scales["decode_attention"] ** 2, "constant": 3.0}

    found = intervals(of, 1000, outcome(of), outcome)
    width = exp(TWO_SIDED_90 * (2 * (2 * 0.05) ** 2) ** 0.5)
    assert found["product"] == pytest.approx((7 / width, 7 * width))
    assert found["constant"] == (3, 3)


def test_scaled_families_scale_their_share_alone() -> None:
    of = calibrated(scenario("llama-3.1-8b", A100))
    assert of.calibration is not None
    slower = replace(of, calibration=of.calibration.scaled("gemm", 2.0))
    batch = CostModel(of).batch(64, 1000)
    once, twice = ({c.name: c.seconds for c in CostModel(s).breakdown(batch)} for s in (of, slower))
    products = {"qkv", "attention_out", "mlp", "head"}
    assert {name for name in once if twice[name] == pytest.approx(2 * once[name]) and once[name]} == products
    assert all(twice[name] == once[name] for name in set(once) - products)


def test_few_rows_and_many_are_scaled_apart() -> None:
    """Up to 8 rows the one, from 512 on both, half way between (64 rows, by logarithm) the root of the other."""
    of = calibrated(scenario("llama-3.1-8b", A100))
    assert of.calibration is not None
    asked = of.calibration.scaled("gemm", 3.0, 0.25)
    slower = replace(of, calibration=asked)
    for rows, scale in ((1, 3.0), (8, 3.0), (64, 1.5), (512, 0.75), (4096, 0.75)):
        once, scaled = (
            {c.name: c.seconds for c in CostModel(s).breakdown(CostModel(s).batch(rows, 0))} for s in (of, slower)
        )
        assert scaled["mlp"] == pytest.approx(scale * once["mlp"])
        assert scaled["head"] == pytest.approx(3.0 * once["head"]), "of one row: the last token of the prompt"
    (twice,) = {fit.many_scale for fit in asked.scaled("gemm", 1.0, 0.5).fits if fit.family == "gemm"}
    assert twice == 0.125


def test_only_as_many_pieces_as_are_asked_for() -> None:
    cost = cost_of("llama-3.1-8b")
    batch, _ = next(iter(repetitions(cost.spans, 10_000, 1000, 1)))
    untils = [piece.until for piece in islice(cost.law(batch), 3)]
    assert untils == [1024 - 1001, 2048 - 1001, 4096 - 1001]


def test_copies_reach_what_was_measured_of_the_link() -> None:
    """26 of 31.5 GB/s on an A100 alone on its root; what a descriptor takes only where the profile knows it."""
    for name, effective, descriptor_s in ((A100, 26e9, 0.0), ("h100-80gb-sxm", None, 3.2e-6)):
        peak = scenario("llama-3.1-8b", name)
        measured = calibrated(peak)
        link = peak.hardware.host_link_bytes_per_s
        assert CostModel(peak).host_link_bytes_per_s == link
        assert CostModel(measured).host_link_bytes_per_s == (effective or peak.hardware.host_link_effective_bytes_per_s)
        assert CopySetup(peak).seconds(HBM, 10) == 0
        assert CopySetup(measured).seconds(HBM, 10) == pytest.approx(10 * 32 * descriptor_s)
        none = measured.serving.model_copy(update={"copy_descriptor_overhead": 0.0})
        assert CopySetup(replace(measured, serving=none)).seconds(HBM, 10) == 0


def test_prompts_take_the_fit_of_their_format_and_head_size() -> None:
    """bf16-64 and bf16-128 are there: 96 is nearer to 128 in proportion, 80 to 64, and fp8 falls back to bf16."""
    made_up, asked = calibration(), [(dtype, size) for dtype in ("bf16", "fp8") for size in (64, 80, 96, 256)]
    found = [attention_fit(made_up, "prefill_attention", dtype, size) for dtype, size in asked]
    assert [one and one.variant for one in found] == [f"bf16-{64 if size < 90 else 128}" for _, size in asked]
    shipped = load_calibration("h200-sxm-vllm")
    kept = [attention_fit(shipped, "prefill_attention", dtype, 128) for dtype in ("bf16", "fp8")]
    assert [one and one.variant for one in kept] == ["bf16-128", "fp8-128"]
    windows = [attention_fit(one, "decode_attention", "bf16", 100, window=128) for one in (shipped, made_up)]
    assert [one and one.variant for one in windows] == ["bf16-128-windowed", "bf16-128"]
    assert attention_fit(made_up, "decode_attention", "fp8", 128) is None
    assert attention_fit(calibration("prefill_attention"), "prefill_attention", "bf16", 128) is None


def test_large_buffers_are_not_reduced_by_what_serves_small_ones() -> None:
    """Two transports alike but for the name, the custom one ten times as fast: up to 8 MiB, 1,024 rows of 4,096."""
    of = calibrated(scenario("llama-3.1-8b", A100, deployment__tensor_parallel=2))
    assert of.calibration is not None
    nccl = next(one for one in of.calibration.fits if one.family == "all_reduce")
    both = replace(of.calibration, fits=(*of.calibration.fits, replace(nccl, variant="custom", scale=0.1)))
    cost, alone = CostModel(replace(of, calibration=both)), CostModel(of)
    for tokens, share in ((1024, 0.1), (1025, 1.0)):
        batch = cost.batch(tokens, 0)
        found, slow = ({c.name: c.seconds for c in one.breakdown(batch)}["all_reduce"] for one in (cost, alone))
        assert found == pytest.approx(share * slow)
