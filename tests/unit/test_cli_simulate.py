"""The simulate command: summary, seed, SLO gate, interruption."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import REQUESTS, answer, ctxsim, environment

from ctxsim.api.storage import load_result
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
        kv_hit_ratio kv_used_ratio kv_tier_bytes mfu_ratio mbu_ratio link_busy_ratio cost_usd_per_session
        cost_usd_per_million_output_tokens gpu_hours events iterations too_short"""
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
    assert all(line.startswith("warning: ") for line in outcome.err.splitlines())


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


def test_replications_are_printed_with_their_half_widths(scenario: str) -> None:
    """The mean where all are the same, else with its half-width; quantiles in two lines."""
    outcome = ctxsim("simulate", scenario, "--replications", "3", "--confidence", "0.9")
    assert outcome.code == 0
    words = " ".join(outcome.out.split())
    assert "seed 0, fidelity peak; means of 3 replications \u00b1 half of their 90 % intervals" in words
    assert re.search(r"^num_requests +10$", outcome.out, re.MULTILINE)
    assert re.search(r"^duration_s +[\d.]+ s \u00b1 [\d.]+ m?s$", outcome.out, re.MULTILINE)
    assert re.search(r"^ttft_s( +[\d.]+ m?s){5}\n( +\u00b1 [\d.]+ [mu]?s){5}$", outcome.out, re.MULTILINE)


def test_replications_in_the_json(scenario: str) -> None:
    """The means stand under the keys of a single run, which is the first of them; the rest under one more key."""
    alone = answer("simulate", scenario)
    found = answer("simulate", scenario, "--replications", "3")
    replications = found["result"].pop("replications")
    assert found["schema"] == alone["schema"]
    assert found["scenario_sha256"] == alone["scenario_sha256"]
    assert found["warnings"] == alone["warnings"]
    assert set(found["result"]) == set(alone["result"]) == set(replications["half_width"])
    assert (replications["n"], replications["confidence"], len(replications["seeds"])) == (3, 0.95, 3)
    runs = [answer("simulate", scenario, "--seed", str(seed))["result"] for seed in replications["seeds"]]
    assert runs[0] == alone["result"]
    for key in ("duration_s", "mfu_ratio"):
        values = [run[key] for run in runs]
        assert len(set(values)) == 3
        assert found["result"][key] == pytest.approx(np.mean(values), rel=1e-12)
        # Student's t for 95 % and two degrees of freedom, from its table.
        half_width = 4.30265 * np.std(values, ddof=1) / np.sqrt(3)
        assert replications["half_width"][key] == pytest.approx(half_width, rel=1e-5)
    p95 = np.mean([run["ttft_s"]["p95"] for run in runs])
    assert found["result"]["ttft_s"]["p95"] == pytest.approx(p95, rel=1e-12)
    assert replications["half_width"]["ttft_s"]["p95"] > 0


def test_one_replication_is_the_run_itself_without_an_interval(scenario: str) -> None:
    found, alone = answer("simulate", scenario, "--replications", "1"), answer("simulate", scenario)
    replications = found["result"].pop("replications")
    assert found["result"] == alone["result"]
    assert replications["half_width"]["duration_s"] is None
    assert set(replications["half_width"]["ttft_s"].values()) == {None}
    assert found["warnings"][-1] == "replications: one run has no confidence interval; ask for two at least"
    shown = ctxsim("simulate", scenario, "--replications", "1")
    assert "\u00b1" not in shown.out
    assert "fidelity peak; one replication" in " ".join(shown.out.split())


def test_replications_of_what_is_never_random_say_so() -> None:
    outcome = ctxsim("simulate", "mooncake-replay", "--replications", "2")
    assert "replications: all 2 runs are the same, since nothing in them is drawn at random" in outcome.err
    assert re.search(r"^duration_s +[\d.]+ s$", outcome.out, re.MULTILINE)


def test_the_slo_gate_judges_the_means(scenario: str) -> None:
    words = ("simulate", scenario, "--replications", "3", "--fail-on-slo")
    assert ctxsim(*words).code == 0
    alone = answer("simulate", scenario, "--seed", "0")["result"]["tpot_s"]["p95"]
    found = answer(*words)["result"]
    gate = found["slo_gate"]
    assert gate["met"] is True
    assert gate["tpot_s"]["found_s"] == pytest.approx(found["tpot_s"]["p95"], rel=1e-12) != alone
    for factor, code, said in ((1.0001, 0, "met"), (0.9999, 4, "missed")):
        outcome = ctxsim(*words, "--set", f"slo.tpot={gate['tpot_s']['found_s'] * factor} s")
        assert outcome.code == code
        assert f"SLO at the 95 % quantile: {said}" in outcome.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--replications", "2", "--confidence", "95"), "confidence: expected a share between 0 and 1, found 95"),
        (("--replications", "2", "--confidence", "0"), "confidence: expected a share between 0 and 1, found 0"),
        (("--workers", "2"), "workers: expected replications beside it, found one run; ask for some"),
        (("--confidence", "0.9"), "confidence: expected replications beside it, found one run"),
        (("--replications", "0"), "Invalid value for '--replications'"),
        (("--replications", "2", "--workers", "0"), "Invalid value for '--workers'"),
    ],
)
def test_replications_that_make_no_sense(scenario: str, words: tuple[str, ...], said: str) -> None:
    outcome = ctxsim("simulate", scenario, *words)
    assert outcome.code == 2
    assert said in " ".join(outcome.err.split())


