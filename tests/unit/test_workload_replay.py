"""Replay of a trace: open at its recorded times, or closed with every turn a think time after the last answer."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctxsim.workload import Demand, ThinkTimeSource, TraceSource, TraceTable
from ctxsim.workload.blocks import Blocks
from ctxsim.workload.traces import build_table

NAN = float("nan")


def table(arrival_s: list[float], session: list[int], **columns: Any) -> TraceTable:
    """Rows of 1,000, 1,001, ... prompt tokens and 10, 11, ... output tokens."""
    rows = len(arrival_s)
    given_columns = {name: np.array(values) for name, values in columns.items()}
    return build_table(
        "test",
        np.array(arrival_s, float),
        1000 + np.arange(rows),
        10 + np.arange(rows),
        session_id=np.array(session),
        **given_columns,  # type: ignore[arg-type]
    )


def hashed(prompts: list[int], hashes: list[list[int]], session: list[int] | None = None) -> TraceTable:
    """One row a second with one output token."""
    offsets = np.concatenate(([0], np.cumsum([len(ids) for ids in hashes])))
    blocks = Blocks(offsets, np.array([value for ids in hashes for value in ids], np.int64), 512)
    rows = len(prompts)
    return build_table(
        "test",
        np.arange(rows, dtype=float),
        np.array(prompts),
        np.ones(rows, np.int64),
        session_id=None if session is None else np.array(session),
        blocks=blocks,
    )


def served(source: ThinkTimeSource, service_s: Callable[[Demand], float]) -> list[Demand]:
    """All demands in order of completion, each answered ``service_s`` after its arrival."""
    busy = [(demand.arrival_s + service_s(demand), demand.index, demand) for demand in source.initial()]
    heapq.heapify(busy)
    log = []
    while busy:
        finished_s, _, demand = heapq.heappop(busy)
        log.append(demand)
        for released in source.after(demand, finished_s):
            heapq.heappush(busy, (released.arrival_s + service_s(released), released.index, released))
    return log


def test_recorded_rows_come_at_their_times_and_release_nothing() -> None:
    source = TraceSource(table([0.0, 2.0, 1.0], [0, 0, 1]))
    demands = list(source.initial())
    assert demands == [
        Demand(0, 0.0, 1000, 10, session=0, turn=0, reusable_tokens=0, last=False),
        Demand(1, 1.0, 1002, 12, session=1, turn=0, reusable_tokens=0, last=True),
        Demand(2, 2.0, 1001, 11, session=0, turn=1, reusable_tokens=0, last=True),
    ]
    assert [source.after(demand, 9.0) for demand in demands] == [(), (), ()]
    assert (source.num_requests, source.releases) == (3, False)
    assert type(demands[0].prompt_tokens) is int
    assert type(demands[0].last) is bool


@pytest.mark.parametrize(
    ("shared", "reusable"),
    [
        ([0, 900, 400], [0, 900, 400]),
        ([0, 1001, 1002], [0, 1000, 1001]),  # no more than the prompt before had
        ([-1, -1, -1], [0, 0, 0]),  # the file does not say
        ([500, 0, 0], [0, 0, 0]),  # there is nothing before a first turn
    ],
)
def test_a_later_turn_finds_what_its_prompt_shares_with_the_one_before(shared: list[int], reusable: list[int]) -> None:
    demands = list(TraceSource(table([0.0, 1.0, 2.0], [0, 0, 0], shared_prefix_tokens=shared)).initial())
    assert [demand.reusable_tokens for demand in demands] == reusable
    assert [demand.last for demand in demands] == [False, False, True]


def test_requests_with_hashes_find_the_blocks_of_any_earlier_one() -> None:
    rows = hashed([1100, 1024, 600, 511, 2048], [[1, 2, 3], [1, 2], [1, 2], [1], [1, 2, 3, 4]])
    demands = list(TraceSource(rows).initial())
    assert [demand.reusable_tokens for demand in demands] == [0, 1024, 512, 0, 1024]
    found = [None if demand.hashes is None else demand.hashes.tolist() for demand in demands]
    # The third block of the first prompt is not full, so nobody shares it; the fourth prompt fills none.
    assert found == [[1, 2], [1, 2], [1], None, [1, 2, 3, 4]]
    assert [demand.last for demand in demands] == [False, False, False, True, False]


def test_a_shorter_trace_forgets_the_later_turns() -> None:
    rows = table([0.0, 1.0, 2.0], [0, 0, 0])
    assert [demand.last for demand in TraceSource(rows.first(2)).initial()] == [False, True]


def test_long_traces_become_demands_in_pieces() -> None:
    rows = 10_000
    long = build_table("test", np.arange(rows, dtype=float), np.arange(rows) + 1, np.zeros(rows, np.int64))
    demands = list(TraceSource(long).initial())
    assert [demand.index for demand in demands] == list(range(rows))
    assert [demand.prompt_tokens for demand in demands] == list(range(1, rows + 1))


def test_a_turn_comes_a_think_time_after_the_answer() -> None:
    source = ThinkTimeSource(table([0.0, 5.0, 50.0, 60.0], [0, 1, 0, 0], think_time_s=[0.0, 0.0, 30.0, 2.0]))
    assert (source.num_requests, source.releases, source.warnings) == (4, True, ())
    first, other = source.initial()
    assert (first.index, first.arrival_s, other.index, other.arrival_s) == (0, 0.0, 1, 5.0)
    (second,) = source.after(first, 100.0)
    assert second == Demand(2, 130.0, 1002, 12, session=0, turn=1, last=False)
    (third,) = source.after(second, 200.0)
    assert (third.index, third.arrival_s, third.last) == (3, 202.0, True)
    assert source.after(third, 300.0) == ()
    assert source.after(other, 300.0) == ()


def test_an_unknown_think_time_is_the_recorded_gap_and_said() -> None:
    rows = table([0.0, 7.0, 9.0, 12.5], [0, 1, 0, 0], think_time_s=[NAN, 0.0, 1.0, NAN])
    source = ThinkTimeSource(rows)
    first, _ = source.initial()
    (second,) = source.after(first, 20.0)
    (third,) = source.after(second, 30.0)
    assert (second.arrival_s, third.arrival_s) == (21.0, 33.5)
    assert source.warnings == (
        "1 of 2 later turns have no think time of use: each comes the recorded gap between the two requests "
        "(recorded answer included) after its answer",
    )


def test_a_session_sent_out_begins_with_the_answer_it_waits_for() -> None:
    """Rows 1 and 3 are sent out by row 0, row 3 a second after its answer; row 2 is the next turn of row 0."""
    rows = table(
        [0.0, 4.0, 4.5, 5.0, 6.0],
        [0, 1, 0, 2, 1],
        think_time_s=[0.0, 0.0, 0.5, 0.0, 1.5],
        begins_after=[-1, 0, -1, 0, 0],
        release_delay_s=[0.0, 0.0, 0.0, 1.0, 2.0],
    )
    source = ThinkTimeSource(rows)
    (first,) = source.initial()
    assert [(demand.index, demand.arrival_s) for demand in source.after(first, 10.0)] == [
        (1, 10.0),
        (2, 10.5),
        (3, 11.0),
    ]
    (last,) = source.after(Demand(1, 10.0, 1001, 11, 1, 0), 20.0)
    assert (last.index, last.arrival_s) == (4, 21.5), "its own turn waits for the think time, not for the delay"


def test_a_shorter_trace_keeps_who_waits_for_whom() -> None:
    rows = table([0.0, 4.0, 4.5], [0, 1, 0], begins_after=[-1, 0, -1], release_delay_s=[0.0, 2.0, 0.0])
    source = ThinkTimeSource(rows.first(2))
    (first,) = source.initial()
    assert [(demand.index, demand.arrival_s) for demand in source.after(first, 10.0)] == [(1, 12.0)]


def test_time_scale_stretches_recorded_times_and_gaps_but_no_think_times() -> None:
    rows = table(
        [0.0, 4.0, 4.5, 8.0],
        [0, 1, 0, 1],
        think_time_s=[0.0, 0.0, 0.5, NAN],
        begins_after=[-1, 0, -1, -1],
        release_delay_s=[0.0, 3.0, 0.0, 0.0],
    )
    source = ThinkTimeSource(rows.stretched(10.0))
    (first,) = source.initial()
    turn, sent = source.after(first, 100.0)
    assert (turn.arrival_s, sent.arrival_s) == (100.5, 130.0)
    (last,) = source.after(sent, 200.0)
    assert last.arrival_s == 240.0


def test_hashes_stay_with_their_rows_at_every_pace() -> None:
    rows = hashed([1100, 600], [[1, 2, 3], [1, 2]])
    recorded, paced = (list(source.initial()) for source in (TraceSource(rows), ThinkTimeSource(rows)))
    assert recorded == paced
    assert [d.hashes.tolist() for d in paced if d.hashes is not None] == [[1, 2], [1]]
    source = ThinkTimeSource(hashed([1100, 600], [[1, 2, 3], [1, 2]], session=[0, 0]))
    (first,) = source.initial()
    (second,) = source.after(first, 5.0)
    assert second.hashes is not None
    assert (second.hashes.tolist(), second.reusable_tokens, second.last) == ([1], 512, False)


@st.composite
def conversations(draw: st.DrawFn) -> TraceTable:
    """Sessions of which some are sent out by an earlier row of another."""
    rows = draw(st.integers(1, 30))
    arrivals = sorted(draw(st.lists(st.integers(0, 50), min_size=rows, max_size=rows)))
    session = draw(st.lists(st.integers(0, 6), min_size=rows, max_size=rows))
    think = draw(st.lists(st.one_of(st.just(NAN), st.integers(0, 9).map(float)), min_size=rows, max_size=rows))
    after = [draw(st.integers(-1, row - 1)) for row in range(rows)]
    delay = [0.0 if row == -1 else float(draw(st.integers(0, 5))) for row in after]
    return table(arrivals, session, think_time_s=think, begins_after=after, release_delay_s=delay)


@given(rows=conversations(), service_s=st.lists(st.floats(0.0, 50.0), min_size=1, max_size=9))
def test_every_row_is_released_once_and_after_what_it_waits_for(rows: TraceTable, service_s: list[float]) -> None:
    log = served(ThinkTimeSource(rows), lambda demand: service_s[demand.index % len(service_s)])
    assert sorted(demand.index for demand in log) == list(range(len(rows)))
    recorded = {demand.index: demand for demand in TraceSource(rows).initial()}
    answered = {d.index: d.arrival_s + service_s[d.index % len(service_s)] for d in log}
    for demand in log:
        row = demand.index
        before = rows.parent_id[row] if demand.turn else rows.begins_after[row]
        if before == -1:
            assert demand == recorded[row]
            continue
        gap_s = rows.arrival_s[row] - rows.arrival_s[before]
        think_s = gap_s if np.isnan(rows.think_time_s[row]) else rows.think_time_s[row]
        assert demand.arrival_s == answered[before] + (think_s if demand.turn else rows.release_delay_s[row])
        assert (demand.reusable_tokens, demand.last) == (recorded[row].reusable_tokens, recorded[row].last)
