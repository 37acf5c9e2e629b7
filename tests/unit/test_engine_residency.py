"""What each policy does with idle KV, at prices worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import get_args

import pytest

from ctxsim.engine import DISK, HBM, HOST, RESIDENCIES, KvCache, Request, Residency, Room, Tiers
from ctxsim.engine.extents import Extent
from ctxsim.engine.residency import Cheapest, Clairvoyant, Recompute, Victim, session_of
from ctxsim.geometry import KvLayout, Span
from ctxsim.spec.serving import Residency as ResidencyName

NOW_S = 100.0


@dataclass
class Prices:
    """Quotes: so many dollars a token computed, a byte copied, a byte held for a second, all of few binary digits, so
    that what breaks even does so to the last bit. asked: sessions and how long they had been idle.
    """

    token_usd: float = 4.0
    past_token_usd: float = 0.0
    copy_usd_per_byte: dict[tuple[int, int], float] = field(
        default_factory=lambda: {(HBM, HOST): 1.0, (HOST, HBM): 1.0, (DISK, HBM): 2.0}
    )
    hold_usd_per_byte_s: dict[int, float] = field(default_factory=lambda: {HBM: 1.0, HOST: 0.0})
    idle_s: dict[int, float] = field(default_factory=dict)
    next_s: dict[int, float] = field(default_factory=dict)
    asked: list[tuple[int, float]] = field(default_factory=list)

    def now_s(self) -> float:
        return NOW_S

    def recompute_usd(self, past_tokens: int, new_tokens: int) -> float:
        return self.token_usd * new_tokens + self.past_token_usd * past_tokens * new_tokens

    def copy_usd(self, source: int, target: int, moved_bytes: float, tokens: int) -> float:
        return self.copy_usd_per_byte[source, target] * moved_bytes

    def hold_usd(self, tier: int, held_bytes: float, seconds: float) -> float:
        return self.hold_usd_per_byte_s[tier] * held_bytes * seconds

    def expected_idle_s(self, session: int, idle_s: float) -> float:
        self.asked.append((session, idle_s))
        return self.idle_s.get(session, 1024.0)

    def next_use_s(self, session: int) -> float:
        return self.next_s[session]


def extent_of(
    session: int, tokens: int = 8, *, start: int = 0, in_: tuple[int, ...] = (HBM,), used_at: int = 0
) -> Extent:
    """One byte a token, idle for ten seconds."""
    extent = Extent(None, ~session, start, start + tokens)
    extent.kept_bytes, extent.used_at, extent.idle_since_s = float(tokens), used_at, NOW_S - 10
    extent.tiers = sum(1 << tier for tier in in_)
    return extent


def choice(policy: Residency, *candidates: Extent, forced: bool = False, can_offload: bool = True) -> Victim | None:
    return policy.choose(candidates, forced, can_offload)


# Swap out or drop


@pytest.mark.parametrize(
    ("token_usd", "host_usd", "offload"),
    [
        (2.5, 0.0, True),  # 8 bytes out and in for 16, against 20
        (2.0, 0.0, False),  # 16 against 16: nothing gained by the copies
        (1.5, 0.0, False),
        (2.5, 2**-12, True),  # 2 more for 1024 s in host memory: 18 against 20
        (2.5, 2**-11, False),  # 4 more: 20 against 20
    ],
)
def test_the_cheaper_of_swapping_and_dropping(token_usd: float, host_usd: float, offload: bool) -> None:
    prices = Prices(token_usd, hold_usd_per_byte_s={HBM: 1.0, HOST: host_usd})
    extent = extent_of(1)
    assert choice(Cheapest(prices), extent) == Victim(extent, offload)


def test_what_host_memory_has_already_costs_only_the_way_back() -> None:
    """8 bytes for 8, where dropping costs 12 and both ways would cost 16."""
    policy = Cheapest(Prices(token_usd=1.5))
    there, not_there = extent_of(1, in_=(HBM, HOST)), extent_of(1)
    assert choice(policy, there) == Victim(there, True)
    assert choice(policy, not_there) == Victim(not_there, False)


def test_without_host_memory_it_is_dropped_whatever_that_costs() -> None:
    extent = extent_of(1)
    assert choice(Cheapest(Prices(token_usd=64.0)), extent, can_offload=False) == Victim(extent, False)


def test_the_end_of_a_long_context_costs_more_to_compute_again() -> None:
    """8 tokens at 1 and as much for each 32 before them: from 32 on it is 16, what both copies cost."""
    policy = Cheapest(Prices(token_usd=1.0, past_token_usd=1 / 32))
    for start, offload in ((0, False), (32, False), (33, True)):
        extent = extent_of(1, start=start)
        assert choice(policy, extent) == Victim(extent, offload)


# Hold or give up


@pytest.mark.parametrize(("idle_s", "gives_up"), [(1.75, False), (2.0, False), (2.25, True)])
def test_a_newcomer_waits_where_giving_up_costs_as_much_as_holding(idle_s: float, gives_up: bool) -> None:
    """Both copies cost 16, and 8 bytes held for 2 s as much."""
    prices, extent = Prices(idle_s={1: idle_s}), extent_of(1)
    expected = Victim(extent, True)
    assert choice(Cheapest(prices), extent) == (expected if gives_up else None)
    assert choice(Cheapest(prices), extent, forced=True) == expected, "who is served already does not wait"


def test_the_session_goes_first_whose_loss_is_least_for_what_it_costs_to_hold() -> None:
    """The loss of 16 is an eighth, a quarter and a sixteenth of what holding 8 bytes so long costs."""
    prices = Prices(idle_s={1: 16.0, 2: 8.0, 3: 32.0})
    candidates = [extent_of(session) for session in (1, 2, 3)]
    victim = choice(Cheapest(prices), *candidates)
    assert victim is not None
    assert victim.extent is candidates[2]


def test_size_is_no_reason_where_loss_and_holding_grow_with_it() -> None:
    """Then the least recently used goes first, wherever it is named."""
    old, young = extent_of(1, 8, used_at=1), extent_of(2, 64, used_at=2)
    for candidates in ((old, young), (young, old)):
        assert choice(Cheapest(Prices()), *candidates) == Victim(old, True)


def test_what_costs_nothing_to_hold_is_given_up_only_if_it_must_be() -> None:
    """Its session asks already: expected to be idle for no time."""
    prices, asking, idle = Prices(idle_s={1: 0.0}), extent_of(1, used_at=1), extent_of(2, used_at=2)
    assert choice(Cheapest(prices), asking) is None
    assert choice(Cheapest(prices), asking, forced=True) == Victim(asking, True)
    assert choice(Cheapest(prices), asking, idle) == Victim(idle, True)


def test_nothing_to_give_up_is_nothing_given_up() -> None:
    assert choice(Cheapest(Prices()), forced=True) is None


def test_what_is_expected_depends_on_how_long_a_session_has_been_idle() -> None:
    prices = Prices()
    Cheapest(prices).remaining_s(extent_of(5))
    assert prices.asked == [(5, 10.0)]
    assert session_of(extent_of(5)) == 5


# Who knows the future


def test_the_clairvoyant_counts_until_the_next_use() -> None:
    """Now is 100 s: what asks again at 102 breaks even, what does at 103 does not, and what never does goes first."""
    prices = Prices(next_s={1: 102.0, 2: 103.0, 3: inf, 4: 99.0})
    policy = Clairvoyant(prices)
    at_102, at_103, never, overdue = (extent_of(session) for session in (1, 2, 3, 4))
    assert [policy.remaining_s(extent) for extent in (at_102, at_103, never, overdue)] == [2, 3, inf, 0]
    assert choice(policy, at_102) is None
    assert choice(policy, at_102, at_103) == Victim(at_103, True)
    assert choice(policy, at_102, at_103, overdue) == Victim(at_103, True)
    assert prices.asked == [], "it knows"


def test_what_is_never_wanted_again_is_dropped_first_of_all() -> None:
    """It would cost host memory for ever, so it is not copied: what holding it costs is more than any loss."""
    prices = Prices(next_s={1: 1e6, 2: inf}, hold_usd_per_byte_s={HBM: 1.0, HOST: 2**-20})
    later, never = extent_of(1, used_at=1), extent_of(2, used_at=2)
    assert choice(Clairvoyant(prices), later, never) == Victim(never, False)


def test_expectation_and_knowledge_can_choose_otherwise() -> None:
    prices = Prices(idle_s={1: 64.0, 2: 8.0}, next_s={1: NOW_S + 4, 2: NOW_S + 128})
    soon, late = extent_of(1), extent_of(2)
    assert choice(Cheapest(prices), soon, late) == Victim(soon, True)
    assert choice(Clairvoyant(prices), soon, late) == Victim(late, True)


# Fetch or compute again


@pytest.mark.parametrize(
    ("tiers", "token_usd", "fetches"),
    [
        ((HOST,), 1.25, True),  # 8 bytes for 8 against 10
        ((HOST,), 1.0, False),
        ((HOST,), 0.75, False),
        ((DISK,), 1.25, False),  # 16 against 10
        ((DISK,), 2.0, False),
        ((DISK,), 2.25, True),
        ((HOST, DISK), 1.25, True),
    ],
)
def test_what_is_cheaper_to_compute_again_is_not_fetched(
    tiers: tuple[int, ...], token_usd: float, fetches: bool
) -> None:
    assert Cheapest(Prices(token_usd)).fetches(extent_of(1, in_=tiers)) is fetches


@pytest.mark.parametrize(("token_usd", "swaps"), [(1.75, False), (2.0, False), (2.25, True)])
def test_a_preempted_request_is_swapped_where_that_is_cheaper(token_usd: float, swaps: bool) -> None:
    """8 bytes out and in for 16, or 8 tokens."""
    assert Cheapest(Prices(token_usd)).offloads_running(8, 8.0) is swaps


# The others weigh nothing


@pytest.mark.parametrize(
    ("name", "holds", "offloads", "weighs"),
    [
        ("keep", True, False, False),
        ("swap", False, True, False),
        ("recompute", False, False, False),
        ("cheapest", True, True, True),
        ("clairvoyant", True, True, True),
    ],
)
def test_what_policies_may_do(name: str, holds: bool, offloads: bool, weighs: bool) -> None:
    policy = RESIDENCIES[name](Prices())
    assert (policy.holds, policy.offloads, policy.weighs) == (holds, offloads, weighs)
    if not weighs:
        assert policy.fetches(extent_of(1, in_=(DISK,)))
        assert policy.offloads_running(8, 8.0) is offloads


def test_the_order_of_use_is_no_choice() -> None:
    with pytest.raises(NotImplementedError, match="the order of use decides"):
        Recompute().choose([extent_of(1)], False, True)


def test_every_policy_of_the_scenario_file_exists() -> None:
    assert set(RESIDENCIES) == set(get_args(ResidencyName))


# At work in a cache


def cache_with(policy: Residency, host_bytes: float = 1000.0, now_s: Callable[[], float] = lambda: NOW_S) -> KvCache:
    """Sessions 1, 2, 3 have left 8 bytes each, in this order."""
    cache = KvCache(KvLayout([(Span("full"), 1.0)], 0.0, 4), policy, Tiers(host_bytes), now_s=now_s)
    for session in (1, 2, 3):
        request = Request(0, 8, 1, session, last=False)
        cache.claim(request)
        cache.admit(request)
        cache.release(request, 8, 8)
    return cache


@pytest.mark.parametrize(
    ("name", "room", "sent_out", "in_hbm"),
    [
        ("keep", Room.REFUSED, [], [1, 2, 3]),
        ("recompute", Room.FREE, [], [2, 3]),
        ("swap", Room.COMING, [1], [1, 2, 3]),
        ("cheapest", Room.COMING, [2], [1, 2, 3]),
        ("clairvoyant", Room.COMING, [3], [1, 2, 3]),
    ],
)
def test_each_policy_makes_room_in_its_own_way(name: str, room: Room, sent_out: list[int], in_hbm: list[int]) -> None:
    """The first left is the oldest, the second is expected to be idle longest, the third will be."""
    prices = Prices(idle_s={1: 8.0, 2: 64.0, 3: 16.0}, next_s={1: NOW_S + 8, 2: NOW_S + 16, 3: NOW_S + 64})
    cache = cache_with(RESIDENCIES[name](prices))
    assert cache.make_room(8, forced=False) is room
    assert [session_of(move.extent) for move in cache.holdings.orders] == sent_out
    assert sorted(~key for key in cache.holdings.tree.root.children) == in_hbm


def test_a_policy_that_weighs_can_refuse_and_be_forced() -> None:
    cache = cache_with(Cheapest(Prices(idle_s=dict.fromkeys((1, 2, 3), 1.0))))
    assert cache.make_room(8, forced=False) is Room.REFUSED
    assert cache.holdings.orders == []
    assert cache.make_room(8, forced=True) is Room.COMING


def test_a_policy_that_weighs_gives_up_what_it_can_and_says_that_it_is_coming() -> None:
    """One session is worth less than holding it, the other two are worth more: 8 of 16 bytes are coming."""
    cache = cache_with(Cheapest(Prices(idle_s={1: 1.0, 2: 64.0, 3: 1.0})))
    assert cache.make_room(16, forced=False) is Room.COMING
    assert [session_of(move.extent) for move in cache.holdings.orders] == [2]


def test_what_is_not_worth_fetching_is_computed_again() -> None:
    """At 2.5 a token it was swapped out; at 0.5 the way back is dearer, and the prompt starts from nothing."""
    prices = Prices(2.5, idle_s={1: 64.0, 2: 32.0, 3: 32.0})
    cache, request = cache_with(Cheapest(prices)), Request(0, 20, 1, 1, 8, last=False)
    assert cache.make_room(8, forced=False) is Room.COMING
    cache.holdings.finish(cache.holdings.orders.pop())
    prices.token_usd = 0.5
    cache.claim(request)
    assert request.tail is cache.holdings.tree.root
    cache.unclaim(request)
    prices.token_usd = 1.25
    cache.claim(request)
    assert request.tail is not None
    assert request.tail.end == 8


def test_host_memory_for_nothing_is_no_reason_to_keep_what_is_never_wanted_again() -> None:
    """Whatever host memory costs: nobody will miss it, so it is dropped."""
    never = extent_of(1)
    assert choice(Clairvoyant(Prices(next_s={1: inf})), never) == Victim(never, False)
