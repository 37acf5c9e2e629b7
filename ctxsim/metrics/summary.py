"""The summary of a simulation from its rows. Definitions stand in DEFINITIONS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ctxsim.cost import CostModel, accelerators
from ctxsim.metrics.gaps import gap_quantiles, pauses_since
from ctxsim.metrics.latency import describe, good_requests
from ctxsim.metrics.money import MONEY_DEFINITIONS, Upkeep, group_bill, money
from ctxsim.metrics.split import BusyTime
from ctxsim.metrics.steady import too_short_warning, warmup_s
from ctxsim.metrics.utilisation import GroupRuns, kv_used, peak_compute_s, work_done
from ctxsim.records import Records
from ctxsim.spec.scenario import Scenario
from ctxsim.units import SECONDS_PER_HOUR

HBM = 0
"""The tier's number in the columns ``source`` and ``target`` of transfers."""

HELD_IN = ("hbm_idle", "host", "disk")

DEFINITIONS = {
    "too_short": "no steady state in sight: fewer than ten batches of five requests (or, of users who hold sessions, "
    "ten sessions) after the warm-up, MSER-5's cut at its limit, or TTFT with a trend over ten batches; "
    "stationary workloads only",
    "ttft_s": "time to first token: first token - arrival",
    "tpot_s": "time per output token: (last - first token) / (output tokens - 1), per request with at least two",
    "itl_s": "inter-token latency: every pause between two tokens of a request, quantiles over tokens",
    "e2e_s": "last token - arrival",
    "queue_s": "first admission - arrival",
    "goodput_requests_per_s": "requests that meet every SLO given, per second; null without an SLO",
    "swap_in_bytes": "KV copied into HBM, from host memory or disk",
    "swap_out_bytes": "KV copied out of HBM",
    "recomputed_tokens": "tokens computed again: lost in preemptions, or computed once before and not found",
    "kv_hit_ratio": "share of prompt tokens computed once before that were found in each tier",
    "kv_used_ratio": "KV blocks taken / KV pool, over time and replicas; within a run of iterations by its two ends",
    "kv_tier_bytes": "KV of sessions not being served in HBM, and KV in host memory and on disk: mean over time, "
    "all replicas together",
    "mfu_ratio": "time that the FLOP done take at the dense peaks of their number formats / duration",
    "mbu_ratio": "HBM bytes that had to move / (bandwidth x duration)",
    "link_busy_ratio": "share of time with a copy over the host link under way, mean of the replicas",
    **MONEY_DEFINITIONS,
}
"""What keys of a summary mean; those of nested numbers are dotted."""


@dataclass(frozen=True)
class History:
    """What a simulation leaves behind.

    requests, runs, transfers, gaps: rows of the columns in ctxsim.records, in any order; gaps are the pauses between
    two tokens of a request that no run tells of. link_busy_s: time with a copy over the host link under way.
    Summed over replicas. others: the costs of further groups of replicas, which are numbered after the scenario's own.
    upkeep, busy: of each group, the scenario's own first. session_usd: what each completed session was charged.
    """

    requests: Records
    runs: Records
    transfers: Records
    gaps: Records
    num_requests: int
    rejected_requests: int
    preemptions: int
    session_usd: np.ndarray
    link_busy_s: float
    upkeep: Sequence[Upkeep]
    busy: Sequence[BusyTime]
    others: Sequence[CostModel] = ()

    @property
    def completed_sessions(self) -> int:
        """Sessions that had all their turns."""
        return len(self.session_usd)


