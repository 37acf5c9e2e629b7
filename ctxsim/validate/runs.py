"""Runs of a server: read from what it or its client wrote, and predicted request by request.

A run is a frame with a row a request: ``arrival_s`` (from the first), ``prompt_tokens``, ``output_tokens``, ``ttft_s``,
``tpot_s`` (NaN where there is one token), ``e2e_s``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from ctxsim.errors import Fault, SpecError
from ctxsim.sim import simulate
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import Trace

COLUMNS = ("arrival_s", "prompt_tokens", "output_tokens", "ttft_s", "tpot_s", "e2e_s")
LATENCIES = ("ttft_s", "tpot_s", "e2e_s")
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def read_run(path: str | Path) -> pd.DataFrame:
    """The run of that file: ``requests.parquet`` of an engine or a simulation, the JSON of ``vllm bench serve`` with
    ``--save-detailed``, the JSON line of SGLang's ``bench_serving`` with ``--output-details``, or a log of requests in
    JSON lines. Raises SpecError where it is none of these."""
    file = Path(path)
    if not file.exists():
        _refuse(file, "expected a file with measured requests, found none; check the path")
    reader = READERS.get(file.suffix)
    if reader is None:
        _refuse(file, f"expected a file that ends in {', '.join(READERS)}, found {file.suffix or 'no suffix'}")
    run = reader(file)
    if not len(run):
        _refuse(file, "expected at least one answered request, found none")
    return run.sort_values("arrival_s", kind="stable", ignore_index=True)


def predicted_run(scenario: Scenario, run: pd.DataFrame) -> pd.DataFrame:
    """The run's requests at their times and of their lengths, as the scenario's machine and engine would serve them."""
    with TemporaryDirectory() as folder:
        trace = Path(folder) / "run.json"
        trace.write_text(json.dumps(_as_bench(run)), encoding="utf-8")
        workload = Trace(kind="trace", trace=str(trace), format="vllm-bench")
        simulation = simulate(replace(scenario, workload=workload))
        requests = simulation.requests
        order = np.argsort(requests["request"])
        served = {name: requests[name][order] for name in COLUMNS}
    if len(order) != len(run):
        message = (
            f"expected all {len(run)} requests to be served, found {len(order)}; raise max_model_len or the KV pool"
        )
        raise SpecError(Fault(scenario.path, None, None, "serving", message))
    return pd.DataFrame(served)


def run_errors(run: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    """One row a latency: mean and quantiles measured and predicted, their relative errors, and the mean error of single
    requests (TTFT of one request depends on which others it meets)."""
    return pd.DataFrame([_latency_row(name, run[name], predicted[name]) for name in LATENCIES])


def _latency_row(name: str, measured: pd.Series, predicted: pd.Series) -> dict[str, Any]:
    both = measured.notna() & predicted.notna()
    measured, predicted = measured[both], predicted[both]
    row: dict[str, Any] = {"latency": name, "requests": int(both.sum())}
    found = {"mean": (float(measured.mean()), float(predicted.mean()))}
    for label, share in QUANTILES.items():
        found[label] = (float(measured.quantile(share)), float(predicted.quantile(share)))
    for label, (ours, theirs) in found.items():
        row |= {f"{label}_measured_s": ours, f"{label}_predicted_s": theirs, f"{label}_error_ratio": theirs / ours - 1}
    row["request_mape_ratio"] = float((predicted / measured - 1).abs().mean())
    return row


def _as_bench(run: pd.DataFrame) -> Mapping[str, Any]:
    return {
        "input_lens": [int(tokens) for tokens in run["prompt_tokens"]],
        "output_lens": [int(tokens) for tokens in run["output_tokens"]],
        "start_times": [float(at_s) for at_s in run["arrival_s"]],
    }


def _of_parquet(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path)
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        _refuse(path, f"expected the columns {', '.join(COLUMNS)}, found no {', '.join(missing)}")
    return table[list(COLUMNS)]


def _of_bench(path: Path) -> pd.DataFrame:
    record = _json(path, path.read_text(encoding="utf-8"))
    wanted = ("input_lens", "output_lens", "start_times", "ttfts", "itls")
    missing = [name for name in wanted if not isinstance(record.get(name), list)]
    if missing:
        would_do = "write the result with vllm bench serve --save-result --save-detailed"
        _refuse(path, f"expected lists {', '.join(wanted)}, found no {', '.join(missing)}; {would_do}")
    rows = zip(*(record[name] for name in wanted), strict=True)
    return pd.DataFrame([_bench_row(*row) for row in rows if row[3] and row[1] > 0], columns=COLUMNS)


def _bench_row(prompt: int, outputs: int, start_s: float, ttft_s: float, gaps_s: list[float]) -> tuple[Any, ...]:
    later_s = sum(gaps_s)
    tpot_s = later_s / (outputs - 1) if outputs > 1 else np.nan
    return start_s, prompt, outputs, ttft_s, tpot_s, ttft_s + later_s


def _of_lines(path: Path) -> pd.DataFrame:
    """A result of SGLang's bench_serving, which is one line, or a log of requests, which has a line for each."""
    lines = [_json(path, line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return _of_sglang(path, lines) if any("request_rate" in line for line in lines) else _of_log(path, lines)


def _of_sglang(path: Path, lines: list[dict[str, Any]]) -> pd.DataFrame:
    """The lists of ``python -m sglang.bench_serving --output-details``, beside the totals or, later, in ``details``.

    It keeps no times of arrival (sgl-project/sglang, python/sglang/bench_serving.py and benchmark/metrics.py): they are
    known where all requests were sent at once. ``errors`` has a text for each that failed.
    """
    if len(lines) > 1:
        _refuse(path, f"expected one result, found {len(lines)} lines, one for each benchmark; keep one of them")
    record = lines[0]
    lists = record.get("details", record)
    wanted = ("input_lens", "output_lens", "ttfts", "itls", "errors")
    if missing := [name for name in wanted if not isinstance(lists.get(name), list)]:
        message = f"expected lists {', '.join(wanted)}, found no {', '.join(missing)}"
        _refuse(path, f"{message}; run sglang.bench_serving with --output-details")
    if record["request_rate"] != inf or record.get("max_concurrency") is not None:
        found = f"request_rate {record['request_rate']}, max_concurrency {record.get('max_concurrency')}"
        message = f"expected requests sent all at once, since SGLang does not say when each was, found {found}"
        _refuse(path, f"{message}; run it with --request-rate inf and without --max-concurrency")
    rows = zip(*(lists[name] for name in wanted), strict=True)
    answered = [_bench_row(row[0], row[1], 0.0, *row[2:4]) for row in rows if not row[4] and row[1] > 0]
    return pd.DataFrame(answered, columns=COLUMNS)


def _of_log(path: Path, lines: list[dict[str, Any]]) -> pd.DataFrame:
    """Lines with input_toks, output_toks and the clock's queued_ts, first_token_ts, last_token_ts, in seconds."""
    wanted = ("input_toks", "output_toks", "queued_ts", "first_token_ts", "last_token_ts")
    for number, line in enumerate(lines, 1):
        if missing := [name for name in wanted if name not in line]:
            _refuse(path, f"expected the keys {', '.join(wanted)}, found no {', '.join(missing)} in line {number}")
    begin_s = min((line["queued_ts"] for line in lines), default=0.0)
    rows = [_log_row(line, begin_s) for line in lines]
    return pd.DataFrame(rows, columns=COLUMNS)


def _log_row(line: Mapping[str, Any], begin_s: float) -> tuple[Any, ...]:
    came_s, first_s, last_s = line["queued_ts"], line["first_token_ts"], line["last_token_ts"]
    outputs = line["output_toks"]
    tpot_s = (last_s - first_s) / (outputs - 1) if outputs > 1 else np.nan
    return came_s - begin_s, line["input_toks"], outputs, first_s - came_s, tpot_s, last_s - came_s


def _json(path: Path, text: str) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except ValueError as error:
        _refuse(path, f"expected JSON, found {error}")
    if not isinstance(record, dict):
        _refuse(path, "expected a JSON object, found something else")
    return record


def _refuse(path: Path, message: str) -> NoReturn:
    raise SpecError(Fault(str(path), None, None, "", message))


READERS: Mapping[str, Callable[[Path], pd.DataFrame]] = {
    ".parquet": _of_parquet,
    ".json": _of_bench,
    ".jsonl": _of_lines,
}
"""Formats by the suffix of their files."""
