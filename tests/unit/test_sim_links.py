"""Copies over links by hand: rates shared, queues kept, set-ups, hooks and their times."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import simpy

from ctxsim.cost.topology import DISK, HBM, HOST, Fabric, Node
from ctxsim.sim.fluid import Fluid
from ctxsim.sim.jump import COMPLETION_MOMENT_S, PLANNING_DELAY_S
from ctxsim.sim.links import Copy, Links

OUT, INTO, WRITE, READ = (HBM, HOST), (HOST, HBM), (HOST, DISK), (DISK, HBM)


def fabric(
    replicas: int = 1, ranks: int = 1, shared_by: int = 1, memory: float = 1000.0, accelerators: int = 8
) -> Fabric:
    """Roots of 10 bytes/s, drives that read 8 and write 4 bytes/s."""
    return Fabric(Node(accelerators, shared_by, 10.0, memory, 8.0, 4.0), replicas, ranks)


class Bench:
    """Links with orders at given times, and all that they told, in order."""

    def __init__(self, of: Fabric) -> None:
        self.env = simpy.Environment()
        self.links = Links(self.env, of, self._rate_changed)
        self.ended: list[Copy] = []
        self.rates: list[tuple[int, float, float]] = []

    def copy(self, way: tuple[int, int], amount: float, replica: int = 0, setup_s: float = 0.0) -> Copy:
        return Copy(replica, *way, amount, 1, setup_s, self._end)

    def order(self, at_s: float, way: tuple[int, int], amount: float, replica: int = 0, setup_s: float = 0.0) -> Copy:
        """The order goes out at that time, which is the environment's."""
        copy = self.copy(way, amount, replica, setup_s)
        self.at(at_s, lambda: self.links.order(copy, at_s))
        return copy

    def at(self, at_s: float, act: Callable[[], None]) -> None:
        self.env.timeout(at_s).callbacks.append(lambda _: act())

    def run(self) -> Bench:
        self.env.run()
        return self

    def _end(self, copy: Copy) -> None:
        assert copy.end_s <= self.env.now <= copy.end_s + COMPLETION_MOMENT_S * 1.001
        self.ended.append(copy)

    def _rate_changed(self, replica: int, at_s: float) -> None:
        assert at_s <= self.env.now
        self.rates.append((replica, at_s, self.links.copy_bytes_per_s(replica)))


# Alone


@pytest.mark.parametrize(
    ("way", "rate"), [(OUT, 10.0), (INTO, 10.0), (WRITE, 4.0), (READ, 8.0)], ids=["out", "into", "write", "read"]
)
def test_a_lone_copy_takes_its_bytes_over_the_rate(way: tuple[int, int], rate: float) -> None:
    bench = Bench(fabric())
    copy = bench.order(3.0, way, 70.0)
    bench.run()
    assert (copy.ordered_s, copy.start_s, copy.end_s) == (3.0, 3.0, 3.0 + 70.0 / rate)
    told = [] if way == WRITE else [(0, 3.0, rate), (0, copy.end_s, 0.0)]
    assert bench.rates == told


def test_a_set_up_comes_first_and_moves_nothing() -> None:
    bench = Bench(fabric())
    copy = bench.order(1.0, OUT, 20.0, setup_s=0.5)
    bench.run()
    assert (copy.start_s, copy.end_s) == (1.0, 3.5)
    assert bench.rates == [(0, 1.5, 10.0), (0, 3.5, 0.0)]


def test_a_copy_of_nothing_ends_after_its_set_up() -> None:
    bench = Bench(fabric())
    copies = [bench.order(1.0, OUT, 0.0, setup_s=0.5), bench.order(1.0, INTO, 0.0)]
    behind = bench.order(1.0, INTO, 10.0)
    bench.run()
    assert [copy.end_s for copy in copies] == [1.5, 1.0]
    assert (behind.start_s, behind.end_s) == (1.0, 2.0)
    assert bench.rates == [(0, 1.0, 10.0), (0, 2.0, 0.0)]


def test_a_copy_that_ends_at_once_is_still_told_of_later() -> None:
    """Never from within the order, so that whoever orders is not called back amid its own work."""
    bench = Bench(fabric())
    bench.links.order(bench.copy(OUT, 0.0), 0.0)
    assert not bench.ended
    assert len(bench.run().ended) == 1


