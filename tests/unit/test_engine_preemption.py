"""Who goes where when blocks run out."""

from __future__ import annotations

from test_engine_schedulers import core_of

from ctxsim.engine import EngineCore, Request
from ctxsim.engine.schedulers import Fcfs


def until_preemption(core: EngineCore) -> list[Request]:
    """Runs single iterations until the plan preempts; returns whom."""
    for _ in range(200):
        plan = Fcfs().plan(core)
        if plan.preempted:
            assert plan.admitted == []
            return plan.preempted
        core.advance(plan, 1)
    raise AssertionError("nothing was preempted")


def test_the_preempted_go_before_those_that_still_wait() -> None:
    """Two decode in four blocks; a third prompt is too long to be let in and waits. The younger one loses."""
    core = core_of((10, 40), (10, 40), (35, 5), blocks=4)
    preempted = until_preemption(core)
    assert [r.index for r in preempted] == [1]
    assert [r.index for r in core.waiting] == [1, 2]


def test_several_preempted_keep_their_order() -> None:
    """Three sequences cross into new blocks together and none is free: the two youngest go, the older of them first."""
    core = core_of((10, 40), (10, 40), (10, 40), blocks=3)
    preempted = until_preemption(core)
    assert [r.index for r in preempted] == [2, 1]
    assert [r.index for r in core.waiting] == [1, 2]
