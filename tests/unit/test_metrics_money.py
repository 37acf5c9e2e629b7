"""The bill by hand: tiny simulations that compute, wait for copies, hold and idle, and what it is a unit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from support.cases import Case
from support.paying import paid
from support.sources import at
from test_sim_ledger import COST, HOST_USD, STEPPINGS, machine, session

from ctxsim.cost import CostModel
from ctxsim.metrics.money import Bill, Upkeep, group_bill, money
from ctxsim.metrics.split import busy_time
from ctxsim.records import REQUEST_COLUMNS, table
from ctxsim.sim import simulate
from ctxsim.sim.cluster import Cluster, Stepping
from ctxsim.spec.scenario import Scenario, load_scenario

WATTS = 400.0
HOUR_S = 3600.0


def served(scenario: Scenario, stepping: Stepping) -> tuple[Cluster, Bill, float]:
    """A session of 30 tokens that asks again 20 s after its answer; another prompt takes the pool from 5 s on."""
    cluster = Case(COST, scenario, session(at(5.0, 100, 1, 1))).cluster(stepping)
    journal = cluster.run()
    end_s = float(journal.requests["finished_s"].max())
    cost = cast(CostModel, replace(COST, scenario=scenario))
    return cluster, group_bill(cost, busy_time(cost, journal.runs.parts()), cluster.upkeep()[0], end_s), end_s


@pytest.mark.parametrize("stepping", STEPPINGS)
def test_a_swap_by_hand(stepping: Stepping) -> None:
    """Computing 0 to 1 s, 8 to 12 s and 24 to 25 s; waiting for copies 5 to 8 s and 21 to 24 s; else nothing to do.

    At 2 USD/s: 12 USD of prefill, 12 USD of switching; 30 bytes idle in HBM for 4 s at 0.02 USD hold 2.40 USD of the
    26 USD of idle time. Of 1,000 bytes of host memory for 25 s, 30 bytes held it for 16 s.
    """
    cluster, bill, end_s = served(machine("swap"), stepping)
    assert end_s == pytest.approx(25.0, rel=1e-9)
    (upkeep,) = cluster.upkeep()
    assert (upkeep.idle_s, upkeep.copy_wait_s, upkeep.idle_byte_s) == pytest.approx((13.0, 6.0, 120.0), rel=1e-6)
    assert (bill.prefill, bill.decode) == pytest.approx((12.0, 0.0), rel=1e-9)
    assert (bill.copy_wait, bill.slow_down) == pytest.approx((12.0, 0.0), rel=1e-6)
    assert (bill.holding_hbm, bill.idle_accelerators) == pytest.approx((2.4, 23.6), rel=1e-6)
    assert (bill.holding_host, bill.idle_host) == pytest.approx((0.48, 25.0 - 0.48), rel=1e-9)
    assert sum(bill.parts_usd.values()) == pytest.approx(50.0 + 25.0, rel=1e-9)


@pytest.mark.parametrize("stepping", STEPPINGS)
def test_who_pays_for_a_swap_by_hand(stepping: Stepping) -> None:
    """The first turn left what lay in HBM for 4 s and 16 s in host memory, and its copy out took 3 s; the third asked
    for the copy in. Prompts: 1 s, 4 s for the other session's, 1 s."""
    case = Case(COST, machine("swap"), session(at(5.0, 100, 1, 1)))
    cluster = case.cluster(stepping)
    cluster.run()
    found = paid(case, cluster)
    expected = {
        "prefill_usd": [2.0, 8.0, 2.0],
        "decode_usd": [0.0, 0.0, 0.0],
        "switching_usd": [6.0, 0.0, 6.0],
        "holding_hbm_usd": [2.4, 0.0, 0.0],
        "holding_host_usd": [0.48, 0.0, 0.0],
        "holding_disk_usd": [0.0, 0.0, 0.0],
        "cost_usd": [10.88, 8.0, 8.0],
    }
    for name, usd in expected.items():
        assert found[name] == pytest.approx(usd, rel=1e-6, abs=1e-6), name


@pytest.mark.parametrize("stepping", STEPPINGS)
def test_who_waits_for_others_to_leave_waits_for_no_copy(stepping: Stepping) -> None:
    """Under keep the other prompt waits from 5 s until the session is over: 20 s of its 30 bytes hold 12 USD."""
    cluster, bill, _ = served(machine("keep"), stepping)
    assert cluster.upkeep()[0].copy_wait_s == 0.0
    assert bill.holding_hbm == pytest.approx(12.0, rel=1e-9)
    assert bill.copy_wait == 0.0


@pytest.mark.parametrize("residency", ["keep", "swap", "recompute"])
def test_gap_costs_and_the_bill_are_of_the_same_bytes_and_prices(residency: str) -> None:
    """Below HBM they are equal; in HBM a gap pays at all times, the bill's holding is its part of idle times."""
    cluster, bill, _ = served(machine(residency), "macro")
    gaps: dict[str, Any] = cluster.gap_costs()
    assert (bill.holding_host, bill.holding_disk) == (gaps["hold_host_usd"], gaps["hold_disk_usd"])
    assert 0 < bill.holding_hbm <= gaps["hold_hbm_usd"] * (1 + 1e-9)
    assert bill.holding_host == cluster.upkeep()[0].held_byte_s[1] * HOST_USD


