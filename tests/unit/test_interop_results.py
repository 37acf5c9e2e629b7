"""Results in other tools' forms: our own readers find the same numbers in them; all are marked as simulated."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

import ctxsim
from ctxsim.errors import SpecError
from ctxsim.interop.llm_d import llm_d_report
from ctxsim.interop.sample import Sample
from ctxsim.interop.simulated import Simulated
from ctxsim.interop.token_times import token_gaps
from ctxsim.interop.vllm_bench import vllm_bench_result
from ctxsim.records import Table
from ctxsim.sim import simulate
from ctxsim.spec.scenario import load_scenario
from ctxsim.validate.runs import read_run
from ctxsim.workload.readers import read_trace

CHAT = {"workload.num_requests": 40}
SESSIONS = {"workload.num_sessions": 12, "workload.users": 6}
CASES = {"chat": ("llama-8b-chat", CHAT), "sessions": ("yi-34b-50k-a100", SESSIONS)}


def simulated(name: str, settings: dict[str, object]) -> Simulated:
    scenario = load_scenario(name, settings)
    found = simulate(scenario)
    return Simulated(scenario, found.summary, found.requests, found.sessions, found.runs)


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Simulated:
    return simulated(*CASES[request.param])


@pytest.fixture(scope="module")
def chat() -> Simulated:
    return simulated(*CASES["chat"])


def written(folder: Path, result: dict[str, Any]) -> Path:
    path = folder / "bench.json"
    path.write_text(json.dumps(result, allow_nan=False), encoding="utf-8")
    return path


def test_our_reader_of_runs_finds_the_same_latencies(case: Simulated, tmp_path: Path) -> None:
    run = read_run(written(tmp_path, vllm_bench_result(case, detailed=True)))
    table = Sample.of(case).requests
    for name in ("arrival_s", "prompt_tokens", "output_tokens", "ttft_s", "tpot_s", "e2e_s"):
        assert run[name].to_numpy() == pytest.approx(table[name], rel=1e-9, nan_ok=True), name


def test_our_reader_of_traces_finds_the_same_requests(case: Simulated, tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, vllm_bench_result(case, detailed=True)), "vllm-bench")
    table = Sample.of(case).requests
    assert trace.prompt_tokens.tolist() == table["prompt_tokens"].tolist()
    assert trace.output_tokens.tolist() == table["output_tokens"].tolist()
    assert trace.arrival_s == pytest.approx(table["arrival_s"] - table["arrival_s"][0], rel=1e-9)


def test_the_summary_follows_from_the_lists(case: Simulated) -> None:
    """What vLLM's own definitions make of the lists is what the summary says."""
    result = vllm_bench_result(case, detailed=True)
    gaps = np.concatenate([np.array(gaps) for gaps in result["itls"]])
    lists = {"ttft": result["ttfts"], "itl": gaps, "e2el": result["latencies"]}
    rows = zip(result["latencies"], result["ttfts"], result["output_lens"], strict=True)
    lists["tpot"] = [(latency - ttft) / (tokens - 1) for latency, ttft, tokens in rows if tokens > 1]
    for name, seconds in lists.items():
        assert result[f"mean_{name}_ms"] == pytest.approx(np.mean(seconds) * 1000, rel=1e-9)
        assert result[f"median_{name}_ms"] == pytest.approx(np.median(seconds) * 1000, rel=1e-9)
        assert result[f"std_{name}_ms"] == pytest.approx(np.std(seconds) * 1000, rel=1e-6, abs=1e-9)
        assert result[f"p99_{name}_ms"] == pytest.approx(np.percentile(seconds, 99) * 1000, rel=1e-9)
    assert result["completed"] == len(result["ttfts"]) == case.summary["completed_requests"]
    assert result["total_output_tokens"] == sum(result["output_lens"])
    assert result["request_throughput"] == result["completed"] / case.summary["duration_s"]


def test_the_summary_is_that_of_the_simulation(chat: Simulated) -> None:
    """Without a warm-up both are over the same requests and tokens."""
    whole = simulated("llama-8b-chat", {**CHAT, "run.warmup": "none"})
    result, summary = vllm_bench_result(whole), whole.summary
    for theirs, ours in (("ttft", "ttft_s"), ("tpot", "tpot_s"), ("itl", "itl_s"), ("e2el", "e2e_s")):
        assert result[f"mean_{theirs}_ms"] == pytest.approx(summary[ours]["mean"] * 1000, rel=1e-9)
    assert result["p99_ttft_ms"] == pytest.approx(summary["ttft_s"]["p99"] * 1000, rel=1e-9)
    assert result["request_goodput"] == pytest.approx(summary["goodput_requests_per_s"])


