"""KV in every tier over time, against what there is room for, and who waits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ctxsim.cost import CostModel
from ctxsim.cost.memory import store_bytes
from ctxsim.metrics.occupancy import RUN_NAMES, TRANSFER_NAMES, bin_means, occupancy, of_replica
from ctxsim.reporting.figures import style
from ctxsim.sim import Simulation
from ctxsim.spec.scenario import Scenario

BINS = 600
USES = ("served", "idle", "host", "disk")
BELOW = {"host": ("KV in host memory", style.HOST), "disk": ("KV on disk", style.DISK)}


def memory_figure(simulation: Simulation) -> Figure:
    """HBM by use, host memory and disk where anything lies there, all replicas together, and requests waiting.

    Means over each 600th of the time.
    """
    end_s = simulation.summary["duration_s"]
    edges_s = np.linspace(0.0, end_s, BINS + 1)
    room, means = room_bytes(simulation.scenario), tier_means(simulation, edges_s)
    below = [tier for tier in BELOW if means[tier].any()]
    with rc_context(style.STYLE):
        figure = Figure(figsize=(style.WIDTH, 3.4 + 1.4 * len(below)))
        panels = figure.subplots(2 + len(below), 1, sharex=True, height_ratios=[2] + [1] * (1 + len(below)))
        unit_s, label = style.time_unit(end_s)
        at = edges_s / unit_s
        _stack(panels[0], at, means, room["hbm"])
        for axes, tier in zip(panels[1:-1], below, strict=True):
            _level(axes, at, means[tier], room[tier], *BELOW[tier])
        _waiting(panels[-1], at, simulation, edges_s)
        panels[-1].set_xlim(0, at[-1])
        panels[-1].set_xlabel(label)
    return figure


def room_bytes(scenario: Scenario) -> dict[str, float]:
    """The KV pools of all replicas together, and the host memory and disk set aside for them."""
    total = dict.fromkeys(("hbm", "host", "disk"), 0.0)
    for group, capacity_bytes in _groups(scenario):
        host_bytes, disk_bytes = store_bytes(group)
        for tier, one in zip(total, (capacity_bytes, host_bytes, disk_bytes), strict=True):
            total[tier] += one * group.deployment.replicas
    return total


def tier_means(simulation: Simulation, edges_s: np.ndarray) -> dict[str, np.ndarray]:
    """KV by use, all replicas together: means over the time between these edges."""
    total = {use: np.zeros(len(edges_s) - 1) for use in USES}
    first = 0
    for group, capacity_bytes in _groups(simulation.scenario):
        for replica in range(first, first + group.deployment.replicas):
            runs = of_replica(simulation.runs, replica, RUN_NAMES)
            kv = occupancy(runs, of_replica(simulation.transfers, replica, TRANSFER_NAMES), capacity_bytes)
            ends = (
                (kv.served_start_bytes, kv.served_end_bytes),
                *((held, held) for held in (kv.idle_bytes, kv.host_bytes, kv.disk_bytes)),
            )
            for use, (start, end) in zip(USES, ends, strict=True):
                total[use] += bin_means(edges_s, kv.start_s, kv.end_s, start, end)
        first += group.deployment.replicas
    return total


def _groups(scenario: Scenario) -> Iterator[tuple[Scenario, float]]:
    """Every group of replicas, and the KV pool of one of them."""
    for group in scenario.fleet:
        yield group, CostModel(group).memory.kv_capacity_bytes


def _stack(axes: Axes, at: np.ndarray, means: dict[str, np.ndarray], pool_bytes: float) -> None:
    served, taken = means["served"], means["served"] + means["idle"]
    axes.stairs(served, at, fill=True, color=style.PALE, label="being served")
    axes.stairs(taken, at, baseline=served, fill=True, color=style.HBM, label="idle")
    axes.axhline(pool_bytes, color=style.ACCENT, linewidth=1, linestyle="--", label="KV pool")
    axes.set_ylim(0, pool_bytes * 1.04)
    style.quantities(axes.yaxis, "bytes")
    style.head(axes, "KV in HBM")
    style.keys_above(axes, 3)


def _level(axes: Axes, at: np.ndarray, means: np.ndarray, room: float, title: str, color: str) -> None:
    axes.stairs(means, at, fill=True, color=color)
    axes.axhline(room, color=style.ACCENT, linewidth=1, linestyle="--")
    axes.set_ylim(0, room * 1.04)
    style.quantities(axes.yaxis, "bytes")
    style.head(axes, title)


def _waiting(axes: Axes, at: np.ndarray, simulation: Simulation, edges_s: np.ndarray) -> None:
    """Requests that have arrived and were not admitted yet."""
    waits_s = _elapsed_s(simulation.requests["arrival_s"], edges_s) - _elapsed_s(
        simulation.requests["admitted_s"], edges_s
    )
    axes.stairs(np.diff(waits_s) / np.diff(edges_s), at, color=style.INK, linewidth=1)
    axes.set_ylim(bottom=0)
    style.head(axes, "requests waiting for admission")


def _elapsed_s(since_s: np.ndarray, edges_s: np.ndarray) -> np.ndarray:
    """Time from each of these moments up to each edge, summed over all that lie before it."""
    ordered_s = np.sort(since_s)
    before = np.searchsorted(ordered_s, edges_s)
    elapsed: np.ndarray = before * edges_s - np.concatenate(([0.0], np.cumsum(ordered_s)))[before]
    return elapsed
