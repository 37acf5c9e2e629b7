"""Prefixes kept as a tree of extents: what a prompt finds of it, where an extent is cut, joined, lengthened."""

from __future__ import annotations

import numpy as np
import pytest

from ctxsim.engine import HBM, HOST, Move, Request
from ctxsim.engine.extents import Extent, PrefixTree
from ctxsim.geometry import KvLayout, Span

BLOCK = 4


def tree_of(*, block: int = BLOCK, of_hash: int = 0, spans: tuple[Span, ...] = (Span("full"),)) -> PrefixTree:
    """A tree with one byte a token in each span's layers."""
    return PrefixTree(KvLayout([(span, 1.0) for span in spans], 0.0, block), of_hash)


def turn(prompt: int, known: int = 0, session: int = 7) -> Request:
    return Request(0, prompt, 1, session, known, last=False)


def hashed(*hashes: int, tokens: int = 0, of_hash: int = BLOCK) -> Request:
    """A prompt of these hashes, and of so many tokens if it is not all of their blocks."""
    return Request(0, tokens or len(hashes) * of_hash, 1, hashes=np.array(hashes, dtype=np.int64))


def keep(tree: PrefixTree, request: Request, end: int, *, tail: Extent | None = None) -> Extent:
    """The request's first ``end`` tokens lie in HBM, and nobody holds them."""
    return tree.grow(request, tail or tree.root, end, HBM)


def hashes_of(extent: Extent) -> list[int]:
    assert extent.hashes is not None
    return extent.hashes.tolist()


def spans_of(tree: PrefixTree) -> list[tuple[int, int]]:
    """Start and end of every extent, parents before children."""
    found, todo = [], list(tree.root.children.values())
    while todo:
        extent = todo.pop(0)
        found.append((extent.start, extent.end))
        todo += extent.children.values()
    return found


# What a session finds


def test_an_empty_tree_holds_nothing_for_anyone() -> None:
    tree = tree_of(of_hash=BLOCK)
    for request in (turn(20, known=12), hashed(1, 2, 3)):
        assert tree.find(request) == (tree.root, 0)
        assert tree.kept_tokens(request) == 0


def test_a_turn_finds_what_its_session_left() -> None:
    tree = tree_of()
    left = keep(tree, turn(20), 20)
    assert tree.find(turn(30, known=20)) == (left, 20)
    assert tree.kept_tokens(turn(30, known=20)) == 20
    assert spans_of(tree) == [(0, 20)], "nothing was cut"


def test_another_session_finds_nothing() -> None:
    tree = tree_of()
    keep(tree, turn(20, session=7), 20)
    assert tree.find(turn(30, known=20, session=8)) == (tree.root, 0)
    assert tree.kept_tokens(turn(30, known=20, session=8)) == 0


def test_one_token_is_left_to_compute() -> None:
    """A prompt that is all there: 19 of 20 tokens in whole blocks of 4 are 16, and the extent is cut there."""
    tree = tree_of()
    keep(tree, turn(20), 20)
    tail, usable = tree.find(turn(20, known=20))
    assert (tail.start, tail.end, usable) == (0, 16, 16)
    assert spans_of(tree) == [(0, 16), (16, 20)]


def test_an_extent_is_cut_at_the_whole_blocks_that_are_known() -> None:
    """Of 20 tokens kept the new prompt begins with 10: two blocks of 4."""
    tree = tree_of()
    old = keep(tree, turn(20), 20)
    tail, usable = tree.find(turn(30, known=10))
    assert (tail.end, usable) == (8, 8)
    assert (old.start, old.end) == (8, 20), "the old object is what follows"
    assert old.parent is tail


def test_less_than_a_block_in_common_is_nothing() -> None:
    tree = tree_of()
    keep(tree, turn(20), 20)
    assert tree.find(turn(30, known=3)) == (tree.root, 0)
    assert spans_of(tree) == [(0, 20)]


def test_a_prompt_that_knows_more_than_is_kept_finds_what_is_kept() -> None:
    tree = tree_of()
    left = keep(tree, turn(8), 8)
    assert tree.find(turn(50, known=40)) == (left, 8)


