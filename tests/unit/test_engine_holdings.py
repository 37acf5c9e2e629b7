"""The accounts of kept KV: every byte as it is held, let go, copied, brought back, dropped."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest

from ctxsim.engine import DISK, HBM, HOST, Request, Tiers
from ctxsim.engine.extents import Extent
from ctxsim.engine.holdings import Holdings
from ctxsim.geometry import KvLayout, Span

BLOCK = 4


class Accounts(NamedTuple):
    """Bytes of each account, all of them 0 unless said."""

    hbm: float = 0
    idle: float = 0
    moving: float = 0
    arriving: float = 0
    host: float = 0
    disk: float = 0


class Kept(Holdings):
    """Holdings in blocks of 4 tokens, one byte a token, that tell their accounts."""

    def __init__(self, host_bytes: float = 100, disk_bytes: float = 0, *, inclusive: bool = False) -> None:
        layout = KvLayout([(Span("full"), 1.0)], 0.0, BLOCK)
        self.clock_s = 0.0
        self.told: Counter[tuple[int, int]] = Counter()
        tiers = Tiers(host_bytes, disk_bytes, inclusive)
        super().__init__(layout, tiers, BLOCK, lambda: self.clock_s, self._hear)

    def _hear(self, payer: int, tier: int, more_bytes: float) -> None:
        self.told[payer, tier] += more_bytes  # type: ignore[assignment]

    @property
    def accounts(self) -> Accounts:
        below = self.stores.host.used_bytes, self.stores.disk.used_bytes
        return Accounts(self.hbm_bytes, self.idle_bytes, self.moving_bytes, self.arriving_bytes, *below)

    def grown(self, request: Request, end: int, tail: Extent | None = None) -> Extent:
        """What the request has computed after ``tail``, up to ``end``, as it holds it."""
        tail = tail or self.tree.root
        extent = self.tree.grow(request, tail, end, HBM)
        assert extent is not tail
        extent.users = 1
        self.hbm_bytes += extent.kept_bytes
        return extent

    def left(self, session: int, end: int) -> Extent:
        """What the session has left in HBM, idle."""
        extent = self.grown(turn(session), end)
        self.let_go(extent, used=True)
        return extent

    def left_branch(self, hashes: tuple[int, ...], tail: Extent | None = None) -> Extent:
        """What a prompt of those hashes has left in HBM after ``tail``, idle."""
        if tail is not None:
            self.hold(tail)
        extent = self.grown(prompt(*hashes), len(hashes) * BLOCK, tail)
        self.let_go(extent, used=True)
        return extent

    def in_host(self, session: int, end: int) -> Extent:
        """What the session has left, swapped out."""
        extent = self.left(session, end)
        assert self.offload(extent)
        self.end_copy()
        return extent

    def end_copy(self, which: int = 0) -> list[Request]:
        return self.finish(self.orders.pop(which))


def turn(session: int = 7) -> Request:
    return Request(0, 100, 1, session, 0, last=False)


def prompt(*hashes: int) -> Request:
    return Request(0, len(hashes) * BLOCK, 1, hashes=np.array(hashes, dtype=np.int64))


# Holding and letting go


def test_what_the_last_user_lets_go_of_is_idle() -> None:
    kept = Kept()
    extent = kept.grown(turn(), 20)
    assert kept.accounts == Accounts(hbm=20)
    kept.hold(extent)
    kept.let_go(extent, used=True)
    assert kept.accounts == Accounts(hbm=20)
    kept.let_go(extent, used=True)
    assert kept.accounts == Accounts(hbm=20, idle=20)
    kept.hold(extent)
    assert kept.accounts == Accounts(hbm=20)


def test_only_a_use_counts_for_the_order_of_use_and_the_time_of_idleness() -> None:
    kept = Kept()
    kept.clock_s = 3.0
    extent = kept.left(1, 8)
    other = kept.left(2, 8)
    version = kept.version
    kept.clock_s = 5.0
    kept.hold(extent)
    kept.let_go(extent, used=False)
    assert (extent.used_at, extent.idle_since_s) == (1, 3.0)
    assert kept.version == version
    assert kept.lru.oldest() is extent
    kept.hold(extent)
    kept.let_go(extent, used=True)
    assert (extent.used_at, extent.idle_since_s) == (3, 5.0)
    assert kept.version > version
    assert kept.lru.oldest() is other


def test_a_branch_that_is_held_holds_what_it_begins_with_and_nothing_else() -> None:
    kept = Kept()
    root = kept.left_branch((1, 2))
    held, idle = kept.left_branch((1, 2, 3), root), kept.left_branch((1, 2, 4, 5), root)
    assert kept.accounts == Accounts(hbm=20, idle=20)
    kept.hold(held)
    assert kept.accounts == Accounts(hbm=20, idle=8)
    assert [extent.users for extent in (root, held, idle)] == [1, 1, 0]
    kept.hold(idle)
    assert root.users == 2


# Out of HBM


def test_what_is_swapped_out_frees_its_room_when_the_copy_has_ended() -> None:
    kept = Kept()
    extent = kept.left(1, 20)
    version = kept.version
    assert kept.offload(extent)
    assert kept.accounts == Accounts(hbm=20, idle=20, moving=20, host=20)
    assert kept.lru.oldest() is None, "it is going already"
    assert kept.end_copy() == []
    assert kept.accounts == Accounts(host=20)
    assert (extent.tiers, extent.move) == (1 << HOST, None)
    assert kept.version > version


def test_what_is_written_through_stays_idle_in_hbm() -> None:
    kept = Kept(inclusive=True)
    extent = kept.left(1, 20)
    assert kept.offload(extent, write_through=True)
    assert kept.accounts == Accounts(hbm=20, idle=20, moving=20, host=20)
    kept.end_copy()
    assert kept.accounts == Accounts(hbm=20, idle=20, host=20)
    assert extent.tiers == 1 << HBM | 1 << HOST
    assert kept.lru.oldest() is extent


def test_what_finds_no_room_below_stays_as_it_was() -> None:
    kept = Kept(host_bytes=16)
    extent = kept.left(1, 20)
    assert not kept.offload(extent)
    assert kept.accounts == Accounts(hbm=20, idle=20)
    assert kept.lru.oldest() is extent


def test_what_is_wanted_again_while_it_leaves_stays() -> None:
    """The copy goes on for nothing, and host memory has its room back when it ends."""
    kept = Kept()
    extent = kept.left(1, 20)
    kept.offload(extent)
    kept.hold(extent)
    assert kept.accounts == Accounts(hbm=20, host=20)
    assert kept.bring(extent, turn()) == HBM
    kept.end_copy()
    assert kept.accounts == Accounts(hbm=20)
    assert (extent.tiers, extent.move) == (1 << HBM, None)


def test_what_is_let_go_of_again_before_its_copy_ends_leaves_after_all() -> None:
    kept = Kept()
    extent = kept.left(1, 20)
    kept.offload(extent)
    kept.hold(extent)
    kept.let_go(extent, used=False)
    assert kept.accounts == Accounts(hbm=20, idle=20, moving=20, host=20)
    kept.end_copy()
    assert kept.accounts == Accounts(host=20)


def test_a_write_through_of_what_is_held_meanwhile_is_not_lost() -> None:
    kept = Kept(inclusive=True)
    extent = kept.left(1, 20)
    kept.offload(extent, write_through=True)
    kept.hold(extent)
    assert kept.accounts == Accounts(hbm=20, host=20)
    kept.end_copy()
    assert extent.tiers == 1 << HBM | 1 << HOST
    assert kept.accounts == Accounts(hbm=20, host=20)


# Back to HBM


def test_a_fetch_takes_hbm_at_once_and_hands_on_the_room_it_leaves() -> None:
    kept, request = Kept(), turn(1)
    extent = kept.in_host(1, 20)
    kept.hold(extent)
    assert kept.accounts == Accounts(host=0), "what is claimed gives up its room below"
    assert kept.bring(extent, request) == HOST
    assert kept.accounts == Accounts(hbm=20, arriving=20)
    assert (request.pending, kept.orders[0].request) == (1, request)
    assert kept.end_copy() == [request]
    assert (request.pending, extent.tiers) == (0, 1 << HBM)
    assert kept.accounts == Accounts(hbm=20)


def test_a_claim_that_comes_to_nothing_takes_its_room_below_back() -> None:
    kept = Kept()
    extent = kept.in_host(1, 20)
    kept.hold(extent)
    kept.hold(extent)
    assert kept.accounts == Accounts(), "handed on once, by the first of two"
    kept.let_go(extent, used=False)
    assert kept.accounts == Accounts()
    kept.let_go(extent, used=False)
    assert kept.accounts == Accounts(host=20)
    assert kept.stores.host.lru.oldest() is extent


def test_an_inclusive_host_memory_keeps_what_is_fetched() -> None:
    kept = Kept(inclusive=True)
    extent = kept.left(1, 20)
    kept.offload(extent, write_through=True)
    kept.end_copy()
    kept.drop(extent)
    assert kept.accounts == Accounts(host=20)
    kept.hold(extent)
    assert kept.bring(extent, turn(1)) == HOST
    assert kept.accounts == Accounts(hbm=20, arriving=20, host=20)
    kept.end_copy()
    assert extent.tiers == 1 << HBM | 1 << HOST


def test_two_requests_wait_for_one_copy() -> None:
    kept = Kept()
    extent = kept.in_host(1, 20)
    requests = [turn(1), turn(2)]
    for request in requests:
        kept.hold(extent)
        assert kept.bring(extent, request) == HOST
    assert len(kept.orders) == 1
    assert kept.accounts == Accounts(hbm=20, arriving=20)
    assert kept.end_copy() == requests


def test_a_request_is_ready_when_the_last_of_its_copies_has_ended() -> None:
    kept, request = Kept(), prompt(1, 2, 3)
    head = kept.left_branch((1, 2))
    tail = kept.left_branch((1, 2, 3), head)
    for extent in (tail, head):
        kept.offload(extent)
    kept.end_copy()
    assert kept.accounts == Accounts(hbm=8, idle=8, moving=8, host=12)
    kept.end_copy()
    assert kept.accounts == Accounts(host=12)
    (whole,) = kept.tree.root.children.values()
    second = whole
    first = kept.tree.cut(whole, 8)
    kept.hold(second)
    assert [kept.bring(extent, request) for extent in (first, second)] == [HOST, HOST]
    assert request.pending == 2
    assert kept.end_copy(1) == []
    assert kept.end_copy() == [request]


def test_what_is_in_hbm_needs_no_copy() -> None:
    kept, request = Kept(), turn(1)
    extent = kept.left(1, 20)
    kept.hold(extent)
    assert kept.bring(extent, request) == HBM
    assert (request.pending, kept.orders) == (0, [])


# On its way to disk


def moved_on(kept: Kept) -> Extent:
    """What session 1 left, on its way to disk because session 2's takes its room in host memory."""
    old = kept.in_host(1, 20)
    assert kept.offload(kept.left(2, 20))
    assert [(move.source, move.target) for move in kept.orders] == [(HOST, DISK), (HBM, HOST)]
    return old


