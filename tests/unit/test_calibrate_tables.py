"""Readers of kernel tables: our names and units, repeats, what is left aside, and words for what is missing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ctxsim.calibrate import evaluate, fit_tables, frames, modules, tables, vidur
from ctxsim.calibrate.plans import PLANS
from ctxsim.errors import SpecError
from ctxsim.spec.calibration import WINDOWED, load_calibration, read_calibration
from ctxsim.spec.hardware import load_hardware


def write(folder, name, **columns):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_parquet(path)
    return folder


def test_products_in_seconds_with_repeats_as_their_median(tmp_path):
    folder = write(
        tmp_path, "gemm/vllm/1/gemm_perf.parquet", gemm_dtype=["bfloat16"] * 3 + ["fp8_block", "nvfp4"],
        m=[1, 1, 1, 2, 2], n=[64] * 5, k=[32] * 5, latency=[1.0, 2.0, 9.0, 4.0, 4.0],
    )  # fmt: skip
    rows = tables.read_gemm(folder)
    assert rows[["variant", "dtype", "m", "seconds"]].to_dict("list") == {
        "variant": ["bf16", "fp8_block"], "dtype": ["bf16", "fp8"], "m": [1.0, 2.0], "seconds": [2e-3, 4e-3],
    }  # fmt: skip


def test_decode_context_counts_the_new_token_and_windows_are_left_aside(tmp_path):
    folder = write(
        tmp_path, "attention/vllm/1/generation_attention_perf.parquet", num_heads=[32] * 3, batch_size=[4] * 3,
        num_key_value_heads=[8] * 3, head_dim=[128, 128, 512], kv_cache_dtype=["fp8"] * 3, step=[1023] * 3,
        window_size=[0, 128, 0], latency=[0.5, 0.1, 0.9],
    )  # fmt: skip
    (row,) = tables.read_decode(folder).to_dict("records")
    assert (row["context_tokens"], row["past_tokens"], row["new_tokens"]) == (1024, 1023, 1)
    assert (row["variant"], row["kv_dtype"], row["seconds"]) == ("fp8-128", "fp8", 5e-4)


def test_windows_are_variants_of_their_own_and_count_as_context_once_they_are_full(tmp_path):
    shape = {"num_heads": [32] * 4, "batch_size": [4] * 4, "num_key_value_heads": [8] * 4, "head_dim": [128] * 4}
    window = {"kv_cache_dtype": ["bfloat16"] * 4, "window_size": [0, 128, 128, 128]}
    name = "attention/vllm/1/{}_attention_perf.parquet"
    columns = shape | window | {"latency": [1.0, 2.0, 3.0, 5.0]}
    write(tmp_path, name.format("generation"), step=[1023, 127, 255, 1023], **columns)
    write(tmp_path, name.format("context"), isl=[64, 64, 512, 512], **columns)
    (row,) = tables.read_windowed_decode(tmp_path).to_dict("records")
    assert (row["variant"], row["context_tokens"], row["seconds"]) == ("bf16-128-windowed", 128, 4e-3)
    rows = tables.read_windowed_prefill(tmp_path)
    assert rows[["variant", "window_tokens", "new_tokens", "seconds"]].values.tolist() == [
        ["bf16-128-windowed", 128.0, 64.0, 2e-3], ["bf16-128-windowed", 128.0, 512.0, 4e-3],
    ]  # fmt: skip


def test_experts_by_format_and_those_of_gpt_oss_by_their_own_kernels(tmp_path):
    formats = ["bfloat16", "fp8_block", "int4_wo", "w4a16_mxfp4", "w4a16_mxfp4", "fp8"]
    write(
        tmp_path, "moe/vllm/1/moe_perf.parquet", moe_dtype=formats, num_tokens=[8] * 6, hidden_size=[64] * 6,
        inter_size=[96] * 6, topk=[2] * 6, num_experts=[16] * 6, moe_tp_size=[4] * 6, moe_ep_size=[1] * 5 + [2],
        distribution=["power_law_1.01"] * 6, latency=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        kernel_source=["triton", "cutlass", "marlin", "gptossmxfp4moe", "marlin", "cutlass"],
    )  # fmt: skip
    rows = tables.read_experts(tmp_path)
    found = {row["variant"]: (row["dtype"], row["seconds"]) for row in rows.to_dict("records")}
    assert found == {
        "bf16": ("bf16", 1e-3),
        "fp8_block": ("fp8", 2e-3),
        "int4": ("bf16", 3e-3),
        "mxfp4": ("bf16", 4e-3),
    }
    assert (rows[["intermediate", "local_experts"]].to_numpy() == [24.0, 16.0]).all()


def test_messages_count_two_bytes_an_element_and_custom_ends_where_nccl_takes_over(tmp_path):
    folder = write(
        tmp_path, "comm/nccl/2/nccl_perf.parquet", op_name=["all_reduce", "all_gather"], nccl_dtype=["half"] * 2,
        num_gpus=[4, 4], message_size=[1000, 1000], latency=[0.01, 0.02],
    )  # fmt: skip
    write(
        tmp_path, "comm/vllm/1/custom_allreduce_perf.parquet", backend=["vllm_graph"] * 2 + ["vllm_eager"],
        num_gpus=[2] * 3, message_size=[2**21, 2**22, 2**21], latency=[0.02, 0.2, 0.1],
    )  # fmt: skip
    rows = tables.read_all_reduce(folder)
    assert rows[["variant", "moved_bytes", "seconds"]].values.tolist() == [
        ["custom", 2.0**22, 2e-5], ["nccl", 2000.0, 1e-5],
    ]  # fmt: skip


def test_latent_modules_count_the_projections_of_their_heads(tmp_path):
    folder = write(
        tmp_path, "mla/vllm/1/mla_generation_module_perf.parquet", num_heads=[128, 64], batch_size=[1, 1],
        kv_cache_dtype=["bfloat16", "fp8"], gemm_type=["bfloat16", "fp8_block"], step=[16, 16], latency=[0.2, 0.1],
    )  # fmt: skip
    rows = modules.read_latent_decode(folder).sort_values("heads")
    assert rows["variant"].tolist() == ["module-fp8-fp8", "module-bf16-bf16"]
    half, whole = rows["projection_weights"]
    fixed = 7168 * (1536 + 512 + 64)
    assert whole == 187_105_280  # DeepSeek-V3's latent attention: down, up, K and V up, output
    assert half - fixed == (whole - fixed) / 2


def test_vidur_shapes_are_those_of_the_model(tmp_path):
    operations = (*vidur.GEMMS, *vidur.ELEMENTWISE)
    columns = {f"time_stats.{operation}.median": [1.0, 3.0] for operation in operations}
    write(
        tmp_path, "a100/meta-llama/Meta-Llama-3-8B/mlp.parquet", num_tokens=[10, 10],
        num_tensor_parallel_workers=[2, 2], **columns,
    )  # fmt: skip
    rows = vidur.read_layers(tmp_path, "llama-3.1-8b").set_index("operation")
    assert (rows["seconds"] == 2e-3).all()
    assert rows.loc["attn_pre_proj", ["m", "n", "k"]].tolist() == [10, (4096 + 2 * 1024) / 2, 4096]
    assert rows.loc["mlp_up_proj", ["n", "k"]].tolist() == [14336, 4096]
    assert rows.loc["mlp_down_proj", ["n", "k"]].tolist() == [4096, 7168]
    assert rows.loc["add", "moved_bytes"] == 10 * 3 * 4096 * 2
    assert rows.loc["attn_rope", "moved_bytes"] == 10 * 2 * 40 * 128 / 2 * 2


def test_missing_tables_and_columns_are_named(tmp_path):
    with pytest.raises(SpecError, match=r"expected a table gemm/\*/\*/gemm_perf.parquet, found none"):
        tables.read_gemm(tmp_path)
    with pytest.raises(SpecError, match=r"expected the table cpu_overheads/a100.parquet, found none"):
        vidur.read_host(tmp_path)
    write(tmp_path, "gemm/vllm/1/gemm_perf.parquet", gemm_dtype=["fp8"], m=[1], latency=[1.0])
    with pytest.raises(
        SpecError, match=r"expected columns n, k in gemm_perf.parquet, found only gemm_dtype, m, latency"
    ):
        tables.read_gemm(tmp_path)


def test_rows_without_a_time_are_refused():
    with pytest.raises(SpecError, match="expected rows with seconds above zero, found none"):
        frames.framed(pd.DataFrame({"seconds": []}))
    with pytest.raises(SpecError, match="found a row without"):
        frames.framed(pd.DataFrame({"seconds": [1.0, 0.0]}))


def test_attention_without_its_module_counts_the_up_projection_alone(tmp_path):
    folder = write(
        tmp_path, "mla/vllm/1/context_mla_perf.parquet", num_heads=[128], batch_size=[1], kv_cache_dtype=["bfloat16"],
        isl=[512], latency=[0.2],
    )  # fmt: skip
    (row,) = modules.read_latent_prefill(folder).to_dict("records")
    assert (row["variant"], row["projection_weights"]) == ("attention-bf16-bf16", 512 * 128 * (128 + 128))


def borrowed(name):
    """The small kernels of a calibration that come from another one, by variant."""
    return {fit.variant: fit for fit in read_calibration(name).fits if fit.borrowed_from}


def test_small_kernels_of_the_a100_are_those_of_its_other_calibration_and_say_so():
    """Coefficients, errors and spread as they are there; the source cited is of this file."""
    lender = {fit.variant: fit for fit in read_calibration("a100-80gb-sxm-vidur").fits if fit.family == "elementwise"}
    file, lent = read_calibration("a100-80gb-sxm-vllm"), borrowed("a100-80gb-sxm-vllm")
    assert set(lent) == set(lender)
    for variant, fit in lent.items():
        assert fit.borrowed_from == "a100-80gb-sxm-vidur"
        assert fit.spread_ratio == lender[variant].spread_ratio
        assert {n: (c.value, c.error) for n, c in fit.coefficients.items()} == {
            n: (c.value, c.error) for n, c in lender[variant].coefficients.items()
        }
        assert all("Vidur" in file.sources[c.source] for c in fit.coefficients.values())


def test_small_kernels_of_the_h200_start_as_vllm_s_do_and_stream_as_its_own_decode_attention():
    """Nothing of another device's cache: no grid, and the bandwidth that the H200 itself reaches."""
    lender = {fit.variant: fit for fit in read_calibration("rtx-pro-6000-vllm").fits if fit.family == "elementwise"}
    file, lent = read_calibration("h200-sxm-vllm"), borrowed("h200-sxm-vllm")
    reader = next(fit for fit in file.fits if (fit.family, fit.variant) == ("decode_attention", "bf16-128"))
    assert set(lent) == {"embedding", "norm", "rotary", "activation", "kv_store"}
    for variant, fit in lent.items():
        theirs = lender["rotary" if variant == "kv_store" else variant]
        assert fit.borrowed_from == "rtx-pro-6000-vllm"
        assert fit.grid is None
        assert fit.spread_ratio == theirs.spread_ratio
        assert fit.coefficients["launch_s"].value == theirs.coefficients["launch_s"].value
        assert fit.coefficients["hbm_ratio"].value == reader.coefficients["hbm_ratio"].value
        assert all("RTX PRO 6000" in file.sources[c.source] for c in fit.coefficients.values())


