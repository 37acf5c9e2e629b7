"""What a gap between two turns costs in each way, by hand, and that the simulator's ledger asks the same prices."""

from __future__ import annotations

from math import inf

import pytest
from cost_scenarios import scenario

from ctxsim.analysis import analyze
from ctxsim.cost import CostModel
from ctxsim.cost.gaps import GapPrices, Ways
from ctxsim.cost.topology import DISK, HBM, HOST
from ctxsim.sim.quotes import ReplicaQuotes

USD_PER_S = 3.6 / 3600
GIB_USD_PER_S = 0.004 / 3600 / 2**30
TOKENS = 50_249
ASKED_TOKENS = 1
"""Without a question the last token of the answer before it is all that a prompt computes in any case."""
KEPT_BYTES = 245_760.0 * (TOKENS // 16 * 16)
POOL_BYTES = 80 * 2**30 - 68e9
PRICES = {
    "price__accelerator": "3.60 USD/hour",
    "price__host_memory": "0.004 USD/GiB/hour",
    "price__disk": "0.0001 USD/GiB/hour",
}


def prices(**settings: object) -> GapPrices:
    served = scenario(**PRICES | settings)
    return GapPrices(served, CostModel(served))


def test_holding_costs_the_share_of_the_pool() -> None:
    found = prices().ways(TOKENS, KEPT_BYTES, 60.0)
    assert found.hold_usd == pytest.approx(USD_PER_S * 60 * KEPT_BYTES / POOL_BYTES, rel=1e-12)


def test_computing_again_costs_the_whole_replica_for_as_long_as_it_takes() -> None:
    """Chunks of 2,048 tokens of a compute-bound prefill."""
    seconds = (2 * 34e9 * TOKENS + 60 * 2 * 32 * 256 * TOKENS**2 / 2) / 312e12
    found = prices().ways(TOKENS, KEPT_BYTES, 60.0).recompute_usd
    assert found == pytest.approx(USD_PER_S * seconds, rel=2e-3)
    cost = CostModel(scenario(**PRICES))
    chunks = [(min(2048, TOKENS - past), past) for past in range(0, TOKENS, 2048)]
    assert found == pytest.approx(USD_PER_S * sum(cost.pass_s(cost.batch(n, past)) for n, past in chunks), rel=1e-12)


def test_what_is_computed_again_beside_a_question_costs_what_it_adds() -> None:
    """Chunks of 2,048: whole ones come before the question, and cost what they cost alone. The 9 tokens of part of a
    block share the question's iteration: alone they would read all weights (68 GB at 2,039 GB/s), beside its 20 tokens
    they read nothing but the context once less, and 29 tokens compute for less time than reading takes."""
    found = prices()
    assert found.recompute_usd(0, 4096, 2048) == pytest.approx(found.recompute_usd(0, 4096), rel=1e-12)
    alone_usd = found.recompute_usd(50_240, 9)
    assert alone_usd > USD_PER_S * 68e9 / 2.04e12
    assert 0.0 <= found.recompute_usd(50_240, 9, 20) < 1e-3 * alone_usd
    # The prompt is one of 2,058 tokens, an iteration more than the question's.
    both_usd, asked_usd = found.recompute_usd(0, 2058), found.recompute_usd(2048, 10)
    assert found.recompute_usd(0, 2048, 10) == pytest.approx(both_usd - asked_usd, rel=1e-12)


@pytest.mark.parametrize(("tier", "copies"), [("exclusive", 2), ("inclusive", 1)])
def test_swapping_costs_hbm_while_copying_and_host_memory_for_the_rest(tier: str, copies: int) -> None:
    copies_s = copies * KEPT_BYTES / 20e9
    hbm = USD_PER_S * copies_s * KEPT_BYTES / POOL_BYTES
    host = KEPT_BYTES * GIB_USD_PER_S
    found = prices(serving__host_tier=tier)
    assert found.ways(TOKENS, KEPT_BYTES, 60.0).swap_usd == pytest.approx(hbm + host * (60 - copies_s), rel=1e-12)
    # A gap that is too short to copy out and in still pays for both copies.
    assert found.ways(TOKENS, KEPT_BYTES, 0.1).swap_usd == pytest.approx(hbm, rel=1e-12)


def test_descriptors_lengthen_copies() -> None:
    plain, slow = prices(), prices(serving__copy_descriptor_overhead="1 us")
    blocks = -(-TOKENS // 16)
    added_s = slow.copy_s(HBM, HOST, KEPT_BYTES, TOKENS) - plain.copy_s(HBM, HOST, KEPT_BYTES, TOKENS)
    assert added_s == pytest.approx(blocks * 60 * 1e-6, rel=1e-9)


def test_disk_has_a_price_of_its_own() -> None:
    held = prices().hold_usd(DISK, 2.0**30, 3600.0)
    assert held == pytest.approx(0.0001, rel=1e-12)


def test_without_host_memory_nothing_is_swapped() -> None:
    found = prices(serving__host_kv_capacity="0 B").ways(TOKENS, KEPT_BYTES, 60.0)
    assert found.swap_usd is None
    assert found.least_usd == min(found.hold_usd, found.recompute_usd)


@pytest.mark.parametrize(
    ("ways", "least", "usd"),
    [
        (Ways(1.0, 2.0, 3.0), "hold", 1.0),
        (Ways(2.0, 1.0, 3.0), "swap", 1.0),
        (Ways(3.0, 2.0, 1.0), "recompute", 1.0),
        (Ways(2.0, None, 3.0), "hold", 2.0),
        (Ways(1.0, 1.0, 1.0), "hold", 1.0),
    ],
)
def test_the_least_of_the_ways(ways: Ways, least: str, usd: float) -> None:
    assert (ways.least, ways.least_usd) == (least, usd)


def test_analyze_shows_the_same_gap_and_where_each_way_begins_to_pay() -> None:
    served = scenario(**PRICES)
    gap = analyze(served).keys["gap"]
    ways = GapPrices(served, CostModel(served)).ways(TOKENS, KEPT_BYTES, 60.0, ASKED_TOKENS)
    assert (gap["tokens"], gap["kept_bytes"], gap["idle_s"], gap["least"]) == (TOKENS, KEPT_BYTES, 60, "swap")
    assert (gap["hold_usd"], gap["swap_usd"], gap["recompute_usd"]) == (
        ways.hold_usd,
        ways.swap_usd,
        ways.recompute_usd,
    )
    for way, idle_s in gap["break_even_idle_s"].items():
        other = analyze(scenario(**PRICES, workload__think_time=f"{idle_s!r} s")).keys["gap"]
        assert other[f"{way}_usd"] == pytest.approx(other["hold_usd"], rel=1e-9)


@pytest.mark.parametrize("tier_policy", ["exclusive", "inclusive"])
def test_how_long_each_tier_is_worth_keeping_by_hand(tier_policy: str) -> None:
    """Held in HBM while it is copied, in the tier for the rest, until that is what computing it again costs.

    Out to host memory at 20 GB/s, and back at 20 GB/s; back from disk through the drives, at their latency and rate.
    """
    found = prices(serving__host_tier=tier_policy)
    hbm_usd_per_s = USD_PER_S * KEPT_BYTES / POOL_BYTES
    again_usd = found.recompute_usd(0, TOKENS)
    assert found.kept_until_s(HBM, TOKENS, KEPT_BYTES) == pytest.approx(again_usd / hbm_usd_per_s, rel=1e-12)
    out_s = 0.0 if tier_policy == "inclusive" else KEPT_BYTES / 20e9
    hardware = scenario(**PRICES).hardware
    drives_s = (hardware.nvme_latency_s or 0.0) + KEPT_BYTES / min(20e9, hardware.nvme_read_bytes_per_s)
    backs = {HOST: KEPT_BYTES / 20e9, DISK: drives_s}
    usd_per_gib_hour = {HOST: 0.004, DISK: 0.0001}
    for tier, back_s in backs.items():
        tier_usd_per_s = KEPT_BYTES / 2**30 * usd_per_gib_hour[tier] / 3600
        expected = out_s + back_s + (again_usd - hbm_usd_per_s * (out_s + back_s)) / tier_usd_per_s
        assert found.kept_until_s(tier, TOKENS, KEPT_BYTES) == pytest.approx(expected, rel=1e-9)


def test_at_the_end_of_that_time_the_ways_cost_the_same() -> None:
    found = prices()
    until_s = found.kept_until_s(HOST, TOKENS, KEPT_BYTES)
    ways = found.ways(TOKENS, KEPT_BYTES, until_s)
    assert ways.swap_usd == pytest.approx(ways.recompute_usd, rel=1e-12)


def test_what_costs_nothing_is_kept_for_ever_and_dear_copies_never_pay() -> None:
    free = prices(price__host_memory="0 USD/GiB/hour")
    assert free.kept_until_s(HOST, TOKENS, KEPT_BYTES) == inf
    slow = prices(serving__copy_descriptor_overhead="1 ms")
    assert slow.kept_until_s(HOST, TOKENS, KEPT_BYTES) == 0.0
    assert slow.kept_until_s(HBM, TOKENS, KEPT_BYTES) > 0.0


def test_analyze_tells_how_long_to_keep_what_where() -> None:
    """From HBM the first of the other ways to pay; what is kept for ever has no limit."""
    found = prices()
    gap = analyze(scenario(**PRICES)).keys["gap"]
    assert gap["kept_until_s"] == {
        "hbm": gap["break_even_idle_s"]["swap"],
        "host": found.kept_until_s(HOST, TOKENS, KEPT_BYTES, ASKED_TOKENS),
        "disk": found.kept_until_s(DISK, TOKENS, KEPT_BYTES, ASKED_TOKENS),
    }
    nowhere = analyze(scenario(**PRICES, serving__host_kv_capacity="0 B")).keys["gap"]
    assert nowhere["kept_until_s"]["hbm"] == nowhere["break_even_idle_s"]["recompute"]
    free = {name: f"0 {price.split(' ')[1]}" for name, price in PRICES.items()}
    assert set(analyze(scenario(**free)).keys["gap"]["kept_until_s"].values()) == {None}


def test_host_memory_that_costs_more_than_hbm_never_pays() -> None:
    dear = PRICES | {"price__host_memory": "1 USD/GiB/hour"}
    gap = analyze(scenario(**dear)).keys["gap"]
    assert gap["break_even_idle_s"]["swap"] is None
    assert gap["swap_usd"] > gap["hold_usd"]


def test_a_session_of_one_turn_has_no_gap() -> None:
    assert analyze(scenario(workload__rounds=1)).keys["gap"] is None


def test_the_simulator_s_quotes_are_these_prices() -> None:
    shared = ("recompute_usd", "copy_s", "copies_s", "hold_usd", "kept_until_s", "ways")
    assert issubclass(ReplicaQuotes, GapPrices)
    assert not set(shared) & set(vars(ReplicaQuotes))


def test_what_was_worked_out_once_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = prices()
    first = asked.recompute_usd(0, TOKENS)
    monkeypatch.setattr("ctxsim.cost.gaps.alone_s", lambda *_: 1.0)
    assert asked.recompute_usd(0, TOKENS) == first
    assert asked.recompute_usd(16, TOKENS) == USD_PER_S
