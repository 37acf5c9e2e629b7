"""Where replicas lie, what their copies pass, and fair rates: by hand, by filling in drops, and by their definition."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from random import Random

import pytest
from cost_scenarios import scenario
from hypothesis import given
from hypothesis import strategies as st

from ctxsim.cost.topology import DISK, HBM, HOST, Fabric, Node, Route, max_min_rates
from ctxsim.cost.transfers import host_link_bytes_per_s
from ctxsim.spec.catalog import names

WAYS = [(HBM, HOST), (HOST, HBM), (HOST, DISK), (DISK, HBM)]


def node(accelerators: int = 8, shared_by: int = 2, memory: float = 400.0) -> Node:
    return Node(accelerators, shared_by, 25.0, memory, 50.0, 30.0)


# Placement


def test_resources_are_roots_out_roots_in_memory_read_write() -> None:
    assert node().capacities == (25.0,) * 4 + (25.0,) * 4 + (400.0, 50.0, 30.0)
    assert node(accelerators=5).roots == 3
    assert Fabric(node(), 9, 1).capacities == node().capacities * 2


@pytest.mark.parametrize(
    ("accelerators", "ranks", "replicas", "nodes"),
    [
        (8, 1, 10, [0] * 8 + [1, 1]),
        (8, 4, 3, [0, 0, 1]),
        (8, 8, 2, [0, 1]),
        (8, 3, 5, [0, 0, 1, 1, 2]),  # the last two of eight stay empty: a replica does not straddle
        (8, 5, 2, [0, 1]),
        (4, 8, 3, [0, 2, 4]),
        (4, 6, 2, [0, 2]),
    ],
)
def test_replicas_fill_nodes_without_straddling(accelerators: int, ranks: int, replicas: int, nodes: list[int]) -> None:
    fabric = Fabric(node(accelerators), replicas, ranks)
    assert [fabric.node_of(replica) for replica in range(replicas)] == nodes
    assert fabric.nodes == nodes[-1] + -(-ranks // accelerators)


def test_the_routes_of_one_accelerator() -> None:
    fabric = Fabric(node(), 8, 1)
    assert fabric.route(5, HBM, HOST) == ((2, 1.0), (8, 1.0))
    assert fabric.route(5, HOST, HBM) == ((6, 1.0), (8, 1.0))
    assert fabric.route(5, HOST, DISK) == ((8, 1.0), (10, 1.0))
    assert fabric.route(5, DISK, HBM) == ((6, 1.0), (8, 2.0), (9, 1.0))


def test_a_copy_is_striped_over_the_ranks() -> None:
    assert Fabric(node(), 2, 4).route(1, HBM, HOST) == ((2, 0.5), (3, 0.5), (8, 1.0))
    uneven = Fabric(node(), 2, 3)
    assert uneven.route(0, HBM, HOST) == ((0, 2 / 3), (1, 1 / 3), (8, 1.0))
    assert uneven.route(1, HBM, HOST) == ((1, 1 / 3), (2, 2 / 3), (8, 1.0))


def test_a_replica_on_two_nodes_uses_the_roots_memories_and_drives_of_both() -> None:
    fabric = Fabric(node(accelerators=4), 2, 6)
    # Seven resources a node: two roots out, two in, memory, read, write; the second replica begins at the third node.
    assert fabric.route(1, HBM, HOST) == ((14, 1 / 3), (15, 1 / 3), (18, 2 / 3), (21, 1 / 3), (25, 1 / 3))
    assert fabric.route(0, HOST, DISK) == ((4, 2 / 3), (6, 2 / 3), (11, 1 / 3), (13, 1 / 3))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 20), st.integers(1, 12), st.sampled_from(WAYS))
def test_all_bytes_pass_roots_once_and_memory_once_or_twice(
    accelerators: int, shared_by: int, ranks: int, replicas: int, way: tuple[int, int]
) -> None:
    fabric = Fabric(node(accelerators, shared_by), replicas, ranks)
    size, roots = len(fabric.node.capacities), fabric.node.roots
    for replica in range(replicas):
        weights = [0.0] * size
        for resource, weight in fabric.route(replica, *way):
            assert 0 <= resource < len(fabric.capacities)
            weights[resource % size] += weight
        out, into, memory = sum(weights[:roots]), sum(weights[roots : 2 * roots]), weights[-3]
        assert out == pytest.approx(int(way[0] == HBM))
        assert into == pytest.approx(int(way[1] == HBM))
        assert memory == pytest.approx(2 if way[0] == DISK else 1)
        assert weights[-2:] == pytest.approx([int(way[0] == DISK), int(way[1] == DISK)])


def test_replicas_of_two_nodes_share_nothing() -> None:
    fabric = Fabric(node(), 5, 3)
    used = [{resource for way in WAYS for resource, _ in fabric.route(replica, *way)} for replica in range(5)]
    for (a, mine), (b, theirs) in combinations(enumerate(used), 2):
        assert bool(mine & theirs) == (fabric.node_of(a) == fabric.node_of(b))


@pytest.mark.parametrize("way", [(HBM, DISK), (DISK, HOST), (HBM, HBM), (3, 0)])
def test_no_copy_between_other_tiers(way: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"expected a copy between tiers 0 to 1, .*, found \d to \d"):
        Fabric(node(), 1, 1).route(0, *way)


# Rates of a lone copy


@pytest.mark.parametrize("hardware", names("hardware"))
@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_a_lone_copy_has_the_rate_of_the_closed_form(hardware: str, ranks: int) -> None:
    s = scenario("paper-34b", hardware, deployment__tensor_parallel=ranks)
    fabric = Fabric.of(s)
    for way in ((HBM, HOST), (HOST, HBM)):
        assert max_min_rates(fabric.capacities, [fabric.route(0, *way)]) == [host_link_bytes_per_s(s)]


def test_a_scenario_s_machine() -> None:
    s = scenario("paper-34b", "a100-80gb-sxm", deployment__replicas=5, deployment__tensor_parallel=4)
    h = s.hardware
    fabric = Fabric.of(s)
    assert (fabric.replicas, fabric.ranks, fabric.nodes) == (5, 4, 3)
    assert fabric.node.capacities == (h.host_link_bytes_per_s,) * 8 + (
        h.host_memory_bytes_per_s,
        h.nvme_read_bytes_per_s,
        h.nvme_write_bytes_per_s,
    )
    assert Fabric.of(s, 1e9).node.root_bytes_per_s == 1e9


def test_disk_copies_go_at_the_rate_of_the_drives_or_of_half_the_memory() -> None:
    fabric = Fabric(node(), 1, 8)
    assert fabric.lone_bytes_per_s(0, HOST, DISK) == 30.0
    assert fabric.lone_bytes_per_s(0, DISK, HBM) == 50.0
    assert Fabric(node(memory=60.0), 1, 8).lone_bytes_per_s(0, DISK, HBM) == 30.0


# Max-min fair rates


def in_drops(capacities: Sequence[float], routes: Sequence[Route], drop: float) -> list[float]:
    """Every copy gets drop after drop in turn, as long as all that it passes has room for one."""
    rates, used = [0.0] * len(routes), [0.0] * len(capacities)
    growing = True
    while growing:
        growing = False
        for copy, route in enumerate(routes):
            if all(used[r] + weight * drop <= capacities[r] for r, weight in route):
                growing = True
                rates[copy] += drop
                for r, weight in route:
                    used[r] += weight * drop
    return rates


def test_three_ranks_over_roots_of_two_against_drops() -> None:
    """Two replicas of three share the middle root of 0 0 1 | 1 2 2; a third copy comes in the other way."""
    fabric = Fabric(node(memory=70.0), 2, 3)
    routes = [fabric.route(0, HBM, HOST), fabric.route(1, HBM, HOST), fabric.route(1, DISK, HBM)]
    rates = max_min_rates(fabric.capacities, routes)
    assert rates == pytest.approx(in_drops(fabric.capacities, routes, 0.001), abs=0.005)
    assert rates == pytest.approx([17.5, 17.5, 17.5])  # the memory binds all: 70 / (1 + 1 + 2)
    roomy = Fabric(node(), 2, 3)
    assert max_min_rates(roomy.capacities, routes) == pytest.approx(
        [37.5, 37.5, 37.5]
    )  # roots of two ranks: 25 / (2/3)


def test_those_that_are_not_bound_get_what_the_others_leave() -> None:
    # Copies 0 and 1 share resource 0; copies 1 and 2 share resource 1.
    routes: list[Route] = [((0, 1.0),), ((0, 1.0), (1, 1.0)), ((1, 1.0),)]
    assert max_min_rates([10.0, 30.0], routes) == [5.0, 5.0, 25.0]
    assert max_min_rates([10.0, 30.0], routes[:1]) == [10.0]
    assert max_min_rates([10.0, 30.0], []) == []


@st.composite
def shared_resources(draw: st.DrawFn) -> tuple[list[float], list[Route]]:
    capacities = draw(st.lists(st.floats(1.0, 100.0), min_size=1, max_size=5))
    weights = st.sampled_from([1 / 8, 1 / 3, 0.5, 2 / 3, 1.0, 2.0])
    passed = st.dictionaries(st.integers(0, len(capacities) - 1), weights, min_size=1)
    routes = draw(st.lists(passed.map(lambda route: tuple(sorted(route.items()))), min_size=1, max_size=7))
    return capacities, routes


@given(shared_resources())
def test_rates_are_max_min_fair(case: tuple[list[float], list[Route]]) -> None:
    """They are if and only if each copy passes a full resource on which no other is faster (Bertsekas and Gallager)."""
    capacities, routes = case
    rates = max_min_rates(capacities, routes)
    used = [0.0] * len(capacities)
    for route, rate in zip(routes, rates, strict=True):
        for r, weight in route:
            used[r] += weight * rate
    assert all(u <= c * (1 + 1e-12) for u, c in zip(used, capacities, strict=True))
    fastest = [
        max((rates[i] for i, route in enumerate(routes) if r in dict(route)), default=0.0) for r in range(len(used))
    ]
    for route, rate in zip(routes, rates, strict=True):
        full = [r for r, _ in route if used[r] >= capacities[r] * (1 - 1e-12)]
        assert any(rate >= fastest[r] * (1 - 1e-12) for r in full)


@given(shared_resources(), st.randoms())
def test_the_order_of_copies_is_of_no_account(case: tuple[list[float], list[Route]], random: Random) -> None:
    capacities, routes = case
    order = random.sample(range(len(routes)), len(routes))
    shuffled = max_min_rates(capacities, [routes[i] for i in order])
    assert shuffled == pytest.approx([max_min_rates(capacities, routes)[i] for i in order], rel=1e-12)