def test_replicas_that_are_done_idle_and_hold_until_the_last_request_of_all() -> None:
    """The second replica serves one request, the first two: all is paid for until the last of them ends."""
    scenario = machine("swap")
    deployment = scenario.deployment.model_copy(update={"replicas": 2})
    demands = [at(0.0, 30, 1, 0), at(0.0, 30, 1, 1), at(9.0, 30, 1, 2)]
    cluster = Case(COST, replace(scenario, deployment=deployment), demands).cluster()
    assert float(cluster.run().requests["finished_s"].max()) == pytest.approx(10.0, rel=1e-9)
    assert cluster.upkeep()[0].idle_s == pytest.approx(2 * 10.0 - 3 * 1.0, rel=1e-9)


# Units

UNITS = ("per_session_usd", "per_turn_usd", "per_million_input_tokens_usd", "per_million_output_tokens_usd")


def money_of(scenario: Scenario, bill: Bill, sessions: int, *requests: dict[str, float]) -> dict[str, Any]:
    rows = table(REQUEST_COLUMNS, [tuple(row.get(c.name, 0) for c in REQUEST_COLUMNS) for row in requests])
    return money(scenario, [bill], rows, np.full(sessions, 2.0), HOUR_S)


def test_unit_costs_by_hand() -> None:
    """An hour at 3 USD of one accelerator, two turns of a session: 1,000 prompt tokens, 600 of them found, 50 made."""
    scenario = load_scenario("llama-8b-chat", {"price.accelerator": "3 USD/hour", "price.energy": "0.25 USD/kWh"})
    bill = Bill(1.0, 0.5, 0.25, 0.05, 0.2, 0.0, 0.0, 1.0)
    turns = ({"prompt_tokens": 400, "output_tokens": 20}, {"prompt_tokens": 600, "output_tokens": 30})
    turns[1].update(hbm_hit_tokens=100, host_hit_tokens=200, disk_hit_tokens=300)
    found = money_of(scenario, bill, 1, *turns)
    assert found["bill_usd"] == pytest.approx(3.0, rel=1e-12)
    assert found["session_usd"] == dict.fromkeys(("mean", "p50", "p90", "p95", "p99"), 2.0)
    assert found["parts_usd"]["switching"] == pytest.approx(0.3, rel=1e-12)
    assert found["switching_usd"] == {"copy_wait": 0.25, "slow_down": 0.05}
    assert found["tokens"] == {"computed_input": 400, "cached_input": 600, "output": 50}
    totals = [found[name]["total"] for name in UNITS]
    assert totals == pytest.approx([3.0, 1.5, 3.0 / 1e-3, 3.0 / 50e-6], rel=1e-12)
    assert found["per_turn_usd"]["decode"] == pytest.approx(0.25, rel=1e-12)
    own = found["own_per_million_tokens_usd"]
    assert own["computed_input"] == pytest.approx(1.0 / 400e-6, rel=1e-12)
    assert own["cached_input"] == pytest.approx((0.3 + 0.2) / 600e-6, rel=1e-12)
    assert own["output"] == pytest.approx(0.5 / 50e-6, rel=1e-12)
    assert found["energy_kwh"] == pytest.approx(0.4, rel=1e-12), "400 W for an hour"
    assert found["energy_usd"] == pytest.approx(0.1, rel=1e-12)
    assert found["energy_billed"] is False


def test_where_nothing_was_served_nothing_has_a_unit_cost() -> None:
    found = money_of(load_scenario("llama-8b-chat"), Bill(), 0)
    assert {found[name][part] for name in UNITS for part in found[name]} == {None}
    assert set(found["own_per_million_tokens_usd"].values()) == {None}


def test_upkeep_of_several_replicas_is_summed() -> None:
    parts = [Upkeep(1.0, 2.0, 3.0, (4.0, 5.0, 6.0)), Upkeep(0.5, 0.25, 0.125, (1.0, 2.0, 3.0))]
    assert Upkeep.total(parts) == Upkeep(1.5, 2.25, 3.125, (5.0, 7.0, 9.0))


def test_billed_energy_is_paid_for_with_the_accelerators() -> None:
    """A machine that is owned: 400 W at 0.25 USD/kWh on top of 3 USD an hour, in every part that accelerators pay."""
    prices = {"price.accelerator": "3 USD/hour", "price.energy": "0.25 USD/kWh", "workload.num_requests": 30}
    rented = simulate(load_scenario("llama-8b-chat", prices)).summary["money"]
    owned = simulate(load_scenario("llama-8b-chat", prices | {"price.energy_billed": True})).summary["money"]
    assert owned["bill_usd"] == pytest.approx(rented["bill_usd"] + rented["energy_usd"], rel=1e-12)
    assert owned["energy_usd"] == rented["energy_usd"]
    assert owned["parts_usd"] == pytest.approx({k: v * 3.1 / 3 for k, v in rented["parts_usd"].items()}, rel=1e-9)
