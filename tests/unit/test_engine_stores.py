"""Host memory and disk: whose room is whose, who gives way, and what becomes of it."""

from __future__ import annotations

import pytest

from ctxsim.engine import DISK, HBM, HOST, Move, Tiers
from ctxsim.engine.extents import Extent
from ctxsim.engine.stores import Stores
from ctxsim.engine.tiers import LruOrder


def extent_of(key: int, kept_bytes: float = 10, *, in_: tuple[int, ...] = (HBM,), used_at: int = 0) -> Extent:
    """One that nobody holds, directly below the root."""
    extent = Extent(Extent(None, 0, 0, 0), key, 0, 4)
    extent.kept_bytes, extent.used_at = kept_bytes, used_at
    extent.tiers = sum(1 << tier for tier in in_)
    return extent


def following(parent: Extent, kept_bytes: float = 10, *, in_: tuple[int, ...], used_at: int = 0) -> Extent:
    child = extent_of(parent.key, kept_bytes, in_=in_, used_at=used_at)
    child.parent, child.start, child.end = parent, parent.end, parent.end + 4
    parent.children[child.key] = child
    return child


class Below:
    """Stores, what they order and whom they lose."""

    def __init__(self, host_bytes: float, disk_bytes: float = 0) -> None:
        self.orders: list[Move] = []
        self.lost: list[Extent] = []
        self.stores = Stores(Tiers(host_bytes, disk_bytes), self.orders, self.lost.append)

    def holding(self, *extents: Extent) -> None:
        """These lie in host memory, or on disk where their tiers say so."""
        for extent in extents:
            store = self.stores.host if extent.lies_in(HOST) else self.stores.disk
            store.used_bytes += extent.kept_bytes
            store.put(extent)

    @property
    def ordered(self) -> list[tuple[Extent, int, int]]:
        return [(move.extent, move.source, move.target) for move in self.orders]

    @property
    def used_bytes(self) -> tuple[float, float]:
        return self.stores.host.used_bytes, self.stores.disk.used_bytes


# Room


def test_room_in_host_memory_is_taken_when_the_copy_is_ordered() -> None:
    below, extent = Below(25), extent_of(1)
    assert below.stores.offload(extent, write_through=False)
    assert below.used_bytes == (10, 0)
    assert below.ordered == [(extent, HBM, HOST)]
    assert extent.move is below.orders[0]
    assert (extent.move.moved_bytes, extent.move.tokens, extent.move.write_through) == (10, 4, False)
    assert not extent.lies_in(HOST), "it lies there once the copy has ended"


def test_a_write_through_says_so() -> None:
    below = Below(25)
    assert below.stores.offload(extent_of(1), write_through=True)
    assert below.orders[0].write_through


@pytest.mark.parametrize(("capacity", "fits"), [(20, True), (19.5, False)])
def test_two_fit_where_there_is_room_for_both_to_the_byte(capacity: float, fits: bool) -> None:
    """What is on its way cannot be given up for the next."""
    below = Below(capacity)
    below.stores.offload(extent_of(1), write_through=False)
    assert below.stores.offload(extent_of(2), write_through=False) is fits
    assert below.used_bytes == (20 if fits else 10, 0)
    assert len(below.orders) == 1 + fits


def test_nothing_gives_way_to_what_is_larger_than_the_whole_store() -> None:
    below, there, large = Below(25, 100), extent_of(1, in_=(HOST,)), extent_of(2, 26)
    below.holding(there)
    assert not below.stores.offload(large, write_through=False)
    assert there.lies_in(HOST)
    assert below.ordered == []
    assert large.move is None


def test_the_room_of_what_is_fetched_for_good_is_handed_on_and_back() -> None:
    for tier, at in ((HOST, 0), (DISK, 1)):
        below, extent = Below(25, 25), extent_of(1, in_=(tier,))
        below.holding(extent)
        assert below.stores.source_of(extent) == tier
        below.stores.hand_on(extent)
        assert below.used_bytes == (0, 0)
        assert extent.lies_in(tier), "until the copy is ordered"
        below.stores.take_back(extent)
        assert below.used_bytes[at] == 10


