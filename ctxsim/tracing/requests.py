"""Requests as asynchronous spans with their phases inside, since they overlap."""

from __future__ import annotations

from itertools import chain

import numpy as np

from ctxsim.metrics.phases import PHASES, phase_borders_s
from ctxsim.records import Table
from ctxsim.tracing.events import Event, Lane, event, microseconds, plain

ARGS = (
    "request", "session", "turn", "prompt_tokens", "output_tokens", "reusable_tokens", "hbm_hit_tokens",
    "host_hit_tokens", "disk_hit_tokens", "preemptions", "recomputed_tokens",
)  # fmt: skip
REQUEST, FIRST_TOKEN = "request", "first token"

STEPS = (
    ("b", REQUEST, 0),
    *chain.from_iterable((("b", PHASES[i], i), ("e", PHASES[i], i + 1)) for i in range(3)),
    ("n", FIRST_TOKEN, 3),
    ("b", PHASES[3], 3),
    ("e", PHASES[3], 4),
    ("e", REQUEST, 4),
)
"""Phase letter, name, and number of the border between phases, of all events of a request in order."""


def request_lane(requests: Table) -> Lane:
    """The spans of all requests; phases that take no time are left out."""
    borders_us = microseconds(phase_borders_s(requests))
    lasting = np.diff(borders_us, axis=1) > 0
    there = dict(zip(PHASES, lasting.T, strict=True)) | {FIRST_TOKEN: requests["output_tokens"] > 0}
    always = np.ones(len(requests), bool)
    row, step = np.nonzero(np.stack([there.get(name, always) for _, name, _ in STEPS], axis=1))
    time_us = borders_us[row, np.array([border for *_, border in STEPS])[step]].tolist()
    row_of, step_of, columns = row.tolist(), step.tolist(), plain(requests)

    def span(i: int) -> Event:
        phase, name, _ = STEPS[step_of[i]]
        at = row_of[i]
        args = {column: columns[column][at] for column in ARGS} if not step_of[i] else {}
        found = event(phase, name, columns["replica"][at], time_us[i], args)
        return found | {"cat": REQUEST, "id2": {"local": str(columns["request"][at])}}

    return Lane(time_us, span)
