"""A plan beside every fleet of its grid, tried one by one: none is cheaper, and one replica fewer does not do."""

from __future__ import annotations

from random import Random

import pytest
from support.plans import exhaustive, small_goal

from ctxsim.explore.plan import NoFleetError, plan

SEEDS = (0, 3, 14, 17, 22, 30)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_fleet_of_the_grid_is_cheaper(seed, tmp_path):
    goal, space = small_goal(Random(seed), tmp_path)
    cheapest, met = exhaustive(goal, space)
    try:
        found = plan(goal, space, confidence_runs=2)
    except NoFleetError:
        assert cheapest is None
        return
    assert found.chosen.usd_per_hour == cheapest
    number, replicas = found.chosen.design.number, found.chosen.replicas
    assert met[number, replicas]
    assert replicas == 1 or not met[number, replicas - 1]