def test_no_copy_between_other_tiers() -> None:
    bench = Bench(fabric())
    bench.links.order(bench.copy(OUT, 1.0), 0.0)
    with pytest.raises(ValueError, match="expected a copy between tiers"):
        bench.links.order(bench.copy((HBM, DISK), 1.0), 0.0)
    assert len(bench.run().ended) == 1


# Queues


def test_copies_of_one_queue_go_one_after_the_other_with_their_set_ups() -> None:
    bench = Bench(fabric())
    copies = [bench.order(0.0, OUT, 20.0, setup_s=1.0), bench.order(0.5, OUT, 5.0, setup_s=0.25)]
    late = bench.order(9.0, OUT, 10.0)
    bench.run()
    assert [(c.start_s, c.end_s) for c in copies] == [(0.0, 3.0), (3.0, 3.75)]
    assert (late.start_s, late.end_s) == (9.0, 10.0)
    assert bench.ended == [*copies, late]


def test_reads_from_disk_queue_with_those_from_memory_and_writes_to_disk_do_not() -> None:
    bench = Bench(fabric())
    copies = [bench.order(0.0, READ, 8.0), bench.order(0.0, INTO, 10.0), bench.order(0.0, WRITE, 4.0)]
    bench.run()
    assert [(c.start_s, c.end_s) for c in copies] == [(0.0, 1.0), (1.0, 2.0), (0.0, 1.0)]


def test_queued_copies_alone_take_the_sum_of_their_times() -> None:
    bench = Bench(fabric())
    amounts = [2.5, 0.0, 15.0, 5.0, 7.5]
    for amount in amounts:
        bench.order(0.0, INTO, amount, setup_s=0.5)
    bench.run()
    assert bench.ended[-1].end_s == sum(amounts) / 10.0 + 0.5 * len(amounts)


# Sharing


def test_both_directions_at_full_rate() -> None:
    bench = Bench(fabric())
    copies = [bench.order(0.0, OUT, 20.0), bench.order(0.0, INTO, 20.0)]
    bench.run()
    assert [c.end_s for c in copies] == [2.0, 2.0]
    assert bench.rates == [(0, 0.0, 10.0), (0, 0.0, 20.0), (0, 2.0, 0.0)]


def test_two_replicas_behind_one_root_get_half_each() -> None:
    bench = Bench(fabric(replicas=2, shared_by=2))
    first, second = bench.order(0.0, OUT, 30.0), bench.order(1.0, OUT, 10.0, replica=1)
    bench.run()
    # 10 bytes alone, then 5 bytes/s each for 2 s, then 10 bytes alone.
    assert (first.end_s, second.end_s) == (4.0, 3.0)
    assert bench.rates == [
        (0, 0.0, 10.0),
        (0, 1.0, 5.0),
        (1, 1.0, 5.0),
        (0, 3.0, 10.0),
        (1, 3.0, 0.0),
        (0, 4.0, 0.0),
    ]


def test_replicas_behind_their_own_roots_or_on_other_nodes_do_not_share() -> None:
    for of in (fabric(replicas=2), fabric(replicas=2, shared_by=8, accelerators=1)):
        bench = Bench(of)
        copies = [bench.order(0.0, OUT, 20.0, replica) for replica in range(2)]
        bench.run()
        assert [c.end_s for c in copies] == [2.0, 2.0]
        assert bench.rates == [(0, 0.0, 10.0), (1, 0.0, 10.0), (0, 2.0, 0.0), (1, 2.0, 0.0)]


def test_what_shares_nothing_does_not_touch_a_copy_s_bits() -> None:
    bench = Bench(fabric(replicas=2))
    copy = bench.order(0.1, OUT, 70.3)
    for at_s in (0.37, 1.1, 4.9):
        bench.order(at_s, OUT, 3.3, replica=1)
    bench.run()
    assert copy.end_s == 0.1 + 70.3 / 10.0


def test_host_memory_binds_all_copies_of_a_node_together() -> None:
    bench = Bench(fabric(replicas=4, memory=20.0))
    copies = [bench.order(0.0, OUT, 10.0, replica) for replica in range(4)]
    into = bench.order(0.0, INTO, 20.0)
    bench.run()
    # 20 bytes/s over five copies: 4 each until 2.5 s; then the last one alone, at its root's 10.
    assert [c.end_s for c in copies] == [2.5] * 4
    assert into.end_s == 3.5


