"""Pauses between tokens: exact quantiles from runs, against every pause of every sequence listed out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxsim.metrics import QUANTILES, gap_quantiles
from ctxsim.records import RUN_COLUMNS, Rows

NEEDED = ("start_s", "first_s", "growth_s", "iterations", "decoding", "resumed")
COLUMNS = [c for name in NEEDED for c in RUN_COLUMNS if c.name == name]

Run = tuple[float, float, float, int, int, int]


def runs_of(*rows: Run, part_rows: int = 1000) -> Rows:
    """Runs with only what pauses between tokens need, in the order of NEEDED."""
    runs = Rows(COLUMNS, part_rows=part_rows)
    for row in rows:
        runs.append(row)
    return runs


def listed(runs: Sequence[Run], gaps_s: Sequence[float], begin_s: float) -> list[float]:
    """Every pause, the shortest first."""
    found = list(gaps_s)
    for start_s, first_s, growth_s, iterations, decoding, resumed in runs:
        if start_s >= begin_s:
            found += [first_s] * (decoding - resumed)
            found += [first_s + k * growth_s for k in range(1, iterations) for _ in range(decoding)]
    return sorted(found)


@st.composite
def some_runs(draw: st.DrawFn) -> Run:
    """A run, level or growing, some of its sequences resumed; times from very short to very long."""
    first_s = draw(st.one_of(st.sampled_from([0.01, 0.02]), st.floats(1e-6, 1e3)))
    growth_s = draw(st.one_of(st.just(0.0), st.floats(1e-6, 1e-1).map(lambda share: share * first_s)))
    decoding = draw(st.integers(0, 5))
    resumed = draw(st.integers(0, decoding))
    return draw(st.sampled_from([0.0, 1.0, 2.0])), first_s, growth_s, draw(st.integers(1, 40)), decoding, resumed


@given(
    st.lists(some_runs(), max_size=12),
    st.lists(st.one_of(st.just(0.0), st.floats(1e-3, 30.0)), max_size=5),
    st.sampled_from([0.0, 0.5, 2.0]),
)
def test_pauses_between_tokens(runs: list[Run], gaps_s: list[float], begin_s: float) -> None:
    """Every pause listed out and sorted: the least one that a share of them does not exceed, to rounding."""
    expected = listed(runs, gaps_s, begin_s)
    found = gap_quantiles(runs_of(*runs, part_rows=3), gaps_s, begin_s)
    if not expected:
        assert set(found.values()) == {None}
        return
    assert found["mean"] == pytest.approx(np.mean(expected), rel=1e-12)
    for name, share in QUANTILES.items():
        pause_s = next(p for i, p in enumerate(expected) if (i + 1) / len(expected) >= share)
        assert found[name] == pytest.approx(pause_s, rel=1e-12)


def test_pauses_by_hand() -> None:
    """Ten tokens: three of two sequences at 1, 2, 3 s, and a preempted one's pauses of 9, 10, 11 and 12 s."""
    found = gap_quantiles(runs_of((0, 1.0, 1.0, 3, 2, 0)), [12.0, 9.0, 11.0, 10.0])
    assert found == {"mean": pytest.approx(5.4), "p50": 3.0, "p90": 11.0, "p95": 12.0, "p99": 12.0}


def test_a_resumed_sequence_counts_its_listed_pause_and_not_the_iteration_that_ends_it() -> None:
    """Two sequences, one resumed: 1 s once, 2 s twice, and the pause of 9 s."""
    found = gap_quantiles(runs_of((0, 1.0, 1.0, 2, 2, 1)), [9.0])
    assert found == {"mean": pytest.approx((1 + 2 + 2 + 9) / 4), "p50": 2.0, "p90": 9.0, "p95": 9.0, "p99": 9.0}


def test_runs_in_which_nobody_decodes_make_no_pauses() -> None:
    assert set(gap_quantiles(runs_of((0, 1.0, 0.0, 5, 0, 0)), []).values()) == {None}


def test_a_quantile_is_a_pause_to_the_last_bit() -> None:
    """A level pause is found as it is, however near the next one is."""
    nearby_s = np.nextafter(0.1, 1.0)
    runs = runs_of((0, 0.1, 0.0, 60, 1, 0), (0, float(nearby_s), 0.0, 39, 1, 0), (0, 1e9, 0.0, 1, 1, 0))
    found = gap_quantiles(runs, [])
    assert [found[name] for name in ("p50", "p90", "p95", "p99")] == [0.1, nearby_s, nearby_s, nearby_s]


def test_the_last_pause_of_a_run_is_found_to_the_last_bit() -> None:
    """1 s + 2 x 0.1 s is 1.2 s, though (1.2 - 1) / 0.1 is less than 2 in floating point."""
    found = gap_quantiles(runs_of((0, 1.0, 0.1, 3, 10, 0)), [9.0])
    assert found["p95"] == 1.0 + 2 * 0.1


def test_parts_make_no_difference() -> None:
    rng = np.random.default_rng(5)
    rows = [
        (0.0, float(first), float(growth), int(n), int(decoding), 0)
        for first, growth, n, decoding in zip(
            rng.lognormal(-4, 1, 2000), rng.exponential(1e-5, 2000), rng.integers(1, 200, 2000),
            rng.integers(0, 50, 2000), strict=True,
        )
    ]  # fmt: skip
    whole, parts = gap_quantiles(runs_of(*rows, part_rows=4000), []), gap_quantiles(runs_of(*rows, part_rows=7), [])
    assert whole.pop("mean") == pytest.approx(parts.pop("mean"), rel=1e-12)
    assert whole == parts
