"""Sessions: context grows by every question and answer, users take turns, and draws stay with their session."""

from __future__ import annotations

from collections import defaultdict
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from ctxsim.spec.workload import Workload
from ctxsim.workload import Demand, Source, make_source

WORKLOAD: TypeAdapter[Any] = TypeAdapter(Workload)

DRAWN = {"kind": "lognormal", "mean": 500.0, "p95": 1500.0}
ALL_DRAWN = {
    "document_tokens": DRAWN,
    "question_tokens": {"kind": "uniform", "min": 1, "max": 9},
    "answer_tokens": {"kind": "exponential", "mean": 80.0},
    "think_time": {"kind": "exponential", "mean": "30 s"},
}


def sessions(**changes: Any) -> Any:
    spec = {
        "kind": "sessions",
        "document_tokens": 50_000,
        "rounds": 3,
        "question_tokens": 100,
        "answer_tokens": 250,
        "think_time": "60 s",
    }
    return WORKLOAD.validate_python(spec | changes)


def after(source: Source, demand: Demand, finished_s: float) -> Demand:
    (released,) = source.after(demand, finished_s)
    return released


def test_prompt_of_a_turn_is_the_whole_context_so_far() -> None:
    source = make_source(sessions(users=1, num_sessions=1), seed=0)
    (first,) = source.initial()
    second = after(source, first, 10.0)
    third = after(source, second, 100.0)
    assert [first, second, third] == [
        Demand(0, 0.0, 50_100, 250, session=0, turn=0, reusable_tokens=0, last=False),
        Demand(1, 70.0, 50_100 + 250 + 100, 250, session=0, turn=1, reusable_tokens=50_100 + 249, last=False),
        Demand(2, 160.0, 50_450 + 250 + 100, 250, session=0, turn=2, reusable_tokens=50_450 + 249, last=True),
    ]
    assert source.after(third, 170.0) == (), "the only session is over"
    assert source.num_requests == 3


def test_users_start_staggered_over_one_think_time() -> None:
    source = make_source(sessions(users=4), seed=0)
    assert [(d.session, d.arrival_s) for d in source.initial()] == [(0, 0.0), (1, 15.0), (2, 30.0), (3, 45.0)]
    assert source.num_requests is None


def test_stagger_is_over_the_mean_of_a_drawn_think_time() -> None:
    source = make_source(sessions(users=2, think_time={"kind": "exponential", "mean": "40 s"}), seed=0)
    assert [d.arrival_s for d in source.initial()] == [0.0, 20.0]


def test_user_whose_session_ends_begins_a_new_one_after_one_think_time() -> None:
    source = make_source(sessions(users=2, rounds=1, num_sessions=3), seed=0)
    first, second = source.initial()
    assert source.after(second, 40.0) == (Demand(2, 100.0, 50_100, 250, session=2, turn=0, last=True),)
    assert source.after(first, 41.0) == (), "all three sessions were begun"


def test_fewer_sessions_than_users_leaves_users_idle() -> None:
    source = make_source(sessions(users=6, num_sessions=2), seed=0)
    assert [d.arrival_s for d in source.initial()] == [0.0, 10.0]


def test_without_a_number_sessions_go_on() -> None:
    source = make_source(sessions(users=1), seed=0)
    (demand,) = source.initial()
    for _ in range(100):
        demand = after(source, demand, demand.arrival_s)
    assert (demand.index, demand.session, demand.turn) == (100, 33, 1)


def test_open_sessions_wait_for_their_own_answers_only() -> None:
    source = make_source(sessions(arrival={"kind": "constant", "rate": "0.1 /s"}, num_sessions=2, rounds=2), seed=0)
    first, second = source.initial()
    assert [first.arrival_s, second.arrival_s] == [0.0, 10.0]
    assert source.after(second, 30.0) == (Demand(2, 90.0, 50_450, 250, 1, 1, reusable_tokens=50_349, last=True),)
    last = after(source, first, 500.0)
    assert last == Demand(3, 560.0, 50_450, 250, session=0, turn=1, reusable_tokens=50_349, last=True)
    assert source.after(last, 600.0) == ()
    assert source.num_requests == 4


def test_open_sessions_without_a_number_are_endless_and_lazy() -> None:
    source = make_source(sessions(arrival={"kind": "poisson", "rate": "1 /s"}), seed=0)
    arrivals = [d.arrival_s for d in islice(source.initial(), 10_000)]
    assert arrivals == sorted(arrivals)
    assert source.num_requests is None


