"""Whom an iteration at calibrated times is for: by what prompts and answers each add to the measured times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from cost_scenarios import scenario
from support.calibrations import calibrated

from ctxsim.cost import CostModel
from ctxsim.cost.calibrated.shares import fixed_shares
from ctxsim.geometry import BatchTotals

A100 = "a100-80gb-sxm"
MODELS = ("llama-3.1-8b", "mixtral-8x7b", "gemma-3-27b", "deepseek-v3", "qwen3-next-80b-a3b")


def cost_of(model: str) -> CostModel:
    return CostModel(calibrated(scenario(model, A100, deployment__tensor_parallel=2)))


def joined(one: BatchTotals, other: BatchTotals) -> BatchTotals:
    zeros = [0.0 for _ in one.pairs]
    return BatchTotals(
        one.sequences + other.sequences,
        one.new_tokens + other.new_tokens,
        one.decode_tokens + other.decode_tokens,
        [a + b for a, b in zip(one.pairs, other.pairs, strict=True)],
        zeros,
        [a + b for a, b in zip(one.touched, other.touched, strict=True)],
        zeros,
    )


@pytest.mark.parametrize("model", MODELS)
def test_a_part_takes_what_it_adds_at_least_and_what_it_would_take_alone_at_most(model: str) -> None:
    """Of operations without context; attention kernels of each are their own."""
    cost = cost_of(model)
    chunk, decodes = cost.batch(500, 1500), cost.batch(1, 3000, sequences=12)
    nobody = replace(decodes, sequences=0, new_tokens=0, decode_tokens=0, touched=[0.0 for _ in cost.spans])
    found = cost.division(joined(chunk, decodes), decodes)
    assert float(found.whole.seconds) == pytest.approx(cost.pass_s(joined(chunk, decodes)), rel=1e-12)
    alone_s = float(cost.division(decodes, decodes).whole.fixed_s)
    added_s = float(found.whole.fixed_s) - float(cost.division(chunk, nobody).whole.fixed_s)
    assert added_s * (1 - 1e-9) <= float(found.mine.fixed_s) <= alone_s * (1 + 1e-9)
    for span, mine_s, all_s in zip(cost.spans, found.mine.kernels_s, found.whole.kernels_s, strict=True):
        assert float(mine_s) == (pytest.approx(float(all_s)) if span.phase == "decode" else 0.0)


@pytest.mark.parametrize("model", MODELS)
def test_a_batch_of_one_kind_is_all_theirs(model: str) -> None:
    cost = cost_of(model)
    decodes = cost.batch(1, 3000, sequences=12)
    nobody = replace(decodes, sequences=0, new_tokens=0, decode_tokens=0, touched=[0.0 for _ in cost.spans])
    found = cost.division(decodes, decodes)
    assert float(found.mine.seconds) == pytest.approx(float(found.whole.seconds), rel=1e-12)
    chunk = cost.batch(500, 1500)
    assert float(cost.division(chunk, nobody).mine.seconds) == 0.0


def test_what_either_needs_alone_is_divided_evenly_and_the_rest_is_its_own() -> None:
    """Host overhead of 1 ms an iteration and 10 us a sequence: of 13 sequences 12 decode."""
    cost = CostModel(calibrated(scenario("llama-3.1-8b", A100), "elementwise"))
    pricing = cost._pricing
    assert pricing is not None
    (host,) = [tariff for tariff in pricing._tariffs if tariff.operation == "host engine"]
    both = joined(cost.batch(500, 1500), cost.batch(1, 3000, sequences=12))
    mine_s, all_s = fixed_shares([host], both, cost.batch(1, 3000, sequences=12))
    assert float(all_s) == pytest.approx(1e-3 + 13e-5, rel=1e-12)
    assert float(mine_s) == pytest.approx(1e-3 * 12 / 13 + 12e-5, rel=1e-12)


@dataclass(frozen=True)
class Stub:
    """An operation whose time is some function of its batch."""

    price: Callable[[BatchTotals], float]
    operation: str = "stub"
    covers: tuple[str, ...] = ()

    def seconds(self, batch: BatchTotals) -> float:
        return self.price(batch)


def divided(*prices: Callable[[BatchTotals], float], decoding: int = 12) -> tuple[float, float]:
    """A chunk of 500 tokens beside sequences that decode: theirs, and all."""
    both = BatchTotals(1 + decoding, 500 + decoding, decoding, [], [], [], [])
    decodes = BatchTotals(decoding, decoding, decoding, [], [], [], [])
    mine_s, all_s = fixed_shares([Stub(price) for price in prices], both, decodes)
    return float(mine_s), float(all_s)


def test_a_part_pays_for_its_tokens_and_an_even_part_of_what_both_need() -> None:
    """5 s a pass, 3 s a prompt's token, 2 s a decoding one: 24 s are the decodes' own, 5 s both's."""

    def price(batch: BatchTotals) -> float:
        return 5.0 + 3.0 * (batch.new_tokens - batch.decode_tokens) + 2.0 * batch.decode_tokens

    assert divided(price) == pytest.approx((24 + 5 * 12 / 13, 5 + 3 * 500 + 24), rel=1e-12)
    # 7 s a sequence: each pays its own. What all need, 1 s, evenly. They add up.
    assert divided(lambda batch: 7.0 * batch.sequences) == pytest.approx((84, 91), rel=1e-12)
    assert divided(price, decoding=1) == pytest.approx((2 + 5 / 2, 5 + 3 * 500 + 2), rel=1e-12)
    assert divided(price, decoding=0) == (0.0, 5 + 3 * 500)
    assert divided(price, lambda batch: 1.0) == pytest.approx((24 + 6 * 12 / 13, 1530), rel=1e-12)


