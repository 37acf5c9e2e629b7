"""KV in every tier over time, from the rows of runs and copies.

Rows say what lay where at the ends of runs and copies. What happens between two rows at a boundary (admissions, orders
of copies) is found from both: host memory and disk are as the next row says, since room is taken and handed on when a
copy is ordered; idle KV in HBM is the less of what both rows say, since admission takes from it and the end of a
request adds to it. Where one boundary does both, idle KV may be shown too large for the run between, by what was
admitted, though never beyond the pool.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctxsim.metrics.utilisation import run_s
from ctxsim.records import Records, Table
from ctxsim.units import parse

HBM = 0
"""The tier's number in the columns ``source`` and ``target`` of transfers."""

SAME_BOUNDARY_S = parse("2 ns", "seconds")
"""Times no further apart are one boundary between iterations."""

RUN_NAMES = (
    "start_s", "iterations", "first_s", "growth_s", "kv_start_bytes", "kv_end_bytes",
    "kv_idle_bytes", "host_bytes", "disk_bytes",
)  # fmt: skip
TRANSFER_NAMES = (
    "ordered_s", "end_s", "source", "target", "moved_bytes", "kv_idle_bytes", "host_bytes", "disk_bytes",
)  # fmt: skip
HELD_NAMES = ("kv_idle_bytes", "host_bytes", "disk_bytes")

Array = np.ndarray


@dataclass(frozen=True)
class Occupancy:
    """KV of one replica in intervals of time that follow each other: those of its runs, and those between them.

    served_start_bytes, served_end_bytes: HBM of requests being served, on its way in included, at both ends of an
    interval, between which it changes evenly. arriving_bytes: of these, on its way in. idle_bytes, host_bytes,
    disk_bytes: HBM of sessions that are not being served, host memory and disk, the same throughout an interval.
    """

    start_s: Array
    end_s: Array
    served_start_bytes: Array
    served_end_bytes: Array
    arriving_bytes: Array
    idle_bytes: Array
    host_bytes: Array
    disk_bytes: Array


def of_replica(records: Records, replica: int, names: tuple[str, ...]) -> Table:
    """These columns of the rows of one replica."""
    mine = np.flatnonzero(records.column("replica") == replica)
    return Table({name: records.column(name)[mine] for name in names})


def occupancy(runs: Table, transfers: Table, capacity_bytes: float = np.inf) -> Occupancy:
    """The occupancy of one replica from its runs in order of time and its copies in order of completion.

    capacity_bytes: of its KV pool, which idle KV and KV being served never exceed together.
    """
    run_end_s = runs["start_s"] + run_s(runs)
    joined_s = _joined_s(transfers["end_s"], runs["start_s"], run_end_s)
    edges_s = np.unique(np.concatenate(([0.0], runs["start_s"], run_end_s, joined_s)))
    lasting = np.flatnonzero(np.diff(edges_s) > SAME_BOUNDARY_S)
    start_s, end_s = edges_s[lasting], edges_s[lasting + 1]
    marks = _Marks(runs, transfers, run_end_s, joined_s)
    arriving = marks.arriving_bytes(start_s)
    held = marks.held_bytes(start_s, end_s)
    coming = marks.arriving_bytes(runs["start_s"])
    served_start, served_end = _served_bytes(runs, run_end_s, start_s, end_s, arriving, coming)
    room = capacity_bytes - np.maximum(served_start, served_end)
    idle = np.maximum(0.0, np.minimum(held[0], room))
    return Occupancy(start_s, end_s, served_start, served_end, arriving, idle, held[1], held[2])


def bin_means(edges_s: Array, start_s: Array, end_s: Array, first: Array, last: Array) -> Array:
    """Means over time in bins between these edges of what changes evenly from first to last in each interval.

    Intervals are in order and do not overlap; outside of them it is 0.
    """
    totals = np.concatenate(([0.0], np.cumsum((end_s - start_s) * (first + last) / 2)))
    at = np.searchsorted(start_s, edges_s, side="right") - 1
    inside = at >= 0
    at = np.maximum(at, 0)
    if not len(start_s):
        return np.zeros(len(edges_s) - 1)
    length_s = end_s[at] - start_s[at]
    into_s = np.clip(edges_s - start_s[at], 0.0, length_s)
    slope = np.divide(last[at] - first[at], length_s, out=np.zeros(len(at)), where=length_s > 0)
    up_to = np.where(inside, totals[at] + into_s * (first[at] + slope * into_s / 2), 0.0)
    means: Array = np.diff(up_to) / np.diff(edges_s)
    return means


