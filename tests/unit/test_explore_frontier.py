"""The frontier: scales, what is refused and left out, what is reached, what would be needed."""

from __future__ import annotations

from functools import cache

import pytest
from exploring import small_file

from ctxsim.errors import InfeasibleError, SpecError
from ctxsim.explore.executors import local
from ctxsim.explore.frontier import (
    EFFORTS,
    QUANTITIES,
    RISKS,
    Frontier,
    finding,
    frontier,
    kv_alone,
    needs,
    parse_within,
    together,
)
from ctxsim.explore.frontier.frontier import offered
from ctxsim.explore.frontier.scales import effort_of, part_of, risk_of
from ctxsim.explore.frontier.trial import Trial
from ctxsim.spec.catalog import find, names
from ctxsim.spec.scenario import load_scenario, scenario_document

ONE_LAYER = "cla(layers_per_group=0)"
FEW = ("kv-int4", "quest", "snapkv", "triforce", "weights-fp8", "yoco")


@cache
def road(
    base: str, context: int | None, techniques: tuple[str, ...] | None, most: int = 4, **options: float
) -> Frontier:
    return frontier(
        scenario_document(base), 4000, context, techniques=techniques, most=most, executor=local(1), **options
    )  # fmt: skip


def risk(*written: str) -> str:
    return RISKS[risk_of([part_of(name) for name in written])]


def test_the_scales_are_those_of_the_readme():
    lines = (find("technique", "yoco").parent / "README.md").read_text().splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    rows = [row for row in table if len(row) == 4 and row[1][:1].isdigit() and row[3][:1].isdigit()]
    assert [(row[0], int(row[1][0])) for row in rows] == [(word, n) for n, word in enumerate(EFFORTS)]
    assert [(row[2], int(row[3][0])) for row in rows] == [(word, n) for n, word in enumerate(RISKS)]


def test_risk_of_a_stack_is_its_greatest_and_untested_pairs_are_untested():
    assert risk() == "lossless"
    assert risk("kv-int4") == "kept"
    assert risk("kv-int4", "triforce") == "kept"
    assert risk("kv-int4", "quest") == "untested"
    assert risk("duoattention", "weights-int8", "kv-int4") == "kept"
    assert risk("duoattention", "weights-int8", "kv-int4", "quest") == "untested"
    assert risk("kv-int4", "snapkv") == "mixed"
    assert risk("streaming-llm", "snapkv") == "lost"
    # What a file says of retrieval was said of the parameters in it.
    assert risk("duoattention(full_ratio=0.1)") == "untested"
    assert risk("duoattention(full_ratio=0.5)") == "kept"
    assert risk("snapkv(budget_tokens=100)") == "mixed"
    assert risk("triforce(draft_tokens=3)") == "lossless"


def test_effort_of_a_stack_is_its_greatest():
    assert EFFORTS[effort_of([])] == "none"
    assert EFFORTS[effort_of([part_of("kv-int4"), part_of("yoco"), part_of("mqa")])] == "pretrain"


def test_techniques_of_one_form_differ_in_amounts():
    def form(name: str) -> frozenset[object]:
        return part_of(name).form

    assert form("h2o") == form("fastgen") != form("snapkv")
    assert form("gemma-like") == form("gpt-oss-like") != form("jamba-like")
    assert form("kv-int4") == form("kvquant") < form("wkvquant")
    assert form("streaming-llm") != form("sliding-window")
    assert form("triforce") == form("layerskip") != form("calm")


def test_the_library_is_offered_with_what_files_name_and_the_scenarios_own():
    scenario = load_scenario("yi-34b-50k-a100", {"techniques": ["kv-int4", "cla(layers_per_group=4)"]})
    found = offered(scenario)
    assert set(names("technique")) < set(found)
    assert len(found) == len(set(found)) == len(names("technique")) + 2
    assert {ONE_LAYER, "cla(layers_per_group=4)"} < set(found)


def test_what_is_reached_at_100k():
    found = road("yi-34b-50k-a100", 100_000, FEW)
    by = {reach.quantity: reach for reach in found.reaches}
    assert [by[name].reached_by is not None for name in QUANTITIES] == [True, False, True, True]
    assert by["concurrent_sessions"].reached_by.stack == "snapkv"
    assert by["switch_s"].reached_by.stack == "snapkv"
    assert by["decode_answer_s"].reached_by.stack == "triforce+weights-fp8"
    assert "yoco" in by["prefill_s"].best.stack
    assert found.together.stack == "snapkv"
    assert "can be at parity with 4,000 in 3 of 4 quantities: concurrency by snapkv" in finding(found)
    assert "not in 1: prefill is" in finding(found)
    assert "at once, snapkv brings 3 of them to parity (training none, retrieval mixed)" in together(found)
    assert found.infeasible_reason is None


