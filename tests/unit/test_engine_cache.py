"""One replica's cache: what prompts claim and are given, and what they leave."""

from __future__ import annotations

import numpy as np
import pytest

from ctxsim.engine import HBM, HOST, KvCache, Move, Request, Residency, Room, Tiers
from ctxsim.engine.residency import Keep, Recompute, Swap
from ctxsim.geometry import KvLayout, Span

BLOCK = 4
LAYOUT = KvLayout([(Span("full"), 1.0)], 0.0, BLOCK)
PLENTY = Tiers(host_bytes=1000)


def cache_of(policy: Residency | None = None, tiers: Tiers | None = None, *, hashes: bool = False) -> KvCache:
    """Blocks of 4 tokens, one byte a token."""
    return KvCache(LAYOUT, policy, tiers, BLOCK if hashes else 0)


def turn(prompt: int, known: int = 0, session: int = 7) -> Request:
    return Request(0, prompt, 1, session, known, last=False)


def hashed(*hashes: int, tokens: int = 0) -> Request:
    return Request(0, tokens or len(hashes) * BLOCK, 1, hashes=np.array(hashes, dtype=np.int64))


def served(cache: KvCache, request: Request) -> Request:
    """Claimed, admitted and computed to the end of its prompt."""
    cache.claim(request)
    cache.admit(request)
    end_copies(cache)
    request.computed_tokens = request.prefill_tokens
    if request.hashes is not None:
        cache.share(request, request.computed_tokens)
    return request


def left(cache: KvCache, *sessions: int, tokens: int = 8) -> None:
    """One after the other these sessions leave so many tokens in HBM."""
    for session in sessions:
        cache.release(served(cache, turn(tokens, session=session)), tokens, tokens)


def end_copies(cache: KvCache) -> list[Move]:
    """Ends what was ordered, in order."""
    ended: list[Move] = []
    while cache.holdings.orders:
        ended.append(cache.holdings.orders.pop(0))
        cache.holdings.finish(ended[-1])
    return ended


def swap_out(cache: KvCache, wanted_bytes: float) -> None:
    assert cache.make_room(wanted_bytes, forced=False) is Room.COMING
    end_copies(cache)


def sessions_in(cache: KvCache, tier: int) -> dict[int, int]:
    """Tokens that each session has in a tier."""
    tokens: dict[int, int] = {}
    todo = list(cache.holdings.tree.root.children.values())
    while todo:
        extent = todo.pop()
        todo += extent.children.values()
        if extent.lies_in(tier):
            tokens[~extent.key] = tokens.get(~extent.key, 0) + extent.end - extent.start
    return tokens


# Claiming and admitting


def test_a_newcomer_takes_all_its_blocks() -> None:
    cache, request = cache_of(), turn(10)
    cache.claim(request)
    assert request.home is cache
    assert cache.missing_bytes(request) == 12, "three blocks of 4 tokens"
    assert cache.admit(request) == 12
    assert (request.computed_tokens, request.hit_tokens, request.pending) == (0, [0, 0, 0], 0)


def test_a_turn_takes_what_its_session_has_not_left() -> None:
    cache, request = cache_of(), turn(30, known=20)
    left(cache, 7, tokens=20)
    cache.claim(request)
    assert cache.holdings.idle_bytes == 0, "what is claimed does not give way"
    assert cache.missing_bytes(request) == 12
    assert cache.admit(request) == 12
    assert (request.computed_tokens, request.hit_tokens) == (20, [20, 0, 0])


def test_a_claim_that_came_to_nothing_leaves_all_as_it_was() -> None:
    cache, request = cache_of(), turn(30, known=20)
    left(cache, 7, tokens=20)
    cache.claim(request)
    cache.unclaim(request)
    assert (request.home, request.tail) == (None, None)
    assert (cache.holdings.hbm_bytes, cache.holdings.idle_bytes) == (20, 20)


def test_what_lies_below_is_fetched_and_takes_hbm() -> None:
    cache, request = cache_of(Swap(), PLENTY), turn(30, known=20)
    left(cache, 7, tokens=20)
    swap_out(cache, 20)
    cache.claim(request)
    assert cache.missing_bytes(request) == 32, "nothing of it is in HBM"
    assert cache.admit(request) == 12
    assert (request.pending, request.hit_tokens) == (1, [0, 20, 0])
    assert request.computed_tokens == 20, "at hand once the copy has ended"
    assert [(m.source, m.target, m.request) for m in cache.holdings.orders] == [(HOST, HBM, request)]


def test_hits_are_counted_in_the_tier_where_they_were_found_and_only_once_a_request() -> None:
    cache = cache_of(Swap(), Tiers(1000), hashes=True)
    cache.release(served(cache, hashed(1, 2, 3)), 12, 12)
    swap_out(cache, 12)
    cache.release(served(cache, hashed(1, tokens=5)), 5, 5)
    request = hashed(1, 2, 3)
    cache.claim(request)
    cache.admit(request)
    assert request.hit_tokens == [4, 4, 0], "the last block is computed again, though its copy comes along"
    assert [(move.tokens, move.source) for move in cache.holdings.orders] == [(8, HOST)]
    again = hashed(1, 2, 3)
    again.preempt(0)
    cache.claim(again)
    cache.admit(again)
    assert again.hit_tokens == [0, 0, 0], "a preempted request was counted when it first came"
    assert again.computed_tokens == 8


def test_a_turn_that_goes_on_otherwise_drops_what_its_session_has_beyond() -> None:
    cache, request = cache_of(), turn(30, known=8)
    left(cache, 7, tokens=20)
    cache.claim(request)
    assert cache.holdings.hbm_bytes == 20
    assert cache.admit(request) == 24
    assert cache.holdings.hbm_bytes == 8
    assert sessions_in(cache, HBM) == {7: 8}


