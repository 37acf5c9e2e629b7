"""From rows to the summary: latency quantiles, throughput, utilisation, money. Definitions stand in DEFINITIONS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ctxsim.cost import CostModel, accelerators, fleet_usd_per_s
from ctxsim.geometry import BatchTotals
from ctxsim.records import Table
from ctxsim.spec.scenario import Scenario
from ctxsim.units import MILLION, SECONDS_PER_HOUR

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
MSER_BATCH = 5

DEFINITIONS = {
    "ttft_s": "time to first token: first token - arrival",
    "tpot_s": "time per output token: (last - first token) / (output tokens - 1), per request with at least two",
    "itl_s": "inter-token latency: every pause between two tokens of a request, quantiles over tokens",
    "e2e_s": "last token - arrival",
    "queue_s": "first admission - arrival",
    "goodput_requests_per_s": "requests that meet every SLO given, per second; null without an SLO",
    "kv_hit_ratio": "share of prompt tokens computed once before that were found in each tier",
    "kv_used_ratio": "KV blocks taken / KV pool, over time and replicas; within a run of iterations by its two ends",
    "mfu_ratio": "time that the FLOP done take at the dense peaks of their number formats / duration",
    "mbu_ratio": "HBM bytes that had to move / (bandwidth x duration)",
}


def describe(values: np.ndarray) -> dict[str, float | None]:
    """Mean and quantiles (linear interpolation) of a sample; nulls where it is empty."""
    if not len(values):
        return dict.fromkeys(("mean", *QUANTILES))
    points = np.quantile(values, list(QUANTILES.values()))
    return {"mean": float(np.mean(values)), **dict(zip(QUANTILES, map(float, points), strict=True))}


def mser5(series: np.ndarray) -> int:
    """Observations to cut from the start of a series: White's MSER over batches of 5.

    The cut minimises variance / remaining batches over the first half (White, Simulation 69, 1997); 0 for a series
    of fewer than ten batches.
    """
    batches = len(series) // MSER_BATCH
    if batches < 2 * MSER_BATCH:
        return 0
    means = series[: batches * MSER_BATCH].reshape(batches, MSER_BATCH).mean(axis=1)
    left = np.arange(batches, 0, -1)
    totals, squares = np.cumsum(means[::-1])[::-1], np.cumsum((means**2)[::-1])[::-1]
    spread = (squares - totals**2 / left) / left**2
    return int(np.argmin(spread[: batches // 2])) * MSER_BATCH


def gap_quantiles(runs: Table, gaps_s: Sequence[float]) -> dict[str, float | None]:
    """Mean and quantiles over tokens of all pauses between tokens, from runs of iterations, without listing tokens.

    In a run every decoding sequence makes a token an iteration, so iteration k's duration counts ``decoding`` times.
    A quantile is the least pause that at least that share of pauses does not exceed, found by bisection.
    """
    decoding = runs["decoding"] > 0
    weight = runs["decoding"][decoding].astype(float)
    n, first, growth = (runs[name][decoding].astype(float) for name in ("iterations", "first_s", "growth_s"))
    pauses = np.asarray(gaps_s, dtype=float)
    total = float(np.sum(weight * n)) + len(pauses)
    if not total:
        return dict.fromkeys(("mean", *QUANTILES))
    mean = (float(np.sum(weight * (n * first + growth * n * (n - 1) / 2))) + float(np.sum(pauses))) / total

    def share_up_to(pause_s: float) -> float:
        steps = np.where(growth > 0, (pause_s - first) / np.where(growth > 0, growth, 1.0), n)
        counted = np.where(first <= pause_s, np.clip(np.floor(steps) + 1, 0, n), 0)
        return (float(np.sum(weight * counted)) + int(np.count_nonzero(pauses <= pause_s))) / total

    longest = max(float(np.max(first + growth * (n - 1), initial=0.0)), float(np.max(pauses, initial=0.0)))
    return {"mean": mean, **{name: _least(share_up_to, q, longest) for name, q in QUANTILES.items()}}


def _least(share_up_to: Callable[[float], float], share: float, longest_s: float) -> float:
    """The least pause whose share reaches ``share``, to the last bit that bisection can tell."""
    low, high = 0.0, longest_s
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (low, middle) if share_up_to(middle) >= share else (middle, high)
    return high


def work_done(cost: CostModel, runs: Table) -> tuple[float, float]:
    """FLOP and HBM bytes of all runs together; exact, since both are linear within a run."""
    n, batch = runs["iterations"], mean_batches(cost, runs)
    return float(np.sum(n * cost.flop(batch))), float(np.sum(n * cost.hbm_bytes(batch)))


def peak_compute_s(cost: CostModel, runs: Table) -> float:
    """Seconds that the FLOP of all runs take at the peak rates of their number formats, on one replica."""
    batch = mean_batches(cost, runs)
    return float(np.sum(runs["iterations"] * sum(op.flop(batch) / op.flop_per_s for op in cost.operations)))


def mean_batches(cost: CostModel, runs: Table) -> BatchTotals:
    """Each run's batch at its mean iteration, which is the middle one: arrays, a value a run."""
    middle = (runs["iterations"] - 1) / 2
    spans = range(len(cost.spans))
    return BatchTotals(
        sequences=runs["sequences"],
        new_tokens=runs["new_tokens"],
        decode_tokens=runs["decode_tokens"],
        pairs=[runs[f"pairs_{i}"] + middle * runs[f"pairs_growth_{i}"] for i in spans],
        pairs_growth=[0.0 for _ in spans],
        touched=[runs[f"touched_tokens_{i}"] + middle * runs[f"touched_growth_tokens_{i}"] for i in spans],
        touched_growth=[0.0 for _ in spans],
    )


