"""How well fits predict whole shapes, and the longest decade of context, that they have not seen.

Folds follow rows that are thinned evenly, so that the whole file stays within a minute and a half; every left-out row
is predicted. ``pytest -s`` prints the numbers.
"""

from __future__ import annotations

import numpy as np
import pytest

from ctxsim.calibrate import collective, decode, evaluate, experts, frames, gemm, prefill, tables
from ctxsim.calibrate.leave_out import judge, left_out_predictions
from ctxsim.calibrate.plans import PLANS
from ctxsim.cost.curves import Device
from ctxsim.spec.calibration import WINDOWED, load_calibration
from ctxsim.spec.hardware import load_hardware
from ctxsim.validate.errors import relative_errors
from ctxsim.validate.layers import PAIRS, clock_errors, layer_errors

A100, H200 = "a100-80gb-sxm", "h200-sxm"
FOLDERS = {A100: "aiconfigurator/a100_sxm", H200: "aiconfigurator/h200_sxm"}
READERS = {
    "gemm": (gemm.FORM, tables.read_gemm),
    "decode_attention": (decode.FORM, tables.read_decode),
    "prefill_attention": (prefill.FORM, tables.read_prefill),
    "nccl": (collective.NCCL, tables.read_all_reduce),
}


def errors(predictions):
    return (predictions["predicted_s"] / predictions["seconds"] - 1).to_numpy(float)


def left_out(outside_data, hardware, family, variant):
    """Relative errors of whole shapes by a fit without them."""
    form, reader = READERS[family]
    rows = frames.of(reader(outside_data / "kernels" / FOLDERS[hardware]), form.family, variant)
    device = Device.of(load_hardware(hardware))
    judged, predictions = judge(form, device, variant, rows)
    found, size = errors(predictions), predictions[form.grown].to_numpy(float)
    mape, covered = np.abs(found).mean(), (np.abs(found) <= judged.band_ratio(size, np.zeros(1))).mean()
    name = f"{hardware} {family} {variant}"
    print(f"{name}: {len(found)} rows, MAPE {mape:.4f}, bias {found.mean():+.4f}, in band {covered:.3f}")
    return found, covered


@pytest.mark.parametrize(
    ("hardware", "family", "variant", "target"),
    [
        (A100, "gemm", "bf16", 0.06),
        (A100, "decode_attention", "bf16-128", 0.06),
        (A100, "prefill_attention", "bf16-128", 0.06),
        (A100, "nccl", "nccl", 0.08),
        (H200, "gemm", "bf16", 0.06),
        (H200, "decode_attention", "bf16-64", 0.04),
        (H200, "decode_attention", "bf16-128", 0.04),
        (H200, "decode_attention", "bf16-192", 0.04),
        (H200, "decode_attention", "bf16-256", 0.04),
        (H200, "prefill_attention", "bf16-64", 0.06),
        (H200, "prefill_attention", "bf16-128", 0.06),
        (H200, "nccl", "nccl", 0.08),
    ],
)
def test_shapes_left_out_of_the_fit(outside_data, hardware, family, variant, target):
    found, covered = left_out(outside_data, hardware, family, variant)
    assert np.abs(found).mean() <= target
    assert covered >= 0.87


BF16 = tuple(f"bf16-{head_dim}" for head_dim in (64, 128, 192, 256))


@pytest.mark.parametrize("hardware", [A100, H200])
def test_the_longest_decade_of_context(outside_data, hardware):
    """Fitted on up to 16K tokens of context, asked up to 131K; the band, too, is that of the shorter contexts alone."""
    found = evaluate(outside_data / "kernels", f"{hardware}-vllm", ("decode_attention",), BF16)
    found = found[found["split"] == "longest decade of context_tokens"]
    error = np.abs(found["predicted_s"] / found["measured_s"] - 1)
    covered = (error <= found["band_ratio"]).mean()
    widths = found["band_ratio"].mean() / error.mean()
    print(f"{hardware}: {len(found)} rows, MAPE {error.mean():.4f}, in band {covered:.3f}, {widths:.2f} widths")
    assert error.mean() <= 0.06
    assert covered >= 0.9
    assert widths <= 2.5


