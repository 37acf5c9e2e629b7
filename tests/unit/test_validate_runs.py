"""Measured runs: every format is read alike, a simulation predicts itself, and what cannot be read is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ctxsim
from ctxsim.errors import SpecError
from ctxsim.spec.scenario import Scenario, load_scenario
from ctxsim.validate.runs import COLUMNS, LATENCIES, predicted_run, read_run, run_errors

BENCH = {
    "input_lens": [100, 50, 10],
    "output_lens": [3, 1, 0],
    "start_times": [7.0, 5.0, 6.0],
    "ttfts": [0.5, 0.25, 0.0],
    "itls": [[0.1, 0.2], [], []],
}
LOG = {"input_toks": 100, "output_toks": 3, "queued_ts": 10.0, "first_token_ts": 10.5, "last_token_ts": 10.8}


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario("llama-8b-chat", {"workload.num_requests": 60, "run.warmup": "none"})


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_benchmark_is_read_in_order_of_start_without_what_failed(tmp_path: Path) -> None:
    run = read_run(written(tmp_path / "bench.json", json.dumps(BENCH)))
    assert list(run.columns) == list(COLUMNS)
    assert list(run["arrival_s"]) == [5, 7]
    assert list(run["ttft_s"]) == [0.25, 0.5]
    assert np.isnan(run["tpot_s"][0])
    assert run["tpot_s"][1] == pytest.approx(0.15)
    assert run["e2e_s"][1] == pytest.approx(0.8)


def test_a_log_is_read_by_its_clock(tmp_path: Path) -> None:
    later = LOG | {"queued_ts": 12.0, "first_token_ts": 13.0, "last_token_ts": 13.0, "output_toks": 1}
    run = read_run(written(tmp_path / "log.jsonl", "\n".join(map(json.dumps, (later, LOG)))))
    assert list(run["arrival_s"]) == [0, 2]
    assert list(run["ttft_s"]) == [0.5, 1]
    assert run["tpot_s"][0] == pytest.approx(0.15)
    assert np.isnan(run["tpot_s"][1])


SGLANG = {
    "backend": "sglang",
    "request_rate": float("inf"),
    "max_concurrency": None,
    "duration": 9.0,
    "completed": 2,
    "input_lens": [100, 50, 10],
    "output_lens": [3, 1, 0],
    "ttfts": [0.5, 0.25, 0.0],
    "itls": [[0.1, 0.2], [], []],
    "generated_texts": ["a b c", "a", ""],
    "errors": ["", "", "Internal Server Error"],
}
LISTS = ("input_lens", "output_lens", "ttfts", "itls", "generated_texts", "errors")


@pytest.mark.parametrize("nested", [False, True])
def test_sglang_keeps_its_lists_beside_the_totals_or_in_details(nested: bool, tmp_path: Path) -> None:
    lists = {name: SGLANG[name] for name in LISTS}
    record = {name: value for name, value in SGLANG.items() if name not in LISTS}
    record |= {"details": lists} if nested else lists
    run = read_run(written(tmp_path / "sglang.jsonl", json.dumps(record) + "\n"))
    assert list(run["arrival_s"]) == [0, 0]
    assert list(run["prompt_tokens"]) == [100, 50]
    assert list(run["e2e_s"]) == pytest.approx([0.8, 0.25])
    assert run["tpot_s"][0] == pytest.approx(0.15)


SGLANG_FAULTS: dict[str, tuple[dict[str, object], str]] = {
    "a rate": (
        {"request_rate": 4.0},
        "requests sent all at once.*found request_rate 4.0, max_concurrency None.*--request-rate",
    ),
    "a trace": ({"request_rate": "trace"}, "found request_rate trace"),
    "a limit": ({"max_concurrency": 16}, "found request_rate inf, max_concurrency 16"),
    "no details": ({"itls": None}, "found no itls; run sglang.bench_serving with --output-details"),
    "all failed": ({"errors": ["x", "x", "x"]}, "expected at least one answered request"),
}


@pytest.mark.parametrize("name", SGLANG_FAULTS)
def test_what_sglang_does_not_say_is_not_guessed(name: str, tmp_path: Path) -> None:
    changed, message = SGLANG_FAULTS[name]
    with pytest.raises(SpecError, match=message):
        read_run(written(tmp_path / "sglang.jsonl", json.dumps(SGLANG | changed)))


def test_of_several_benchmarks_in_a_file_none_is_chosen(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected one result, found 2 lines"):
        read_run(written(tmp_path / "sglang.jsonl", f"{json.dumps(SGLANG)}\n{json.dumps(SGLANG)}\n"))


def test_a_simulation_predicts_itself(scenario: Scenario, tmp_path: Path) -> None:
    """What a simulation wrote, read as if a server had: the same requests at the same times have the same latencies."""
    ctxsim.simulate(scenario, out=tmp_path / "run")
    run = read_run(tmp_path / "run" / "requests.parquet")
    table = run_errors(run, predicted_run(scenario, run))
    assert list(table["latency"]) == list(LATENCIES)
    assert list(table["requests"]) == [60, 60, 60]
    # Arrivals are counted from the first of them, which moves every time by rounding.
    assert table.filter(like="_ratio").to_numpy() == pytest.approx(0, abs=1e-6)


def test_a_slower_server_is_seen(scenario: Scenario, tmp_path: Path) -> None:
    ctxsim.simulate(scenario, out=tmp_path / "run")
    run = read_run(tmp_path / "run" / "requests.parquet")
    slower = run.assign(tpot_s=run["tpot_s"] * 2)
    row = run_errors(slower, predicted_run(scenario, run)).set_index("latency").loc["tpot_s"]
    assert row["mean_error_ratio"] == pytest.approx(-0.5, abs=1e-6)
    assert row["request_mape_ratio"] == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.txt", "", "expected a file that ends in .parquet, .json, .jsonl, found .txt"),
        ("x.json", "{", "expected JSON"),
        ("x.json", "[]", "expected a JSON object"),
        ("x.json", json.dumps(BENCH | {"itls": 3}), "found no itls"),
        ("x.json", json.dumps({key: [] for key in BENCH}), "expected at least one answered request"),
        ("x.jsonl", json.dumps({"input_toks": 3}), "in line 1"),
    ],
)
def test_what_cannot_be_read_is_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as refused:
        read_run(written(tmp_path / name, text))
    assert message in str(refused.value)


def test_a_missing_file_and_foreign_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="found none"):
        read_run(tmp_path / "none.json")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(SpecError, match="expected the columns arrival_s"):
        read_run(tmp_path / "x.parquet")
