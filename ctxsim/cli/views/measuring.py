"""Fits and checks for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from ctxsim.cli.views.tables import grid, heading
from ctxsim.units import show

if TYPE_CHECKING:
    import pandas as pd

PERCENT = 100
SHOWN = ("mean", "p50", "p90", "p99")


def calibration_view(fits: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    """One line a fit: what was fitted, how far left-out shapes lie from it, what the data cannot tell."""
    yield heading("Fits, with the spread of relative errors on shapes that were left out")
    rows = [
        (
            f"{fit['family']} {fit['variant']}", f"{fit['rows']:,}", _percent(fit["spread_ratio"]),
            _percent(fit["spread_growth_ratio"]), ", ".join(fit["not_identified"]) or "-",
        )
        for fit in fits
    ]  # fmt: skip
    yield grid(
        ("fit", "rows", "spread", "growth per e beyond", "not identified"),
        rows,
        ("fit", "not identified"),
        wrapped=("not identified",),
    )


def run_view(table: pd.DataFrame) -> Iterator[RenderableType]:
    """Each latency measured, predicted and its error, as means and quantiles."""
    for row in table.to_dict("records"):
        yield heading(f"{row['latency']}, {row['requests']:,} requests")
        rows = [
            (name, show(row[f"{name}_measured_s"], "seconds"), show(row[f"{name}_predicted_s"], "seconds"),
             f"{row[f'{name}_error_ratio'] * PERCENT:+.1f} %")
            for name in SHOWN
        ]  # fmt: skip
        yield grid(("", "measured", "predicted", "error"), rows, ("",))
        yield f"single requests are off by {_percent(row['request_mape_ratio'])} in the mean"


def _percent(ratio: float) -> str:
    return f"{ratio * PERCENT:.1f} %"
