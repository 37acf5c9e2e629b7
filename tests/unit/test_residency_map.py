"""The residency map: at every limit two choices cost the same, and points, panels and machines follow from them."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from exploring import small

from ctxsim.analysis import analyze
from ctxsim.analysis.session import typical_session
from ctxsim.cost import CostModel
from ctxsim.cost.gaps import GapPrices, Stay
from ctxsim.cost.topology import HOST
from ctxsim.errors import InfeasibleError, SpecError
from ctxsim.explore.residency import Held, break_even_by_machine, residency_map
from ctxsim.explore.residency.answer import answer_of
from ctxsim.explore.residency.check import CLOSE_RATIO, check_map, check_points
from ctxsim.explore.residency.map import held_at
from ctxsim.explore.residency.sample import contended_base, sample
from ctxsim.spec.scenario import load_scenario, scenario_document

NAME = "yi-34b-50k-a100"
DISK = {"serving.disk_kv_capacity": "1 TiB"}
SHARES = (1.0, 0.6, 0.2)
CHECKED = ("keep", "swap", "recompute")


def held(tokens: int = 50_000, **settings: Any) -> Held:
    (one,) = held_at(load_scenario(NAME, settings), [tokens])
    return one


def test_prices_are_those_of_analyze() -> None:
    scenario = load_scenario(NAME)
    gap = analyze(scenario).keys["gap"]
    one = held(gap["tokens"])
    expected = {"keep": gap["hold_usd"], "swap": gap["swap_usd"], "recompute": gap["recompute_usd"]}
    assert one.usd(gap["idle_s"]) == expected
    limits = one.limits(60.0)
    assert limits.keep_until_recompute_s == gap["break_even_idle_s"]["recompute"]
    assert limits.swap_until_recompute_s == gap["kept_until_s"]["host"]
    assert limits.keep_until_swap_s == pytest.approx(gap["kept_until_s"]["hbm"], rel=1e-12)


@pytest.mark.parametrize("share", SHARES)
def test_a_stay_by_hand(share: float) -> None:
    """Two USD a second in HBM, a tenth of it in the tier; three seconds out, five back."""
    stay = Stay(2.0, 0.2, 3.0, 5.0)
    copies = 3 + share * 5
    assert stay.copies_s(share) == pytest.approx(copies)
    assert stay.usd(100.0, share) == pytest.approx(2 * copies + 0.2 * (share * 92 + (1 - share) * 97))
    assert stay.usd(1.0, share) == pytest.approx(2 * copies)
    assert stay.until_s(100.0, share) == pytest.approx(copies + (share * 100 - 2 * copies) / 0.2)
    assert stay.usd(stay.until_s(100.0, share), share) == pytest.approx(share * 100.0)
    assert Stay(2.0, 0.0, 3.0, 5.0).until_s(100.0) == inf
    assert stay.until_s(1.0) == 0.0


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("tokens", [4_000, 50_000, 200_000])
def test_at_each_limit_two_choices_cost_the_same(tokens: int, share: float) -> None:
    one = held(tokens, **DISK)
    limits = one.limits(60.0, share)
    between = {
        ("keep", "swap"): limits.keep_until_swap_s,
        ("keep", "recompute"): limits.keep_until_recompute_s,
        ("swap", "recompute"): limits.swap_until_recompute_s,
        ("swap", "disk"): limits.swap_until_disk_s,
        ("disk", "recompute"): limits.disk_until_recompute_s,
    }
    for (near, far), idle_s in between.items():
        assert idle_s is not None
        assert idle_s > 0
        at, after = one.usd(idle_s, share), one.usd(1.5 * idle_s, share)
        assert at[near] == pytest.approx(at[far], rel=1e-9), (near, far)
        assert after[far] < after[near]


def test_the_chance_of_a_return_that_makes_keeping_worth_it() -> None:
    for tokens in (4_000, 200_000):
        for idle_s in (1.0, 60.0, 900.0):
            one = held(tokens, **DISK)
            share = one.return_ratio_to_keep_any(idle_s)
            assert 0 < share < 1
            usd = one.usd(idle_s, share)
            assert min(usd[tier] for tier in ("keep", "swap", "disk")) == pytest.approx(usd["recompute"], rel=1e-9)
            assert one.least(idle_s, 0.99 * share) == "drop"
            assert one.least(idle_s, min(1.0, 1.01 * share)) in ("keep", "swap", "disk")
    assert held().return_ratio_to_keep_any(1e9) == 1.0


def test_drop_is_where_a_sure_return_would_be_worth_waiting_for() -> None:
    one = held()
    until_s = one.limits(0.0).swap_until_recompute_s
    assert until_s is not None
    assert one.least(0.99 * until_s) == "swap"
    assert one.least(0.99 * until_s, 0.5) == "drop"
    assert one.least(1.01 * until_s) == "recompute"
    assert one.least(1.01 * until_s, 0.5) == "recompute"
    assert one.least(1.01 * until_s, 0.0) == "recompute"


def test_without_host_memory_there_is_nothing_to_swap_to() -> None:
    one = held(**{"serving.host_kv_capacity": "0 B"})
    limits = one.limits(60.0)
    assert set(one.usd(60.0)) == {"keep", "recompute"}
    assert (limits.keep_until_swap_s, limits.swap_until_recompute_s, limits.copies_s) == (None, None, None)
    mapped = residency_map(load_scenario(NAME, {"serving.host_kv_capacity": "0 B"}))
    assert mapped.crossings == ()
    assert any("has no host memory to swap to" in said for said in mapped.warnings)


def test_free_host_memory_is_never_left() -> None:
    limits = held(**{"price.host_memory": "0 USD/GiB/hour"}).limits(60.0)
    assert limits.swap_until_recompute_s is None


def test_points_follow_from_the_limits() -> None:
    mapped = residency_map(load_scenario(NAME))
    assert (mapped.own_tokens, mapped.own_idle_s) == (50_349, 60.0)
    assert len(mapped.rows) == len(mapped.contexts) * len(mapped.idles_s)
    assert {row["choice"] for row in mapped.rows} == {"keep", "swap", "recompute"}
    limits = {one.tokens: one.limits(60.0) for panel in mapped.panels for one in panel.held}
    for row in mapped.rows:
        one = limits[row["context_tokens"]]
        assert one.keep_until_swap_s is not None
        assert one.swap_until_recompute_s is not None
        early, late = row["idle_s"] < one.keep_until_swap_s, row["idle_s"] > one.swap_until_recompute_s
        assert row["choice"] == ("keep" if early else "recompute" if late else "swap")


def test_further_axes_move_what_they_should() -> None:
    """A faster link shortens copies; dearer accelerators make host memory and recompute relatively cheap and dear."""
    mapped = residency_map(
        load_scenario(NAME),
        contexts="50000",
        idles="60 s",
        link_ratios=(1, 4),
        price_ratios=(1, 2),
        return_ratios=(1, 0),
    )
    plain, *_ = mapped.panels
    found = {(one.link_ratio, one.price_ratio): one.held[0] for one in mapped.panels}
    fast, dear = found[4, 1].limits(60.0), found[1, 2].limits(60.0)
    base = plain.held[0].limits(60.0)
    assert fast.copies_s == pytest.approx(base.copies_s / 4)  # type: ignore[operator]
    assert dear.keep_until_recompute_s == pytest.approx(base.keep_until_recompute_s)
    assert dear.swap_until_recompute_s == pytest.approx(2 * base.swap_until_recompute_s, rel=0.01)  # type: ignore[operator]
    assert {row["choice"] for row in mapped.rows if row["return_ratio"] == 0} == {"drop"}
    assert len(mapped.rows) == 8


def test_break_even_contexts_are_exact_to_a_block() -> None:
    scenario = load_scenario(NAME)
    cost = CostModel(scenario)
    prices = GapPrices(scenario, cost)

    def swaps(tokens: int, idle_s: float) -> bool:
        usd = Held.of(cost, prices, typical_session(scenario), tokens).usd(idle_s)
        return usd["swap"] <= usd["recompute"]

    found = {one.idle_s: one for one in residency_map(scenario).crossings}
    assert found[600.0].swap_from_tokens == 992
    assert found[3600.0].swap_from_tokens is None
    for idle_s in (1200.0, 1800.0):
        tokens = found[idle_s].swap_from_tokens
        assert tokens is not None
        assert swaps(tokens, idle_s)
        assert not swaps(tokens - 16, idle_s)


def test_some_tokens_more_may_cost_a_read_of_most_experts() -> None:
    """Computed again beside a question of one token, some hundred tokens read nearly all experts, few of which the
    question would: so little KV is worth keeping again. Dense weights the question reads anyway."""
    contexts = {"contexts": "16,64,256,1024,4096,100000", "idles": "1200 s"}
    experts = {"model": "deepseek-v3", "hardware": "h200-sxm", "deployment.tensor_parallel": 8}
    served = {"serving.weight_dtype": "fp8", "serving.max_model_len": 100_000, "workload.question_tokens": 1}
    mapped = residency_map(load_scenario(NAME, {**experts, **served}), **contexts)
    crossing = next(one for one in mapped.crossings if one.idle_s == 1200.0)
    assert crossing.recompute_from_tokens is not None
    assert crossing.swap_from_tokens is not None
    assert 16 < crossing.recompute_from_tokens < 1024 < crossing.swap_from_tokens
    dense = residency_map(load_scenario(NAME, {"workload.question_tokens": 1}), **contexts)
    assert all(one.recompute_from_tokens is None for one in dense.crossings)


def test_machines_side_by_side() -> None:
    names = ["a100-80gb-sxm", "h100-80gb-sxm", "a100-40gb-sxm"]
    a100, h100, small_one = break_even_by_machine(scenario_document(NAME), names, 50_349)
    own = held(50_349).limits(60.0)
    assert a100.limits == own
    assert a100.break_even_tokens["1800"] == 83_872
    assert h100.limits is not None
    assert h100.limits.recompute_s < own.recompute_s / 2.5
    # Twice the price, a third of the time: what is computed again costs less, so KV is worth keeping for less time.
    assert h100.limits.swap_until_recompute_s < own.swap_until_recompute_s  # type: ignore[operator]
    assert small_one.limits is None
    assert small_one.reason is not None
    assert "at least 4 accelerators" in small_one.reason
    with pytest.raises(SpecError, match="no-such"):
        break_even_by_machine(scenario_document(NAME), ["no-such"], 4_000)


def test_contexts_that_do_not_fit_are_left_out() -> None:
    mapped = residency_map(load_scenario(NAME, {"serving.num_gpu_blocks_override": 4_000}))
    assert mapped.contexts[-1] <= 64_000
    assert any("contexts are left out" in said for said in mapped.warnings)
    with pytest.raises(SpecError, match="expected a context whose KV fits the pool, found 100,000"):
        residency_map(load_scenario(NAME, {"serving.num_gpu_blocks_override": 4_000}), contexts="100000,120000")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"contexts": "1:300000:3"}, "expected whole numbers of tokens from 1 to max_model_len"),
        ({"link_ratios": (0.0,)}, "link_ratios: expected a ratio above 0, found 0"),
        ({"price_ratios": (-1.0,)}, "price_ratios: expected a ratio above 0, found -1"),
        ({"return_ratios": (1.5,)}, "return_ratios: expected a share from 0 to 1, found 1.5"),
    ],
)
def test_wrong_axes_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        residency_map(load_scenario(NAME), **settings)


def test_a_machine_without_room_is_infeasible() -> None:
    with pytest.raises(InfeasibleError, match="weights need"):
        residency_map(load_scenario(NAME, {"hardware": "l40s", "deployment.tensor_parallel": 1}))


def test_formulas_come_to_the_limits() -> None:
    answer = answer_of(residency_map(load_scenario(NAME, DISK)))
    shown = {one.what: one.numbers for one in answer.formulas}
    assert shown["keep costs less than swap while idle <"].endswith("= 785.4 ms")
    assert shown["keep costs less than recompute while idle <"].endswith("= 63.26 s")
    assert "= 1,441 s" in shown["swap costs less than recompute while idle <"]
    assert len(shown) == 5
    assert answer.own_choice == "disk"
    without = answer_of(residency_map(load_scenario("llama-8b-chat", {"serving.host_kv_capacity": "0 B"})))
    assert (without.own_tokens, without.own_choice, len(without.formulas)) == (None, None, 1)


# The check by simulation


def test_points_are_drawn_of_every_choice_and_by_the_seed() -> None:
    scenario = load_scenario(NAME, {"workload.rounds": 2})
    mapped = residency_map(scenario)
    base = contended_base(scenario)
    points = sample(mapped, base, 9, seed=1)
    choices = [point.choice for point in points]
    assert {choices.count(choice) for choice in set(choices)} == {3}
    assert set(choices) == {"keep", "swap", "recompute"}
    assert points == sample(mapped, base, 9, seed=1) != sample(mapped, base, 9, seed=2)
    prices = GapPrices(base, CostModel(base))
    (first,) = held_at(base, [points[0].context_tokens])
    # Of one gap, as there are two rounds.
    assert points[0].usd == first.usd(points[0].idle_s)
    assert first.stays["swap"] == prices.stay(HOST, first.tokens, first.kept_bytes)


def test_simulation_has_the_same_winners() -> None:
    """A point of each choice, where the second best costs twice as much; ``ctxsim residency S --check 20`` has more.

    Host memory is ten times as dear as it is, lest recompute win only after gaps that take long to simulate.
    """
    scenario = load_scenario(NAME, {"workload.rounds": 3, "price.host_memory": "0.04 USD/GiB/hour"})
    mapped = residency_map(scenario, contexts="log:8000:100000:9", idles="log:0.2 s:900 s:20")
    base = contended_base(scenario)
    clear = [point for point in sample(mapped, base, 60, seed=2) if point.margin_ratio >= 2]
    points = [next(one for one in clear if one.choice == choice) for choice in CHECKED]
    for point in check_points(base, points):
        assert set(point.found) == set(CHECKED)
        assert point.agrees
        assert point.bill_agrees
        chosen = point.found[point.choice]
        assert chosen.gaps_usd <= CLOSE_RATIO * min(one.gaps_usd for one in point.found.values())
        assert point.found["keep"].gaps_usd == pytest.approx(point.expected_usd["keep"], rel=CLOSE_RATIO - 1)


def test_what_cannot_be_simulated_is_refused(tmp_path) -> None:
    mapped = residency_map(small(tmp_path, {"workload.rounds": 1}))
    with pytest.raises(SpecError, match="expected sessions of two rounds or more to simulate"):
        check_map(mapped, 1)
    tight = residency_map(small(tmp_path, {"serving.num_gpu_blocks_override": 100}), contexts="1000,1500")
    with pytest.raises(SpecError, match="expected room in HBM for 2 sessions of 1,000 tokens"):
        check_map(tight, 1)
