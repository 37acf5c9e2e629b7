"""How requests come to replicas, on replicas that only write down what they are told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import simpy
from support.sources import at

from ctxsim.engine.queues import Fifo, ShortestFirst
from ctxsim.engine.routers import LeastLoaded
from ctxsim.sim.dispatch import CentralQueue, Routed, make_dispatch
from ctxsim.sim.journal import ServedRequest
from ctxsim.sim.jump import TIE_S
from ctxsim.sim.station import Station
from ctxsim.workload.demand import Demand


class Fake:
    """A station with room for prompts of up to so many tokens, and a diary."""

    def __init__(self, most_tokens: int = 100, holds: bool = False, outstanding: int = 0) -> None:
        self.diary: list[tuple[Any, ...]] = []
        self.outstanding = outstanding
        self.core = SimpleNamespace(
            fits_alone=lambda request: request.prompt_tokens <= most_tokens,
            cache=SimpleNamespace(policy=SimpleNamespace(holds=holds)),
        )
        self.replica = SimpleNamespace(
            deliver=lambda request: self.diary.append(("deliver", request.index)),
            forget=lambda session, at_s: self.diary.append(("forget", session, at_s)),
            look_again=lambda at_s: self.diary.append(("look", at_s)),
        )


class Ways:
    """A router that sends requests where it was told, one after the other."""

    def __init__(self, *numbers: int) -> None:
        self._numbers = iter(numbers)

    def route(self, request: object) -> int:
        return next(self._numbers)


def turn(index: int, session: int, arrival_s: float, last: bool = False, prompt_tokens: int = 10) -> ServedRequest:
    return ServedRequest(Demand(index, arrival_s, prompt_tokens, 1, session, index, last=last))


def stations(*fakes: Fake) -> list[Station]:
    return cast("list[Station]", list(fakes))


# Routed


def test_a_request_goes_where_the_router_says_and_nowhere_else() -> None:
    fakes = [Fake(), Fake(), Fake()]
    dispatch = Routed(stations(*fakes), Ways(2, 0))
    assert dispatch.send(turn(0, 0, 1.0))
    assert dispatch.send(turn(1, 1, 2.0))
    assert [f.diary for f in fakes] == [[("deliver", 1)], [], [("deliver", 0)]]


def test_what_does_not_fit_the_routed_replica_is_refused_though_another_had_room() -> None:
    small, large = Fake(most_tokens=9), Fake(most_tokens=10)
    dispatch = Routed(stations(small, large), Ways(0, 1))
    assert not dispatch.send(turn(0, 0, 1.0))
    assert small.diary == large.diary == []
    assert dispatch.send(turn(1, 0, 1.0))
    assert large.diary == [("deliver", 1)]


def test_a_session_that_moves_is_forgotten_where_it_was_when_it_asks_elsewhere() -> None:
    """Each time it moves, and before it is delivered; sessions apart from each other."""
    fakes = [Fake(holds=True), Fake(holds=True)]
    dispatch = Routed(stations(*fakes), Ways(0, 1, 1, 0, 1))
    sent = [turn(0, 7, 1.0), turn(1, 7, 2.0), turn(2, 8, 2.5), turn(3, 7, 3.0), turn(4, 8, 4.0)]
    assert all(dispatch.send(request) for request in sent)
    assert fakes[0].diary == [("deliver", 0), ("forget", 7, 2.0), ("deliver", 3)]
    assert fakes[1].diary == [("deliver", 1), ("deliver", 2), ("forget", 7, 3.0), ("deliver", 4)]


def test_a_session_whose_last_turn_has_come_has_no_home_any_more() -> None:
    """A number that is used again, as numbers of another workload may be, is a session of its own."""
    fakes = [Fake(holds=True), Fake(holds=True)]
    dispatch = Routed(stations(*fakes), Ways(0, 1, 1))
    for request in (turn(0, 7, 1.0), turn(1, 7, 2.0, last=True), turn(2, 7, 9.0)):
        dispatch.send(request)
    assert fakes[0].diary == [("deliver", 0), ("forget", 7, 2.0)]
    assert fakes[1].diary == [("deliver", 1), ("deliver", 2)]


def test_a_refused_turn_leaves_its_session_where_it_was() -> None:
    home, small = Fake(holds=True), Fake(most_tokens=5, holds=True)
    dispatch = Routed(stations(home, small), Ways(0, 1, 0))
    assert [dispatch.send(turn(i, 7, float(i))) for i in range(3)] == [True, False, True]
    assert home.diary == [("deliver", 0), ("deliver", 2)]


@pytest.mark.parametrize(("holds", "forgets"), [((False, False), 0), ((False, True), 1), ((True, False), 1)])
def test_sessions_are_let_go_only_where_some_policy_may_hold_them(holds: tuple[bool, bool], forgets: int) -> None:
    fakes = [Fake(holds=h) for h in holds]
    dispatch = Routed(stations(*fakes), Ways(0, 1))
    dispatch.send(turn(0, 7, 1.0))
    dispatch.send(turn(1, 7, 2.0))
    assert sum(entry[0] == "forget" for f in fakes for entry in f.diary) == forgets


# The central queue


def central(*fakes: Fake) -> tuple[simpy.Environment, Fifo, CentralQueue]:
    env, queue = simpy.Environment(), Fifo()
    return env, queue, CentralQueue(env, stations(*fakes), queue)


def test_a_request_is_in_the_queue_a_tie_after_it_came_and_all_look_again_at_its_arrival() -> None:
    fakes = [Fake(), Fake()]
    env, queue, dispatch = central(*fakes)
    env.run(until=3.0)
    request = ServedRequest(at(3.0, 10, 1))
    assert dispatch.send(request)
    env.run(until=3.0 + TIE_S / 2)
    assert list(queue) == []
    assert fakes[0].diary == fakes[1].diary == []
    env.run(until=3.0 + 1.5 * TIE_S)
    assert list(queue) == [request]
    assert fakes[0].diary == fakes[1].diary == [("look", 3.0)]


def test_the_request_is_there_when_the_first_replica_looks() -> None:
    fake = Fake()
    env, queue, dispatch = central(fake)
    fake.replica.look_again = lambda at_s: fake.diary.append(("queued", len(queue)))
    dispatch.send(turn(0, 0, 0.0))
    env.run()
    assert fake.diary == [("queued", 1)]


def test_requests_of_one_moment_keep_their_order() -> None:
    env, queue, dispatch = central(Fake())
    for index in range(4):
        dispatch.send(turn(index, index, 0.0))
    env.run()
    assert [request.index for request in queue] == [0, 1, 2, 3]


def test_what_does_not_fit_every_replica_never_enters_the_queue() -> None:
    """Any of them might take it."""
    fakes = [Fake(most_tokens=10), Fake(most_tokens=9)]
    env, queue, dispatch = central(*fakes)
    assert not dispatch.send(turn(0, 0, 0.0, prompt_tokens=10))
    assert dispatch.send(turn(1, 1, 0.0, prompt_tokens=9))
    env.run()
    assert [request.index for request in queue] == [1]
    assert fakes[0].diary == fakes[1].diary == [("look", 0.0)]


# Which it is


def test_a_queue_makes_it_central_and_a_name_a_router() -> None:
    busy, free = Fake(outstanding=3), Fake()
    routed = make_dispatch(simpy.Environment(), "least_loaded", stations(busy, free), None)
    assert isinstance(routed, Routed)
    routed.send(turn(0, 0, 0.0))
    assert (busy.diary, free.diary) == ([], [("deliver", 0)])
    assert isinstance(routed._router, LeastLoaded)
    env, queue = simpy.Environment(), ShortestFirst()
    shared = make_dispatch(env, "central_queue", stations(busy, free), queue)
    assert isinstance(shared, CentralQueue)
    shared.send(turn(1, 1, 0.0))
    env.run()
    assert queue.first().index == 1