def test_a_session_is_followed_over_several_extents_and_cut_in_the_last_it_reaches() -> None:
    tree = tree_of()
    first = keep(tree, turn(8), 8)
    second = keep(tree, turn(16), 16, tail=first)
    third = keep(tree, turn(40), 40, tail=second)
    tail, usable = tree.find(turn(50, known=25))
    assert (tail.start, tail.end, usable) == (16, 24, 24)
    assert tail.path() == [first, second, tail]
    assert third.start == 24
    assert tree.kept_tokens(turn(50, known=25)) == 24


def test_what_is_to_be_dropped_is_not_found() -> None:
    tree = tree_of()
    keep(tree, turn(20), 20).doomed = True
    assert tree.find(turn(30, known=20)) == (tree.root, 0)
    assert tree.kept_tokens(turn(30, known=20)) == 0


# What a prompt with hashes finds


def test_the_longest_common_prefix_is_found_in_the_middle_of_an_extent() -> None:
    tree = tree_of(of_hash=BLOCK)
    old = keep(tree, hashed(1, 2, 3, 4), 16)
    tail, usable = tree.find(hashed(1, 2, 8, 9))
    assert (tail.start, tail.end, usable) == (0, 8, 8)
    assert (hashes_of(tail), hashes_of(old)) == ([1, 2], [3, 4])
    assert tail.children == {3: old}
    assert tree.root.children == {1: tail}


def test_prompts_that_begin_otherwise_share_nothing() -> None:
    tree = tree_of(of_hash=BLOCK)
    keep(tree, hashed(1, 2, 3), 12)
    assert tree.find(hashed(2, 3, 1)) == (tree.root, 0)
    assert spans_of(tree) == [(0, 12)]


def test_a_prompt_that_is_all_there_computes_its_last_block_again() -> None:
    """It holds the whole extent, 12 tokens, and can use 8 of them; with one token more it can use all."""
    tree = tree_of(of_hash=BLOCK)
    kept = keep(tree, hashed(1, 2, 3), 12)
    assert tree.find(hashed(1, 2, 3)) == (kept, 8)
    assert tree.find(hashed(1, 2, 3, tokens=13)) == (kept, 12)
    assert spans_of(tree) == [(0, 12)]


def test_a_prompt_that_ends_within_an_extent_holds_its_beginning() -> None:
    tree = tree_of(of_hash=BLOCK)
    keep(tree, hashed(1, 2, 3), 12)
    tail, usable = tree.find(hashed(1, 2, tokens=9))
    assert (tail.end, usable) == (8, 8)


def test_branches_are_told_apart_by_their_first_hash() -> None:
    """Three prompts share one block, two of them three: the tree has a branch at each parting."""
    tree = tree_of(of_hash=BLOCK)
    keep(tree, hashed(1, 2, 3, 4), 16)
    for hashes in ((1, 2, 3, 5, 6), (1, 9)):
        tail, _ = tree.find(hashed(*hashes))
        keep(tree, hashed(*hashes), 4 * len(hashes), tail=tail)
    assert sorted(spans_of(tree)) == [(0, 4), (4, 8), (4, 12), (12, 16), (12, 20)]
    for hashes, kept in (((1, 2, 3, 4), 16), ((1, 2, 3, 5, 6), 20), ((1, 9), 8), ((1, 2, 3, 7), 12), ((1, 4), 4)):
        request = hashed(*hashes, tokens=4 * len(hashes) + 1)
        assert tree.kept_tokens(request) == kept
        assert tree.find(request)[1] == kept
    assert len(spans_of(tree)) == 5, "every parting was there already"


