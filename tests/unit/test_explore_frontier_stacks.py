"""Stacks against each other, by hand: levels, parity, the cheapest, what beats what, and limits without KV."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest

from ctxsim.explore.executors import local
from ctxsim.explore.frontier import EFFORTS, QUANTITIES, RISKS, Frontier, frontier, kv_alone, together
from ctxsim.explore.frontier.limits import limit_of
from ctxsim.explore.frontier.scales import Part, part_of
from ctxsim.explore.frontier.search import Search, _dominated
from ctxsim.explore.frontier.trial import Measured, Tried
from ctxsim.spec.scenario import scenario_document


@cache
def bare() -> Frontier:
    """The paper's scenario without any technique, against 4,000 tokens."""
    return frontier(scenario_document("paper-34b-50k"), 4000, techniques=(), executor=local(1))


def stack(usd: float, effort: str, risk: str, sessions: float = 1.0, seconds: float = 2.0) -> Tried:
    """One of which so many sessions fit, and whose times are all alike."""
    values = dict.fromkeys(QUANTITIES, seconds) | {"concurrent_sessions": sessions}
    return Tried((), Measured(values, usd, 1), EFFORTS.index(effort), RISKS.index(risk))


def made(*stacks: Tried, within_ratio: float = 0.0) -> Frontier:
    """A frontier of these stacks; at the target four sessions fit and all takes a second."""
    found = Search(list(stacks), {}, 0)
    target = stack(1.0, "none", "lossless", 4.0, 1.0)
    return replace(bare(), found=found, target=target, within_ratio=within_ratio)


def test_levels_are_what_each_risk_and_training_buys_more_than_less_of_it():
    own, kept = stack(10, "none", "lossless"), stack(5, "none", "kept")
    trained, both = stack(3, "uptrain", "lossless"), stack(2, "uptrain", "kept", 3.0, 1.0)
    dear, lost = stack(4, "pretrain", "kept"), stack(9, "none", "lost", 4.0, 1.0)
    found = made(own, kept, trained, both, dear, lost)
    levels = [(RISKS[lv.risk], EFFORTS[lv.effort], lv.cheapest, lv.nearest) for lv in found.levels]
    assert levels == [
        ("lossless", "none", own, own),
        ("lossless", "uptrain", trained, trained),
        ("kept", "none", kept, kept),
        # Three of four quantities at parity: only fewer sessions fit than at the target.
        ("kept", "uptrain", both, both),
        ("lost", "none", kept, lost),
        ("lost", "uptrain", both, lost),
    ]
    assert found.level(0, 0) == found.levels[0]
    assert made(kept).level(0, 4) is None
    # Four sessions at most a third less than wanted are parity within half: 4 / 3 = 1.33.
    assert made(both).at_parity(both) == ["prefill_s", "decode_answer_s", "switch_s"]
    assert made(both, within_ratio=0.5).at_parity(both) == list(QUANTITIES)


def test_answers_fit_unless_none_does():
    small, fits = stack(1, "none", "lossless", 0.9), stack(9, "none", "lossless", 1.0)
    assert made(small, fits).answers == [fits]
    assert made(small).answers == [small]
    assert "9 USD a session, against a session that does not fit" in together(made(small, fits))
    assert "without techniques and 1 USD at 4,000 tokens" in together(made(small, fits))
    assert "9 USD a session, against 10 USD without techniques" in together(made(stack(10, "none", "lossless"), fits))


def test_where_all_would_be_at_parity_nothing_is_missed():
    found = replace(bare(), within_ratio=1e6)
    assert kv_alone(found) == "if KV weighed nothing concurrency, prefill, decode and switching would be at parity"


def alone(name: str, forms: str, effort: str = "none", risk: str = "kept", usd: float = 1.0) -> Tried:
    """A technique that does so many things, a letter each."""
    form = frozenset((("kind", letter),) for letter in forms)
    part = Part(name, part_of("kv-int4").file, EFFORTS.index(effort), RISKS.index(risk), form)
    return Tried.of((part,), Measured(dict.fromkeys(QUANTITIES, 1.0), usd, 1))


