"""whatif, sweep, plan and sensitivity as commands: text, JSON, exit codes."""

from __future__ import annotations

import pytest
from command_line import answer, ctxsim
from exploring import small_file

from ctxsim.explore import executors

ONE = ("--workers", "1")


def interrupting(*_, **__):
    raise KeyboardInterrupt


def test_whatif_says_what_changes_and_why(tmp_path):
    words = (
        "whatif",
        str(small_file(tmp_path)),
        "--change",
        "serving.kv_dtype=fp8",
        "--change",
        "workload.users=0",
        *ONE,
    )
    refused = ctxsim(*words)
    assert refused.code == 2
    assert "workload.users" in refused.err
    outcome = ctxsim(*words[:4], "--change", "serving.num_gpu_blocks_override=9", *ONE)
    assert outcome.code == 0
    assert "concurrency +100.0%" in outcome.out
    assert "one run of base and change each" in outcome.out
    assert "infeasible: " in outcome.out
    assert "…" not in outcome.out
    found = answer(*words[:4], *ONE)
    assert found["schema"] == "ctxsim.whatif/1"
    (change,) = found["result"]["changes"]
    assert change["runs"] == 1
    assert change["differences"]["ttft_p95_s"]["half_width"] is None
    assert change["quantities"]["prefill"]["base"] > 0


def test_whatif_in_closed_form(tmp_path):
    outcome = ctxsim("whatif", str(small_file(tmp_path)), "--change", "hardware=h100-80gb-sxm", "--by", "analyze", *ONE)
    assert outcome.code == 0
    assert "in closed form" in outcome.out
    assert "sessions_per_hour_bound" in outcome.out


def test_sweep_keeps_its_points_and_says_where(tmp_path):
    folder = tmp_path / "kept"
    words = ("sweep", str(small_file(tmp_path)), "--vary", "workload.users=2,4", "--vary", "serving.kv_dtype=bf16,fp7",
             "-o", str(folder), *ONE)  # fmt: skip
    outcome = ctxsim(*words)
    assert outcome.code == 0
    assert "refused, points 1, 3: serving.kv_dtype: expected one of bf16, fp32," in " ".join(outcome.out.split())
    assert f"4 points; every number of each is in {folder}/points.parquet" in outcome.out
    assert "4 points, 2 of them known from before" in ctxsim(*words).out
    first = answer(*words)["result"]
    assert [row["status"] for row in first["rows"]] == ["ok", "refused"] * 2
    assert answer(*words)["result"] == first
    fresh = answer(*words[:-4], "-o", str(tmp_path / "other"), "--workers", "2")["result"]
    assert fresh["rows"] == first["rows"]


def test_sweep_over_a_sobol_sequence(tmp_path):
    words = ("sweep", str(small_file(tmp_path)), "--vary", "serving.host_kv_capacity=1 GB:9 GB", "--samples", "5",
             "--by", "analyze", "-o", str(tmp_path / "kept"), *ONE)  # fmt: skip
    rows = answer(*words)["result"]["rows"]
    assert len({row["serving.host_kv_capacity"] for row in rows}) == 5


def test_an_interrupted_sweep_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "run_chunk", interrupting)
    outcome = ctxsim(
        "sweep", str(small_file(tmp_path)), "--vary", "workload.users=2,4", "-o", str(tmp_path / "k"), *ONE
    )
    assert outcome.code == 130
    assert "interrupted: 0 of 2 points are in" in outcome.err
    assert "the same command goes on there" in outcome.err


def test_an_interrupted_comparison_and_plan_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "run_chunk", interrupting)
    path = str(small_file(tmp_path))
    whatif = ctxsim("whatif", path, "--change", "workload.users=4", *ONE)
    assert (whatif.code, whatif.out) == (130, "")
    assert whatif.err.startswith("interrupted")
    plan = ctxsim("plan", path, *ONE)
    assert plan.code == 130
    assert "a plan keeps nothing until it is done" in plan.err
    assert "Traceback" not in plan.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--executor", "dask"), "expected --scheduler ADDRESS"),
        (("--scheduler", "tcp://x:1"), "expected --executor dask beside it"),
        (("--vary", "workload.users=3,4"), "expected each key in one axis only"),
    ],
)
def test_sweep_options_that_do_not_go_together(tmp_path, words, said):
    outcome = ctxsim("sweep", str(small_file(tmp_path)), "--vary", "workload.users=2", *words)
    assert outcome.code == 2
    assert said in outcome.err


