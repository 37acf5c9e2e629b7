"""The bill is divided in the same way whether runs are taken at once or one iteration at a time."""

from __future__ import annotations

from random import Random
from typing import cast

import pytest
from support.cases import random_case
from support.paying import COLUMNS, untied
from support.residency import residency_case

from ctxsim.cost import CostModel
from ctxsim.metrics.split import busy_time
from ctxsim.sim import simulate
from ctxsim.spec.scenario import load_scenario

SCENARIOS: dict[str, dict[str, object]] = {
    "llama-8b-chat": {"workload.num_requests": 60},
    "yi-34b-50k-a100": {"run.horizon": "8 min"},
    "yi-34b-50k-one-a100": {"run.horizon": "8 min"},
    "llama-70b-mixed-fleet": {"run.horizon": "2 min"},
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_of_real_scenarios(name: str) -> None:
    """HBM that is held beside runs is not on the bill, so that all of it is exact."""
    scenario = load_scenario(name, SCENARIOS[name])
    simulations = [simulate(scenario, stepping=stepping) for stepping in ("macro", "single")]
    for name in COLUMNS:
        found, expected = (simulation.requests[name] for simulation in simulations)
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12), name
    macro, single = (simulation.summary["money"] for simulation in simulations)
    for key in ("parts_usd", "switching_usd", "idle_usd", "per_turn_usd"):
        assert macro[key] == pytest.approx(single[key], rel=1e-9, abs=1e-12), key


@pytest.mark.parametrize("block", range(10))
def test_of_random_engines(block: int) -> None:
    for seed in range(block * 10, block * 10 + 10):
        for case in (untied(random_case(Random(seed))), untied(residency_case(Random(seed)))):
            cost = cast(CostModel, case.cost)
            macro, single = (busy_time(cost, case.run(stepping).runs.parts()) for stepping in ("macro", "single"))
            for name in ("prefill_s", "decode_s", "slowed_s"):
                found, expected = getattr(macro, name), getattr(single, name)
                assert found == pytest.approx(expected, rel=1e-9, abs=1e-9), (seed, name)