def test_a_store_that_took_room_back_may_hold_more_than_it_can_until_it_gives_something_up() -> None:
    below = Below(20)
    old, claimed = extent_of(1, in_=(HOST,), used_at=1), extent_of(2, in_=(HOST,), used_at=2)
    below.holding(old, claimed)
    claimed.users = 1
    below.stores.hand_on(claimed)
    assert below.stores.offload(extent_of(3), write_through=False), "in the room that was handed on"
    claimed.users = 0
    below.stores.take_back(claimed)
    below.stores.queue(claimed)
    assert below.used_bytes == (30, 0)
    assert below.stores.offload(extent_of(4), write_through=False)
    assert below.lost == [old, claimed], "both, in order of use: 10 of 20 bytes are free then"
    assert below.used_bytes == (20, 0)


# Who gives way


def test_the_least_recently_used_gives_way_whatever_came_first() -> None:
    below = Below(30)
    extents = [extent_of(key, in_=(HOST,), used_at=used_at) for key, used_at in ((1, 8), (2, 3), (3, 5))]
    below.holding(*extents)
    assert below.stores.offload(extent_of(4, 20), write_through=False)
    assert below.lost == [extents[1], extents[2]]
    assert below.stores.lost_bytes == 20


def test_a_prefix_gives_way_from_its_tail() -> None:
    """Used together, and even where the tail was used later."""
    for tail_used_at in (1, 9):
        below = Below(30)
        first = extent_of(1, in_=(HOST,), used_at=1)
        tail = following(first, in_=(HOST,), used_at=tail_used_at)
        other = extent_of(2, in_=(HOST,), used_at=5)
        below.holding(first, tail, other)
        below.stores.offload(extent_of(3, 20), write_through=False)
        assert below.lost == ([tail, first] if tail_used_at == 1 else [other, tail])


@pytest.mark.parametrize("why", ["somebody waits for it", "being copied", "followed by more"])
def test_what_is_in_use_does_not_give_way(why: str) -> None:
    below, extent = Below(10), extent_of(1, in_=(HOST,))
    extent.users = int(why == "somebody waits for it")
    extent.move = Move(extent, HOST, HBM) if why == "being copied" else None
    if why == "followed by more":
        following(extent, in_=(HOST,)).users = 1
    below.holding(extent)
    assert not below.stores.offload(extent_of(2), write_through=False)
    assert below.used_bytes == (10, 0)
    assert extent.lies_in(HOST)


def test_it_gives_way_again_once_it_is_queued_anew() -> None:
    """A store forgets whom it finds in use, and must be told when that is over."""
    below, extent = Below(10), extent_of(1, in_=(HOST,))
    below.holding(extent)
    extent.users = 1
    assert not below.stores.offload(extent_of(2), write_through=False)
    extent.users = 0
    assert not below.stores.offload(extent_of(2), write_through=False)
    below.stores.queue(extent)
    assert below.stores.offload(extent_of(2), write_through=False)
    assert below.lost == [extent]


# What becomes of it


def test_what_host_memory_gives_up_is_copied_to_disk() -> None:
    """The order to move it on comes before the one that takes its room."""
    below, old, new = Below(10, 10), extent_of(1, in_=(HOST,)), extent_of(2)
    below.holding(old)
    assert below.stores.offload(new, write_through=False)
    assert below.ordered == [(old, HOST, DISK), (new, HBM, HOST)]
    assert below.used_bytes == (10, 10)
    assert (old.tiers, below.lost) == (1 << DISK, [])


def test_a_full_disk_loses_its_own_least_recently_used() -> None:
    below = Below(10, 20)
    on_disk = [extent_of(key, in_=(DISK,), used_at=used_at) for key, used_at in ((1, 2), (2, 1))]
    in_host = extent_of(3, in_=(HOST,), used_at=3)
    below.holding(*on_disk, in_host)
    assert below.stores.offload(extent_of(4), write_through=False)
    assert below.lost == [on_disk[1]]
    assert below.used_bytes == (10, 20)
    assert in_host.tiers == 1 << DISK
    assert on_disk[1].tiers == 0
    assert below.stores.lost_bytes == 10


def test_what_is_too_large_for_the_disk_is_lost() -> None:
    below, old = Below(10, 9), extent_of(1, in_=(HOST,))
    below.holding(old)
    assert below.stores.offload(extent_of(2), write_through=False)
    assert (below.lost, old.tiers) == ([old], 0)
    assert below.used_bytes == (10, 0)


