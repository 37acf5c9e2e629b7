"""Experts, latent and sparse attention and constant states at calibrated times; small kernels; what has no fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cost_scenarios import most_ranks, scenario
from support.calibrations import FITS, calibrated, calibration, fits

from ctxsim.cost import CostModel, course_s, repetitions
from ctxsim.cost.calibrated.bands import GUESS_FACTOR, family_spreads
from ctxsim.cost.calibrated.experts import experts_fit
from ctxsim.cost.curves import (
    Device,
    elementwise_s,
    experts_s,
    latent_decode_s,
    latent_prefill_s,
    linear_attention_s,
    sparse_attention_s,
)
from ctxsim.cost.curves.latent import latent_decode_core_s
from ctxsim.geometry import BatchTotals
from ctxsim.spec.calibration import Calibration, Fit, load_calibration
from ctxsim.spec.catalog import names
from ctxsim.spec.model import LatentAttention
from ctxsim.spec.models import load_model
from ctxsim.spec.scenario import Scenario

H200 = "h200-sxm"


def of_model(model: str, ranks: int = 1, **settings: object) -> Scenario:
    return calibrated(scenario(model, H200, deployment__tensor_parallel=ranks, **settings))


def seconds_of(cost: CostModel, batch: BatchTotals) -> dict[str, float]:
    return {c.name: float(c.seconds) for c in cost.breakdown(batch)}


def with_fits(of: Scenario, *more: Fit) -> Calibration:
    assert of.calibration is not None
    return replace(of.calibration, fits=(*of.calibration.fits, *more))


def fit(family: str, variant: str) -> Fit:
    return next(one for one in fits(family) if one.variant == variant)


def latent(model: str) -> LatentAttention:
    mixer = load_model(model).layers[0].mixer
    assert isinstance(mixer, LatentAttention)
    return mixer


def test_experts_are_cut_over_ranks_and_all_on_each() -> None:
    """Qwen3-235B on four ranks: 94 layers, 4,096 wide, 8 of 128 experts of 1,536."""
    cost = CostModel(of_model("qwen3-235b-a22b", 4))
    device = Device.of(cost.scenario.hardware)
    each_s = experts_s(device, fit("experts", "bf16"), "bf16", 40, 4096, 384, 8, 128, 128, 2.0)
    assert seconds_of(cost, cost.batch(40, 0))["experts"] == pytest.approx(94 * float(each_s))


@pytest.mark.parametrize(
    ("model", "weight_dtype", "variant"),
    [
        ("qwen3-235b-a22b", "bf16", "bf16"),
        ("qwen3-235b-a22b", "fp8", "fp8_block"),
        ("kimi-k2", "int4", "int4"),
        ("gpt-oss-120b", "int4", "mxfp4"),
        ("gpt-oss-20b", "int4", "mxfp4"),
        ("mixtral-8x7b", "int4", "int4"),
        ("mixtral-8x7b", "int8", None),
    ],
)
def test_experts_take_the_fit_of_their_format(model: str, weight_dtype: str, variant: str | None) -> None:
    """Of four-bit weights that of gpt-oss for its shapes alone, whose kernels are its own."""
    layer = load_model(model).layers[-1]
    (matrix,) = (m for m in layer.feed_forward if m.experts > 1)
    found = experts_fit(load_calibration("h200-sxm-vllm"), weight_dtype, matrix)
    assert (found and found.variant) == variant


@pytest.mark.parametrize(("weight_dtype", "ranks"), [("bf16", 8), ("fp8", 8), ("fp8", 2)])
def test_a_module_of_one_phase_takes_what_its_fit_says(weight_dtype: str, ranks: int) -> None:
    """DeepSeek-V3: whole modules, with the weights that a rank has of them."""
    cost = CostModel(of_model("deepseek-v3", ranks, serving__weight_dtype=weight_dtype))
    device, mixer, variant = Device.of(cost.scenario.hardware), latent("deepseek-v3"), f"module-bf16-{weight_dtype}"
    weights = sum(m.parameters / (1 if m.max_shards == 1 else ranks) for m in mixer.matrices)
    around = {"projection_weights": weights, "weight_dtype": weight_dtype}
    decode_s = latent_decode_s(device, fit("latent_decode", variant), 1, 4096, 128 / ranks, 512, 64, **around)
    prefill_s = latent_prefill_s(device, fit("latent_prefill", variant), 1, 500, 0, 128 / ranks, 192, 128, **around)
    for batch, expected_s in ((cost.batch(1, 4095), decode_s), (cost.batch(500, 0), prefill_s)):
        found = seconds_of(cost, batch)
        module_s = sum(found[f"attention {name}"] for name in ("module", "latent prefill", "latent decode"))
        assert module_s == pytest.approx(61 * float(expected_s), rel=1e-9)
        assert {found[m.operation] for m in mixer.matrices} == {0.0}
    assert not set(cost.unpriced) & {m.operation for m in mixer.matrices}


@pytest.mark.parametrize("model", ["deepseek-v3.2", "glm-5"])
def test_a_sparse_module_takes_what_its_fit_says(model: str) -> None:
    """With an indexer that every rank has in full; at 4,096 tokens selections of 2,048 are full."""
    cost = CostModel(of_model(model, 8))
    device, mixer, layers = Device.of(cost.scenario.hardware), latent(model), load_model(model).num_layers
    weights = sum(m.parameters / (1 if m.max_shards == 1 else 8) for m in mixer.matrices)
    index = (mixer.index_num_heads, mixer.index_head_dim)
    sizes = (mixer.num_heads / 8, 2048, 512, 64, *index, weights)
    for new, past, phase in ((1, 4095, "decode"), (512, 4096, "prefill")):
        found = seconds_of(cost, cost.batch(new, past))
        module_s = sum(seconds for name, seconds in found.items() if name.startswith("attention ") and "_" not in name)
        expected = sparse_attention_s(device, fit("sparse_attention", f"{phase}-bf16-bf16"), 1, new, past, *sizes)
        assert module_s == pytest.approx(layers * float(expected), rel=1e-3)


def test_chunks_of_a_latent_prompt_expand_what_is_there_again() -> None:
    """2 x past x (512 x 128 x 256) FLOP at 70 % of the bf16 peak, beside the pairs."""
    cost = CostModel(of_model("deepseek-v3"))
    device, one = Device.of(cost.scenario.hardware), fit("latent_prefill", "module-bf16-bf16")
    past = 8192
    plain_s = latent_prefill_s(device, one, 1, 512, past, 128, 192, 128) - latent_prefill_s(
        device, one, 1, 512, 0, 128, 192, 128
    )
    expanded_s = 2 * past * 512 * 128 * 256 / (0.7 * device.peak("bf16"))
    found = [seconds_of(cost, cost.batch(512, at))["attention latent prefill"] for at in (0, past)]
    assert found[1] - found[0] == pytest.approx(61 * (float(plain_s) + expanded_s), rel=1e-9)


def test_what_surrounds_the_kernels_runs_once_for_prompts_and_decode_together() -> None:
    """A chunk of 100 and four decodes: one module over 104 tokens, and the kernel of each phase."""
    cost = CostModel(of_model("deepseek-v3"))
    apart = [seconds_of(cost, cost.batch(100, 0)), seconds_of(cost, cost.batch(1, 1023, sequences=4))]
    lone = [cost.batch(100, 0), cost.batch(1, 1023, sequences=4)]
    both = BatchTotals(
        5, 104, 4,
        [a + b for a, b in zip(lone[0].pairs, lone[1].pairs, strict=True)], lone[0].pairs_growth,
        [a + b for a, b in zip(lone[0].touched, lone[1].touched, strict=True)], lone[0].touched_growth,
    )  # fmt: skip
    found = seconds_of(cost, both)
    for phase, alone in zip(("prefill", "decode"), apart, strict=True):
        name = f"attention latent {phase}"
        assert found[name] == pytest.approx(alone[name])
    module = "attention module"
    assert apart[0][module] < found[module] == pytest.approx(seconds_of(cost, cost.batch(104, 0))[module])


def test_attention_without_its_module_leaves_the_other_projections_to_products() -> None:
    """The A100's tables have the up-projection with the attention, and no other."""
    made_up = calibration("latent_decode", "latent_prefill", hardware=H200)
    apart = tuple(
        replace(one, variant="attention-bf16-bf16")
        for family in ("latent_decode", "latent_prefill")
        for one in fits(family)[:1]
    )
    of = replace(of_model("deepseek-v3", 8), calibration=replace(made_up, fits=(*made_up.fits, *apart)))
    found = seconds_of(CostModel(of), CostModel(of).batch(64, 0))
    assert {name for name, seconds in found.items() if not seconds} >= {"mla_kv_up"}
    assert min(found["mla_down"], found["mla_up"], found["attention_out"]) > 0
    assert CostModel(of).unpriced == ()