def test_no_part_is_less_than_nothing_or_more_than_all() -> None:
    """Measured times need not rise: a larger batch may be a faster one."""
    assert divided(lambda batch: 100.0 if batch.decode_tokens == 0 else 1.0) == (0.0, 1.0)
    assert divided(lambda batch: 100.0 if batch.sequences == 12 else 1.0) == (1.0, 1.0)


def test_no_operations_take_no_time() -> None:
    assert divided() == (0.0, 0.0)


def test_arrays_are_divided_batch_by_batch() -> None:
    cost = cost_of("llama-3.1-8b")
    decodes = [cost.batch(1, past, sequences=number) for past, number in ((3000, 12), (700, 3), (9000, 1))]
    batches = [joined(cost.batch(500, 1500), part) for part in decodes]

    def stacked(parts: list[BatchTotals]) -> BatchTotals:
        spans = range(len(cost.spans))
        numbers = [np.array([getattr(p, n) for p in parts]) for n in ("sequences", "new_tokens", "decode_tokens")]
        zeros = [0.0 for _ in spans]
        pairs, touched = ([np.array([getattr(p, n)[i] for p in parts]) for i in spans] for n in ("pairs", "touched"))
        return BatchTotals(*numbers, pairs, zeros, touched, zeros)

    found = cost.division(stacked(batches), stacked(decodes))
    for i, (batch, part) in enumerate(zip(batches, decodes, strict=True)):
        one = cost.division(batch, part)
        assert found.mine.seconds[i] == pytest.approx(float(one.mine.seconds), rel=1e-12)
        assert found.whole.seconds[i] == pytest.approx(float(one.whole.seconds), rel=1e-12)
        for slope, its in zip(found.slopes, one.slopes, strict=True):
            assert np.broadcast_to(slope.per_touched_s, 3)[i] == pytest.approx(float(its.per_touched_s), rel=1e-12)


def test_slopes_are_what_a_token_more_adds() -> None:
    cost = cost_of("llama-3.1-8b")
    decodes = cost.batch(1, 3000, sequences=12)
    more = replace(decodes, touched=[touched + 1.0 for touched in decodes.touched])
    found = cost.division(decodes, decodes)
    (at,) = [i for i, span in enumerate(cost.spans) if span.phase == "decode"]
    added_s = cost.pass_s(more) - cost.pass_s(decodes)
    assert float(found.slopes[at].per_touched_s) == pytest.approx(added_s, rel=1e-6)
