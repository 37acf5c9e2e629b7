"""What docs/residency.md shows is held: the cliffs, the ladder, useless and thrashing tiers, thirty scenarios."""

from __future__ import annotations

import sys
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ctxsim.sim.cautions import residency_warnings

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY / "benchmarks"))

import asked_again as asked  # noqa: E402
import thirty  # noqa: E402

WITHIN = 1.02
"""How far from the best fixed policy's cost ``cheapest`` may be."""


@cache
def ttft_when_asked_again_s(documents: int, host_tier: str) -> float:
    """Mean TTFT of documents asked in order three times, from the second time on."""
    requests, _ = asked.ask(asked.engine(8, 30, "swap", host_tier), asked.in_turn(documents, passes=3, gap_s=60))
    return float(requests["ttft_s"][requests["turn"] > 0].mean())


@pytest.mark.parametrize(("host_tier", "cliff"), [("exclusive", 38), ("inclusive", 30)])
def test_cliffs_stand_where_the_tiers_end(host_tier: str, cliff: int) -> None:
    in_hbm = ttft_when_asked_again_s(1, host_tier)
    assert ttft_when_asked_again_s(8, host_tier) == pytest.approx(in_hbm, rel=1e-9)
    from_host = ttft_when_asked_again_s(16, host_tier)
    assert from_host > 5 * in_hbm
    assert ttft_when_asked_again_s(9, host_tier) == pytest.approx(from_host, rel=0.01)
    assert ttft_when_asked_again_s(cliff, host_tier) == pytest.approx(from_host, rel=0.01)
    gone = ttft_when_asked_again_s(64, host_tier)
    assert gone > 5 * from_host
    assert ttft_when_asked_again_s(cliff + 1, host_tier) == pytest.approx(gone, rel=0.01)


def settled_ttft_s(rate_per_s: float, host_documents: int) -> float:
    scenario = asked.engine(12, host_documents, "swap" if host_documents else "recompute")
    requests, _ = asked.ask(scenario, asked.at_random(24, 600, rate_per_s, seed=1))
    return float(requests["ttft_s"][240:].mean())


def test_hbm_alone_saturates_first_and_the_host_tier_later() -> None:
    """Working set twice the pool: at 0.5/s both keep up, at 3/s HBM alone does not, far above both do not."""
    assert settled_ttft_s(0.5, 0) < 2
    assert settled_ttft_s(3.0, 0) > 10 * settled_ttft_s(3.0, 30)
    assert settled_ttft_s(3.0, 30) < 2 * settled_ttft_s(0.5, 30)
    assert settled_ttft_s(40.0, 30) > 10 * settled_ttft_s(3.0, 30)


def host_tier(documents: int, host_documents: int) -> tuple[np.ndarray, list[str]]:
    scenario = asked.engine(8, host_documents, "swap" if host_documents else "recompute")
    requests, cluster = asked.ask(scenario, asked.at_random(documents, 300, rate_per_s=0.5, seed=2))
    transfers = cluster.journal.transfers.table()
    summary = {"swap_out_bytes": float(transfers["moved_bytes"][transfers["source"] == 0].sum())}
    return requests["ttft_s"], list(residency_warnings(scenario, cluster, summary))


def test_a_useless_host_tier_changes_nothing() -> None:
    without, _ = host_tier(6, 0)
    with_host, warnings = host_tier(6, 4)
    assert np.array_equal(without, with_host)
    assert not warnings


def test_a_thrashing_host_tier_says_so() -> None:
    without, _ = host_tier(64, 0)
    with_host, warnings = host_tier(64, 4)
    assert with_host.mean() > 0.9 * without.mean()
    assert any("thrashes" in warning for warning in warnings)


@cache
def told() -> dict[int, list[str]]:
    """The rows of the thirty scenarios in docs/residency.md, by seed."""
    page = (REPOSITORY / "docs" / "residency.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in page.split("## Thirty")[1].splitlines()]
    return {int(row[0]): row for row in rows if row[0].isdigit()}


def ratios(policy: str) -> list[float]:
    """A policy's cost by scenario, over that of the best fixed policy."""
    column = thirty.POLICIES.index(policy) - len(thirty.POLICIES)
    return [float(row[column]) for row in told().values()]


@pytest.mark.parametrize("seed", range(thirty.SCENARIOS))
def test_cheapest_is_near_the_best_fixed_policy(seed: int) -> None:
    """Each scenario is run again, and is what the page says."""
    costs = thirty.dollars({policy: thirty.run((seed, policy)) for policy in (*thirty.FIXED, "cheapest")})
    best = thirty.best_fixed(costs)
    assert costs["cheapest"] <= WITHIN * costs[best]
    assert told()[seed][-6:-1] == [best, *(f"{costs[p] / costs[best]:.3f}" for p in (*thirty.FIXED, "cheapest"))]


def test_no_fixed_policy_is_best_everywhere_and_cheapest_beats_each_on_average() -> None:
    best = Counter(row[-6] for row in told().values())
    assert sum(best.values()) == thirty.SCENARIOS
    assert thirty.SCENARIOS - max(best.values()) >= 10
    assert all(np.mean(ratios("cheapest")) < np.mean(ratios(policy)) for policy in thirty.FIXED)
