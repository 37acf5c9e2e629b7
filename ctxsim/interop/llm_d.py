"""A simulation's results as a benchmark report of llm-d, schema 0.2.1, marked as simulated.

Fields and units as in llm-d/llm-d-benchmark, benchmark-report/llmd_benchmark_report/schema_v0_2*.py. The schema allows
no further keys, except below ``native.config`` and ``observability``, so the mark stands there; ``tool`` says it too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ctxsim.interop.sample import Sample, request_rate_per_s, users
from ctxsim.interop.simulated import TOOL, Simulated
from ctxsim.spec.digest import sha256_of
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import Sessions, Trace
from ctxsim.spec.written import as_file
from ctxsim.units import SECONDS_PER_HOUR
from ctxsim.version import __version__

SCHEMA_VERSION = "0.2.1"
PERCENTILES = {
    "p0p1": 0.1,
    "p1": 1,
    "p5": 5,
    "p10": 10,
    "p25": 25,
    "p50": 50,
    "p75": 75,
    "p90": 90,
    "p95": 95,
    "p99": 99,
    "p99p9": 99.9,
}
SECONDS, PER_TOKEN, TOKENS_PER_S, QUERIES_PER_S, COUNT = "s", "s/token", "tokens/s", "queries/s", "count"


def llm_d_report(simulated: Simulated) -> dict[str, Any]:
    """The report: the stack, the load, and statistics over all finished requests and sessions.

    Nothing has a date. Raises SpecError where no request was finished.
    """
    sample = Sample.of(simulated)
    return {
        "version": SCHEMA_VERSION,
        "run": _run(simulated),
        "scenario": {"stack": list(_stack(simulated)), "load": _load(simulated, sample)},
        "results": {
            "request_performance": {"aggregate": _requests(simulated, sample)},
            **_sessions(simulated),
            "observability": {TOOL: simulated.mark, **_observed(simulated)},
        },
    }


def _run(simulated: Simulated) -> dict[str, Any]:
    mark = simulated.mark
    return {
        "uid": sha256_of(mark),
        "eid": mark["scenario_sha256"],
        "time": {"duration": f"PT{simulated.summary['duration_s']}S"},
        "description": f"Simulated by {TOOL} {__version__}, not measured: {simulated.scenario.name}",
        "keywords": ["simulated", TOOL],
    }


def _stack(simulated: Simulated) -> Iterator[dict[str, Any]]:
    """One component for each kind of replicas."""
    for number, group in enumerate(simulated.scenario.fleet):
        config = simulated.mark | {"scenario": as_file(group)}
        yield {
            "metadata": {
                "label": _label(number),
                "cfg_id": sha256_of(config),
                "description": f"Simulated by {TOOL} {__version__}",
            },
            "standardized": _engine(group),
            "native": {"config": config},
        }


def _label(number: int) -> str:
    return f"{TOOL}-replicas-{number}"


def _engine(group: Scenario) -> dict[str, Any]:
    ranks = group.deployment.ranks
    return {
        "kind": "inference_engine",
        "tool": TOOL,
        "tool_version": __version__,
        "role": "replica",
        "replicas": group.deployment.replicas,
        "model": {"name": group.model.name},
        "accelerator": {
            "model": group.hardware.name,
            "count": ranks,
            "parallelism": {
                "tp": group.deployment.tensor_parallel,
                "dp": 1,
                "dp_local": 1,
                "workers": 1,
                "ep": 1,
                "pp": 1,
            },
        },
    }


def _load(simulated: Simulated, sample: Sample) -> dict[str, Any]:
    workload = simulated.scenario.workload
    config = simulated.mark | {"workload": workload.model_dump(mode="json", exclude_none=True)}
    turns = {"distribution": "fixed", "value": workload.rounds} if isinstance(workload, Sessions) else None
    standardized = {
        "tool": TOOL,
        "tool_version": __version__,
        "source": "sampled" if isinstance(workload, Trace) else "random",
        "input_seq_len": _lengths(sample.requests["prompt_tokens"]),
        "output_seq_len": _lengths(sample.requests["output_tokens"]),
        "multi_turn": None if turns is None else {"enabled": True, "max_turns": turns},
        "rate_qps": request_rate_per_s(simulated),
        "concurrency": users(simulated),
    }
    return {
        "metadata": {"cfg_id": sha256_of(config)},
        "standardized": {key: value for key, value in standardized.items() if value is not None},
        "native": {"config": config},
    }


def _lengths(tokens: np.ndarray) -> dict[str, Any]:
    """Lengths as they were drawn: one value, or the mean of a distribution of no name with its range."""
    least, most = int(np.min(tokens)), int(np.max(tokens))
    if least == most:
        return {"distribution": "fixed", "value": least}
    # The schema wants a greatest length of 1 at least; where lengths differ it is.
    return {"distribution": "other", "value": float(np.mean(tokens)), "min": least, "max": most}


def _requests(simulated: Simulated, sample: Sample) -> dict[str, Any]:
    requests, total = sample.requests, simulated.summary["num_requests"]
    rejected = simulated.summary["rejected_requests"]
    answered = requests["output_tokens"] > 0
    per_token_s = requests["e2e_s"][answered] / requests["output_tokens"][answered]
    duration_s = simulated.summary["duration_s"]
    tokens = sample.input_tokens, sample.output_tokens, sample.input_tokens + sample.output_tokens
    rates = zip(("input_token_rate", "output_token_rate", "total_token_rate"), tokens, strict=True)
    latency = {
        "time_to_first_token": _statistics(sample.ttft_s, SECONDS),
        "normalized_time_per_output_token": _statistics(per_token_s, PER_TOKEN),
        "time_per_output_token": _statistics(sample.tpot_s, PER_TOKEN),
        "inter_token_latency": _statistics(sample.itl_s, PER_TOKEN),
        "request_latency": _statistics(sample.e2e_s, SECONDS),
    }
    return {
        "requests": {
            "total": total,
            "failures": rejected,
            "incomplete": total - rejected - len(requests),
            "input_length": _statistics(requests["prompt_tokens"], COUNT),
            "output_length": _statistics(requests["output_tokens"], COUNT),
        },
        "latency": {name: found for name, found in latency.items() if found is not None},
        "throughput": {name: _mean(amount / duration_s, TOKENS_PER_S) for name, amount in rates}
        | {"request_rate": _mean(len(requests) / duration_s, QUERIES_PER_S)},
    }


def _sessions(simulated: Simulated) -> dict[str, Any]:
    """Of workloads of sessions; requests without any are each a session of their own, which says nothing."""
    table = simulated.sessions.table()
    workload = simulated.scenario.workload
    if not isinstance(workload, Sessions) or not len(table):
        return {}
    whole = int(np.sum(table["turns"] == workload.rounds))
    sessions = {
        "total": len(table),
        "succeeded": whole,
        "total_events_completed": int(np.sum(table["turns"])),
        "session_rate": _mean(simulated.summary["sessions_per_hour"] / SECONDS_PER_HOUR, QUERIES_PER_S),
        "session_duration": _statistics(table["end_s"] - table["start_s"], SECONDS),
        "events_per_session": _statistics(table["turns"], COUNT),
        "input_tokens_per_session": _statistics(table["prompt_tokens"], COUNT),
        "output_tokens_per_session": _statistics(table["output_tokens"], COUNT),
    }
    return {"session_performance": {"sessions": sessions}}


def _observed(simulated: Simulated) -> dict[str, Any]:
    """KV in use, where all replicas are of one kind."""
    if simulated.scenario.others:
        return {}
    used = simulated.summary["kv_used_ratio"]
    usage = {"units": "fraction", "mean": used["mean"], "max": used["peak"]}
    return {"components": [{"component_label": _label(0), "aggregate": {"kv_cache_usage": usage}}]}


def _statistics(values: np.ndarray, units: str) -> dict[str, Any] | None:
    """Mean, deviation of the population, range and quantiles (linear interpolation); None of no values."""
    if not len(values):
        return None
    quantiles = np.percentile(values, list(PERCENTILES.values()))
    return {
        "units": units,
        "mean": float(np.mean(values)),
        "stddev": float(np.std(values)),
        "min": float(np.min(values)),
        **dict(zip(PERCENTILES, quantiles.tolist(), strict=True)),
        "max": float(np.max(values)),
    }


def _mean(value: float, units: str) -> dict[str, Any]:
    return {"units": units, "mean": value}
