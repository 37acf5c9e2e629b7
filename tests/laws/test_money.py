"""Every cent of the bill was for something: its parts sum to it, in every shipped scenario and in random ones."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import Case, random_case
from support.paying import COLUMNS, paid, priced, run_by_run, untied
from support.residency import residency_case

from ctxsim.cost import fleet_usd_per_s
from ctxsim.metrics.money import group_bill
from ctxsim.metrics.split import busy_time
from ctxsim.records import Records
from ctxsim.sim import simulate
from ctxsim.sim.cluster import Cluster
from ctxsim.spec.catalog import names
from ctxsim.spec.scenario import load_scenario

SHORT = {"run.horizon": "10 min"}
ON_MORE = {"deployment.tensor_parallel": 8} | SHORT
"""Of contexts that the accelerators which the scenario names have no room for: there is no bill to divide."""
SHORTENED: dict[str, dict[str, object]] = {
    "llama-8b-chat": {"workload.num_requests": 150},
    "million-sessions": {"workload.num_sessions": 150},
    "mooncake-replay": {},
    "paper-34b-100k": ON_MORE,
    "paper-34b-200k": ON_MORE,
    "paper-34b-1m": ON_MORE,
}
UNITS = ("per_session_usd", "per_turn_usd", "per_million_input_tokens_usd", "per_million_output_tokens_usd")
RELATIVE = 1e-9


def check(money: dict[str, Any]) -> None:
    bill_usd, parts = money["bill_usd"], money["parts_usd"]
    assert sum(parts.values()) == pytest.approx(bill_usd, rel=RELATIVE)
    assert sum(money["switching_usd"].values()) == pytest.approx(parts["switching"], rel=RELATIVE)
    assert sum(money["idle_usd"].values()) == pytest.approx(parts["idle"], rel=RELATIVE)
    for usd in (*parts.values(), *money["switching_usd"].values(), *money["idle_usd"].values()):
        assert usd >= -RELATIVE * bill_usd
    for name in UNITS:
        unit = dict(money[name])
        if (total := unit.pop("total")) is not None:
            assert sum(unit.values()) == pytest.approx(total, rel=RELATIVE)


def check_rows(money: dict[str, Any], *tables: Records) -> None:
    """What requests were charged, and what sessions were, is the bill but for what is idle: part by part."""
    bill_usd, parts = money["bill_usd"], money["parts_usd"]
    for rows in tables:
        for name in COLUMNS[:-1]:
            part = parts[name.removesuffix("_usd")]
            assert float(np.sum(rows[name])) == pytest.approx(part, rel=RELATIVE, abs=RELATIVE * bill_usd)
            assert np.min(rows[name], initial=0.0) >= -RELATIVE * bill_usd
        assert float(np.sum(rows["cost_usd"])) + parts["idle"] == pytest.approx(bill_usd, rel=RELATIVE)
        assert np.allclose(sum(rows[name] for name in COLUMNS[:-1]), rows["cost_usd"], rtol=RELATIVE)


@pytest.mark.parametrize("name", names("scenario"))
def test_the_bill_of_every_shipped_scenario_is_divided_whole(name: str) -> None:
    """Machines that nobody rents out have no price, and no bill: they are given one here."""
    price = {"price.accelerator": "1 USD/hour"} if name.startswith("cpu") else {}
    found = simulate(load_scenario(name, SHORTENED.get(name, SHORT) | price))
    summary = found.summary
    assert summary["money"]["bill_usd"] > 0
    assert summary["money"]["parts_usd"]["decode"] > 0
    check(summary["money"])
    check_rows(summary["money"], found.requests, found.sessions)
    assert summary["cost_usd_per_session"] == summary["money"]["per_session_usd"]["total"]
    gaps = summary["gap_cost_usd"]
    assert summary["money"]["parts_usd"]["holding_host"] == pytest.approx(gaps["hold_host_usd"], rel=RELATIVE)
    assert summary["money"]["parts_usd"]["holding_hbm"] <= gaps["hold_hbm_usd"] * (1 + RELATIVE)


@pytest.mark.parametrize("residency", ["keep", "swap", "recompute", "cheapest"])
@pytest.mark.parametrize("fidelity", ["peak", "calibrated"])
def test_so_it_is_under_every_policy_and_fidelity(residency: str, fidelity: str) -> None:
    settings = {"serving.residency": residency, "fidelity": fidelity, "serving.disk_kv_capacity": "1 TiB"}
    found = simulate(load_scenario("yi-34b-50k-a100", settings | SHORT))
    check(found.summary["money"])
    check_rows(found.summary["money"], found.requests, found.sessions)


def check_case(case: Case) -> None:
    """Every second of every replica is computed, waited or idle; every dollar has its part."""
    case = untied(case)
    cluster = case.cluster()
    journal = cluster.run()
    if not len(journal.requests):
        return
    end_s = float(journal.requests["finished_s"].max())
    cost, (upkeep,) = priced(case), cluster.upkeep()
    busy = busy_time(cost, journal.runs.parts())
    parts_s = (busy.prefill_s, busy.decode_s, busy.slowed_s, upkeep.idle_s, upkeep.copy_wait_s)
    replicas = case.scenario.deployment.replicas
    assert sum(parts_s) == pytest.approx(replicas * end_s, rel=RELATIVE, abs=1e-7)
    assert min(parts_s) >= -RELATIVE * end_s
    assert upkeep.idle_byte_s <= case.cost.memory.kv_capacity_bytes * upkeep.idle_s * (1 + RELATIVE)
    bill = group_bill(cost, busy, upkeep, end_s)
    assert sum(bill.parts_usd.values()) == pytest.approx(fleet_usd_per_s(case.scenario) * end_s, rel=1e-7)
    check_paid(case, cluster, bill.parts_usd)


def check_paid(case: Case, cluster: Cluster, parts: dict[str, float]) -> None:
    """So is what requests paid: to the bill, run by run, and whether runs are jumped over or not."""
    found, whole = paid(case, cluster), sum(parts.values())
    near = {"rtol": RELATIVE, "atol": RELATIVE * whole}
    for name in COLUMNS[:-1]:
        assert float(np.sum(found[name])) == pytest.approx(parts[name.removesuffix("_usd")], abs=RELATIVE * whole)
        assert np.min(found[name]) >= -RELATIVE * whole
    for name, expected in zip(("prefill_usd", "decode_usd"), run_by_run(case, cluster), strict=True):
        assert np.allclose(found[name], expected, **near)
    single = case.cluster("single")
    single.run()
    for name, usd in paid(case, single).items():
        assert np.allclose(found[name], usd, **near), name


@given(st.randoms(use_true_random=False))
def test_no_second_of_a_random_engine_is_lost(rng: Random) -> None:
    check_case(random_case(rng))


@given(st.randoms(use_true_random=False))
def test_nor_where_kv_is_held_swapped_and_waited_for(rng: Random) -> None:
    check_case(residency_case(rng))


@pytest.mark.parametrize("seed", [117, 266, 318, 791, 1217])
def test_nor_where_it_was_once(seed: int) -> None:
    """KV in host memory that was copied there again, that was not there before, and whose prefix was gone."""
    check_case(residency_case(Random(seed)))
