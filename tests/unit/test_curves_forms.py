"""Forms of kernel times: their limits, that they grow with what they do, and how they scale with the device."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ctxsim.cost.curves import (
    Device,
    all_reduce_s,
    decode_attention_s,
    elementwise_s,
    experts_s,
    gemm_s,
    host_s,
    latent_decode_s,
    latent_prefill_s,
    linear_attention_s,
    mixed_attention_s,
    prefill_attention_s,
    sparse_attention_s,
)
from ctxsim.cost.curves.gemm import TILES, tile_name
from ctxsim.cost.curves.latent import latent_decode_core_s
from ctxsim.cost.curves.sparse import sparse_core_s, sparse_index_s
from ctxsim.cost.curves.values import causal_pairs, joined_s, touched_tokens
from ctxsim.errors import SpecError
from ctxsim.spec.calibration import Fit
from ctxsim.spec.hardware import load_hardware

DEVICE = Device((("bf16", 300e12), ("fp8", 600e12)), 2e12, 100, 40e6, 300e9)
MODULE = {
    "launch_s": 1e-4, "flop_ratio": 0.5, "token_s": 1e-9, "head_s": 1e-10, "projection_flop_ratio": 0.5,
    "projection_hbm_ratio": 0.6,
}  # fmt: skip
FITS = {
    "gemm": {"launch_s": 4e-6, "hbm_ratio": 0.8, "sharpness": 4.0, "fill_values": 100.0, "quantize_ratio": 0.5}
    | {tile_name(*tile): 0.8 for tile in TILES},
    "decode_attention": {
        "least_tokens": 64.0, "launch_s": 1e-5, "ramp_s": 5e-6, "ramp_ratio": 0.2, "hbm_ratio": 0.8, "unit_ratio": 1.2,
        "query_ratio": 0.5, "kv_head_s": 1e-9,
    },
    "prefill_attention": {
        "launch_s": 1e-5, "flop_ratio": 0.6, "lag_tokens": 30.0, "tail_ratio": 0.3, "slowdown_ratio": 0.1,
        "slowdown_s": 5e-3, "token_s": 1e-9, "query_ratio": 0.5, "kv_ratio": 0.5,
    },
    "mixed_attention": {
        "tile_s": 3e-6, "empty_s": 4e-7, "tail_ratio": 0.1, "flop_ratio": 0.6, "hbm_ratio": 0.7, "cache_ratio": 1.0,
        "sharpness": 2.0,
    },
    "all_reduce": {
        "small_latency_s": 5e-6, "small_hop_s": 1e-7, "small_ratio": 0.2, "medium_latency_s": 1e-5,
        "medium_hop_s": 1e-6, "medium_ratio": 0.4, "large_latency_s": 3e-5, "large_hop_s": 1e-6, "large_ratio": 0.8,
    },
    "elementwise": {"launch_s": 2e-6, "hbm_ratio": 0.5},
    "host": {"iteration_s": 1e-3, "sequence_s": 2e-5},
    "latent_decode": MODULE | {"hbm_ratio": 0.7},
    "latent_prefill": MODULE,
    "sparse_attention": MODULE | {"index_ratio": 0.3, "index_hbm_ratio": 0.7, "gather_ratio": 0.5, "unit_ratio": 0.7},
    "linear_attention": {"launch_s": 5e-6, "unit_ratio": 0.1, "hbm_ratio": 0.5},
    "experts": {
        "launch_s": 3e-5, "expert_s": 1e-8, "padding_rows": 10.0, "flop_ratio": 0.5, "hbm_ratio": 0.8,
        "activation_ratio": 0.4, "sharpness": 3.0,
    },
}  # fmt: skip


def fit(family, **changes):
    return Fit(family, "bf16", tuple((FITS[family] | changes).items()), (), 0.0, 0.0)


def gemm(m, n, k, device=DEVICE, dtype="bf16", **changes):
    return gemm_s(device, fit("gemm", **changes), dtype, m, n, k)


def decode(batch, context, heads=32, kv_heads=8, device=DEVICE, **changes):
    return decode_attention_s(device, fit("decode_attention", **changes), batch, context, heads, kv_heads, 128)


def prefill(batch, new, past=0.0, heads=32.0, kv_heads=8.0, window=None, device=DEVICE, **changes):
    return prefill_attention_s(
        device, fit("prefill_attention", **changes), batch, new, past, heads, kv_heads, 128.0, window
    )


CALLS = {
    "gemm": (lambda d, f, m, n, k: gemm_s(d, f, "bf16", m, n, k), (100, 4096, 4096)),
    "decode_attention": (decode_attention_s, (8, 8000, 32, 8, 128)),
    "prefill_attention": (prefill_attention_s, (2, 3000, 5000, 32, 8, 128)),
    "mixed_attention": (mixed_attention_s, (8, 8000, 512, 32, 8, 128)),
    "all_reduce": (all_reduce_s, (3e6, 4)),
    "elementwise": (elementwise_s, (1e6, 8)),
    "latent_decode": (latent_decode_s, (8, 8000, 64, 512, 64, 1e8)),
    "latent_prefill": (latent_prefill_s, (2, 3000, 500, 64, 192, 128, 1e8)),
    "sparse_attention": (sparse_attention_s, (2, 500, 9000, 64, 2048, 512, 64, 64, 128, 1e8)),
    "linear_attention": (linear_attention_s, (8, 500, 16, 32, 128, 128)),
    "experts": (lambda d, f, *sizes: experts_s(d, f, "bf16", *sizes), (64, 4096, 1536, 8, 128, 16)),
}


@pytest.mark.parametrize("family", CALLS)
def test_arrays_give_what_numbers_give(family):
    call, sizes = CALLS[family]
    one = call(DEVICE, fit(family), *sizes)
    assert np.ndim(one) == 0
    many = call(DEVICE, fit(family), *(np.array([size, 2 * size]) for size in sizes))
    assert many.shape == (2,)
    assert many[0] == pytest.approx(one, rel=1e-12)


@pytest.mark.parametrize("family", CALLS)
def test_more_work_is_never_faster(family):
    call, sizes = CALLS[family]
    for place, size in enumerate(sizes):
        # kv_heads and experts divide: more of them may be less work each.
        if (family, place) in {("decode_attention", 3), ("experts", 4), ("all_reduce", 1)}:
            continue
        grown = size * np.array([0.5, 0.9, 1.0, 1.1, 2.0, 7.0, 30.0])
        seconds = call(DEVICE, fit(family), *(grown if i == place else s for i, s in enumerate(sizes)))
        assert (np.diff(seconds) >= -1e-15).all(), (family, place)


@pytest.mark.parametrize("family", CALLS)
def test_all_rates_times_c_divide_all_but_what_is_seconds_by_c(family):
    call, sizes = CALLS[family]
    seconds_free = {name: 1e-30 for name in FITS[family] if name.endswith("_s")}
    fast = Device(tuple((name, 3 * peak) for name, peak in DEVICE.peak_flop_per_s), 3 * 2e12, 100, 40e6, 3 * 300e9)
    slow_s = call(DEVICE, fit(family, **seconds_free), *sizes)
    assert call(fast, fit(family, **seconds_free), *sizes) == pytest.approx(slow_s / 3, rel=1e-9)


def test_a_huge_product_runs_at_its_tile_s_share_of_the_peak():
    side = 25_600 * 4
    expected_s = 2 * side**3 / (0.8 * 300e12)
    assert gemm(side, side, side) == pytest.approx(expected_s, rel=0.01)
    assert gemm(side, side, side, dtype="fp8") == pytest.approx(expected_s / 2, rel=0.01)


def test_a_single_row_runs_at_memory_bandwidth():
    moved = 2 * (16384 + 16384 * 65536 + 65536)
    assert gemm(1, 65536, 16384) == pytest.approx(4e-6 + moved / (0.8 * 2e12), rel=0.05)


def test_tiles_come_in_waves():
    """100 units, tiles of 128 x 256: the 101st tile needs a second wave of the same length."""
    only = {tile_name(*tile): 1e-6 for tile in TILES} | {tile_name(128, 256): 0.8, "hbm_ratio": 1e9, "launch_s": 1e-30}
    one, two = gemm(1280, 2560, 8192, **only), gemm(1280, 2561, 8192, **only)
    wave_s = 2 * 128 * 256 * (8192 + 100) / (0.8 * 300e12 / 100)
    assert one == pytest.approx(wave_s, rel=1e-6)
    assert two < 2 * wave_s  # a split along k shares the last tiles
    assert two > one


def test_unknown_formats_are_refused():
    with pytest.raises(SpecError, match=r"expected one of the device's number formats \(bf16, fp8\), found int8"):
        gemm_s(DEVICE, fit("gemm"), "int8", 1, 1, 1)


def test_decode_reads_the_cache_at_a_share_of_bandwidth():
    moved = 2 * 2 * 50 * 100_000 * 8 * 128  # 400 blocks, two whole waves
    assert decode(50, 100_000) == pytest.approx(moved / (0.8 * 2e12), rel=0.01)
    # One head a KV head and one sequence: 8 of 100 units, each 1.2 of its part of the bandwidth.
    assert decode(1, 10**6, heads=8) == pytest.approx(2 * 2 * 10**6 * 8 * 128 / (0.096 * 2e12), rel=0.01)


def test_decode_follows_the_mean_context_and_is_linear_beyond_the_ramp():
    contexts = np.linspace(1e4, 2e5, 50)
    seconds = decode(32, contexts)
    assert np.diff(seconds, 2) == pytest.approx(0, abs=1e-8)
    assert decode(32, 1) == decode(32, 64)  # a block is read whole
    wide = decode_attention_s(DEVICE, fit("decode_attention"), 32, 1e5, 32, 8, 128, 1)
    assert wide == pytest.approx(decode(32, 1e5) / 2, rel=0.02)


def test_prefill_takes_the_pairs_of_new_and_past():
    whole = prefill(1.0, 65536.0, slowdown_ratio=1e-9, tail_ratio=1e-9)
    assert whole == pytest.approx(32 * 65536**2 / 2 * 4 * 128 / (0.6 * 300e12), rel=0.03)
    chunk = prefill(1.0, 2048.0, 63488.0, slowdown_ratio=1e-9, tail_ratio=1e-9)
    pairs = 2048 * 63488 + 2048**2 / 2
    assert chunk == pytest.approx(32 * pairs * 4 * 128 / (0.6 * 300e12), rel=0.1)


def test_a_window_bounds_prefill_and_a_wide_one_does_not():
    assert prefill(1.0, 4096.0, window=1e9) == pytest.approx(prefill(1.0, 4096.0), rel=1e-12)
    narrow = prefill(1.0, 65536.0, window=1000.0, slowdown_ratio=1e-9)
    assert narrow < prefill(1.0, 65536.0) / 15
    twice = prefill(1.0, 131072.0, window=1000.0, slowdown_ratio=1e-9)
    assert twice == pytest.approx(2 * narrow, rel=0.05)


def mixed(batch, context, chunk=64.0, heads=32, kv_heads=8, **changes):
    return mixed_attention_s(DEVICE, fit("mixed_attention", **changes), batch, context, chunk, heads, kv_heads, 128)


def test_a_decoding_sequence_beside_a_chunk_walks_its_context_once_a_query_head():
    """One tile of 64 queries on one of 100 units of 3 TFLOP/s at 0.6: 32,768 FLOP a key; a full wave is no longer."""
    walk_s = 10_000 * 64 * 4 * 128 / (0.6 * 3e12)
    assert mixed(1, 10_000, hbm_ratio=1e9) == pytest.approx(3e-6 + walk_s, rel=1e-6)
    assert mixed(2, 10_000, hbm_ratio=1e9) == pytest.approx(3e-6 + walk_s, rel=1e-6)
    assert mixed(200, 10_000, hbm_ratio=1e9) == pytest.approx((64 + 0.1) * (3e-6 + walk_s), rel=1e-6)


def test_query_heads_read_again_what_the_cache_has_lost():
    """200 sequences, four query heads a KV head one after another: read once if in the cache, else four times."""
    still = {"flop_ratio": 1e9, "tile_s": 0.0}
    read_s = 200 * 10_000 * 8 * 128 * 4 / (0.7 * 2e12)
    assert mixed(200, 10_000, cache_ratio=1e6, **still) == pytest.approx(read_s, rel=1e-6)
    assert mixed(200, 10_000, cache_ratio=1e-6, **still) == pytest.approx(4 * read_s, rel=1e-6)


def test_long_chunks_launch_tiles_that_find_nothing_to_do():
    assert mixed(10, 100, 640.0) - mixed(10, 100, 64.0) == pytest.approx(10 * 32 * 9 * 4e-7 / 100)


def test_causal_pairs_by_hand():
    assert causal_pairs(4.0, 0.0, None) == 8
    assert causal_pairs(4.0, 10.0, None) == 48
    # Area under min(x, 6) from 4 to 10: from 4 to 6 it is 10, then 4 x 6.
    assert causal_pairs(6.0, 4.0, 6.0) == pytest.approx(34)
    assert causal_pairs(6.0, 100.0, 6.0) == pytest.approx(36)
    assert touched_tokens(6.0, 100.0, 6.0) == 12
    assert touched_tokens(6.0, 3.0, None) == 9


def test_joining_times():
    assert joined_s(3e-6, 4e-6, 2.0) == pytest.approx(5e-6)
    assert joined_s(0.0, 0.0, 3.0) == 0
    assert joined_s(1.0, 1e-9, 3.0) == pytest.approx(1.0)


def test_all_reduce_takes_the_fastest_protocol():
    reduce = fit("all_reduce")
    assert all_reduce_s(DEVICE, reduce, 1e9, 1) == 0
    assert all_reduce_s(DEVICE, reduce, 1, 2) == pytest.approx(5.1e-6, rel=1e-3)
    assert all_reduce_s(DEVICE, reduce, 1e9, 8) == pytest.approx(3.7e-5 + 1.75e9 / (0.8 * 300e9), rel=1e-6)
    with pytest.raises(SpecError, match="expected a device with a scale-up link"):
        all_reduce_s(replace(DEVICE, link_bytes_per_s=None), reduce, 1.0, 2)


def test_elementwise_and_host_are_lines():
    assert elementwise_s(DEVICE, fit("elementwise"), 1e9, 4096) == pytest.approx(2e-6 + 1e-3)
    assert host_s(fit("host"), np.array([0, 100])) == pytest.approx([1e-3, 3e-3])


def test_experts_read_those_that_some_token_was_sent_to():
    """One token of top 8 touches 8 of 128; many touch all."""
    weights = 3 * 4096 * 1536 * 2
    few = experts_s(DEVICE, fit("experts"), "bf16", 1, 4096, 1536, 8, 128, 128)
    assert few == pytest.approx(3e-5 + 128e-8 + 8 * weights / 1.6e12, rel=0.02)
    many = experts_s(DEVICE, fit("experts"), "bf16", 100, 4096, 1536, 8, 128, 128)
    assert many == pytest.approx(3e-5 + 128e-8 + 128 * weights / 1.6e12, rel=0.05)


def test_sparse_attention_stops_growing_in_selected_tokens_and_goes_on_scoring():
    sizes = (64, 2048, 512, 64, 64, 128)
    at = [float(sparse_attention_s(DEVICE, fit("sparse_attention"), 8, 1, past, *sizes)) for past in (1e4, 2e4, 4e4)]
    assert at[2] - at[1] == pytest.approx(2 * (at[1] - at[0]), rel=1e-3)
    scored_s, read_s = 8 * 1e4 * 64 * 2 * 128 / (0.3 * 300e12), 8 * 1e4 * (128 + 4) / (0.7 * 2e12)
    assert at[1] - at[0] == pytest.approx(joined_s(scored_s, read_s, 3), rel=1e-3)


def test_the_indexer_of_one_token_reads_its_keys_whatever_the_heads():
    """Few heads are no faster than reading a byte a value and a scale for each key."""
    few, many = (sparse_index_s(DEVICE, fit("sparse_attention"), 8, 1, 1e5, heads, 128) for heads in (1, 16))
    assert few == pytest.approx(8 * 100_001 * 132 / (0.7 * 2e12), rel=1e-3)
    assert many == pytest.approx(few, rel=0.05)


def test_what_one_query_selected_is_walked_by_one_block():
    """A block of 64 heads takes one unit: as many queries as units take no longer than one, twice as many do."""
    sizes = (2048, 512, 64)
    slow = replace(
        fit("sparse_attention"), coefficients=tuple({**FITS["sparse_attention"], "unit_ratio": 0.01}.items())
    )
    one, full, more = (sparse_core_s(DEVICE, slow, batch, 1, 1e4, 64, *sizes) for batch in (1, 100, 101))
    assert one == pytest.approx(2048 * 64 * 2 * (2 * 512 + 64) / (0.01 * 300e12 / 100), rel=1e-3)
    assert full == pytest.approx(one, rel=0.01)
    assert more == pytest.approx(2 * one, rel=0.01)


def test_latent_decode_of_attention_alone_runs_in_waves_beside_the_launches():
    """16 heads of a quarter of a context on each of 100 units: 25 sequences take what one does, 26 twice as long."""
    found = FITS["latent_decode"] | {"hbm_ratio": 100.0}
    alone = replace(fit("latent_decode"), variant="attention-bf16-bf16", coefficients=tuple(found.items()))
    one, full, more = (latent_decode_core_s(DEVICE, alone, n, 1e6, 16, 512, 64) for n in (1, 25, 26))
    walk_s = 1e6 / 4 * 16 * 2 * (2 * 512 + 64) / (0.5 * 300e12 / 100)
    assert one == pytest.approx(joined_s(1e-4, walk_s, 3) - 1e-4, rel=1e-3)
    assert full == pytest.approx(one, rel=0.01)
    assert more == pytest.approx(2 * one, rel=0.03)
    hidden = latent_decode_core_s(DEVICE, alone, 1, 1000, 16, 512, 64)
    assert hidden < 0.1 * 1e-4


def test_a_grid_multiplies():
    plain = fit("gemm")
    taller = replace(plain, axes=(("m", (1.0, 10.0)),), values=(0.1, 0.1))
    sizes = ("bf16", 3, 4096, 4096)
    assert gemm_s(DEVICE, taller, *sizes) == pytest.approx(gemm_s(DEVICE, plain, *sizes) * np.exp(0.1))


def test_device_of_a_profile():
    hardware = load_hardware("a100-80gb-sxm")
    device = Device.of(hardware)
    assert device.peak("bf16") == hardware.peak_flop_per_s("bf16")
    assert (device.compute_units, device.hbm_bytes_per_s) == (108, hardware.hbm_bytes_per_s)
    assert device.link() == hardware.scale_up_bytes_per_s


def test_vllm_s_kernels_reduce_in_one_shot_below_a_size_that_falls_with_the_accelerators():
    reduce = replace(fit("all_reduce"), variant="custom")
    link = DEVICE.link_bytes_per_s

    def one_shot_s(moved, ranks):
        return 5e-6 + 1e-7 * (ranks - 1) + (ranks - 1) * moved / (0.2 * link)

    def two_shot_s(moved, ranks):
        return 3e-5 + 1e-6 * (ranks - 1) + 2 * (ranks - 1) / ranks * moved / (0.8 * link)

    kib = 1024.0
    for ranks, moved in ((2, 4096 * kib), (4, 511 * kib), (8, 255 * kib)):
        assert all_reduce_s(DEVICE, reduce, moved, ranks) == pytest.approx(one_shot_s(moved, ranks), rel=1e-12)
    for ranks, moved in ((4, 512 * kib), (8, 256 * kib)):
        assert all_reduce_s(DEVICE, reduce, moved, ranks) == pytest.approx(two_shot_s(moved, ranks), rel=1e-12)


def test_unsplit_contexts_are_read_in_waves_of_two_blocks_a_unit():
    """100 units: 200 blocks are a wave, bound by bandwidth; the 201st is read alone, at the rate of one unit."""
    bare = {"launch_s": 1e-30, "ramp_s": 1e-30, "kv_head_s": 1e-30, "query_ratio": 1e9}
    block_bytes, peak = 2 * 2 * 1e5 * 128, 2e12
    wave_s, alone_s = 200 * block_bytes / (0.8 * peak), block_bytes * 100 / (1.2 * peak)
    assert decode(200, 1e5, 1, 1, **bare) == pytest.approx(wave_s, rel=0.01)
    assert decode(201, 1e5, 1, 1, **bare) == pytest.approx(wave_s + alone_s, rel=0.01)
    assert decode(25, 1e5, 1, 1, **bare) == pytest.approx(alone_s, rel=0.01)


def test_contexts_of_grouped_heads_are_split_while_they_are_few():
    """Up to 0.8 of a wave of 200 blocks."""
    bare = {"launch_s": 1e-30, "ramp_s": 1e-30, "kv_head_s": 1e-30, "query_ratio": 1e9}
    block_s = 2 * 2 * 1e5 * 128 / (0.8 * 2e12)
    assert decode(50, 1e5, 2, 1, **bare) == pytest.approx(50 * block_s, rel=1e-6)
    assert decode(159, 1e5, 2, 1, **bare) == pytest.approx(159 * block_s, rel=1e-6)
    assert decode(160, 1e5, 2, 1, **bare) > 1.02 * 160 * block_s
