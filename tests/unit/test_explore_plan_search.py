"""What a plan asks, and in which order: nothing that an earlier answer has settled."""

from __future__ import annotations

from math import ceil

import pytest
from exploring import goal, small

from ctxsim.explore import Outcome
from ctxsim.explore.executors import local
from ctxsim.explore.load import load_of, with_load
from ctxsim.explore.plan import Space, pilot, reach, settle
from ctxsim.explore.plan.pilot import Pilot
from ctxsim.explore.plan.prune import judge
from ctxsim.explore.plan.reach import Reach, reach_of
from ctxsim.explore.plan.search import Search


def answering(module, monkeypatch, met):
    """Trials of the module answer by a rule on their scenario alone; returns the scenarios that were asked of."""
    asked = []

    class Told:
        def __init__(self, scenario):
            self.scenario = scenario

        def run(self):
            asked.append(self.scenario)
            ratio = 1.0 if met(self.scenario) else 0.0
            return Outcome("ok", None, {"slo_met_ratio": ratio, "ttft_mean_s": 0.5, "tpot_mean_s": 0.01})

    monkeypatch.setattr(module, "Trial", Told)
    return asked


def search_of(tmp_path, space, wanted):
    base = goal(tmp_path)
    designs = [judge(base, number, setting, 8) for number, setting in enumerate(space.designs())]
    search = Search(base, 8, wanted, local(1), lambda what, done, of: None)
    return search, search.run(designs)


def test_designs_of_one_machine_are_settled_one_after_the_other(tmp_path, monkeypatch):
    """The second has to be cheaper than what the first comes to: it is not asked for as many replicas."""
    asked = answering(settle, monkeypatch, lambda scenario: scenario.deployment.replicas >= 3)
    _, best = search_of(tmp_path, Space.of(tensor_parallel=[1], batch_tokens=[512, 1024]), 1)
    assert [fleet.replicas for fleet in best] == [3]
    found = [(one.serving.max_num_batched_tokens, one.deployment.replicas) for one in asked]
    assert (512, 3) in found
    assert max(replicas for tokens, replicas in found if tokens == 1024) == 2


def test_a_cheaper_design_of_the_same_machine_is_found_after_the_first(tmp_path, monkeypatch):
    needed = {512: 3, 1024: 2}
    answering(settle, monkeypatch, lambda one: one.deployment.replicas >= needed[one.serving.max_num_batched_tokens])
    search, best = search_of(tmp_path, Space.of(tensor_parallel=[1], batch_tokens=[512, 1024]), 1)
    assert [fleet.replicas for fleet in best] == [2]
    assert {(fleet.design.number, fleet.replicas) for fleet in search.fleets} >= {(0, 3), (0, 2), (1, 2), (1, 1)}


def test_machines_are_settled_side_by_side(tmp_path, monkeypatch):
    asked = answering(settle, monkeypatch, lambda scenario: scenario.deployment.replicas >= 2)
    _, best = search_of(tmp_path, Space.of(tensor_parallel=[1, 2]), 2)
    assert [(fleet.design.machine[1], fleet.replicas) for fleet in best] == [(1, 2), (2, 2)]
    assert {one.deployment.tensor_parallel for one in asked} == {1, 2}


@pytest.mark.parametrize("most", range(20, 40))
@pytest.mark.parametrize("load", [6, 100, 1000])
def test_a_pilot_says_how_many_replicas_the_fleet_takes(tmp_path, monkeypatch, most, load):
    answering(pilot, monkeypatch, lambda scenario: load_of(scenario) <= most)
    found = Pilot(with_load(small(tmp_path), load), 1, 80).run()
    assert found.users <= most < found.missed
    assert ceil(load / found.users) == ceil(load / most) == ceil(load / (found.missed - 1))
    assert found.missed - found.users <= 1 + found.users // pilot.CLOSE


def test_a_fleet_that_takes_no_more_is_asked_once(tmp_path, monkeypatch):
    asked = answering(reach, monkeypatch, lambda scenario: load_of(scenario) <= 6)
    assert reach_of(small(tmp_path), local(1)) == Reach(6, 7)
    assert [load_of(scenario) for scenario in asked] == [7]


def test_nobody_asks_beyond_the_last_doubling(tmp_path, monkeypatch):
    asked = answering(reach, monkeypatch, lambda scenario: True)
    assert reach_of(small(tmp_path), local(1)) == Reach(6 + 2 ** (reach.DOUBLINGS - 1), None)
    assert len(asked) == reach.DOUBLINGS