def kv_used(runs: Table, capacity_bytes: float, replicas: int, duration_s: float) -> dict[str, float]:
    """Mean over time and replicas, and peak, of the share of the KV pool that is taken."""
    n = runs["iterations"]
    run_s = n * runs["first_s"] + runs["growth_s"] * n * (n - 1) / 2
    held = float(np.sum(run_s * (runs["kv_start_bytes"] + runs["kv_end_bytes"]) / 2))
    peak = float(np.max(runs["kv_end_bytes"], initial=0.0))
    mean = held / (capacity_bytes * replicas * duration_s) if duration_s else 0.0
    return {"mean": mean, "peak": peak / capacity_bytes if capacity_bytes else 0.0}


def warmup_s(scenario: Scenario, requests: Table) -> float:
    """When counting starts: the scenario's own time, or what MSER-5 on TTFT in arrival order cuts; 0 for traces."""
    warmup = scenario.run.warmup
    if warmup == "none" or (warmup == "auto" and scenario.workload.kind == "trace") or not len(requests):
        return 0.0
    if warmup != "auto":
        return float(warmup)
    order = np.argsort(requests["arrival_s"], kind="stable")
    return float(requests["arrival_s"][order][cut]) if (cut := mser5(requests["ttft_s"][order])) else 0.0


def good_requests(scenario: Scenario, requests: Table) -> np.ndarray:
    """Which requests meet every SLO that is given."""
    slo = scenario.slo
    good = np.ones(len(requests), dtype=bool)
    if slo.ttft is not None:
        good &= requests["ttft_s"] <= slo.ttft
    if slo.tpot is not None:
        good &= ~(requests["tpot_s"] > slo.tpot)
    return good


@dataclass(frozen=True)
class History:
    """What a simulation leaves behind: its tables, pauses that preemptions made as (end, pause), and counts."""

    requests: Table
    runs: Table
    gaps_s: list[tuple[float, float]]
    num_requests: int
    rejected_requests: int
    preemptions: int
    completed_sessions: int


