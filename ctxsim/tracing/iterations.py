"""Runs of equal iterations as slices, with what runs, waits and lies in every tier as counters."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ctxsim.metrics.occupancy import Occupancy, occupancy
from ctxsim.metrics.utilisation import run_s
from ctxsim.records import Table
from ctxsim.tracing.events import Event, Lane, counter, event, microseconds, plain, until_next

ARGS = ("iterations", "sequences", "decoding", "new_tokens", "first_s", "growth_s")


def iteration_lanes(runs: Table) -> Iterator[Lane]:
    """The slices of runs, named by what they compute, and the counters of sequences running and requests waiting."""
    starts_us = microseconds(runs["start_s"])
    ends_us, alone = until_next(microseconds(runs["start_s"] + run_s(runs)), starts_us, runs["replica"])
    start_us, end_us, last = starts_us.tolist(), ends_us.tolist(), np.flatnonzero(alone).tolist()
    rows = plain(runs)
    replica, sequences, waiting = rows["replica"], rows["sequences"], rows["waiting"]

    def slice_of(i: int) -> Event:
        kind = _kind(rows["decoding"][i], sequences[i])
        found = event("X", kind, replica[i], start_us[i], {name: rows[name][i] for name in ARGS})
        return found | {"cat": "iterations", "dur": end_us[i] - start_us[i]}

    def idle(i: int) -> Event:
        return counter("running", replica[last[i]], end_us[last[i]], {"sequences": 0})

    yield Lane(start_us, slice_of)
    yield Lane(ends_us[last].tolist(), idle)
    yield Lane(start_us, lambda i: counter("running", replica[i], start_us[i], {"sequences": sequences[i]}))
    yield Lane(end_us, lambda i: counter("waiting", replica[i], end_us[i], {"requests": waiting[i]}))


def memory_lanes(runs: Table, transfers: Table) -> Iterator[Lane]:
    """The counters of KV in every tier, a lane a replica, from its first run on."""
    for replica in np.unique(runs["replica"]).tolist():
        mine = _of(runs, replica)
        yield _memory_lane(replica, occupancy(mine, _by_end(_of(transfers, replica))), float(mine["start_s"][0]))


def _memory_lane(replica: int, kv: Occupancy, begin_s: float) -> Lane:
    shown = kv.end_s > begin_s
    time_us = microseconds(kv.start_s[shown]).tolist()
    held = {
        "served": kv.served_start_bytes[shown].tolist(),
        "idle in HBM": kv.idle_bytes[shown].tolist(),
        "host": kv.host_bytes[shown].tolist(),
        "disk": kv.disk_bytes[shown].tolist(),
    }

    def values(i: int) -> Event:
        return counter("KV bytes", replica, time_us[i], {use: round(kept[i]) for use, kept in held.items()})

    return Lane(time_us, values)


def _kind(decoding: int, sequences: int) -> str:
    """What the iterations of a run compute."""
    if not decoding:
        return "prefill"
    return "decode" if decoding == sequences else "mixed"


def _of(rows: Table, replica: int) -> Table:
    mine = rows["replica"] == replica
    return Table({name: column[mine] for name, column in rows.columns.items()})


def _by_end(transfers: Table) -> Table:
    order = np.argsort(transfers["transfer"], kind="stable")
    return Table({name: column[order] for name, column in transfers.columns.items()})
