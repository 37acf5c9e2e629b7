"""The residency map held against simulation at points drawn by seeds, on several machines; cases as they come.

Usage: python benchmarks/residency_check.py [--workers N] > docs/residency_check.md
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from shown import number, table

from ctxsim.explore.executors import Executor, local
from ctxsim.explore.residency import residency_map
from ctxsim.explore.residency.check import Checked, check_map
from ctxsim.spec.scenario import load_scenario

PAGE = Path(__file__).parent / "residency_check_page.md"
EXAMPLE = "yi-34b-50k-a100"

H100 = {
    "model": "llama-3.1-70b", "hardware": "h100-80gb-sxm", "deployment.tensor_parallel": 4,
    "serving.max_model_len": 131_072,
}  # fmt: skip
DEAR = {"price.host_memory": "0.04 USD/GiB/hour"}


class Case(NamedTuple):
    """So many points of the running example with these changes, drawn by a seed."""

    title: str
    seed: int
    points: int
    changes: dict[str, Any]


CASES = (
    *(Case("Yi-34B-200K on two A100", seed, 20, {}) for seed in (2, 3)),
    Case("Llama-3.1-70B on four H100", 2, 12, H100),
    Case("Yi-34B-200K on two A100, host memory ten times as dear", 2, 12, DEAR),
    *(Case("Yi-34B-200K on two A100", seed, 20, {}) for seed in (0, 1)),
)
"""The running example at several seeds, and other machines and prices."""

HEADER = ("context", "idle, s", "map", "second / first", "keep, USD", "swap, USD", "recompute, USD", "same",
          "found / map", "late, s", "iteration, s", "sessions")  # fmt: skip


def row(one: Checked) -> list[str]:
    """A point: who wins, and what may make the difference."""
    chosen = one.found[one.choice]
    return [
        f"{one.context_tokens:,}", number(one.idle_s), one.choice, f"{one.margin_ratio:.2f}",
        *(number(one.found[name].gaps_usd) if name in one.found else "-" for name in ("keep", "swap", "recompute")),
        "yes" if one.agrees else f"**{one.cheapest}, {_above(one, 'gaps_usd')}**",
        f"{chosen.gaps_usd / one.expected_usd[one.choice]:.3f}",
        number(chosen.waited_s, 3), number(chosen.iteration_s, 3),
        "yes" if one.bill_agrees else f"{one.cheapest_bill}, {_above(one, 'session_usd')}",
    ]  # fmt: skip


def _above(one: Checked, name: str) -> str:
    """How much more the map's choice costs than the cheapest."""
    least = min(getattr(found, name) for found in one.found.values())
    return f"+{getattr(one.found[one.choice], name) / least - 1:.1%}"


def section(case: Case, executor: Executor) -> tuple[str, list[str]]:
    """A case's table, and its line of the summary."""
    points = check_map(residency_map(load_scenario(EXAMPLE, case.changes)), case.points, case.seed, executor)
    same, sessions = sum(one.agrees for one in points), sum(one.bill_agrees for one in points)
    told = f"Of {len(points)} points {same} agree by gaps, {sessions} by sessions; {errors(points)}."
    text = f"## {case.title}, seed {case.seed}\n\n{told}\n\n{table(HEADER, [row(one) for one in points])}\n"
    worst = max((_above(one, "gaps_usd") for one in points), key=lambda above: float(above.strip("+%")))
    return text, [case.title, str(case.seed), f"{same} / {len(points)}", f"{sessions} / {len(points)}", worst]


def errors(points: Sequence[Checked]) -> str:
    """The largest standard error of any cost."""
    gaps = [(one.gaps_error_usd or 0.0) / one.gaps_usd for point in points for one in point.found.values()]
    bills = [(one.session_error_usd or 0.0) / one.session_usd for point in points for one in point.found.values()]
    return f"largest standard error {max(gaps):.1%} of gaps, {max(bills):.1%} of sessions"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    executor = local(parser.parse_args().workers)
    print(PAGE.read_text(encoding="utf-8"), flush=True)
    summary = []
    for case in CASES:
        text, line = section(case, executor)
        summary.append(line)
        print(text, flush=True)
    print("## All cases\n")
    print(
        table(("scenario", "seed", "same by gaps", "by sessions", "map's choice above the cheapest, at most"), summary)
    )


if __name__ == "__main__":
    main()
