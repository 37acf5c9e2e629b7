"""A scenario in the shape of its file, every default written out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ctxsim.spec import catalog
from ctxsim.spec.workload import Trace
from ctxsim.units import exact

if TYPE_CHECKING:
    from ctxsim.spec.scenario import Scenario

PRICES = {
    "accelerator": ("accelerator_usd_per_s", "usd_per_s"),
    "host_memory": ("host_memory_usd_per_byte_s", "usd_per_byte_s"),
    "disk": ("disk_usd_per_byte_s", "usd_per_byte_s"),
    "energy": ("energy_usd_per_j", "usd_per_joule"),
}
"""The keys of a price block, with their fields and dimensions."""


def as_file(scenario: Scenario) -> dict[str, object]:
    """The scenario in the shape of its file, quantities as text that parses back to the same numbers."""
    parts = ("deployment", "serving", "workload", "slo", "run")
    written = {part: getattr(scenario, part).model_dump(mode="json", exclude_none=True) for part in parts}
    for part, name in scenario.names.set_fields:
        written[part].pop(name, None)
    if isinstance(scenario.workload, Trace):
        written["workload"]["trace"] = str(Path(scenario.workload.trace).resolve())
    written["deployment"]["groups"] = [_group(other) for other in scenario.others]
    return {
        "name": scenario.name,
        "model": _name(scenario.names.model),
        **_machine(scenario),
        "fidelity": scenario.fidelity,
        **_calibration(scenario),
        "techniques": [_technique(written) for written in scenario.techniques],
        **written,
        "price": _prices(scenario),
    }


def _calibration(scenario: Scenario) -> dict[str, object]:
    name = scenario.names.calibration
    return {} if name is None else {"calibration": _name(name)}


def _technique(written: str) -> str:
    name, bracket, given = written.partition("(")
    return _name(name) + bracket + given


def _group(other: Scenario) -> dict[str, object]:
    deployment = other.deployment
    return {
        "replicas": deployment.replicas,
        **_machine(other),
        "tensor_parallel": deployment.tensor_parallel,
        "accelerators_per_node": deployment.accelerators_per_node,
    }


def _machine(scenario: Scenario) -> dict[str, object]:
    names = scenario.names
    host = {} if names.host is None else {"host": _name(names.host)}
    return {"hardware": _name(names.hardware), **host}


def _name(name: str) -> str:
    return str(Path(name).resolve()) if catalog.is_path(name) else name


def _prices(scenario: Scenario) -> dict[str, object]:
    """The prices that all groups of replicas have; those that differ are the profiles' own and stay there."""
    found: dict[str, object] = {}
    for key, (name, dimension) in PRICES.items():
        prices = {getattr(one.price, name) for one in scenario.fleet}
        if len(prices) == 1:
            found[key] = exact(prices.pop(), dimension)
    return found | {"energy_billed": scenario.price.energy_billed}
