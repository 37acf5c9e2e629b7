"""What becomes of idle sessions, shown: policies on the running example, documents asked again, a ladder of rates.

Usage: python benchmarks/residency.py [--workers N] > docs/residency.md
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import asked_again as asked
import numpy as np
import thirty
from shown import number, table

from ctxsim import analysis
from ctxsim.records import Table
from ctxsim.sim import simulate
from ctxsim.sim.cautions import residency_warnings
from ctxsim.spec.scenario import load_scenario

PAGE = Path(__file__).parent / "residency_page.md"

EXAMPLES = {
    "one A100, as the paper counts it (80 GiB, no overheads)": ("paper-34b-50k", {}),
    "two A100 80GB, tensor parallel": ("yi-34b-50k-a100", {}),
}
BREAK_EVEN = (
    ("yi-34b-200k", "a100-80gb-sxm", 2, (4_000, 16_000, 50_000)),
    ("llama-3.1-8b", "h100-80gb-sxm", 1, (4_000, 16_000, 50_000)),
    ("llama-2-7b", "h100-80gb-sxm", 1, (1_000, 2_000, 3_500)),
    ("llama-2-7b", "b200-sxm", 1, (1_000, 2_000, 3_500)),
)
DOCUMENTS = (1, 4, 8, 9, 16, 30, 31, 32, 38, 39, 64)
RATES_PER_S = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
GIGABYTE = 1e9


def example(order: tuple[str, dict[str, Any], str]) -> list[str]:
    """One policy on the running example, and the closed-form bound beside it."""
    name, overrides, policy = order
    scenario = load_scenario(name, {**overrides, "serving.residency": policy})
    found = simulate(scenario).summary
    bound = analysis.analyze(scenario).keys["sessions_per_hour_bound"]
    gap = found["gap_cost_usd"]
    hits = found["kv_hit_ratio"]
    return [
        policy,
        number(found["sessions_per_hour"]),
        number(bound),
        number(found["cost_usd_per_session"], 3),
        number(found["ttft_s"]["mean"]),
        number(found["swap_out_bytes"] / GIGABYTE),
        number(found["swap_in_bytes"] / GIGABYTE),
        f"{hits['hbm']:.3f}",
        f"{hits['host']:.3f}",
        number(gap["total_usd"]),
        number(gap["bound_usd"]),
        number(gap["regret_usd"]),
    ]


def examples(pool: ProcessPoolExecutor) -> str:
    parts = []
    header = ["policy", "sessions/hour", "bound", "USD/session", "mean TTFT, s", "GB out", "GB in", "hit in HBM",
              "hit in host", "gaps cost, USD", "contention-free bound, USD", "regret, USD"]  # fmt: skip
    for title, (name, overrides) in EXAMPLES.items():
        rows = pool.map(example, [(name, overrides, policy) for policy in thirty.POLICIES])
        parts.append(f"Twenty users of 50K tokens on {title}:\n\n{table(header, list(rows))}")
    return "\n\n".join(parts)


def break_even(order: tuple[str, str, int, int]) -> list[str]:
    """Swap beside recompute where three sessions share room for two."""
    model, hardware, ranks, tokens = order
    found = {}
    for policy in ("swap", "recompute"):
        overrides = {
            "model": model,
            "hardware": hardware,
            "deployment.tensor_parallel": ranks,
            "serving.max_model_len": max(4_096, tokens + 1_000),
            "serving.num_gpu_blocks_override": int(2.2 * (tokens + 500) / 16),
            "serving.residency": policy,
            "workload.users": 6,
            "workload.document_tokens": tokens,
            "workload.rounds": 5,
            "workload.question_tokens": 20,
            "workload.answer_tokens": 50,
            "workload.think_time": {"kind": "exponential", "mean": "2 s"},
            "workload.num_sessions": 120,
        }
        found[policy] = simulate(load_scenario("yi-34b-50k-a100", overrides)).summary
    swap, recompute = (found[policy]["sessions_per_hour"] for policy in ("swap", "recompute"))
    ahead = "swap" if swap > recompute else "recompute"
    return [
        model,
        f"{ranks} x {hardware}",
        f"{tokens:,}",
        number(swap),
        number(recompute),
        f"{swap / recompute:.3f}",
        ahead,
    ]


def break_evens(pool: ProcessPoolExecutor) -> str:
    orders = [(*machine, tokens) for *machine, contexts in BREAK_EVEN for tokens in contexts]
    header = ["model", "machine", "document tokens", "swap, sessions/hour", "recompute", "ratio", "ahead"]
    return table(header, list(pool.map(break_even, orders)))


def cliff(documents: int) -> list[str]:
    row = [str(documents)]
    for host_tier in ("exclusive", "inclusive"):
        requests, _ = asked.ask(asked.engine(8, 30, "swap", host_tier), asked.in_turn(documents, passes=3, gap_s=60))
        again = requests["turn"] > 0
        row.append(number(requests["ttft_s"][again].mean()))
    return row


def cliffs(pool: ProcessPoolExecutor) -> str:
    header = ["documents", "exclusive: TTFT when asked again, s", "inclusive, s"]
    return table(header, list(pool.map(cliff, DOCUMENTS)))


def rung(rate_per_s: float) -> list[str]:
    row = [number(rate_per_s)]
    for host_documents in (0, 30):
        scenario = asked.engine(12, host_documents, "swap" if host_documents else "recompute")
        requests, _ = asked.ask(scenario, asked.at_random(24, 1_500, rate_per_s, seed=1))
        row += [number(x) for x in ladder_numbers(requests)]
    return row


def ladder_numbers(requests: Table) -> tuple[float, float, float]:
    """Mean and 99 % quantile of TTFT, and requests served per request that came; the first 40 % warm the tiers up."""
    settled = slice(2 * len(requests) // 5, None)
    ttft_s, arrival_s, finished_s = (requests[name][settled] for name in ("ttft_s", "arrival_s", "finished_s"))
    return ttft_s.mean(), float(np.quantile(ttft_s, 0.99)), float(np.ptp(arrival_s) / np.ptp(np.sort(finished_s)))


def ladder(pool: ProcessPoolExecutor) -> str:
    header = ["requests/s"]
    for tiers in ("HBM only", "HBM and host"):
        header += [f"{tiers}: mean TTFT, s", "p99, s", "served / asked"]
    return table(header, list(pool.map(rung, RATES_PER_S)))


def host_tier(documents: int) -> list[str]:
    """The same questions with a host tier and without one."""
    questions = asked.at_random(documents, 600, rate_per_s=0.5, seed=2)
    found = []
    for host_documents in (0, 4):
        scenario = asked.engine(8, host_documents, "swap" if host_documents else "recompute")
        requests, cluster = asked.ask(scenario, questions)
        found.append((requests["ttft_s"], scenario, cluster))
    (without, _, _), (with_host, scenario, cluster) = found
    transfers = cluster.journal.transfers.table()
    summary = {"swap_out_bytes": float(transfers["moved_bytes"][transfers["source"] == 0].sum())}
    warnings = " ".join(residency_warnings(scenario, cluster, summary)) or "none"
    same = "the very same times" if np.array_equal(without, with_host) else f"{with_host.mean() / without.mean():.3f} x"
    return [str(documents), number(without.mean()), number(with_host.mean()), same, warnings]


def host_tiers(pool: ProcessPoolExecutor) -> str:
    header = ["documents", "TTFT without host tier, s", "with room for 4 more, s", "with / without", "warning"]
    return table(header, list(pool.map(host_tier, (6, 10, 16, 64))))


def thirty_scenarios(workers: int) -> str:
    found = thirty.results(range(thirty.SCENARIOS), workers)
    rows, best, ratios = [], Counter[str](), {policy: [] for policy in thirty.POLICIES}
    for seed, by_policy in found.items():
        costs = thirty.dollars(by_policy)
        first = thirty.best_fixed(costs)
        best[first] += 1
        for policy in thirty.POLICIES:
            ratios[policy].append(costs[policy] / costs[first])
        rows.append([*thirty.describe(seed), first, *(f"{ratios[p][-1]:.3f}" for p in thirty.POLICIES)])
    rows.append(["mean", *[""] * 7, *(f"{np.mean(ratios[p]):.4f}" for p in thirty.POLICIES)])
    rows.append(["worst", *[""] * 7, *(f"{max(ratios[p]):.3f}" for p in thirty.POLICIES)])
    gaps = {policy: [by[policy]["gap_cost_usd"]["total_usd"] for by in found.values()] for policy in thirty.POLICIES}
    least = np.min([gaps[policy] for policy in thirty.FIXED], axis=0)
    header = [
        "seed",
        "model",
        "machine",
        "document",
        "think time",
        "users",
        "host memory",
        "best fixed",
        *thirty.POLICIES,
    ]
    told = ", ".join(f"{policy} {count}" for policy, count in best.most_common())
    paid = ", ".join(f"{policy} {np.mean(gaps[policy] / least):.3f}" for policy in thirty.POLICIES)
    return (
        f"{table([*header, *thirty.POLICIES], rows)}\n\nBest fixed policy: {told}.\n\n"
        "What the gaps cost (see above), as a mean ratio to the "
        f"fixed policy of least gap cost: {paid}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    workers = parser.parse_args().workers
    parts: dict[str, Callable[[ProcessPoolExecutor], str]] = {
        "examples": examples, "break_evens": break_evens, "cliffs": cliffs, "ladder": ladder, "host_tiers": host_tiers,
    }  # fmt: skip
    with ProcessPoolExecutor(workers) as pool:
        done = {name: make(pool) for name, make in parts.items()}
    print(PAGE.read_text(encoding="utf-8").format(**done, thirty=thirty_scenarios(workers)), end="")


if __name__ == "__main__":
    main()
