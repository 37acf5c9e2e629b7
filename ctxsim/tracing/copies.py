"""Copies between tiers as slices on a thread for each direction, where they come one after the other, with rates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ctxsim.records import Table
from ctxsim.tracing.events import LINKS, Event, Lane, counter, event, microseconds, plain, thread, until_next

ARGS = ("transfer", "session", "request", "tokens", "descriptors")
NAMES = {(0, 1): "swap out", (1, 0): "swap in", (1, 2): "move to disk", (2, 0): "swap in from disk"}


def copy_lanes(transfers: Table) -> Iterator[Lane]:
    """The slices of copies, and the mean rate of each, set-up included, as a counter of its direction."""
    starts_us = microseconds(transfers["start_s"])
    way = (transfers[name] for name in ("replica", "source", "target"))
    ends_us, alone = until_next(microseconds(transfers["end_s"]), starts_us, *way)
    start_us, end_us, last = starts_us.tolist(), ends_us.tolist(), np.flatnonzero(alone).tolist()
    rows = plain(transfers)
    replica, moved_bytes = rows["replica"], rows["moved_bytes"]
    ways = list(zip(rows["source"], rows["target"], strict=True))
    waited_s = (transfers["start_s"] - transfers["ordered_s"]).tolist()
    took_s = (transfers["end_s"] - transfers["start_s"]).tolist()

    def slice_of(i: int) -> Event:
        more = {"moved_bytes": round(moved_bytes[i]), "waited_s": waited_s[i]}
        found = event("X", NAMES[ways[i]], replica[i], start_us[i], {name: rows[name][i] for name in ARGS} | more)
        return found | {"cat": "copies", "tid": thread(replica[i], LINKS[ways[i]]), "dur": end_us[i] - start_us[i]}

    def rate_of(i: int, time_us: int, bytes_per_s: float) -> Event:
        return counter(f"link {LINKS[ways[i]]}", replica[i], time_us, {"bytes/s": round(bytes_per_s)})

    def mean_rate(i: int) -> Event:
        return rate_of(i, start_us[i], moved_bytes[i] / took_s[i] if took_s[i] else 0.0)

    yield Lane(start_us, slice_of)
    yield Lane(ends_us[last].tolist(), lambda i: rate_of(last[i], end_us[last[i]], 0.0))
    yield Lane(start_us, mean_rate)
