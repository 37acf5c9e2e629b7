"""What of a replica's HBM is left for KV: the equation, its parts by hand, and a server's block count."""

from __future__ import annotations

import pytest
from cost_scenarios import MODELS, cost_model, most_ranks

from ctxsim.cost import CostModel, Machine
from ctxsim.spec.scenario import load_scenario

GIB = 2.0**30


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("group", [False, True])
def test_parts_sum_to_the_usable_hbm(name: str, group: bool) -> None:
    ranks = most_ranks(name) if group else 1
    cost = CostModel(load_scenario("yi-34b-50k-a100", {"model": name, "deployment.tensor_parallel": ranks}))
    memory, hardware = cost.memory, cost.scenario.hardware
    assert memory.hbm_bytes == ranks * hardware.hbm_bytes
    assert memory.usable_bytes == 0.92 * memory.hbm_bytes
    assert memory.reserve_bytes == ranks * GIB
    taken = memory.weight_bytes + memory.activation_bytes + memory.reserve_bytes
    assert taken + memory.kv_capacity_bytes == pytest.approx(memory.usable_bytes, rel=1e-15, abs=1)
    assert memory.activation_bytes > 0


def test_the_paper_s_a100_by_hand() -> None:
    memory = cost_model().memory
    assert memory.kv_capacity_bytes == 80 * GIB - 68e9
    assert (memory.activation_bytes, memory.reserve_bytes) == (0, 0)
    assert cost_model(deployment__tensor_parallel=4).memory.kv_capacity_bytes == 4 * 80 * GIB - 68e9


def test_weights_that_do_not_fit_leave_less_than_nothing() -> None:
    assert cost_model("llama-3.1-405b").memory.kv_capacity_bytes == 80 * GIB - 2 * 405_853_388_800


def test_activation_peak_of_a_llama_by_hand() -> None:
    """2,048 tokens of residual, normed copy and gate, up and down; 256 rows of float32 logits over 128,256 words."""
    cost = cost_model("llama-3.1-8b", "a100-80gb-sxm", serving__activation_peak="auto")
    per_token = 2 * (2 * 4096 + 3 * 14336)
    assert cost.memory.activation_bytes == pytest.approx(2048 * per_token + 256 * 128256 * 4, rel=1e-12)


def test_ranks_split_intermediates_and_logits() -> None:
    settings = {"serving__activation_peak": "auto", "deployment__tensor_parallel": 8}
    cost = cost_model("llama-3.1-8b", "a100-80gb-sxm", **settings)
    per_token = 2 * (2 * 4096 + 3 * 14336 / 8)
    assert cost.memory.activation_bytes == pytest.approx(8 * (2048 * per_token + 256 * 128256 * 4 / 8), rel=1e-12)


def test_a_given_peak_and_reserve_hold_for_each_accelerator() -> None:
    settings = {"serving__activation_peak": "3 GiB", "serving__runtime_reserve": "2 GiB"}
    memory = cost_model(deployment__tensor_parallel=2, **settings).memory
    assert (memory.activation_bytes, memory.reserve_bytes) == (6 * GIB, 4 * GIB)
    assert memory.kv_capacity_bytes == 160 * GIB - 68e9 - 10 * GIB


@pytest.mark.parametrize(
    ("name", "token_bytes"),
    [("paper-34b", 245_760), ("llama-3.1-8b", 131_072), ("gpt-oss-120b", 2 * 36_864)],
)
def test_a_server_s_block_count_replaces_the_derived_capacity(name: str, token_bytes: int) -> None:
    """A block holds 16 tokens in every layer, sliding ones too."""
    cost = cost_model(name, serving__num_gpu_blocks_override=1234)
    assert cost.memory.kv_capacity_bytes == 1234 * 16 * token_bytes
    assert cost.memory.weight_bytes == cost_model(name).memory.weight_bytes


@pytest.mark.parametrize("name", ["paper-34b", "llama-3.1-8b", "deepseek-v3"])
def test_a_grid_s_hbm_replaces_the_profile_s(name: str) -> None:
    scenario = cost_model(name).scenario
    memory = CostModel(scenario, Machine(hbm_bytes=200e9)).memory
    assert memory.hbm_bytes == 200e9
    assert memory.kv_capacity_bytes == 200e9 - memory.weight_bytes