def test_a_copy_from_disk_takes_memory_twice() -> None:
    bench = Bench(fabric(replicas=2, memory=12.0))
    disk, host = bench.order(0.0, READ, 40.0), bench.order(0.0, INTO, 4.0, replica=1)
    bench.run()
    # 2 r + r = 12: 4 bytes/s each for 1 s; then 6 bytes/s for the 36 bytes left.
    assert (host.end_s, disk.end_s) == (1.0, 7.0)


def test_four_ranks_over_two_roots() -> None:
    bench = Bench(fabric(replicas=1, ranks=4, shared_by=2))
    copy = bench.order(0.0, OUT, 60.0)
    assert bench.run().ended == [copy]
    assert copy.end_s == 3.0
    assert bench.links.moved_bytes(3.0)[:4] == [30.0, 30.0, 0.0, 0.0]


def test_ranks_lie_unevenly_on_roots() -> None:
    """0 0 1 | 1 2 2: each replica fills its own root at 15 bytes/s and the shared one to the brim together."""
    bench = Bench(fabric(replicas=2, ranks=3, shared_by=2))
    copies = [bench.order(0.0, OUT, 45.0, replica) for replica in range(2)]
    bench.run()
    assert [c.end_s for c in copies] == pytest.approx([3.0, 3.0])
    assert bench.links.moved_bytes(3.0)[:4] == pytest.approx([30.0, 30.0, 30.0, 0.0])


def test_rates_do_not_depend_on_who_began_first() -> None:
    """To the last bit: 0.1 + 0.2 + 0.3 is not 0.3 + 0.2 + 0.1."""
    weights = {(0, 0): 0.1, (0, 1): 0.2, (1, 0): 0.3}
    rates = []
    for keys in (list(weights), list(reversed(weights))):
        fluid = Fluid([7.0])
        for key in keys:
            fluid.begin(key, ((0, weights[key]),), 50.0, 1.0)
        rates.append(list(fluid.rates()))
    assert rates[0] == rates[1]


# What is told, and when


def test_nothing_is_told_where_nothing_changed() -> None:
    """One copy follows the other at the same rate; a write to disk does not touch HBM."""
    bench = Bench(fabric(replicas=2))
    bench.order(0.0, OUT, 10.0)
    bench.order(0.0, OUT, 10.0)
    bench.order(0.5, WRITE, 4.0)
    bench.order(0.5, WRITE, 4.0, replica=1)
    bench.run()
    assert bench.rates == [(0, 0.0, 10.0), (0, 2.0, 0.0)]


def test_ends_of_one_time_are_told_by_replica_then_queue() -> None:
    bench = Bench(fabric(replicas=3, accelerators=2))
    for replica, way in ((2, INTO), (1, INTO), (1, OUT), (0, WRITE), (0, OUT), (2, OUT)):
        bench.order(0.0, way, 4.0 if way == WRITE else 10.0, replica)
    bench.run()
    assert [(c.replica, c.source, c.target) for c in bench.ended] == [
        (0, *OUT),
        (0, *WRITE),
        (1, *OUT),
        (1, *INTO),
        (2, *OUT),
        (2, *INTO),
    ]


def test_ends_that_differ_in_their_last_bits_are_of_one_time() -> None:
    bench = Bench(fabric(replicas=2))
    late, early = bench.order(0.0, OUT, 10.0 + 1e-10), bench.order(0.0, OUT, 10.0, replica=1)
    bench.run()
    assert early.end_s < late.end_s
    assert bench.ended == [late, early]
    # The moment's changes of a node are told once, of the last of them.
    assert bench.rates[2:] == [(0, late.end_s, 0.0), (1, late.end_s, 0.0)]


def test_who_is_told_of_an_end_may_order_at_once() -> None:
    """The next copy of the queue takes over, so nobody is told of a change."""
    bench = Bench(fabric())
    copies = [bench.copy(OUT, 10.0) for _ in range(3)]
    for copy, following in pairwise(copies):
        copy.on_end = lambda done, following=following: bench.links.order(following, done.end_s)  # type: ignore[misc]
    bench.at(0.0, lambda: bench.links.order(copies[0], 0.0))
    bench.run()
    assert [c.end_s for c in copies] == [1.0, 2.0, 3.0]
    assert bench.rates == [(0, 0.0, 10.0), (0, 3.0, 0.0)]


