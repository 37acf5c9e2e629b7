"""Reports against llm-d's own package, where it is installed: pip install llmd-benchmark-report."""

from __future__ import annotations

import pytest

from ctxsim.interop.llm_d import llm_d_report
from ctxsim.interop.simulated import Simulated
from ctxsim.sim import simulate
from ctxsim.spec.scenario import load_scenario

llmd_benchmark_report = pytest.importorskip("llmd_benchmark_report", reason="needs llmd-benchmark-report")

CASES = [
    ("llama-8b-chat", {"workload.num_requests": 40}),
    ("llama-8b-chat", {"workload.num_requests": 40, "workload.output_tokens": 0}),
    ("yi-34b-50k-a100", {"workload.users": 6, "workload.num_sessions": 12}),
    ("mooncake-replay", {}),
    ("llama-70b-mixed-fleet", {"workload.users": 3, "workload.num_sessions": 5}),
]


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_llm_d_reads_our_reports(name: str, settings: dict[str, object]) -> None:
    scenario = load_scenario(name, settings)
    found = simulate(scenario)
    report = llm_d_report(Simulated(scenario, found.summary, found.requests, found.sessions, found.runs))
    read = llmd_benchmark_report.BenchmarkReportV021.model_validate(report)
    assert read.version == "0.2.1"
    assert read.results.request_performance.aggregate.requests.total == found.summary["num_requests"]