def test_delta_rules_run_in_chunks_and_token_by_token() -> None:
    """Qwen3-Next on two ranks: 36 layers with 16 key and 32 value heads of 128."""
    cost = CostModel(of_model("qwen3-next-80b-a3b", 2))
    device, heads = Device.of(cost.scenario.hardware), (8, 16, 128, 128)
    chunk_s = linear_attention_s(device, fit("linear_attention", "chunked"), 2, 300, *heads)
    token_s = linear_attention_s(device, fit("linear_attention", "recurrent"), 3, 1, *heads)
    for batch, each_s in ((cost.batch(300, 0, sequences=2), chunk_s), (cost.batch(1, 500, sequences=3), token_s)):
        assert seconds_of(cost, batch)["state linear"] == pytest.approx(36 * float(each_s))


def test_other_states_have_no_fit() -> None:
    for model in ("minimax-text-01", "jamba-1.5-mini"):
        kinds = {layer.mixer.kind for layer in load_model(model).layers if hasattr(layer.mixer, "state_bytes")}
        assert CostModel(of_model(model)).unpriced == tuple(f"state {kind}" for kind in kinds)


def test_norms_without_their_sums_leave_these_to_a_kernel_of_their_own() -> None:
    """65 norms of 4,096 values a token in bf16: four passes, or two and a sum of three."""
    of = calibrated(scenario("llama-3.1-8b", H200))
    norm = fit("elementwise", "norm")
    both = with_fits(of, replace(norm, variant="add"))
    device = Device.of(of.hardware)
    for one, passes in ((of, (4,)), (replace(of, calibration=both), (2, 3))):
        each_s = sum(float(elementwise_s(device, norm, n * 100 * 4096 * 2, 100)) for n in passes)
        assert seconds_of(CostModel(one), CostModel(one).batch(100, 0))["norms"] == pytest.approx(65 * each_s)