class _Marks:
    """What rows say was held, in order of time; at one boundary the end of a run, then copies as they ended."""

    def __init__(self, runs: Table, transfers: Table, run_end_s: Array, joined_s: Array) -> None:
        inwards = np.where(transfers["target"] == HBM, transfers["moved_bytes"], 0.0)
        none = np.zeros(len(run_end_s))
        times_s = np.concatenate((run_end_s, joined_s))
        order = np.lexsort((np.repeat((0, 1), (len(run_end_s), len(joined_s))), times_s))
        self._times_s = times_s[order]
        self._copied = order >= len(run_end_s)
        outwards = np.where(transfers["source"] == HBM, transfers["moved_bytes"], 0.0)
        self._out = np.concatenate((none, outwards))[order]
        self._arrived = np.cumsum(np.concatenate((none, inwards))[order])
        by_order = np.argsort(transfers["ordered_s"], kind="stable")
        self._ordered_s = transfers["ordered_s"][by_order]
        self._ordered = np.concatenate(([0.0], np.cumsum(inwards[by_order])))
        self._held = [np.concatenate((runs[name], transfers[name]))[order] for name in HELD_NAMES]
        self._held[0] = self._held[0] - self._under_way(self._times_s - SAME_BOUNDARY_S, self._arrived)

    def arriving_bytes(self, start_s: Array) -> Array:
        """What is on its way into HBM in the intervals that begin then."""
        before = self._before(start_s)
        arrived = np.concatenate(([0.0], self._arrived))[before + 1]
        return self._under_way(start_s + SAME_BOUNDARY_S, arrived)

    def held_bytes(self, start_s: Array, end_s: Array) -> list[Array]:
        """Idle in HBM, in host memory and on disk in these intervals; as before where a replica waits for a request."""
        before = self._before(start_s)
        after = np.minimum(before + 1, len(self._times_s) - 1)
        last = [np.where(before >= 0, held[before], 0.0) for held in self._held]
        waits = self._times_s[after] > end_s + SAME_BOUNDARY_S
        following = [np.where(waits, was, held[after]) for was, held in zip(last, self._held, strict=True)]
        idle = np.minimum(last[0], following[0] + self._out[after])
        return [idle, *following[1:]]

    def _before(self, start_s: Array) -> Array:
        """The last row up to then; -1 where there is none."""
        found: Array = np.searchsorted(self._times_s, start_s + SAME_BOUNDARY_S, side="right") - 1
        return found

    def _under_way(self, until_s: Array, arrived: Array) -> Array:
        """Ordered up to then, less what has arrived."""
        way = self._ordered[np.searchsorted(self._ordered_s, until_s, side="right")] - arrived
        under_way: Array = np.maximum(0.0, way)
        return under_way


def _joined_s(end_s: Array, run_start_s: Array, run_end_s: Array) -> Array:
    """When copies took effect: at the end of the run in which they ended, or at once between two runs."""
    if not len(run_start_s):
        return end_s
    at = np.searchsorted(run_start_s + SAME_BOUNDARY_S, end_s) - 1
    within = (at >= 0) & (end_s <= run_end_s[at] + SAME_BOUNDARY_S)
    joined: Array = np.where(within, run_end_s[at], end_s)
    return joined


def _served_bytes(
    runs: Table, run_end_s: Array, start_s: Array, end_s: Array, arriving: Array, coming: Array
) -> tuple[Array, Array]:
    """At both ends of each interval. Between runs, what the next run begins with is there as soon as it is awaited.

    arriving: on its way in, in each interval; coming: at the start of each run.
    """
    middle_s = (start_s + end_s) / 2
    at = np.searchsorted(runs["start_s"], middle_s, side="right") - 1
    within = (at >= 0) & (middle_s < run_end_s[at])
    following = np.minimum(at + 1, len(run_end_s) - 1)
    awaited = np.where(arriving > 0, np.maximum(arriving, (runs["kv_start_bytes"] + coming)[following]), 0.0)
    first = np.where(within, runs["kv_start_bytes"][at] + arriving, awaited)
    last = np.where(within, runs["kv_end_bytes"][at] + arriving, awaited)
    return first, last
