"""Bytes and blocks of a sequence: held bytes, block footprints, and what the next block costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctxsim.geometry import KvLayout, Span, attention_classes
from ctxsim.spec.catalog import names
from ctxsim.spec.models import load_model

TOKENS = st.integers(0, 3000)


@st.composite
def layouts(draw: st.DrawFn) -> KvLayout:
    """Any mixture of growing and windowed classes, with whole numbers of bytes so that sums are exact."""
    kinds = st.one_of(
        st.builds(Span, st.sampled_from(["sliding", "chunked"]), st.integers(1, 400)),
        st.sampled_from([Span("full"), Span("topk", 64)]),
    )
    held = draw(st.lists(st.tuples(kinds, st.integers(1, 10_000)), min_size=1, max_size=4))
    return KvLayout(held, draw(st.integers(0, 10**6)), draw(st.sampled_from([1, 16, 64])))


def held_by_hand(layout: KvLayout, tokens: int) -> float:
    kept = [tokens if span.kind in ("full", "topk") else min(tokens, span.tokens) for span, _ in layout.held]
    return layout.state_bytes + sum(n * bytes_ for n, (_, bytes_) in zip(kept, layout.held, strict=True))


def footprint_by_hand(layout: KvLayout, tokens: int) -> float:
    """Blocks opened one token at a time; a window never keeps more than its own blocks and the one it straddles."""
    total = float(layout.state_bytes)
    for span, bytes_ in layout.held:
        blocks = len({position // layout.block_size for position in range(tokens)})
        if span.kind in ("sliding", "chunked"):
            window_blocks = len({position // layout.block_size for position in range(span.tokens)})
            blocks = min(blocks, window_blocks + 1)
        total += blocks * layout.block_size * bytes_
    return total


@given(layouts(), TOKENS)
@settings(deadline=None)
def test_held_bytes(layout: KvLayout, tokens: int) -> None:
    assert layout.held_bytes(tokens) == held_by_hand(layout, tokens)
    assert layout.held_bytes(np.array([tokens]), np.minimum).tolist() == [held_by_hand(layout, tokens)]


@given(layouts(), TOKENS)
@settings(deadline=None)
def test_footprint_is_the_blocks_opened_one_by_one(layout: KvLayout, tokens: int) -> None:
    assert layout.footprint_bytes(tokens) == footprint_by_hand(layout, tokens)


@given(layouts(), TOKENS)
@settings(deadline=None)
def test_blocks_hold_what_is_held_and_waste_two_blocks_at_most(layout: KvLayout, tokens: int) -> None:
    waste = layout.footprint_bytes(tokens) - layout.held_bytes(tokens)
    assert 0 <= waste <= 2 * layout.block_bytes


@given(layouts(), TOKENS)
@settings(deadline=None)
def test_next_block_is_what_crossing_into_it_takes(layout: KvLayout, tokens: int) -> None:
    border = -(-tokens // layout.block_size) * layout.block_size
    assert layout.next_block_bytes(tokens) == layout.footprint_bytes(border + 1) - layout.footprint_bytes(border)


@given(layouts(), st.integers(0, 800))
@settings(deadline=None)
def test_tokens_until_cheaper_is_the_first_token_at_which_blocks_cost_less(layout: KvLayout, tokens: int) -> None:
    now = layout.next_block_bytes(tokens)
    longest = max((span.tokens for span, _ in layout.held), default=0) + 3 * layout.block_size
    cheaper = (d for d in range(1, longest + 1) if layout.next_block_bytes(tokens + d) < now)
    assert layout.tokens_until_cheaper(tokens) == next(cheaper, 0)


def test_a_token_that_fills_a_block_opens_none() -> None:
    layout = KvLayout([(Span("full"), 10)], block_size=16)
    assert [layout.footprint_bytes(tokens) for tokens in (0, 1, 16, 17)] == [0, 160, 160, 320]


def test_a_window_keeps_one_block_more_than_its_own() -> None:
    layout = KvLayout([(Span("sliding", 32), 1)], block_size=16)
    assert [layout.footprint_bytes(tokens) for tokens in (16, 32, 33, 48, 49, 10_000)] == [16, 32, 48, 48, 48, 48]
    assert layout.tokens_until_cheaper(10) == 33 - 10
    assert layout.next_block_bytes(33) == 0


@pytest.mark.parametrize("name", names("model"))
def test_layout_of_a_model_holds_the_bytes_of_its_classes(name: str) -> None:
    model = load_model(name)
    layout = KvLayout.of(model, "bf16", block_size=16)
    assert layout.block_bytes == 16 * sum(c.bytes_per_token for c in attention_classes(model, "bf16"))
    assert layout.held_bytes(1) == layout.state_bytes + layout.block_bytes / 16
    for tokens in (1, 100, 4_097, 131_072):
        assert layout.held_bytes(tokens) <= layout.footprint_bytes(tokens)
