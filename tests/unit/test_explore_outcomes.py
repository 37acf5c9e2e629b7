"""One scenario as a flat row of numbers, or why there are none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from exploring import POISSON, small

from ctxsim.explore import Trial, flatten
from ctxsim.explore import outcomes as module
from ctxsim.explore.outcomes import column
from ctxsim.metrics import student_t_quantile
from ctxsim.sim import simulate
from ctxsim.sim.replications import replication_seeds, reseeded


@pytest.mark.parametrize(
    ("name", "part", "expected"),
    [
        ("ttft_s", "p95", "ttft_p95_s"),
        ("kv_hit_ratio", "host", "kv_hit_host_ratio"),
        ("gap_cost_usd", "hold", "gap_cost_hold_usd"),
        ("slo_found_s", "ttft_s", "slo_found_ttft_s"),
        ("kv_bytes_at", "4096", "kv_bytes_at_4096"),
    ],
)
def test_the_unit_of_a_nested_number_stays_last(name, part, expected):
    assert column(name, part) == expected


def test_a_row_is_flat_and_leaves_out_what_is_of_no_use_in_it():
    values = {
        "a_s": {"mean": 1.0, "p50": None},
        "b": 2,
        "breakdown": {"x": 1},
        "list": [1],
        "residency": {},
        "w": "word",
    }
    assert flatten(values) == {"a_mean_s": 1.0, "a_p50_s": None, "b": 2, "w": "word"}


def test_a_simulated_row_has_the_summary_and_the_verdict(tmp_path):
    scenario = small(tmp_path)
    outcome = Trial(scenario).run()
    summary = simulate(scenario).summary
    assert (outcome.status, outcome.reason) == ("ok", None)
    assert outcome.row["ttft_p95_s"] == summary["ttft_s"]["p95"]
    assert outcome.row["sessions_per_hour"] == summary["sessions_per_hour"]
    assert outcome.row["slo_met_ratio"] == 1.0
    assert outcome.row["slo_found_ttft_s"] <= scenario.slo.ttft
    assert all(value is None or isinstance(value, bool | int | float | str) for value in outcome.row.values())


def test_replications_give_means_half_widths_and_the_share_that_met(tmp_path):
    slo = {"slo.ttft": "200 ms", "slo.percentile": 50}
    scenario = small(tmp_path, POISSON | slo)
    row = Trial(scenario, replications=4).run().row
    runs = [Trial(reseeded(scenario, seed)).run().row for seed in replication_seeds(5, 4)]
    e2e = [run["e2e_mean_s"] for run in runs]
    mean = sum(e2e) / 4
    deviation = (sum((x - mean) ** 2 for x in e2e) / 3) ** 0.5
    assert row["e2e_mean_s"] == pytest.approx(mean)
    assert row["e2e_mean_half_width_s"] == pytest.approx(student_t_quantile(0.95, 3) * deviation / 2)
    assert row["slo_met_ratio"] == sum(run["slo_met_ratio"] for run in runs) / 4


def test_what_cannot_be_served_is_an_outcome_with_a_reason(tmp_path):
    scenario = small(tmp_path, {"serving.num_gpu_blocks_override": 10})
    simulated, analyzed = (Trial(scenario, by).run() for by in ("simulate", "analyze"))
    assert simulated.status == analyzed.status == "infeasible"
    assert simulated.reason
    assert analyzed.reason
    assert analyzed.row["prefill_s"] > 0
    assert "infeasible_reason" not in analyzed.row


def test_a_fault_of_ours_costs_one_point_only(tmp_path, monkeypatch):
    def broken(_):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(module, "simulate", broken)
    outcome = Trial(small(tmp_path)).run()
    assert outcome.status == "failed"
    assert outcome.reason == "a fault of ctxsim: ZeroDivisionError: oh; please report"


def test_the_key_follows_from_everything_that_the_answer_does(tmp_path):
    scenario = small(tmp_path)
    keys = {
        Trial(scenario).key, Trial(scenario, "analyze").key, Trial(scenario, replications=2).key,
        Trial(reseeded(scenario, 9)).key, Trial(small(tmp_path, {"serving.kv_dtype": "fp8"})).key,
    }  # fmt: skip
    assert len(keys) == 5
    assert Trial(replace(scenario, path="elsewhere", warnings=("x",))).key == Trial(scenario).key
