"""What a session uses at full load, by item and cause: hand arithmetic, and what must hold for every scenario."""

from __future__ import annotations

from dataclasses import replace

import pytest
from exploring import small

from ctxsim.analysis import account as accounting
from ctxsim.analysis import analyze
from ctxsim.analysis.account import QUANTITY_OF, account, sequences_together
from ctxsim.analysis.causes import ALL, CountedTimes, counted_operations
from ctxsim.analysis.session import typical_session
from ctxsim.analysis.session_cost import (
    CAUSES,
    NEITHER,
    WITHOUT_KV,
    WITHOUT_PAIRS,
    session_at,
    session_cost,
    session_usd,
    total_of,
)
from ctxsim.cost import CostModel, replica_usd_per_s
from ctxsim.errors import InfeasibleError
from ctxsim.spec import catalog
from ctxsim.spec.scenario import load_scenario

SHIPPED = catalog.names("scenario")
COUNTED = (ALL, WITHOUT_KV, WITHOUT_PAIRS, NEITHER)


def costs_of(scenario):
    session = typical_session(scenario)
    return [(CostModel(group), session) for group in scenario.fleet]


def used_s(cost, session, counted=ALL):
    return total_of(account(cost, session, counted).values()).seconds


@pytest.mark.parametrize("name", SHIPPED)
def test_less_counted_never_costs_more(name):
    for cost, session in costs_of(load_scenario(name)):
        everything, without_kv, without_pairs, neither = (used_s(cost, session, counted) for counted in COUNTED)
        assert 0 < neither <= min(without_kv, without_pairs) * (1 + 1e-12)
        assert max(without_kv, without_pairs) <= everything * (1 + 1e-12)


@pytest.mark.parametrize("name", SHIPPED)
def test_cells_sum_to_an_account_that_knows_no_causes(name):
    """Every group's replicas, at the rate that each serves sessions, are paid for by what these sessions used."""
    scenario = load_scenario(name)
    session = typical_session(scenario)
    found = session_cost(scenario, session)
    assert set(found.cells) == {(item, cause) for item in QUANTITY_OF for cause in CAUSES}
    rates = [(cost, cost.scenario.deployment.replicas / used_s(cost, session)) for cost, _ in costs_of(scenario)]
    per_s = sum(rate for _, rate in rates)
    accelerators = sum(replica_usd_per_s(group) * group.deployment.replicas for group in scenario.fleet)
    host = sum(rate / per_s * account(cost, session)["held_in_host"].usd for cost, rate in rates)
    assert found.total.usd == pytest.approx(accelerators / per_s + host, rel=1e-12)
    assert session_usd([CostModel(group) for group in scenario.fleet], session) == pytest.approx(
        found.total.usd, rel=1e-12
    )
    assert total_of(found.by_cause(cause) for cause in CAUSES).usd == pytest.approx(found.total.usd, rel=1e-12)
    assert total_of(found.by_quantity(one) for one in set(QUANTITY_OF.values())).seconds == pytest.approx(
        found.total.seconds, rel=1e-12
    )
    assert (found.total - found.by_cause("kv_bytes")).usd == pytest.approx(found.without_kv.usd, rel=1e-12)


@pytest.mark.parametrize("name", SHIPPED)
def test_no_cheaper_than_what_no_schedule_can_exceed(name):
    """The bounds of FLOP and HBM bandwidth, which do not know how many users there are."""
    scenario = load_scenario(name)
    found = analyze(scenario)
    served = [bound for bound in found.bounds if bound.resource in ("compute", "hbm_bandwidth")]
    session = typical_session(scenario)
    per_s = sum(cost.scenario.deployment.replicas / used_s(cost, session) for cost, _ in costs_of(scenario))
    assert len(served) == 2
    assert 0 < per_s <= min(bound.sessions_per_s for bound in served) * (1 + 1e-9)


