"""What becomes of idle sessions, shown: policies on the running example, documents asked again, a ladder of rates.

Usage: python benchmarks/residency.py [--workers N] > docs/residency.md
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import asked_again as asked
import numpy as np
import thirty

from ctxsim import analysis
from ctxsim.records import Table
from ctxsim.sim import simulate
from ctxsim.sim.cautions import residency_warnings
from ctxsim.spec.scenario import Scenario, load_scenario

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

Row = Sequence[Any]


def table(header: Sequence[str], rows: Sequence[Row]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def number(value: float | None, digits: int = 4) -> str:
    """A number for people; none where there is none."""
    return "-" if value is None else f"{value:.{digits}g}"


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
    return [model, f"{ranks} x {hardware}", f"{tokens:,}", number(swap), number(recompute), f"{swap / recompute:.3f}", ahead]


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
    header = ["seed", "model", "machine", "document", "think time", "users", "host memory", "best fixed", *thirty.POLICIES]
    told = ", ".join(f"{policy} {count}" for policy, count in best.most_common())
    paid = ", ".join(f"{policy} {np.mean(gaps[policy] / least):.3f}" for policy in thirty.POLICIES)
    return (
        f"{table(header, rows)}\n\nBest fixed policy: {told}.\n\nWhat the gaps cost (see above), as a mean ratio to the "
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
    print(PAGE.format(**done, thirty=thirty_scenarios(workers)))


PAGE = """# What becomes of idle sessions

Generated by `python benchmarks/residency.py`; every number is simulated at `fidelity: peak`, with its seed. The same on
every machine.

## Policies on the running example

A session is a document, five rounds of 100-token questions (none in the paper's form) and 250-token answers, and 60 s of
reading after each. `bound` is the closed form's bound on sessions per hour under that policy. What the gaps between
turns cost is what idle sessions hold (HBM by its share of the replica's price, host memory at its own price) and what is
computed again; the contention-free bound pays for each gap the least of holding it, swapping it and computing it again,
known beforehand and alone.

{examples}

## Where swap beats recompute, and where it does not

Six users, HBM for 2.2 sessions, five rounds, exponential think times of 2 s on average, 120 sessions. Swapping moves
bytes over the host link, computing again does FLOP: fast machines with little attention sharing and short contexts tip
the scale.

{break_evens}

## Documents asked about again

Llama-3.1-8B on one A100, documents of 16,000 tokens, HBM for 8 of them and host memory for 30, asked one at a time in
order, three times over, least recently used out first. With exclusive tiers HBM and host memory add up (cliffs at 8 and
38 documents), with inclusive ones host memory holds what HBM holds (cliffs at 8 and 30).

{cliffs}

## A ladder of rates at twice the pool

24 documents, HBM for 12, Poisson arrivals for any of them, 1,500 requests of 64-token answers; host memory has room for
30. A rate is past saturation where fewer are served than come.

{ladder}

## A host tier that is useless, and one that thrashes

HBM for 8 documents, host memory for 4 more, half a request a second for any of so many documents.

{host_tiers}

## Thirty random scenarios

USD of the fleet per session, as a ratio to the best fixed policy of the scenario (`benchmarks/thirty.py` draws them from
a seed each: machine, document, rounds, think time, users, pool, host memory, cost of a copy's descriptors). Without host
memory `swap` is `recompute`, and counts as that.

{thirty}
"""


if __name__ == "__main__":
    main()