def test_the_summary_has_the_keys_of_vllm(chat: Simulated) -> None:
    setting = "date endpoint_type backend label model_id tokenizer_id num_prompts"
    load = "request_rate burstiness max_concurrency max_concurrent_requests"
    counts = "duration completed failed total_input_tokens total_output_tokens"
    rates = "request_throughput request_goodput output_throughput total_token_throughput max_output_tokens_per_s"
    keys = f"{setting} {load} {counts} {rates}".split()
    result = vllm_bench_result(chat)
    latencies = [f"{s}_{m}_ms" for s in ("mean", "median", "std", "p99") for m in ("ttft", "tpot", "itl", "e2el")]
    assert set(keys) | set(latencies) <= set(result)
    assert not set(result) & {"ttfts", "itls", "input_lens", "latencies"}
    assert (result["request_rate"], result["burstiness"], result["max_concurrency"]) == (2.0, 1.0, None)


def test_users_are_a_limit_of_concurrency() -> None:
    result = vllm_bench_result(simulated(*CASES["sessions"]))
    assert (result["request_rate"], result["burstiness"], result["max_concurrency"]) == ("inf", None, 6)
    assert result["max_concurrent_requests"] <= 6


def test_every_result_is_marked(case: Simulated) -> None:
    sha = case.scenario.sha256
    bench, report = vllm_bench_result(case), llm_d_report(case)
    for mark in (bench, report["results"]["observability"]["ctxsim"], report["scenario"]["load"]["native"]["config"]):
        assert mark["simulated"] is True
        assert (mark["tool"], mark["tool_version"], mark["scenario_sha256"]) == ("ctxsim", ctxsim.__version__, sha)
    assert bench["backend"] == "ctxsim"
    assert "not measured" in report["run"]["description"]
    assert "simulated" in report["run"]["keywords"]


def test_results_are_the_same_every_time(chat: Simulated) -> None:
    again = simulated(*CASES["chat"])
    assert vllm_bench_result(chat, detailed=True) == vllm_bench_result(again, detailed=True)
    assert llm_d_report(chat) == llm_d_report(again)


def test_gaps_are_those_of_single_steps(chat: Simulated) -> None:
    """Taken one by one, iterations are rows: a request's tokens come at their ends."""
    found = simulate(chat.scenario, stepping="single")
    ends = found.runs["start_s"] + found.runs["first_s"]
    sample = Sample.of(chat)
    assert sample.gaps.equal == 0
    columns = (sample.requests["first_token_s"], sample.requests["finished_s"], sample.gaps.gaps_s)
    for first_s, last_s, gaps_s in zip(*columns, strict=True):
        decoded = ends[(ends > first_s + 1e-6) & (ends < last_s + 1e-6) & (found.runs["decoding"] > 0)]
        assert first_s + np.cumsum(gaps_s) == pytest.approx(decoded, rel=1e-9)


def test_pauses_that_cannot_be_told_are_divided_and_counted() -> None:
    """Preempted while others went on: more iterations than tokens, so the time is divided equally."""
    settings = {"serving.num_gpu_blocks_override": 540, "workload.arrival.rate": "20 /s", **CHAT}
    pressed = simulated("llama-8b-chat", settings)
    assert pressed.summary["preemptions"] > 0
    sample = Sample.of(pressed)
    preempted = int(np.sum(sample.requests["preemptions"] > 0))
    assert sample.gaps.equal >= preempted > 0
    assert vllm_bench_result(pressed)["itls_equal"] == sample.gaps.equal
    for gaps_s, e2e_s, ttft_s in zip(sample.gaps.gaps_s, sample.e2e_s, sample.ttft_s, strict=True):
        assert ttft_s + np.sum(gaps_s) == pytest.approx(e2e_s, rel=1e-9)


def test_answers_of_one_token_or_none_have_no_gaps() -> None:
    for tokens in (0, 1):
        short = simulated("llama-8b-chat", {**CHAT, "workload.output_tokens": tokens})
        result = vllm_bench_result(short, detailed=True)
        assert result["itls"] == [[]] * 40
        assert (result["mean_tpot_ms"], result["mean_itl_ms"]) == (0, 0)
        assert (
            "inter_token_latency" not in llm_d_report(short)["results"]["request_performance"]["aggregate"]["latency"]
        )


