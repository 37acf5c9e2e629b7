"""What became of KV between turns: found, copied, computed again, and what that cost beside the bound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ctxsim.sim import Simulation
from ctxsim.units import show

FOUND = {"hbm": "found in HBM", "host": "found in host memory", "disk": "found on disk"}
PAID_FOR = {
    "hold_hbm_usd": "KV idle in HBM, or on its way: its share of the pool",
    "hold_host_usd": "KV in host memory",
    "hold_disk_usd": "KV on disk",
    "recompute_usd": "the replica, while what was lost is computed again",
}
TRAFFIC = {"swap_out_bytes": "copied out of HBM", "swap_in_bytes": "copied into HBM"}
HELD = {"hbm_idle": "idle in HBM", "host": "in host memory", "disk": "on disk"}


class Residency(NamedTuple):
    """Rows of name and value: what turns found, what was moved and held for that, and what it cost."""

    found: list[tuple[str, str]]
    moved: list[tuple[str, str]]
    costs: list[tuple[str, str]]


def residency(simulation: Simulation) -> Residency | None:
    """The rows of a simulation; None where nothing was computed that could have been kept."""
    reusable = int(np.sum(simulation.requests["reusable_tokens"]))
    if not reusable:
        return None
    summary = simulation.summary
    return Residency(_found(summary["kv_hit_ratio"], reusable), _moved(summary), _costs(summary["gap_cost_usd"]))


def _found(hit_ratio: Mapping[str, float], reusable: int) -> list[tuple[str, str]]:
    lost = max(0.0, 1.0 - sum(hit_ratio.values()))
    rows = [(name, f"{hit_ratio[tier]:.2%}") for tier, name in FOUND.items()]
    return [("prompt tokens computed once before", f"{reusable:,}"), *rows, ("computed again", f"{lost:.2%}")]


def _moved(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    held = [(f"{name}, mean", show(summary["kv_tier_bytes"][tier], "bytes")) for tier, name in HELD.items()]
    moved = [(name, show(summary[key], "bytes")) for key, name in TRAFFIC.items()]
    return [*moved, ("host links busy", f"{summary['link_busy_ratio']:.2%}"), *held]


def _costs(costs: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [(name, _usd(costs[key])) for key, name in PAID_FOR.items()]
    rows.append(("all gaps", _usd(costs["total_usd"])))
    if costs["bound_usd"] is None:
        return rows
    bound = f"contention-free bound of {costs['gaps']:,} gaps: each the cheapest of hold, swap, recompute"
    return [*rows, (bound, _usd(costs["bound_usd"])), ("above the bound", _usd(costs["regret_usd"]))]


def _usd(amount: float) -> str:
    return f"{amount:.4g} USD"
