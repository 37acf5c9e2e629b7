"""The comparison of the two steppings has teeth: each way to get a jump wrong makes it report a difference."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from support.cases import Case, random_case
from support.compare import differences

from ctxsim.cost.law import RooflineLaw
from ctxsim.engine import IncrementalBatch
from ctxsim.geometry import UNBOUNDED
from ctxsim.sim import replica
from ctxsim.sim.journal import Journal, Run
from ctxsim.sim.jump import iterations_until
from ctxsim.sim.replica import Replica

SEEDS = range(40)


def one_iteration_too_long(patch: pytest.MonkeyPatch) -> None:
    """Runs without prefill; a chunk too many would not come to an end."""
    planned = Replica._next_run

    def longer(self: Replica) -> Run | None:
        run = planned(self)
        if run is not None and not run.plan.chunks:
            run.iterations += 1
        return run

    patch.setattr(Replica, "_next_run", longer)


def bends_of_windows_ignored(patch: pytest.MonkeyPatch) -> None:
    event = IncrementalBatch.iterations_to_event

    def finishing_only(self: IncrementalBatch) -> int:
        bends, self._bends = self._bends, []
        soonest = event(self)
        self._bends = bends
        return soonest

    patch.setattr(IncrementalBatch, "iterations_to_event", finishing_only)


def filled_windows_ignored(patch: pytest.MonkeyPatch) -> None:
    """Blocks: a window layer that has all its blocks goes on asking for more."""
    patch.setattr(IncrementalBatch, "_rebase_blocks", lambda self: None)


def one_iteration_more_fits(patch: pytest.MonkeyPatch) -> None:
    fitting = IncrementalBatch.fitting_iterations
    patch.setattr(
        IncrementalBatch,
        "fitting_iterations",
        lambda self, free_bytes, limit: min(limit, fitting(self, free_bytes, limit) + 1),
    )


def arrival_joins_one_boundary_late(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(replica, "iterations_until", lambda *affine: iterations_until(*affine) + 1)


def arrivals_cut_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(replica, "iterations_until", lambda *affine: UNBOUNDED)


def bends_of_the_law_ignored(patch: pytest.MonkeyPatch) -> None:
    pieces = RooflineLaw.__call__
    patch.setattr(
        RooflineLaw, "__call__", lambda self, batch: [pieces(self, batch)[0]._replace(until=UNBOUNDED)]
    )  # fmt: skip


def bends_of_chunks_ignored(patch: pytest.MonkeyPatch) -> None:
    totals = IncrementalBatch.totals
    patch.setattr(IncrementalBatch, "totals", lambda self, *plan: (totals(self, *plan)[0], UNBOUNDED))


def growth_of_pairs_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Sums are not moved on by a jump."""
    advance = IncrementalBatch.advance

    def forgetful(self: IncrementalBatch, iterations: int) -> object:
        pairs = self._pairs[:]
        finished = advance(self, iterations)
        if not finished:
            self._pairs[:] = pairs
        return finished

    patch.setattr(IncrementalBatch, "advance", forgetful)


BREAKS: list[Callable[[pytest.MonkeyPatch], None]] = [
    one_iteration_too_long,
    bends_of_windows_ignored,
    filled_windows_ignored,
    one_iteration_more_fits,
    arrival_joins_one_boundary_late,
    arrivals_cut_nothing,
    bends_of_the_law_ignored,
    bends_of_chunks_ignored,
    growth_of_pairs_forgotten,
]


class RunawayError(Exception):
    """A simulation that writes down far more than it should."""


def journal_within(case: Case, most_runs: int, patch: pytest.MonkeyPatch) -> Journal | None:
    """The jumped journal, or None where it does not come to an end in so many runs, or at all: a broken engine may get
    stuck, or notice that its accounts do not tally."""
    written = Journal.ran

    def counted(self: Journal, *row: object) -> None:
        if len(self.runs) > most_runs:
            raise RunawayError
        written(self, *row)  # type: ignore[arg-type]

    patch.setattr(Journal, "ran", counted)
    try:
        return case.run()
    except (RunawayError, AssertionError):
        return None


def caught(case: Case, broken: Callable[[pytest.MonkeyPatch], None]) -> bool:
    """Whether a jump that is broken in this way differs from single steps on the case."""
    stepped = case.run("single")
    with pytest.MonkeyPatch.context() as patch:
        broken(patch)
        jumped = journal_within(case, 2 * len(stepped.runs) + 10, patch)
    return jumped is None or differences(case.cost, jumped, stepped) != []


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.__name__)
def test_a_broken_jump_is_caught(broken: Callable[[pytest.MonkeyPatch], None]) -> None:
    assert any(caught(random_case(Random(seed)), broken) for seed in SEEDS)


def test_an_unbroken_jump_is_not() -> None:
    assert not any(caught(random_case(Random(seed)), lambda _: None) for seed in SEEDS)


def half_as_long(patch: pytest.MonkeyPatch) -> None:
    planned = Replica._next_run

    def shorter(self: Replica) -> Run | None:
        run = planned(self)
        if run is not None:
            run.iterations = (run.iterations + 1) // 2
        return run

    patch.setattr(Replica, "_next_run", shorter)


def cut_one_boundary_early(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(replica, "iterations_until", lambda *affine: max(1, iterations_until(*affine) - 1))


@pytest.mark.parametrize("early", [half_as_long, cut_one_boundary_early], ids=lambda early: early.__name__)
def test_a_jump_that_ends_early_changes_nothing(early: Callable[[pytest.MonkeyPatch], None]) -> None:
    """Where a run ends does not matter as long as nothing happens then: its rest follows, with nobody let in."""
    for seed in SEEDS:
        case = random_case(Random(seed))
        with pytest.MonkeyPatch.context() as patch:
            early(patch)
            jumped = case.run()
        assert differences(case.cost, jumped, case.run()) == [], seed