@pytest.mark.parametrize("hardware", [A100, H200])
def test_vllm_s_own_all_reduce(outside_data, hardware):
    """Left out by machine, and by decade of message size; both within the target of all-reduce."""
    rows = frames.of(tables.read_all_reduce(outside_data / "kernels" / FOLDERS[hardware]), "all_reduce", "custom")
    device = Device.of(load_hardware(hardware))
    found = left_out_predictions(collective.CUSTOM, device, "custom", rows)
    machines = found["split"].str.startswith("accelerators").to_numpy()
    by_machine, by_decade = np.abs(errors(found[machines])).mean(), np.abs(errors(found[~machines])).mean()
    print(f"{hardware} custom all-reduce: MAPE by machine {by_machine:.4f}, by decade {by_decade:.4f}")
    assert by_machine <= 0.08
    assert by_decade <= 0.08


@pytest.mark.parametrize(("fitted", "asked"), PAIRS)
def test_a_layer_of_the_other_model_at_sustained_clocks(outside_data, fitted, asked):
    found = relative_errors(layer_errors(outside_data / "kernels" / "vidur", fitted, asked))
    print(f"Vidur, {fitted} asked for {asked}: MAPE {found.abs().mean():.4f}, bias {found.mean():+.4f}")
    assert found.abs().mean() <= 0.06


def test_the_two_sources_of_the_a100_differ_by_their_clocks(outside_data):
    """Large products in a layer's sequence take longer than one by one: the two calibrations are kept apart."""
    for model, rows in clock_errors(outside_data / "kernels" / "vidur").groupby("model"):
        more = (rows["measured_s"] / rows["predicted_s"]).mean()
        print(f"Vidur over vLLM, products of {model}, 1000 tokens and more: {more - 1:+.3f}")
        assert 1.03 < more < 1.25


def test_shipped_calibrations_follow_the_tables_they_were_made_from(outside_data):
    for hardware in (A100, H200):
        calibration = load_calibration(f"{hardware}-vllm")
        device = Device.of(load_hardware(hardware))
        for part in PLANS[calibration.name].parts[:3]:
            rows = part.rows(outside_data / "kernels" / FOLDERS[hardware])
            for variant in set(rows["variant"]):
                fit = calibration.fit(part.form.family, variant)
                judged = part.form.judged(device, frames.of(rows, part.form.family, variant))
                error = np.abs(part.form.seconds(device, fit, judged) / judged["seconds"] - 1).mean()
                assert error <= 1.05 * fit.spread_ratio, (hardware, variant)


@pytest.mark.parametrize("variant", ["bf16-64-windowed", "bf16-128-windowed"])
def test_full_windows_have_fits_of_their_own(outside_data, variant):
    """Head geometries left out, against the fit of full attention, which errs by twice as much and more."""
    device, form = Device.of(load_hardware(H200)), decode.WINDOWED_FORM
    rows = frames.of(tables.read_windowed_decode(outside_data / "kernels" / FOLDERS[H200]), form.family, variant)
    found = np.abs(errors(left_out_predictions(form, device, variant, rows))).mean()
    full = load_calibration(f"{H200}-vllm").fit(form.family, variant.removesuffix(WINDOWED))
    by_full = np.abs(form.seconds(device, full, rows) / rows["seconds"] - 1).mean()
    print(f"{variant}: MAPE {found:.4f}, by the fit of full attention {by_full:.4f}")
    assert found <= 0.06
    assert found <= by_full / 2


def test_experts_of_other_models(outside_data):
    """Models left out; vLLM's experts with scales for blocks, as published checkpoints in fp8 have them."""
    device, variant = Device.of(load_hardware(H200)), "fp8_block"
    rows = frames.of(tables.read_experts(outside_data / "kernels" / FOLDERS[H200]), "experts", variant)
    found = errors(left_out_predictions(experts.FORM, device, variant, rows))
    print(f"experts {variant}: MAPE {np.abs(found).mean():.4f}, bias {found.mean():+.4f}")
    assert np.abs(found).mean() <= 0.12