def test_what_host_memory_moves_on_has_room_on_disk_from_the_order_on() -> None:
    kept = Kept(20, 20)
    old = moved_on(kept)
    assert kept.accounts == Accounts(hbm=20, idle=20, moving=20, host=20, disk=20)
    kept.end_copy()
    kept.end_copy()
    assert kept.accounts == Accounts(host=20, disk=20)
    assert (old.tiers, old.move) == (1 << DISK, None)


@pytest.mark.parametrize("first", ["to disk", "to HBM"])
def test_what_is_on_its_way_to_disk_is_fetched_from_host_memory(first: str) -> None:
    """Whichever copy ends first, it is in HBM once that to HBM has ended, and not before."""
    kept, request = Kept(20, 20), turn(1)
    old = moved_on(kept)
    kept.hold(old)
    assert kept.accounts.disk == 0
    assert kept.bring(old, request) == HOST
    assert kept.accounts == Accounts(hbm=40, idle=20, moving=20, arriving=20, host=20)
    to_disk, _, to_hbm = kept.orders
    assert (to_hbm.source, to_hbm.target) == (HOST, HBM)
    if first == "to disk":
        assert kept.finish(to_disk) == []
        assert old.move is to_hbm
        assert kept.accounts.arriving == 20
        assert kept.finish(to_hbm) == [request]
    else:
        assert kept.finish(to_hbm) == [request]
        assert kept.finish(to_disk) == []
    assert (old.tiers, old.move) == (1 << HBM, None)
    assert kept.accounts == Accounts(hbm=40, idle=20, moving=20, host=20)