def test_a_moment_s_ends_are_told_before_its_rates() -> None:
    """Also where one of those that are told orders more: all of them see their ends before others act on rates."""
    bench = Bench(fabric(replicas=2, shared_by=2))
    told: list[tuple[str, int]] = []
    bench.links = Links(bench.env, fabric(replicas=2, shared_by=2), lambda replica, _: told.append(("rate", replica)))
    copies = [bench.copy(OUT, 10.0, replica) for replica in (0, 1)]
    more = bench.copy(OUT, 10.0)

    def end(copy: Copy) -> None:
        told.append(("end", copy.replica))
        if copy is copies[0]:
            bench.links.order(more, copy.end_s)

    copies[0].on_end = copies[1].on_end = end
    for copy in copies:
        bench.links.order(copy, 0.0)
    told.clear()
    bench.run()
    assert told == [("end", 0), ("end", 1), ("rate", 0), ("rate", 1), ("rate", 0)]
    assert more.end_s == 3.0


def test_a_wake_that_was_overtaken_cuts_no_moment_short() -> None:
    """Replica 1's end was first awaited at 2 s, then moved by 0.1 ns; replica 0's follows within a moment of that."""
    bench = Bench(fabric(replicas=4, shared_by=2))
    moved = bench.order(0.0, OUT, 20.0, replica=1)
    bench.order(0.5, OUT, 5.0, replica=2)
    bench.order(2.0 - 1e-10, OUT, 50.0)
    follower = bench.order(0.0, INTO, 10.0 * (2.0 + 3e-10))
    bench.run()
    assert 2.0 < moved.end_s < 2.0 + COMPLETION_MOMENT_S < follower.end_s < moved.end_s + COMPLETION_MOMENT_S
    assert bench.ended[1:3] == [follower, moved]


def test_a_clock_behind_the_environment_s_sets_the_times() -> None:
    """A replica plans a moment after its boundary: its order is of the boundary, and so are all times that follow."""
    bench = Bench(fabric(replicas=2, shared_by=2))
    copies = [bench.copy(OUT, 10.0), bench.copy(OUT, 10.0, replica=1)]
    bench.at(1.0 + PLANNING_DELAY_S, lambda: bench.links.order(copies[0], 1.0))
    bench.at(1.5 + PLANNING_DELAY_S, lambda: bench.links.order(copies[1], 1.5))
    bench.run()
    assert [(c.start_s, c.end_s) for c in copies] == [(1.0, 2.5), (1.5, 3.0)]


def test_an_order_may_lie_before_the_last_change() -> None:
    """Another replica's clock was ahead by less than the planning delay: the fluid does not go back."""
    bench = Bench(fabric(replicas=2, shared_by=2))
    ahead, behind = bench.copy(OUT, 10.0), bench.copy(OUT, 10.0, replica=1)

    def both() -> None:
        bench.links.order(ahead, 1.0 + 1e-9)
        bench.links.order(behind, 1.0)
        assert bench.links.moved_bytes(1.0)[0] == 0.0

    bench.at(1.0 + PLANNING_DELAY_S, both)
    bench.run()
    assert (ahead.start_s, behind.start_s) == (1.0 + 1e-9, 1.0)
    assert [ahead.end_s, behind.end_s] == [1.0 + 1e-9 + 2.0] * 2
    assert bench.links.moved_bytes(3.1)[0] == 20.0


def test_an_order_after_an_end_that_is_not_yet_told() -> None:
    """At 2 s the copy before has ended, though the moment of its end is not over: no waiting, no overlap."""
    bench = Bench(fabric())
    before, after = bench.order(1.0, OUT, 10.0), bench.order(2.0, OUT, 10.0)
    bench.run()
    assert (before.end_s, after.start_s, after.end_s) == (2.0, 2.0, 3.0)
    assert bench.ended == [before, after]


