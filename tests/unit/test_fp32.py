"""Scenarios in fp32: four bytes everywhere, at the peak of fp32, and refused where a device has none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cost_scenarios import scenario
from support.calibrations import fits

from ctxsim.cost import CostModel
from ctxsim.cost.memory import activation_peak_bytes
from ctxsim.cost.weights import model_bytes
from ctxsim.errors import SpecError
from ctxsim.spec.calibration import Calibration, Fit
from ctxsim.spec.models import load_model
from ctxsim.spec.scenario import Scenario, load_scenario

FP32 = {"serving__weight_dtype": "fp32", "serving__kv_dtype": "fp32"}
PEAK = 78e12


def in_fp32(model: str = "llama-3.1-8b") -> Scenario:
    """On an A100 whose fp32 peak is known, an eighth of bf16's or so."""
    base = scenario(model, "a100-80gb-sxm")
    peaks = (*base.hardware.peaks_flop_per_s, ("fp32", PEAK))
    serving = base.serving.model_copy(update={"weight_dtype": "fp32", "kv_dtype": "fp32"})
    return replace(base, hardware=replace(base.hardware, peaks_flop_per_s=peaks), serving=serving)


def test_a_device_without_a_peak_refuses_fp32() -> None:
    overrides = {"serving.weight_dtype": "fp32", "hardware": "a100-80gb-sxm"}
    with pytest.raises(SpecError) as refused:
        load_scenario("llama-8b-chat", overrides)
    assert "serving.weight_dtype: expected a format that a100-80gb-sxm has a peak for (bf16, int8), found fp32" in str(
        refused.value
    )


def test_kv_is_no_wider_than_weights() -> None:
    with pytest.raises(SpecError, match=r"serving\.kv_dtype: expected fp32 beside weight_dtype: fp32 only"):
        load_scenario("llama-8b-chat", {"serving.kv_dtype": "fp32"})


def test_weights_and_kv_are_twice_those_of_bf16() -> None:
    model = load_model("llama-3.1-8b")
    assert model_bytes(model, "fp32", 1) == 4 * model.num_parameters == 2 * model_bytes(model, "bf16", 1)
    half, full = CostModel(scenario("llama-3.1-8b", "a100-80gb-sxm")), CostModel(in_fp32())
    assert full.layout.block_bytes == 2 * half.layout.block_bytes
    assert full.streamed_bytes(full.batch(1, 100)) == 2 * half.streamed_bytes(half.batch(1, 100))
    assert full.hbm_bytes(full.batch(1, 100)) == pytest.approx(2 * half.hbm_bytes(half.batch(1, 100)))


def test_activations_are_twice_those_of_bf16_and_logits_the_same() -> None:
    half, full = (
        replace(s, serving=s.serving.model_copy(update={"activation_peak": "auto"}))
        for s in (scenario("llama-3.1-8b", "a100-80gb-sxm"), in_fp32())
    )
    logits_bytes = full.serving.max_num_seqs * full.model.vocab_size * 4
    assert activation_peak_bytes(full) - logits_bytes == 2 * (activation_peak_bytes(half) - logits_bytes)


def test_everything_is_computed_at_the_peak_of_fp32() -> None:
    cost = CostModel(in_fp32())
    assert (cost.rates.plain_flop_per_s, cost.rates.weight_flop_per_s) == pytest.approx((PEAK, PEAK))
    batch = cost.batch(512, 0)
    assert sum(c.compute_s for c in cost.breakdown(batch)) == pytest.approx(cost.flop(batch) / PEAK)


def calibrated(base: Scenario, *families: Fit) -> Scenario:
    return replace(base, fidelity="calibrated", calibration=Calibration("made-up", base.hardware.name, families))


CPU_FITS = (
    Fit("packed_gemm", "fp32", (
        ("launch_s", 1e-5), ("hbm_ratio", 0.9), ("packed_ratio", 0.5), ("activation_ratio", 1.0), ("flop_ratio", 0.8),
        ("sharpness", 1.5)), (), 0.1, 0.0),
    Fit("serial_decode", "fp32", (
        ("call_s", 1e-5), ("hbm_ratio", 0.8), ("flop_ratio", 0.2), ("vector_ratio", 0.1)), (), 0.1, 0.0),
    Fit("masked_prefill", "fp32", (
        ("call_s", 1e-5), ("flop_ratio", 0.5), ("mask_ratio", 1.0), ("lag_tokens", 100.0), ("score_values", 10.0)),
        (), 0.1, 0.0),
    *(Fit("elementwise", f"{name}-fp32", (("launch_s", 1e-5), ("hbm_ratio", 0.5)), (), 0.1, 0.0)
      for name in ("norm", "rotary", "activation", "kv_store", "embedding", "sampling")),
    *fits("host"),
)  # fmt: skip


def test_fits_of_a_cpu_price_every_operation() -> None:
    cost = CostModel(calibrated(in_fp32(), *CPU_FITS))
    assert cost.unpriced == ()
    names = {c.name for c in cost.breakdown(cost.batch(1, 100))}
    assert names >= {"qkv", "mlp", "head", "norms", "rotary", "activation", "kv_store", "embedding", "sampling"}
    batch = cost.batch(512, 512)
    assert next(iter(cost.law(batch))).first_s == pytest.approx(float(cost.pass_s(batch)), rel=1e-12)


def test_decodes_of_several_sequences_add_up() -> None:
    cost = CostModel(calibrated(in_fp32(), *CPU_FITS))

    def attention_s(sequences: int) -> float:
        breakdown = cost.breakdown(cost.batch(1, 4096, sequences=sequences))
        return sum(float(c.seconds) for c in breakdown if c.name.startswith("attention full"))

    assert attention_s(8) == pytest.approx(8 * attention_s(1), rel=1e-6)


def test_fits_of_bf16_price_nothing_of_fp32() -> None:
    """Nothing narrower stands in: prompts have no fit, where those of fp8 would take bf16's."""
    cost = CostModel(calibrated(in_fp32(), *fits("gemm"), *fits("prefill_attention"), *fits("elementwise")))
    assert {"qkv", "mlp", "head", "attention full prefill", "norms"} <= set(cost.unpriced)