def test_kv_alone_leaves_prefill():
    found = road("paper-34b-1m", None, (ONE_LAYER, "kv-int4", "kv-int4-scale"))
    assert "prefill would not: 1,793 s, 1,999 times the target's" in kv_alone(found)
    assert kv_alone(found).endswith("(a prompt has 1,999 times the FLOP)")
    by = {reach.quantity: reach for reach in found.reaches}
    assert by["prefill_s"].missing == pytest.approx(by["prefill_s"].own_missing)
    # One layer's KV of 60 in 4 bits with a scale: 3.81 GiB x 0.53125 / 2; at 4,000 tokens 0.9155 GiB.
    assert by["switch_s"].best.stack == f"{ONE_LAYER}+kv-int4-scale"
    assert by["switch_s"].missing == pytest.approx(250 / 60 * 0.53125 / 2)
    with_zero = next(one for one in found.found.stacks if one.stack == f"{ONE_LAYER}+kv-int4")
    assert with_zero.missing("switch_s", found.target) == pytest.approx(250 / 60 * 0.5625 / 2)
    said = dict(zip(("concurrency", "prefill", "decode", "switching"), needs(found), strict=True))
    assert "KV would have to be 1.107 times smaller yet" in said["concurrency"]
    assert "it would take 1,999 times the FLOP/s yet; without any query-key pair 217.9 s" in said["prefill"]
    assert said["prefill"].endswith("what grows with each token alone would have to be 243 times cheaper as well")
    assert "HBM be as much faster" in said["decode"]
    assert "or the host link as much faster" in said["switching"]
    assert "of any number that make it better alone" in said["prefill"]
    assert all("of at most 4 techniques" in said[name] for name in ("concurrency", "decode", "switching"))


def test_linear_prefill_alone_can_be_enough():
    found = road("paper-34b-50k", None, (), within_ratio=11.3)
    assert [reach.reached_by is not None for reach in found.reaches] == [False, False, True, False]
    (prefill,) = (words for words in needs(found) if words.startswith("prefill"))
    assert prefill.endswith("so cheaper attention would be enough")


def test_contradictions_are_counted_and_nothing_that_has_them_is_tried():
    found = road("yi-34b-50k-a100", None, ("kv-fp8", "kvquant", "mqa"), most=3)
    assert found.found.counts["stacks_refused"] == 1
    assert found.found.counts["stacks_evaluated"] == 1 + 3 + 2
    assert not any({"kv-fp8", "kvquant"} <= set(one.stack.split("+")) for one in found.found.stacks)
    every = road("yi-34b-50k-a100", None, ("kv-fp8", "kvquant", "mqa"), most=3, exhaustive=True)
    assert every.found.counts["stacks_refused"] == 2


def test_what_cannot_be_applied_alone_is_left_out_with_the_reason():
    document = scenario_document("yi-34b-50k-a100", {"hardware": "h200-sxm"})
    found = frontier(document, 4000, techniques=("mla", "gqa", "flash-decoding"), most=1, executor=local(1))
    assert list(found.found.left_out["refused"]) == ["flash-decoding"]
    assert "efficiency.decode_attention" in found.found.left_out["refused"]["flash-decoding"]


def test_more_accelerators_are_no_technique_unless_they_are_asked_for():
    found = road("yi-34b-50k-a100", 50_000, None, most=1)
    assert found.found.left_out["larger"] == {"context-parallel": "takes 2 times as many accelerators"}
    assert "offload" in found.found.left_out["idle"]
    assert found.found.left_out["dominated"]["gqa"] == "mqa is at least as good in all"
    asked = road("yi-34b-50k-a100", 50_000, ("context-parallel",), most=1)
    assert [one.stack for one in asked.found.stacks] == ["none", "context-parallel"]


def test_a_stack_in_which_a_part_gains_nothing_is_left_out():
    # Nothing is left to window where all that stays is the last 2,048 tokens of what a smaller window keeps.
    found = road("yi-34b-50k-a100", 50_000, ("snapkv", "snapkv(budget_tokens=1024)"), most=2)
    assert found.found.counts["stacks_refused"] == 0
    assert [one.stack for one in found.found.stacks] == ["none", "snapkv(budget_tokens=1024)"]
    alike = road("yi-34b-50k-a100", 50_000, ("streaming-llm(sink_tokens=0,window_tokens=2048)", "snapkv"), most=2)
    assert alike.found.counts["stacks_without_gain"] + len(alike.found.left_out["dominated"]) == 1


