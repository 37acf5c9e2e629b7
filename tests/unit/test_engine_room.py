"""What gives way when room is wanted in HBM: how soon, in which order, and how much of it."""

from __future__ import annotations

import pytest
from test_engine_cache import BLOCK, PLENTY, cache_of, end_copies, hashed, left, served, sessions_in, turn

from ctxsim.engine import HBM, HOST, KvCache, Residency, Room, Tiers
from ctxsim.engine.residency import Keep, Recompute, Swap
from ctxsim.geometry import KvLayout, Span


@pytest.mark.parametrize(
    ("policy", "tiers", "room"),
    [
        (Recompute(), None, Room.FREE),
        (Recompute(), PLENTY, Room.FREE),
        (Swap(), PLENTY, Room.COMING),
        (Swap(), None, Room.FREE),
        (Swap(), Tiers(7), Room.FREE),  # no room for 8 bytes: dropped
        (Keep(), PLENTY, Room.REFUSED),
    ],
)
def test_what_room_is_made_by(policy: Residency, tiers: Tiers | None, room: Room) -> None:
    cache = cache_of(policy, tiers)
    left(cache, 1, 2)
    assert cache.make_room(8, forced=False) is room
    assert cache.make_room(17, forced=True) is Room.REFUSED, "more than is idle"
    freed = {Room.FREE: 8, Room.COMING: 0, Room.REFUSED: 0}[room]
    assert cache.holdings.hbm_bytes == 16 - freed
    assert len(cache.holdings.orders) == (room is Room.COMING)


def test_sessions_are_kept_against_newcomers_only() -> None:
    cache = cache_of(Keep())
    left(cache, 1, 2)
    assert cache.make_room(8, forced=False) is Room.REFUSED
    assert cache.make_room(8, forced=True) is Room.FREE
    assert sessions_in(cache, HBM) == {2: 8}


def test_the_least_recently_used_gives_way_first_from_its_tail_and_only_as_far_as_needed() -> None:
    cache = cache_of()
    left(cache, 1, 2, 3)
    cache.release(served(cache, turn(12, known=8, session=1)), 12, 12)
    found = []
    for wanted_bytes in (1, 4, 8, 5):
        assert cache.make_room(wanted_bytes, forced=False) is Room.FREE
        found.append(sessions_in(cache, HBM))
    assert found == [{2: 4, 3: 8, 1: 12}, {3: 8, 1: 12}, {1: 12}, {1: 4}]
    assert cache.droppable_bytes == 4


def test_swapping_takes_the_oldest_whole_until_enough_is_under_way() -> None:
    cache = cache_of(Swap(), PLENTY)
    left(cache, 3, 1, 2)
    assert cache.make_room(9, forced=False) is Room.COMING
    assert [~move.extent.key for move in cache.holdings.orders] == [3, 1]
    assert cache.make_room(16, forced=False) is Room.COMING
    assert len(cache.holdings.orders) == 2, "16 bytes are under way already"
    end_copies(cache)
    assert sessions_in(cache, HBM) == {2: 8}
    assert sessions_in(cache, HOST) == {3: 8, 1: 8}


def test_what_host_memory_has_no_room_for_is_dropped_as_far_as_needed() -> None:
    """8 of 12 bytes wanted are on their way; of the next session 4 are dropped, its tail."""
    cache = cache_of(Swap(), Tiers(8))
    left(cache, 1, 2, 3)
    assert cache.make_room(12, forced=False) is Room.COMING
    assert [~move.extent.key for move in cache.holdings.orders] == [1]
    assert sessions_in(cache, HBM) == {1: 8, 2: 4, 3: 8}
    end_copies(cache)
    assert sessions_in(cache, HBM) == {2: 4, 3: 8}


def test_written_through_kv_is_dropped_at_once_and_the_rest_is_coming() -> None:
    cache = cache_of(Swap(), Tiers(1000, inclusive=True))
    left(cache, 1)
    end_copies(cache)
    cache.release(served(cache, turn(8, session=2)), 8, 8)
    assert cache.droppable_bytes == 8, "the other is still being written through"
    assert cache.make_room(9, forced=False) is Room.COMING
    assert sessions_in(cache, HBM) == {1: 8, 2: 8}
    assert cache.make_room(8, forced=False) is Room.FREE
    assert sessions_in(cache, HBM) == {2: 8}
    assert sessions_in(cache, HOST) == {1: 8}


def test_what_is_held_never_gives_way() -> None:
    cache, request = cache_of(), turn(12, known=8, session=1)
    left(cache, 1, 2)
    cache.claim(request)
    assert cache.make_room(9, forced=True) is Room.REFUSED
    assert cache.make_room(8, forced=True) is Room.FREE
    assert sessions_in(cache, HBM) == {1: 8}


def test_windows_give_way_whole() -> None:
    cache = KvCache(KvLayout([(Span("full"), 1.0), (Span("sliding", 4), 1.0)], 0.0, BLOCK))
    left(cache, 1, tokens=20)
    assert cache.holdings.idle_bytes == 20 + 8, "a window of one block straddles two"
    assert cache.make_room(1, forced=False) is Room.FREE
    assert cache.holdings.idle_bytes == 0


def test_branches_give_way_before_what_they_share() -> None:
    cache = cache_of(hashes=True)
    for hashes in ((1, 2, 3), (1, 2, 4), (5,)):
        cache.release(served(cache, hashed(*hashes)), 4 * len(hashes), 4 * len(hashes))
    found = []
    for _ in range(5):
        assert cache.make_room(4, forced=False) is Room.FREE
        tree = cache.holdings.tree
        found.append([tree.kept_tokens(hashed(*h, tokens=4 * len(h) + 1)) for h in ((1, 2, 3), (1, 2, 4), (5,))])
    assert found == [[8, 12, 4], [8, 8, 4], [4, 4, 4], [0, 0, 4], [0, 0, 0]]


def test_a_sessions_idle_kv_can_be_sent_out_whatever_the_order_of_use() -> None:
    """Of the youngest, though an older one is idle; what is held or on its way already is not sent."""
    cache, request = cache_of(Swap(), PLENTY), turn(12, known=8, session=3)
    left(cache, 1, 2, 3)
    cache.claim(request)
    for session in (2, 2, 3, 4):
        cache.offload_idle(session)
    assert [~move.extent.key for move in end_copies(cache)] == [2]
    assert sessions_in(cache, HOST) == {2: 8}
    assert sessions_in(cache, HBM) == {1: 8, 3: 8}
