"""Spans against brute force: pairs as an integral, touched tokens as a set, affine runs by repetition."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctxsim.geometry import UNBOUNDED, Span, lone_sequence

LOOKED_AT = 300
"""Repetitions of a run that are evaluated one by one."""

WINDOWS = st.integers(1, 200)
NEW = st.integers(1, 120)
PAST = st.integers(0, 1000)

sliding = st.builds(Span, st.just("sliding"), WINDOWS)
chunked = st.builds(Span, st.just("chunked"), WINDOWS)
topk = st.builds(Span, st.just("topk"), WINDOWS)
fixed = st.builds(Span, st.just("fixed"), WINDOWS)
any_span = st.one_of(st.just(Span("full")), sliding, chunked, topk, fixed)


def attended(span: Span, position: float) -> float:
    """Earlier tokens that a token at a position (a real number) attends to."""
    if span.kind == "full":
        return position
    if span.kind == "fixed":
        return position % span.tokens + position // span.tokens
    return position % span.tokens if span.kind == "chunked" else min(position, span.tokens)


def integral(span: Span, new: int, past: int) -> float:
    """The midpoint rule over unit steps, exact here: every kink of ``attended`` stands at a whole number."""
    return sum(attended(span, x + 0.5) for x in range(past, past + new))


def reached(span: Span, position: int) -> range:
    """Positions whose KV the token at a position reads or writes, its own among them (no selection)."""
    if span.kind == "full":
        return range(position + 1)
    if span.kind in ("chunked", "fixed"):
        return range(position // span.tokens * span.tokens, position + 1)
    return range(max(0, position + 1 - span.tokens), position + 1)


def abstractions(span: Span, position: int) -> range:
    """Abstractions that the token at a position reads: below zero, so that they are none of the positions."""
    return range(-(position // span.tokens), 0) if span.kind == "fixed" else range(0)


def together(span: Span, new: int, past: int) -> set[int]:
    positions = range(past, past + new)
    return {row for x in positions for row in (*reached(span, x), *abstractions(span, x))}


@given(any_span, NEW, PAST)
@settings(max_examples=500, deadline=None)
def test_pairs_are_the_integral_of_what_tokens_attend_to(span: Span, new: int, past: int) -> None:
    assert span.pairs(new, past) == integral(span, new, past)


@given(st.one_of(st.just(Span("full")), sliding, chunked, fixed), NEW, PAST)
@settings(max_examples=400, deadline=None)
def test_touched_tokens_are_the_union_of_what_each_token_reaches(span: Span, new: int, past: int) -> None:
    assert span.touched(new, past) == len(together(span, new, past))


@given(topk, PAST)
def test_a_decode_step_touches_the_selected_tokens(span: Span, past: int) -> None:
    assert span.touched(1, past) == min(past + 1, span.tokens)


@given(topk, NEW, PAST)
def test_selections_of_a_chunk_overlap_as_little_as_they_can(span: Span, new: int, past: int) -> None:
    """Each new token selects others than the rest did; whether it spends a pick on itself is left open."""
    fewest = min(past, (span.tokens - 1) * new) + new
    most = min(past, span.tokens * new) + new
    assert fewest <= span.touched(new, past) <= most


@given(any_span, st.lists(NEW, min_size=1, max_size=12))
def test_chunks_of_a_prompt_add_up_to_the_prompt(span: Span, chunks: list[int]) -> None:
    starts = np.cumsum([0, *chunks[:-1]]).tolist()
    assert sum(span.pairs(n, p) for n, p in zip(chunks, starts, strict=True)) == span.pairs(sum(chunks), 0)


def test_a_whole_prompt_has_half_the_square_of_pairs() -> None:
    assert Span("full").pairs(50_000, 0) == 50_000**2 / 2


@pytest.mark.parametrize(
    ("span", "context", "held"),
    [
        (Span("full"), 9_999, 9_999),
        (Span("topk", 2_048), 9_999, 9_999),
        (Span("fixed", 100), 9_999, 9_999),
        (Span("sliding", 4_096), 4_095, 4_095),
        (Span("sliding", 4_096), 9_999, 4_096),
        (Span("chunked", 8_192), 8_191, 8_191),
        (Span("chunked", 8_192), 9_999, 8_192),
    ],
)
def test_held_tokens(span: Span, context: int, held: int) -> None:
    assert span.held_tokens(context) == held
    assert span.held_tokens(np.array([context]), np.minimum).tolist() == [held]


@given(any_span, NEW, PAST)
@settings(max_examples=1000, deadline=None)
def test_a_run_is_affine_until_it_says(span: Span, new: int, past: int) -> None:
    """Repetition k of an extent has exactly the pairs and touched tokens of (new, past + k new)."""
    extent = span.extent(new, past)
    assert extent.until >= 1
    for k in range(min(extent.until, LOOKED_AT)):
        assert extent.pairs + k * extent.pairs_growth == span.pairs(new, past + k * new)
        assert extent.touched + k * extent.touched_growth == span.touched(new, past + k * new)


@given(st.one_of(sliding, chunked, topk, fixed), PAST)
@settings(max_examples=400, deadline=None)
def test_a_decode_run_ends_no_earlier_than_it_must(span: Span, past: int) -> None:
    """The repetition after the last would break the line; a jump that stopped sooner would only cost events."""
    extent = span.extent(1, past)
    if extent.until == UNBOUNDED:
        assert span.kind != "chunked"
        if span.kind == "fixed":
            # Regions of one token: every step reads one abstraction more.
            assert span.tokens == 1
            return
        assert past >= span.tokens
        return
    k = extent.until
    assert extent.pairs + k * extent.pairs_growth != span.pairs(1, past + k)


@given(any_span, st.integers(2, 120), st.integers(0, 100_000))
def test_a_long_prefill_takes_few_runs(span: Span, new: int, past: int) -> None:
    """Ten thousand equal chunks of full attention are one run; a window adds what it takes to fill."""
    if span.kind == "full":
        assert span.extent(new, past).until == UNBOUNDED
    elif span.kind in ("sliding", "topk"):
        assert span.extent(new, max(past, span.tokens * new)).until == UNBOUNDED


@given(any_span, NEW, PAST)
def test_a_kernel_of_one_phase_sees_nothing_of_the_other(span: Span, new: int, past: int) -> None:
    prefill, decode = (Span(span.kind, span.tokens, phase) for phase in ("prefill", "decode"))
    seeing, blind = (decode, prefill) if new == 1 else (prefill, decode)
    assert seeing.extent(new, past) == span.extent(new, past)
    assert blind.extent(new, past) == (0.0, 0.0, 0.0, 0.0, UNBOUNDED)


@pytest.mark.parametrize(
    "span", [Span("full"), Span("sliding", 100), Span("chunked", 64), Span("topk", 50), Span("fixed", 64)], ids=str
)
def test_arrays_give_what_numbers_give(span: Span) -> None:
    past = np.arange(0, 400, 7)
    new = 33
    pairs = span.pairs(new, past, np.minimum)
    touched = span.touched(new, past, np.minimum)
    assert pairs.tolist() == [span.pairs(new, int(p)) for p in past]
    assert touched.tolist() == [span.touched(new, int(p)) for p in past]


@given(fixed, st.integers(1, 9), PAST)
@settings(max_examples=100, deadline=None)
def test_chunks_of_whole_regions_are_one_run(span: Span, regions: int, past: int) -> None:
    assert span.extent(regions * span.tokens, past).until == UNBOUNDED


@pytest.mark.parametrize("root", [64, 256, 1024])
def test_regions_of_the_root_of_the_context_cost_its_power_of_three_halves(root: int) -> None:
    """s^1.5 pairs where full attention has s^2 / 2: half a region on average, and half of all abstractions."""
    assert Span("fixed", root).pairs(root**2, 0) == pytest.approx(root**3, rel=1 / root)


@given(st.integers(1, 5_000))
def test_one_region_is_full_attention(context: int) -> None:
    assert Span("fixed", 5_000).pairs(context, 0) == Span("full").pairs(context, 0)
    assert Span("fixed", 5_000).touched(context, 0) == context


def spans_of_a_latent_model() -> Iterator[Span]:
    yield from (Span("full", 0, "prefill"), Span("full", 0, "decode"), Span("sliding", 100))


def test_a_lone_sequence_lists_one_entry_a_span() -> None:
    prefill = lone_sequence(tuple(spans_of_a_latent_model()), 1000, 0)
    decode = lone_sequence(tuple(spans_of_a_latent_model()), 1, 999, sequences=4)
    assert (prefill.sequences, prefill.new_tokens, prefill.decode_tokens) == (1, 1000, 0)
    assert prefill.pairs == [500_000, 0, 100 * 100 / 2 + 900 * 100]
    assert prefill.touched == [1000, 0, 1000]
    assert (decode.sequences, decode.new_tokens, decode.decode_tokens) == (4, 4, 4)
    assert decode.pairs == [0, 4 * 999.5, 4 * 100]
    assert decode.touched == [0, 4 * 1000, 4 * 100]