@pytest.mark.parametrize("name", ["a100-80gb-sxm-vllm", "h200-sxm-vllm"])
def test_prompts_say_what_a_past_adds_to_their_spread_and_who_measured_it(name):
    file = read_calibration(name)
    for fit in file.fits:
        if fit.family in ("prefill_attention", "latent_prefill"):
            long, short = fit.past_growths
            assert (long.from_tokens, short.from_tokens) == (512, 0)
            assert 0 < long.growth_ratio < short.growth_ratio
            assert "RTX PRO 6000" in file.sources[long.source]
        else:
            assert fit.past_growths == ()


def test_unknown_calibrations_are_refused_with_the_nearest(tmp_path):
    with pytest.raises(SpecError, match=r'found h200-vllm; did you mean "h200-sxm-vllm"'):
        fit_tables(tmp_path, "h200-vllm")
    with pytest.raises(SpecError, match="expected a calibration that tables can make"):
        evaluate(tmp_path, "mine")


@pytest.mark.parametrize("name", PLANS)
def test_shipped_calibrations_fit_their_profile_and_are_marked_with_errors(name):
    calibration = load_calibration(name)
    assert calibration.hardware == PLANS[name].hardware
    load_hardware(calibration.hardware)
    own = [fit for fit in calibration.fits if not fit.borrowed_from]
    assert {fit.family for fit in own} == {part.form.family for part in PLANS[name].parts}
    for fit in own:
        form = next(
            part.form for part in PLANS[name].parts
            if part.form.family == fit.family and fit.variant in (part.only or (fit.variant,))
        )  # fmt: skip
        assert [coefficient for coefficient, _ in fit.coefficients] == [start.name for start in form.starts]
        assert fit.size in {part.form.grown for part in PLANS[name].parts if part.form.family == fit.family}
        assert fit.spread_ratio > 0
        assert fit.spread_growth_ratio > 0
        assert len(fit.values) < 1700
        assert np.abs(fit.values).max(initial=0) < 1.5


@pytest.mark.parametrize("name", ["a100-80gb-sxm-vllm", "h200-sxm-vllm"])
def test_shipped_decode_attention_never_falls_with_context(name):
    from ctxsim.cost.curves import Device, decode_attention_s

    calibration = load_calibration(name)
    device = Device.of(load_hardware(calibration.hardware))
    contexts = np.geomspace(1, 2**20, 300)
    for fit in calibration.fits:
        if fit.family == "decode_attention" and not fit.variant.endswith(WINDOWED):
            head_dim = float(fit.variant.partition("-")[2])
            for batch, heads, kv_heads in [(1, 32, 8), (8, 8, 1), (64, 8, 8), (256, 4, 1), (3, 64, 8)]:
                seconds = decode_attention_s(device, fit, batch, contexts, heads, kv_heads, head_dim)
                assert (np.diff(seconds) >= 0).all(), (fit.variant, batch)
