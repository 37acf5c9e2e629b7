"""Explanations and cost curves for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType

from ctxsim.analysis.account import Used
from ctxsim.analysis.session_cost import CAUSES
from ctxsim.cli.views.tables import grid, heading, paragraph
from ctxsim.explore.cost_curve import CostPoint, findings
from ctxsim.explore.explain import DEFINITIONS, QUANTITIES, Explanation, at_own_load, meaning
from ctxsim.human import human
from ctxsim.reporting.names import factor_words
from ctxsim.spec.scenario import Scenario

PERCENT = 100
NOISE = 1e-15
"""Dollars or seconds that are what rounding makes of nothing."""

LABELS = {"kv_bytes": "KV bytes", "quadratic_flop": "quadratic FLOP", "rest": "the rest", "none": "nobody"}


def explain_keys(found: Explanation) -> dict[str, Any]:
    """The explanation as JSON."""
    return {
        "feasible": found.infeasible_reason is None,
        "infeasible_reason": found.infeasible_reason,
        "context": meaning(found.scenario),
        "context_tokens": found.base_tokens,
        "against_tokens": found.against_tokens,
        "finding": found.finding,
        "total": _sides(found.base.total, found.against.total),
        "without_kv": _sides(found.base.without_kv, found.against.without_kv),
        "by_cause": {one: _part(found, found.base.by_cause(one), found.against.by_cause(one)) for one in CAUSES},
        "by_quantity": {
            one: _part(found, found.base.by_quantity(one), found.against.by_quantity(one)) for one in QUANTITIES
        },
        "kv_bytes_last_ratio": found.kv_last_ratio,
        "rows": found.rows,
        "at_own_load": at_own_load(found.scenario),
        "simulated": None if found.simulated is None else {"rows": found.simulated.rows},
        "definitions": DEFINITIONS,
    }  # fmt: skip


def _sides(base: Used, against: Used) -> dict[str, float]:
    extra = base - against
    return {
        "base_usd": base.usd, "against_usd": against.usd, "extra_usd": extra.usd,
        "base_s": base.seconds, "against_s": against.seconds, "extra_s": extra.seconds,
    }  # fmt: skip


def _part(found: Explanation, base: Used, against: Used) -> dict[str, float | None]:
    return {**_sides(base, against), "extra_ratio": found.ratio(base - against)}


def explain_view(found: Explanation, work: Sequence[str]) -> Iterator[RenderableType]:
    """The finding, the waterfall as a table, the limit, and where asked for simulations and the arithmetic."""
    yield paragraph(f"{found.finding[0].upper()}{found.finding[1:]}.")
    yield heading(f"A session over {found.base_tokens:,} tokens ({meaning(found.scenario)}) at full load")
    yield _table(found)
    last = found.kv_last_ratio
    if last is not None:
        yield paragraph(
            "Causes are left out in this order; with the query-key pairs left out first KV bytes would have "
            f"{last * PERCENT:.1f} %."
        )
    load = at_own_load(found.scenario)
    yield paragraph(
        f"At the scenario's own load, idle accelerators included, analyze has "
        f"{human('n_usd', load['cost_usd_per_session'])} a session at least (what binds: {load['bottleneck']})."
    )
    if found.simulated is not None:
        yield from _simulated(found)
    if work:
        yield heading("Arithmetic")
        yield "\n".join(work)


def _table(found: Explanation) -> RenderableType:
    """A row a quantity, and their total, then the limit; a column a cause."""
    rows = [_row(one, [_cell(found, one, cause) for cause in CAUSES], found) for one in QUANTITIES]
    causes = [found.base.by_cause(cause) - found.against.by_cause(cause) for cause in CAUSES]
    table = grid(("extra", *(LABELS[cause] for cause in CAUSES), "USD", "seconds", "share"), rows, ("extra",))
    table.add_section()
    table.add_row(*_row("total", causes, found))
    table.add_row(*_row("if KV weighed nothing", [Used(), *causes[1:]], found))
    return table


def _cell(found: Explanation, quantity: str, cause: str) -> Used:
    rows = [row for row in found.rows if (row["quantity"], row["cause"]) == (quantity, cause)]
    return Used(sum(row["extra_s"] for row in rows), sum(row["extra_usd"] for row in rows))


def _row(name: str, cells: Sequence[Used], found: Explanation) -> tuple[str, ...]:
    total = sum(cells, Used())
    ratio = found.ratio(total)
    amounts = (_amount(getattr(cell, found.unit)) for cell in cells)
    share = "-" if ratio is None else f"{ratio * PERCENT:.1f} %"
    return name, *amounts, _amount(total.usd), _amount(total.seconds), share


def _amount(value: float) -> str:
    return f"{value:.4g}" if abs(value) > NOISE else "0"


def _simulated(found: Explanation) -> Iterator[RenderableType]:
    assert found.simulated is not None
    against, base = found.simulated.total_usd
    yield heading("The same from two simulations on the same draws, USD a session of the bill")
    rows = [
        (row["item"], LABELS[row["cause"]], *(_amount(row[f"{side}_usd"]) for side in ("against", "base", "extra")))
        for row in found.simulated.rows
        if row["against_usd"] or row["base_usd"]
    ]
    heads = ("", "cause", f"{found.against_tokens:,} tokens", f"{found.base_tokens:,} tokens", "extra")
    table = grid(heads, rows, ("", "cause"))
    table.add_section()
    table.add_row("total", "", _amount(against), _amount(base), _amount(base - against))
    yield table


def curve_keys(base: Scenario, points: Sequence[CostPoint], fit: bool) -> dict[str, Any]:
    """The curve as JSON."""
    return {
        "context": meaning(base), "fit": fit, "findings": findings(points), "rows": [point.row for point in points],
    }  # fmt: skip


def curve_view(points: Sequence[CostPoint]) -> Iterator[RenderableType]:
    """A table a series, and what is left out, then the findings."""
    for series in dict.fromkeys(point.series for point in points):
        mine = [point for point in points if point.series == series]
        yield heading(f"{series.hardware}, techniques: {series.stack}")
        heads = ("tokens", "replica", "USD", "USD/1K more", "KV bytes", "quadratic", "follows most")
        priced = [_curve_row(point) for point in mine if point.cost is not None]
        if priced:
            yield grid(heads, priced, ("replica", "follows most"), wrapped=("follows most",))
        yield from (paragraph(line) for line in _left_out(mine))
    yield heading("Findings")
    yield from (paragraph(f"{line}.") for line in findings(points))


def _curve_row(point: CostPoint) -> tuple[str, ...]:
    cost, scenario = point.cost, point.scenario
    assert cost is not None
    assert scenario is not None
    shares = (cost.by_cause(cause).usd / (cost.total.usd or 1.0) for cause in ("kv_bytes", "quadratic_flop"))
    marginal = "-" if point.marginal_usd is None else _amount(point.marginal_usd)
    replica = f"{scenario.deployment.tensor_parallel} x {scenario.serving.weight_dtype}"
    amounts = (_amount(cost.total.usd), marginal, *(f"{share * PERCENT:.1f} %" for share in shares))
    return f"{point.context_tokens:,}", replica, *amounts, _follows(point)


def _follows(point: CostPoint) -> str:
    """The two numbers that the cost follows most, prices left out."""
    return ", ".join(f"{factor_words(name)} {slope:+.2f}" for name, slope in point.follows[:2]) or "-"


def _left_out(points: Sequence[CostPoint]) -> Iterator[str]:
    """Contexts that were refused or do not fit, those of one reason together."""
    reasons: dict[str, list[str]] = {}
    for point in points:
        if point.cost is None:
            reasons.setdefault(f"{point.status}: {point.reason}", []).append(f"{point.context_tokens:,}")
    yield from (f"{', '.join(contexts)} tokens: {reason}" for reason, contexts in reasons.items())