def test_keys_and_values_are_stored_where_that_was_measured_apart() -> None:
    """Eight KV heads of 128, read and written, in 32 layers."""
    of = calibrated(scenario("llama-3.1-8b", H200))
    rotary = fit("elementwise", "rotary")
    stored = with_fits(of, replace(rotary, variant="kv_store"))
    cost = CostModel(replace(of, calibration=stored))
    each_s = elementwise_s(Device.of(of.hardware), rotary, 2 * 2 * 8 * 128 * 2 * 100, 100)
    assert seconds_of(cost, cost.batch(100, 0))["kv_store"] == pytest.approx(32 * float(each_s))


def test_windows_that_are_not_full_are_attention_to_all() -> None:
    """Gemma-2 with windows of 4,096: below, the fit of full attention; from there on, that of windows, ten times it."""
    of = calibrated(scenario("gemma-2-27b", H200))
    assert of.calibration is not None
    slow = [
        replace(one, variant=f"{one.variant}-windowed", scale=10.0)
        for one in of.calibration.fits
        if one.family == "decode_attention"
    ]
    cost, plain = (
        CostModel(replace(of, calibration=replace(of.calibration, fits=(*of.calibration.fits, *slow)))),
        CostModel(of),
    )
    for context, times in ((1024, 1), (2048, 1), (4096, 10), (20_000, 10)):
        found, full = (seconds_of(one, one.batch(1, context - 1)) for one in (cost, plain))
        assert found["attention sliding 4096 decode"] == pytest.approx(times * full["attention sliding 4096 decode"])
        assert found["attention full decode"] == full["attention full decode"]
    jumped = sum(course_s(cost.law(batch), n) for batch, n in repetitions(cost.spans, 6000, 500, 1))
    single = sum(next(iter(cost.law(cost.batch(1, at)))).first_s for at in range(500, 6500))
    assert jumped == pytest.approx(single, rel=1e-9)


