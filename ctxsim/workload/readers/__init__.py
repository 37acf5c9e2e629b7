"""Readers of recorded traces, one file a format. A new format is one function and one entry in ``READERS``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ctxsim.errors import nearest
from ctxsim.workload.readers.agentic import read_agentic
from ctxsim.workload.readers.azure import read_azure
from ctxsim.workload.readers.faults import refuse, shown
from ctxsim.workload.readers.mooncake import read_mooncake
from ctxsim.workload.readers.vllm_bench import read_vllm_bench
from ctxsim.workload.traces import TraceTable

READERS: Mapping[str, Callable[[Path], TraceTable]] = {
    "mooncake": read_mooncake,
    "azure": read_azure,
    "agentic": read_agentic,
    "vllm-bench": read_vllm_bench,
}
"""Every format that is read, by the name a scenario gives it."""


def read_trace(
    path: str | Path, trace_format: str, num_requests: int | None = None, time_scale: float = 1.0
) -> TraceTable:
    """The first ``num_requests`` requests (all by default) in order of arrival, arrivals times ``time_scale``.

    Raises SpecError with every fault of the file, or where the format is unknown.
    """
    reader = READERS.get(trace_format)
    if reader is None:
        known = f"expected a trace format ({', '.join(READERS)}), found {shown(trace_format)}"
        refuse(Path(path), known + nearest(trace_format, READERS))
    table = reader(Path(path)).stretched(time_scale)
    return table if num_requests is None else table.first(num_requests)
