"""Summaries from rows, against the same quantities from every token and every iteration listed out."""

from __future__ import annotations

from random import Random
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.cases import Case, random_case
from support.compare import run_table
from support.real import closed_requests

from ctxsim.cost import CostModel
from ctxsim.geometry import BatchTotals
from ctxsim.metrics import describe, gap_quantiles, good_requests, kv_used, mser5, warmup_s, work_done
from ctxsim.records import RUN_COLUMNS, SPAN_COLUMNS, Table, table
from ctxsim.sim import simulate
from ctxsim.spec.scenario import load_scenario

RUNS = ("iterations", "first_s", "growth_s", "decoding")


def runs_of(*rows: tuple[float, float, float, float]) -> Table:
    """A table of runs with only what pauses between tokens need."""
    columns = [c for c in RUN_COLUMNS if c.name in RUNS]
    order = [RUNS.index(c.name) for c in columns]
    return table(columns, [[row[i] for i in order] for row in rows])


def test_describe() -> None:
    found = describe(np.arange(1.0, 102.0))
    assert found == {"mean": 51.0, "p50": 51.0, "p90": 91.0, "p95": 96.0, "p99": 100.0}


def test_describe_nothing() -> None:
    assert describe(np.array([])) == {"mean": None, "p50": None, "p90": None, "p95": None, "p99": None}


run_rows = st.tuples(
    st.integers(1, 40),
    st.floats(1e-4, 1.0),
    st.one_of(st.just(0.0), st.floats(1e-6, 0.1)),
    st.integers(0, 5),
)


@given(st.lists(run_rows, min_size=1, max_size=12), st.lists(st.floats(0.0, 30.0), max_size=5))
def test_pauses_between_tokens(rows: list[tuple[int, float, float, int]], pauses_s: list[float]) -> None:
    """Every pause of every sequence listed out and sorted: the least one that a share of them does not exceed."""
    listed = sorted(pauses_s + [f + k * g for n, f, g, decoding in rows for k in range(n) for _ in range(decoding)])
    found = gap_quantiles(runs_of(*rows), pauses_s)
    if not listed:
        assert set(found.values()) == {None}
        return
    assert found["mean"] == pytest.approx(np.mean(listed), rel=1e-12)
    for name, share in {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}.items():
        expected = next(pause for i, pause in enumerate(listed) if (i + 1) / len(listed) >= share)
        assert found[name] == pytest.approx(expected, rel=1e-12)


def test_pauses_by_hand() -> None:
    """Ten tokens: three of two sequences at 1, 2, 3 s, and a preempted one's pauses of 9, 10, 11 and 12 s."""
    found = gap_quantiles(runs_of((3, 1.0, 1.0, 2)), [12.0, 9.0, 11.0, 10.0])
    assert found == {"mean": pytest.approx(5.4), "p50": 3.0, "p90": 11.0, "p95": 12.0, "p99": 12.0}


def test_runs_in_which_nobody_decodes_make_no_pauses() -> None:
    assert set(gap_quantiles(runs_of((5, 1.0, 0.0, 0)), []).values()) == {None}


def test_warm_up_is_cut_where_a_transient_ends() -> None:
    """Sixty observations that fall to a level, then 340 that scatter about it."""
    rng = np.random.default_rng(3)
    series = np.concatenate([np.linspace(50.0, 1.0, 60), np.zeros(340)]) + rng.normal(0.0, 0.5, 400)
    assert 50 <= mser5(series) <= 70


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
    series = rng.normal(0.0, 1.0, length) + 5.0 * np.exp(-np.arange(length) / rng.uniform(1, 50))
    assert mser5(series) == mser5_as_defined(series)


def test_kv_used_is_weighted_by_time() -> None:
    """Half of the pool for 2 s, then a growing quarter to three quarters for 4 s, then nothing for 4 s, of two."""
    columns = [c for c in RUN_COLUMNS if c.name in (*RUNS, "kv_start_bytes", "kv_end_bytes")]
    runs = table(columns, [[2, 1.0, 0.0, 1, 50.0, 50.0], [4, 1.0, 0.0, 1, 25.0, 75.0]])
    found = kv_used(runs, 100.0, 2, 10.0)
    assert found == {"mean": pytest.approx((0.5 * 2 + 0.5 * 4) / 10 / 2), "peak": 0.75}


