"""The working set by hand, where it has a cliff, and that every prediction past it says so."""

from __future__ import annotations

from typing import Any

import pytest
from command_line import ctxsim

from ctxsim.analysis import analyze, fleet_working_set, prediction_warnings
from ctxsim.cost.working_set import WorkingSet
from ctxsim.explore import sweep
from ctxsim.sim import simulate
from ctxsim.spec.scenario import Scenario, load_scenario, scenario_document

NAME = "yi-34b-50k-a100"
KV_BYTES = 245_760
POOL_BLOCKS = 24_000


def running(**settings: Any) -> Scenario:
    pool = {"serving.num_gpu_blocks_override": POOL_BLOCKS}
    return load_scenario(NAME, pool | {name.replace("__", "."): value for name, value in settings.items()})


def wanted(**settings: Any) -> WorkingSet:
    found = fleet_working_set(running(**settings))
    assert found is not None
    return found


def test_the_running_example_by_hand() -> None:
    """Twenty users in the middle of five rounds of 350 tokens; HBM and 512 GiB on the node."""
    found = wanted()
    tokens = (50_000 + round(2.5 * 350)) // 16 * 16
    assert found.sessions == 20
    assert found.session_bytes == tokens * KV_BYTES
    assert found.hbm_bytes == POOL_BLOCKS * 16 * KV_BYTES
    assert found.room_bytes == POOL_BLOCKS * 16 * KV_BYTES + 512 * 2**30
    assert found.hbm_ratio == pytest.approx(20 * tokens / (POOL_BLOCKS * 16), rel=1e-12)
    assert (found.region, found.past_cliff) == ("offload", False)


@pytest.mark.parametrize(
    ("settings", "region"),
    [
        ({"workload__users": 7}, "safe"),
        ({"workload__users": 8}, "offload"),
        ({"workload__users": 51}, "offload"),
        ({"workload__users": 52}, "thrash"),
        # Host memory holds what HBM holds, too.
        ({"workload__users": 43, "serving__host_tier": "inclusive"}, "offload"),
        ({"workload__users": 45, "serving__host_tier": "inclusive"}, "thrash"),
        # Tiers that the policy does not use are no room; what waits does not thrash.
        ({"workload__users": 8, "serving__residency": "recompute"}, "thrash"),
        ({"workload__users": 80, "serving__residency": "keep"}, "waiting"),
        ({"workload__users": 51, "serving__residency": "cheapest"}, "offload"),
        ({"workload__users": 52, "serving__residency": "cheapest"}, "thrash"),
    ],
)
def test_regions(settings: dict[str, Any], region: str) -> None:
    found = wanted(**settings)
    assert found.region == region
    assert found.past_cliff == (region == "thrash")
    assert bool(found.cautions()) == found.past_cliff


def test_what_just_fits_is_not_past_it() -> None:
    full = WorkingSet(sessions=2, session_bytes=5.0, hbm_bytes=10.0, room_bytes=10.0, waits=False)
    assert (full.hbm_ratio, full.region) == (1.0, "safe")
    below = WorkingSet(sessions=2, session_bytes=5.0, hbm_bytes=4.0, room_bytes=10.0, waits=False)
    assert (below.hbm_ratio, below.room_ratio, below.region) == (2.5, 1.0, "offload")


def test_inclusive_tiers_smaller_than_hbm_are_no_more_room() -> None:
    """What lies in 8 GiB of host memory lies in HBM too, which holds 94 GB."""
    found = wanted(serving__host_tier="inclusive", serving__host_kv_capacity="8 GiB")
    assert found.room_bytes == found.hbm_bytes == POOL_BLOCKS * 16 * KV_BYTES


def test_sessions_that_arrive_are_between_turns_for_their_think_time() -> None:
    """Four gaps of 60 s each, 0.1 of them a second."""
    workload = {"kind": "sessions", "arrival": {"kind": "poisson", "rate": "0.1 /s"}, "document_tokens": 50_000,
                "rounds": 5, "question_tokens": 100, "answer_tokens": 250, "think_time": "60 s"}  # fmt: skip
    assert wanted(workload=workload).sessions == pytest.approx(24)


def test_replicas_bring_room_each() -> None:
    """Two of them on one node share its host memory."""
    one, two = wanted(), wanted(deployment__replicas=2)
    assert two.hbm_bytes == 2 * one.hbm_bytes
    assert two.room_bytes - two.hbm_bytes == one.room_bytes - one.hbm_bytes


@pytest.mark.parametrize("settings", [{"workload__rounds": 1}, {"serving__enable_prefix_caching": False}])
def test_nothing_is_wanted_where_nobody_comes_back_or_nothing_is_kept(settings: dict[str, Any]) -> None:
    scenario = running(**settings)
    assert fleet_working_set(scenario) is None
    assert analyze(scenario).keys["working_set"] is None
    assert prediction_warnings(scenario) == scenario.warnings


def test_requests_and_machines_without_room_have_none() -> None:
    assert fleet_working_set(load_scenario("llama-8b-chat")) is None
    assert fleet_working_set(load_scenario(NAME, {"hardware": "l40s", "deployment.tensor_parallel": 1})) is None


PAST = {"workload.users": 60, "workload.num_sessions": 4}


def test_analysis_and_simulation_say_that_it_is_past_the_cliff() -> None:
    for settings, past in ((PAST, True), (PAST | {"workload.users": 20}, False)):
        scenario = load_scenario(NAME, settings)
        simulation, analysis = simulate(scenario), analyze(scenario)
        assert simulation.summary["working_set"] == analysis.keys["working_set"]
        assert analysis.keys["working_set"]["past_cliff"] is past
        for warnings in (simulation.warnings, analysis.warnings, prediction_warnings(scenario)):
            assert any(said.startswith("past the cliff: 60 sessions want ") for said in warnings) == past


def test_a_sweep_counts_the_points_past_the_cliff() -> None:
    points = [(("workload.users", users),) for users in (20, 60, 80)]
    found = sweep(scenario_document(NAME), points, by="analyze")
    assert [row["working_set_past_cliff"] for row in found.rows] == [False, True, True]
    (said,) = found.warnings
    assert said.startswith("2 of 3 points lie past the cliff (working_set_past_cliff), points 1, 2: ")
    assert sweep(scenario_document(NAME), points[:1], by="analyze").warnings == ()


@pytest.mark.parametrize(
    "words",
    [
        ("analyze", NAME),
        ("simulate", NAME, "--set", "workload.num_sessions=4", "--no-progress"),
        ("whatif", NAME, "--by", "analyze", "--change", "serving.kv_dtype=fp8", "--workers", "1"),
        ("sensitivity", NAME),
    ],
)
def test_commands_warn(words: tuple[str, ...]) -> None:
    assert "warning: past the cliff: 60 sessions" in ctxsim(*words, "--set", "workload.users=60").err
    assert "past the cliff" not in ctxsim(*words).err
