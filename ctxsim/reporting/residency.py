"""What became of KV between turns: found, copied, computed again, and what that cost beside the bound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ctxsim.reporting.blocks import Column, Sheet
from ctxsim.sim import Simulation

FOUND = {"hbm": "found in HBM", "host": "found in host memory", "disk": "found on disk"}
PAID_FOR = {
    "hold_hbm_usd": "KV idle in HBM, or on its way: its share of the pool",
    "hold_host_usd": "KV in host memory",
    "hold_disk_usd": "KV on disk",
    "recompute_usd": "the replica, while what was lost is computed again",
}
TRAFFIC = {"swap_out_bytes": "copied out of HBM", "swap_in_bytes": "copied into HBM"}
HELD = {"hbm_idle": "idle in HBM, mean", "host": "in host memory, mean", "disk": "on disk, mean"}


def residency(simulation: Simulation) -> list[Sheet]:
    """What turns found, what was moved and held for that, and what it cost.

    Nothing where nothing was computed that could have been kept.
    """
    reusable = int(np.sum(simulation.requests["reusable_tokens"]))
    if not reusable:
        return []
    summary = simulation.summary
    return [_found(summary["kv_hit_ratio"], reusable), _moved(summary), _costs(summary["gap_cost_usd"])]


def _found(hit_ratio: Mapping[str, float], reusable: int) -> Sheet:
    lost = max(0.0, 1.0 - sum(hit_ratio.values()))
    shares = {name: hit_ratio[tier] for tier, name in FOUND.items()} | {"computed again": lost}
    columns = (Column("what", "", words=True), Column("share_ratio", "share"), Column("tokens", "tokens"))
    rows = [[name, share, round(share * reusable)] for name, share in shares.items()]
    title = f"What prompts found of {reusable:,} tokens that had been computed once before"
    return Sheet("kv_found", title, columns, rows)


def _moved(summary: Mapping[str, Any]) -> Sheet:
    rows = [[name, summary[key]] for key, name in TRAFFIC.items()]
    rows += [[name, summary["kv_tier_bytes"][tier]] for tier, name in HELD.items()]
    columns = (Column("what", "", words=True), Column("kv_bytes", "KV"))
    return Sheet("kv_moved", "What was moved and held for that", columns, rows)


def _costs(costs: Mapping[str, Any]) -> Sheet:
    rows = [[name, costs[key]] for key, name in PAID_FOR.items()]
    rows.append(["all gaps", costs["total_usd"]])
    if costs["bound_usd"] is not None:
        bound = f"contention-free bound of {costs['gaps']:,} gaps: each the cheapest of hold, swap, recompute"
        rows += [[bound, costs["bound_usd"]], ["above the bound", costs["regret_usd"]]]
    columns = (Column("what", "", words=True), Column("gaps_usd", "cost"))
    return Sheet("kv_costs", "What the gaps between turns cost", columns, rows)
