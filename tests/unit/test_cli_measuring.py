"""The commands that measure, fit and check: what they need, what they refuse, what they print."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from command_line import ctxsim

import ctxsim as package
from ctxsim.spec.scenario import load_scenario


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    package.simulate(load_scenario("llama-8b-chat", {"workload.num_requests": 20, "run.warmup": "none"}), out=folder)
    return folder / "requests.parquet"


def test_a_run_is_checked_latency_by_latency(served: Path) -> None:
    found = ctxsim("validate", "llama-8b-chat", "--against", str(served), "--json")
    assert found.code == 0
    rows = json.loads(found.out)["result"]["latencies"]
    assert [row["latency"] for row in rows] == ["ttft_s", "tpot_s", "e2e_s"]
    assert all(abs(row["mean_error_ratio"]) < 1e-6 for row in rows)
    text = ctxsim("validate", "llama-8b-chat", "--set", "hardware=h200-sxm", "--against", str(served)).out
    assert "ttft_s, 20 requests" in text
    assert "single requests are off by" in text


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("validate", "llama-8b-chat"), 2, "expected a scenario and --against FILE (or --engine DEVICE) together"),
        (("validate", "llama-8b-chat", "--against", "none.json"), 2, "expected a file with measured requests"),
        (("validate", "llama-8b-chat", "--against", "a.json", "--refresh", "m.parquet"), 2, "expected --engine beside"),
        (("validate", "--data", "nowhere"), 2, "expected the folder of outside data, found none at nowhere"),
        (("calibrate", "a100-80gb-sxm-vllm", "-o", "x.json", "--data", "nowhere"), 2, "folder of outside data"),
        (("measure", "-o", "x.parquet", "--families", "gem"), 2, 'did you mean "gemm"'),
        (("measure", "-o", "x.parquet", "--device", "cpu", "--dtypes", "fp23"), 2, 'found "fp23"; did you mean "fp32"'),
        (
            ("calibrate", "h200-sxm", "--from", "none.parquet", "-o", "x.json"),
            2,
            "expected measurements, found none of",
        ),
        (("validate", "llama-8b-chat", "--engine", "cpu"), 2, "expected a folder for prediction and report"),
        (("simulate", "llama-8b-chat", "--intervals"), 2, "expected calibrated, since intervals follow"),
    ],
)
def test_what_cannot_be_done_is_said(words: tuple[str, ...], code: int, message: str) -> None:
    found = ctxsim(*words)
    assert found.code == code
    assert message in found.err


@pytest.mark.skipif(find_spec("torch") is not None, reason="torch is installed here")
@pytest.mark.parametrize("words", [("-o", "x.parquet"), ("-o", "x", "--engine", "llama-8b-chat")])
def test_measuring_needs_torch(words: tuple[str, ...]) -> None:
    found = ctxsim("measure", *words)
    assert found.code == 5
    assert 'pip install "ctxsim[measure]"' in found.err


def test_intervals_hold_the_results_they_are_of() -> None:
    words = ("--set", "fidelity=calibrated", "--set", "workload.num_requests=30", "--intervals", "--json")
    result = json.loads(ctxsim("simulate", "llama-8b-chat", *words).out)["result"]
    intervals = result["intervals"]
    assert set(intervals) >= {"ttft_s.p95", "tpot_s.mean", "sessions_per_hour", "cost_usd_per_session"}
    low, high = intervals["tpot_s.mean"]
    assert low < result["tpot_s"]["mean"] < high