def test_what_hbm_has_as_well_is_neither_lost_nor_copied_to_disk() -> None:
    """The copy in an inclusive store gives way even while the extent is held: nobody waits for it."""
    below, both = Below(10, 10), extent_of(1, in_=(HBM, HOST))
    both.users = 1
    below.holding(both)
    assert below.stores.offload(extent_of(2), write_through=True)
    assert both.tiers == 1 << HBM
    assert below.lost == []
    assert len(below.orders) == 1
    assert below.stores.lost_bytes == 0


# Fetching and dropping


@pytest.mark.parametrize(
    ("tier", "stays", "tiers", "used"),
    [
        (HOST, True, 1 << HOST, (10, 0)),
        (HOST, False, 0, (10, 0)),  # its room was handed on before
        (DISK, True, 0, (0, 0)),  # an inclusive store is host memory
        (DISK, False, 0, (0, 10)),
    ],
)
def test_what_is_fetched_stays_in_an_inclusive_host_memory_alone(
    tier: int, stays: bool, tiers: int, used: tuple[float, float]
) -> None:
    below, extent = Below(25, 25), extent_of(1, in_=(tier,))
    below.holding(extent)
    below.stores.fetch(extent, stays)
    assert extent.tiers == tiers
    assert below.used_bytes == used


def test_what_is_of_no_use_leaves_wherever_it_lies() -> None:
    below, in_both, on_disk = Below(25, 25), extent_of(1, in_=(HBM, HOST)), extent_of(2, in_=(DISK,))
    below.holding(in_both, on_disk)
    for extent in (in_both, on_disk):
        below.stores.drop(extent)
    assert below.used_bytes == (0, 0)
    assert (in_both.tiers, on_disk.tiers) == (1 << HBM, 0)
    assert below.lost == []
    assert below.stores.lost_bytes == 0, "not given up for want of room"


def test_what_precedes_a_tail_that_left_can_give_way() -> None:
    below = Below(20)
    first = extent_of(1, in_=(HOST,))
    tail = following(first, in_=(HOST,))
    below.holding(first, tail)
    assert below.stores.host.lru.candidates() == [tail]
    below.stores.drop(tail)
    assert below.stores.host.lru.candidates() == [first]


# The order of use itself


def order_of(*extents: Extent) -> LruOrder:
    order = LruOrder(HBM, lambda extent: not extent.users)
    for extent in extents:
        order.push(extent)
    return order


def test_of_those_last_used_together_the_tail_is_first_then_the_first_that_was_queued() -> None:
    head, twin = extent_of(1, used_at=4), extent_of(2, used_at=4)
    tail = following(head, in_=(HBM,), used_at=4)
    order = order_of(head, twin, tail)
    found = []
    while (oldest := order.oldest()) is not None:
        found.append(oldest)
        oldest.users = 1
    assert found == [tail, head, twin]


def test_who_is_used_again_moves_back() -> None:
    first, second = extent_of(1, used_at=1), extent_of(2, used_at=2)
    order = order_of(first, second)
    first.used_at = 3
    assert order.oldest() is second
    second.users = 1
    assert order.oldest() is first


def test_looking_at_the_oldest_leaves_it_there() -> None:
    extent = extent_of(1)
    order = order_of(extent, extent)
    assert order.oldest() is order.oldest() is extent
    assert order.candidates() == [extent], "pushed twice, queued once"


def test_who_cannot_give_way_is_forgotten_until_pushed_again() -> None:
    held, free = extent_of(1, used_at=1), extent_of(2, used_at=2)
    order = order_of(held, free)
    held.users = 1
    assert order.candidates() == [free]
    held.users = 0
    assert order.oldest() is free
    order.push(held)
    assert order.oldest() is held


def test_an_extent_has_a_place_in_the_order_of_each_tier() -> None:
    extent = extent_of(1)
    orders = [LruOrder(tier, lambda _: True) for tier in (HBM, HOST)]
    for order in orders:
        order.push(extent)
    assert [order.oldest() for order in orders] == [extent, extent]
    assert extent.queued == 0b11
