"""The experiment behind a residency map's check: whom it serves, and that its gaps cost what the map says."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, floor

import pytest

from ctxsim.analysis import analyze
from ctxsim.cost import CostModel
from ctxsim.cost.gaps import GapPrices
from ctxsim.cost.topology import HBM
from ctxsim.explore.residency import contention
from ctxsim.explore.residency.contention import can_be_simulated, contended, found_of, policies_of, users_of
from ctxsim.explore.residency.found import Found, found_in
from ctxsim.explore.residency.map import held_at
from ctxsim.explore.residency.sample import contended_base
from ctxsim.sim import simulate
from ctxsim.spec.lengths import UniformLength
from ctxsim.spec.scenario import Scenario, load_scenario

TOKENS, IDLE_S = 63_415, 300.0
QUESTION, ANSWER, ROUNDS = 100, 250, 5
GROWTH = QUESTION + ANSWER


@pytest.fixture(scope="module")
def base() -> Scenario:
    return contended_base(load_scenario("yi-34b-50k-a100"))


def test_only_the_policy_and_what_the_point_says_are_changed(base: Scenario) -> None:
    swap = contended(base, TOKENS, IDLE_S, "swap")
    cost, usual = CostModel(swap), CostModel(base)
    assert cost.memory.kv_capacity_bytes == usual.memory.kv_capacity_bytes
    assert swap.serving.scheduler == "shortest_prompt_first"
    assert swap.workload.document_tokens.tokens + QUESTION + ANSWER - 1 == TOKENS  # type: ignore[union-attr]
    assert contended(base, TOKENS, IDLE_S, "keep").serving.host_kv_capacity == 0


def test_users_by_hand(base: Scenario) -> None:
    """Under keep those that fit at their longest; else more than can think and be served at once."""
    per_token, pool = 245_760, CostModel(base).memory.kv_capacity_bytes
    longest = -(-(TOKENS - ANSWER + 1 - QUESTION + ROUNDS * GROWTH) // 16) * 16
    assert users_of(contended(base, TOKENS, IDLE_S, "keep")) == floor(pool / (per_token * longest)) == 5
    crowd = contended(base, TOKENS, IDLE_S, "recompute")
    first = -(-(TOKENS - ANSWER + 1) // 16) * 16
    thinking = analyze(crowd).bounds[0].sessions_per_s * ROUNDS * IDLE_S
    assert users_of(crowd) == ceil(thinking + pool / (per_token * first)) + 2


def test_points_that_take_too_many_users_are_not_simulated(base: Scenario) -> None:
    assert can_be_simulated(base, TOKENS, 2_400.0)
    assert not can_be_simulated(base, 3_400, 5_000.0)
    serving = base.serving.model_copy(update={"host_kv_capacity": 0.0})
    assert policies_of(replace(base, serving=serving)) == ["keep", "recompute"]


@pytest.fixture(scope="module")
def found(base: Scenario) -> dict[str, Found]:
    return {policy: found_of(contended(base, TOKENS, IDLE_S, policy)) for policy in policies_of(base)}


def test_gaps_cost_what_the_map_says(base: Scenario, found: dict[str, Found]) -> None:
    """Long gaps of long contexts, where a turn is soon served: kept and swapped within 5 %. What is computed again lies
    in HBM until the next prompt takes its room, which the map leaves out: a few per cent more."""
    gaps = [held.usd(IDLE_S) for held in held_at(base, [TOKENS + turn * GROWTH for turn in range(ROUNDS - 1)])]
    expected = {name: sum(gap[name] for gap in gaps) for name in gaps[0]}
    ratios = {name: one.gaps_usd / expected[name] for name, one in found.items()}
    assert ratios["keep"] == pytest.approx(1.0, abs=0.01)
    assert ratios["swap"] == pytest.approx(1.0, abs=0.05)
    assert ratios["recompute"] == pytest.approx(1.0, abs=0.15)
    assert found["recompute"].recompute_usd == pytest.approx(expected["recompute"], rel=0.01)
    assert found["keep"].hold_host_usd == found["recompute"].hold_host_usd == 0.0


def test_what_waits_is_counted_apart(base: Scenario, found: dict[str, Found]) -> None:
    """Under keep KV lies in HBM for as long as its user thinks, and until the turn is served."""
    keep = found["keep"]
    prices = GapPrices(base, CostModel(base))
    contexts = [TOKENS + turn * GROWTH for turn in range(ROUNDS - 1)]
    kept_bytes = sum(245_760 * (tokens // 16 * 16) for tokens in contexts)
    assert keep.hold_hbm_usd == pytest.approx(prices.hold_usd(HBM, kept_bytes, IDLE_S), rel=0.005)
    assert keep.queued_usd == pytest.approx(prices.hold_usd(HBM, kept_bytes, keep.waited_s), rel=0.01, abs=1e-9)
    assert found["swap"].queued_usd > 0


def test_cycles_go_on_until_costs_are_known(base: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = contended(base, 49_990, 1.734, "swap")
    monkeypatch.setattr(contention, "MOST_SESSIONS", 300)
    short = found_of(scenario)
    assert short.cycles == 20
    assert short.gaps_error_usd is not None
    assert not short.known_to(0.001)
    monkeypatch.setattr(contention, "MOST_SESSIONS", 3_000)
    longer = found_of(scenario)
    assert longer.cycles > short.cycles
    assert longer.known_to(contention.CLOSE_ENOUGH_RATIO)
    assert replace(longer, gaps_error_usd=None, session_error_usd=None).known_to(0.0)


def test_the_first_cycle_is_not_counted(base: Scenario) -> None:
    """The rate counts from the end of as many sessions as there are users, here with unlike documents: out of step."""
    keep = contended(base, TOKENS, IDLE_S, "keep")
    users, cycles = users_of(keep), 2
    unlike = UniformLength(kind="uniform", min=1_000, max=TOKENS)
    ending = {"users": users, "num_sessions": (cycles + 2) * users, "document_tokens": unlike}
    workload = keep.workload.model_copy(update=ending)
    simulation = simulate(replace(keep, workload=workload))
    ends_s = sorted(simulation.sessions["end_s"].tolist())
    counted_s = ends_s[(cycles + 1) * users - 1] - ends_s[users - 1]
    found = found_in(simulation, users, cycles)
    assert found.sessions_per_hour == pytest.approx(3600 * cycles * users / counted_s, rel=1e-12)
