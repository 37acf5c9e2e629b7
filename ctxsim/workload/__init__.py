"""Workloads: arrival and length draws, trace readers, and the demands a simulation is fed with (numpy only)."""

from ctxsim.workload.demand import Demand, Source
from ctxsim.workload.readers import READERS, read_trace
from ctxsim.workload.sources import TraceSource, make_source
from ctxsim.workload.traces import TraceTable

__all__ = ["READERS", "Demand", "Source", "TraceSource", "TraceTable", "make_source", "read_trace"]
