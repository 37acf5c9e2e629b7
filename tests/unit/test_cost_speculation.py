"""Speculative decoding: tokens a round by hand, what a round computes and moves, and what it must never do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from cost_scenarios import repeated
from hypothesis import given, settings
from hypothesis import strategies as st
from support.real import closed_requests

from ctxsim.cost import CostModel, Piece, course_s
from ctxsim.cost.speculation import added
from ctxsim.errors import SpecError
from ctxsim.geometry import UNBOUNDED
from ctxsim.spec.scenario import Scenario, load_scenario
from ctxsim.spec.speculation import Speculation

NAMED = {"draft": "llama-3.1-8b"}
SKIPPING = {"draft": {"layers": 16}}
NESTED = {"draft": {"ffn_ratio": 0.25}}
TRIFORCE = {"draft": {"layers": 80}, "kv_budget_tokens": 4096}
MANY = NAMED | {"draft_tokens": 100, "acceptance": 0.5}
"""So many that verifying them is bound by what it computes."""
DRAFTS = {"named": NAMED, "layers": SKIPPING, "width": NESTED, "budget": TRIFORCE}


def served(techniques: Sequence[str] = (), **speculation: object) -> Scenario:
    """A 70B model on four accelerators."""
    given = {"draft_tokens": 4, "acceptance": 0.8} | speculation if speculation else None
    settings = {"serving__speculation": given, "serving__iteration_overhead": "1 ms", "techniques": list(techniques)}
    return closed_requests("llama-3.1-70b", deployment__tensor_parallel=4, **settings)


def costs(techniques: Sequence[str] = (), **speculation: object) -> CostModel:
    return CostModel(served(techniques, **speculation))


def decoding(cost: CostModel, sequences: int, past: int) -> float:
    return float(cost.pass_s(cost.batch(1, past, sequences=sequences)))


@pytest.mark.parametrize(
    ("draft_tokens", "acceptance", "tokens"),
    [(0, 0.8, 1.0), (4, 0.0, 1.0), (4, 1.0, 5.0), (5, 0.5, 1.96875), (4, 0.8, 3.3616), (3, 0.75, 2.734375)],
)
def test_tokens_of_a_round(draft_tokens: int, acceptance: float, tokens: float) -> None:
    """(1 - a^(n+1)) / (1 - a), by hand; n + 1 where all are accepted."""
    speculation = Speculation(draft={"model": "x"}, draft_tokens=draft_tokens, acceptance=acceptance)
    assert speculation.tokens_per_round == pytest.approx(tokens, rel=1e-12)


@pytest.mark.parametrize("draft", DRAFTS.values(), ids=DRAFTS)
def test_nothing_drafted_is_no_speculation_to_the_bit(draft: dict[str, object]) -> None:
    none, plain = costs(**draft, draft_tokens=0), costs()
    assert none.spans == plain.spans
    assert none.memory == plain.memory
    assert none.layout.held == plain.layout.held
    batch = plain.batch(1, 5_000)
    assert list(none.law(batch)) == list(plain.law(batch))
    assert none.breakdown(batch) == plain.breakdown(batch)


@pytest.mark.parametrize("draft", DRAFTS.values(), ids=DRAFTS)
@pytest.mark.parametrize("sequences", [1, 7, 64])
@pytest.mark.parametrize("past", [10, 5_000, 120_000])
def test_what_is_never_accepted_is_never_faster(draft: dict[str, object], sequences: int, past: int) -> None:
    assert decoding(costs(**draft, acceptance=0.0), sequences, past) > decoding(costs(), sequences, past)


@pytest.mark.parametrize("draft", DRAFTS.values(), ids=DRAFTS)
def test_more_accepted_is_never_slower(draft: dict[str, object]) -> None:
    seconds = [decoding(costs(**draft, acceptance=a), 4, 9_000) for a in (0.0, 0.3, 0.6, 0.9, 1.0)]
    assert seconds == sorted(seconds, reverse=True)


def test_a_round_by_hand() -> None:
    """Memory bound: four passes of the draft and one of the model, at KV that grows by a token each; 3.3616 kept."""
    cost, model = costs(**NAMED), costs()
    draft = CostModel(closed_requests("llama-3.1-8b", deployment__tensor_parallel=4))
    past, drafted, kept = 9_999, 4, 3.3616
    bytes_per_s = cost.rates.hbm_bytes_per_s
    weights = model.streamed_bytes(model.batch(1, 1))
    drafts = draft.streamed_bytes(draft.batch(1, 1))
    embedded = 5 * 2 * 8192 + 4 * 2 * 4096
    # The model's 327,680 B a token once, for five new ones; the draft's 131,072 B at 10,000 to 10,003 tokens.
    kv_bytes = 327_680 * (past + 5) + 131_072 * sum(past + 1 + step for step in range(drafted))
    moved = weights + drafted * drafts + kv_bytes + embedded
    batch = cost.batch(1, past)
    assert cost.hbm_bytes(batch) == pytest.approx(moved / kept, rel=1e-9)
    link_s = sum(c.link_s for c in cost.breakdown(batch))
    reading_s = cost.pass_s(batch) - link_s - 5 * 0.001 / kept
    assert reading_s == pytest.approx(moved / kept / bytes_per_s, rel=1e-3)


def test_flop_of_a_round_are_those_of_its_tokens() -> None:
    """Five tokens of the model and four of the draft, whichever are kept, over 3.3616; prompts as ever."""
    cost, model, draft = costs(**NAMED), costs(), CostModel(closed_requests("llama-3.1-8b"))
    past, kept = 20_000, 3.3616
    of_model = sum(model.flop(model.batch(1, past + i)) for i in range(5))
    of_draft = sum(draft.flop(draft.batch(1, past + i)) for i in range(4))
    assert cost.flop(cost.batch(1, past)) == pytest.approx((of_model + of_draft) / kept, rel=1e-9)
    prompt = cost.batch(2048, past)
    both = model.flop(model.batch(2048, past)) + draft.flop(draft.batch(2048, past))
    assert cost.flop(prompt) == pytest.approx(both, rel=1e-12)


def test_flop_of_iterations_add_up_whatever_shares_them() -> None:
    cost = costs(**NAMED)
    together, _ = repeated(cost.spans, [(1, 900), (1, 5_000), (512, 3_000)])
    alone = [repeated(cost.spans, [one])[0] for one in ((1, 900), (1, 5_000), (512, 3_000))]
    assert cost.flop(together) == pytest.approx(sum(cost.flop(batch) for batch in alone), rel=1e-12)


@pytest.mark.parametrize("draft", DRAFTS.values(), ids=DRAFTS)
def test_prompts_in_company_are_no_faster_than_alone(draft: dict[str, object]) -> None:
    cost = costs(**draft, acceptance=1.0)
    for new, past in ((2, 10), (64, 4_000), (2048, 100_000)):
        for others in (1, 8):
            mixed, _ = repeated(cost.spans, [(new, past), *[(1, 2_000)] * others])
            taken_s = next(iter(cost.law(mixed))).first_s
            assert taken_s >= cost.pass_s(cost.batch(new, past))
            assert taken_s >= decoding(cost, others, 2_000)


@pytest.mark.parametrize("draft", [*DRAFTS.values(), MANY], ids=[*DRAFTS, "many"])
@given(st.lists(st.tuples(st.sampled_from([1, 1, 2, 100]), st.integers(0, 20_000)), min_size=1, max_size=5))
@settings(max_examples=15, deadline=None)
def test_the_law_is_the_pass_and_its_growth(draft: dict[str, object], sequences: list[tuple[int, int]]) -> None:
    cost = costs(**draft)
    batch, until = repeated(cost.spans, sequences)
    pieces = list(cost.law(batch))
    assert pieces[-1].until == UNBOUNDED
    total_s = 0.0
    for k in range(min(until, 12)):
        now, _ = repeated(cost.spans, [(new, past + k * new) for new, past in sequences])
        alone_s = cost.pass_s(now)
        assert next(iter(cost.law(now))).first_s == pytest.approx(alone_s, rel=1e-12)
        total_s += alone_s
        assert course_s(pieces, k + 1) == pytest.approx(total_s, rel=1e-10)


def test_answers_read_beside_prompts_what_they_read_alone() -> None:
    """Unsplit attention on an A100, a worker a KV head: in every iteration 1 / 3.3616 of a round of two sequences."""
    speculation = NAMED | {"draft_tokens": 4, "acceptance": 0.8}
    ranks = {"deployment__tensor_parallel": 4, "serving__decode_attention": "flash_attention_2"}
    cost = CostModel(closed_requests("llama-3.1-70b", "a100-80gb-sxm", **ranks, serving__speculation=speculation))
    past, kernel = 20_000, "attention full decode"
    kv_bytes = 2 * 327_680 * (past + 5)  # each sequence's KV once for its five tokens
    # Of eight KV heads two on each rank: two sequences keep four workers of each of the four ranks busy.
    expected_s = kv_bytes / (4 * 4 * 22e9) / 3.3616
    for beside in ([], [(512, 3_000)]):
        batch, _ = repeated(cost.spans, [(1, past), (1, past), *beside])
        taken_s = {c.name: c.seconds for c in cost.breakdown(batch)}[kernel]
        assert taken_s == pytest.approx(expected_s, rel=1e-9)


def test_a_selection_is_read_for_each_token_of_a_round() -> None:
    """Quest: 2,048 tokens for each of five; the summaries of all pages, 2 x 128 values of each of 16 tokens, once."""
    cost, past, kept = costs(**NAMED, techniques=["quest"]), 20_000, 3.3616
    moved = {c.name: c.hbm_bytes for c in cost.breakdown(cost.batch(1, past))}
    assert moved["attention full decode"] == pytest.approx(5 * 2048 * 327_680 / kept, rel=1e-9)
    assert moved["attention pages decode"] == pytest.approx((past + 5) * 327_680 / 16 / kept, rel=1e-9)


def test_verifying_many_tokens_is_bound_by_what_it_computes() -> None:
    """100 drafted, half accepted: E = (1 - 0.5^101) / 0.5 = 2. A round's 101 tokens make 101 pairs more a KV token."""
    cost, plain = costs(**MANY), costs()
    past, kernel = 50_000, "attention full decode"
    batch, _ = repeated(cost.spans, [(1, past)])
    verified = next(c for c in cost.breakdown(batch) if c.name == kernel)
    assert verified.bound == "compute"
    flop_per_pair, flop_per_s = 80 * 2 * 64 * 256, cost.rates.plain_flop_per_s
    # Token i of the round looks back at past + i and half of itself.
    pairs = sum(past + i + 0.5 for i in range(101))
    assert verified.flop == pytest.approx(pairs * flop_per_pair / 2, rel=1e-9)
    # In the law: the next iteration has one token of context more for each, the draft's steps read 131,072 B more.
    (piece,) = cost.law(batch)
    grows_s = 101 * flop_per_pair / flop_per_s + 100 * 131_072 / plain.rates.hbm_bytes_per_s
    assert piece.growth_s == pytest.approx(grows_s / 2, rel=1e-9)


