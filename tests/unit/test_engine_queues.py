"""The order in which those who wait are served."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxsim.engine import Queue, Request
from ctxsim.engine.queues import Fifo, ShortestFirst


def drained(queue: Queue) -> list[int]:
    """Indexes of all that wait, as they are taken out."""
    taken = []
    while len(queue):
        first = queue.first()
        assert queue.pop() is first
        taken.append(first.index)
    return taken


def added(queue: Queue, *prompts: int) -> list[Request]:
    requests = [Request(index, prompt, 1) for index, prompt in enumerate(prompts)]
    for request in requests:
        queue.add(request)
    return requests


@pytest.mark.parametrize("kind", [Fifo, ShortestFirst])
def test_a_queue_knows_its_length_and_whether_it_is_empty(kind: type[Fifo | ShortestFirst]) -> None:
    queue = kind()
    assert not queue
    added(queue, 30, 10)
    assert (len(queue), bool(queue)) == (2, True)
    queue.first()
    assert len(queue) == 2, "looking takes nothing"
    queue.pop()
    queue.pop()
    assert len(queue) == 0


def test_first_come_first_served_whatever_the_length() -> None:
    queue = Fifo()
    added(queue, 30, 10, 20)
    assert drained(queue) == [0, 1, 2]


def test_the_preempted_go_before_all_that_wait_the_last_put_back_first() -> None:
    """Preemption takes the youngest first, so that the older of two is put back last and served first."""
    queue = Fifo()
    added(queue, 30, 10)
    for index in (8, 7):
        queue.put_back(Request(index, 99, 1))
    queue.add(Request(2, 1, 1))
    assert drained(queue) == [7, 8, 0, 1, 2]


def test_the_shortest_prompt_goes_first() -> None:
    queue = ShortestFirst()
    added(queue, 30, 10, 20)
    assert drained(queue) == [1, 2, 0]


def test_of_equal_prompts_the_first_in_the_workload_goes_first() -> None:
    """Whichever was added first: the index decides, and requests are never compared."""
    queue = ShortestFirst()
    for index in (2, 0, 1):
        queue.add(Request(index, 10, 1))
    assert drained(queue) == [0, 1, 2]


def test_the_preempted_have_no_precedence_over_shorter_prompts() -> None:
    """It counts what is to be prefilled now: prompt and the outputs so far, 10 + 5."""
    queue = ShortestFirst()
    added(queue, 14, 16)
    preempted = Request(5, 10, 8)
    preempted.generated_tokens = 5
    preempted.preempt(12)
    queue.put_back(preempted)
    assert drained(queue) == [0, 5, 1]


def test_who_was_taken_out_can_come_back() -> None:
    queue = ShortestFirst()
    short, _ = added(queue, 10, 20)
    assert queue.pop() is short
    queue.put_back(short)
    assert drained(queue) == [0, 1]


@given(prompts=st.lists(st.integers(1, 5), max_size=30))
def test_the_shortest_first_order_is_that_of_sorting(prompts: list[int]) -> None:
    queue = ShortestFirst()
    added(queue, *prompts)
    assert drained(queue) == [index for _, index in sorted((prompt, i) for i, prompt in enumerate(prompts))]


@given(steps=st.lists(st.one_of(st.none(), st.integers(1, 5)), max_size=40))
def test_taking_out_in_between_changes_nothing_for_the_others(steps: list[int | None]) -> None:
    """None takes the shortest of those that wait out, a number adds a prompt of that length."""
    queue, waiting = ShortestFirst(), list[tuple[int, int]]()
    for index, prompt in enumerate(steps):
        if prompt is not None:
            queue.add(Request(index, prompt, 1))
            waiting.append((prompt, index))
        elif waiting:
            waiting.remove(least := min(waiting))
            assert queue.pop().index == least[1]
    assert drained(queue) == [index for _, index in sorted(waiting)]
