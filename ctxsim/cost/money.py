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


def power_w(scenario: Scenario) -> float:
    """Electric power of all accelerators of the fleet, at most: the board power that their makers give (TDP).

    Hosts and cooling are not in it, and accelerators that are not busy take less.
    """
    return sum(group.deployment.accelerators * group.hardware.power_w for group in scenario.fleet)


def energy_usd_per_s(scenario: Scenario) -> float:
    """What that power costs a second."""
    return sum(group.deployment.accelerators * _accelerator_energy_usd_per_s(group) for group in scenario.fleet)


def accelerator_usd_per_s(scenario: Scenario) -> float:
    """What one accelerator of the first group is billed a second: its price, and energy at most, where that is billed.

    A price of rented accelerators covers their energy.
    """
    price = scenario.price
    energy = _accelerator_energy_usd_per_s(scenario) if price.energy_billed else 0.0
    return price.accelerator_usd_per_s + energy


def replica_usd_per_s(scenario: Scenario) -> float:
    """Price of the accelerators of one replica of the first group a second."""
    return scenario.deployment.ranks * accelerator_usd_per_s(scenario)


def host_usd_per_s(scenario: Scenario) -> float:
    """Price of the host memory that is set aside for KV on the nodes of the first group, a second."""
    return Fabric.of(scenario).nodes * scenario.serving.host_kv_capacity * scenario.price.host_memory_usd_per_byte_s


def disk_usd_per_s(scenario: Scenario) -> float:
    """Price of the disk that is set aside for KV on the nodes of the first group, a second."""
    return Fabric.of(scenario).nodes * scenario.serving.disk_kv_capacity * scenario.price.disk_usd_per_byte_s


def fleet_usd_per_s(scenario: Scenario) -> float:
    """Price of the fleet a second: accelerators, and the host memory and disk set aside for KV on each node."""
    return sum(
        group.deployment.replicas * replica_usd_per_s(group) + host_usd_per_s(group) + disk_usd_per_s(group)
        for group in scenario.fleet
    )


def _accelerator_energy_usd_per_s(group: Scenario) -> float:
    return group.hardware.power_w * group.price.energy_usd_per_j