def test_arrays_give_what_numbers_give() -> None:
    """Rows of simulated runs, some of which only decode, only prefill, or do both."""
    cost = costs(**NAMED)
    each = [repeated(cost.spans, s)[0] for s in ([(1, 900)], [(300, 0)], [(1, 900), (1, 7), (300, 50)])]
    names = ("sequences", "new_tokens", "decode_tokens")
    columns = {name: np.array([getattr(batch, name) for batch in each]) for name in names}
    spans = range(len(cost.spans))
    rows = type(each[0])(
        **columns,
        pairs=[np.array([batch.pairs[i] for batch in each]) for i in spans],
        pairs_growth=[0.0 for _ in spans],
        touched=[np.array([batch.touched[i] for batch in each]) for i in spans],
        touched_growth=[0.0 for _ in spans],
    )
    for amount in (cost.flop, cost.hbm_bytes, cost.compute_s, cost.streamed_bytes):
        assert amount(rows).tolist() == pytest.approx([amount(batch) for batch in each], rel=1e-12)


def test_weights_and_kv_of_drafts() -> None:
    plain, draft = costs(), CostModel(closed_requests("llama-3.1-8b", deployment__tensor_parallel=4))
    context = 50_000
    held = {name: costs(**given).layout.held_bytes(context) for name, given in DRAFTS.items()}
    weights = {name: costs(**given).memory.weight_bytes for name, given in DRAFTS.items()}
    kv_bytes, weight_bytes = plain.layout.held_bytes(context), plain.memory.weight_bytes
    assert held["named"] == kv_bytes + draft.layout.held_bytes(context)
    assert weights["named"] == weight_bytes + draft.memory.weight_bytes
    # Parts of the model itself share its checkpoint and its KV; TriForce's drafting cache is its own.
    assert [weights[name] for name in ("layers", "width", "budget")] == [weight_bytes] * 3
    assert [held["layers"], held["width"]] == [kv_bytes] * 2
    assert held["budget"] == kv_bytes + 4096 * 327_680


