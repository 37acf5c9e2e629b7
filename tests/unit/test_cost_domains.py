"""Replicas over several scale-up domains: what passes link and network, how long, and what is paid, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cost_scenarios import repeated
from support.real import closed_requests

from ctxsim.analysis import analyze
from ctxsim.analysis.session_cost import CAUSES
from ctxsim.analysis.work import show_work
from ctxsim.cost import CostModel, OperationCost, fleet_usd_per_s, nodes, power_w, unpriced_warnings
from ctxsim.cost.memory import store_bytes
from ctxsim.cost.topology import HBM, HOST, Fabric
from ctxsim.errors import SpecError
from ctxsim.explore.explain import explain
from ctxsim.explore.factors import factors_of
from ctxsim.explore.sensitivity import sensitivity
from ctxsim.sim import simulate
from ctxsim.spec.domains import Domains, fills_domains, joined
from ctxsim.spec.hardware import load_hardware
from ctxsim.spec.scenario import Scenario, load_scenario

LAYERS, HIDDEN = 80, 8192
"""Of Llama-3.1-70B, which sums twice a layer."""

LINK, NIC, LATENCY_S = 450e9, 50e9, 4e-6
"""Of an H100, one way: NVLink 4, 400 Gb/s, and a step of a ring between nodes."""

LATENT_BYTES = 576 * 2 * 61
"""KV of a token of DeepSeek-V3, on every rank."""


def served(ranks: int, groups: int = 1, model: str = "llama-3.1-70b", **settings: object) -> Scenario:
    deployed = {"deployment__tensor_parallel": ranks, "deployment__context_parallel": groups}
    return closed_requests(model, **{"hardware": "h100-80gb-sxm"} | deployed | settings)


def row(cost: CostModel, name: str, new: int, past: int = 0) -> OperationCost:
    return next(c for c in cost.breakdown(cost.batch(new, past)) if c.name == name)


# How replicas lie


@pytest.mark.parametrize(
    ("ranks", "groups", "together", "of_group", "of_context"),
    [
        (8, 1, 8, 1, 1),
        (16, 1, 8, 2, 1),
        (64, 1, 8, 8, 1),
        (2, 4, 2, 1, 1),
        (8, 2, 8, 1, 2),
        (4, 8, 4, 1, 4),  # two groups in each of four domains
        (16, 4, 8, 2, 4),  # each group in two domains of its own
    ],
)
def test_domains_of_replicas(ranks: int, groups: int, together: int, of_group: int, of_context: int) -> None:
    scenario = served(ranks, groups, "deepseek-v3")
    assert Domains.of(scenario.deployment, scenario.hardware) == Domains(together, of_group, of_context)


def test_more_than_one_domain_has_to_be_filled() -> None:
    h100, card = load_hardware("h100-80gb-sxm"), load_hardware("h100-80gb-pcie")
    assert [joined(ranks, 1, h100) for ranks in (3, 8, 12, 16)] == [True, True, False, True]
    assert [joined(8, groups, h100) for groups in (1, 2, 3)] == [True, True, True]
    assert [joined(4, groups, h100) for groups in (2, 3, 4)] == [True, False, True]
    assert [joined(ranks, 1, card) for ranks in (8, 16)] == [True, False]
    assert not fills_domains(3, 24, 8)
    assert joined(144, 1, load_hardware("gb200"))


@pytest.mark.parametrize(
    ("deployed", "settings", "said"),
    [
        (
            (12, 1), {"model": "phi-3-medium"},
            "expected whole domains of 8 accelerators (what the scale-up link of h100-80gb-sxm joins), found 12; 8 or "
            "16 would do",
        ),
        (
            (4, 3), {},
            "expected groups that fill whole domains of 8 accelerators (what the scale-up link of h100-80gb-sxm "
            "joins), found 3 x tensor_parallel 4; take tensor_parallel that divides 8",
        ),
        (
            (8, 2), {"hardware": "h100-80gb-pcie"},
            "expected at most 8 accelerators (what the scale-up link of h100-80gb-pcie joins; its profile has no "
            "scale_out to go further), found 2 x tensor_parallel 8; lower one of them",
        ),
    ],
)  # fmt: skip
def test_what_cannot_lie_so_is_refused(deployed: tuple[int, int], settings: dict[str, str], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        served(*deployed, **settings)
    assert said in str(caught.value)


# All-reduces


@pytest.mark.parametrize("domains", [2, 4, 8])
def test_a_sum_over_nodes_by_hand(domains: int) -> None:
    """In a node 2 x 7/8 of the bytes by link; between n of them 2 (n - 1) / n of an eighth by NIC, and latencies."""
    cost = CostModel(served(8 * domains))
    for new, past in ((2048, 10_000), (1, 10_000)):
        summed = 2 * LAYERS * new * HIDDEN * 2
        within, between = row(cost, "all_reduce", new, past), row(cost, "all_reduce between domains", new, past)
        assert within.link_bytes == pytest.approx(2 * 7 / 8 * summed, rel=1e-12)
        assert within.seconds == pytest.approx(within.link_bytes / LINK, rel=1e-12)
        assert between.link_bytes == pytest.approx(2 * (domains - 1) / domains * summed / 8, rel=1e-12)
        waited_s = 2 * LAYERS * 2 * (domains - 1) * LATENCY_S
        assert between.seconds == between.link_s == pytest.approx(between.link_bytes / NIC + waited_s, rel=1e-12)
        assert (within.bound, between.bound) == ("link", "network")
        assert (between.flop, between.hbm_bytes) == (0, 0)


def test_within_one_node_nothing_passes_the_network() -> None:
    one = CostModel(served(8))
    assert not any(op.between_domains for op in one.operations)
    assert [op.name for op in one.operations if op.link_bytes_per_token] == ["all_reduce"]


def test_a_network_as_fast_as_the_link_and_without_latency_takes_a_ring_s_time() -> None:
    """2 (g - 1) / g + 2 (n - 1) / (n g) = 2 (g n - 1) / (g n)."""
    scenario = served(32)
    even = replace(scenario.hardware, scale_out_bytes_per_s=LINK, scale_out_latency_s=None)
    cost = CostModel(replace(scenario, hardware=even))
    parts = [row(cost, name, 2048) for name in ("all_reduce", "all_reduce between domains")]
    ring = 2 * 31 / 32 * 2 * LAYERS * 2048 * HIDDEN * 2
    assert sum(part.seconds for part in parts) == pytest.approx(ring / LINK, rel=1e-12)


def test_law_breakdown_and_division_agree() -> None:
    for scenario in (served(16), served(8, 2, "llama-3.1-8b"), served(16, 2, "deepseek-v3")):
        cost = CostModel(scenario)
        for sequences in ([(2048, 30_000)], [(1, 999), (1, 5_000), (100, 0)]):
            batch = repeated(cost.spans, sequences)[0]
            pass_s = cost.pass_s(batch)
            assert next(iter(cost.law(batch))).first_s == pytest.approx(pass_s, rel=1e-12)
            decodes = repeated(cost.spans, [s for s in sequences if s[0] == 1])[0]
            divided = cost.division(batch, decodes)
            assert divided.whole.seconds == pytest.approx(pass_s, rel=1e-12)
            assert 0 <= divided.mine.seconds < pass_s * (1 + 1e-12)


def test_latencies_are_divided_evenly_over_sequences() -> None:
    """One of four decodes: of the network's time it has a quarter of the latencies, and its own token's bytes."""
    cost, without = (CostModel(served(16)), CostModel(silent(served(16))))
    batch = repeated(cost.spans, [(1, 100), (5, 0), (5, 0), (5, 0)])[0]
    decodes = repeated(cost.spans, [(1, 100)])[0]
    more = cost.division(batch, decodes).mine.seconds - without.division(batch, decodes).mine.seconds
    assert more == pytest.approx(2 * LAYERS * 2 * LATENCY_S / 4, rel=1e-9)


def silent(scenario: Scenario) -> Scenario:
    return replace(scenario, hardware=replace(scenario.hardware, scale_out_latency_s=None))


def test_tokens_that_leave_early_send_less_but_wait_as_long() -> None:
    exits = served(16, serving__early_exit={"depth_ratio": 0.5})
    whole, half = (CostModel(silent(s)) for s in (served(16), exits))
    name = "all_reduce between domains"
    assert row(half, name, 1, 99).link_bytes == pytest.approx(row(whole, name, 1, 99).link_bytes / 2, rel=1e-9)
    waited_s = row(CostModel(exits), name, 1, 99).seconds - row(half, name, 1, 99).seconds
    assert waited_s == pytest.approx(2 * LAYERS * 2 * LATENCY_S, rel=1e-9)


# Contexts


def exchange_s(cost: CostModel, new: int, past: int) -> float:
    """Seconds of the attention kernel of prompts where the network is so slow that it binds."""
    found = next(c for c in cost.breakdown(cost.batch(new, past)) if c.name.endswith("prefill"))
    assert found.bound == "network"
    return float(found.seconds)


def slow(scenario: Scenario) -> CostModel:
    return CostModel(replace(scenario, hardware=replace(scenario.hardware, scale_out_bytes_per_s=1e8)))


def test_kv_of_other_nodes_comes_by_each_rank_s_nic() -> None:
    """Llama-3.1-8B: 131,072 B a token, a head on each of eight ranks; (n - 1) / c of a rank's KV comes from afar."""
    per_rank = 131_072 * 32_048 / 8
    for groups in (2, 4):  # each in a node of its own: all that others have
        apart = slow(served(8, groups, "llama-3.1-8b"))
        assert exchange_s(apart, 2048, 30_000) == pytest.approx((groups - 1) / groups * per_rank / 1e8, rel=1e-9)
    # Eight groups of four, two to a node: of what a rank has not, the two in a node bring half each.
    four = slow(served(4, 8, "llama-3.1-8b"))
    assert exchange_s(four, 2048, 30_000) == pytest.approx((4 - 1) / 8 * 2 * per_rank / 1e8, rel=1e-9)