def test_replications_are_saved_as_runs_of_their_own(scenario: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    printed = answer("simulate", scenario, "--replications", "2", "--out", str(out))
    del printed["meta"]
    names = {path.name for path in out.iterdir()}
    assert names == {"replication-000", "replication-001", "summary.json", "scenario.yaml"}
    assert json.loads((out / "summary.json").read_text()) == printed
    seed = printed["result"]["replications"]["seeds"][1]
    assert ctxsim("simulate", scenario, "--seed", str(seed), "--out", str(tmp_path / "alone")).code == 0
    for path in (tmp_path / "alone").iterdir():
        assert (out / "replication-001" / path.name).read_bytes() == path.read_bytes()


def test_replications_need_a_folder_of_their_own(scenario: str, tmp_path: Path) -> None:
    """Tables of another run beside the means would be taken for theirs."""
    out = tmp_path / "out"
    assert ctxsim("simulate", scenario, "--out", str(out)).code == 0
    outcome = ctxsim("simulate", scenario, "--replications", "2", "--out", str(out))
    assert outcome.code == 2
    assert "found one that has gaps.parquet in it, where replications need an empty one" in outcome.err


def test_workers_change_no_byte(scenario: str, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder, workers in zip(folders, ("1", "2"), strict=True):
        assert ctxsim("simulate", scenario, "--replications", "3", "--workers", workers, "--out", str(folder)).code == 0
    ours, theirs = ({p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in folders)
    assert ours == theirs
    assert len(ours) == 3 * 7 + 2


def test_workers_report_what_cannot_be_served(scenario: str) -> None:
    outcome = ctxsim("simulate", "paper-34b-1m", "--replications", "2", "--workers", "2")
    assert outcome.code == 3
    assert "the shortest request" in outcome.err


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_leaves_the_replications_that_were_done(tmp_path: Path, workers: str) -> None:
    """Each whole; no worker goes on, and nothing unfinished lies about."""
    out = tmp_path / "out"
    path = tmp_path / "test.yaml"
    path.write_text(REQUESTS)
    words = ["simulate", str(path), "--replications", "9999", "--workers", workers, "--out", str(out)]
    child = subprocess.Popen(
        [sys.executable, "-m", "ctxsim", *words],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        start_new_session=True,
    )
    deadline_s = time.monotonic() + 60
    while not (out / "replication-003").is_dir() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    saved = sorted(out.iterdir())
    assert re.fullmatch(
        rf"interrupted: [\d,]+ of 99,990 requests were finished; {re.escape(str(out))} has "
        rf"{len(saved)} of 9999 replications\n",
        said,
    )
    assert len(saved) >= 2
    for folder in saved:
        assert re.fullmatch(r"replication-\d{3}", folder.name)
        assert load_result(folder).summary["completed_requests"] == 10


def test_the_bill_is_one_table_whose_total_is_the_summary_s(scenario: str) -> None:
    money = answer("simulate", scenario)["result"]["money"]
    shown = ctxsim("simulate", scenario).out.partition("Money in USD")[2].partition("Definitions")[0]
    for label in (
        "prefill",
        "decode",
        "switching",
        "holding in HBM",
        "holding in host memory",
        "holding on disk",
        "idle",
    ):
        assert re.search(rf"^{label} +[\d.e-]+ +[\d.]+%( +[\d.e-]+){{4}}$", shown, re.MULTILINE), label
    total = re.search(r"^total +([\d.e-]+) +100\.0%", shown, re.MULTILINE)
    assert total is not None
    assert float(total[1]) == pytest.approx(money["bill_usd"], rel=1e-3)
    assert "not on the bill" in shown
    billed = ctxsim("simulate", scenario, "--set", "price.energy_billed=true").out
    assert "(on the bill)" in billed


def test_money_of_replications_has_half_widths(scenario: str) -> None:
    shown = ctxsim("simulate", scenario, "--replications", "2", "--set", "workload.num_requests=20").out
    assert re.search(r"^decode +[\d.e-]+ \u00b1 ", shown.partition("Money in USD")[2], re.MULTILINE)
