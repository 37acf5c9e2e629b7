"""How fast the simulator is: each case in a process of its own, macro beside single stepping.

Usage: python benchmarks/run.py [--markdown] [--traces DIRECTORY]. Times are of this machine; compare the ratios.
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
import time
from pathlib import Path
from typing import Any

RUNS = 3
REPOSITORY = Path(__file__).resolve().parent.parent
LONG = {"workload.prompt_tokens": 100_000, "workload.output_tokens": 512, "workload.arrival.rate": "0.05 /s"}
# 8B model on one A100 80GB, 2,048 tokens in, 2 requests/s unless the case says otherwise.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "1,000 of 2,048 in, 256 out": ("llama-8b-chat", {}),
    "4,000 of 2,048 in, 256 out": ("llama-8b-chat", {"workload.num_requests": 4_000}),
    "16,000 of 2,048 in, 256 out": ("llama-8b-chat", {"workload.num_requests": 16_000}),
    "1,000 of 2,048 in, 512 out": ("llama-8b-chat", {"workload.output_tokens": 512}),
    "1,000 of 2,048 in, 1,024 out": ("llama-8b-chat", {"workload.output_tokens": 1_024}),
    "1,000 of 2,048 in, 4,096 out": ("llama-8b-chat", {"workload.output_tokens": 4_096}),
    "1,000 of 100,000 in, 512 out, 0.05/s": ("llama-8b-chat", LONG),
}
SINGLE = {name for name in CASES if name.startswith("1,000")}
MOONCAKE = "Mooncake, 12,031 requests, 70B on 4 x TP 4 H100"
MEBIBYTE_IN_KIB = 1024


def cases(traces: Path | None) -> dict[str, tuple[str, dict[str, Any]]]:
    """The cases that can be run here: the Mooncake replay needs its trace."""
    trace = None if traces is None else traces / "mooncake_conversation.jsonl.gz"
    if trace is None or not trace.exists():
        return CASES
    return CASES | {MOONCAKE: ("mooncake-replay", {"workload.trace": str(trace)})}


def measure(scenario_name: str, overrides: dict[str, Any], stepping: str) -> dict[str, float]:
    """One simulation in this process: seconds of the simulation itself, what it did, and peak memory."""
    from ctxsim.sim import simulate
    from ctxsim.spec.scenario import load_scenario

    scenario = load_scenario(scenario_name, overrides)
    began = time.perf_counter()
    result = simulate(scenario, stepping=stepping)  # type: ignore[arg-type]
    wall_s = time.perf_counter() - began
    return {
        "wall_s": wall_s,
        "requests": result.summary["completed_requests"],
        "output_tokens": int(result.requests["output_tokens"].sum()),
        "events": result.summary["events"],
        "iterations": result.summary["iterations"],
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEBIBYTE_IN_KIB,
    }


def in_process(scenario_name: str, overrides: dict[str, Any], stepping: str) -> dict[str, float]:
    """``measure`` in a fresh process."""
    command = [sys.executable, __file__, "--measure", json.dumps([scenario_name, overrides, stepping])]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=REPOSITORY)
    return json.loads(done.stdout)


def row(name: str, scenario_name: str, overrides: dict[str, Any]) -> list[str]:
    """One case: the median macro run, and the ratio to single stepping run in turn with it."""
    macro, ratios = [], []
    for _ in range(RUNS):
        macro.append(in_process(scenario_name, overrides, "macro"))
        if name in SINGLE:
            ratios.append(in_process(scenario_name, overrides, "single")["wall_s"] / macro[-1]["wall_s"])
    run = sorted(macro, key=lambda m: m["wall_s"])[RUNS // 2]
    return [
        name,
        f"{run['wall_s']:.2f}",
        f"{run['requests'] / run['wall_s']:,.0f}",
        f"{run['output_tokens'] / run['wall_s']:,.0f}",
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
    "events/request",
    "iterations/event",
    "single / macro",
    "peak MiB",
]


def closed_form() -> list[str]:
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
    return [f"analyze: {each_ms:.2f} ms a scenario; analyze_grid: {points_per_s:,.0f} points/s."]


def markdown(rows: list[list[str]]) -> str:
    """``docs/performance.md``."""
    lines = [
        "# Performance",
        "",
        f"Generated by `benchmarks/run.py` on {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}: median of {RUNS} runs, each in a process of its own, on one core. Wall seconds "
        "are of the simulation with its summary, without interpreter start and imports. Llama-3.1-8B on one A100 80GB, "
        "2 requests/s unless said; `single / macro` is the time of taking every iteration one by one over that of "
        "jumping, runs in turn. Compare ratios, not seconds, across machines.",
        "",
        "| " + " | ".join(HEADS) + " |",
        "|---|" + "--:|" * (len(HEADS) - 1),
    ]
    return "\n".join([*lines, *("| " + " | ".join(r) + " |" for r in rows), "", *closed_form(), ""])


def main() -> None:
    """Runs all cases and prints a row each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--traces", type=Path, default=REPOSITORY.parent / "shared" / "data" / "workloads")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*json.loads(arguments.measure))))
        return
    rows = []
    for name, (scenario_name, overrides) in cases(arguments.traces).items():
        rows.append(row(name, scenario_name, overrides))
        print("  ".join(f"{head}: {value}" for head, value in zip(HEADS, rows[-1], strict=True)), file=sys.stderr)
    print(markdown(rows) if arguments.markdown else "\n".join(closed_form()))


if __name__ == "__main__":
    main()
