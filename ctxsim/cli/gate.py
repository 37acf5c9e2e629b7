"""The SLO as a gate of the command line: asked for only where there is one, and what it says where it is missed."""

from __future__ import annotations

from typing import Any

from ctxsim.errors import Fault, SpecError
from ctxsim.spec.scenario import Scenario


def check_slo_given(scenario: Scenario) -> None:
    """Raises SpecError where the scenario sets no limit that a gate could hold."""
    if scenario.slo.ttft is None and scenario.slo.tpot is None:
        message = "expected a limit for --fail-on-slo, found none; write e.g. slo: {ttft: 2 s, tpot: 100 ms}"
        raise SpecError(Fault(scenario.path, None, None, "slo", message))


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