def test_what_is_on_disk_is_fetched_from_there() -> None:
    kept, request = Kept(20, 20), turn(1)
    old = moved_on(kept)
    kept.end_copy()
    kept.end_copy()
    kept.hold(old)
    assert kept.bring(old, request) == DISK
    assert kept.accounts == Accounts(hbm=20, arriving=20, host=20)
    assert kept.end_copy() == [request]


# Who is told of


@pytest.mark.parametrize("inclusive", [False, True])
def test_what_lies_anywhere_is_told_of_whoever_used_it_last(inclusive: bool) -> None:
    """Left by request 3, copied to host memory, fetched, and left again by request 5, which pays for both places."""
    kept = Kept(inclusive=inclusive)
    extent = kept.grown(turn(1), 8)
    kept.charge(extent, 3)
    kept.let_go(extent, used=True)
    assert kept.told == {(3, HBM): 8}
    assert kept.offload(extent, write_through=inclusive)
    kept.end_copy()
    assert +kept.told == ({(3, HBM): 8, (3, HOST): 8} if inclusive else {(3, HOST): 8})
    kept.hold(extent)
    request = turn(1)
    if kept.bring(extent, request) != HBM:
        assert +kept.told == {(3, HBM): 8}, "on its way, and its room in host memory is handed on"
        kept.end_copy()
    assert +kept.told == ({(3, HOST): 8} if inclusive else {})
    kept.charge(extent, 5)
    kept.let_go(extent, used=True)
    assert +kept.told == ({(5, HBM): 8, (5, HOST): 8} if inclusive else {(5, HBM): 8})
    kept.close(())
    assert not any(kept.told.values())
