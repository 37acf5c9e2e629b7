"""Warm-up, and runs that are too short for a steady state."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.real import closed_requests, scenario_of

from ctxsim.metrics import mser5, steady, too_short_warning, warmup_s
from ctxsim.records import Table
from ctxsim.spec.scenario import Scenario, load_scenario

SESSIONS = {
    "kind": "sessions", "users": 4, "document_tokens": 100, "rounds": 2, "question_tokens": 10, "answer_tokens": 10,
    "think_time": "1 s",
}  # fmt: skip


def arrivals(ttft_s: np.ndarray) -> Table:
    """Requests that come a second apart."""
    number = len(ttft_s)
    return Table({"arrival_s": np.arange(float(number)), "ttft_s": ttft_s})


def falling(rng: np.random.Generator) -> np.ndarray:
    """Sixty observations that fall to a level, then 340 that scatter about it."""
    return np.concatenate([np.linspace(50.0, 1.0, 60), np.zeros(340)]) + rng.normal(10.0, 0.5, 400)


def queue(rng: np.random.Generator, load: float, number: int) -> np.ndarray:
    """Sojourn times in an M/M/1 queue of mean service 1 that begins empty, by Lindley's recursion."""
    service_s, gaps_s = rng.exponential(1.0, number), rng.exponential(1 / load, number)
    backlog_s = np.cumsum(np.concatenate([[0.0], service_s[:-1] - gaps_s[1:]]))
    sojourn_s: np.ndarray = backlog_s - np.minimum.accumulate(backlog_s) + service_s
    return sojourn_s


def stationary(**settings: object) -> Scenario:
    """Requests of which nothing but the workload's kind and the warm-up is looked at."""
    return closed_requests("llama-3.1-8b", **{"run__warmup": "auto", **settings})


def test_warm_up_is_cut_where_a_transient_ends() -> None:
    assert 50 <= mser5(falling(np.random.default_rng(3))) <= 70


def test_a_level_series_is_hardly_cut() -> None:
    rng = np.random.default_rng(3)
    cuts = [mser5(rng.normal(5.0, 1.0, 1000)) for _ in range(20)]
    assert np.median(cuts) < 100


def test_warm_up_is_at_most_half_and_in_batches_of_five() -> None:
    rising = mser5(np.arange(1000.0))
    assert rising % 5 == 0
    assert rising < 500
    assert mser5(np.arange(49.0)) == 0, "fewer than ten batches"


