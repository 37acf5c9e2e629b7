"""Decode attention kernels: work items, busy workers, and time by them."""

from __future__ import annotations

from itertools import pairwise
from math import ceil

import numpy as np
import pytest
from cost_scenarios import cost_model, mixed, repeated, scenario
from hypothesis import given
from hypothesis import strategies as st

from ctxsim.cost.decode_kernels import KernelReader, busy_workers, occupancy, splits, work_items
from ctxsim.errors import SpecError
from ctxsim.geometry import BatchTotals
from ctxsim.spec.hardware import load_hardware
from ctxsim.spec.hardware_file import read_profile
from ctxsim.spec.scenario import load_scenario
from ctxsim.spec.serving import DecodeAttention

KERNELS: tuple[DecodeAttention, ...] = ("flash_attention_2", "flash_decoding", "lean_attention")
"""From the fewest work items to the most."""

WORKERS = st.integers(1, 200)
STREAMS = st.integers(1, 400)


def a100(kernel: DecodeAttention, kv_heads: int = 8) -> KernelReader:
    return KernelReader.of(kernel, kv_heads, 108, 0.76, 22e9)


@given(STREAMS, WORKERS)
def test_later_kernels_keep_no_fewer_workers_busy(streams: int, workers: int) -> None:
    busy = [busy_workers(kernel, streams, workers) for kernel in KERNELS]
    assert busy == sorted(busy)
    assert busy[-1] == workers


@given(STREAMS, st.integers(1, 4000), WORKERS)
def test_dealing_tiles_evenly_takes_no_longer_than_any_split(streams: int, tiles: int, workers: int) -> None:
    """In tiles that the busiest worker takes: all dealt out, a part of equal ones each, a whole context each."""
    k = splits(streams, workers, tiles)
    lean = ceil(streams * tiles / workers)
    split = ceil(tiles / k) * ceil(streams * k / workers)
    assert lean <= split
    assert lean <= tiles * ceil(streams / workers)


@given(STREAMS, WORKERS, st.integers(1, 300))
def test_splits_reach_most_of_the_best_and_no_less_than_none(streams: int, workers: int, most: int) -> None:
    k = splits(streams, workers, most)
    reached = occupancy(streams * k, workers)
    tried = [occupancy(streams * other, workers) for other in range(1, min(most, 128, workers) + 1)]
    assert reached >= 0.85 * max(tried)
    assert all(other < 0.85 * max(tried) for other in tried[: k - 1])
    assert reached >= occupancy(streams, workers)


def test_a_context_of_few_tiles_is_cut_into_no_more() -> None:
    assert work_items("flash_decoding", 1, 8, 300, 128, 108) == 8 * splits(8, 108, 3) == 24
    assert work_items("lean_attention", 1, 8, 300, 128, 108) == 24
    assert work_items("flash_attention_2", 5, 8, 300, 128, 108) == 40


@pytest.mark.parametrize("kernel", KERNELS)
def test_more_sequences_never_read_more_slowly(kernel: DecodeAttention) -> None:
    for kv_heads in (1, 2, 3, 8, 40, 128):
        rates = [a100(kernel, kv_heads).bytes_per_s(n, 2.039e12) for n in range(300)]
        assert all(more >= fewer for fewer, more in pairwise(rates))
        assert rates[-1] == 0.76 * 2.039e12


def test_a_few_workers_have_their_own_rate_and_many_the_share_of_all() -> None:
    flash = a100("flash_attention_2")
    assert flash.bytes_per_s(1, 2.039e12) == 8 * 22e9
    assert flash.bytes_per_s(2, 2.039e12) == 16 * 22e9
    assert flash.bytes_per_s(9, 2.039e12) == 0.76 * 2.039e12
    # Nor are there more than 108 of them, however fast HBM is: fourteen sequences have 112 KV heads.
    assert [flash.bytes_per_s(n, 1e14) for n in (13, 14, 99)] == [104 * 22e9, 108 * 22e9, 108 * 22e9]
    assert flash.bytes_per_s(np.array([13, 14, 99]), 1e14).tolist() == [104 * 22e9, 108 * 22e9, 108 * 22e9]
    # Less bandwidth, beside copies, is less for all together but no less for one.
    assert flash.bytes_per_s(1, 1e12) == 8 * 22e9
    assert a100("lean_attention").bytes_per_s(1, 1e12) == 0.76e12


@pytest.mark.parametrize("kernel", KERNELS)
def test_arrays_give_what_numbers_give(kernel: DecodeAttention) -> None:
    reader = a100(kernel)
    sequences, bandwidths = np.arange(0, 40), np.array([1e12, 2e12])
    assert reader.bytes_per_s(sequences, 2e12).tolist() == [reader.bytes_per_s(int(n), 2e12) for n in sequences]
    assert reader.bytes_per_s(1, bandwidths).tolist() == [reader.bytes_per_s(1, float(b)) for b in bandwidths]


