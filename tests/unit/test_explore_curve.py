"""Load curves: which loads are tried, what stands for a fleet, and what breaks first."""

from __future__ import annotations

import pytest

from ctxsim.explore.curve import RATIOS, breaks_first, load_curve, replicas_told_by_one
from ctxsim.explore.executors import local
from ctxsim.explore.load import with_load, with_replicas
from ctxsim.explore.outcomes import Trial
from ctxsim.spec.scenario import Scenario, load_scenario

SHORT = {"run.horizon": "10 min"}


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario("yi-34b-50k-a100", SHORT | {"workload.users": 8})


def test_points_are_simulations_of_their_loads(scenario: Scenario) -> None:
    points = load_curve(scenario, local(1), more=[9])
    assert [point.load for point in points] == [1, 2, 4, 6, 8, 9, 10, 12, 16]
    for point in points:
        row = Trial(with_load(scenario, point.load)).run().row
        assert point.row == row
        assert point.ttft_s == row["slo_found_ttft_s"]
        assert point.sessions_per_hour == row["sessions_per_hour"]


def test_what_breaks_first_is_the_least_load_that_misses(scenario: Scenario) -> None:
    points = load_curve(scenario, local(1))
    first = breaks_first(points)
    assert first is not None
    slo = scenario.slo
    assert slo.ttft is not None
    assert slo.tpot is not None
    for point in points:
        limits = (("ttft", point.ttft_s, slo.ttft), ("tpot", point.tpot_s, slo.tpot))
        over = [name for name, found, limit in limits if found is None or found > limit]
        assert set(over) <= set(point.missed)
        assert bool(point.missed) >= (point.load == first.load)
        assert not (point.missed and point.load < first.load)


def test_one_of_equal_replicas_tells_of_all(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the fleet has enough to do for that to be worth it."""
    assert replicas_told_by_one(with_replicas(with_load(scenario, 16), 2)) == 1
    monkeypatch.setattr("ctxsim.explore.plan.pilot.MANY_REQUESTS", 0)
    two = with_replicas(with_load(scenario, 16), 2)
    assert replicas_told_by_one(two) == 2
    points = {point.load: point for point in load_curve(two, local(1))}
    alone = {point.load: point for point in load_curve(scenario, local(1))}
    assert list(points) == [2 * load for load in alone]
    for load, point in alone.items():
        assert points[2 * load].sessions_per_hour == 2 * point.sessions_per_hour
        assert points[2 * load].ttft_s == point.ttft_s


def test_uneven_users_keep_the_scenarios_own_load(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctxsim.explore.plan.pilot.MANY_REQUESTS", 0)
    assert 5 in [point.load for point in load_curve(with_replicas(with_load(scenario, 5), 2), local(1))]


def test_open_loops_and_mixed_fleets_are_simulated_whole() -> None:
    chat = load_scenario("llama-8b-chat", {"workload.num_requests": 40, "deployment.replicas": 2})
    assert replicas_told_by_one(chat) == 1
    rate = chat.workload.arrival.rate  # type: ignore[union-attr]
    assert [point.load for point in load_curve(chat, local(1))] == [ratio * rate for ratio in RATIOS]
    assert replicas_told_by_one(load_scenario("llama-70b-mixed-fleet")) == 1


def test_no_limit_nothing_breaks() -> None:
    free = load_scenario("llama-8b-chat", {"workload.num_requests": 40, "slo.ttft": None, "slo.tpot": None})
    points = load_curve(free, local(1))
    assert breaks_first(points) is None
    assert all(point.ttft_s == point.row["ttft_p95_s"] for point in points)
