"""Sequences divided over groups of a replica: what each computes, reads, holds, is sent and costs, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cost_scenarios import repeated
from support.real import closed_requests

from ctxsim.analysis import analyze
from ctxsim.cost import CostModel, accelerators, replica_usd_per_s
from ctxsim.cost.memory import store_bytes
from ctxsim.cost.topology import Fabric
from ctxsim.errors import SpecError
from ctxsim.spec.scenario import Scenario, load_scenario

KV_BYTES = 131_072
"""Of a token of Llama-3.1-8B."""


def served(groups: int = 1, ranks: int = 1, model: str = "llama-3.1-8b", **settings: object) -> Scenario:
    deployed = {"deployment__context_parallel": groups, "deployment__tensor_parallel": ranks}
    return closed_requests(model, "h100-80gb-sxm", **deployed, **settings)


def costs(groups: int = 1, ranks: int = 1, model: str = "llama-3.1-8b", **settings: object) -> CostModel:
    return CostModel(served(groups, ranks, model, **settings))


@pytest.mark.parametrize("model", ["llama-3.1-8b", "mixtral-8x7b", "deepseek-v3.2", "gemma-3-27b"])
def test_one_group_is_none_to_the_bit(model: str) -> None:
    plain, one = CostModel(closed_requests(model, "h100-80gb-sxm")), costs(1, model=model)
    assert plain.operations == one.operations
    assert plain.memory == one.memory
    assert plain.scenario == one.scenario


@pytest.mark.parametrize("model", ["llama-3.1-8b", "mixtral-8x7b", "gemma-3-27b"])
def test_the_same_is_computed_by_more(model: str) -> None:
    one, four = costs(1, model=model), costs(4, model=model)
    for new, past in ((1, 5_000), (2048, 30_000), (100_000, 0)):
        assert four.flop(four.batch(new, past)) == pytest.approx(one.flop(one.batch(new, past)), rel=1e-12)
    assert four.rates.plain_flop_per_s == 4 * one.rates.plain_flop_per_s
    long = (100_000, 0)
    assert four.pass_s(four.batch(*long)) == pytest.approx(one.pass_s(one.batch(*long)) / 4, rel=0.01)


def test_a_decode_step_by_hand() -> None:
    """Every group streams all weights at its own bandwidth, and its part of the KV."""
    one, two = costs(), costs(2)
    bandwidth = one.rates.hbm_bytes_per_s
    kv_bytes, weights = KV_BYTES * 10_000, one.streamed_bytes(one.batch(1, 9_999))
    embedded = 2 * 4096
    assert two.streamed_bytes(two.batch(1, 9_999)) == 2 * weights
    expected_s = weights / bandwidth + (kv_bytes + embedded) / (2 * bandwidth)
    assert two.pass_s(two.batch(1, 9_999)) == pytest.approx(expected_s, rel=1e-12)


@pytest.mark.parametrize(("groups", "ranks"), [(2, 1), (4, 2)])
def test_a_slow_link_binds_prompts(groups: int, ranks: int) -> None:
    """Each rank is sent (c - 1) / c of its heads' KV of past and chunk: at 1 GB/s that is what counts."""
    scenario = served(groups, ranks)
    slow = CostModel(replace(scenario, hardware=replace(scenario.hardware, scale_up_bytes_per_s=1e9)))
    batch = slow.batch(2048, 30_000)
    row = next(c for c in slow.breakdown(batch) if c.name == "attention full prefill")
    sent_bytes = (groups - 1) / groups * KV_BYTES / ranks * 32_048
    assert row.bound == "link"
    assert row.seconds == pytest.approx(sent_bytes / 1e9, rel=1e-12)
    pieces = list(slow.law(repeated(slow.spans, [(2048, 30_000)])[0]))
    assert pieces[0].first_s == pytest.approx(slow.pass_s(batch), rel=1e-12)
    assert pieces[0].growth_s == pytest.approx(sent_bytes / 1e9 * 2048 / 32_048, rel=1e-9)
    # A fast link hides it behind what is computed, and decode is sent nothing.
    fast = CostModel(scenario)
    assert next(c for c in fast.breakdown(batch) if c.name == row.name).bound == "compute"
    assert all(c.bound != "link" or c.name == "all_reduce" for c in slow.breakdown(slow.batch(1, 30_000)))


def test_prompts_are_reduced_in_parts_and_decoding_tokens_whole() -> None:
    one, two = costs(1, 4), costs(2, 4)
    for cost, share in ((one, 1.0), (two, 0.5)):
        (reduce,) = [op for op in cost.operations if op.name == "all_reduce"]
        assert reduce.link_bytes(cost.batch(2048, 0)) == 2048 * share * one.operations[-1].link_bytes_per_token
        assert reduce.link_bytes(cost.batch(1, 99)) == one.operations[-1].link_bytes_per_token


def test_experts_are_picked_by_a_group_s_own_tokens() -> None:
    two = costs(2, model="mixtral-8x7b")
    (experts,) = [op for op in two.operations if op.name == "experts"]
    alone = costs(1, model="mixtral-8x7b")
    (whole,) = [op for op in alone.operations if op.name == "experts"]
    assert experts.streamed_bytes(10, 0) == 2 * whole.streamed_bytes(5, 0)


def test_memory_adds_up_but_for_the_weights() -> None:
    one, two = costs().memory, costs(2).memory
    assert two.hbm_bytes == 2 * one.hbm_bytes
    assert two.weight_bytes == 2 * one.weight_bytes
    assert two.kv_capacity_bytes == 2 * one.kv_capacity_bytes
    assert costs(2).layout.held_bytes(1000) == KV_BYTES * 1000


def test_all_accelerators_are_paid_for_and_counted() -> None:
    one, four = (served(n, 2, serving__host_kv_capacity="64 GiB", deployment__replicas=3) for n in (1, 4))
    assert [accelerators(s) for s in (one, four)] == [6, 24]
    assert replica_usd_per_s(four) == 4 * replica_usd_per_s(one)
    assert Fabric.of(four).ranks == 8
    assert [Fabric.of(s).nodes for s in (one, four)] == [1, 3]
    # Three replicas share the host memory of a node, then each has one of its own.
    assert store_bytes(four)[0] == 3 * store_bytes(one)[0]
    assert CostModel(four).host_link_bytes_per_s >= CostModel(one).host_link_bytes_per_s


def test_what_does_not_fit_says_how_many_would_do() -> None:
    keys = analyze(served(2, 1, "llama-3.1-70b")).keys
    assert not keys["feasible"]
    assert "at least 4 accelerators" in keys["infeasible_reason"]


def test_a_scenario_is_written_so_that_it_can_be_read_again(tmp_path: Path) -> None:
    scenario = served(2)
    path = tmp_path / "scenario.yaml"
    path.write_text(scenario.to_yaml())
    assert load_scenario(str(path)) == scenario


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"fidelity": "calibrated"}, "expected 1 at fidelity calibrated (no divided attention was measured), found 2"),
        ({"model": "jamba-1.5-mini"}, "expected 1 for jamba-1.5-mini (its states pass from token to token), found 2"),
    ],
)
def test_what_cannot_be_divided_is_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        served(2, **settings)  # type: ignore[arg-type]
    assert said in str(caught.value)
