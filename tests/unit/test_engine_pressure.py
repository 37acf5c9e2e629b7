"""What gives way when sequences that decode need blocks: idle KV, claims, then the last admitted."""

from __future__ import annotations

import pytest

from ctxsim.engine import HBM, HOST, EngineCore, IncrementalBatch, KvCache, Limits, Plan, Request, Residency, Tiers
from ctxsim.engine.pressure import make_growth_fit
from ctxsim.engine.residency import Keep, Recompute, Swap
from ctxsim.engine.schedulers import Fcfs
from ctxsim.geometry import KvLayout, Span

SPANS = (Span("full"),)
PLENTY = Tiers(host_bytes=1000)


def core_of(blocks: int, policy: Residency | None = None, tiers: Tiers | None = None, seats: int = 8) -> EngineCore:
    """Blocks of ten tokens, one byte a token, and a token budget that never binds."""
    layout = KvLayout([(Span("full"), 1.0)], block_size=10)
    cache = KvCache(layout, policy, tiers)
    return EngineCore(Limits(seats, 1000, 10.0 * blocks), layout, IncrementalBatch(SPANS, layout), cache)


def step(core: EngineCore) -> Plan:
    """One iteration."""
    plan = Fcfs().plan(core)
    core.advance(plan, 1)
    return plan


def left(core: EngineCore, session: int, tokens: int) -> None:
    """A session asked, and has left so many tokens in HBM."""
    core.waiting.add(Request(90 + session, tokens, 0, session, last=False))
    step(core)
    assert not core.running


def decoding(core: EngineCore, *prompts: int, outputs: int = 50) -> list[Request]:
    """Requests of sessions 1, 2, ... that have their first token, one after the other."""
    requests = [Request(i, prompt, outputs, i + 1, last=False) for i, prompt in enumerate(prompts)]
    for request in requests:
        core.waiting.add(request)
    step(core)
    assert core.decoding() == requests
    return requests


def growth(core: EngineCore) -> tuple[float, Plan]:
    plan = Plan()
    return make_growth_fit(core, plan), plan


def end_copies(core: EngineCore) -> None:
    while core.holdings.orders:
        core.finish_move(core.holdings.orders.pop(0))


# Room enough


def test_where_there_is_room_nothing_gives_way() -> None:
    """Two of 20 tokens open a block each with their next, one of 25 has room in its last."""
    core = core_of(10)
    requests = decoding(core, 20, 25, 20)
    taken, plan = growth(core)
    assert taken == 20
    assert core.decoding() == requests
    assert (plan.preempted, plan.paused, plan.resumed, plan.let_go) == ([], [], [], False)


@pytest.mark.parametrize("policy", [Recompute(), Keep()])
def test_idle_kv_gives_way_when_the_blocks_are_taken(policy: Residency) -> None:
    """Four blocks, two of them idle: the next token needs a third, and who is served is never kept waiting for it."""
    core = core_of(4, policy)
    left(core, 9, 20)
    (request,) = decoding(core, 20)
    taken, plan = growth(core)
    assert (taken, plan.preempted, plan.paused) == (10, [], [])
    assert core.holdings.idle_bytes == 20, "not before they are taken"
    step(core)
    assert (core.holdings.idle_bytes, core.used_bytes) == (10, 40)
    assert core.decoding() == [request]


# Room that is coming


def test_the_last_admitted_pauses_while_idle_kv_is_copied_out() -> None:
    """Seven blocks: two idle, three of 25 tokens, two of 20, whose next token needs one more."""
    core = core_of(7, Swap(), PLENTY)
    left(core, 9, 20)
    old, young = decoding(core, 25, 20)
    taken, plan = growth(core)
    assert (plan.paused, plan.preempted) == ([young], [])
    assert core.paused == {young: 20}
    assert (taken, core.decoding()) == (0, [old])
    assert [(m.source, m.target, m.tokens) for m in core.holdings.orders] == [(HBM, HOST, 20)]


def test_who_is_paused_goes_on_when_there_is_room() -> None:
    core = core_of(7, Swap(), PLENTY)
    left(core, 9, 20)
    old, young = decoding(core, 25, 20)
    growth(core)
    end_copies(core)
    taken, plan = growth(core)
    assert (plan.resumed, plan.paused) == ([young], [])
    assert (taken, core.decoding(), core.paused) == (10, [old, young], {})
    core.advance(plan, 1)
    assert core.decodes.remove(young) == 21, "none of its tokens was lost or made twice"


def test_who_stays_paused_neither_pauses_nor_resumes() -> None:
    core = core_of(7, Swap(), PLENTY)
    left(core, 9, 20)
    _, young = decoding(core, 25, 20)
    growth(core)
    _, plan = growth(core)
    assert (plan.resumed, plan.paused) == ([], [])
    assert core.paused == {young: 20}
    assert len(core.holdings.orders) == 1, "what is coming is enough"


def test_all_pause_the_youngest_first_where_all_need_blocks() -> None:
    core = core_of(6, Swap(), PLENTY)
    left(core, 9, 20)
    old, young = decoding(core, 20, 20)
    taken, plan = growth(core)
    assert (plan.paused, taken) == ([young, old], 0)
    end_copies(core)
    _, plan = growth(core)
    assert plan.resumed == [old, young]


def test_room_is_made_for_the_next_block_of_all_at_once() -> None:
    """One needs a block now and the other will before it needs another: both idle sessions go, not one and then one."""
    core = core_of(7, Swap(), PLENTY)
    left(core, 8, 10)
    left(core, 9, 10)
    decoding(core, 25, 20)
    growth(core)
    assert [move.tokens for move in core.holdings.orders] == [10, 10]


