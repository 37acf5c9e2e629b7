"""What whoever predicts anything about a scenario must know, whether or not it was analyzed or simulated itself."""

from __future__ import annotations

from ctxsim.cost import CostModel
from ctxsim.cost.working_set import WorkingSet, working_set
from ctxsim.spec.scenario import Scenario


def fleet_working_set(scenario: Scenario) -> WorkingSet | None:
    """The working set of a scenario's fleet; None where it has none (see cost.working_set)."""
    return working_set(scenario, [CostModel(group) for group in scenario.fleet])


def prediction_warnings(scenario: Scenario) -> tuple[str, ...]:
    """The scenario's own warnings, and that it lies past its cliff."""
    wanted = fleet_working_set(scenario)
    return scenario.warnings if wanted is None else (*scenario.warnings, *wanted.cautions())