@pytest.mark.parametrize(("ranks", "groups"), [(8, 2), (16, 4)])
def test_latent_rows_come_once_into_each_node(ranks: int, groups: int) -> None:
    """Every rank needs all of them: eight NICs bring an eighth each, the link does the rest."""
    cost = slow(served(ranks, groups, "deepseek-v3"))
    rows = LATENT_BYTES * 32_048
    assert exchange_s(cost, 2048, 30_000) == pytest.approx((groups - 1) / groups * rows / 8 / 1e8, rel=1e-9)


def test_the_link_binds_where_it_is_the_slower() -> None:
    scenario = served(8, 2, "llama-3.1-8b")
    weak = replace(scenario.hardware, scale_up_bytes_per_s=1e8, scale_out_bytes_per_s=1e9)
    found = next(
        c for c in CostModel(replace(scenario, hardware=weak)).breakdown(CostModel(scenario).batch(2048, 30_000))
        if c.name.endswith("prefill")
    )  # fmt: skip
    assert found.bound == "link"
    assert found.seconds == pytest.approx(131_072 * 32_048 / 8 / 2 / 1e8, rel=1e-9)


# Calibrated times


def test_calibrated_times_are_measured_in_a_node_and_the_nic_s_between() -> None:
    eight, sixteen = (CostModel(served(ranks, hardware="a100-80gb-sxm", fidelity="calibrated")) for ranks in (8, 16))
    batch = eight.batch(2048, 0)
    one, two = ({c.name: c for c in cost.breakdown(batch)} for cost in (eight, sixteen))
    assert two["all_reduce"].seconds == one["all_reduce"].seconds, "eight accelerators of a node sum as before"
    between = two["all_reduce between domains"]
    assert between.seconds == pytest.approx(between.link_bytes / 25e9 + 2 * LAYERS * 2 * LATENCY_S, rel=1e-12)
    assert "all_reduce between domains" in sixteen.unpriced
    assert "all_reduce between domains" not in eight.unpriced
    assert sixteen.law(batch)
    calibrated = served(16, hardware="a100-80gb-sxm", fidelity="calibrated")
    (told,) = [warning for warning in analyze(calibrated).warnings if "between domains" in warning]
    assert told in simulate(calibrated).warnings
    assert unpriced_warnings([sixteen, sixteen, eight]).count(told) == 1
    assert "has no times between scale-up domains" in told
    assert "no interval says how far off that is" in told


