"""A replica in its place: its part of a node's memory, the roots it shares, its law beside copies, whom it tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import simpy
from support.cases import Case, engine, stub_cost
from support.laws import ConstantLaw
from support.sources import ListSource, at

from ctxsim.cost import CostModel, Law
from ctxsim.engine import IncrementalBatch, Move
from ctxsim.engine.extents import Extent
from ctxsim.engine.queues import Fifo
from ctxsim.engine.tiers import DISK, HBM, HOST
from ctxsim.sim.charges import Charges
from ctxsim.sim.cluster import Cluster
from ctxsim.sim.journal import Journal, ServedRequest
from ctxsim.sim.links import Copy
from ctxsim.sim.quotes import NextUses
from ctxsim.sim.station import MOST_LAWS, Site, Station
from ctxsim.spec.scenario import Scenario
from ctxsim.workload.demand import Demand

COST = stub_cost(block_size=1, capacity_bytes=100.0, law=ConstantLaw(1.0))


def machine(
    *, replicas: int = 1, ranks: int = 1, per_node: int = 8, shared_by: int = 1, router: str = "session_affinity",
    **serving: Any,
) -> Scenario:  # fmt: skip
    """Links of 10 bytes/s, host memory of 800 bytes and disk of 1600 bytes a node."""
    limits = engine()
    settings = {"residency": "swap", "host_kv_capacity": 800.0, "disk_kv_capacity": 1600.0, "block_size": 1} | serving
    shape = {"replicas": replicas, "tensor_parallel": ranks, "accelerators_per_node": per_node, "router": router}
    hardware = replace(
        limits.hardware, host_link_bytes_per_s=10.0, host_link_shared_by=shared_by, host_memory_bytes_per_s=1e6
    )
    return replace(
        limits,
        serving=limits.serving.model_copy(update=settings),
        deployment=limits.deployment.model_copy(update=shape),
        hardware=hardware,
    )


def cluster(*kinds: Scenario, demands: Sequence[Demand] = ()) -> Cluster:
    cost = cast(CostModel, COST)
    others = [(scenario, cost) for scenario in kinds[1:]]
    return Cluster(kinds[0], cost, ListSource(demands), others=others, keep_history=True)


# Memory below HBM


def capacities(found: Cluster) -> list[tuple[float, float]]:
    stores = [station.core.cache.holdings.stores for station in found.stations]
    return [(s.host.capacity_bytes, s.disk.capacity_bytes) for s in stores]


@pytest.mark.parametrize(
    ("shape", "host_bytes"),
    [
        ({"replicas": 1}, 800.0),
        ({"replicas": 2}, 400.0),
        ({"replicas": 8}, 100.0),
        ({"replicas": 16}, 100.0),  # on two nodes
        ({"replicas": 3, "ranks": 4}, 400.0),  # two fit a node; the third shares with nobody and has no more
        ({"replicas": 2, "ranks": 8}, 800.0),
        ({"replicas": 1, "ranks": 16}, 1600.0),  # a replica on two nodes has the memory of both
        ({"replicas": 4, "per_node": 2}, 400.0),
    ],
)
def test_replicas_on_one_node_share_its_host_memory_and_disk(shape: dict[str, int], host_bytes: float) -> None:
    found = capacities(cluster(machine(**shape)))  # type: ignore[arg-type]
    assert found == [(host_bytes, 2 * host_bytes)] * shape["replicas"]


def test_replicas_of_another_kind_have_nodes_of_their_own() -> None:
    found = cluster(machine(replicas=2), machine(replicas=1), machine(replicas=4))
    assert capacities(found) == [(400.0, 800.0)] * 2 + [(800.0, 1600.0)] + [(200.0, 400.0)] * 4
    assert [s.replica.number for s in found.stations] == list(range(7))


@pytest.mark.parametrize("residency", ["keep", "recompute"])
def test_policies_that_never_swap_have_nothing_below_hbm(residency: str) -> None:
    assert capacities(cluster(machine(residency=residency))) == [(0.0, 0.0)]


# Shared roots: as many sessions as replicas, each swapped out at 5 s (30 bytes, 3 s alone) by a prompt that fills HBM.


def copies_s(
    found: Cluster, swapping: Sequence[int], replicas: int, tokens: Sequence[int] = (30, 30, 30, 30)
) -> dict[int, float]:
    """How long the copies out of HBM of these replicas took, of so many tokens each."""
    first = [Demand(i, 0.0, tokens[i], 1, session=i, turn=0, last=False) for i in range(replicas)]
    filling = [Demand(replicas + i, 5.0, 100, 1, session=replicas + i, turn=0) for i in range(replicas)]
    source = ListSource([*first, *(filling[i] for i in swapping)])
    found._source = source
    rows = found.run().transfers.table()
    assert set(rows["source"]) == {HBM}
    return dict(zip(rows["replica"].tolist(), (rows["end_s"] - rows["start_s"]).tolist(), strict=True))


@pytest.mark.parametrize(
    ("shared_by", "swapping", "expected_s"),
    [
        (1, (0, 1, 2, 3), {0: 3.0, 1: 3.0, 2: 3.0, 3: 3.0}),
        (2, (0, 1, 2, 3), {0: 6.0, 1: 6.0, 2: 6.0, 3: 6.0}),
        (4, (0, 1, 2, 3), {0: 12.0, 1: 12.0, 2: 12.0, 3: 12.0}),
        (2, (1, 2), {1: 3.0, 2: 3.0}),  # behind different roots
        (2, (0, 1, 2), {0: 6.0, 1: 6.0, 2: 3.0}),
        (8, (0, 1, 3), {0: 9.0, 1: 9.0, 3: 9.0}),
    ],
)
def test_replicas_behind_one_root_share_it(
    shared_by: int, swapping: tuple[int, ...], expected_s: dict[int, float]
) -> None:
    found = cluster(machine(replicas=4, shared_by=shared_by))
    assert copies_s(found, swapping, 4) == pytest.approx(expected_s, rel=1e-9)


def test_a_root_is_all_the_other_s_once_one_is_done() -> None:
    """30 and 60 bytes at 5 bytes/s each until 6 s, then the 30 that are left at 10."""
    found = cluster(machine(replicas=2, shared_by=2))
    assert copies_s(found, (0, 1), 2, tokens=(30, 60)) == pytest.approx({0: 6.0, 1: 9.0}, rel=1e-9)


def test_replicas_on_different_nodes_and_of_different_kinds_share_no_root() -> None:
    nodes = cluster(machine(replicas=4, shared_by=8, per_node=2))
    assert copies_s(nodes, (0, 1, 2), 4) == pytest.approx({0: 6.0, 1: 6.0, 2: 3.0}, rel=1e-9)
    kinds = cluster(machine(replicas=2, shared_by=8), machine(replicas=1, shared_by=8), machine(shared_by=8))
    assert copies_s(kinds, (0, 1, 2, 3), 4) == pytest.approx({0: 6.0, 1: 6.0, 2: 3.0, 3: 3.0}, rel=1e-9)


# One station and what is around it


class FakeLinks:
    """Links that carry nothing: the rate they tell can be set."""

    def __init__(self) -> None:
        self.rate = 0.0
        self.asked: list[int] = []
        self.ordered: list[tuple[Copy, float]] = []

    def copy_bytes_per_s(self, replica: int) -> float:
        self.asked.append(replica)
        return self.rate

    def order(self, copy: Copy, at_s: float) -> None:
        self.ordered.append((copy, at_s))


class FakeUsers:
    """Users who only note whose queue moved."""

    releases = False

    def __init__(self) -> None:
        self.next_uses = NextUses()
        self.charges = Charges()
        self.moved: list[Station] = []

    def queue_moved(self, station: Station) -> None:
        self.moved.append(station)


class Bench:
    """The station of replica 5, the third of its kind."""

    def __init__(self, scenario: Scenario, waiting: Fifo | None = None, law: Law | None = None) -> None:
        self.laws: list[float] = []
        self.links, self.users = FakeLinks(), FakeUsers()
        cost = SimpleNamespace(
            spans=COST.spans, layout=replace_block_size(scenario), memory=COST.memory, law=COST.law,
            law_beside=self._law_beside,
        )  # fmt: skip
        site = Site(scenario, cast(CostModel, cost), cast(Any, self.links), first=3, law=law)
        decodes = IncrementalBatch(cost.spans, cost.layout)
        users: Any = self.users
        self.station = Station(simpy.Environment(), 5, site, decodes, Journal(1), users, waiting, hash_tokens=0)
        self.entries: list[float] = []
        self.station.ledger.admitted = self._admitted  # type: ignore[method-assign]

    def _law_beside(self, rate: float) -> Law:
        self.laws.append(rate)
        return ConstantLaw(1.0 + rate)

    def _admitted(self, request: ServedRequest, kept_bytes: float) -> None:
        self.entries.append(kept_bytes)

    def copying(self, rate: float) -> Law:
        """Its law once its copies move at that rate."""
        self.links.rate = rate
        self.station.rate_changed(0.0)
        return self.station.law()


def replace_block_size(scenario: Scenario) -> Any:
    return stub_cost(block_size=scenario.serving.block_size).layout


def test_the_law_beside_copies_is_made_once_for_each_rate() -> None:
    bench = Bench(machine(replicas=3))
    assert bench.station.law() is COST.law
    slow = bench.copying(4.0)
    assert bench.copying(9.0) is not slow
    assert bench.copying(4.0) is slow
    assert bench.copying(0.0) is COST.law
    assert bench.laws == [4.0, 9.0]
    assert set(bench.links.asked) == {2}, "links count the replicas of their own kind"


def test_no_more_laws_are_remembered_than_there_may_be() -> None:
    bench = Bench(machine())
    for rate in range(1, MOST_LAWS + 2):
        bench.copying(float(rate))
        assert len(bench.station._laws) <= MOST_LAWS
    bench.copying(1.0)
    assert bench.laws[-1] == 1.0, "the first had to go"


def test_a_law_that_is_given_is_the_same_whatever_is_copied() -> None:
    law = ConstantLaw(7.0)
    bench = Bench(machine(), law=law)
    assert bench.copying(4.0) is law
    assert bench.laws == []


@pytest.mark.parametrize(("source", "setup_s"), [(HBM, 0.6), (HOST, 0.6), (DISK, 0.85)])
def test_a_move_becomes_a_copy_of_whole_blocks_in_pieces(source: int, setup_s: float) -> None:
    """17 tokens are two blocks of 16, in 3 pieces of 0.1 s each; a read from disk has its latency first."""
    scenario = machine(block_size=16, copy_descriptor_overhead=0.1, copy_descriptors_per_block=3)
    scenario = replace(scenario, hardware=replace(scenario.hardware, nvme_latency_s=0.25))
    bench = Bench(scenario)
    bench.station.replica.clock_s = 12.0
    extent = Extent(None, ~0, 0, 17)
    extent.kept_bytes = 32.0
    target = HOST if source == HBM else HBM
    bench.station.send(Move(extent, source, target), computes=False)
    ((copy, at_s),) = bench.links.ordered
    assert at_s == 12.0
    assert (copy.replica, copy.source, copy.target, copy.moved_bytes) == (2, source, target, 32.0)
    assert copy.descriptors == 6
    assert copy.setup_s == pytest.approx(setup_s, rel=1e-12)


def test_a_copy_that_ends_tells_its_replica() -> None:
    bench = Bench(machine())
    ended: list[tuple[Copy, Move]] = []
    bench.station.replica.copied = lambda copy, move: ended.append((copy, move))  # type: ignore[method-assign]
    move = Move(Extent(None, ~0, 0, 4), HBM, HOST)
    bench.station.send(move, computes=False)
    copy = bench.links.ordered[0][0]
    copy.on_end(copy)
    assert ended == [(copy, move)]


@pytest.mark.parametrize(("known", "kept"), [(0, []), (15, [0.0]), (16, [16.0]), (50, [48.0])])
def test_the_ledger_hears_of_whole_blocks_of_what_was_computed_before(known: int, kept: list[float]) -> None:
    bench = Bench(machine(block_size=16))
    bench.station.admitted(ServedRequest(Demand(0, 0.0, 60, 1, session=0, turn=1, reusable_tokens=known)))
    assert bench.entries == kept


def test_who_is_admitted_asks_no_longer() -> None:
    bench = Bench(machine())
    asking = bench.users.next_uses.asking
    asking |= {4, 5}
    bench.station.admitted(ServedRequest(Demand(0, 0.0, 9, 1, session=4, turn=1, reusable_tokens=5)))
    assert asking == {5}


def served(index: int) -> ServedRequest:
    return ServedRequest(at(0.0, 9, 1, index))


@pytest.mark.parametrize(("queue", "admitted", "put_back"), [(None, 0, 0), (0, 0, 1), (1, 1, 1)])
def test_others_hear_of_a_queue_that_they_share_where_someone_is_next(
    queue: int | None, admitted: int, put_back: int
) -> None:
    """After an admission only where somebody still waits; whenever requests are put back."""
    shared = None if queue is None else Fifo(served(i) for i in range(queue))
    bench = Bench(machine(router="central_queue"), waiting=shared)
    bench.station.admitted(served(9))
    assert len(bench.users.moved) == admitted
    bench.users.moved.clear()
    bench.station.put_back()
    assert len(bench.users.moved) == put_back


def test_a_station_says_what_it_keeps_for_a_session() -> None:
    """Blocks of 16 of the 44 tokens that an answered turn leaves."""
    scenario = machine(block_size=16, residency="recompute")
    cost = stub_cost(block_size=16, law=ConstantLaw(1.0))
    demands = [Demand(0, 0.0, 40, 5, session=3, turn=0, last=False), at(100.0, 5, 1, 1)]
    found = Case(cost, scenario, demands).cluster()

    def kept(prompt: int) -> int:
        demand = Demand(2, 200.0, prompt, 1, session=3, turn=1, reusable_tokens=min(44, prompt))
        return found.stations[0].kept_tokens(ServedRequest(demand))

    assert kept(60) == 0
    found.run()
    assert [kept(60), kept(40), kept(33), kept(17), kept(1)] == [32, 32, 32, 16, 0]
    assert found.stations[0].outstanding == found.stations[0].waiting_tokens() == 0
