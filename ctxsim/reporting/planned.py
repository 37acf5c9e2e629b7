"""A plan as its JSON has it: what was asked, the fleets that were simulated, and the scenario of the chosen one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ctxsim.errors import Fault, InfeasibleError, SpecError
from ctxsim.spec.document import parse_document
from ctxsim.spec.scenario import Scenario, resolve_scenario

SCHEMA = "ctxsim.plan/1"
HARDWARE, RANKS = "hardware", "deployment.tensor_parallel"
PRICE = "usd_per_hour"


@dataclass(frozen=True)
class Fleet:
    """One fleet of the plan. setting: what sets its design apart; found: its numbers, simulated whole."""

    replicas: int
    accelerators: int
    setting: Mapping[str, Any]
    usd_per_hour: float
    meets: bool
    found: Mapping[str, Any]

    @classmethod
    def of(cls, keys: Mapping[str, Any]) -> Fleet:
        """As the JSON has it."""
        names = ("replicas", "accelerators", "setting", "usd_per_hour", "slo_met", "found")
        return cls(*(keys[name] for name in names))

    @property
    def served(self) -> bool:
        """Whether it served anything."""
        return "sessions_per_hour" in self.found


@dataclass(frozen=True)
class Planned:
    """command: the words that made the plan. saturation_load: the largest that was found to meet the SLO, missed_load:
    the least above it that misses it. fleets: all that were simulated whole; front: those nobody beats.
    """

    command: Sequence[str]
    chosen: Fleet
    runner_up: Fleet | None
    confidence: Mapping[str, Any]
    saturation_load: float
    missed_load: float | None
    halving: Mapping[str, float | None]
    front: Sequence[Fleet]
    fleets: Sequence[Fleet]
    refused: Sequence[Mapping[str, Any]]
    short: Sequence[Mapping[str, Any]]
    skipped: int
    scenario: Scenario
    """That of the chosen fleet."""

    @classmethod
    def of(cls, envelope: Mapping[str, Any], path: str) -> Planned:
        """The plan of the JSON that ``ctxsim plan --json`` printed.

        Raises SpecError where it is none, and InfeasibleError where it found no fleet.
        """
        if envelope.get("schema") != SCHEMA:
            raise _no_plan(path, f"schema {envelope.get('schema')!r}")
        result = envelope["result"]
        if not result.get("feasible", False):
            raise InfeasibleError(f"{path} holds no fleet to report: {result.get('infeasible_reason')}")
        try:
            chosen = result["chosen"]
            return cls(
                command=result["command"],
                chosen=Fleet.of(chosen),
                runner_up=None if result["runner_up"] is None else Fleet.of(result["runner_up"]),
                confidence=result["confidence"],
                saturation_load=result["saturation"]["load"],
                missed_load=result["saturation"]["missed"],
                halving={lever["name"]: lever["factor"] for lever in result["halving"]},
                front=[Fleet.of(fleet) for fleet in result["front"]],
                fleets=[Fleet.of(fleet) for fleet in result["simulated_fleets"]],
                refused=result["designs"]["refused"],
                short=result["designs"]["short"],
                skipped=result["designs"]["skipped"],
                scenario=resolve_scenario(parse_document(chosen["scenario_yaml"], path)),
            )
        except (KeyError, TypeError) as error:
            raise _no_plan(path, f"one without {error}") from None

    def common(self) -> set[str]:
        """The keys that are the same in all fleets."""
        settings = [fleet.setting for fleet in self.fleets]
        return {key for key in settings[0] if len({str(setting[key]) for setting in settings}) == 1}

    def name(self, fleet: Fleet) -> str:
        """What sets the fleet apart from the others, in a few words: ``1 x (2 x h100-80gb-sxm)``."""
        deployment = self.scenario.deployment
        ranks = fleet.setting.get(RANKS, deployment.tensor_parallel) * deployment.context_parallel
        machine = fleet.setting.get(HARDWARE, self.scenario.hardware.name)
        others = set(fleet.setting) - self.common() - {HARDWARE, RANKS}
        words = [f"{key.rpartition('.')[2]} {fleet.setting[key]}" for key in fleet.setting if key in others]
        return ", ".join([f"{fleet.replicas} x ({ranks} x {machine})", *words])


def _no_plan(path: str, found: str) -> SpecError:
    message = f"expected a plan ({SCHEMA}), found {found}; write it with: ctxsim plan SCENARIO --json > plan.json"
    return SpecError(Fault(path, None, None, "", message))
