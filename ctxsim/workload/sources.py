"""From a workload's description to the source of its demands."""

from __future__ import annotations

from ctxsim.spec.workload import ClosedArrival, Requests, Sessions, Trace
from ctxsim.workload.demand import Source
from ctxsim.workload.readers import read_trace
from ctxsim.workload.replay import ThinkTimeSource, TraceSource
from ctxsim.workload.requests import ClosedRequests, OpenRequests
from ctxsim.workload.sessions import ClosedSessions, OpenSessions


def make_source(workload: Sessions | Requests | Trace, seed: int) -> Source:
    """A fresh source for one run: equal workloads and seeds give equal demands.

    Raises SpecError where a trace cannot be read.
    """
    if isinstance(workload, Trace):
        table = read_trace(workload.trace, workload.format, workload.num_requests, workload.time_scale)
        return ThinkTimeSource(table) if workload.pace == "think_time" else TraceSource(table)
    if isinstance(workload, Requests):
        if isinstance(workload.arrival, ClosedArrival):
            return ClosedRequests(workload, workload.arrival, seed)
        return OpenRequests(workload, workload.arrival, seed)
    if workload.arrival is not None:
        return OpenSessions(workload, workload.arrival, seed)
    if workload.users is None:
        raise AssertionError("the spec lets a sessions workload have users or an arrival, never neither")
    return ClosedSessions(workload, workload.users, seed)
