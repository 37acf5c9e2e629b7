"""What a request waits for, phase by phase, from the times in its row."""

from __future__ import annotations

import numpy as np

from ctxsim.records import Table

PHASES = ("queue", "swap in", "prefill", "decode")


def phase_borders_s(requests: Table) -> np.ndarray:
    """The five times between which each request's four phases lie: one row a request, never falling.

    Only what was found below HBM is swapped in: the ``fetch_s`` of a request that found nothing there when it was first
    admitted belongs to a later admission, after a preemption. Preemptions are not told apart, since rows have no times
    of them: the phase they fall into goes on.
    """
    admitted_s = requests["admitted_s"]
    fetched = requests["host_hit_tokens"] + requests["disk_hit_tokens"] > 0
    fetched_s = admitted_s + np.where(fetched, requests["fetch_s"], 0.0)
    first_s = requests["first_token_s"]
    columns = (requests["arrival_s"], admitted_s, np.minimum(fetched_s, first_s), first_s, requests["finished_s"])
    return np.stack(columns, axis=1)
