"""The cliff: predicted where the working set fills all room, and found there by bisection on simulations."""

from __future__ import annotations

from typing import Any

import pytest
from exploring import POISSON, small

from ctxsim.analysis import fleet_working_set
from ctxsim.errors import InfeasibleError, SpecError
from ctxsim.explore.cliff import Bracket, cliff
from ctxsim.explore.cliff.axes import Raised, raised
from ctxsim.explore.cliff.cliff import LOST_RATIO, NARROW_RATIO, _Asked, _bracket, _located
from ctxsim.explore.executors import local
from ctxsim.spec.scenario import Scenario

SESSION_BLOCKS = (4_000 + 90 * 3 // 2) // 16
BLOCK_BYTES = 16 * 131_072


def tight(folder, **settings: Any) -> Scenario:
    """Room in HBM for the sessions of four users, and in host memory for those of six more."""
    overrides: dict[str, Any] = {
        "serving.num_gpu_blocks_override": 4 * SESSION_BLOCKS,
        "serving.host_kv_capacity": f"{6 * SESSION_BLOCKS * BLOCK_BYTES} B",
        "workload.rounds": 3,
        "workload.think_time": "4 s",
        "run.horizon": "120 s",
    }
    return small(folder, overrides | {name.replace("__", "."): value for name, value in settings.items()})


EXPONENTIAL = {"workload__think_time": {"kind": "exponential", "mean": "4 s"}}


def test_the_cliff_lies_where_all_room_is_full(tmp_path) -> None:
    found = cliff(tight(tmp_path))
    assert (found.name, found.own, found.runs) == ("users", 6, 1)
    assert found.hbm_full == pytest.approx(4)
    assert found.room_full == pytest.approx(10)
    assert found.reason is None
    assert found.located is not None
    (bracket,) = found.located.brackets
    assert (found.located.low, found.located.high) == (bracket.before, bracket.past)
    assert bracket.past - bracket.before == 1
    # Some KV of users who think is not there, and what is being served needs room to grow into.
    assert 0.8 * found.room_full <= found.located.load <= 1.25 * found.room_full


def test_regions_and_points(tmp_path) -> None:
    found = cliff(tight(tmp_path))
    loads = [point.load for point in found.points]
    assert loads == sorted(set(loads))
    assert found.own in loads
    assert {point.region for point in found.points} == {"safe", "offload", "thrash"}
    for point in found.points:
        wanted = fleet_working_set(tight(tmp_path, workload__users=int(point.load)))
        assert wanted is not None
        assert (point.hbm_ratio, point.room_ratio) == (wanted.hbm_ratio, wanted.room_ratio)
    assert found.points[0].lost_ratio < LOST_RATIO < found.points[-1].lost_ratio
    assert found.points[-1].ttft_mean_s > found.points[0].ttft_mean_s  # type: ignore[operator]


def test_replications_have_a_cliff_each_and_an_interval_together(tmp_path) -> None:
    told: list[tuple[int, int]] = []
    found = cliff(tight(tmp_path, **EXPONENTIAL), replications=3, tell=lambda done, of: told.append((done, of)))
    assert found.runs == 3
    assert found.located is not None
    assert len({bracket.seed for bracket in found.located.brackets}) == 3
    assert all(bracket.past - bracket.before == 1 for bracket in found.located.brackets)
    middles = [(bracket.before + bracket.past) / 2 for bracket in found.located.brackets]
    assert found.located.load == pytest.approx(sum(middles) / 3)
    assert found.located.low < min(middles) + 1
    assert found.located.high > max(middles) - 1
    assert told[-1][0] == told[-1][1] > len(found.points)


def test_the_interval_by_hand() -> None:
    """Middles 10, 12, 14: t of two degrees is 4.3027, the deviation 2; brackets are two wide."""
    found = _located([Bracket(seed, middle - 1, middle + 1) for seed, middle in enumerate((10.0, 12.0, 14.0))])
    assert found.load == 12
    assert found.high - found.load == pytest.approx(4.302652729749464 * 2 / 3**0.5 + 1)
    assert found.load - found.low == pytest.approx(found.high - found.load)
    one = _located([Bracket(7, 4.0, 5.0)])
    assert (one.load, one.low, one.high) == (4.5, 4.0, 5.0)


def test_arrivals_are_narrowed_to_a_hundredth(tmp_path) -> None:
    workload = {"kind": "sessions", "arrival": {"kind": "constant", "rate": "0.5 /s"}, "document_tokens": 4000,
                "rounds": 3, "question_tokens": 50, "answer_tokens": 40, "think_time": "4 s"}  # fmt: skip
    found = cliff(tight(tmp_path, workload=workload))
    assert found.name == "arrivals_per_s"
    # Two gaps of 4 s each: ten sessions in them at 1.25 a second.
    assert found.room_full == pytest.approx(1.25)
    assert found.located is not None
    (bracket,) = found.located.brackets
    assert NARROW_RATIO / 2 < (bracket.past - bracket.before) / bracket.past <= NARROW_RATIO


@pytest.mark.parametrize(("whole", "top", "widest"), [(False, 900.0, 0.01), (True, 900.0, 0.01), (True, 30.0, 1 / 20)])
def test_a_bracket_is_halved_until_it_is_narrow(tmp_path, monkeypatch, whole, top, widest) -> None:
    """Past 0.71 of its upper end everything is lost; users are told apart by one at least."""
    axis = Raised("x", 1.0, lambda value: tight(tmp_path), whole, None)
    asked, cliff_at = _Asked(axis, local(1), lambda done, of: None), 0.71 * top
    tiers = ("hbm", "host", "disk")

    def rows(points):
        return [{f"kv_hit_{tier}_ratio": 1 / 3 if load <= cliff_at else 0.0 for tier in tiers} for load, _ in points]

    monkeypatch.setattr(asked, "rows", rows)
    found = asked.narrowed(Bracket(7, top / 3, top))
    assert found.seed == 7
    assert found.before <= cliff_at < found.past
    assert widest / 2 < (found.past - found.before) / found.past <= widest


def test_longer_documents_have_a_cliff_too(tmp_path) -> None:
    found = cliff(tight(tmp_path), over="context")
    assert (found.name, found.own) == ("document_tokens", 4_000)
    assert found.room_full is not None
    within = fleet_working_set(tight(tmp_path, workload__document_tokens=int(found.room_full)))
    beyond = fleet_working_set(tight(tmp_path, workload__document_tokens=int(found.room_full) + 1))
    assert within is not None
    assert beyond is not None
    assert within.room_ratio <= 1 < beyond.room_ratio
    assert found.located is not None
    assert 0.8 * found.room_full <= found.located.load <= 1.25 * found.room_full


def test_what_is_raised_and_how_far(tmp_path) -> None:
    """Three rounds of 50 and 40 tokens are asked and answered over a document; Llama-3.1-8B serves 131,072."""
    scenario = tight(tmp_path)
    documents = raised(scenario, "context")
    assert (documents.name, documents.own, documents.most) == ("document_tokens", 4_000, 131_072 - 3 * 90)
    assert [documents.rounded(value) for value in (0.2, 9_000.6, 200_000)] == [1, 9_001, 130_802]
    assert documents.at(8_000).workload.document_tokens.mean_tokens == 8_000
    users = raised(scenario, "load")
    assert (users.name, users.own, users.most) == ("users", 6, None)
    assert [users.rounded(value) for value in (0.2, 9.6, 200_000)] == [1, 10, 200_000]
    workload = {"kind": "sessions", "arrival": {"kind": "constant", "rate": "0.5 /s"}, "document_tokens": 4000,
                "rounds": 3, "question_tokens": 50, "answer_tokens": 40, "think_time": "4 s"}  # fmt: skip
    arrivals = raised(tight(tmp_path, workload=workload), "load")
    assert (arrivals.name, arrivals.own, arrivals.rounded(0.25)) == ("arrivals_per_s", 0.5, 0.25)


def test_who_waits_has_no_cliff_and_who_moves_always_loses(tmp_path) -> None:
    waiting = cliff(tight(tmp_path, serving__residency="keep"))
    assert waiting.located is None
    assert waiting.reason is not None
    assert waiting.reason.startswith("nothing is lost up to ")
    lost: dict[str, Any] = {"kv_hit_hbm_ratio": 0.25, "kv_hit_host_ratio": 0.25, "kv_hit_disk_ratio": 0.0}
    kept = lost | {"kv_hit_host_ratio": 0.75}
    reason = _bracket(3, [(2.0, lost), (4.0, lost)])
    assert isinstance(reason, str)
    assert reason.startswith(
        "50% of what had been computed before is computed again at 2 already: what loses it is not"
    )
    assert _bracket(3, [(2.0, kept), (4.0, kept), (6.0, lost), (8.0, kept)]) == Bracket(3, 4.0, 6.0)


def test_what_keeps_nothing_has_no_working_set(tmp_path) -> None:
    with pytest.raises(SpecError, match="expected sessions of two rounds or more, found nobody who comes back"):
        cliff(small(tmp_path, POISSON))
    with pytest.raises(SpecError, match=r"small\.yaml.*: serving\.enable_prefix_caching: "):
        cliff(tight(tmp_path, serving__enable_prefix_caching=False))
    with pytest.raises(SpecError, match="expected true, found false: nothing is kept between turns"):
        cliff(tight(tmp_path, serving__enable_prefix_caching=False))
    with pytest.raises(InfeasibleError, match="there is no room for KV in HBM"):
        cliff(small(tmp_path, {"model": "llama-3.1-70b"}))