def turns_by_session(source: Source, order: list[int]) -> dict[int, list[tuple[int, int, float]]]:
    """Prompt, answer and think time of every turn, completing whichever waiting demand ``order`` picks next."""
    waiting = list(source.initial())
    turns: dict[int, list[tuple[int, int, float]]] = defaultdict(list)
    for demand in waiting:
        turns[demand.session].append((demand.prompt_tokens, demand.output_tokens, 0.0))
    step = 0
    while waiting:
        demand = waiting.pop(order[step % len(order)] % len(waiting))
        step += 1
        # Finished at 0, so that the arrival is the think time itself.
        for released in source.after(demand, 0.0):
            waiting.append(released)
            turns[released.session].append((released.prompt_tokens, released.output_tokens, released.arrival_s))
    return dict(turns)


@given(order=st.lists(st.integers(0, 30), min_size=1, max_size=20))
def test_open_draws_do_not_depend_on_the_order_of_completions(order: list[int]) -> None:
    workload = sessions(arrival={"kind": "poisson", "rate": "1 /s"}, num_sessions=8, **ALL_DRAWN)
    in_order, shuffled = (turns_by_session(make_source(workload, 4), picked) for picked in ([0], order))
    assert in_order == shuffled


@given(order=st.lists(st.integers(0, 30), min_size=1, max_size=20))
def test_closed_draws_stay_with_their_user(order: list[int]) -> None:
    """With one session a user, sessions are users: their turns are the same whoever is served first."""
    workload = sessions(users=8, num_sessions=8, **ALL_DRAWN)
    in_order, shuffled = (turns_by_session(make_source(workload, 4), picked) for picked in ([0], order))
    assert in_order == shuffled


@pytest.mark.parametrize("arrival", [{"users": 5}, {"arrival": {"kind": "poisson", "rate": "1 /s"}}])
def test_every_session_has_all_its_rounds_and_grows(arrival: dict[str, Any]) -> None:
    workload = sessions(num_sessions=20, **arrival, **ALL_DRAWN)
    turns = turns_by_session(make_source(workload, 2), [3, 1, 4])
    assert sorted(turns) == list(range(20))
    for session in turns.values():
        assert len(session) == 3
        for (prompt, answer, _), (following, _, _) in pairwise(session):
            assert prompt + answer + 1 <= following <= prompt + answer + 9


@pytest.mark.parametrize("rounds", [1, 4])
@pytest.mark.parametrize("arrival", [{"users": 5}, {"arrival": {"kind": "poisson", "rate": "1 /s"}}])
def test_every_turn_finds_what_the_one_before_computed(arrival: dict[str, Any], rounds: int) -> None:
    """All KV of the turn before but that of its last token, which was never fed back; the last turn leaves nothing."""
    source = make_source(sessions(num_sessions=20, **arrival, **(ALL_DRAWN | {"rounds": rounds})), 2)
    waiting = list(source.initial())
    assert {demand.reusable_tokens for demand in waiting} == {0}
    turns = 0
    while waiting:
        demand = waiting.pop()
        turns += 1
        assert demand.last == (demand.turn == rounds - 1)
        released = source.after(demand, 0.0)
        for following in released:
            same = following.session == demand.session
            assert following.reusable_tokens == (demand.prompt_tokens + demand.output_tokens - 1 if same else 0)
        waiting += released
    assert turns == 20 * rounds


def test_equal_seeds_give_equal_sessions_and_others_do_not() -> None:
    workload = sessions(users=5, num_sessions=20, **ALL_DRAWN)
    first, again, other = (turns_by_session(make_source(workload, seed), [2, 0]) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("drawn", ["document_tokens", "question_tokens", "answer_tokens", "think_time"])
@pytest.mark.parametrize("arrival", [{"users": 6}, {"arrival": {"kind": "constant", "rate": "1 /s"}}])
def test_sessions_draw_for_themselves(arrival: dict[str, Any], drawn: str) -> None:
    """With all but one quantity fixed, no two sessions have the same turns."""
    fixed = {"question_tokens": {"kind": "uniform", "min": 1, "max": 10**6}} if drawn == "question_tokens" else {}
    workload = sessions(num_sessions=6, **arrival, **({drawn: ALL_DRAWN[drawn]} | fixed))
    turns = turns_by_session(make_source(workload, 2), [0])
    assert len({tuple(session) for session in turns.values()}) == 6