def test_no_interval_is_claimed_for_the_network() -> None:
    """Where all time were the network's, the interval would have no width: only what was measured has a spread."""
    scenario = served(16, hardware="a100-80gb-sxm", fidelity="calibrated", prompt=2048)
    stuck = replace(scenario, hardware=replace(scenario.hardware, scale_out_latency_s=10.0))
    widths = [
        (high - low) / analyze(one).keys["prefill_s"]
        for one in (scenario, stuck)
        for low, high in [analyze(one).keys["intervals"]["prefill_s"]]
    ]
    assert widths[0] > 0.01
    assert widths[1] < 1e-3 * widths[0]


# Nodes, memory, money


@pytest.mark.parametrize("domains", [2, 4, 8])
def test_what_a_replica_of_several_nodes_has_and_costs(domains: int) -> None:
    host = {"serving__host_kv_capacity": "512 GiB", "price__host_memory": "0.004 USD/GiB/hour"}
    prices = {"price__accelerator": "2.50 USD/hour"}
    one, many = (served(ranks, **host, **prices, deployment__replicas=2) for ranks in (8, 8 * domains))
    assert [nodes(one), nodes(many)] == [2, 2 * domains]
    assert [Fabric.of(many).node_of(replica) for replica in (0, 1)] == [0, domains]
    assert store_bytes(many)[0] == domains * 512 * 2**30
    assert fleet_usd_per_s(many) * 3600 == pytest.approx(2 * domains * (8 * 2.50 + 512 * 0.004), rel=1e-12)
    assert power_w(many) == 2 * domains * 8 * 700.0
    # A copy is striped over the links and memories of all nodes.
    alone = [CostModel(scenario).host_link_bytes_per_s for scenario in (one, many)]
    assert alone[1] == pytest.approx(domains * alone[0], rel=1e-12)
    fabric = Fabric.of(many)
    assert len(fabric.route(1, HBM, HOST)) == domains * 9
    memories = [CostModel(scenario).memory for scenario in (one, many)]
    assert memories[1].hbm_bytes == domains * memories[0].hbm_bytes
    # Eight KV heads are repeated by every eight ranks more, and norms by every rank.
    key_and_value_bytes, norm_bytes = 2 * LAYERS * HIDDEN * 1024 * 2, (2 * LAYERS + 1) * HIDDEN * 2
    repeated_bytes = (domains - 1) * (key_and_value_bytes + 8 * norm_bytes)
    assert memories[1].weight_bytes - memories[0].weight_bytes == pytest.approx(repeated_bytes, rel=1e-9)


