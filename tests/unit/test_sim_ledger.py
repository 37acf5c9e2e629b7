"""What gaps cost, by hand: entries of a ledger one by one, and tiny simulations that hold, swap and compute again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from support.cases import Case, engine, stub_cost
from support.laws import ConstantLaw
from support.sources import Talk, Turn, at

from ctxsim.cost import CostModel
from ctxsim.cost.gaps import GapPrices
from ctxsim.sim.charges import Charges
from ctxsim.sim.cluster import Stepping
from ctxsim.sim.journal import ServedRequest
from ctxsim.sim.ledger import GapCosts, Ledger, total
from ctxsim.spec.scenario import Scenario
from ctxsim.workload.demand import Demand

USD_PER_S = 2.0
"""Of the replica. A pool of 100 bytes, a byte a token, blocks of one token: a byte in HBM costs 0.02 USD/s."""
HOST_USD, DISK_USD = 0.001, 0.0001
"""USD of a byte and second below HBM."""
LINK_BYTES_PER_S = 10.0
POOL_BYTES = 100.0
CHUNK_TOKENS = 32
ITERATION_S = 1.0
QUESTION_TOKENS = 10
STEPPINGS: tuple[Stepping, ...] = ("macro", "single")

COST = stub_cost(block_size=1, capacity_bytes=POOL_BYTES, law=ConstantLaw(ITERATION_S))


def machine(residency: str = "swap", host_bytes: float = 1000.0, host_tier: str = "exclusive") -> Scenario:
    limits = engine(max_num_batched_tokens=CHUNK_TOKENS, max_num_seqs=8)
    serving = limits.serving.model_copy(
        update={
            "residency": residency,
            "host_kv_capacity": host_bytes,
            "host_tier": host_tier,
            "block_size": 1,
            "iteration_overhead": ITERATION_S,
        }
    )
    price = replace(
        limits.price,
        accelerator_usd_per_s=USD_PER_S,
        host_memory_usd_per_byte_s=HOST_USD,
        disk_usd_per_byte_s=DISK_USD,
    )
    hardware = replace(limits.hardware, host_link_bytes_per_s=LINK_BYTES_PER_S, host_memory_bytes_per_s=1e6)
    return replace(limits, serving=serving, price=price, hardware=hardware)


def ledger(**settings: Any) -> Ledger:
    return Ledger(GapPrices(machine(**settings), cast(CostModel, COST)), Charges(), USD_PER_S)


def turn(known: int, found: int, gap_s: float | None = None, preemptions: int = 0) -> ServedRequest:
    """A turn with so many tokens computed before, of which so many were found."""
    request = ServedRequest(Demand(0, 0.0, known + QUESTION_TOKENS, 1, session=0, turn=1, reusable_tokens=known))
    request.computed_tokens, request.preemptions, request.gap_s = found, preemptions, gap_s
    return request


# Memory


def test_what_is_held_changes_evenly_between_two_tallies() -> None:
    """Nothing for 2 s; then HBM 10 to 30 in 4 s; host memory 4 bytes for 4 s; disk empties from 8 in 4 s."""
    book = ledger()
    book.tally(2.0, (10.0, 4.0, 8.0))
    book.tally(6.0, (30.0, 4.0, 0.0))
    assert book.held_byte_s == [80.0, 16.0, 16.0]
    costs = book.close()
    assert costs.hold_hbm_usd == pytest.approx(80 * 0.02, rel=1e-12)
    assert costs.hold_host_usd == pytest.approx(16 * HOST_USD, rel=1e-12)
    assert costs.hold_disk_usd == pytest.approx(16 * DISK_USD, rel=1e-12)


def test_what_changes_at_one_time_counts_from_the_last_tally() -> None:
    book = ledger()
    book.tally(1.0, (0.0, 0.0, 0.0))
    book.tally(1.0, (50.0, 0.0, 0.0))
    book.tally(3.0, (50.0, 0.0, 0.0))
    assert book.held_byte_s == [100.0, 0.0, 0.0]


def test_a_ledger_can_be_closed_again_later() -> None:
    book = ledger()
    book.tally(0.0, (10.0, 0.0, 0.0))
    book.tally(1.0, (10.0, 0.0, 0.0))
    first = book.close().hold_hbm_usd
    assert book.close().hold_hbm_usd == first == pytest.approx(0.2, rel=1e-12)
    book.tally(3.0, (10.0, 0.0, 0.0))
    assert book.close().hold_hbm_usd == pytest.approx(3 * first, rel=1e-12)


# Turns


@pytest.mark.parametrize(
    ("known", "found", "iterations"),
    [(60, 60, 0), (60, 38, 0), (60, 37, 1), (60, 28, 1), (60, 6, 1), (60, 5, 2), (60, 0, 2), (60, 64, 0)],
)
def test_what_was_lost_is_paid_for_by_the_iterations_that_it_adds(known: int, found: int, iterations: int) -> None:
    """32 tokens an iteration of 1 s, at 2 USD/s; the question's 10 tokens take one iteration in any case, and 22 more
    fit into it."""
    book = ledger()
    book.admitted(turn(known, found), kept_bytes=float(known))
    assert book.costs.recompute_usd == pytest.approx(iterations * 2.0, rel=1e-12)


def test_first_turns_and_turns_that_were_preempted_cost_nothing_more() -> None:
    book = ledger()
    book.admitted(turn(0, 0, gap_s=5.0), kept_bytes=0.0)
    book.admitted(turn(60, 0, gap_s=5.0, preemptions=1), kept_bytes=60.0)
    assert book.costs == GapCosts()


@pytest.mark.parametrize(
    ("gap_s", "bound_usd", "way"),
    [
        (1.5, 1.5 * 50 * 0.02, "hold"),  # 1.50 against copies of 2 x 5 s (10.00) and one iteration more (2.00)
        (5.0, 2.0, "recompute"),
        (500.0, 2.0, "recompute"),
    ],
)
def test_the_bound_is_the_least_of_holding_swapping_and_computing_again(
    gap_s: float, bound_usd: float, way: str
) -> None:
    book = ledger()
    book.admitted(turn(50, 50, gap_s), kept_bytes=50.0)
    assert book.costs.bound_usd == pytest.approx(bound_usd, rel=1e-12)
    assert book.costs.gaps == 1
    assert GapPrices(machine(), cast(CostModel, COST)).ways(50, 50.0, gap_s, QUESTION_TOKENS).least == way


def test_the_bound_is_a_swap_where_little_is_kept_of_many_tokens() -> None:
    """A window keeps 5 bytes of 50 tokens: 0.5 s each way hold a twentieth of the pool (0.10), host memory the rest."""
    book = ledger()
    book.admitted(turn(50, 50, gap_s=101.0), kept_bytes=5.0)
    assert 1.0 * 5 * 0.02 + 100.0 * 5 * HOST_USD < ITERATION_S * USD_PER_S
    assert book.costs.bound_usd == pytest.approx(1.0 * 5 * 0.02 + 100.0 * 5 * HOST_USD, rel=1e-12)
    nowhere = ledger(host_bytes=0.0)
    nowhere.admitted(turn(50, 50, gap_s=101.0), kept_bytes=5.0)
    assert nowhere.costs.bound_usd == pytest.approx(2.0, rel=1e-12)


def test_a_turn_whose_gap_is_not_known_has_costs_and_no_bound() -> None:
    book = ledger()
    book.admitted(turn(60, 0), kept_bytes=60.0)
    assert (book.costs.gaps, book.costs.bound_usd) == (0, 0.0)
    assert book.costs.recompute_usd == 4.0


# All replicas


def test_the_total_of_several_replicas_and_what_it_is_above_the_bound() -> None:
    parts = [GapCosts(1.0, 2.0, 3.0, 4.0, bound_usd=5.0, gaps=1), GapCosts(0.5, 0.25, 0.125, 1.0, 0.5, 2)]
    assert total(parts) == {
        "gaps": 3,
        "total_usd": 11.875,
        "hold_hbm_usd": 1.5,
        "hold_host_usd": 2.25,
        "hold_disk_usd": 3.125,
        "recompute_usd": 5.0,
        "bound_usd": 5.5,
        "regret_usd": 6.375,
    }


def test_without_known_gaps_there_is_neither_bound_nor_regret() -> None:
    found = total([GapCosts(hold_hbm_usd=1.0)])
    assert (found["gaps"], found["bound_usd"], found["regret_usd"], found["total_usd"]) == (0, None, None, 1.0)


# Tiny simulations: a session that asks 30 tokens, is answered with one, and asks three more after 20 s.


def costs(scenario: Scenario, demands: Sequence[Demand], stepping: Stepping) -> dict[str, Any]:
    cluster = Case(COST, scenario, demands).cluster(stepping)
    cluster.run()
    return cluster.gap_costs()


def session(*others: Demand) -> list[Demand]:
    """Done at 1 s; asks again at 21 s, for its 30 tokens and three: from nothing they take two iterations, not one."""
    own = [
        Demand(0, 0.0, 30, 1, 0, 0, last=False),
        Demand(9, 21.0, 33, 1, 0, 1, reusable_tokens=30),
    ]
    return sorted([*own, *others], key=lambda demand: demand.arrival_s)


@pytest.mark.parametrize("stepping", STEPPINGS)
def test_holding_by_hand(stepping: Stepping) -> None:
    """30 bytes idle in HBM for 20 s cost 12 USD; computing 30 tokens again had cost 2 for an iteration more, and
    swapping them more than that for copies of 3 s each way (30 x 6 x 0.02 = 3.60)."""
    found = costs(machine(residency="keep"), session(), stepping)
    assert found["hold_hbm_usd"] == pytest.approx(12.0, rel=1e-9)
    assert found["hold_host_usd"] == found["recompute_usd"] == 0.0
    assert (found["gaps"], found["bound_usd"]) == (1, 2.0)
    assert found["regret_usd"] == pytest.approx(10.0, rel=1e-9)


@pytest.mark.parametrize("stepping", STEPPINGS)
def test_computing_again_by_hand(stepping: Stepping) -> None:
    """Another prompt takes the pool from 5 s on: held for 4 s (2.40 USD); 30 tokens again take one more."""
    found = costs(machine(residency="recompute"), session(at(5.0, 100, 1, 1)), stepping)
    assert found["hold_hbm_usd"] == pytest.approx(4 * 30 * 0.02, rel=1e-9)
    assert found["recompute_usd"] == 2.0
    assert found["hold_host_usd"] == 0.0
    assert found["regret_usd"] == pytest.approx(2.4, rel=1e-9)


@pytest.mark.parametrize("stepping", STEPPINGS)
def test_swapping_by_hand(stepping: Stepping) -> None:
    """Held from 1 s to 5 s, copied out until 8 s, in host memory until 21 s, copied in until 24 s.

    HBM: 30 bytes for 4 s idle, 3 s on the way out, and 3 s on the way in (6.00 USD). Host memory: 30 bytes for 13 s,
    and for the 3 s on the way out: room is taken when a copy is ordered, and handed on when one back is.
    """
    found = costs(machine(residency="swap"), session(at(5.0, 100, 1, 1)), stepping)
    assert found["hold_hbm_usd"] == pytest.approx((4 + 3 + 3) * 30 * 0.02, rel=1e-9)
    assert found["hold_host_usd"] == pytest.approx((3 + 13) * 30 * HOST_USD, rel=1e-9)
    assert found["recompute_usd"] == 0.0
    assert found["bound_usd"] == 2.0
    assert found["regret_usd"] == pytest.approx(6.0 + 0.48 - 2.0, rel=1e-9)


@pytest.mark.parametrize("stepping", STEPPINGS)
def test_gaps_begin_when_the_last_turn_has_ended(stepping: Stepping) -> None:
    """Users who think 0.5 s: two gaps, held for it (0.30 USD, then 0.33 for 33 tokens) and cheapest so."""
    talk: Talk = [Turn(30, 1, 0.0), Turn(2, 1, 0.5), Turn(1, 1, 0.5)]
    cluster = Case(COST, machine(residency="keep"), talks=[[talk]]).cluster(stepping)
    finished = cluster.run().finished
    assert [r.gap_s for r in finished] == [None, 0.5, 0.5]
    found = cluster.gap_costs()
    assert found["gaps"] == 2
    assert found["bound_usd"] == pytest.approx(0.5 * 0.02 * (30 + 33), rel=1e-9)
    assert found["total_usd"] == pytest.approx(found["bound_usd"], rel=1e-9)
    assert found["regret_usd"] == pytest.approx(0.0, abs=1e-9)
