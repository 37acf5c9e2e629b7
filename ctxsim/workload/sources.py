"""From a workload's description to the source of its demands."""

from __future__ import annotations

from collections.abc import Iterator

from ctxsim.spec.workload import ClosedArrival, Requests, Sessions, Trace
from ctxsim.workload.demand import Demand, Source
from ctxsim.workload.readers import read_trace
from ctxsim.workload.requests import ClosedRequests, OpenRequests
from ctxsim.workload.sessions import ClosedSessions, OpenSessions
from ctxsim.workload.traces import TraceTable


class TraceSource:
    """The requests of a trace, each at its recorded time whether or not earlier ones were answered."""

    releases = False

    def __init__(self, table: TraceTable) -> None:
        self.table = table
        self.warnings = table.warnings

    @property
    def num_requests(self) -> int | None:
        """The number of rows."""
        return len(self.table)

    def initial(self) -> Iterator[Demand]:
        """All rows in order of arrival."""
        return self.table.demands()

    def after(self, demand: Demand, finished_s: float) -> Demand | None:
        """None: a recorded request waits for nothing."""
        return None


def make_source(workload: Sessions | Requests | Trace, seed: int) -> Source:
    """A fresh source for one run: equal workloads and seeds give equal demands.

    Raises SpecError where a trace cannot be read.
    """
    if isinstance(workload, Trace):
        return TraceSource(read_trace(workload.trace, workload.format, workload.num_requests, workload.time_scale))
    if isinstance(workload, Requests):
        if isinstance(workload.arrival, ClosedArrival):
            return ClosedRequests(workload, workload.arrival, seed)
        return OpenRequests(workload, workload.arrival, seed)
    if workload.arrival is not None:
        return OpenSessions(workload, workload.arrival, seed)
    if workload.users is None:
        raise AssertionError("the spec lets a sessions workload have users or an arrival, never neither")
    return ClosedSessions(workload, workload.users, seed)
