"""Who may run next: the order of those who wait, newcomers that are held, claims while room is being made, fetches."""

from __future__ import annotations

import numpy as np
import pytest
from test_engine_pressure import PLENTY, core_of, decoding, end_copies, left, step

from ctxsim.engine import EngineCore, KvCache, Plan, Request, Tiers
from ctxsim.engine.admission import admit_next
from ctxsim.engine.residency import Keep, Recompute, Swap
from ctxsim.engine.schedulers import Fcfs


def asked(core: EngineCore, prompt: int, *, session: int, known: int = 0, outputs: int = 5) -> Request:
    request = Request(100 + session, prompt, outputs, session, known, last=False)
    core.waiting.add(request)
    return request


def admitted(core: EngineCore, reserved_bytes: float = 0.0) -> list[Request]:
    """All that are admitted now, one after another."""
    plan, requests = Plan(), []
    while (request := admit_next(core, plan, reserved_bytes)) is not None:
        requests.append(request)
    assert plan.admitted == requests
    return requests


# In order


def test_first_come_first_served_while_seats_and_blocks_last() -> None:
    core = core_of(10, seats=2)
    first, second, third = (asked(core, 30, session=session) for session in (1, 2, 3))
    assert admitted(core) == [first, second]
    assert list(core.waiting) == [third]
    assert list(core.prefilling) == [first, second]
    assert core.used_bytes == 60


def test_nobody_passes_the_first_of_the_queue() -> None:
    core = core_of(5)
    decoding(core, 25)
    long, short = asked(core, 25, session=5), asked(core, 5, session=6)
    assert admitted(core) == []
    assert list(core.waiting) == [long, short]


@pytest.mark.parametrize(("reserved_bytes", "fits"), [(0, True), (20, True), (21, False)])
def test_what_is_reserved_for_those_who_decode_stays_free(reserved_bytes: float, fits: bool) -> None:
    """Five blocks, three asked for."""
    core = core_of(5)
    request = asked(core, 25, session=1)
    assert admitted(core, reserved_bytes) == [request] * fits


def test_who_has_to_wait_is_looked_at_again_only_when_something_may_have_changed() -> None:
    core = core_of(5)
    decoding(core, 25)
    request = asked(core, 25, session=5)
    assert admitted(core) == []
    core.limits.kv_capacity_bytes = 100
    assert admitted(core) == [], "nothing that it was told of"
    core.holdings.version += 1
    assert admitted(core) == [request]


def test_another_first_of_the_queue_is_looked_at_at_once() -> None:
    """One that was preempted goes before the one that did not fit."""
    core = core_of(5)
    decoding(core, 25)
    long = asked(core, 25, session=5)
    assert admitted(core) == []
    core.waiting.put_back(short := Request(7, 5, 5, 6))
    assert admitted(core) == [short]
    assert list(core.waiting) == [long]


def test_what_another_replica_is_making_room_for_is_not_taken() -> None:
    core, other = core_of(5), core_of(5)
    request = asked(core, 25, session=1)
    other.cache.claim(request)
    assert admitted(core) == []
    other.cache.unclaim(request)
    assert admitted(core) == [request]


def test_a_turn_that_goes_on_otherwise_makes_its_own_room() -> None:
    """Five blocks, four idle, those of session 9 used last: it knows one block of its two, and drops the other."""
    core = core_of(5)
    left(core, 8, 20)
    left(core, 9, 20)
    request = asked(core, 25, session=9, known=10)
    assert admitted(core) == [request]
    assert (request.computed_tokens, core.used_bytes) == (10, 50)
    assert core.holdings.idle_bytes == 20, "session 8 has lost nothing"


# Newcomers that are held


def held_newcomer() -> tuple[EngineCore, Request]:
    """Four blocks, two of them kept for session 9, and a newcomer who needs three."""
    core = core_of(4, Keep())
    left(core, 9, 20)
    request = asked(core, 30, session=5)
    assert admitted(core) == []
    assert (list(core.held), list(core.waiting)) == ([request], [])
    return core, request


def test_a_newcomer_waits_where_sessions_are_kept_and_displaces_them_where_not() -> None:
    core, newcomer = held_newcomer()
    assert (newcomer.home, core.holdings.idle_bytes) == (None, 20)
    core = core_of(4, Recompute())
    left(core, 9, 20)
    newcomer = asked(core, 30, session=5)
    assert admitted(core) == [newcomer]
    assert core.holdings.idle_bytes == 10


def test_who_is_kept_passes_the_held() -> None:
    core, newcomer = held_newcomer()
    resident = asked(core, 25, session=9, known=20)
    assert admitted(core) == [resident]
    assert list(core.held) == [newcomer]


def test_newcomers_do_not_pass_each_other() -> None:
    """The second would fit into the two free blocks."""
    core, first = held_newcomer()
    second = asked(core, 10, session=6)
    assert admitted(core) == []
    assert list(core.held) == [first, second]
    assert second.home is None


def test_a_newcomer_that_fits_is_not_held() -> None:
    core = core_of(4, Keep())
    left(core, 9, 20)
    request = asked(core, 20, session=5)
    assert admitted(core) == [request]


def test_the_held_come_first_once_a_session_is_over() -> None:
    """Four blocks free: the first of the held takes three, the second the last, and who came later waits."""
    core, first = held_newcomer()
    second = asked(core, 10, session=6)
    later = asked(core, 10, session=7)
    assert admitted(core) == []
    core.cache.forget(9)
    assert admitted(core) == [first, second]
    assert list(core.held) == [later]