def test_exhaustive_leaves_nothing_out():
    offered_here = ("gqa", "mqa", "offload")
    some = road("yi-34b-50k-a100", 50_000, offered_here, most=2)
    assert [set(some.found.left_out[why]) for why in ("idle", "dominated")] == [{"offload"}, {"gqa"}]
    every = road("yi-34b-50k-a100", 50_000, offered_here, most=2, exhaustive=True)
    assert [every.found.left_out[why] for why in ("idle", "dominated")] == [{}, {}]
    # Three alone, two pairs, as gqa and mqa change the same.
    assert {one.stack for one in every.found.stacks} == {"none", *offered_here, "gqa+offload", "mqa+offload"}


def test_faults_of_the_scenario_are_not_taken_for_refusals(tmp_path):
    document = scenario_document(small_file(tmp_path), {"serving.kv_dtype": "bf17"})
    with pytest.raises(SpecError, match="kv_dtype"):
        frontier(document, 1000, executor=local(1))
    with pytest.raises(SpecError, match="expected the name of a technique"):
        frontier(scenario_document("paper-34b-50k"), 4000, techniques=("nope",), executor=local(1))
    with pytest.raises(SpecError, match="expected replicas of one kind"):
        frontier(scenario_document("llama-70b-mixed-fleet"), 4000, executor=local(1))
    with pytest.raises(SpecError, match="expected at least 1 technique of a stack, found 0"):
        frontier(scenario_document("paper-34b-50k"), 4000, most=0, executor=local(1))


def test_a_target_that_does_not_fit_is_none():
    document = scenario_document("yi-34b-50k-a100", {"model": "llama-3.1-405b"})
    with pytest.raises(InfeasibleError, match="over 4,000 tokens, without techniques, weights need"):
        frontier(document, 4000, executor=local(1))


def test_errors_that_are_no_refusals_are_not_hidden(monkeypatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("ctxsim.explore.frontier.trial.four_quantities", broken)
    with pytest.raises(ZeroDivisionError):
        frontier(scenario_document("paper-34b-50k"), 4000, techniques=("kv-fp8",), executor=local(1))


def test_a_refused_trial_says_why():
    found = road("paper-34b-50k", None, (), most=1)
    assert "changes the format of KV already" in str(Trial(found.bare, found.session, ("kv-fp8", "kv-int4")).run())


def test_the_scenarios_own_techniques_are_set_aside_and_its_window_grows():
    document = scenario_document("yi-34b-50k-a100", {"techniques": ["kv-int4"]})
    found = frontier(document, 4000, 1_000_000, techniques=(), executor=local(1))
    assert found.scenario.techniques == ()
    assert found.scenario.max_model_len == 1_000_000 + 5 * 350
    assert any("does not fit without techniques" in words for words in found.warnings)
    assert "no stack of techniques makes a session of 1,000,000 tokens fit" in str(found.infeasible_reason)
    near = frontier(document, 4000, techniques=(), executor=local(1))
    assert near.scenario.max_model_len == 200_000
    assert near.warnings == near.scenario.warnings


def test_a_share_is_a_percentage_or_a_number():
    assert (parse_within("10%"), parse_within("0.1"), parse_within("0 %")) == (0.1, 0.1, 0)
    for text in ("x", "-1%", "nan", "inf"):
        with pytest.raises(SpecError, match="expected a share of at least 0"):
            parse_within(text)


@pytest.mark.parametrize("name", names("technique"))
def test_what_files_say_for_searches_exists(name):
    part = part_of(name)
    for tested in part.file.tested_with:
        assert set(tested.techniques) <= set(names("technique"))
    for setting in part.file.frontier:
        written = f"{name}({','.join(f'{key}={value}' for key, value in setting.items())})"
        assert part_of(written).file.effects != part.file.effects


def test_a_file_can_name_further_parameters_only_if_it_has_them(tmp_path):
    text = find("technique", "cla").read_text().replace("frontier: [{layers_per_group: 0}]", "frontier: [{layers: 0}]")
    (tmp_path / "cla.yaml").write_text(text)
    with pytest.raises(SpecError, match='frontier: expected parameters of the technique, found "layers"'):
        part_of(str(tmp_path / "cla.yaml"))