def mser5_as_defined(series: np.ndarray) -> int:
    """White's MSER over batch means of five: the cut d that makes variance / remaining least, over the first half."""
    means = [float(np.mean(series[i : i + 5])) for i in range(0, len(series) - len(series) % 5, 5)]
    scores = [float(np.var(means[d:])) / (len(means) - d) for d in range(len(means) // 2)]
    return 5 * int(np.argmin(scores))


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(50, 200))
def test_warm_up_against_its_definition(seed: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    series = 10.0 + rng.normal(0.0, 1.0, length) + 5.0 * np.exp(-np.arange(length) / rng.uniform(1, 50))
    assert mser5(series) == mser5_as_defined(series)


@pytest.mark.parametrize("drift_s", [0.0, 1e-9, -1e-9])
def test_rounding_is_not_taken_for_a_transient(drift_s: float) -> None:
    """A level that is the same but for the last bits of its times is not cut; after a transient, just behind it."""
    level = 0.25 + np.linspace(0.0, drift_s, 1000)
    assert mser5(level) == 0
    assert mser5(np.concatenate([np.linspace(9.0, 1.0, 50), level])) == 50
    assert too_short_warning(stationary(), arrivals(level), 0) is None
    assert too_short_warning(stationary(), arrivals(level[:50]), 0) is None, "fifty are enough"


def test_warm_up_setting() -> None:
    assert warmup_s(stationary(run__warmup="30 s"), arrivals(np.ones(1))) == 30.0
    assert warmup_s(stationary(run__warmup="none"), arrivals(falling(np.random.default_rng(3)))) == 0.0
    assert warmup_s(load_scenario("mooncake-replay"), arrivals(falling(np.random.default_rng(3)))) == 0.0, "a trace"


def test_automatic_warm_up_is_the_arrival_at_the_cut() -> None:
    series = falling(np.random.default_rng(3))
    cut = mser5(series)
    assert cut > 0
    backwards = Table({name: column[::-1] for name, column in arrivals(series).columns.items()})
    assert warmup_s(stationary(), backwards) == float(cut), "rows may stand in any order"
    assert warmup_s(stationary(), arrivals(np.empty(0))) == 0.0


def share_flagged(load: float, number: int, runs: int = 60) -> float:
    """The share of such queues that are called too short."""
    rng = np.random.default_rng([number, round(100 * load)])
    scenario = stationary()
    found = [too_short_warning(scenario, arrivals(queue(rng, load, number)), 0) for _ in range(runs)]
    return np.mean([warning is not None for warning in found])


def test_a_stable_queue_is_long_enough_and_an_overloaded_one_never_is() -> None:
    assert share_flagged(0.5, 3000) <= 0.05
    assert share_flagged(0.8, 10_000) <= 0.05
    assert share_flagged(1.2, 3000) == 1.0
    assert share_flagged(1.05, 10_000) >= 0.8


def test_a_queue_near_saturation_needs_a_longer_run() -> None:
    assert share_flagged(0.95, 300) > 2 * share_flagged(0.95, 20_000)


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_a_ramp_is_too_short(direction: float) -> None:
    rng = np.random.default_rng(3)
    ramp = 20.0 + direction * np.linspace(0.0, 10.0, 1000)
    assert too_short_warning(stationary(), arrivals(ramp), 0) is not None
    for _ in range(20):
        warning = too_short_warning(stationary(), arrivals(ramp + rng.normal(0.0, 1.0, 1000)), 0)
        assert warning is not None
        assert "TTFT drifts to the end of the run; raise workload.num_requests, or lower the load" in warning


def test_few_requests_are_too_short() -> None:
    rng = np.random.default_rng(3)
    warning = too_short_warning(stationary(), arrivals(rng.normal(5.0, 1.0, 49)), 0)
    assert warning == (
        "run too short for a steady state: 49 requests are left after the warm-up, fewer than 50; "
        "raise workload.num_requests"
    )
    late = stationary(run__warmup="960 s")
    warning = too_short_warning(late, arrivals(rng.normal(5.0, 1.0, 1000)), 0)
    assert warning is not None
    assert "40 requests are left" in warning


@pytest.mark.parametrize(("transient", "automatic_will_do"), [(400, True), (600, False)])
def test_a_transient_that_is_cut_is_none(transient: int, automatic_will_do: bool) -> None:
    """Cut by a warm-up of its own length, or by MSER-5 where it is shorter than half; without any, TTFT drifts."""
    rng = np.random.default_rng(3)
    series = np.concatenate([np.linspace(60.0, 10.0, transient), np.full(1000 - transient, 10.0)])
    requests = arrivals(series + rng.normal(0.0, 0.5, 1000))
    assert too_short_warning(stationary(run__warmup=f"{transient} s"), requests, 0) is None
    assert too_short_warning(stationary(run__warmup="none"), requests, 0) is not None
    assert (too_short_warning(stationary(), requests, 0) is None) == automatic_will_do


def test_users_who_hold_sessions_must_finish_ten() -> None:
    rng = np.random.default_rng(3)
    scenario = scenario_of("llama-3.1-8b", "h200-sxm", SESSIONS, run__horizon="1 hour")
    level = arrivals(rng.normal(5.0, 1.0, 1000))
    assert too_short_warning(scenario, level, 10) is None
    warning = too_short_warning(scenario, level, 9)
    assert warning is not None
    assert "9 sessions were finished, fewer than 10; raise run.horizon or workload.num_sessions" in warning
    arriving = {**SESSIONS, "users": None, "arrival": {"kind": "poisson", "rate": "1 /s"}}
    open_loop = scenario_of("llama-3.1-8b", "h200-sxm", arriving, run__horizon="1 hour")
    assert too_short_warning(open_loop, level, 9) is None, "sessions that come on their own are not the same ten users"


def test_a_trace_is_as_long_as_it_is() -> None:
    assert too_short_warning(load_scenario("mooncake-replay"), arrivals(np.arange(1000.0)), 0) is None


def test_how_often_ten_numbers_in_random_order_seem_to_have_a_trend() -> None:
    """Kendall's score of an order is the pairs in order less those that are not; counted by inserting the largest."""
    orders = {0: 1}
    for number in range(2, 11):
        inserted: dict[int, int] = {}
        for score, count in orders.items():
            for before in range(number):
                now = score + (number - 1) - 2 * before
                inserted[now] = inserted.get(now, 0) + count
        orders = inserted
    assert sum(orders.values()) == factorial(10)
    upwards = sum(count for score, count in orders.items() if score >= steady.TREND_SCORE)
    assert upwards == 16_599
    assert 2 * upwards / factorial(10) == pytest.approx(1 / 109, rel=0.01)


def test_a_trend_is_kendalls_score() -> None:
    """Against the score counted pair by pair, at the edge of what counts as a trend."""
    rng = np.random.default_rng(3)
    seen = set()
    for _ in range(3000):
        means = rng.permutation(10) if rng.random() < 0.5 else np.argsort(np.arange(10) + rng.normal(0.0, 2.5, 10))
        score = sum(1 if means[j] > means[i] else -1 for i, j in combinations(range(10), 2))
        assert steady._has_trend(np.repeat(10.0 + means, 5)) == (abs(score) >= 29)
        seen.add(abs(score))
    assert {27, 29} <= seen
