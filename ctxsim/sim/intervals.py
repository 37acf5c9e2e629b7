"""What a calibration's errors mean for a simulation: the same draws again, with each family of operations slower."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ctxsim.cost.calibrated.intervals import intervals
from ctxsim.errors import Fault, SpecError
from ctxsim.sim.simulate import Simulation, simulate
from ctxsim.spec.scenario import Scenario

UNCERTAIN = (
    "sessions_per_hour", "requests_per_s", "output_tokens_per_s", "goodput_requests_per_s", "ttft_s", "tpot_s", "itl_s",
    "e2e_s", "cost_usd_per_session", "cost_usd_per_million_output_tokens",
)  # fmt: skip
"""Summary keys that follow from times."""


def check_calibrated(scenario: Scenario) -> None:
    """Raises SpecError where there are no fits whose errors could be followed."""
    if scenario.calibration is None:
        message = "expected calibrated, since intervals follow the errors of fits, found peak; set fidelity=calibrated"
        raise SpecError(Fault(scenario.path, None, None, "fidelity", message))


def simulated_intervals(simulation: Simulation) -> dict[str, tuple[float, float]]:
    """Intervals of 90 % of keys, by dotted name (``ttft_s.p95``), from one more simulation for each family."""
    check_calibrated(simulation.scenario)
    requests = simulation.requests
    longest = int(np.max(requests["prompt_tokens"] + requests["output_tokens"], initial=1))

    def outcome(scenario: Scenario) -> dict[str, float]:
        return _numbers(simulate(scenario, simulation.seed).summary)

    return intervals(simulation.scenario, longest, _numbers(simulation.summary), outcome)


def _numbers(summary: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in _flat(summary) if value is not None}


def _flat(summary: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key in UNCERTAIN:
        value = summary[key]
        if isinstance(value, Mapping):
            yield from ((f"{key}.{name}", item) for name, item in value.items())
        else:
            yield key, value