@pytest.mark.parametrize("tokens", [1.0, 5.0, 5 / 3.3616, 0.7])
def test_rounds_count_sequences_not_tokens(tokens: float) -> None:
    """Two KV heads each: n sequences keep 2 n workers busy, however many tokens of each a pass computes."""
    reader, sequences = a100("flash_attention_2", 2).of_rounds(tokens), np.arange(1, 40)
    expected = [2 * n * 22e9 for n in sequences.tolist()]
    assert [reader.bytes_per_s(n * tokens, 3e12) for n in sequences.tolist()] == expected
    assert reader.bytes_per_s(sequences * tokens, 3e12).tolist() == expected


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("ranks", [1, 4])
def test_the_law_prices_what_the_kernel_reads(kernel: DecodeAttention, ranks: int) -> None:
    """By hand: two KV heads on each of four ranks, whose workers read at the same time."""
    cost = cost_model(serving__decode_attention=kernel, deployment__tensor_parallel=ranks)
    plain = cost_model(deployment__tensor_parallel=ranks)
    batch = [(1, 49_999), (1, 999)]
    kv_bytes = (50_000 + 1_000) * 245_760
    busy = busy_workers(kernel, 2 * 8 // ranks, 108)
    kv_s = kv_bytes / (ranks * min(0.76 * 2e12, busy * 22e9))
    weights_s = 68e9 / 2e12 / ranks
    assert plain.pass_s(mixed(plain.spans, batch)) == pytest.approx(weights_s + kv_bytes / (2e12 * ranks), rel=1e-12)
    assert cost.pass_s(mixed(cost.spans, batch)) == pytest.approx(weights_s + kv_s, rel=1e-12)
    totals, _ = repeated(cost.spans, batch)
    pieces = list(cost.law(totals))
    assert pieces[0].first_s == pytest.approx(weights_s + kv_s, rel=1e-12)
    assert pieces[0].growth_s == pytest.approx(kv_s * 2 / 51_000, rel=1e-9)


def test_prompts_are_read_as_before() -> None:
    plain, chosen = cost_model(), cost_model(serving__decode_attention="flash_attention_2")
    for new, past in ((2048, 10_000), (50_000, 0), (2, 100)):
        assert chosen.pass_s(chosen.batch(new, past)) == plain.pass_s(plain.batch(new, past))


def test_null_is_as_today_to_the_bit() -> None:
    plain, null = scenario(), scenario(serving__decode_attention=None)
    assert plain == null
    batch = BatchTotals(3, 40, 2, [1e6], [3.0], [2e5], [3.0])
    cost = cost_model()
    assert cost.spans == cost_model(serving__decode_attention=None).spans
    assert list(cost.law(batch)) == list(cost_model(serving__decode_attention=None).law(batch))


def test_the_profile_says_what_its_calibration_says() -> None:
    """One truth: the rate of a block that is not split, in the profile and in the decode fit of the calibration."""
    a100 = load_hardware("a100-80gb-sxm")
    from ctxsim.spec.calibration import load_calibration

    fit = load_calibration("a100-80gb-sxm-vllm").fit("decode_attention", "bf16-128")
    assert fit is not None
    fitted = fit["unit_ratio"] * a100.hbm_bytes_per_s / a100.compute_units
    assert a100.decode_worker_bytes_per_s == pytest.approx(fitted, rel=0.02)
    assert a100.decode_hbm_ratio == pytest.approx(fit["hbm_ratio"], rel=0.05)


def test_rates_come_with_their_source() -> None:
    profile, _ = read_profile("a100-80gb-sxm")
    reads = profile.efficiency.decode_attention
    assert reads is not None
    assert {reads.worker_bytes_per_s.source, reads.hbm_ratio.source} <= set(profile.sources)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hardware": "h100-80gb-sxm"}, "profile of h100-80gb-sxm has no efficiency.decode_attention, found"),
        ({"hardware": "a100-80gb-sxm", "fidelity": "calibrated"}, "null at fidelity calibrated (its times are those"),
        ({"hardware": "a100-80gb-sxm", "model": "deepseek-v3"}, "null beside latent attention (deepseek-v3"),
        ({"serving.decode_attention": "flash_attention"}, "expected one of flash_attention_2, flash_decoding"),
    ],
)
def test_what_has_no_rates_is_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_scenario("paper-34b-50k", {"serving.decode_attention": "lean_attention"} | settings)
    assert said in str(caught.value)
