"""Latency: mean and quantiles of a sample, and which requests meet the SLO."""

from __future__ import annotations

import numpy as np

from ctxsim.records import Records
from ctxsim.spec.scenario import Scenario

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


def describe(values: np.ndarray) -> dict[str, float | None]:
    """Mean and quantiles (linear interpolation) of a sample; nulls where it is empty."""
    if not len(values):
        return dict.fromkeys(("mean", *QUANTILES))
    points = np.quantile(values, list(QUANTILES.values()))
    return {"mean": float(np.mean(values)), **dict(zip(QUANTILES, map(float, points), strict=True))}


def good_requests(scenario: Scenario, requests: Records) -> np.ndarray:
    """Which requests meet every SLO that is given."""
    slo = scenario.slo
    good = np.ones(len(requests), dtype=bool)
    if slo.ttft is not None:
        good &= requests["ttft_s"] <= slo.ttft
    if slo.tpot is not None:
        good &= ~(requests["tpot_s"] > slo.tpot)
    return good