def test_what_is_stale_makes_room_before_the_turn_is_admitted() -> None:
    cache, request = cache_of(), turn(30, known=8)
    left(cache, 7, 9, tokens=20)
    version = cache.holdings.version
    cache.claim(request)
    cache.drop_stale(request)
    assert sessions_in(cache, HBM) == {7: 8, 9: 20}
    assert cache.holdings.version > version
    assert cache.missing_bytes(request) == 24


def test_prompts_with_hashes_have_nothing_stale() -> None:
    """What follows elsewhere is another prompt's."""
    cache = cache_of(hashes=True)
    cache.release(served(cache, hashed(1, 2, 3)), 12, 12)
    request = hashed(1, 4, 5)
    cache.claim(request)
    cache.drop_stale(request)
    cache.admit(request)
    assert cache.holdings.hbm_bytes == 12


def test_a_session_is_resident_with_any_kv_in_hbm() -> None:
    cache = cache_of(Swap(), PLENTY)
    left(cache, 7)
    assert cache.has_in_hbm(turn(20))
    assert not cache.has_in_hbm(turn(20, session=8))
    swap_out(cache, 8)
    assert not cache.has_in_hbm(turn(20))


# Sharing and releasing


def test_whole_blocks_of_a_prompt_under_way_can_be_used_by_others() -> None:
    cache, request, other = cache_of(hashes=True), hashed(1, 2, 3, tokens=14), hashed(1, 2, 9)
    cache.claim(request)
    own_bytes = cache.admit(request)
    assert own_bytes == 16
    request.computed_tokens = 10
    assert cache.share(request, 10) == 8, "two blocks are whole"
    assert cache.holdings.hbm_bytes == 8
    cache.claim(other)
    assert cache.missing_bytes(other) == 4
    assert cache.own_bytes(request, 14) == 8
    request.computed_tokens = 14
    assert cache.share(request, 14) == 4, "the rest of the prompt has no hash"
    assert cache.own_bytes(request, 14) == 4


def test_nothing_is_given_twice() -> None:
    cache, request = cache_of(hashes=True), hashed(1, 2)
    cache.claim(request)
    cache.admit(request)
    assert [cache.share(request, tokens) for tokens in (4, 4, 7, 8)] == [4, 0, 0, 4]


def test_two_that_compute_the_same_side_by_side_keep_one_of_them() -> None:
    cache = cache_of(hashes=True)
    first, second = hashed(1, 2), hashed(1, 2)
    for request in (first, second):
        cache.claim(request)
        cache.admit(request)
    assert [cache.share(first, 8), cache.share(second, 8)] == [8, 0]
    assert cache.release(second, 8, 8) == 8, "its own blocks are free"
    assert cache.release(first, 8, 8) == 0
    assert (cache.holdings.hbm_bytes, cache.holdings.idle_bytes) == (8, 8)


def test_what_was_shared_while_its_prompt_was_under_way_counts_when_that_is_done() -> None:
    """[1] of the first prompt is held by a second before [2] is computed, so that they are two extents."""
    cache, request, other = cache_of(hashes=True), hashed(1, 2), hashed(1, 9)
    cache.claim(request)
    cache.admit(request)
    request.computed_tokens = 4
    cache.share(request, 4)
    cache.claim(other)
    request.computed_tokens = 8
    cache.share(request, 8)
    cache.release(request, 8, 8)
    cache.unclaim(other)
    assert cache.holdings.idle_bytes == 8
    assert cache.holdings.tree.kept_tokens(hashed(1, 2, 3)) == 8


@pytest.mark.parametrize(("kept_tokens", "kept_bytes"), [(0, 0), (10, 8), (18, 16), (20, 20)])
def test_a_session_leaves_whole_blocks_of_what_may_be_wanted_again(kept_tokens: int, kept_bytes: int) -> None:
    cache = cache_of()
    request = served(cache, turn(18))
    version = cache.holdings.version
    assert cache.release(request, 20, kept_tokens) == 20
    assert (cache.holdings.hbm_bytes, cache.holdings.idle_bytes) == (kept_bytes, kept_bytes)
    assert (request.tail, request.home) == (None, None)
    assert cache.holdings.version > version


def test_what_is_over_is_forgotten() -> None:
    cache = cache_of(Swap(), PLENTY)
    left(cache, 1, 2)
    swap_out(cache, 8)
    for session in (1, 2, 3):
        cache.forget(session)
    assert (cache.holdings.hbm_bytes, cache.holdings.stores.host.used_bytes) == (0, 0)


def test_under_inclusive_tiers_what_is_left_is_written_through() -> None:
    cache = cache_of(Swap(), Tiers(1000, inclusive=True))
    left(cache, 1)
    (move,) = end_copies(cache)
    assert (move.source, move.target, move.write_through) == (HBM, HOST, True)
    assert sessions_in(cache, HBM) == sessions_in(cache, HOST) == {1: 8}
    cache.release(served(cache, turn(20, known=8, session=1)), 20, 20)
    (move,) = end_copies(cache)
    assert move.tokens == 12, "what host memory has already is not copied again"


@pytest.mark.parametrize("policy", [Recompute(), Keep()])
def test_a_policy_without_offloads_has_nothing_below(policy: Residency) -> None:
    cache = cache_of(policy, Tiers(1000, 1000, inclusive=True))
    left(cache, 1)
    assert cache.holdings.orders == []
    assert not cache.offloads_running(turn(8), 8)
    assert cache_of(Swap(), PLENTY).offloads_running(turn(8), 8)
    assert not cache_of(Swap(), Tiers(0)).offloads_running(turn(8), 8)
