"""A scenario served by the torch engine against its prediction: latencies of requests, and copies of sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ctxsim.engine import HBM, HOST
from ctxsim.validate.page import Section

MEAN_TARGET = 0.08
P90_TARGET = 0.15
"""Relative errors that a mean and a 90th percentile should have at most."""

JUDGED = ("ttft_s", "tpot_s", "swap_in_s", "swap_out_s")
"""What the targets are of; end-to-end latency stands beside them."""

LATENCIES = ("ttft_s", "tpot_s", "e2e_s")
SWAPS = {"swap_in_s": (HOST, HBM), "swap_out_s": (HBM, HOST)}

COLUMNS = (
    "quantity: of requests, or of copies of a session's KV from the first byte to the last; count: how many the engine "
    "had; mean, p90: measured, predicted, and predicted / measured - 1; single: mean of |predicted / measured - 1| "
    "request by request (copies: sorted by size and time)."
)

Tables = Mapping[str, pd.DataFrame]
"""``requests`` and ``transfers``, with the columns in ctxsim.records."""


def served_errors(measured: Tables, predicted: Tables) -> pd.DataFrame:
    """One row a quantity that the engine had: mean and p90 measured and predicted, and their errors."""
    requests = [table["requests"].sort_values("request") for table in (measured, predicted)]
    rows = [_row(name, *(table[name].to_numpy(float) for table in requests)) for name in LATENCIES]
    for name, tiers in SWAPS.items():
        found = [_copies_s(table["transfers"], *tiers) for table in (measured, predicted)]
        if len(found[0]):
            rows.append(_row(name, *found))
    return pd.DataFrame(rows)


def within_targets(table: pd.DataFrame, mean_ratio: float = MEAN_TARGET, p90_ratio: float = P90_TARGET) -> bool:
    """Whether every judged quantity's mean and p90 are as near as that."""
    judged = table[table["quantity"].isin(JUDGED)]
    means, tails = judged["mean_error_ratio"].abs(), judged["p90_error_ratio"].abs()
    return bool((means <= mean_ratio).all() and (tails <= p90_ratio).all())


def served_sections(table: pd.DataFrame, words: str) -> list[Section]:
    """The page of one run; ``words``: what was run, where and when."""
    missed = [
        f"{row['quantity']} {label} {row[f'{label}_error_ratio']:+.1%}"
        for row in table.to_dict("records")
        for label, target in (("mean", MEAN_TARGET), ("p90", P90_TARGET))
        if row["quantity"] in JUDGED and not abs(row[f"{label}_error_ratio"]) <= target
    ]
    verdict = f"Outside the targets: {', '.join(missed)}." if missed else "All within the targets."
    targets = f"Targets for TTFT, TPOT and swaps: mean within {MEAN_TARGET:.0%}, p90 within {P90_TARGET:.0%}."
    return [Section("Prediction against the engine", f"{words} {targets} {verdict} {COLUMNS}", table)]


def _row(name: str, measured: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    row: dict[str, Any] = {"quantity": name, "count": len(measured), "count_predicted": len(predicted)}
    for label, statistic in (("mean", np.nanmean), ("p90", _p90)):
        ours, theirs = (float(statistic(values)) if len(values) else np.nan for values in (measured, predicted))
        row |= {f"{label}_measured_s": ours, f"{label}_predicted_s": theirs, f"{label}_error_ratio": theirs / ours - 1}
    alike = len(measured) == len(predicted)
    row["single_mape_ratio"] = float(np.nanmean(np.abs(predicted / measured - 1))) if alike else np.nan
    return row


def _p90(values: np.ndarray) -> float:
    return float(np.nanpercentile(values, 90))


def _copies_s(transfers: pd.DataFrame, source: int, target: int) -> np.ndarray:
    """Seconds of each copy between two tiers."""
    there = transfers[(transfers["source"] == source) & (transfers["target"] == target)]
    there = there.sort_values(["moved_bytes", "start_s"])
    return (there["end_s"] - there["start_s"]).to_numpy(float)