def summarise(scenario: Scenario, cost: CostModel, history: History) -> dict[str, Any]:
    """The summary keys of a simulation.

    Latency is over requests that arrive after the warm-up, throughput over completions after it; utilisation, cache
    traffic and money are over the whole run.
    """
    begin_s = warmup_s(scenario, history.requests)
    end_s = float(np.max(history.requests["finished_s"], initial=0.0))
    too_short = too_short_warning(scenario, history.requests, history.completed_sessions)
    return {
        "num_requests": history.num_requests,
        "completed_requests": len(history.requests),
        "rejected_requests": history.rejected_requests,
        "duration_s": end_s,
        "warmup_s": begin_s,
        "too_short": too_short is not None,
        **_throughput(scenario, history, begin_s, end_s),
        **_latency(history, begin_s),
        **_traffic(history),
        **_utilisation(scenario, cost, history, end_s),
        **_money(scenario, cost, history, end_s),
        "events": len(history.runs) + len(history.transfers) + history.num_requests,
        "iterations": sum(int(np.sum(part["iterations"])) for part in history.runs.parts()),
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
    return {
        "ttft_s": describe(requests["ttft_s"][counted]),
        "tpot_s": describe(tpot_s[~np.isnan(tpot_s)]),
        "itl_s": gap_quantiles(history.runs, pauses_since(history.gaps, begin_s), begin_s),
        "e2e_s": describe(requests["e2e_s"][counted]),
        "queue_s": describe(requests["queue_s"][counted]),
    }


def _traffic(history: History) -> dict[str, Any]:
    """Preemptions, copies between tiers, and what was found of the tokens computed once before."""
    requests = history.requests
    reusable = int(np.sum(requests["reusable_tokens"]))
    hits = {tier: int(np.sum(requests[f"{tier}_hit_tokens"])) for tier in ("hbm", "host", "disk")}
    swapped_in, swapped_out = 0.0, 0.0
    for part in history.transfers.parts():
        swapped_in += float(np.sum(part["moved_bytes"][part["target"] == HBM]))
        swapped_out += float(np.sum(part["moved_bytes"][part["source"] == HBM]))
    return {
        "preemptions": history.preemptions,
        "swap_in_bytes": swapped_in,
        "swap_out_bytes": swapped_out,
        "recomputed_tokens": int(np.sum(requests["recomputed_tokens"])) + reusable - sum(hits.values()),
        "kv_hit_ratio": {tier: _per(found, reusable) or 0.0 for tier, found in hits.items()},
    }


def _utilisation(scenario: Scenario, cost: CostModel, history: History, end_s: float) -> dict[str, Any]:
    groups = list(groups_of(scenario, [cost, *history.others], history.runs))
    replicas = sum(runs.replicas for _, runs in groups)
    held_byte_s = Upkeep.total(history.upkeep).held_byte_s
    hbm_s = sum(work_done(cost, runs)[1] / cost.rates.hbm_bytes_per_s for cost, runs in groups)
    return {
        "kv_used_ratio": _kv_used(groups, end_s),
        "kv_tier_bytes": {tier: _rate(held, end_s) for tier, held in zip(HELD_IN, held_byte_s, strict=True)},
        "mfu_ratio": _rate(sum(peak_compute_s(cost, runs) for cost, runs in groups), replicas * end_s),
        "mbu_ratio": _rate(hbm_s, replicas * end_s),
        "link_busy_ratio": _rate(history.link_busy_s, replicas * end_s),
    }


def groups_of(scenario: Scenario, costs: Sequence[CostModel], runs: Records) -> Iterator[tuple[CostModel, GroupRuns]]:
    """Every group of replicas: its costs and its runs."""
    first = 0
    for group, cost in zip(scenario.fleet, costs, strict=True):
        replicas = group.deployment.replicas
        yield cost, GroupRuns(runs, first, replicas)
        first += replicas


def _kv_used(groups: Sequence[tuple[CostModel, GroupRuns]], end_s: float) -> dict[str, float]:
    """The share of all pools that is taken, mean over time, and the peak of the fullest."""
    pools = [cost.memory.kv_capacity_bytes * runs.replicas for cost, runs in groups]
    used = [kv_used(runs, cost.memory.kv_capacity_bytes, runs.replicas, end_s) for cost, runs in groups]
    mean = sum(share["mean"] * pool for share, pool in zip(used, pools, strict=True)) / sum(pools)
    return {"mean": mean, "peak": max(share["peak"] for share in used)}


def _money(scenario: Scenario, cost: CostModel, history: History, end_s: float) -> dict[str, Any]:
    groups = zip([cost, *history.others], history.busy, history.upkeep, strict=True)
    bills = [group_bill(cost, busy, upkeep, end_s) for cost, busy, upkeep in groups]
    found = money(scenario, bills, history.requests, history.session_usd, end_s)
    return {
        "cost_usd_per_session": found["per_session_usd"]["total"],
        "cost_usd_per_million_output_tokens": found["per_million_output_tokens_usd"]["total"],
        "gpu_hours": accelerators(scenario) * end_s / SECONDS_PER_HOUR,
        "money": found,
    }


def _rate(amount: float, seconds: float) -> float:
    return amount / seconds if seconds > 0 else 0.0


def _per(amount: float, number: int) -> float | None:
    return amount / number if number else None
