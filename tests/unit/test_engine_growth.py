"""How extents are lengthened, cut, joined and removed."""

from __future__ import annotations

import pytest
from test_engine_extents import BLOCK, hashed, hashes_of, keep, spans_of, tree_of, turn

from ctxsim.engine import HBM, HOST, Move, Request

# Growing


def test_what_only_its_request_holds_is_lengthened() -> None:
    tree = tree_of()
    tail = keep(tree, turn(8), 8)
    tail.users = 1
    assert tree.grow(turn(20), tail, 20, HBM) is tail
    assert (tail.end, tail.kept_bytes) == (20, 20)


def test_a_prompt_under_way_lengthens_what_it_has_begun_itself() -> None:
    tree = tree_of(of_hash=BLOCK)
    request = hashed(1, 2, 3)
    tail = keep(tree, request, 4)
    tail.users, tail.growing = 1, True
    assert tree.grow(request, tail, 8, HBM) is tail
    assert (hashes_of(tail), tail.end) == ([1, 2], 8)


def test_a_prompt_under_way_does_not_lengthen_what_it_found() -> None:
    tree = tree_of(of_hash=BLOCK)
    found = keep(tree, hashed(1), 4)
    found.users = 1
    child = tree.grow(hashed(1, 2, 3), found, 12, HBM)
    assert (found.end, child.start, child.end) == (4, 4, 12)
    assert (hashes_of(found), hashes_of(child)) == ([1], [2, 3])


@pytest.mark.parametrize(
    "why", ["two hold it", "nobody holds it", "copied", "in host memory too", "doomed", "followed"]
)
def test_what_is_not_its_requests_alone_is_followed_by_a_new_extent(why: str) -> None:
    tree = tree_of(of_hash=BLOCK)
    tail = keep(tree, turn(8), 8)
    tail.users = 2 if why == "two hold it" else int(why != "nobody holds it")
    tail.move = Move(tail, HBM, HOST) if why == "copied" else None
    tail.tiers |= 1 << HOST if why == "in host memory too" else 0
    tail.doomed = why == "doomed"
    if why == "followed":
        keep(tree, hashed(1, 2, 3), 12, tail=tail)
    child = tree.grow(turn(20), tail, 20, HBM)
    assert child is not tail
    assert child.parent is tail
    assert (child.start, child.end, child.tiers, child.kept_bytes) == (8, 20, 1 << HBM, 12)
    assert child.doomed is tail.doomed
    assert tail.end == 8


def test_what_another_has_kept_meanwhile_stays_the_requests_own() -> None:
    tree = tree_of(of_hash=BLOCK)
    keep(tree, hashed(1, 2), 8)
    assert tree.grow(hashed(1, 2, 3), tree.root, 12, HBM) is tree.root
    assert spans_of(tree) == [(0, 8)]


# Cutting, joining, removing


def test_both_parts_of_a_cut_are_as_the_whole_was() -> None:
    tree = tree_of(of_hash=BLOCK)
    whole = keep(tree, hashed(1, 2, 3, 4), 16)
    after = keep(tree, hashed(1, 2, 3, 4, 5), 20, tail=whole)
    whole.users, whole.tiers, whole.used_at, whole.idle_since_s, whole.doomed = 3, 0b11, 9, 2.5, True
    head = tree.cut(whole, 4)
    for part in (head, whole):
        assert (part.users, part.tiers, part.used_at, part.idle_since_s, part.doomed) == (3, 0b11, 9, 2.5, True)
    assert (head.start, head.end, head.kept_bytes, head.key) == (0, 4, 4, 1)
    assert (whole.start, whole.end, whole.kept_bytes, whole.key) == (4, 16, 12, 2)
    assert after.path() == [head, whole, after]
    assert tree.root.children == {1: head}


@pytest.mark.parametrize("requests", [(turn(8), turn(20)), (hashed(1, 2), hashed(1, 2, 3, 4, 5))])
def test_a_cut_is_undone_by_joining(requests: tuple[Request, Request]) -> None:
    tree = tree_of(of_hash=BLOCK)
    whole = keep(tree, requests[1], 20)
    after = keep(tree, hashed(1, 2, 3, 4, 5, 6), 24, tail=whole)
    head = tree.cut(whole, 8)
    assert tree.join(whole) is head
    assert (head.start, head.end, head.kept_bytes) == (0, 20, 20)
    assert head.children == {after.key: after}
    assert after.parent is head
    assert head.hashes is None or hashes_of(head) == [1, 2, 3, 4, 5]
    assert (whole.parent, whole.tiers) == (None, 0)


@pytest.mark.parametrize("why", ["held", "before is held", "other tiers", "copied", "doomed", "branch", "first"])
def test_what_differs_is_not_joined(why: str) -> None:
    tree = tree_of(of_hash=BLOCK)
    before = keep(tree, hashed(1, 2), 8)
    extent = keep(tree, hashed(1, 2, 3), 12, tail=before)
    before.users = int(why in ("held", "before is held"))
    extent.users = int(why == "held")
    extent.tiers = 0b11 if why == "other tiers" else extent.tiers
    extent.move = Move(extent, HBM, HOST) if why == "copied" else None
    extent.doomed = why == "doomed"
    if why == "branch":
        keep(tree, hashed(1, 2, 4), 12, tail=before)
    asked = before if why == "first" else extent
    assert tree.join(asked) is asked
    assert before.end == 8
    assert extent.parent is before


def test_a_removed_extent_is_not_found() -> None:
    tree = tree_of()
    extent = keep(tree, turn(8), 8)
    tree.remove(extent)
    assert extent.parent is None
    assert tree.find(turn(20, known=8)) == (tree.root, 0)


def test_a_prefix_ends_in_a_tier_where_nothing_after_it_lies_there() -> None:
    tree = tree_of()
    first = keep(tree, turn(8), 8)
    second = keep(tree, turn(16), 16, tail=first)
    assert not first.ends_in(HBM)
    assert second.ends_in(HBM)
    assert first.ends_in(HOST)
    second.tiers = 1 << HOST
    assert first.ends_in(HBM)
    assert not first.ends_in(HOST)
    assert [second.lies_in(tier) for tier in (HBM, HOST)] == [False, True]
