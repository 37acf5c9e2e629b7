"""The simulate command: summary, seed, SLO gate, interruption."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import REQUESTS, answer, ctxsim, environment

from ctxsim.metrics import DEFINITIONS


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    """The path of a small scenario."""
    path = tmp_path / "test.yaml"
    path.write_text(REQUESTS)
    return str(path)


def test_simulate_has_the_keys_of_the_design() -> None:
    keys = """num_requests completed_requests duration_s sessions_per_hour requests_per_s output_tokens_per_s ttft_s
        tpot_s itl_s e2e_s queue_s goodput_requests_per_s preemptions swap_in_bytes swap_out_bytes recomputed_tokens
        kv_hit_ratio kv_used_ratio mfu_ratio mbu_ratio link_busy_ratio cost_usd_per_session
        cost_usd_per_million_output_tokens gpu_hours events iterations"""
    result = answer("simulate", "mooncake-replay")["result"]
    assert set(keys.split()) <= set(result)
    assert set(result["ttft_s"]) == {"mean", "p50", "p90", "p95", "p99"}
    assert set(result["kv_hit_ratio"]) == {"hbm", "host", "disk"}


def test_simulate_prints_summary_latencies_and_definitions(scenario: str) -> None:
    outcome = ctxsim("simulate", scenario)
    assert outcome.code == 0
    assert re.search(r"^num_requests +10 ", outcome.out, re.MULTILINE)
    assert re.search(r"^ttft_s( +[\d.]+ m?s){5}$", outcome.out, re.MULTILINE)
    for meaning in DEFINITIONS.values():
        assert meaning.split()[0] in outcome.out.partition("Definitions")[2]
    assert outcome.err.startswith("warning: serving.enable_prefix_caching")


def test_the_seed_replaces_the_scenarios(scenario: str) -> None:
    plain, same = answer("simulate", scenario), answer("simulate", scenario, "--seed", "0")
    other, set_seed = answer("simulate", scenario, "--seed", "7"), answer("simulate", scenario, "--set", "run.seed=7")
    assert same["result"] == plain["result"]
    assert other["result"]["duration_s"] != plain["result"]["duration_s"]
    assert other["scenario_sha256"] != plain["scenario_sha256"]
    assert (other["result"], other["scenario_sha256"]) == (set_seed["result"], set_seed["scenario_sha256"])


def test_both_steppings_agree(scenario: str) -> None:
    macro, single = (answer("simulate", scenario, "--stepping", s)["result"] for s in ("macro", "single"))
    assert single["iterations"] == macro["iterations"]
    assert single["duration_s"] == pytest.approx(macro["duration_s"], rel=1e-9)
    assert single["events"] > macro["events"]


def test_slo_gate(scenario: str) -> None:
    met = ctxsim("simulate", scenario, "--fail-on-slo")
    assert met.code == 0
    assert "SLO at the 95 % quantile: met" in met.out
    missed = ctxsim("simulate", scenario, "--fail-on-slo", "--set", "slo.tpot=1 ms", "--set", "slo.percentile=50")
    assert missed.code == 4
    assert re.search(r"^SLO missed: TPOT p50 is 0\.\d+ s, the limit is 0\.001 s$", missed.err, re.MULTILINE)
    assert "SLO at the 50 % quantile: missed" in missed.out
    assert ctxsim("simulate", scenario, "--set", "slo.tpot=1 ms").code == 0


def test_slo_gate_is_part_of_the_json(scenario: str) -> None:
    found = answer("simulate", scenario, "--fail-on-slo", "--set", "slo={ttft: 1 ms, percentile: 95}", code=4)
    result = found["result"]
    gate = result["slo_gate"]
    assert (gate["met"], gate["percentile"], gate["ttft_s"]["limit_s"]) == (False, 95, 0.001)
    assert "tpot_s" not in gate
    # Nothing is cut as warm-up from ten requests, so both are the same quantile of the same sample.
    assert result["warmup_s"] == 0
    assert gate["ttft_s"]["found_s"] == result["ttft_s"]["p95"]


def test_an_interrupted_run_says_how_far_it_got(scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, progress: Any, **__: object) -> None:
        progress(3)
        raise KeyboardInterrupt

    out = tmp_path / "results"
    assert ctxsim("simulate", scenario, "--out", str(out)).code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    monkeypatch.setattr("ctxsim.cli.simulating.run_simulation", stopped)
    outcome = ctxsim("simulate", scenario, "--seed", "1", "--out", str(out))
    assert outcome.code == 130
    assert outcome.err == f"interrupted: 3 of 10 requests were finished; {out} is as it was before\n"
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert json.loads(ctxsim("simulate", scenario, "--json").out)["error"]["code"] == 130


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_ends_a_process_with_130(tmp_path: Path) -> None:
    out = tmp_path / "results"
    words = ["simulate", "paper-34b-50k", "--stepping", "single", "--set", "run.horizon=4000 hours", "--out", str(out)]
    child = subprocess.Popen(
        [sys.executable, "-m", "ctxsim", *words],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        # The tests themselves may have been started with Ctrl-C ignored, which a child would inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline_s = time.monotonic() + 60
    while not out.is_dir() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert re.fullmatch(
        rf"interrupted: [\d,]+ requests were finished; {re.escape(str(out))} is as it was before\n", said
    )
    assert list(out.iterdir()) == []
