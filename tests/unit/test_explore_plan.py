"""The parts of a capacity plan, each on its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from exploring import POISSON, document, goal, small

from ctxsim.analysis import analyze
from ctxsim.errors import SpecError
from ctxsim.explore import Outcome, Trial
from ctxsim.explore.executors import local
from ctxsim.explore.load import is_drawn, load_of, with_load
from ctxsim.explore.plan import Goal, NoFleetError, Space, pilot, plan, reach, settle
from ctxsim.explore.plan.confidence import confidence_of, wilson
from ctxsim.explore.plan.goal import check_prices, design_text, meets
from ctxsim.explore.plan.halving import STEPS, levers
from ctxsim.explore.plan.pilot import Pilot, Served, can_stand_for_fleet, error_users
from ctxsim.explore.plan.plan import front_of
from ctxsim.explore.plan.prune import Design, Refused, judge, least_replicas
from ctxsim.explore.plan.reach import Reach, reach_of
from ctxsim.explore.plan.search import Fleet
from ctxsim.explore.plan.settle import Settling, settled
from ctxsim.sim.replications import replication_seeds, reseeded

OK = {"slo_met_ratio": 1.0, "ttft_mean_s": 0.5, "tpot_mean_s": 0.01}
ONE = Space.of(tensor_parallel=[1])


def outcome(met: bool, **numbers: float) -> Outcome:
    return Outcome("ok", None, OK | {"slo_met_ratio": 1.0 if met else 0.0, **numbers})


def answering(module, monkeypatch, met):
    """Trials of the module answer by a rule on their scenario alone; returns what was asked."""
    asked = []

    class Told:
        def __init__(self, scenario):
            self.scenario = scenario

        def run(self):
            asked.append(self.scenario)
            return outcome(met(self.scenario))

    monkeypatch.setattr(module, "Trial", Told)
    return asked


# goal


def test_a_goal_is_the_base_under_its_load_or_another(tmp_path):
    assert goal(tmp_path).load == 6
    assert goal(tmp_path, users=9).load == 9
    assert goal(tmp_path, users=9).closed
    open_loop = goal(tmp_path, POISSON, rate=2.5)
    assert open_loop.load == 2.5
    assert not open_loop.closed
    one = goal(tmp_path, {"deployment.replicas": 7}, users=9).scenario((("serving.kv_dtype", "fp8"),))
    assert one.deployment.replicas == 1
    assert one.serving.kv_dtype == "fp8"
    assert load_of(one) == 9


@pytest.mark.parametrize(
    ("overrides", "load", "said"),
    [
        ({}, {"rate": 2.0}, "expected users"),
        ({}, {"users": 0}, "expected users"),
        (POISSON, {"users": 3}, "expected a rate"),
        (POISSON, {"rate": -1.0}, "expected a rate"),
        ({}, {"users": 3, "rate": 2.0}, "expected users"),
        ({"slo": {}}, {}, "expected a limit to plan for, found none"),
        ({"deployment.groups": "[{replicas: 1}]"}, {}, "expected one kind of replicas, found groups"),
    ],
)
def test_what_cannot_be_planned_for_is_refused(tmp_path, overrides, load, said):
    with pytest.raises(SpecError, match=said):
        goal(tmp_path, overrides, **load)


def test_a_space_is_every_combination_of_its_lists():
    space = Space.of(accelerators=["a100-80gb-sxm", "h100-80gb-sxm"], tensor_parallel=[1, 2], kv_dtype=["fp8"])
    assert len(space.designs()) == 4
    assert space.designs()[1] == (
        ("hardware", "a100-80gb-sxm"), ("deployment.tensor_parallel", 2), ("serving.kv_dtype", "fp8"),
    )  # fmt: skip
    assert space.machines == 4
    assert Space.of(tensor_parallel=None).designs() == [()]


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"kv_dtype": []}, "kv_dtype: expected a list of one value or more"),
        ({"kv_dtype": "fp8"}, "kv_dtype: expected a list"),
        ({"batch_tokens": [1, 1]}, "batch_tokens: expected each value once"),
        ({"accelerators": ["a100"]}, 'expected the name of a hardware profile or a path to its file, found "a100"'),
        ({"max_accelerators": 0}, "expected a whole number from 1 on"),
    ],
)
def test_lists_that_say_nothing_are_refused(choices, said):
    with pytest.raises(SpecError, match=said):
        Space.of(**choices)


def test_one_price_for_several_accelerators_is_refused(tmp_path):
    priced = goal(tmp_path, {"price.accelerator": "2 USD/hour"})
    check_prices(priced, ONE)
    two = Space.of(accelerators=["a100-80gb-sxm", "h100-80gb-sxm"])
    with pytest.raises(SpecError, match="expected the price of each accelerator to be its profile's"):
        check_prices(priced, two)
    check_prices(goal(tmp_path, {"price.energy": "0.1 USD/kWh"}), two)


def test_a_fleet_meets_its_slo_in_the_mean_too(tmp_path):
    slo = small(tmp_path).slo
    assert meets(slo, outcome(True))
    assert not meets(slo, outcome(False))
    assert not meets(slo, outcome(True, ttft_mean_s=1.1))
    assert not meets(slo, outcome(True, tpot_mean_s=0.04))
    assert meets(slo.model_copy(update={"tpot": None}), outcome(True, tpot_mean_s=0.04))
    assert not meets(slo, Outcome("infeasible", "no room", {}))


def test_a_design_says_what_varies(tmp_path):
    scenario = small(tmp_path)
    assert design_text((), scenario) == "1 x a100-80gb-sxm, KV bf16, swap, 1024 tokens an iteration"
    varied = (("serving.max_num_seqs", 64), ("serving.host_kv_capacity", "20 GB"))
    assert design_text(varied, scenario).endswith("64 sequences, 20 GB of host memory a node")


# closed form


def test_the_least_number_of_replicas_follows_from_the_formula(tmp_path):
    scenario = small(tmp_path, {"workload.users": 400, "run.horizon": "10 hours"})
    least, bound = least_replicas(scenario)
    session_s = 2 * (5 + 1 + 39 * 0.03)
    counted = 36_000 / session_s / 2
    needed = 400 / session_s * (1 - 2 / counted)
    assert least == -(-needed / bound.sessions_per_s // 1.001)
    assert least > 1
    assert bound.resource == "compute"
    # A short run says less, and one without a limit nothing.
    assert least_replicas(small(tmp_path, {"workload.users": 400, "run.horizon": "30 s"}))[0] == 1
    assert least_replicas(small(tmp_path, {"workload.users": 400, "slo.tpot": None}))[0] == 1


def test_an_open_loop_may_fall_behind_as_far_as_its_slo_lets_it(tmp_path):
    def least(number):
        load = {"workload.arrival.rate": "200 /s", "workload.num_requests": number, "run.horizon": None}
        return least_replicas(small(tmp_path, POISSON | load))

    long, bound = least(10**6)
    assert 0.99 * 200 / bound.sessions_per_s - 1 < long <= 200 / bound.sessions_per_s + 1
    assert least(10)[0] < least(10_000)[0] <= long


def test_judged_by_the_closed_form(tmp_path):
    def judged(overrides, setting=(), most=8):
        return judge(goal(tmp_path, overrides), 3, setting, most)

    assert isinstance(judged({}), Design)
    no_room = judged({"serving.num_gpu_blocks_override": 10})
    assert isinstance(no_room, Refused)
    assert "KV" in no_room.reason
    assert judged({}, (("serving.kv_dtype", "fp9"),)).reason.startswith("serving.kv_dtype: expected one of")
    assert judged({"slo.ttft": "10 ms"}).reason.startswith("a first turn alone takes")
    assert judged({"slo.tpot": "1 ms"}).reason.startswith("a step alone takes")
    # First turns of many are few enough to be left out; of lengths that are drawn a mean says nothing.
    assert isinstance(judged({"slo.ttft": "10 ms", "workload.rounds": 30}), Design)
    drawn = {"workload.document_tokens": {"kind": "lognormal", "mean": 4000, "p95": 9000}}
    assert isinstance(judged({"slo.ttft": "10 ms"} | drawn), Design)
    many = judged({"workload.users": 4000, "run.horizon": "1 hour"})
    assert "accelerators are needed (compute binds), 8 may be used" in many.reason


def test_keep_is_bounded_as_if_it_could_compute_again(tmp_path):
    """What is being served displaces others when it grows, whatever the policy promises."""
    tight = {"serving.num_gpu_blocks_override": 600, "workload.users": 60, "run.horizon": "4 hours"}
    kept, bound = least_replicas(small(tmp_path, tight | {"serving.residency": "keep"}))
    again, same = least_replicas(small(tmp_path, tight | {"serving.residency": "recompute"}))
    assert (kept, bound) == (again, same)
    bounds = analyze(small(tmp_path, tight | {"serving.residency": "keep"})).bounds
    assert next(b for b in bounds if b.resource == "hbm_size").sessions_per_s < bound.sessions_per_s


def test_what_follows_from_the_seed(tmp_path):
    assert not is_drawn(small(tmp_path))
    assert is_drawn(small(tmp_path, POISSON))
    assert is_drawn(small(tmp_path, {"workload.think_time": {"kind": "exponential", "mean": "5 s"}}))
    assert is_drawn(small(tmp_path, {"workload.answer_tokens": {"kind": "uniform", "min": 1, "max": 9}}))


# pilots and fleets


@pytest.mark.parametrize("most", range(1, 30))
def test_a_pilot_finds_the_most_users(tmp_path, monkeypatch, most):
    asked = answering(pilot, monkeypatch, lambda scenario: load_of(scenario) <= most)
    scenario = small(tmp_path)
    found = Pilot(scenario, 1, 40).run()
    assert found == Served(most, most + 1) or (most > 19 and found.users <= most < found.missed <= found.users + 2)
    assert len(asked) <= 11
    assert Pilot(scenario, most + 1, 40).run() == Served(0, most + 1)
    assert Pilot(scenario, 1, most).run().missed == most + 1


def test_one_replica_stands_for_many_only_where_sessions_stay(tmp_path):
    """And where a fleet has so much to do that it is worth it."""
    days = {"run.horizon": "48 hours"}
    assert can_stand_for_fleet(goal(tmp_path, days).base)
    assert not can_stand_for_fleet(goal(tmp_path, days | {"deployment.router": "least_loaded"}).base)
    assert not can_stand_for_fleet(goal(tmp_path, days | {"workload.num_sessions": 30}).base)
    assert not can_stand_for_fleet(goal(tmp_path, days | POISSON).base)
    assert not can_stand_for_fleet(goal(tmp_path).base)


def test_a_pilot_is_off_by_a_user_and_by_what_a_sample_is(tmp_path):
    assert error_users(small(tmp_path), 20) == 1
    drawn = small(tmp_path, {"workload.think_time": {"kind": "exponential", "mean": "5 s"}})
    # 60 s of turns that take 5 s of thinking, 1 s to the first token and 39 x 30 ms.
    requests = 20 * 60 / (5 + 1 + 39 * 0.03)
    assert error_users(drawn, 20) == pytest.approx(1 + 20 * 3 / requests**0.5)


@pytest.mark.parametrize("enough", range(1, 21))
@pytest.mark.parametrize("guess", [1, 4, 9, 20])
def test_a_fleet_is_settled_with_one_fewer_that_misses(tmp_path, monkeypatch, guess, enough):
    answering(settle, monkeypatch, lambda scenario: scenario.deployment.replicas >= enough)
    design = Design(0, (), small(tmp_path), 1)
    seen = Settling(design, guess, 20).run()
    assert settled(seen, design) == enough
    assert enough == 1 or not meets(design.scenario.slo, seen[enough - 1])
    assert settled(Settling(design, min(guess, enough), enough).run(), design) == enough
    if enough > 1:
        top = enough - 1
        assert settled(Settling(design, min(guess, top), top).run(), design) is None


def test_a_small_fleet_that_meets_below_one_that_misses_is_found(tmp_path, monkeypatch):
    answering(settle, monkeypatch, lambda scenario: scenario.deployment.replicas in (3, 5, 6, 7, 8))
    design = Design(0, (), small(tmp_path), 1)
    assert settled(Settling(design, 6, 8).run(), design) == 3


@pytest.mark.parametrize("most", [6, 7, 8, 9, 13, 20, 47, 100])
def test_how_far_a_fleet_reaches(tmp_path, monkeypatch, most):
    answering(reach, monkeypatch, lambda scenario: load_of(scenario) <= most)
    assert reach_of(small(tmp_path), local(1)) == Reach(most, most + 1)


def test_the_reach_of_an_open_loop_is_as_fine_as_a_fiftieth(tmp_path, monkeypatch):
    answering(reach, monkeypatch, lambda scenario: load_of(scenario) <= 4.5)
    found = reach_of(small(tmp_path, POISSON), local(1))
    assert found.load == pytest.approx(4.48)
    assert found.missed == pytest.approx(4.56)
    answering(reach, monkeypatch, lambda scenario: True)
    assert reach_of(small(tmp_path), local(1)).missed is None


# what comes with the answer


def test_wilson_intervals_against_published_ones():
    """Newcombe, Statistics in Medicine 17, 1998, table I (method 3): 81/263, 15/148, 0/20, 1/29."""
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (met, runs), (low, high) in published.items():
        assert wilson(met, runs) == pytest.approx((low, high), abs=5e-5)
    assert wilson(20, 20)[1] == pytest.approx(1.0)


def test_confidence_is_of_runs_that_differ(tmp_path):
    def confident(scenario):
        return confidence_of(Fleet(Design(0, (), scenario, 1), 1, outcome(True)), 6, local(1))

    alone = confident(small(tmp_path))
    assert (alone.runs, alone.met, alone.probability_ratio, alone.low_ratio) == (1, 1, None, None)
    drawn = small(tmp_path, POISSON)
    found_s = sorted(Trial(reseeded(drawn, s)).run().row["slo_found_ttft_s"] for s in replication_seeds(5, 6))
    half = confident(replace(drawn, slo=drawn.slo.model_copy(update={"ttft": (found_s[2] + found_s[3]) / 2})))
    assert (half.runs, half.met, half.probability_ratio) == (6, 3, 0.5)
    assert (half.low_ratio, half.high_ratio) == wilson(3, 6)


def fleet(number, replicas, ttft_s, tpot_s, scenario, status="ok"):
    row = {"slo_found_ttft_s": ttft_s, "slo_found_tpot_s": tpot_s, "ttft_p95_s": 9.0, "tpot_p95_s": 9.0}
    return Fleet(Design(number, (), scenario, 1), replicas, Outcome(status, None, row if status == "ok" else {}))


def test_the_front_is_what_no_other_fleet_beats(tmp_path):
    scenario = small(tmp_path)
    cheap, slow = fleet(0, 1, 2.0, 0.2, scenario), fleet(1, 1, 2.0, 0.3, scenario)
    quick, worse = fleet(2, 2, 0.5, 0.3, scenario), fleet(3, 2, 2.5, 0.3, scenario)
    steady, none = fleet(4, 3, 3.0, 0.1, scenario), fleet(5, 1, 0.1, 0.1, scenario, "infeasible")
    unknown = replace(fleet(6, 3, None, 0.05, scenario))
    assert front_of([steady, worse, quick, cheap, none, slow, unknown]) == [cheap, quick, steady, unknown]


def test_levers_are_the_least_steps_that_suffice(tmp_path, monkeypatch):
    from ctxsim.explore.plan import halving

    base = goal(tmp_path, {"run.horizon": "48 hours"})
    fleet_of_two = Fleet(Design(0, (), base.base, 1), 2, outcome(True))
    flop = small(tmp_path).hardware.peaks_flop_per_s[0][1]

    def met(scenario):
        assert load_of(scenario) == 6  # twice the three of each replica
        return scenario.hardware.peaks_flop_per_s[0][1] >= 1.9 * flop or scenario.workload.document_tokens.tokens < 1400

    answering(halving, monkeypatch, met)
    found = {lever.name: lever.factor for lever in levers(base, fleet_of_two, local(1))}
    assert found["peak_flop_per_s"] == 2.0
    assert found["document_tokens"] == 1 / 3
    assert found["hbm_bytes"] is None
    assert 2.0 in STEPS
    answering(halving, monkeypatch, lambda scenario: True)
    assert levers(base, fleet_of_two, local(1)) == ()


# the whole


def test_a_plan_of_a_small_goal(tmp_path):
    space = Space.of(accelerators=["a100-80gb-sxm", "h100-80gb-sxm"], tensor_parallel=[1, 2], max_accelerators=8)
    base = goal(tmp_path, {"slo.ttft": "600 ms"}, users=30)
    told = []
    found = plan(base, space, progress=lambda what, done, of: told.append(what))
    assert found.chosen.meets
    assert found.runner_up.meets
    assert found.chosen.usd_per_hour <= found.runner_up.usd_per_hour
    assert found.chosen.design.machine != found.runner_up.design.machine
    assert found.reach.load >= 30 > 0
    assert all(fleet in found.fleets for fleet in found.front)
    assert {"designs", "fleets"} <= set(told)
    fewer = found.chosen.replicas - 1
    if fewer:
        assert not next(f for f in found.fleets if f.design == found.chosen.design and f.replicas == fewer).meets
    assert plan(base, space, executor=local(2)) == found


def test_without_a_fleet_every_bound_is_said(tmp_path):
    space = Space.of(tensor_parallel=[1, 3], max_accelerators=2)
    with pytest.raises(NoFleetError) as caught:
        plan(goal(tmp_path, {"slo.tpot": "1 ms"}), space)
    assert caught.value.exit_code == 3
    assert "no fleet meets the SLO for 6 users" in str(caught.value)
    assert "a step alone takes" in str(caught.value)
    assert len(caught.value.refused) == 2
    with pytest.raises(NoFleetError, match="1 designs miss the SLO with all 1 accelerators, simulated"):
        plan(goal(tmp_path, users=60), Space.of(tensor_parallel=[1], max_accelerators=1))


def test_designs_that_come_to_the_same_are_asked_once(tmp_path):
    space = Space.of(tensor_parallel=[1], host_memory=["20 GB", "20000 MB"], max_accelerators=2)
    found = plan(goal(tmp_path), space)
    assert found.skipped == 0
    assert {fleet.design.number for fleet in found.fleets} == {0}


def test_a_load_in_a_document_is_not_lost(tmp_path):
    base = Goal.of(document(tmp_path, {"workload.users": 11}))
    assert base.load == 11
    assert with_load(base.base, 12).workload.users == 12
