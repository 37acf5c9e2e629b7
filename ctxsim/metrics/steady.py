"""Whether a run reached a steady state: what to cut from its start, and whether enough of it is left."""

from __future__ import annotations

import numpy as np

from ctxsim.records import Records
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import Requests, Sessions

MSER_BATCH = 5

FEWEST_BATCHES = 10
"""Below this, means of batches say little about how far they scatter (Schmeiser, Operations Research 30, 1982)."""

FEWEST_SESSIONS = 10

TREND_SCORE = 29
"""Kendall's score of ten numbers in random order is at least this, up or down, once in 109 times: 16,599 of the 10!
orders reach it upwards (Kendall, Biometrika 30, 1938)."""

ROUNDING = 1e-7
"""Differences of this share of the median are not taken for differences: times are sums of many terms."""


def mser5(series: np.ndarray) -> int:
    """Observations to cut from the start of a series: White's MSER over batches of 5.

    The cut minimises variance / remaining batches over the first half (White, Simulation 69, 1997); 0 for a series
    of fewer than ten batches.
    """
    batches = len(series) // MSER_BATCH
    if batches < FEWEST_BATCHES:
        return 0
    means = series[: batches * MSER_BATCH].reshape(batches, MSER_BATCH).mean(axis=1)
    left = np.arange(batches, 0, -1)
    totals, squares = np.cumsum(means[::-1])[::-1], np.cumsum((means**2)[::-1])[::-1]
    spread = ((squares - totals**2 / left) / left**2)[: batches // 2]
    equal = (ROUNDING * np.median(means)) ** 2 / batches
    return int(np.argmax(spread <= np.min(spread) + equal)) * MSER_BATCH


def warmup_s(scenario: Scenario, requests: Records) -> float:
    """When counting starts: the scenario's own time, or what MSER-5 on TTFT in arrival order cuts; 0 for traces."""
    warmup = scenario.run.warmup
    if warmup == "none" or (warmup == "auto" and scenario.workload.kind == "trace") or not len(requests):
        return 0.0
    if warmup != "auto":
        return float(warmup)
    arrival_s, ttft_s = _in_order_of_arrival(requests)
    return float(arrival_s[cut]) if (cut := mser5(ttft_s)) else 0.0


def too_short_warning(scenario: Scenario, requests: Records, completed_sessions: int) -> str | None:
    """What to say of a run that is too short for its numbers to be those of a steady state; None where it is not.

    Only of workloads that could have one, not of traces. It is too short where TTFT in arrival order leaves fewer than
    ten batches of five after the warm-up; where the cut of MSER-5 is at its limit or next to it, as the least of a
    series that drifts is (White, Cobb and Spratt, Proc. Winter Simulation Conference, 2000); where ten batches of
    what is left still have a trend by Kendall's score; or where users who hold sessions finished fewer than ten.
    """
    workload = scenario.workload
    if not isinstance(workload, Requests | Sessions):
        return None
    if isinstance(workload, Sessions):
        longer = "raise run.horizon or workload.num_sessions"
        if workload.users is not None and completed_sessions < FEWEST_SESSIONS:
            return _warning(f"{completed_sessions} sessions were finished, fewer than {FEWEST_SESSIONS}", longer)
    else:
        longer = "raise workload.num_requests"
    arrival_s, ttft_s = _in_order_of_arrival(requests)
    automatic = scenario.run.warmup == "auto"
    counted = ttft_s if automatic else ttft_s[arrival_s >= warmup_s(scenario, requests)]
    cut = mser5(counted)
    left = counted[cut:] if automatic else counted
    if len(left) < FEWEST_BATCHES * MSER_BATCH:
        least = FEWEST_BATCHES * MSER_BATCH
        return _warning(f"{len(left)} requests are left after the warm-up, fewer than {least}", longer)
    if _at_limit(cut, len(counted)) or _has_trend(left):
        return _warning("TTFT drifts to the end of the run", f"{longer}, or lower the load: an overload never settles")
    return None


def _warning(reason: str, remedy: str) -> str:
    return f"run too short for a steady state: {reason}; {remedy}"


def _in_order_of_arrival(requests: Records) -> tuple[np.ndarray, np.ndarray]:
    arrival_s = requests["arrival_s"]
    order = np.argsort(arrival_s, kind="stable")
    return arrival_s[order], requests["ttft_s"][order]


def _at_limit(cut: int, length: int) -> bool:
    """Whether a cut is the last or the last but one that MSER-5 looks at."""
    return cut // MSER_BATCH >= length // MSER_BATCH // 2 - 2


def _has_trend(series: np.ndarray) -> bool:
    """Whether the means of ten batches rise, or fall, more often than chance would have it."""
    size = len(series) // FEWEST_BATCHES
    means = series[len(series) - FEWEST_BATCHES * size :].reshape(FEWEST_BATCHES, size).mean(axis=1)
    earlier, later = np.triu_indices(FEWEST_BATCHES, 1)
    rise = means[later] - means[earlier]
    differ = np.abs(rise) > ROUNDING * np.median(means)
    return abs(int(np.sum(np.sign(rise[differ])))) >= TREND_SCORE