def test_contexts_over_nodes_hold_weights_once_a_group() -> None:
    one, two = (CostModel(served(8, groups)).memory for groups in (1, 2))
    assert two.weight_bytes == 2 * one.weight_bytes
    assert two.kv_capacity_bytes == 2 * one.kv_capacity_bytes


def test_what_does_not_fit_is_told_on_how_many_nodes_it_would() -> None:
    keys = analyze(served(8, model="deepseek-v3", serving__weight_dtype="fp8")).keys
    assert "at least 16 accelerators" in keys["infeasible_reason"]
    assert analyze(served(16, model="deepseek-v3", serving__weight_dtype="fp8")).feasible


# What asks for the new numbers


def test_sensitivity_knows_the_network() -> None:
    apart = {"scale_out_bytes_per_s", "scale_out_latency_s"}
    assert apart <= set(factors_of(served(16)))
    assert apart & set(factors_of(served(8, 2, "llama-3.1-8b"))) == {"scale_out_bytes_per_s"}
    assert not apart & set(factors_of(served(8)))
    effects = {e.factor: e.elasticity for e in sensitivity(served(16)) if e.outcome == "decode_step_s"}
    cost = CostModel(served(16))
    between = row(cost, "all_reduce between domains", 1, 99)
    share = 2 * LAYERS * 2 * LATENCY_S / cost.pass_s(cost.batch(1, 99))
    assert effects["scale_out_latency_s"] == pytest.approx(share, rel=0.02)
    sent = between.link_bytes / NIC / cost.pass_s(cost.batch(1, 99))
    assert effects["scale_out_bytes_per_s"] == pytest.approx(-sent, rel=0.05)


def test_what_a_session_costs_is_explained_whole() -> None:
    """The items of its extra sum to it, with latencies among what is neither KV bytes nor pairs."""
    talk = {"model": "deepseek-v3", "hardware": "h100-80gb-sxm", "serving.weight_dtype": "fp8",
            "deployment.tensor_parallel": 16, "deployment.context_parallel": 4}  # fmt: skip
    scenario = load_scenario("yi-34b-50k-a100", talk)
    found = explain(scenario, 4_000)
    parts = sum(found.base.by_cause(cause).usd - found.against.by_cause(cause).usd for cause in CAUSES)
    assert parts == pytest.approx(found.base.total.usd - found.against.total.usd, rel=1e-9)
    rest, without = (one.base.by_cause("rest").usd for one in (found, explain(silent(scenario), 4_000)))
    assert rest > without


def test_the_work_shows_the_network_s_bytes_and_latencies() -> None:
    (line, *_) = [line for line in show_work(analyze(served(16))) if "all_reduce between domains" in line]
    sent = 2 * LAYERS * 100 * HIDDEN * 2 / 8
    assert f"{sent:.6g} B / 5e+10 B/s + 0.00128 s of latencies" in line
    assert line.endswith("(network)")