@pytest.mark.parametrize(
    ("one", "other", "out"),
    [
        # Of equal ones all but the first.
        (alone("one", "a"), alone("other", "a"), {"other"}),
        # A later one that is better in anything, and worse in nothing, beats an earlier one.
        (alone("one", "a", risk="lost"), alone("other", "a"), {"one"}),
        (alone("one", "a", effort="uptrain"), alone("other", "a"), {"one"}),
        (alone("one", "ab"), alone("other", "a"), {"one"}),
        (alone("one", "a", usd=2.0), alone("other", "a"), {"one"}),
        # One that does what the first does not, or is worse in something, beats nobody.
        (alone("one", "a", usd=2.0), alone("other", "b"), set()),
        (alone("one", "a", usd=2.0), alone("other", "ab"), set()),
        (alone("one", "a", usd=2.0), alone("other", "a", risk="lost"), set()),
        (alone("one", "a", usd=2.0), alone("other", "a", effort="uptrain"), set()),
        (alone("one", "a", risk="lost"), alone("other", "a", effort="uptrain"), set()),
    ],
)
def test_what_another_of_its_form_beats_in_all_is_left_out(one: Tried, other: Tried, out: set[str]):
    assert set(_dominated([one, other], {each.stack: each for each in (one, other)})) == out


def test_the_cheapest_is_told_by_training_then_risk_then_dollars():
    """Of equal greatest training the fewest that need any, of equal greatest risk the least sum, then dollars."""

    def one(usd: float, *parts: tuple[str, str]) -> Tried:
        tried = [alone(f"{effort}{i}", "a", effort, risk).parts[0] for i, (effort, risk) in enumerate(parts)]
        return Tried.of(tried, Measured(dict.fromkeys(QUANTITIES, 1.0), usd, 1))

    ascending = [
        one(9, ("none", "lossless"), ("none", "lost")),
        one(8, ("uptrain", "untested")),
        one(7, ("uptrain", "kept"), ("uptrain", "untested")),
        one(3, ("uptrain", "lost"), ("calibration", "lossless")),
        one(4, ("uptrain", "lost"), ("calibration", "lossless")),
        one(2, ("uptrain", "lost"), ("calibration", "kept")),
        one(1, ("pretrain", "lossless")),
    ]
    assert all(less.order < more.order for less, more in pairwise(ascending))


def test_what_is_better_over_the_short_context_alone_is_kept():
    one, other = alone("one", "a", usd=2.0), alone("other", "a")
    assert set(_dominated([one, other], {"one": alone("one", "a", usd=0.5), "other": other})) == set()


def test_limits_by_hand():
    """The paper's 34e9 weights, 60 layers of 4096, 312e12 FLOP/s, 2e12 B/s: a prompt in one pass, and an answer."""
    found = bare()
    tokens, answer, pair_flop = 50_000, found.session.answer_tokens, 4 * 60 * 4096
    limit = limit_of(found.scenario, found.session)
    pairs_s = tokens**2 / 2 * pair_flop / 312e12
    prompt_s, step_s = 2 * 34e9 * tokens / 312e12, 68e9 / 2e12
    again_s = (tokens - 0.5) * pair_flop / 312e12
    assert limit.prefill_flop == pytest.approx((pairs_s + prompt_s) * 312e12, rel=1e-12)
    assert dict(limit.without_kv) == pytest.approx(
        {"prefill_s": pairs_s + prompt_s, "decode_answer_s": answer * (step_s + again_s)}, rel=1e-9
    )
    assert dict(limit.without_pairs) == pytest.approx(
        {"prefill_s": prompt_s, "decode_answer_s": answer * step_s}, rel=1e-9
    )
