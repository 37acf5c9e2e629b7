"""Relations that must hold whatever the numbers: more memory, longer contexts, more ranks, faster machines."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from cost_scenarios import MODELS, most_ranks, scenario, with_document
from hypothesis import given, settings
from hypothesis import strategies as st

from ctxsim.analysis import analyze, analyze_grid
from ctxsim.cost import CostModel, Machine
from ctxsim.geometry import attention_classes
from ctxsim.spec.model import Attention
from ctxsim.spec.scenario import Scenario

TIMES = ("prefill_s", "decode_step_s", "decode_answer_s", "switch_s")
ALL_TIMES = (*TIMES, "first_token_s", "last_token_s", "session_busy_s", "session_wall_s")
REL = 1e-12

models = st.sampled_from(MODELS)
contexts = st.lists(st.integers(2, 1_000_000), min_size=2, max_size=20).map(sorted)


def chunked(name: str) -> bool:
    """Whether some layers start over at each chunk, so that a longer context may have less to read."""
    mixers = (layer.mixer for layer in scenario(name).model.layers)
    return any(isinstance(m, Attention) and m.kind == "chunked" for m in mixers)


def no_less(values: np.ndarray) -> bool:
    return all(b >= a * (1 - REL) for a, b in pairwise(values.tolist()))


@given(models, st.lists(st.floats(1e9, 2e12), min_size=2, max_size=20).map(sorted))
@settings(max_examples=60, deadline=None)
def test_more_hbm_never_holds_fewer_sessions(name: str, sizes: list[float]) -> None:
    grid = analyze_grid(scenario(name), machine=Machine(hbm_bytes=np.array(sizes)))
    assert no_less(grid["concurrent_sessions"])
    assert np.ptp(grid["prefill_s"]) == np.ptp(grid["decode_step_s"]) == np.ptp(grid["switch_s"]) == 0


@given(models, contexts)
@settings(max_examples=100, deadline=None)
def test_longer_contexts_never_take_less(name: str, tokens: list[int]) -> None:
    grid = analyze_grid(scenario(name), document_tokens=tokens)
    for key in ("prefill_s", "switch_s", "kv_bytes_per_session", "prefill_flop"):
        assert no_less(grid[key])
    assert no_less(-grid["concurrent_sessions"] + 1e9)
    if not chunked(name):
        assert no_less(grid["decode_step_s"])


@pytest.mark.parametrize("name", [m for m in MODELS if not chunked(m)])
def test_longer_contexts_never_shorten_a_session(name: str) -> None:
    """Chunks of 2,048 and what is left of the document; one token more may open an iteration, never close one."""
    found = [
        analyze(with_document(scenario(name), tokens)).keys
        for tokens in (100, 2_047, 2_048, 2_049, 2_050, 4_096, 30_000, 49_999, 50_000)
    ]
    for key in ALL_TIMES:
        assert no_less(np.array([keys[key] for keys in found]))


def test_a_chunk_that_starts_over_reads_less() -> None:
    """Llama 4: the token after a full chunk of 8,192 attends to itself in the chunked layers."""
    grid = analyze_grid(scenario("llama-4-scout"), document_tokens=[8_192, 8_193])
    assert grid["decode_step_s"][1] < grid["decode_step_s"][0]


@pytest.mark.parametrize("name", ["paper-34b", "paper-34b-mha", "paper-8x34b"])
@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_ranks_divide_compute_and_memory_time(name: str, ranks: int) -> None:
    """On paper-a100 collectives are free; the host link is shared, so switching gains nothing."""
    alone = analyze(scenario(name)).keys
    group = analyze(scenario(name, deployment__tensor_parallel=ranks)).keys
    for key in ("prefill_s", "decode_step_s", "decode_answer_s", "first_token_s", "last_token_s", "session_busy_s"):
        assert group[key] == pytest.approx(alone[key] / ranks, rel=1e-12)
    assert group["switch_s"] == alone["switch_s"]
    assert group["kv_bytes_per_session"] == alone["kv_bytes_per_session"]
    assert group["concurrent_sessions"] > ranks * alone["concurrent_sessions"] or alone["concurrent_sessions"] == 0


@pytest.mark.parametrize("name", [m for m in MODELS if most_ranks(m) > 1])
def test_ranks_never_do_worse_than_one_nor_better_than_their_number(name: str) -> None:
    ranks = most_ranks(name)
    alone, group = analyze(scenario(name)).keys, analyze(scenario(name, deployment__tensor_parallel=ranks)).keys
    for key in ("prefill_s", "decode_step_s", "first_token_s", "session_busy_s"):
        assert alone[key] / ranks * (1 - REL) <= group[key] <= alone[key] * (1 + REL)


def faster(name: str, factor: float) -> Scenario:
    """The same scenario with every rate multiplied and every duration divided."""
    base = scenario(name, "h100-80gb-sxm", deployment__tensor_parallel=most_ranks(name))
    h = base.hardware
    link = None if h.scale_up_bytes_per_s is None else h.scale_up_bytes_per_s * factor
    hardware = replace(
        h,
        peaks_flop_per_s=tuple((dtype, rate * factor) for dtype, rate in h.peaks_flop_per_s),
        hbm_bytes_per_s=h.hbm_bytes_per_s * factor,
        scale_up_bytes_per_s=link,
        host_link_bytes_per_s=h.host_link_bytes_per_s * factor,
        host_memory_bytes_per_s=h.host_memory_bytes_per_s * factor,
    )
    return replace(base, hardware=hardware)


@given(models, st.floats(0.1, 10))
@settings(max_examples=60, deadline=None)
def test_all_rates_times_c_make_all_times_over_c(name: str, factor: float) -> None:
    slow, fast = analyze(faster(name, 1.0)).keys, analyze(faster(name, factor)).keys
    for key in (*TIMES, "first_token_s", "last_token_s", "session_busy_s"):
        assert fast[key] == pytest.approx(slow[key] / factor, rel=1e-9)
    assert fast["concurrent_sessions"] == slow["concurrent_sessions"]


RATES = ("bf16_flop_per_s", "hbm_bytes_per_s", "host_link_bytes_per_s")


@given(models, st.sampled_from(RATES), st.lists(st.floats(1e9, 1e16), min_size=2, max_size=10).map(sorted))
@settings(max_examples=60, deadline=None)
def test_a_faster_machine_is_never_slower(name: str, rate: str, values: list[float]) -> None:
    grid = analyze_grid(scenario(name), machine=Machine(**{rate: np.array(values)}))
    for key in TIMES:
        assert no_less(1 / grid[key])


@pytest.mark.parametrize("name", MODELS)
def test_iteration_overhead_is_paid_once_an_iteration(name: str) -> None:
    """25 chunks of the document, then 249 steps; the question's token of each later round is one more."""
    plain, slow = (analyze(scenario(name, serving__iteration_overhead=o)) for o in ("0 s", "1 ms"))
    added = {key: slow.keys[key] - plain.keys[key] for key in ALL_TIMES}
    per_pass = {"prefill_s": 1, "decode_step_s": 1, "decode_answer_s": 250, "switch_s": 0}
    course = {"first_token_s": 25, "last_token_s": 25 + 249, "session_busy_s": 25 + 249 + 4 * 250}
    expected = per_pass | course | {"session_wall_s": course["session_busy_s"]}
    assert added == pytest.approx({key: n * 1e-3 for key, n in expected.items()}, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_smaller_numbers_need_fewer_bytes(name: str) -> None:
    """fp8 KV halves a bf16 row, whatever its shape; states and indexer keys have formats of their own."""
    wide, narrow = (CostModel(scenario(name, serving__kv_dtype=d)) for d in ("bf16", "fp8"))
    index = sum(b for (_, b), c in zip(wide.layout.held, names_of(wide), strict=True) if c == "index")
    rows = [layout.block_bytes / 16 - index for layout in (wide.layout, narrow.layout)]
    assert rows[1] == rows[0] / 2
    assert narrow.layout.state_bytes == wide.layout.state_bytes


def names_of(cost: CostModel) -> list[str]:
    return [c.name for c in attention_classes(cost.scenario.model, "bf16")]
