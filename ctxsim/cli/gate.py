"""The SLO as a gate: a percentile of TTFT and TPOT against their limits."""

from __future__ import annotations

from typing import Any

import numpy as np

from ctxsim.errors import Fault, SpecError
from ctxsim.records import Records
from ctxsim.spec.scenario import Scenario

PERCENT = 100


def check_slo_given(scenario: Scenario) -> None:
    """Raises SpecError where the scenario sets no limit that a gate could hold."""
    if scenario.slo.ttft is None and scenario.slo.tpot is None:
        message = "expected a limit for --fail-on-slo, found none; write e.g. slo: {ttft: 2 s, tpot: 100 ms}"
        raise SpecError(Fault(scenario.path, None, None, "slo", message))


def slo_gate(scenario: Scenario, requests: Records, warmup_s: float) -> dict[str, Any]:
    """Whether the SLO's percentile of each limited latency is within its limit.

    Over the requests that arrive after the warm-up, as the latencies of the summary; a sample without any request
    does not meet a limit.
    """
    limits = {"ttft_s": scenario.slo.ttft, "tpot_s": scenario.slo.tpot}
    share = scenario.slo.percentile / PERCENT
    counted = requests["arrival_s"] >= warmup_s
    gate: dict[str, Any] = {"percentile": scenario.slo.percentile}
    for name, limit_s in limits.items():
        if limit_s is not None:
            sample = requests[name][counted]
            sample = sample[~np.isnan(sample)]
            found_s = float(np.quantile(sample, share)) if len(sample) else None
            gate[name] = {"limit_s": limit_s, "found_s": found_s, "met": found_s is not None and found_s <= limit_s}
    return gate | {"met": all(gate[name]["met"] for name in limits if name in gate)}


def failure_of(gate: dict[str, Any]) -> str | None:
    """The limits that were missed, in one sentence; None where all are met."""
    missed = [
        f"{name.removesuffix('_s').upper()} p{gate['percentile']:g} is {_seconds(gate[name]['found_s'])}, "
        f"the limit is {_seconds(gate[name]['limit_s'])}"
        for name in ("ttft_s", "tpot_s")
        if name in gate and not gate[name]["met"]
    ]
    return f"SLO missed: {'; '.join(missed)}" if missed else None


def _seconds(value: float | None) -> str:
    return "unknown (no request was counted)" if value is None else f"{value:.4g} s"
