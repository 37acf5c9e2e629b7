"""Laws of the frontier: what more techniques may do, what a stack alone comes to, what is left out changes nothing."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctxsim.analysis import analyze
from ctxsim.analysis.session import typical_session
from ctxsim.analysis.session_cost import session_cost
from ctxsim.explore.executors import local
from ctxsim.explore.frontier import QUANTITIES, Frontier, frontier
from ctxsim.spec.scenario import load_scenario, scenario_document

BASE = "yi-34b-50k-a100"
MIXED = ("cla", "dsa", "duoattention", "gqa", "h2o", "jamba-like", "kv-fp8", "kv-int4", "matformer", "mqa", "quest",
         "snapkv", "streaming-llm", "triforce", "weights-fp8", "weights-int8", "wkvquant", "yoco")  # fmt: skip
SUBSETS = (
    ("dsa", "gqa", "h2o", "kv-fp8", "kv-int4", "mqa", "quest", "snapkv"),
    ("cla", "jamba-like", "gemma-like", "kv-int4", "kvquant", "triforce", "yoco", "ecoformer"),
    ("colt5", "duoattention", "matformer", "memoryformer", "weights-fp8", "weights-int8", "weights-int4", "dsa"),
    ("ecoformer", "gqa", "matformer-draft", "pyramidkv", "weights-int8", "cla"),
    ("fastgen", "dmc", "infllm", "kivi-2bit", "layerskip", "calm", "speculative-decoding", "wkvquant"),
)  # fmt: skip


@cache
def road(techniques: tuple[str, ...], most: int, context: int = 190_000, exhaustive: bool = False) -> Frontier:
    return frontier(
        scenario_document(BASE), 4000, context, techniques=techniques, most=most, exhaustive=exhaustive,
        executor=local(1),
    )  # fmt: skip


@pytest.mark.parametrize("techniques", SUBSETS)
@pytest.mark.parametrize("context", [50_000, 1_000_000])
def test_what_is_left_out_changes_no_answer(techniques, context):
    """No law, as overlaps are worked out: so it is looked at where forms are crowded."""
    some, every = road(techniques, 3, context), road(techniques, 3, context, exhaustive=True)
    assert some.found.evaluated + some.found.refused < every.found.evaluated + every.found.refused
    for one, other in zip(some.reaches, every.reaches, strict=True):
        assert one.missing == other.missing
        assert (one.reached_by is None) == (other.reached_by is None)
        if one.reached_by is not None and other.reached_by is not None:
            assert one.reached_by.order == other.reached_by.order
    assert [(level.risk, level.effort) for level in some.levels] == [(lv.risk, lv.effort) for lv in every.levels]
    for level, other_level in zip(some.levels, every.levels, strict=True):
        assert level.cheapest.usd == other_level.cheapest.usd
        assert len(some.at_parity(level.nearest)) == len(every.at_parity(other_level.nearest))


@given(st.lists(st.sampled_from(MIXED), min_size=1, max_size=5, unique=True), st.sampled_from(MIXED))
@settings(max_examples=12, deadline=None)
def test_more_techniques_or_larger_stacks_are_never_dearer(techniques, another):
    fewer = road(tuple(sorted(techniques)), 2, exhaustive=True)
    for more in (
        road(tuple(sorted({*techniques, another})), 2, exhaustive=True),
        road(tuple(sorted(techniques)), 3, exhaustive=True),
    ):
        assert min(one.usd for one in more.answers) <= min(one.usd for one in fewer.answers)
        assert len(more.at_parity(more.together)) >= len(fewer.at_parity(fewer.together))
        for one, other in zip(more.reaches, fewer.reaches, strict=True):
            assert one.missing <= other.missing
            assert (one.reached_by is not None) >= (other.reached_by is not None)


@pytest.mark.parametrize("base", [BASE, "llama-8b-chat", "mooncake-replay", "paper-34b-4k"])
def test_the_own_context_as_target_is_parity_without_techniques(base):
    own = typical_session(load_scenario(base)).document_tokens
    found = frontier(scenario_document(base), own, techniques=("kv-fp8", "quest"), most=1, executor=local(1))
    assert [reach.own_missing for reach in found.reaches] == [1.0] * len(QUANTITIES)
    assert {reach.reached_by.stack for reach in found.reaches if reach.reached_by is not None} == {"none"}
    assert found.together.stack == "none"
    assert found.levels[0].nearest.stack == "none"


def test_every_stack_alone_comes_to_what_is_reported():
    context = 100_000
    found = road(MIXED, 2, context)
    named = [level.cheapest for level in found.levels] + [level.nearest for level in found.levels]
    named += [reach.best for reach in found.reaches] + [found.together, found.own, found.found.stacks[-1]]
    for one in {one.stack: one for one in named}.values():
        overrides = {"techniques": [part.written for part in one.parts], "workload.document_tokens": context}
        scenario = load_scenario(BASE, overrides)
        keys = analyze(scenario).keys
        assert {name: keys[name] for name in QUANTITIES} == one.measured.values
        assert session_cost(scenario, typical_session(scenario)).total.usd == pytest.approx(one.usd, rel=1e-12)
    target = load_scenario(BASE, {"workload.document_tokens": 4000})
    assert {name: analyze(target).keys[name] for name in QUANTITIES} == found.target.measured.values


def test_the_order_of_techniques_and_the_number_of_processes_change_nothing():
    forward, backward = road(MIXED[:6], 2), road(MIXED[5::-1], 2)
    names = [{frozenset(one.stack.split("+")) for one in found.found.stacks} for found in (forward, backward)]
    assert names[0] == names[1]
    assert [reach.missing for reach in forward.reaches] == [reach.missing for reach in backward.reaches]
    apart = frontier(scenario_document(BASE), 4000, 190_000, techniques=MIXED[:6], most=2, executor=local(2))
    assert apart.rows == forward.rows


def test_levels_buy_more_the_more_is_allowed():
    found = road(MIXED, 2)
    for level in found.levels:
        for below in found.levels:
            if below.risk <= level.risk and below.effort <= level.effort:
                assert level.cheapest.usd <= below.cheapest.usd
                assert len(found.at_parity(level.nearest)) >= len(found.at_parity(below.nearest))


def test_what_is_said_of_prefill_holds_for_any_number_of_techniques():
    crowd = ("colt5", "combiner", "duoattention", "matformer", "mqa", "weights-int8", "yoco", "kv-int4", "quest")
    one, all_of_them = road(crowd, 1), road(crowd, len(crowd), exhaustive=True)
    (near,) = (reach for reach in one.reaches if reach.quantity == "prefill_s")
    assert len(near.best.parts) > 1
    assert max(len(stack.parts) for stack in one.found.stacks) == 1
    (best,) = (reach for reach in all_of_them.reaches if reach.quantity == "prefill_s")
    # KV in 4 bits makes no prompt faster alone; where little attention is left it saves a 2,000th of the reads.
    assert best.missing <= near.missing <= 1.001 * best.missing
    assert {part.written for part in best.best.parts} - {part.written for part in near.best.parts} <= {
        "kv-int4",
        "quest",
    }
