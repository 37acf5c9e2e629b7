"""``analyze_grid`` against ``analyze`` one point at a time, and its shapes."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
from cost_scenarios import MODELS, most_ranks, scenario, with_document

from ctxsim.analysis import analyze, analyze_grid
from ctxsim.cost import CostModel, Machine
from ctxsim.spec.scenario import load_scenario

QUANTITIES = {
    "kv_bytes_per_session",
    "kv_capacity_bytes",
    "concurrent_sessions",
    "prefill_flop",
    "prefill_s",
    "decode_step_s",
    "decode_answer_s",
    "switch_s",
}
DOCUMENTS = [2, 100, 4_096, 8_192, 8_193, 50_000]
REL = 1e-12


@pytest.mark.parametrize("name", MODELS)
def test_documents_one_by_one(name: str) -> None:
    settings = {"deployment__tensor_parallel": most_ranks(name), "serving__kv_dtype": "fp8"}
    served = scenario(name, "h100-80gb-sxm", **settings)
    grid = analyze_grid(served, document_tokens=DOCUMENTS)
    assert set(grid) == QUANTITIES
    for i, tokens in enumerate(DOCUMENTS):
        keys = analyze(with_document(served, tokens)).keys
        for quantity in QUANTITIES:
            assert grid[quantity].shape == (len(DOCUMENTS),)
            assert grid[quantity][i] == pytest.approx(keys[quantity], rel=REL), quantity


@pytest.mark.parametrize("name", ["paper-34b", "llama-3.1-8b", "mixtral-8x7b", "deepseek-v3.2", "gemma-3-27b"])
@pytest.mark.parametrize("ranks", [1, 4])
def test_machines_one_by_one(name: str, ranks: int) -> None:
    """Four numbers of the hardware at once, each machine against a profile that carries its numbers."""
    base = scenario(name, "gb200", deployment__tensor_parallel=ranks)
    rng = np.random.default_rng(1)
    flop, bandwidth, size, link = (
        rng.uniform(*span, 20) for span in ((1e14, 3e15), (1e12, 9e12), (4e10, 3e11), (1e10, 6e11))
    )
    machine = Machine(bf16_flop_per_s=flop, hbm_bytes_per_s=bandwidth, hbm_bytes=size, host_link_bytes_per_s=link)
    grid = analyze_grid(base, machine=machine)
    for i in range(20):
        hardware = replace(
            base.hardware,
            peaks_flop_per_s=(("bf16", flop[i]),),
            hbm_bytes_per_s=bandwidth[i],
            hbm_bytes=size[i],
            host_link_bytes_per_s=link[i],
        )
        keys = analyze(replace(base, hardware=hardware)).keys
        for quantity in QUANTITIES:
            assert grid[quantity][i] == pytest.approx(keys[quantity], rel=REL), quantity


def test_axes_broadcast() -> None:
    documents = np.array([4_000, 50_000, 200_000])[:, None, None]
    answers = np.array([50, 250])[None, :, None]
    links = np.array([10e9, 20e9, 40e9, 80e9])
    grid = analyze_grid(
        scenario(), document_tokens=documents, answer_tokens=answers, machine=Machine(host_link_bytes_per_s=links)
    )
    assert {array.shape for array in grid.values()} == {(3, 2, 4)}
    assert grid["decode_answer_s"][1, 1, 0] == pytest.approx(10.036, rel=REL)
    assert grid["decode_answer_s"][1, 0, 3] == pytest.approx(10.036 / 5, rel=REL)
    assert grid["switch_s"][1, 0].tolist() == pytest.approx([2.4576, 1.2288, 0.6144, 0.3072], rel=REL)
    assert grid["prefill_s"][:, 1, 2].tolist() == grid["prefill_s"][:, 0, 0].tolist()


def test_scalars_give_arrays_without_axes() -> None:
    grid = analyze_grid(scenario())
    keys = analyze(scenario()).keys
    assert {array.shape for array in grid.values()} == {()}
    assert {name: float(array) for name, array in grid.items()} == pytest.approx(
        {name: keys[name] for name in grid}, rel=REL
    )


def test_arrays_are_their_own_and_may_be_written() -> None:
    grid = analyze_grid(scenario(), document_tokens=[1_000, 2_000])
    grid["kv_capacity_bytes"][0] = 0
    assert grid["kv_capacity_bytes"][1] == 80 * 2**30 - 68e9


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        analyze_grid(scenario(), document_tokens=[1, 2, 3], answer_tokens=[1, 2])


def test_too_little_memory_holds_nothing() -> None:
    grid = analyze_grid(scenario(), machine=Machine(hbm_bytes=np.array([1e9, 68e9, 100e9])))
    assert grid["concurrent_sessions"].tolist() == pytest.approx([0, 0, 32e9 / 12.288e9], rel=REL)


def test_a_machine_without_numbers_is_the_profile() -> None:
    assert set(asdict(Machine()).values()) == {None}
    assert analyze_grid(scenario(), machine=Machine()) == analyze_grid(scenario())


def test_the_profile_s_own_rates_change_nothing_with_quantised_weights() -> None:
    """Replacing bf16 FLOP/s by itself must keep the fp8 rate, and doubling it must double that too."""
    base = load_scenario("llama-8b-chat", {"hardware": "h100-80gb-sxm", "serving.weight_dtype": "fp8"})
    bf16 = base.hardware.peak_flop_per_s("bf16")
    assert bf16 is not None
    plain = analyze_grid(base)["prefill_s"]
    rates = np.array([bf16, 2 * bf16])
    assert analyze_grid(base, machine=Machine(bf16_flop_per_s=rates))["prefill_s"][0] == plain
    faster = CostModel(base, Machine(bf16_flop_per_s=2 * bf16)).rates
    assert faster.weight_flop_per_s == 2 * CostModel(base).rates.weight_flop_per_s
