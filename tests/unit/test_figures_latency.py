"""Distributions of latencies: shares of requests and of tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_metrics_gaps import Run, listed, runs_of, some_runs

from ctxsim.metrics.gaps import pause_shares
from ctxsim.reporting.figures import latency_figures
from ctxsim.reporting.figures.quantities import four_quantities_figure
from ctxsim.sim import Simulation, simulate
from ctxsim.spec.scenario import load_scenario


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(load_scenario("yi-34b-50k-a100", {"run.horizon": "15 min", "run.warmup": "210 s"}))


@given(
    st.lists(some_runs(), max_size=12),
    st.lists(st.one_of(st.just(0.0), st.floats(1e-3, 30.0)), max_size=5),
    st.sampled_from([0.0, 0.5, 2.0]),
)
def test_shares_of_pauses(runs: list[Run], gaps_s: list[float], begin_s: float) -> None:
    """Every pause listed out and counted; at a pause itself, to rounding."""
    expected = np.array(listed(runs, gaps_s, begin_s))
    limits_s, shares = pause_shares(runs_of(*runs, part_rows=3), gaps_s, 40, begin_s)
    if not len(expected):
        assert not len(limits_s)
        assert not len(shares)
        return
    assert len(limits_s) == 40
    assert np.all(np.diff(limits_s) >= 0)
    assert limits_s[-1] == pytest.approx(expected[-1], rel=1e-12)
    assert shares[-1] == 1
    below, above = (np.searchsorted(expected, limits_s * (1 + e), side="right") for e in (-1e-9, 1e-9))
    assert np.all(below / len(expected) <= shares + 1e-12)
    assert np.all(shares <= above / len(expected) + 1e-12)


def panels(simulation: Simulation) -> list[Any]:
    """The axes of TTFT, TPOT and inter-token latency."""
    figures = latency_figures(simulation)
    return [figures[key].axes[0] for key in ("ttft_s", "tpot_s", "itl_s")]


def test_curves_are_those_of_the_summary(simulation: Simulation) -> None:
    """Where a curve passes a share, it is at the quantile of that share."""
    first, each, gaps = panels(simulation)
    for axes, key in ((first, "ttft_s"), (each, "tpot_s"), (gaps, "itl_s")):
        seconds, shares = axes.lines[0].get_data()
        assert np.all(np.diff(shares) >= 0)
        assert shares[-1] == pytest.approx(1)
        for share, name in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99")):
            at = np.searchsorted(shares, share)
            near = seconds[max(0, at - 2) : at + 3]
            assert near[0] * 0.98 <= simulation.summary[key][name] <= near[-1] * 1.02


def test_pauses_of_the_preempted_are_in_the_curve() -> None:
    """The longest pause of all, that of a request that was preempted, is where the curve ends."""
    settings = {"run.horizon": "20 min", "run.warmup": "0 s", "workload.answer_tokens": 3000}
    preempting = simulate(load_scenario("yi-34b-50k-a100", settings))
    assert preempting.summary["preemptions"]
    seconds, _ = panels(preempting)[2].lines[0].get_data()
    assert seconds[-1] == pytest.approx(np.max(preempting.gaps["pause_s"]), rel=1e-9)


def test_the_slo_stands_at_its_limit_and_share(simulation: Simulation) -> None:
    first, each, gaps = panels(simulation)
    slo = simulation.scenario.slo
    for axes, limit_s in ((first, slo.ttft), (each, slo.tpot)):
        upright, level = axes.lines[1:]
        assert list(upright.get_xdata()) == [limit_s, limit_s]
        assert list(level.get_ydata()) == [slo.percentile / 100] * 2
        low, high = axes.get_xlim()
        assert low < limit_s < high
    assert len(gaps.lines) == 1


def test_no_slo_no_lines_and_no_tokens_no_curve() -> None:
    settings = {"workload.num_requests": 5, "workload.output_tokens": 1, "slo.ttft": None, "slo.tpot": None}
    first, each, gaps = panels(simulate(load_scenario("llama-8b-chat", settings)))
    assert len(first.lines) == 1
    assert not each.lines
    assert not gaps.lines
    assert [text.get_text() for axes in (each, gaps) for text in axes.texts] == ["none", "none"]


@pytest.mark.parametrize("tokens", [300, 2048, 50_000, 1_000_000])
def test_the_scenarios_own_context_is_inside_the_axes(tokens: int) -> None:
    figure = four_quantities_figure(load_scenario("yi-34b-50k-a100"), tokens)
    for axes in figure.axes:
        low, high = axes.get_xlim()
        assert low < tokens < high
        assert axes.lines[1].get_xdata()[0] == tokens
        assert min(axes.lines[0].get_xdata()) <= tokens <= max(axes.lines[0].get_xdata())
        assert len(axes.get_xticks()) >= 4
