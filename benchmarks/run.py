"""How fast the simulator is: each case in a process of its own, macro beside single stepping.

Usage: python benchmarks/run.py [--markdown] [--million] [--traces DIRECTORY]. Times are of this machine; compare the
ratios. ``--million`` adds a run of a million sessions, which takes a quarter of an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RUNS = 3
REPOSITORY = Path(__file__).resolve().parent.parent
MEBIBYTE_IN_KIB = 1024


@dataclass(frozen=True)
class Case:
    """One simulation. single: beside single stepping too; spool: its rows go to disk; runs: how often."""

    scenario: str
    overrides: dict[str, Any] = field(default_factory=dict)
    single: bool = False
    spool: bool = False
    runs: int = RUNS


def chat(single: bool = True, **workload: Any) -> Case:
    """Llama-3.1-8B on one A100 80GB, 2,048 tokens in, 256 out, 2 requests/s unless the case says otherwise."""
    return Case("llama-8b-chat", {f"workload.{name}": value for name, value in workload.items()}, single)


LONG = {"prompt_tokens": 100_000, "output_tokens": 512, "arrival": {"kind": "poisson", "rate": "0.05 /s"}}
CASES: dict[str, Case] = {
    "1,000 of 2,048 in, 256 out": chat(),
    "16,000 of 2,048 in, 256 out": chat(single=False, num_requests=16_000),
    "1,000 of 2,048 in, 512 out": chat(output_tokens=512),
    "1,000 of 2,048 in, 1,024 out": chat(output_tokens=1_024),
    "1,000 of 2,048 in, 4,096 out": chat(output_tokens=4_096),
    "1,000 of 100,000 in, 512 out, 0.05/s": chat(**LONG),
    "running example: 20 users of 50K, swapped, 4 h": Case("yi-34b-50k-a100"),
    "10,000 sessions of 5 rounds on 8 replicas": Case("million-sessions", {"workload.num_sessions": 10_000}),
}
MILLION = {"1,000,000 sessions of 5 rounds on 8 replicas": Case("million-sessions", spool=True, runs=1)}
DOUBLED = ("1,000 of 2,048 in, 256 out", "1,000 of 2,048 in, 512 out", "1,000 of 2,048 in, 1,024 out")


def mooncake(trace: Path) -> dict[str, Case]:
    """The replay of the trace, each prompt computed in full and with prefixes shared."""
    replay = {"workload.trace": str(trace)}
    in_full = {"serving.enable_prefix_caching": False, "deployment.router": "round_robin"}
    return {
        "Mooncake, 12,031 requests, 70B on 4 x TP 4 H100": Case("mooncake-replay", replay | in_full),
        "the same, prefixes shared, prefix-aware router": Case("mooncake-replay", replay),
    }


def measure(scenario_name: str, overrides: dict[str, Any], stepping: str, spool: bool) -> dict[str, float]:
    """One simulation in this process: seconds of the simulation itself, what it did, and peak memory."""
    from ctxsim.sim import simulate
    from ctxsim.spec.scenario import load_scenario

    scenario = load_scenario(scenario_name, overrides)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        result = simulate(scenario, stepping=stepping, spool=Path(folder) if spool else None)  # type: ignore[arg-type]
        wall_s = time.perf_counter() - began
        return {
            "wall_s": wall_s,
            "requests": result.summary["completed_requests"],
            "output_tokens": int(result.requests["output_tokens"].sum()),
            "events": result.summary["events"],
            "iterations": result.summary["iterations"],
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEBIBYTE_IN_KIB,
        }


def in_process(case: Case, stepping: str) -> dict[str, float]:
    """``measure`` in a fresh process."""
    order = json.dumps([case.scenario, case.overrides, stepping, case.spool])
    command = [sys.executable, __file__, "--measure", order]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=REPOSITORY)
    return json.loads(done.stdout)


def row(name: str, case: Case) -> list[str]:
    """One case: the median macro run, and the ratio to single stepping run in turn with it."""
    macro, ratios = [], []
    for _ in range(case.runs):
        macro.append(in_process(case, "macro"))
        if case.single:
            ratios.append(in_process(case, "single")["wall_s"] / macro[-1]["wall_s"])
    run = sorted(macro, key=lambda m: m["wall_s"])[len(macro) // 2]
    return [
        name,
        f"{run['wall_s']:.2f}",
        f"{run['requests'] / run['wall_s']:,.0f}",
        f"{run['output_tokens'] / run['wall_s']:,.0f}",
        f"{run['events']:,.0f}",
        f"{run['events'] / run['requests']:.2f}",
        f"{run['iterations'] / run['events']:.1f}",
        f"{statistics.median(ratios):.1f}" if ratios else "",
        f"{run['peak_mib']:.0f}",
    ]


HEADS = [
    "case",
    "wall s",
    "requests/s",
    "output tokens/s",
    "events",
    "events/request",
    "iterations/event",
    "single / macro",
    "peak MiB",
]


def doubling() -> str:
    """What twice the answer costs, runs in turn so that the machine's moods cancel."""
    seconds: dict[str, list[float]] = {name: [] for name in DOUBLED}
    for _ in range(2 * RUNS + 1):
        for name in DOUBLED:
            seconds[name].append(in_process(CASES[name], "macro")["wall_s"])
    short, middle, long = (statistics.median(seconds[name]) for name in DOUBLED)
    return (
        f"Twice the answer: 512 over 256 tokens {middle / short:.2f} x the time, 1,024 over 512 {long / middle:.2f} x."
    )