def test_the_draft_is_the_part_it_says() -> None:
    skipping, nested = served(**SKIPPING).draft, served(**NESTED).draft
    model = served().model
    assert skipping is not None
    assert nested is not None
    assert skipping.layers == model.layers[:16]
    wide, narrow = model.layers[0].feed_forward[0], nested.layers[0].feed_forward[0]
    assert narrow.parameters == wide.parameters / 4
    assert [(p.outputs, p.inputs) for p in narrow.products] == [(14_336, 8_192), (8_192, 7_168)]
    assert nested.layers[0].mixer == model.layers[0].mixer


def test_pieces_of_a_sum_end_where_those_of_a_term_do() -> None:
    one = [Piece(3, 1.0, 0.5), Piece(UNBOUNDED, 7.0, 0.0)]
    other = [Piece(5, 2.0, 0.0), Piece(UNBOUNDED, 4.0, 1.0)]
    found = added([(2.0, one), (0.5, other)])
    assert found == [Piece(3, 3.0, 1.0), Piece(5, 15.0, 0.0), Piece(UNBOUNDED, 16.0, 0.5)]


def test_a_scenario_is_written_so_that_it_can_be_read_again(tmp_path: Path) -> None:
    for speculation in (NAMED, TRIFORCE):
        scenario = served(**speculation)
        path = tmp_path / "scenario.yaml"
        path.write_text(scenario.to_yaml())
        again = load_scenario(str(path))
        assert again == scenario
        assert again.sha256 == scenario.sha256


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"serving.speculation.draft": {"layers": 81}}, "expected at most the 80 layers of llama-3.1-70b, found 81"),
        ({"serving.speculation.draft": {"layers": 8, "ffn_ratio": 0.5}}, "found layers and ffn_ratio; write one"),
        ({"serving.speculation.draft": "llama-3.2"}, 'found "llama-3.2"; did you mean "llama-3.1-8b"'),
        ({"model": "mixtral-8x7b", "serving.speculation.draft": {"ffn_ratio": 0.5}}, "feed-forward layers are dense"),
        ({"serving.early_exit": {"depth_ratio": 0.5}}, "null beside speculation"),
        ({"fidelity": "calibrated"}, "null at fidelity calibrated (no pass that verifies several tokens"),
        ({"serving.speculation.acceptance": 1.2}, "a number of at most 1"),
    ],
)
def test_what_cannot_draft_is_refused(settings: dict[str, object], said: str) -> None:
    workload = {"kind": "requests", "prompt_tokens": 10, "output_tokens": 5, "num_requests": 1}
    workload["arrival"] = {"kind": "closed", "users": 1, "think_time": "0 s"}
    base = {
        "model": "llama-3.1-70b", "hardware": "h200-sxm", "deployment.tensor_parallel": 4, "workload": workload,
        "slo": {},
        "serving.speculation": {"draft": "llama-3.1-8b", "draft_tokens": 4, "acceptance": 0.8},
    }  # fmt: skip
    with pytest.raises(SpecError) as caught:
        load_scenario("llama-8b-chat", base | settings)
    assert said in str(caught.value)


@pytest.mark.parametrize("draft", DRAFTS.values(), ids=DRAFTS)
@pytest.mark.parametrize("sequences", [1, 6])
def test_an_iteration_of_answers_alone_is_all_theirs(draft: dict[str, object], sequences: int) -> None:
    """Every pass at its weight: what is theirs is the whole, which is what the iteration takes."""
    cost = costs(**draft)
    batch = cost.batch(1, 9_000, sequences=sequences)
    mine, whole, _ = cost.division(batch, batch)
    assert float(mine.seconds) == pytest.approx(float(whole.seconds), rel=1e-12)
    assert float(whole.seconds) == pytest.approx(float(cost.pass_s(batch)), rel=1e-12)


@pytest.mark.parametrize("draft", DRAFTS.values(), ids=DRAFTS)
def test_an_iteration_of_a_prompt_alone_is_nobody_elses(draft: dict[str, object]) -> None:
    cost = costs(**draft)
    prompt, nobody = cost.batch(512, 9_000), cost.batch(1, 9_000, sequences=0)
    mine, whole, _ = cost.division(prompt, nobody)
    assert float(mine.seconds) == 0.0
    assert float(whole.seconds) == pytest.approx(float(cost.pass_s(prompt)), rel=1e-12)
