"""What a session costs more than over another context, from the bills of two simulations on the same draws.

Bills include what full load leaves out: accelerators without work, host memory that is set aside but empty. What
decoding loses to smaller batches is in the rest of decode, as a bill cannot tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ctxsim.analysis.causes import ALL, Counted, counted_operations
from ctxsim.analysis.session_cost import CAUSES, NEITHER, WITHOUT_KV
from ctxsim.cost import CostModel, replica_usd_per_s
from ctxsim.cost.shares import peak_division
from ctxsim.errors import Fault, SpecError
from ctxsim.explore.factors import factors_of
from ctxsim.metrics.utilisation import GroupRuns, Parts, mean_batches, mean_decodes, run_s
from ctxsim.records import Table
from ctxsim.sim import simulate
from ctxsim.sim.simulate import Simulation
from ctxsim.spec.scenario import Scenario
from ctxsim.spec.workload import Sessions, Trace

QUANTITY_OF = {
    "holding_hbm": "concurrency",
    "holding_host": "concurrency",
    "holding_disk": "concurrency",
    "prefill": "prefill",
    "decode": "decode",
    "switching": "switching",
    "idle": "idle",
}
"""The parts of a bill, and which quantity each belongs to; nobody causes idle."""

Bill = Mapping[tuple[str, str], float]
"""USD a session by part and cause."""


@dataclass(frozen=True)
class SimulatedExtra:
    """The bills of a session, of the scenario and over the other context."""

    base: Bill
    against: Bill

    @classmethod
    def of(cls, scenario: Scenario, ratio: float) -> SimulatedExtra:
        """The scenario, and the same with all documents (or prompts) so many times as long, simulated."""
        if isinstance(scenario.workload, Trace):
            message = "expected lengths that can be scaled, found a recorded trace; leave --simulate out"
            raise SpecError(Fault(scenario.path, None, None, "workload", message))
        name = "document_tokens" if isinstance(scenario.workload, Sessions) else "prompt_tokens"
        other = factors_of(scenario)[name].scaled(scenario, ratio)
        return cls(bill_by_cause(simulate(scenario)), bill_by_cause(simulate(other)))

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row a part and cause: against, base and extra USD a session."""
        return [
            {
                "quantity": QUANTITY_OF[part], "item": part, "cause": cause, "against_usd": against,
                "base_usd": self.base[part, cause], "extra_usd": self.base[part, cause] - against,
            }
            for (part, cause), against in self.against.items()
        ]  # fmt: skip

    @property
    def total_usd(self) -> tuple[float, float]:
        """A session over the other context, and the scenario's own."""
        return sum(self.against.values()), sum(self.base.values())


def bill_by_cause(simulation: Simulation) -> Bill:
    """The bill of a simulation a completed session; computing is divided as its runs are at the peaks.

    Raises SpecError where no session was completed.
    """
    parts = simulation.summary["money"]["per_session_usd"]
    if parts["total"] is None:
        message = "expected sessions that are completed within the horizon, found none; raise run.horizon"
        raise SpecError(Fault(simulation.scenario.path, None, None, "run.horizon", message))
    computing = _computing_shares(simulation)
    bill: dict[tuple[str, str], float] = {}
    for part in QUANTITY_OF:
        if part in computing:
            bill |= {(part, cause): parts[part] * share for cause, share in computing[part].items()}
        else:
            bill[part, "none" if part == "idle" else "kv_bytes"] = parts[part]
    return bill


def _computing_shares(simulation: Simulation) -> dict[str, dict[str, float]]:
    """The share of each cause in what prompts, and in what answers, cost."""
    fleet = simulation.scenario.fleet
    prices = [replica_usd_per_s(group) for group in fleet]
    usd = np.zeros((2, len(CAUSES)))
    first = 0
    # Where accelerators have no price at all, seconds are divided.
    for group, usd_per_s in zip(fleet, prices if any(prices) else [1.0] * len(fleet), strict=True):
        replicas = group.deployment.replicas
        usd += usd_per_s * _computing_s(CostModel(group), GroupRuns(simulation.runs, first, replicas))
        first += replicas
    return {
        part: dict(zip(CAUSES, (row / (row.sum() or 1.0)).tolist(), strict=True))
        for part, row in zip(("prefill", "decode"), usd, strict=True)
    }


def _computing_s(cost: CostModel, runs: Parts) -> np.ndarray:
    """Seconds by phase (prompts, answers) and cause."""
    total = np.zeros((2, len(CAUSES)))
    for part in runs.parts():
        everything, without_kv, neither = (_phases(cost, part, counted) for counted in (ALL, WITHOUT_KV, NEITHER))
        lasted = (run_s(part) - part["slowed_s"]) / everything.sum(axis=0)
        causes = (everything - without_kv, without_kv - neither, neither)
        total += np.array([np.sum(lasted * seconds, axis=1) for seconds in causes]).T
    return total


def _phases(cost: CostModel, runs: Table, counted: Counted) -> np.ndarray:
    """Seconds of each run's mean iteration at the peaks, for prompts and for answers, with only what counts."""
    operations, overhead_s = counted_operations(cost.operations, counted), cost.scenario.serving.iteration_overhead
    batch = mean_batches(cost, runs)
    mine, whole, _ = peak_division(operations, cost.rates, overhead_s, batch, mean_decodes(cost, runs, batch))
    return np.array([whole.seconds - mine.seconds, mine.seconds])