def test_plan_answers_first_then_shows_its_fleets(tmp_path):
    words = ("plan", str(small_file(tmp_path)), "--users", "12", "--accelerators", "a100-80gb-sxm,h100-80gb-sxm",
             "--tensor-parallel", "1,2,3", "--max-accelerators", "8")  # fmt: skip
    outcome = ctxsim(*words, *ONE)
    assert outcome.code == 0
    assert outcome.out.startswith("Answer ")
    for word in ("Runner-up", "Confidence", "Saturation", "Half the cost", "Fleets that were simulated whole"):
        assert word in outcome.out
    assert "nothing is drawn at random" in outcome.out
    one = answer(*words, *ONE)
    assert one["result"]["feasible"] is True
    assert one["result"]["chosen"]["slo_met"] is True
    assert one["result"]["load"] == {"users": 12}
    two = answer(*words, "--workers", "2")
    assert {key: one[key] for key in one if key != "meta"} == {key: two[key] for key in two if key != "meta"}


def test_a_plan_for_arrivals(tmp_path):
    path = small_file(tmp_path)
    path.write_text(path.read_text().replace("users: 6", "arrival: {kind: poisson, rate: 0.2 /s}"))
    found = answer("plan", str(path), "--rate", "0.5", "--tensor-parallel", "1", "--runs", "4", *ONE)["result"]
    assert found["load"] == {"arrivals_per_s": 0.5}
    assert found["chosen"]["slo_met"] is True
    assert found["confidence"]["runs"] == 4
    assert found["saturation"]["load"] >= 0.5
    assert "expected a rate" in ctxsim("plan", str(path), "--users", "3").err


def test_a_plan_that_is_infeasible_exits_with_3_and_every_reason(tmp_path):
    words = ("plan", str(small_file(tmp_path)), "--set", "slo.tpot=1 ms", "--tensor-parallel", "1,3", *ONE)
    outcome = ctxsim(*words)
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err.startswith("infeasible: no fleet meets the SLO for 6 users: ")
    result = answer(*words, code=3)["result"]
    assert result["feasible"] is False
    assert "a step alone takes" in result["infeasible_reason"]
    assert len(result["designs"]["refused"]) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--rate", "1"), "expected users"),
        (("--users", "3", "--rate", "1"), "expected users"),
        (("--accelerators", "a100"), "expected the name of a hardware profile"),
        (("--kv-dtype", "fp8,fp8"), "expected each value once"),
        (("--set", "slo={}"), "expected a limit to plan for"),
    ],
)
def test_plan_options_that_make_no_goal(tmp_path, words, said):
    outcome = ctxsim("plan", str(small_file(tmp_path)), *words)
    assert outcome.code == 2
    assert said in outcome.err


def test_sensitivity_in_text_json_and_picture(tmp_path):
    figure = tmp_path / "tornado.svg"
    words = ("sensitivity", str(small_file(tmp_path)), "--figure", str(figure))
    outcome = ctxsim(*words)
    assert outcome.code == 0
    assert "elasticity" in outcome.out
    drawn = figure.read_bytes()
    found = answer(*words)["result"]
    assert figure.read_bytes() == drawn
    assert b"<svg" in drawn
    assert b"think time" in drawn
    assert found["ratio"] == 1.25
    assert {effect["outcome"] for effect in found["effects"]} >= {"cost_usd_per_session", "prefill_s"}
    nowhere = ctxsim(*words[:3], str(tmp_path / "none" / "x.svg"))
    assert nowhere.code == 2
    assert "expected a place that can be written to" in nowhere.err