def paper(tokens):
    scenario = load_scenario("paper-34b-50k")
    return scenario, session_at(typical_session(scenario), tokens)


def test_the_paper_by_hand():
    """60 layers, 4096 hidden, 8 KV heads of 128: 245,760 B a token; 34e9 weights; 312e12 FLOP/s, 2e12 B/s, 20 GB/s."""
    scenario, session = paper(50_000)
    cells = session_cost(scenario, session).cells
    # Five turns: 50,000 tokens, then answers of 250 whose last token comes with the next prompt.
    end = 50_000 + 4 * 250
    pairs = 50_000**2 / 2 + sum((50_000 + 250 * turn - 0.5) * 1 for turn in range(1, 5))
    assert cells["prompts", "quadratic_flop"].seconds == pytest.approx(pairs * 4 * 60 * 4096 / 312e12, rel=1e-9)
    steps = [50_000 + 250 * turn + step + 1 for turn in range(5) for step in range(249)]
    read_s = sum(steps) * 245_760 / 2e12
    again_s = sum(token - 0.5 for token in steps) * 4 * 60 * 4096 / 312e12
    assert cells["answers", "kv_bytes"].seconds == pytest.approx(read_s - again_s, rel=1e-9)
    assert cells["answers", "quadratic_flop"].seconds == pytest.approx(again_s, rel=1e-9)
    pool = 80 * 2**30 - 68e9
    assert sequences_together(CostModel(scenario), session) == pytest.approx(pool / (50_000 * 245_760))
    moved = [(50_000 + 250 * turn - 1) // 16 * 16 * 245_760 for turn in range(1, 5)]
    assert moved[-1] < end * 245_760
    assert cells["copies", "kv_bytes"].seconds == pytest.approx(sum(2 * b / 20e9 * b / pool for b in moved), rel=1e-9)
    # Weights: 1,245 steps that share them with 0.457 more, instead of 255 more that make products compute bound.
    weights_s = 5 * 249 * 68e9 / 2e12 / (pool / (50_000 * 245_760))
    shared = cells["fewer_together", "kv_bytes"].seconds + cells["answers", "rest"].seconds
    assert shared == pytest.approx(weights_s, rel=1e-3)
    host_usd = sum(b * (60 - 2 * b / 20e9) for b in moved) * scenario.price.host_memory_usd_per_byte_s
    assert cells["held_in_host", "kv_bytes"].usd == pytest.approx(host_usd, rel=1e-9)
    assert cells["held_in_host", "kv_bytes"].seconds == 0


def test_kv_bytes_weigh_nothing_in_the_limit():
    scenario, session = paper(200_000)
    found = session_cost(scenario, session)
    free = account(CostModel(scenario), session, WITHOUT_KV)
    assert all(free[item].usd == 0 for item in QUANTITY_OF if item not in ("prompts", "answers"))
    assert total_of(free.values()).seconds == pytest.approx(found.without_kv.seconds)
    assert found.infeasible_reason is not None
    assert sequences_together(CostModel(scenario), session) == 1.0
    assert 0 < found.kv_bytes_last.seconds - found.by_cause("kv_bytes").seconds < 0.1 * found.total.seconds


def test_constant_states_take_room_even_where_kv_weighs_nothing():
    overrides = {"model": "minimax-text-01", "hardware": "h200-sxm", "deployment.tensor_parallel": 8}
    many = {"serving.weight_dtype": "fp8", "serving.max_num_seqs": 2048}
    scenario = load_scenario("yi-34b-50k-a100", overrides | many)
    cost, session = CostModel(scenario), typical_session(scenario)
    kept, free = (sequences_together(cost, session, counted) for counted in (ALL, WITHOUT_KV))
    assert kept == pytest.approx(cost.memory.kv_capacity_bytes / cost.layout.held_bytes(50_000))
    assert kept < free
    assert free == pytest.approx(min(2048, cost.memory.kv_capacity_bytes / cost.layout.state_bytes))


@pytest.mark.parametrize(
    ("residency", "item"), [("keep", "held_in_hbm"), ("swap", "copies"), ("recompute", "computed_again")]
)
def test_a_policy_crosses_gaps_in_its_way(tmp_path, residency, item):
    scenario = small(tmp_path, {"serving.residency": residency})
    cost, session = CostModel(scenario), typical_session(scenario)
    used = account(cost, session)
    assert used[item].seconds > 0
    others = {"held_in_hbm", "copies", "computed_again"} - {item}
    assert all(used[other].seconds == 0 for other in others)
    ways = analyze(scenario).keys["gap"]
    # One gap: its price is that of ``analyze``'s ``gap``.
    name = {"keep": "hold", "swap": "swap", "recompute": "recompute"}[residency]
    paid = used[item].usd + used["held_in_host"].usd
    assert paid == pytest.approx(ways[f"{name}_usd"], rel=1e-9)


def test_cheapest_takes_the_cheapest_way(tmp_path):
    for think, item in (("1 ms", "held_in_hbm"), ("60 s", "copies")):
        scenario = small(tmp_path, {"serving.residency": "cheapest", "workload.think_time": think})
        assert account(CostModel(scenario), typical_session(scenario))[item].seconds > 0


def test_cheapest_knows_what_a_context_adds_to_a_question(tmp_path):
    """Between the gaps up to which host memory costs less than a context alone, and than what it adds to a question.

    It adds more here: its last chunk is filled up with the question's tokens, whose iteration is no shorter for that.
    """
    scenario = small(tmp_path, {"serving.residency": "cheapest"})
    cost, session = CostModel(scenario), typical_session(scenario)
    prices = accounting.GapPrices(scenario, cost)
    ((tokens, kept_bytes),) = accounting.gap_contexts(cost, session)
    alone_s, added_s = (prices.kept_until_s(accounting.HOST, tokens, kept_bytes, n) for n in (0, session.asked_tokens))
    assert alone_s < added_s
    between = small(tmp_path, {"serving.residency": "cheapest", "workload.think_time": f"{(alone_s + added_s) / 2} s"})
    assert account(CostModel(between), typical_session(between))["copies"].seconds > 0


def test_without_a_prefix_cache_contexts_are_computed_again_even_where_kv_weighs_nothing(tmp_path):
    scenario = small(tmp_path, {"serving.enable_prefix_caching": False, "serving.residency": "recompute"})
    cost, session = CostModel(scenario), typical_session(scenario)
    assert account(cost, session, WITHOUT_KV)["computed_again"].seconds > 0
    no_host = small(tmp_path, {"serving.host_kv_capacity": "0 B"})
    assert account(CostModel(no_host), session)["computed_again"].seconds > 0
    assert account(CostModel(no_host), session, WITHOUT_KV)["computed_again"].seconds == 0


def test_a_slow_link_makes_replicas_wait(tmp_path):
    scenario = small(tmp_path)
    slow = replace(scenario, hardware=replace(scenario.hardware, host_link_bytes_per_s=1e6))
    session = typical_session(scenario)
    used = account(CostModel(slow), session)
    assert used["link_wait"].seconds > 0
    kept = 4_089 // 16 * 16 * 131_072
    assert total_of(used.values()).seconds == pytest.approx(kept / 1e6, rel=1e-6)
    assert account(CostModel(scenario), session)["link_wait"].seconds == 0


def test_the_link_has_all_the_rest_of_a_session_to_itself(tmp_path, monkeypatch):
    """Of three gaps one is swapped, one computed again, one held: meanwhile the link copies, too."""
    scenario = small(tmp_path, {"workload.rounds": 4})
    slow = replace(scenario, hardware=replace(scenario.hardware, host_link_bytes_per_s=1e6))
    ways = iter(("swap", "recompute", "hold"))
    monkeypatch.setattr(accounting, "way_across", lambda *given: next(ways))
    used = account(CostModel(slow), typical_session(scenario))
    assert min(used[item].seconds for item in ("copies", "computed_again", "held_in_hbm", "link_wait")) > 0
    assert total_of(used.values()).seconds == pytest.approx(4_089 // 16 * 16 * 131_072 / 1e6, rel=1e-6)


@pytest.mark.parametrize("early_exit", [None, {"depth_ratio": 0.5}])
@pytest.mark.parametrize(("tokens", "per_iteration"), [(1, 1), (3, 1), (700, 700), (1400, 700)])
def test_equal_sequences_share_an_iteration_evenly(tmp_path, tokens, per_iteration, early_exit):
    """300 of them together, chunk by chunk: each its part of what the passes take."""
    cost = CostModel(small(tmp_path, {"serving.early_exit": early_exit}))
    chunks = [cost.batch(per_iteration, past, sequences=300) for past in range(2000, 2000 + tokens, per_iteration)]
    together_s = sum(cost.pass_s(batch) for batch in chunks)
    found_s = CountedTimes(cost, ALL).shared_s(tokens, 2000, per_iteration, 300.0)
    assert found_s == pytest.approx(together_s / 300, rel=1e-12)


def test_what_does_not_look_back_is_left_as_it_is(tmp_path):
    for overrides in ({}, {"serving.early_exit": {"depth_ratio": 0.5}}, {"techniques": ["yoco"]}):
        operations = CostModel(small(tmp_path, overrides)).operations
        left = counted_operations(operations, NEITHER)
        assert [op for op in left if op.span is None] == [op for op in operations if op.span is None]


def test_without_pairs_one_query_to_a_whole_prompt_is_nothing(tmp_path):
    """The upper half of a decoder-decoder; latent rows alone are expanded once a token."""
    cost = CostModel(small(tmp_path, {"techniques": ["yoco"]}))
    kernels = {op.name: op for op in counted_operations(cost.operations, NEITHER) if op.span is not None}
    last = kernels["attention full prefill"]
    assert last.flop(cost.batch(512, 3000)) == last.hbm_bytes(cost.batch(512, 3000)) == 0
    latent = CostModel(load_scenario("yi-34b-50k-a100", {"model": "deepseek-v3", "deployment.tensor_parallel": 8}))
    up = next(op for op in counted_operations(latent.operations, NEITHER) if op.name == "mla_kv_up")
    # 61 layers, rows of 512 to 128 heads of keys and values of 128: of 512 new tokens, and of one that decodes.
    assert up.flop(latent.batch(512, 3000)) == 512 * 2 * 61 * 512 * 128 * 256
    assert up.flop(latent.batch(1, 3000)) == 2 * 61 * 512 * 128 * 256


def test_without_pairs_latent_rows_are_expanded_once():
    """DeepSeek's prefill expands rows of the past in every chunk; decode absorbs the projection, whatever the past."""
    scenario = load_scenario("yi-34b-50k-a100", {"model": "deepseek-v3", "deployment.tensor_parallel": 8,
                                                 "serving.weight_dtype": "int4"})  # fmt: skip
    session = typical_session(scenario)
    cost = CostModel(scenario)
    short = replace(session, document_tokens=1000, question_tokens=0, rounds=1)
    long = replace(short, document_tokens=2000)
    flop = next(op.flop_per_touched for op in cost.operations if op.flop_per_touched)
    assert flop > 0
    # In one chunk each: without pairs twice the tokens take at most twice the time.
    assert used_s(cost, long, NEITHER) <= 2 * used_s(cost, short, NEITHER)


def test_weights_that_do_not_fit_have_no_price():
    scenario = load_scenario("yi-34b-50k-a100", {"model": "llama-3.1-405b"})
    with pytest.raises(InfeasibleError, match="weights need"):
        session_cost(scenario, typical_session(scenario))