def test_an_earlier_end_overtakes_one_that_was_awaited() -> None:
    bench = Bench(fabric(replicas=2, shared_by=2))
    long, short = bench.order(0.0, OUT, 100.0), bench.order(1.0, INTO, 5.0)
    ended_at = []
    short.on_end = lambda copy: ended_at.append((copy.end_s, bench.env.now))
    bench.run()
    assert ended_at == [(1.5, pytest.approx(1.5, abs=1e-9))]
    assert long.end_s == 10.0


# Questions


def test_rates_and_backlog_as_they_change() -> None:
    bench = Bench(fabric(replicas=2, shared_by=2))
    seen: list[tuple[float, ...]] = []

    def ask() -> None:
        now_s, links = bench.env.now, bench.links
        rates = links.copy_bytes_per_s(0), links.copy_bytes_per_s(1)
        seen.append((*rates, links.backlog_s(0, *OUT, now_s), links.backlog_s(0, *INTO, now_s)))

    bench.order(0.0, OUT, 40.0)
    bench.order(0.0, OUT, 10.0, setup_s=0.5)
    bench.order(2.0, OUT, 10.0, replica=1)
    for at_s in (0.5, 2.5, 4.5, 6.25, 9.0):
        bench.at(at_s, ask)
    assert bench.links.backlog_s(0, *OUT, 0.0) == 0.0
    bench.run()
    # At 2.5 s: 17.5 bytes at 5/s, 0.5 s of set-up, 10 bytes at 5/s. The first ends at 5 s, the second flows from 5.5 s.
    assert seen == [(10, 0, 3.5 + 1.5, 0), (5, 5, 3.5 + 2.5, 0), (10, 0, 0.5 + 1.5, 0), (10, 0, 0.25, 0), (0, 0, 0, 0)]


def test_the_backlog_of_a_set_up_counts_what_will_flow() -> None:
    bench = Bench(fabric(replicas=2, shared_by=2))
    seen: list[float] = []
    bench.order(0.0, INTO, 20.0, setup_s=3.0)
    bench.order(0.0, INTO, 100.0, replica=1)
    bench.at(1.0, lambda: seen.append(bench.links.backlog_s(0, *READ, 1.0)))
    bench.run()
    assert seen == [2.0 + 20.0 / 5.0]


def test_bytes_and_busy_seconds_up_to_any_time() -> None:
    bench = Bench(fabric(replicas=2))
    bench.order(0.0, OUT, 20.0, setup_s=1.0)
    bench.order(2.0, INTO, 20.0)
    bench.order(0.0, WRITE, 4.0, replica=1)
    bench.order(10.0, READ, 16.0)
    moved: dict[float, list[float]] = {}
    busy_s: dict[float, list[float]] = {}

    def ask(at_s: float) -> None:
        passed = bench.links.moved_bytes(at_s)
        moved[at_s] = [passed[r] for r in (0, 8, 16, 17, 18)]  # first root out and in, memory, disk read and write
        busy_s[at_s] = bench.links.replica_busy_s(at_s)

    for at_s in (0.5, 2.5, 11.0):
        bench.at(at_s, lambda at_s=at_s: ask(at_s))  # type: ignore[misc]
    bench.run()
    assert moved == {0.5: [0, 0, 2, 0, 2], 2.5: [15, 5, 24, 0, 4], 11.0: [20, 28, 4 + 40 + 16, 8, 4]}
    assert busy_s == {0.5: [0.5, 0], 2.5: [2.5, 0], 11.0: [5.0, 0]}
    assert bench.links.replica_busy_s(20.0) == [4.0 + 2.0, 0.0]


def test_bytes_never_exceed_a_copy_whose_end_is_not_yet_told() -> None:
    bench = Bench(fabric())
    bench.order(0.0, OUT, 10.0)
    moved: list[float] = []
    within_s = 1.0 + COMPLETION_MOMENT_S / 2
    bench.at(within_s, lambda: moved.append(bench.links.moved_bytes(within_s)[0]))
    bench.run()
    assert moved == [10.0]


def test_busy_seconds_count_both_directions_once_and_pauses_not() -> None:
    bench = Bench(fabric())
    for at_s, way, amount in ((0.0, OUT, 10.0), (0.5, INTO, 10.0), (1.0, OUT, 2.5), (4.0, INTO, 10.0)):
        bench.order(at_s, way, amount)
    bench.run()
    assert bench.links.replica_busy_s(9.0) == [1.5 + 1.0]