def closed_form() -> str:
    """Speed of the closed form: one scenario at a time, and a grid."""
    import numpy as np

    from ctxsim.analysis import analyze, analyze_grid
    from ctxsim.spec.scenario import load_scenario

    scenario = load_scenario("yi-34b-50k-a100")
    analyze(scenario)
    began = time.perf_counter()
    for _ in range(200):
        analyze(scenario)
    each_ms = (time.perf_counter() - began) / 200 * 1000
    contexts = np.linspace(1_000, 1_000_000, 200_000)
    began = time.perf_counter()
    analyze_grid(scenario, document_tokens=contexts)
    points_per_s = len(contexts) / (time.perf_counter() - began)
    return f"analyze: {each_ms:.2f} ms a scenario; analyze_grid: {points_per_s:,.0f} points/s."


def sweeping(points: int = 1_000) -> str:
    """A sweep of short simulations: two workers against one, runs in turn, and the same sweep asked again."""
    from ctxsim.explore import Sweep, parse_axis, sobol_points, sweep
    from ctxsim.explore.executors import local
    from ctxsim.spec.scenario import scenario_document

    document = scenario_document("llama-8b-chat", {"workload.num_requests": 300})
    settings = sobol_points([parse_axis("workload.arrival.rate=0.5 /s:8 /s")], points, 0)

    def timed(workers: int, folder: Path) -> tuple[float, Sweep]:
        began = time.perf_counter()
        found = sweep(document, settings, executor=local(workers), folder=folder)
        return time.perf_counter() - began, found

    with tempfile.TemporaryDirectory() as place:
        one_s, _ = timed(1, Path(place) / "one")
        two_s, _ = timed(2, Path(place) / "two")
        again_s, again = timed(1, Path(place) / "one")
    assert again.known == points
    return (
        f"Sweep of {points:,} points of 300 requests: {one_s / points * 1000:.1f} ms a point with one worker, "
        f"{one_s / two_s:.2f} x as fast with two; asked again {one_s / again_s:.0f} x."
    )


def processor() -> str:
    """The processor's name, as far as the system says."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def markdown(rows: list[list[str]], notes: list[str]) -> str:
    """``docs/performance.md``."""
    lines = [
        "# Performance",
        "",
        f"Generated by `benchmarks/run.py` on {processor()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}: median of {RUNS} runs (the million: one), each in a process of its own, on one "
        "core. Wall seconds are of the simulation with its summary, without interpreter start and imports. An event is "
        "a run of equal iterations or an arrival. Llama-3.1-8B on one A100 80GB, 2 requests/s unless said; "
        "`single / macro` is the time of taking every iteration one by one over that of jumping, runs in turn. Compare "
        "ratios, not seconds, across machines.",
        "",
        "| " + " | ".join(HEADS) + " |",
        "|---|" + "--:|" * (len(HEADS) - 1),
    ]
    return "\n".join([*lines, *("| " + " | ".join(r) + " |" for r in rows), "", "\n\n".join(notes), ""])


def main() -> None:
    """Runs all cases and prints a row each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--traces", type=Path, default=REPOSITORY.parent / "shared" / "data" / "workloads")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*json.loads(arguments.measure))))
        return
    trace = arguments.traces / "mooncake_conversation.jsonl.gz"
    cases = CASES | (mooncake(trace) if trace.exists() else {}) | (MILLION if arguments.million else {})
    rows = []
    for name, case in cases.items():
        rows.append(row(name, case))
        print("  ".join(f"{head}: {value}" for head, value in zip(HEADS, rows[-1], strict=True)), file=sys.stderr)
    notes = [doubling(), closed_form(), sweeping()]
    print(markdown(rows, notes) if arguments.markdown else "\n".join(notes))


if __name__ == "__main__":
    main()
