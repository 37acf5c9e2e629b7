"""Fidelity peak promises a lower bound on time: held against a real vLLM run, request by request.

The run: vLLM 0.19, Llama-3.1-8B in bf16 on one RTX PRO 6000, 300 ShareGPT requests (LLMServingSim, MIT, commit
5daddb21). Its engine arguments are in meta.json; nothing is fitted.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ctxsim.records import Table
from ctxsim.sim import simulate
from ctxsim.spec.scenario import load_scenario

RUN = Path("serving") / "llmservingsim" / "RTXPRO6000" / "Llama-3.1-8B"


@pytest.fixture(scope="module")
def measured(outside_data: Path) -> list[dict[str, float]]:
    lines = (outside_data / RUN / "requests.jsonl").read_text().splitlines()
    return sorted((json.loads(line) for line in lines), key=lambda row: row["arrival_time"])


@pytest.fixture(scope="module")
def simulated(measured: list[dict[str, float]], outside_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Table:
    engine = json.loads((outside_data / RUN / "meta.json").read_text())["engine_kwargs"]
    trace = tmp_path_factory.mktemp("trace") / "requests.jsonl"
    begin_s = measured[0]["arrival_time"]
    lines = [
        json.dumps(
            {
                "timestamp": (row["arrival_time"] - begin_s) * 1000,
                "input_length": row["input_toks"],
                "output_length": row["output_toks"],
            }
        )
        for row in measured
    ]
    trace.write_text("\n".join(lines))
    overrides = {
        "workload.trace": str(trace),
        "model": "llama-3.1-8b",
        "hardware": "rtx-pro-6000",
        "deployment.replicas": 1,
        "deployment.tensor_parallel": engine["tensor_parallel_size"],
        "serving.max_num_seqs": engine["max_num_seqs"],
        "serving.max_num_batched_tokens": engine["max_num_batched_tokens"],
    }
    return simulate(load_scenario("mooncake-replay", overrides)).requests


def _column(rows: list[dict[str, float]], end: str, begin: str) -> np.ndarray:
    return np.array([row[end] - row[begin] for row in rows])


def test_no_request_is_predicted_slower_than_it_was(measured: list[dict[str, float]], simulated: Table) -> None:
    assert len(simulated) == len(measured) == 300
    steps = np.array([row["output_toks"] - 1 for row in measured])
    assert (simulated["ttft_s"] <= _column(measured, "first_token_ts", "queued_ts")).all()
    assert (simulated["tpot_s"] <= _column(measured, "last_token_ts", "first_token_ts") / steps).all()
    assert (simulated["e2e_s"] <= _column(measured, "last_token_ts", "queued_ts")).all()


def test_the_bound_is_of_the_right_size(measured: list[dict[str, float]], simulated: Table) -> None:
    """Uncalibrated, but no further from the truth than the efficiency of real kernels and a host explain."""
    share = simulated["e2e_s"].mean() / _column(measured, "last_token_ts", "queued_ts").mean()
    assert 0.4 < share < 1
