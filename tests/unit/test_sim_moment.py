"""What happens in one moment is handed on in a fixed order."""

from __future__ import annotations

import simpy

from ctxsim.sim.moment import Moment


def handed_on(times_s: list[tuple[float, int]], lasts_s: float = 1.0) -> list[tuple[float, int]]:
    """Numbers added at these times, as (when, which) they are handed on."""
    env = simpy.Environment()
    log: list[tuple[float, int]] = []
    moment = Moment[int](env, lasts_s, lambda n: n // 10, lambda n: log.append((env.now, n)))
    for time_s, number in times_s:
        env.timeout(time_s, number).callbacks.append(lambda event: moment.add(event.value))
    env.run()
    return log


def test_items_of_one_moment_are_sorted() -> None:
    assert handed_on([(5.0, 30), (5.4, 10), (5.9, 20)]) == [(6.0, 10), (6.0, 20), (6.0, 30)]


def test_items_of_one_key_keep_their_order() -> None:
    assert handed_on([(5.0, 12), (5.1, 19), (5.2, 11)]) == [(6.0, 12), (6.0, 19), (6.0, 11)]


def test_a_later_item_begins_a_new_moment() -> None:
    assert handed_on([(5.0, 30), (6.5, 10), (7.0, 20)]) == [(6.0, 30), (7.5, 10), (7.5, 20)]


def test_an_item_may_bring_others_of_the_same_moment() -> None:
    """What is handed on may add to the moment itself, thousands of times: that comes next, and no later."""
    env = simpy.Environment()
    log: list[tuple[float, int]] = []

    def hand_on(number: int) -> None:
        log.append((env.now, number))
        if number:
            moment.add(number - 1)
            moment.add(0)

    moment = Moment[int](env, 1.0, lambda n: n, hand_on)
    moment.add(2)
    env.run()
    assert log == [(1.0, 2), (1.0, 0), (1.0, 1), (1.0, 0), (1.0, 0)]
    moment.add(0)
    env.run()
    assert log[-1] == (2.0, 0), "a later item begins a moment again"
