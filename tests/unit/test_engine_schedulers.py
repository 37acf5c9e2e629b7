"""What the first-come scheduler plans, and how long it says that a plan stands."""

from __future__ import annotations

from typing import get_args

import pytest

from ctxsim.engine import SCHEDULERS, EngineCore, IncrementalBatch, Limits, Plan, Request
from ctxsim.engine.schedulers import Fcfs
from ctxsim.geometry import UNBOUNDED, KvLayout, Span
from ctxsim.spec.serving import Scheduler

SPANS = (Span("full"),)


def core_of(*lengths: tuple[int, int], blocks: int = 1000, seats: int = 8, budget: int = 64) -> EngineCore:
    """An engine with blocks of ten tokens, one byte a token, and these requests in its queue."""
    layout = KvLayout([(Span("full"), 1.0)], block_size=10)
    core = EngineCore(Limits(seats, budget, 10.0 * blocks), layout, IncrementalBatch(SPANS, layout))
    core.waiting.extend(Request(i, prompt, output) for i, (prompt, output) in enumerate(lengths))
    return core


def chunks_of(plan: Plan) -> list[tuple[int, int]]:
    return [(request.index, tokens) for request, tokens in plan.chunks]


def planned(core: EngineCore, iterations: int = 1) -> Plan:
    """The plan after so many iterations less one."""
    for _ in range(iterations - 1):
        core.advance(Fcfs().plan(core), 1)
    return Fcfs().plan(core)


def test_prompts_share_the_token_budget() -> None:
    plan = planned(core_of((30, 5), (30, 5), (30, 5)))
    assert chunks_of(plan) == [(0, 30), (1, 30), (2, 4)]
    assert [r.index for r in plan.admitted] == [0, 1, 2]


def test_decoding_sequences_come_first_then_the_half_computed_prompt_then_the_queue() -> None:
    core = core_of((60, 50), (70, 5), (3, 5), (90, 5))
    plans = []
    for _ in range(3):
        plans.append(chunks_of(plan := Fcfs().plan(core)))
        core.advance(plan, 1)
    assert plans[0] == [(0, 60), (1, 4)]
    assert plans[1] == [(1, 63)], "64 less the one that decodes"
    assert plans[2] == [(1, 3), (2, 3), (3, 57)]


def test_seats_limit_admission() -> None:
    plan = planned(core_of((5, 5), (5, 5), (5, 5), seats=2))
    assert chunks_of(plan) == [(0, 5), (1, 5)]


def test_the_head_of_the_queue_waits_for_its_blocks_and_all_behind_it_too() -> None:
    core = core_of((30, 5), (30, 5), (1, 5), blocks=5)
    plan = planned(core)
    assert chunks_of(plan) == [(0, 30)]
    assert len(core.waiting) == 2


def test_blocks_that_decoding_is_about_to_take_are_not_given_away() -> None:
    """The first request's next token opens a block; of five blocks one is then left, not two."""
    core = core_of((30, 5), blocks=5)
    core.advance(Fcfs().plan(core), 1)
    core.waiting.append(Request(1, 11, 5))
    assert chunks_of(Fcfs().plan(core)) == []
    core.waiting[0] = Request(2, 10, 5)
    assert chunks_of(Fcfs().plan(core)) == [(2, 10)]


@pytest.mark.parametrize(
    ("lengths", "settings", "iterations", "repeats"),
    [
        ([(20, 9)], {}, 2, UNBOUNDED),  # decoding only: until something happens
        ([(20, 9)], {}, 1, 1),  # a prompt that does not take the whole budget
        ([(640, 9)], {}, 1, 10),  # chunks of 64
        ([(650, 9)], {}, 1, 10),
        ([(650, 9)], {}, 11, 1),
        ([(63, 9), (641, 9)], {}, 1, 1),  # two chunks
        ([(63, 99), (641, 9)], {}, 2, 10),  # 640 are left, in chunks of 63 beside the one that decodes
    ],
)
def test_how_often_a_plan_repeats(
    lengths: list[tuple[int, int]], settings: dict[str, int], iterations: int, repeats: int
) -> None:
    assert planned(core_of(*lengths, **settings), iterations).repeats == repeats


def test_an_iteration_that_preempts_stands_alone() -> None:
    core = core_of((20, 9), (20, 9), blocks=4)
    plan = planned(core, 2)
    assert [r.index for r in plan.preempted] == [1]
    assert (plan.repeats, plan.open) == (1, False)


@pytest.mark.parametrize(
    ("lengths", "settings", "iterations", "is_open"),
    [
        ([(20, 9)], {}, 1, True),  # budget, seats and an empty queue: the next arrival changes the plan
        ([(20, 9)], {}, 2, True),
        ([(20, 9)], {"seats": 1}, 2, False),  # no seat
        ([(200, 9)], {}, 1, False),  # no budget
        ([(30, 5), (30, 5)], {"blocks": 5}, 1, False),  # a queue, whose head comes first
    ],
)
def test_whether_an_arrival_would_change_the_plan(
    lengths: list[tuple[int, int]], settings: dict[str, int], iterations: int, is_open: bool
) -> None:
    assert planned(core_of(*lengths, **settings), iterations).open == is_open


def test_every_scheduler_of_the_scenario_file_exists() -> None:
    assert set(SCHEDULERS) == set(get_args(Scheduler))