def test_the_held_come_before_those_who_are_kept_and_came_later() -> None:
    """One seat: without session 9's two blocks the held newcomer has its three, and a turn of session 8 waits."""
    core = core_of(5, Keep(), seats=1)
    left(core, 9, 20)
    left(core, 8, 10)
    newcomer = asked(core, 30, session=5)
    assert admitted(core) == []
    resident = asked(core, 15, session=8, known=10)
    core.cache.forget(9)
    assert admitted(core) == [newcomer]
    assert list(core.waiting) == [resident]


def test_the_held_are_not_looked_at_again_before_something_changed() -> None:
    core, newcomer = held_newcomer()
    core.limits.kv_capacity_bytes = 100
    assert admitted(core) == []
    core.holdings.version += 1
    assert admitted(core) == [newcomer]


def test_who_has_kv_by_now_is_held_no_longer() -> None:
    """Another turn of the same session ends: the next is a newcomer no more, and waits before those that came later."""
    core = core_of(6, Keep())
    left(core, 9, 20)
    running = Request(0, 10, 1, 5, last=False)
    core.waiting.add(running)
    plan = Fcfs().plan(core)
    assert plan.admitted == [running]
    newcomer, other = asked(core, 50, session=4), asked(core, 50, session=5)
    assert admitted(core) == []
    assert list(core.held) == [newcomer, other]
    core.waiting.add(later := Request(8, 60, 5, 8))
    core.advance(plan, 1)
    assert list(core.held) == [newcomer]
    assert list(core.waiting) == [other, later]


def test_prompts_with_hashes_are_never_newcomers() -> None:
    """Whose prefixes they share nobody can tell: what is kept gives way to them."""
    core = core_of(4, Keep())
    core.cache = KvCache(core.layout, Keep(), hash_tokens=10)
    core.holdings = core.cache.holdings
    for index, hashes in enumerate(([1, 2], [3, 4, 5])):
        request = Request(index, 10 * len(hashes), 0, index, hashes=np.array(hashes, dtype=np.int64), last=False)
        core.waiting.add(request)
        assert step(core).admitted == [request]
    assert core.holdings.idle_bytes == 40


# While room is being made


def test_the_first_of_the_queue_holds_its_prefix_while_room_is_being_made() -> None:
    """Five blocks: session 8 has two idle and session 9 two; a turn of 9 needs two more, one of which is 8's."""
    core = core_of(5, Swap(), PLENTY)
    left(core, 9, 20)
    left(core, 8, 20)
    request = asked(core, 35, session=9, known=20)
    assert admitted(core) == []
    assert core.claimant is request
    assert (core.holdings.idle_bytes, len(core.holdings.orders)) == (20, 1)
    assert admitted(core) == []
    assert len(core.holdings.orders) == 1, "not ordered twice"
    end_copies(core)
    assert admitted(core) == [request]
    assert (core.claimant, request.computed_tokens) == (None, 20)


def test_a_claim_passes_to_whoever_comes_before() -> None:
    core = core_of(5, Swap(), PLENTY)
    left(core, 9, 20)
    left(core, 8, 20)
    request = asked(core, 35, session=9, known=20)
    assert admitted(core) == []
    core.waiting.put_back(before := Request(7, 5, 5, 6))
    plan = Plan()
    assert admit_next(core, plan, 0.0) is before
    assert plan.let_go
    assert (core.claimant, request.home) == (None, None)


def test_a_claim_does_not_hold_what_decoding_sequences_are_to_displace() -> None:
    """The next block of the one that decodes is to come from session 9's: who waits for more room lets go of it.

    Of eight blocks two are session 8's, four session 9's, and two decode; the turn needs a fifth, ten bytes are kept.
    """
    core = core_of(8, Swap(), Tiers(1000))
    left(core, 9, 40)
    left(core, 8, 20)
    decoding(core, 20)
    request = asked(core, 45, session=9, known=40)
    plan = Plan()
    assert admit_next(core, plan, 10.0) is None
    assert len(core.holdings.orders) == 1
    assert (request.home, core.claimant) == (None, None)
    assert core.holdings.idle_bytes == 60
    assert not plan.let_go, "nobody was told that it held anything"


# One fetch


def test_a_fetch_keeps_its_own_sequence_waiting_and_no_other() -> None:
    """Behind it another prompt is admitted and computed, and who decodes goes on."""
    core = core_of(20, Swap(), PLENTY)
    left(core, 9, 20)
    core.cache.make_room(20, forced=True)
    end_copies(core)
    (old,) = decoding(core, 25)
    fetched, behind = asked(core, 25, session=9, known=20), asked(core, 15, session=6)
    plan = Fcfs().plan(core)
    assert plan.admitted == [fetched, behind]
    assert plan.chunks == [(behind, 15)]
    assert plan.decoding
    assert core.decoding() == [old]
    assert list(core.fetching) == [fetched]
    core.advance(plan, 1)
    assert (old.output_tokens, core.decodes.remove(old)) == (50, 26)
    core.decodes.add(old, 26)
    assert core.decoding() == [old, behind]
    assert Fcfs().plan(core).chunks == [], "the copy is still under way"
    (move,) = core.holdings.orders
    assert core.finish_move(move) == [fetched]
    assert Fcfs().plan(core).chunks == [(fetched, 5)]


def test_a_fetch_takes_a_seat_and_no_token_budget() -> None:
    core = core_of(20, Swap(), PLENTY, seats=2)
    left(core, 9, 20)
    core.cache.make_room(20, forced=True)
    end_copies(core)
    core.limits.max_num_batched_tokens = 15
    fetched, behind, third = (asked(core, 25, session=session, known=20) for session in (9, 6, 7))
    plan = Fcfs().plan(core)
    assert plan.chunks == [(behind, 15)]
    assert plan.admitted == [fetched, behind]
    assert list(core.waiting) == [third]
