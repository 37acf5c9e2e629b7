"""One engine driven by hand: blocks, chunks, first tokens, ends, preemption."""

from __future__ import annotations

import pytest

from ctxsim.engine import EngineCore, IncrementalBatch, Limits, PlainBatch, Plan, Request
from ctxsim.engine.schedulers import Fcfs
from ctxsim.geometry import UNBOUNDED, KvLayout, Span

SPANS = (Span("full"),)


def core_of(
    *,
    blocks: int = 100,
    seats: int = 8,
    budget: int = 64,
    batch: type[IncrementalBatch | PlainBatch] = IncrementalBatch,
) -> EngineCore:
    """An engine with blocks of ten tokens, one byte a token."""
    layout = KvLayout([(Span("full"), 1.0)], block_size=10)
    return EngineCore(Limits(seats, budget, 10.0 * blocks), layout, batch(SPANS, layout))


def queued(core: EngineCore, *lengths: tuple[int, int]) -> list[Request]:
    requests = [Request(i, prompt, output) for i, (prompt, output) in enumerate(lengths)]
    core.waiting.extend(requests)
    return requests


def is_idle(core: EngineCore) -> bool:
    return not (core.waiting or core.held or core.running or core.fetching or core.prefilling or core.paused)


def step(core: EngineCore) -> Plan:
    """One iteration."""
    plan = Fcfs().plan(core)
    core.advance(plan, 1)
    return plan


@pytest.fixture(params=[IncrementalBatch, PlainBatch])
def batch(request: pytest.FixtureRequest) -> type[IncrementalBatch | PlainBatch]:
    kind: type[IncrementalBatch | PlainBatch] = request.param
    return kind


def test_a_prompt_in_one_iteration_makes_the_first_token(batch: type[IncrementalBatch]) -> None:
    core = core_of(batch=batch)
    (request,) = queued(core, (25, 3))
    plan = Fcfs().plan(core)
    assert plan.chunks == [(request, 25)]
    assert plan.admitted == [request]
    assert core.used_bytes == 30, "three blocks of ten tokens"
    outcome = core.advance(plan, 1)
    assert (outcome.started, outcome.finished) == ([request], [])
    assert request.generated_tokens == 1
    assert len(core.decodes) == 1


def test_decoding_takes_a_block_when_it_crosses_into_one(batch: type[IncrementalBatch]) -> None:
    """After the prompt of 28 tokens the KV of one output token an iteration is stored: the third opens a block."""
    core = core_of(batch=batch)
    queued(core, (28, 10))
    used = []
    for _ in range(5):
        step(core)
        used.append(core.used_bytes)
    assert used == [30, 30, 30, 40, 40]


def test_all_outputs_end_a_request_and_free_its_blocks(batch: type[IncrementalBatch]) -> None:
    core = core_of(batch=batch)
    (request,) = queued(core, (25, 3))
    step(core)
    step(core)
    outcome = core.advance(Fcfs().plan(core), 1)
    assert outcome.finished == [request]
    assert outcome.serving_bytes == 30, "before it lets go"
    assert core.used_bytes == 0
    assert is_idle(core)


@pytest.mark.parametrize(("outputs", "generated"), [(0, 0), (1, 1)])
def test_short_answers_end_with_the_prompt(outputs: int, generated: int) -> None:
    core = core_of()
    (request,) = queued(core, (25, outputs))
    outcome = core.advance(Fcfs().plan(core), 1)
    assert (outcome.started, outcome.finished) == ([request], [request])
    assert request.generated_tokens == generated
    assert (core.used_bytes, is_idle(core), len(core.decodes)) == (0, True, 0)


def test_a_long_prompt_is_computed_in_chunks_with_all_its_blocks_taken() -> None:
    core = core_of()
    (request,) = queued(core, (150, 1))
    assert step(core).chunks == [(request, 64)]
    assert list(core.prefilling) == [request]
    assert core.used_bytes == 150
    assert step(core).chunks == [(request, 64)]
    assert step(core).chunks == [(request, 22)]
    assert not core.prefilling


def test_the_youngest_is_preempted_and_starts_over(batch: type[IncrementalBatch]) -> None:
    """Two of twenty tokens in a pool of four blocks: the first decoded tokens need a fifth."""
    core = core_of(blocks=4, batch=batch)
    old, young, later = queued(core, (20, 9), (20, 9), (20, 9))
    step(core)
    assert core.used_bytes == 40
    plan = step(core)
    assert plan.preempted == [young]
    assert plan.chunks == [], "nothing is admitted in an iteration that preempts"
    assert list(core.waiting) == [young, later], "ahead of those that came after it"
    assert (young.preemptions, young.lost_tokens) == (1, 20)
    assert (young.prefill_tokens, young.computed_tokens, young.generated_tokens) == (21, 0, 1)
    assert core.used_bytes == 30
    assert list(core.running) == [old]


def test_a_preempted_request_goes_on_where_it_was(batch: type[IncrementalBatch]) -> None:
    core = core_of(blocks=4, batch=batch)
    old, young = queued(core, (20, 9), (20, 9))
    ends = []
    for _ in range(40):
        if is_idle(core):
            break
        ends += core.advance(Fcfs().plan(core), 1).finished
    assert ends == [old, young]
    assert young.generated_tokens == 9
    assert young.recomputed_tokens == 20, "two blocks of prompt; the one output had none"
    assert core.used_bytes == 0


def test_a_half_computed_prompt_can_be_preempted(batch: type[IncrementalBatch]) -> None:
    core = core_of(blocks=12, budget=20, batch=batch)
    old, young = queued(core, (19, 30), (80, 1))
    step(core)
    assert list(core.prefilling) == [young]
    core.limits.kv_capacity_bytes = 100
    step(core)
    plan = step(core)
    assert plan.preempted == [young]
    assert not core.prefilling
    assert (young.lost_tokens, young.prefill_tokens) == (20, 80)
    assert core.used_bytes == 30
    assert list(core.running) == [old]


def test_what_fits_alone() -> None:
    """The KV of the last token is never stored: 91 + 10 tokens need ten blocks, not eleven."""
    core = core_of(blocks=10)
    assert core.fits_alone(Request(0, 91, 10))
    assert not core.fits_alone(Request(0, 92, 10))
    assert core.fits_alone(Request(0, 100, 0))
    assert core.fits_alone(Request(0, 100, 1))
    assert not core.fits_alone(Request(0, 101, 0))


def test_a_run_of_iterations_is_as_many_single_ones() -> None:
    jumped, stepped = core_of(), core_of()
    (ours,), (theirs,) = queued(jumped, (25, 40)), queued(stepped, (25, 40))
    step(jumped)
    plan = Fcfs().plan(jumped)
    assert plan.repeats == UNBOUNDED
    jumped.advance(plan, 17)
    for _ in range(18):
        step(stepped)
    assert jumped.used_bytes == stepped.used_bytes
    assert jumped.decodes.totals([]) == stepped.decodes.totals([])
    jumped.preempt(ours)
    stepped.preempt(theirs)
    assert ours.generated_tokens == theirs.generated_tokens == 18
