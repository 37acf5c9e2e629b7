"""What a fleet costs."""

from __future__ import annotations

from ctxsim.spec.scenario import Scenario


def accelerators(scenario: Scenario) -> int:
    """Accelerators of the whole fleet."""
    d = scenario.deployment
    return d.replicas * d.tensor_parallel


def nodes(scenario: Scenario) -> int:
    """Hosts of the whole fleet."""
    return -(-accelerators(scenario) // scenario.deployment.accelerators_per_node)


def replica_usd_per_s(scenario: Scenario) -> float:
    """Price of one replica's accelerators a second."""
    return scenario.deployment.tensor_parallel * scenario.price.accelerator_usd_per_s


def fleet_usd_per_s(scenario: Scenario) -> float:
    """Price of the fleet a second: accelerators, and the host memory and disk set aside for KV on each node."""
    price, serving = scenario.price, scenario.serving
    kept = (
        serving.host_kv_capacity * price.host_memory_usd_per_byte_s
        + serving.disk_kv_capacity * price.disk_usd_per_byte_s
    )
    return accelerators(scenario) * price.accelerator_usd_per_s + nodes(scenario) * kept
