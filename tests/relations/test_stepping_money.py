"""The bill is divided in the same way whether runs are taken at once or one iteration at a time."""

from __future__ import annotations

from dataclasses import replace
from math import pi
from random import Random
from typing import cast

import pytest
from support.cases import Case, random_case
from support.residency import residency_case

from ctxsim.cost import CostModel, Rates, RooflineLaw
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
    macro, single = (simulate(scenario, stepping=stepping).summary["money"] for stepping in ("macro", "single"))
    for key in ("parts_usd", "switching_usd", "idle_usd", "per_turn_usd"):
        assert macro[key] == pytest.approx(single[key], rel=1e-9, abs=1e-12), key


def untied(case: Case) -> Case:
    """The same with another HBM bandwidth: no operation is ever bound by FLOP and bytes at once.

    Where one is, it may be divided as either, and only the law of a run knows which of them it comes from.
    """
    rates = Rates(1.0, 1.0, pi / 3, None)
    law = RooflineLaw(case.cost.operations, rates, 0.0)
    return replace(case, cost=replace(case.cost, rates=rates, law=law))


@pytest.mark.parametrize("block", range(10))
def test_of_random_engines(block: int) -> None:
    for seed in range(block * 10, block * 10 + 10):
        for case in (untied(random_case(Random(seed))), untied(residency_case(Random(seed)))):
            cost = cast(CostModel, case.cost)
            macro, single = (busy_time(cost, case.run(stepping).runs) for stepping in ("macro", "single"))
            for name in ("prefill_s", "decode_s", "slowed_s"):
                found, expected = getattr(macro, name), getattr(single, name)
                assert found == pytest.approx(expected, rel=1e-9, abs=1e-9), (seed, name)
