"""What a reader must know about tiers that do not do what one would expect of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ctxsim.cost.working_set import OFFLOADS
from ctxsim.sim.cluster import Cluster
from ctxsim.spec.scenario import Scenario
from ctxsim.units import show

THRASH_RATIO = 0.5
"""More than half of what was swapped out is given up before it is asked for: the copies are mostly in vain."""


def residency_warnings(scenario: Scenario, cluster: Cluster, summary: dict[str, Any]) -> Iterator[str]:
    """Warnings of tiers that thrash, that are not there, or that are not used."""
    serving = scenario.serving
    if serving.residency in OFFLOADS and not serving.host_kv_capacity:
        yield (
            f"serving.residency: {serving.residency} has no host memory to swap to (serving.host_kv_capacity is 0 B): "
            "what leaves HBM is computed again"
        )
    lost_bytes = sum(station.core.cache.holdings.stores.lost_bytes for station in cluster.stations)
    swapped_out_bytes = summary["swap_out_bytes"]
    if lost_bytes > THRASH_RATIO * swapped_out_bytes > 0:
        yield (
            f"the host tier thrashes: of {show(swapped_out_bytes, 'bytes')} swapped out, {show(lost_bytes, 'bytes')} "
            "were given up again before anyone asked for them; the working set is larger than HBM and "
            "serving.host_kv_capacity together"
        )
