"""Forms of a CPU's kernels and of copies, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ctxsim.cost.curves import (
    Device,
    copy_s,
    decode_attention_s,
    elementwise_s,
    gemm_s,
    masked_prefill_s,
    packed_gemm_s,
    prefill_attention_s,
    serial_decode_s,
)
from ctxsim.cost.curves.elementwise import small_variant
from ctxsim.cost.curves.gemm import TILES, tile_name
from ctxsim.errors import SpecError
from ctxsim.spec.calibration import Fit

CPU = Device((("bf16", 800e9), ("fp32", 200e9)), 20e9, 2, 32e6, None)
FITS = {
    "packed_gemm": {
        "launch_s": 1e-6, "hbm_ratio": 1.0, "packed_ratio": 0.5, "activation_ratio": 1.0, "flop_ratio": 0.8,
        "sharpness": 1.0,
    },
    "serial_decode": {"call_s": 1e-5, "hbm_ratio": 0.8, "flop_ratio": 0.5, "vector_ratio": 0.25},
    "masked_prefill": {
        "call_s": 1e-5, "flop_ratio": 0.5, "mask_ratio": 1.0, "lag_tokens": 100.0, "score_values": 16.0,
    },
    "copy": {"start_s": 1e-4, "descriptor_s": 1e-6, "ratio": 0.5},
}  # fmt: skip


def fit(family: str, **changed: float) -> Fit:
    return Fit(family, "fp32", tuple((FITS[family] | changed).items()), (), 0.0, 0.0)


def test_one_row_reads_weights_and_more_pack_them() -> None:
    """4 bytes of 1,000 x 2,000 weights at 20 GB/s is 0.4 ms, packed 0.8 ms; 4 MFLOP a row at 160 GFLOP/s is 25 us."""
    around_s = 1e-6 + 4 * 3000 / 20e9
    assert packed_gemm_s(CPU, fit("packed_gemm"), "fp32", 1, 1000, 2000) == pytest.approx(around_s + 0.4e-3 + 25e-6)
    found = packed_gemm_s(CPU, fit("packed_gemm"), "fp32", 100, 1000, 2000)
    assert found == pytest.approx(1e-6 + 100 * 4 * 3000 / 20e9 + 0.8e-3 + 2.5e-3)


def test_narrower_formats_read_half() -> None:
    one = [packed_gemm_s(CPU, fit("packed_gemm", launch_s=0.0), dtype, 1, 1024, 1024) for dtype in ("fp32", "bf16")]
    assert one[0] > 1.9 * one[1]


def test_sequences_decode_one_after_the_other() -> None:
    """Four KV heads of 64 over 1,000 tokens: 2.048 MB at 16 GB/s and 4.096 MFLOP of 16 heads at 100 GFLOP/s."""
    shape = {"heads": 16, "kv_heads": 4, "head_dim": 64}
    one = serial_decode_s(CPU, fit("serial_decode"), "fp32", 1, 1000, **shape)
    assert one == pytest.approx(1e-5 + 2 * 4 * 1000 * 4 * 64 / 16e9 + 4 * 16 * 64 * 1000 / 100e9)
    assert serial_decode_s(CPU, fit("serial_decode"), "fp32", 7, 1000, **shape) == pytest.approx(7 * one)


def test_a_lone_query_head_is_a_vector_product() -> None:
    """Four heads of their own KV: half the rate of four that share one, 4 x 4 x 64 x 1,000 FLOP at 50 GFLOP/s."""
    found = serial_decode_s(CPU, fit("serial_decode", call_s=0.0), "fp32", 1, 1000, 4, 4, 64)
    assert found == pytest.approx(2 * 4 * 1000 * 4 * 64 / 16e9 + 4 * 4 * 64 * 1000 / 50e9)


def test_a_core_without_a_head_waits() -> None:
    """Of two cores one serves a single KV head: as long as two heads take."""
    one, two = (serial_decode_s(CPU, fit("serial_decode", call_s=0.0), "fp32", 1, 5000, 4 * n, n, 64) for n in (1, 2))
    assert one == pytest.approx(two)


def test_a_mask_is_computed_in_full_after_a_past() -> None:
    """100 x 1,100 pairs of 8 heads of 64 + 16 values at 100 GFLOP/s, and as many mask values at 20 GB/s."""
    found = masked_prefill_s(CPU, fit("masked_prefill"), "fp32", 1, 100, 1000, 8, 64)
    assert found == pytest.approx(1e-5 + 8 * 100 * 1100 * 4 * 80 / 100e9 + 100 * 1100 * 4 / 20e9)


def test_a_prompt_without_a_past_computes_half_and_the_diagonal() -> None:
    prompt = masked_prefill_s(CPU, fit("masked_prefill"), "fp32", 1, 1000, 0, 8, 64)
    assert prompt == pytest.approx(1e-5 + 8 * (1000**2 / 2 + 1000 * 100) * 4 * 80 / 100e9)
    short = masked_prefill_s(CPU, fit("masked_prefill"), "fp32", 1, 10, 0, 8, 64)
    assert short == pytest.approx(1e-5 + 8 * 10**2 * 4 * 80 / 100e9), "no more than all pairs"


def test_copies_start_have_pieces_and_flow() -> None:
    assert copy_s(fit("copy"), 10e9, 1e9, 8) == pytest.approx(1e-4 + 8e-6 + 0.2)
    assert copy_s(fit("copy"), 10e9, np.array([0.0, 1e9]), 1) == pytest.approx([1.01e-4, 1.01e-4 + 0.2])


@pytest.mark.parametrize("form", [packed_gemm_s, serial_decode_s, masked_prefill_s])
def test_a_format_without_a_peak_is_refused(form) -> None:
    family = {packed_gemm_s: "packed_gemm", serial_decode_s: "serial_decode", masked_prefill_s: "masked_prefill"}[form]
    sizes = {packed_gemm_s: (8, 64, 64), serial_decode_s: (1, 64, 8, 2, 64), masked_prefill_s: (1, 8, 8, 8, 64)}[form]
    bf16_only = Device((("bf16", 800e9),), 20e9, 2, 32e6, None)
    with pytest.raises(SpecError, match="found fp32"):
        form(bf16_only, fit(family), "fp32", *sizes)


def test_fp32_doubles_what_moves_in_the_forms_of_accelerators() -> None:
    """At equal peaks a product, a prompt and a decode whose bytes count alone take twice as long as in bf16."""
    alike = Device((("bf16", 1e30), ("fp32", 1e30)), 1e12, 100, 40e6, None)
    tiles = {tile_name(*tile): 1.0 for tile in TILES}
    product = Fit("gemm", "", tuple(
        {"launch_s": 0.0, "hbm_ratio": 1.0, "sharpness": 20.0, "fill_values": 1.0, **tiles}.items()), (), 0.0, 0.0
    )  # fmt: skip
    half, full = (gemm_s(alike, product, dtype, 64, 4096, 4096) for dtype in ("bf16", "fp32"))
    assert full == pytest.approx(2 * half)
    prompt = Fit("prefill_attention", "", tuple({
        "launch_s": 0.0, "flop_ratio": 1.0, "lag_tokens": 1.0, "tail_ratio": 0.01, "slowdown_ratio": 0.001,
        "slowdown_s": 1.0, "token_s": 0.0, "query_ratio": 1.0, "kv_ratio": 1.0}.items()), (), 0.0, 0.0)  # fmt: skip
    half, full = (prefill_attention_s(alike, prompt, 1, 512, 512, 8, 2, 64, dtype=dtype) for dtype in ("bf16", "fp32"))
    assert full == pytest.approx(2 * half)
    decode = Fit("decode_attention", "", tuple({
        "least_tokens": 1.0, "launch_s": 0.0, "ramp_s": 0.0, "ramp_ratio": 1.0, "hbm_ratio": 1.0, "unit_ratio": 1.0,
        "query_ratio": 1.0, "kv_head_s": 0.0}.items()), (), 0.0, 0.0)  # fmt: skip
    half, full = (decode_attention_s(alike, decode, 4, 4096, 8, 2, 64, size, size) for size in (2, 4))
    assert full == pytest.approx(2 * half)


def test_small_kernels_of_bf16_have_plain_names() -> None:
    assert [small_variant("norm", dtype) for dtype in ("bf16", "fp32")] == ["norm", "norm-fp32"]
    small = Fit("elementwise", "norm", (("launch_s", 1e-6), ("hbm_ratio", 0.5)), (), 0.0, 0.0)
    assert elementwise_s(CPU, small, 10e9, 1) == pytest.approx(1e-6 + 1.0)


def test_a_lone_row_has_a_launch_of_its_own() -> None:
    launches = (("launch_s", 4e-5), ("lone_launch_s", 9e-6), ("hbm_ratio", 0.5))
    small = Fit("elementwise", "norm", launches, (), 0.0, 0.0)
    one, two = elementwise_s(CPU, small, np.array([8192.0, 16384.0]), np.array([1, 2]))
    moved_s = 8192 / (0.5 * CPU.hbm_bytes_per_s)
    assert (one, two) == pytest.approx((9e-6 + moved_s, 4e-5 + 2 * moved_s))