def test_the_most_at_once_and_the_most_tokens_are_counted() -> None:
    requests = Table(
        {
            "replica": np.array([0, 0]),
            "output_tokens": np.array([3, 1]),
            "preemptions": np.array([0, 0]),
            "arrival_s": np.array([0.0, 1.0]),
            "first_token_s": np.array([0.5, 1.0]),
            "finished_s": np.array([1.5, 1.0]),
        }
    )
    columns = ("start_s", "first_s", "growth_s")
    runs = Table({"replica": np.array([0]), "iterations": np.array([3]), "decoding": np.array([1])} | {
        name: np.array([value]) for name, value in zip(columns, (0.0, 0.5, 0.0), strict=True)
    })  # fmt: skip
    sample = Sample(requests, token_gaps(requests, runs))
    assert [gaps.tolist() for gaps in sample.gaps.gaps_s] == [[0.5, 0.5], []]
    assert sample.most_at_once() == 1  # the second ends as it comes
    assert sample.most_tokens_per_s() == 3  # at 1.0, 1.0 and 1.5 s


def test_nothing_finished_is_refused(chat: Simulated) -> None:
    table = chat.requests.table()
    empty = replace(chat, requests=Table({name: table[name][:0] for name in table.names}))
    for write in (vllm_bench_result, llm_d_report):
        with pytest.raises(SpecError, match="expected at least one finished request, found none"):
            write(empty)


def closed(required: str, optional: str = "", **properties: Any) -> dict[str, Any]:
    """An object with these keys and no others; the schema forbids further ones."""
    known = {name: {} for name in (*required.split(), *optional.split())} | properties
    return {"type": "object", "additionalProperties": False, "required": required.split(), "properties": known}


QUANTILES = "stddev min p0p1 p1 p5 p10 p25 p50 p75 p90 p95 p99 p99p9 max"


def statistics(*units: str) -> dict[str, Any]:
    numbers = {name: {"type": "number"} for name in ("mean", *QUANTILES.split())}
    return closed("units mean", QUANTILES, units={"enum": list(units)}, **numbers)