def test_what_was_measured_elsewhere_has_twice_the_spread() -> None:
    """Borrowed fits, and windows by the fit of full attention; once, whatever the reasons."""
    of = calibrated(scenario("gemma-2-27b", H200))
    spreads = family_spreads(of, 20_000)
    assert spreads["decode_attention"] == spreads["prefill_attention"] == pytest.approx(GUESS_FACTOR * 0.05)
    assert spreads["elementwise"] == pytest.approx(0.05)
    windowed = [
        replace(one, variant=f"{one.variant}-windowed")
        for family in ("decode_attention", "prefill_attention")
        for one in fits(family)
    ]
    own = replace(of, calibration=with_fits(of, *windowed))
    assert family_spreads(own, 20_000)["decode_attention"] == pytest.approx(0.05)
    lent = replace(of, calibration=with_fits(of, replace(fit("elementwise", "norm"), variant="add", borrowed_from="x")))
    assert family_spreads(lent, 20_000)["elementwise"] == pytest.approx(GUESS_FACTOR * 0.05)


def test_every_family_that_prices_something_has_a_spread() -> None:
    expected = {"gemm", "elementwise", "all_reduce", "host"}
    attention = {"decode_attention", "prefill_attention", "mixed_attention"}
    for model, families in (
        ("deepseek-v3", {"latent_decode", "latent_prefill", "experts"}),
        ("deepseek-v3.2", {"sparse_attention", "experts"}),
        ("qwen3-next-80b-a3b", {"linear_attention", "experts"} | attention),
    ):
        assert set(family_spreads(of_model(model, 8), 50_000)) == expected | families


UNPRICED = {
    ("a100-80gb-sxm", "deepseek-v3.2"): "attention latent prefill, attention latent decode, attention index prefill, "
    "attention index decode",
    ("a100-80gb-sxm", "glm-5"): "attention latent prefill, attention latent decode, attention index prefill, "
    "attention index decode",
    ("a100-80gb-sxm", "qwen3-next-80b-a3b"): "state linear",
    ("a100-80gb-sxm", "qwen3.5-397b-a17b"): "state linear",
    **{
        (hardware, model): operations
        for hardware in ("a100-80gb-sxm", H200)
        for model, operations in (
            ("granite-4.0-h-small", "state ssm"),
            ("jamba-1.5-mini", "state ssm"),
            ("minimax-text-01", "state linear"),
            ("paper-8x34b", "experts"),
        )
    },
}
"""What shipped calibrations cannot price of shipped models in bf16: kernels that nobody timed on the device (DeepSeek's
sparse attention and prompts of the delta rule on A100; Mamba and lightning attention anywhere), and experts whose shape
a model given by its totals does not say."""


@pytest.mark.parametrize("hardware", ["a100-80gb-sxm", H200])
@pytest.mark.parametrize("model", names("model"))
def test_what_shipped_calibrations_do_not_price(model: str, hardware: str) -> None:
    own = load_calibration(f"{hardware}-vllm")
    of = scenario(model, hardware, deployment__tensor_parallel=most_ranks(model))
    found = CostModel(replace(of, fidelity="calibrated", calibration=own)).unpriced
    assert ", ".join(found) == UNPRICED.get((hardware, model), "")


@pytest.mark.parametrize("weight_dtype", ["fp8", "int4"])
def test_narrow_weights_are_priced_as_far_as_they_were_measured(weight_dtype: str) -> None:
    """H200, fp8: all. int4: experts alone; its products and modules run at the profile's shares."""
    own, found = load_calibration("h200-sxm-vllm"), {}
    for model in ("deepseek-v3", "deepseek-v3.2", "kimi-k2", "gpt-oss-120b", "qwen3-235b-a22b", "qwen3.5-397b-a17b"):
        of = scenario(model, H200, deployment__tensor_parallel=8, serving__weight_dtype=weight_dtype)
        found[model] = CostModel(replace(of, fidelity="calibrated", calibration=own)).unpriced
    if weight_dtype == "fp8":
        assert set(found.values()) == {()}
    else:
        assert found["gpt-oss-120b"] == ()  # whose checkpoint keeps all but its experts in bf16
        assert all("qkv" in names or "mla_up" in names for model, names in found.items() if model != "gpt-oss-120b")
        assert not any("experts" in names for names in found.values())


def test_latent_cores_are_what_the_context_adds() -> None:
    device = Device.of(scenario("llama-3.1-8b", H200).hardware)
    one = fit("latent_decode", "module-bf16-bf16")
    grown = [float(latent_decode_s(device, one, 8, context, 16, 512, 64, 1e7)) for context in (1000, 2000)]
    cores = [float(latent_decode_core_s(device, one, 8, context, 16, 512, 64)) for context in (1000, 2000)]
    assert grown[1] - grown[0] == pytest.approx(cores[1] - cores[0])
    assert FITS["latent_decode"]["launch_s"] < grown[0] - cores[0]
