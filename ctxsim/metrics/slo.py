"""The SLO held against a sample: a percentile of TTFT and TPOT against their limits."""

from __future__ import annotations

from typing import Any

import numpy as np

from ctxsim.records import Records
from ctxsim.spec.scenario import Scenario

PERCENT = 100


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