COUNT, TIME, PER_TOKEN = statistics("count", "pixels"), statistics("ms", "s"), statistics("ms/token", "s/token")
TOKENS_PER_S, QUERIES_PER_S = statistics("tokens/s"), statistics("queries/s")
TEXT, WHOLE = {"type": "string"}, {"type": "integer", "minimum": 0}
LENGTH = closed(
    "distribution value", "std_dev", distribution={"enum": ["fixed", "gaussian", "uniform", "other"]},
    value={"type": "number", "minimum": 0}, min=WHOLE, max={"type": "integer", "minimum": 1},
)  # fmt: skip
REPORT = closed(
    "version run scenario results",
    version={"const": "0.2.1"},
    run=closed("uid", "eid cid pid user", uid=TEXT, description=TEXT, keywords={"type": "array", "items": TEXT},
               time=closed("", "start end", duration={"type": "string", "pattern": r"^PT[0-9.]+S$"})),
    scenario=closed(
        "stack load",
        stack={"type": "array", "minItems": 1, "items": closed(
            "metadata standardized native",
            metadata=closed("label cfg_id", "schema_version description", label=TEXT, cfg_id=TEXT),
            standardized=closed(
                "kind tool tool_version role replicas model accelerator", kind={"const": "inference_engine"},
                role={"enum": ["replica", "prefill", "decode"]}, replicas={"type": "integer", "minimum": 1},
                model=closed("name", name=TEXT),
                accelerator=closed("model count parallelism", model=TEXT, count=WHOLE, parallelism=closed(
                    "", tp=WHOLE, dp=WHOLE, dp_local=WHOLE, workers=WHOLE, ep=WHOLE, pp=WHOLE)),
            ),
            native=closed("", "args envars config"),
        )},
        load=closed(
            "metadata standardized native",
            metadata=closed("", "schema_version cfg_id description treatment treatment_group concurrent_with"),
            standardized=closed(
                "tool tool_version source input_seq_len", "parallelism stage prefix",
                source={"enum": ["random", "sampled", "unknown"]}, input_seq_len=LENGTH, output_seq_len=LENGTH,
                multi_turn=closed("", "enabled", max_turns=LENGTH),
                rate_qps={"type": "number", "exclusiveMinimum": 0}, concurrency={"type": "integer", "minimum": 1},
            ),
            native=closed("", "args envars config"),
        ),
    ),
    results=closed(
        "request_performance", "profiling component_health observability",
        request_performance=closed("", "time_series", aggregate=closed(
            "",
            requests=closed("total", "request_size multimodal", total=WHOLE, failures=WHOLE, incomplete=WHOLE,
                            input_length=COUNT, output_length=COUNT),
            latency=closed("", time_to_first_token=TIME, normalized_time_per_output_token=PER_TOKEN,
                           time_per_output_token=PER_TOKEN, inter_token_latency=PER_TOKEN, request_latency=TIME),
            throughput=closed("", input_token_rate=TOKENS_PER_S, output_token_rate=TOKENS_PER_S,
                              total_token_rate=TOKENS_PER_S, request_rate=QUERIES_PER_S),
        )),
        session_performance=closed("", sessions=closed(
            "total", "failed total_events total_events_cancelled events_cancelled_per_session", total=WHOLE,
            succeeded=WHOLE, total_events_completed=WHOLE, session_rate=QUERIES_PER_S, session_duration=TIME,
            events_per_session=COUNT, input_tokens_per_session=COUNT, output_tokens_per_session=COUNT,
        )),
    ),
)  # fmt: skip
"""What llm-d's schema 0.2.1 asks of the parts that are written, by hand from its fields and units."""


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *CASES.values(),
        ("llama-8b-chat", {**CHAT, "workload.arrival": "{kind: closed, users: 3}"}),
        ("llama-8b-chat", {**CHAT, "workload.output_tokens": "{kind: exponential, mean: 20, max: 100}"}),
        ("mooncake-replay", {}),
        ("llama-70b-mixed-fleet", {"workload.users": 6, "workload.num_sessions": 6}),
    ],
)
def test_reports_have_the_fields_and_units_of_the_schema(name: str, settings: dict[str, object]) -> None:
    report = json.loads(json.dumps(llm_d_report(simulated(name, settings)), allow_nan=False))
    faults = [f"{'.'.join(map(str, e.path))}: {e.message}" for e in Draft202012Validator(REPORT).iter_errors(report)]
    assert not faults


def test_the_hand_written_schema_refuses_what_is_wrong(chat: Simulated) -> None:
    report = llm_d_report(chat)
    report["results"]["request_performance"]["aggregate"]["latency"]["time_to_first_token"]["units"] = "tokens/s"
    report["simulated"] = True
    assert len(list(Draft202012Validator(REPORT).iter_errors(report))) == 2


def test_a_report_says_what_the_simulation_found(chat: Simulated) -> None:
    report = llm_d_report(chat)
    aggregate = report["results"]["request_performance"]["aggregate"]
    bench = vllm_bench_result(chat)
    assert aggregate["latency"]["time_to_first_token"]["mean"] * 1000 == pytest.approx(bench["mean_ttft_ms"])
    assert aggregate["latency"]["inter_token_latency"]["p99"] * 1000 == pytest.approx(bench["p99_itl_ms"])
    assert aggregate["throughput"]["output_token_rate"]["mean"] == bench["output_throughput"]
    assert aggregate["requests"]["total"] == 40
    assert report["scenario"]["load"]["standardized"]["rate_qps"] == 2.0
    assert re.fullmatch(r"PT[0-9.]+S", report["run"]["time"]["duration"])
    assert "session_performance" not in report["results"]


def test_a_report_of_sessions_counts_them() -> None:
    sessions = llm_d_report(simulated(*CASES["sessions"]))["results"]["session_performance"]["sessions"]
    assert (sessions["total"], sessions["succeeded"], sessions["total_events_completed"]) == (12, 12, 60)
    assert sessions["events_per_session"]["mean"] == 5


def test_a_fleet_has_a_component_for_each_kind() -> None:
    fleet = simulated("llama-70b-mixed-fleet", {"workload.users": 6, "workload.num_sessions": 6})
    stack = [part["standardized"] for part in llm_d_report(fleet)["scenario"]["stack"]]
    found = [(part["replicas"], part["accelerator"]["model"], part["accelerator"]["count"]) for part in stack]
    assert found == [(2, "h100-80gb-sxm", 2), (1, "a100-80gb-sxm", 4)]
