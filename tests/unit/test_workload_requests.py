"""Independent requests: open arrivals, and closed loops whose draws do not depend on who is served when."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from ctxsim.spec.workload import Workload
from ctxsim.workload import Demand, Source, make_source

WORKLOAD: TypeAdapter[Any] = TypeAdapter(Workload)

DRAWN = {"kind": "lognormal", "mean": 500.0, "p95": 1500.0}


def requests(arrival: dict[str, Any], num_requests: int, prompt: object = 100, output: object = 10) -> Any:
    return WORKLOAD.validate_python(
        {
            "kind": "requests",
            "prompt_tokens": prompt,
            "output_tokens": output,
            "arrival": arrival,
            "num_requests": num_requests,
        }
    )


def served(source: Source, service_s: Callable[[Demand], float]) -> list[Demand]:
    """All demands in order of arrival, each served alone for ``service_s`` from its arrival on."""
    log = list(source.initial())
    busy = [(demand.arrival_s + service_s(demand), demand.index, demand) for demand in log]
    heapq.heapify(busy)
    while busy:
        finished_s, _, demand = heapq.heappop(busy)
        for released in source.after(demand, finished_s):
            log.append(released)
            heapq.heappush(busy, (released.arrival_s + service_s(released), released.index, released))
    return log


def test_open_requests_are_numbered_in_order_of_arrival() -> None:
    source = make_source(requests({"kind": "constant", "rate": "2 /s"}, 3), seed=0)
    assert list(source.initial()) == [
        Demand(0, 0.0, 100, 10, session=0, turn=0),
        Demand(1, 0.5, 100, 10, session=1, turn=0),
        Demand(2, 1.0, 100, 10, session=2, turn=0),
    ]
    assert source.num_requests == 3


def test_open_requests_release_nothing() -> None:
    source = make_source(requests({"kind": "poisson", "rate": "2 /s"}, 3), seed=0)
    assert [source.after(demand, demand.arrival_s + 1) for demand in source.initial()] == [(), (), ()]


@pytest.mark.parametrize("arrival", [{"kind": "poisson", "rate": "2 /s"}, {"kind": "closed", "users": 3}])
def test_requests_find_nothing_and_leave_nothing(arrival: dict[str, Any]) -> None:
    log = served(make_source(requests(arrival, 9, DRAWN), seed=0), lambda _: 1.0)
    assert {(d.reusable_tokens, d.last, d.hashes) for d in log} == {(0, True, None)}


def test_open_requests_are_lazy() -> None:
    source = make_source(requests({"kind": "poisson", "rate": "2 /s"}, 10**9, DRAWN), seed=0)
    assert len(list(islice(source.initial(), 5))) == 5


@pytest.mark.parametrize(
    "arrival", [{"kind": "poisson", "rate": "2 /s"}, {"kind": "closed", "users": 7, "think_time": "5 s"}]
)
def test_equal_seeds_give_equal_demands_and_others_do_not(arrival: dict[str, Any]) -> None:
    workload = requests(arrival, 60, DRAWN, DRAWN)
    first, again, other = (served(make_source(workload, seed), lambda _: 1.0) for seed in (5, 5, 6))
    assert first == again
    assert [d.prompt_tokens for d in first] != [d.prompt_tokens for d in other]


def test_changing_one_length_leaves_the_other_draws() -> None:
    short, long = (
        list(make_source(requests({"kind": "poisson", "rate": "2 /s"}, 50, DRAWN, output), 0).initial())
        for output in (10, {"kind": "exponential", "mean": 900.0})
    )
    assert [(d.arrival_s, d.prompt_tokens) for d in short] == [(d.arrival_s, d.prompt_tokens) for d in long]


def test_closed_users_start_staggered_over_one_think_time() -> None:
    source = make_source(requests({"kind": "closed", "users": 4, "think_time": "20 s"}, 100), seed=0)
    assert [d.arrival_s for d in source.initial()] == [0.0, 5.0, 10.0, 15.0]


def test_closed_users_without_think_time_start_together() -> None:
    source = make_source(requests({"kind": "closed", "users": 3}, 100), seed=0)
    assert [d.arrival_s for d in source.initial()] == [0.0, 0.0, 0.0]


def test_closed_release_follows_completion_by_a_think_time() -> None:
    source = make_source(requests({"kind": "closed", "users": 2, "think_time": "20 s"}, 4), seed=0)
    first, second = source.initial()
    assert source.after(second, 13.0) == (Demand(2, 33.0, 100, 10, session=2, turn=0),)
    (third,) = source.after(first, 50.0)
    assert third == Demand(3, 70.0, 100, 10, session=3, turn=0)
    assert source.after(third, 90.0) == (), "all four were dealt out"


def test_more_users_than_requests_leaves_users_idle() -> None:
    source = make_source(requests({"kind": "closed", "users": 9, "think_time": "9 s"}, 2), seed=0)
    first, second = source.initial()
    assert [first.arrival_s, second.arrival_s] == [0.0, 1.0]
    assert source.after(first, 5.0) == ()
    assert source.after(second, 6.0) == ()


@given(service_s=st.lists(st.floats(0.0, 50.0), min_size=1, max_size=40), users=st.integers(1, 6))
def test_closed_loop_deals_out_every_request_once(service_s: list[float], users: int) -> None:
    source = make_source(requests({"kind": "closed", "users": users, "think_time": "3 s"}, 40, DRAWN), seed=0)
    log = served(source, lambda d: service_s[d.index % len(service_s)])
    assert [d.index for d in log] == list(range(40))
    assert len({d.session for d in log}) == 40


def lengths_by_user(users: int, service_s: Callable[[int], float], rounds: int) -> dict[int, list[tuple[int, int]]]:
    """The lengths each user draws, found by following who releases what."""
    source = make_source(requests({"kind": "closed", "users": users}, 1000, DRAWN, DRAWN), seed=3)
    drawn: dict[int, list[tuple[int, int]]] = defaultdict(list)
    waiting = [(0.0, user, demand) for user, demand in enumerate(source.initial())]
    while waiting:
        now_s, user, demand = heapq.heappop(waiting)
        drawn[user].append((demand.prompt_tokens, demand.output_tokens))
        finished_s = now_s + service_s(user)
        if len(drawn[user]) < rounds:
            (following,) = source.after(demand, finished_s)
            heapq.heappush(waiting, (finished_s, user, following))
    return dict(drawn)


def test_closed_draws_do_not_depend_on_the_order_of_completions() -> None:
    rising = lengths_by_user(5, lambda user: 1.0 + user, rounds=70)
    falling = lengths_by_user(5, lambda user: 9.0 - user, rounds=70)
    assert rising == falling


def test_one_more_user_changes_nothing_for_the_others() -> None:
    few, more = (lengths_by_user(users, lambda _: 1.0, rounds=10) for users in (3, 4))
    assert few == {user: more[user] for user in few}


def test_users_draw_for_themselves() -> None:
    drawn = lengths_by_user(6, lambda _: 1.0, rounds=10)
    for column in (0, 1):
        assert len({tuple(lengths[column] for lengths in drawn[user]) for user in drawn}) == 6