def test_kv_used_of_no_runs() -> None:
    columns = [c for c in RUN_COLUMNS if c.name in (*RUNS, "kv_start_bytes", "kv_end_bytes")]
    assert kv_used(table(columns, []), 100.0, 1, 0.0) == {"mean": 0.0, "peak": 0.0}


def totals_of(row: tuple[float, ...], spans: int, k: int) -> BatchTotals:
    """The batch of a run's k-th iteration, from its row."""
    sequences, new_tokens, decode_tokens = row[5], row[7], row[8]
    numbers = row[len(RUN_COLUMNS) :]
    pairs, pairs_growth, touched, touched_growth = (
        numbers[i * spans : (i + 1) * spans] for i in range(len(SPAN_COLUMNS))
    )
    zeros = [0.0] * spans
    return BatchTotals(
        sequences,
        new_tokens,
        decode_tokens,
        [p + k * g for p, g in zip(pairs, pairs_growth, strict=True)],
        zeros,
        [t + k * g for t, g in zip(touched, touched_growth, strict=True)],
        zeros,
    )


def check_work(case: Case) -> None:
    journal = case.run()
    spans = len(case.cost.spans)
    batches = [totals_of(row, spans, k) for row in journal.runs for k in range(int(row[2]))]
    found = work_done(cast(CostModel, case.cost), run_table(case.cost, journal))
    expected = (sum(case.cost.flop(b) for b in batches), sum(case.cost.hbm_bytes(b) for b in batches))
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_work_done_is_the_sum_over_iterations(seed: int) -> None:
    check_work(random_case(Random(seed)))


def arrivals(*ttft_s: float) -> Table:
    number = len(ttft_s)
    columns = {"arrival_s": np.arange(float(number)), "ttft_s": np.array(ttft_s), "tpot_s": np.full(number, np.nan)}
    return Table(columns)


def test_warm_up_setting() -> None:
    scenario = closed_requests("llama-3.1-8b", run__warmup="30 s")
    assert warmup_s(scenario, arrivals(1.0)) == 30.0
    assert warmup_s(closed_requests("llama-3.1-8b", run__warmup="none"), arrivals(*range(500))) == 0.0


def test_automatic_warm_up_is_the_arrival_at_the_cut() -> None:
    scenario = closed_requests("llama-3.1-8b", run__warmup="auto")
    series = [*np.linspace(50.0, 1.0, 60), *np.random.default_rng(3).normal(1.0, 0.5, 340)]
    cut = mser5(np.array(series))
    assert cut > 0
    backwards = Table({name: column[::-1] for name, column in arrivals(*series).columns.items()})
    assert warmup_s(scenario, backwards) == float(cut), "rows may stand in any order"
    assert warmup_s(scenario, arrivals()) == 0.0


def test_good_requests_meet_every_slo_given() -> None:
    """A request without a time per output token cannot miss that one."""
    requests = Table({"ttft_s": np.array([1.0, 3.0, 1.0, 1.0]), "tpot_s": np.array([0.1, 0.1, 0.3, np.nan])})
    both = closed_requests("llama-3.1-8b", slo={"ttft": "2 s", "tpot": "200 ms"})
    only_ttft = closed_requests("llama-3.1-8b", slo={"ttft": "2 s"})
    assert list(good_requests(both, requests)) == [True, False, False, True]
    assert list(good_requests(only_ttft, requests)) == [True, False, True, True]


def test_mfu_counts_each_number_format_at_its_own_peak() -> None:
    """In bf16 it is FLOP / (peak x time); with fp8 weights the same work takes half the peak time, never over 1."""
    prompts = {"workload.output_tokens": 0, "workload.num_requests": 40, "workload.arrival.rate": "1000 /s"}
    base = {"hardware": "h100-80gb-sxm", **prompts}
    bf16, fp8 = (
        simulate(load_scenario("llama-8b-chat", base | {"serving.weight_dtype": dtype})) for dtype in ("bf16", "fp8")
    )
    cost = CostModel(bf16.scenario)
    flop, _ = work_done(cost, bf16.runs)
    expected = flop / (cost.rates.bf16_flop_per_s * bf16.summary["duration_s"])
    assert bf16.summary["mfu_ratio"] == pytest.approx(expected, rel=1e-12)
    assert 0.9 < fp8.summary["mfu_ratio"] <= 1
    assert fp8.summary["duration_s"] < 0.6 * bf16.summary["duration_s"]
