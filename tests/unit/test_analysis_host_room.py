"""Swapping needs somewhere to swap to: host memory and disk limit the bound on sessions held."""

import pytest

from ctxsim.analysis import analyze
from ctxsim.spec.scenario import load_scenario

SESSION_BYTES = 12_288_000_000


def hbm_size_bound(**serving: object) -> float:
    overrides = {f"serving.{name}": value for name, value in serving.items()}
    bounds = analyze(load_scenario("paper-34b-50k", overrides)).bounds
    return next(b.sessions_per_s for b in bounds if b.resource == "hbm_size")


def slots(bound: float) -> float:
    """Sessions held, from X = slots / (resident + 4 thinks of 60 s)."""
    course = analyze(load_scenario("paper-34b-50k")).course
    return bound * (course.resident_s + 4 * 60)


def test_without_room_outside_hbm_swap_holds_what_keep_holds():
    nowhere = hbm_size_bound(residency="swap", host_kv_capacity="0 B", disk_kv_capacity="0 B")
    assert nowhere == hbm_size_bound(residency="keep")


@pytest.mark.parametrize("tier", ["host_kv_capacity", "disk_kv_capacity"])
def test_room_for_two_sessions_holds_two_more(tier):
    capacities = {"host_kv_capacity": "0 B", "disk_kv_capacity": "0 B"} | {tier: f"{2 * SESSION_BYTES} B"}
    kept = slots(hbm_size_bound(residency="keep"))
    assert slots(hbm_size_bound(residency="swap", **capacities)) == pytest.approx(kept + 2, rel=1e-9)


def test_room_beyond_what_is_needed_changes_nothing():
    bounds = {room: hbm_size_bound(residency="swap", host_kv_capacity=room) for room in ("1 TiB", "1500 GiB")}
    assert bounds["1 TiB"] == bounds["1500 GiB"]
