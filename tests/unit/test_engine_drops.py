"""What becomes of kept KV that is dropped or of no use any more, while somebody holds or copies it and else."""

from __future__ import annotations

import pytest
from test_engine_holdings import Accounts, Kept, prompt, turn

from ctxsim.engine import HOST

# Dropping


def test_a_drop_of_the_only_copy_leaves_nothing() -> None:
    kept = Kept()
    extent = kept.left(1, 20)
    kept.drop(extent)
    assert kept.accounts == Accounts()
    assert kept.tree.root.children == {}


def test_a_drop_takes_along_what_is_of_no_use_without_it() -> None:
    """Its tail lies in host memory alone: without the beginning nobody can find it."""
    kept = Kept()
    head = kept.left_branch((1, 2))
    tail = kept.left_branch((1, 2, 3), head)
    kept.offload(tail)
    kept.end_copy()
    assert kept.accounts == Accounts(hbm=8, idle=8, host=4)
    kept.drop(head)
    assert kept.accounts == Accounts()
    assert (kept.tree.root.children, tail.tiers) == ({}, 0)


def test_a_drop_leaves_the_copy_below() -> None:
    kept = Kept(inclusive=True)
    extent = kept.left(1, 20)
    kept.offload(extent, write_through=True)
    kept.end_copy()
    kept.drop(extent)
    assert kept.accounts == Accounts(host=20)
    assert (extent.tiers, extent.parent) == (1 << HOST, kept.tree.root)


def test_a_drop_lets_what_precedes_it_give_way() -> None:
    kept = Kept()
    head = kept.left_branch((1, 2))
    tail = kept.left_branch((1, 2, 3), head)
    assert kept.lru.candidates() == [tail]
    kept.drop(tail)
    assert kept.lru.candidates() == [head]
    assert kept.accounts == Accounts(hbm=8, idle=8)


@pytest.mark.parametrize("write_through", [False, True])
def test_a_drop_of_what_precedes_a_copy_under_way_ends_both_with_the_copy(write_through: bool) -> None:
    """Host memory has no room for the beginning: it is dropped while its tail is still being read."""
    kept = Kept(host_bytes=4, inclusive=write_through)
    head = kept.left_branch((1, 2))
    tail = kept.left_branch((1, 2, 3), head)
    assert kept.offload(tail, write_through)
    assert kept.lru.candidates() == [head], "nothing that stays follows it"
    kept.drop(head)
    assert kept.accounts == Accounts(hbm=4, idle=4, moving=4, host=4)
    assert tail.doomed
    assert kept.tree.root.children == {}
    assert kept.end_copy() == []
    assert kept.accounts == Accounts()
    assert tail.tiers == 0


def test_a_drop_of_what_precedes_a_move_to_disk_frees_the_disk_with_its_end() -> None:
    kept = Kept(4, 4)
    head = kept.left_branch((1, 2))
    tail = kept.left_branch((1, 2, 3), head)
    kept.offload(tail)
    kept.end_copy()
    assert kept.offload(kept.left(9, 4)), "the tail moves on to disk"
    kept.drop(head)
    assert kept.accounts == Accounts(hbm=4, idle=4, moving=4, host=4, disk=4)
    kept.end_copy()
    assert kept.accounts == Accounts(hbm=4, idle=4, moving=4, host=4)


# Discarding


def test_what_is_of_no_use_is_gone_from_every_tier_at_once() -> None:
    kept = Kept(inclusive=True)
    extent = kept.left(1, 20)
    kept.offload(extent, write_through=True)
    kept.end_copy()
    version = kept.version
    kept.discard(extent)
    assert kept.accounts == Accounts()
    assert kept.tree.root.children == {}
    assert kept.version > version


def test_what_is_of_no_use_but_held_goes_with_its_last_user() -> None:
    kept = Kept()
    extent = kept.left(1, 20)
    kept.hold(extent)
    kept.hold(extent)
    kept.discard(extent)
    assert extent.doomed
    kept.let_go(extent, used=True)
    assert kept.accounts == Accounts(hbm=20)
    kept.let_go(extent, used=True)
    assert kept.accounts == Accounts()
    assert kept.tree.root.children == {}


@pytest.mark.parametrize("write_through", [False, True])
def test_what_is_of_no_use_but_copied_goes_with_the_copy(write_through: bool) -> None:
    kept = Kept(inclusive=write_through)
    extent = kept.left(1, 20)
    kept.offload(extent, write_through)
    kept.discard(extent)
    assert kept.accounts == Accounts(hbm=20, idle=20, moving=20, host=20)
    kept.end_copy()
    assert kept.accounts == Accounts()
    assert kept.tree.root.children == {}


def test_what_is_of_no_use_but_on_its_way_in_goes_when_it_is_let_go() -> None:
    kept, request = Kept(), turn(1)
    extent = kept.in_host(1, 20)
    kept.hold(extent)
    kept.bring(extent, request)
    kept.discard(extent)
    assert kept.end_copy() == [request]
    assert kept.accounts == Accounts(hbm=20)
    kept.let_go(extent, used=True)
    assert kept.accounts == Accounts()


def test_a_discarded_beginning_waits_for_the_tail_that_is_copied() -> None:
    kept = Kept()
    head = kept.left_branch((1, 2))
    tail = kept.left_branch((1, 2, 3), head)
    kept.offload(tail)
    kept.discard(head)
    assert (head.doomed, tail.doomed) == (True, True)
    assert kept.accounts == Accounts(hbm=12, idle=12, moving=4, host=4)
    kept.end_copy()
    assert kept.accounts == Accounts()
    assert kept.tree.root.children == {}


def test_branches_that_nobody_holds_are_gone_while_one_is_held() -> None:
    kept = Kept()
    root = kept.left_branch((1, 2))
    held, idle = kept.left_branch((1, 2, 3), root), kept.left_branch((1, 2, 4, 5), root)
    kept.hold(held)
    kept.discard(root)
    assert kept.accounts == Accounts(hbm=12)
    assert idle.parent is None
    kept.let_go(held, used=True)
    assert kept.accounts == Accounts()


# Joining


def test_what_has_come_to_lie_together_is_one_extent_again() -> None:
    """The tail left HBM first, the rest after it: in host memory both are one."""
    kept = Kept()
    kept.left(1, 20)
    (second,) = kept.tree.root.children.values()
    head = kept.tree.cut(second, 8)
    kept.offload(second)
    kept.end_copy()
    assert head.end == 8
    kept.offload(head)
    kept.end_copy()
    assert (head.start, head.end, head.kept_bytes, head.children) == (0, 20, 20, {})
    assert kept.accounts == Accounts(host=20)
    assert kept.stores.host.lru.candidates() == [head]


def test_joining_forgets_no_use() -> None:
    """Of [1 2 | 3] the beginning was used last of all: what was used before it gives way before it, the tail first.

    Host memory is full of 12 + 4 bytes and 8 are wanted: those of the tail and of the other session.
    """
    kept = Kept(host_bytes=16)
    tail = kept.left_branch((1, 2, 3))
    other = kept.left(9, 4)
    head = kept.tree.cut(tail, 8)
    kept.hold(head)
    kept.let_go(head, used=True)
    assert tail.used_at < other.used_at < head.used_at
    for extent in (tail, other, head):
        assert kept.offload(extent)
        kept.end_copy()
    assert kept.offload(kept.left(10, 8))
    assert kept.tree.kept_tokens(prompt(1, 2, 4)) == 8
    assert not other.lies_in(HOST)
