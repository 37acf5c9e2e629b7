"""Sweeps, changes, plans and sensitivities from Python: tidy frames, pages, pictures, files."""

from __future__ import annotations

import pandas as pd
import pytest
from exploring import POISSON, small, small_file
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import ctxsim
from ctxsim.errors import InfeasibleError, SpecError


def is_drawn(drawn):
    figure, axes = drawn
    assert isinstance(figure, Figure)
    assert all(isinstance(one, Axes) for one in (axes if isinstance(axes, list) else [axes]))
    figure.draw_without_rendering()
    return len(axes) if isinstance(axes, list) else 1


def test_a_sweep_from_a_path_and_from_what_was_loaded_is_the_same(tmp_path):
    path = small_file(tmp_path)
    vary = {"serving.kv_dtype": ["bf16", "fp8"], "workload.users": "2:6:3"}
    found = ctxsim.sweep(path, vary, folder=tmp_path / "kept")
    again = ctxsim.sweep(ctxsim.load(path), vary)
    pd.testing.assert_frame_equal(found.frame, again.frame)
    assert list(found.frame["workload.users"]) == [2, 4, 6] * 2
    assert found.keys == ["serving.kv_dtype", "workload.users"]
    assert {"ttft_p95_s", "cost_usd_per_session", "status"} <= set(found.frame)
    assert (tmp_path / "kept" / "points.parquet").exists()
    assert "<td>fp8</td>" in found._repr_html_()
    assert repr(found) == "<sweep of small: 6 rows>"
    assert is_drawn(found.plot.heat("sessions_per_hour")) == 1
    with pytest.raises(SpecError, match="expected 1 varied keys for this picture"):
        found.plot.line("sessions_per_hour")
    with pytest.raises(SpecError, match='expected a column of the frame, found "x"'):
        found.plot.heat("x")


def test_overrides_of_what_was_loaded_are_kept(tmp_path):
    base = small(tmp_path, {"workload.answer_tokens": 10})
    (row,) = ctxsim.sweep(base, {"workload.users": [3]}, by="analyze").rows
    assert row["scenario_sha256"] == small(tmp_path, {"workload.answer_tokens": 10, "workload.users": 3}).sha256
    # The prices of another machine are its own.
    prices = ctxsim.sweep(base, {"hardware": ["a100-80gb-sxm", "h100-80gb-sxm"]}, by="analyze").frame
    assert prices["cost_usd_per_session"].nunique() == 2


def test_a_line_over_numbers_and_over_words(tmp_path):
    for vary in ({"workload.users": [2, 4]}, {"serving.kv_dtype": ["bf16", "fp8", "fp9"]}):
        assert is_drawn(ctxsim.sweep(small(tmp_path), vary, by="analyze").plot.line("prefill_s")) == 1
    sobol = ctxsim.sweep(small(tmp_path), {"serving.host_kv_capacity": "1 GB:2 GB"}, by="analyze", samples=4)
    assert len(sobol.rows) == 4


def test_changes_are_rows_of_numbers_with_their_intervals(tmp_path):
    found = ctxsim.whatif(
        small(tmp_path, POISSON), ["serving.kv_dtype=fp8", "workload.output_tokens=70"], replications=2
    )
    frame = found.frame.set_index(["change", "number"])
    longer = frame.loc[("workload.output_tokens=70", "e2e_mean_s")]
    assert longer["difference"] == pytest.approx(longer["changed"] - longer["base"])
    assert longer["half_width"] > 0
    assert list(found.why) == ["serving.kv_dtype=fp8", "workload.output_tokens=70"]
    assert is_drawn(found.plot.differences()) == 2
    assert is_drawn(found.plot.differences("ttft_p95_s")) == 1
    with pytest.raises(SpecError, match="expected numbers of the frame"):
        found.plot.differences("nothing")


def test_a_plan_has_its_fleets_in_a_frame(tmp_path):
    found = ctxsim.plan(
        small(tmp_path),
        users=12,
        accelerators=["a100-80gb-sxm", "h100-80gb-sxm"],
        tensor_parallel=[1],
        max_accelerators=6,
    )
    chosen = found.frame[found.frame["chosen"]].iloc[0]
    assert chosen["slo_met"]
    assert chosen["usd_per_hour"] == found.plan.chosen.usd_per_hour
    assert ctxsim.simulate(found.scenario).summary["ttft_s"]["p95"] == chosen["ttft_p95_s"]
    assert is_drawn(found.plot.front()) == 2
    assert "USD an hour" in repr(found)
    folder = found.save(tmp_path / "plan")
    written = pd.read_parquet(folder / "rows.parquet")
    assert list(written["replicas"]) == list(found.frame["replicas"])
    with pytest.raises(InfeasibleError, match="no fleet meets the SLO"):
        ctxsim.plan(small(tmp_path, {"slo.tpot": "1 ms"}), tensor_parallel=[1])


def test_sensitivities_are_rows_and_a_tornado(tmp_path):
    found = ctxsim.sensitivity(small_file(tmp_path))
    row = found.frame.query("factor == 'accelerator_usd_per_s' and outcome == 'cost_usd_per_session'").iloc[0]
    assert 0.5 < row["elasticity"] < 1
    assert is_drawn(found.plot.tornado()) == 2
    assert "<table>" in found._repr_html_()
    assert ctxsim.sensitivity(small(tmp_path), ratio=1.5).ratio == 1.5


def test_a_scenario_that_was_changed_in_python_is_refused(tmp_path):
    from ctxsim.api.calls import with_seed

    with pytest.raises(SpecError, match="load it with overrides instead"):
        ctxsim.sweep(with_seed(small(tmp_path), 8), {"workload.users": [2]})
