"""A simulation's results as ``vllm bench serve --save-result`` writes those of a server.

Definitions as there (vllm/benchmarks/serve.py, vLLM 0.33): over all finished requests, quantiles by linear
interpolation, deviations of the population; seconds in lists, milliseconds in summaries.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ctxsim.interop.sample import Sample, burstiness, request_rate_per_s, users
from ctxsim.interop.simulated import TOOL, Simulated
from ctxsim.metrics.latency import good_requests
from ctxsim.units import DIMENSIONS

MS_PER_S = 1 / DIMENSIONS["seconds"].units["ms"]
PERCENTILES = (50, 90, 95, 99)


def vllm_bench_result(simulated: Simulated, detailed: bool = False) -> dict[str, Any]:
    """The result; ``detailed``: with a list for each quantity, an entry a finished request (``--save-detailed``).

    ``itls_equal``: how many requests had their gaps divided equally, since a simulation does not keep them (see
    `TokenGaps`). Nothing has a date. Raises SpecError where no request was finished.
    """
    sample = Sample.of(simulated)
    result = {**_about(simulated), **_counts(simulated, sample), **_latencies(sample)}
    result["itls_equal"] = sample.gaps.equal
    return result | _lists(sample) if detailed else result


def _about(simulated: Simulated) -> dict[str, Any]:
    scenario = simulated.scenario
    rate_per_s = request_rate_per_s(simulated)
    return {
        "date": None,
        "endpoint_type": TOOL,
        "backend": TOOL,
        "label": scenario.name,
        "model_id": scenario.model.name,
        "tokenizer_id": None,
        "num_prompts": simulated.summary["num_requests"],
        **simulated.mark,
        "request_rate": "inf" if rate_per_s is None and users(simulated) is not None else rate_per_s,
        "burstiness": burstiness(simulated),
        "max_concurrency": users(simulated),
    }


def _counts(simulated: Simulated, sample: Sample) -> dict[str, Any]:
    duration_s = simulated.summary["duration_s"]
    done = len(sample.requests)
    slo = simulated.scenario.slo
    good = int(np.sum(good_requests(simulated.scenario, sample.requests)))
    return {
        "duration": duration_s,
        "completed": done,
        "failed": simulated.summary["num_requests"] - done,
        "total_input_tokens": sample.input_tokens,
        "total_output_tokens": sample.output_tokens,
        "request_throughput": done / duration_s,
        "request_goodput": None if slo.ttft is None and slo.tpot is None else good / duration_s,
        "output_throughput": sample.output_tokens / duration_s,
        "total_token_throughput": (sample.input_tokens + sample.output_tokens) / duration_s,
        "max_output_tokens_per_s": sample.most_tokens_per_s(),
        "max_concurrent_requests": sample.most_at_once(),
    }


def _latencies(sample: Sample) -> dict[str, float]:
    found: dict[str, float] = {}
    samples = {"ttft": sample.ttft_s, "tpot": sample.tpot_s, "itl": sample.itl_s, "e2el": sample.e2e_s}
    for name, seconds in samples.items():
        # Where there is no value (answers of one token) vLLM writes 0.
        ms = seconds * MS_PER_S if len(seconds) else np.zeros(1)
        found[f"mean_{name}_ms"] = float(np.mean(ms))
        found[f"median_{name}_ms"] = float(np.median(ms))
        found[f"std_{name}_ms"] = float(np.std(ms))
        found |= {f"p{p}_{name}_ms": float(np.percentile(ms, p)) for p in PERCENTILES}
    return found


def _lists(sample: Sample) -> dict[str, list[Any]]:
    requests = sample.requests
    nothing = [""] * len(requests)
    return {
        "input_lens": requests["prompt_tokens"].tolist(),
        "output_lens": requests["output_tokens"].tolist(),
        "start_times": requests["arrival_s"].tolist(),
        "ttfts": sample.ttft_s.tolist(),
        "itls": [gaps_s.tolist() for gaps_s in sample.gaps.gaps_s],
        "latencies": sample.e2e_s.tolist(),
        "queue_times": [0.0] * len(requests),  # at the client, which sends at once
        "generated_texts": nothing,
        "errors": nothing,
    }
