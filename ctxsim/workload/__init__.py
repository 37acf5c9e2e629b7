"""Workloads: arrival and length draws, trace readers, and the demands a simulation is fed with (numpy only)."""

from ctxsim.workload.demand import Demand, Source
from ctxsim.workload.readers import READERS, read_trace
from ctxsim.workload.replay import ThinkTimeSource, TraceSource
from ctxsim.workload.sources import make_source
from ctxsim.workload.traces import TraceTable

__all__ = ["READERS", "Demand", "Source", "ThinkTimeSource", "TraceSource", "TraceTable", "make_source", "read_trace"]
