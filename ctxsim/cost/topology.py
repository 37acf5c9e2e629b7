"""Which host links, memories and drives a copy of KV passes, and the fair rates of copies that share them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from ctxsim.cost.host_link import Direction, way
from ctxsim.spec.scenario import Scenario

HBM, HOST, DISK = 0, 1, 2

Route = tuple[tuple[int, float], ...]
"""(resource, weight) pairs: a copy that moves B bytes passes weight x B of them through that resource."""

_OUT, _IN, _MEMORY, _DISK_READ, _DISK_WRITE = range(5)

_PASSES = {
    (HBM, HOST): (_OUT, _MEMORY),
    (HOST, HBM): (_IN, _MEMORY),
    (HOST, DISK): (_MEMORY, _DISK_WRITE),
    # The drive writes into host memory, from where the copy goes on.
    (DISK, HBM): (_DISK_READ, _MEMORY, _MEMORY, _IN),
}


@dataclass(frozen=True, slots=True)
class Node:
    """One server: ``accelerators`` of them, ``shared_by`` neighbours behind each root, and what they share.

    Rates in bytes/s (numbers, or arrays for a grid): of one root out of HBM and, where that is another, into it; of
    host memory both ways together; of all drives together.
    """

    accelerators: int
    shared_by: int
    root_bytes_per_s: Any
    memory_bytes_per_s: Any
    disk_read_bytes_per_s: Any
    disk_write_bytes_per_s: Any
    root_in_bytes_per_s: Any | None = None

    @property
    def roots(self) -> int:
        """Roots of the node; the last one may have fewer accelerators."""
        return -(-self.accelerators // self.shared_by)

    @property
    def capacities(self) -> tuple[Any, ...]:
        """Bytes/s of every resource: each root out of HBM, each root into HBM, memory, disk read, disk write."""
        shared = (self.memory_bytes_per_s, self.disk_read_bytes_per_s, self.disk_write_bytes_per_s)
        into = self.root_bytes_per_s if self.root_in_bytes_per_s is None else self.root_in_bytes_per_s
        return (self.root_bytes_per_s,) * self.roots + (into,) * self.roots + shared

    def resource(self, kind: int, accelerator: int) -> int:
        """The place in ``capacities`` of a root's direction, of memory or of disk, for a copy of that accelerator."""
        root = accelerator // self.shared_by
        if kind == _OUT:
            return root
        return self.roots + root if kind == _IN else 2 * self.roots + kind - _MEMORY


@dataclass(frozen=True, slots=True)
class Fabric:
    """Equal nodes and the replicas on them, ``ranks`` accelerators each.

    A replica lies within one node, as many to a node as fit; one that is larger has nodes of its own, filled in turn.
    Resources are numbered node by node, in the order of Node.capacities.
    """

    node: Node
    replicas: int
    ranks: int

    @classmethod
    def of(cls, scenario: Scenario, link_bytes_per_s: Any | None = None) -> Fabric:
        """The nodes of a scenario; ``link_bytes_per_s`` replaces a root's rate each way (a number or array)."""
        hardware, deployment = scenario.hardware, scenario.deployment
        node = Node(
            accelerators=deployment.accelerators_per_node,
            shared_by=hardware.host_link_shared_by,
            root_bytes_per_s=_rate(scenario, "to_host", link_bytes_per_s),
            memory_bytes_per_s=hardware.host_memory_bytes_per_s,
            disk_read_bytes_per_s=hardware.nvme_read_bytes_per_s,
            disk_write_bytes_per_s=hardware.nvme_write_bytes_per_s,
            root_in_bytes_per_s=_rate(scenario, "to_device", link_bytes_per_s),
        )
        return cls(node, deployment.replicas, deployment.ranks)

    @property
    def nodes(self) -> int:
        """How many nodes the replicas take."""
        return self._first_accelerator(self.replicas - 1) // self.node.accelerators + self._nodes_per_replica

    @property
    def capacities(self) -> tuple[Any, ...]:
        """Bytes/s of every resource of all nodes."""
        return self.node.capacities * self.nodes

    def node_of(self, replica: int) -> int:
        """The node of a replica, its first one where it has several; copies share resources only within it."""
        return self._first_accelerator(replica) // self.node.accelerators

    def route(self, replica: int, source: int, target: int) -> Route:
        """What a copy between two tiers passes, striped evenly over the ranks; in order of resource.

        Raises ValueError for tiers between which nothing is copied.
        """
        passes = _PASSES.get((source, target))
        if passes is None:
            ways = ", ".join(f"{start} to {end}" for start, end in _PASSES)
            raise ValueError(f"expected a copy between tiers {ways}, found {source} to {target}")
        first, node, size = self._first_accelerator(replica), self.node, len(self.node.capacities)
        ranks = Counter(
            accelerator // node.accelerators * size + node.resource(kind, accelerator % node.accelerators)
            for accelerator in range(first, first + self.ranks)
            for kind in passes
        )
        return tuple((resource, ranks[resource] / self.ranks) for resource in sorted(ranks))

    def lone_bytes_per_s(self, replica: int, source: int, target: int, minimum: Callable[..., Any] = min) -> Any:
        """Rate of a copy beside which nothing else is copied (arrays with ``minimum=numpy.minimum``)."""
        capacities = self.node.capacities
        route = self.route(replica, source, target)
        return reduce(minimum, (capacities[resource % len(capacities)] / weight for resource, weight in route))

    @property
    def _nodes_per_replica(self) -> int:
        return -(-self.ranks // self.node.accelerators)

    def _first_accelerator(self, replica: int) -> int:
        """The accelerators of all nodes in a row: where those of a replica begin."""
        fitting = self.node.accelerators // self.ranks
        if not fitting:
            return replica * self._nodes_per_replica * self.node.accelerators
        node, place = divmod(replica, fitting)
        return node * self.node.accelerators + place * self.ranks


def _rate(scenario: Scenario, direction: Direction, given_bytes_per_s: Any | None) -> Any:
    return way(scenario, direction).bytes_per_s if given_bytes_per_s is None else given_bytes_per_s


def max_min_rates(capacities: Sequence[float], routes: Sequence[Route]) -> list[float]:
    """Max-min fair rates in bytes/s: none can grow without one that is as small or smaller shrinking.

    Progressive filling (Bertsekas and Gallager, Data Networks, 2nd ed., section 6.5.2): all rates grow alike until a
    resource is full, those that pass it stay as they are, the others grow on. Rates are as exact as one division where
    one resource binds; their last bits depend on the order of the routes.
    """
    rates = [0.0] * len(routes)
    left = {resource: capacities[resource] for route in routes for resource, _ in route}
    growing = list(range(len(routes)))
    while growing:
        weights = dict.fromkeys(left, 0.0)
        for copy in growing:
            for resource, weight in routes[copy]:
                weights[resource] += weight
        levels = {resource: left[resource] / weight for resource, weight in weights.items() if weight}
        level = min(levels.values())
        full = {resource for resource, reached in levels.items() if reached == level}
        stopped = [copy for copy in growing if any(resource in full for resource, _ in routes[copy])]
        for copy in stopped:
            rates[copy] = level
            for resource, weight in routes[copy]:
                left[resource] -= weight * level
        growing = [copy for copy in growing if copy not in stopped]
    return rates
