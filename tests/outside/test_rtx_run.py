"""A run of vLLM on an RTX PRO 6000, predicted from kernels of the same GPU; what prefill fits say of long pasts.

Of the run nothing is used but the engine's arguments, and when requests of which lengths came. ``pytest -s`` prints the
numbers.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ctxsim.calibrate import evaluate, frames, llmservingsim, mixed
from ctxsim.calibrate.plans import PLANS
from ctxsim.cost import CostModel
from ctxsim.cost.curves import Device
from ctxsim.spec.calibration import load_calibration
from ctxsim.spec.hardware import load_hardware
from ctxsim.spec.scenario import load_scenario
from ctxsim.validate.errors import error_table
from ctxsim.validate.rtx import past_table
from ctxsim.validate.runs import predicted_run, read_run, run_errors

NAME, HARDWARE, VARIANT = "rtx-pro-6000-vllm", "rtx-pro-6000", "bf16-128"
RUN = "serving/llmservingsim/RTXPRO6000/Llama-3.1-8B"


@pytest.fixture(scope="module")
def run(outside_data):
    return read_run(outside_data / RUN / "requests.jsonl")


def shown(label, errors):
    for latency, row in errors.set_index("latency").iterrows():
        cells = ", ".join(f"{name} {row[f'{name}_error_ratio']:+.1%}" for name in ("mean", "p50", "p90", "p99"))
        print(f"{label}, {latency}: {cells}")


def means(errors):
    return errors.set_index("latency")["mean_error_ratio"]


def test_the_run_from_its_kernels_alone(run):
    """No time of the host is added: none was measured for this engine but by this run."""
    errors = run_errors(run, predicted_run(load_scenario("rtx-pro-6000-chat"), run))
    shown("kernels alone", errors)
    assert abs(means(errors)["ttft_s"]) <= 0.15
    assert abs(means(errors)["tpot_s"]) <= 0.05


def test_what_the_parts_of_the_prediction_do(run):
    """Decode beside chunks, priced as if alone, is too fast; a host of 2024 that the device waits for, too slow."""
    scenario = load_scenario("rtx-pro-6000-chat")
    calibration = scenario.calibration
    apart = tuple(fit for fit in calibration.fits if fit.family != "mixed_attention")
    hosts = tuple(fit for fit in load_calibration("a100-80gb-sxm-vidur").fits if fit.family == "host")
    others = {"decode as if alone": apart, "with Vidur's host": calibration.fits + hosts}
    found = {}
    for label, fits in others.items():
        other = replace(scenario, calibration=replace(calibration, fits=fits))
        found[label] = run_errors(run, predicted_run(other, run))
        shown(label, found[label])
    assert means(found["decode as if alone"])["tpot_s"] < -0.05
    assert means(found["with Vidur's host"])["tpot_s"] > 0.05


def test_the_pool_of_kv_is_derived_and_never_full(run):
    """The run's own record of it says 0 % in every second, which says nothing: 128 sequences cannot hold none."""
    memory = CostModel(load_scenario("rtx-pro-6000-chat")).memory
    tokens = memory.kv_capacity_bytes / 131_072
    most = (run["prompt_tokens"] + run["output_tokens"]).nlargest(128).sum()
    print(f"KV: {tokens:.0f} tokens derived; the 128 longest requests of the run are {most} tokens")
    assert most < tokens


def test_kernels_left_out(outside_data):
    found = evaluate(outside_data / "kernels", NAME)
    shapes = found[~found["split"].str.startswith("longest")]
    table = error_table(shapes, ["family", "variant"]).set_index(["family", "variant"])
    print(table.drop(columns=["covered_ratio"]).round(3).to_string())
    print(error_table(found[found["split"].str.startswith("longest")], ["family", "variant"]).round(3).to_string())
    assert table.loc[("decode_attention", VARIANT), "mape_ratio"] <= 0.06
    assert table.loc[("prefill_attention", VARIANT), "mape_ratio"] <= 0.06
    assert len(table) == 9


def test_the_shipped_calibration_follows_its_tables(outside_data):
    calibration, device = load_calibration(NAME), Device.of(load_hardware(HARDWARE))
    for part in PLANS[NAME].parts:
        rows = part.rows(outside_data / RUN / "kernels")
        for variant in set(rows["variant"]):
            fit = calibration.fit(part.form.family, variant)
            judged = part.form.judged(device, frames.of(rows, part.form.family, variant))
            error = np.abs(part.form.seconds(device, fit, judged) / judged["seconds"] - 1).mean()
            print(f"{part.form.family} {variant}: {len(judged)} rows, MAPE {error:.3f} of the fit itself")
            assert error <= 1.05 * fit.spread_ratio, (part.form.family, variant)


def test_prompts_alone_say_little_of_chunks_after_a_long_past(outside_data):
    """The first evidence of long pasts: chunks of 512 and more, as fits are judged, are fair to a past as long as the
    chunk, and a tenth off beyond four times. Shorter ones come out at half of what they take and less."""
    table = past_table(outside_data / RUN / "kernels")
    print(table.round(3).to_string())
    errors = table[table["chunk"] == "512 tokens and more"].set_index("past_over_new")["mape_ratio"]
    assert errors[["none", "up to 1/2", "1/2 to 1"]].max() <= 0.06
    assert errors.max() <= 0.2


def test_decode_beside_a_chunk_is_neither_the_sum_nor_the_longer(outside_data):
    """32 decoding sequences and more: the sum of the two kernels is off by a third, the form by a few per cent."""
    rows = frames.of(llmservingsim.read_mixed(outside_data / RUN / "kernels"), "mixed_attention", VARIANT)
    alone = llmservingsim.read_decode(outside_data / RUN / "kernels")[["batch", "context_tokens", "seconds"]]
    rows = rows.merge(alone.rename(columns={"seconds": "decode_s"}), on=["batch", "context_tokens"])
    rows = rows[rows["batch"] >= 32]
    device, fit = Device.of(load_hardware(HARDWARE)), load_calibration(NAME).fit("mixed_attention", VARIANT)
    predicted = {
        "sum": rows["beside_s"] + rows["decode_s"],
        "longer": np.maximum(rows["beside_s"], rows["decode_s"]),
        "form": mixed.FORM.seconds(device, fit, rows),
    }
    off = {name: float(np.abs(seconds / rows["seconds"] - 1).mean()) for name, seconds in predicted.items()}
    print(f"{len(rows)} mixed batches of 32 decoding sequences and more, MAPE: {off}")
    assert off["form"] <= 0.05
    assert off["form"] < off["sum"] < off["longer"]