# No room: preemption


@pytest.mark.parametrize(
    ("policy", "tiers"),
    [(Recompute(), None), (Recompute(), PLENTY), (Keep(), PLENTY), (Swap(), None), (Swap(), Tiers(0))],
)
def test_a_preempted_sequence_is_dropped_where_there_is_nothing_to_swap_to(
    policy: Residency, tiers: Tiers | None
) -> None:
    core = core_of(4, policy, tiers)
    old, young = decoding(core, 20, 20)
    taken, plan = growth(core)
    assert (plan.preempted, plan.paused) == ([young], [])
    assert (taken, core.used_bytes, core.holdings.hbm_bytes) == (10, 20, 0)
    assert (young.known_tokens, young.prefill_tokens, young.lost_tokens) == (0, 21, 20)
    assert core.decoding() == [old]
    assert core.waiting.first() is young


def test_a_preempted_sequence_is_swapped_out_and_the_rest_pause_until_its_room_is_free() -> None:
    core = core_of(4, Swap(), PLENTY)
    old, young = decoding(core, 20, 20)
    taken, plan = growth(core)
    assert (plan.preempted, plan.paused, taken) == ([young], [old], 0)
    assert young.known_tokens == 20
    (move,) = core.holdings.orders
    assert (move.source, move.target, move.tokens, move.request) == (HBM, HOST, 20, None)
    assert core.waiting.first() is young
    end_copies(core)
    taken, plan = growth(core)
    assert (plan.resumed, taken, core.used_bytes) == ([old], 10, 20)


@pytest.mark.parametrize(("policy", "recomputed", "found"), [(Recompute(), 20, 0), (Swap(), 0, 20)])
def test_what_was_swapped_out_is_not_computed_again(policy: Residency, recomputed: int, found: int) -> None:
    """The younger comes back when the older is done: 21 tokens to prefill, two blocks of them kept."""
    core = core_of(4, policy, PLENTY)
    old, young = decoding(core, 20, 20, outputs=9)
    seen = []
    for _ in range(50):
        plan = Fcfs().plan(core)
        seen += [young.computed_tokens for request in plan.admitted if request is young]
        core.advance(plan, 1)
        end_copies(core)
    assert not core.running
    assert (old.preemptions, young.preemptions) == (0, 1)
    assert (seen, young.recomputed_tokens, young.generated_tokens) == ([found], recomputed, 9)
    assert young.hit_tokens == [0, 0, 0], "hits are those of the prompt when it first came"


def test_who_is_paused_can_be_preempted() -> None:
    """The copy that it waits for makes room, but someone else has it: nothing is idle any more."""
    core = core_of(7, Swap(), PLENTY)
    left(core, 9, 20)
    old, young = decoding(core, 25, 20)
    growth(core)
    end_copies(core)
    core.limits.kv_capacity_bytes = 50
    _, plan = growth(core)
    assert (plan.preempted, plan.resumed) == ([young], [])
    assert core.paused == {}
    assert core.decoding() == [old]


# What is held for others


def test_a_claim_is_let_go_of_before_anyone_is_preempted() -> None:
    """Idle KV that someone holds who waits for more room gives way to those who decode."""
    core = core_of(4)
    left(core, 9, 20)
    (request,) = decoding(core, 20)
    claimant = Request(5, 60, 5, 9, 20)
    core.cache.claim(claimant)
    core.claimant = claimant
    assert core.holdings.idle_bytes == 0
    taken, plan = growth(core)
    assert (taken, plan.let_go, plan.preempted) == (10, True, [])
    assert (core.claimant, claimant.home, core.holdings.idle_bytes) == (None, None, 20)
    assert core.decoding() == [request]


def fetching(core: EngineCore, *prompts: int) -> tuple[list[Request], Request]:
    """These decode; session 9, swapped out before, is being fetched for a prompt of 25 tokens, last admitted."""
    left(core, 9, 20)
    core.cache.make_room(20, forced=True)
    end_copies(core)
    requests = decoding(core, *prompts)
    fetched = Request(9, 25, 5, 9, 20, last=False)
    core.waiting.add(fetched)
    # The fetch is ordered before those that decode need their next block.
    core.cache.claim(fetched)
    core.start(core.waiting.pop())
    assert list(core.fetching) == [fetched]
    assert core.free_bytes == 0
    return requests, fetched


def test_who_decodes_alone_beside_a_fetch_pauses_until_it_has_ended() -> None:
    """What is being fetched cannot be preempted: its KV is not there to be given up."""
    core = core_of(5, Swap(), PLENTY)
    (request,), fetched = fetching(core, 20)
    taken, plan = growth(core)
    assert (plan.paused, plan.preempted, taken) == ([request], [], 0)
    assert core.finish_move(core.holdings.orders.pop()) == [fetched]
    _, plan = growth(core)
    assert plan.preempted == [fetched], "the last admitted, now that it can be"
    assert (plan.resumed, core.paused) == ([request], {}), "its third block, not computed yet, was free at once"
    assert [(m.tokens, m.target) for m in core.holdings.orders] == [(20, HOST)]


def test_of_several_the_last_admitted_is_preempted_that_is_not_being_fetched() -> None:
    core = core_of(7, Swap(), PLENTY)
    (old, young), fetched = fetching(core, 20, 20)
    _, plan = growth(core)
    assert (plan.preempted, plan.paused) == ([young], [old])
    assert list(core.fetching) == [fetched]