@pytest.mark.parametrize(
    ("block", "of_hash", "shared_hashes", "border"),
    [
        (4, 6, 1, 0),  # 6 tokens in common, prefixes end every 12
        (4, 6, 3, 12),  # 18
        (4, 2, 5, 8),  # 10 tokens, blocks of 4
        (4, 8, 1, 8),
        (6, 4, 5, 12),  # 20 tokens, every 12
    ],
)
def test_prefixes_end_with_whole_blocks_of_whole_hashes(
    block: int, of_hash: int, shared_hashes: int, border: int
) -> None:
    tree = tree_of(block=block, of_hash=of_hash)
    hashes = list(range(1, 13))
    kept = keep(tree, hashed(*hashes, of_hash=of_hash), 12 * of_hash)
    other = hashed(*hashes[:shared_hashes], *range(50, 60), of_hash=of_hash)
    assert tree.kept_tokens(other) == border
    tail, usable = tree.find(other)
    assert (tail.end, usable) == (border, border)
    if border:
        assert hashes_of(tail) == hashes[: border // of_hash]
        assert hashes_of(kept) == hashes[border // of_hash :]
        assert kept.key == hashes[border // of_hash]


def test_what_is_still_being_computed_can_be_held_but_is_not_counted_on() -> None:
    tree = tree_of(of_hash=BLOCK)
    growing = keep(tree, hashed(1, 2, 3), 12)
    growing.growing = True
    assert tree.kept_tokens(hashed(1, 2, 3, tokens=13)) == 0
    assert tree.find(hashed(1, 2, 3, tokens=13)) == (growing, 12)


def test_looking_cuts_nothing() -> None:
    tree = tree_of(of_hash=BLOCK)
    keep(tree, hashed(1, 2, 3, 4), 16)
    assert tree.kept_tokens(hashed(1, 2, 9)) == 8
    assert tree.kept_tokens(hashed(1, 2, 3, 4)) == 12, "one token is left to compute"
    assert spans_of(tree) == [(0, 16)]


# What cannot be cut


@pytest.mark.parametrize("request_", [turn(30, known=8), hashed(1, 2, 9)], ids=["session", "hashes"])
def test_what_is_being_copied_is_taken_whole_or_not_at_all(request_: Request) -> None:
    tree = tree_of(of_hash=BLOCK)
    for extent in (keep(tree, turn(16), 16), keep(tree, hashed(1, 2, 3, 4), 16)):
        extent.move = Move(extent, HBM, HOST)
    assert tree.find(request_) == (tree.root, 0)
    assert spans_of(tree) == [(0, 16), (0, 16)]


WINDOWED = (Span("full"), Span("sliding", 8))


@pytest.mark.parametrize(
    ("layout", "divisible"),
    [
        (KvLayout([(Span("full"), 1.0)], 0.0, BLOCK), True),
        (KvLayout([(span, 1.0) for span in WINDOWED], 0.0, BLOCK), False),
        (KvLayout([(Span("full"), 1.0)], 100.0, BLOCK), False),
    ],
    ids=["full", "window", "state"],
)
def test_only_full_attention_can_be_entered_in_the_middle(layout: KvLayout, divisible: bool) -> None:
    tree = PrefixTree(layout, BLOCK)
    left, known = keep(tree, turn(20), 20), keep(tree, hashed(1, 2, 3), 12)
    found = [tree.find(turn(30, known=12))[1], tree.find(hashed(1, 2, 9))[1]]
    assert found == ([12, 8] if divisible else [0, 0])
    whole = [tree.find(turn(30, known=20)), tree.find(hashed(1, 2, 3, 4))]
    assert whole == [(left, 20), (known, 12)]


@pytest.mark.parametrize("request_", [turn(30, known=12), hashed(1, 2, 9)], ids=["session", "hashes"])
def test_what_cannot_be_used_is_not_counted_as_kept(request_: Request) -> None:
    """Windows are kept at the end of an extent only: a prompt that leaves it in the middle computes all of it again."""
    tree = tree_of(of_hash=BLOCK, spans=WINDOWED)
    keep(tree, turn(20), 20)
    keep(tree, hashed(1, 2, 3), 12)
    assert tree.find(request_)[1] == 0
    assert tree.kept_tokens(request_) == 0


def test_extents_of_window_layers_hold_less_the_further_they_start() -> None:
    """A window of 8 tokens in blocks of 4 straddles three: full layers add every block, windows the first three."""
    tree = tree_of(spans=WINDOWED)
    first = keep(tree, turn(8), 8)
    second = keep(tree, turn(24), 24, tail=first)
    assert first.kept_bytes == 8 + 8
    assert second.kept_bytes == 16 + 4
