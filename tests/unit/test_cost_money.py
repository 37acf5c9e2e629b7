"""What a fleet costs a second: accelerators, and host memory and disk set aside on each node."""

from __future__ import annotations

import pytest
from cost_scenarios import scenario

from ctxsim.cost import (
    accelerator_usd_per_s,
    accelerators,
    disk_usd_per_s,
    energy_usd_per_s,
    fleet_usd_per_s,
    host_usd_per_s,
    nodes,
    power_w,
    replica_usd_per_s,
)
from ctxsim.spec.scenario import load_scenario

HOUR_S = 3600.0
GIB = 2.0**30
PRICES = {
    "price__accelerator": "2.50 USD/hour",
    "price__host_memory": "0.004 USD/GiB/hour",
    "price__disk": "0.0001 USD/GiB/hour",
}


@pytest.mark.parametrize(
    ("replicas", "ranks", "per_node", "total", "hosts"),
    [(1, 1, 8, 1, 1), (4, 4, 8, 16, 2), (1, 8, 8, 8, 1), (3, 4, 8, 12, 2), (9, 1, 8, 9, 2), (4, 2, 4, 8, 2)],
)
def test_accelerators_and_nodes(replicas: int, ranks: int, per_node: int, total: int, hosts: int) -> None:
    fleet = scenario(
        deployment__replicas=replicas, deployment__tensor_parallel=ranks, deployment__accelerators_per_node=per_node
    )
    assert (accelerators(fleet), nodes(fleet)) == (total, hosts)


def test_a_fleet_by_hand() -> None:
    """Sixteen accelerators on two nodes, 512 GiB of host memory and 1 TiB of disk on each."""
    fleet = scenario(
        deployment__replicas=4,
        deployment__tensor_parallel=4,
        serving__host_kv_capacity="512 GiB",
        serving__disk_kv_capacity="1024 GiB",
        **PRICES,
    )
    per_hour = 16 * 2.50 + 2 * (512 * 0.004 + 1024 * 0.0001)
    assert fleet_usd_per_s(fleet) * HOUR_S == pytest.approx(per_hour, rel=1e-12)


def test_prices_default_to_the_profile_s() -> None:
    fleet = scenario(serving__host_kv_capacity="0 B")
    assert fleet_usd_per_s(fleet) * HOUR_S == pytest.approx(3.43, rel=1e-12)
    hosted = scenario(serving__host_kv_capacity="1 GiB")
    added = fleet_usd_per_s(hosted) - fleet_usd_per_s(fleet)
    assert added == pytest.approx(GIB * hosted.hardware.host_memory_usd_per_byte_s, rel=1e-6)
    assert added > 0


def test_energy_is_billed_only_where_the_scenario_says_so() -> None:
    """Eight accelerators of 400 W at 0.25 USD/kWh: 0.80 USD an hour."""
    settings = {"price__energy": "0.25 USD/kWh", "deployment__replicas": 8, "serving__host_kv_capacity": "0 B"}
    rented, owned = (scenario(**PRICES | settings | billed) for billed in ({}, {"price__energy_billed": True}))
    assert power_w(rented) == power_w(owned) == 8 * 400.0
    assert energy_usd_per_s(rented) * HOUR_S == pytest.approx(0.80, rel=1e-12)
    assert fleet_usd_per_s(rented) * HOUR_S == pytest.approx(8 * 2.50, rel=1e-12)
    assert fleet_usd_per_s(owned) * HOUR_S == pytest.approx(8 * 2.50 + 0.80, rel=1e-12)
    assert accelerator_usd_per_s(owned) * HOUR_S == replica_usd_per_s(owned) * HOUR_S == pytest.approx(2.60, rel=1e-12)


def test_a_mixed_fleet_pays_each_group_its_own_price_and_power() -> None:
    """Two H100 of 700 W and four A100 of 400 W."""
    fleet = load_scenario("llama-70b-mixed-fleet", {"deployment.replicas": 1, "price.energy": "0.1 USD/kWh"})
    assert power_w(fleet) == 2 * 700.0 + 4 * 400.0
    assert energy_usd_per_s(fleet) * HOUR_S == pytest.approx(0.3, rel=1e-12)
    parts = [replica_usd_per_s(group) + host_usd_per_s(group) + disk_usd_per_s(group) for group in fleet.fleet]
    assert fleet_usd_per_s(fleet) == pytest.approx(sum(parts), rel=1e-12)
    assert parts[0] != parts[1]


def test_a_free_fleet_costs_nothing() -> None:
    free = {name: f"0 {price.split(' ')[1]}" for name, price in PRICES.items()}
    assert fleet_usd_per_s(scenario(**free)) == 0
