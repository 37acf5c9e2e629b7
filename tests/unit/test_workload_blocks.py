"""Block hashes: rows keep their own, only full blocks count, and what an unlimited cache would find."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxsim.workload.blocks import Blocks

BLOCK = 512


def blocks_of(rows: list[list[int]]) -> Blocks:
    offsets = np.concatenate(([0], np.cumsum([len(hashes) for hashes in rows], dtype=np.int64)))
    return Blocks(offsets, np.array([value for hashes in rows for value in hashes], np.int64), BLOCK)


def listed(blocks: Blocks) -> list[list[int]]:
    return [blocks.of(row).tolist() for row in range(len(blocks.lengths))]


def found_by_a_set(rows: list[list[int]]) -> list[int]:
    """The same with a set of all hashes of the rows so far: the plain reading of the definition."""
    seen: set[int] = set()
    found = []
    for hashes in rows:
        run = 0
        while run < len(hashes) and hashes[run] in seen:
            run += 1
        found.append(run * BLOCK)
        seen.update(hashes)
    return found


tables = st.lists(st.lists(st.integers(-3, 9), max_size=6), min_size=1, max_size=25)


@given(rows=tables)
def test_found_tokens_are_the_run_of_blocks_seen_in_earlier_rows(rows: list[list[int]]) -> None:
    assert blocks_of(rows).found_tokens().tolist() == found_by_a_set(rows)


def test_a_block_is_found_only_behind_blocks_that_are() -> None:
    rows = [[1, 2, 3], [1, 9, 3], [1, 2, 3, 4], [], [3], [7, 7], [7, 7, 7]]
    assert (blocks_of(rows).found_tokens() // BLOCK).tolist() == [0, 1, 3, 0, 1, 0, 3]


@given(rows=tables, seed=st.integers(0, 99))
def test_blocks_follow_their_rows(rows: list[list[int]], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(rows))[: 1 + seed % len(rows)]
    assert listed(blocks_of(rows).take(order)) == [rows[row] for row in order]


@pytest.mark.parametrize(
    ("prompt_tokens", "full"), [(1, []), (511, []), (512, [4]), (1023, [4]), (1024, [4, 5]), (1500, [4, 5])]
)
def test_a_block_the_prompt_does_not_fill_is_left_out(prompt_tokens: int, full: list[int]) -> None:
    hashes = [4, 5, 6][: -(-prompt_tokens // BLOCK)]
    blocks = blocks_of([[1], hashes, [8, 9]]).full(np.array([BLOCK, prompt_tokens, 2 * BLOCK]))
    assert listed(blocks) == [[1], full, [8, 9]]


def test_a_row_may_name_fewer_blocks_than_it_fills() -> None:
    assert listed(blocks_of([[1], []]).full(np.array([5 * BLOCK, 5 * BLOCK]))) == [[1], []]


def test_hashes_of_each_row_are_views_and_none_where_there_are_none() -> None:
    blocks = blocks_of([[1, 2], [], [3]])
    first, second, third = blocks.of_each(np.array([0, 1, 2]))
    assert first is not None
    assert third is not None
    assert (first.tolist(), second, third.tolist()) == ([1, 2], None, [3])
    assert np.shares_memory(first, blocks.hashes)


def test_no_blocks_at_all() -> None:
    blocks = Blocks.none(3).full(np.array([600, 600, 600]))
    assert list(blocks.of_each(np.array([0, 2]))) == [None, None]
    assert blocks.found_tokens().tolist() == [0, 0, 0]