def summarise(scenario: Scenario, cost: CostModel, history: History) -> dict[str, Any]:
    """The summary keys of a simulation.

    Latency is over requests that arrive after the warm-up, throughput over completions after it; utilisation and
    money are over the whole run.
    """
    begin_s = warmup_s(scenario, history.requests)
    end_s = float(np.max(history.requests["finished_s"], initial=0.0))
    return {
        "num_requests": history.num_requests,
        "completed_requests": len(history.requests),
        "rejected_requests": history.rejected_requests,
        "duration_s": end_s,
        "warmup_s": begin_s,
        **_throughput(scenario, history, begin_s, end_s),
        **_latency(history, begin_s),
        **_traffic(history),
        **_utilisation(scenario, cost, history, end_s),
        **_money(scenario, history, end_s),
        "events": len(history.runs) + history.num_requests,
        "iterations": int(np.sum(history.runs["iterations"])),
    }


def _throughput(scenario: Scenario, history: History, begin_s: float, end_s: float) -> dict[str, Any]:
    requests = history.requests
    ended = requests["finished_s"] >= begin_s
    good = good_requests(scenario, requests) & ended
    has_slo = scenario.slo.ttft is not None or scenario.slo.tpot is not None
    window_s = end_s - begin_s
    return {
        "sessions_per_hour": _rate(history.completed_sessions, end_s) * SECONDS_PER_HOUR,
        "requests_per_s": _rate(int(np.count_nonzero(ended)), window_s),
        "output_tokens_per_s": _rate(int(np.sum(requests["output_tokens"][ended])), window_s),
        "goodput_requests_per_s": _rate(int(np.count_nonzero(good)), window_s) if has_slo else None,
    }


def _latency(history: History, begin_s: float) -> dict[str, Any]:
    requests = history.requests
    counted = requests["arrival_s"] >= begin_s
    tpot_s = requests["tpot_s"][counted]
    runs = Table({name: column[history.runs["start_s"] >= begin_s] for name, column in history.runs.columns.items()})
    return {
        "ttft_s": describe(requests["ttft_s"][counted]),
        "tpot_s": describe(tpot_s[~np.isnan(tpot_s)]),
        "itl_s": gap_quantiles(runs, [pause for end_s, pause in history.gaps_s if end_s >= begin_s]),
        "e2e_s": describe(requests["e2e_s"][counted]),
        "queue_s": describe(requests["queue_s"][counted]),
    }


def _traffic(history: History) -> dict[str, Any]:
    """Preemption and cache traffic; no KV is kept between requests in this version, so nothing is swapped or hit."""
    return {
        "preemptions": history.preemptions,
        "swap_in_bytes": 0,
        "swap_out_bytes": 0,
        "recomputed_tokens": int(np.sum(history.requests["recomputed_tokens"])),
        "kv_hit_ratio": {"hbm": 0.0, "host": 0.0, "disk": 0.0},
    }


def _utilisation(scenario: Scenario, cost: CostModel, history: History, end_s: float) -> dict[str, Any]:
    replicas = scenario.deployment.replicas
    _, moved_bytes = work_done(cost, history.runs)
    return {
        "kv_used_ratio": kv_used(history.runs, cost.memory.kv_capacity_bytes, replicas, end_s),
        "mfu_ratio": _rate(peak_compute_s(cost, history.runs), replicas * end_s),
        "mbu_ratio": _rate(moved_bytes, replicas * cost.rates.hbm_bytes_per_s * end_s),
        "link_busy_ratio": 0.0,
    }


def _money(scenario: Scenario, history: History, end_s: float) -> dict[str, Any]:
    bill_usd = fleet_usd_per_s(scenario) * end_s
    outputs = int(np.sum(history.requests["output_tokens"]))
    return {
        "cost_usd_per_session": _per(bill_usd, history.completed_sessions),
        "cost_usd_per_million_output_tokens": _per(bill_usd * MILLION, outputs),
        "gpu_hours": accelerators(scenario) * end_s / SECONDS_PER_HOUR,
    }


def _rate(amount: float, seconds: float) -> float:
    return amount / seconds if seconds > 0 else 0.0


def _per(amount: float, number: int) -> float | None:
    return amount / number if number else None
