"""What a fleet costs, all its groups of replicas together."""

from __future__ import annotations

from ctxsim.cost.topology import Fabric
from ctxsim.spec.scenario import Scenario


def accelerators(scenario: Scenario) -> int:
    """Accelerators of the whole fleet."""
    return sum(group.deployment.accelerators for group in scenario.fleet)


def nodes(scenario: Scenario) -> int:
    """Hosts of the whole fleet: groups do not share any, and no replica is split over two that could lie on one."""
    return sum(Fabric.of(group).nodes for group in scenario.fleet)


def replica_usd_per_s(scenario: Scenario) -> float:
    """Price of the accelerators of one replica of the first group a second."""
    return scenario.deployment.tensor_parallel * scenario.price.accelerator_usd_per_s


def fleet_usd_per_s(scenario: Scenario) -> float:
    """Price of the fleet a second: accelerators, and the host memory and disk set aside for KV on each node."""
    return sum(_group_usd_per_s(group) for group in scenario.fleet)


def _group_usd_per_s(group: Scenario) -> float:
    price, serving = group.price, group.serving
    kept = (
        serving.host_kv_capacity * price.host_memory_usd_per_byte_s
        + serving.disk_kv_capacity * price.disk_usd_per_byte_s
    )
    return group.deployment.accelerators * price.accelerator_usd_per_s + Fabric.of(group).nodes * kept
