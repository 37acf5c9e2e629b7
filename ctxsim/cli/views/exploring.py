"""Comparisons and sweeps for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import RenderableType

from ctxsim.cli.views.tables import grid, heading, paragraph
from ctxsim.explore import Comparison, Difference, Sweep
from ctxsim.human import human
from ctxsim.spec.scenario import Scenario

DIFFERENCES = (
    "concurrent_sessions", "prefill_s", "decode_step_s", "switch_s", "sessions_per_hour_bound", "sessions_per_hour",
    "ttft_mean_s", "ttft_p95_s", "tpot_p95_s", "cost_usd_per_session", "cost_usd_per_million_output_tokens",
)  # fmt: skip
"""The differences that a reader sees; all of them are in the JSON."""

POINTS = {
    "simulate": {
        "sessions_per_hour": "sessions", "ttft_p95_s": "TTFT\np95", "tpot_p95_s": "TPOT\np95",
        "cost_usd_per_session": "USD a\nsession",
    },
    "analyze": {
        "concurrent_sessions": "sessions\nat once", "prefill_s": "prefill", "decode_step_s": "decode\nstep",
        "switch_s": "switch", "sessions_per_hour_bound": "sessions,\nbound", "cost_usd_per_session": "USD a\nsession",
    },
}  # fmt: skip
"""The numbers of points that a reader sees, and their heads; all of them are in the table on disk."""

MOST_ROWS = 40


def whatif_keys(comparisons: Sequence[Comparison], by: str) -> dict[str, Any]:
    """Comparisons as JSON."""
    return {"by": by, "changes": [_comparison_keys(comparison) for comparison in comparisons]}


def _comparison_keys(comparison: Comparison) -> dict[str, Any]:
    return {
        "change": comparison.change,
        "feasible": comparison.infeasible_reason is None,
        "infeasible_reason": comparison.infeasible_reason,
        "scenario_sha256": comparison.scenario.sha256,
        "runs": comparison.runs,
        "why": comparison.why,
        "quantities": {
            name: {"base": base, "changed": changed} for name, (base, changed) in comparison.quantities.items()
        },
        "bottleneck": {"base": comparison.bottlenecks[0], "changed": comparison.bottlenecks[1]},
        "differences": {name: asdict(d) | {"difference_ratio": d.ratio} for name, d in comparison.differences.items()},
    }


def whatif_view(base: Scenario, comparisons: Sequence[Comparison]) -> Iterator[RenderableType]:
    """A table for each change, and why."""
    yield paragraph(f"{base.name}: {base.model.name} on {base.hardware.name}; {_runs(comparisons[0].runs)}")
    for comparison in comparisons:
        yield heading(comparison.change)
        yield paragraph(comparison.why)
        if comparison.infeasible_reason is not None:
            yield paragraph(f"infeasible: {comparison.infeasible_reason}")
            continue
        found = comparison.differences
        rows = [_difference_cells(name, found[name]) for name in DIFFERENCES if name in found]
        yield grid(("", "base", "changed", "difference", "share", "interval"), rows, ("",), wrapped=("",))


def sweep_view(sweep: Sweep, by: str) -> Iterator[RenderableType]:
    """The points with their main numbers, at most so many, then where all are."""
    keys = [key for key, _ in sweep.points[0]]
    columns = {name: head for name, head in POINTS[by].items() if any(name in row for row in sweep.rows)}
    rows = [_point_cells(row, keys, list(columns)) for row in sweep.rows[:MOST_ROWS]]
    heads = [key.replace(".", ".\n") for key in keys]
    yield grid(("", *heads, *columns.values(), "status"), rows, (*heads, "status"))
    if len(sweep.rows) > MOST_ROWS:
        yield f"... and {len(sweep.rows) - MOST_ROWS:,} points more"
    for status in dict.fromkeys(row["status"] for row in sweep.rows):
        if status != "ok":
            yield from _reasons(sweep, status)
    known = f", {sweep.known:,} of them known from before" if sweep.known else ""
    yield f"\n{len(sweep.rows):,} points{known}; every number of each is in {sweep.folder}/points.parquet"


def _runs(runs: int) -> str:
    if not runs:
        return "in closed form"
    if runs == 1:
        return "one run of base and change each, so without intervals"
    return f"means of {runs} runs of base and change each on the same draws, differences with 95 % intervals"


def _difference_cells(name: str, d: Difference) -> tuple[str, ...]:
    ratio = "" if d.ratio is None else f"{d.ratio:+.1%}"
    interval = "-" if d.half_width is None else f"\u00b1 {human(name, d.half_width)}"
    return name, human(name, d.base), human(name, d.changed), _signed(name, d.difference), ratio, interval


def _signed(name: str, value: float) -> str:
    return f"{'-' if value < 0 else '+'}{human(name, abs(value))}"


def _point_cells(row: Mapping[str, Any], keys: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    values = (human(name, row.get(name)).removesuffix(" USD") for name in columns)
    return str(row["point"]), *(str(row[key]) for key in keys), *values, row["status"]


def _reasons(sweep: Sweep, status: str) -> Iterator[RenderableType]:
    """Every reason of that status, with the points it holds for."""
    points: dict[str, list[int]] = {}
    for row in sweep.rows:
        if row["status"] == status:
            points.setdefault(row["reason"] or "not answered yet", []).append(row["point"])
    for reason, numbers in points.items():
        listed = ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")
        yield paragraph(f"{status}, points {listed}: {reason}")
